"""The roles a board fills: what the rooms may ask of hardware, and in which units.

Pins and buses have the shape of MicroPython's own `machine.Pin` and `machine.SPI`, so that a real
board hands those over as they are and the tap path pays for no wrapper:

- output and input pin: a callable, `pin(level)` and `pin() -> level`.
- pixel: one addressable light, a callable `pixel(red, green, blue)`, 0 to 255 each.
- SPI: `write(buf)`, `readinto(buf)`, `write_readinto(out, into)`; chip select is an output pin.
- ticks: the `time` module's `ticks_ms`, `ticks_us`, `ticks_diff`, `ticks_add`.
- random: `random_bytes(n) -> bytes` from a hardware source.
- watchdog: `feed()`.
- rtc: a clock with a battery, `read() -> int | None` and `write(int)` in Unix seconds; see hal.ds3231.
- network: `is_up`, `fault`, `join()`, `open(host, port, psk)`, `exchange(host, port, request,
  timeout_ms)`; see hal.wlan.
- stream: a non-blocking byte stream, `readinto(buf) -> int | None`, `write(buf) -> int | None`,
  that `select.poll` and so asyncio can wait for.

What has behaviour that every port shares stands here as a class.
"""

from .. import const
from ..values import POWER_ON, DoorwardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SECTOR_BYTES = const(4096)
PAGE_BYTES = const(256)
_BLANK_PAGE = b"\xff" * 256
# Snapshots (state.py) of the two small stores.
PROVISION_SLOT_BYTES = const(12288)
STATE_SLOT_BYTES = const(1024)


class FlashFault(DoorwardError):
    """The flash refused an operation, or an address is outside the region."""


class FlashRegion:
    """A raw range of NOR flash: sectors of 4096 bytes to erase, pages of 256 to program.

    Programming only turns ones into zeros. Nothing here waits for quiet; the caller does.

    Attributes:
        size_bytes: length of the region, a multiple of SECTOR_BYTES.
        view: memoryview of the memory-mapped region, or None where reads go through a buffer.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.view: memoryview | None = None

    def read_into(self, offset: int, buf: bytearray | memoryview) -> None:
        """Fill `buf` from `offset` on."""
        raise NotImplementedError

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        """Program up to PAGE_BYTES that lie within one page: 0.4 ms typical, 3 ms at most."""
        raise NotImplementedError

    def erase(self, offset: int) -> None:
        """Erase the sector at `offset`: 45 ms typical, 400 ms at most, interrupts off on rp2."""
        raise NotImplementedError

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Program `data` of any length, page by page. The range must have been erased."""
        view = memoryview(data)
        done = 0
        while done < len(view):
            take = min(PAGE_BYTES - (offset + done) % PAGE_BYTES, len(view) - done)
            self.program(offset + done, view[done : done + take])
            done += take

    def is_blank(self, offset: int, length: int) -> bool:
        """Is every byte of the range 0xFF? Reads in pieces of at most PAGE_BYTES."""
        buf = bytearray(PAGE_BYTES)
        view = memoryview(buf)
        while length:
            take = min(PAGE_BYTES, length)
            self.read_into(offset, view[:take])
            if view[:take] != _BLANK_PAGE[:take]:
                return False
            offset += take
            length -= take
        return True

    def check_range(self, offset: int, length: int) -> None:
        """Raise FlashFault unless the range lies within the region."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise FlashFault("outside the flash region")


class Layout:
    """Where each room's flash lies, as offsets from the start of Doorward's own area.

    One layout serves every port; a board states the sector counts in its `layout` (docs/formats.md
    has the map). The file system of the development image is not part of it: the stock start-up
    code reformats one that does not mount, so nothing precious may live there.
    """

    def __init__(self, provision: int, state: int, lists: int, journal: int) -> None:
        """Each argument is a number of sectors: provision >= 6, state >= 2, journal >= 4."""
        self.provision = (0, provision * SECTOR_BYTES)
        self.state = (provision * SECTOR_BYTES, state * SECTOR_BYTES)
        self.lists = ((provision + state) * SECTOR_BYTES, lists * SECTOR_BYTES)
        self.journal = ((provision + state + lists) * SECTOR_BYTES, journal * SECTOR_BYTES)
        self.size_bytes = (provision + state + lists + journal) * SECTOR_BYTES


class Board:
    """Everything a board hands to `main`: pins, buses, flash, clocks. See the module's docstring.

    A board that lacks something optional leaves it None.
    """

    name = ""
    strike: "Any" = None  # output pin; the level strike_active energises the lock
    strike_active = 1
    leds: tuple = ()  # output pins: red, green, blue
    pixel: "Any" = None  # on the red light's pin, for a door that has this instead of leds
    buzzer: "Any" = None
    # `get(name)` -> input pin or None: door, rex, lockdown, fire, cabinet, reader, mains, battery.
    # Each a contact to ground, pulled up: 0 = closed.
    inputs: "Any" = {}
    spi: "Any" = None
    reader_cs: "Any" = None
    reader_reset: "Any" = None
    reader_irq: "Any" = None  # input pin; the reader does without
    ticks: "Any" = None
    provision: "Any" = None  # FlashRegion
    state: "Any" = None  # FlashRegion
    lists: "Any" = None  # FlashRegion
    journal: "Any" = None  # FlashRegion
    network: "Any" = None
    rtc: "Any" = None
    console: "Any" = None  # stream
    watchdog: "Any" = None

    def wall_clock(self) -> tuple[int, int]:
        """Return (Unix seconds, a CLOCK_ quality) of the board's own clock at start."""
        raise NotImplementedError

    def random_bytes(self, n: int) -> bytes:
        raise NotImplementedError

    def reset(self) -> None:
        """Restart the board. Does not return."""
        raise NotImplementedError

    def restart_cause(self) -> int:
        """Return what the board itself knows of why it started: POWER_ON, or WATCHDOG where it ran
        before and nobody cut its power."""
        return POWER_ON

    def report(self, text: str, error: Exception | None = None) -> None:
        """Tell a developer. A board whose only output is the technician's cable says nothing:
        what matters in the field is an event in the journal."""

    def tasks(self) -> list:
        """Return [(name, coroutine)] that the board itself needs running; a real one none."""
        return []


# 2 MB of flash, of which the first 640 KB are MicroPython's: 320 sectors of Doorward's own leave
# 32 for a development image's file system.
LAYOUT_2MB = Layout(provision=6, state=2, lists=240, journal=72)
