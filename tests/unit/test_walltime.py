"""Honest time: quality, and ticks that wrap."""

import unittest

from doorward.values import CLOCK_HELD, CLOCK_SYNCED, CLOCK_UNSET
from doorward.walltime import WallTime
from support import FakeTicks


class Walltime(unittest.TestCase):
    def test_counts_on_from_its_setting(self):
        ticks = FakeTicks()
        time = WallTime(ticks)
        time.set(1_700_000_000)
        ticks.advance_ms(2500)
        self.assertEqual(time.now_s(), 1_700_000_002)
        ticks.advance_ms(500)
        self.assertEqual(time.now_s(), 1_700_000_003)

    def test_an_unset_clock_says_nothing(self):
        time = WallTime(FakeTicks(), 1_600_000_000)
        self.assertEqual(time.quality, CLOCK_UNSET)
        self.assertEqual(time.now_s(), 0)
        self.assertEqual(time.at_s(0), 0)

    def test_ticks_may_wrap_as_often_as_they_like(self):
        ticks = FakeTicks()
        time = WallTime(ticks, 1_700_000_000, CLOCK_SYNCED)
        days = 40
        for _ in range(days):
            ticks.advance_ms(86_400_000)
            time.now_s()
        self.assertEqual(time.now_s(), 1_700_000_000 + days * 86_400)

    def test_an_earlier_moment(self):
        ticks = FakeTicks()
        time = WallTime(ticks, 1_700_000_000, CLOCK_SYNCED)
        ticks.advance_ms(10_000)
        then = ticks.ticks_ms()
        ticks.advance_ms(5_000)
        self.assertEqual(time.at_s(then), 1_700_000_010)

    def test_holding(self):
        time = WallTime(FakeTicks(), 1_700_000_000, CLOCK_SYNCED)
        time.hold()
        self.assertEqual(time.quality, CLOCK_HELD)
        unset = WallTime(FakeTicks())
        unset.hold()
        self.assertEqual(unset.quality, CLOCK_UNSET)
