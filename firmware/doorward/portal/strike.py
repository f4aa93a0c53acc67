"""The strike: one output with its own deadline."""

import asyncio

from .. import const

_LOOK_MS = const(20)


class Strike:
    """Energises the strike at once and lets go of it in time, whatever else is going on.

    Attributes:
        grants: times it was energised.
    """

    def __init__(self, pin, active: int, ticks) -> None:
        """pin: output pin. active: level that releases the door. The strike is made safe here."""
        self._pin = pin
        self._active = active
        self._ticks = ticks
        self._until_ms = 0
        self._is_held = False
        self.is_energised = False
        self.grants = 0
        self.make_safe()

    def energise(self, duration_ms: int) -> None:
        """Energise now, for `duration_ms` from now; a pulse under way is never shortened."""
        self._pin(self._active)
        until_ms = self._ticks.ticks_add(self._ticks.ticks_ms(), duration_ms)
        if not self.is_energised or self._ticks.ticks_diff(until_ms, self._until_ms) > 0:
            self._until_ms = until_ms
        self.is_energised = True
        self.grants += 1

    def hold(self, is_held: bool) -> None:
        """Stay energised until told otherwise; let go at once unless a pulse is under way."""
        if is_held == self._is_held:
            return
        if is_held:
            self.energise(0)
        self._is_held = is_held

    def make_safe(self) -> None:
        """De-energise."""
        self._is_held = False
        self._pin(1 - self._active)
        self.is_energised = False

    async def run(self) -> None:
        """Watch the deadline. Critical: without it an energised strike would stay so."""
        try:
            while True:
                now_ms = self._ticks.ticks_ms()
                if self._is_held:
                    # A deadline left standing would wrap after six days of being held.
                    self._until_ms = now_ms
                elif self.is_energised and self._ticks.ticks_diff(now_ms, self._until_ms) >= 0:
                    self.make_safe()
                await asyncio.sleep_ms(_LOOK_MS)
        finally:
            self.make_safe()
