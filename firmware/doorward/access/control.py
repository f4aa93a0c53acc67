"""Access: what the door holds, asked about one badge."""

import asyncio
import struct

from .. import const, state
from ..hal.roles import FlashRegion
from ..trust.keyring import KeyRing
from ..trust.primitives import HmacKey
from ..values import (
    BADGE_ID_BYTES,
    LOCKDOWN,
    NORMAL,
    POSTURES,
    RANDOM_UID,
    UNKNOWN_BADGE,
    Badge,
    Decision,
    Entry,
)
from ..walltime import WallTime
from .decide import decide
from .intake import Intake
from .shelf import Shelf

SITE_KEY_BYTES = const(32)


def blind(site_key: HmacKey, identity: bytes | bytearray) -> bytes:
    """Return the blinded badge identity: HMAC-SHA256 of length and UID, truncated.

    identity: Badge.identity, 11 bytes. The UID itself is in no list and in no journal.
    """
    return site_key.tag(identity)[:BADGE_ID_BYTES]


class Access:
    """Decides taps from the lists in force, the posture and the time.

    Attributes:
        shelf: the lists in force.
        intake: takes new ones.
        posture: NORMAL, UNLOCKED, LOCKDOWN or DISABLED; survives a restart.
    """

    def __init__(
        self,
        region: FlashRegion,
        snapshots: state.Snapshots,
        ring: KeyRing,
        site_key: bytes,
        site: str,
        time: WallTime,
        gate,
    ) -> None:
        """region: where lists lie. site_key: SITE_KEY_BYTES. site: the lists' site."""
        self.shelf = Shelf(region, snapshots, ring)
        self.intake = Intake(self.shelf, site, gate, _pause)
        self._gate = gate
        self._snapshots = snapshots
        self._site_key = HmacKey(site_key)
        self._time = time
        self._posture_changed = asyncio.Event()
        stored = (snapshots.get(state.POSTURE) or b"\x00")[0]
        # A value from a later firmware is not understood; the closed posture is the safe reading.
        self.posture = stored if stored < len(POSTURES) else LOCKDOWN

    @property
    def is_locked_down(self) -> bool:
        return self.posture == LOCKDOWN

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

    def set_posture(self, posture: int) -> bool:
        """Take on a posture, in force at once; `keep_posture` makes it durable.

        False where it was in force already.
        """
        if posture == self.posture:
            return False
        self.posture = posture
        self._posture_changed.set()
        return True

    def lockdown(self, is_on: bool) -> bool:
        """Follow the lockdown switch. Releasing it does not touch a posture set by other means."""
        if is_on:
            return self.set_posture(LOCKDOWN)
        if self.posture == LOCKDOWN:
            return self.set_posture(NORMAL)
        return False

    async def keep_posture(self) -> None:
        """Write postures to flash as they change. Critical. Apart from whoever changes them: an
        erase may wait long for quiet, and an order must not wait with it."""
        while True:
            await self._posture_changed.wait()
            self._posture_changed.clear()
            posture = struct.pack("B", self.posture)
            if posture != self._snapshots.get(state.POSTURE):
                await self._snapshots.commit({state.POSTURE: posture}, self._gate)

    async def check_lists(self) -> list:
        """Hash every list in force against its header; drop and return the issuers that fail."""
        failed = []
        for allowlist in list(self.shelf.lists):
            is_whole = await allowlist.is_whole(_pause)
            # A list that was replaced meanwhile is nobody's concern.
            if not is_whole and allowlist in self.shelf.lists:
                self.shelf.drop(allowlist)
                failed.append(allowlist.issuer)
        return failed


async def _pause() -> None:
    await asyncio.sleep_ms(0)
