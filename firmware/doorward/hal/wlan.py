"""Wi-Fi as a chip's port has it: joining in the background, streams over it. No slice waits."""

import asyncio
import os
import time

from .. import const
from .datagram import exchange
from .tls import psk_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A join that has not come up by then is begun anew. Association and address together take three
# to eight seconds where the network is near.
_ATTEMPT_MS = const(20_000)
# A link that was there and is lost: how long the radio may look for it, or for another access
# point of the same network, by itself.
_ROAM_MS = const(5_000)
_LOOK_MS = const(100)
# After an attempt that failed: from so long to so long, doubling, the half of it by chance.
_FIRST_PAUSE_MS = const(1_000)
_LONGEST_PAUSE_MS = const(60_000)
# Asking for the address makes garbage, so it is not asked for at every look.
_ADDRESS_MS = const(1_000)
_NO_ADDRESS = "0.0.0.0"

# What went wrong, for a technician; a port says which of its WLAN.status() means which.
NO_NETWORK = "no such Wi-Fi network is heard"
BAD_PASSWORD = "the Wi-Fi network refuses the password"
BAD_SECURITY = "the Wi-Fi network has another kind of security"
TOO_FAINT = "the Wi-Fi network is heard too faintly"
NO_LEASE = "the Wi-Fi network gives no address"
_NO_ANSWER = "the Wi-Fi network does not answer"
_LOST = "the Wi-Fi link was lost"


