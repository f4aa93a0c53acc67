"""The app: strike first, and nothing that fails while deciding opens or breaks anything."""

import gc
import unittest

from doorward import state, values
from doorward.access.command import Command
from doorward.access.gesture import BEGIN_LOCKDOWN
from doorward.access.posture import Posture as RealPosture
from doorward.app import App
from doorward.config import Config as Settings
from doorward.hal.roles import SECTOR_BYTES, STATE_SLOT_BYTES
from doorward.health import Taps
from doorward.receiver import Allowance, Receiver
from doorward.values import Badge, Decision, Entry
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate, asyncio

if not hasattr(gc, "mem_free"):  # CPython
    gc.mem_free = lambda: 0


class Config:
    site = "school"
    door = "front"


class Board:
    name = "TEST"

    def __init__(self, calls):
        self.ticks = FakeTicks()
        self.calls = calls

    def report(self, text, error=None):
        self.calls.append("report")


class Posture:
    current = values.NORMAL
    is_team_hold = False


class Access:
    posture = Posture()

    def __init__(self, calls):
        self.calls = calls
        self.answers = []

    def follow_tap(self, decision):
        self.calls.append("follow")

    def decide(self, badge):
        self.calls.append("decide")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Portal:
    def __init__(self, calls):
        self.calls = calls

    def release(self, cardholder_class=0, has_extended_time=False, duration_ms=0):
        self.calls.append("release")
        self.released = (cardholder_class, has_extended_time, duration_ms)

    def show(self, reason):
        self.calls.append("show %d" % reason)


class Journal:
    def __init__(self, calls):
        self.calls = calls
        self.events = []

    def note(self, event):
        self.calls.append("note")
        self.events.append(event)


class Refusals(unittest.TestCase):
    def test_a_flood_of_refusals_does_not_fill_the_journal(self):
        class Intake:
            header = None
            is_open = False

            def abort(self):
                pass

        ticks = FakeTicks()
        events = []
        receiver = Receiver(Intake(), None, events.append, ticks, Allowance(ticks))
        for _ in range(5000):
            receiver.refuse(values.TRUNCATED)
            ticks.advance_ms(10)
        self.assertLess(len(events), 30)
        ticks.advance_ms(600_000)
        receiver.refuse(values.TRUNCATED)
        receiver.refuse(values.TRUNCATED)
        # Nothing goes uncounted: the next record says how many there were.
        self.assertGreater(events[-1].detail, 4900)

    def test_the_allowance_outlives_a_wrap_of_the_ticks(self):
        for days in (1, 7, 11):
            ticks = FakeTicks()
            allowance = Allowance(ticks)
            while allowance.take():
                pass
            ticks.advance_ms(days * 86_400_000)
            self.assertTrue(allowance.take())


class Latency(unittest.TestCase):
    def test_percentiles(self):
        taps = Taps()
        self.assertEqual(taps.facts()["p99_ms"], 0)
        for ms in range(100):
            taps.add(ms % 2 == 0, ms * 1000)
        facts = taps.facts()
        self.assertEqual((facts["count"], facts["grants"]), (100, 50))
        self.assertEqual((facts["p50_ms"], facts["p99_ms"]), (50, 99))
        self.assertEqual((facts["last_us"], facts["longest_us"]), (99_000, 99_000))

    def test_what_is_longer_than_all_bins(self):
        taps = Taps()
        taps.add(True, 3_000_000)
        self.assertEqual(taps.percentile_ms(50), 256)

    def test_a_full_bin(self):
        taps = Taps()
        for _ in range(70_000):
            taps.add(True, 5_000)
        for _ in range(7_000):
            taps.add(True, 90_000)
        self.assertEqual((taps.percentile_ms(50), taps.percentile_ms(99)), (6, 91))


class Things:
    """Whatever has these attributes."""

    def __init__(self, **things):
        for name, thing in things.items():
            setattr(self, name, thing)


def nothing(*args):
    pass


class Supervisor:
    """Takes the tasks; `run` runs none of them but tells how the door stood before the first."""

    def __init__(self, look):
        self.look = look
        self.tasks = {}
        self.revived = 0

    def cause(self):
        return values.POWER_ON, 0

    def add(self, name, call, deadline_ms):
        self.tasks[name] = call

    def add_other(self, name, call, *, is_once=False):
        self.tasks[name] = call

    async def run(self):
        self.look()


