"""Posture and gestures: who may begin and end what, restarts, and what time alone brings about."""

import unittest

from doorward import state
from doorward.access.command import Command
from doorward.access.gesture import (
    BEGIN_LOCKDOWN,
    END_LOCKDOWN,
    END_TEAM_HOLD,
    HOLD_FOR_TEAM,
    NOTHING,
    Gestures,
)
from doorward.access.posture import Posture
from doorward.config import Config
from doorward.hal.roles import SECTOR_BYTES, STATE_SLOT_BYTES
from doorward.trust.primitives import run_through
from doorward.values import (
    BY_COMMAND,
    BY_GESTURE,
    BY_KEY_HOLDER,
    BY_SCHEDULE,
    BY_SWITCH,
    BY_TIME,
    CLOCK_SYNCED,
    CLOCK_UNSET,
    DISABLE,
    DISABLED,
    ENABLE,
    GRANTED,
    GRANTED_IN_LOCKDOWN,
    HOLD_OPEN,
    IN_LOCKDOWN,
    LOCK_DOWN,
    LOCKDOWN,
    NORMAL,
    NOT_AT_THIS_HOUR,
    POSTURE_CHANGED,
    RELEASE,
    RESPONDER,
    STAFF,
    TEAM_HOLD,
    TEAM_HOLD_OVER,
    UNKNOWN_BADGE,
    UNLOCK,
    UNLOCKED,
    VISITOR,
    Decision,
    Entry,
)
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate, asyncio

NOW_S = 1_790_000_000


class PostureCase(unittest.TestCase):
    settings = {}

    def setUp(self):
        self.kept = MemoryFlash(2 * SECTOR_BYTES)
        self.ticks = FakeTicks()
        self.time = WallTime(self.ticks, NOW_S, CLOCK_SYNCED)
        self.start()

    def start(self):
        """Start anew with what is on flash."""
        snapshots = state.Snapshots(self.kept, STATE_SLOT_BYTES)
        settings = Config(self.settings)
        self.posture = Posture(snapshots, OpenGate(), self.time, self.ticks, settings)
        self.changes = []
        self.posture.on_change = lambda *change: self.changes.append(change)

    def keep(self):
        """Let it be written."""

        async def keep():
            keeping = asyncio.create_task(self.posture.keep(lambda: None))
            await asyncio.sleep_ms(5)
            keeping.cancel()

        asyncio.run(keep())

    def restart(self):
        """Let it be written, then start anew."""
        self.keep()
        self.start()

    def store(self, value):
        """Put a value into the state that the next start finds."""
        snapshots = state.Snapshots(self.kept, STATE_SLOT_BYTES)
        run_through(snapshots.commit({state.POSTURE: value}, OpenGate()))

    def order(self, kind, argument=0):
        self.posture.obey(Command(kind, NOW_S + 60, argument=argument), b"district")

    def check(self, current):
        self.assertEqual(self.posture.current, current)


class SwitchTest(PostureCase):
    def test_follows_the_switch(self):
        self.posture.follow_switch(True)
        self.check(LOCKDOWN)
        self.posture.follow_switch(False)
        self.check(NORMAL)
        self.assertEqual(self.changes, [(POSTURE_CHANGED, BY_SWITCH, b"")] * 2)

    def test_is_written_nowhere_however_often_it_is_turned(self):
        self.order(LOCK_DOWN)
        self.order(RELEASE)
        self.restart()
        before = self.kept.programs
        for _ in range(100):
            self.posture.follow_switch(True)
            self.keep()
            self.check(LOCKDOWN)
            self.posture.follow_switch(False)
            self.keep()
        self.assertEqual(self.kept.programs, before)

    def test_is_not_written_with_an_order_either(self):
        self.posture.follow_switch(True)
        self.store(self.posture.packed_after(Command(ENABLE, NOW_S + 60)))
        self.start()
        self.check(NORMAL)
        self.posture.follow_switch(True)
        self.order(LOCK_DOWN)
        self.restart()
        self.check(LOCKDOWN)
        self.order(RELEASE)
        self.check(NORMAL)

    def test_one_that_an_earlier_firmware_wrote_down_does_not_lock(self):
        self.store(bytes((NORMAL, 1)) + bytes(16))
        self.start()
        self.check(NORMAL)
        self.posture.follow_switch(False)
        self.restart()
        self.check(NORMAL)

    def test_a_posture_that_nobody_knows_is_a_lockdown_that_a_release_ends(self):
        self.store(b"\x09")
        self.start()
        self.check(LOCKDOWN)
        self.order(RELEASE)
        self.check(NORMAL)

    def test_does_not_end_what_a_command_began(self):
        self.order(LOCK_DOWN)
        self.posture.follow_switch(True)
        self.posture.follow_switch(False)
        self.check(LOCKDOWN)

    def test_a_release_does_not_end_what_the_switch_goes_on_demanding(self):
        self.posture.follow_switch(True)
        self.order(RELEASE)
        self.check(LOCKDOWN)
        self.posture.follow_switch(False)
        self.check(NORMAL)


