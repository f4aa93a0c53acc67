"""`doorctl report`: records out of the collectors' database, by door, badge and time."""

import csv
import datetime
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import click
import sqlalchemy as sa
from doorward.access.control import blind
from doorward.trust.primitives import HmacKey
from doorward.values import BADGE_ID_BYTES
from sqlalchemy.exc import SQLAlchemyError

from doorctl.database import Database, explain, records
from doorctl.errors import DoorctlError, warn
from doorctl.keys import load_site_key
from doorctl.options import FILE
from doorctl.roster import identity_of, parse_time, parse_uid

COLUMNS = (
    "site",
    "door",
    "journal",
    "sequence",
    "happened_at",
    "clock_quality",
    "event",
    "reason",
    "posture",
    "class",
    "badge",
    "list_version",
    "decision_us",
    "relay_us",
    "detail",
    "boot",
    "ticks_ms",
    "received_at",
)


@click.command()
@click.option(
    "--database",
    default="sqlite:///records.db",
    show_default=True,
    metavar="URL",
    help="The collectors' database.",
)
@click.option("--door", metavar="[SITE/]DOOR", help="This door alone.")
@click.option(
    "--badge",
    metavar="HEX",
    help="This badge alone: its UID, with --site-key; else its blinded id, 20 digits.",
)
@click.option("--site-key", type=FILE, help="The site's key, which blinds the UID.")
@click.option("--from", "first", metavar="TIME", help="ISO date or date and time, UTC.")
@click.option("--to", "last", metavar="TIME", help="The same; a bare date counts to its end.")
@click.option(
    "--format", "form", type=click.Choice(("csv", "json")), default="csv", show_default=True
)
@click.option("--out", type=FILE, help="A new file; default: standard output.")
def report(
    database: str,
    door: str | None,
    badge: str | None,
    site_key: Path | None,
    first: str | None,
    last: str | None,
    form: str,
    out: Path | None,
) -> None:
    """Write records as CSV or JSON, door by door in order; those of one badge in order of time.

    Times are the doors' own clocks', UTC, as good as clock_quality says. Records from before a
    door knew the time have none: --from and --to leave them out, and say how many.
    """
    where = []
    if door is not None:
        site, _, name = door.rpartition("/")
        where.append(records.c.door == name)
        if site:
            where.append(records.c.site == site)
    if badge is not None:
        where.append(records.c.badge == _badge_id(badge, site_key).hex())
    span = _span(first, last)
    order = (records.c.happened_at,) if badge is not None else ()
    query = (
        sa.select(*(records.c[name] for name in COLUMNS))
        .where(*where, *span)
        .order_by(*order, *records.primary_key.columns)
    )
    store = Database(database, is_made=False)
    try:
        rows = (dict(zip(COLUMNS, row)) for row in store.stream(query))
        count = _write(rows, form, out)
        if span:
            timeless = sa.select(sa.func.count()).select_from(records)
            timeless = timeless.where(*where, records.c.happened_at.is_(None))
            without = next(iter(store.stream(timeless)))[0]
            if without:
                warn(f"{without} records have no time and are left out")
    except SQLAlchemyError as error:
        raise DoorctlError(f"database {store.name}: {explain(error)}") from None
    finally:
        store.close()
    if out is not None:
        click.echo(f"{out}: {count} records")


def _badge_id(text: str, site_key: Path | None) -> bytes:
    """Return the blinded id of what --badge says. Raises DoorctlError."""
    if site_key is not None:
        try:
            identity = identity_of(parse_uid(text.strip()))
        except ValueError as error:
            raise DoorctlError(f"--badge: {error}") from None
        return blind(HmacKey(load_site_key(site_key)), identity)
    if not re.fullmatch(f"[0-9A-Fa-f]{{{2 * BADGE_ID_BYTES}}}", text):
        raise DoorctlError(
            f"--badge: {text!r} is no blinded id of {2 * BADGE_ID_BYTES} hexadecimal digits; a "
            "UID needs --site-key"
        )
    return bytes.fromhex(text)


def _span(first: str | None, last: str | None) -> list:
    where = []
    try:
        if first is not None:
            where.append(records.c.happened_at >= _moment(parse_time(first, is_end=False)))
        if last is not None:
            where.append(records.c.happened_at < _moment(parse_time(last, is_end=True)))
    except ValueError as error:
        raise DoorctlError(f"--from, --to: {error}") from None
    return where


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).replace(tzinfo=None)


def _write(rows: Iterable[Mapping], form: str, out: Path | None) -> int:
    """Write the rows as they come; return how many. A file that is not whole does not stay."""
    if out is None:
        return _WRITERS[form](rows, sys.stdout)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise DoorctlError(f"{out}: exists, and is not overwritten") from None
    except OSError as error:
        raise DoorctlError(f"{out}: {error.strerror}") from None
    is_whole = False
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            count = _WRITERS[form](rows, file)
        is_whole = True
    except OSError as error:
        raise DoorctlError(f"{out}: {error.strerror}") from None
    finally:
        if not is_whole:
            out.unlink(missing_ok=True)
    return count


def _write_csv(rows: Iterable[Mapping], file: IO[str]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        writer.writerow(_plain(value) for value in row.values())
        count += 1
    return count


def _write_json(rows: Iterable[Mapping], file: IO[str]) -> int:
    """One JSON array, a record on each line."""
    count = 0
    for row in rows:
        file.write(",\n" if count else "[\n")
        file.write(json.dumps({name: _plain(value) for name, value in row.items()}))
        count += 1
    file.write("\n]\n" if count else "[]\n")
    return count


_WRITERS = {"csv": _write_csv, "json": _write_json}


def _plain(value: object) -> object:
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="seconds") + "Z"
    return value
