"""Look-up in a list on flash, mapped and read by pieces; staleness; wholeness."""

import struct
import unittest
from hashlib import sha256

from doorward.access.allowlist import (
    ENTRY_BYTES,
    Allowlist,
    pack_entry,
    schedule_bytes,
    unpack_entry,
)
from doorward.access.schedule import DOOR_LEVEL, MAX_SCHEDULE_BYTES
from doorward.trust.keyring import MAY_LIST, MAY_UNLOCK, Issuer
from doorward.trust.objects import Header
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import PublicKey
from doorward.values import (
    ALWAYS,
    BAD_LENGTH,
    BAD_SCHEDULE,
    FRESH,
    HARD_STALE,
    HOLIDAY,
    INSIDE_HOURS,
    NO_HOUR,
    OUTSIDE_HOURS,
    RESPONDER,
    SOFT_STALE,
    STAFF,
    VISITOR,
    Entry,
    Refused,
)
from support import MemoryFlash

OFFSET = 4096 + 362  # behind header and signature of a second extent
KEY = PublicKey(b"\x80" + bytes(254) + b"\x01")
MONDAY_S = 20717 * 86400  # 2026-09-21
COUNTS = (0, 1, 2, 3, 51, 52, 300)


def lengths_into(seen):
    """Return what is_whole may show rows to: it notes how many bytes they have."""
    return lambda rows: seen.append(len(rows))


def badge_id(number):
    """Return ids that differ in few bytes, early and late ones, and sort by number."""
    return bytes((number >> 8, number & 0xFF)) + bytes(6) + bytes((7, number & 0xFF))


def entry(
    kind=STAFF,
    level=0,
    valid_from_s=0,
    valid_until_s=0,
    must_authenticate=False,
    has_extended_time=False,
):
    made = Entry()
    made.cardholder_class = kind
    made.level = level
    made.valid_from_s = valid_from_s
    made.valid_until_s = valid_until_s
    made.must_authenticate = must_authenticate
    made.has_extended_time = has_extended_time
    return made


def hours(*levels, holidays=()):
    """Return a schedule in UTC. levels: (level, flags, from, until), from Monday to Friday."""
    made = struct.pack("<hh10xBB", 0, 0, len(holidays), len(levels))
    for day in holidays:
        made += struct.pack("<HBB", day, 1, 0)
    for level, flags, begin, end in levels:
        made += struct.pack("<BBBBBBHH", level, flags, 1, 0, 0x1F, 0, begin, end)
    return made


def allowlist(count, is_mapped=False, schedule=b"", powers=MAY_LIST):
    """Return (list of badges 1, 3, 5, ..., its flash)."""
    flash = MemoryFlash(16384, is_mapped)
    body = b"".join(
        pack_entry(badge_id(2 * i + 1), entry(level=i % 16, valid_until_s=i)) for i in range(count)
    )
    body += schedule
    flash.data[OFFSET : OFFSET + len(body)] = body
    header = Header()
    header.entry_count = count
    header.entry_bytes = ENTRY_BYTES
    header.body_bytes = len(body)
    header.body_hash = sha256(body).digest()
    header.issuer_id = b"issuerid"
    header.version = 9
    issuer = Issuer("school", 1 << STAFF | 1 << VISITOR, KEY, powers=powers)
    return Allowlist(flash, OFFSET, header, issuer), flash


class EntryTest(unittest.TestCase):
    def test_round_trip(self):
        packed = pack_entry(b"0123456789", entry(VISITOR, 15, 1, 0xFFFFFFFF, True))
        self.assertEqual(len(packed), ENTRY_BYTES)
        found = Entry()
        self.assertTrue(unpack_entry(b"x" + packed, 1, found))
        self.assertEqual(
            (found.cardholder_class, found.level, found.valid_from_s, found.valid_until_s),
            (VISITOR, 15, 1, 0xFFFFFFFF),
        )
        self.assertTrue(found.must_authenticate)
        self.assertFalse(found.has_extended_time)

    def test_each_flag_is_its_own(self):
        for flags in ((False, False), (True, False), (False, True), (True, True)):
            found = Entry()
            packed = pack_entry(b"0123456789", entry(STAFF, 0, 0, 0, *flags))
            self.assertTrue(unpack_entry(packed, 0, found))
            self.assertEqual((found.must_authenticate, found.has_extended_time), flags)
            self.assertEqual(packed[10], STAFF + 0x10 * flags[0] + 0x20 * flags[1])

    def test_values_of_no_known_meaning(self):
        for at, value in ((10, 0), (10, 4), (10, 15), (10, 0x42), (10, 0x82), (11, 16), (11, 255)):
            packed = bytearray(pack_entry(b"0123456789", entry()))
            packed[at] = value
            with self.subTest(at=at, value=value):
                self.assertFalse(unpack_entry(packed, 0, Entry()))


