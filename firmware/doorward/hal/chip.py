"""What the boards on a chip have in common, whichever port runs on it."""

import os
import time

from ..values import CLOCK_UNSET
from .cable import Cable
from .roles import Board, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import SPI, Pin

# From 1970-01-01 to 2000-01-01, where some ports begin to count.
_EPOCH_2000_S = 946_684_800


class ChipBoard(Board):
    """A board with pins, flash of its own, stdio as its cable and no clock that outlives the power."""

    def __init__(
        self, name: str, pins, layout: Layout, region, pin: "type[Pin]", spi: "type[SPI]"
    ) -> None:
        """pins: the board's module of that name (boards/README.md says what it states).

        region: callable, returns the FlashRegion at a (offset, bytes) of Doorward's area.
        pin, spi: the port's machine.Pin and machine.SPI, which only a port imports.
        """
        self.name = name
        self.strike = pin(pins.STRIKE, pin.OUT, value=1 - pins.STRIKE_ACTIVE)
        self.strike_active = pins.STRIKE_ACTIVE
        self.leds = tuple(pin(number, pin.OUT, value=0) for number in pins.LEDS)
        self.buzzer = pin(pins.BUZZER, pin.OUT, value=0)
        self.lockdown_switch = pin(pins.LOCKDOWN_SWITCH, pin.IN, pin.PULL_UP)
        # The reader is held in reset, and not selected, until its driver starts it.
        self.reader_cs = pin(pins.READER_CS, pin.OUT, value=1)
        self.reader_reset = pin(pins.READER_RESET, pin.OUT, value=0)
        # Pulled up: a line that is not wired stays high, and the driver notices that it is dead.
        self.reader_irq = pin(pins.READER_IRQ, pin.IN, pin.PULL_UP)
        self.spi = spi(
            pins.SPI,
            baudrate=pins.SPI_BAUD,
            polarity=0,
            phase=0,
            sck=pin(pins.SPI_SCK),
            mosi=pin(pins.SPI_MOSI),
            miso=pin(pins.SPI_MISO),
        )
        self.ticks = time
        self.provision = region(layout.provision)
        self.state = region(layout.state)
        self.lists = region(layout.lists)
        self.journal = region(layout.journal)
        self.console = Cable()

    def wall_clock(self) -> tuple[int, int]:
        """Return what the chip counts as Unix seconds: unset, whatever it says, until it is synced.

        The chip's clock starts at a fixed date with the power, and nobody vouches for it after a
        reset.
        """
        return unix_seconds(), CLOCK_UNSET

    def random_bytes(self, n: int) -> bytes:
        """Return `n` bytes from the chip's hardware source: ring oscillator or radio noise."""
        return os.urandom(n)


def unix_seconds() -> int:
    """Return the chip's clock in seconds since 1970, whatever year its port counts from."""
    return int(time.time()) + (_EPOCH_2000_S if time.gmtime(0)[0] == 2000 else 0)
