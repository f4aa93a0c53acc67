"""A board with an ESP32 and 4 MB of flash."""

import pins
from machine import Pin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from doorward.hal.roles import Board


def make_strike_safe() -> None:
    """De-energise the lock: the level before the direction."""
    Pin(pins.STRIKE, Pin.OUT, value=1 - pins.STRIKE_ACTIVE)


def make_board() -> "Board":
    """Return the board. Imports here: what fails in them must not keep the strike from being safe."""
    from doorward.hal.esp32 import ESP32Board
    from layout import LAYOUT

    return ESP32Board("ESP32_GENERIC", pins, LAYOUT)
