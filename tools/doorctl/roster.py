"""Rosters: CSV files of badges, read with every mistake found and placed.

Columns, in any order, separated by commas or semicolons, UTF-8, every cell one line of text:

- badge: UID of 4, 7 or 10 bytes as hexadecimal: 04A2B1C3, 04:a2:b1:c3, "04 A2 B1 C3", 0x04A2B1C3.
- class: responder, staff or visitor.
- level: access level 0 to 15; empty or no column: 0.
- valid_from, valid_until: ISO 8601 date or date and time, UTC unless it names an offset; empty:
  no bound. A bare date counts from its first second (from) to its last (until).
- authenticate: yes or no: a UID alone is not enough for this badge; empty: no.
- extended: yes or no: the door stays unlocked longer for this cardholder; empty: no.
- name..., note...: any column that begins so stays on the host; no name reaches a door.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click
from doorward.access.allowlist import MAX_LEVEL
from doorward.values import CLASSES, Badge, Entry

from doorctl.errors import DoorctlError
from doorctl.output import read_file

MAX_ROWS = 200_000
MAX_CELL_CHARACTERS = 256
SHOWN_PROBLEMS = 20
UID_SIZES = (4, 7, 10)

_MAX_FILE_BYTES = 64_000_000
_HOST_ONLY = ("name", "note")
_CLASS_NUMBERS = {name: number for number, name in CLASSES.items()}
_UID = re.compile(r"(?:0x)?([0-9a-f]{2}(?:[:\- ]?[0-9a-f]{2})*)", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?")
_YEARS = range(2000, 2100)
_QUOTED = re.compile('"[^"]*"')
# Unicode's general categories of control characters, line and paragraph separators.
_CONTROLS = ("Cc", "Zl", "Zp")
_NOT_ONE_LINE = "has a line break or another control character in it"


@dataclass(frozen=True, slots=True)
class Row:
    """One badge of a roster.

    uid: 4, 7 or 10 bytes. entry: its rights, times in Unix seconds, 0 = no bound. cells: what
    stood in its columns, by the roster's name of each.
    """

    uid: bytes
    entry: Entry
    cells: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def identity(self) -> bytes:
        """The badge's canonical identity, as Badge.identity has it."""
        return identity_of(self.uid)


@dataclass(slots=True)
class Roster:
    """A roster file as read: its rows, and what is wrong with it, a line each."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file spells a roster.

    names: column of the file, in lower case -> column of a roster. fixed: column of a roster ->
    what every row has there. required: columns of a roster that must be there.
    parse_badge: what reads a badge; None: parse_uid.
    ignores_others: a column that no roster has is passed over.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ("badge", "class")
    parse_badge: Callable[[str], bytes] | None = None
    ignores_others: bool = False


class RosterRefused(DoorctlError):
    """Rosters have mistakes; nothing is made from them.

    Attributes:
        problems: all of them, a line each.
        shown: how many of them `show` tells.
    """

    def __init__(self, rosters: Sequence[Roster]) -> None:
        problems = [problem for roster in rosters for problem in roster.problems]
        super().__init__(f"mistakes in the roster: {len(problems)}; nothing was made from it")
        self.problems = problems
        self.shown = SHOWN_PROBLEMS

    def show(self, file=None) -> None:
        for problem in self.problems[: self.shown]:
            click.echo(problem, err=True, file=file)
        if len(self.problems) > self.shown:
            more = len(self.problems) - self.shown
            click.echo(f"... and {more} more", err=True, file=file)
        super().show(file)


ROSTER = Dialect()
# A list of badges and of nothing they may.
BADGES = Dialect(required=("badge",))


def read_rosters(paths: Sequence[Path], dialect: Dialect = ROSTER) -> list[Roster]:
    """Read roster files as one: a badge stands once in all of them together.

    Returns every roster with all its problems. Raises DoorctlError where a file cannot be read.
    """
    seen: dict[bytes, str] = {}
    return [_Reader(path, seen, dialect).read() for path in paths]


def sound_rows(paths: Sequence[Path], dialect: Dialect = ROSTER) -> list[Row]:
    """Return the rows of all roster files. Raises RosterRefused where anything is wrong."""
    rosters = read_rosters(paths, dialect)
    if any(roster.problems for roster in rosters):
        raise RosterRefused(rosters)
    return [row for roster in rosters for row in roster.rows]


def parse_roster(path: Path, data: bytes) -> Roster:
    """Return the roster that a file of this name and content is, with all its problems."""
    return _Reader(path, {}, ROSTER).parse(data)


def summarize(roster: Roster) -> dict:
    """Return counts by class and by level, and the earliest end of validity (ISO 8601, or None)."""
    entries = [row.entry for row in roster.rows]
    classes = Counter(CLASSES[entry.cardholder_class] for entry in entries)
    ends = [entry.valid_until_s for entry in entries if entry.valid_until_s]
    return {
        "file": str(roster.path),
        "badges": len(entries),
        "classes": {name: classes[name] for name in CLASSES.values() if classes[name]},
        "levels": dict(sorted(Counter(entry.level for entry in entries).items())),
        "earliest_expiry": iso(min(ends)) if ends else None,
    }


def iso(seconds: int) -> str:
    """Return Unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_uid(text: str, is_reversed: bool = False) -> bytes:
    """Return the UID that a cell spells. Raises ValueError with what is wrong.

    is_reversed: the last byte stands first.
    """
    match = _UID.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a UID in hexadecimal, two digits a byte")
    uid = bytes.fromhex(re.sub(r"[:\- ]", "", match[1]))
    return check_uid(uid[::-1] if is_reversed else uid)


