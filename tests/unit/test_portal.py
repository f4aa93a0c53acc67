"""The portal's parts: strike and its deadlines, signs, debounced inputs."""

import asyncio
import unittest

from doorward import values
from doorward.portal import indicator
from doorward.portal.indicator import (
    ALARM,
    LOCKED_DOWN,
    OFFLINE,
    READY,
    SIGNS,
    STANDING,
    Indicator,
    Lights,
)
from doorward.portal.inputs import Input
from doorward.portal.strike import Strike
from support import FakeTicks

try:
    from micropython import heap_lock, heap_unlock
except ImportError:

    def heap_lock():
        pass

    heap_unlock = heap_lock


class Settings:
    def __init__(self, lights="rgb", is_silent=False):
        self.lights = lights
        self.is_silent = is_silent


class Board:
    def __init__(self, leds=(), buzzer=None, pixel=None):
        self.leds = leds
        self.buzzer = buzzer
        self.pixel = pixel


def nothing():
    pass


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
    if running.done():
        await running
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
    def strike(self, active=1, is_fail_safe=False):
        self.pin = Pin()
        return Strike(self.pin, active, self.ticks, is_fail_safe=is_fail_safe)

    def pass_ms(self, strike, total_ms):
        for _ in range(total_ms):
            self.ticks.advance_ms(1)
            strike.tend()

    def released_ms(self, strike, most_ms=400_000):
        """Return how long it stays released from here on."""
        for passed in range(most_ms):
            if not strike.is_released:
                return passed
            self.ticks.advance_ms(1)
            strike.tend()
        self.fail("released for ever")

    def test_it_is_de_energised_from_the_start_whatever_the_lock(self):
        for active in (0, 1):
            for is_fail_safe in (False, True):
                strike = self.strike(active, is_fail_safe)
                self.assertEqual(self.pin.history, [1 - active])
                self.assertEqual(strike.is_released, is_fail_safe)

    def test_the_level_follows_from_the_lock(self):
        for active in (0, 1):
            for is_fail_safe in (False, True):
                strike = self.strike(active, is_fail_safe)
                released = 1 - active if is_fail_safe else active
                strike.lock()
                self.assertEqual((self.pin.level, strike.is_released), (1 - released, False))
                strike.grant(500)
                self.assertEqual((self.pin.level, strike.is_released), (released, True))
                self.pass_ms(strike, 500)
                self.assertEqual((self.pin.level, strike.is_released), (1 - released, False))
                strike.hold(True)
                self.assertEqual(self.pin.level, released)
                strike.make_safe()
                self.assertEqual(self.pin.level, 1 - active)

    def test_the_pulse_ends_by_itself(self):
        strike = self.strike()
        beats = []
        strike.grant(500)
        self.assertEqual(self.pin.level, 1)
        asyncio.run(run_for(self.ticks, strike.run(lambda: beats.append(1)), 490))
        # run() was cancelled before its time: the output is safe all the same.
        self.assertEqual(self.pin.level, 0)
        self.assertGreaterEqual(len(beats), 20)
        strike.grant(500)

        async def look():
            running = asyncio.create_task(strike.run(nothing))
            while self.ticks.now_us < 2_000_000:
                self.ticks.advance_ms(1)
                await self.real(0)
                await self.real(0)
                if self.pin.level == 0:
                    break
            running.cancel()
            return self.ticks.now_us // 1000

        start_ms = self.ticks.now_us // 1000
        ended_ms = asyncio.run(look()) - start_ms
        self.assertGreaterEqual(ended_ms, 500)
        self.assertLessEqual(ended_ms, 530)

    def test_a_second_grant_never_shortens_the_first(self):
        strike = self.strike()
        strike.grant(5000)
        self.ticks.advance_ms(100)
        strike.grant(200)
        self.assertEqual(strike.grants, 2)
        self.assertEqual(self.released_ms(strike), 4900)

    def test_a_second_grant_lengthens_the_first(self):
        strike = self.strike()
        strike.grant(5000)
        self.ticks.advance_ms(4900)
        strike.grant(5000)
        self.assertEqual(self.released_ms(strike), 5000)

    def test_grant_and_exit_each_have_their_time(self):
        for first, second in (("grant", "exit"), ("exit", "grant")):
            strike = self.strike()
            getattr(strike, first)(3000)
            getattr(strike, second)(1000)
            strike.end_grant()
            self.assertEqual(self.released_ms(strike), 3000 if first == "exit" else 1000)

    def test_lock_ends_what_grants_released_and_nothing_else(self):
        for cause in ("grant", "toggle", "exit", "hold", "fire"):
            strike = self.strike()
            if cause == "toggle":
                strike.toggle(3600)
            elif cause == "hold":
                strike.hold(True)
            elif cause == "fire":
                strike.set_fire(True)
            else:
                getattr(strike, cause)(1000)
            strike.lock()
            self.assertEqual(strike.is_released, cause in ("exit", "hold", "fire"))

    def test_toggle_releases_until_the_next(self):
        strike = self.strike()
        strike.toggle(3600)
        self.pass_ms(strike, 1000)
        self.assertEqual(self.pin.level, 1)
        strike.toggle(3600)
        self.assertEqual(self.pin.level, 0)
        strike.toggle(3600)
        strike.hold(False)
        self.assertEqual(self.pin.level, 0, "a change of posture ends it")

    def test_a_toggled_release_ends_by_its_limit(self):
        for limit_s in (60, 14_400, 86_400):
            strike = self.strike()
            strike.toggle(limit_s)
            for _ in range(limit_s * 10 - 1):
                self.ticks.advance_ms(100)
                strike.tend()
            self.assertEqual((self.pin.level, strike.is_toggle_over), (1, False))
            self.pass_ms(strike, 100)
            self.assertEqual((self.pin.level, strike.is_toggle_over), (0, True))
            strike.toggle(limit_s)
            self.pass_ms(strike, 1000)
            self.assertEqual(self.pin.level, 1, "the next one has a time of its own")

    def test_the_limit_of_a_toggled_release_ends_nothing_else(self):
        for cause in ("grant", "exit", "hold", "fire"):
            strike = self.strike()
            strike.toggle(60)
            self.pass_ms(strike, 59_000)
            if cause == "hold":
                strike.hold(True)
            elif cause == "fire":
                strike.set_fire(True)
            else:
                getattr(strike, cause)(5000)
            self.pass_ms(strike, 2000)
            self.assertEqual((self.pin.level, strike.is_toggle_over), (1, True))
            strike.set_fire(False)
            strike.hold(False)
            self.pass_ms(strike, 3000)
            self.assertEqual(self.pin.level, 0)

    def test_a_toggle_while_held_or_for_a_fire_does_not_outlast_that(self):
        for begin, end in (("hold", "hold"), ("set_fire", "set_fire")):
            strike = self.strike()
            getattr(strike, begin)(True)
            writes = len(self.pin.history)
            strike.toggle(3600)
            self.assertEqual(self.pin.history[writes:], [1], "the tap is answered")
            getattr(strike, end)(False)
            self.assertEqual(self.pin.level, 0)

    def test_nothing_locks_it_in_a_fire(self):
        strike = self.strike()
        strike.toggle(3600)
        strike.grant(300)
        strike.exit(300)
        strike.hold(True)
        strike.set_fire(True)
        strike.hold(False)
        strike.lock()
        strike.end_grant()
        self.pass_ms(strike, 1000)
        self.assertEqual((self.pin.level, strike.is_held_open), (1, True))
        strike.set_fire(False)
        self.assertEqual(self.pin.level, 0)

    def test_what_was_locked_yields_for_a_moment(self):
        strike = self.strike()
        self.assertFalse(strike.is_permissive)
        strike.grant(1000)
        self.pass_ms(strike, 1000)
        self.assertFalse(strike.is_released)
        self.pass_ms(strike, 400)
        self.assertTrue(strike.is_permissive)
        self.pass_ms(strike, 200)
        self.assertFalse(strike.is_permissive)

    def test_weeks_in_one_state_wrap_no_deadline(self):
        for state in ("locked", "held", "fire", "exit"):
            strike = self.strike()
            strike.grant(5000)
            strike.hold(state == "held")
            strike.set_fire(state == "fire")
            for _ in range(24 * 60 * 60):
                self.ticks.advance_ms(30_000)
                if state == "exit":
                    strike.exit(40_000)
                strike.tend()
                self.assertEqual(strike.is_released, state != "locked", state)
            strike.hold(False)
            strike.set_fire(False)
            self.pass_ms(strike, 40_000 if state == "exit" else 0)
            self.assertFalse(strike.is_released)

    def test_it_allocates_nothing(self):
        strike = Strike(Fixed(), 1, self.ticks)
        heap_lock()
        try:
            strike.grant(1000)
            strike.tend()
            strike.exit(1000)
            strike.end_grant()
            strike.toggle(3600)
            strike.toggle(3600)
        except MemoryError:
            failed = True
        else:
            failed = False
        heap_unlock()
        self.assertFalse(failed)


