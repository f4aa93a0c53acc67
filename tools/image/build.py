"""`make image BOARD=...`: one board's MicroPython image with Doorward frozen in.

What comes out lies in build/image/<BOARD>/: firmware.bin, firmware.elf, firmware.uf2 (rp2) and
image.json, which says what it was made of.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from image import sources
from image.errors import ImageError

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "image"
_UF2_FAMILY = "0xe48bff56"  # RP2040
_UF2_BASE = "0x10000000"
_COMPILER_PACKAGES = (
    "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib cmake ninja-build"
)
PORTS = {
    "RPI_PICO": "rp2",
    "RPI_PICO_W": "rp2",
    "ESP32_GENERIC": "esp32",
    "ESP32_GENERIC_S3": "esp32",
}


def build(board: str, *, is_development: bool = False) -> Path:
    """Build one image; return its folder. Raises ImageError."""
    if board not in PORTS:
        raise ImageError(f"BOARD={board}: there are {', '.join(PORTS)}")
    if PORTS[board] == "esp32":
        return _build_esp32(board)
    for tool in ("arm-none-eabi-gcc", "cmake", "ninja"):
        if shutil.which(tool) is None:
            raise ImageError(f"no {tool}: apt install {_COMPILER_PACKAGES}")
    started = time.monotonic()
    tree = _tree()
    if board == "RPI_PICO_W" and not (tree / "lib/cyw43-driver/src").exists():
        raise ImageError(
            "RPI_PICO_W needs cyw43-driver, which Debian does not have: "
            "set MPY_DIR to a MicroPython checkout with its submodules"
        )
    _step("mpy-cross", ["make", "-s", f"-j{os.cpu_count()}", "-C", str(tree / "mpy-cross")])
    name = f"{board}-development" if is_development else board
    work = BUILD / name / "work"
    manifest = _manifest(board, is_development)
    _step(
        "configuring",
        [
            "cmake",
            *("-S", str(tree / "ports/rp2")),
            *("-B", str(work)),
            *("-G", "Ninja"),
            f"-DMICROPY_BOARD={board}",
            f"-DMICROPY_FROZEN_MANIFEST={manifest}",
            "-DPICO_NO_PICOTOOL=1",
            # For speed, where the port's own choice is for size: a garbage collection takes 18 ms
            # of the 25 that a slice may have, and 22 otherwise. GCC then warns of MicroPython's libm.
            "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_C_FLAGS_RELEASE=-O2 -DNDEBUG -Wno-error=maybe-uninitialized",
        ],
    )
    _step(
        f"compiling {name}", ["ninja", "-C", str(work)], progress=re.compile(rb"\[(\d+)/(\d+)\]")
    )
    folder = BUILD / name
    for kind in ("bin", "elf"):
        shutil.copy(work / f"firmware.{kind}", folder / f"firmware.{kind}")
    uf2 = [
        sys.executable,
        str(tree / "tools/uf2conv.py"),
        "-f",
        _UF2_FAMILY,
        "-b",
        _UF2_BASE,
        "-c",
    ]
    _step("UF2", [*uf2, "-o", str(folder / "firmware.uf2"), str(folder / "firmware.bin")])
    _describe(folder, board, tree, is_development)
    image = folder / "firmware.uf2"
    print(
        f"image: {image.relative_to(ROOT)}, "
        f"{(folder / 'firmware.bin').stat().st_size:,} bytes of flash, "
        f"in {time.monotonic() - started:.0f} s"
    )
    return folder


def _build_esp32(board: str) -> Path:
    if "IDF_PATH" not in os.environ or "MPY_DIR" not in os.environ:
        raise ImageError(
            f"{board} needs ESP-IDF and a MicroPython checkout: source its export.sh "
            "(it sets IDF_PATH) and set MPY_DIR"
        )
    tree = _tree()
    folder = BUILD / board
    work = folder / "work"
    folder.mkdir(parents=True, exist_ok=True)
    _step("mpy-cross", ["make", "-s", f"-j{os.cpu_count()}", "-C", str(tree / "mpy-cross")])
    _step(
        f"compiling {board}",
        [
            "make",
            *("-C", str(tree / "ports/esp32")),
            f"BOARD={board}",
            f"BUILD={work}",
            f"FROZEN_MANIFEST={_manifest(board, False)}",
            f"-j{os.cpu_count()}",
        ],
    )
    shutil.copy(work / "firmware.bin", folder / "firmware.bin")
    _describe(folder, board, tree, False)
    print(f"image: {(folder / 'firmware.bin').relative_to(ROOT)}")
    return folder


def _tree() -> Path:
    if not os.environ.get("MPY_DIR") and not (BUILD / "micropython" / "ready").exists():
        print("fetching MicroPython's sources through apt (once)", flush=True)
    return sources.find(BUILD)


def _manifest(board: str, is_development: bool) -> Path:
    """Return the frozen manifest to build with."""
    manifest = ROOT / "boards" / board / "manifest.py"
    if not is_development:
        return manifest
    wrapper = BUILD / f"{board}-development" / "manifest.py"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    wrapper.write_text(f'include("{manifest}", development=True)\n')
    return wrapper


def _describe(folder: Path, board: str, tree: Path, is_development: bool) -> None:
    config = (tree / "py/mpconfig.h").read_text()
    parts = [
        re.search(rf"#define MICROPY_VERSION_{part} (\d+)", config).group(1)
        for part in ("MAJOR", "MINOR", "MICRO")
    ]
    data = (folder / "firmware.bin").read_bytes()
    (folder / "image.json").write_text(
        json.dumps(
            {
                "board": board,
                "kind": "development" if is_development else "release",
                "micropython": ".".join(parts),
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            },
            indent=2,
        )
        + "\n"
    )


def _step(name: str, command: list[str], progress: re.Pattern[bytes] | None = None) -> None:
    """Run one step; its output goes to a log and is shown only when it fails."""
    is_terminal = sys.stderr.isatty()
    log = BUILD / "log" / f"{name.split(maxsplit=1)[0].lower()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if not progress or not is_terminal:
        print(f"{name} ...", file=sys.stderr, flush=True)
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in process.stdout or ():
            file.write(line)
            at = progress.match(line) if progress else None
            if at and is_terminal:
                done, total = int(at[1]), int(at[2])
                bar = "#" * (40 * done // total)
                print(f"\r{name} [{bar:<40}] {done}/{total}", end="", file=sys.stderr, flush=True)
    if progress and is_terminal:
        print(file=sys.stderr)
    if process.wait():
        tail = log.read_text(errors="replace").strip().splitlines()[-15:]
        raise ImageError(f"{name} failed; the end of {log}:\n" + "\n".join(tail))


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a board's image.")
    parser.add_argument("board", metavar="BOARD", help=", ".join(PORTS))
    parser.add_argument("--development", action="store_true", help="keep the mpremote workflow")
    arguments = parser.parse_args()
    try:
        build(arguments.board, is_development=arguments.development)
    except ImageError as error:
        print(f"image: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
