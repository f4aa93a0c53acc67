"""Small durable state: whole snapshots appended to raw flash, the newest whole one wins.

A snapshot holds all tagged values at once, so several change together or not at all, whatever
instant the power goes. Layout: docs/formats.md, "State".
"""

import asyncio
import struct
from binascii import crc32

from . import const
from .hal.roles import SECTOR_BYTES, FlashFault, FlashRegion
from .values import DoorwardError

_MAGIC = const(0x5344)  # "DS"
_HEADER = "<HHI"  # magic, payload bytes, sequence
_HEADER_BYTES = const(8)
_CRC_BYTES = const(4)
_TRIES = const(3)

# Tags of the two stores. A tag once given keeps its meaning.
CONFIG = 1  # provision: configuration, JSON text
KEY_RING = 2  # provision: signed key ring
SITE_KEY = 3  # provision: 32 bytes, blinds badge identities
JOURNAL_KEY = 4  # provision: 32 bytes, chains the journal's first sector; gone once that has it
UPLINK_KEY = 5  # provision: TLS pre-shared key
GOOD_CONFIG = 6  # provision: the last configuration that a door ran with
JOURNAL_ID = 7  # provision: 8 bytes, names the journal
BOOT_COUNT = 16  # state: u32
POSTURE = 17  # state: access.posture
LISTS = 19  # state: which list lies where, access.shelf
FLOORS = 20  # state: lowest version still accepted by issuer, access.shelf
ACKNOWLEDGED = 21  # state: journal id and u32, the highest sequence of it that the server has
RESTART = 22  # state: why the board restarted itself, supervisor; empty once told


class StateFull(DoorwardError):
    """The values together do not fit into one snapshot."""


class NotProvisioned(DoorwardError):
    """A value without which there is no door was never given to this board."""


