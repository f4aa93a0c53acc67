"""The journal on flash: a ring of sectors, records kept until the server has them.

In front of it a RAM ring, so that noting an event never meets flash. Behind it the uplink and the
console, which see durable records only. Each sector has a key of its own, made from the one before
it, and no older one is kept. Layout: docs/formats.md, "Journal".
"""

import asyncio
import struct
from binascii import crc32

from .. import const, state
from ..hal.roles import SECTOR_BYTES, FlashFault, FlashRegion
from ..trust.primitives import HmacKey, is_equal
from ..values import JOURNAL_KEY_LOST, RECORDS_DROPPED, RECORDS_OVERWRITTEN, Event
from ..walltime import WallTime
from . import record as records
from .record import (
    FIRST_TAG,
    JOURNAL_ID_BYTES,
    KEY_BYTES,
    RECORD_BYTES,
    SECTOR_RECORDS,
    TAG_BYTES,
    Record,
)

RAM_EVENTS = const(64)

_SLOTS = const(64)  # of RECORD_BYTES in a sector; the first is the sector's header
_MAGIC = const(0x4A57)  # "WJ"
# Magic, beginning of the journal's id, sector's sequence, first record's sequence, what that one is
# chained to.
_HEADER = "<H2sII16s"
_HEADER_BYTES = const(28)
_MARK_BYTES = const(2)
_KEY_AT = const(32)
_NO_KEY = bytes(32)
_VOID = bytes(64)
_BLANK = b"\xff" * 64
_ACKNOWLEDGED = "<8sI"  # journal id, sequence
_ACKNOWLEDGED_BYTES = const(12)
# Sectors kept erased ahead of the one being written.
_SPARE = const(2)
# Records looked at in one slice of a read: 3 ms on an RP2040.
_SLICE_RECORDS = const(8)
# The acknowledged position is worth a flash write only now and then: after a restart what was
# acknowledged since is sent again, and the collector knows it already. Each write costs the two
# sectors of the state store a quarter of an erase.
_PERSIST_EVERY = const(64)
_PERSIST_AFTER_MS = const(3_600_000)
_TEND_MS = const(1000)
_KEEPS_NOTHING = "journal: the flash does not keep what is written"
_LOOK_MS = const(100)


def _nobody() -> None:
    """Nobody watches over this task."""


