"""Owns the wires: objects shaped like machine.SPI and machine.Pin whose other end is the model."""

from sim.clock import SimClock
from sim.mfrc522 import Mfrc522


class Pin:
    """A pin as a driver uses it; `on_level(level)` hears every change of an output."""

    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    PULL_UP = 1
    PULL_DOWN = 2
    IRQ_FALLING = 4
    IRQ_RISING = 8

    def __init__(self, level: int = 1, on_level=None) -> None:
        self._level = level
        self._on_level = on_level

    def __call__(self, level: int | None = None) -> int | None:
        return self.value(level)

    def value(self, level: int | None = None) -> int | None:
        """Return the level, or set it when one is given."""
        if level is None:
            return self._level
        level = 1 if level else 0
        if level != self._level:
            self._level = level
            if self._on_level:
                self._on_level(level)
        return None

    def on(self) -> None:
        self.value(1)

    def off(self) -> None:
        self.value(0)

    def init(self, mode: int = -1, pull: int | None = -1, value: int | None = None, **_) -> None:
        if value is not None:
            self.value(value)


def chip_select_pin(chip: Mfrc522) -> Pin:
    """Return the NSS pin: low selects the chip."""
    return Pin(1, lambda level: chip.deselect() if level else chip.select())


def reset_pin(chip: Mfrc522, level: int = 1) -> Pin:
    """Return the NRSTPD pin: low holds the chip in reset and power-down."""
    if not level:
        chip.hold_reset(True)
    return Pin(level, lambda level: chip.hold_reset(not level))


class IrqPin(Pin):
    """The chip's IRQ output as an input pin, with a pull-up for the open-drain mode."""

    def __init__(self, chip: Mfrc522) -> None:
        super().__init__(1)
        self._chip = chip

    def value(self, level: int | None = None) -> int | None:
        return self._chip.irq


class SpiBus:
    """machine.SPI with the chip on it.

    With a `clock` every byte takes its time at `baudrate`, and every call `call_ns` besides;
    without one the caller's own clock runs on.
    """

    MSB = 0

    def __init__(
        self,
        chip: Mfrc522,
        clock: SimClock | None = None,
        baudrate: int = 5_000_000,
        call_ns: int = 0,
    ) -> None:
        self._chip = chip
        self._clock = clock
        self._byte_ns = 8 * 1_000_000_000 // baudrate
        self._call_ns = call_ns
        self.byte_count = 0
        self.call_count = 0

    def init(self, *_, **options) -> None:
        if "baudrate" in options:
            self._byte_ns = 8 * 1_000_000_000 // options["baudrate"]

    def deinit(self) -> None:
        pass

    def read(self, n: int, write: int = 0) -> bytes:
        buf = bytearray(n)
        self.readinto(buf, write)
        return bytes(buf)

    def readinto(self, buf: bytearray | memoryview, write: int = 0) -> None:
        self._pay(len(buf))
        for i in range(len(buf)):
            buf[i] = self._transfer(write)

    def write(self, buf: bytes | bytearray | memoryview) -> None:
        self._pay(len(buf))
        for value in buf:
            self._transfer(value)

    def write_readinto(
        self, out: bytes | bytearray | memoryview, into: bytearray | memoryview
    ) -> None:
        """Exchange byte for byte; `into` is as long as `out` and may be the same buffer."""
        if len(out) != len(into):
            raise ValueError("buffers must be the same length")
        self._pay(len(out))
        for i in range(len(out)):
            into[i] = self._transfer(out[i])

    def _pay(self, n: int) -> None:
        self.call_count += 1
        self.byte_count += n
        if self._clock:
            self._clock.advance_ns(self._call_ns)

    def _transfer(self, mosi: int) -> int:
        if self._clock:
            self._clock.advance_ns(self._byte_ns)
        return self._chip.transfer(mosi)
