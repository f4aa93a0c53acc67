"""The journal: records, chain, ring, recovery after a power cut at every flash operation."""

import asyncio
import unittest

from doorward import state, values
from doorward.hal.roles import PROVISION_SLOT_BYTES, SECTOR_BYTES, FlashFault
from doorward.journal import record as records
from doorward.journal.ring import RAM_EVENTS, Journal, last_of
from doorward.trust.primitives import HmacKey, run_through
from doorward.values import CLOCK_SYNCED, Event
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate

KEY = bytes(range(32))
JOURNAL = b"journal1"
SECTORS = 6


def random_bytes(count):
    return bytes(0x40 + i for i in range(count))


class World:
    """One door's journal over flash that outlives it."""

    def __init__(self, flash=None, state_flash=None, given_flash=None):
        self.flash = flash or MemoryFlash(SECTORS * 4096)
        self.state_flash = state_flash or MemoryFlash(8192)
        self.given_flash = given_flash or MemoryFlash(6 * SECTOR_BYTES)
        self.ticks = FakeTicks(5_000_000)
        if given_flash is None:
            self.provision(JOURNAL, KEY)
        self.restart()

    def provision(self, journal_id, key):
        given = state.Snapshots(self.given_flash, PROVISION_SLOT_BYTES)
        values = {state.JOURNAL_ID: journal_id, state.JOURNAL_KEY: key, state.CONFIG: b"{}"}
        run_through(given.commit(values, OpenGate()))

    def restart(self):
        self.snapshots = state.Snapshots(self.state_flash, 1024)
        self.given = state.Snapshots(self.given_flash, PROVISION_SLOT_BYTES)
        self.journal = Journal(
            self.flash,
            self.given,
            self.snapshots,
            WallTime(self.ticks, 1_700_000_000, CLOCK_SYNCED),
            self.ticks,
            OpenGate(),
            boot=3,
            random_bytes=random_bytes,
        )

    def hand_over(self):
        asyncio.run(self.journal.hand_over_key())

    def note(self, detail):
        event = Event(values.TAP, self.ticks.ticks_ms(), reason=values.GRANTED, detail=detail)
        event.badge_id = b"0123456789"
        event.issuer_id = b"ISSUERID"
        event.relay_us = 12_345
        self.journal.note(event)

    def write(self, *details):
        for detail in details:
            self.note(detail)
            asyncio.run(self.journal.flush())

    def read_all(self):
        found = []
        sequence = 1
        while True:
            batch = asyncio.run(self.journal.read(sequence, 32))
            if not batch:
                return found
            for at in range(0, len(batch), records.RECORD_BYTES):
                found.append(records.unpack(batch[at : at + records.RECORD_BYTES]))
            sequence = found[-1].sequence + 1

    def raw(self):
        found = []
        while True:
            batch = asyncio.run(self.journal.read(next_of(found), 32))
            if not batch:
                return found
            found += [batch[at : at + 64] for at in range(0, len(batch), 64)]

    def tag_of(self, sequence):
        return records.tag_of(asyncio.run(self.journal.read(sequence, 1)))

    def codes(self):
        return [r.event.code for r in self.read_all()]

    def details(self):
        return [r.event.detail for r in self.read_all() if r.event.code == values.TAP]


def next_of(raw):
    return records.unpack(raw[-1]).sequence + 1 if raw else 1


def key_of(sector):
    """Return the key of a sector, counted from 0."""
    key = KEY
    for _ in range(sector):
        key = records.next_key(key)
    return key


def broken_link(raw, tag=records.FIRST_TAG, sector=0):
    """Return the first record that is not chained to the one before, and None where all are."""
    for one in raw:
        while not records.follows(one, HmacKey(key_of(sector)), tag):
            tag = records.closing_tag(HmacKey(key_of(sector)), tag)
            sector += 1
            if sector > 100:
                return one
        tag = records.tag_of(one)
    return None


def weak(flash, bad):
    """Return `program` of a flash in which the slots `bad`, of 64 bytes, have a bit that stays."""
    program = flash.program

    def program_badly(offset, buf):
        program(offset, buf)
        if offset // 64 in bad:
            flash.data[offset + 50] |= 0x01

    return program_badly


