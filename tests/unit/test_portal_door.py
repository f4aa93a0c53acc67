"""The portal as one door: every rule of strike, contact, exit, fire and alarms, and random traces."""

import asyncio
import unittest

from doorward.config import Config
from doorward.portal import indicator
from doorward.portal.portal import INPUTS, Portal
from doorward.values import (
    BATTERY,
    CABINET,
    DOOR_CLOSED,
    DOOR_OPENED,
    DOOR_SECURED,
    EVENTS,
    EXIT_REQUESTED,
    FIRE,
    FIRE_CLEARED,
    FORCED_OPEN,
    GRANTED,
    HELD_OPEN,
    HELD_OPEN_SOON,
    MAINS,
    NOT_ENTERED,
    READER,
    RESPONDER,
    STAFF,
    SUPPLY_FAILED,
    SUPPLY_RESTORED,
    TAMPER,
    TAMPER_CLEARED,
    TOGGLE_OVER,
    VISITOR,
)
from support import FakeTicks

try:
    from micropython import heap_lock, heap_unlock
except ImportError:

    def heap_lock():
        pass

    heap_unlock = heap_lock

ALL_WIRED = {"input_" + name: "no" for name in INPUTS}
SAMPLE_MS = 10
# From a contact's change to what follows from it: debounced, and two samples.
SEEN_MS = 50
# How long a contact is to stand open before the grant ends, and closed before an alarm does.
SURE_MS = 1000
# Ticks that wrap within the first minute, as every door's do in its sixth day.
NEAR_WRAP_US = ((1 << 30) - 20_000) * 1000


class Pin:
    def __init__(self, level=None):
        self.level = level

    def __call__(self, level=None):
        if level is None:
            return self.level
        self.level = level


