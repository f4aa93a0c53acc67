"""The collector against real brokers and databases: nothing lost, nothing doubled, whatever dies."""

import asyncio
import logging
import os
import sqlite3
import threading
import time

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from doorctl import collector as collecting
from doorctl import fleet
from doorctl.collector import parse_batch
from doorctl.database import Batch, Database, records
from doorctl.errors import DoorctlError
from doorctl.main import main
from doorctl.metrics import Metrics
from doorctl.mqtt import Broker
from doors import Door, event, journal, taps
from doorward import values
from services import PATIENCE_S, Inside, wait_until

SITE = "riverside"


def deliver(port, doors, then=None, timeout_s=60.0):
    """Let the doors that `doors()` makes deliver all they hold; return them.

    then: async, called with the doors once they are on their way.
    """

    async def play(fleet_of):
        for door in fleet_of:
            await door.is_welcome.wait()
        for door in fleet_of:
            door.go()
        if then is not None:
            await then(fleet_of)
        await asyncio.gather(*(door.is_done.wait() for door in fleet_of))

    async def run():
        fleet_of = doors()
        living = [asyncio.create_task(door.live(port)) for door in fleet_of]
        try:
            await asyncio.wait_for(play(fleet_of), timeout_s)
        finally:
            for task in living:
                task.cancel()
            for door in fleet_of:
                door.drop()
        return fleet_of

    return asyncio.run(run())


def stored(url, site=SITE):
    """All records of a site: {(door, journal): [raw, ...]}."""
    found = {}
    database = Database(url)
    query = sa.select(records).where(records.c.site == site)
    for row in database.stream(query.order_by(*records.primary_key.columns)):
        found.setdefault((row.door, row.journal), []).append(bytes(row.raw))
    database.close()
    return found


def assert_all_there(url, doors):
    """Each door's records, all, once, in order, and no others."""
    assert stored(url) == {(door.name, door.journal): door.raw for door in doors}
    assert [door.strange for door in doors] == [0] * len(doors)


def some_doors(count, each, **how):
    return lambda: [
        Door(SITE, f"door-{number}", journal(taps(each, number)), **how) for number in range(count)
    ]


def test_every_record_arrives_once_and_is_acknowledged(url, start, broker):
    start(url)
    doors = deliver(broker.port, some_doors(8, 200))
    assert_all_there(url, doors)


def test_what_is_acknowledged_is_committed(database, inside, broker):
    """At the instant an acknowledgement arrives, somebody else finds the record in the database."""
    seen = []

    class Suspicious(Door):
        def on_message(self, leaf, payload):
            if leaf == "acknowledged":
                sequence = int.from_bytes(payload[8:12], "little")
                query = sa.select(records.c.sequence).where(
                    records.c.door == self.name, records.c.sequence == sequence
                )
                seen.append(len(list(database.stream(query))))
            super().on_message(leaf, payload)

    deliver(broker.port, lambda: [Suspicious(SITE, "a", journal(taps(60)), batch=1)])
    assert len(seen) >= 60 and set(seen) == {1}


def test_an_acknowledgement_does_not_wait_for_a_full_packet(sqlite_url, start, broker):
    """100 records one by one: with Nagle's algorithm (RFC 896) each would take 40 ms and more."""
    start(sqlite_url)
    began = time.monotonic()
    deliver(broker.port, some_doors(1, 100, batch=1))
    assert time.monotonic() - began < 3


def test_a_commit_is_on_the_disk(url, start, broker, request, tmp_path):
    """Of SQLite: it is asked to sync at each commit. Of PostgreSQL: the server crashes behind the
    last acknowledgement, and has everything when it is back."""
    collector = start(url)
    doors = deliver(broker.port, some_doors(3, 50, batch=1))
    collector.kill()
    if url.startswith("sqlite"):
        database = Database(url)
        with database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        database.close()
    else:
        cluster = request.getfixturevalue("cluster")
        cluster.stop("immediate")
        cluster.start()
        database = Database(url)
        with database.reading() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        database.close()
    assert_all_there(url, doors)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "options", [("--share", "doorward"), ()], ids=["shared", "each-takes-all"]
)
def test_several_collectors_that_die_lose_and_double_nothing(url, start, broker, count, options):
    collectors = [start(url, *options) for _ in range(count)]

    async def kill_and_start(_doors):
        for victim in range(count):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(collectors[victim].kill)
            collectors[victim] = await asyncio.to_thread(start, url, *options)

    how = {"batch": 4, "patience_s": 0.5}
    doors = deliver(broker.port, some_doors(20, 400, **how), kill_and_start, 120)
    assert_all_there(url, doors)
    assert any(door.resent for door in doors)


