"""The decision's rules: every one alone, and which of two goes first."""

import unittest

from doorward.access.decide import decide
from doorward.values import (
    CLOCK_HELD,
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
    IN_LOCKDOWN,
    LIST_TOO_OLD,
    LOCKDOWN,
    NORMAL,
    NOT_AUTHENTICATED,
    NOT_YET_VALID,
    RESPONDER,
    SOFT_STALE,
    STAFF,
    UNKNOWN_BADGE,
    UNLOCKED,
    VISITOR,
    Entry,
)

NOW_S = 1000


class DecideTest(unittest.TestCase):
    def setUp(self):
        self.entry = Entry()
        self.entry.cardholder_class = STAFF

    def decide(self, posture=NORMAL, quality=CLOCK_SYNCED, now_s=NOW_S, is_authenticated=False):
        return decide(self.entry, is_authenticated, posture, now_s, quality)

    def test_unknown_never_opens(self):
        for posture in (NORMAL, UNLOCKED, LOCKDOWN, DISABLED):
            self.assertEqual(decide(None, True, posture, NOW_S, CLOCK_SYNCED), UNKNOWN_BADGE)

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

    def test_precedence(self):
        # All at once, and taken away one by one, in the order of the rules.
        self.entry.staleness = HARD_STALE
        self.entry.must_authenticate = True
        self.entry.valid_from_s = NOW_S + 1
        self.entry.valid_until_s = NOW_S
        self.assertEqual(self.decide(DISABLED), DOOR_DISABLED)
        self.assertEqual(self.decide(LOCKDOWN), EXPIRED)
        self.entry.valid_until_s = 0
        self.assertEqual(self.decide(LOCKDOWN), NOT_YET_VALID)
        self.entry.valid_from_s = 0
        self.assertEqual(self.decide(LOCKDOWN), NOT_AUTHENTICATED)
        self.entry.must_authenticate = False
        self.assertEqual(self.decide(LOCKDOWN), IN_LOCKDOWN)
        self.assertEqual(self.decide(NORMAL), LIST_TOO_OLD)


if __name__ == "__main__":
    unittest.main()
