"""Verification of a journal: every kind of forgery is found, and named by its first record."""

import struct
import time
from binascii import crc32

import pytest
from doorctl import chain
from doorward.journal import record as records
from doorward.journal.record import FIRST_TAG, SECTOR_RECORDS
from doorward.trust.primitives import HmacKey
from doorward.values import (
    CLOCK_SYNCED,
    JOURNAL_KEY_LOST,
    RECORDS_DROPPED,
    RECORDS_OVERWRITTEN,
    TAP,
    Event,
)

KEY = bytes(range(32))


class Writer:
    """Writes a journal as a door does. torn: slots to leave out, counted over all sectors."""

    def __init__(self, key=KEY, tag=FIRST_TAG, sequence=1, slot=0, torn=()):
        self.key = key
        self.tag = tag
        self.sequence = sequence
        self.slot = slot
        self.torn = torn
        self.rows = []
        self.chained_to = tag  # the newest record

    def write(self, code=TAP, detail=0, tag_before=FIRST_TAG):
        while True:
            if self.slot and self.slot % SECTOR_RECORDS == 0:
                self.tag = records.closing_tag(HmacKey(self.key), self.tag)
                self.key = records.next_key(self.key)
            self.slot += 1
            if self.slot not in self.torn:
                break
        event = Event(code, 1000 * self.sequence, detail=detail or self.sequence)
        record = records.Record(event, self.sequence, 1, 1_800_000_000, CLOCK_SYNCED)
        record.tag_before = tag_before
        self.chained_to = self.tag
        self.rows.append((self.sequence, record.pack(HmacKey(self.key), self.tag)))
        self.tag = record.tag
        self.sequence += 1

    def write_many(self, count):
        for _ in range(count):
            self.write()
        return self


def journal(count=200, **how):
    return Writer(**how).write_many(count).rows


def change(raw, at=40):
    """Change a byte and make the checksum right again."""
    changed = bytearray(raw)
    changed[at] ^= 0x01
    changed[60:] = struct.pack("<I", crc32(bytes(changed[:60])))
    return bytes(changed)


def faults(rows, key=KEY, **begin):
    return [(fault.sequence, fault.text) for fault in chain.verify(rows, key, **begin).faults]


def test_a_journal_as_it_was_written():
    verdict = chain.verify(journal(500), KEY)
    assert (verdict.first, verdict.last, verdict.count) == (1, 500, 500)
    assert (verdict.faults, verdict.told) == ([], [])
    assert faults([]) == []


@pytest.mark.parametrize(
    "torn", [{1}, {63}, {64}, {1, 2, 3}, {62, 63, 64, 65}, set(range(60, 200)), {5, 70, 130}]
)
def test_slots_that_power_cuts_spoiled_are_no_fault(torn):
    assert faults(journal(torn=torn)) == []


@pytest.mark.parametrize("sequence", [1, 2, 63, 64, 65, 126, 127, 199, 200])
@pytest.mark.parametrize("at", [1, 5, 15, 25, 43])
def test_a_changed_byte_is_found_though_its_checksum_is_right(sequence, at):
    rows = journal()
    number, raw = rows[sequence - 1]
    rows[sequence - 1] = (number, change(raw, at))
    found = faults(rows)
    if at == 5:  # the sequence itself
        assert found and found[0][0] == min(sequence, sequence ^ 0x100)
        return
    text = "was changed" if sequence < 200 else "was forged: no key of this journal made it"
    assert found == [(sequence, f"record {sequence} {text}")]


def test_a_changed_tag_is_found():
    rows = journal()
    rows[99] = (100, change(rows[99][1], 50))
    assert faults(rows)[0][0] == 100


def test_a_changed_byte_with_a_wrong_checksum_is_found():
    rows = journal()
    rows[99] = (100, rows[99][1][:30] + b"\xff" + rows[99][1][31:])
    assert faults(rows) == [(100, "record 100 was changed: its checksum is wrong")]


@pytest.mark.parametrize(
    ("first", "last"), [(1, 1), (2, 2), (63, 63), (64, 64), (63, 64), (100, 199), (1, 150)]
)
def test_dropped_records_are_found(first, last):
    rows = journal()
    del rows[first - 1 : last]
    ((sequence, text),) = faults(rows)
    assert sequence == first
    assert text.startswith(f"record {first} is missing")
    assert ("all up to" in text) == (last > first)


