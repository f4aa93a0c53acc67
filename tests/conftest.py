"""What all tests share: where MicroPython is, and how it finds the firmware."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "unit"))

from doorctl.simulator import find_micropython, firmware_environment


@pytest.fixture(scope="session")
def micropython() -> str:
    """Path of the MicroPython interpreter."""
    return find_micropython()


@pytest.fixture(scope="session")
def firmware_env() -> dict[str, str]:
    """Environment in which MicroPython finds firmware, models and the UNIX board."""
    return firmware_environment()


@pytest.fixture(scope="session")
def may_skip() -> bool:
    """May a test skip what needs a program that is not installed? CI says no."""
    return os.environ.get("DOORWARD_NO_SKIP") != "1"
