"""One provisioned door, and rigs that run the image of `make image BOARD=RPI_PICO`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator import trust
from emulator.door import Door, make_door
from emulator.rig import BOARD, ROOT, Rig
from sim.cards import Card

IMAGE = ROOT / "build" / "image" / BOARD / "firmware.uf2"
BADGES = 60


@pytest.fixture(scope="session")
def image(may_skip: bool):
    """Path of the image. Where it was not built the tests are skipped; in CI they fail."""
    if not IMAGE.exists() and may_skip:
        pytest.skip(f"no image: make image BOARD={BOARD}")
    return IMAGE


@pytest.fixture(scope="session")
def development_image(may_skip: bool) -> Path:
    """Path of the image. Where it was not built the tests are skipped; in CI they fail."""
    image = trust.IMAGE / "firmware.uf2"
    if not image.exists() and may_skip:
        pytest.skip(f"no image: python -m image.build {trust.BOARD} --development")
    return image


@pytest.fixture(scope="session")
def door() -> Door:
    """A door with a list of BADGES, whose strike lets go soon."""
    return make_door(BADGES, strike_pulse_ms=200)


@pytest.fixture(scope="session")
def _next_badges(door: Door) -> Iterator[bytes]:
    return iter(door.badges)


@pytest.fixture
def officer(_next_badges: Iterator[bytes]) -> Card:
    """A listed badge that was not at the reader before."""
    return Card(next(_next_badges))


@pytest.fixture
def new_rig(image, door: Door) -> Callable[..., Rig]:
    """Power a board up; options as Rig's, `area` another flash area than the door's."""

    def make(area: bytes | None = None, **options) -> Rig:
        return Rig(image, door.area if area is None else area, **options)

    return make


@pytest.fixture(scope="module")
def rig(image, door: Door) -> Iterator[Rig]:
    """A board that polls its reader, shared by tests that leave it so."""
    rig = Rig(image, door.area)
    assert rig.run(3000, until=lambda: rig.first_poll_ns is not None)
    rig.run(300)
    yield rig