class Start(unittest.TestCase):
    """A door whose rooms are not there, with a real posture."""

    def setUp(self):
        self.board = Board([])
        self.board.tasks = tuple
        self.board.network = None
        self.journal = Journal([])
        self.is_switch_on = False
        self.locked = []
        self.time = WallTime(self.board.ticks)
        self.start()

    def start(self):
        kept = state.Snapshots(MemoryFlash(2 * SECTOR_BYTES), STATE_SLOT_BYTES)
        settings = Settings({"site": "school", "door": "front"})
        ticks = self.board.ticks
        self.posture = RealPosture(kept, OpenGate(), self.time, ticks, settings)
        access = Things(
            posture=self.posture,
            shelf=Things(corrupt=[], lists=[], denials=[], ring=Things(version=1)),
            follow_time=nothing,
        )
        portal = Things(
            is_released=False,
            inputs=dict,
            is_lockdown_demanded=self.is_switch_on,
            input_bits=lambda: 0x0704,
            hold=nothing,
            lock=lambda: self.locked.append("all"),
            lock_down=lambda: self.locked.append("all but responders"),
            stand=nothing,
            watch_strike=nothing,
            play=nothing,
        )
        chip = Things(version=0x92, has_irq=False)
        reader = Things(is_up=True, fault="", chip=chip, self_test=True, errors=0)
        journal = self.journal
        journal.run = journal.tend = nothing
        journal.oldest_sequence = journal.next_sequence = 1
        journal.acknowledged = journal.pending = journal.capacity = 0
        gate = Things(runs=0, hasty=0, longest_ms=0)
        self.app = App(self.board, settings, self.time, gate, reader, access, portal, journal, 7)
        self.app.supervisor = Supervisor(self.look)
        self.app.uplink = Things(
            tasks=tuple,
            down=Things(fetched=0, strays=0),
            is_wanted=False,
            is_connected=False,
            fault="",
            sessions=0,
            resent=0,
            garbage=0,
        )
        self.app.clock = Things(run=nothing, facts=dict)
        self.app.console = Things(run=nothing, garbage_bytes=0)

    def look(self):
        self.posture_before_tasks = self.posture.current

    def run_app(self):
        asyncio.run(self.app.run())

    def tick(self):
        """Let the tick have its turn once."""

        async def once():
            await self.app.supervisor.tasks["tick"](self.beat)

        self.turns = 0
        try:
            asyncio.run(once())
        except EOFError:
            pass

    def beat(self):
        self.turns += 1
        if self.turns > 1:
            raise EOFError()

    def events(self):
        return [(event.code, event.reason) for event in self.journal.events]


class StartTest(Start):
    def test_tells_of_the_start_and_of_the_inputs(self):
        self.run_app()
        self.assertEqual(
            [(event.code, event.reason, event.detail) for event in self.journal.events],
            [
                (values.BOOT, 0, 7),
                (values.RESTARTED, values.POWER_ON, 0),
                (values.INPUTS_AT_START, 0, 0x0704),
            ],
        )


class Status(Start):
    def ages(self, quality):
        header = Things(version=1, entry_count=2, issued_s=1_790_000_000)
        self.time.set(1_790_000_060, quality)
        shelf = self.app._access.shelf
        shelf.lists = [Things(issuer=Things(name="police"), header=header)]
        return [one["age_s"] for one in self.app.status()["lists"]]

    def test_how_old_a_list_is_nobody_knows_without_a_clock(self):
        self.assertEqual(self.ages(values.CLOCK_SYNCED), [60])
        self.assertEqual(self.ages(values.CLOCK_HELD), [60])
        self.assertEqual(self.ages(values.CLOCK_UNSET), [None])


