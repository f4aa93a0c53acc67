"""Intake: a good list comes in force; everything else is refused and changes nothing."""

import unittest

from doorward import state
from doorward.access.intake import Intake
from doorward.access.shelf import Address, Shelf
from doorward.hal.roles import PAGE_BYTES, SECTOR_BYTES, STATE_SLOT_BYTES, FlashFault
from doorward.trust import objects
from doorward.trust.keyring import read_ring
from doorward.trust.objects import ALLOWLIST_TYPE
from doorward.trust.primitives import no_pause, run_through
from doorward.values import (
    BAD_BODY_HASH,
    BAD_ENTRY,
    BAD_LENGTH,
    BAD_SCHEDULE,
    BAD_SIGNATURE,
    BUSY,
    DUPLICATE_ENTRY,
    FLASH_FAULT,
    INSIDE_HOURS,
    NO_SPACE,
    NOT_AN_OBJECT,
    NOT_SORTED,
    OLD_VERSION,
    OUT_OF_SCOPE,
    OUTSIDE_HOURS,
    TOO_LARGE,
    TRUNCATED,
    UNKNOWN_FORMAT,
    UNKNOWN_ISSUER,
    WRONG_ADDRESS,
    WRONG_SITE,
    WRONG_TYPE,
    Refused,
)
from support import MemoryFlash, OpenGate, PowerCut, vector

HEAD_BYTES = 100 + 10 + 256


def read(name):
    with open(vector("objects/" + name), "rb") as file:
        return file.read()


class StuckFlash(MemoryFlash):
    """A flash whose byte `stuck_at` never takes a zero."""

    stuck_at = -1

    def program(self, offset, buf):
        super().program(offset, buf)
        if offset <= self.stuck_at < offset + len(buf):
            self.data[self.stuck_at] = 0xFF


class FaultyFlash(MemoryFlash):
    """A flash that refuses to program."""

    is_broken = False

    def program(self, offset, buf):
        if self.is_broken:
            raise FlashFault("broken")
        super().program(offset, buf)


class IntakeCase(unittest.TestCase):
    """A door of site north with the police list 1 in force."""

    flash_class = MemoryFlash
    sectors = 8
    groups = 0

    def setUp(self):
        self.flash = self.flash_class(self.sectors * SECTOR_BYTES)
        self.kept = MemoryFlash(2 * SECTOR_BYTES)
        self.ring = read_ring(read("ring.dwk"))
        self.police, self.district = (issuer.key.key_id for issuer in self.ring.issuers)
        self.start()
        self.send(read("police_1.dwl"))

    def start(self):
        """Start anew on the same flash."""
        snapshots = state.Snapshots(self.kept, STATE_SLOT_BYTES)
        self.shelf = Shelf(self.flash, snapshots, self.ring, Address("north", groups=self.groups))
        self.intake = Intake(self.shelf, OpenGate(), no_pause, None)

    def send(self, data, piece_bytes=1024, total_bytes=None):
        """Send an object in pieces; return the list it became."""
        self.intake.begin(len(data) if total_bytes is None else total_bytes)
        for at in range(0, len(data), piece_bytes):
            run_through(self.intake.feed(data[at : at + piece_bytes]))
        return run_through(self.intake.finish())

    def in_force(self):
        return self.shelf.in_force(ALLOWLIST_TYPE, self.police)

    def version(self):
        listed = self.in_force()
        return listed and listed.header.version

    def check_in_force(self, version):
        """The police list of this version is in force and whole, also after a restart."""
        for _ in range(2):
            self.assertEqual(self.version(), version)
            self.assertTrue(run_through(self.in_force().is_whole(no_pause)))
            self.assertEqual(self.shelf.floor(ALLOWLIST_TYPE, self.police), version)
            self.assertFalse(self.intake.is_open)
            self.start()

    def refuse(self, code, data, **how):
        with self.assertRaises(Refused) as caught:
            self.send(data, **how)
        self.assertEqual(caught.exception.name, Refused(code).name)
        self.check_in_force(1)


