"""What the boards on a chip have in common, whichever port runs on it."""

import os
import time

from .. import const
from ..values import CLOCK_HELD, CLOCK_UNSET
from .cable import Cable
from .ds3231 import Ds3231
from .roles import Board, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machine import SPI, Pin, SoftI2C

# From 1970-01-01 to 2000-01-01, where some ports begin to count.
_EPOCH_2000_S = 946_684_800
# High and low of a zero, high and low of a one.
_WS2812_NS = (400, 850, 800, 450)
# I2C in software: the ESP32's own would wait a second and more for a wire that is stuck, this one
# for as long as is said here.
_I2C_HZ = const(400_000)
_I2C_TIMEOUT_US = const(1000)


class ChipBoard(Board):
    """A board with pins, flash of its own, stdio as its cable and, with a DS3231, a clock that outlives
    the power."""

    def __init__(
        self,
        name: str,
        pins,
        layout: Layout,
        region,
        pin: "type[Pin]",
        spi: "type[SPI]",
        i2c: "type[SoftI2C]",
    ) -> None:
        """pins: the board's module of that name (boards/README.md says what it states).

        region: callable, returns the FlashRegion at a (offset, bytes) of Doorward's area.
        pin, spi, i2c: the port's machine.Pin, SPI and SoftI2C, which only a port imports.
        """
        self.name = name
        self.strike = pin(pins.STRIKE, pin.OUT, value=1 - pins.STRIKE_ACTIVE)
        self.strike_active = pins.STRIKE_ACTIVE
        self.leds = tuple(pin(number, pin.OUT, value=0) for number in pins.LEDS)
        self.buzzer = pin(pins.BUZZER, pin.OUT, value=0)
        # On the pin of the red light: a door has the one or the others.
        self.pixel = Pixel(self.leds[0])
        self.inputs = Inputs(pins, pin)
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
        # Pulled up: with nothing wired, nobody answers.
        self.rtc = Ds3231(
            i2c(
                pin(pins.RTC_SCL, pin.IN, pin.PULL_UP),
                pin(pins.RTC_SDA, pin.IN, pin.PULL_UP),
                freq=_I2C_HZ,
                timeout=_I2C_TIMEOUT_US,
            )
        )
        self.ticks = time
        self.provision = region(layout.provision)
        self.state = region(layout.state)
        self.lists = region(layout.lists)
        self.journal = region(layout.journal)
        self.console = Cable()

    def wall_clock(self) -> tuple[int, int]:
        """Return what the clock with a battery says; without one, what the chip counts: unset.

        The chip's own clock starts at a fixed date with the power, and nobody vouches for it after
        a reset.
        """
        kept_s = self.rtc.read()
        return (unix_seconds(), CLOCK_UNSET) if kept_s is None else (kept_s, CLOCK_HELD)

    def random_bytes(self, n: int) -> bytes:
        """Return `n` bytes from the chip's hardware source: ring oscillator or radio noise."""
        return os.urandom(n)


class Inputs:
    """The board's input pins by name. Those that nobody asks for stay as they are, for other uses."""

    def __init__(self, pins, pin: "type[Pin]") -> None:
        """pins: states INPUTS, name to number, and which of them are WITHOUT_PULL_UP."""
        self._pins = pins
        self._pin = pin

    def get(self, name: str) -> "Pin | None":
        """Return the pin of that name as an input, pulled up where it can be; None: no such pin."""
        number = self._pins.INPUTS.get(name)
        if number is None:
            return None
        if number in self._pins.WITHOUT_PULL_UP:
            return self._pin(number, self._pin.IN)
        return self._pin(number, self._pin.IN, self._pin.PULL_UP)


class Pixel:
    """One WS2812 or the like, first of its chain: a callable `pixel(red, green, blue)`, 0 to 255.

    Interrupts are off for the 30 us of a transmission. MicroPython's `neopixel` does the same, but
    is in micropython-lib, which no image here needs.
    """

    def __init__(self, pin: "Pin") -> None:
        """pin: output, low."""
        self._pin = pin
        self._bytes = bytearray(3)
        self._bitstream = None

    def __call__(self, red: int, green: int, blue: int) -> None:
        if self._bitstream is None:
            # Not before somebody has such a light. That is when the door starts, not in a tap.
            from machine import bitstream

            self._bitstream = bitstream
        self._bytes[0] = green
        self._bytes[1] = red
        self._bytes[2] = blue
        self._bitstream(self._pin, 0, _WS2812_NS, self._bytes)


def unix_seconds() -> int:
    """Return the chip's clock in seconds since 1970, whatever year its port counts from."""
    return int(time.time()) + (_EPOCH_2000_S if time.gmtime(0)[0] == 2000 else 0)