class Records(unittest.TestCase):
    def test_a_record_says_what_was_packed(self):
        event = Event(values.TAP, 123_456, reason=values.IN_LOCKDOWN, detail=99)
        event.posture = values.LOCKDOWN
        event.cardholder_class = values.STAFF
        event.level = 7
        event.badge_id = b"abcdefghij"
        event.issuer_id = b"\x01\x02\x03\x04\x05\x06\x07\x08"
        event.list_version = 41
        event.decision_us = 5_000
        event.relay_us = 9_999_999
        packed = records.Record(event, 70_000, 5, 1_700_000_000, CLOCK_SYNCED).pack(
            HmacKey(KEY), records.FIRST_TAG
        )
        self.assertEqual(len(packed), records.RECORD_BYTES)
        back = records.unpack(packed)
        self.assertEqual((back.sequence, back.boot, back.wall_s), (70_000, 5, 1_700_000_000))
        self.assertEqual(back.clock_quality, CLOCK_SYNCED)
        for name in ("code", "reason", "ticks_ms", "posture", "cardholder_class", "level"):
            self.assertEqual(getattr(back.event, name), getattr(event, name))
        self.assertEqual(back.event.badge_id, b"abcdefghij")
        self.assertEqual(back.event.issuer_id, b"\x01\x02")
        self.assertEqual(back.event.list_version, 41)
        self.assertEqual(back.event.decision_us, 5_000)
        self.assertEqual(back.event.relay_us, 655_350)  # as much as the field can say
        self.assertEqual(back.event.detail, 99)

    def test_any_flipped_bit_is_seen(self):
        packed = records.Record(Event(values.BOOT, 0), 1, 1, 0, 0).pack(HmacKey(KEY), bytes(16))
        for bit in range(len(packed) * 8):
            damaged = bytearray(packed)
            damaged[bit >> 3] ^= 1 << (bit & 7)
            self.assertIsNone(records.unpack(damaged))

    def test_the_chain_needs_the_key_and_the_one_before(self):
        key = HmacKey(KEY)
        first = records.Record(Event(values.BOOT, 0), 1, 1, 0, 0)
        first_bytes = first.pack(key, records.FIRST_TAG)
        second = records.Record(Event(values.TAP, 5), 2, 1, 0, 0).pack(key, first.tag)
        self.assertTrue(records.follows(first_bytes, key, records.FIRST_TAG))
        self.assertTrue(records.follows(second, key, first.tag))
        self.assertFalse(records.follows(second, key, records.FIRST_TAG))
        self.assertFalse(records.follows(second, HmacKey(b"other"), first.tag))