class Wlan:
    """The network role of a board with Wi-Fi. `configure` comes before everything else.

    Attributes:
        fault: why it is not up, in words for a technician; "" while it is, and before `join`.
    """

    def __init__(self, make_station, faults: dict) -> None:
        """make_station: makes the network.WLAN station; called once, through the quiet gate.

        faults: WLAN.status() of an attempt -> one of the sentences above. Below 0 the port has
        given the attempt up.
        """
        self._make_station = make_station
        self._faults = faults
        self._station = None
        self._ssid = ""
        self._password = ""
        self._gate = None
        self._context = None
        self._is_beginning = False
        # When the attempt that is under way, or the pause after one, began; None: neither is.
        self._begun_ms = None
        self._attempt_ms = 0
        self._paused_ms = None
        self._pause_ms = 0
        self._next_pause_ms = _FIRST_PAUSE_MS
        # The address that streams were opened from, "": not joined; and when it was asked for.
        self._address = ""
        self._asked_ms = 0
        self.fault = ""

    def configure(self, ssid: str, password: str, gate) -> None:
        """Say which network to join ("": none; password "": an open one), and how to stall.

        gate: quiet.Gate. Starting the radio loads its firmware: 0.7 to 0.9 s on a Pico W.
        """
        self._ssid = ssid
        self._password = password
        self._gate = gate

    @property
    def is_up(self) -> bool:
        """Is there a link, with the address that it was joined with?

        Streams do not outlive their address: with another one this is False until the next `join`.
        """
        if not self._address or not self._is_linked():
            return False
        now_ms = time.ticks_ms()
        # Negative once ticks have wrapped: days ago.
        if not 0 <= time.ticks_diff(now_ms, self._asked_ms) < _ADDRESS_MS:
            self._asked_ms = now_ms
            if self._read_address() != self._address:
                self._address = ""
        return self._address != ""

    async def join(self) -> bool:
        """Join the network, or go on joining; return whether it is up. Takes up to 20 s.

        Any number of tasks may call it, and be cancelled at any await: the radio goes on, and the
        next call waits for the rest. After an attempt that failed there is a pause, in which this
        returns at once. Raises OSError where no network is configured or the radio refuses.
        """
        if self.is_up:
            return True
        if not self._ssid or self._gate is None:
            self.fault = "no Wi-Fi configured"
            raise OSError(self.fault)
        if self._address:
            # The radio may know better than to be told to leave and come again.
            self._address = ""
            self.fault = _LOST
            self._start_attempt(_ROAM_MS)
        if self._look():
            # With another address than before, or by itself.
            return True
        if self._is_over(self._paused_ms, self._pause_ms) and self._begun_ms is None:
            await self._begin()
        while self._begun_ms is not None:
            if self._look():
                return True
            await asyncio.sleep_ms(_LOOK_MS)
        return self._look()

    async def open(self, host: str, port: int, psk: tuple[bytes, bytes] | None):
        """Open a stream, joining first; return (reader, writer). Raises OSError.

        host: an IPv4 address; anything else is refused, because a name look-up blocks the whole
        door. psk: (identity, key) for TLS-PSK, the same at every call; None for plain TCP.
        """
        if not _is_address(host):
            raise OSError("broker_host is not an IPv4 address")
        if not await self.join():
            raise OSError(self.fault)
        if psk is None:
            return await asyncio.open_connection(host, port)
        if self._context is None:
            self._context = psk_context(*psk)  # a key can be set once, so one context serves all
        return await asyncio.open_connection(host, port, ssl=self._context, server_hostname=host)

    async def exchange(self, host: str, port: int, request: bytes, timeout_ms: int) -> bytes:
        """Send a datagram, return the answer: see hal.datagram. Does not join. Raises OSError."""
        if not _is_address(host):
            raise OSError("ntp_host is not an IPv4 address")
        if not self.is_up:
            raise OSError(self.fault)
        return await exchange(host, port, request, timeout_ms)

    async def _begin(self) -> None:
        """Begin an attempt. Each of the radio's calls is a stall of its own."""
        gate = self._gate
        if gate is None or self._is_beginning:
            return
        self._is_beginning = True
        try:
            if self._station is None:
                await gate.run(self._start_radio)
            # An attempt still under way would make connect() fail, and so would one that has only
            # just been told to end.
            await gate.run(self._station.disconnect)
            await asyncio.sleep_ms(_LOOK_MS)
            await gate.run(self._station.connect, self._ssid, self._password or None)
            self._start_attempt(_ATTEMPT_MS)
        except (OSError, RuntimeError) as error:
            self.fault = "the radio refuses: " + str(error)
            self._pause()
            raise OSError(self.fault) from None
        finally:
            self._is_beginning = False

    def _start_radio(self) -> None:
        station = self._make_station()
        station.active(True)
        self._station = station

    def _start_attempt(self, attempt_ms: int) -> None:
        self._begun_ms = time.ticks_ms()
        self._attempt_ms = attempt_ms

    def _look(self) -> bool:
        """Take in how the attempt stands; return whether the network is up."""
        if self._is_linked():
            address = self._read_address()
            if address:
                self._address = address
                self._asked_ms = time.ticks_ms()
                self._begun_ms = None
                self._paused_ms = None
                self._next_pause_ms = _FIRST_PAUSE_MS
                self.fault = ""
                return True
        status = self._station.status() if self._station is not None else 0
        if self._begun_ms is not None:
            is_late = self._is_over(self._begun_ms, self._attempt_ms)
            if is_late or status < 0:
                self.fault = self._faults.get(status, _NO_ANSWER)
                self._begun_ms = None
                if self._attempt_ms == _ATTEMPT_MS:
                    self._pause()
        return False

    def _pause(self) -> None:
        """Leave the network alone for a while, so that the doors of a school do not come in step."""
        half_ms = self._next_pause_ms // 2
        self._pause_ms = half_ms + half_ms * os.urandom(1)[0] // 255
        self._next_pause_ms = min(self._next_pause_ms * 2, _LONGEST_PAUSE_MS)
        self._paused_ms = time.ticks_ms()

    def _is_linked(self) -> bool:
        return self._station is not None and self._station.isconnected()

    def _read_address(self) -> str:
        """Return the IPv4 address, "" where there is none."""
        address = self._station.ifconfig()[0]
        return "" if address == _NO_ADDRESS else address

    def _is_over(self, since_ms: "Any", length_ms: int) -> bool:
        """Has that time gone by? Negative once ticks have wrapped, days later: it has as well.

        since_ms: ticks_ms; None: long ago.
        """
        if since_ms is None:
            return True
        return not 0 <= time.ticks_diff(time.ticks_ms(), since_ms) < length_ms


def _is_address(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)