class PanicButtonTest(PostureCase):
    settings = {"lockdown_ends_by": "release"}

    def test_only_a_release_ends_it(self):
        self.posture.follow_switch(True)
        self.posture.follow_switch(False)
        self.check(LOCKDOWN)
        self.restart()
        self.check(LOCKDOWN)
        self.posture.follow_switch(False)
        self.check(LOCKDOWN)
        self.order(RELEASE)
        self.check(NORMAL)
        self.restart()
        self.check(NORMAL)

    def test_or_a_key_holder(self):
        self.posture.follow_switch(True)
        self.posture.follow_gesture(END_LOCKDOWN, b"key-holder")
        self.check(NORMAL)
        self.assertEqual(self.changes[-1], (POSTURE_CHANGED, BY_KEY_HOLDER, b"key-holder"))


class PressedAgainTest(PostureCase):
    settings = {"lockdown_ends_by": "release"}

    def test_inside_a_lockdown_it_is_told_and_ends_a_teams_hold(self):
        self.order(LOCK_DOWN)
        self.posture.follow_gesture(HOLD_FOR_TEAM, b"officer")
        self.keep()
        programs = self.kept.programs
        self.posture.follow_switch(True)
        self.assertFalse(self.posture.is_team_hold)
        self.assertEqual(self.changes[-1], (POSTURE_CHANGED, BY_SWITCH, b""))
        self.keep()
        self.assertEqual(self.kept.programs, programs)


class NumberTest(PostureCase):
    settings = {"lockdown_ends_by": "release"}

    def check_number(self, number):
        self.keep()
        self.assertEqual(self.posture.lockdown, number)

    def test_each_lockdown_by_order_has_one_of_its_own(self):
        self.check_number(0)
        self.posture.follow_switch(True)
        self.check_number(1)
        # Pressed again, or a contact that chatters.
        self.posture.follow_switch(False)
        self.posture.follow_switch(True)
        self.check_number(1)
        self.order(RELEASE)
        self.check_number(0)
        self.posture.follow_gesture(BEGIN_LOCKDOWN, b"principal")
        self.check_number(2)
        self.restart()
        self.assertEqual(self.posture.lockdown, 2)
        self.order(LOCK_DOWN)
        self.check_number(3)
        self.order(LOCK_DOWN)
        self.check_number(4)
        self.order(DISABLE)
        self.check_number(4)
        self.order(RELEASE)
        self.restart()
        self.assertEqual(self.posture.lockdown, 0)
        self.order(ENABLE)
        self.order(LOCK_DOWN)
        self.check_number(5)

    def test_is_told_once_it_is_durable(self):
        self.posture.follow_switch(True)
        self.assertEqual(self.posture.lockdown, 0)
        # The power goes: the next one has the same number, and nobody was told of the first.
        self.start()
        self.posture.follow_switch(True)
        self.check_number(1)

    def test_one_that_an_earlier_firmware_began_has_none(self):
        self.store(bytes((NORMAL, 3)) + bytes(4) + b"district")
        self.start()
        self.check(LOCKDOWN)
        self.assertEqual(self.posture.ordered_by, b"district")
        self.check_number(0)
        self.order(RELEASE)
        self.check(NORMAL)
        self.order(LOCK_DOWN)
        self.check_number(1)


class SwitchNumberTest(PostureCase):
    def test_a_lockdown_by_the_switch_has_none(self):
        self.posture.follow_switch(True)
        self.keep()
        self.assertEqual(self.posture.lockdown, 0)


