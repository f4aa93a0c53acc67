"""The decision: one pure function, first rule that applies wins (docs/decisions.md)."""

from ..values import (
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
    NOT_AUTHENTICATED,
    NOT_YET_VALID,
    RESPONDER,
    REVOKED,
    UNKNOWN_BADGE,
    Entry,
)


def decide(
    entry: Entry | None, is_authenticated: bool, posture: int, now_s: int, clock_quality: int
) -> int:
    """Return the reason, a key of REASONS: below UNKNOWN_BADGE it is a grant.

    entry: the row the badge stands on, its staleness filled in, or None.
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
    if posture == LOCKDOWN and entry.cardholder_class != RESPONDER:
        return IN_LOCKDOWN
    if entry.staleness == HARD_STALE:
        return LIST_TOO_OLD
    if posture == LOCKDOWN:
        return GRANTED_IN_LOCKDOWN
    return GRANTED if entry.staleness == FRESH else GRANTED_ON_OLD_LIST
