"""Honest time: Unix seconds together with how good they are."""

from .values import CLOCK_HELD, CLOCK_SYNCED, CLOCK_UNSET


class WallTime:
    """Counts Unix time on from its last setting, by ticks, and knows the quality of the result.

    Attributes:
        quality: CLOCK_UNSET, CLOCK_HELD or CLOCK_SYNCED.
    """

    def __init__(self, ticks, seconds: int = 0, quality: int = CLOCK_UNSET) -> None:
        self._ticks = ticks
        self._base_s = seconds
        self._base_ms = ticks.ticks_ms()
        self._rest_ms = 0
        self.quality = quality

    def set(self, seconds: int, quality: int = CLOCK_SYNCED) -> None:
        """Take `seconds` (Unix) as the time from here on."""
        self._base_s = seconds
        self._base_ms = self._ticks.ticks_ms()
        self._rest_ms = 0
        self.quality = quality

    def hold(self) -> None:
        """Say that the source of the time is out of reach: a synced clock becomes a held one."""
        if self.quality == CLOCK_SYNCED:
            self.quality = CLOCK_HELD

    def now_s(self) -> int:
        """Return Unix seconds, 0 with the clock unset."""
        # Folding ticks into the base on every call keeps the difference far below the wrap of
        # ticks (6 days on the boards), as long as something asks at least daily; the app does.
        now_ms = self._ticks.ticks_ms()
        elapsed_ms = self._ticks.ticks_diff(now_ms, self._base_ms) + self._rest_ms
        self._base_ms = now_ms
        self._base_s += elapsed_ms // 1000
        self._rest_ms = elapsed_ms % 1000
        return 0 if self.quality == CLOCK_UNSET else self._base_s

    def at_s(self, ticks_ms: int) -> int:
        """Return the Unix seconds at an earlier `ticks_ms`, 0 where the clock was never set."""
        if self.quality == CLOCK_UNSET:
            return 0
        ago_ms = self._ticks.ticks_diff(self._ticks.ticks_ms(), ticks_ms)
        return self.now_s() - ago_ms // 1000