class GoodListTest(IntakeCase):
    def test_comes_in_force(self):
        listed = self.send(read("police_2.dwl"))
        self.assertEqual((listed.issuer, listed.header.version), ("police", 2))
        self.assertEqual(listed.count, 250)
        self.check_in_force(2)

    def test_in_pieces_of_any_size(self):
        data = read("police_2.dwl")
        for piece_bytes in (1, 99, 100, 101, HEAD_BYTES, 255, 256, 4096, len(data)):
            self.setUp()
            with self.subTest(piece_bytes=piece_bytes):
                self.send(data, piece_bytes)
                self.check_in_force(2)

    def test_lies_on_flash_as_it_was_sent(self):
        data = read("police_2.dwl")
        self.send(data)
        at = self.flash.data.find(data)
        self.assertEqual(at % SECTOR_BYTES, 0)
        # and nothing behind it
        self.assertTrue(self.flash.is_blank(at + len(data), PAGE_BYTES - len(data) % PAGE_BYTES))

    def test_empty(self):
        self.assertEqual(self.send(read("police_3_empty.dwl")).count, 0)
        self.check_in_force(3)

    def test_two_issuers(self):
        self.send(read("district_1.dwl"))
        self.assertEqual(
            [listed.issuer.name for listed in self.shelf.lists], ["police", "district"]
        )
        self.check_in_force(1)

    def test_one_after_the_other(self):
        self.send(read("police_2.dwl"))
        self.send(read("police_3_empty.dwl"))
        self.check_in_force(3)

    def test_the_same_list_again_changes_nothing(self):
        before = bytes(self.flash.data), bytes(self.kept.data)
        self.assertTrue(self.send(read("police_1.dwl")).is_repeat)
        self.assertEqual((bytes(self.flash.data), bytes(self.kept.data)), before)
        self.check_in_force(1)

    def test_every_program_pauses(self):
        pauses = []

        async def pause():
            pauses.append(1)

        self.intake = Intake(self.shelf, OpenGate(), pause, None)
        self.send(read("police_2.dwl"))
        # 17 multiplications, 21 pages, 2 sectors looked at, 5 pieces of 51 rows
        self.assertEqual(len(pauses), 17 + 21 + 2 + 5)

    def test_a_restart_in_the_middle(self):
        data = read("police_2.dwl")
        self.intake.begin(len(data))
        run_through(self.intake.feed(data[:3000]))
        self.start()
        self.check_in_force(1)
        self.send(data)
        self.check_in_force(2)