class Ring(unittest.TestCase):
    def test_noted_events_come_back_in_order(self):
        world = World()
        world.write(*range(200))
        self.assertEqual(world.details(), list(range(200)))
        self.assertEqual([r.sequence for r in world.read_all()], list(range(1, 201)))
        self.assertEqual(world.read_all()[0].event.relay_us, 12_340)

    def test_the_chain_verifies_across_sectors_and_restarts(self):
        world = World()
        for n in range(0, 150, 25):
            world.write(*range(n, n + 25))
            world.restart()
        raw = world.raw()
        self.assertEqual(len(raw), 150)
        self.assertIsNone(broken_link(raw))
        # Record 63 is the last of its sector, and the next one has another key.
        tag = records.closing_tag(HmacKey(KEY), records.tag_of(raw[62]))
        self.assertTrue(records.follows(raw[63], HmacKey(key_of(1)), tag))
        self.assertFalse(records.follows(raw[63], HmacKey(key_of(1)), records.tag_of(raw[62])))

    def test_a_record_is_chained_to_what_the_journal_says(self):
        world = World()
        world.write(*range(150))
        raw = world.raw()
        self.assertEqual(world.journal.tag_before(1), records.FIRST_TAG)
        for sequence, sector in ((2, 0), (63, 0), (64, 1), (65, 1), (127, 2), (150, 2)):
            tag = world.journal.tag_before(sequence)
            self.assertTrue(records.follows(raw[sequence - 1], HmacKey(key_of(sector)), tag))
        self.assertEqual(world.journal.tag_before(151), records.tag_of(raw[-1]))
        self.assertIsNone(world.journal.tag_before(153))

    def test_what_overwrites_says_what_the_oldest_left_is_chained_to(self):
        world = World()
        world.write(*range(63 * SECTORS + 10))
        raw = world.raw()
        told = [one for one in world.read_all() if one.event.code == values.RECORDS_OVERWRITTEN]
        self.assertEqual(told[-1].tag_before, world.journal.tag_before(next_of(raw) - len(raw)))
        self.assertEqual(told[-1].event.badge_id, b"")
        sector = (next_of(raw) - len(raw)) // 63
        self.assertIsNone(broken_link(raw, told[-1].tag_before, sector))

    def test_a_restart_goes_on_where_it_was(self):
        world = World()
        for n in range(0, 130, 10):
            world.write(*range(n, n + 10))
            world.restart()
        self.assertEqual(world.details(), list(range(130)))

    def test_too_many_events_at_once_are_counted(self):
        world = World()
        for n in range(RAM_EVENTS + 5):
            world.note(n)
        asyncio.run(world.journal.flush())
        lost = [r for r in world.read_all() if r.event.code == values.RECORDS_DROPPED]
        self.assertEqual([r.event.detail for r in lost], [5])
        self.assertEqual(world.details(), list(range(RAM_EVENTS)))

    def test_a_full_ring_overwrites_the_oldest_and_says_so(self):
        world = World()
        world.write(*range(63 * SECTORS + 10))
        found = world.read_all()
        self.assertEqual(found[-1].event.detail, 63 * SECTORS + 9)
        lost = [r.event.detail for r in found if r.event.code == values.RECORDS_OVERWRITTEN]
        self.assertEqual(world.journal.oldest_sequence, found[0].sequence)
        # Each tells of all that is gone since the last that was acknowledged.
        self.assertEqual(lost[-1], found[0].sequence - 1)
        self.assertEqual(lost, sorted(lost))
        self.assertGreater(lost[0], 0)

    def test_overwriting_what_the_server_has_loses_nothing(self):
        world = World()
        for n in range(63 * SECTORS + 10):
            world.write(n)
            sequence, tag = last_of(asyncio.run(world.journal.read(n + 1, 1)))
            self.assertTrue(world.journal.acknowledge(sequence, tag))
        codes = {r.event.code for r in world.read_all()}
        self.assertEqual(codes, {values.TAP})
        self.assertEqual(world.journal.pending, 0)

    def test_acknowledgements_that_are_not_ours_change_nothing(self):
        world = World()
        world.write(1, 2, 3)
        _, tag = last_of(asyncio.run(world.journal.read(2, 1)))
        self.assertFalse(world.journal.acknowledge(3, tag))
        self.assertFalse(world.journal.acknowledge(99, tag))
        self.assertEqual(world.journal.acknowledged, 0)
        self.assertEqual(world.journal.refused_acknowledgements, 2)
        self.assertTrue(world.journal.acknowledge(2, tag))
        self.assertTrue(world.journal.acknowledge(1, b"late"))
        self.assertEqual(world.journal.pending, 1)

    def test_no_event_waits_for_quiet_while_there_is_room(self):
        class NeverQuiet:
            async def run(self, call, *args):
                await asyncio.sleep_ms(3_600_000)

        world = World()
        world.write(*range(63 * SECTORS))
        world.restart()
        journal = world.journal
        journal._gate = NeverQuiet()

        async def day():
            tending = asyncio.create_task(journal.tend())
            writing = asyncio.create_task(journal.run())
            await asyncio.sleep_ms(5)
            for detail in range(1000, 1000 + 10):
                world.note(detail)
                await asyncio.sleep_ms(2)
            tending.cancel()
            writing.cancel()

        before = journal.next_sequence
        journal._sector, journal._slot = journal._sector, 20  # room left in the current sector
        journal._region.data[journal._sector * 4096 + 20 * 64 : (journal._sector + 1) * 4096] = (
            b"\xff" * (4096 - 20 * 64)
        )
        asyncio.run(day())
        self.assertEqual(journal.next_sequence, before + 10)

    def test_an_erase_that_two_waited_for_is_done_once(self):
        world = World()
        world.write(*range(63 * SECTORS + 1))
        journal = world.journal
        current = journal._sector
        journal._erase(current, journal._sector_sequence - 1)
        self.assertEqual(world.details()[-1], 63 * SECTORS)

    def test_an_erase_that_the_ring_has_overtaken_is_not_done(self):
        world = World()
        world.write(*range(63 * SECTORS + 1))
        journal = world.journal
        waiting = []

        class Held:
            async def run(self, call, *args):
                waiting.append((call, args))

        journal._gate = Held()
        asyncio.run(journal._erase_ahead(lambda: None))
        journal._gate = OpenGate()
        world.write(*range(1000, 1000 + 63 * 2))
        for call, args in waiting:
            call(*args)
        self.assertEqual(world.details()[-126:], list(range(1000, 1126)))

    def test_the_acknowledged_position_survives_a_restart(self):
        world = World()
        world.write(*range(80))
        sequence, tag = last_of(asyncio.run(world.journal.read(70, 1)))
        self.assertTrue(world.journal.acknowledge(sequence, tag))
        asyncio.run(world.journal._persist_acknowledged())
        world.restart()
        self.assertEqual(world.journal.acknowledged, 70)

    def test_the_acknowledged_position_does_not_wear_the_flash(self):
        world = World()
        world.write(0)
        world.hand_over()
        erases = world.state_flash.erases
        for n in range(600):  # a day's, all delivered as they come
            world.write(n)
            sequence = world.journal.acknowledged + 1
            world.journal.acknowledge(*last_of(asyncio.run(world.journal.read(sequence, 32))))
            for _ in range(2):
                world.ticks.advance_ms(72_000)
                asyncio.run(world.journal._persist_acknowledged())
        # 100,000 cycles of two sectors in 20 years and more.
        self.assertLess(world.state_flash.erases - erases, 20)
        self.assertGreater(world.journal._persisted, 500)

    def test_the_acknowledged_position_is_of_one_journal(self):
        world = World()
        world.write(*range(80))
        self.assertTrue(
            world.journal.acknowledge(*last_of(asyncio.run(world.journal.read(70, 1))))
        )
        asyncio.run(world.journal._persist())
        world.provision(b"journal2", bytes(32))
        world.restart()
        self.assertEqual(world.journal.acknowledged, 0)
        world.write(*range(80))
        world.restart()
        self.assertEqual((world.journal.acknowledged, world.journal.pending), (0, 80))


