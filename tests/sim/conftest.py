"""A site with one door for the tests that play with the whole of it."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brokers import Broker, need_mosquitto
from district import Wired
from doorctl.database import describe
from doorctl.world import DOOR, SITE, World, wait_until
from doorward import state
from doorward.hal import roles, unix
from doorward.trust.primitives import run_through


class Site(World):
    """A World whose keys, rosters and lists are made once and whose door is new in every test."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begin()
        self.make_keys()
        self.write_rosters()
        self.police_list = self.build_list("police", 1).read_bytes()
        self.school_list = self.build_list("school", 1).read_bytes()

    def new_door(self, *, has_lists: bool = True, **settings) -> None:
        """Provision and start a new door, quick to poll and to let go of its strike."""
        for leftover in ("bench.json", "records.db"):
            (self.folder / leftover).unlink(missing_ok=True)
        self.provision(**{"strike_pulse_ms": 200, "ack_timeout_ms": 1000, **settings})
        self.start_door()
        with self.cable() as door:
            wait_until(lambda: door.status()["reader"]["is_up"], 10, "the reader is down")
            if has_lists:
                door.push(self.police_list)
                door.push(self.school_list)

    def give_settings(self, **settings) -> None:
        """Give the door, which is switched off, settings that nobody checked."""
        layout = roles.LAYOUT_2MB
        file = unix.FlashFile(str(self.folder / "flash.bin"), layout.size_bytes)
        given = state.Snapshots(file.region(layout.provision), roles.PROVISION_SLOT_BYTES)
        text = json.dumps({"site": SITE, "door": DOOR, **settings}).encode()
        run_through(given.commit({state.CONFIG: text}, _NoGate()))
        file.close()

    def tap(self, badge: bytes) -> dict:
        """Tap; return what was seen at the door."""
        return self.door.bench(f"tap {badge.hex()} 60")

    def events(self, *names: str) -> list[dict]:
        """Return the door's records in words, of these events where any are named."""
        with self.cable() as door:
            found = [describe(record) for record in door.log()]
        return [one for one in found if not names or one["event"] in names]

    def wait_for_event(self, name: str, count: int = 1) -> None:
        wait_until(lambda: len(self.events(name)) >= count, 15, f"no event {name}")

    def status(self) -> dict:
        with self.cable() as door:
            return door.status()

    def stored(self) -> list[bytes]:
        """Return the records at the collector."""
        database = self.database()
        try:
            return [bytes(row.raw) for row in database.of_door(SITE, DOOR)]
        finally:
            database.close()

    def held(self) -> list[bytes]:
        """Return the records on the door."""
        with self.cable() as door:
            return [raw for _, raw in door.raw_log()]

    def wait_for_delivery(self, timeout_s: float = 45) -> None:
        """Wait until the collector has all that the door holds, and that exactly."""
        held = self.held()
        wait_until(lambda: len(self.stored()) >= len(held), timeout_s, "records are missing")
        assert self.stored()[: len(held)] == held


class _NoGate:
    """A file does not stall anybody: run at once."""

    async def run(self, call, *args):
        return call(*args)


@pytest.fixture(scope="session")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@pytest.fixture
def site(_site: Site) -> Iterator[Site]:
    """A site without a door; the test says how its door is to be."""
    yield _site
    _site.close()


@pytest.fixture
def door_site(site: Site) -> Site:
    """A site whose door runs with both lists in force, without broker and collector."""
    site.new_door()
    return site


@pytest.fixture(params=["amqtt", "mosquitto"])
def wired(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Wired]:
    """A site, a broker that confines its doors where it can, and the district at it."""
    if request.param == "mosquitto":
        need_mosquitto()
    key = os.urandom(32)
    keys_of = {f"{SITE}/{DOOR}": key, f"{SITE}/back": bytes(32)}
    broker = Broker(request.param, tmp_path, keys_of, is_confined=True)
    broker.start()
    wired = Wired(site, broker, key)
    wired.district.start()
    yield wired
    wired.district.close()
    broker.kill()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], str], None]:
    """Wait up to 15 s for something to be so."""

    def wait(is_so: Callable[[], bool], otherwise: str) -> None:
        wait_until(is_so, 15, otherwise)
        time.sleep(0)

    return wait
