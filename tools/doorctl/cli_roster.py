"""doorctl roster: check a roster before a list is made from it."""

from pathlib import Path

import click

from doorctl import roster as rosters
from doorctl.output import print_json


@click.group()
def roster() -> None:
    """Check a roster before a list is made from it."""


@roster.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON; every problem is in it.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Read rosters (CSV), report every mistake by file, line and column, or sum them up.

    Columns: badge (UID in hexadecimal) and class (responder, staff, visitor); if wanted level
    (0-15), valid_from, valid_until (ISO date or date and time, UTC unless it names an offset; a
    bare date counts from its first second, or to its last), authenticate (yes, no). Columns that
    begin with name or note stay on this computer. Several files are checked as one: no badge may
    stand twice.
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


def _sentence(summary: dict) -> str:
    classes = ", ".join(f"{count} {name}" for name, count in summary["classes"].items())
    levels = ", ".join(f"{level} ({count})" for level, count in summary["levels"].items())
    expiry = summary["earliest_expiry"] or "never"
    return (
        f"{summary['file']}: {summary['badges']} badges: {classes}; "
        f"levels {levels}; earliest expiry {expiry}"
    )
