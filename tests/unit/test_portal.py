"""The portal: strike deadline, signs, debounced inputs."""

import asyncio
import unittest

from doorward import values
from doorward.portal.indicator import BY_REASON, LOCKED_DOWN, READY, Indicator
from doorward.portal.inputs import Input
from doorward.portal.strike import Strike
from support import FakeTicks


class Pin:
    def __init__(self, level=None):
        self.level = level
        self.history = []

    def __call__(self, level=None):
        if level is None:
            return self.level
        self.level = level
        self.history.append(level)


async def run_for(ticks, task, total_ms):
    """Run a task while fake time goes by, a millisecond a turn."""
    running = asyncio.create_task(task)
    for _ in range(total_ms):
        ticks.advance_ms(1)
        await asyncio.sleep_ms(0)
        await asyncio.sleep_ms(0)
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        pass


class WithFastSleep(unittest.TestCase):
    """asyncio.sleep_ms that waits for fake ticks instead of real time."""

    def setUp(self):
        self.ticks = FakeTicks()
        self.real = asyncio.sleep_ms

        async def sleep_ms(ms):
            end = self.ticks.now_us + ms * 1000
            await self.real(0)
            while self.ticks.now_us < end:
                await self.real(0)

        asyncio.sleep_ms = sleep_ms

    def tearDown(self):
        asyncio.sleep_ms = self.real


class StrikeTest(WithFastSleep):
    def test_it_is_safe_from_the_start_for_either_level(self):
        for active in (0, 1):
            pin = Pin()
            Strike(pin, active, self.ticks)
            self.assertEqual(pin.history, [1 - active])

    def test_the_pulse_ends_by_itself(self):
        pin = Pin()
        strike = Strike(pin, 1, self.ticks)
        strike.energise(500)
        self.assertEqual(pin.level, 1)
        asyncio.run(run_for(self.ticks, strike.run(), 490))
        # run() was cancelled before its time: the output is safe all the same.
        self.assertEqual(pin.level, 0)
        strike.energise(500)

        async def look():
            running = asyncio.create_task(strike.run())
            while self.ticks.now_us < 2_000_000:
                self.ticks.advance_ms(1)
                await self.real(0)
                await self.real(0)
                if pin.level == 0:
                    break
            running.cancel()
            return self.ticks.now_us // 1000

        start_ms = self.ticks.now_us // 1000
        ended_ms = asyncio.run(look()) - start_ms
        self.assertGreaterEqual(ended_ms, 500)
        self.assertLessEqual(ended_ms, 530)

    def test_a_second_grant_never_shortens_the_first(self):
        pin = Pin()
        strike = Strike(pin, 1, self.ticks)
        strike.energise(5000)
        self.ticks.advance_ms(100)
        strike.energise(200)
        asyncio.run(self._until(strike, 4000))
        self.assertEqual(strike.grants, 2)
        self.assertTrue(self.was_energised)

    async def _until(self, strike, total_ms):
        running = asyncio.create_task(strike.run())
        for _ in range(total_ms):
            self.ticks.advance_ms(1)
            await self.real(0)
        self.was_energised = strike.is_energised
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            pass


class IndicatorTest(WithFastSleep):
    def test_every_denial_has_a_sign_and_none_is_green(self):
        for reason in values.REASONS:
            if reason >= values.UNKNOWN_BADGE:
                self.assertIn(reason, BY_REASON)
                self.assertFalse(any(lights & 7 == 2 for lights, _ in BY_REASON[reason]))

    def test_a_sign_plays_at_once_and_then_the_standing_pattern(self):
        red, green, blue, buzzer = Pin(), Pin(), Pin(), Pin()
        indicator = Indicator((red, green, blue), buzzer, self.ticks, is_silent=False)
        indicator.stand(LOCKED_DOWN)
        indicator.show(values.GRANTED)
        self.assertEqual((red.level, green.level, blue.level, buzzer.level), (0, 1, 0, 1))
        asyncio.run(run_for(self.ticks, indicator.run(), 1500))
        self.assertIn(1, red.history)

    def test_silent_is_silent(self):
        buzzer = Pin()
        indicator = Indicator((Pin(), Pin(), Pin()), buzzer, self.ticks, is_silent=True)
        indicator.show(values.UNKNOWN_BADGE)
        asyncio.run(run_for(self.ticks, indicator.run(), 1000))
        self.assertEqual(buzzer.history, [])

    def test_lights_are_optional(self):
        indicator = Indicator((), None, self.ticks, is_silent=False)
        indicator.show(values.EXPIRED)
        self.assertEqual(indicator.standing, READY)


class InputTest(unittest.TestCase):
    def setUp(self):
        self.ticks = FakeTicks()
        self.pin = Pin(1)
        self.input = Input(self.pin, self.ticks, debounce_ms=50)

    def sample(self, ms):
        changes = 0
        for _ in range(ms):
            self.ticks.advance_ms(1)
            changes += self.input.changed()
        return changes

    def test_bounce_shorter_than_the_debounce_is_nothing(self):
        for _ in range(10):
            self.pin.level = 0
            self.assertEqual(self.sample(20), 0)
            self.pin.level = 1
            self.assertEqual(self.sample(20), 0)
        self.assertFalse(self.input.is_active)

    def test_a_held_level_is_one_change(self):
        self.pin.level = 0
        self.assertEqual(self.sample(400), 1)
        self.assertTrue(self.input.is_active)
        self.pin.level = 1
        self.assertEqual(self.sample(400), 1)
        self.assertFalse(self.input.is_active)

    def test_a_missing_input_never_changes(self):
        missing = Input(None, self.ticks)
        self.assertFalse(missing.changed())