@pytest.mark.parametrize("sequence", [1, 62, 63, 64, 150, 199])
def test_swapped_records_are_found(sequence):
    rows = journal()
    rows[sequence - 1], rows[sequence] = rows[sequence], rows[sequence - 1]
    text = f"record {sequence} is out of order: record {sequence + 1} is in its place"
    assert faults(rows) == [(sequence, text)]
    # The same, each under the other's number, as in a database.
    rows = [(number, raw) for (number, _), (_, raw) in zip(journal(), rows)]
    assert faults(rows) == [(sequence, text)]


@pytest.mark.parametrize("sequence", [1, 63, 64, 100, 200, 201])
def test_a_record_under_another_key_is_found(sequence):
    rows = journal()
    tag = records.tag_of(rows[sequence - 2][1]) if sequence > 1 else FIRST_TAG
    ((_, forged),) = Writer(b"forger", tag, sequence).write_many(1).rows
    rows[sequence - 1 : sequence] = [(sequence, forged)]
    assert faults(rows)[0] == (
        sequence,
        f"record {sequence} was forged: no key of this journal made it",
    )


def test_a_copy_of_another_record_is_found():
    rows = journal()
    rows[99] = (100, rows[9][1])
    assert faults(rows) == [
        (100, "record 100 is a copy of record 10"),
        (100, "record 100 is missing: dropped, and the door does not say that it overwrote it"),
    ]


def test_two_of_one_number_are_found_and_the_doors_own_is_gone_on_with():
    rows = journal()
    ((_, forged),) = Writer(b"forger", FIRST_TAG, 100).write_many(1).rows
    for at in (99, 100):
        both = [*rows[:at], (100, forged), *rows[at:]]
        assert faults(both) == [(100, "record 100 is there twice, and both cannot be its door's")]


def test_everything_forged_is_found_at_the_first():
    assert faults(Writer(b"forger").write_many(100).rows)[0][0] == 1
    assert faults(journal(), key=bytes(32))[0][0] == 1


def read_board(rows, sector):
    """Return the key that the board has while it writes in `sector`, from 0."""
    key = KEY
    for _ in range(sector):
        key = records.next_key(key)
    return key


@pytest.mark.parametrize("first", [1, 50, 63, 64, 100, 126])
def test_whoever_reads_the_board_cannot_rewrite_what_was_before(first):
    """He holds the key of sector 2, records 127 to 189, and writes all from `first` on anew."""
    rows = journal()
    stolen = read_board(rows, 2)
    tag = records.tag_of(rows[first - 2][1]) if first > 1 else FIRST_TAG
    for begin in (0, 62, 63):
        # As many slots spoiled as he likes: none of them gets him there.
        for chained_to in (tag, records.closing_tag(HmacKey(stolen), tag)):
            forged = Writer(stolen, chained_to, first, begin).write_many(100).rows
            found = faults(rows[: first - 1] + forged)
            assert found[0][0] == first
            assert "forged" in found[0][1]


@pytest.mark.parametrize("first", [3, 50, 64])
@pytest.mark.parametrize("hidden", [1, 40])
def test_nor_can_he_by_saying_that_something_was_overwritten(first, hidden):
    """He leaves out a few, says that the door overwrote them, and goes on under his key."""
    rows = journal(400)
    stolen = read_board(rows, 5)
    for begin in (0, 62):
        writer = Writer(stolen, FIRST_TAG, first + hidden, begin).write_many(30)
        writer.write(RECORDS_OVERWRITTEN, hidden + 1, FIRST_TAG)
        writer.write_many(100)
        assert faults(rows[: first - 1] + writer.rows)[0][0] == first


@pytest.mark.parametrize("first", [64, 127])
def test_nor_can_he_by_beginning_with_a_part(first):
    rows = journal(400)
    forged = Writer(read_board(rows, 5), FIRST_TAG, first).write_many(100).rows
    assert faults(forged, first=first, tag=FIRST_TAG)


def test_whoever_reads_the_board_can_write_from_his_sector_on():
    """The limit: the sector that was being written, and what comes after it."""
    rows = journal()
    before = records.closing_tag(HmacKey(read_board(rows, 1)), records.tag_of(rows[125][1]))
    writer = Writer(read_board(rows, 2), before, 127)
    writer.write(detail=666)
    forged = writer.write_many(100).rows
    assert forged[0] != rows[126]
    assert faults(rows[:126] + forged) == []


def overwritten(lost=(101, 300), acknowledged=100, torn=()):
    """A door was offline until its ring came round: return the rows and the explaining record."""
    writer = Writer(torn=torn).write_many(lost[1])
    rows = writer.rows[: lost[0] - 1]
    writer.rows = []
    writer.write()
    tag = writer.chained_to
    writer.write_many(39)
    writer.write(RECORDS_OVERWRITTEN, lost[1] - acknowledged, tag)
    writer.write_many(40)
    return rows + writer.rows, lost[1] + 41