class LockdownSwitch(Start):
    TURN = (values.POSTURE_CHANGED, values.BY_SWITCH)

    def test_where_it_stands_at_the_start_counts_before_any_tap(self):
        self.run_app()
        self.assertEqual(self.posture_before_tasks, values.NORMAL)
        self.assertNotIn(self.TURN, self.events())
        self.is_switch_on = True
        self.start()
        self.run_app()
        self.assertEqual(self.posture_before_tasks, values.LOCKDOWN)
        self.assertEqual(self.events()[-1], self.TURN)

    def turn(self, times):
        for _ in range(times):
            self.posture.follow_switch(self.posture.current == values.NORMAL)
            self.board.ticks.advance_ms(100)

    def test_a_calm_one_is_recorded_each_time(self):
        self.run_app()
        for _ in range(200):
            self.turn(1)
            self.board.ticks.advance_ms(60_000)
        self.assertEqual(self.events().count(self.TURN), 200)

    def test_a_loose_one_does_not_fill_the_journal_and_how_it_is_left_is_told(self):
        self.run_app()
        self.turn(2001)
        told = self.events().count(self.TURN)
        self.assertTrue(1 < told < 60, told)
        self.tick()
        self.assertEqual(self.events().count(self.TURN), told)
        self.board.ticks.advance_ms(60_000)
        self.tick()
        last = self.journal.events[-1]
        self.assertEqual((last.code, last.reason), self.TURN)
        self.assertEqual(last.posture, values.LOCKDOWN)
        turns = [event for event in self.journal.events if event.code == values.POSTURE_CHANGED]
        # Nothing goes uncounted.
        self.assertEqual(len(turns) + sum(event.detail for event in turns), 2001)
        self.board.ticks.advance_ms(60_000)
        self.tick()
        self.assertIs(self.journal.events[-1], last)

    def test_its_flood_takes_nothing_from_orders(self):
        self.run_app()
        self.turn(2000)
        self.posture.follow_gesture(BEGIN_LOCKDOWN, b"principal")
        self.assertEqual(self.events()[-1], (values.POSTURE_CHANGED, values.BY_GESTURE))


class Alarms(Start):
    """What a loose contact costs in records, and that how it was left is told."""

    PAIRS = (
        (values.TAMPER, values.TAMPER_CLEARED, values.CABINET),
        (values.TAMPER, values.TAMPER_CLEARED, values.READER),
        (values.SUPPLY_FAILED, values.SUPPLY_RESTORED, values.BATTERY),
        (values.FIRE, values.FIRE_CLEARED, 0),
        (values.FORCED_OPEN, values.DOOR_SECURED, 0),
        (values.HELD_OPEN, values.DOOR_SECURED, 0),
    )

    def told(self, *codes):
        events = self.journal.events
        return [(event.code, event.detail) for event in events if event.code in codes]

    def flap(self, began, ended, detail, turns):
        for turn in range(turns):
            self.app._follow_input(ended if turn % 2 else began, detail)
            self.board.ticks.advance_ms(50)

    def test_how_a_loose_contact_is_left_is_told(self):
        for began, ended, detail in self.PAIRS:
            for turns in (1001, 1002):
                self.setUp()
                self.run_app()
                self.flap(began, ended, detail, turns)
                left = ended if turns % 2 == 0 else began
                happened_ms = self.board.ticks.ticks_ms() - 50
                for _ in range(5):
                    self.board.ticks.advance_ms(60_000)
                    self.tick()
                told = self.told(began, ended)
                self.assertEqual(told[80:], [(left, detail)])
                self.assertTrue(self.journal.events[-1].ticks_ms <= happened_ms)

    def test_one_takes_nothing_from_another_of_its_kind(self):
        self.run_app()
        self.flap(values.TAMPER, values.TAMPER_CLEARED, values.CABINET, 1000)
        self.app._follow_input(values.TAMPER, values.READER)
        self.assertEqual(self.told(values.TAMPER)[-1], (values.TAMPER, values.READER))


class Goings(Start):
    """People's goings, and a loose door contact, which makes as many in a minute."""

    CODES = (values.DOOR_OPENED, values.DOOR_CLOSED, values.EXIT_REQUESTED, values.NOT_ENTERED)

    def goings(self, count, every_ms):
        self.run_app()
        before = len(self.journal.events)
        for number in range(count):
            self.app._follow_input(self.CODES[number % len(self.CODES)])
            self.board.ticks.advance_ms(every_ms)
        return self.journal.events[before:]

    def test_a_morning_is_recorded_whole(self):
        self.assertEqual(len(self.goings(1000, 100)), 1000)

    def test_a_day_of_a_loose_contact_is_less_than_a_journal_holds(self):
        told = self.goings(86_400, 1000)
        self.assertLess(len(told), 4000)
        # What was not recorded was counted, but for what came after the last.
        untold = sum(event.detail for event in told)
        self.assertTrue(86_400 - 60 < len(told) + untold <= 86_400)


