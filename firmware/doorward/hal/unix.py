"""The unix port: flash as a file, sockets of the host, a console on a file descriptor.

Runs on CPython too, where doorctl prepares a door's flash file with it. Pins and SPI come from
whoever builds the board; the host has none.
"""

import os

from ..values import POWER_ON, RESTART_CAUSES
from .datagram import exchange
from .roles import FlashFault, FlashRegion
from .tls import psk_context

_FLASH_CHUNK_BYTES = 4096


class FlashFile:
    """A NOR flash in a file: erased is 0xFF, programming only clears bits."""

    def __init__(self, path: str, size_bytes: int) -> None:
        """Open `path`, made and erased where it is missing or too short. Raises OSError."""
        try:
            self._file = open(path, "r+b", buffering=0)
        except OSError:
            self._file = open(path, "w+b", buffering=0)
        blank = b"\xff" * _FLASH_CHUNK_BYTES
        length = self._file.seek(0, 2)
        while length < size_bytes:
            length += self._file.write(blank[: min(_FLASH_CHUNK_BYTES, size_bytes - length)])
        self.size_bytes = size_bytes

    def region(self, place: tuple[int, int]) -> FlashRegion:
        """Return the FlashRegion at (offset, bytes)."""
        return _FileRegion(self._file, place[0], place[1])

    def close(self) -> None:
        self._file.close()


class _FileRegion(FlashRegion):
    def __init__(self, file, start: int, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._file = file
        self._start = start

    def read_into(self, offset: int, buf: bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        self._file.seek(self._start + offset)
        if self._file.readinto(buf) != len(buf):
            raise FlashFault("flash file: short read")

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        self._file.seek(self._start + offset)
        old = self._file.read(len(buf))
        new = bytes(a & b for a, b in zip(old, buf))
        self._file.seek(self._start + offset)
        if self._file.write(new) != len(new):
            raise FlashFault("flash file: short write")

    def erase(self, offset: int) -> None:
        self.check_range(offset, _FLASH_CHUNK_BYTES)
        self._file.seek(self._start + offset)
        self._file.write(b"\xff" * _FLASH_CHUNK_BYTES)


class Network:
    """The host's own network, always there. Streams have the shape of asyncio's."""

    def __init__(self) -> None:
        self.is_up = True
        self.fault = ""
        self._context = None

    def configure(self, ssid: str, password: str, gate) -> None:
        """The host chose its own network."""

    async def join(self) -> bool:
        """Join the network. The host has joined its own."""
        return True

    async def open(self, host: str, port: int, psk: tuple[bytes, bytes] | None):
        """Open a stream; return (reader, writer). psk: (identity, key) for TLS-PSK. Raises OSError.

        host is an IP address: a name look-up would block.
        """
        import asyncio

        if psk is None:
            return await asyncio.open_connection(host, port)
        if self._context is None:
            self._context = psk_context(*psk)  # a key can be set once, so one context serves all
        return await asyncio.open_connection(host, port, ssl=self._context, server_hostname=host)

    async def exchange(self, host: str, port: int, request: bytes, timeout_ms: int) -> bytes:
        """Send a datagram, return the answer: see hal.datagram. Raises OSError."""
        return await exchange(host, port, request, timeout_ms)


def restart_cause() -> int:
    """Return the cause that DOORWARD_RESTART_CAUSE names, for whoever holds the process and its
    power; without it POWER_ON."""
    named = os.getenv("DOORWARD_RESTART_CAUSE")
    for cause, name in RESTART_CAUSES.items():
        if name == named:
            return cause
    return POWER_ON


def random_bytes(count: int) -> bytes:
    """Return bytes from the host's own source."""
    return os.urandom(count)


def console(descriptor: int):
    """Return the stream on an inherited non-blocking file descriptor."""
    return open(descriptor, "r+b", buffering=0)
