"""The app: strike first, and nothing that fails while deciding opens or breaks anything."""

import unittest

from doorward import values
from doorward.app import App
from doorward.health import Taps
from doorward.receiver import Allowance, Receiver
from doorward.values import Badge, Decision, Entry
from doorward.walltime import WallTime
from support import FakeTicks, OpenGate


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
