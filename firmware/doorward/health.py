"""What the taps since boot took: counts and percentiles in a fixed piece of memory."""

from array import array

from . import const

_BINS = const(256)  # one a millisecond; the last holds everything longer
_MOST = const(0xFFFF)


class Taps:
    """Badge in the field to strike or denial, over all taps since boot.

    Attributes:
        count, grants: taps, and those that opened.
        last_us, longest_us: of the last tap and of the slowest, microseconds.
    """

    def __init__(self) -> None:
        self.count = 0
        self.grants = 0
        self.last_us = 0
        self.longest_us = 0
        self._bins = array("H", bytes(2 * _BINS))

    def add(self, is_grant: bool, taken_us: int) -> None:
        self.count += 1
        self.grants += 1 if is_grant else 0
        self.last_us = taken_us
        self.longest_us = max(self.longest_us, taken_us)
        at = min(taken_us // 1000, _BINS - 1)
        # After some weeks at a busy door a bin is full. Halving all keeps their proportions.
        if self._bins[at] == _MOST:
            for i in range(_BINS):
                self._bins[i] >>= 1
        self._bins[at] += 1

    def percentile_ms(self, percent: int) -> int:
        """Return the milliseconds that so many percent of the taps did not exceed, 0 without taps."""
        total = sum(self._bins)
        wanted = (total * percent + 99) // 100
        seen = 0
        for ms in range(_BINS):
            seen += self._bins[ms]
            if wanted and seen >= wanted:
                return ms + 1
        return 0

    def facts(self) -> dict:
        """Return what the status tells."""
        return {
            "count": self.count,
            "grants": self.grants,
            "last_us": self.last_us,
            "longest_us": self.longest_us,
            "p50_ms": self.percentile_ms(50),
            "p99_ms": self.percentile_ms(99),
        }
