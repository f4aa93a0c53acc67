"""One datagram there and one back over UDP, without a call that waits; on every port and the host."""

import asyncio
from errno import EAGAIN, ETIMEDOUT

from .. import const

# What is longer is cut to this, so that whoever wants less sees that it was too much.
MOST_BYTES = const(128)
_LOOK_MS = const(5)


async def exchange(host: str, port: int, request: bytes | bytearray, timeout_ms: int) -> bytes:
    """Send `request`, return the first datagram that host and port send back.

    host: an IPv4 literal; a name would block in its look-up. Raises OSError: none came in time, or
    there is no way there.
    """
    # Not before somebody has a network: a Pico without a radio has no such module.
    import socket

    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        link.setblocking(False)
        # A connected socket takes datagrams from this address and port and no others.
        link.connect(socket.getaddrinfo(host, port)[0][-1])
        link.send(request)
        for _ in range(timeout_ms // _LOOK_MS):
            await asyncio.sleep_ms(_LOOK_MS)
            try:
                return link.recv(MOST_BYTES)
            except OSError as error:
                if error.errno != EAGAIN:
                    raise
        raise OSError(ETIMEDOUT)
    finally:
        link.close()