class Keys(unittest.TestCase):
    """The key moves forward: what was written under an older one cannot be written anew."""

    def found_in(self, flash, sectors):
        """Return which of the journal's keys lie in flash."""
        return [i for i in range(sectors) if key_of(i) in bytes(flash.data)]

    def test_only_the_newest_key_is_on_flash(self):
        world = World()
        for n in range(0, 63 * 9, 21):
            world.write(*range(n, n + 21))
            if n == 21:
                world.hand_over()
            live = (world.journal.next_sequence - 2) // 63
            if n >= 63 * 4:
                self.assertEqual(self.found_in(world.flash, 20), [live])
            world.restart()
            self.assertEqual(self.found_in(world.flash, 20)[-1:], [live])
        self.assertEqual(self.found_in(world.given_flash, 20), [])

    def test_the_provision_store_forgets_the_first_key(self):
        world = World()
        # Two slots, both with the key in it.
        run_through(world.given.commit({state.GOOD_CONFIG: b"{}"}, OpenGate()))
        world.restart()
        self.assertTrue(KEY in bytes(world.given_flash.data))
        world.write(1)
        world.hand_over()
        self.assertFalse(KEY in bytes(world.given_flash.data))
        self.assertEqual(self.found_in(world.flash, 2), [0])
        world.restart()
        self.assertIsNone(world.given.get(state.JOURNAL_KEY))
        self.assertEqual(world.given.get(state.CONFIG), b"{}")
        world.write(*range(2, 70))
        self.assertIsNone(broken_link(world.raw()))
        self.assertEqual(world.journal.journal_id, JOURNAL)

    def test_a_key_that_the_ring_has_already_is_no_new_journal(self):
        # The power went between the first record and the forgetting, again and again.
        world = World()
        for n in range(0, 200, 20):
            world.write(*range(n, n + 20))
            world.restart()
        self.assertEqual(world.details(), list(range(200)))
        world.hand_over()
        world.restart()
        self.assertEqual(world.details(), list(range(200)))

    def test_a_newly_provisioned_door_begins_anew(self):
        world = World()
        world.write(*range(200))
        world.hand_over()
        other = bytes(reversed(range(32)))
        world.provision(b"journal2", other)
        world.restart()
        self.assertEqual(world.details(), [])
        self.assertEqual(world.journal.journal_id, b"journal2")
        world.write(*range(500, 570))
        world.hand_over()
        world.restart()
        self.assertEqual(world.details(), list(range(500, 570)))
        raw = world.raw()
        self.assertEqual(records.unpack(raw[0]).sequence, 1)
        self.assertTrue(records.follows(raw[0], HmacKey(other), records.FIRST_TAG))
        self.assertEqual(self.found_in(world.flash, 20), [])

    def test_the_same_id_with_another_key_is_a_new_journal_too(self):
        world = World()
        world.write(*range(10))
        world.provision(JOURNAL, bytes(32))
        world.restart()
        self.assertEqual(world.details(), [])

    def test_without_any_key_the_journal_goes_on_and_says_so(self):
        world = World()
        world.write(*range(70))
        world.hand_over()
        # The newest sector's key is lost; its records are not.
        world.flash.data[SECTOR_BYTES + 40] ^= 0xFF
        world.restart()
        world.write(*range(70, 80))
        world.restart()
        self.assertEqual(world.details(), list(range(80)))
        self.assertEqual(world.codes()[70], values.JOURNAL_KEY_LOST)
        self.assertEqual([r.sequence for r in world.read_all()], list(range(1, 82)))
        self.assertEqual(world.codes().count(values.JOURNAL_KEY_LOST), 1)
        self.assertIsNone(broken_link(world.raw()[:70]))
        self.assertIsNotNone(broken_link(world.raw()))

    def test_a_lost_header_gives_no_number_twice(self):
        world = World()
        world.write(*range(100))
        world.hand_over()
        world.flash.data[SECTOR_BYTES] ^= 0xFF
        world.restart()
        world.write(500)
        self.assertGreater(world.read_all()[-1].sequence, 100)
        self.assertEqual(world.codes()[63:], [values.JOURNAL_KEY_LOST, values.TAP])

    def test_a_ring_that_is_gone_is_another_journal(self):
        world = World()
        world.write(*range(100))
        world.hand_over()
        for at in range(len(world.flash.data)):
            world.flash.data[at] = 0xFF
        world.restart()
        self.assertEqual(world.journal.journal_id, random_bytes(8))
        world.write(500)
        self.assertEqual(world.codes(), [values.JOURNAL_KEY_LOST, values.TAP])
        world.restart()
        world.write(501)
        self.assertEqual(world.journal.journal_id, random_bytes(8))
        self.assertEqual(world.details(), [500, 501])

    def test_a_record_that_is_not_this_journals_is_stepped_over(self):
        world = World()
        world.write(*range(10))
        foreign = records.Record(Event(values.TAP, 0, detail=666), 11, 3, 0, 0)
        packed = foreign.pack(HmacKey(b"another"), world.journal._tag)
        world.flash.data[11 * 64 : 12 * 64] = packed
        world.restart()
        world.write(10, 11)
        self.assertEqual(world.details(), list(range(12)))
        self.assertEqual([r.sequence for r in world.read_all()], list(range(1, 13)))
        self.assertIsNone(broken_link(world.raw()))

    def test_a_torn_slot_is_stepped_over(self):
        world = World()
        world.write(*range(10))
        world.flash.data[11 * 64 + 20] = 0
        world.restart()
        world.write(10, 11)
        world.restart()
        self.assertEqual(world.details(), list(range(12)))

    def test_a_slot_that_does_not_take_is_stepped_over(self):
        for bad in ((5,), (5, 6, 7), (63,), range(30, 66)):
            world = World()
            world.flash.program = weak(world.flash, bad)
            world.write(*range(100))
            self.assertEqual(world.details(), list(range(100)))
            self.assertIsNone(broken_link(world.raw()))
            world.restart()
            self.assertEqual(world.details(), list(range(100)))

    def test_flash_that_takes_nothing_is_a_fault(self):
        world = World()
        world.write(0)
        world.flash.program = lambda offset, buf: None
        with self.assertRaises(FlashFault):
            world.write(1)

    def test_a_record_that_spoils_takes_no_other_with_it(self):
        for spoiled in (1, 6, 39):
            world = World()
            world.write(*range(40))
            world.hand_over()
            world.flash.data[spoiled * 64 + 20] ^= 0x10
            world.restart()
            world.write(40, 41)
            world.restart()
            left = [detail for detail in range(42) if detail != spoiled - 1]
            self.assertEqual(world.details(), left)
            # No number is given twice: the server would have two records of it.
            self.assertEqual([r.sequence - 1 for r in world.read_all()], left)
            self.assertIsNone(broken_link(world.raw()[spoiled:], world.tag_of(spoiled + 1)))

    def test_a_record_that_spoils_beside_the_key_too(self):
        world = World()
        world.write(*range(40))
        world.hand_over()
        world.flash.data[1 * 64 + 20] ^= 0x10
        world.flash.data[40] ^= 0x10
        world.restart()
        world.write(40)
        self.assertEqual(world.details(), list(range(1, 41)))
        self.assertEqual(world.codes().count(values.JOURNAL_KEY_LOST), 1)

    def test_recovery_reads_the_headers_and_one_sector(self):
        world = World()
        world.write(*range(63 * SECTORS))
        reads = []
        read_into = world.flash.read_into

        def counted(offset, buf):
            reads.append(len(buf))
            read_into(offset, buf)

        world.flash.read_into = counted
        world.restart()
        # The tag of the oldest sector is looked at once more, if something was overwritten.
        self.assertLess(sum(reads), (SECTORS + 64 + 1) * 64)


