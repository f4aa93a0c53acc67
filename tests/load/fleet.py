"""Hundreds of doors at once against a real Mosquitto and a collector: `make bench-fleet`.

First a lockdown is ordered at a hundred doors that are connected over TLS-PSK, again and again. Then
a crowd comes back after a day without a network: every door connects, delivers what it noted, and
fetches the list and the deny list that were published meanwhile. Counted are the rows in the database; the times
are on this computer's clock, with doors, broker, database and collector on the same cores.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, os.fspath(TESTS / "collector"))

import sqlalchemy as sa
from doorctl import keys, publish
from doorctl.database import Database, records
from doorctl.mqtt import Broker
from doorctl.register import Register, mosquitto_acl_file, mosquitto_psk_file
from doorctl.simulator import find_micropython, firmware_environment
from doorctl.world import SITE, World
from doorward.journal import record as journal_records
from doorward.journal.record import RECORD_BYTES
from doorward.values import (
    EVENTS,
    LIST_IN_FORCE,
    LOCK_DOWN,
    LOCKDOWN,
    POSTURE_CHANGED,
    RELEASE,
    TAP,
)
from paho.mqtt import client as paho
from services import Collector, Mosquitto, free_port

DOORS = Path(__file__).with_name("doors.py")
OUT = Path("build/bench/fleet.json")
LOCKDOWN_S = 1.0

_OPEN_FILES = 8192
_DOORS_A_PROCESS = 4
_HEAP_A_DOOR_KB = 1000
_PATIENCE_S = 900
_ORDER_PATIENCE_S = 20
_JOURNAL_ID_BYTES = 8
# Each listener has its own; what the collector does is not at stake here.
_PSK_LISTENER = """
listener {port} 127.0.0.1
psk_hint doorward
psk_file {folder}/psk
use_identity_as_username true
acl_file {folder}/acl
max_connections -1
"""


class Fleet:
    """A site with so many doors, its broker, its collector and its database."""

    def __init__(self, folder: Path, count: int, record_count: int, is_psk: bool) -> None:
        """is_psk: doors use TLS. On the unix port that makes a process look 1,000 times a second
        whether something came, which two cores cannot do for 1,000 doors."""
        self.count = count
        self._is_psk = is_psk
        self.record_count = record_count
        self.world = World(folder / "site")
        self.world.begin()
        self.ring = self.world.make_keys()
        self.world.write_rosters()
        self._folder = folder
        self._register = Register(folder / "register")
        self._enter_doors()
        self._psk_port = free_port()
        broker_folder = folder / "broker"
        broker_folder.mkdir()
        doors = self._register.doors()
        for name, text in (
            ("psk", mosquitto_psk_file(doors)),
            ("acl", mosquitto_acl_file(doors, "collector")),
        ):
            (broker_folder / name).write_text(text)
        listener = _PSK_LISTENER.format(port=self._psk_port, folder=broker_folder)
        self.broker = Mosquitto(broker_folder, more=listener, head="per_listener_settings true\n")
        self.broker.start()
        self.url = f"sqlite:///{folder / 'records.db'}"
        self.database = Database(self.url)
        self.collector = Collector(self.broker.port, self.url, folder / "collector.log")
        self.collector.wait_for("connected")
        self._running: list[subprocess.Popen] = []

    def publish(self, *objects: bytes) -> None:
        """Offer signed objects to every door."""
        publish.offer(
            self.database, [publish.check_form("object", one) for one in objects], None, False
        )

    def send(self, order: bytes) -> None:
        """Publish a signed command."""
        sealed = publish.check_form("command", order)
        publish.send(Broker("127.0.0.1", self.broker.port), [sealed], True)

    def power_on(self) -> None:
        """Start all doors."""
        environment = firmware_environment()
        site_key = keys.load_site_key(self.world.folder / "keys" / "site.key")
        doors = [self._orders_of(door) for door in self._register.doors()]
        for number in range(0, len(doors), _DOORS_A_PROCESS):
            some = doors[number : number + _DOORS_A_PROCESS]
            orders = self._folder / f"orders-{number}.json"
            orders.write_text(
                json.dumps(
                    {
                        "broker_port": self._psk_port if self._is_psk else self.broker.port,
                        "psk": self._is_psk,
                        "site": SITE,
                        "site_key": site_key.hex(),
                        "ring": os.fspath(self.world.folder / "ring.dwk"),
                        "records": self.record_count,
                        "lists_sectors": 24,
                        "doors": some,
                    }
                )
            )
            heap = f"heapsize={len(some) * (_HEAP_A_DOOR_KB + self.record_count // 8)}K"
            with open(self._folder / "doors.log", "ab") as log:
                self._running.append(
                    subprocess.Popen(
                        [find_micropython(), "-X", heap, os.fspath(DOORS), os.fspath(orders)],
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
                )

    def check(self) -> None:
        """Raise where a process of doors has ended."""
        if any(one.poll() is not None for one in self._running):
            tail = (self._folder / "doors.log").read_text().splitlines()[-5:]
            raise SystemExit("doors died: " + " / ".join(tail))

    def events(self, code: int, version: int | None = None) -> int:
        """Return how many records of an event are in the database."""
        query = (
            sa.select(sa.func.count()).select_from(records).where(records.c.event == EVENTS[code])
        )
        if version is not None:
            query = query.where(records.c.list_version == version)
        with self.database.reading() as connection:
            return connection.scalar(query) or 0

    def verify(self) -> str:
        """Check every journal's chain from its first key; return what `doorctl log verify` says."""
        result = subprocess.run(
            [
                *(sys.executable, "-m", "doorctl.main", "log", "verify", "--json"),
                *("--database", self.url, "--register", os.fspath(self._register.folder)),
            ],
            capture_output=True,
            text=True,
        )
        found = json.loads(result.stdout) if result.stdout else []
        sound = sum(one["is_sound"] for one in found)
        if result.returncode or sound != self.count:
            raise SystemExit(f"chains: {sound} of {self.count} journals sound; {result.stderr}")
        return f"{sound} journals verified from their first key"

    def close(self) -> None:
        for one in self._running:
            one.kill()
            one.wait()
        self.collector.stop()
        self.database.close()
        self.broker.stop()

    def _enter_doors(self) -> None:
        for number in range(self.count):
            self._register.add(
                SITE,
                f"door-{number:04}",
                os.urandom(_JOURNAL_ID_BYTES),
                os.urandom(32),
                os.urandom(32),
            )

    def _orders_of(self, door) -> dict:
        (journal,) = door.journals
        return {
            "name": door.door,
            "journal_id": journal.id.hex(),
            "journal_key": journal.key.hex(),
            "uplink_key": door.uplink_key.hex(),
        }


