"""The esp32 port: a partition of its own, the port's stdio as the cable, the chip's radio."""

import machine
import network
from esp32 import Partition
from machine import SPI, WDT, Pin

from .. import const
from ..values import POWER_ON, WATCHDOG
from .chip import ChipBoard
from .flash import BlockRegion
from .roles import FlashFault, FlashRegion, Layout
from .wlan import Wlan

# boards/<NAME>/partitions.csv. A type of ours, so that no stock code takes it for its own.
_PARTITION_TYPE = const(0x40)
_PARTITION_SUBTYPE = const(0x00)
_PARTITION_LABEL = "doorward"

_WATCHDOG_MS = const(8000)


class Area:
    """Doorward's partition."""

    def __init__(self, layout: Layout) -> None:
        """Raises FlashFault where the flash has no such partition, or too small a one."""
        found = Partition.find(_PARTITION_TYPE, _PARTITION_SUBTYPE, label=_PARTITION_LABEL)
        if not found:
            raise FlashFault("no partition for Doorward: flash the board's partitions.csv")
        self._partition = found[0]
        if self._partition.info()[3] < layout.size_bytes:
            raise FlashFault("Doorward's partition is smaller than the board's layout")

    def region(self, place: tuple[int, int]) -> FlashRegion:
        """Return the FlashRegion at (offset, bytes), multiples of SECTOR_BYTES. It has no view."""
        return BlockRegion(self._partition, place[0], place[1])


class ESP32Board(ChipBoard):
    """A board with a chip of the ESP32 family. The watchdog runs from here on."""

    def __init__(self, name: str, pins, layout: Layout) -> None:
        """pins: the board's module of that name. Raises FlashFault where the layout does not fit."""
        super().__init__(name, pins, layout, Area(layout).region, Pin, SPI)
        self.network = Wlan(lambda: network.WLAN(network.WLAN.IF_STA))
        self.watchdog = WDT(timeout=_WATCHDOG_MS)

    def reset(self) -> None:
        machine.reset()

    def restart_cause(self) -> int:
        """Return POWER_ON or WATCHDOG; a panic of the port, a restart from software to the chip,
        is to us the same as a hang."""
        is_own = machine.reset_cause() in (machine.WDT_RESET, machine.HARD_RESET)
        return WATCHDOG if is_own else POWER_ON
