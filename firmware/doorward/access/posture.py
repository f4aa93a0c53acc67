"""How the door stands, and for whose sake: normal, unlocked, lockdown, disabled; held for a team.

What changes it is in force at once; `keep` makes it durable, apart from whoever changed it.
"""

import asyncio
import struct

from .. import const, state
from ..hal.roles import FlashFault
from ..values import (
    BY_COMMAND,
    BY_GESTURE,
    BY_KEY_HOLDER,
    BY_SCHEDULE,
    BY_SWITCH,
    BY_TIME,
    CLOCK_UNSET,
    DISABLE,
    DISABLED,
    ENABLE,
    HOLD_OPEN,
    LOCK_DOWN,
    LOCKDOWN,
    NORMAL,
    POSTURE_CHANGED,
    RELEASE,
    TEAM_HOLD,
    TEAM_HOLD_OVER,
    UNLOCKED,
)
from ..walltime import WallTime
from .command import Command
from .gesture import (
    BEGIN_LOCKDOWN,
    END_LOCKDOWN,
    END_TEAM_HOLD,
    HOLD_FOR_TEAM,
    NOTHING,
)

# Who wants the lockdown that is on: it ends when nobody does.
_SWITCH = const(1)  # while the switch is on; never written: where it stands at the start counts
ORDERED = const(2)  # a command, a badge, or a panic button: until a release or a key-holder
# base posture, who wants the lockdown, Unix seconds until which it is held open, ordered by whom,
# number of the last lockdown by order
POSTURE_VALUE = "<BBI8sI"
_VALUE_BYTES = const(18)
_UNNUMBERED_BYTES = const(14)  # by a firmware that did not number lockdowns
_NO_ISSUER = bytes(8)
_LOOK_MS = const(1000)


