"""A trial: what a door would make of a signed object, asked of the door's own code in memory."""

import hashlib
import struct

from doorward import config, state
from doorward.access.command import MAX_GROUP
from doorward.access.control import SITE_KEY_BYTES, Access
from doorward.access.intake import Intake
from doorward.access.posture import ORDERED, POSTURE_VALUE
from doorward.access.shelf import Address
from doorward.access.takers import Accepted
from doorward.hal.roles import (
    PROVISION_SLOT_BYTES,
    SECTOR_BYTES,
    STATE_SLOT_BYTES,
    FlashRegion,
)
from doorward.trust import objects
from doorward.trust.keyring import KeyRing
from doorward.trust.primitives import no_pause, run_through
from doorward.values import CLOCK_SYNCED, NORMAL, WRONG_TYPE, Refused
from doorward.walltime import WallTime


def take(
    data: bytes,
    object_type: int,
    ring: KeyRing,
    address: Address,
    now_s: int,
    lockdown: int = 0,
) -> Accepted:
    """Return what came in force at a door that has nothing yet but `ring`. Raises Refused.

    object_type: the only one that is wanted here. now_s: the door's clock, which is synced.
    lockdown: number of the lockdown that the door is in, 0 = none.
    """
    if objects.parse_header(data).type != object_type:
        raise Refused(WRONG_TYPE)
    gate = _NoGate()
    given = state.Snapshots(_MemoryFlash(2 * PROVISION_SLOT_BYTES), PROVISION_SLOT_BYTES)
    provision = {state.KEY_RING: _as_given(ring), state.SITE_KEY: bytes(SITE_KEY_BYTES)}
    run_through(given.commit(provision, gate))
    kept = state.Snapshots(_MemoryFlash(2 * SECTOR_BYTES), STATE_SLOT_BYTES)
    if lockdown:
        posture = struct.pack(POSTURE_VALUE, NORMAL, ORDERED, 0, bytes(8), lockdown)
        run_through(kept.commit({state.POSTURE: posture}, gate))
    # Twice the object: a door keeps room for what other issuers may send.
    room = _MemoryFlash(2 * (len(data) // SECTOR_BYTES + 1) * SECTOR_BYTES)
    time = WallTime(_NoTicks(), now_s, CLOCK_SYNCED)
    groups = [n for n in range(1, MAX_GROUP + 1) if address.groups >> (n - 1) & 1]
    settings = config.Config({"site": address.site, "door": address.door, "groups": groups})
    access = Access(room, given, kept, settings, time, _NoTicks(), gate)
    # Its own intake would let other tasks run between slices, and here are none.
    intake = Intake(access.shelf, gate, no_pause, access)

    async def all_of_it() -> Accepted:
        intake.begin(len(data))
        await intake.feed(data)
        return await intake.finish()

    return run_through(all_of_it())


def _as_given(ring: KeyRing) -> bytes:
    """Return a ring as a door reads it at its start: verified long ago, its signatures unseen."""
    body = ring.pack()
    header = objects.Header()
    header.type = objects.KEY_RING_TYPE
    header.site = ring.site
    header.version = ring.version
    header.body_bytes = len(body)
    header.body_hash = hashlib.sha256(body).digest()
    return header.pack() + objects.pack_signature(ring.roots[0].key_id, b"\x00") + body


class _MemoryFlash(FlashRegion):
    """Flash for one object: nothing in it is ever programmed twice."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._data = bytearray(b"\xff" * size_bytes)

    def read_into(self, offset: int, buf: bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        buf[:] = self._data[offset : offset + len(buf)]

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        self._data[offset : offset + len(buf)] = buf

    def erase(self, offset: int) -> None:
        self.check_range(offset, SECTOR_BYTES)
        self._data[offset : offset + SECTOR_BYTES] = b"\xff" * SECTOR_BYTES


class _NoGate:
    """Memory does not stall anybody: run at once."""

    async def run(self, call, *args):
        return call(*args)


class _NoTicks:
    """In a trial no time goes by."""

    def ticks_ms(self) -> int:
        return 0

    def ticks_diff(self, later: int, earlier: int) -> int:
        return later - earlier