def test_a_share_is_parted(sqlite_url, broker, tmp_path):
    database = Database(sqlite_url)
    parts = [Inside(broker.port, database, share="doorward") for _ in range(2)]
    try:
        deliver(broker.port, some_doors(10, 100, batch=2))
        counts = [part.value("records_stored_total") for part in parts]
        assert sum(counts) == 1000 and min(counts) > 0
        assert sum(part.value("records_repeated_total") for part in parts) == 0
    finally:
        for part in parts:
            part.stop()
        database.close()


def test_a_broker_that_is_killed_loses_nothing(url, start, broker):
    collector = start(url)

    async def restart(_doors):
        for number in range(2):
            await asyncio.sleep(0.3)
            broker.stop()
            await asyncio.sleep(0.3)
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(collector.wait_for, "connected", 2 + number)

    how = {"batch": 1, "patience_s": 0.5}
    doors = deliver(broker.port, some_doors(10, 300, **how), restart, 90)
    assert_all_there(url, doors)
    assert collector.told().count("trying again") <= 4, collector.told()


def test_a_database_that_is_down_is_waited_for(cluster, start, broker):
    url = cluster.fresh_url("down")
    collector = start(url)

    async def fail(doors):
        await asyncio.sleep(0.2)
        await asyncio.to_thread(cluster.stop, "immediate")
        await asyncio.to_thread(collector.wait_for, "cannot be stored is not acknowledged")
        there = [door.acknowledged for door in doors]
        await asyncio.sleep(1.5)
        assert [door.acknowledged for door in doors] == there
        await asyncio.to_thread(cluster.start)

    how = {"batch": 1, "patience_s": 0.5}
    doors = deliver(broker.port, some_doors(10, 400, **how), fail, 90)
    assert_all_there(url, doors)
    collector.wait_for("database: back")
    told = collector.told()
    assert told.count("cannot be stored") == 1 and "Traceback" not in told
    assert collector.process.poll() is None


def test_a_database_that_is_full_is_waited_for(sqlite_url, broker, caplog):
    database = Database(sqlite_url)
    limit = 60  # pages

    def cap(connection, pages):
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    # Every connection of the collector's, from its beginning: the pragma is not the file's.
    sa.event.listen(database._engine, "begin", lambda connection: cap(connection, limit))
    one = Inside(broker.port, database)

    async def fill(doors):
        nonlocal limit
        await asyncio.to_thread(
            wait_until, lambda: one.value("database_errors_total"), "never full"
        )
        await asyncio.sleep(1)
        there = [door.acknowledged for door in doors]
        assert any(door.acknowledged < len(door.raw) for door in doors)
        await asyncio.sleep(1)
        assert [door.acknowledged for door in doors] == there
        assert one.value("database_up") == 0
        limit = 1 << 30

    try:
        with caplog.at_level(logging.WARNING):
            doors = deliver(broker.port, some_doors(4, 400, batch=8, patience_s=0.5), fill, 90)
        wait_until(lambda: one.value("database_up") == 1, "still down")
    finally:
        one.stop()
        database.close()
    assert_all_there(sqlite_url, doors)
    assert "database or disk is full" in caplog.text and "database: back" in caplog.text


def test_a_door_provisioned_anew_keeps_its_old_records(url, start, broker):
    start(url)
    first = deliver(broker.port, lambda: [Door(SITE, "north", journal(taps(40, 1)))])
    second = deliver(broker.port, lambda: [Door(SITE, "north", journal(taps(20, 2)))])
    assert_all_there(url, [*first, *second])
    time.sleep(2.5)  # until the collector has written down what it heard
    database = Database(url)
    (door,) = fleet.read(database).doors
    database.close()
    # The board that is there now counts, and no alarm is made of it.
    assert door.journal == second[0].journal and not door.alarms


