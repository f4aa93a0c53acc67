"""How the doors are, from what the collectors wrote down of their messages and records."""

import datetime
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from doorward import config, values

from doorctl import alarms
from doorctl.database import (
    Database,
    collectors,
    conflicts,
    doors,
    journals,
    records,
    standings,
    utc_now,
)

# Without word from a collector for so long, nobody knows who is online.
_COLLECTOR_SILENT_S = 30
# A door says how it is at least once an hour, if that long a pause was configured; one message may
# be lost. A broker that was killed forgets the wills of its doors, and keeps that they were online.
_DOOR_SILENT_S = 2 * next(one.high for one in config.SETTINGS if one.name == "health_s") + 60
# A conflict comes again with every attempt of the door; one that was settled goes away.
_CONFLICT_STANDS_S = 86_400
# Two collectors' clocks differ, and messages overtake one another.
_MARGIN_S = 60
_MOST_U32 = 0xFFFFFFFF
_POSTURES = {values.POSTURES[number]: alarm for number, alarm in alarms.BY_POSTURE.items()}

Key = tuple[str, str]


@dataclass(slots=True)
class Door:
    """One door. None: not known.

    is_online: by its last state, while a collector is there to hear it, and for as long as the door
    is heard of. journal: the one in use.
    lists, denied: issuer -> version. unsent: records that wait on the door, as of its last health
    message; oldest_unsent: the sequence of the first one. delivered_until: wall time of the last
    record that has come. alarms: name -> since when, None where the door's clock was unset.
    """

    site: str
    door: str
    is_online: bool | None = None
    seen_at: datetime.datetime | None = None
    health_at: datetime.datetime | None = None
    firmware: str | None = None
    board: str | None = None
    journal: str | None = None
    posture: str | None = None
    clock_quality: str | None = None
    key_ring: int | None = None
    lists: dict[str, int] = field(default_factory=dict)
    denied: dict[str, int] = field(default_factory=dict)
    unsent: int | None = None
    oldest_unsent: int | None = None
    last_sequence: int | None = None
    delivered_until: datetime.datetime | None = None
    alarms: dict[str, datetime.datetime | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All doors, and the newest word of a collector."""

    doors: list[Door]
    collector_seen_at: datetime.datetime | None
    is_watched: bool


def read(database: Database) -> Fleet:
    """Return how the doors are."""
    now = utc_now()
    with database.reading() as connection:
        seen_at = connection.scalar(sa.select(sa.func.max(collectors.c.seen_at)))
        fleet = {(row.site, row.door): row for row in connection.execute(sa.select(doors))}
        used = _by_door(connection, journals)
        standing = _by_door(connection, standings)
        known = _by_door(connection, conflicts)
        newest = _newest(connection)
    is_watched = seen_at is not None and _age_s(now, seen_at) < _COLLECTOR_SILENT_S
    found = []
    for key in sorted({*fleet, *used, *standing}):
        door = Door(*key)
        health = _take_words(door, fleet.get(key), is_watched, now)
        if key in used:
            # A name that got a new journal has a new board; the old one is not it any more.
            door.journal = max(used[key], key=lambda row: (row.first_at, row.last_at)).journal
        door.last_sequence, door.delivered_until = newest.get((*key, door.journal), (None, None))
        rows = [row for row in standing.get(key, ()) if row.journal == door.journal]
        _take_alarms(door, rows, health)
        _take_conflicts(door, used.get(key, []), known.get(key, []), now)
        found.append(door)
    return Fleet(found, seen_at, is_watched)


def _by_door(connection: sa.Connection, table: sa.Table) -> dict[Key, list[sa.Row]]:
    found: dict[Key, list[sa.Row]] = {}
    for row in connection.execute(sa.select(table)):
        found.setdefault((row.site, row.door), []).append(row)
    return found


def _newest(connection: sa.Connection) -> dict[tuple, tuple[int, datetime.datetime | None]]:
    """Return sequence and time of the last record of each journal, by site, door and journal."""

    def last(column: sa.Column) -> sa.ScalarSelect:
        return (
            sa.select(column)
            .where(
                records.c.site == journals.c.site,
                records.c.door == journals.c.door,
                records.c.journal == journals.c.journal,
            )
            .order_by(records.c.sequence.desc())
            .limit(1)
            .correlate(journals)
            .scalar_subquery()
        )

    query = sa.select(
        journals.c.site,
        journals.c.door,
        journals.c.journal,
        last(records.c.sequence),
        last(records.c.happened_at),
    )
    return {tuple(row[:3]): (row[3], row[4]) for row in connection.execute(query)}


def _take_words(door: Door, row: sa.Row | None, is_watched: bool, now: datetime.datetime) -> dict:
    """Take what the door said of itself; return its last health message."""
    if row is None:
        return {}
    door.seen_at = row.seen_at
    is_gone = row.is_online and _age_s(now, row.seen_at) >= _DOOR_SILENT_S
    door.is_online = row.is_online if is_watched and not is_gone else None
    birth, health = parse(row.birth), parse(row.health)
    door.health_at = row.health_at
    door.firmware = _text(health.get("firmware")) or _text(birth.get("firmware"))
    door.board = _text(birth.get("board"))
    door.journal = _text(birth.get("journal"))
    door.posture = _text(health.get("posture"))
    door.clock_quality = _text(_part(health, "clock").get("quality"))
    door.key_ring = _number(health.get("key_ring"))
    door.lists = _versions(health.get("lists"))
    door.denied = _versions(health.get("denied"))
    journal = _part(health, "journal")
    door.unsent = _number(journal.get("pending"))
    acknowledged = _number(journal.get("acknowledged"))
    if door.unsent and acknowledged is not None:
        door.oldest_unsent = acknowledged + 1
    return health


def _take_alarms(door: Door, rows: Iterable[sa.Row], health: dict) -> None:
    """Put together what records and health say of alarms: where both do, the later one counts."""
    by_name = {row.alarm: row for row in rows}
    start = by_name.pop(alarms.BOOT, None)
    told = _told(health)
    for name in alarms.NAMES:
        row = by_name.get(name)
        is_current = row is not None and (start is None or row.sequence >= start.sequence)
        stands = is_current and row.is_on
        since = row.happened_at if stands else None
        heard_at = row.received_at if row is not None else None
        if start is not None:
            heard_at = max(heard_at or start.received_at, start.received_at)
        if name in told and (heard_at is None or door.health_at > heard_at):
            stands = told[name]
            since = since or (door.health_at if stands else None)
        if stands:
            door.alarms[name] = since


def _told(health: dict) -> dict[str, bool]:
    """Return what a health message says of alarms."""
    found = {}
    inputs = _part(health, "inputs")
    for name, alarm in alarms.BY_INPUT.items():
        if isinstance(inputs.get(name), bool):
            found[alarm] = inputs[name]
    posture = health.get("posture")
    if posture in values.POSTURES:
        for name, alarm in _POSTURES.items():
            found[alarm] = posture == name
    is_up = _part(health, "reader").get("is_up")
    if isinstance(is_up, bool):
        found[alarms.READER_DOWN] = not is_up
    return found


def _take_conflicts(
    door: Door, used: list[sa.Row], known: list[sa.Row], now: datetime.datetime
) -> None:
    """Two boards by one name: with one journal they contradict each other, with two they alternate."""
    since = [row.first_at for row in known if _age_s(now, row.last_at) < _CONFLICT_STANDS_S]
    for row in used:
        for later in used:
            is_heard_again = (
                later.first_at > row.first_at and _age_s(row.last_at, later.first_at) > _MARGIN_S
            )
            if is_heard_again and _age_s(now, row.last_at) < _CONFLICT_STANDS_S:
                since.append(later.first_at)
    if since:
        door.alarms[alarms.CONFLICT] = min(since)


def parse(text: str | None) -> dict:
    """Return the JSON object that a door sent, or {}: nobody vouches for it."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _age_s(now: datetime.datetime, then: datetime.datetime) -> float:
    return (now - then).total_seconds()


def _part(found: dict, name: str) -> dict:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: Any) -> str | None:
    """Return a text that a terminal can show and does not obey."""
    return value if isinstance(value, str) and value.isprintable() else None


def _number(value: Any) -> int | None:
    """Return a count, a version or a sequence: no door has one beyond 32 bits, and a gauge could not
    hold every number that JSON can."""
    return value if type(value) is int and 0 <= value <= _MOST_U32 else None


def _versions(value: Any) -> dict[str, int]:
    if not isinstance(value, list):
        return {}
    return {
        one["issuer"]: one["version"]
        for one in value
        if isinstance(one, dict)
        and _text(one.get("issuer")) is not None
        and _number(one.get("version")) is not None
    }
