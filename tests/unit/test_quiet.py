"""The quiet gate: when it opens, and that it opens at last."""

import asyncio
import unittest

from doorward import quiet
from doorward.quiet import Breather, Gate
from support import FakeTicks

real_sleep_ms = asyncio.sleep_ms


class Quiet(unittest.TestCase):
    def setUp(self):
        self.ticks = FakeTicks()
        self.gate = Gate(self.ticks, quiet_ms=1000, patience_ms=5000)
        self.gate.polled()
        self.looks = 0

        async def sleep_ms(ms):
            # Time passes while the gate waits, and the reader polls meanwhile.
            self.ticks.advance_ms(ms)
            self.looks += 1
            self.on_wait()
            await real_sleep_ms(0)

        self.on_wait = self.gate.polled
        asyncio.sleep_ms = sleep_ms

    def tearDown(self):
        asyncio.sleep_ms = real_sleep_ms

    def run_one(self):
        asyncio.run(self.gate.run(self.ticks.advance_ms, 45))

    def test_runs_at_once_in_a_quiet_moment(self):
        self.run_one()
        self.assertEqual(self.looks, 0)
        self.assertEqual((self.gate.runs, self.gate.longest_ms), (1, 45))

    def test_waits_until_the_badge_has_been_away_long_enough(self):
        self.gate.saw_badge()
        self.run_one()
        self.assertGreaterEqual(self.ticks.now_us, 1_000_000)
        self.assertEqual(self.gate.hasty, 0)

    def test_a_poll_lies_between_two_stalls(self):
        self.run_one()
        self.assertFalse(self.gate.is_quiet())
        self.gate.polled()
        self.assertTrue(self.gate.is_quiet())

    def test_endless_taps_do_not_stop_it_for_ever(self):
        self.gate.saw_badge()
        self.on_wait = self.gate.saw_badge
        self.run_one()
        self.assertEqual(self.gate.hasty, 1)
        self.assertLess(self.ticks.now_us, 6_000_000)

    def test_a_week_without_a_badge_is_quiet(self):
        self.gate.saw_badge()
        for _ in range(7 * 24):
            self.ticks.advance_ms(3_600_000)
            self.gate.polled()
            self.assertTrue(self.gate.is_quiet())


class Breathing(unittest.TestCase):
    def setUp(self):
        self.slices = []
        self.gc = quiet.gc
        # To be found as a module's function: this stands in for the module.
        quiet.gc = self

        async def sleep_ms(ms):
            self.slices.append("others")
            await real_sleep_ms(ms)

        asyncio.sleep_ms = sleep_ms

    def tearDown(self):
        quiet.gc = self.gc
        asyncio.sleep_ms = real_sleep_ms

    def collect(self):
        self.slices.append("collection")

    def test_a_collection_has_a_slice_of_its_own(self):
        breather = Breather()

        async def work():
            for _ in range(40):
                self.slices.append("work")
                await breather.pause()

        asyncio.run(work())
        self.assertEqual(self.slices.count("collection"), 2)
        for at in range(0, len(self.slices), 2):
            self.assertNotEqual(self.slices[at], "others")
            self.assertEqual(self.slices[at + 1], "others")
