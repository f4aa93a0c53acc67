"""Signed objects: the header that every type shares, and the signatures behind it.

An object is header, signatures, body. A signature is over a domain-separation string and the
header, and the header holds the SHA-256 of the body: a door knows whether it wants an object, and
whether it may believe it, before it has taken one byte of the body. Layout: docs/formats.md.
"""

import hashlib
import struct

from .. import const
from ..values import (
    BAD_BODY_HASH,
    BAD_LENGTH,
    BAD_SIGNATURE,
    MALFORMED,
    NOT_AN_OBJECT,
    TOO_FEW_SIGNATURES,
    TOO_LARGE,
    TRUNCATED,
    UNKNOWN_FORMAT,
    UNKNOWN_ISSUER,
    WRONG_TYPE,
    Refused,
)
from .signatures import KEY_ID_BYTES, MAX_SIGNATURE_BYTES

KEY_RING_TYPE = const(1)
ALLOWLIST_TYPE = const(2)
DENY_LIST_TYPE = const(3)
COMMAND_TYPE = const(4)
TYPES = {
    KEY_RING_TYPE: "key ring",
    ALLOWLIST_TYPE: "allowlist",
    DENY_LIST_TYPE: "deny list",
    COMMAND_TYPE: "command",
}

HEADER_BYTES = const(100)
SITE_BYTES = const(16)
ANY_SITE = "*"
# A key ring whose roots all change is signed by four old ones and four new ones.
MAX_SIGNATURES = const(8)
MAX_BODY_BYTES = const(4_000_000)
# Long enough for the largest header with the most signatures of the largest key.
MAX_HEAD_BYTES = const(100 + 8 * (8 + 2 + 384))
# What a body may have, by type: checked before memory is taken for it.
MAX_BODIES = {
    KEY_RING_TYPE: 5120,
    ALLOWLIST_TYPE: MAX_BODY_BYTES,
    DENY_LIST_TYPE: 65535,  # the cap on its entries is lower, and has a text of its own
    COMMAND_TYPE: 64,
}

_MAGIC = b"DWSO"
_FORMAT = const(1)
_DOMAIN = b"Doorward signed object 1\x00"
# magic, format, type, signatures, 0, site, version, issued, soft, hard, responder, count, size,
# groups, deny version, body bytes, body hash, issuer
_HEADER = "<4sBBBB16sIIIIIIHHII32s8s"
_SIGNATURE_HEAD = "<8sH"
_SIGNATURE_HEAD_BYTES = const(10)


class Header:
    """What an object says of itself.

    Attributes:
        type: a key of TYPES.
        signature_count: 1 to MAX_SIGNATURES.
        site: 1 to 16 ASCII characters; ANY_SITE in a key ring of several.
        version: 1 to 2^32 - 1, higher is newer; of a command its counter.
        issued_s: Unix seconds.
        soft_stale_s, hard_stale_s, responder_stale_s: ages in seconds after `issued_s`, 0 = never.
            The second is for everyone but responders, the third for responders.
        groups: bit (n - 1) set for each door group n it is meant for; 0 = every door of the site.
        includes_deny: version of the issuer's deny list that this list has made needless, 0 = none.
            Ages, groups and includes_deny are an allowlist's; in every other type they are 0.
        entry_count, entry_bytes: the body's fixed-size entries, 0 where it has none. Behind an
            allowlist's lies its schedule.
        body_bytes, body_hash: length and SHA-256 of the body.
        issuer_id: key id of the issuer, zeros for a key ring.
    """

    def __init__(self) -> None:
        self.type = 0
        self.signature_count = 1
        self.site = ""
        self.version = 0
        self.issued_s = 0
        self.soft_stale_s = 0
        self.hard_stale_s = 0
        self.responder_stale_s = 0
        self.entry_count = 0
        self.entry_bytes = 0
        self.groups = 0
        self.includes_deny = 0
        self.body_bytes = 0
        self.body_hash = bytes(32)
        self.issuer_id = bytes(KEY_ID_BYTES)

    def pack(self) -> bytes:
        """Return the HEADER_BYTES of this header."""
        return struct.pack(
            _HEADER,
            _MAGIC,
            _FORMAT,
            self.type,
            self.signature_count,
            0,
            self.site.encode(),
            self.version,
            self.issued_s,
            self.soft_stale_s,
            self.hard_stale_s,
            self.responder_stale_s,
            self.entry_count,
            self.entry_bytes,
            self.groups,
            self.includes_deny,
            self.body_bytes,
            self.body_hash,
            self.issuer_id,
        )