def check_uid(uid: bytes) -> bytes:
    """Return `uid` if it can be a badge's. Raises ValueError with what is wrong."""
    if len(uid) not in UID_SIZES:
        raise ValueError(f"{len(uid)} bytes; a UID has 4, 7 or 10")
    if not any(uid):
        raise ValueError("a UID of zeros is no badge's")
    if len(uid) == 4 and uid[0] == 0x08:
        raise ValueError("a 4-byte UID that begins with 08 is random at each tap")
    return uid


def identity_of(uid: bytes) -> bytes:
    """Return the canonical identity of the badge with this UID, as Badge.identity has it."""
    identity = bytearray(Badge().identity)
    identity[0] = len(uid)
    identity[1 : 1 + len(uid)] = uid
    return bytes(identity)


def spell_uid(uid: bytes) -> str:
    """Return a UID as people read it: 04:A2:B1:C3."""
    return uid.hex(":").upper()


def parse_time(text: str, is_end: bool) -> int:
    """Return Unix seconds of an ISO date or date and time, UTC unless it names an offset.

    is_end: a bare date means the end of its day: the first second after it. Raises ValueError.
    """
    is_date = _DATE.fullmatch(text) is not None
    if not is_date and not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a date such as 2026-09-01 or 2026-09-01T16:00Z")
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"{text!r} is not in the calendar") from None
    if moment.year not in _YEARS:
        raise ValueError(f"{text!r}: years from {_YEARS[0]} to {_YEARS[-1]}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    if is_date and is_end:
        moment += timedelta(days=1)
    return int(moment.timestamp())


def _parse_class(text: str) -> int:
    if text.lower() not in _CLASS_NUMBERS:
        raise ValueError(f"{text!r} is none of {', '.join(_CLASS_NUMBERS)}")
    return _CLASS_NUMBERS[text.lower()]


def _parse_level(text: str) -> int:
    if not re.fullmatch("[0-9]{0,3}", text) or int(text or 0) > MAX_LEVEL:
        raise ValueError(f"{text!r} is not a level from 0 to {MAX_LEVEL}")
    return int(text or 0)


def _parse_yes(text: str) -> bool:
    if text.lower() not in ("yes", "no", ""):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text.lower() == "yes"


_PARSERS = {
    "badge": parse_uid,
    "class": _parse_class,
    "level": _parse_level,
    "valid_from": lambda text: parse_time(text, is_end=False) if text else 0,
    "valid_until": lambda text: parse_time(text, is_end=True) if text else 0,
    "authenticate": _parse_yes,
    "extended": _parse_yes,
}


def is_column(name: str) -> bool:
    """May a roster have a column of this name?"""
    return name in _PARSERS or is_host_only(name)


def is_host_only(name: str) -> bool:
    """Does a roster's column of this name stay on the host?"""
    return name.startswith(_HOST_ONLY)


def _is_one_line(text: str) -> bool:
    """Is it without control characters, by which another program could see two rows in it?"""
    return text.isprintable() or not any(unicodedata.category(one) in _CONTROLS for one in text)


class _Reader:
    """Reads one file."""

    def __init__(self, path: Path, seen: dict[bytes, str], dialect: Dialect) -> None:
        """seen: UID -> where it stood first; grows."""
        self._path = path
        self._seen = seen
        self._dialect = dialect
        self._roster = Roster(path)
        # Column by column: what the file calls it, and what a roster does; "" = passed over.
        self._columns: list[tuple[str, str]] = []
        self._parsers: dict[str, Callable[[str], Any]] = dict(_PARSERS)
        if dialect.parse_badge is not None:
            self._parsers["badge"] = dialect.parse_badge

    def read(self) -> Roster:
        return self.parse(read_file(self._path, _MAX_FILE_BYTES))

    def parse(self, data: bytes) -> Roster:
        path, roster = self._path, self._roster
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            roster.problems.append(f"{path}:{line}: not UTF-8; save the sheet as CSV UTF-8")
            return roster
        lines = self._lines(text)
        header = next(lines, None)
        if header is None:
            if not roster.problems:
                roster.problems.append(f"{path}: is empty")
            return roster
        line, cells = header
        self._read_header(f"{path}:{line}", [cell.strip().lower() for cell in cells])
        if roster.problems:
            return roster
        count = 0
        for line, cells in lines:
            count += 1
            if count > MAX_ROWS:
                roster.problems.append(f"{path}:{line}: more than {MAX_ROWS} rows")
                return roster
            self._read_row(f"{path}:{line}", cells)
        if not count and not roster.problems:
            roster.problems.append(f"{path}: has no rows")
        return roster

    def _lines(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Yield (line, cells) of every row that is not blank; the line is the one it begins on."""
        # One line end in the whole file: a bare CR between others is a row to one program and
        # part of a cell to the next.
        line_end = "\n" if "\n" in text else "\r"
        first = _QUOTED.sub("", text.lstrip().partition(line_end)[0])
        delimiter = ";" if first.count(";") > first.count(",") else ","
        lines = io.StringIO(text, newline=line_end)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # The module's own words for it are meant for whoever programs with it.
                is_bare_cr = str(error).startswith("new-line character")
                what = "a carriage return inside a line" if is_bare_cr else error
                self._roster.problems.append(f"{self._path}:{line}: not CSV: {what}")
                return
            if any(cell.strip() for cell in cells):
                yield line, cells

    def _read_header(self, place: str, names: list[str]) -> None:
        dialect, problems = self._dialect, self._roster.problems
        self._columns = [(name, dialect.names.get(name, name)) for name in names]
        found = [column for _, column in self._columns]
        for name in dialect.names:
            if name not in names:
                problems.append(f"{place}: column '{name[:40]}': missing")
        for column in dialect.required:
            if column not in (*found, *dialect.fixed, *dialect.names.values()):
                problems.append(f"{place}: column '{column}': missing")
        for i, (name, column) in enumerate(self._columns):
            shown = repr(name[:40])[1:-1]
            if is_column(column) and not _is_one_line(column):
                problems.append(f"{place}: column '{shown}': {_NOT_ONE_LINE}")
            elif is_column(column) and column in found[:i]:
                twice = "there twice" if name == column else f"there twice, as '{column}'"
                problems.append(f"{place}: column '{shown}': {twice}")
            elif column in dialect.fixed:
                problems.append(f"{place}: column '{shown}': given for every row as well")
            elif not is_column(column):
                if dialect.ignores_others:
                    self._columns[i] = (name, "")
                    continue
                problems.append(
                    f"{place}: column '{shown}': unknown; call it note_{shown} to keep it"
                )

    def _read_row(self, place: str, cells: list[str]) -> None:
        roster = self._roster
        if len(cells) > len(self._columns):
            roster.problems.append(
                f"{place}: {len(cells)} cells under {len(self._columns)} columns"
            )
            return
        parsed = {}
        problems = []
        texts = {}
        for i, (name, column) in enumerate(self._columns):
            cell = cells[i].strip() if i < len(cells) else ""
            try:
                if column and len(cell) > MAX_CELL_CHARACTERS:
                    raise ValueError(f"longer than {MAX_CELL_CHARACTERS} characters")
                if column and not _is_one_line(cell):
                    raise ValueError(_NOT_ONE_LINE)
                texts[column] = cell
                if column in self._parsers:
                    parsed[column] = self._parsers[column](cell)
            except ValueError as error:
                problems.append(f"{place}: column '{name}': {error}")
        for column, cell in self._dialect.fixed.items():
            texts[column] = cell
            parsed[column] = self._parsers[column](cell)
        entry = _entry_of(parsed)
        if entry.valid_until_s and entry.valid_until_s <= entry.valid_from_s:
            problems.append(f"{place}: column 'valid_until': ends before valid_from begins")
        uid = parsed.get("badge")
        if uid in self._seen:
            problems.append(
                f"{place}: column '{self._name_of('badge')}': stands already at {self._seen[uid]}"
            )
        elif uid is not None:
            self._seen[uid] = place
        roster.problems += problems
        if not problems:
            roster.rows.append(Row(parsed["badge"], entry, texts))

    def _name_of(self, column: str) -> str:
        return next(name for name, known in self._columns if known == column)


def _entry_of(parsed: dict) -> Entry:
    entry = Entry()
    entry.cardholder_class = parsed.get("class", 0)
    entry.level = parsed.get("level", 0)
    entry.valid_from_s = parsed.get("valid_from", 0)
    entry.valid_until_s = parsed.get("valid_until", 0)
    entry.must_authenticate = parsed.get("authenticate", False)
    entry.has_extended_time = parsed.get("extended", False)
    return entry
