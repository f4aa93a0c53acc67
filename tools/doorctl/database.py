"""The collector's database: what doors sent, how they are, and what is offered to them."""

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from doorward import values
from doorward.journal.record import Record, unpack
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from doorctl import alarms
from doorctl.errors import DoorctlError

# Counts changes of the tables; the first ones had no number.
SCHEMA = 2
_CONNECT_TIMEOUT_S = 5
_BUSY_TIMEOUT_S = 10
_STATEMENT_TIMEOUT_MS = 60_000
# "Door", so that two programs that make the same tables do so one after the other.
_SCHEMA_LOCK = 0x446F6F72
_YIELD_ROWS = 1000

metadata = sa.MetaData()

# fmt: off
schema = sa.Table(
    "schema",
    metadata,
    sa.Column("version",       sa.Integer,        primary_key=True, autoincrement=False),
)
records = sa.Table(
    "records",
    metadata,
    sa.Column("site",          sa.String(16),     primary_key=True),
    sa.Column("door",          sa.String(24),     primary_key=True),
    sa.Column("journal",       sa.String(16),     primary_key=True),
    sa.Column("sequence",      sa.BigInteger,     primary_key=True),
    sa.Column("boot",          sa.Integer,        nullable=False),
    sa.Column("event",         sa.String(24),     nullable=False),
    sa.Column("reason",        sa.String(24),     nullable=False),
    sa.Column("posture",       sa.String(12),     nullable=False),
    sa.Column("happened_at",   sa.DateTime,       nullable=True, index=True),
    sa.Column("clock_quality", sa.String(8),      nullable=False),
    sa.Column("ticks_ms",      sa.BigInteger,     nullable=False),
    sa.Column("badge",         sa.String(20),     nullable=False),
    sa.Column("class",         sa.String(12),     nullable=False),
    sa.Column("list_version",  sa.BigInteger,     nullable=False),
    sa.Column("decision_us",   sa.Integer,        nullable=False),
    sa.Column("relay_us",      sa.Integer,        nullable=False),
    sa.Column("detail",        sa.BigInteger,     nullable=False),
    sa.Column("received_at",   sa.DateTime,       nullable=False),
    sa.Column("raw",           sa.LargeBinary,    nullable=False),
    # One tree instead of two: rows are wanted by door, in order.
    sqlite_with_rowid=False,
)
# Most records are of no badge.
sa.Index(
    "records_badge",
    records.c.badge,
    records.c.happened_at,
    sqlite_where=records.c.badge != "",
    postgresql_where=records.c.badge != "",
)
doors = sa.Table(
    "doors",
    metadata,
    sa.Column("site",          sa.String(16),     primary_key=True),
    sa.Column("door",          sa.String(24),     primary_key=True),
    sa.Column("seen_at",       sa.DateTime,       nullable=False),
    sa.Column("is_online",     sa.Boolean,        nullable=True),
    sa.Column("birth",         sa.Text,           nullable=True),
    sa.Column("health",        sa.Text,           nullable=True),
    sa.Column("health_at",     sa.DateTime,       nullable=True),
)
# The journals that a door's name has had: more than one after it was provisioned anew.
journals = sa.Table(
    "journals",
    metadata,
    sa.Column("site",          sa.String(16),     primary_key=True),
    sa.Column("door",          sa.String(24),     primary_key=True),
    sa.Column("journal",       sa.String(16),     primary_key=True),
    sa.Column("first_at",      sa.DateTime,       nullable=False),
    sa.Column("last_at",       sa.DateTime,       nullable=False),
)
# What records last said of each alarm: see alarms.changes.
standings = sa.Table(
    "standings",
    metadata,
    sa.Column("site",          sa.String(16),     primary_key=True),
    sa.Column("door",          sa.String(24),     primary_key=True),
    sa.Column("journal",       sa.String(16),     primary_key=True),
    sa.Column("alarm",         sa.String(24),     primary_key=True),
    sa.Column("sequence",      sa.BigInteger,     nullable=False),
    sa.Column("is_on",         sa.Boolean,        nullable=False),
    sa.Column("happened_at",   sa.DateTime,       nullable=True),
    sa.Column("received_at",   sa.DateTime,       nullable=False),
)
# Records that came with other content than is known: two doors with one identity.
conflicts = sa.Table(
    "conflicts",
    metadata,
    sa.Column("site",          sa.String(16),     primary_key=True),
    sa.Column("door",          sa.String(24),     primary_key=True),
    sa.Column("journal",       sa.String(16),     primary_key=True),
    sa.Column("sequence",      sa.BigInteger,     nullable=False),
    sa.Column("first_at",      sa.DateTime,       nullable=False),
    sa.Column("last_at",       sa.DateTime,       nullable=False),
)
# What doors are offered: the newest of each type, site, issuer and door groups.
objects = sa.Table(
    "objects",
    metadata,
    sa.Column("site",          sa.String(16),     primary_key=True),
    sa.Column("type",          sa.Integer,        primary_key=True, autoincrement=False),
    sa.Column("issuer",        sa.String(16),     primary_key=True),
    sa.Column("groups",        sa.Integer,        primary_key=True, autoincrement=False),
    sa.Column("version",       sa.BigInteger,     nullable=False),
    sa.Column("digest",        sa.String(64),     nullable=False),
    sa.Column("bytes",         sa.Integer,        nullable=False),
    sa.Column("published_at",  sa.DateTime,       nullable=False),
    sa.Column("data",          sa.LargeBinary,    nullable=False),
)
collectors = sa.Table(
    "collectors",
    metadata,
    sa.Column("name",          sa.String(64),     primary_key=True),
    sa.Column("seen_at",       sa.DateTime,       nullable=False),
    sa.Column("is_connected",  sa.Boolean,        nullable=False),
)
# fmt: on

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def utc_now() -> datetime.datetime:
    """Return the time as every table has it: UTC, without saying so."""
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def describe(record: Record) -> dict:
    """Return a record in words: what the database, `doorctl log` and the demo show."""
    event = record.event
    return {
        "sequence": record.sequence,
        "boot": record.boot,
        "event": values.EVENTS.get(event.code, f"event-{event.code}"),
        "reason": _reason(event),
        "posture": _name(values.POSTURES, event.posture),
        "happened_at": happened_at(record),
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


def happened_at(record: Record) -> datetime.datetime | None:
    """Return a record's wall time; None where the door's clock was unset."""
    if not record.wall_s:
        return None
    moment = datetime.datetime.fromtimestamp(record.wall_s, datetime.timezone.utc)
    return moment.replace(tzinfo=None)


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


def explain(error: SQLAlchemyError) -> str:
    """Return a database's error on one line."""
    # SQLAlchemy goes on with the statement and a link, the driver with a hint.
    return (str(error).splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one journal: (record, its bytes). journal: 16 hexadecimal digits."""

    site: str
    door: str
    journal: str
    records: Sequence[tuple[Record, bytes]]

    @property
    def key(self) -> dict[str, str]:
        return {"site": self.site, "door": self.door, "journal": self.journal}


@dataclass(slots=True)
class News:
    """What was heard of one door since it was last written down. None: nothing new.

    seen_at: when something came. is_online, birth: of its state. health, health_at: the message's
    text. journals: when each journal was last heard of. is_seen: False where all of it is
    what the broker kept; then seen_at is only for a door that was not known.
    """

    seen_at: datetime.datetime
    is_online: bool | None = None
    birth: str | None = None
    health: str | None = None
    health_at: datetime.datetime | None = None
    journals: dict[str, datetime.datetime] | None = None
    is_seen: bool = True


class Database:
    """One database, for collectors and for whoever looks. Any number of them may have it open.

    A commit is durable: SQLite syncs its log (WAL, synchronous = FULL), PostgreSQL its own.
    """

    def __init__(self, url: str, *, is_made: bool = True) -> None:
        """url: SQLAlchemy's, for instance sqlite:///records.db or postgresql://user@host/name.

        is_made: tables are made where there are none. Raises DoorctlError.
        """
        try:
            parsed = sa.engine.make_url(url)
            backend = parsed.get_backend_name()
            if backend not in _DRIVERS:
                raise DoorctlError(f"database {url}: the collector knows sqlite and postgresql")
            # str() hides the password.
            self.name = str(parsed)
            if backend == "sqlite":
                self._engine = _open_sqlite(parsed, is_made)
            else:
                self._engine = _open_postgresql(parsed)
            self._check_schema(is_made)
        except (SQLAlchemyError, ImportError) as error:
            name = getattr(self, "name", url)
            raise DoorctlError(f"database {name}: {str(error).splitlines()[0]}") from None

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that writes, committed at the end of the block."""
        # SQLite would else take its lock at the first write, and fail where it read before.
        engine = self._engine.execution_options(doorctl_begin="IMMEDIATE")
        with engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction that reads."""
        with self._engine.begin() as connection:
            yield connection

    def insert(self, table: sa.Table) -> Any:
        """Return the dialect's INSERT, which knows ON CONFLICT."""
        return _INSERT[self._engine.dialect.name](table)

    def upsert(self, table: sa.Table, columns: Sequence[str]) -> Any:
        """Return an INSERT that overwrites these columns of a row that is there."""
        insert = self.insert(table)
        return insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={name: insert.excluded[name] for name in columns},
        )

    def add(self, batches: Sequence[Batch]) -> list[int | None]:
        """Store batches in one transaction, committed on return; return how many of each were new.

        None, and nothing of it stored, for a batch with a record that is known with other bytes:
        that is another door by the same name, and acknowledging it would lose its events.
        """
        now = utc_now()
        # In one order everywhere, so that two collectors wait for each other and do not deadlock.
        order = sorted(range(len(batches)), key=lambda i: _place(batches[i]))
        rows = [row for i in order for row in _rows(batches[i], now)]
        with self.writing() as connection:
            inserted = self._insert_rows(connection, rows)
            if inserted == len(rows):
                self._stand(connection, batches, now)
                return [len(batch.records) for batch in batches]
            connection.rollback()
        found: list[int | None] = [None] * len(batches)
        with self.writing() as connection:
            for i in order:
                found[i] = self._add_one(connection, batches[i], now)
            sound = [batch for i, batch in enumerate(batches) if found[i] is not None]
            self._stand(connection, sound, now)
        return found

    def _insert_rows(self, connection: sa.Connection, rows: list[dict]) -> int:
        if not rows:
            return 0
        insert = self.insert(records).on_conflict_do_nothing()
        # SQLAlchemy looks at the count of an INSERT only where it is asked to.
        how = {"preserve_rowcount": True}
        return connection.execute(insert, rows, execution_options=how).rowcount

    def _add_one(
        self, connection: sa.Connection, batch: Batch, now: datetime.datetime
    ) -> int | None:
        """Store what is not known of one batch; None where something is known otherwise."""
        if self._is_contradicted(connection, batch, now):
            return None
        with connection.begin_nested() as savepoint:
            inserted = self._insert_rows(connection, list(_rows(batch, now)))
            # What another collector stored between the two statements is looked at as well.
            if inserted < len(batch.records) and self._is_contradicted(connection, batch, now):
                savepoint.rollback()
                return None
        return inserted

    def _is_contradicted(
        self, connection: sa.Connection, batch: Batch, now: datetime.datetime
    ) -> bool:
        """Is a record of the batch known with other bytes? Then that is noted."""
        query = sa.select(records.c.sequence, records.c.raw).where(
            records.c.site == batch.site,
            records.c.door == batch.door,
            records.c.journal == batch.journal,
            records.c.sequence.between(
                batch.records[0][0].sequence, batch.records[-1][0].sequence
            ),
        )
        known = {row.sequence: bytes(row.raw) for row in connection.execute(query)}
        for record, raw in batch.records:
            if known.get(record.sequence, raw) != raw:
                row = {**batch.key, "sequence": record.sequence, "first_at": now, "last_at": now}
                connection.execute(self.upsert(conflicts, ("sequence", "last_at")), row)
                return True
        return False

    def _stand(
        self, connection: sa.Connection, batches: Sequence[Batch], now: datetime.datetime
    ) -> None:
        """Keep what the records of these batches say of alarms, where nothing newer is known."""
        rows = {}
        for batch in batches:
            for alarm, (record, is_on) in alarms.changes(one for one, _ in batch.records).items():
                row = {
                    **batch.key,
                    "alarm": alarm,
                    "sequence": record.sequence,
                    "is_on": is_on,
                    "happened_at": happened_at(record),
                    "received_at": now,
                }
                key = (batch.site, batch.door, batch.journal, alarm)
                if key not in rows or rows[key]["sequence"] < record.sequence:
                    rows[key] = row
        if not rows:
            return
        insert = self.insert(standings)
        newer = insert.on_conflict_do_update(
            index_elements=list(standings.primary_key.columns),
            set_={
                name: insert.excluded[name]
                for name in ("sequence", "is_on", "happened_at", "received_at")
            },
            where=standings.c.sequence < insert.excluded.sequence,
        )
        connection.execute(newer, [rows[key] for key in sorted(rows)])

    def note(self, news: Mapping[tuple[str, str], News], name: str, is_connected: bool) -> None:
        """Write down how doors are, and that the collector of this name is there."""
        now = utc_now()
        seen, states, healths, heard = [], [], [], []
        for (site, door), one in sorted(news.items()):
            row = {"site": site, "door": door, "seen_at": one.seen_at}
            if one.is_seen:
                seen.append(row)
            if one.is_online is not None:
                # The will says nothing but that the door is gone.
                states.append({**row, "is_online": one.is_online, "birth": one.birth})
            if one.health is not None:
                healths.append({**row, "health": one.health, "health_at": one.health_at})
            heard += [
                {"site": site, "door": door, "journal": journal, "first_at": at, "last_at": at}
                for journal, at in sorted((one.journals or {}).items())
            ]
        births = [row for row in states if row["birth"] is not None]
        wills = [
            {name: row[name] for name in ("site", "door", "seen_at", "is_online")}
            for row in states
            if row["birth"] is None
        ]
        with self.writing() as connection:
            for table, columns, rows in (
                (doors, ("seen_at",), seen),
                (doors, ("is_online", "birth"), births),
                (doors, ("is_online",), wills),
                (doors, ("health", "health_at"), healths),
                (journals, ("last_at",), heard),
                (
                    collectors,
                    ("seen_at", "is_connected"),
                    [{"name": name, "seen_at": now, "is_connected": is_connected}],
                ),
            ):
                if rows:
                    connection.execute(self.upsert(table, columns), rows)

    def of_door(self, site: str, door: str) -> list[sa.Row]:
        """Return all records of a door in order, journal by journal."""
        query = (
            sa.select(records)
            .where(records.c.site == site, records.c.door == door)
            .order_by(records.c.journal, records.c.sequence)
        )
        with self.reading() as connection:
            return list(connection.execute(query))

    def journals(self) -> list[tuple[str, str, str]]:
        """Return (site, door, journal) of all that is kept; the journal's id in hexadecimal."""
        columns = (records.c.site, records.c.door, records.c.journal)
        with self.reading() as connection:
            rows = connection.execute(sa.select(*columns).distinct().order_by(*columns))
            return [(row.site, row.door, row.journal) for row in rows]

    def raw_records(
        self, site: str, door: str, journal: str
    ) -> Iterator[tuple[int, bytes, list[str]]]:
        """Yield (sequence, record, columns that do not say what the record says) of one journal in
        order. What is no whole record says nothing."""
        query = (
            sa.select(records)
            .where(records.c.site == site, records.c.door == door, records.c.journal == journal)
            .order_by(records.c.sequence)
        )
        for row in self.stream(query):
            raw = bytes(row.raw)
            record = unpack(raw)
            said = {} if record is None else describe(record)
            odd = [name for name, value in said.items() if row._mapping[name] != value]
            yield row.sequence, raw, odd

    def stream(self, query: sa.Select) -> Iterator[sa.Row]:
        """Yield the rows of a query, some at a time."""
        with self.reading() as connection:
            yield from connection.execute(query, execution_options={"yield_per": _YIELD_ROWS})

    def _check_schema(self, is_made: bool) -> None:
        """Make the tables where there are none. Raises DoorctlError for those of another time."""
        with self.reading() as connection:
            if self._has_schema(connection):
                return
        if not is_made:
            raise DoorctlError(
                f"database {self.name}: no collector has written to it; name the collector's "
                "with --database"
            )
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            if not self._has_schema(connection):
                metadata.create_all(connection)
                connection.execute(sa.insert(schema).values(version=SCHEMA))

    def _has_schema(self, connection: sa.Connection) -> bool:
        """Are our tables there? Raises DoorctlError for those of another time."""
        names = sa.inspect(connection).get_table_names()
        if "schema" not in names:
            if "records" in names:
                raise DoorctlError(
                    f"database {self.name}: made by a doorctl from before schema {SCHEMA}; keep "
                    "it, and give this doorctl another one with --database"
                )
            return False
        found = connection.scalar(sa.select(schema.c.version))
        if found != SCHEMA:
            raise DoorctlError(
                f"database {self.name}: has schema {found}, and this doorctl knows {SCHEMA}; use "
                "the doorctl that made it, or another database"
            )
        return True


def _open_sqlite(url: sa.URL, is_made: bool) -> sa.Engine:
    if not is_made and url.database and not Path(url.database).exists():
        raise DoorctlError(f"database {url}: there is no such file; see --database")
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})

    @sqlalchemy_event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # Transactions begin where SQLAlchemy says, for tables as well.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @sqlalchemy_event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        how = connection.get_execution_options().get("doorctl_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {how}")

    return engine


def _open_postgresql(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername=_DRIVERS["postgresql"]),
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "tcp_user_timeout": _BUSY_TIMEOUT_S * 1000,
            # A server may be set to answer before a commit is on its disk: not to us.
            "options": f"-c synchronous_commit=on -c statement_timeout={_STATEMENT_TIMEOUT_MS}",
        },
    )


def _place(batch: Batch) -> tuple:
    return batch.site, batch.door, batch.journal, batch.records[0][0].sequence


def _rows(batch: Batch, now: datetime.datetime) -> Iterator[dict]:
    for record, raw in batch.records:
        yield {**batch.key, "received_at": now, "raw": raw, **describe(record)}