class RefusalTest(IntakeCase):
    def test_wrong_site(self):
        self.refuse(WRONG_SITE, read("police_other_site.dwl"))

    def test_unknown_issuer(self):
        self.refuse(UNKNOWN_ISSUER, read("stranger_1.dwl"))

    def test_signed_by_another_issuer(self):
        data = read("signed_by_district.dwl")
        self.refuse(UNKNOWN_ISSUER, data)
        self.refuse(BAD_SIGNATURE, data[:100] + self.police + data[108:])

    def test_wrong_signature(self):
        data = read("police_2.dwl")
        for at in (110, 200, HEAD_BYTES - 1):
            changed = bytearray(data)
            changed[at] ^= 1
            self.refuse(BAD_SIGNATURE, bytes(changed))

    def test_signature_of_another_list(self):
        one, two = read("police_1.dwl"), read("police_2.dwl")
        self.refuse(BAD_SIGNATURE, two[:100] + one[100:HEAD_BYTES] + two[HEAD_BYTES:])

    def test_type_of_another_object(self):
        data = bytearray(read("police_2.dwl"))
        data[5] = 9
        self.refuse(WRONG_TYPE, bytes(data))

    def test_for_other_doors(self):
        self.refuse(WRONG_ADDRESS, read("police_5_for_group_3.dwl"))
        self.groups = 1 << 2
        self.start()
        self.send(read("police_5_for_group_3.dwl"))
        self.check_in_force(5)

    def test_cut_short(self):
        data = read("police_2.dwl")
        for length in (1, 99, 100):
            self.refuse(TRUNCATED, data[:length])
        for length in (101, 109, HEAD_BYTES - 1, HEAD_BYTES, 1000, len(data) - 1):
            with self.subTest(length=length):
                # said to be as short as it is, and broken off
                self.refuse(TRUNCATED, data[:length])
                self.refuse(TRUNCATED, data[:length], total_bytes=len(data))

    def test_too_long(self):
        data = read("police_2.dwl")
        self.refuse(BAD_LENGTH, data + b"\x00")
        self.refuse(TOO_LARGE, data + b"\x00", total_bytes=len(data))

    def test_over_the_cap(self):
        most = objects.MAX_HEAD_BYTES + objects.MAX_BODY_BYTES
        self.refuse(TOO_LARGE, b"", total_bytes=most + 1)
        self.refuse(TRUNCATED, b"", total_bytes=most)

    def test_sizes_that_are_none(self):
        for total_bytes in (-1, 0, 100):
            self.refuse(TRUNCATED, b"", total_bytes=total_bytes)

    def test_body_of_another(self):
        one, two = read("police_2.dwl"), read("police_2_other_body.dwl")
        self.refuse(BAD_BODY_HASH, one[:HEAD_BYTES] + two[HEAD_BYTES:] + two[-20:])

    def test_unsorted_and_duplicate(self):
        self.refuse_new(NOT_SORTED, "unsorted.dwl")
        self.refuse_new(DUPLICATE_ENTRY, "duplicate.dwl")

    def test_class_out_of_scope(self):
        self.refuse_new(OUT_OF_SCOPE, "out_of_scope.dwl")

    def test_class_unknown(self):
        self.refuse_new(BAD_ENTRY, "unknown_class.dwl")

    def test_counts(self):
        self.refuse_new(BAD_LENGTH, "count_too_high.dwl")
        # What is not counted is no schedule.
        self.refuse_new(BAD_SCHEDULE, "count_too_low.dwl")
        self.refuse_new(BAD_SCHEDULE, "count_of_none.dwl")
        self.refuse_new(BAD_LENGTH, "entry_bytes_of_none.dwl")
        self.refuse_new(BAD_LENGTH, "two_signatures.dwl")

    def test_schedule(self):
        self.refuse_new(BAD_SCHEDULE, "hours_cut_short.dwl")
        self.refuse_new(BAD_SCHEDULE, "hours_reversed.dwl")
        self.refuse_new(BAD_SCHEDULE, "hours_too_long.dwl")
        self.refuse_new(BAD_LENGTH, "hours_over_the_cap.dwl")

    def refuse_new(self, code, name):
        """Refused where nothing is in force, and nothing comes in force."""
        self.flash = MemoryFlash(self.sectors * SECTOR_BYTES)
        self.kept = MemoryFlash(2 * SECTOR_BYTES)
        self.start()
        with self.assertRaises(Refused) as caught:
            self.send(read(name))
        self.assertEqual(caught.exception.name, Refused(code).name)
        for _ in range(2):
            self.assertIsNone(self.in_force())
            self.assertFalse(self.intake.is_open)
            self.start()
        self.send(read("police_1.dwl"))

    def test_a_bit_changed_in_every_byte_of_the_head(self):
        data = read("police_2.dwl")
        for i in range(HEAD_BYTES):
            changed = bytearray(data)
            changed[i] ^= 1 << i % 8
            with self.subTest(byte=i), self.assertRaises(Refused):
                self.send(bytes(changed))
            self.assertEqual(self.version(), 1)
            self.assertFalse(self.intake.is_open)
        self.check_in_force(1)

    def test_a_bit_changed_in_the_body(self):
        data = read("police_2.dwl")
        for i in range(HEAD_BYTES, len(data), 251):
            changed = bytearray(data)
            changed[i] ^= 1 << i % 8
            self.refuse(BAD_BODY_HASH, bytes(changed))

    def test_garbage(self):
        for fill in (0x00, 0xFF, 0x44):
            self.refuse(NOT_AN_OBJECT, bytes((fill,)) * 5000)
        self.refuse(UNKNOWN_FORMAT, b"DWSO" + bytes(range(256)) * 8)

    def test_length_of_the_signature(self):
        data = bytearray(read("police_2.dwl"))
        for length, code in (
            (0, BAD_LENGTH),
            (255, BAD_LENGTH),
            (257, TRUNCATED),
            (384, TRUNCATED),
            (385, BAD_LENGTH),
            (0xFFFF, BAD_LENGTH),
        ):
            data[108:110] = bytes((length & 0xFF, length >> 8))
            with self.subTest(length=length):
                self.refuse(code, bytes(data))


