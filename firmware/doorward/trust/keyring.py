"""The key ring: which issuers a door believes, and for what.

Layout of the body: docs/formats.md, "Key ring". A ring replaces another by the rules of TUF's root
role (TUF specification 1.0.34, 5.3): a threshold of the old roots and one of its own sign it.
"""

import struct

from .. import const
from ..values import (
    BAD_KEY,
    BAD_LENGTH,
    BAD_SIGNATURE,
    MALFORMED,
    OLD_VERSION,
    TOO_FEW_SIGNATURES,
    TOO_LARGE,
    TRUNCATED,
    UNKNOWN_ISSUER,
    WRONG_SITE,
    WRONG_TYPE,
    Refused,
)
from . import objects
from .signatures import KeyRefused, PublicKey

MAX_ROOTS = const(4)
MAX_ISSUERS = const(8)
MAX_RING_BYTES = const(100 + 8 * 394 + 5120)
ISSUER_NAME_BYTES = const(16)
ALL_GROUPS = const(0xFFFF)

# What an issuer may sign; a bit that is set here keeps its meaning.
MAY_LIST = const(1)
MAY_DENY = const(2)
MAY_LOCK_DOWN = const(4)
MAY_RELEASE = const(8)
MAY_UNLOCK = const(16)
MAY_DISABLE = const(32)
POWERS = {
    MAY_LIST: "lists",
    MAY_DENY: "deny",
    MAY_LOCK_DOWN: "lockdown",
    MAY_RELEASE: "release",
    MAY_UNLOCK: "unlock",
    MAY_DISABLE: "disable",
}
MAY_COMMAND = const(60)  # any of the last four
_KNOWN_POWERS = const(63)

_HEAD = "<BBBB"  # threshold, roots, issuers, reserved
_HEAD_BYTES = const(4)
_ISSUER_HEAD = "<16s16sHBBH"  # name, site, groups, classes, powers, modulus bytes
_ISSUER_HEAD_BYTES = const(38)


class Issuer:
    """One who may sign lists, deny lists or commands.

    Attributes:
        name: 1 to 16 ASCII characters.
        classes: bit (1 << class) is set where it may grant that class of cardholder.
        key: its PublicKey.
        site: where: a site's name, or ANY_SITE for every site that has this ring.
        groups: at which doors there: bit (n - 1) for group n; ALL_GROUPS also where a door is in
            no group.
        powers: MAY_ bits.
    """

    def __init__(
        self,
        name: str,
        classes: int,
        key: PublicKey,
        site: str = objects.ANY_SITE,
        groups: int = ALL_GROUPS,
        powers: int = MAY_LIST | MAY_DENY,
    ) -> None:
        self.name = name
        self.classes = classes
        self.key = key
        self.site = site
        self.groups = groups
        self.powers = powers

    def may_grant(self, cardholder_class: int) -> bool:
        return bool(self.classes >> cardholder_class & 1)

    def may_sign(self, power: int, site: str, groups: int) -> bool:
        """May it sign what needs `power`, for a door of `site` that is in `groups`?"""
        is_here = self.site in (objects.ANY_SITE, site)
        is_ours = self.groups == ALL_GROUPS or self.groups & groups
        return bool(self.powers & power and is_here and is_ours)


class KeyRing:
    """Root keys with their threshold, and the issuers they vouch for.

    Attributes:
        site, version, issued_s: from the object's header.
        threshold: how many roots must sign the next ring.
        roots: [PublicKey], 1 to MAX_ROOTS.
        issuers: [Issuer], 1 to MAX_ISSUERS.
    """

    def __init__(self, threshold: int, roots: list, issuers: list) -> None:
        self.site = ""
        self.version = 0
        self.issued_s = 0
        self.threshold = threshold
        self.roots = roots
        self.issuers = issuers

    def issuer(self, key_id: bytes) -> Issuer | None:
        """Return the issuer whose key has this id, or None."""
        for issuer in self.issuers:
            if issuer.key.key_id == key_id:
                return issuer
        return None

    def is_for(self, site: str) -> bool:
        return self.site in (objects.ANY_SITE, site)

    def pack(self) -> bytes:
        """Return the body of the ring's signed object."""
        body = struct.pack(_HEAD, self.threshold, len(self.roots), len(self.issuers), 0)
        for root in self.roots:
            body += struct.pack("<H", len(root.modulus)) + root.modulus
        for one in self.issuers:
            body += struct.pack(
                _ISSUER_HEAD,
                one.name.encode(),
                one.site.encode(),
                one.groups,
                one.classes,
                one.powers,
                len(one.key.modulus),
            )
            body += one.key.modulus
        return body


