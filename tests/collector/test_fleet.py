"""What is shown of the doors: fleet status, reports, metrics, Home Assistant."""

import asyncio
import csv
import datetime
import io
import json
import subprocess
import sys
import time
import urllib.request

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from doorctl import alarms, fleet, home_assistant, keys
from doorctl.collector import parse_batch
from doorctl.database import Database, News, conflicts, journals, utc_now
from doorctl.main import main
from doorctl.metrics import Metrics
from doorctl.mqtt import Broker
from doorctl.output import print_table
from doorctl.roster import identity_of
from doors import Door, event, journal, taps
from doorward import values
from doorward.access.control import blind
from doorward.trust.primitives import HmacKey
from paho.mqtt import client as paho
from services import Inside, free_port, wait_until

SITE, DOOR, JOURNAL = "riverside", "north", "01" * 8


def doorctl(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def deliver(database, events, first=1, door=DOOR, journal_id=JOURNAL, **how):
    raw = journal(events, first=first, **how)
    payload = bytes.fromhex(journal_id) + b"".join(raw)
    assert database.add([parse_batch(SITE, door, payload)]) == [len(raw)]
    return first + len(raw)


def hear(database, door=DOOR, journal_id=JOURNAL, **news):
    now = utc_now()
    if "health" in news:
        news["health"] = json.dumps(news["health"])
        news.setdefault("health_at", now)
    news.setdefault("journals", {journal_id: now})
    database.note({(SITE, door): News(now, **news)}, "test", True)


def standing(database, door=DOOR):
    found = fleet.read(database)
    return set(next(one for one in found.doors if one.door == door).alarms)


TURNS = [
    (event(values.FORCED_OPEN), event(values.DOOR_SECURED), alarms.FORCED_OPEN),
    (event(values.HELD_OPEN), event(values.DOOR_SECURED), alarms.HELD_OPEN),
    (event(values.FIRE), event(values.FIRE_CLEARED), alarms.FIRE),
    (event(values.READER_DOWN), event(values.READER_UP), alarms.READER_DOWN),
    (
        event(values.TAMPER, detail=values.CABINET),
        event(values.TAMPER_CLEARED, detail=values.CABINET),
        alarms.CABINET_TAMPER,
    ),
    (
        event(values.TAMPER, detail=values.READER),
        event(values.TAMPER_CLEARED, detail=values.READER),
        alarms.READER_TAMPER,
    ),
    (
        event(values.SUPPLY_FAILED, detail=values.MAINS),
        event(values.SUPPLY_RESTORED, detail=values.MAINS),
        alarms.MAINS_FAILED,
    ),
    (
        event(values.SUPPLY_FAILED, detail=values.BATTERY),
        event(values.SUPPLY_RESTORED, detail=values.BATTERY),
        alarms.BATTERY_LOW,
    ),
    (
        event(values.POSTURE_CHANGED, posture=values.LOCKDOWN),
        event(values.POSTURE_CHANGED, posture=values.NORMAL),
        alarms.LOCKDOWN,
    ),
    (
        event(values.POSTURE_CHANGED, posture=values.DISABLED),
        event(values.POSTURE_CHANGED, posture=values.NORMAL),
        alarms.DISABLED,
    ),
]


@pytest.mark.parametrize("began, ended, alarm", TURNS, ids=[turn[2] for turn in TURNS])
def test_an_alarm_stands_until_it_is_over(database, began, ended, alarm):
    hear(database)
    following = deliver(database, [event(values.BOOT), began])
    assert standing(database) == {alarm}
    following = deliver(database, taps(3), following)
    assert standing(database) == {alarm}
    following = deliver(database, [ended], following)
    assert standing(database) == set()
    following = deliver(database, [began], following)
    assert standing(database) == {alarm}
    # A start clears what was before it; what still stands is told anew.
    following = deliver(database, [event(values.BOOT)], following, boot=2)
    assert standing(database) == set()
    deliver(database, [began], following, boot=2)
    assert standing(database) == {alarm}


def test_a_start_in_lockdown_is_one(database):
    hear(database)
    deliver(database, [event(values.BOOT, posture=values.LOCKDOWN)])
    assert standing(database) == {alarms.LOCKDOWN}


def test_inputs_at_the_start_and_a_refused_configuration(database):
    hear(database)
    bits = 0b11111111
    start = [
        event(values.BOOT),
        event(values.CONFIG_REFUSED),
        event(values.INPUTS_AT_START, detail=bits),
    ]
    following = deliver(database, start)
    assert standing(database) == {alarms.CONFIG_REFUSED, *alarms.BY_INPUT.values()}
    following = deliver(database, [event(values.INPUTS_AT_START, detail=0b00001111)], following)
    assert standing(database) == {alarms.CONFIG_REFUSED, alarms.FIRE}
    deliver(database, [event(values.BOOT)], following)
    assert standing(database) == set()


def test_batches_that_overtake_one_another_end_the_same(database):
    """Two collectors may commit in another order than the door sent."""
    hear(database)
    deliver(database, [event(values.FIRE_CLEARED)], 3)
    deliver(database, [event(values.BOOT), event(values.FIRE)], 1)
    assert standing(database) == set()


def test_the_later_of_records_and_health_counts(database):
    hear(database)
    deliver(database, [event(values.BOOT), event(values.FIRE), event(values.READER_DOWN)])
    assert standing(database) == {alarms.FIRE, alarms.READER_DOWN}
    past = utc_now() - datetime.timedelta(minutes=5)
    calm = {"inputs": {"fire": False, "mains": True}, "reader": {"is_up": True}}
    hear(database, health=calm, health_at=past)
    assert standing(database) == {alarms.FIRE, alarms.READER_DOWN}
    hear(database, health={**calm, "posture": "lockdown"})
    assert standing(database) == {alarms.MAINS_FAILED, alarms.LOCKDOWN}


def test_health_that_makes_no_sense_hurts_nobody(database, url):
    for nonsense in (
        {},
        {"inputs": [1], "clock": 3, "reader": None, "journal": "x", "lists": {"a": 1}},
        {"lists": [1, {"issuer": 2, "version": 3}, {"issuer": "a"}], "posture": ["lockdown"]},
        {"inputs": {"fire": "yes"}, "journal": {"pending": True, "acknowledged": None}},
        # Nothing that a gauge could not hold, a terminal would obey or could not show.
        {"journal": {"pending": 10**400}, "lists": [{"issuer": "a", "version": -1}]},
        {"clock": {"quality": "\ud800"}, "lists": [{"issuer": "\x1b[2J", "version": 1}]},
    ):
        hear(database, health=nonsense)
        found = fleet.read(database).doors
        assert [(one.unsent, one.lists, one.alarms) for one in found] == [(None, {}, {})]
        Metrics().show_fleet(found)
        result = doorctl("fleet", "status", "--database", url)
        assert result.exit_code == 0 and "riverside/north" in result.stdout


def test_two_boards_by_one_name_with_journals_of_their_own(database):
    now = utc_now()
    hear(database, journals={"aa" * 8: now - datetime.timedelta(hours=2)})
    hear(database, journals={"bb" * 8: now - datetime.timedelta(hours=1)})
    assert standing(database) == set()
    hear(database, journals={"aa" * 8: now})  # the first one is there again
    assert standing(database) == {alarms.CONFLICT}
    with database.writing() as connection:
        past = now - datetime.timedelta(days=2)
        connection.execute(sa.update(journals).values(first_at=past, last_at=past))
    assert standing(database) == set()


def test_a_conflict_that_was_settled_goes_away(database):
    hear(database)
    deliver(database, taps(1, 1))
    raw = journal(taps(1, 2))
    batch = parse_batch(SITE, DOOR, bytes.fromhex(JOURNAL) + raw[0])
    assert database.add([batch]) == [None]
    assert standing(database) == {alarms.CONFLICT}
    with database.writing() as connection:
        past = utc_now() - datetime.timedelta(days=2)
        connection.execute(sa.update(conflicts).values(last_at=past))
    assert standing(database) == set()


HEALTH = {
    "posture": "lockdown",
    "clock": {"quality": "held"},
    "lists": [{"issuer": "police", "version": 7, "badges": 900}],
    "denied": [{"issuer": "police", "version": 3, "badges": 1}],
    "key_ring": 2,
    "journal": {"pending": 4, "acknowledged": 40},
}


def test_fleet_status(database, url):
    birth = json.dumps({"firmware": "0.1.0", "board": "rp2", "journal": JOURNAL})
    hear(database, is_online=True, birth=birth, health=HEALTH)
    deliver(database, taps(2))
    hear(database, door="south", is_online=False, journals={})
    result = doorctl("fleet", "status", "--database", url)
    assert (result.exit_code, result.stderr) == (0, "")
    header, north, south = (line.split("\t") for line in result.stdout.splitlines())
    assert header == ["door", "online", "last seen", "lists", "unsent", "clock", "alarms"]
    assert north[:2] == ["riverside/north", "yes"]
    assert north[3:] == ["police 7, police denied 3, ring 2", "4 from 41", "held", "lockdown"]
    assert south[:2] == ["riverside/south", "NO"] and south[3:] == ["?", "?", "?", "none"]
    found = json.loads(doorctl("fleet", "status", "--json", "--database", url).stdout)
    assert found["is_watched"] is True
    assert found["doors"][0]["lists"] == {"police": 7}
    assert found["doors"][0]["last_sequence"] == 2
    assert found["doors"][0]["delivered_until"] == "2026-09-21T14:13:21Z"
    assert [one["alarm"] for one in found["doors"][0]["alarms"]] == ["lockdown"]


def test_what_the_broker_kept_is_no_word_of_the_door(database, broker):
    """A door that has been gone for a day must not be seen just now, nor be there, because a
    collector was started anew."""
    past = utc_now() - datetime.timedelta(days=1)
    client = Broker("127.0.0.1", broker.port).client("test")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for door in (DOOR, "south"):
        payload = json.dumps({"state": "online", "journal": JOURNAL})
        client.publish(f"doorward/{SITE}/{door}/state", payload, 1, retain=True).wait_for_publish(
            5
        )
    database.note({(SITE, DOOR): News(past, is_online=True)}, "test", True)
    one = Inside(broker.port, database)
    try:
        wait_until(lambda: len(fleet.read(database).doors) == 2, "nothing noted")
    finally:
        one.stop()
        client.disconnect()
        client.loop_stop()
    north, south = fleet.read(database).doors
    assert (north.seen_at, north.is_online) == (past, None)
    assert south.is_online is True


def test_a_name_with_brackets_is_shown_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_table(("lists",), [("[/x] 1",)])
    assert "[/x] 1" in capsys.readouterr().out


def test_without_a_collector_nobody_knows_who_is_online(database, url):
    hear(database, is_online=True)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE collectors SET seen_at = '2026-01-01 00:00:00'")
    result = doorctl("fleet", "status", "--database", url)
    assert "no collector is running; the last one wrote" in result.stderr
    assert "\t?\t" in result.stdout


def test_no_database_is_told(tmp_path):
    for command in (("fleet", "status"), ("report",)):
        path = tmp_path / "nothing.db"
        result = doorctl(*command, "--database", f"sqlite:///{path}")
        assert result.exit_code == 1 and "there is no such file" in result.stderr
        assert not path.exists()


def test_a_database_that_breaks_meanwhile_is_told(sqlite_url):
    database = Database(sqlite_url)
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE journals")
    database.close()
    result = doorctl("fleet", "status", "--database", sqlite_url)
    assert result.exit_code == 1 and "doorctl: database sqlite:///" in result.stderr


@pytest.fixture
def kept(database, tmp_path):
    """Records of two doors and a badge whose UID is known; the site's key file."""
    key_file = tmp_path / "site.key"
    keys.new_site_key(key_file)
    uid = bytes.fromhex("04a2b1c3d4e5f6")
    badge = blind(HmacKey(keys.load_site_key(key_file)), identity_of(uid))
    one = event(values.TAP, reason=values.GRANTED, badge_id=badge)
    deliver(database, [event(values.BOOT), *taps(3), one])
    deliver(database, [*taps(2), one], door="south", wall_s=1_790_100_000)
    deliver(database, [one], door="west", wall_s=0)
    return key_file, badge


def rows(*words):
    result = doorctl("report", *words)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout))), result.stderr