class OrderTest(PostureCase):
    def test_each_order(self):
        self.order(LOCK_DOWN)
        self.check(LOCKDOWN)
        self.order(RELEASE)
        self.check(NORMAL)
        self.order(HOLD_OPEN, NOW_S + 10)
        self.check(UNLOCKED)
        self.order(UNLOCK, 5)
        self.check(UNLOCKED)
        self.order(DISABLE)
        self.check(DISABLED)
        self.restart()
        self.check(DISABLED)
        self.order(RELEASE)
        self.check(DISABLED)
        self.order(ENABLE)
        self.check(NORMAL)
        self.assertEqual({cause for _, cause, _ in self.changes}, {BY_COMMAND})

    def test_a_lockdown_under_a_disabled_door_comes_to_light_with_it(self):
        self.order(DISABLE)
        self.posture.follow_switch(True)
        self.check(DISABLED)
        self.order(ENABLE)
        self.check(LOCKDOWN)

    def test_held_open_ends_in_time_and_with_the_clock(self):
        self.order(HOLD_OPEN, NOW_S + 10)
        self.posture.follow_time(False)
        self.check(UNLOCKED)
        self.time.set(NOW_S + 10)
        self.posture.follow_time(False)
        self.check(NORMAL)
        self.assertEqual(self.changes[-1], (POSTURE_CHANGED, BY_TIME, b""))
        self.order(HOLD_OPEN, NOW_S + 100)
        self.time.set(NOW_S, CLOCK_UNSET)
        self.posture.follow_time(False)
        self.check(NORMAL)

    def test_a_lockdown_ends_holding_open_for_good(self):
        self.order(HOLD_OPEN, NOW_S + 10)
        self.posture.follow_switch(True)
        self.check(LOCKDOWN)
        self.posture.follow_switch(False)
        self.check(NORMAL)


class ScheduleTest(PostureCase):
    def test_unlocks_and_locks(self):
        self.posture.follow_time(True)
        self.check(UNLOCKED)
        self.posture.follow_time(True)
        self.posture.follow_time(False)
        self.check(NORMAL)
        self.assertEqual(self.changes, [(POSTURE_CHANGED, BY_SCHEDULE, b"")] * 2)

    def test_a_lockdown_goes_before_it(self):
        self.posture.follow_time(True)
        self.posture.follow_switch(True)
        self.check(LOCKDOWN)
        self.posture.follow_time(False)
        self.posture.follow_time(True)
        self.check(LOCKDOWN)
        self.posture.follow_switch(False)
        self.check(UNLOCKED)

    def test_is_reckoned_anew_after_a_restart(self):
        self.posture.follow_time(True)
        self.restart()
        self.check(NORMAL)


class TeamHoldTest(PostureCase):
    settings = {"team_hold_s": 60}

    def test_holds_and_ends_by_gesture_or_time(self):
        self.ticks.advance_ms(3_600_000)
        self.posture.follow_gesture(HOLD_FOR_TEAM, b"officer")
        self.posture.follow_time(False)
        self.assertTrue(self.posture.is_team_hold)
        self.check(NORMAL)
        self.posture.follow_gesture(END_TEAM_HOLD, b"officer")
        self.assertFalse(self.posture.is_team_hold)
        self.posture.follow_gesture(HOLD_FOR_TEAM, b"officer")
        self.ticks.advance_ms(59_999)
        self.posture.follow_time(False)
        self.assertTrue(self.posture.is_team_hold)
        self.ticks.advance_ms(1)
        self.posture.follow_time(False)
        self.assertFalse(self.posture.is_team_hold)
        self.assertEqual(
            self.changes,
            [
                (TEAM_HOLD, BY_GESTURE, b"officer"),
                (TEAM_HOLD_OVER, BY_GESTURE, b"officer"),
                (TEAM_HOLD, BY_GESTURE, b"officer"),
                (TEAM_HOLD_OVER, BY_TIME, b""),
            ],
        )

    def test_holds_within_a_lockdown_and_ends_with_the_beginning_of_one(self):
        self.posture.follow_gesture(HOLD_FOR_TEAM, b"officer")
        self.posture.follow_switch(True)
        self.assertFalse(self.posture.is_team_hold)
        self.posture.follow_gesture(HOLD_FOR_TEAM, b"officer")
        self.assertTrue(self.posture.is_team_hold)
        self.check(LOCKDOWN)

    def test_a_lockdown_ordered_inside_a_lockdown_ends_it_too(self):
        self.posture.follow_switch(True)
        self.posture.follow_gesture(HOLD_FOR_TEAM, b"officer")
        self.order(LOCK_DOWN)
        self.assertFalse(self.posture.is_team_hold)

    def test_does_not_outlive_a_restart(self):
        self.posture.follow_gesture(HOLD_FOR_TEAM, b"officer")
        self.restart()
        self.assertFalse(self.posture.is_team_hold)

    def test_nothing_is_nothing(self):
        self.posture.follow_gesture(NOTHING, b"x")
        self.posture.follow_gesture(END_TEAM_HOLD, b"x")
        self.assertEqual(self.changes, [])


