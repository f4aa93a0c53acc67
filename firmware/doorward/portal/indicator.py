"""Light and sound: patterns as data, played without holding anybody up."""

import asyncio

from .. import const
from ..values import (
    DECISION_FAULT,
    DOOR_DISABLED,
    EXPIRED,
    GRANTED_IN_LOCKDOWN,
    GRANTED_ON_OLD_LIST,
    IN_LOCKDOWN,
    LIST_TOO_OLD,
    NOT_AUTHENTICATED,
    NOT_YET_VALID,
    RANDOM_UID,
    REVOKED,
    UNKNOWN_BADGE,
)

_R = const(1)
_G = const(2)
_B = const(4)
_LOUD = const(8)
_LOOK_MS = const(20)

# A pattern is steps of (lights and sound, milliseconds).
# fmt: off
READY       = ((0, 1900), (_G, 100))
LOCKED_DOWN = ((_R, 300), (0, 700))
READER_LOST = ((_R | _B, 100), (0, 1400))
GRANTED_SIGN = ((_G | _LOUD, 150), (_G, 850))
_GRANTED_LOUD = ((_G | _LOUD, 150), (_B | _LOUD, 150), (_G, 700))
_UNKNOWN    = ((_R | _LOUD, 400), (_R, 300))
_NOT_NOW    = ((_R | _G, 250), (_B | _LOUD, 100), (_R | _G, 250))
_LOCKED     = ((_R | _LOUD, 100), (0, 100), (_R | _LOUD, 100), (0, 100), (_R | _LOUD, 300))
_NO_PROOF   = ((_R | _LOUD, 150), (_B, 150), (_R | _LOUD, 150), (_B, 150), (_R, 300))
_FAULT      = ((_R | _B | _LOUD, 100), (0, 100), (_R | _B, 100), (0, 100), (_R | _B, 100))

BY_REASON = {
    GRANTED_IN_LOCKDOWN: _GRANTED_LOUD,
    GRANTED_ON_OLD_LIST: _GRANTED_LOUD,
    UNKNOWN_BADGE: _UNKNOWN,
    RANDOM_UID: _UNKNOWN,
    REVOKED: _UNKNOWN,
    NOT_YET_VALID: _NOT_NOW,
    EXPIRED: _NOT_NOW,
    LIST_TOO_OLD: _NOT_NOW,
    IN_LOCKDOWN: _LOCKED,
    DOOR_DISABLED: _LOCKED,
    NOT_AUTHENTICATED: _NO_PROOF,
    DECISION_FAULT: _FAULT,
}
# fmt: on


class Indicator:
    """Plays a sign once, else the standing pattern over and over.

    Attributes:
        standing: the pattern of steps that plays while nothing else does.
    """

    def __init__(self, leds: tuple, buzzer, ticks, *, is_silent: bool) -> None:
        """leds: output pins red, green, blue; buzzer: output pin; either may be missing."""
        self._leds = leds
        self._buzzer = None if is_silent else buzzer
        self._ticks = ticks
        self.standing = READY
        self._pattern = READY
        self._step = 0
        self._until_ms = ticks.ticks_ms()

    def show(self, reason: int) -> None:
        """Begin the sign for a decision. Returns at once; the tap path calls it."""
        self._begin(BY_REASON.get(reason, GRANTED_SIGN if reason < UNKNOWN_BADGE else _UNKNOWN))

    def stand(self, pattern: tuple) -> None:
        """Make `pattern` the standing one; a sign under way plays to its end."""
        self.standing = pattern

    async def run(self) -> None:
        """Step through the patterns."""
        try:
            while True:
                if self._ticks.ticks_diff(self._ticks.ticks_ms(), self._until_ms) >= 0:
                    self._step += 1
                    if self._step >= len(self._pattern):
                        self._begin(self.standing)
                    else:
                        self._play()
                await asyncio.sleep_ms(_LOOK_MS)
        finally:
            self._output(0)

    def _begin(self, pattern: tuple) -> None:
        self._pattern = pattern
        self._step = 0
        self._play()

    def _play(self) -> None:
        lights, duration_ms = self._pattern[self._step]
        self._output(lights)
        self._until_ms = self._ticks.ticks_add(self._ticks.ticks_ms(), duration_ms)

    def _output(self, lights: int) -> None:
        for i, led in enumerate(self._leds):
            led(lights >> i & 1)
        if self._buzzer is not None:
            self._buzzer(1 if lights & _LOUD else 0)
