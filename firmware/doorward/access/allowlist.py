"""One signed allowlist as it lies on flash: look-up without a byte of RAM per badge.

Entries are BADGE_ID_BYTES of blinded identity, sorted, then rights; behind them lies the schedule.
Layout: docs/formats.md.
"""

import hashlib
import struct

from .. import const
from ..hal.roles import FlashRegion
from ..trust.keyring import MAY_UNLOCK, Issuer
from ..trust.objects import Header
from ..values import (
    ALWAYS,
    BAD_LENGTH,
    BADGE_ID_BYTES,
    CLASSES,
    FRESH,
    HARD_STALE,
    INSIDE_HOURS,
    NO_HOUR,
    RESPONDER,
    SOFT_STALE,
    STAFF,
    Entry,
    Refused,
)
from .schedule import DOOR_LEVEL, MAX_SCHEDULE_BYTES, Schedule

ENTRY_BYTES = const(20)
MAX_LEVEL = const(15)

# 51 rows: hashing and checking them takes about 5 ms on an RP2040.
_CHECK_BYTES = const(1020)

_CLASS_MASK = const(0x0F)
_MUST_AUTHENTICATE = const(0x10)
_EXTENDED_TIME = const(0x20)
_KNOWN_RIGHTS = const(0x3F)
_RIGHTS = "<BBII"  # class and flags, level, valid from, valid until; behind the badge id


def pack_entry(badge_id: bytes, entry: Entry) -> bytes:
    """Return the ENTRY_BYTES of one row."""
    rights = entry.cardholder_class
    if entry.must_authenticate:
        rights |= _MUST_AUTHENTICATE
    if entry.has_extended_time:
        rights |= _EXTENDED_TIME
    return badge_id + struct.pack(
        _RIGHTS, rights, entry.level, entry.valid_from_s, entry.valid_until_s
    )


def unpack_entry(row: bytes | bytearray | memoryview, at: int, entry: Entry) -> bool:
    """Fill `entry` from the row at offset `at`. False where a value is none this firmware knows."""
    rights, entry.level, entry.valid_from_s, entry.valid_until_s = struct.unpack_from(
        _RIGHTS, row, at + BADGE_ID_BYTES
    )
    entry.cardholder_class = rights & _CLASS_MASK
    entry.must_authenticate = bool(rights & _MUST_AUTHENTICATE)
    entry.has_extended_time = bool(rights & _EXTENDED_TIME)
    is_known = not rights & ~_KNOWN_RIGHTS and entry.cardholder_class in CLASSES
    return is_known and entry.level <= MAX_LEVEL


def schedule_bytes(header: Header) -> int:
    """Return how much of a list's body lies behind its entries. Raises Refused(BAD_LENGTH)."""
    rest = header.body_bytes - header.entry_count * ENTRY_BYTES
    if header.entry_bytes != ENTRY_BYTES or not 0 <= rest <= MAX_SCHEDULE_BYTES:
        raise Refused(BAD_LENGTH)
    return rest


class Allowlist:
    """A list whose header was verified, with its body at `offset` in the list region.

    Attributes:
        header: its trust.objects.Header, whose lengths are sound.
        issuer: its trust.keyring.Issuer, by the ring in force now.
        schedule: its Schedule, once it was read.
    """

    def __init__(self, region: FlashRegion, offset: int, header: Header, issuer: Issuer) -> None:
        self.header = header
        self.issuer = issuer
        self.schedule = Schedule()
        self._region = region
        self._offset = offset
        # Memory-mapped flash is searched where it lies; else a row at a time comes into this.
        self._row = bytearray(ENTRY_BYTES)

    def read_schedule(self) -> None:
        """Read the hours of its levels into memory. Raises Refused(BAD_SCHEDULE).

        They were checked when the list came in force, and are read again at each start.
        """
        section = bytearray(schedule_bytes(self.header))
        self._region.read_into(self._schedule_at(), section)
        self.schedule = Schedule(section)

    def find(self, badge_id: bytes, entry: Entry) -> bool:
        """Fill `entry` and return True if the list has `badge_id`. Binary search, 17 rows at most."""
        low = 0
        high = self.header.entry_count
        view = self._region.view
        row = self._row if view is None else view
        at = 0
        while low < high:
            middle = (low + high) >> 1
            at = self._offset + middle * ENTRY_BYTES
            if view is None:
                self._region.read_into(at, row)
                at = 0
            i = 0
            while i < BADGE_ID_BYTES and row[at + i] == badge_id[i]:
                i += 1
            if i == BADGE_ID_BYTES:
                entry.issuer_id = self.header.issuer_id
                entry.list_version = self.header.version
                # The ring may have been replaced since the list was taken: its scope counts now.
                return unpack_entry(row, at, entry) and self.issuer.may_grant(
                    entry.cardholder_class
                )
            if row[at + i] < badge_id[i]:
                low = middle + 1
            else:
                high = middle
        return False

    def staleness(self, cardholder_class: int, now_s: int) -> int:
        """Return FRESH, SOFT_STALE or HARD_STALE at `now_s` by the list's own signed policy."""
        header = self.header
        age_s = now_s - header.issued_s
        hard_s = header.responder_stale_s if cardholder_class == RESPONDER else header.hard_stale_s
        if hard_s and age_s >= hard_s:
            return HARD_STALE
        if header.soft_stale_s and age_s >= header.soft_stale_s:
            return SOFT_STALE
        return FRESH

    def hours(self, level: int, now_s: int, is_clock_set: bool) -> int:
        """Return ALWAYS, INSIDE_HOURS, OUTSIDE_HOURS, HOLIDAY or NO_HOUR for a level at `now_s`."""
        schedule = self.schedule
        if is_clock_set:
            return schedule.look(level, now_s)
        if not schedule.has_hours(level):
            return ALWAYS
        return INSIDE_HOURS if schedule.opens_without_clock(level) else NO_HOUR

    def unlocks(self, now_s: int) -> bool:
        """Is the door to stand unlocked at `now_s`, by the hours for that and the issuer's power?

        now_s: Unix seconds, 0 with the clock unset. A list that is too old to open for staff is
        too old to leave the door open for everyone.
        """
        return (
            now_s > 0
            and bool(self.issuer.powers & MAY_UNLOCK)
            and self.schedule.look(DOOR_LEVEL, now_s) == INSIDE_HOURS
            and self.staleness(STAFF, now_s) != HARD_STALE
        )

    async def is_whole(self, pause, look=None) -> bool:
        """Does the body on flash hash to what the header says?

        pause: async callable, awaited after every 51 rows. look: called with those rows, a
        memoryview, before it; not with the schedule.
        """
        digest = hashlib.sha256()
        buf = bytearray(_CHECK_BYTES)
        done = 0
        length = self.header.body_bytes
        rows_end = self._schedule_at() - self._offset
        while done < length:
            are_rows = done < rows_end
            left = (rows_end if are_rows else length) - done
            piece = memoryview(buf)[: min(_CHECK_BYTES, left)]
            self._region.read_into(self._offset + done, piece)
            digest.update(piece)
            if are_rows and look is not None:
                look(piece)
            done += len(piece)
            await pause()
        return digest.digest() == self.header.body_hash

    def _schedule_at(self) -> int:
        return self._offset + self.header.entry_count * ENTRY_BYTES