class ScheduleTest(IntakeCase):
    """A list with hours: level 3 from 07:00 to 18:00 in Chicago, on a Monday."""

    SEVEN_S = 1_789_992_000  # 2026-09-21, 07:00
    BODY_BYTES = 60 * 20

    def setUp(self):
        super().setUp()
        self.send(read("police_6_with_hours.dwl"))

    def hours(self, level, second=0):
        return self.in_force().hours(level, self.SEVEN_S + second, True)

    def test_comes_in_force_with_the_list(self):
        for _ in range(2):
            self.assertEqual(self.hours(3, -1), OUTSIDE_HOURS)
            self.assertEqual(self.hours(3), INSIDE_HOURS)
            self.assertTrue(run_through(self.in_force().is_whole(no_pause)))
            self.start()
        self.check_in_force(6)

    def test_in_pieces_of_any_size(self):
        data = read("police_6_with_hours.dwl")
        for piece_bytes in (1, 7, HEAD_BYTES + self.BODY_BYTES, len(data) - 1):
            super().setUp()
            self.send(data, piece_bytes)
            self.assertEqual(self.hours(3), INSIDE_HOURS)

    def test_the_same_list_again(self):
        self.assertTrue(self.send(read("police_6_with_hours.dwl")).is_repeat)
        self.assertEqual(self.hours(3, -1), OUTSIDE_HOURS)

    def test_a_bit_changed_on_the_way(self):
        data = read("police_6_with_hours.dwl")
        for at in range(HEAD_BYTES + self.BODY_BYTES, len(data)):
            super().setUp()
            changed = bytearray(data)
            changed[at] ^= 1
            self.refuse(BAD_BODY_HASH, bytes(changed))

    def test_a_byte_that_changed_on_flash(self):
        at = self.flash.data.find(read("police_6_with_hours.dwl")) + HEAD_BYTES + self.BODY_BYTES
        for i, is_sound in ((0, True), (15, False)):
            self.flash.data[at + i] ^= 1
            # What came in force stays what it was while the door runs.
            self.assertEqual(self.hours(3), INSIDE_HOURS)
            self.assertFalse(run_through(self.in_force().is_whole(no_pause)))
            self.start()
            self.assertEqual(self.in_force() is not None, is_sound)
            self.assertEqual([issuer.name for issuer in self.shelf.corrupt], ["police"][is_sound:])
            self.flash.data[at + i] ^= 1
            if is_sound:
                self.start()


class VersionTest(IntakeCase):
    def setUp(self):
        super().setUp()
        self.send(read("police_2.dwl"))

    def refuse_old(self, name):
        with self.assertRaises(Refused) as caught:
            self.send(read(name))
        self.assertEqual(caught.exception.code, OLD_VERSION)
        self.check_in_force(2)

    def test_lower(self):
        self.refuse_old("police_1.dwl")

    def test_same_version_with_another_body_or_header(self):
        self.refuse_old("police_2_other_body.dwl")
        self.refuse_old("police_2_issued_later.dwl")

    def test_lower_where_the_list_did_not_survive(self):
        self.shelf.drop(self.in_force())
        with self.assertRaises(Refused) as caught:
            self.send(read("police_1.dwl"))
        self.assertEqual(caught.exception.code, OLD_VERSION)
        # The very list that was lost is taken again.
        self.send(read("police_2.dwl"))
        self.check_in_force(2)

    def test_only_the_issuer_may_say_what_is_old(self):
        data = bytearray(read("police_1.dwl"))
        data[200] ^= 1
        with self.assertRaises(Refused) as caught:
            self.send(bytes(data))
        self.assertEqual(caught.exception.code, BAD_SIGNATURE)

    def test_versions_of_issuers_are_apart(self):
        self.send(read("district_1.dwl"))
        self.check_in_force(2)


