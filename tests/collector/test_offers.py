"""The way down: doctored and sound objects published, offered, pulled in pieces by doors."""

import asyncio
import hashlib
import struct
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from doorctl import commands, keys, offers
from doorctl.database import Database
from doorctl.errors import DoorctlError
from doorctl.main import main
from doorctl.offers import MAX_OFFERS, PIECE_BYTES
from doors import Door, journal, taps
from doorward.access.command import Command
from doorward.trust import objects
from doorward.values import LOCK_DOWN, RELEASE
from services import Inside, Mosquitto, wait_until

OBJECTS = Path(__file__).parents[1] / "vectors" / "objects"
RING = OBJECTS / "ring.dwk"
SITE = "north"


def doorctl(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def publish(url, *words):
    return doorctl("publish", *words, "--database", url)


def assert_refused(result, words):
    assert result.exit_code == 1, result.output
    assert words in result.stderr, result.stderr


def order(folder, kind, counter, door="", name="order.dwc"):
    """A command of the police that is in time."""
    key = keys.load_private(OBJECTS / "keys" / "police_DO_NOT_USE.pem")
    now_s = int(time.time())
    data = commands.build_command(Command(kind, now_s + 600, door=door), key, SITE, counter, now_s)
    path = folder / name
    path.write_bytes(data)
    return path


class Puller(Door):
    """A door that fetches what it is offered, as the contract has it."""

    def __init__(self, name="a", site=SITE):
        super().__init__(site, name, journal(taps(1)))
        self.heard = asyncio.Queue()

    def on_message(self, leaf, payload):
        if leaf == "acknowledged":
            super().on_message(leaf, payload)
        else:
            self.heard.put_nowait((leaf, payload))

    async def next(self, leaf):
        while True:
            found, payload = await asyncio.wait_for(self.heard.get(), 10)
            if found == leaf:
                return payload

    async def offers(self):
        payload = await self.next("offers")
        assert len(payload) % 24 == 0
        return [payload[at : at + 24] for at in range(0, len(payload), 24)]

    def want(self, entry, offset, count, reserved=0):
        self.publish("want", entry + struct.pack("<IHH", offset, count, reserved))

    async def pull(self, entry):
        (size,) = struct.unpack_from("<I", entry, 8)
        data = b""
        while len(data) < size:
            count = min(4096, size - len(data))
            self.want(entry, len(data), count)
            end = len(data) + count
            while len(data) < end:
                piece = await self.next("piece")
                assert piece[:24] == entry and len(piece) <= 28 + PIECE_BYTES
                assert struct.unpack_from("<I", piece, 24) == (len(data),)
                data += piece[28:]
        return data


def at_a_door(port, play, door=Puller):
    """Play something at a door."""

    async def run():
        one = door()
        living = asyncio.create_task(one.live(port))
        try:
            await one.is_welcome.wait()
            await asyncio.wait_for(play(one), 60)
        finally:
            living.cancel()
            one.drop()

    asyncio.run(run())


def test_a_door_pulls_what_was_published(url, database, broker, start):
    start(url, "--share", "doorward")
    start(url, "--share", "doorward")
    files = [OBJECTS / name for name in ("ring.dwk", "police_2.dwl", "police_deny_1.dwd")]
    result = publish(url, *files)
    assert result.exit_code == 0 and result.output.count("offered to north") == 3, result.output

    async def converge(door):
        entries = await door.offers()
        while len(entries) < 3:
            entries = await door.offers()
        assert [await door.pull(entry) for entry in entries] == [
            file.read_bytes() for file in files
        ]
        for entry, file in zip(entries, files):
            data = file.read_bytes()
            header = objects.parse_header(data)
            kind, zero, groups, version, size, issuer, digest = struct.unpack("<BBHII8s4s", entry)
            assert (kind, zero, groups, version) == (header.type, 0, 0, header.version)
            assert (size, issuer) == (len(data), header.issuer_id)
            assert digest == hashlib.sha256(data).digest()[:4]
        # A newer one is offered within a moment, and the older one no longer.
        await asyncio.to_thread(publish, url, OBJECTS / "police_deny_2.dwd")
        newer = await door.offers()
        assert newer[:2] == entries[:2] and newer[2] != entries[2]
        assert await door.pull(newer[2]) == (OBJECTS / "police_deny_2.dwd").read_bytes()
        # What is offered no longer is not sent either.
        door.want(entries[2], 0, 100)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(door.next("piece"), 1)

    at_a_door(broker.port, converge)


def test_wants_that_make_no_sense_are_not_answered(sqlite_url, broker):
    publish(sqlite_url, RING)
    database = Database(sqlite_url)
    one = Inside(broker.port, database)

    async def ask(door):
        (entry,) = await door.offers()
        size = len(RING.read_bytes())
        for wrong in (
            (entry, 0, 0),
            (entry, 0, 4097),
            (entry, 0, 10, 1),
            (entry, size, 10),
            (entry, 0xFFFFFFFF, 4096),
            (bytes(24), 0, 10),
            (b"\xff" * 24, 0, 10),
            (entry[:-1], 0, 10),
            (entry + b"x", 0, 10),
        ):
            door.want(*wrong)
            await asyncio.sleep(0.05)
        door.want(entry, size - 3, 4096)
        piece = await door.next("piece")
        assert piece == entry + struct.pack("<I", size - 3) + RING.read_bytes()[-3:]
        assert door.heard.empty()

    try:
        at_a_door(broker.port, ask)
        assert one.value("pieces_sent_total") == 1
        assert one.value("messages_garbage_total") == 5
    finally:
        one.stop()
        database.close()


def test_pieces_are_rate_bounded(sqlite_url, broker, monkeypatch):
    from doorctl import collector

    monkeypatch.setattr(collector, "_PIECES_PER_S", 20)
    publish(sqlite_url, RING, OBJECTS / "police_2.dwl")
    database = Database(sqlite_url)
    one = Inside(broker.port, database)

    async def ask(door):
        entries = await door.offers()
        began = time.monotonic()
        for _ in range(5):
            door.want(entries[1], 0, 4096)
            for _ in range(4):
                await door.next("piece")
        assert time.monotonic() - began > 0.7

    try:
        at_a_door(broker.port, ask)
    finally:
        one.stop()
        database.close()


def test_offers_are_there_for_a_door_that_comes_later_and_after_a_broker_forgot(
    tmp_path, sqlite_url
):
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Mosquitto(folder, "persistence false")
    broker.start()
    publish(sqlite_url, RING)
    database = Database(sqlite_url)
    one = Inside(broker.port, database)

    async def look(door):
        assert len(await door.offers()) == 1

    try:
        at_a_door(broker.port, look)
        broker.stop()
        broker.start()
        wait_until(lambda: one.value("broker_connected") == 1, "not back")
        at_a_door(broker.port, look)
    finally:
        one.stop()
        database.close()
        broker.stop()


def test_what_doors_would_refuse_is_not_offered(sqlite_url):
    publish(sqlite_url, RING, OBJECTS / "police_2.dwl")
    for name, words in (
        ("stranger_1.dwl", "unknown-issuer (5)"),
        ("signed_by_district.dwl", "unknown-issuer (5)"),
        ("out_of_scope.dwl", "out-of-scope (9)"),
        ("unsorted.dwl", "not-sorted (10)"),
        ("duplicate.dwl", "duplicate-entry (19)"),
        ("unknown_class.dwl", "bad-entry (20)"),
        ("deny_513.dwd", "too-many-denied (27)"),
        ("deny_unsorted.dwd", "not-sorted (10)"),
        ("police_other_site.dwl", "wrong-site (4)"),
        ("ring_4_only_new_signed.dwk", "too-few-signatures (21)"),
        ("police_1.dwl", "version 2 is offered to north; doors refuse"),
        ("police_2_other_body.dwl", "version 2 is offered to north; doors refuse"),
        ("police_2.dwl", ""),
    ):
        result = publish(sqlite_url, OBJECTS / name, "--keyring", RING)
        if words:
            assert_refused(result, words)
        else:
            assert "is offered already" in result.output
    forced = publish(sqlite_url, OBJECTS / "police_1.dwl", "--force")
    assert "allowlist version 1 offered to north" in forced.output


def test_all_or_nothing_is_offered(sqlite_url):
    result = publish(sqlite_url, RING, OBJECTS / "police_1.dwl", OBJECTS / "stranger_1.dwl")
    assert_refused(result, "unknown-issuer")
    # So the ring is not there, and a list is taken by its form alone.
    result = publish(sqlite_url, OBJECTS / "stranger_1.dwl")
    assert "signature not verified" in result.output
    unsorted = publish(sqlite_url, OBJECTS / "unsorted.dwl")
    assert_refused(unsorted, "not-sorted (10)")


def test_a_ring_ends_the_offers_of_issuers_it_does_not_name(sqlite_url):
    first = publish(sqlite_url, RING, OBJECTS / "police_1.dwl", OBJECTS / "district_1.dwl")
    assert first.exit_code == 0, first.output
    moved = publish(sqlite_url, OBJECTS / "ring_3_police_moved.dwk")
    assert "1 of issuers it does not name offered no longer" in moved.output
    result = publish(sqlite_url, OBJECTS / "police_1_by_moved_key.dwl")
    assert result.exit_code == 0, result.output


def test_a_site_is_offered_so_much(sqlite_url, monkeypatch):
    monkeypatch.setattr(offers, "MAX_OFFERS", 1)
    assert MAX_OFFERS == 24
    result = publish(sqlite_url, RING, OBJECTS / "police_1.dwl")
    assert_refused(result, "2 objects, and it is offered 1")


def test_a_key_ring_for_every_site_crowds_nothing_out(sqlite_url, monkeypatch):
    """What is beyond the most would be offered to nobody, and nobody told."""
    monkeypatch.setattr(offers, "MAX_OFFERS", 2)
    result = publish(sqlite_url, OBJECTS / "police_1.dwl", OBJECTS / "district_1.dwl")
    assert result.exit_code == 0, result.output
    database = Database(sqlite_url)
    ring = (OBJECTS / "ring.dwk").read_bytes()
    header = objects.parse_header(ring)
    header.site = objects.ANY_SITE
    too_many = pytest.raises(DoorctlError, match="site north: 3 objects, and it is offered 2")
    with too_many, database.writing() as connection:
        offers.put(connection, database, header, ring)
    database.close()


def test_a_database_that_others_hold_is_told(sqlite_url, monkeypatch):
    monkeypatch.setattr("doorctl.database._BUSY_TIMEOUT_S", 0.1)
    database = Database(sqlite_url)
    with database.writing():
        result = publish(sqlite_url, RING)
    database.close()
    assert_refused(result, "database is locked; nothing published")


def test_commands_go_to_their_topics_and_stay_there(sqlite_url, broker, tmp_path):
    issuer = keys.public_key(
        keys.load_private(OBJECTS / "keys" / "police_DO_NOT_USE.pem")
    ).key_id.hex()
    at = ("--broker", f"127.0.0.1:{broker.port}", "--keyring", RING)
    to_all = order(tmp_path, LOCK_DOWN, 100)
    to_one = order(tmp_path, RELEASE, 101, door="a", name="one.dwc")
    began = time.monotonic()
    result = publish(sqlite_url, to_all, to_one, *at)
    assert time.monotonic() - began < 5
    assert f"doorward/north/@all/command/{issuer}" in result.output, result.output
    assert f"doorward/north/a/command/{issuer}" in result.output
    # The broker keeps them: an older one does not come in a newer one's place, and the same may.
    older = order(tmp_path, LOCK_DOWN, 99, name="older.dwc")
    assert_refused(publish(sqlite_url, older, *at), "keeps one of this issuer with 100")
    assert publish(sqlite_url, to_all, *at).exit_code == 0
    assert publish(sqlite_url, older, *at, "--force").exit_code == 0
    assert publish(sqlite_url, order(tmp_path, RELEASE, 102), *at).exit_code == 0
    assert_refused(publish(sqlite_url, OBJECTS / "lockdown_10.dwc", *at), "too-late (24)")


def test_a_command_that_the_broker_does_not_deliver_is_told(tmp_path, sqlite_url):
    folder = tmp_path / "broker"
    folder.mkdir()
    acl = folder / "acl"
    acl.write_text("topic read doorward/#\n")
    acl.chmod(0o600)
    broker = Mosquitto(folder, f"acl_file {acl}")
    broker.start()
    from doorctl import publish as publishing

    before = publishing._PATIENCE_S
    publishing._PATIENCE_S = 1.0
    try:
        at = ("--broker", f"127.0.0.1:{broker.port}")
        result = publish(sqlite_url, order(tmp_path, LOCK_DOWN, 5), *at)
        assert_refused(result, "did not deliver it")
    finally:
        publishing._PATIENCE_S = before
        broker.stop()
    assert_refused(
        publish(sqlite_url, order(tmp_path, LOCK_DOWN, 5), "--broker", f"127.0.0.1:{broker.port}"),
        "see --broker",
    )