def test_reports(kept, url, tmp_path):
    key_file, badge = kept
    at = ("--database", url)
    everything, _ = rows(*at)
    assert len(everything) == 9
    assert [(one["door"], one["sequence"]) for one in everything[:2]] == [
        ("north", "1"),
        ("north", "2"),
    ]
    assert everything[0]["event"] == "boot" and everything[0]["happened_at"].endswith("Z")
    assert {one["door"] for one in rows(*at, "--door", "south")[0]} == {"south"}
    assert len(rows(*at, "--door", "riverside/north")[0]) == 5
    assert rows(*at, "--door", "elsewhere/north")[0] == []
    by_uid = rows(*at, "--badge", "04:A2:B1:C3:D4:E5:F6", "--site-key", key_file)[0]
    assert by_uid == rows(*at, "--badge", badge.hex())[0] and len(by_uid) == 3
    timed, told = rows(*at, "--from", "2026-09-22", "--to", "2026-09-22")
    assert {one["door"] for one in timed} == {"south"}
    assert "1 records have no time and are left out" in told
    out = tmp_path / "report.json"
    result = doorctl("report", *at, "--format", "json", "--out", out)
    assert f"{out}: 9 records" in result.output
    found = json.loads(out.read_text())
    assert len(found) == 9 and found[-1]["happened_at"] is None
    again = doorctl("report", *at, "--out", out)
    assert again.exit_code == 1 and "exists, and is not overwritten" in again.stderr
    assert json.loads(doorctl("report", *at, "--format", "json", "--door", "x").stdout) == []


