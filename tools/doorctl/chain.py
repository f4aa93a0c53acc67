"""Verification of a journal away from its door: is every record there, and as the door wrote it?

It begins with the journal's first key, which the door itself no longer has, and goes forward. What
each record is chained to is in docs/formats.md, "Journal".
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from doorward.journal import record as records
from doorward.journal.record import FIRST_TAG, RECORD_BYTES, SECTOR_RECORDS
from doorward.trust.primitives import HmacKey
from doorward.values import JOURNAL_KEY_LOST, RECORDS_DROPPED, RECORDS_OVERWRITTEN

# Sectors without a record, spoiled by power cuts, that may lie between two records.
_EMPTY_SECTORS = 64
# Where records are missing nothing but their number says how many sectors lie between: of so many
# slots one may have been spoiled. Whoever has read the board could use more to say that his key was
# in use long before it was.
_SLOTS_A_SPOILED = 16
# 35 years of 1,000 events a day. A forged number must not have keys made for hours.
_MOST_SECTORS = 200_000
_CODE_AT = 1
_KEY_LOST = (
    "says that the door lost its journal's key: neither it nor anything behind it can be verified; "
    "provision the door anew"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that the door did not write so. sequence: of the first record it is about."""

    sequence: int
    text: str


@dataclass(slots=True)
class Verdict:
    """What was found.

    first, last: sequences, 0 where there is no record; count: of records. faults: by sequence; none
    where every record is as its door wrote it. told: what the door itself says is missing, or lost
    before it became a record, in words; that is no fault.
    """

    first: int = 0
    last: int = 0
    count: int = 0
    faults: list[Fault] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def verify(
    rows: Iterable[tuple[int, bytes]], key: bytes, first: int = 1, tag: bytes = FIRST_TAG
) -> Verdict:
    """Check the records of one journal against its first key.

    rows: (sequence it is kept under, record), in the order in which they are kept. first, tag: the
    record they are to begin with, and what that one is chained to; left out: the journal's first.
    """
    verdict = Verdict()
    kept, rivals = _sort_out_doubles([_Row(place, raw) for place, raw in rows], verdict)
    ordered = sorted(kept, key=lambda row: row.sequence)
    for there, due in zip(kept, ordered):
        if there is not due:
            text = (
                f"record {due.sequence} is out of order: record {there.sequence} is in its place"
            )
            verdict.faults.append(Fault(due.sequence, text))
            break
    walk = _Walk(key, first, tag, verdict)
    for at, row in enumerate(ordered):
        following = ordered[at + 1] if at + 1 < len(ordered) else None
        if not walk.take(row, rivals.get(row.sequence, []), following):
            break
    walk.end()
    if ordered:
        verdict.first, verdict.last = ordered[0].sequence, ordered[-1].sequence
    verdict.count = len(ordered)
    verdict.faults.sort(key=lambda fault: fault.sequence)
    return verdict


class _Row:
    """One record as it is kept.

    Attributes:
        sequence: its own; where it is damaged, the one that it is kept under.
    """

    __slots__ = ("is_whole", "place", "raw", "sequence")

    def __init__(self, place: int, raw: bytes) -> None:
        self.place = place
        self.raw = raw
        sequence = records.sequence_of(raw) if len(raw) == RECORD_BYTES else 0
        self.is_whole = bool(sequence)
        self.sequence = sequence or place

    @property
    def code(self) -> int:
        return self.raw[_CODE_AT]

    @property
    def tag(self) -> bytes:
        return records.tag_of(self.raw)


@dataclass(slots=True)
class _Gap:
    """Records that are not there. after: the one behind them; sectors: in which that may be.

    is_explained: the door said that it overwrote them.
    """

    first: int
    after: _Row
    sectors: range
    is_explained: bool = False

    @property
    def last(self) -> int:
        return self.after.sequence - 1


