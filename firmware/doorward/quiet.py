"""The quiet gate: the one way to do what stalls the board and cannot be cut up; and the pauses
between the slices of what can.

A flash sector erase or a Wi-Fi start-up holds the whole board. It runs only when no badge is in
the field and none was for a while, and one poll always comes between two of them.
"""

import asyncio
import gc

from . import const

_LOOK_AGAIN_MS = const(5)
# The most that so many slices of any work leave as garbage is 100 KB: 3 to 5 KB for a step of an
# RSA-3072 verification. So it is collected before the heap is full.
_PAUSES_TO_COLLECT = const(20)


class Gate:
    """Runs stalling calls in quiet moments, counts and measures them.

    Attributes:
        runs: calls made so far.
        longest_ms: the longest of them.
        hasty: calls made without quiet because none came within `patience_ms`.
    """

    def __init__(self, ticks, *, quiet_ms: int = 1000, patience_ms: int = 20_000) -> None:
        """quiet_ms: how long no badge must have been seen. patience_ms: longest wait for that."""
        self._ticks = ticks
        self._quiet_ms = quiet_ms
        self._patience_ms = patience_ms
        # Quiet from the start: nobody has been seen yet, and a start-up must not wait.
        # A latch and not a difference of ticks: those wrap after six days without a badge.
        self._is_idle = True
        self._badge_ms = 0
        self._polls = 0
        self._polls_at_run = -1
        self.runs = 0
        self.longest_ms = 0
        self.hasty = 0

    def saw_badge(self) -> None:
        """The reader tells: a badge is in the field now."""
        self._badge_ms = self._ticks.ticks_ms()
        self._is_idle = False

    def polled(self) -> None:
        """The reader tells: it has just looked, whatever it found."""
        self._polls += 1
        if not self._is_idle:
            since = self._ticks.ticks_diff(self._ticks.ticks_ms(), self._badge_ms)
            self._is_idle = since >= self._quiet_ms

    def is_quiet(self) -> bool:
        """No badge for `quiet_ms`, and the reader has looked since the last stall."""
        return self._is_idle and self._polls != self._polls_at_run

    async def run(self, call, *args):
        """Wait for quiet, then return `call(*args)`, which may stall.

        A queue of taps may last for ever; after `patience_ms` the call runs between two polls.
        """
        ticks = self._ticks
        deadline = ticks.ticks_add(ticks.ticks_ms(), self._patience_ms)
        while not self.is_quiet():
            if ticks.ticks_diff(ticks.ticks_ms(), deadline) >= 0:
                self.hasty += 1
                break
            await asyncio.sleep_ms(_LOOK_AGAIN_MS)
        start = ticks.ticks_ms()
        try:
            return call(*args)
        finally:
            self._polls_at_run = self._polls
            self.runs += 1
            self.longest_ms = max(self.longest_ms, ticks.ticks_diff(ticks.ticks_ms(), start))


class Breather:
    """Cuts long work into slices: whoever does it awaits `pause` between two of them.

    Its garbage is collected in slices of their own. Left to itself a collection comes when the heap
    is full, in the middle of a slice, and makes that one 18 ms longer.
    """

    def __init__(self, pauses: int = _PAUSES_TO_COLLECT) -> None:
        """pauses: so many until garbage is collected; fewer for who makes more between two."""
        self._pauses_to_collect = pauses
        self._pauses = 0

    async def pause(self) -> None:
        """Let the others run."""
        await asyncio.sleep_ms(0)
        self._pauses += 1
        if self._pauses >= self._pauses_to_collect:
            self._pauses = 0
            gc.collect()
            await asyncio.sleep_ms(0)