class Locking(Start):
    """What of the grants under way ends as the posture changes."""

    def test_a_lockdown_leaves_responders_theirs(self):
        self.run_app()
        self.posture.follow_switch(True)
        self.posture.obey(Command(values.LOCK_DOWN, 1), b"district")
        self.assertEqual(self.locked, ["all but responders"] * 2)

    def test_a_disabled_door_nobody(self):
        self.run_app()
        self.posture.obey(Command(values.DISABLE, 1), b"district")
        self.posture.obey(Command(values.LOCK_DOWN, 1), b"district")
        self.assertEqual(self.locked, ["all"] * 2)

    def test_whoever_orders_it_by_taps_has_tapped_for_that_and_not_to_enter(self):
        self.run_app()
        self.posture.follow_gesture(BEGIN_LOCKDOWN, b"principal")
        self.assertEqual(self.locked, ["all"])

    def test_its_end_locks_nothing(self):
        self.run_app()
        self.posture.follow_switch(True)
        self.posture.follow_switch(False)
        self.assertEqual(self.locked, ["all but responders"])


class Tap(unittest.TestCase):
    def setUp(self):
        self.calls = []
        self.board = Board(self.calls)
        self.access = Access(self.calls)
        self.journal = Journal(self.calls)
        time = WallTime(self.board.ticks)
        self.app = App(
            self.board,
            Config,
            time,
            OpenGate(),
            None,
            self.access,
            Portal(self.calls),
            self.journal,
            1,
        )

    def tap(self, answer):
        self.calls.clear()
        self.access.answers.append(answer)
        return self.app.tap(Badge())

    def test_the_strike_comes_before_everything_else(self):
        entry = Entry()
        entry.cardholder_class = values.RESPONDER
        self.tap(Decision(values.GRANTED, b"0123456789", entry))
        self.assertEqual(self.calls, ["decide", "release", "show 1", "note", "follow"])
        self.assertEqual(self.journal.events[0].cardholder_class, values.RESPONDER)
        self.assertEqual(self.journal.events[0].badge_id, b"0123456789")

    def test_no_denial_releases(self):
        for reason in values.REASONS:
            decision = Decision(reason, b"0123456789", Entry())
            self.tap(decision)
            self.assertEqual("release" in self.calls, reason < values.UNKNOWN_BADGE)
            self.assertEqual(decision.is_grant, reason < values.UNKNOWN_BADGE)

    def test_whatever_fails_while_deciding_is_a_denial_and_the_next_tap_works(self):
        for error in (ValueError("x"), MemoryError(), IndexError(), OSError(5), TypeError()):
            decision = self.tap(error)
            self.assertEqual(decision.reason, values.DECISION_FAULT)
            self.assertNotIn("release", self.calls)
            self.assertEqual(self.journal.events[-1].reason, values.DECISION_FAULT)
            self.tap(Decision(values.GRANTED, b"0123456789", Entry()))
            self.assertIn("release", self.calls)

    def test_the_clock_that_is_set_is_recorded_with_its_sign(self):
        self.app.note_clock_set(1_790_000_000)
        self.app.note_clock_set(-5)
        self.app.note_clock_set(-(1 << 40))
        details = [event.detail for event in self.journal.events]
        self.assertEqual(details, [1_790_000_000, 0xFFFFFFFB, 0x80000001])
        self.assertEqual(self.journal.events[0].code, values.CLOCK_SET)

    def test_a_flood_of_them_is_summed_up(self):
        for _ in range(1000):
            self.app.note_clock_set(10)
        self.assertLess(len(self.journal.events), 30)
        self.board.ticks.advance_ms(600_000)
        self.app.note_clock_set(10)
        self.assertEqual(sum(event.detail for event in self.journal.events), 10_010)
