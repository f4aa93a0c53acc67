"""Where MicroPython's sources come from: a checkout of yours, or Debian's source packages.

Debian's come through apt with the newer suites' names put in beside the machine's own, into lists
and caches of our own: nothing on the machine is upgraded, and nothing but the build folder changes.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from image.errors import ImageError

# The newest suite whose packages build together; suites apt has not heard of are asked by name.
_SUITES = "trixie forky"
_SOURCES = ("micropython/forky", "mbedtls/trixie")
_PACKAGES = ("pico-sdk-source/trixie", "tinyusb-source/trixie")
_DEBIAN_ENTRY = Path("/etc/apt/sources.list.d/debian.sources")


def find(build: Path) -> Path:
    """Return a MicroPython tree: $MPY_DIR, or Debian's under `build`, fetched once.

    Raises ImageError with what to install or set.
    """
    named = os.environ.get("MPY_DIR")
    if named:
        tree = Path(named).resolve()
        if not (tree / "py" / "mpconfig.h").exists():
            raise ImageError(f"MPY_DIR={named} is not a MicroPython checkout")
        return tree
    tree = build / "micropython"
    if not (tree / "ready").exists():
        _fetch(build, tree)
        (tree / "ready").touch()
    return tree


def _fetch(build: Path, tree: Path) -> None:
    for tool, package in (("apt-get", "apt"), ("dpkg-source", "dpkg-dev")):
        if shutil.which(tool) is None:
            raise ImageError(
                f"no {tool}: install {package} (Debian), or set MPY_DIR to a MicroPython checkout"
            )
    shutil.rmtree(tree, ignore_errors=True)
    downloads = build / "downloads"
    for folder in (downloads, build / "apt/lists/partial", build / "apt/cache/archives/partial"):
        folder.mkdir(parents=True, exist_ok=True)
    entry = build / "apt" / "newer.sources"
    entry.write_text(_newer_entry())
    options = [
        f"-oDir::Etc::sourcelist={entry.resolve()}",
        "-oDir::Etc::sourceparts=-",
        f"-oDir::State::lists={(build / 'apt/lists').resolve()}",
        f"-oDir::Cache={(build / 'apt/cache').resolve()}",
        "-oAPT::Sandbox::User=root",
    ]
    _run(["apt-get", "-q", *options, "update"], downloads)
    _run(["apt-get", "-q", *options, "source", "--download-only", *_SOURCES], downloads)
    _run(["apt-get", "-q", *options, "download", *_PACKAGES], downloads)

    _unpack(_one(downloads, "micropython_*.orig.tar.*"), tree)
    _unpack(_one(downloads, "mbedtls_*.orig.tar.*"), tree / "lib" / "mbedtls")
    for name, library in (("pico-sdk", "pico-sdk"), ("tinyusb", "tinyusb")):
        unpacked = build / "unpacked" / name
        unpacked.mkdir(parents=True, exist_ok=True)
        _run(["dpkg", "-x", str(_one(downloads, f"{name}-source_*.deb")), str(unpacked)], build)
        target = tree / "lib" / library
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(unpacked / "usr/src" / name, target, symlinks=True)
    # The build asks whether the submodule is there; nothing of it is used.
    readme = tree / "lib" / "micropython-lib" / "README.md"
    readme.parent.mkdir(parents=True, exist_ok=True)
    readme.touch()


def _newer_entry() -> str:
    """Return apt's own Debian entry with the newer suites and source packages in it."""
    if not _DEBIAN_ENTRY.exists():
        raise ImageError(
            f"{_DEBIAN_ENTRY} is not there to derive newer suites from; "
            "set MPY_DIR to a MicroPython checkout with its submodules"
        )
    entry = _DEBIAN_ENTRY.read_text().split("\n\n")[0]
    entry = re.sub(r"(?m)^#.*\n", "", entry)
    entry = re.sub(r"(?m)^Types:.*$", "Types: deb deb-src", entry)
    return re.sub(r"(?m)^Suites:.*$", f"Suites: {_SUITES}", entry).rstrip() + "\n"


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise ImageError(f"apt brought no {pattern}; delete build/image and try again")
    return found[-1]


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _run(["tar", "-xf", str(archive.resolve()), "--strip-components=1"], folder)


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ImageError(f"{' '.join(command[:2])} failed: {result.stderr.strip()[-300:]}")