def test_a_report_that_asks_nonsense(kept, url):
    at = ("--database", url)
    for words, told in (
        (("--badge", "04A2B1C3D4E5F6"), "a UID needs --site-key"),
        (("--badge", "04A2", "--site-key", kept[0]), "a UID has 4, 7 or 10"),
        (("--from", "yesterday"), "is not a date"),
    ):
        result = doorctl("report", *at, *words)
        assert result.exit_code == 1 and told in result.stderr


def test_a_long_report_takes_little_memory(database, url, tmp_path):
    """100,000 rows pass through a process that may not grow by 30 MB."""
    raw = journal(taps(1000))
    for n in range(100):
        payloads = (bytes(8) + b"".join(raw[at : at + 32]) for at in range(0, 1000, 32))
        database.add([parse_batch(SITE, f"door-{n}", payload) for payload in payloads])
    script = (
        "import resource, sys\n"
        "from doorctl import cli_report\n"
        "words = sys.argv[1:]\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "cli_report.report([*words, '--door', 'door-1'], standalone_mode=False)\n"
        "before = used()\n"
        "cli_report.report([*words, '--out', 'all.csv'], standalone_mode=False)\n"
        "print(used() - before)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "--database", url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *_, told, grown_kb = result.stdout.splitlines()
    assert told == "all.csv: 100000 records"
    assert int(grown_kb) < 30_000, grown_kb


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def test_metrics_are_scraped(sqlite_url, start, broker):
    port = free_port()
    start(sqlite_url, "--metrics", f"127.0.0.1:{port}")

    async def live():
        door = Door(SITE, DOOR, journal([event(values.FIRE), *taps(9)]))
        living = asyncio.create_task(door.live(broker.port))
        await door.is_welcome.wait()
        door.say("health", journal={"pending": 3, "acknowledged": 10})
        door.publish("records", b"x")
        door.go()
        await asyncio.wait_for(door.is_done.wait(), 20)

        def is_shown():
            found = scrape(port)
            return all(
                line in found
                for line in (
                    "doorward_records_stored_total 10.0",
                    "doorward_messages_garbage_total 1.0",
                    "doorward_broker_connected 1.0",
                    "doorward_database_up 1.0",
                    "doorward_doors_online 1.0",
                    "doorward_records_unsent 3.0",
                    f'doorward_door_records_unsent{{door="{DOOR}",site="{SITE}"}} 3.0',
                    'doorward_doors_in_alarm{alarm="fire"} 1.0',
                    'doorward_doors_in_alarm{alarm="conflict"} 0.0',
                )
            )

        await asyncio.to_thread(wait_until, is_shown, "not shown")
        living.cancel()
        door.drop()

    asyncio.run(live())
    found = scrape(port)
    assert float(found.split("doorward_commit_seconds_count ")[1].split()[0]) >= 1
    assert "doorward_database_errors_total 0.0" in found


def test_a_metrics_port_that_is_taken_is_told(sqlite_url, broker):
    taken = f"127.0.0.1:{broker.port}"
    result = doorctl("collect", "--database", sqlite_url, "--metrics", taken)
    assert result.exit_code == 1 and f"metrics {taken}" in result.stderr


def test_series_do_not_grow_with_the_fleet():
    metrics = Metrics()
    doors = [fleet.Door(SITE, f"door-{n}", unsent=n) for n in range(1000)]
    for _ in range(2):
        metrics.show_fleet(doors)
        shown = [
            sample
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "doorward_door_records_unsent"
        ]
        assert len(shown) == 20 and min(sample.value for sample in shown) == 980
        doors = doors[::-1]


def keys_in(value):
    """Every name in a JSON document, at whatever depth."""
    if isinstance(value, dict):
        return [*value, *(name for one in value.values() for name in keys_in(one))]
    return [name for one in value for name in keys_in(one)] if isinstance(value, list) else []


def test_home_assistant_is_told_and_cannot_order(sqlite_url, start, broker):
    start(sqlite_url, "--home-assistant")
    heard = {}
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _d, message: heard.update({message.topic: message.payload})
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe([("homeassistant/#", 1), ("doorward/+/+/shown", 1)])

    def shown():
        return json.loads(heard.get(f"doorward/{SITE}/{DOOR}/shown", b"{}"))

    async def live():
        door = Door(SITE, DOOR, journal([event(values.FORCED_OPEN)]))
        living = asyncio.create_task(door.live(broker.port))
        await door.is_welcome.wait()
        door.say("health", posture="normal", clock={"quality": "synced"}, journal={"pending": 0})
        door.go()
        await asyncio.to_thread(
            wait_until,
            lambda: shown().get("online") == "ON" and shown().get("forced-open") == "ON",
            "not shown",
        )
        living.cancel()
        door.drop()

    asyncio.run(live())
    wait_until(lambda: shown().get("online") == "OFF", "not shown as gone")
    client.loop_stop()
    configs = {t: json.loads(p) for t, p in heard.items() if t.startswith("homeassistant/")}
    assert len(configs) == len(alarms.NAMES) + 4
    for topic, config in configs.items():
        _, component, _, end = topic.split("/")
        assert component in ("binary_sensor", "sensor") and end == "config"
        orders = [name for name in keys_in(config) if "command" in name or "cmd" in name]
        assert not orders and not any(name.startswith("payload_") for name in keys_in(config))
        assert config["state_topic"] == f"doorward/{SITE}/{DOOR}/shown"
        what = config["value_template"].split("'")[1]
        assert what in shown()
    assert len({config["unique_id"] for config in configs.values()}) == len(configs)


def test_without_the_option_home_assistant_hears_nothing(sqlite_url, start, broker):
    start(sqlite_url)
    heard = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _d, message: heard.append(message.topic)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe([("homeassistant/#", 1), ("doorward/+/+/shown", 1)])

    async def live():
        door = Door(SITE, DOOR, journal(taps(1)))
        living = asyncio.create_task(door.live(broker.port))
        await door.is_welcome.wait()
        door.go()
        await asyncio.wait_for(door.is_done.wait(), 20)
        living.cancel()
        door.drop()

    asyncio.run(live())
    time.sleep(7)
    client.loop_stop()
    assert heard == []


def test_no_component_of_home_assistant_takes_orders():
    door = fleet.Door(SITE, DOOR)
    for topic, config in home_assistant.configs("homeassistant", door).items():
        assert topic.split("/")[1] in ("binary_sensor", "sensor")
        assert not any("command" in name for name in keys_in(config))