class GestureTest(unittest.TestCase):
    def setUp(self):
        self.ticks = FakeTicks()
        self.be(gesture_ms=5000, lockdown_level=7, key_holder_level=9)

    def be(self, **settings):
        self.gestures = Gestures(self.ticks, Config(settings))

    def tap(self, badge=b"one", reason=GRANTED, kind=RESPONDER, level=0, posture=NORMAL, ms=2000):
        self.ticks.advance_ms(ms)
        entry = None
        if reason != UNKNOWN_BADGE:
            entry = Entry()
            entry.cardholder_class = kind
            entry.level = level
        return self.gestures.tap(Decision(reason, badge, entry), posture)

    def taps(self, count, **how):
        return [self.tap(**how) for _ in range(count)]

    def test_second_holds_third_locks_and_so_on(self):
        wanted = [NOTHING, HOLD_FOR_TEAM, END_TEAM_HOLD]
        self.assertEqual(self.taps(6), wanted + wanted)

    def test_in_lockdown_as_well(self):
        found = self.taps(2, reason=GRANTED_IN_LOCKDOWN, posture=LOCKDOWN)
        self.assertEqual(found, [NOTHING, HOLD_FOR_TEAM])

    def test_off_by_default(self):
        self.be()
        self.assertEqual(self.taps(3), [NOTHING] * 3)

    def test_too_slow(self):
        self.assertEqual(self.taps(3, ms=5001), [NOTHING] * 3)

    def test_another_badge_in_between_begins_anew(self):
        self.tap()
        self.tap(badge=b"two")
        self.assertEqual(self.tap(), NOTHING)

    def test_a_denied_tap_in_between_begins_anew(self):
        for reason in (UNKNOWN_BADGE, NOT_AT_THIS_HOUR):
            self.tap()
            self.tap(badge=b"two", reason=reason)
            self.assertEqual(self.tap(), NOTHING)
            self.ticks.advance_ms(6000)

    def test_staff_hold_nothing(self):
        self.assertEqual(self.taps(4, kind=STAFF), [NOTHING] * 4)

    def test_lockdown_by_three_taps_of_its_level(self):
        self.assertEqual(self.taps(3, kind=STAFF, level=7), [NOTHING, NOTHING, BEGIN_LOCKDOWN])
        # A responder of that level holds nothing open by the way.
        self.assertEqual(self.taps(3, level=7, badge=b"two"), [NOTHING, NOTHING, BEGIN_LOCKDOWN])

    def test_the_key_holder_ends_a_lockdown_though_it_keeps_him_out(self):
        how = {"kind": STAFF, "level": 9, "posture": LOCKDOWN, "reason": IN_LOCKDOWN}
        self.assertEqual(self.taps(3, **how), [NOTHING, NOTHING, END_LOCKDOWN])
        how["level"] = 8
        self.assertEqual(self.taps(3, **how), [NOTHING] * 3)

    def test_a_visitor_orders_nothing(self):
        self.assertEqual(self.taps(3, kind=VISITOR, level=7), [NOTHING] * 3)
        how = {"kind": VISITOR, "level": 9, "posture": LOCKDOWN, "reason": IN_LOCKDOWN}
        self.assertEqual(self.taps(3, **how), [NOTHING] * 3)

    def test_taps_are_forgotten_before_the_ticks_wrap(self):
        self.tap()
        self.ticks.advance_ms(6000)
        self.gestures.forget()
        self.ticks.advance_ms((1 << 30) - 6000 - 2000)
        self.assertEqual(self.tap(), NOTHING)


if __name__ == "__main__":
    unittest.main()