class OrderOfCallsTest(IntakeCase):
    def test_one_at_a_time(self):
        data = read("police_2.dwl")
        self.intake.begin(len(data))
        with self.assertRaises(Refused) as caught:
            self.intake.begin(len(data))
        self.assertEqual(caught.exception.code, BUSY)
        # The one that was being received goes on.
        run_through(self.intake.feed(data))
        run_through(self.intake.finish())
        self.check_in_force(2)

    def test_abort_at_any_byte(self):
        data = read("police_2.dwl")
        for length in (0, 50, 100, 365, 366, 5000, len(data)):
            self.intake.begin(len(data))
            run_through(self.intake.feed(data[:length]))
            self.intake.abort()
            self.check_in_force(1)

    def test_feed_and_finish_want_begin(self):
        data = read("police_2.dwl")
        with self.assertRaises(Refused):
            run_through(self.intake.feed(data))
        with self.assertRaises(Refused):
            run_through(self.intake.finish())
        self.intake.begin(len(data))
        run_through(self.intake.feed(data))
        self.intake.abort()
        with self.assertRaises(Refused):
            run_through(self.intake.finish())
        self.intake.begin(len(data))
        run_through(self.intake.feed(data[:1000]))
        self.intake.abort()
        with self.assertRaises(Refused):
            run_through(self.intake.feed(data[1000:]))
        self.check_in_force(1)

    def test_the_header_is_known_once_it_is_believed(self):
        data = read("police_2.dwl")
        self.intake.begin(len(data))
        run_through(self.intake.feed(data[: HEAD_BYTES - 1]))
        self.assertIsNone(self.intake.header)
        run_through(self.intake.feed(data[HEAD_BYTES - 1 : HEAD_BYTES]))
        self.assertEqual(self.intake.header.version, 2)
        # A refusal of the next one must not be told as this one's.
        self.intake.abort()
        with self.assertRaises(Refused):
            self.intake.begin(1)
        self.assertIsNone(self.intake.header)


class SmallFlashTest(IntakeCase):
    sectors = 2

    def test_no_space_beside_the_list_in_force(self):
        self.refuse(NO_SPACE, read("police_2.dwl"))

    def test_turn_by_turn(self):
        self.send(read("police_3_empty.dwl"))
        self.check_in_force(3)


class StuckFlashTest(IntakeCase):
    flash_class = StuckFlash

    def test_a_bit_of_header_or_signature_length_or_body_that_did_not_take(self):
        # police_2 goes to the sector behind police_1: magic, staleness, length, body
        for at, code in ((0, FLASH_FAULT), (32, FLASH_FAULT), (108, FLASH_FAULT)):
            self.flash.stuck_at = SECTOR_BYTES + at
            self.refuse(code, read("police_2.dwl"))
        self.flash.stuck_at = SECTOR_BYTES + HEAD_BYTES + 1234
        self.refuse(BAD_BODY_HASH, read("police_2.dwl"))
        self.flash.stuck_at = -1
        self.send(read("police_2.dwl"))
        self.check_in_force(2)


class FaultyFlashTest(IntakeCase):
    flash_class = FaultyFlash

    def test_a_fault_is_a_refusal_and_frees_the_intake(self):
        self.flash.is_broken = True
        self.refuse(FLASH_FAULT, read("police_2.dwl"))
        data = read("police_2.dwl")
        self.intake.begin(len(data))
        self.flash.is_broken = False
        run_through(self.intake.feed(data))
        self.flash.is_broken = True
        with self.assertRaises(Refused) as caught:
            run_through(self.intake.finish())
        self.assertEqual(caught.exception.code, FLASH_FAULT)
        self.check_in_force(1)


class PowerCutTest(IntakeCase):
    def test_a_cut_before_any_flash_operation(self):
        """Dirty sectors, so that erases are among the operations."""
        data = read("police_2.dwl")
        done = 0
        while True:
            self.setUp()
            for at in range(SECTOR_BYTES, len(self.flash.data), PAGE_BYTES):
                self.flash.data[at] = 0
            self.flash.power.left = done
            try:
                self.send(data)
                break
            except PowerCut:
                pass
            self.flash.power.left = None
            self.start()
            self.check_in_force(1)
            done += 1
        # two erases, 21 pages
        self.assertEqual(done, 23)
        self.check_in_force(2)


if __name__ == "__main__":
    unittest.main()
