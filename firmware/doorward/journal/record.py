"""One journal record: 64 bytes, chained to the one before. Layout: docs/formats.md, "Journal".

Runs on CPython too: the collector and `doorctl log` read and verify records with this very code.
"""

import hashlib
import struct
from binascii import crc32

from .. import const
from ..trust.primitives import HmacKey, is_equal
from ..values import BADGE_ID_BYTES, RECORDS_OVERWRITTEN, Event

RECORD_BYTES = const(64)
SECTOR_RECORDS = const(63)
TAG_BYTES = const(16)
KEY_BYTES = const(32)
JOURNAL_ID_BYTES = const(8)
ISSUER_BYTES = const(2)
FIRST_TAG = bytes(TAG_BYTES)

_FORMAT = const(1)
_BODY = "<BBBBIHBBII10sHHI2sI"
_BODY_BYTES = const(44)
_CRC_AT = const(60)
_SEQUENCE_AT = const(4)
# A tag that stands in a record's place for badge, issuer and list version.
_TAG_PARTS = "<10s2sI"
# Tap timings are kept in units of 10 us; 0.65 s is the longest that can be said.
_TIMING_UNIT_US = const(10)
_LONGEST = const(0xFFFF)


class Record:
    """An Event with its place in the journal.

    Attributes:
        sequence: counts all records of a door, never restarts; from 1.
        boot: number of the start it happened in.
        clock_quality, wall_s: Unix seconds and how good they are; 0 where the clock was unset.
        event: the Event; its issuer is the first ISSUER_BYTES of the issuer's key id.
        tag: chained HMAC.
        tag_before: of RECORDS_OVERWRITTEN alone: what the oldest record that is left is chained
            to, for whoever never got the one before it.
    """

    def __init__(self, event: Event, sequence: int, boot: int, wall_s: int, quality: int) -> None:
        self.event = event
        self.sequence = sequence
        self.boot = boot
        self.wall_s = wall_s
        self.clock_quality = quality
        self.tag = FIRST_TAG
        self.tag_before = FIRST_TAG

    def pack(self, key: HmacKey, previous_tag: bytes) -> bytes:
        """Return the RECORD_BYTES and set `tag`, chained to the previous one."""
        event = self.event
        badge_id, issuer_id, list_version = event.badge_id, event.issuer_id, event.list_version
        if event.code == RECORDS_OVERWRITTEN:
            badge_id, issuer_id, list_version = struct.unpack(_TAG_PARTS, self.tag_before)
        body = struct.pack(
            _BODY,
            _FORMAT,
            event.code,
            event.reason,
            self.clock_quality,
            self.sequence,
            self.boot & 0xFFFF,
            event.posture << 4 | event.cardholder_class,
            event.level,
            event.ticks_ms & 0xFFFFFFFF,
            self.wall_s,
            badge_id,
            min(event.decision_us // _TIMING_UNIT_US, _LONGEST),
            min(event.relay_us // _TIMING_UNIT_US, _LONGEST),
            list_version,
            issuer_id[:ISSUER_BYTES],
            event.detail & 0xFFFFFFFF,
        )
        self.tag = key.tag(previous_tag, body)[:TAG_BYTES]
        packed = body + self.tag
        return packed + struct.pack("<I", crc32(packed) & 0xFFFFFFFF)


def unpack(data: bytes | bytearray | memoryview) -> Record | None:
    """Read RECORD_BYTES. None where they are no whole record of this format."""
    data = bytes(data)
    if len(data) != RECORD_BYTES or not sequence_of(data):
        return None
    (
        _,
        code,
        reason,
        quality,
        sequence,
        boot,
        posture_and_class,
        level,
        ticks_ms,
        wall_s,
        badge_id,
        decision,
        relay,
        list_version,
        issuer_id,
        detail,
    ) = struct.unpack_from(_BODY, data, 0)
    event = Event(code, ticks_ms, reason=reason, detail=detail)
    event.posture = posture_and_class >> 4
    event.cardholder_class = posture_and_class & 0x0F
    event.level = level
    event.decision_us = decision * _TIMING_UNIT_US
    event.relay_us = relay * _TIMING_UNIT_US
    record = Record(event, sequence, boot, wall_s, quality)
    record.tag = data[_BODY_BYTES:_CRC_AT]
    if code == RECORDS_OVERWRITTEN:
        record.tag_before = struct.pack(_TAG_PARTS, badge_id, issuer_id, list_version)
    else:
        event.badge_id = badge_id if badge_id != bytes(BADGE_ID_BYTES) else b""
        event.list_version = list_version
        event.issuer_id = issuer_id
    return record


def sequence_of(data: bytes | bytearray | memoryview) -> int:
    """Return the sequence of a record of RECORD_BYTES, 0 where it is no whole one of this format."""
    if data[0] != _FORMAT:
        return 0
    (crc,) = struct.unpack_from("<I", data, _CRC_AT)
    # A slice of a memoryview copies nothing.
    if crc32(memoryview(data)[:_CRC_AT]) & 0xFFFFFFFF != crc:
        return 0
    return struct.unpack_from("<I", data, _SEQUENCE_AT)[0]


def tag_of(data: bytes | bytearray | memoryview) -> bytes:
    """Return the tag of a record of RECORD_BYTES."""
    return bytes(data[_BODY_BYTES:_CRC_AT])


def next_key(key: bytes) -> bytes:
    """Return the key of the sector behind the one that `key` is of; there is no way back."""
    return hashlib.sha256(key + b"next").digest()


def closing_tag(key: HmacKey, tag: bytes) -> bytes:
    """Return what the first record of the next sector is chained to: that `tag` is the last one
    under `key`.

    Without it whoever has the next key could say of any record that its sector ended there, the
    rest torn by power cuts, and go on under his own.
    """
    return key.tag(tag, b"end")[:TAG_BYTES]


def follows(data: bytes | bytearray, key: HmacKey, previous_tag: bytes) -> bool:
    """Was this record written by a holder of `key` directly behind `previous_tag`?"""
    expected = key.tag(previous_tag, data[:_BODY_BYTES])[:TAG_BYTES]
    return is_equal(expected, data[_BODY_BYTES:_CRC_AT])
