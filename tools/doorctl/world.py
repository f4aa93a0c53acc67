"""A site in a folder: keys, rosters, lists, broker, collector and one simulated door.

Everything in it is the real thing but the door's board, and everything is fictional: its keys are
for demonstrations and lie unprotected.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from doorward.access.command import Command
from doorward.journal.record import JOURNAL_ID_BYTES, KEY_BYTES
from doorward.trust.keyring import MAY_COMMAND, MAY_DENY, MAY_LIST, Issuer
from doorward.values import RESPONDER, STAFF, Entry

from doorctl import commands, denials, keyring, keys, lists, people, roster
from doorctl.database import Database
from doorctl.errors import DoorctlError
from doorctl.link import Door
from doorctl.provision import change_settings, provision_file
from doorctl.register import Register
from doorctl.simulator import SimulatedDoor, free_port

SITE = "riverside"
DOOR = "north-entrance"
ISSUERS = {"police": RESPONDER, "school": STAFF}
_SOFT_STALE_S = 30 * lists.DAY_S
_HARD_STALE_S = 90 * lists.DAY_S
_POWERS = MAY_LIST | MAY_DENY | MAY_COMMAND
_COMMAND_LIFE_S = 900
_START_TIMEOUT_S = 20.0


class World:
    """One site. Call the steps in the order they stand here; `close` at any time.

    Attributes:
        officers, staff: the people on the rosters.
        door: the SimulatedDoor, from `start_door` on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.officers = people.officers()
        self.staff = people.staff()
        self.door: SimulatedDoor | None = None
        self.broker_port = 0
        self._broker: subprocess.Popen | None = None
        self._collector: subprocess.Popen | None = None

    def begin(self) -> None:
        """Make the folder, empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.broker_port = free_port()

    def make_keys(self) -> bytes:
        """Make root, police, school and site keys and the key ring; return the ring."""
        folder = self.folder / "keys"
        folder.mkdir()
        for name in ("root", *ISSUERS):
            keys.new_key(folder, name, 2048, None)
        keys.new_site_key(folder / "site.key")
        root = keys.load_private(folder / "root.pem")
        issuers = [
            Issuer(
                name,
                1 << number,
                keys.load_public(folder / f"{name}.pub.pem"),
                powers=_POWERS,
            )
            for name, number in ISSUERS.items()
        ]
        ring = keyring.build_ring(SITE, 1, [root], 1, issuers)
        (self.folder / "ring.dwk").write_bytes(ring)
        return ring

    def write_rosters(self) -> dict[str, Path]:
        """Write both rosters as CSV; return their paths by issuer."""
        paths = {name: self.folder / f"{name}.csv" for name in ISSUERS}
        people.write_roster(paths["police"], self.officers)
        people.write_roster(paths["school"], self.staff)
        return paths

    def build_list(
        self,
        issuer: str,
        version: int,
        without: Collection[bytes] = (),
        includes_deny: int = 0,
    ) -> Path:
        """Sign an issuer's list from its roster, leaving out the badges in `without`."""
        rows = roster.sound_rows([self.folder / f"{issuer}.csv"])
        data = lists.build_list(
            [row for row in rows if row.uid not in without],
            keys.load_private(self.folder / "keys" / f"{issuer}.pem"),
            SITE,
            version,
            keys.load_site_key(self.folder / "keys" / "site.key"),
            int(time.time()),
            soft_stale_s=_SOFT_STALE_S,
            hard_stale_s=_HARD_STALE_S,
            includes_deny=includes_deny,
        )
        path = self.folder / f"{issuer}-{version}.dwl"
        path.write_bytes(data)
        return path

    def build_deny_list(self, issuer: str, version: int, badges: Collection[bytes]) -> bytes:
        """Sign a list of badges that shall open nothing any more."""
        identities = [roster.Row(uid, Entry()).identity for uid in badges]
        return denials.build_deny_list(
            identities,
            keys.load_private(self.folder / "keys" / f"{issuer}.pem"),
            SITE,
            version,
            keys.load_site_key(self.folder / "keys" / "site.key"),
            int(time.time()),
        )

    def build_command(self, issuer: str, kind: int, counter: int, **how: Any) -> bytes:
        """Sign an order to the site's doors. how: what Command takes besides."""
        now_s = int(time.time())
        return commands.build_command(
            Command(kind, now_s + _COMMAND_LIFE_S, **how),
            keys.load_private(self.folder / "keys" / f"{issuer}.pem"),
            SITE,
            counter,
            now_s,
        )

    def provision(self, *, uplink_key: bytes | None = None, **settings: object) -> None:
        """Give the door its settings (added to the world's own) and its keys, and enter it in the
        register."""
        journal = (os.urandom(JOURNAL_ID_BYTES), os.urandom(KEY_BYTES))
        uplink_key = uplink_key or os.urandom(KEY_BYTES)
        self.register.add(SITE, DOOR, *journal, uplink_key)
        provision_file(
            self.folder / "flash.bin",
            {
                "site": SITE,
                "door": DOOR,
                "broker_host": "127.0.0.1",
                "broker_port": self.broker_port,
                "broker_tls": False,
                **settings,
            },
            (self.folder / "ring.dwk").read_bytes(),
            keys.load_site_key(self.folder / "keys" / "site.key"),
            journal,
            uplink_key,
        )
        (self.folder / "world.json").write_text(json.dumps({"broker_port": self.broker_port}))

    def change_settings(self, **changes: object) -> None:
        """Give the door, which is switched off, other settings."""
        change_settings(self.folder / "flash.bin", changes)

    def resume(self) -> bool:
        """Take up a folder that was provisioned before. False where there is none."""
        try:
            known = json.loads((self.folder / "world.json").read_text())
            self.broker_port = known["broker_port"]
        except (OSError, ValueError, KeyError):
            return False
        return (self.folder / "flash.bin").exists()

    def start_broker(self) -> None:
        """Start the broker and wait until it listens. Raises DoorctlError, also for a port that is
        somebody else's."""
        if _listens(self.broker_port):
            raise DoorctlError(
                f"port {self.broker_port} is taken; is this site running already? "
                "If not: doorctl sim run --fresh"
            )
        self._broker = self._spawn("broker.log", "doorctl.broker", str(self.broker_port))
        wait_until(
            lambda: _listens(self.broker_port), _START_TIMEOUT_S, "the broker did not start"
        )

    def stop_broker(self) -> None:
        """Kill the broker."""
        _kill(self._broker)

    def start_collector(self) -> None:
        """Start the collector; it connects by itself, whenever there is a broker."""
        self._collector = self._spawn(
            "collector.log",
            "doorctl.main",
            "collect",
            "--broker",
            f"127.0.0.1:{self.broker_port}",
            "--database",
            self.database_url,
        )

    def stop_collector(self) -> None:
        """Kill the collector."""
        _kill(self._collector)

    def start_door(self) -> None:
        """Power the door up; wait until it polls."""
        self.door = SimulatedDoor(self.folder)
        self.door.power_on()

    def cable(self) -> Door:
        """Plug the technician's cable in; use as a context manager."""
        if self.door is None:
            raise DoorctlError("the door has not been started")
        return Door(self.door.tty)

    @property
    def register(self) -> Register:
        """Return the register that the world's doors are entered in."""
        return Register(self.folder / "doors")

    def journal_key(self) -> bytes:
        """Return the first key of the door's newest journal."""
        entry = self.register.door(SITE, DOOR)
        if entry is None:
            raise DoorctlError("the door has not been provisioned")
        return entry.journals[-1].key

    @property
    def database_url(self) -> str:
        return f"sqlite:///{(self.folder / 'records.db').absolute()}"

    def database(self) -> Database:
        return Database(self.database_url)

    def close(self) -> None:
        """Stop everything."""
        if self.door is not None:
            self.door.close()
            self.door = None
        self.stop_collector()
        self.stop_broker()

    def _spawn(self, log: str, *command: str) -> subprocess.Popen:
        with open(self.folder / log, "ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )


def _kill(process: subprocess.Popen | None) -> None:
    if process is not None:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(is_so: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise DoorctlError(otherwise)
        time.sleep(0.05)