class Watcher:
    """Sees every record that doors publish, and when a posture changed at which door."""

    def __init__(self, port: int) -> None:
        self.changed: dict[str, tuple[int, float]] = {}
        self._seen: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("doorward/+/+/records", 1)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def begin(self) -> None:
        with self._lock:
            self.changed = {}

    def _take(self, _client, _data, message) -> None:
        now = time.monotonic()
        door = message.topic.split("/")[2]
        batch = bytes(message.payload)[_JOURNAL_ID_BYTES:]
        for at in range(0, len(batch), RECORD_BYTES):
            if batch[at + 1] != POSTURE_CHANGED:
                continue
            found = journal_records.unpack(batch[at : at + RECORD_BYTES])
            if found is None or (door, found.sequence) in self._seen:
                continue
            with self._lock:
                self._seen.add((door, found.sequence))
                self.changed[door] = (found.event.posture, now)

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


def wait(fleet: Fleet, is_so, what: str, progress=None) -> float:
    """Wait until `is_so()`; return the seconds. progress: callable, returns what to show."""
    began = time.monotonic()
    shown = began
    while not is_so():
        fleet.check()
        now = time.monotonic()
        if now - began > _PATIENCE_S:
            raise SystemExit(
                f"{what}: not within {_PATIENCE_S} s; {progress() if progress else ''}"
            )
        if progress and sys.stderr.isatty() and now - shown > 1:
            shown = now
            print(f"\r{what}: {progress()}   ", end="", file=sys.stderr, flush=True)
        time.sleep(0.1)
    if progress and sys.stderr.isatty():
        print(file=sys.stderr)
    return time.monotonic() - began


