"""The key ring: which issuers a door believes, and for which classes of cardholder.

Layout of the body: docs/formats.md, "Key ring".
"""

import hashlib
import struct

from .. import const
from ..values import BAD_BODY_HASH, MALFORMED, TOO_LARGE, WRONG_TYPE, Refused
from . import objects
from .signatures import KeyRefused, PublicKey

MAX_ROOTS = const(4)
MAX_ISSUERS = const(8)
MAX_RING_BYTES = const(7168)
ISSUER_NAME_BYTES = const(16)

_HEAD = "<BBBB"  # threshold, roots, issuers, reserved
_HEAD_BYTES = const(4)
_ISSUER_HEAD = "<16sBBH"  # name, classes, reserved, modulus bytes
_ISSUER_HEAD_BYTES = const(20)


class Issuer:
    """One who may sign lists.

    Attributes:
        name: 1 to 16 ASCII characters.
        classes: bit (1 << class) is set where it may grant that class of cardholder.
        key: its PublicKey.
    """

    def __init__(self, name: str, classes: int, key: PublicKey) -> None:
        self.name = name
        self.classes = classes
        self.key = key

    def may_grant(self, cardholder_class: int) -> bool:
        return bool(self.classes >> cardholder_class & 1)


class KeyRing:
    """Root keys with their threshold, and the issuers they vouch for.

    Attributes:
        site, version: from the object's header.
        threshold: how many roots must sign the next ring.
        roots: [PublicKey], 1 to MAX_ROOTS.
        issuers: [Issuer], 1 to MAX_ISSUERS.
    """

    def __init__(self, threshold: int, roots: list, issuers: list) -> None:
        self.site = ""
        self.version = 0
        self.threshold = threshold
        self.roots = roots
        self.issuers = issuers

    def issuer(self, key_id: bytes) -> Issuer | None:
        """Return the issuer whose key has this id, or None."""
        for issuer in self.issuers:
            if issuer.key.key_id == key_id:
                return issuer
        return None

    def pack(self) -> bytes:
        """Return the body of the ring's signed object."""
        body = struct.pack(_HEAD, self.threshold, len(self.roots), len(self.issuers), 0)
        for root in self.roots:
            body += struct.pack("<H", len(root.modulus)) + root.modulus
        for issuer in self.issuers:
            modulus = issuer.key.modulus
            name = issuer.name.encode()
            body += struct.pack(_ISSUER_HEAD, name, issuer.classes, 0, len(modulus)) + modulus
        return body


def parse_body(body: bytes) -> KeyRing:
    """Read the body of a key ring. Raises Refused(MALFORMED)."""
    try:
        threshold, root_count, issuer_count, reserved = struct.unpack_from(_HEAD, body, 0)
        is_sound = (
            1 <= root_count <= MAX_ROOTS
            and 1 <= threshold <= root_count
            and 1 <= issuer_count <= MAX_ISSUERS
            and reserved == 0
        )
        if not is_sound:
            raise Refused(MALFORMED)
        at = _HEAD_BYTES
        roots = []
        for _ in range(root_count):
            (size,) = struct.unpack_from("<H", body, at)
            roots.append(_key(body, at + 2, size))
            at += 2 + size
        issuers = []
        for _ in range(issuer_count):
            name, classes, reserved, size = struct.unpack_from(_ISSUER_HEAD, body, at)
            name = name.rstrip(b"\x00")
            if reserved or not objects.is_name(name):
                raise Refused(MALFORMED)
            key = _key(body, at + _ISSUER_HEAD_BYTES, size)
            issuers.append(Issuer(name.decode(), classes, key))
            at += _ISSUER_HEAD_BYTES + size
    except (ValueError, KeyRefused, struct_error):
        raise Refused(MALFORMED) from None
    is_unique = len({key.key_id for key in roots}) == root_count
    is_unique = is_unique and len({issuer.key.key_id for issuer in issuers}) == issuer_count
    if at != len(body) or not is_unique:
        raise Refused(MALFORMED)
    return KeyRing(threshold, roots, issuers)


# MicroPython's struct raises ValueError where CPython's raises its own error.
struct_error = getattr(struct, "error", ValueError)


def _key(body: bytes, at: int, size: int) -> PublicKey:
    modulus = bytes(body[at : at + size])
    if len(modulus) != size or not size:
        raise Refused(MALFORMED)
    return PublicKey(modulus)


async def open_ring(data: bytes, pause) -> KeyRing:
    """Read and verify a key ring against its own roots and threshold. Raises Refused.

    That proves it whole and consistent; that these roots are the right ones is what provisioning
    pins.
    """
    if len(data) > MAX_RING_BYTES:
        raise Refused(TOO_LARGE)
    header = objects.parse_header(data)
    if header.type != objects.KEY_RING_TYPE:
        raise Refused(WRONG_TYPE)
    parsed = objects.parse_signatures(data, header.signature_count)
    if parsed is None:
        raise Refused(MALFORMED)
    body = data[parsed[1] :]
    if len(body) != header.body_bytes or hashlib.sha256(body).digest() != header.body_hash:
        raise Refused(BAD_BODY_HASH)
    ring = parse_body(body)
    await objects.verify(data, header, ring.roots, ring.threshold, pause)
    ring.site = header.site
    ring.version = header.version
    return ring
