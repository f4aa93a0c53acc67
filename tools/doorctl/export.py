"""An export: one door's journal in a file. Layout: docs/formats.md, "Journal export"."""

import os
import struct
from binascii import crc32
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from doorward.journal import record as records
from doorward.journal.record import RECORD_BYTES

from doorctl.errors import DoorctlError
from doorctl.link import Door

_MAGIC = b"DWJX"
_FORMAT = 1
# Magic, format, reserved, site, door, journal id, sequence of the first record, what that one is
# chained to; and a CRC-32 behind them.
_HEADER = "<4sB3s16s24s8sI16s"
_HEADER_BYTES = struct.calcsize(_HEADER) + 4
_RESERVED = bytes(3)
# So often a record may be overwritten in the instant in which it is asked for.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Header:
    """Whose journal it is, and where it begins. tag: what record `first` is chained to."""

    site: str
    door: str
    journal_id: bytes
    first: int
    tag: bytes

    def pack(self) -> bytes:
        packed = struct.pack(
            _HEADER,
            _MAGIC,
            _FORMAT,
            _RESERVED,
            self.site.encode(),
            self.door.encode(),
            self.journal_id,
            self.first,
            self.tag,
        )
        return packed + struct.pack("<I", crc32(packed))


def read_export(path: Path) -> tuple[Header, Iterator[tuple[int, bytes]]]:
    """Return an export's header and its (sequence, record) in the file's order.

    A damaged record goes under the number behind the one before it; what is left of one at the end
    of the file was being written when the export broke off, and is no record. Raises DoorctlError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DoorctlError(f"{path}: {error.strerror}") from None
    header = _parse(path, data)
    return header, _rows(data, header.first)


def export(door: Door, path: Path, progress: Callable[[int, int], None]) -> tuple[Header, int]:
    """Bring a file up to what the door holds; return its header and how many records are new.

    A file that is not there is begun with the oldest record that the door has. progress: called
    with (done, all). Raises DoorctlError; what was written until then is gone on with next time.
    """
    hello = door.hello()
    last = door.status()["journal"]["next"] - 1
    if path.exists():
        header, keep, due = _resume(path, hello)
    else:
        header, keep = _begin(door, hello), 0
        due = header.first
    begin = due
    try:
        with open(path, "r+b" if keep else "xb") as file:
            if not keep:
                file.write(header.pack())
                keep = _HEADER_BYTES
            file.truncate(keep)
            file.seek(keep)
            while batch := door.log_batch(due).records:
                first = batch[0][0].sequence
                if first != due:
                    raise DoorctlError(
                        f"{path}: records {due} to {first - 1} are no longer on the door, so this "
                        "file ends before them; export to another one"
                    )
                file.writelines(raw for _, raw in batch)
                due += len(batch)
                progress(due - begin, max(last, due - 1) - begin + 1)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DoorctlError(f"{path}: {error.strerror}") from None
    return header, due - begin


def _begin(door: Door, hello: dict) -> Header:
    """Return the header of an export that begins with the oldest record on the door."""
    for _ in range(_TRIES):
        batch = door.log_batch(1, most=1)
        if not batch.records:
            raise DoorctlError("the door's journal is empty: there is nothing to export")
        if batch.tag_before is not None:
            first = batch.records[0][0].sequence
            return Header(hello["site"], hello["door"], batch.journal_id, first, batch.tag_before)
    raise DoorctlError("the door does not tell what its oldest record is chained to; try again")


def _resume(path: Path, hello: dict) -> tuple[Header, int, int]:
    """Return a file's header, how many of its bytes are whole records, and which one is due."""
    header, rows = read_export(path)
    if (header.site, header.door) != (hello["site"], hello["door"]):
        raise DoorctlError(
            f"{path}: is of {header.site}/{header.door}, and this door is "
            f"{hello['site']}/{hello['door']}"
        )
    if header.journal_id.hex() != hello["journal"]:
        raise DoorctlError(
            f"{path}: is of journal {header.journal_id.hex()}; the door has begun another since, "
            f"{hello['journal']}: export to another file"
        )
    count = 0
    due = header.first
    for sequence, raw in rows:
        if sequence != due or records.sequence_of(raw) != due:
            raise DoorctlError(f"{path}: record {due} is damaged; move the file away")
        count += 1
        due += 1
    return header, _HEADER_BYTES + count * RECORD_BYTES, due


def _parse(path: Path, data: bytes) -> Header:
    if data[: len(_MAGIC)] != _MAGIC or len(data) < _HEADER_BYTES:
        raise DoorctlError(f"{path}: is no journal export")
    fields = struct.unpack_from(_HEADER, data)
    _, version, reserved, site, door, journal_id, first, tag = fields
    if version != _FORMAT:
        raise DoorctlError(f"{path}: is an export of a later doorctl, format {version}")
    head = data[: _HEADER_BYTES - 4]
    is_sound = struct.pack("<I", crc32(head)) == data[_HEADER_BYTES - 4 : _HEADER_BYTES]
    if not is_sound or reserved != _RESERVED or not first:
        raise DoorctlError(f"{path}: the export's header is damaged")
    return Header(_name(site), _name(door), journal_id, first, tag)


def _name(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("ascii", "replace")


def _rows(data: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    place = first
    for at in range(_HEADER_BYTES, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        raw = data[at : at + RECORD_BYTES]
        place = records.sequence_of(raw) or place
        yield place, raw
        place += 1
