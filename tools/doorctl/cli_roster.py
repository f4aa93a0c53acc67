"""doorctl roster: check a roster before a list is made from it, or import one."""

from pathlib import Path

import click
from doorward.access.allowlist import MAX_LEVEL
from doorward.values import CLASSES

from doorctl import roster as rosters
from doorctl import roster_import
from doorctl.errors import DoorctlError
from doorctl.options import FILE
from doorctl.output import print_json, write_file


@click.group()
def roster() -> None:
    """Check a roster before a list is made from it, or import one."""


@roster.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON; every problem is in it.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Read rosters (CSV), report every mistake by file, line and column, or sum them up.

    Columns: badge (UID in hexadecimal) and class (responder, staff, visitor); if wanted level
    (0-15), valid_from, valid_until (ISO date or date and time, UTC unless it names an offset; a
    bare date counts from its first second, or to its last), authenticate and extended (yes, no).
    Columns that begin with name or note stay on this computer. A cell is one line. Several files
    are checked as one: no badge may stand twice.
    """
    read = rosters.read_rosters(files)
    has_problems = any(each.problems for each in read)
    if as_json:
        print_json(
            [{**rosters.summarize(each), "problems": each.problems} for each in read],
        )
        if has_problems:
            raise click.exceptions.Exit(1)
        return
    for each in read:
        if not each.problems:
            click.echo(_sentence(rosters.summarize(each)))
    if has_problems:
        raise rosters.RosterRefused(read)


def _columns(ctx: click.Context, parameter: click.Parameter, texts: tuple) -> dict[str, str]:
    names: dict[str, str] = {}
    for text in texts:
        name, _, column = (part.strip() for part in text.rpartition("="))
        if not name or not column:
            raise click.BadParameter(f'{text!r} is not "COLUMN=badge", or what else a roster has')
        if name.lower() in names:
            raise click.BadParameter(f"column {name!r} is given twice")
        names[name.lower()] = column.lower()
    return names


@roster.command("import")
@click.argument("source", type=FILE)
@click.option("--out", required=True, type=FILE, help="The roster to write (CSV).")
@click.option(
    "--map",
    "names",
    multiple=True,
    callback=_columns,
    metavar="COLUMN=NAME",
    help='What a column is in a roster, such as "Card Number=badge". Repeat.',
)
@click.option("--class", "kind", type=click.Choice(list(CLASSES.values())), help="Of every badge.")
@click.option("--level", type=click.IntRange(0, MAX_LEVEL), help="Of every badge.")
@click.option(
    "--format",
    "number_format",
    type=click.Choice(roster_import.FORMATS),
    default="hex",
    show_default=True,
    help="How badge numbers are written. A 26-bit Wiegand number is too short to be a UID.",
)
@click.option("--reversed", "is_reversed", is_flag=True, help="Their last byte stands first.")
def import_(
    source: Path,
    out: Path,
    names: dict[str, str],
    kind: str | None,
    level: int | None,
    number_format: str,
    is_reversed: bool,
) -> None:
    """Make a roster of another system's export (CSV).

    A column that is called as in a roster needs no --map; a column that a roster has not is passed
    over. Every mistake is told by file, line and column, and nothing is written when there is one.
    Names and notes come along: the roster stays on this computer, and no list has them.
    """
    if out.exists() and out.samefile(source):
        raise DoorctlError(f"{out}: is the export itself; write the roster to another file")
    fixed = {}
    if kind is not None:
        fixed["class"] = kind
    if level is not None:
        fixed["level"] = str(level)
    try:
        rows = roster_import.read_export(source, names, fixed, number_format, is_reversed)
    except rosters.RosterRefused as error:
        error.shown = len(error.problems)
        raise
    write_file(out, roster_import.write_roster(rows))
    click.echo(_sentence(rosters.summarize(rosters.Roster(out, rows))))


def _sentence(summary: dict) -> str:
    classes = ", ".join(f"{count} {name}" for name, count in summary["classes"].items())
    levels = ", ".join(f"{level} ({count})" for level, count in summary["levels"].items())
    expiry = summary["earliest_expiry"] or "never"
    return (
        f"{summary['file']}: {summary['badges']} badges: {classes}; "
        f"levels {levels}; earliest expiry {expiry}"
    )
