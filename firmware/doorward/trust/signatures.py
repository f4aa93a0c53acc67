"""RSASSA-PSS verification (RFC 8017, 8.1.2) with SHA-256, MGF1-SHA256, salt 32, e = 65537.

Verification only: MicroPython's `pow` is not constant in time, which public data allows and
signing would not. The exponentiation is 16 squarings and one multiplication, with a pause after
each, because one `pow` holds an RP2040 for 140 ms (2048 bits).
"""

import hashlib

from .. import const
from ..values import DoorwardError
from .primitives import is_equal

_HASH_BYTES = const(32)
_SALT_BYTES = const(32)
_MIN_BITS = const(2048)
_MAX_BITS = const(3072)

KEY_ID_BYTES = const(8)
MAX_SIGNATURE_BYTES = const(384)


class KeyRefused(DoorwardError):
    """A public key is not one this firmware verifies with."""


class PublicKey:
    """An RSA public key with e = 65537.

    Attributes:
        modulus: big-endian bytes.
        key_id: first 8 bytes of the SHA-256 of `modulus`.
    """

    def __init__(self, modulus: bytes) -> None:
        """modulus: 2048 to 3072 bits, a whole number of bytes, top bit set. Raises KeyRefused."""
        bits = len(modulus) * 8
        if not _MIN_BITS <= bits <= _MAX_BITS or modulus[0] < 0x80 or not modulus[-1] & 1:
            raise KeyRefused("RSA modulus: not an odd number of 2048 to 3072 bits")
        self.modulus = modulus
        self.key_id = hashlib.sha256(modulus).digest()[:KEY_ID_BYTES]
        self._n = int.from_bytes(modulus, "big")

    async def verify(self, message_hash: bytes, signature: bytes, pause) -> bool:
        """Is `signature` this key's over the message with the SHA-256 `message_hash`?

        pause: async callable, awaited between slices of 9 to 28 ms on an RP2040.
        """
        k = len(self.modulus)
        if len(signature) != k:
            return False
        s = int.from_bytes(signature, "big")
        n = self._n
        if s >= n:
            return False
        power = s
        for _ in range(16):
            power = power * power % n
            await pause()
        encoded = (power * s % n).to_bytes(k, "big")
        await pause()
        return _is_pss(message_hash, encoded)


def _is_pss(message_hash: bytes, encoded: bytes) -> bool:
    """EMSA-PSS-VERIFY (RFC 8017, 9.1.2) for a modulus of whole bytes, so emBits = 8 k - 1."""
    if encoded[-1] != 0xBC or encoded[0] & 0x80:
        return False
    masked_bytes = len(encoded) - _HASH_BYTES - 1
    h = encoded[masked_bytes:-1]
    mask = _mgf1(h, masked_bytes)
    block = bytearray(masked_bytes)
    for i in range(masked_bytes):
        block[i] = encoded[i] ^ mask[i]
    block[0] &= 0x7F
    salt = bytes(block[masked_bytes - _SALT_BYTES :])
    expected = hashlib.sha256(bytes(8) + message_hash + salt).digest()
    # The whole block is rebuilt and compared, not scanned: no lenient reading of the padding.
    zeros = masked_bytes - _SALT_BYTES - 1
    return is_equal(bytes(zeros) + b"\x01" + salt, bytes(block)) & is_equal(expected, h)


def _mgf1(seed: bytes, length: int) -> bytes:
    """Mask generation function MGF1 with SHA-256 (RFC 8017, B.2.1)."""
    mask = b""
    counter = 0
    while len(mask) < length:
        mask += hashlib.sha256(seed + counter.to_bytes(4, "big")).digest()
        counter += 1
    return mask[:length]
