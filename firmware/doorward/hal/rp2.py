"""The rp2 port: raw flash behind the image, USB as the cable, the CYW43 radio where there is one."""

import machine
import rp2
from machine import SPI, WDT, Pin, SoftI2C

from .. import const
from ..values import POWER_ON, WATCHDOG
from .chip import ChipBoard
from .flash import BlockRegion
from .roles import PAGE_BYTES, FlashFault, Layout
from .wlan import BAD_PASSWORD, NO_LEASE, NO_NETWORK, Wlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The supervisor feeds every 250 ms; a sector erase may take 400 ms, the radio's start 900 ms. The
# chip counts to 8,388 ms at most.
_WATCHDOG_MS = const(8000)
# cyw43.h, CYW43_LINK_: BADAUTH, NONET, NOIP.
_WIFI_FAULTS = {-3: BAD_PASSWORD, -2: NO_NETWORK, 2: NO_LEASE}


class RP2Region(BlockRegion):
    """A range of the port's storage area, which begins where the image's own flash ends.

    What the stock start-up code would make one file system: an image with Doorward brings its own
    `_boot.py`, which leaves this range alone. Reads are memory-mapped.
    """

    def __init__(self, place: tuple[int, int]) -> None:
        """place: (offset from the start of the storage area, bytes), multiples of SECTOR_BYTES."""
        flash: Any = rp2.Flash(start=place[0], len=place[1])
        super().__init__(flash, 0, place[1])
        self.view = memoryview(flash)

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        """Program through a whole page in RAM.

        The boot ROM takes whole pages only, and cannot read flash, where frozen constants lie,
        while it programs. A byte programmed with 0xFF stays as it is.
        """
        self.check_range(offset, len(buf))
        at = offset % PAGE_BYTES
        if at + len(buf) > PAGE_BYTES:
            raise FlashFault("more than one page")
        page = bytearray(b"\xff" * PAGE_BYTES)
        page[at : at + len(buf)] = buf
        super().program(offset - at, page)


class RP2Board(ChipBoard):
    """A board with an RP2040 or RP2350. The watchdog runs from here on."""

    def __init__(self, name: str, pins, layout: Layout, network: Wlan | None = None) -> None:
        """pins: the board's module of that name. Raises ValueError where the layout does not fit."""
        super().__init__(name, pins, layout, RP2Region, Pin, SPI, SoftI2C)
        self.network = network
        self.watchdog = WDT(timeout=_WATCHDOG_MS)

    def reset(self) -> None:
        machine.reset()

    def restart_cause(self) -> int:
        """Return POWER_ON or WATCHDOG; the chip resets itself by the watchdog too."""
        return WATCHDOG if machine.reset_cause() == machine.WDT_RESET else POWER_ON


def wlan() -> Wlan:
    """Return the radio of a Pico W, not started yet."""
    import network

    return Wlan(lambda: network.WLAN(network.WLAN.IF_STA), _WIFI_FAULTS)
