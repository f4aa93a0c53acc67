"""The journal: records, chain, ring, recovery after a power cut at every flash operation."""

import asyncio
import unittest

from doorward import state, values
from doorward.journal import record as records
from doorward.journal.ring import RAM_EVENTS, Journal, last_of
from doorward.trust.primitives import HmacKey
from doorward.values import CLOCK_SYNCED, Event
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate, PowerCut

KEY = bytes(range(32))
SECTORS = 6


class World:
    """One door's journal over flash that outlives it."""

    def __init__(self, flash=None, state_flash=None):
        self.flash = flash or MemoryFlash(SECTORS * 4096)
        self.state_flash = state_flash or MemoryFlash(8192)
        self.ticks = FakeTicks(5_000_000)
        self.restart()

    def restart(self):
        self.snapshots = state.Snapshots(self.state_flash, 1024)
        time = WallTime(self.ticks, 1_700_000_000, CLOCK_SYNCED)
        self.journal = Journal(
            self.flash, self.snapshots, KEY, time, self.ticks, OpenGate(), boot=3
        )

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

    def details(self):
        return [r.event.detail for r in self.read_all() if r.event.code == values.TAP]


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

    def test_the_chain_verifies_across_sectors(self):
        world = World()
        world.write(*range(150))
        tag = records.FIRST_TAG
        batch = b""
        while True:
            piece = asyncio.run(world.journal.read(len(batch) // 64 + 1, 32))
            if not piece:
                break
            batch += piece
        for at in range(0, len(batch), 64):
            one = batch[at : at + 64]
            self.assertTrue(records.follows(one, HmacKey(KEY), tag))
            tag = records.unpack(one).tag

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
        lost = sum(r.event.detail for r in found if r.event.code == values.RECORDS_OVERWRITTEN)
        self.assertEqual(world.journal.oldest_sequence, found[0].sequence)
        self.assertGreater(lost, 0)
        self.assertEqual(lost, found[0].sequence - 1)

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

    def test_a_power_cut_at_any_flash_operation_loses_nothing_durable(self):
        # Twice around the ring, cut at every operation on the way; the operation is torn.
        total = 63 * SECTORS * 2
        world = World()
        cuts = 0
        written = []
        n = 0
        while n < total:
            trial = World(world.flash.copy(), world.state_flash.copy())
            trial.flash.power.left = cuts % 7
            done = []
            try:
                for k in range(n, n + 7):
                    trial.write(k)
                    done.append(k)
            except PowerCut:
                cuts += 1
                trial.flash.power.left = None
            trial.restart()
            written += done
            n += max(1, len(done))
            seen = trial.details()
            # What was durable and not overwritten is there, in order, with nothing invented.
            self.assertEqual(seen, written[len(written) - len(seen) :])
            self.assertGreaterEqual(len(seen), min(len(written), 63 * (SECTORS - 3)))
            trial.write(-1)
            self.assertEqual(trial.details()[-1], 0xFFFFFFFF)
            world = World(trial.flash, trial.state_flash)
            written.append(0xFFFFFFFF)
        self.assertGreater(cuts, 100)

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
        journal._erase(current)
        self.assertEqual(world.details()[-1], 63 * SECTORS)

    def test_the_acknowledged_position_survives_a_restart(self):
        world = World()
        world.write(*range(80))
        sequence, tag = last_of(asyncio.run(world.journal.read(70, 1)))
        self.assertTrue(world.journal.acknowledge(sequence, tag))
        asyncio.run(world.journal._persist_acknowledged())
        world.restart()
        self.assertEqual(world.journal.acknowledged, 70)
