"""The journal on flash: a ring of sectors, records kept until the server has them.

In front of it a RAM ring, so that noting an event never meets flash. Behind it the uplink and the
console, which see durable records only. Layout: docs/formats.md, "Journal".
"""

import asyncio
import struct
from binascii import crc32

from .. import const, state
from ..hal.roles import SECTOR_BYTES, FlashRegion
from ..trust.primitives import HmacKey, is_equal
from ..values import RECORDS_DROPPED, RECORDS_OVERWRITTEN, Event
from ..walltime import WallTime
from . import record as records
from .record import FIRST_TAG, RECORD_BYTES, TAG_BYTES, Record

RAM_EVENTS = const(64)

_SLOTS = const(64)  # of RECORD_BYTES in a sector; the first is the sector's header
_MAGIC = const(0x4A57)  # "WJ"
_HEADER = "<HHII16s"  # magic, reserved, sector sequence, first record's sequence, tag before it
_HEADER_BYTES = const(28)
# Sectors kept erased ahead of the one being written.
_SPARE = const(2)
# The acknowledged position is worth a flash write only now and then: after a restart what was
# acknowledged since is sent again, and the collector knows it already.
_PERSIST_EVERY = const(64)
_PERSIST_AFTER_MS = const(30_000)
_TEND_MS = const(1000)


def _nobody() -> None:
    """Nobody watches over this task."""


