"""Access: what the door holds, asked about one badge."""

import asyncio
import struct

from .. import const, state
from ..hal.roles import FlashRegion
from ..trust.keyring import KeyRing, read_ring
from ..trust.objects import ALLOWLIST_TYPE, COMMAND_TYPE, Header
from ..trust.primitives import HmacKey
from ..values import (
    BADGE_ID_BYTES,
    CLOCK_UNSET,
    HOLD_OPEN,
    LOCK_DOWN,
    LOCKDOWN,
    LOCKED_DOWN,
    NO_CLOCK,
    NORMAL,
    POSTURES,
    RANDOM_UID,
    RELEASE,
    TOO_LATE,
    UNKNOWN_BADGE,
    UNLOCKED,
    Badge,
    Decision,
    Entry,
    Refused,
)
from ..walltime import WallTime
from .command import Command
from .decide import decide
from .intake import Intake
from .shelf import Address, Shelf

SITE_KEY_BYTES = const(32)

# Who wants the lockdown that is on: it ends when nobody does.
_BY_SWITCH = const(1)
_BY_COMMAND = const(2)
_POSTURE = "<BBI"  # posture, who wants the lockdown, Unix seconds until which it is held open
_POSTURE_BYTES = const(6)


def blind(site_key: HmacKey, identity: bytes | bytearray) -> bytes:
    """Return the blinded badge identity: HMAC-SHA256 of length and UID, truncated.

    identity: Badge.identity, 11 bytes. The UID itself is in no list and in no journal.
    """
    return site_key.tag(identity)[:BADGE_ID_BYTES]


