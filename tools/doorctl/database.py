"""The collector's database: one row a record, and the door register beside it."""

import datetime
from collections.abc import Iterator

import sqlalchemy as sa
from doorward import values
from doorward.journal.record import Record
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from doorctl.errors import DoorctlError

_YIELD_ROWS = 1000

metadata = sa.MetaData()

# fmt: off
records = sa.Table(
    "records",
    metadata,
    sa.Column("site",          sa.String(16),     primary_key=True),
    sa.Column("door",          sa.String(24),     primary_key=True),
    sa.Column("sequence",      sa.BigInteger,     primary_key=True),
    sa.Column("boot",          sa.Integer,        nullable=False),
    sa.Column("event",         sa.String(24),     nullable=False),
    sa.Column("reason",        sa.String(24),     nullable=False),
    sa.Column("posture",       sa.String(12),     nullable=False),
    sa.Column("happened_at",   sa.DateTime,       nullable=True),
    sa.Column("clock_quality", sa.String(8),      nullable=False),
    sa.Column("ticks_ms",      sa.BigInteger,     nullable=False),
    sa.Column("badge",         sa.String(20),     nullable=False),
    sa.Column("class",         sa.String(12),     nullable=False),
    sa.Column("list_version",  sa.BigInteger,     nullable=False),
    sa.Column("decision_us",   sa.Integer,        nullable=False),
    sa.Column("relay_us",      sa.Integer,        nullable=False),
    sa.Column("detail",        sa.BigInteger,     nullable=False),
    sa.Column("raw",           sa.LargeBinary,    nullable=False),
)
# fmt: on


_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def describe(record: Record) -> dict:
    """Return a record in words: what the database, `doorctl log` and the demo show."""
    event = record.event
    happened = (
        datetime.datetime.fromtimestamp(record.wall_s, datetime.timezone.utc).replace(tzinfo=None)
        if record.wall_s
        else None
    )
    return {
        "sequence": record.sequence,
        "boot": record.boot,
        "event": values.EVENTS.get(event.code, f"event-{event.code}"),
        "reason": _reason(event),
        "posture": _name(values.POSTURES, event.posture),
        "happened_at": happened,
        "clock_quality": _name(values.CLOCK_QUALITIES, record.clock_quality),
        "ticks_ms": event.ticks_ms,
        "badge": event.badge_id.hex(),
        "class": values.CLASSES.get(event.cardholder_class, ""),
        "list_version": event.list_version,
        "decision_us": event.decision_us,
        "relay_us": event.relay_us,
        "detail": _detail(event),
    }


def _detail(event: values.Event) -> int:
    """Return the detail, with its sign where it has one."""
    if event.code == values.CLOCK_SET and event.detail >= 1 << 31:
        return event.detail - (1 << 32)
    return event.detail


def _reason(event: values.Event) -> str:
    """Return the reason's name: what it is a number of depends on the event."""
    if event.code == values.COMMAND_OBEYED:
        return values.COMMANDS.get(event.reason, "")
    if event.code in (values.POSTURE_CHANGED, values.TEAM_HOLD_OVER):
        return values.POSTURE_CAUSES.get(event.reason, "")
    if event.code == values.RESTARTED:
        return values.RESTART_CAUSES.get(event.reason, "")
    if event.code == values.TEAM_HOLD:
        return ""
    names = values.REFUSALS if event.code == values.OBJECT_REFUSED else values.REASONS
    return names[event.reason][0] if event.reason in names else ""


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else str(number)


class Conflict(DoorctlError):
    """A door sent a record that is known with other content."""


class Database:
    """Where the collector keeps records. A record is known by site, door and sequence."""

    def __init__(self, url: str) -> None:
        """url: SQLAlchemy's, for instance sqlite:///records.db. Tables are made where missing.

        Raises DoorctlError.
        """
        try:
            if sa.engine.make_url(url).get_backend_name() not in _INSERT:
                raise DoorctlError(f"database {url}: the collector knows sqlite and postgresql")
            self._engine = sa.create_engine(url)
            metadata.create_all(self._engine)
        except (SQLAlchemyError, ImportError) as error:
            # SQLAlchemy goes on with a link on a line of its own.
            raise DoorctlError(f"database {url}: {str(error).splitlines()[0]}") from None

    def add(self, site: str, door: str, batch: list[tuple[Record, bytes]]) -> int:
        """Store a batch in one transaction, committed on return; return how many were new.

        batch: (record, its bytes), consecutive. Raises Conflict, and stores nothing, where a record
        is known with other bytes: then this is another door by the same name, and acknowledging
        it would lose its events.
        """
        first, last = batch[0][0].sequence, batch[-1][0].sequence
        query = sa.select(records.c.sequence, records.c.raw).where(
            records.c.site == site,
            records.c.door == door,
            records.c.sequence.between(first, last),
        )
        with self._engine.begin() as connection:
            known = {row.sequence: bytes(row.raw) for row in connection.execute(query)}
            for record, raw in batch:
                if known.get(record.sequence, raw) != raw:
                    raise Conflict(f"{site}/{door}: record {record.sequence} is known otherwise")
            rows = [
                {"site": site, "door": door, "raw": raw, **describe(record)}
                for record, raw in batch
                if record.sequence not in known
            ]
            if rows:
                # Another collector may have stored them between the two statements.
                statement = _INSERT[self._engine.dialect.name](records).on_conflict_do_nothing()
                connection.execute(statement, rows)
            return len(rows)

    def of_door(self, site: str, door: str) -> list[sa.Row]:
        """Return all records of a door in order."""
        query = (
            sa.select(records)
            .where(records.c.site == site, records.c.door == door)
            .order_by(records.c.sequence)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query))

    def journals(self) -> list[tuple[str, str, str]]:
        """Return (site, door, journal) of all that is kept; the journal's id in hexadecimal, ""
        where records were kept without."""
        query = sa.select(records.c.site, records.c.door).distinct().order_by("site", "door")
        with self._engine.connect() as connection:
            return [(row.site, row.door, "") for row in connection.execute(query)]

    def raw_records(self, site: str, door: str, journal: str) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, record) of one journal in order."""
        query = (
            sa.select(records.c.sequence, records.c.raw)
            .where(records.c.site == site, records.c.door == door)
            .order_by(records.c.sequence)
        )
        with self._engine.connect() as connection:
            for row in connection.execute(query, execution_options={"yield_per": _YIELD_ROWS}):
                yield row.sequence, bytes(row.raw)

    def close(self) -> None:
        self._engine.dispose()