class Door:
    """A portal with hands at its contacts, and time that passes when it is told to."""

    def __init__(self, **settings):
        self.settings = Config(dict({"site": "here", "door": "front"}, **settings))
        self.ticks = FakeTicks(NEAR_WRAP_US)
        self.strike = Pin()
        self.strike_active = 1
        self.leds = ()
        self.buzzer = None
        self.pixel = None
        self.inputs = {}
        for name in INPUTS:
            # At rest as configured: an open contact is pulled up.
            at_rest = getattr(self.settings, "input_" + name)
            self.inputs[name] = Pin(0 if at_rest == "nc" else 1)
        self.told = []
        self.lockdowns = []
        self.portal = Portal(self, self.settings)

    def set(self, name, is_active):
        """Take a contact out of its rest, or back."""
        at_rest = getattr(self.settings, "input_" + name)
        self.inputs[name].level = int(is_active == (at_rest == "nc"))

    def on_event(self, code, detail=0):
        assert code in EVENTS
        self.told.append((code, detail) if detail else code)

    def pass_ms(self, total_ms, step_ms=SAMPLE_MS):
        for _ in range(total_ms // step_ms):
            self.ticks.advance_ms(step_ms)
            self.portal.look(self.on_event, self.lockdowns.append)
            self.portal._strike.tend()

    def does(self, name, is_active):
        self.set(name, is_active)
        self.pass_ms(SEEN_MS)

    def shuts(self):
        """Close the door for long enough to be closed."""
        self.does("door", False)
        self.pass_ms(SURE_MS)

    def ends_fire(self):
        """Let the panel's contact rest until the fire counts as over."""
        self.set("fire", False)
        self.pass_ms(self.settings.fire_clear_ms + SEEN_MS)

    def hears(self):
        """Return what was told since the last call."""
        told, self.told = self.told, []
        return told

    @property
    def is_released(self):
        is_energised = self.strike.level == 1
        return is_energised != (self.settings.strike_type == "fail-safe")

    def is_released_for(self, most_ms=400_000):
        """Return how long it stays released from here on, in steps of a sample."""
        for passed in range(0, most_ms, SAMPLE_MS):
            if not self.is_released:
                return passed
            self.pass_ms(SAMPLE_MS)
        raise AssertionError("released for ever")


class PortalTest(unittest.TestCase):
    def assert_about(self, actual_ms, expected_ms, msg=None):
        self.assertTrue(expected_ms <= actual_ms <= expected_ms + SEEN_MS, (actual_ms, msg))


class ReleaseTest(PortalTest):
    def test_each_class_has_its_pulse(self):
        pulses = {
            "strike_pulse_ms": 3000,
            "responder_pulse_ms": 7000,
            "extended_pulse_ms": 12_000,
        }
        for cardholder_class, is_extended, expected in (
            (0, False, 3000),
            (STAFF, False, 3000),
            (VISITOR, False, 3000),
            (RESPONDER, False, 7000),
            (STAFF, True, 12_000),
            (RESPONDER, True, 12_000),
        ):
            for kind in ("fail-secure", "fail-safe"):
                door = Door(strike_type=kind, **pulses)
                self.assertFalse(door.is_released)
                door.portal.release(cardholder_class, is_extended)
                self.assertTrue(door.is_released and door.portal.is_released)
                self.assert_about(door.is_released_for(), expected)
                self.assertFalse(door.portal.is_released)

    def test_extended_is_never_the_shorter(self):
        door = Door(strike_pulse_ms=9000, extended_pulse_ms=1000)
        door.portal.release(STAFF, True)
        self.assert_about(door.is_released_for(), 9000)

    def test_a_duration_given_counts_in_either_mode(self):
        for mode in ("pulse", "toggle"):
            door = Door(strike_mode=mode)
            door.portal.release(duration_ms=300_000)
            self.assert_about(door.is_released_for(), 300_000)

    def test_toggle_mode(self):
        door = Door(strike_mode="toggle", **ALL_WIRED)
        door.portal.release(STAFF)
        door.pass_ms(100_000)
        self.assertTrue(door.is_released)
        door.does("door", True)
        door.pass_ms(100_000)
        self.assertTrue(door.is_released, "not locked again by the opening")
        self.assertEqual(door.hears(), [DOOR_OPENED])
        door.does("door", False)
        door.portal.release(STAFF)
        self.assertFalse(door.is_released)
        door.pass_ms(1000)
        self.assertEqual(door.hears(), [DOOR_CLOSED])

    def test_a_toggled_release_has_a_limit_and_its_end_is_told(self):
        for settings in ({}, {"toggle_limit_s": 60}, {"toggle_limit_s": 86_400}):
            door = Door(strike_mode="toggle", **ALL_WIRED, **settings)
            limit_ms = door.settings.toggle_limit_s * 1000
            door.portal.release(STAFF)
            door.pass_ms(limit_ms - 1000, 1000)
            self.assertTrue(door.is_released)
            self.assertEqual(door.hears(), [])
            door.pass_ms(1000 + SEEN_MS)
            self.assertFalse(door.is_released)
            self.assertEqual(door.hears(), [TOGGLE_OVER])
            door.pass_ms(1000)
            self.assertEqual(door.hears(), [], "told once")

    def test_a_toggled_release_that_was_ended_is_not_over_later(self):
        for end in ("tap", "lock", "unhold"):
            door = Door(strike_mode="toggle", toggle_limit_s=60, **ALL_WIRED)
            door.portal.release(STAFF)
            door.pass_ms(30_000)
            if end == "tap":
                door.portal.release(STAFF)
            elif end == "lock":
                door.portal.lock()
            else:
                door.portal.hold(False)
            door.pass_ms(60_000)
            self.assertEqual(door.hears(), [])
            # The next one has the whole time.
            door.portal.release(STAFF)
            door.pass_ms(59_000)
            self.assertTrue(door.is_released)
            door.pass_ms(2000)
            self.assertFalse(door.is_released)

    def test_a_responder_never_locks_what_was_toggled(self):
        for is_extended in (False, True):
            door = Door(strike_mode="toggle", toggle_limit_s=60, **ALL_WIRED)
            door.portal.release(STAFF)
            for _ in range(5):
                door.portal.release(RESPONDER, is_extended)
                self.assertTrue(door.is_released)
                door.pass_ms(8000)
                self.assertTrue(door.is_released)
            door.pass_ms(19_000)
            self.assertTrue(door.is_released)
            door.portal.release(RESPONDER, is_extended)
            self.assert_about(door.is_released_for(), 15_000 if is_extended else 5000)
            self.assertEqual(door.hears(), [TOGGLE_OVER])

    def test_a_responders_grant_is_a_pulse_in_toggle_mode(self):
        door = Door(strike_mode="toggle", responder_pulse_ms=7000, **ALL_WIRED)
        for _ in range(2):
            door.portal.release(RESPONDER)
            self.assert_about(door.is_released_for(), 7000)
            door.pass_ms(1000)
            self.assertEqual(door.hears(), [NOT_ENTERED])

    def test_held(self):
        door = Door(**ALL_WIRED)
        door.portal.release()
        door.portal.hold(True)
        door.pass_ms(60_000)
        door.does("door", True)
        self.assertTrue(door.is_released, "not locked again by the opening")
        door.portal.hold(False)
        self.assertFalse(door.is_released)

    def test_the_end_of_a_hold_leaves_a_pulse_its_time(self):
        door = Door()
        door.portal.hold(True)
        door.portal.release()
        door.portal.hold(False)
        self.assert_about(door.is_released_for(), 5000)

    def test_lock_ends_a_long_release_at_once(self):
        door = Door()
        door.portal.release(duration_ms=300_000)
        door.portal.lock()
        self.assertFalse(door.is_released)

    def test_a_lockdown_leaves_a_responder_the_time_that_is_theirs(self):
        for settings in ({}, {"strike_mode": "toggle"}):
            door = Door(**settings)
            portal = door.portal
            portal.release(STAFF, True)
            portal.lock_down()
            self.assertFalse(door.is_released)
            portal.release(duration_ms=300_000)
            portal.release(STAFF, True)
            portal.release(RESPONDER)
            for _ in range(20):
                door.pass_ms(100)
                portal.lock_down()
            self.assert_about(door.is_released_for(), 3000)
            portal.release(duration_ms=300_000)
            portal.lock_down()
            self.assertFalse(door.is_released)
            portal.release(RESPONDER, True)
            portal.release(RESPONDER)
            portal.lock_down()
            self.assert_about(door.is_released_for(), 15_000)
            portal.release(RESPONDER)
            portal.lock()
            portal.release(STAFF)
            portal.lock_down()
            self.assertFalse(door.is_released)

    def test_a_lockdown_gives_nobody_their_time_twice(self):
        door = Door(**ALL_WIRED)
        door.portal.release(duration_ms=60_000)
        door.portal.release(RESPONDER)
        door.pass_ms(6000)
        door.portal.lock_down()
        door.pass_ms(SAMPLE_MS)
        self.assertFalse(door.is_released)
        door.portal.release(RESPONDER)
        door.set("door", True)
        door.pass_ms(SEEN_MS + SURE_MS)
        door.portal.release()
        door.portal.lock_down()
        self.assertFalse(door.is_released)

    def test_relock_on_opening(self):
        for is_on in (True, False):
            door = Door(relock_on_opening=is_on, **ALL_WIRED)
            door.portal.release()
            door.pass_ms(1000)
            door.set("door", True)
            took_ms = door.is_released_for()
            self.assert_about(took_ms, 30 + SURE_MS if is_on else 4000)
            self.assertEqual(door.hears(), [DOOR_OPENED])

    def test_a_loose_contact_shortens_nobodys_grant(self):
        for open_ms, closed_ms in ((40, 40), (200, 50), (900, 40), (950, 10), (500, 500)):
            door = Door(**ALL_WIRED)
            door.portal.release(RESPONDER)
            for now_ms in range(0, 4990, SAMPLE_MS):
                door.set("door", now_ms % (open_ms + closed_ms) < open_ms)
                door.pass_ms(SAMPLE_MS)
                self.assertTrue(door.is_released, (open_ms, closed_ms, now_ms))
            self.assertNotIn(FORCED_OPEN, door.hears())
            door.pass_ms(100)
            self.assertFalse(door.is_released)

    def test_an_opening_ends_no_grant_that_was_given_after_it(self):
        for later_ms in (10, 20, 50, 500, 1000, 1500):
            for blip_ms in (0, 10, 100):
                door = Door(**ALL_WIRED)
                door.portal.release()
                door.pass_ms(1000)
                door.set("door", True)
                door.pass_ms(later_ms)
                door.portal.release()
                door.pass_ms(100)
                door.set("door", False)
                door.pass_ms(blip_ms)
                door.set("door", True)
                is_new_opening = blip_ms > SEEN_MS
                self.assert_about(
                    door.is_released_for(), 1030 if is_new_opening else 4900 - blip_ms
                )

    def test_a_stall_does_not_make_an_opening_long(self):
        door = Door(**ALL_WIRED)
        door.portal.release()
        door.does("door", True)
        door.pass_ms(700)
        door.set("door", False)
        door.ticks.advance_ms(400)
        self.assert_about(door.is_released_for(), 5000 - 700 - 400 - SEEN_MS)

    def test_the_tap_path_allocates_nothing(self):
        for settings in ({}, {"strike_mode": "toggle"}):
            door = Door(**ALL_WIRED, **settings)
            portal = door.portal
            heap_lock()
            try:
                portal.release(RESPONDER, True)
                portal.release(STAFF)
                portal.release(0, False, 1000)
                portal.show(GRANTED)
                portal.look(None, None)
            except MemoryError:
                failed = True
            else:
                failed = False
            heap_unlock()
            self.assertFalse(failed)


class ContactTest(PortalTest):
    def setUp(self):
        self.door = Door(**ALL_WIRED)

    def test_a_door_without_a_contact_knows_nothing(self):
        door = Door(input_lockdown="none")
        door.inputs["door"].level = 0
        door.pass_ms(100_000)
        self.assertIs(door.portal.is_open, None)
        self.assertEqual((door.hears(), door.portal.inputs()), ([], {}))
        door.portal.release()
        door.pass_ms(10_000)
        self.assertEqual(door.hears(), [])

    def test_open_and_closed(self):
        door = self.door
        self.assertIs(door.portal.is_open, False)
        door.portal.release()
        door.does("door", True)
        self.assertIs(door.portal.is_open, True)
        door.does("door", False)
        self.assertIs(door.portal.is_open, False)
        door.pass_ms(10_000)
        self.assertEqual(door.hears(), [DOOR_OPENED, DOOR_CLOSED])

    def test_forced(self):
        door = self.door
        door.does("door", True)
        self.assertEqual(door.hears(), [DOOR_OPENED, FORCED_OPEN])
        self.assertTrue(door.portal.is_alarmed)
        door.shuts()
        self.assertEqual(door.hears(), [DOOR_CLOSED, DOOR_SECURED])
        self.assertFalse(door.portal.is_alarmed)
        door.portal.release()
        door.does("door", True)
        door.shuts()
        self.assertEqual(door.hears(), [DOOR_OPENED, DOOR_CLOSED], "secured once")

    def test_a_grant_permits_one_opening_when_it_relocks(self):
        door = self.door
        door.portal.release()
        door.does("door", True)
        door.pass_ms(SURE_MS)
        door.does("door", False)
        door.pass_ms(1000)
        door.does("door", True)
        self.assertEqual(door.hears(), [DOOR_OPENED, DOOR_CLOSED, DOOR_OPENED, FORCED_OPEN])

    def test_who_pulls_in_the_last_moment_forces_nothing(self):
        for late_ms, is_forced in ((-20, False), (0, False), (400, False), (700, True)):
            door = Door(**ALL_WIRED)
            door.portal.release()
            door.pass_ms(5000 + late_ms)
            door.does("door", True)
            self.assertEqual(FORCED_OPEN in door.hears(), is_forced, late_ms)

    def test_a_stall_over_the_end_of_the_pulse_makes_nothing_forced(self):
        for strike_first in (True, False):
            door = Door(**ALL_WIRED)
            door.portal.release()
            door.pass_ms(4800)
            door.ticks.advance_ms(100)
            door.set("door", True)
            door.ticks.advance_ms(300)
            if strike_first:
                door.portal._strike.tend()
            door.pass_ms(SEEN_MS)
            self.assertEqual(door.hears(), [DOOR_OPENED])

    def test_held_open(self):
        door = self.door
        door.portal.release()
        door.set("door", True)
        waited = {}
        for passed in range(0, 60_000, SAMPLE_MS):
            door.pass_ms(SAMPLE_MS)
            for code in door.hears():
                waited[code] = passed
        self.assert_about(waited[HELD_OPEN_SOON], 20_000)
        self.assert_about(waited[HELD_OPEN], 30_000)
        self.assertEqual(len(waited), 3)
        self.assertTrue(door.portal.is_alarmed)
        door.shuts()
        self.assertEqual(door.hears(), [DOOR_CLOSED, DOOR_SECURED])
        self.assertFalse(door.portal.is_alarmed)

    def test_a_closing_that_is_no_closing_does_not_stop_the_time(self):
        for every_ms, blip_ms in ((1000, 40), (5000, 500), (3000, 990), (19_000, 900)):
            door = Door(**ALL_WIRED)
            door.portal.release()
            door.set("door", True)
            waited = {}
            for passed in range(0, 60_000, SAMPLE_MS):
                door.set("door", passed < every_ms or passed % every_ms >= blip_ms)
                door.pass_ms(SAMPLE_MS)
                for code in door.hears():
                    waited.setdefault(code, passed)
            # Where a limit falls into a blip it is told at the end of that.
            for code, expected_ms in ((HELD_OPEN_SOON, 20_000), (HELD_OPEN, 30_000)):
                self.assertTrue(
                    expected_ms <= waited[code] <= expected_ms + blip_ms + SEEN_MS,
                    (every_ms, blip_ms, waited),
                )
            self.assertNotIn(DOOR_SECURED, waited)
            self.assertTrue(door.portal.is_alarmed)

    def test_no_alarm_is_cleared_by_a_blip(self):
        for alarm in (FORCED_OPEN, HELD_OPEN):
            for blip_ms in (40, 500, 990):
                door = Door(**ALL_WIRED)
                if alarm == HELD_OPEN:
                    door.portal.release()
                door.does("door", True)
                door.pass_ms(40_000)
                self.assertIn(alarm, door.hears())
                for _ in range(10):
                    door.set("door", False)
                    for _ in range(blip_ms // SAMPLE_MS):
                        door.pass_ms(SAMPLE_MS)
                        self.assertTrue(door.portal.is_alarmed)
                    door.set("door", True)
                    door.pass_ms(300)
                    self.assertTrue(door.portal.is_alarmed)
                told = door.hears()
                self.assertIn(DOOR_CLOSED, told)
                self.assertFalse({DOOR_SECURED, HELD_OPEN, HELD_OPEN_SOON} & set(told))
                door.shuts()
                self.assertEqual(door.hears(), [DOOR_CLOSED, DOOR_SECURED])
                self.assertFalse(door.portal.is_alarmed)

    def test_a_warning_outlasts_a_blip(self):
        door = self.door
        door.portal.release()
        door.does("door", True)
        door.pass_ms(29_000)
        door.set("door", False)
        door.pass_ms(500)
        door.does("door", True)
        door.pass_ms(1000)
        told = door.hears()
        self.assertEqual((told.count(HELD_OPEN_SOON), told[-1]), (1, HELD_OPEN))

    def permit(self, cause):
        """Permit somebody to open the door of `self.door`."""
        if cause == "grant":
            self.door.portal.release()
        elif cause == "exit":
            self.door.does("rex", True)
            self.door.does("rex", False)
        else:
            self.door.portal.hold(True)
            self.door.portal.hold(False)

    def test_a_permission_that_is_over_gives_no_time_anew(self):
        door = Door(**ALL_WIRED)
        door.portal.release()
        door.does("door", True)
        door.pass_ms(25_000)
        door.portal.release()
        door.pass_ms(10_000)
        self.assertTrue(door.portal.is_alarmed)
        door.hears()
        door.does("door", False)
        door.does("door", True)
        self.assertEqual(door.hears(), [DOOR_CLOSED, DOOR_OPENED, FORCED_OPEN])
        door.shuts()
        self.assertEqual(door.hears(), [DOOR_CLOSED, DOOR_SECURED])

    def test_who_is_permitted_anew_has_a_time_of_their_own(self):
        for cause in ("grant", "exit", "hold"):
            for is_before in (True, False):
                for stood_ms, expected in (
                    (15_000, [DOOR_CLOSED, DOOR_OPENED]),
                    (25_000, [DOOR_CLOSED, DOOR_OPENED]),
                    (40_000, [DOOR_CLOSED, DOOR_SECURED, DOOR_OPENED]),
                ):
                    door = self.door = Door(**ALL_WIRED)
                    door.portal.release()
                    door.does("door", True)
                    door.pass_ms(stood_ms)
                    door.hears()
                    if is_before:
                        self.permit(cause)
                    door.set("door", False)
                    door.pass_ms(300)
                    if not is_before:
                        self.permit(cause)
                    door.does("door", True)
                    told = [code for code in door.hears() if code != EXIT_REQUESTED]
                    self.assertEqual(told, expected, cause)
                    self.assertFalse(door.portal.is_alarmed)
                    door.pass_ms(19_000)
                    self.assertEqual(door.hears(), [])
                    door.pass_ms(12_000)
                    self.assertEqual(door.hears(), [HELD_OPEN_SOON, HELD_OPEN])

    def test_a_permission_is_for_one_opening_in_this(self):
        for cause in ("grant", "exit"):
            door = self.door = Door(relock_on_opening=False, **ALL_WIRED)
            self.permit(cause)
            door.does("door", True)
            door.pass_ms(3000)
            door.set("door", False)
            door.pass_ms(300)
            door.does("door", True)
            self.assertNotIn(FORCED_OPEN, door.hears())
            door.pass_ms(16_700)
            self.assertEqual(door.hears(), [HELD_OPEN_SOON])

    def test_a_warning_that_helped_is_no_alarm(self):
        door = self.door
        door.portal.release()
        door.does("door", True)
        door.pass_ms(25_000)
        self.assertFalse(door.portal.is_alarmed)
        door.does("door", False)
        self.assertEqual(door.hears(), [DOOR_OPENED, HELD_OPEN_SOON, DOOR_CLOSED])

    def test_an_alarm_is_told_once_and_stands_for_weeks(self):
        door = self.door
        door.portal.release()
        door.does("door", True)
        door.pass_ms(60_000)
        door.hears()
        door.pass_ms(40 * 86_400_000, 600_000)
        self.assertEqual(door.hears(), [])
        self.assertTrue(door.portal.is_alarmed)
        door.shuts()
        self.assertEqual(door.hears(), [DOOR_CLOSED, DOOR_SECURED])

    def test_what_holds_the_door_open_raises_no_alarm_for_weeks(self):
        for cause in ("hold", "fire"):
            door = Door(**ALL_WIRED)
            if cause == "hold":
                door.portal.hold(True)
            else:
                door.does("fire", True)
            door.hears()
            for _ in range(3):
                door.does("door", True)
                door.pass_ms(20 * 86_400_000, 600_000)
                door.does("door", False)
            self.assertEqual(door.hears(), [DOOR_OPENED, DOOR_CLOSED] * 3)
            self.assertFalse(door.portal.is_alarmed)

    def test_the_time_begins_when_the_hold_ends(self):
        door = self.door
        door.portal.hold(True)
        door.does("door", True)
        door.pass_ms(100_000)
        door.portal.hold(False)
        door.pass_ms(19_000)
        self.assertEqual(door.hears(), [DOOR_OPENED])
        door.pass_ms(12_000)
        self.assertEqual(door.hears(), [HELD_OPEN_SOON, HELD_OPEN])

    def test_the_time_begins_when_a_toggled_release_ends(self):
        door = Door(strike_mode="toggle", toggle_limit_s=3600, **ALL_WIRED)
        door.portal.release()
        door.does("door", True)
        door.pass_ms(3_600_000 + 19_000)
        self.assertEqual(door.hears(), [DOOR_OPENED, TOGGLE_OVER])
        door.pass_ms(12_000)
        self.assertEqual(door.hears(), [HELD_OPEN_SOON, HELD_OPEN])

    def test_the_time_begins_after_a_release_that_is_longer(self):
        door = Door(relock_on_opening=False, **ALL_WIRED)
        door.portal.release(duration_ms=290_000)
        door.does("door", True)
        door.pass_ms(290_000 + 19_000)
        self.assertEqual(door.hears(), [DOOR_OPENED])
        door.pass_ms(40_000)
        self.assertEqual(door.hears(), [HELD_OPEN_SOON, HELD_OPEN])

    def test_a_hold_ends_an_alarm_and_its_closing_is_told(self):
        door = self.door
        door.does("door", True)
        door.pass_ms(60_000)
        door.portal.hold(True)
        door.pass_ms(SAMPLE_MS)
        self.assertFalse(door.portal.is_alarmed)
        door.hears()
        door.shuts()
        self.assertEqual(door.hears(), [DOOR_CLOSED, DOOR_SECURED])

    def test_nobody_came(self):
        door = self.door
        door.portal.release()
        door.pass_ms(6000)
        door.pass_ms(60_000)
        self.assertEqual(door.hears(), [NOT_ENTERED])

    def test_two_grants_for_nobody_are_one(self):
        door = self.door
        door.portal.release()
        door.pass_ms(3000)
        door.portal.release()
        door.pass_ms(60_000)
        self.assertEqual(door.hears(), [NOT_ENTERED])

    def test_nobody_is_expected_through_a_door_that_is_open_anyhow(self):
        for cause in ("open", "hold", "fire", "toggle"):
            door = Door(strike_mode="toggle" if cause == "toggle" else "pulse", **ALL_WIRED)
            if cause == "open":
                door.does("door", True)
            elif cause == "hold":
                door.portal.hold(True)
            elif cause == "fire":
                door.does("fire", True)
            door.portal.release()
            door.pass_ms(10_000)
            door.portal.hold(False)
            door.ends_fire()
            door.does("door", False)
            door.pass_ms(1000)
            self.assertNotIn(NOT_ENTERED, door.hears())

    def test_who_comes_in_the_last_moment_has_entered(self):
        for late_ms in range(400, 500, SAMPLE_MS):
            door = Door(**ALL_WIRED)
            door.portal.release()
            door.pass_ms(5000 + late_ms)
            door.does("door", True)
            door.pass_ms(1000)
            self.assertEqual(door.hears(), [DOOR_OPENED])

    def test_a_hold_or_fire_that_comes_with_the_opening_excuses_it(self):
        for cause in ("hold", "fire"):
            door = self.door = Door(**ALL_WIRED)
            if cause == "fire":
                door.set("fire", True)
                door.pass_ms(20)
            door.set("door", True)
            door.pass_ms(20)
            door.portal.hold(cause == "hold")
            door.pass_ms(SEEN_MS)
            told = door.hears()
            self.assertIn(DOOR_OPENED, told)
            self.assertNotIn(FORCED_OPEN, told)

    def test_a_door_that_is_open_at_the_start_was_forced_by_nobody(self):
        door = Door(**ALL_WIRED)
        door.inputs["door"].level = 0
        door.portal = Portal(door, door.settings)
        door.portal._begin(door.on_event)
        door.pass_ms(31_000)
        self.assertEqual(door.hears(), [DOOR_OPENED, HELD_OPEN_SOON, HELD_OPEN])


class ExitTest(PortalTest):
    def test_it_releases_at_once_and_alarms_never(self):
        for kind in ("no", "nc"):
            door = Door(**dict(ALL_WIRED, input_rex=kind))
            door.set("rex", True)
            door.pass_ms(20)
            self.assertFalse(door.is_released)
            door.pass_ms(20)
            self.assertTrue(door.is_released)
            door.does("rex", False)
            door.does("door", True)
            self.assertTrue(door.is_released, "an opening ends the pulse of a grant only")
            door.does("door", False)
            door.pass_ms(10_000)
            self.assertEqual(door.hears(), [EXIT_REQUESTED, DOOR_OPENED, DOOR_CLOSED])
            self.assertFalse(door.is_released)

    def test_its_time_counts_from_when_the_last_one_was_seen(self):
        door = Door(**ALL_WIRED)
        door.does("rex", True)
        door.pass_ms(60_000)
        door.does("door", True)
        door.does("door", False)
        self.assertTrue(door.is_released)
        self.assertEqual(door.hears(), [EXIT_REQUESTED, DOOR_OPENED, DOOR_CLOSED])
        door.set("rex", False)
        self.assert_about(door.is_released_for(), 5000)

    def test_it_comes_through_against_everything_that_locks(self):
        for kind in ("fail-secure", "fail-safe"):
            for act in ("lock", "hold", "toggle", "reader", "opening"):
                door = Door(strike_type=kind, strike_mode="toggle", **ALL_WIRED)
                portal = door.portal
                portal.stand(False, True, True, True)
                portal.lock()
                if act == "toggle":
                    portal.release()
                door.does("rex", True)
                door.does("rex", False)
                if act == "lock":
                    portal.lock()
                elif act == "hold":
                    portal.hold(True)
                    portal.hold(False)
                elif act == "toggle":
                    portal.release()
                elif act == "opening":
                    door.does("door", True)
                self.assertTrue(door.is_released, (kind, act))

    def test_the_contact_may_move_together_with_the_button(self):
        door = Door(**ALL_WIRED)
        door.set("rex", True)
        door.does("door", True)
        self.assertEqual(door.hears(), [EXIT_REQUESTED, DOOR_OPENED])

    def test_it_does_not_need_any_other_input(self):
        door = Door(input_rex="no", input_lockdown="none")
        door.does("rex", True)
        self.assertTrue(door.is_released)
        self.assertEqual((door.hears(), door.portal.inputs()), ([EXIT_REQUESTED], {"rex": True}))


class FireTest(PortalTest):
    def test_it_releases_and_nothing_locks_while_it_lasts(self):
        for kind in ("fail-secure", "fail-safe"):
            door = Door(strike_type=kind, **ALL_WIRED)
            portal = door.portal
            portal.release()
            door.does("fire", True)
            self.assertTrue(portal.is_fire and door.is_released)
            for act in (
                lambda p: p.hold(False),
                lambda p: p.lock(),
                lambda p: p.release(duration_ms=200),
                lambda p: p.hold(True),
                lambda p: p.hold(False),
            ):
                act(portal)
                door.pass_ms(6000)
                self.assertTrue(door.is_released)
            door.does("door", True)
            door.does("rex", True)
            door.does("rex", False)
            door.pass_ms(100_000)
            self.assertTrue(door.is_released)
            self.assertEqual(door.hears(), [FIRE, DOOR_OPENED, EXIT_REQUESTED])
            door.does("door", False)
            door.ends_fire()
            self.assertFalse(portal.is_fire or door.is_released)
            self.assertEqual(door.hears(), [DOOR_CLOSED, FIRE_CLEARED])

    def test_a_door_left_open_after_it_has_its_time(self):
        door = Door(**ALL_WIRED)
        door.does("fire", True)
        door.does("door", True)
        door.pass_ms(3_600_000, 1000)
        door.ends_fire()
        door.hears()
        door.pass_ms(31_000)
        self.assertEqual(door.hears(), [HELD_OPEN_SOON, HELD_OPEN])

    def test_what_was_held_stays_so_after_it(self):
        door = Door(**ALL_WIRED)
        door.portal.hold(True)
        door.does("fire", True)
        door.ends_fire()
        self.assertTrue(door.is_released)

    def test_a_panel_that_pulses_never_locks_in_between(self):
        for on_ms, off_ms in ((100, 900), (500, 500), (1000, 9000)):
            door = Door(**ALL_WIRED)
            door.does("fire", True)
            for _ in range(20):
                door.set("fire", False)
                for _ in range(off_ms // SAMPLE_MS):
                    door.pass_ms(SAMPLE_MS)
                    self.assertTrue(door.is_released and door.portal.is_fire)
                door.set("fire", True)
                door.pass_ms(on_ms)
            self.assertEqual(door.hears(), [FIRE])
            door.set("fire", False)
            self.assert_about(door.is_released_for(), 10_000)
            self.assertEqual(door.hears(), [FIRE_CLEARED])

    def test_how_long_its_contact_rests_is_as_configured(self):
        for clear_ms, expected_ms in ((0, 30), (60_000, 60_000)):
            door = Door(fire_clear_ms=clear_ms, **ALL_WIRED)
            door.set("fire", True)
            door.pass_ms(50)
            self.assertTrue(door.is_released, "it begins as quickly as ever")
            door.set("fire", False)
            self.assert_about(door.is_released_for(), expected_ms)

    def test_it_is_there_from_the_start(self):
        for kind in ("fail-secure", "fail-safe"):
            door = Door(strike_type=kind, input_fire="nc")
            door.set("fire", True)
            door.portal = Portal(door, door.settings)
            self.assertTrue(door.is_released and door.portal.is_fire)
            door.portal._begin(door.on_event)
            door.pass_ms(1000)
            self.assertEqual(door.hears(), [FIRE])
            door.ends_fire()
            self.assertEqual((door.hears(), door.is_released), ([FIRE_CLEARED], False))


class OtherInputsTest(PortalTest):
    def test_tamper_and_supply(self):
        for rest in ("no", "nc"):
            door = Door(**{"input_" + name: rest for name in INPUTS})
            for name, began, ended, which in (
                ("cabinet", TAMPER, TAMPER_CLEARED, CABINET),
                ("reader", TAMPER, TAMPER_CLEARED, READER),
                ("mains", SUPPLY_FAILED, SUPPLY_RESTORED, MAINS),
                ("battery", SUPPLY_FAILED, SUPPLY_RESTORED, BATTERY),
            ):
                door.does(name, True)
                self.assertEqual(door.hears(), [(began, which)])
                self.assertEqual(door.portal.inputs()[name], True)
                door.pass_ms(1000)
                door.does(name, False)
                self.assertEqual(door.hears(), [(ended, which)])
            self.assertEqual(set(door.portal.inputs().values()), {False})
            self.assertFalse(door.is_released)

    def test_the_lockdown_switch(self):
        for rest in ("no", "nc"):
            door = Door(input_lockdown=rest)
            door.does("lockdown", True)
            self.assertTrue(door.portal.is_lockdown_demanded)
            door.does("lockdown", False)
            self.assertEqual((door.lockdowns, door.hears()), ([True, False], []))
            door.set("lockdown", True)
            door.pass_ms(20)
            door.does("lockdown", False)
            self.assertEqual(len(door.lockdowns), 2)

    def test_what_is_not_configured_is_not_looked_at(self):
        door = Door(input_lockdown="none")
        for pin in door.inputs.values():
            pin.level = 0
        door.pass_ms(1000)
        self.assertEqual((door.hears(), door.lockdowns, door.portal.inputs()), ([], [], {}))
        self.assertFalse(door.is_released or door.portal.is_fire)

    def test_an_input_that_the_board_lacks_is_missing_in_the_status(self):
        door = Door(**ALL_WIRED)
        door.inputs.pop("battery")
        door.portal = Portal(door, door.settings)
        door.pass_ms(1000)
        self.assertEqual(set(door.portal.inputs()), set(INPUTS) - {"battery"})

    def test_what_the_contacts_say_at_the_start(self):
        for rest in ("no", "nc"):
            door = Door(**{"input_" + name: rest for name in INPUTS})
            self.assertEqual(door.portal.input_bits(), 0xFF00)
            for number, name in enumerate(INPUTS):
                door.set(name, True)
                # At once, before anything is steady.
                self.assertEqual(door.portal.input_bits(), 0xFF00 | 1 << number)
                door.set(name, False)
        door = Door(input_door="nc", input_lockdown="none", input_battery="no")
        door.set("battery", True)
        self.assertEqual(door.portal.input_bits(), 0x8180)

    def test_debounce_is_as_configured(self):
        for debounce_ms in (5, 30, 200):
            door = Door(debounce_ms=debounce_ms, **ALL_WIRED)
            for name in INPUTS:
                door.set(name, True)
                door.pass_ms(debounce_ms // SAMPLE_MS * SAMPLE_MS)
                door.set(name, False)
                door.pass_ms(500)
            self.assertEqual(door.hears(), [])
            door.set("cabinet", True)
            door.pass_ms(debounce_ms + 2 * SAMPLE_MS)
            self.assertEqual(door.hears(), [(TAMPER, CABINET)])


class StandingTest(PortalTest):
    def test_the_most_urgent_is_shown(self):
        door = Door(**ALL_WIRED)
        portal = door.portal
        shown = portal._indicator

        def expect(pattern):
            door.pass_ms(SAMPLE_MS)
            self.assertIs(shown.standing, pattern)

        expect(indicator.READY)
        portal.stand(True, False, True, False)
        expect(indicator.OFFLINE)
        portal.hold(True)
        expect(indicator.FREE)
        portal.stand(True, False, True, True)
        expect(indicator.IN_SERVICE)
        portal.hold(False)
        portal.stand(True, True, True, True)
        expect(indicator.LOCKED_DOWN)
        portal.stand(False, True, True, True)
        expect(indicator.READER_LOST)
        portal.release()
        door.does("door", True)
        door.pass_ms(25_000)
        expect(indicator.CLOSE_IT)
        door.pass_ms(10_000)
        expect(indicator.ALARM)
        door.does("fire", True)
        expect(indicator.FREE)
        door.ends_fire()
        expect(indicator.READER_LOST)
        door.does("door", False)
        portal.stand(True, False)
        expect(indicator.READY)


class TasksTest(PortalTest):
    """The tasks themselves, in real time for a few milliseconds."""

    def test_they_beat_and_act(self):
        door = Door(**ALL_WIRED)
        beats = []

        async def play():
            portal = door.portal
            tasks = [
                asyncio.create_task(portal.watch_strike(lambda: beats.append("strike"))),
                asyncio.create_task(
                    portal.watch_inputs(
                        door.on_event, lambda: beats.append("inputs"), door.lockdowns.append
                    )
                ),
                asyncio.create_task(portal.play()),
            ]
            door.set("rex", True)
            door.set("lockdown", True)
            for _ in range(12):
                door.ticks.advance_ms(10)
                await asyncio.sleep_ms(15)
            was_released = door.is_released
            for task in tasks:
                task.cancel()
            await asyncio.sleep_ms(1)
            return was_released

        self.assertTrue(asyncio.run(play()))
        self.assertEqual((door.hears(), door.lockdowns), ([EXIT_REQUESTED], [True]))
        self.assertGreaterEqual(beats.count("inputs"), 4)
        self.assertGreaterEqual(beats.count("strike"), 3)
        self.assertFalse(door.is_released, "cancelled is safe")

    def test_they_tell_at_the_start_what_is_not_as_it_should_be(self):
        door = Door(**ALL_WIRED)
        door.set("fire", True)
        door.set("door", True)
        door.portal = Portal(door, door.settings)

        async def start():
            await asyncio.wait_for(
                door.portal.watch_inputs(door.on_event, stop, door.lockdowns.append), 1
            )

        def stop():
            raise ValueError

        with self.assertRaises(ValueError):
            asyncio.run(start())
        self.assertEqual(door.hears(), [FIRE, DOOR_OPENED])


class Chance:
    """Numbers at random, the same on both interpreters: a 32-bit linear congruence."""

    def __init__(self, seed):
        self._state = seed * 2_654_435_761 & 0xFFFFFFFF

    def below(self, limit):
        self._state = (self._state * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        return (self._state >> 8) % limit


class Account:
    """A second account of when a door is released, in milliseconds that never wrap.

    After each act SEEN_MS pass, so that contacts are steady before the door is judged.
    """

    PULSES = {"staff": 2000, "responder": 4000, "long": 30_000}

    def __init__(self, door):
        self.door = door
        self.now_ms = 0
        self.freed_ms = -10_000  # when it was last released
        self.granted_ms = 0
        self.relock_ms = None  # when the grant ends by the opening
        self.exit_ms = 0
        self.fire_ms = 0
        self.is_held = False
        self.is_fire = False
        self.is_rex = False
        self.is_open = False

    def act(self, act):
        """Do it to the door, and write down what follows."""
        portal = self.door.portal
        if act in self.PULSES:
            portal.release(
                RESPONDER if act == "responder" else STAFF, False, 30_000 if act == "long" else 0
            )
            self.granted_ms = max(self.granted_ms, self.now_ms + self.PULSES[act])
            self.relock_ms = None
        elif act in ("hold", "unhold"):
            self.is_held = act == "hold"
            portal.hold(self.is_held)
        elif act == "lock":
            self.granted_ms = 0
            portal.lock()
        elif act in ("open", "close"):
            if act == "close":
                self.relock_ms = None
            elif not self.is_open and self.door.settings.relock_on_opening:
                self.relock_ms = self.now_ms + 30 + SURE_MS
            self.is_open = act == "open"
            self.door.set("door", self.is_open)
        elif act in ("rex", "unrex"):
            if self.is_rex:
                self.exit_ms = self.now_ms + 2000
            self.is_rex = act == "rex"
            self.door.set("rex", self.is_rex)
        else:
            if self.is_fire:
                self.fire_ms = self.now_ms + self.door.settings.fire_clear_ms
            self.is_fire = act == "fire"
            self.door.set("fire", self.is_fire)
        self.pass_ms(SEEN_MS)

    def pass_ms(self, total_ms):
        self.door.pass_ms(total_ms)
        self.now_ms += total_ms
        if self.relock_ms is not None and self.now_ms > self.relock_ms:
            self.granted_ms = min(self.granted_ms, self.relock_ms)
            self.relock_ms = None
        if self.must_release() or self.now_ms <= self.until_ms():
            self.freed_ms = self.now_ms

    def must_release(self):
        return self.is_held or self.is_fire or self.is_rex

    def until_ms(self):
        return max(self.granted_ms, self.exit_ms, self.fire_ms)


class TraceTest(PortalTest):
    ACTS = ["staff", "responder", "long", "lock", "hold", "rex", "fire"]
    ACTS += 2 * ["unhold", "unrex", "unfire", "open", "close"]
    ALARMS = (FORCED_OPEN, HELD_OPEN, HELD_OPEN_SOON)

    def play(self, seed):
        chance = Chance(seed)
        door = Door(
            strike_type=("fail-secure", "fail-safe")[seed % 2],
            relock_on_opening=seed % 3 > 0,
            strike_pulse_ms=2000,
            responder_pulse_ms=4000,
            fire_clear_ms=(0, 500, 3000)[seed // 6 % 3],
            **ALL_WIRED,
        )
        account = Account(door)
        account.pass_ms(1000)  # a fail-safe door was released until now
        history = []
        for _ in range(50):
            act = self.ACTS[chance.below(len(self.ACTS))]
            history.append(act)
            was_open = account.is_open
            locked_ms = account.now_ms - account.freed_ms
            door.hears()
            account.act(act)
            told = door.hears()
            if act == "open" and not was_open:
                self.assertIn(DOOR_OPENED, told)
                # Between the two somebody may have begun to pull in time.
                if locked_ms == 0 or locked_ms > 700:
                    self.assertEqual(FORCED_OPEN in told, locked_ms > 0, history)
                    self.openings[locked_ms > 0] += 1
            if act in account.PULSES and not account.is_open:
                self.assertTrue(door.is_released, history)
            for _ in range(chance.below(30)):
                account.pass_ms(100)
                self.judge(account, history)
            if account.is_held or account.is_fire:
                self.assertFalse(set(self.ALARMS) & set(door.hears()), history)
                self.assertFalse(door.portal.is_alarmed)

    def judge(self, account, history):
        door = account.door
        if account.must_release() or account.now_ms < account.until_ms():
            self.assertTrue(door.is_released, history)
        elif account.now_ms > account.until_ms() + 2 * SEEN_MS:
            self.assertFalse(door.is_released, history)
        self.assertEqual(door.portal.is_released, door.is_released)

    def test_never_longer_and_never_without_cause(self):
        self.openings = [0, 0]
        for seed in range(50):
            self.play(seed)
        self.assertGreaterEqual(self.openings[False], 100)
        self.assertGreaterEqual(self.openings[True], 10)

    def test_fire_wins_over_every_sequence(self):
        chance = Chance(7)
        for run in range(20):
            door = Door(strike_type=("fail-secure", "fail-safe")[run % 2], **ALL_WIRED)
            door.does("fire", True)
            for _ in range(30):
                act = chance.below(7)
                if act == 0:
                    door.portal.release(RESPONDER)
                elif act == 1:
                    door.portal.hold(chance.below(2) == 0)
                elif act == 2:
                    door.portal.lock()
                elif act in (3, 4):
                    door.set("door", act == 3)
                else:
                    door.set("rex", act == 5)
                self.assertTrue(door.is_released)
                door.pass_ms(SAMPLE_MS * chance.below(700))
                self.assertTrue(door.is_released)
            self.assertFalse(set(self.ALARMS) & set(door.hears()))
