"""The strike: one output, the causes to release it, and their deadlines."""

import asyncio

from .. import const

_LOOK_MS = const(20)
# Who pulls in the last moment of a release opens the contact only after it.
_YIELD_MS = const(500)


class Strike:
    """Releases the lock at once and locks it in time, whatever else is going on.

    It is released while there is a cause: a grant or an exit with a deadline each, a grant that
    lasts until the next one or its limit (toggle), being held, a fire. Pin levels follow from the
    kind of lock: a fail-secure one is released by energising it, a fail-safe one by de-energising it.

    Attributes:
        is_released: what the output does to the lock.
        is_yielding: it was locked a moment ago, and somebody may still be opening the door.
        is_toggle_over: a toggled release reached its limit. Whoever tells of it sets it back.
        grants: times that a cardholder or a command released it.
    """

    def __init__(self, pin, active: int, ticks, *, is_fail_safe: bool = False) -> None:
        """pin: output pin. active: level that energises the lock. It is de-energised here."""
        self._pin = pin
        self._safe = 1 - active
        self._released = self._safe if is_fail_safe else active
        self._ticks = ticks
        self._is_fire = False
        self._is_held = False
        self._is_toggled = False
        self._toggle_left_s = 0
        self._second_ms = 0
        self._is_granted = False
        self._grant_until_ms = 0
        self._is_responders = False
        self._responders_until_ms = 0
        self._is_exit = False
        self._exit_until_ms = 0
        self._locked_ms = 0
        self.is_released = False
        self.is_yielding = False
        self.is_toggle_over = False
        self.grants = 0
        self.make_safe()

    @property
    def is_held_open(self) -> bool:
        """Released for as long as it takes: held, toggled, or for a fire."""
        return self._is_fire or self._is_held or self._is_toggled

    @property
    def is_permissive(self) -> bool:
        """May somebody be opening the door with the lock's consent?"""
        return self.is_released or self.is_yielding

    def grant(self, duration_ms: int, is_responders: bool = False) -> None:
        """Release now, for `duration_ms` from now; a grant under way is never shortened.

        is_responders: a lockdown that begins meanwhile does not end it.
        """
        self._pin(self._released)
        self.is_released = True
        until_ms = self._ticks.ticks_add(self._ticks.ticks_ms(), duration_ms)
        if not self._is_granted or self._ticks.ticks_diff(until_ms, self._grant_until_ms) > 0:
            self._grant_until_ms = until_ms
        if is_responders:
            until_now_ms = self._responders_until_ms
            if not self._is_responders or self._ticks.ticks_diff(until_ms, until_now_ms) > 0:
                self._responders_until_ms = until_ms
            self._is_responders = True
        self._is_granted = True
        self.grants += 1

    def toggle(self, limit_s: int) -> None:
        """Release until the next call, for `limit_s` at the most.

        What is released for another reason stays so.
        """
        is_open = self.is_held_open
        if not is_open or not self._is_toggled:
            self._pin(self._released)
            self.is_released = True
            # Held or for a fire, it is open anyhow: the tap must not outlast that.
            self._is_toggled = not is_open
            self._toggle_left_s = limit_s
            self._second_ms = self._ticks.ticks_ms()
        else:
            self._is_toggled = False
            self._settle()
        self.grants += 1

    def exit(self, duration_ms: int) -> None:
        """Release now, for `duration_ms` from now, for somebody who goes out."""
        self._exit_until_ms = self._ticks.ticks_add(self._ticks.ticks_ms(), duration_ms)
        self._is_exit = True
        self._settle()

    def end_grant(self) -> None:
        """The grant has served its purpose: the door was surely opened."""
        if self._is_granted:
            self._is_granted = False
            self._is_responders = False
            self._settle()

    def hold(self, is_held: bool) -> None:
        """Stay released until told otherwise.

        False ends a toggled release as well; a grant or an exit under way comes to its own end.
        """
        self._is_held = is_held
        if not is_held:
            self._is_toggled = False
        self._settle()

    def set_fire(self, is_fire: bool) -> None:
        """Stay released for as long as there is a fire, whatever else is asked for."""
        self._is_fire = is_fire
        self._settle()

    def lock(self) -> None:
        """End what grants released; not an exit, not a hold, not a fire."""
        self._is_responders = False
        self.lock_down()

    def lock_down(self) -> None:
        """Do the same, but leave responders the time of their own grant."""
        self._is_granted = self._is_responders
        self._grant_until_ms = self._responders_until_ms
        self._is_toggled = False
        self._settle()

    def make_safe(self) -> None:
        """De-energise: locked where the lock is fail-secure, released where it is fail-safe."""
        self._pin(self._safe)
        self.is_released = self._safe == self._released
        self._is_fire = False
        self._is_held = False
        self._is_toggled = False
        self._is_granted = False
        self._is_responders = False
        self._is_exit = False

    def tend(self) -> None:
        """End what is over."""
        now_ms = self._ticks.ticks_ms()
        if self._is_responders and self._ticks.ticks_diff(now_ms, self._responders_until_ms) >= 0:
            self._is_responders = False
        if self._is_granted and self._ticks.ticks_diff(now_ms, self._grant_until_ms) >= 0:
            self._is_granted = False
            self._settle()
        if self._is_exit and self._ticks.ticks_diff(now_ms, self._exit_until_ms) >= 0:
            self._is_exit = False
            self._settle()
        if self._is_toggled:
            self._count_toggled(now_ms)
        # A latch and not a difference of ticks: those wrap after six days without a tap.
        if self.is_yielding and self._ticks.ticks_diff(now_ms, self._locked_ms) >= _YIELD_MS:
            self.is_yielding = False

    async def run(self, beat) -> None:
        """Watch the deadlines. Critical: without it a released door would stay so."""
        try:
            while True:
                self.tend()
                beat()
                await asyncio.sleep_ms(_LOOK_MS)
        finally:
            self.make_safe()

    def _count_toggled(self, now_ms: int) -> None:
        """Second by second, as every long time, because a difference of ticks wraps."""
        seconds = self._ticks.ticks_diff(now_ms, self._second_ms) // 1000
        self._second_ms = self._ticks.ticks_add(self._second_ms, seconds * 1000)
        self._toggle_left_s -= seconds
        if self._toggle_left_s <= 0:
            self._is_toggled = False
            self.is_toggle_over = True
            self._settle()

    def _settle(self) -> None:
        """Give the output the level that the causes ask for, if it has another."""
        is_wanted = self.is_held_open or self._is_granted or self._is_exit
        if is_wanted == self.is_released:
            return
        self._pin(self._released if is_wanted else 1 - self._released)
        self.is_released = is_wanted
        if not is_wanted:
            self._locked_ms = self._ticks.ticks_ms()
            self.is_yielding = True
