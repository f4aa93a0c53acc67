"""Honest time: Unix seconds together with how good they are, and how fast this board's crystal is."""

from . import const
from .values import CLOCK_HELD, CLOCK_SYNCED, CLOCK_UNSET

# A clock that nobody compared for so long is not a synced one any more.
_HELD_AFTER_S = const(86_400)
# The worst crystal there is. What is faster or slower than this is not a crystal's doing.
_MOST_PPM = const(200)
# The crystal's rate is what came together over at least so long: half a round trip of 400 ms is
# 9 ppm of it, and 5 s a week.
_RATE_SPAN_S = const(21_600)
# What a correction may be off by itself: a battery clock's whole seconds, half a round trip.
_SLACK_MS = const(2000)


class WallTime:
    """Counts Unix time on from its last setting, by ticks, and knows the quality of the result.

    Attributes:
        quality: CLOCK_UNSET, CLOCK_HELD or CLOCK_SYNCED.
        drift_ppm: millionths that are added to what the ticks count, -200 to 200, as learnt.
        synced_s: when it was last synced, Unix seconds; 0: never.
    """

    def __init__(self, ticks, seconds: int = 0, quality: int = CLOCK_UNSET) -> None:
        self._ticks = ticks
        self.drift_ppm = 0
        self.synced_s = 0
        self.set(seconds, quality)

    def set(self, seconds: int, quality: int = CLOCK_SYNCED, ms: int = 0) -> None:
        """Take `seconds` (Unix) and `ms` as the time from here on."""
        self._base_s = seconds
        self._base_ms = self._ticks.ticks_ms()
        self._rest_ms = ms
        self._rest_ppm = 0  # millionths of a millisecond
        # Since when corrections are added up, and their sum.
        self._since_s = seconds
        self._error_ms = 0
        self.quality = quality
        self.synced_s = seconds if quality == CLOCK_SYNCED else 0

    def hold(self) -> None:
        """Say that the source of the time is out of reach: a synced clock becomes a held one."""
        if self.quality == CLOCK_SYNCED:
            self.quality = CLOCK_HELD

    def correct(self, offset_ms: int) -> int:
        """Be synced by a source that the clock is `offset_ms` behind; learn the crystal's rate.

        offset_ms: less than an hour. Returns 0; or, where the corrections since the rate was last
        learnt are more than any crystal explains, their sum in milliseconds, and learns nothing.
        """
        self.shift(offset_ms)
        self._error_ms += offset_ms
        span_s = self._base_s - self._since_s
        odd_ms = 0
        if abs(self._error_ms) > _SLACK_MS + span_s * 2 * _MOST_PPM // 1000:
            odd_ms = self._error_ms
        elif self.synced_s and span_s >= _RATE_SPAN_S:
            ppm = self.drift_ppm + (self._error_ms * 1000 + span_s // 2) // span_s
            self.drift_ppm = max(-_MOST_PPM, min(ppm, _MOST_PPM))
        # How far off it was before it was ever synced says nothing of its rate.
        if odd_ms or not self.synced_s or span_s >= _RATE_SPAN_S:
            self._since_s = self._base_s
            self._error_ms = 0
        self.synced_s = self._base_s
        self.quality = CLOCK_SYNCED
        return odd_ms

    def shift(self, offset_ms: int) -> None:
        """Go `offset_ms` forward, or back where it is negative."""
        self._rest_ms += offset_ms
        self._fold()

    def behind_ms(self, seconds: int, ms: int) -> int:
        """Return by how many milliseconds the clock, set or not, is behind Unix `seconds` and `ms`."""
        self._fold()
        return (seconds - self._base_s) * 1000 + ms - self._rest_ms

    def now_s(self) -> int:
        """Return Unix seconds, 0 with the clock unset."""
        self._fold()
        return 0 if self.quality == CLOCK_UNSET else self._base_s

    def at_s(self, ticks_ms: int) -> int:
        """Return the Unix seconds at an earlier `ticks_ms`, 0 where the clock was never set."""
        if self.quality == CLOCK_UNSET:
            return 0
        ago_ms = self._ticks.ticks_diff(self._ticks.ticks_ms(), ticks_ms)
        return self.now_s() - ago_ms // 1000

    def _fold(self) -> None:
        """Bring the base up to now.

        Done on every call, this keeps the difference far below the wrap of ticks (6 days on the
        boards), as long as something asks at least daily; the app does, and often enough that the
        numbers here stay small.
        """
        now_ms = self._ticks.ticks_ms()
        elapsed_ms = self._ticks.ticks_diff(now_ms, self._base_ms)
        self._base_ms = now_ms
        self._rest_ppm += elapsed_ms * self.drift_ppm
        self._rest_ms += elapsed_ms + self._rest_ppm // 1_000_000
        self._rest_ppm %= 1_000_000
        self._base_s += self._rest_ms // 1000
        self._rest_ms %= 1000
        if self.quality == CLOCK_SYNCED and self._base_s - self.synced_s >= _HELD_AFTER_S:
            self.quality = CLOCK_HELD