@pytest.mark.parametrize("torn", [(), {252}, {10, 253}])
def test_what_the_door_says_it_overwrote_is_told_and_no_fault(torn):
    rows, sequence = overwritten(lost=(101, 252 - len(torn)), torn=torn)
    verdict = chain.verify(rows, KEY)
    assert verdict.faults == []
    last = 252 - len(torn)
    assert verdict.told == [
        f"records 101 to {last} were overwritten before delivery: record {sequence} says so"
    ]


def test_more_missing_than_the_door_says_is_a_fault():
    rows, _ = overwritten(lost=(101, 252))
    del rows[99]
    assert faults(rows)[0][0] == 100


def test_a_gap_elsewhere_is_not_explained_by_it():
    rows, _ = overwritten(lost=(101, 252))
    del rows[49]
    assert [sequence for sequence, _ in faults(rows)] == [50]


def test_the_record_behind_what_was_overwritten_is_checked_too():
    rows, _ = overwritten(lost=(101, 252))
    assert rows[100][0] == 253
    rows[100] = (253, change(rows[100][1]))
    assert faults(rows)[0][0] == 101


def test_an_older_gap_whose_own_word_was_overwritten_is_told():
    writer = Writer().write_many(63 * 6)
    rows = writer.rows[:100] + writer.rows[63 * 3 : 63 * 3 + 20]
    writer.rows = []
    writer.write()
    tag = writer.chained_to
    writer.write_many(2)
    writer.write(RECORDS_OVERWRITTEN, 63 * 6 - 100, tag)
    verdict = chain.verify(rows + writer.rows, KEY)
    assert verdict.faults == []
    assert len(verdict.told) == 3
    assert verdict.told[-1] == "record 190 could not be checked: the one before it is not there"


def test_nobody_without_a_key_can_fill_in_what_was_overwritten():
    rows, _ = overwritten(lost=(101, 252))
    forged = []
    for sequence in (102, 150, 251):
        record = records.Record(Event(TAP, 0, detail=sequence), sequence, 1, 1_800_000_000, 2)
        forged.append((sequence, record.pack(HmacKey(b"nobody's"), bytes(16))))
    found = faults(sorted(rows + forged))
    assert [sequence for sequence, _ in found] == [102, 150, 251]
    assert "neither" in found[0][1]


def test_what_never_became_a_record_is_told():
    writer = Writer().write_many(10)
    writer.write(RECORDS_DROPPED, 7)
    verdict = chain.verify(writer.rows, KEY)
    assert verdict.faults == []
    assert "7 events before record 11" in verdict.told[0]


def test_a_lost_key_is_told_and_ends_it():
    writer = Writer().write_many(80)
    writer.key = bytes(32)
    writer.write(JOURNAL_KEY_LOST)
    writer.write_many(20)
    ((sequence, text),) = faults(writer.rows)
    assert sequence == 81
    assert "provision the door anew" in text


@pytest.mark.parametrize("first", [1, 2, 63, 64, 65, 190, 6000])
def test_a_part_is_checked_from_where_it_begins(first):
    rows = journal(first + 100)
    tag = records.tag_of(rows[first - 2][1]) if first > 1 else FIRST_TAG
    if first > 1 and (first - 1) % SECTOR_RECORDS == 0:
        key = HmacKey(read_board(rows, (first - 2) // SECTOR_RECORDS))
        tag = records.closing_tag(key, tag)
    part = rows[first - 1 :]
    assert faults(part, first=first, tag=tag) == []
    assert faults(part[1:], first=first, tag=tag)[0][0] == first
    part[0] = (first, change(part[0][1]))
    assert faults(part, first=first, tag=tag) == [(first, f"record {first} was changed")]


@pytest.mark.parametrize("sequence", [1 << 24, 0xFFFFFFFF])
def test_a_number_out_of_reach_takes_no_time(sequence):
    """Seconds at most: no key is made for it."""
    ((_, forged),) = Writer(b"forger", FIRST_TAG, sequence).write_many(1).rows
    begun = time.monotonic()
    found = faults([*journal(), (sequence, forged), (sequence + 1, change(forged))])
    assert found[0][0] == 201
    assert time.monotonic() - begun < 10


def test_nothing_that_can_stand_in_a_database_stops_it():
    rows = [(1, b""), (2, b"x"), (3, bytes(64)), (4, b"y" * 1000), *journal(3)]
    assert chain.verify(rows, KEY).faults
