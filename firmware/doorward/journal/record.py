"""One journal record: 64 bytes, chained to the one before. Layout: docs/formats.md, "Journal".

Runs on CPython too: the collector and `doorctl log` read records with this very code.
"""

import struct
from binascii import crc32

from .. import const
from ..trust.primitives import HmacKey, is_equal
from ..values import BADGE_ID_BYTES, Event

RECORD_BYTES = const(64)
TAG_BYTES = const(16)
ISSUER_BYTES = const(2)
FIRST_TAG = bytes(TAG_BYTES)

_FORMAT = const(1)
_BODY = "<BBBBIHBBII10sHHI2sI"
_BODY_BYTES = const(44)
_CRC_AT = const(60)
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
    """

    def __init__(self, event: Event, sequence: int, boot: int, wall_s: int, quality: int) -> None:
        self.event = event
        self.sequence = sequence
        self.boot = boot
        self.wall_s = wall_s
        self.clock_quality = quality
        self.tag = FIRST_TAG

    def pack(self, key: HmacKey, previous_tag: bytes) -> bytes:
        """Return the RECORD_BYTES and set `tag`, chained to the previous record's."""
        event = self.event
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
            event.badge_id,
            min(event.decision_us // _TIMING_UNIT_US, _LONGEST),
            min(event.relay_us // _TIMING_UNIT_US, _LONGEST),
            event.list_version,
            event.issuer_id[:ISSUER_BYTES],
            event.detail & 0xFFFFFFFF,
        )
        self.tag = key.tag(previous_tag, body)[:TAG_BYTES]
        packed = body + self.tag
        return packed + struct.pack("<I", crc32(packed) & 0xFFFFFFFF)


def unpack(data: bytes | bytearray | memoryview) -> Record | None:
    """Read RECORD_BYTES. None where they are no whole record of this format."""
    data = bytes(data)
    if len(data) != RECORD_BYTES or data[0] != _FORMAT:
        return None
    if crc32(data[:_CRC_AT]) & 0xFFFFFFFF != struct.unpack_from("<I", data, _CRC_AT)[0]:
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
    event.badge_id = badge_id if badge_id != bytes(BADGE_ID_BYTES) else b""
    event.decision_us = decision * _TIMING_UNIT_US
    event.relay_us = relay * _TIMING_UNIT_US
    event.list_version = list_version
    event.issuer_id = issuer_id
    record = Record(event, sequence, boot, wall_s, quality)
    record.tag = data[_BODY_BYTES:_CRC_AT]
    return record


def follows(data: bytes, key: HmacKey, previous_tag: bytes) -> bool:
    """Was this record written by a holder of `key` directly behind the one with `previous_tag`?"""
    expected = key.tag(previous_tag, data[:_BODY_BYTES])[:TAG_BYTES]
    return is_equal(expected, data[_BODY_BYTES:_CRC_AT])
