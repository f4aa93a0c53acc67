"""Look-up in a list on flash, mapped and read by pieces; staleness; wholeness."""

import unittest
from hashlib import sha256

from doorward.access.allowlist import ENTRY_BYTES, Allowlist, pack_entry, unpack_entry
from doorward.trust.keyring import Issuer
from doorward.trust.objects import Header
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import PublicKey
from doorward.values import (
    FRESH,
    HARD_STALE,
    RESPONDER,
    SOFT_STALE,
    STAFF,
    VISITOR,
    Entry,
)
from support import MemoryFlash

OFFSET = 4096 + 362  # behind header and signature of a second extent
KEY = PublicKey(b"\x80" + bytes(254) + b"\x01")
ISSUER = Issuer("school", 1 << STAFF | 1 << VISITOR, KEY)
COUNTS = (0, 1, 2, 3, 51, 52, 300)


def badge_id(number):
    """Return ids that differ in few bytes, early and late ones, and sort by number."""
    return bytes((number >> 8, number & 0xFF)) + bytes(6) + bytes((7, number & 0xFF))


def entry(kind=STAFF, level=0, valid_from_s=0, valid_until_s=0, must_authenticate=False):
    made = Entry()
    made.cardholder_class = kind
    made.level = level
    made.valid_from_s = valid_from_s
    made.valid_until_s = valid_until_s
    made.must_authenticate = must_authenticate
    return made


def allowlist(count, is_mapped=False):
    """Return (list of badges 1, 3, 5, ..., its flash)."""
    flash = MemoryFlash(16384, is_mapped)
    body = b"".join(
        pack_entry(badge_id(2 * i + 1), entry(level=i % 16, valid_until_s=i)) for i in range(count)
    )
    flash.data[OFFSET : OFFSET + len(body)] = body
    header = Header()
    header.entry_count = count
    header.body_bytes = len(body)
    header.body_hash = sha256(body).digest()
    header.issuer_id = b"issuerid"
    header.version = 9
    return Allowlist(flash, OFFSET, header, ISSUER), flash


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

    def test_values_of_no_known_meaning(self):
        for at, value in ((10, 0), (10, 4), (10, 15), (10, 0x22), (10, 0x82), (11, 16), (11, 255)):
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


if __name__ == "__main__":
    unittest.main()
