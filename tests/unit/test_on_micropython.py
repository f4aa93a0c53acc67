"""Every unit test file once more, on MicroPython: the same bytes, the other interpreter."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = sorted(p for p in HERE.glob("test_*.py") if p != Path(__file__))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_on_micropython(file: Path, micropython: str, firmware_env: dict[str, str]) -> None:
    runner = HERE.parent / "micropython"
    env = dict(firmware_env, MICROPYPATH=f"{runner}:{firmware_env['MICROPYPATH']}")
    command = [micropython, "-X", "heapsize=64M", str(runner / "run.py"), str(file)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    # A file in which nothing ran proves nothing.
    assert result.stdout.count("\nok ") + result.stdout.startswith("ok ") > 0