def parse_header(data: bytes) -> Header:
    """Read a header from the first HEADER_BYTES of `data`. Raises Refused.

    Only the structure is checked here: site, version and issuer are for whoever holds the door's
    own. Every reserved byte must be zero, so that a later format cannot be half understood.
    """
    if data[:4] != _MAGIC:
        raise Refused(NOT_AN_OBJECT)
    if len(data) < HEADER_BYTES:
        raise Refused(TRUNCATED)
    header = Header()
    (
        _,
        version_of_format,
        header.type,
        header.signature_count,
        reserved,
        site,
        header.version,
        header.issued_s,
        header.soft_stale_s,
        header.hard_stale_s,
        header.responder_stale_s,
        header.entry_count,
        header.entry_bytes,
        header.groups,
        header.includes_deny,
        header.body_bytes,
        header.body_hash,
        header.issuer_id,
    ) = struct.unpack(_HEADER, data[:HEADER_BYTES])
    if version_of_format != _FORMAT:
        raise Refused(UNKNOWN_FORMAT)
    if header.type not in TYPES:
        raise Refused(WRONG_TYPE)
    name = site.rstrip(b"\x00")
    is_sound = (
        1 <= header.signature_count <= MAX_SIGNATURES
        and reserved == 0
        and is_name(name)
        and header.version > 0
    )
    if header.type != ALLOWLIST_TYPE:
        ages = header.soft_stale_s | header.hard_stale_s | header.responder_stale_s
        is_sound = is_sound and not ages | header.includes_deny | header.groups
    if not is_sound:
        raise Refused(MALFORMED)
    if header.body_bytes > MAX_BODIES[header.type]:
        raise Refused(TOO_LARGE)
    entries = header.entry_count * header.entry_bytes
    is_filled = entries in (0, header.body_bytes)
    if not is_filled and (header.type != ALLOWLIST_TYPE or entries > header.body_bytes):
        raise Refused(BAD_LENGTH)
    header.site = name.decode()
    return header


def is_name(name: bytes) -> bool:
    """Is it 1 to 16 printable ASCII characters without a space?"""
    return 1 <= len(name) <= SITE_BYTES and all(0x20 < byte < 0x7F for byte in name)


def message_hash(header: bytes) -> bytes:
    """Return the SHA-256 that the signatures of an object with this header are over."""
    digest = hashlib.sha256(_DOMAIN)
    digest.update(header)
    return digest.digest()


def check_body(header: Header, body: bytes | bytearray) -> None:
    """Refuse a body that is not the one the header was signed over. Raises Refused."""
    if len(body) != header.body_bytes:
        raise Refused(BAD_LENGTH)
    if hashlib.sha256(body).digest() != header.body_hash:
        raise Refused(BAD_BODY_HASH)


def pack_signature(key_id: bytes, signature: bytes) -> bytes:
    """Return one signature block: key id, length, signature."""
    return struct.pack(_SIGNATURE_HEAD, key_id, len(signature)) + signature


def parse_signatures(data: bytes, count: int) -> tuple[list, int] | None:
    """Read `count` signature blocks that stand at HEADER_BYTES in `data`.

    Returns ([(key id, signature)], offset of the body), or None where `data` ends before them.
    Raises Refused.
    """
    at = HEADER_BYTES
    signatures = []
    for _ in range(count):
        if at + _SIGNATURE_HEAD_BYTES > len(data):
            return None
        key_id, length = struct.unpack_from(_SIGNATURE_HEAD, data, at)
        if not 1 <= length <= MAX_SIGNATURE_BYTES:
            raise Refused(BAD_LENGTH)
        at += _SIGNATURE_HEAD_BYTES
        if at + length > len(data):
            return None
        signatures.append((key_id, bytes(data[at : at + length])))
        at += length
    return signatures, at


async def verify(data: bytes, header: Header, quorums, pause) -> int:
    """Verify the signatures of the object whose first bytes are `data`; return the body's offset.

    quorums: ((PublicKeys, threshold), ...): of each so many different ones must have signed.
    A key that signed twice, or a signature by anyone else, refuses the whole object: not one bit
    of it can be changed. Raises Refused.
    """
    parsed = parse_signatures(data, header.signature_count)
    if parsed is None:
        raise Refused(TRUNCATED)
    signatures, body_at = parsed
    by_id = {key.key_id: key for keys, _ in quorums for key in keys}
    for key_id, _ in signatures:
        if key_id not in by_id:
            raise Refused(UNKNOWN_ISSUER)
    signers = {key_id for key_id, _ in signatures}
    if len(signers) != len(signatures):
        raise Refused(MALFORMED)
    for keys, threshold in quorums:
        if len({key.key_id for key in keys} & signers) < threshold:
            raise Refused(TOO_FEW_SIGNATURES)
    digest = message_hash(data[:HEADER_BYTES])
    for key_id, signature in signatures:
        if not await by_id[key_id].verify(digest, signature, pause):
            raise Refused(BAD_SIGNATURE)
    return body_at