class Journal:
    """Notes events, keeps records, hands them to whoever delivers them.

    Attributes:
        next_sequence: sequence of the next record.
        acknowledged: highest sequence the server has confirmed.
        refused_acknowledgements: acknowledgements whose tag was not this journal's.
    """

    def __init__(
        self,
        region: FlashRegion,
        snapshots: state.Snapshots,
        key: bytes,
        time: WallTime,
        ticks,
        gate,
        boot: int,
    ) -> None:
        """key: 32 bytes that chain the records. boot: number of this start."""
        self._region = region
        self._snapshots = snapshots
        self._key = HmacKey(key)
        self._time = time
        self._ticks = ticks
        self._gate = gate
        self._boot = boot
        self._sectors = region.size_bytes // SECTOR_BYTES
        # First record's sequence by sector, 0 where the sector holds none.
        self._first = [0] * self._sectors
        self._ram: list[Event] = []
        self._dropped = 0
        self._noted = asyncio.Event()
        # A dying board flushes too, perhaps while the journal's own task waits for an erase.
        self._turn = asyncio.Lock()
        self._is_blank_ahead = False
        self.next_sequence = 1
        self._tag = FIRST_TAG
        self._sector = self._sectors - 1
        self._slot = _SLOTS
        self._sector_sequence = 0
        self._recover()
        self.acknowledged = min(snapshots.get_u32(state.ACKNOWLEDGED), self.next_sequence - 1)
        self._persisted = self.acknowledged
        self._persist_ms = ticks.ticks_ms()
        self.refused_acknowledgements = 0

    def note(self, event: Event) -> None:
        """Take an event. Never waits and never touches flash; with the RAM ring full it is counted
        and lost, and the loss is a record of its own."""
        if len(self._ram) >= RAM_EVENTS:
            self._dropped += 1
        else:
            self._ram.append(event)
        self._noted.set()

    @property
    def oldest_sequence(self) -> int:
        """Sequence of the oldest record still on flash."""
        held = [first for first in self._first if first]
        return min(held) if held else self.next_sequence

    @property
    def pending(self) -> int:
        """Records on flash that the server has not confirmed."""
        return self.next_sequence - 1 - max(self.acknowledged, self.oldest_sequence - 1)

    @property
    def capacity(self) -> int:
        return (self._sectors - _SPARE) * (_SLOTS - 1)

    async def run(self, beat=_nobody) -> None:
        """Write noted events to flash. Critical; beats every second, but for the time that it waits
        at the quiet gate: only for room, which `tend` makes ahead."""
        while True:
            beat()
            await self.flush()
            try:
                await asyncio.wait_for_ms(self._noted.wait(), _TEND_MS)
            except asyncio.TimeoutError:
                pass

    async def tend(self, beat=_nobody) -> None:
        """Erase ahead and keep the acknowledged position. Critical; beats every second, but for the
        time that it waits at the quiet gate. Apart from `run` so that no event waits with it."""
        while True:
            beat()
            await self._erase_ahead(beat)
            await self._persist_acknowledged()
            await asyncio.sleep_ms(_TEND_MS)

    async def flush(self) -> None:
        """Make every noted event durable."""
        async with self._turn:
            self._noted.clear()
            while self._ram:
                await self._append(self._ram[0])
                self._ram.pop(0)
            if self._dropped:
                lost = self._dropped
                self._dropped = 0
                await self._append(Event(RECORDS_DROPPED, self._ticks.ticks_ms(), detail=lost))

    async def read(self, sequence: int, most: int) -> bytes:
        """Return up to `most` whole records from `sequence` on, or b"" where there are none.

        Records are numbered without gaps, so the first one's number tells the rest. What was
        overwritten meanwhile is passed over: the first record may then have a higher number.
        """
        found = b""
        sequence = max(sequence, self.oldest_sequence)
        while sequence < self.next_sequence and len(found) < most * RECORD_BYTES:
            data = self._find(sequence)
            if data is not None:
                found += data
            elif found:
                break
            sequence += 1
            await asyncio.sleep_ms(0)
        return found

    def acknowledge(self, sequence: int, tag: bytes) -> bool:
        """The server has everything up to `sequence`, whose record has `tag`.

        False, and nothing changes, where it is not a record of this journal.
        """
        if sequence <= self.acknowledged:
            return True
        data = self._find(sequence) if sequence < self.next_sequence else None
        if data is None or not is_equal(records.unpack(data).tag, tag):
            self.refused_acknowledgements += 1
            return False
        self.acknowledged = sequence
        return True

    async def _append(self, event: Event) -> None:
        if self._slot >= _SLOTS:
            await self._begin_sector()
        quality = self._time.quality
        record = Record(
            event, self.next_sequence, self._boot, self._time.at_s(event.ticks_ms), quality
        )
        packed = record.pack(self._key, self._tag)
        offset = self._sector * SECTOR_BYTES + self._slot * RECORD_BYTES
        # The slot is spent before it is written: after a fault nothing is programmed twice.
        self._slot += 1
        self._region.program(offset, packed)
        self._tag = record.tag
        self.next_sequence += 1

    async def _begin_sector(self) -> None:
        sector = (self._sector + 1) % self._sectors
        await self._make_blank(sector)
        header = struct.pack(
            _HEADER, _MAGIC, 0, self._sector_sequence + 1, self.next_sequence, self._tag
        )
        header += struct.pack("<I", crc32(header) & 0xFFFFFFFF)
        self._region.program(sector * SECTOR_BYTES, header)
        self._sector = sector
        self._sector_sequence += 1
        self._is_blank_ahead = False
        self._first[sector] = self.next_sequence
        self._slot = 1

    async def _erase_ahead(self, beat) -> None:
        if self._is_blank_ahead:
            return
        current = self._sector
        for ahead in range(1, _SPARE + 1):
            beat()
            await self._make_blank((current + ahead) % self._sectors)
        # The ring may have moved on while this waited; then there is one more to do.
        self._is_blank_ahead = current == self._sector

    async def _make_blank(self, sector: int) -> None:
        if self._is_blank(sector):
            return
        await self._gate.run(self._erase, sector)

    def _erase(self, sector: int) -> None:
        """Erase a sector, unless whoever else waited for the same has put it to use meanwhile."""
        if sector == self._sector or self._is_blank(sector):
            return
        self._region.erase(sector * SECTOR_BYTES)
        first = self._first[sector]
        self._first[sector] = 0
        lost = self.oldest_sequence - 1 - max(first - 1, self.acknowledged)
        if first and lost > 0:
            self.note(Event(RECORDS_OVERWRITTEN, self._ticks.ticks_ms(), detail=lost))

    def _is_blank(self, sector: int) -> bool:
        return self._region.is_blank(sector * SECTOR_BYTES, SECTOR_BYTES)

    async def _persist_acknowledged(self) -> None:
        behind = self.acknowledged - self._persisted
        age_ms = self._ticks.ticks_diff(self._ticks.ticks_ms(), self._persist_ms)
        if behind >= _PERSIST_EVERY or (behind and age_ms >= _PERSIST_AFTER_MS):
            acknowledged = self.acknowledged
            self._persist_ms = self._ticks.ticks_ms()
            await self._snapshots.commit(
                {state.ACKNOWLEDGED: struct.pack("<I", acknowledged)}, self._gate
            )
            self._persisted = acknowledged

    def _find(self, sequence: int) -> bytes | None:
        """Return the record with `sequence`, or None."""
        best = -1
        for sector in range(self._sectors):
            first = self._first[sector]
            if first and first <= sequence and (best < 0 or first > self._first[best]):
                best = sector
        if best < 0:
            return None
        data = bytearray(RECORD_BYTES)
        # Torn slots only push a record further back, never forward.
        for slot in range(1 + sequence - self._first[best], _SLOTS):
            self._region.read_into(best * SECTOR_BYTES + slot * RECORD_BYTES, data)
            found = records.unpack(data)
            if found is not None and found.sequence == sequence:
                return bytes(data)
        return None

    def _recover(self) -> None:
        """Find the newest sector by one scan of headers, and its end by one scan of its slots."""
        head = bytearray(_HEADER_BYTES + 4)
        newest_tag = FIRST_TAG
        for sector in range(self._sectors):
            self._region.read_into(sector * SECTOR_BYTES, head)
            magic, _, sector_sequence, first, tag = struct.unpack_from(_HEADER, head, 0)
            (crc,) = struct.unpack_from("<I", head, _HEADER_BYTES)
            if magic != _MAGIC or crc32(bytes(head[:_HEADER_BYTES])) & 0xFFFFFFFF != crc:
                continue
            self._first[sector] = first
            if sector_sequence > self._sector_sequence:
                self._sector_sequence = sector_sequence
                self._sector = sector
                self.next_sequence = first
                newest_tag = tag
        if not self._sector_sequence:
            return
        self._tag = newest_tag
        self._slot = 1
        data = bytearray(RECORD_BYTES)
        for slot in range(1, _SLOTS):
            self._region.read_into(self._sector * SECTOR_BYTES + slot * RECORD_BYTES, data)
            found = records.unpack(data)
            if found is not None:
                self._tag = found.tag
                self.next_sequence = found.sequence + 1
                self._slot = slot + 1
            elif bytes(data) != b"\xff" * RECORD_BYTES:
                self._slot = slot + 1


def last_of(batch: bytes) -> tuple[int, bytes]:
    """Return (sequence, tag) of the last record of a batch."""
    record = records.unpack(batch[-RECORD_BYTES:])
    return record.sequence, record.tag[:TAG_BYTES]