class Journal:
    """Notes events, keeps records, hands them to whoever delivers them.

    Attributes:
        journal_id: 8 bytes; sequences and keys are counted anew under another one.
        next_sequence: sequence of the next record.
        acknowledged: highest sequence the server has confirmed.
        refused_acknowledgements: acknowledgements whose tag was not this journal's.
    """

    def __init__(
        self,
        region: FlashRegion,
        given: state.Snapshots,
        snapshots: state.Snapshots,
        time: WallTime,
        ticks,
        gate,
        boot: int,
        random_bytes,
    ) -> None:
        """given: the provision store, with journal id and first key. boot: number of this start.

        random_bytes: callable, draws a key where none is left. Programs flash where a power cut
        left something to finish; never erases the ring.
        """
        self._region = region
        self._given = given
        self._snapshots = snapshots
        self._time = time
        self._ticks = ticks
        self._gate = gate
        self._boot = boot
        self._sectors = region.size_bytes // SECTOR_BYTES
        self._ram: list[Event] = []
        self._dropped = 0
        # First record lost, first one left, tag before that; noted with the next flush.
        self._overwritten: tuple[int, int, bytes] | None = None
        self._noted = asyncio.Event()
        # A dying board flushes too, perhaps while the journal's own task waits for an erase.
        self._turn = asyncio.Lock()
        self._is_blank_ahead = False
        self._read_back = bytearray(RECORD_BYTES)
        self._key = HmacKey(_NO_KEY)
        self._next_key = _NO_KEY
        self._forget_ring()
        self.journal_id = given.get(state.JOURNAL_ID) or b""
        self._recover(random_bytes)
        self.acknowledged = min(self._persisted_sequence(), self.next_sequence - 1)
        self._persisted = self.acknowledged
        self._persist_ms = ticks.ticks_ms()
        self.refused_acknowledgements = 0
        # An erase may have been the last thing before a power cut, and nobody noted what it cost.
        self._note_overwritten()

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
        oldest = self.next_sequence
        for first in self._first:
            if first and first < oldest:
                oldest = first
        return oldest

    @property
    def pending(self) -> int:
        """Records on flash that the server has not confirmed."""
        return self.next_sequence - 1 - max(self.acknowledged, self.oldest_sequence - 1)

    @property
    def capacity(self) -> int:
        """Records that are kept at least, with a sector just begun and those ahead of it erased."""
        return (self._sectors - _SPARE - 1) * SECTOR_RECORDS

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

    async def hand_over_key(self) -> None:
        """Once after the start: when the ring has its first key, the provision store forgets it."""
        while not self._sector_sequence:
            await asyncio.sleep_ms(_LOOK_MS)
        await self._given.forget(state.JOURNAL_KEY, self._gate)

    async def flush(self) -> None:
        """Make every noted event durable."""
        async with self._turn:
            self._noted.clear()
            while self._ram:
                await self._append(self._ram[0])
                self._ram.pop(0)
                await asyncio.sleep_ms(0)
            if self._dropped:
                lost = self._dropped
                self._dropped = 0
                await self._append(Event(RECORDS_DROPPED, self._ticks.ticks_ms(), detail=lost))
            if self._overwritten is not None:
                first, oldest, tag = self._overwritten
                self._overwritten = None
                event = Event(RECORDS_OVERWRITTEN, self._ticks.ticks_ms(), detail=oldest - first)
                await self._append(event, tag)

    async def read(self, sequence: int, most: int) -> bytes:
        """Return up to `most` whole records from `sequence` on, or b"" where there are none.

        Records are numbered without gaps, so the first one's number tells the rest. What was
        overwritten meanwhile is passed over: the first record may then have a higher number.
        """
        if sequence >= self.next_sequence:
            return b""
        found = memoryview(bytearray(most * RECORD_BYTES))
        count = 0
        sequence = max(sequence, self.oldest_sequence)
        sector = self._sector_of(sequence)
        while sector >= 0 and count < most:
            first = self._first[sector]
            # Torn slots only push a record further back, never forward.
            slot = 1 + max(0, sequence - first)
            while slot < _SLOTS and count < most and sequence < self.next_sequence:
                piece = found[count * RECORD_BYTES : (count + 1) * RECORD_BYTES]
                self._region.read_into(sector * SECTOR_BYTES + slot * RECORD_BYTES, piece)
                here = records.sequence_of(piece)
                if here > sequence and count:
                    return bytes(found[: count * RECORD_BYTES])
                if here >= sequence:
                    count += 1
                    sequence = here + 1
                slot += 1
                if slot % _SLICE_RECORDS == 0:
                    await asyncio.sleep_ms(0)
                    if self._first[sector] != first:
                        break  # it is being erased; what was read of it is whole
            sector = self._sector_after(first) if sequence < self.next_sequence else -1
        return bytes(found[: count * RECORD_BYTES])

    def tag_before(self, sequence: int) -> bytes | None:
        """Return what the record `sequence` is chained to, or None where flash no longer has it."""
        sector = self._sector_of(sequence)
        if sector >= 0 and self._first[sector] == sequence:
            return self._tag_at_head(sector)
        data = self._find(sequence - 1)
        return None if data is None else records.tag_of(data)

    def acknowledge(self, sequence: int, tag: bytes) -> bool:
        """The server has everything up to `sequence`, whose record has `tag`.

        False, and nothing changes, where it is not a record of this journal.
        """
        if sequence <= self.acknowledged:
            return True
        data = self._find(sequence) if sequence < self.next_sequence else None
        if data is None or not is_equal(records.tag_of(data), tag):
            self.refused_acknowledgements += 1
            return False
        self.acknowledged = sequence
        return True

    async def _append(self, event: Event, tag_before: bytes = FIRST_TAG) -> None:
        """Write a record and read it back. Raises FlashFault where no slot takes it."""
        for _ in range(_SLOTS):
            if self._slot >= _SLOTS:
                await self._begin_sector()
                await asyncio.sleep_ms(0)
            quality = self._time.quality
            record = Record(
                event, self.next_sequence, self._boot, self._time.at_s(event.ticks_ms), quality
            )
            record.tag_before = tag_before
            packed = record.pack(self._key, self._tag)
            slot = self._slot
            # The slot is spent before it is written: after a fault nothing is programmed twice.
            self._slot += 1
            if self._program(self._sector * SECTOR_BYTES + slot * RECORD_BYTES, packed):
                self._tag = record.tag
                self.next_sequence += 1
                return
            await asyncio.sleep_ms(0)
        raise FlashFault(_KEEPS_NOTHING)

    async def _begin_sector(self) -> None:
        """Go on in the next sector that takes a header, under the next key, and forget the key of
        the one before it."""
        mark = self.journal_id[:_MARK_BYTES]
        tag = records.closing_tag(self._key, self._tag) if self._sector_sequence else FIRST_TAG
        header = struct.pack(
            _HEADER, _MAGIC, mark, self._sector_sequence + 1, self.next_sequence, tag
        )
        header += struct.pack("<I", crc32(header) & 0xFFFFFFFF)
        sector = self._sector
        for _ in range(self._sectors - 1):
            sector = (sector + 1) % self._sectors
            await self._make_blank(sector)
            # The key goes first: a header that is whole has a key that is whole.
            offset = sector * SECTOR_BYTES
            if self._program(offset + _KEY_AT, self._next_key) and self._program(offset, header):
                break
            self._region.program(offset, _VOID)
            await asyncio.sleep_ms(0)
        else:
            raise FlashFault(_KEEPS_NOTHING)
        if self._sector_sequence:
            self._drop_key(self._sector)
        self._key = HmacKey(self._next_key)
        self._next_key = records.next_key(self._next_key)
        self._tag = tag
        self._sector = sector
        self._sector_sequence += 1
        self._is_blank_ahead = False
        self._first[sector] = self.next_sequence
        self._slot = 1

    def _program(self, offset: int, data: bytes) -> bool:
        """Program `data` and read it back. False where a bit did not take."""
        self._region.program(offset, data)
        there = memoryview(self._read_back)[: len(data)]
        self._region.read_into(offset, there)
        return there == data

    def _drop_key(self, sector: int) -> None:
        self._region.program(sector * SECTOR_BYTES + _KEY_AT, _NO_KEY)

    async def _erase_ahead(self, beat) -> None:
        if self._is_blank_ahead:
            return
        current = self._sector
        for ahead in range(1, _SPARE + 1):
            beat()
            if current == self._sector:
                await self._make_blank((current + ahead) % self._sectors)
        # The ring may have moved on while this waited; then there is one more to do.
        self._is_blank_ahead = current == self._sector

    async def _make_blank(self, sector: int) -> None:
        if self._is_blank(sector):
            return
        wanted_at = self._sector_sequence
        # What is told of the loss after a power cut counts from here.
        await self._persist()
        await self._gate.run(self._erase, sector, wanted_at)

    def _erase(self, sector: int, wanted_at: int) -> None:
        """Erase a sector, unless the ring has moved on since `wanted_at`: whoever else waited for the
        same may have put it to use."""
        if wanted_at != self._sector_sequence or self._is_blank(sector):
            return
        # Nothing that an erase leaves half done may pass for a sector of this ring.
        self._region.program(sector * SECTOR_BYTES, _VOID)
        self._first[sector] = 0
        self._region.erase(sector * SECTOR_BYTES)
        self._note_overwritten()

    def _note_overwritten(self) -> None:
        """Have it recorded, where records are gone that the server has not confirmed."""
        oldest = self.oldest_sequence
        if oldest > self.acknowledged + 1:
            first = self.acknowledged + 1
            if self._overwritten is not None:
                first = self._overwritten[0]
            tag = self._tag_at_head(self._sector_of(oldest))
            self._overwritten = (first, oldest, tag)
            self._noted.set()

    def _is_blank(self, sector: int) -> bool:
        return self._region.is_blank(sector * SECTOR_BYTES, SECTOR_BYTES)

    async def _persist_acknowledged(self) -> None:
        behind = self.acknowledged - self._persisted
        age_ms = self._ticks.ticks_diff(self._ticks.ticks_ms(), self._persist_ms)
        if behind >= _PERSIST_EVERY or age_ms >= _PERSIST_AFTER_MS:
            await self._persist()

    async def _persist(self) -> None:
        """Make the acknowledged position durable, where it moved."""
        acknowledged = self.acknowledged
        if acknowledged == self._persisted:
            return
        self._persist_ms = self._ticks.ticks_ms()
        value = struct.pack(_ACKNOWLEDGED, self.journal_id, acknowledged)
        await self._snapshots.commit({state.ACKNOWLEDGED: value}, self._gate)
        self._persisted = acknowledged

    def _persisted_sequence(self) -> int:
        """Return the acknowledged position that was kept; that of another journal is none."""
        value = self._snapshots.get(state.ACKNOWLEDGED) or b""
        if len(value) != _ACKNOWLEDGED_BYTES:
            return 0
        journal_id, sequence = struct.unpack(_ACKNOWLEDGED, value)
        return sequence if journal_id == self.journal_id else 0

    def _find(self, sequence: int) -> bytearray | None:
        """Return the record with `sequence`, or None."""
        sector = self._sector_of(sequence)
        if sector < 0 or sequence >= self.next_sequence:
            return None
        data = bytearray(RECORD_BYTES)
        for slot in range(1 + sequence - self._first[sector], _SLOTS):
            self._region.read_into(sector * SECTOR_BYTES + slot * RECORD_BYTES, data)
            if records.sequence_of(data) == sequence:
                return data
        return None

    def _sector_of(self, sequence: int) -> int:
        """Return the sector that has `sequence`, if any has: the last to begin at or before it.
        -1: none does."""
        best = -1
        best_first = 0
        for sector in range(self._sectors):
            if best_first < self._first[sector] <= sequence:
                best = sector
                best_first = self._first[sector]
        return best

    def _sector_after(self, sequence: int) -> int:
        """Return the first sector to begin behind `sequence`, -1 where none does."""
        best = -1
        best_first = 0
        for sector in range(self._sectors):
            first = self._first[sector]
            if first > sequence and (best < 0 or first < best_first):
                best = sector
                best_first = first
        return best

    def _tag_at_head(self, sector: int) -> bytes:
        """Return what a sector's first record is chained to."""
        head = bytearray(_HEADER_BYTES)
        self._region.read_into(sector * SECTOR_BYTES, head)
        return bytes(head[_HEADER_BYTES - TAG_BYTES :])

    # Recovery

    def _forget_ring(self) -> None:
        """Know of no sector."""
        # First record's sequence by sector, 0 where the sector holds none.
        self._first = [0] * self._sectors
        self.next_sequence = 1
        self._tag = FIRST_TAG
        self._sector = self._sectors - 1
        self._slot = _SLOTS
        self._sector_sequence = 0

    def _recover(self, random_bytes) -> None:
        """Find the newest sector by one scan of headers, and its end by one scan of its slots."""
        head = self._scan()
        first_key = self._given.get(state.JOURNAL_KEY)
        if first_key and not self._descends(head, first_key):
            # Newly provisioned: what is in the ring is another journal's.
            self._void_ring()
            self._next_key = first_key
        if len(self.journal_id) != JOURNAL_ID_BYTES or not (first_key or self._sector_sequence):
            self._take_new_id(random_bytes)
        if self._sector_sequence:
            self._take_up(head, random_bytes)
        elif not first_key:
            self._lose_key(random_bytes)

    def _scan(self) -> bytes:
        """Look at every header; return the newest one's slot, key and all."""
        head = bytearray(RECORD_BYTES)
        newest = _VOID
        keyed = []
        for sector in range(self._sectors):
            self._region.read_into(sector * SECTOR_BYTES, head)
            magic, _, sector_sequence, first, _ = struct.unpack_from(_HEADER, head, 0)
            (crc,) = struct.unpack_from("<I", head, _HEADER_BYTES)
            if magic != _MAGIC or crc32(bytes(head[:_HEADER_BYTES])) & 0xFFFFFFFF != crc:
                continue
            self._first[sector] = first
            if head[_KEY_AT:] != _NO_KEY:
                keyed.append(sector)
            if sector_sequence > self._sector_sequence:
                self._sector_sequence = sector_sequence
                self._sector = sector
                newest = bytes(head)
        for sector in keyed:
            if sector != self._sector:
                # The power went before the key of a finished sector was gone.
                self._drop_key(sector)
        return newest

    def _descends(self, head: bytes, first_key: bytes) -> bool:
        """Was the ring whose newest header is `head` begun with `first_key`?"""
        _, mark, sector_sequence, _, _ = struct.unpack_from(_HEADER, head, 0)
        # The mark spares a journal of years the way through all its keys.
        if not sector_sequence or mark != self.journal_id[:_MARK_BYTES]:
            return False
        for _ in range(sector_sequence - 1):
            first_key = records.next_key(first_key)
        return first_key == head[_KEY_AT:]

    def _void_ring(self) -> None:
        head = bytearray(RECORD_BYTES)
        for sector in range(self._sectors):
            self._region.read_into(sector * SECTOR_BYTES, head)
            if head != _BLANK:
                self._region.program(sector * SECTOR_BYTES, _VOID)
        self._forget_ring()

    def _take_up(self, head: bytes, random_bytes) -> None:
        """Go on behind the last record of the newest sector."""
        key = head[_KEY_AT:]
        if key != _NO_KEY and self._find_end(head, HmacKey(key)):
            self._key = HmacKey(key)
            self._next_key = records.next_key(key)
            return
        self._find_end(head, None)
        if key == _NO_KEY:
            # A sector came after this one, and its header is lost. No number is given twice.
            self.next_sequence += SECTOR_RECORDS
        self._lose_key(random_bytes)

    def _find_end(self, head: bytes, key: HmacKey | None) -> bool:
        """Find the last record of the newest sector. Without a key no record's tag is looked at.

        False, and nothing is believed, where there are records and the key is not theirs.
        """
        _, _, _, self.next_sequence, self._tag = struct.unpack_from(_HEADER, head, 0)
        self._slot = 1
        foreign = []
        is_proven = False
        damaged = 0
        data = bytearray(RECORD_BYTES)
        for slot in range(1, _SLOTS):
            self._region.read_into(self._sector * SECTOR_BYTES + slot * RECORD_BYTES, data)
            if data == _BLANK:
                continue
            self._slot = slot + 1
            sequence = records.sequence_of(data)
            is_next = sequence == self.next_sequence and (
                key is None or records.follows(data, key, self._tag)
            )
            # A slot may have had a record and have spoiled since. Then nothing here tells what the
            # one behind it is chained to; it stays, and no number is given twice.
            if is_next or self.next_sequence < sequence <= self.next_sequence + damaged:
                self._tag = records.tag_of(data)
                self.next_sequence = sequence + 1
                is_proven = is_proven or is_next
                damaged = 0
            elif sequence:
                foreign.append(slot)
            else:
                damaged += 1
        if foreign and not is_proven:
            return False
        for slot in foreign:
            # Whole, and yet not this journal's: nobody is to read it as one.
            self._region.program(self._sector * SECTOR_BYTES + slot * RECORD_BYTES, _VOID)
        return True

    def _lose_key(self, random_bytes) -> None:
        """Go on in a new sector under a key that nobody else has. The door's work does not stop,
        but from here on the record cannot be verified."""
        self._next_key = random_bytes(KEY_BYTES)
        self._slot = _SLOTS
        self.note(Event(JOURNAL_KEY_LOST, self._ticks.ticks_ms()))

    def _take_new_id(self, random_bytes) -> None:
        """Be another journal, because sequences begin anew that the server may have already."""
        self.journal_id = random_bytes(JOURNAL_ID_BYTES)
        try:
            self._given.commit_now({state.JOURNAL_ID: self.journal_id})
        except FlashFault:
            # A board this far gone delivers its records twice; its door opens nevertheless.
            return


def last_of(batch: bytes) -> tuple[int, bytes]:
    """Return (sequence, tag) of the last record of a batch."""
    last = batch[-RECORD_BYTES:]
    return records.sequence_of(last), records.tag_of(last)