class Reading(unittest.TestCase):
    def test_a_batch_costs_a_read_a_record(self):
        world = World()
        world.write(*range(63 * 4))
        reads = []
        read_into = world.flash.read_into

        def counted(offset, buf):
            reads.append(offset)
            read_into(offset, buf)

        world.flash.read_into = counted
        for first in (1, 32, 33, 62, 63, 64, 100, 200, 221):
            reads[:] = []
            batch = asyncio.run(world.journal.read(first, 32))
            self.assertEqual(len(batch), 32 * 64)
            self.assertEqual(records.sequence_of(batch), first)
            self.assertEqual(len(reads), 32)

    def test_others_get_their_turn_in_a_batch(self):
        world = World()
        world.write(*range(100))
        turns = []

        async def other():
            while True:
                turns.append(1)
                await asyncio.sleep_ms(0)

        async def both():
            running = asyncio.create_task(other())
            await world.journal.read(1, 32)
            running.cancel()

        asyncio.run(both())
        self.assertGreater(len(turns), 3)

    def test_torn_slots_do_not_end_a_batch(self):
        world = World()
        for n in range(40):
            world.write(n)
            if n % 4 == 0:
                at = world.journal._sector * 4096 + world.journal._slot * 64
                world.flash.data[at] = 0
                world.restart()
        for first in range(1, 41):
            batch = asyncio.run(world.journal.read(first, 32))
            self.assertEqual(len(batch), 64 * min(32, 41 - first))
            self.assertEqual(records.sequence_of(batch), first)

    def test_a_sector_that_is_erased_meanwhile_ends_the_batch(self):
        world = World()
        world.write(*range(63 * 3))
        journal = world.journal

        async def both():
            reading = asyncio.create_task(journal.read(1, 32))
            await asyncio.sleep_ms(0)
            journal._erase(0, journal._sector_sequence)
            return await reading

        batch = asyncio.run(both())
        found = [records.sequence_of(batch[at : at + 64]) for at in range(0, len(batch), 64)]
        self.assertEqual(found, list(range(found[0], found[0] + len(found))))
        self.assertIn(found[0], (1, 64))