class Snapshots:
    """The values of one flash region, by tag.

    `commit`, `commit_now` and `forget` are the only writers. Slots are used in turn; the sector that a new
    snapshot needs is erased while the newest one lies in another, hence at least two slots in
    different sectors.
    """

    def __init__(self, region: FlashRegion, slot_bytes: int) -> None:
        """slot_bytes: 256 to half the region; divides a sector, or is a multiple of one."""
        self._region = region
        self._slot_bytes = slot_bytes
        self._slots = region.size_bytes // slot_bytes
        self._values: dict[int, bytes] = {}
        self._sequence = 0
        self._next_slot = 0
        self._newest_slot = 0
        # A commit that waits for an erase has chosen its slot: the next one queues behind it.
        self._turn = asyncio.Lock()
        self._recover()

    def get(self, tag: int) -> bytes | None:
        """Return the value of `tag`, or None."""
        return self._values.get(tag)

    def require(self, tag: int) -> bytes:
        """Return the value of `tag`. Raises NotProvisioned: no key is better than an empty one."""
        value = self._values.get(tag)
        if not value:
            raise NotProvisioned("provision: no value %d; provision this board first" % tag)
        return value

    def get_u32(self, tag: int, default: int = 0) -> int:
        """Return the value of `tag` as a number, or `default`."""
        value = self._values.get(tag)
        return default if value is None else int.from_bytes(value, "little")

    async def commit(self, changes: dict, gate) -> None:
        """Make `changes` (tag -> value of at most 65,535 bytes) durable, all or none.

        None takes a value away. A value may be a callable that returns it: it is asked once nothing is waited for any more,
        and may raise to call the commit off. gate: quiet.Gate that an erase waits for.
        Raises StateFull, FlashFault; then nothing changed.
        """
        async with self._turn:
            await self._commit(changes, gate)

    async def forget(self, tag: int, gate) -> None:
        """Take a secret away, and erase every slot that may still show it.

        For a region whose slots are whole sectors. Until the erasing is done an empty value stands
        in its place; where the power goes before that, this is to be called again. Raises
        FlashFault.
        """
        async with self._turn:
            if self._values.get(tag):
                await self._commit({tag: b""}, gate)
            if tag not in self._values:
                return
            newest = self._newest_slot * self._slot_bytes
            for sector in range(0, self._slots * self._slot_bytes, SECTOR_BYTES):
                is_spent = not newest <= sector < newest + self._slot_bytes
                if is_spent and not self._region.is_blank(sector, SECTOR_BYTES):
                    await gate.run(self._region.erase, sector)
            await self._commit({tag: None}, gate)

    async def _commit(self, changes: dict, gate) -> None:
        """Do as `commit` does, for whoever has the turn."""
        for _ in range(_TRIES):
            for sector in self._due_sectors():
                await gate.run(self._erase_due, sector)
            if self._write(changes):
                return
        raise FlashFault("state: the flash does not keep what is written")

    def commit_now(self, changes: dict[int, bytes]) -> None:
        """Like `commit`, for a board about to restart: asks for no quiet, and goes before a commit
        that waits for some. Takes 45 ms more where a sector is due, 400 ms at most.

        For a region with several slots in a sector, or before anything else commits.
        """
        for _ in range(_TRIES):
            for sector in self._due_sectors():
                self._erase_due(sector)
            if self._write(changes):
                return
        raise FlashFault("state: the flash does not keep what is written")

    def _due_sectors(self) -> list[int]:
        """Return the offsets of the sectors to erase before the next slot is written.

        A sector is erased when its first slot is due; a torn write inside it is stepped over.
        """
        offset = self._next_slot * self._slot_bytes
        if offset % SECTOR_BYTES:
            return []
        sectors = range(offset, offset + self._slot_bytes, SECTOR_BYTES)
        return [sector for sector in sectors if not self._region.is_blank(sector, SECTOR_BYTES)]

    def _erase_due(self, sector: int) -> None:
        """Erase a sector, unless `commit_now` did so, and wrote there, while this one waited."""
        if sector in self._due_sectors():
            self._region.erase(sector)

    def _write(self, changes: dict) -> bool:
        """Write the next slot and read it back. False where a bit did not take."""
        values = dict(self._values)
        for tag, value in changes.items():
            if value is None:
                values.pop(tag, None)
            else:
                values[tag] = value if isinstance(value, bytes) else value()
        payload = b"".join(
            struct.pack("<BH", tag, len(value)) + value for tag, value in sorted(values.items())
        )
        if _HEADER_BYTES + len(payload) + _CRC_BYTES > self._slot_bytes:
            raise StateFull("state: more than one snapshot holds")
        sequence = self._sequence + 1
        snapshot = struct.pack(_HEADER, _MAGIC, len(payload), sequence) + payload
        snapshot += struct.pack("<I", crc32(snapshot) & 0xFFFFFFFF)
        slot = self._next_slot
        self._next_slot = (slot + 1) % self._slots
        self._region.write(slot * self._slot_bytes, snapshot)
        # Whole or not, that number is used up: nothing may ever pass for it.
        self._sequence = sequence
        if self._read(slot) != (sequence, values):
            return False
        self._values = values
        self._newest_slot = slot
        return True

    def _recover(self) -> None:
        newest = -1
        for slot in range(self._slots):
            found = self._read(slot)
            if found is not None and (newest < 0 or found[0] > self._sequence):
                newest = slot
                self._sequence, self._values = found
        if newest < 0:
            return
        self._newest_slot = newest
        self._next_slot = (newest + 1) % self._slots
        # Whatever a cut left half-written after the newest one is not blank: go past it.
        while self._next_slot * self._slot_bytes % SECTOR_BYTES and not self._region.is_blank(
            self._next_slot * self._slot_bytes, self._slot_bytes
        ):
            self._next_slot = (self._next_slot + 1) % self._slots

    def _read(self, slot: int) -> tuple[int, dict[int, bytes]] | None:
        offset = slot * self._slot_bytes
        head = bytearray(_HEADER_BYTES)
        self._region.read_into(offset, head)
        magic, length, sequence = struct.unpack(_HEADER, head)
        if magic != _MAGIC or _HEADER_BYTES + length + _CRC_BYTES > self._slot_bytes:
            return None
        rest = bytearray(length + _CRC_BYTES)
        self._region.read_into(offset + _HEADER_BYTES, rest)
        payload = bytes(rest[:length])
        if crc32(bytes(head) + payload) & 0xFFFFFFFF != struct.unpack_from("<I", rest, length)[0]:
            return None
        values = {}
        at = 0
        while at < length:
            tag, size = struct.unpack_from("<BH", payload, at)
            at += 3
            values[tag] = payload[at : at + size]
            at += size
        return sequence, values
