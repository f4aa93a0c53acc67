"""Power cuts at a part of the flash operations of `make powercut`, and cuts that must be found."""

import unittest

import powercut_cases
from doorward import state
from doorward.hal.roles import SECTOR_BYTES
from doorward.journal import record as records
from doorward.journal import ring
from powercut_cases import AccessScenario, ConfigurationScenario, JournalScenario, explore
from support import TEARS, MemoryFlash, torn


class PowerCuts(unittest.TestCase):
    """Nothing is lost and nothing corrupt."""

    def cut(self, scenario, parts, tears=1):
        counts = explore(scenario, tears, 0, parts)
        self.assertEqual((counts.first, counts.lost, counts.corrupt), ("", 0, 0))
        self.assertGreater(counts.tried, 10)

    def test_journal(self):
        self.cut(JournalScenario(), 23)

    def test_configuration(self):
        self.cut(ConfigurationScenario(), 1)

    def test_lists_counters_and_posture(self):
        for fill in (0, 3):
            self.cut(AccessScenario(fill), 7)


class Sabotage(unittest.TestCase):
    """Firmware that gets something wrong is found out."""

    def find(self, where, name, what, scenario=None):
        """Put `what` in the place of where.name; return the Counts."""
        before = getattr(where, name)
        setattr(where, name, what)
        try:
            if scenario is None:
                counts = explore(JournalScenario(10, 140, 10, 10), TEARS, 0, 3)
            else:
                counts = explore(scenario)
        finally:
            setattr(where, name, before)
        self.assertGreater(counts.lost + counts.corrupt, 0)
        return counts

    def test_a_sector_that_is_erased_as_it_is(self):
        def erase(journal, sector):
            if sector != journal._sector and not journal._is_blank(sector):
                journal._first[sector] = 0
                journal._region.erase(sector * SECTOR_BYTES)
                journal._note_overwritten()

        self.find(ring.Journal, "_erase", erase, JournalScenario(2, 170, 2, 2))

    def test_a_header_that_is_written_before_its_key(self):
        program = MemoryFlash.program
        late = []

        def swapped(flash, offset, buf):
            # Held back until the header, which is the next to come, has been written.
            if offset % SECTOR_BYTES == 32 and bytes(buf) != bytes(32):
                late.append((offset, bytes(buf)))
                return
            program(flash, offset, buf)
            while late:
                program(flash, *late.pop())

        self.find(MemoryFlash, "program", swapped)

    def test_an_older_key_that_stays(self):
        counts = self.find(ring.Journal, "_drop_key", lambda journal, sector: None)
        self.assertIn("an older key", counts.first)

    def test_a_restart_that_tells_nothing_of_what_an_erase_cost(self):
        note_overwritten = ring.Journal._note_overwritten

        def note(journal):
            if hasattr(journal, "was_started"):
                note_overwritten(journal)
            journal.was_started = True

        self.find(ring.Journal, "_note_overwritten", note)

    def test_a_torn_slot_that_is_written_again(self):
        find_end = ring.Journal._find_end

        def find(journal, head, key):
            found = find_end(journal, head, key)
            journal._slot = journal.next_sequence - journal._first[journal._sector] + 1
            return found

        self.find(ring.Journal, "_find_end", find)

    def test_a_record_that_is_not_checked(self):
        def sequence_of(data):
            return int.from_bytes(bytes(data[4:8]), "little") if data[0] == 1 else 0

        self.find(records, "sequence_of", sequence_of)

    def test_a_record_that_is_reported_before_it_is_written(self):
        async def flush(journal):
            journal._ram.clear()

        self.find(ring.Journal, "flush", flush)

    def test_an_acknowledged_position_that_is_ahead(self):
        persisted = ring.Journal._persisted_sequence
        self.find(
            ring.Journal, "_persisted_sequence", lambda journal: persisted(journal) and 1_000_000
        )

    def test_a_secret_that_is_only_taken_out(self):
        async def forget(snapshots, tag, gate):
            await snapshots.commit({tag: None}, gate)

        for scenario in (ConfigurationScenario(), JournalScenario(10, 10, 10, 80)):
            counts = self.find(state.Snapshots, "forget", forget, scenario)
            self.assertIn("still", counts.first)

    def test_a_snapshot_that_is_not_checked(self):
        def crc32(data):
            return 0

        self.find(state, "crc32", crc32, ConfigurationScenario())
        self.find(state, "crc32", crc32, AccessScenario(0, ("count start",) * 9))

    def test_a_floor_that_falls(self):
        self.find(
            powercut_cases.Access,
            "open_intake",
            _without_floors(powercut_cases.Access.open_intake),
            AccessScenario(0, ("police_1.dwl", "lockdown_10.dwc", "release_11.dwc")),
        )


def _without_floors(open_intake):
    def opened(access):
        access.shelf.raise_floor = lambda *args: None
        return open_intake(access)

    return opened


class Tearing(unittest.TestCase):
    """The model of the flash itself."""

    def test_each_bit_is_as_before_or_as_after(self):
        before = bytes(range(256))
        after = bytes(value & 0x5A for value in range(256))
        seen = set()
        for seed in range(2 * TEARS):
            found = torn(before, after, seed)
            seen.add(bytes(found))
            for old, new, now in zip(before, after, found):
                self.assertEqual((now ^ old) & ~(old ^ new), 0)
        self.assertIn(before, seen)
        self.assertIn(after, seen)
        # One bit in a thousand is none of so few, now and then.
        self.assertGreaterEqual(len(seen), 8)

    def test_few_bits_and_nearly_all(self):
        blank = b"\xff" * 4096
        counts = [
            sum(bit for byte in torn(bytes(4096), blank, seed) for bit in _bits(byte))
            for seed in range(TEARS)
        ]
        self.assertEqual(counts[5:], [0, 8 * 4096])
        for count, share in zip(counts, (1 / 2, 1 / 8, 7 / 8, 1 / 1024, 1023 / 1024)):
            self.assertAlmostEqual(count / (8 * 4096), share, delta=0.02)
        self.assertGreater(counts[3], 0)
        self.assertLess(counts[4], 8 * 4096)


def _bits(byte):
    return [byte >> bit & 1 for bit in range(8)]
