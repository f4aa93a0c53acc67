"""How results leave doorctl: tables on a terminal, plain lines in a pipe, JSON, files."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from doorward.trust import objects
from doorward.values import NOT_AN_OBJECT, Refused
from rich.console import Console
from rich.table import Table

from doorctl.errors import DoorctlError

# What a file is, its beginning tells.
_BEGINNING_BYTES = 4096
_PEM = re.compile(rb"^-----BEGIN ", re.MULTILINE)
_ROSTER = re.compile(rb"\s*[^\r\n]*\bbadge\b", re.IGNORECASE)


def print_json(value: object) -> None:
    """Print `value` as one JSON document, for scripts."""
    click.echo(json.dumps(value, indent=2))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print named values, one a line: aligned on a terminal, `name: value` in a pipe."""
    console = Console()
    if not console.is_terminal:
        for name, value in facts:
            click.echo(f"{name}: {value}")
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(f"[dim]{name}[/dim]", str(value))
    console.print(grid)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their columns: a table on a terminal, tab-separated in a pipe."""
    # What stands in brackets is somebody's name, not Rich's markup.
    console = Console(markup=False)
    if not console.is_terminal:
        for row in (columns, *rows):
            click.echo("\t".join(map(str, row)))
        return
    table = Table()
    for column in columns:
        # A key id that is cut short is none.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file of at most `most_bytes`. Raises DoorctlError."""
    try:
        with open(path, "rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise DoorctlError(f"{path}: {error.strerror}") from None
    if len(data) > most_bytes:
        raise DoorctlError(f"{path}: larger than {most_bytes:,} bytes")
    return data


def write_file(path: Path, data: bytes) -> None:
    """Write a signed object or a roster whole or not at all. Raises DoorctlError.

    A file that is there is replaced only by its like: an object by one of its type and issuer, a
    roster by a roster.
    """
    _check_place(path, data)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with open(part, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DoorctlError(f"{path}: {error.strerror}") from None


def write_new_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file with these permissions that must not exist yet. Raises DoorctlError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
    except FileExistsError:
        raise DoorctlError(f"{path}: exists, and is not overwritten") from None
    except OSError as error:
        raise DoorctlError(f"{path}: {error.strerror}") from None


def _check_place(path: Path, data: bytes) -> None:
    """Raise DoorctlError where a file of these bytes must not come in the place of what is there."""
    try:
        path.stat()
    except OSError:
        return  # nothing there; if nothing can be, writing tells why
    if path.is_dir():
        raise DoorctlError(f"{path}: is a directory; name a file in it")
    if not path.is_file():
        raise DoorctlError(f"{path}: is no regular file")
    try:
        with open(path, "rb") as file:
            there = _kind_of(file.read(_BEGINNING_BYTES))
    except OSError as error:
        raise DoorctlError(f"{path}: {error.strerror}") from None
    new = _kind_of(data[:_BEGINNING_BYTES])
    if there and there != new:
        raise DoorctlError(
            f"{path}: is {there}, and {new} does not replace it; write to another file, or move "
            "this one away first"
        )


def _kind_of(beginning: bytes) -> str:
    """Return what a file that begins so is, in words; "" where nothing is in it.

    Files of which it says the same may replace one another.
    """
    if not beginning.strip():
        return ""
    try:
        header = objects.parse_header(beginning)
    except Refused as error:
        if error.code != NOT_AN_OBJECT:
            return "a damaged signed object"
    else:
        what = objects.TYPES[header.type]
        kind = f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
        is_issued = header.type != objects.KEY_RING_TYPE
        return f"{kind} of issuer {header.issuer_id.hex()}" if is_issued else kind
    if _PEM.search(beginning):
        return "a PEM file"
    return "a roster" if _ROSTER.match(beginning) else "a file of another kind"