class FindTest(unittest.TestCase):
    def check(self, is_mapped):
        for count in COUNTS:
            listed, _ = allowlist(count, is_mapped)
            with self.subTest(count=count):
                found = Entry()
                for i in range(count):
                    self.assertTrue(listed.find(badge_id(2 * i + 1), found))
                    self.assertEqual((found.level, found.valid_until_s), (i % 16, i))
                for i in range(count + 1):
                    self.assertFalse(listed.find(badge_id(2 * i), found))
                self.assertFalse(listed.find(b"\xff" * 10, found))
                self.assertFalse(listed.find(bytes(10), found))

    def test_by_bounded_reads(self):
        self.check(False)

    def test_where_it_lies(self):
        self.check(True)

    def test_says_whose_list_it_is(self):
        found = Entry()
        self.assertTrue(allowlist(1)[0].find(badge_id(1), found))
        self.assertEqual((found.issuer_id, found.list_version), (b"issuerid", 9))

    def test_looks_at_every_byte_of_the_id(self):
        listed, _ = allowlist(3)
        for i in range(10):
            other = bytearray(badge_id(3))
            other[i] ^= 0x10
            self.assertFalse(listed.find(other, Entry()))

    def test_a_row_of_no_known_class_grants_nothing(self):
        listed, flash = allowlist(1)
        flash.data[OFFSET + 10] = 9
        self.assertFalse(listed.find(badge_id(1), Entry()))


class StalenessTest(unittest.TestCase):
    def setUp(self):
        self.listed, _ = allowlist(0)
        header = self.listed.header
        header.issued_s = 1000
        header.soft_stale_s = 10
        header.hard_stale_s = 20
        header.responder_stale_s = 30

    def ages(self, kind):
        return [self.listed.staleness(kind, 1000 + age) for age in (-5, 9, 10, 19, 20, 29, 30)]

    def test_staff_go_first(self):
        staff = [FRESH, FRESH, SOFT_STALE, SOFT_STALE, HARD_STALE, HARD_STALE, HARD_STALE]
        self.assertEqual(self.ages(STAFF), staff)
        self.assertEqual(self.ages(VISITOR), staff)

    def test_responders_last(self):
        self.assertEqual(
            self.ages(RESPONDER),
            [FRESH, FRESH, SOFT_STALE, SOFT_STALE, SOFT_STALE, SOFT_STALE, HARD_STALE],
        )

    def test_zero_is_never(self):
        header = self.listed.header
        header.responder_stale_s = 0
        self.assertEqual(self.listed.staleness(RESPONDER, 0xFFFFFFFF), SOFT_STALE)
        header.soft_stale_s = header.hard_stale_s = 0
        self.assertEqual(self.listed.staleness(STAFF, 0xFFFFFFFF), FRESH)


