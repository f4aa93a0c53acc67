"""Wi-Fi as a chip's port has it: joining in the background, streams over it. No slice waits."""

import asyncio
import time

from .. import const
from .tls import psk_context

# A join that has not come up by then is begun anew. Association and address together take three
# to eight seconds where the network is near.
_ATTEMPT_MS = const(20_000)
_LOOK_MS = const(100)


class Wlan:
    """The network role of a board with Wi-Fi. `configure` comes before everything else."""

    def __init__(self, make_station) -> None:
        """make_station: makes the network.WLAN station; called once, through the quiet gate."""
        self._make_station = make_station
        self._station = None
        self._ssid = ""
        self._password = ""
        self._gate = None
        self._begun_ms = None
        self._context = None

    def configure(self, ssid: str, password: str, gate) -> None:
        """Say which network to join ("": none; password "": an open one), and how to stall.

        gate: quiet.Gate. Starting the radio loads its firmware: 0.7 to 0.9 s on a Pico W.
        """
        self._ssid = ssid
        self._password = password
        self._gate = gate

    @property
    def is_up(self) -> bool:
        """Is there a link and an address?"""
        return self._station is not None and self._station.isconnected()

    async def join(self) -> bool:
        """Join the network, or go on joining; return whether it is up. Takes up to 20 s.

        May be cancelled at any await: the radio goes on, and the next call waits for the rest.
        Raises OSError where no network is configured or the radio refuses.
        """
        if self.is_up:
            return True
        if not self._ssid or self._gate is None:
            raise OSError("no Wi-Fi configured")
        if not self._is_joining():
            await self._gate.run(self._begin)
        while not self.is_up and self._is_joining():
            await asyncio.sleep_ms(_LOOK_MS)
        return self.is_up

    async def open(self, host: str, port: int, psk: tuple[bytes, bytes] | None):
        """Open a stream, joining first; return (reader, writer). Raises OSError.

        host: an IPv4 address; anything else is refused, because a name look-up blocks the whole
        door. psk: (identity, key) for TLS-PSK, the same at every call; None for plain TCP.
        """
        if not _is_address(host):
            raise OSError("broker_host is not an IPv4 address")
        if not await self.join():
            raise OSError("the Wi-Fi network does not answer")
        if psk is None:
            return await asyncio.open_connection(host, port)
        if self._context is None:
            self._context = psk_context(*psk)  # a key can be set once, so one context serves all
        return await asyncio.open_connection(host, port, ssl=self._context, server_hostname=host)

    def _begin(self) -> None:
        if self._station is None:
            self._station = self._make_station()
            self._station.active(True)
        # An attempt still under way would make connect() fail.
        self._station.disconnect()
        self._station.connect(self._ssid, self._password or None)
        self._begun_ms = time.ticks_ms()

    def _is_joining(self) -> bool:
        if self._begun_ms is None:
            return False
        # Negative once ticks have wrapped, days after the attempt: over as well.
        return 0 <= time.ticks_diff(time.ticks_ms(), self._begun_ms) < _ATTEMPT_MS


def _is_address(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)