class Posture:
    """The posture with its reasons.

    Attributes:
        closings: how often something began that shuts the door: an order to open it that was
            waiting then is not obeyed any more.
        ordered_by: key id of the issuer whose command began the lockdown that is on, else zeros.
        is_team_hold: a responder holds the door for a team; the posture stays what it is.
        on_change: called at once after each change as (event code, cause, badge id); must not
            block.
    """

    def __init__(self, kept: state.Snapshots, gate, time: WallTime, ticks, settings) -> None:
        """kept: where it survives a restart. settings: the Config."""
        self._kept = kept
        self._gate = gate
        self._time = time
        self._ticks = ticks
        self._is_panic_button = settings.lockdown_ends_by == "release"
        self._team_ms = settings.team_hold_s * 1000
        self._team_since_ms = 0
        self.is_team_hold = False
        self.on_change = _nobody
        self._changed = asyncio.Event()
        self.closings = 0
        self.ordered_by = _NO_ISSUER
        self._base = NORMAL
        self._locked_by = 0
        self._open_until_s = 0
        self._number = 0
        self._is_scheduled_open = False
        self._recall()

    @property
    def current(self) -> int:
        """NORMAL, UNLOCKED, LOCKDOWN or DISABLED."""
        if self._base != NORMAL:
            return self._base
        if self._locked_by:
            return LOCKDOWN
        return UNLOCKED if self._open_until_s or self._is_scheduled_open else NORMAL

    @property
    def lockdown(self) -> int:
        """Number of the lockdown by order that is on, once it is durable: so that no number is
        told that a power cut could make that of another. 0: none."""
        is_durable = self.packed() == self._kept.get(state.POSTURE)
        return self._number if self._locked_by & ORDERED and is_durable else 0

    def follow_switch(self, is_on: bool) -> None:
        """Follow the lockdown switch, or the panic button, which is never turned back."""
        if is_on and self._is_panic_button:
            if not self._locked_by & ORDERED:
                self._lock_down(BY_SWITCH)
            else:
                # Inside a lockdown by order it begins no other: a loose wire would do so all day.
                # But it ends what was held open, and a release that waits to be written then is
                # from before it was pressed.
                self.closings += 1
                self._tell(self.current, BY_SWITCH, b"", is_closing=True)
        elif is_on:
            self._take_on(BY_SWITCH, self._base, self._locked_by | _SWITCH, 0)
        elif self._locked_by & _SWITCH:
            self._take_on(BY_SWITCH, self._base, self._locked_by & ~_SWITCH, self._open_until_s)

    def follow_time(self, is_scheduled_open: bool) -> None:
        """Lock again what is over, or whose end nobody can tell any more; unlock what is due.

        is_scheduled_open: some list has the door unlocked now. To be called every second or so.
        """
        if self._open_until_s:
            is_known = self._time.quality != CLOCK_UNSET
            if not is_known or self._time.now_s() >= self._open_until_s:
                self._take_on(BY_TIME, self._base, self._locked_by, 0)
        if is_scheduled_open != self._is_scheduled_open:
            before = self.current
            self._is_scheduled_open = is_scheduled_open
            self._tell(before, BY_SCHEDULE, b"")
        if self.is_team_hold:
            since_ms = self._ticks.ticks_diff(self._ticks.ticks_ms(), self._team_since_ms)
            if since_ms >= self._team_ms:
                self._end_team_hold(BY_TIME, b"")

    def follow_gesture(self, action: int, badge_id: bytes) -> None:
        """Do what a gesture asks for."""
        if action == NOTHING:
            return
        if action == HOLD_FOR_TEAM:
            self._team_since_ms = self._ticks.ticks_ms()
            self.is_team_hold = True
            self.on_change(TEAM_HOLD, BY_GESTURE, badge_id)
        elif action == END_TEAM_HOLD:
            self._end_team_hold(BY_GESTURE, badge_id)
        elif action == BEGIN_LOCKDOWN:
            self._lock_down(BY_GESTURE, badge_id)
        elif action == END_LOCKDOWN:
            self._take_on(BY_KEY_HOLDER, self._base, self._locked_by & _SWITCH, 0, badge_id)

    def after(self, command: Command) -> tuple[int, int, int]:
        """Return base posture, who wants the lockdown, and held open until when, once an order that
        begins no lockdown is obeyed."""
        if command.kind == RELEASE:
            # The switch that is still on goes on being obeyed: somebody stands there.
            return self._base, self._locked_by & _SWITCH, 0
        if command.kind == HOLD_OPEN:
            return self._base, self._locked_by, command.argument
        if command.kind == DISABLE:
            return DISABLED, self._locked_by, 0
        if command.kind == ENABLE:
            return NORMAL, self._locked_by, 0
        return self._base, self._locked_by, self._open_until_s

    def packed(self) -> bytes:
        """Return the value that state keeps of the posture."""
        return self._pack(self._base, self._locked_by, self._open_until_s)

    def packed_after(self, command: Command) -> bytes:
        """Return the same once a command is obeyed that begins no lockdown."""
        return self._pack(*self.after(command))

    def obey(self, command: Command, issuer_id: bytes) -> None:
        """Take on what an issuer's command orders."""
        if command.kind == LOCK_DOWN:
            self.ordered_by = issuer_id
            self._lock_down(BY_COMMAND)
        else:
            is_closing = command.kind == DISABLE
            self._take_on(BY_COMMAND, *self.after(command), is_closing=is_closing)

    async def keep(self, beat) -> None:
        """Write the posture to flash as it changes. Critical; beats every second, but for the time
        that a commit waits for quiet: apart from whoever gives orders, which must not wait with it.
        """
        while True:
            beat()
            try:
                await asyncio.wait_for_ms(self._changed.wait(), _LOOK_MS)
            except asyncio.TimeoutError:
                continue
            self._changed.clear()
            if self.packed() != self._kept.get(state.POSTURE):
                try:
                    await self._kept.commit({state.POSTURE: self.packed}, self._gate)
                except FlashFault:
                    # In force it is; to restart the board over this would make nothing better.
                    self._changed.set()
                    await asyncio.sleep_ms(_LOOK_MS)

    def keep_now(self) -> None:
        """Write the posture without waiting for quiet, for a board about to restart: what came in
        force a moment ago may still wait for it in `keep`. Raises FlashFault."""
        packed = self.packed()
        if packed != self._kept.get(state.POSTURE):
            self._kept.commit_now({state.POSTURE: packed})

    def _lock_down(self, cause: int, badge_id: bytes = b"") -> None:
        """Begin a lockdown by order, with a number of its own even inside another."""
        self._number += 1
        self._take_on(cause, self._base, self._locked_by | ORDERED, 0, badge_id, is_closing=True)

    def _take_on(
        self,
        cause: int,
        base: int,
        locked_by: int,
        open_until_s: int,
        badge_id: bytes = b"",
        is_closing: bool = False,
    ) -> None:
        before = self.current
        is_closing = is_closing or bool(locked_by & ~self._locked_by)
        if is_closing:
            self.closings += 1
        if not locked_by & ORDERED:
            self.ordered_by = _NO_ISSUER
        self._base = base
        self._locked_by = locked_by
        self._open_until_s = open_until_s
        self._changed.set()
        self._tell(before, cause, badge_id, is_closing)

    def _tell(self, before: int, cause: int, badge_id: bytes, is_closing: bool = False) -> None:
        now = self.current
        # One more who wants a lockdown that is on already ends what was held open inside it.
        if now == before and not is_closing:
            return
        # A lockdown shuts what a team held open; inside it, the next team may hold anew.
        if now in (LOCKDOWN, DISABLED) and self.is_team_hold:
            self._end_team_hold(cause, badge_id)
        self.on_change(POSTURE_CHANGED, cause, badge_id)

    def _end_team_hold(self, cause: int, badge_id: bytes) -> None:
        if self.is_team_hold:
            self.is_team_hold = False
            self.on_change(TEAM_HOLD_OVER, cause, badge_id)

    def _pack(self, base: int, locked_by: int, open_until_s: int) -> bytes:
        kept_reasons = locked_by & ORDERED
        return struct.pack(
            POSTURE_VALUE, base, kept_reasons, open_until_s, self.ordered_by, self._number
        )

    def _recall(self) -> None:
        stored = self._kept.get(state.POSTURE)
        if stored is None:
            return
        if len(stored) == _UNNUMBERED_BYTES:
            stored += bytes(_VALUE_BYTES - _UNNUMBERED_BYTES)
        is_known = len(stored) == _VALUE_BYTES
        if is_known:
            (
                self._base,
                locked_by,
                self._open_until_s,
                self.ordered_by,
                self._number,
            ) = struct.unpack(POSTURE_VALUE, stored)
            self._locked_by = locked_by & ORDERED
        # A value from a later firmware is not understood; the closed posture is the safe reading.
        if not is_known or self._base not in (NORMAL, DISABLED):
            self._base = NORMAL
            self._locked_by = ORDERED


def _nobody(code: int, cause: int, badge_id: bytes) -> None:
    """Nobody follows the posture yet."""
