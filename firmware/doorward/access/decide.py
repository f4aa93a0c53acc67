"""The decision: one pure function, first rule that applies wins.

docs/decisions.md has the rules as a table; a test compares the two over every combination.
"""

from ..values import (
    CLOCK_UNSET,
    DISABLED,
    DOOR_DISABLED,
    EXPIRED,
    GRANTED,
    GRANTED_IN_LOCKDOWN,
    GRANTED_ON_OLD_LIST,
    HARD_STALE,
    HOLIDAY,
    HOUR_UNKNOWN,
    IN_LOCKDOWN,
    LIST_TOO_OLD,
    LOCKDOWN,
    NO_HOUR,
    NOT_AT_THIS_HOUR,
    NOT_AUTHENTICATED,
    NOT_ON_HOLIDAYS,
    NOT_YET_VALID,
    OUTSIDE_HOURS,
    RESPONDER,
    REVOKED,
    SOFT_STALE,
    UNKNOWN_BADGE,
    VISITOR,
    Entry,
)

_BY_HOURS = {
    OUTSIDE_HOURS: NOT_AT_THIS_HOUR,
    HOLIDAY: NOT_ON_HOLIDAYS,
    NO_HOUR: HOUR_UNKNOWN,
}


def decide(
    entry: Entry | None, is_authenticated: bool, posture: int, now_s: int, clock_quality: int
) -> int:
    """Return the reason, a key of REASONS: below UNKNOWN_BADGE it is a grant.

    entry: the row the badge stands on, its staleness, hours and denial filled in, or None.
    now_s: Unix seconds; with the clock unset a lower bound, which can prove that something is
    over but never that it has not begun.
    """
    if entry is None:
        return UNKNOWN_BADGE
    if entry.is_denied:
        return REVOKED
    if posture == DISABLED:
        return DOOR_DISABLED
    if entry.valid_until_s and now_s >= entry.valid_until_s:
        return EXPIRED
    if now_s < entry.valid_from_s and clock_quality != CLOCK_UNSET:
        return NOT_YET_VALID
    if entry.must_authenticate and not is_authenticated:
        return NOT_AUTHENTICATED
    is_responder = entry.cardholder_class == RESPONDER
    if posture == LOCKDOWN and not is_responder:
        return IN_LOCKDOWN
    if entry.staleness == HARD_STALE:
        return LIST_TOO_OLD
    if entry.staleness == SOFT_STALE and entry.cardholder_class == VISITOR:
        return LIST_TOO_OLD
    if not is_responder and entry.hours in _BY_HOURS:
        return _BY_HOURS[entry.hours]
    if posture == LOCKDOWN:
        return GRANTED_IN_LOCKDOWN
    return GRANTED_ON_OLD_LIST if entry.staleness == SOFT_STALE else GRANTED
