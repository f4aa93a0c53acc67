"""Hashes, keyed hashes and comparison, on what stock MicroPython has: SHA-256 only."""

import hashlib

from .. import const

_BLOCK_BYTES = const(64)


class HmacKey:
    """HMAC-SHA256 under one key (RFC 2104, FIPS 198-1)."""

    def __init__(self, key: bytes) -> None:
        """key: any length; longer than 64 bytes is hashed first."""
        if len(key) > _BLOCK_BYTES:
            key = hashlib.sha256(key).digest()
        key = key + bytes(_BLOCK_BYTES - len(key))
        self._inner = bytes(byte ^ 0x36 for byte in key)
        self._outer = bytes(byte ^ 0x5C for byte in key)

    def tag(self, *parts) -> bytes:
        """Return the 32-byte tag over the concatenation of `parts`: about 0.5 ms on an RP2040."""
        inner = hashlib.sha256(self._inner)
        for part in parts:
            inner.update(part)
        outer = hashlib.sha256(self._outer)
        outer.update(inner.digest())
        return outer.digest()


def is_equal(left: bytes, right: bytes) -> bool:
    """Compare two byte strings in time that depends on their length alone."""
    if len(left) != len(right):
        return False
    difference = 0
    for i in range(len(left)):
        difference |= left[i] ^ right[i]
    return difference == 0


async def no_pause() -> None:
    """The pause of one who may hold the processor: goes on at once."""


def run_through(coroutine):
    """Run a coroutine whose every pause is `no_pause` to its end and return its result.

    What the board steps through between taps, the host runs in one go: same code, no event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the coroutine waits for something")
