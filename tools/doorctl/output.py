"""How results leave doorctl: tables on a terminal, plain lines in a pipe, JSON, files."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from doorctl.errors import DoorctlError


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
    console = Console()
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
    """Write a file whole or not at all, over an older one. Raises DoorctlError."""
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
