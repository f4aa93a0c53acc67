"""Access: what the door holds, asked about one badge."""

from .. import const, state
from ..hal.roles import FlashRegion
from ..quiet import Breather
from ..trust.keyring import KeyRing, read_ring
from ..trust.objects import ALLOWLIST_TYPE, COMMAND_TYPE, Header
from ..trust.primitives import HmacKey
from ..values import (
    BADGE_ID_BYTES,
    CLOCK_UNSET,
    DISABLED,
    DOOR_IS_DISABLED,
    HOLD_OPEN,
    LOCKDOWN,
    LOCKED_DOWN,
    NO_CLOCK,
    OLD_VERSION,
    RANDOM_UID,
    RELEASE,
    REPLAYED,
    TOO_LATE,
    TOO_LONG,
    UNKNOWN_BADGE,
    UNLOCK,
    Badge,
    Decision,
    Entry,
    Refused,
)
from ..walltime import WallTime
from .command import Command
from .decide import decide
from .gesture import Gestures
from .intake import Intake
from .posture import Posture
from .shelf import Address, Shelf

SITE_KEY_BYTES = const(32)
_LONGEST_HOLD_S = const(86_400)


def blind(site_key: HmacKey, identity: bytes | bytearray) -> bytes:
    """Return the blinded badge identity: HMAC-SHA256 of length and UID, truncated.

    identity: Badge.identity, 11 bytes. The UID itself is in no list and in no journal.
    """
    return site_key.tag(identity)[:BADGE_ID_BYTES]


