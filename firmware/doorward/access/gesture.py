"""Gestures: what several taps of one badge in a row ask for. Off unless the configuration says so.

A gesture never decides a tap. Each tap is decided, and the strike released, before it is looked at.
"""

from .. import const
from ..values import IN_LOCKDOWN, LOCKDOWN, RESPONDER, UNKNOWN_BADGE, VISITOR, Decision

NOTHING = 0
HOLD_FOR_TEAM = 1
END_TEAM_HOLD = 2
BEGIN_LOCKDOWN = 3
END_LOCKDOWN = 4

_TAPS_TO_HOLD = const(2)
_TAPS_TO_RELOCK = const(3)
_TAPS_OF_A_LEVEL = const(3)


class Gestures:
    """Counts the taps of the badge that tapped last."""

    def __init__(self, ticks, settings) -> None:
        """settings: the Config."""
        self._ticks = ticks
        self._window_ms = settings.gesture_ms
        self._lockdown_level = settings.lockdown_level
        self._key_holder_level = settings.key_holder_level
        self._badge_id = b""
        self._tapped_ms = ticks.ticks_ms()
        self._count = 0

    def tap(self, decision: Decision, posture: int) -> int:
        """Take note of a decided tap; return what the gesture asks for that it completes, if any.

        Only taps that opened count, and those of a key-holder whom nothing but the lockdown kept
        out.
        """
        if not self._window_ms:
            return NOTHING
        entry = decision.entry
        is_kept_out = decision.reason == IN_LOCKDOWN
        if entry is None or (decision.reason >= UNKNOWN_BADGE and not is_kept_out):
            self._count = 0
            return NOTHING
        self._count_tap(decision.badge_id)
        # A visitor's badge orders nothing, whatever level a list gives it.
        if entry.cardholder_class == VISITOR:
            return NOTHING
        if posture == LOCKDOWN and entry.level == self._key_holder_level:
            return self._complete(_TAPS_OF_A_LEVEL, END_LOCKDOWN)
        if is_kept_out:
            return NOTHING
        if posture != LOCKDOWN and entry.level == self._lockdown_level:
            return self._complete(_TAPS_OF_A_LEVEL, BEGIN_LOCKDOWN)
        if entry.cardholder_class != RESPONDER:
            return NOTHING
        if self._count == _TAPS_TO_HOLD:
            return HOLD_FOR_TEAM
        return self._complete(_TAPS_TO_RELOCK, END_TEAM_HOLD)

    def forget(self) -> None:
        """Let go of taps that are too long ago; to be called every second or so."""
        if self._count and self._is_late():
            self._count = 0

    def _is_late(self) -> bool:
        now_ms = self._ticks.ticks_ms()
        return self._ticks.ticks_diff(now_ms, self._tapped_ms) > self._window_ms

    def _count_tap(self, badge_id: bytes) -> None:
        if badge_id != self._badge_id or self._is_late():
            self._badge_id = badge_id
            self._count = 0
        self._tapped_ms = self._ticks.ticks_ms()
        self._count += 1

    def _complete(self, taps: int, action: int) -> int:
        if self._count < taps:
            return NOTHING
        self._count = 0
        return action
