"""The decision's rules: the table of docs/decisions.md over every combination, and the edges."""

import unittest

from doorward.access.decide import decide
from doorward.values import (
    ALWAYS,
    CLASSES,
    CLOCK_HELD,
    CLOCK_QUALITIES,
    CLOCK_SYNCED,
    CLOCK_UNSET,
    DISABLED,
    DOOR_DISABLED,
    EXPIRED,
    FRESH,
    GRANTED,
    GRANTED_IN_LOCKDOWN,
    GRANTED_ON_OLD_LIST,
    HARD_STALE,
    HOLIDAY,
    IN_LOCKDOWN,
    INSIDE_HOURS,
    LIST_TOO_OLD,
    LOCKDOWN,
    NO_HOUR,
    NORMAL,
    NOT_AUTHENTICATED,
    NOT_YET_VALID,
    OUTSIDE_HOURS,
    POSTURES,
    RANDOM_UID,
    REASONS,
    RESPONDER,
    SOFT_STALE,
    STAFF,
    UNKNOWN_BADGE,
    UNLOCKED,
    VISITOR,
    Entry,
)
from support import vector

NOW_S = 1000


VALIDITIES = {"now": (0, 0), "early": (NOW_S + 1, 0), "over": (0, NOW_S)}
LISTS = {"fresh": FRESH, "soft": SOFT_STALE, "hard": HARD_STALE}
HOURS = {
    "always": ALWAYS,
    "inside": INSIDE_HOURS,
    "outside": OUTSIDE_HOURS,
    "holiday": HOLIDAY,
    "unknown": NO_HOUR,
}
NAMES = {name: code for code, (name, _) in REASONS.items()}


def product(*axes):
    """Yield every choice of one value of each axis, as lists."""
    if not axes:
        yield []
        return
    for rest in product(*axes[1:]):
        for first in axes[0]:
            choice = list(rest)
            choice.insert(0, first)
            yield choice


def table(heading):
    """Return the rows of the first table of docs/decisions.md below a heading, as lists of cells."""
    with open(vector("../../docs/decisions.md")) as file:
        lines = file.read().split(heading, 1)[1].split("\n")
    rows = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip(" `") for cell in line[1:-1].split("|")])
        elif rows:
            break
    return rows[2:]


class TableTest(unittest.TestCase):
    """The document is the expectation: nothing here knows the order of the rules but its rows."""

    def setUp(self):
        self.rows = [
            ([[word.strip() for word in cell.split(",") if word] for cell in row[1:-1]], row[-1])
            for row in table("# Decisions")
        ]

    def answer(self, *facts):
        """Return the code of the first row that fits badge, posture, class, validity, clock, ..."""
        for cells, answer in self.rows:
            if all(not cell or fact in cell for cell, fact in zip(cells, facts)):
                return NAMES[answer]
        raise AssertionError("no row fits " + repr(facts))

    def test_every_combination(self):
        tried = 0
        met = set()
        entry = Entry()
        for facts in product(
            ("listed", "denied"),
            POSTURES,
            ("responder", "staff", "visitor"),
            ("now", "early", "over"),
            CLOCK_QUALITIES,
            ("missing", "given", "not wanted", "given unasked"),
            ("fresh", "soft", "hard"),
            ("always", "inside", "outside", "holiday", "unknown"),
        ):
            badge, posture, kind, validity, clock, proof, age, hours = facts
            entry.is_denied = badge == "denied"
            entry.cardholder_class = {name: number for number, name in CLASSES.items()}[kind]
            entry.valid_from_s, entry.valid_until_s = VALIDITIES[validity]
            entry.must_authenticate = proof in ("missing", "given")
            entry.staleness = LISTS[age]
            entry.hours = HOURS[hours]
            is_given = proof in ("given", "given unasked")
            got = decide(
                entry, is_given, POSTURES.index(posture), NOW_S, CLOCK_QUALITIES.index(clock)
            )
            if got != self.answer(*facts):
                self.fail(REASONS[got][0] + " for " + ", ".join(facts))
            met.add(got)
            tried += 1
        self.assertEqual(tried, 2 * 4 * 3 * 3 * 3 * 4 * 3 * 5)
        # Every row but those of a badge that is on no list was an answer once.
        self.assertEqual(met, {NAMES[answer] for _, answer in self.rows[2:]})

    def test_on_no_list(self):
        for posture in range(len(POSTURES)):
            for clock in range(len(CLOCK_QUALITIES)):
                for given in (False, True):
                    self.assertEqual(decide(None, given, posture, NOW_S, clock), UNKNOWN_BADGE)
        self.assertEqual(self.answer("unlisted"), UNKNOWN_BADGE)
        self.assertEqual(self.answer("random"), RANDOM_UID)

    def test_reasons_are_documented(self):
        told = {int(code): (name, text) for code, name, text in table("## Reasons")}
        self.assertEqual(told, REASONS)