class HoursTest(unittest.TestCase):
    def setUp(self):
        schedule = hours(
            (3, 0, 420, 1080), (4, 1, 420, 1080), (DOOR_LEVEL, 0, 450, 490), holidays=(20718,)
        )
        self.listed, _ = allowlist(5, schedule=schedule, powers=MAY_LIST | MAY_UNLOCK)
        self.listed.read_schedule()

    def at(self, minute, level=3, day=0):
        return self.listed.hours(level, MONDAY_S + day * 86400 + minute * 60, True)

    def test_by_the_clock(self):
        self.assertEqual(
            [self.at(m) for m in (419, 420, 1079)], [OUTSIDE_HOURS] + [INSIDE_HOURS] * 2
        )
        self.assertEqual(self.at(420, day=1), HOLIDAY)
        self.assertEqual(self.at(0, level=5), ALWAYS)

    def test_without_a_clock(self):
        answers = [self.listed.hours(level, 0, False) for level in (3, 4, 5)]
        self.assertEqual(answers, [NO_HOUR, INSIDE_HOURS, ALWAYS])

    def test_of_a_list_without_a_schedule(self):
        listed, _ = allowlist(5, powers=MAY_LIST | MAY_UNLOCK)
        listed.read_schedule()
        self.assertEqual(listed.hours(3, MONDAY_S, True), ALWAYS)
        self.assertEqual(listed.hours(3, 0, False), ALWAYS)
        # A door that has no hours is not one that always stands open.
        self.assertFalse(listed.unlocks(MONDAY_S))

    def test_unlocks_in_the_doors_own_hours(self):
        minutes = (0, 420, 449, 450, 489, 490)
        answers = [self.listed.unlocks(MONDAY_S + minute * 60) for minute in minutes]
        self.assertEqual(answers, [False, False, False, True, True, False])
        self.assertFalse(self.listed.unlocks(MONDAY_S + 86400 + 450 * 60))  # the holiday
        self.assertFalse(self.listed.unlocks(0))

    def test_unlocks_only_where_the_issuer_may(self):
        self.listed.issuer.powers = MAY_LIST
        self.assertFalse(self.listed.unlocks(MONDAY_S + 450 * 60))

    def test_unlocks_not_by_a_list_that_is_too_old_for_staff(self):
        header = self.listed.header
        now_s = MONDAY_S + 450 * 60
        header.issued_s = now_s - 100
        header.soft_stale_s = 50
        self.assertTrue(self.listed.unlocks(now_s))
        header.hard_stale_s = 100
        self.assertFalse(self.listed.unlocks(now_s))

    def test_no_badge_is_found_in_the_schedule(self):
        schedule = hours((3, 0, 420, 1080))
        for is_mapped in (False, True):
            listed, _ = allowlist(2, is_mapped, schedule)
            self.assertFalse(listed.find(schedule[:10], Entry()))
            self.assertFalse(listed.find(badge_id(5), Entry()))
            self.assertTrue(listed.find(badge_id(3), Entry()))

    def test_a_schedule_that_is_none(self):
        listed, _ = allowlist(5, schedule=hours((3, 0, 420, 1080))[:-1])
        with self.assertRaises(Refused) as caught:
            listed.read_schedule()
        self.assertEqual(caught.exception.code, BAD_SCHEDULE)

    def test_lengths(self):
        header = self.listed.header
        for count, body_bytes, rest in (
            (0, 0, 0),
            (5, 100, 0),
            (5, 101, 1),
            (5, 100 + MAX_SCHEDULE_BYTES, MAX_SCHEDULE_BYTES),
            (5, 99, None),
            (5, 101 + MAX_SCHEDULE_BYTES, None),
            (0xFFFFFFFF, 100, None),
        ):
            header.entry_count = count
            header.body_bytes = body_bytes
            with self.subTest(count=count, body_bytes=body_bytes):
                if rest is not None:
                    self.assertEqual(schedule_bytes(header), rest)
                    continue
                with self.assertRaises(Refused) as caught:
                    schedule_bytes(header)
                self.assertEqual(caught.exception.code, BAD_LENGTH)


class WholeTest(unittest.TestCase):
    def test_whole(self):
        for count in COUNTS:
            self.assertTrue(run_through(allowlist(count)[0].is_whole(no_pause)))

    def test_any_byte_changed(self):
        listed, flash = allowlist(60)
        for i in range(0, 60 * ENTRY_BYTES, 7):
            flash.data[OFFSET + i] ^= 1
            self.assertFalse(run_through(listed.is_whole(no_pause)))
            flash.data[OFFSET + i] ^= 1

    def test_shows_whole_rows_and_pauses_between(self):
        pauses = []
        seen = []

        async def pause():
            pauses.append(1)

        run_through(allowlist(120)[0].is_whole(pause, lambda rows: seen.append(len(rows))))
        self.assertEqual(seen, [51 * ENTRY_BYTES, 51 * ENTRY_BYTES, 18 * ENTRY_BYTES])
        self.assertEqual(len(pauses), 3)

    def test_does_not_show_the_schedule_and_hashes_it(self):
        schedule = hours((3, 0, 420, 1080), (4, 0, 420, 1080))
        for count in (0, 1, 51, 52):
            seen = []
            listed, flash = allowlist(count, schedule=schedule)
            show = lengths_into(seen)
            self.assertTrue(run_through(listed.is_whole(no_pause, show)))
            end = OFFSET + count * ENTRY_BYTES
            self.assertEqual(sum(seen), count * ENTRY_BYTES)
            self.assertTrue(all(length % ENTRY_BYTES == 0 for length in seen))
            for i in (0, len(schedule) - 1):
                flash.data[end + i] ^= 1
                self.assertFalse(run_through(listed.is_whole(no_pause)))
                flash.data[end + i] ^= 1


if __name__ == "__main__":
    unittest.main()