# MicroPython's struct raises ValueError where CPython's raises its own error.
struct_error = getattr(struct, "error", ValueError)


def parse_body(body: bytes) -> KeyRing:
    """Read the body of a key ring. Raises Refused."""
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
            name, site, groups, classes, powers, size = struct.unpack_from(_ISSUER_HEAD, body, at)
            name, site = name.rstrip(b"\x00"), site.rstrip(b"\x00")
            is_sound = objects.is_name(name) and objects.is_name(site) and groups
            if not is_sound or powers & ~_KNOWN_POWERS:
                raise Refused(MALFORMED)
            key = _key(body, at + _ISSUER_HEAD_BYTES, size)
            issuers.append(Issuer(name.decode(), classes, key, site.decode(), groups, powers))
            at += _ISSUER_HEAD_BYTES + size
    except (ValueError, struct_error):
        raise Refused(BAD_LENGTH) from None
    if at != len(body):
        raise Refused(BAD_LENGTH)
    is_unique = len({key.key_id for key in roots}) == root_count
    if not is_unique or len({issuer.key.key_id for issuer in issuers}) != issuer_count:
        raise Refused(BAD_KEY)
    return KeyRing(threshold, roots, issuers)


def _key(body: bytes, at: int, size: int) -> PublicKey:
    modulus = bytes(body[at : at + size])
    if len(modulus) != size or not size:
        raise Refused(BAD_LENGTH)
    try:
        return PublicKey(modulus)
    except KeyRefused:
        raise Refused(BAD_KEY) from None


def read_ring(data: bytes) -> KeyRing:
    """Read a whole key ring object, its signatures unseen. Raises Refused.

    This is for a ring that was verified when it came and has lain on this board's flash since:
    whoever can write there can write another root of trust as well.
    """
    if len(data) > MAX_RING_BYTES:
        raise Refused(TOO_LARGE)
    header = objects.parse_header(data)
    if header.type != objects.KEY_RING_TYPE:
        raise Refused(WRONG_TYPE)
    parsed = objects.parse_signatures(data, header.signature_count)
    if parsed is None:
        raise Refused(TRUNCATED)
    body = data[parsed[1] :]
    if header.entry_count or header.entry_bytes:
        raise Refused(BAD_LENGTH)
    objects.check_body(header, body)
    ring = parse_body(body)
    ring.site = header.site
    ring.version = header.version
    ring.issued_s = header.issued_s
    return ring


async def open_ring(data: bytes, pause) -> KeyRing:
    """Read and verify a key ring against its own roots and threshold. Raises Refused.

    That proves it consistent; that these roots are the right ones is what provisioning pins. The
    roots of the ring before it may have signed as well: that is for a door to verify that has it.
    """
    ring = read_ring(data)
    header = objects.parse_header(data)
    signatures, _ = objects.parse_signatures(data, header.signature_count) or ([], 0)
    own = {root.key_id: root for root in ring.roots}
    signers = {key_id for key_id, _ in signatures}
    if len(signers & set(own)) < ring.threshold:
        raise Refused(TOO_FEW_SIGNATURES if signers <= set(own) else UNKNOWN_ISSUER)
    digest = objects.message_hash(data[: objects.HEADER_BYTES])
    for key_id, signature in signatures:
        if key_id in own and not await own[key_id].verify(digest, signature, pause):
            raise Refused(BAD_SIGNATURE)
    return ring


async def open_successor(data: bytes, current: KeyRing, site: str, pause) -> KeyRing:
    """Read and verify the key ring that is to replace `current` at a door of `site`.

    Signed by a threshold of the current roots and of its own, and newer. It need not be the very
    next version: the old roots vouch for whatever they have signed. Raises Refused.
    """
    ring = read_ring(data)
    quorums = ((current.roots, current.threshold), (ring.roots, ring.threshold))
    await objects.verify(data, objects.parse_header(data), quorums, pause)
    if not ring.is_for(site):
        raise Refused(WRONG_SITE)
    if ring.version <= current.version:
        raise Refused(OLD_VERSION)
    return ring
