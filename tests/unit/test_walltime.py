"""Honest time: quality, ticks that wrap, and a crystal that is not quite right."""

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

    def test_nobody_compared_it_for_a_day(self):
        ticks = FakeTicks()
        time = WallTime(ticks, 1_700_000_000, CLOCK_SYNCED)
        ticks.advance_ms(86_399_000)
        time.now_s()
        self.assertEqual(time.quality, CLOCK_SYNCED)
        ticks.advance_ms(1000)
        time.now_s()
        self.assertEqual(time.quality, CLOCK_HELD)
        time.correct(0)
        self.assertEqual((time.quality, time.synced_s), (CLOCK_SYNCED, 1_700_086_400))

    def test_how_far_it_is_behind(self):
        ticks = FakeTicks()
        time = WallTime(ticks)
        time.set(1_700_000_000, CLOCK_SYNCED, 900)
        self.assertEqual(time.behind_ms(1_700_000_001, 0), 100)
        self.assertEqual(time.behind_ms(1_700_000_000, 400), -500)
        ticks.advance_ms(350)
        self.assertEqual(time.behind_ms(1_700_000_000, 0), -1250)
        time.shift(-1300)
        self.assertEqual(time.behind_ms(1_700_000_000, 0), 50)
        self.assertEqual(time.now_s(), 1_699_999_999)


class Crystal(unittest.TestCase):
    """True time goes by hour by hour; the board's ticks run too fast by `skew_ppm`."""

    START_S = 1_700_000_000

    def begin(self, skew_ppm, quality=CLOCK_UNSET):
        self.ticks = FakeTicks()
        self.skew_ppm = skew_ppm
        self.true_ms = self.START_S * 1000
        self.time = WallTime(self.ticks, self.START_S, quality)

    def go(self, hours, step_ms=3_600_000):
        for _ in range(hours * 3_600_000 // step_ms):
            self.true_ms += step_ms
            passed_ms = self.true_ms - self.START_S * 1000
            self.ticks.now_us = passed_ms * 1000 + passed_ms * self.skew_ppm // 1000
            self.time.now_s()

    def behind_ms(self):
        return self.time.behind_ms(self.true_ms // 1000, self.true_ms % 1000)

    def sync(self, error_ms=0):
        return self.time.correct(self.behind_ms() + error_ms)

    def test_within_ten_seconds_a_week_after_a_day_of_synchronisation(self):
        for skew_ppm in (-190, -100, -30, -1, 0, 7, 50, 190):
            for error_ms in (0, 20, 200):
                with self.subTest(skew_ppm=skew_ppm, error_ms=error_ms):
                    self.begin(skew_ppm)
                    self.time.set(self.START_S)
                    for hour in range(24):
                        self.go(1)
                        # As wrong as round trips allow, now this way and now that.
                        self.assertEqual(self.sync(error_ms if hour % 3 else -error_ms), 0)
                    self.assertLessEqual(abs(self.time.drift_ppm + skew_ppm), 1 + error_ms // 10)
                    self.go(7 * 24)
                    self.assertEqual(self.time.quality, CLOCK_HELD)
                    limit_ms = 1300 if error_ms <= 20 else 10_000
                    if error_ms <= 20:
                        limit_ms += error_ms * 200
                    self.assertLess(abs(self.behind_ms()), limit_ms)

    def test_a_crystal_that_nobody_measured_drifts_as_it_is(self):
        self.begin(30)
        self.time.set(self.START_S)
        self.go(7 * 24)
        self.assertEqual(self.behind_ms(), -18_144)

    def test_one_synchronisation_a_day_for_weeks(self):
        self.begin(80)
        self.time.set(self.START_S)
        for _ in range(21):
            self.go(24)
            self.assertEqual(self.sync(), 0)
        self.assertEqual(self.time.drift_ppm, -80)
        self.go(24)
        self.assertLess(abs(self.behind_ms()), 100)

    def test_asked_four_times_a_second_nothing_is_lost_to_rounding(self):
        self.begin(-33)
        self.time.drift_ppm = 33
        self.time.set(self.START_S)
        self.go(24, 250)
        self.assertLess(abs(self.behind_ms()), 5)

    def test_never_backwards_by_itself(self):
        self.begin(0)
        self.time.drift_ppm = -200
        self.time.set(self.START_S)
        last_ms = 0
        for _ in range(20_000):
            self.ticks.advance_ms(1)
            now_ms = -self.time.behind_ms(self.START_S, 0)
            self.assertLessEqual(last_ms, now_ms)
            last_ms = now_ms
        self.assertEqual(last_ms, 19_996)

    def test_no_rate_beyond_what_crystals_have(self):
        self.begin(350)
        self.time.set(self.START_S)
        for _ in range(24):
            self.go(6)
            self.sync()
        self.assertEqual(self.time.drift_ppm, -200)

    def test_how_far_off_it_began_says_nothing_of_its_rate(self):
        self.begin(0, CLOCK_HELD)
        self.go(1)
        self.time.shift(-1500)
        self.assertEqual(self.sync(), 0)
        self.assertEqual(self.time.drift_ppm, 0)
        self.go(8)
        self.sync()
        self.assertEqual(self.time.drift_ppm, 0)

    def test_what_no_crystal_explains_is_told_and_not_learnt(self):
        self.begin(0)
        self.time.set(self.START_S)
        self.go(1)
        self.assertEqual(self.sync(3400), 0)
        self.assertEqual(self.sync(3900), 3900)
        self.go(7)
        self.assertEqual(self.sync(3900), 0)
        self.assertEqual(self.time.drift_ppm, 0)
        # Drawn along little by little, it shows all the same.
        told_ms = 0
        lie_ms = 3900
        for _ in range(24):
            self.go(1)
            lie_ms += 2500
            told_ms += self.sync(lie_ms)
        self.assertEqual(told_ms, 24 * 2500)