def come_back(folder: Path, count: int, record_count: int) -> dict:
    """A crowd of doors delivers a day's records and converges; return figures."""
    fleet = Fleet(folder, count, record_count, is_psk=False)
    try:
        listed = fleet.world.build_list("police", 1).read_bytes()
        denied = fleet.world.build_deny_list("police", 1, [fleet.world.officers[0].badge])
        fleet.publish(fleet.ring, listed, denied)
        fleet.power_on()
        wanted = count * record_count
        total_s = wait(
            fleet,
            lambda: fleet.events(TAP) >= wanted,
            "delivering",
            lambda: f"{fleet.events(TAP):,} of {wanted:,}",
        )
        converged_s = total_s + wait(
            fleet,
            lambda: fleet.events(LIST_IN_FORCE, 1) >= count,
            "converging",
            lambda: f"{fleet.events(LIST_IN_FORCE, 1):,} of {count:,}",
        )
        stored = fleet.events(TAP)
        print(
            f"{count:,} doors: {stored:,} of {wanted:,} records at the collector in {total_s:.0f} s,"
        )
        print(
            f"  {stored / total_s:,.0f} a second; the list in force at all after {converged_s:.0f} s"
        )
        print(f"  {fleet.verify()}")
        return {
            "doors": count,
            "records": wanted,
            "stored": stored,
            "delivered_s": round(total_s, 1),
            "converged_s": round(converged_s, 1),
        }
    finally:
        fleet.close()


def lock_down(folder: Path, count: int, rounds: int) -> dict:
    """Order a lockdown at connected doors, and release it; return figures."""
    fleet = Fleet(folder, count, 1, is_psk=True)
    watcher = Watcher(fleet.broker.port)
    slowest_s = []
    all_s: list[float] = []
    try:
        fleet.power_on()
        wait(
            fleet, lambda: fleet.events(TAP) >= count, "connecting", lambda: str(fleet.events(TAP))
        )
        counter = 0
        for _ in range(rounds):
            for kind, posture in ((LOCK_DOWN, LOCKDOWN), (RELEASE, 0)):
                counter += 1
                order = fleet.world.build_command("police", kind, counter)
                watcher.begin()
                began = time.monotonic()
                fleet.send(order)
                while len(watcher.changed) < count:
                    fleet.check()
                    if time.monotonic() - began > _ORDER_PATIENCE_S:
                        break
                    time.sleep(0.01)
                times = [at - began for now, at in watcher.changed.values() if now == posture]
                if len(times) < count:
                    raise SystemExit(f"order {counter}: obeyed at {len(times)} of {count} doors")
                if kind == LOCK_DOWN:
                    slowest_s.append(max(times))
                    all_s += times
        result = {
            "doors": count,
            "rounds": rounds,
            "p50_s": round(statistics.median(all_s), 3),
            "slowest_s": round(max(slowest_s), 3),
        }
        print(
            f"lockdown at {count} connected doors, {rounds} times: half within "
            f"{result['p50_s']} s, the last within {result['slowest_s']} s (target {LOCKDOWN_S:g} s)"
        )
        return result
    finally:
        watcher.close()
        fleet.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--doors", type=int, default=1000)
    parser.add_argument("--records", type=int, default=200, help="of a day, at each door")
    parser.add_argument("--locked", type=int, default=100, help="doors of the lockdown")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, most), most))
    results = {}
    if given.locked:
        with tempfile.TemporaryDirectory(prefix="doorward-fleet-") as name:
            results["lockdown"] = lock_down(Path(name), given.locked, given.rounds)
    if given.doors:
        with tempfile.TemporaryDirectory(prefix="doorward-fleet-") as name:
            results["crowd"] = come_back(Path(name), given.doors, given.records)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
