"""`doorctl log`: a door's journal: shown, exported, verified."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
from doorward.journal.record import FIRST_TAG
from doorward.portal.portal import INPUTS
from doorward.values import EVENTS, INPUTS_AT_START
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from doorctl import chain, output
from doorctl.cli_door import JSON, PORT, open_door
from doorctl.database import Database, describe
from doorctl.errors import DoorctlError
from doorctl.export import export as export_to
from doorctl.export import read_export
from doorctl.options import FILE, REGISTER
from doorctl.register import Register

_SHOWN_FAULTS = 5
_AT_START = EVENTS[INPUTS_AT_START]


class _ShowsByDefault(click.Group):
    """`doorctl log` alone, with or without options, is `doorctl log show`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShowsByDefault)
def log() -> None:
    """Show a door's journal (that is what plain `doorctl log` does), export it, or verify it."""


@log.command()
@click.option("--from", "first", type=click.IntRange(1), default=1, help="First sequence.")
@PORT
@JSON
def show(first: int, port: str | None, is_json: bool) -> None:
    """Show a door's journal, oldest record first."""
    with open_door(port) as door:
        found = [describe(record) for record in door.log(first)]
    if is_json:
        click.echo(json.dumps(found, default=str))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("seq", "time (UTC)", "event", "reason", "class", "badge", "field to relay"):
        table.add_column(name)
    for one in found:
        table.add_row(
            str(one["sequence"]),
            str(one["happened_at"] or f"boot {one['boot']} +{one['ticks_ms']} ms"),
            one["event"],
            _inputs_of(one["detail"]) if one["event"] == _AT_START else one["reason"],
            one["class"],
            one["badge"][:8],
            f"{one['relay_us'] / 1000:.1f} ms" if one["relay_us"] else "",
        )
    console = Console()
    console.width = console.width if console.is_terminal else 120
    console.print(table)


def _inputs_of(bits: int) -> str:
    """Return the names of the inputs that an inputs-at-start record says are active."""
    return ", ".join(name for number, name in enumerate(INPUTS) if bits >> number & 1)


@log.command()
@click.argument("file", type=FILE)
@PORT
def export(file: Path, port: str | None) -> None:
    """Write a door's journal to FILE, or add to it what is new since the last export.

    `doorctl log verify FILE` checks it. Before a door is provisioned anew its journal is exported,
    or delivered: it begins another one then.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("exporting"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with open_door(port) as door, bar:
        task = bar.add_task("export", total=None)
        header, new = export_to(
            door, file, lambda done, total: bar.update(task, completed=done, total=total)
        )
    click.echo(
        f"{file}: {new} new records of {header.site}/{header.door}, "
        f"journal {header.journal_id.hex()}"
    )


@log.command()
@click.argument("file", required=False, type=FILE)
@click.option("--database", metavar="URL", help="The collector's database instead of a file.")
@REGISTER
@JSON
def verify(file: Path | None, database: str | None, register: Path, is_json: bool) -> None:
    """Check that every record is there and as its door wrote it: in an export or in the database.

    The door register has each journal's first key. Exit code 1, and the first record that was
    changed, dropped, reordered or forged is named, where anything is wrong. What the door itself
    says was overwritten before it was delivered is told, and is not wrong. In the database the columns
    that reports are made of are compared with the records. Nobody can tell that
    records are missing behind the last one: compare it with the door's own.
    """
    if (file is None) == (database is None):
        raise click.UsageError("name an export, or a database with --database")
    journals = _in_file(file) if file is not None else _in_database(database or "")
    doors = Register(register)
    told = [_look(doors, journal) for journal in journals]
    if is_json:
        output.print_json(told)
    else:
        for one in told:
            _tell(one)
    if not told:
        raise DoorctlError("there is no record to verify")
    if not all(one["is_sound"] for one in told):
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class _Journal:
    """What is to be verified. first, tag: where it begins.

    odd: what is wrong beside the records themselves; known once `rows` were read.
    """

    site: str
    door: str
    id: bytes
    rows: Iterable[tuple[int, bytes]]
    first: int = 1
    tag: bytes = FIRST_TAG
    odd: list[chain.Fault] = field(default_factory=list)


def _in_file(path: Path) -> Iterator[_Journal]:
    header, rows = read_export(path)
    yield _Journal(header.site, header.door, header.journal_id, rows, header.first, header.tag)


def _in_database(url: str) -> Iterator[_Journal]:
    database = Database(url, is_made=False)
    try:
        for site, door, journal_id in database.journals():
            try:
                name = bytes.fromhex(journal_id)
            except ValueError:
                raise DoorctlError(
                    f"database: {site}/{door} has records of {journal_id!r}, which is no journal's "
                    "id (16 hexadecimal digits): somebody changed them"
                ) from None
            odd: list[chain.Fault] = []
            rows = _compared(database.raw_records(site, door, journal_id), odd)
            yield _Journal(site, door, name, rows, odd=odd)
    finally:
        database.close()


def _compared(
    rows: Iterable[tuple[int, bytes, list[str]]], odd: list[chain.Fault]
) -> Iterator[tuple[int, bytes]]:
    """Yield (sequence, record); add to `odd` where a row's columns, which reports are made of, are
    not what the record says."""
    for sequence, raw, columns in rows:
        if columns:
            text = f"record {sequence} says otherwise than its row: {', '.join(columns)}"
            odd.append(chain.Fault(sequence, text))
        yield sequence, raw


def _look(doors: Register, journal: _Journal) -> dict:
    """Verify one journal; return what is to be told of it."""
    told: dict = {"site": journal.site, "door": journal.door, "journal": journal.id.hex()}
    entry = doors.door(journal.site, journal.door)
    key = None
    if entry is not None:
        key = entry.journal_key(journal.id)
    if key is None:
        fault = f"the register {doors.folder} has no key for it"
        return {**told, "is_sound": False, "records": 0, "faults": [fault], "told": []}
    verdict = chain.verify(journal.rows, key, journal.first, journal.tag)
    faults = sorted(verdict.faults + journal.odd, key=lambda fault: fault.sequence)
    return {
        **told,
        "is_sound": not faults,
        "records": verdict.count,
        "first": verdict.first,
        "last": verdict.last,
        "faults": [fault.text for fault in faults],
        "told": verdict.told,
    }


def _tell(one: dict) -> None:
    name = f"{one['site']}/{one['door']}, journal {one['journal']}"
    if one["is_sound"]:
        span = f", {one['first']} to {one['last']}" if one["records"] else ""
        click.echo(f"{name}: {one['records']} records{span}: as the door wrote them")
    else:
        faults = one["faults"]
        click.echo(click.style(f"{name}: {faults[0]}", fg="red", bold=True))
        for fault in faults[1:_SHOWN_FAULTS]:
            click.echo(f"  {fault}")
        if len(faults) > _SHOWN_FAULTS:
            click.echo(f"  and {len(faults) - _SHOWN_FAULTS} more")
    for text in one["told"]:
        click.echo(f"  {text}")