class Access:
    """Decides taps from the lists in force, the posture and the time.

    Attributes:
        shelf: the lists in force.
        posture: the Posture, which survives a restart.
    """

    def __init__(
        self,
        region: FlashRegion,
        given: state.Snapshots,
        kept: state.Snapshots,
        settings,
        time: WallTime,
        ticks,
        gate,
    ) -> None:
        """region: where lists lie. given: what the door was provisioned with, key ring and site
        key among it. kept: what it must not forget. settings: the Config.

        Raises NotProvisioned; Refused where the key ring is none.
        """
        address = Address(settings.site, settings.door, settings.group_bits())
        self.shelf = Shelf(region, kept, read_ring(given.require(state.KEY_RING)), address)
        self.posture = Posture(kept, gate, time, ticks, settings)
        self._gestures = Gestures(ticks, settings)
        self._gate = gate
        self._pause = Breather().pause
        self._given = given
        self._site_key = HmacKey(given.require(state.SITE_KEY))
        self._time = time

    def open_intake(self) -> Intake:
        """Return an intake for one carrier."""
        return Intake(self.shelf, self._gate, self._pause, self)

    def earliest_s(self) -> int:
        """Return when the newest object in force was issued, Unix seconds: it cannot be earlier."""
        earliest_s = self.shelf.ring.issued_s
        for held in (self.shelf.lists, self.shelf.denials):
            for one in held:
                earliest_s = max(earliest_s, one.header.issued_s)
        return earliest_s

    def follow_time(self) -> None:
        """Do what is due by now. To be called every second or so."""
        self._gestures.forget()
        is_set = self._time.quality != CLOCK_UNSET
        now_s = self._time.now_s()
        is_due = is_set and any(one.unlocks(now_s) for one in self.shelf.lists)
        self.posture.follow_time(is_due)

    def follow_tap(self, decision: Decision) -> None:
        """Look, after a tap was decided and acted on, whether it completes a gesture."""
        action = self._gestures.tap(decision, self.posture.current)
        self.posture.follow_gesture(action, decision.badge_id)

    # What signed objects ask

    async def obey(self, header: Header, command: Command) -> None:
        """Do what a verified command for this door says; durable when it returns.

        What only closes is in force at once, and late only by a clock that is set. What opens is
        obeyed once it cannot be replayed any more, even over a power cut, and only if it would
        be obeyed then as well. To release the strike for UNLOCK is left to the caller.
        Raises Refused.
        """
        self._check_order(header, command)
        posture = self.posture
        issuer_id = header.issuer_id
        self.shelf.raise_floor(COMMAND_TYPE, issuer_id, header.version + 1)
        if command.only_closes:
            posture.obey(command, issuer_id)
        closings = posture.closings

        def posture_then() -> bytes:
            if command.only_closes:
                return posture.packed()
            # The commit may have waited long for quiet.
            if posture.closings != closings:
                raise Refused(LOCKED_DOWN)
            self._check_order(header, command, is_counted=True)
            return posture.packed_after(command)

        await self.shelf.commit({state.POSTURE: posture_then}, self._gate)
        if not command.only_closes:
            posture.obey(command, issuer_id)

    def _check_order(self, header: Header, command: Command, is_counted: bool = False) -> None:
        """Refuse what may not be obeyed now. is_counted: its own counter is in the floor already."""
        issuer_id = header.issuer_id
        self.shelf.check_issuer(issuer_id, command.power)
        if not is_counted and header.version < self.shelf.floor(COMMAND_TYPE, issuer_id):
            raise Refused(REPLAYED)
        if self._bound_s(issuer_id) >= command.expires_s:
            raise Refused(TOO_LATE)
        posture = self.posture
        is_unset = self._time.quality == CLOCK_UNSET
        is_answer = False
        if command.kind == RELEASE:
            number = command.argument
            if number and number != posture.lockdown:
                raise Refused(TOO_LATE)
            # One that names the lockdown it ends cannot be from before it; nor can one with a
            # higher counter than the command that began it.
            is_answer = bool(number) or posture.ordered_by == issuer_id
        if is_unset and not command.only_closes and not is_answer:
            raise Refused(NO_CLOCK)
        if posture.current == DISABLED and command.kind in (UNLOCK, HOLD_OPEN):
            raise Refused(DOOR_IS_DISABLED)
        if command.kind == HOLD_OPEN:
            if posture.current == LOCKDOWN:
                raise Refused(LOCKED_DOWN)
            left_s = command.argument - self._time.now_s()
            if left_s <= 0:
                raise Refused(TOO_LATE)
            if left_s > _LONGEST_HOLD_S:
                raise Refused(TOO_LONG)

    def _bound_s(self, issuer_id: bytes) -> int:
        """Return what the clock says, or when the issuer's list was made where that is later."""
        allowlist = self.shelf.in_force(ALLOWLIST_TYPE, issuer_id)
        issued_s = 0 if allowlist is None else allowlist.header.issued_s
        return max(self._time.now_s(), issued_s)

    def ring_object(self) -> bytes:
        """Return the signed object of the key ring in force."""
        return self._given.require(state.KEY_RING)

    async def adopt(self, ring: KeyRing, data: bytes) -> None:
        """Believe by another key ring, verified by its predecessor; durable when it returns.

        Raises Refused(OLD_VERSION) where another carrier brought a newer one meanwhile.
        """
        before = self.shelf.ring

        def data_then() -> bytes:
            if self.shelf.ring is not before:
                raise Refused(OLD_VERSION)
            return data

        await self._given.commit({state.KEY_RING: data_then}, self._gate)
        await self.shelf.adopt(ring, self._gate)

    # Taps

    def decide(self, badge: Badge) -> Decision:
        """Decide one tap: about 1.5 ms on an RP2040. Never waits, never writes."""
        badge_id = blind(self._site_key, badge.identity)
        if badge.has_random_uid:
            return Decision(RANDOM_UID, badge_id, None)
        now_s = self._time.now_s()
        quality = self._time.quality
        posture = self.posture.current
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
            entry.hours = allowlist.hours(entry.level, now_s, quality != CLOCK_UNSET)
            reason = decide(entry, badge.is_authenticated, posture, bound_s, quality)
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
            is_whole = await allowlist.is_whole(self._pause)
            # A list that was replaced meanwhile is nobody's concern.
            if not is_whole and allowlist in self.shelf.lists:
                self.shelf.drop(allowlist)
                failed.append(allowlist.issuer)
        return failed
