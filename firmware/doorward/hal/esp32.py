"""The esp32 port: a partition of its own, the port's stdio as the cable, the chip's radio."""

import machine
import network
from esp32 import Partition
from machine import SPI, WDT, Pin, SoftI2C

from .. import const
from ..values import POWER_ON, WATCHDOG
from .chip import ChipBoard
from .flash import BlockRegion
from .roles import FlashFault, FlashRegion, Layout
from .wlan import BAD_PASSWORD, BAD_SECURITY, NO_NETWORK, TOO_FAINT, Wlan

# boards/<NAME>/partitions.csv. A type of ours, so that no stock code takes it for its own.
_PARTITION_TYPE = const(0x40)
_PARTITION_SUBTYPE = const(0x00)
_PARTITION_LABEL = "doorward"

_WATCHDOG_MS = const(8000)
# esp_wifi_types.h, wifi_err_reason_t: 4WAY_HANDSHAKE_TIMEOUT, NO_AP_FOUND, AUTH_FAIL,
# HANDSHAKE_TIMEOUT, NO_AP_FOUND_W_COMPATIBLE_SECURITY, NO_AP_FOUND_IN_AUTHMODE_THRESHOLD,
# NO_AP_FOUND_IN_RSSI_THRESHOLD.
_WIFI_FAULTS = {
    15: BAD_PASSWORD,
    201: NO_NETWORK,
    202: BAD_PASSWORD,
    204: BAD_PASSWORD,
    210: BAD_SECURITY,
    211: BAD_SECURITY,
    212: TOO_FAINT,
}
# As long as the port has tries of its own left it says "connecting", and not why it failed.
_WIFI_RECONNECTS = const(2)


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
        super().__init__(name, pins, layout, Area(layout).region, Pin, SPI, SoftI2C)
        self.network = Wlan(_station, _WIFI_FAULTS)
        self.watchdog = WDT(timeout=_WATCHDOG_MS)

    def reset(self) -> None:
        machine.reset()

    def restart_cause(self) -> int:
        """Return POWER_ON or WATCHDOG; a panic of the port, a restart from software to the chip,
        is to us the same as a hang."""
        is_own = machine.reset_cause() in (machine.WDT_RESET, machine.HARD_RESET)
        return WATCHDOG if is_own else POWER_ON


def _station() -> network.WLAN:
    station = network.WLAN(network.WLAN.IF_STA)
    station.config(reconnects=_WIFI_RECONNECTS)
    return station