def test_two_doors_with_one_identity_are_seen(database, inside, broker):
    """A copied flash: one journal id, the same first records, then each its own."""
    same = journal(taps(10, 1))
    tag = same[-1][44:60]
    journal_id = os.urandom(8)
    real = same + journal(taps(10, 2), first=11, tag=tag)
    copy = same + journal(taps(10, 3), first=11, tag=tag)
    deliver(broker.port, lambda: [Door(SITE, "north", real, journal_id=journal_id)])
    with pytest.raises(asyncio.TimeoutError):
        deliver(
            broker.port,
            lambda: [Door(SITE, "north", copy, journal_id=journal_id, patience_s=0.5)],
            timeout_s=3,
        )
    assert inside.value("batches_conflicting_total") >= 2
    wait_until(lambda: "conflict" in fleet.read(database).doors[0].alarms, "no alarm")
    assert [bytes(row.raw) for row in database.of_door(SITE, "north")] == real


def test_nothing_of_a_contradicted_batch_is_stored(database):
    """Not even those of its records that are new."""
    known, other = journal(taps(3, 1)), journal(taps(6, 2))

    def batch(raw, door="north"):
        return parse_batch(SITE, door, bytes(8) + b"".join(raw))

    assert database.add([batch(known)]) == [3]
    assert database.add([batch(other), batch(other, "south"), batch(known)]) == [None, 6, 0]
    assert [bytes(row.raw) for row in database.of_door(SITE, "north")] == known


def test_two_collectors_find_a_contradiction_that_comes_at_once(cluster):
    """What another transaction commits between looking and storing is seen."""
    url = cluster.fresh_url("at_once")
    one, two = Database(url), Database(url)
    mine, theirs = (
        parse_batch(SITE, "a", bytes(8) + raw)
        for (raw,) in (journal(taps(1, 1)), journal(taps(1, 2)))
    )
    looked = one._is_contradicted

    def look(connection, batch, now):
        found = looked(connection, batch, now)
        one._is_contradicted = looked
        assert two.add([theirs]) == [1]
        return found

    one._is_contradicted = look
    # A known record beside it sends the group the careful way.
    known = parse_batch(SITE, "b", bytes(8) + journal(taps(1, 3))[0])
    assert one.add([known]) == [1]
    assert one.add([mine, known]) == [None, 0]
    assert [bytes(row.raw) for row in two.of_door(SITE, "a")] == [theirs.records[0][1]]
    one.close()
    two.close()


def test_garbage_is_counted_dropped_and_not_acknowledged(database, inside, broker):
    raw = journal(taps(40))
    bad = bytearray(raw[0])
    bad[20] ^= 1
    garbage = (
        b"",
        bytes(8),
        b"".join(raw[:2]),  # no journal id
        bytes(8) + raw[0][:-1],
        bytes(8) + bytes(64),
        bytes(8) + bytes(bad),
        bytes(8) + raw[0] + raw[2],
        bytes(8) + b"".join(raw[:33]),
        os.urandom(100_000),
    )

    async def throw(doors):
        (door,) = doors
        for payload in garbage:
            door.publish("records", payload)
        for payload in (
            b"[]",
            b"{",
            b"\xff",
            b'{"state": "gone"}',
            b'{"a": "\\u0000"' + b" " * 3000,
        ):
            door.publish("state", payload)
            door.publish("health", payload if payload != b'{"state": "gone"}' else b"1")
        door.publish("health", b"[" * 2000)
        door.publish("want", bytes(31))
        other = Door(SITE, "a b", [])
        other._transport = door._transport
        other.publish("records", bytes(8) + raw[0])

    deliver(broker.port, lambda: [Door(SITE, "north", raw)], throw)
    expected = len(garbage) + 5 + 5 + 1 + 1 + 1
    wait_until(
        lambda: inside.value("messages_garbage_total") == expected,
        f"{inside.value('messages_garbage_total')} of {expected}",
    )
    assert [bytes(row.raw) for row in database.of_door(SITE, "north")] == raw


