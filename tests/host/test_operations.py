"""docs/operations.md: every command of the page works as it stands, in the order of the page."""

import os
import re
import subprocess
import sys
from pathlib import Path

from doorctl import keyring, lists
from doorctl.signed import LAST_VERSION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_can_be_followed(tmp_path):
    # Whatever is installed here or not: the command under test is this tree's.
    shim = tmp_path / "bin" / "doorctl"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m doorctl.main "$@"\n')
    shim.chmod(0o755)
    folder = tmp_path / "office"
    folder.mkdir()
    env = {
        **os.environ,
        "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "firmware"), str(ROOT / "tools")]),
        "DOORCTL_PASSPHRASE": "open sesame",
    }
    told = ""
    for block in BLOCKS:
        done = subprocess.run(
            ["bash", "-euc", block],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        told += done.stdout
    assert "+1 -0 ~0, responders -0, list was " in told
    assert "police, key " in told and "is no longer believed" in told
    ring = keyring.open_ring_file(folder / "ring-5.dwk")
    assert (ring.version, [issuer.name for issuer in ring.issuers]) == (5, ["police-3", "school"])
    taken = lists.verify((folder / "police-3.dwl").read_bytes(), ring, "riverside")
    assert (taken.issuer, taken.count) == ("police-3", 2)


def test_every_block_is_either_run_or_needs_a_door():
    fences = re.findall(r"^```(\w*)$", PAGE, re.MULTILINE)
    assert set(fences) == {"sh", "console", ""}
    consoles = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    commands = "".join(consoles).splitlines()
    assert commands and all(re.match(r"\$ doorctl (push|status|log)\b", line) for line in commands)


def test_what_the_page_says_of_the_highest_version():
    assert LAST_VERSION == 0xFFFFFFFF
