"""AES-128 CMAC (RFC 4493, NIST SP 800-38B), on whatever AES the interpreter has."""

from .. import const
from ..values import DoorwardError

KEY_BYTES = const(16)

_BLOCK_BYTES = const(16)
_MODE_ECB = const(1)
_R_128 = const(0x87)  # SP 800-38B, 5.3: reduces a subkey whose top bit is shifted out


class CmacKeyRefused(DoorwardError):
    """A key is not one of AES-128."""


class Cmac:
    """AES-128 CMAC under one key. Not for two users at once: it works in one block of its own."""

    def __init__(self, key: bytes, aes) -> None:
        """key: KEY_BYTES. aes: makes the cipher as `cryptolib.aes` does: `aes(key, 1)` has
        `encrypt(block, into)`, where both may be the same buffer. Raises CmacKeyRefused.
        """
        if len(key) != KEY_BYTES:
            raise CmacKeyRefused("CMAC key: not 16 bytes")
        self._encrypt = aes(key, _MODE_ECB).encrypt
        self._block = bytearray(_BLOCK_BYTES)
        zeros = bytes(_BLOCK_BYTES)
        self._encrypt(zeros, self._block)
        # K1 and K2 of RFC 4493, 2.3: for a last block that is whole, and for a padded one.
        self._for_whole = _doubled(self._block)
        self._for_padded = _doubled(self._for_whole)

    def tag(self, message: bytes | bytearray | memoryview) -> bytes:
        """Return the 16-byte tag over `message`; whoever wants a shorter one truncates it."""
        block = self._block
        for i in range(_BLOCK_BYTES):
            block[i] = 0
        length = len(message)
        # The last block, whole or not, is treated apart; an empty message has an empty one.
        last_at = (length - 1) // _BLOCK_BYTES * _BLOCK_BYTES if length else 0
        for at in range(0, last_at, _BLOCK_BYTES):
            for i in range(_BLOCK_BYTES):
                block[i] ^= message[at + i]
            self._encrypt(block, block)
        rest = length - last_at
        for i in range(rest):
            block[i] ^= message[last_at + i]
        subkey = self._for_whole
        if rest < _BLOCK_BYTES:
            block[rest] ^= 0x80
            subkey = self._for_padded
        for i in range(_BLOCK_BYTES):
            block[i] ^= subkey[i]
        self._encrypt(block, block)
        return bytes(block)


def _doubled(block: bytes | bytearray) -> bytes:
    """Return the block times x in GF(2^128); secret, so without a branch on its top bit."""
    doubled = bytearray(_BLOCK_BYTES)
    carry = 0
    for i in range(_BLOCK_BYTES - 1, -1, -1):
        doubled[i] = block[i] << 1 & 0xFF | carry
        carry = block[i] >> 7
    doubled[_BLOCK_BYTES - 1] ^= _R_128 * carry
    return bytes(doubled)
