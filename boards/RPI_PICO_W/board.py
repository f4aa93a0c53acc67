"""The Raspberry Pi Pico W: a Pico with a radio."""

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
    from doorward.hal.rp2 import RP2Board, wlan
    from layout import LAYOUT

    return RP2Board("RPI_PICO_W", pins, LAYOUT, wlan())