def test_one_door_leaves_room_for_the_others(broker, sqlite_url, monkeypatch):
    """A flood of one door is dropped at its share; another door's batch is taken."""
    monkeypatch.setattr(collecting, "_GATHER_S", 1.0)
    database = Database(sqlite_url)
    one = Inside(broker.port, database)
    flood = journal(taps(500, 1))

    async def pour(doors):
        for raw in flood:
            doors[0].publish("records", doors[0].journal_id + raw)

    try:
        deliver(broker.port, some_doors(2, 3), pour)
        assert one.value("messages_dropped_total") > 400
    finally:
        one.stop()
        database.close()


def test_a_deadlocked_order_cannot_come_about(cluster):
    """Two collectors store the same records in opposite order, again and again."""
    url = cluster.fresh_url("deadlock")
    raw = journal(taps(640))
    batches = [
        parse_batch(SITE, f"door-{n}", bytes(8) + b"".join(raw[i : i + 32]))
        for n in range(4)
        for i in range(0, 640, 32)
    ]
    failed = []

    def work(order):
        database = Database(url)
        try:
            for i in range(0, len(order), 20):
                database.add(order[i : i + 20])
        except sa.exc.SQLAlchemyError as error:
            failed.append(error)
        database.close()

    threads = [
        threading.Thread(target=work, args=(order,)) for order in (batches, batches[::-1], batches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not failed
    assert {key: len(rows) for key, rows in stored(url).items()} == {
        (f"door-{n}", "00" * 8): 640 for n in range(4)
    }


def test_an_old_schema_is_told(tmp_path):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE records (site TEXT, door TEXT, sequence INTEGER)")
    with pytest.raises(DoorctlError, match="before schema 2; keep it"):
        Database(f"sqlite:///{path}")
    newer = f"sqlite:///{tmp_path / 'newer.db'}"
    database = Database(newer)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE schema SET version = 99")
    database.close()
    with pytest.raises(DoorctlError, match="has schema 99, and this doorctl knows 2"):
        Database(newer)


def test_tables_are_made_once_by_many(cluster):
    url = cluster.fresh_url("many")
    failed = []

    def begin():
        try:
            Database(url).close()
        except DoorctlError as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not failed


def test_a_password_in_a_url_is_not_shown(tmp_path):
    with pytest.raises(DoorctlError) as caught:
        Database("postgresql://somebody:hunter2@127.0.0.1:1/nothing")
    assert "hunter2" not in str(caught.value.message)


def test_a_collector_ends_politely(sqlite_url, start, broker):
    collector = start(sqlite_url)
    deliver(broker.port, some_doors(2, 40))
    assert collector.stop() == 0
    # What it heard of the doors is written down at the end.
    database = Database(sqlite_url)
    assert len(fleet.read(database).doors) == 2
    database.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_part_that_dies_ends_the_collector(sqlite_url, broker, monkeypatch):
    """It must not go on half: whoever started it starts it again."""

    def fail(_self):
        raise ValueError

    monkeypatch.setattr(collecting.Collector, "_note", fail)
    database = Database(sqlite_url)
    place = Broker("127.0.0.1", broker.port)
    with pytest.raises(DoorctlError, match="the collector's _write ended"):
        collecting.Collector(place, database, Metrics()).run()
    database.close()


def test_a_batch_keeps_what_stands_in_it():
    raw = journal([event(values.FIRE, detail=3), *taps(1)], first=70)
    batch = parse_batch(SITE, "north", b"\x01" * 8 + b"".join(raw))
    assert isinstance(batch, Batch) and batch.journal == "01" * 8
    assert [record.sequence for record, _ in batch.records] == [70, 71]
    assert [one for _, one in batch.records] == raw


def test_journals_without_number_take_no_memory(sqlite_url):
    """A stolen key can make them up; while the database is down they would be kept."""
    database = Database(sqlite_url)
    one = collecting.Collector(Broker("127.0.0.1", 1), database, Metrics())
    (raw,) = journal(taps(1))
    for number in range(100):
        assert one._take_records(SITE, "north", number.to_bytes(8, "big") + raw, False)
    database.close()
    assert len(one._news[SITE, "north"].journals) == 8


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_none(url):
    """What is acknowledged must outlive the collector."""
    result = CliRunner().invoke(main, ["collect", "--database", url])
    assert (result.exit_code, "name a file" in result.output) == (1, True)