class Access:
    """Decides taps from the lists in force, the posture and the time.

    Attributes:
        shelf: the lists in force.
        posture: NORMAL, UNLOCKED, LOCKDOWN or DISABLED; survives a restart.
        on_posture: called at once after each change of it; must not block.
    """

    def __init__(
        self,
        region: FlashRegion,
        given: state.Snapshots,
        kept: state.Snapshots,
        address: Address,
        time: WallTime,
        gate,
    ) -> None:
        """region: where lists lie. given: what the door was provisioned with, key ring and site
        key among it. kept: what it must not forget.

        Raises NotProvisioned; Refused where the key ring is none.
        """
        self.shelf = Shelf(region, kept, read_ring(given.require(state.KEY_RING)), address)
        self._gate = gate
        self._given = given
        self._kept = kept
        self._site_key = HmacKey(given.require(state.SITE_KEY))
        self._time = time
        self.on_posture = _nobody
        self._posture_changed = asyncio.Event()
        self._base = NORMAL
        self._locked_by = 0
        self._open_until_s = 0
        self._recall_posture()

    def open_intake(self) -> Intake:
        """Return an intake for one carrier."""
        return Intake(self.shelf, self._gate, _pause, self)

    # Posture

    @property
    def posture(self) -> int:
        if self._base != NORMAL:
            return self._base
        if self._locked_by:
            return LOCKDOWN
        return UNLOCKED if self._open_until_s else NORMAL

    @property
    def is_locked_down(self) -> bool:
        return self.posture == LOCKDOWN

    def set_posture(self, posture: int) -> bool:
        """Take on a posture, in force at once; `keep_posture` makes it durable.

        Ends a lockdown and a holding open, whoever wanted it. False where nothing changed.
        """
        return self._take_on(posture, 0, 0)

    def lockdown(self, is_on: bool) -> bool:
        """Follow the lockdown switch. Turned off, it ends what it began and no other lockdown."""
        if is_on:
            return self._take_on(self._base, self._locked_by | _BY_SWITCH, 0)
        return self._take_on(self._base, self._locked_by & ~_BY_SWITCH, self._open_until_s)

    def end_what_is_over(self) -> bool:
        """Lock again when the time to be held open is over, or cannot be told any more.

        Return whether the posture changed. To be called every second or so.
        """
        if not self._open_until_s:
            return False
        is_known = self._time.quality != CLOCK_UNSET
        if is_known and self._time.now_s() < self._open_until_s:
            return False
        return self._take_on(self._base, self._locked_by, 0)

    async def keep_posture(self) -> None:
        """Write postures to flash as they change. Critical. Apart from whoever changes them: an
        erase may wait long for quiet, and an order must not wait with it."""
        while True:
            await self._posture_changed.wait()
            self._posture_changed.clear()
            if self._packed_posture() != self._kept.get(state.POSTURE):
                await self._kept.commit({state.POSTURE: self._packed_posture()}, self._gate)

    def _take_on(self, base: int, locked_by: int, open_until_s: int) -> bool:
        before = self.posture
        self._base = base
        self._locked_by = locked_by
        self._open_until_s = open_until_s
        self._posture_changed.set()
        if self.posture == before:
            return False
        self.on_posture()
        return True

    def _packed_posture(self) -> bytes:
        return struct.pack(_POSTURE, self._base, self._locked_by, self._open_until_s)

    def _recall_posture(self) -> None:
        stored = self._kept.get(state.POSTURE)
        if stored is None:
            return
        if len(stored) == _POSTURE_BYTES:
            self._base, self._locked_by, self._open_until_s = struct.unpack(_POSTURE, stored)
        # A value from a later firmware is not understood; the closed posture is the safe reading.
        if len(stored) != _POSTURE_BYTES or self._base >= len(POSTURES):
            self._base = LOCKDOWN

    # What signed objects ask

    async def obey(self, header: Header, command: Command) -> None:
        """Do what a verified command for this door says; durable when it returns.

        What only closes is in force at once, and late only by a clock that is set. What opens is
        obeyed once it cannot be replayed any more, even over a power cut. To release the strike
        for UNLOCK is left to the caller. Raises Refused.
        """
        if self._bound_s(header.issuer_id) >= command.expires_s:
            raise Refused(TOO_LATE)
        if self._time.quality == CLOCK_UNSET and not command.only_closes:
            raise Refused(NO_CLOCK)
        if command.kind == HOLD_OPEN and self.is_locked_down:
            raise Refused(LOCKED_DOWN)
        self.shelf.raise_floor(COMMAND_TYPE, header.issuer_id, header.version + 1)
        if command.only_closes:
            self._take_on(*self._after(command))
        posture = struct.pack(_POSTURE, *self._after(command))
        await self.shelf.commit({state.POSTURE: posture}, self._gate)
        if not command.only_closes:
            # Reckoned anew: the switch may have been turned while the commit waited for quiet.
            self._take_on(*self._after(command))

    def _bound_s(self, issuer_id: bytes) -> int:
        """Return what the clock says, or when the issuer's list was made where that is later."""
        allowlist = self.shelf.in_force(ALLOWLIST_TYPE, issuer_id)
        issued_s = 0 if allowlist is None else allowlist.header.issued_s
        return max(self._time.now_s(), issued_s)

    def _after(self, command: Command) -> tuple[int, int, int]:
        """Return base posture, who wants the lockdown, and held open until when, once obeyed."""
        if command.kind == LOCK_DOWN:
            return self._base, self._locked_by | _BY_COMMAND, 0
        if command.kind == RELEASE:
            # The switch that is still on goes on being obeyed: somebody stands there.
            return NORMAL, self._locked_by & _BY_SWITCH, 0
        if command.kind == HOLD_OPEN:
            return self._base, self._locked_by, command.argument
        return self._base, self._locked_by, self._open_until_s

    def ring_object(self) -> bytes:
        """Return the signed object of the key ring in force."""
        return self._given.require(state.KEY_RING)

    async def adopt(self, ring: KeyRing, data: bytes) -> None:
        """Believe by another key ring, verified by its predecessor; durable when it returns."""
        await self._given.commit({state.KEY_RING: data}, self._gate)
        await self.shelf.adopt(ring, self._gate)

    # Taps

    def decide(self, badge: Badge) -> Decision:
        """Decide one tap: about 1.5 ms on an RP2040. Never waits, never writes."""
        badge_id = blind(self._site_key, badge.identity)
        if badge.has_random_uid:
            return Decision(RANDOM_UID, badge_id, None)
        now_s = self._time.now_s()
        best = Decision(UNKNOWN_BADGE, badge_id, None)
        for allowlist in self.shelf.lists:
            entry = Entry()
            if not allowlist.find(badge_id, entry):
                continue
            # It is not earlier than when this very list was issued, whatever the clock says. Not
            # than when any was: one issuer's date must not age what another has signed.
            bound_s = max(now_s, allowlist.header.issued_s)
            entry.is_denied = self._is_denied(badge_id, entry.cardholder_class)
            entry.staleness = allowlist.staleness(entry.cardholder_class, bound_s)
            reason = decide(
                entry, badge.is_authenticated, self.posture, bound_s, self._time.quality
            )
            # On two lists the one that opens counts; else the first says why it does not.
            if reason < UNKNOWN_BADGE:
                return Decision(reason, badge_id, entry)
            if best.entry is None:
                best = Decision(reason, badge_id, entry)
        return best

    def _is_denied(self, badge_id: bytes, cardholder_class: int) -> bool:
        for denial in self.shelf.denials:
            if denial.denies(badge_id, cardholder_class):
                return True
        return False

    async def check_lists(self) -> list:
        """Hash every list in force against its header; drop and return the Issuers that fail."""
        failed = []
        for allowlist in list(self.shelf.lists):
            is_whole = await allowlist.is_whole(_pause)
            # A list that was replaced meanwhile is nobody's concern.
            if not is_whole and allowlist in self.shelf.lists:
                self.shelf.drop(allowlist)
                failed.append(allowlist.issuer)
        return failed


def _nobody() -> None:
    """Nobody follows the posture yet."""


async def _pause() -> None:
    await asyncio.sleep_ms(0)
