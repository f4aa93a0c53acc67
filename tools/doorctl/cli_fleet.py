"""`doorctl fleet`: how all doors are, from the collectors' database."""

import dataclasses
import datetime
import json

import click
from sqlalchemy.exc import SQLAlchemyError

from doorctl import fleet as fleets
from doorctl.database import Database, explain, utc_now
from doorctl.errors import DoorctlError, warn
from doorctl.output import print_table

_ONLINE = {True: "yes", False: "NO", None: "?"}


@click.group()
def fleet() -> None:
    """Show how all doors are."""


@fleet.command()
@click.option(
    "--database",
    default="sqlite:///records.db",
    show_default=True,
    metavar="URL",
    help="The collectors' database.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")
def status(database: str, is_json: bool) -> None:
    """Show each door: online, last seen, lists, what it has not sent yet, clock, alarms.

    Times are UTC. `unsent` is how many records wait on the door, and the first one's number, as of
    its last health message.
    """
    store = Database(database, is_made=False)
    try:
        found = fleets.read(store)
    except SQLAlchemyError as error:
        raise DoorctlError(f"database {store.name}: {explain(error)}") from None
    finally:
        store.close()
    if is_json:
        click.echo(
            json.dumps(
                {
                    "collector_seen_at": _spell(found.collector_seen_at),
                    "is_watched": found.is_watched,
                    "doors": [_facts(door) for door in found.doors],
                },
                indent=2,
            )
        )
        return
    if not found.is_watched:
        warn(f"no collector is running; the last one wrote {_ago(found.collector_seen_at)}")
    print_table(
        ("door", "online", "last seen", "lists", "unsent", "clock", "alarms"),
        [
            (
                f"{door.site}/{door.door}",
                _ONLINE[door.is_online],
                _spell(door.seen_at) or "never",
                _lists(door),
                _unsent(door),
                door.clock_quality or "?",
                ", ".join(door.alarms) or "none",
            )
            for door in found.doors
        ],
    )


def _lists(door: fleets.Door) -> str:
    words = [f"{issuer} {version}" for issuer, version in door.lists.items()]
    words += [f"{issuer} denied {version}" for issuer, version in door.denied.items()]
    if door.key_ring is not None:
        words.append(f"ring {door.key_ring}")
    return ", ".join(words) or "?"


def _unsent(door: fleets.Door) -> str:
    if door.unsent is None:
        return "?"
    return f"{door.unsent} from {door.oldest_unsent}" if door.oldest_unsent else str(door.unsent)


def _facts(door: fleets.Door) -> dict:
    facts = {
        name: _spell(value) if isinstance(value, datetime.datetime) else value
        for name, value in dataclasses.asdict(door).items()
    }
    facts["alarms"] = [
        {"alarm": name, "since": _spell(since)} for name, since in door.alarms.items()
    ]
    return facts


def _spell(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _ago(moment: datetime.datetime | None) -> str:
    if moment is None:
        return "nothing"
    seconds = int((utc_now() - moment).total_seconds())
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} seconds ago"