class DecideTest(unittest.TestCase):
    def setUp(self):
        self.entry = Entry()
        self.entry.cardholder_class = STAFF

    def decide(self, posture=NORMAL, quality=CLOCK_SYNCED, now_s=NOW_S, is_authenticated=False):
        return decide(self.entry, is_authenticated, posture, now_s, quality)

    def test_on_the_list(self):
        for kind in (RESPONDER, STAFF, VISITOR):
            self.entry.cardholder_class = kind
            for posture in (NORMAL, UNLOCKED):
                self.assertEqual(self.decide(posture), GRANTED)

    def test_lockdown_is_for_responders_alone(self):
        for kind, reason in (
            (RESPONDER, GRANTED_IN_LOCKDOWN),
            (STAFF, IN_LOCKDOWN),
            (VISITOR, IN_LOCKDOWN),
        ):
            self.entry.cardholder_class = kind
            self.assertEqual(self.decide(LOCKDOWN), reason)

    def test_a_disabled_door_opens_for_nobody(self):
        for kind in (RESPONDER, STAFF, VISITOR):
            self.entry.cardholder_class = kind
            self.assertEqual(self.decide(DISABLED), DOOR_DISABLED)

    def test_valid_until_is_the_first_second_after(self):
        self.entry.valid_until_s = NOW_S
        self.assertEqual(self.decide(now_s=NOW_S - 1), GRANTED)
        self.assertEqual(self.decide(now_s=NOW_S), EXPIRED)

    def test_expiry_is_proved_even_by_a_lower_bound_of_time(self):
        self.entry.valid_until_s = NOW_S
        self.assertEqual(self.decide(quality=CLOCK_UNSET), EXPIRED)

    def test_valid_from_is_the_first_second_of_validity(self):
        self.entry.valid_from_s = NOW_S
        for quality in (CLOCK_SYNCED, CLOCK_HELD):
            self.assertEqual(self.decide(quality=quality, now_s=NOW_S - 1), NOT_YET_VALID)
            self.assertEqual(self.decide(quality=quality, now_s=NOW_S), GRANTED)

    def test_without_a_clock_nothing_is_known_not_to_have_begun(self):
        self.entry.valid_from_s = NOW_S
        self.assertEqual(self.decide(quality=CLOCK_UNSET, now_s=0), GRANTED)

    def test_authentication(self):
        self.entry.must_authenticate = True
        self.assertEqual(self.decide(), NOT_AUTHENTICATED)
        self.assertEqual(self.decide(is_authenticated=True), GRANTED)

    def test_staleness(self):
        for staleness, reason in (
            (FRESH, GRANTED),
            (SOFT_STALE, GRANTED_ON_OLD_LIST),
            (HARD_STALE, LIST_TOO_OLD),
        ):
            self.entry.staleness = staleness
            self.assertEqual(self.decide(), reason)

    def test_a_list_too_old_closes_even_in_lockdown(self):
        self.entry.cardholder_class = RESPONDER
        self.entry.staleness = HARD_STALE
        self.assertEqual(self.decide(LOCKDOWN), LIST_TOO_OLD)
        self.entry.staleness = SOFT_STALE
        self.assertEqual(self.decide(LOCKDOWN), GRANTED_IN_LOCKDOWN)


if __name__ == "__main__":
    unittest.main()
