"""Rosters out of other systems' exports: columns renamed, badge numbers read as they are printed."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from doorward.values import CLASSES

from doorctl.errors import DoorctlError
from doorctl.roster import (
    UID_SIZES,
    Dialect,
    Row,
    check_uid,
    is_column,
    is_host_only,
    parse_roster,
    parse_uid,
    sound_rows,
    spell_uid,
)

FORMATS = ("hex", "decimal")

_OPTIONAL = ("valid_from", "valid_until", "authenticate", "extended")
# What a 26-bit Wiegand reader reports: a facility and a card number, no part of a UID.
_WIEGAND_BITS = 26


def read_export(
    source: Path,
    names: Mapping[str, str],
    fixed: Mapping[str, str],
    number_format: str,
    is_reversed: bool,
) -> list[Row]:
    """Return the rows of another system's CSV file.

    names: its column -> a roster's. fixed: a roster's column -> what every row has there.
    number_format: one of FORMATS. is_reversed: its badge numbers have their bytes back to front.
    Raises DoorctlError with every mistake, each by line and column.
    """
    for name in names.values():
        if not is_column(name):
            raise DoorctlError(
                f"a roster has no column {name!r}: badge, class, level, valid_from, valid_until, "
                "authenticate, extended, and any that begins with name or note"
            )
    dialect = Dialect(
        names={name.strip().lower(): column for name, column in names.items()},
        fixed=fixed,
        parse_badge=_parser(number_format, is_reversed),
        ignores_others=True,
    )
    return sound_rows([source], dialect)


def write_roster(rows: Sequence[Row]) -> bytes:
    """Return the CSV file of a roster that reads back as exactly these rows.

    Names and notes stay in it. Raises DoorctlError where there is no such file.
    """
    data = _spell(rows)
    read = parse_roster(Path("roster"), data)
    if read.problems or [*map(_meaning, read.rows)] != [*map(_meaning, rows)]:
        raise DoorctlError(
            "the roster would not read back as it was meant, and was not written"
            + "".join(f"; {problem}" for problem in read.problems[:1])
        )
    return data


def _spell(rows: Sequence[Row]) -> bytes:
    there = dict.fromkeys(column for row in rows for column in row.cells if column)
    known = ("badge", "class", "level", *_OPTIONAL)
    columns = ["badge", "class", "level"]
    columns += [column for column in _OPTIONAL if column in there]
    columns += [column for column in there if column not in known]
    text = io.StringIO(newline="")
    # Line ends are the module's own, CR LF: with others Python 3.11 leaves a bare CR unquoted.
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        known_cells = {
            "badge": spell_uid(row.uid),
            "class": CLASSES[row.entry.cardholder_class],
            "level": row.entry.level,
        }
        writer.writerow([known_cells.get(column, row.cells.get(column, "")) for column in columns])
    return text.getvalue().encode()


def _meaning(row: Row) -> tuple:
    """Return what two rows have in common that mean the same."""
    kept = {name: text for name, text in row.cells.items() if text and is_host_only(name)}
    return row.uid, vars(row.entry), kept


def parse_decimal(text: str, is_reversed: bool = False) -> bytes:
    """Return the UID that a decimal number spells, of the fewest bytes that hold it.

    Raises ValueError with what is wrong.
    """
    if not re.fullmatch("[0-9]{1,25}", text):
        raise ValueError(f"{text!r} is not a UID as a decimal number")
    number = int(text)
    size = next((size for size in UID_SIZES if number < 1 << 8 * size), 0)
    if not size:
        raise ValueError(f"more than {UID_SIZES[-1]} bytes; a UID has 4, 7 or 10")
    if number < 1 << _WIEGAND_BITS:
        raise ValueError(
            f"{text} is too short for a UID: {_WIEGAND_BITS} bits are what a Wiegand reader makes "
            "of one, and the UID cannot be told from them"
        )
    uid = number.to_bytes(size, "little" if is_reversed else "big")
    # ISO/IEC 7816-6 gives no manufacturer the number 0, which a longer UID would begin with.
    if size > UID_SIZES[0] and not uid[0]:
        raise ValueError("is not the decimal number of a UID of 4, 7 or 10 bytes")
    return check_uid(uid)


def _parser(number_format: str, is_reversed: bool):
    if number_format == "decimal":
        return lambda text: parse_decimal(text, is_reversed)
    if is_reversed:
        return lambda text: parse_uid(text, is_reversed=True)
    return parse_uid
