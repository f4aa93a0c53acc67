"""Light and sound: patterns as data, played without holding anybody up."""

import asyncio

from .. import const
from ..values import (
    DECISION_FAULT,
    DOOR_DISABLED,
    EXPIRED,
    GRANTED,
    GRANTED_IN_LOCKDOWN,
    GRANTED_ON_OLD_LIST,
    HOUR_UNKNOWN,
    IN_LOCKDOWN,
    LIST_TOO_OLD,
    NOT_AT_THIS_HOUR,
    NOT_AUTHENTICATED,
    NOT_ON_HOLIDAYS,
    NOT_YET_VALID,
    RANDOM_UID,
    REVOKED,
    UNKNOWN_BADGE,
)

_R = const(1)
_G = const(2)
_B = const(4)
_LOUD = const(8)
_COLOURS = const(7)
_LOOK_MS = const(20)
_PIXEL_LEVEL = const(96)  # of 255: bright enough by day, not blinding at night

# Two lights have no blue: it is both of them, the third colour that they can be.
_WITHOUT_BLUE = bytes((0, 1, 2, 3, 3, 3, 3, 3))

# A pattern is steps of (lights and sound, milliseconds). A sign plays once, a standing one over and
# over. No two of a kind are alike, nor are they in silence or on two lights, where blue is amber.
# fmt: off
GRANT       = ((_G | _LOUD, 150), (_G, 850))
GRANT_NOTED = ((_G | _LOUD, 150), (_B | _LOUD, 150), (_G, 700))
UNKNOWN     = ((_R | _LOUD, 400), (_R, 300))
NOT_NOW     = ((_R | _G, 250), (_R | _G | _LOUD, 100), (_R | _G, 350))
OVER        = ((_R | _G | _LOUD, 200), (_R, 200), (_R | _G | _LOUD, 200), (_R, 200))
LOCKED      = ((_R | _LOUD, 100), (0, 100), (_R | _LOUD, 100), (0, 100), (_R | _LOUD, 300))
NO_PROOF    = ((_R | _LOUD, 150), (_B, 150), (_R | _LOUD, 150), (_B, 150), (_R, 300))
FAULT       = ((_R | _B | _LOUD, 100), (0, 100), (_R | _B, 100), (0, 100), (_R | _B, 100))

READY       = ((0, 1900), (_G, 100))
OFFLINE     = ((0, 1800), (_G, 100), (_R | _G, 100))
IN_SERVICE  = ((_B, 500), (0, 500))
FREE        = ((_G, 1000),)
LOCKED_DOWN = ((_R, 300), (0, 700))
READER_LOST = ((_R | _B, 100), (0, 1400))
CLOSE_IT    = ((_R | _G | _LOUD, 200), (_R | _G, 800))
ALARM       = ((_R | _LOUD, 200), (0, 200))
# fmt: on

SIGNS = {
    GRANTED: GRANT,
    GRANTED_IN_LOCKDOWN: GRANT_NOTED,
    GRANTED_ON_OLD_LIST: GRANT_NOTED,
    UNKNOWN_BADGE: UNKNOWN,
    RANDOM_UID: UNKNOWN,
    REVOKED: UNKNOWN,
    NOT_YET_VALID: NOT_NOW,
    LIST_TOO_OLD: NOT_NOW,
    NOT_AT_THIS_HOUR: NOT_NOW,
    NOT_ON_HOLIDAYS: NOT_NOW,
    HOUR_UNKNOWN: NOT_NOW,
    EXPIRED: OVER,
    IN_LOCKDOWN: LOCKED,
    DOOR_DISABLED: LOCKED,
    NOT_AUTHENTICATED: NO_PROOF,
    DECISION_FAULT: FAULT,
}
STANDING = (READY, OFFLINE, IN_SERVICE, FREE, LOCKED_DOWN, READER_LOST, CLOSE_IT, ALARM)


class Lights:
    """Shows colours on what the door has, and sounds the buzzer."""

    def __init__(self, board, settings) -> None:
        """board: has leds, pixel and buzzer, each of which may be missing. settings: the Config."""
        self._pixel = board.pixel if settings.lights == "pixel" else None
        # One addressable light has its data line where the red light would be.
        self._leds = () if settings.lights == "pixel" else board.leds
        self._lacks_blue = settings.lights == "rg"
        if self._lacks_blue:
            self._leds = self._leds[:2]
        self._buzzer = None if settings.is_silent else board.buzzer
        self._shown = -1

    def show(self, step: int) -> None:
        """Show the sum of red, green, blue and sound. Allocates nothing."""
        colours = step & _COLOURS
        if self._lacks_blue:
            colours = _WITHOUT_BLUE[colours]
        leds = self._leds
        for i in range(len(leds)):
            leds[i](colours >> i & 1)
        if self._pixel is not None and colours != self._shown:
            self._shown = colours
            self._pixel(
                _PIXEL_LEVEL if colours & _R else 0,
                _PIXEL_LEVEL if colours & _G else 0,
                _PIXEL_LEVEL if colours & _B else 0,
            )
        if self._buzzer is not None:
            self._buzzer(1 if step & _LOUD else 0)


class Indicator:
    """Plays a sign once, else the standing pattern over and over.

    Attributes:
        standing: the pattern of steps that plays while nothing else does.
    """

    def __init__(self, lights: Lights, ticks) -> None:
        self._lights = lights
        self._ticks = ticks
        self.standing = READY
        self._pattern = READY
        self._step = 0
        self._until_ms = ticks.ticks_ms()

    def show(self, reason: int) -> None:
        """Begin the sign for a decision. Returns at once, allocates nothing: it is in the tap path.

        It takes the place of the sign before, so that a denial holds up nobody.
        """
        self._begin(SIGNS.get(reason, FAULT))

    def stand(self, pattern: tuple) -> None:
        """Make `pattern` the standing one; a sign under way plays to its end."""
        if pattern is self.standing:
            return
        was_standing = self._pattern is self.standing
        self.standing = pattern
        if was_standing:
            self._begin(pattern)

    async def run(self) -> None:
        """Step through the patterns."""
        try:
            self._play()
            while True:
                if self._ticks.ticks_diff(self._ticks.ticks_ms(), self._until_ms) >= 0:
                    self._step += 1
                    if self._step >= len(self._pattern):
                        self._begin(self.standing)
                    else:
                        self._play()
                await asyncio.sleep_ms(_LOOK_MS)
        finally:
            self._lights.show(0)

    def _begin(self, pattern: tuple) -> None:
        self._pattern = pattern
        self._step = 0
        self._play()

    def _play(self) -> None:
        step = self._pattern[self._step]
        self._lights.show(step[0])
        self._until_ms = self._ticks.ticks_add(self._ticks.ticks_ms(), step[1])