class _Keys:
    """The keys of a journal's sectors, from 0, made as they are asked for."""

    def __init__(self, first: bytes) -> None:
        self._keys = [first]
        self._macs: dict[int, HmacKey] = {}

    def mac(self, index: int) -> HmacKey:
        while len(self._keys) <= index:
            self._keys.append(records.next_key(self._keys[-1]))
        if index not in self._macs:
            self._macs[index] = HmacKey(self._keys[index])
        return self._macs[index]

    def find(self, row: _Row, tag: bytes, sectors: range) -> int | None:
        """Return in which of `sectors` a record was written behind `tag`, or None."""
        for index in sectors:
            if records.follows(row.raw, self.mac(index), tag):
                return index
        return None

    def follow(self, row: _Row, tag: bytes, index: int) -> int | None:
        """Return in which sector a record was written, whose predecessor has `tag` and is in sector
        `index`; None where it is not the successor of that one."""
        for at in range(index, index + _EMPTY_SECTORS):
            mac = self.mac(at)
            if records.follows(row.raw, mac, tag):
                return at
            tag = records.closing_tag(mac, tag)
        return None


class _Walk:
    """Goes from record to record; knows in which sector it is and what the next is chained to."""

    def __init__(self, key: bytes, first: int, tag: bytes, verdict: Verdict) -> None:
        self._verdict = verdict
        self._keys = _Keys(key)
        self._index = 0
        # None: nobody knows, because the record before it is missing or was forged.
        self._tag: bytes | None = tag
        self._expected = first
        # A part of a journal may begin in any sector.
        self._is_begun = first == 1
        self._gaps: list[_Gap] = []
        # In which the record that is looked at may be.
        self._sectors = range(1)
        # What begins anew behind something missing, and has nothing before it to be checked by: is
        # there at least a record behind it that its door chained to it?
        self._unchecked: dict[int, bool] = {}

    def take(self, row: _Row, rivals: list[_Row], following: _Row | None) -> bool:
        """Go on to the next record. False where nothing behind it can be verified.

        rivals: others of the same number. following: the one behind it.
        """
        self._sectors = self._sectors_for(row)
        if row.sequence > self._expected:
            self._gaps.append(_Gap(self._expected, row, self._sectors))
            self._tag = None
        self._expected = row.sequence + 1
        if rivals:
            self._fault(row.sequence, "is there twice, and both cannot be its door's")
        is_known = self._tag is not None
        for one in (row, *rivals):
            index = self._sector_of(one)
            if index is not None:
                self._go_to(index, one.tag)
                self._read(one)
                return True
        if following is not None and following.sequence != row.sequence + 1:
            following = None
        index = self._sector_by(row, following)
        if is_known or not row.is_whole or (following is not None and index is None):
            if row.is_whole and row.code == JOURNAL_KEY_LOST:
                self._fault(row.sequence, _KEY_LOST)
                return False
            if not row.is_whole:
                self._fault(row.sequence, "was changed: its checksum is wrong")
            elif index is None:
                self._fault(row.sequence, "was forged: no key of this journal made it")
            elif index == self._sectors.start:
                self._fault(row.sequence, "was changed")
            else:
                self._fault(row.sequence, "was changed, or forged with a later key")
        else:
            self._unchecked[row.sequence] = index is not None
        has_tag = index is not None or following is None
        self._go_to(self._index if index is None else index, row.tag if has_tag else None)
        return True

    def end(self) -> None:
        """There is no further record: what is missing and not explained stays so."""
        for gap in self._gaps:
            if not gap.is_explained:
                self._fault(gap.first, _missing(gap))
        explained = {gap.after.sequence for gap in self._gaps if gap.is_explained}
        for sequence, is_linked in sorted(self._unchecked.items()):
            if is_linked or sequence not in explained:
                self._verdict.told.append(
                    f"record {sequence} could not be checked: the one before it is not there"
                )
            else:
                # Anybody could have put it there.
                self._fault(
                    sequence,
                    "cannot be checked: neither the one before it nor the one behind it is there",
                )

    def _go_to(self, index: int, tag: bytes | None) -> None:
        self._is_begun = True
        self._index = index
        self._tag = tag

    def _sector_of(self, row: _Row) -> int | None:
        """Return in which sector a record was written, None where it does not follow the last."""
        if self._tag is None or not row.is_whole:
            return None
        if self._is_begun:
            return self._keys.follow(row, self._tag, self._index)
        return self._keys.find(row, self._tag, self._sectors)

    def _sector_by(self, row: _Row, following: _Row | None) -> int | None:
        """Return in which sector a record must have been written for the next one to follow it."""
        if following is None or not following.is_whole or len(row.raw) != RECORD_BYTES:
            return None
        for index in self._sectors:
            mac = self._keys.mac(index)
            if records.follows(following.raw, mac, row.tag) or records.follows(
                following.raw, self._keys.mac(index + 1), records.closing_tag(mac, row.tag)
            ):
                return index
        return None

    def _sectors_for(self, row: _Row) -> range:
        """Return in which sectors a record may be, by its number and by what was seen before it."""
        low = max(self._index, (row.sequence - 1) // SECTOR_RECORDS)
        slots = row.sequence - (self._expected if self._is_begun else 0)
        slots += slots // _SLOTS_A_SPOILED
        begun = self._index if self._is_begun else 0
        if low > _MOST_SECTORS:
            return range(0)
        return range(low, max(low, begun + slots // SECTOR_RECORDS + 1) + 1)

    def _read(self, row: _Row) -> None:
        """Take in what a record that is the door's own says of others."""
        if row.code == RECORDS_DROPPED:
            self._verdict.told.append(
                f"{records.unpack(row.raw).event.detail} events before record {row.sequence} are "
                "no records: more came at once than the door could keep"
            )
        elif row.code == RECORDS_OVERWRITTEN:
            self._explain(row)

    def _explain(self, row: _Row) -> None:
        """A record says how many before the oldest one left were overwritten, and what that one is
        chained to: that tells which it is, and lets it be checked."""
        record = records.unpack(row.raw)
        open_gaps = [gap for gap in self._gaps if not gap.is_explained]
        for gap in open_gaps:
            if self._keys.find(gap.after, record.tag_before, gap.sectors) is None:
                continue
            self._unchecked.pop(gap.after.sequence, None)
            first_lost = gap.after.sequence - record.event.detail
            for one in open_gaps:
                if first_lost <= one.first and one.last <= gap.last:
                    one.is_explained = True
                    self._verdict.told.append(
                        f"{_span(one)} overwritten before delivery: record {row.sequence} says so"
                    )

    def _fault(self, sequence: int, what: str) -> None:
        self._verdict.faults.append(Fault(sequence, f"record {sequence} {what}"))


def _sort_out_doubles(
    rows: list[_Row], verdict: Verdict
) -> tuple[list[_Row], dict[int, list[_Row]]]:
    """Return the first record of each number, in their order, and others by number."""
    firsts: dict[int, _Row] = {}
    rivals: dict[int, list[_Row]] = {}
    for row in rows:
        first = firsts.setdefault(row.sequence, row)
        if first is row:
            continue
        if first.raw == row.raw:
            text = f"record {row.place} is a copy of record {row.sequence}"
            verdict.faults.append(Fault(row.place, text))
        else:
            rivals.setdefault(row.sequence, []).append(row)
    return list(firsts.values()), rivals


def _missing(gap: _Gap) -> str:
    rest = f", and all up to record {gap.last}" if gap.last > gap.first else ""
    return f"is missing{rest}: dropped, and the door does not say that it overwrote it"


def _span(gap: _Gap) -> str:
    if gap.last == gap.first:
        return f"record {gap.first} was"
    return f"records {gap.first} to {gap.last} were"