class IndicatorTest(WithFastSleep):
    def make(self, lights="rgb", is_silent=False):
        self.leds = tuple(Pin() for _ in range(3))
        self.buzzer = Pin()
        self.pixels = []
        board = Board(self.leds, self.buzzer, lambda *rgb: self.pixels.append(rgb))
        return Indicator(Lights(board, Settings(lights, is_silent)), self.ticks)

    def levels(self):
        return tuple(led.level for led in self.leds)

    def picture(self, pattern, lights, is_silent):
        """Return what a pattern looks and sounds like, 50 ms by 50 ms."""
        self.make(lights, is_silent)
        board = Board(self.leds, self.buzzer)
        shown = Lights(board, Settings(lights, is_silent))
        picture = []
        for step, duration_ms in pattern:
            self.assertEqual(duration_ms % 50, 0)
            shown.show(step)
            picture += [(self.levels(), self.buzzer.level)] * (duration_ms // 50)
        return tuple(picture)

    def test_every_reason_has_a_sign_and_no_denial_is_green(self):
        self.assertEqual(set(SIGNS), set(values.REASONS))
        for reason, pattern in SIGNS.items():
            has_green = any(step & 7 == 2 for step, _ in pattern)
            self.assertEqual(has_green, reason < values.UNKNOWN_BADGE)
            self.assertLessEqual(sum(ms for _, ms in pattern), 1000)

    def test_kinds_that_ask_for_something_else_look_different(self):
        kinds = [
            indicator.GRANT,
            indicator.GRANT_NOTED,
            indicator.UNKNOWN,
            indicator.NOT_NOW,
            indicator.OVER,
            indicator.LOCKED,
            indicator.NO_PROOF,
            indicator.FAULT,
        ]
        self.assertEqual(set(kinds), set(SIGNS.values()))
        for group in (kinds, STANDING):
            for lights in ("rgb", "rg"):
                for is_silent in (False, True):
                    pictures = [self.picture(one, lights, is_silent) for one in group]
                    self.assertEqual(len(set(pictures)), len(group), (lights, is_silent))

    def test_reasons_of_one_kind_share_a_sign(self):
        for kind in (
            (values.UNKNOWN_BADGE, values.REVOKED, values.RANDOM_UID),
            (
                values.NOT_AT_THIS_HOUR,
                values.NOT_ON_HOLIDAYS,
                values.HOUR_UNKNOWN,
                values.NOT_YET_VALID,
                values.LIST_TOO_OLD,
            ),
            (values.IN_LOCKDOWN, values.DOOR_DISABLED),
        ):
            self.assertEqual(len({SIGNS[reason] for reason in kind}), 1)

    def test_a_reason_nobody_knows_looks_like_a_fault(self):
        signs = self.make()
        signs.show(99)
        self.assertEqual(self.levels(), (1, 0, 1))

    def test_a_sign_plays_at_once_and_then_the_standing_pattern(self):
        signs = self.make()
        signs.stand(LOCKED_DOWN)
        signs.show(values.GRANTED)
        self.assertEqual((self.levels(), self.buzzer.level), ((0, 1, 0), 1))
        asyncio.run(run_for(self.ticks, signs.run(), 1500))
        self.assertIn(1, self.leds[0].history)
        self.assertEqual((self.levels(), self.buzzer.level), ((0, 0, 0), 0), "dark when it ends")

    def test_the_next_sign_does_not_wait_for_the_one_before(self):
        signs = self.make()
        for _ in range(5):
            signs.show(values.UNKNOWN_BADGE)
            self.assertEqual(self.levels(), (1, 0, 0))
            signs.show(values.GRANTED)
            self.assertEqual(self.levels(), (0, 1, 0))

    def test_a_new_standing_pattern_waits_for_a_sign_only(self):
        signs = self.make()
        signs.stand(ALARM)
        self.assertEqual(self.levels(), (1, 0, 0))
        signs.show(values.GRANTED)
        signs.stand(LOCKED_DOWN)
        self.assertEqual(self.levels(), (0, 1, 0))
        signs.stand(OFFLINE)
        self.assertEqual(self.levels(), (0, 1, 0))

    def test_silent_is_silent(self):
        signs = self.make(is_silent=True)
        signs.show(values.UNKNOWN_BADGE)
        signs.stand(ALARM)
        asyncio.run(run_for(self.ticks, signs.run(), 1000))
        self.assertEqual(self.buzzer.history, [])

    def test_two_lights_are_enough(self):
        signs = self.make("rg")
        for reason in values.REASONS:
            signs.show(reason)
            asyncio.run(run_for(self.ticks, signs.run(), 100))
        self.assertEqual(self.leds[2].history, [])
        signs.show(values.DECISION_FAULT)
        self.assertEqual(self.levels()[:2], (1, 1))

    def test_an_addressable_light_hears_of_changes_only(self):
        signs = self.make("pixel")
        signs.show(values.NOT_ON_HOLIDAYS)
        asyncio.run(run_for(self.ticks, signs.run(), 4000))
        for before, after in zip(self.pixels, self.pixels[1:]):
            self.assertNotEqual(before, after)
        self.assertEqual({pixel[2] for pixel in self.pixels}, {0})
        self.assertIn((0, 96, 0), self.pixels)
        self.assertEqual([led.history for led in self.leds], [[], [], []])

    def test_lights_are_optional(self):
        for lights in ("rgb", "rg", "pixel"):
            signs = Indicator(Lights(Board(), Settings(lights)), self.ticks)
            signs.show(values.EXPIRED)
            self.assertIs(signs.standing, READY)

    def test_it_allocates_nothing(self):
        signs = self.make()
        board = Board(tuple(Fixed() for _ in range(3)), Fixed(), Fixed())
        for lights in ("rgb", "rg", "pixel"):
            signs = Indicator(Lights(board, Settings(lights)), self.ticks)
            heap_lock()
            try:
                for reason in SIGNS:
                    signs.show(reason)
                signs.stand(ALARM)
            except MemoryError:
                failed = True
            else:
                failed = False
            heap_unlock()
            self.assertFalse(failed)


class Fixed:
    """A pin or a pixel that keeps nothing."""

    def __call__(self, one=0, two=0, three=0):
        return one


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

    def test_a_contact_that_pulses_is_at_rest_only_after_a_longer_rest(self):
        self.input = Input(self.pin, self.ticks, debounce_ms=50, rest_ms=2000)
        self.pin.level = 0
        self.assertEqual(self.sample(51), 1, "it begins as any other")
        for _ in range(10):
            self.pin.level = 1
            self.assertEqual(self.sample(1950), 0)
            self.pin.level = 0
            self.assertEqual(self.sample(20), 0)
        self.assertTrue(self.input.is_active)
        self.pin.level = 1
        self.assertEqual(self.sample(1990), 0)
        self.assertEqual(self.sample(20), 1)
        self.assertFalse(self.input.is_active)

    def test_a_missing_input_never_changes(self):
        missing = Input(None, self.ticks)
        self.assertFalse(missing.changed() or missing.is_wired or missing.is_settling)
        missing.begin()
        self.assertFalse(missing.is_active)

    def test_either_level_can_be_the_active_one(self):
        closed_at_rest = Input(Pin(1), self.ticks, active=1, debounce_ms=50)
        closed_at_rest.changed()
        self.ticks.advance_ms(50)
        self.assertTrue(closed_at_rest.changed())
        self.assertTrue(closed_at_rest.is_active)

    def test_what_is_there_at_the_start_can_be_taken_as_it_is(self):
        self.pin.level = 0
        self.input.begin()
        self.assertTrue(self.input.is_active)
        self.assertFalse(self.input.is_settling or self.input.changed())

    def is_seen(self, debounce_ms, phase_ms, length_ms, stall_at_ms, stall_ms):
        """Sample every 10 ms, but not during one stall; was the contact seen to change?"""
        pin = Pin(1)
        contact = Input(pin, self.ticks, debounce_ms=debounce_ms)
        next_ms = 0
        for now_ms in range(phase_ms + length_ms + debounce_ms + 50):
            self.ticks.advance_ms(1)
            pin.level = 0 if phase_ms <= now_ms < phase_ms + length_ms else 1
            if now_ms == stall_at_ms:
                next_ms = now_ms + stall_ms
            if now_ms >= next_ms:
                next_ms = now_ms + 10
                if contact.changed():
                    return True
        return False

    def test_400_ms_are_never_missed_even_with_a_sector_erase_among_them(self):
        for debounce_ms in (5, 30, 200):
            for phase_ms in range(3, 14):
                for stall_at_ms in range(0, 420, 7):
                    self.assertTrue(self.is_seen(debounce_ms, phase_ms, 400, stall_at_ms, 45))

    def test_how_long_is_surely_seen(self):
        for debounce_ms in (5, 30, 200):
            for stall_at_ms in range(0, debounce_ms + 100, 3):
                self.assertTrue(self.is_seen(debounce_ms, 7, debounce_ms + 100, stall_at_ms, 45))
                self.assertTrue(self.is_seen(debounce_ms, 7, debounce_ms + 450, stall_at_ms, 400))
        # The worst case that the flash's data sheet allows hides what is shorter.
        self.assertFalse(self.is_seen(30, 7, 400, 5, 400))

    def test_months_at_rest_and_weeks_active_wrap_nothing(self):
        for level in (1, 0, 1, 0):
            self.pin.level = level
            self.sample(60)
            for _ in range(24 * 40):
                self.ticks.advance_ms(3_600_000)
                self.assertFalse(self.input.changed())
            self.assertEqual(self.input.is_active, level == 0)
