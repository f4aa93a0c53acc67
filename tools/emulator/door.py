"""A door's flash area, made and read with the firmware's own code: keys, list, journal."""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doorctl import keyring, keys, people
from doorctl.world import DOOR, SITE, World
from doorward import config, state
from doorward.access.control import blind
from doorward.access.intake import Intake
from doorward.access.shelf import Address, Shelf
from doorward.hal import roles, unix
from doorward.journal import record as records
from doorward.journal import ring
from doorward.journal.record import RECORD_BYTES, Record
from doorward.trust.primitives import HmacKey, no_pause, run_through
from doorward.values import TAP, UNKNOWN_BADGE, Badge, Event
from doorward.walltime import WallTime

from emulator.rig import board_module

# Settings of a door that is soon ready for the next tap: it lets go, and forgets a badge, as early
# as can be set.
QUICK = {
    setting.name: setting.low
    for setting in config.SETTINGS
    if setting.name.endswith("_pulse_ms") or setting.name == "same_badge_ms"
}


@dataclass
class Door:
    """A provisioned door. area: its flash area; badges: the UIDs on its list."""

    area: bytes
    badges: list[bytes]
    site_key: bytes

    def badge_id(self, uid: bytes) -> bytes:
        """Return a badge's blinded identity, as the journal has it."""
        return blind(HmacKey(self.site_key), identity(uid))

    def of_length(self, uid_bytes: int) -> list[bytes]:
        """Return the listed badges whose UID is so long."""
        return [uid for uid in self.badges if len(uid) == uid_bytes]


def identity(uid: bytes) -> bytes:
    """Return a badge's identity as the reader hands it on."""
    whole = bytearray(Badge().identity)
    whole[: 1 + len(uid)] = bytes((len(uid),)) + uid
    return bytes(whole)


@dataclass
class Update:
    """A door that has its list's second version in force and the first in the room beside it, and
    the third, which is to replace the second.

    data: the third, signed. outdated: the first. joiners: badges on the third and not on the second;
    leavers: the other way round.
    """

    door: Door
    data: bytes
    outdated: bytes
    joiners: list[bytes]
    leavers: list[bytes]


def make_door(badge_count: int, seed: int = 522, **settings: Any) -> Door:
    """Provision a door with one responders' list of so many badges, a third of each UID length."""
    badges = make_badges(badge_count, seed)
    with _make_world(badges, settings) as world:
        _put_list(world, world.build_list("police", 1).read_bytes())
        return _door(world, badges)


def make_update(badge_count: int, changes: int, seed: int = 522, **settings: Any) -> Update:
    """Provision a door like make_door's that is to have a list as long, with so many others."""
    everybody = make_badges(badge_count + changes, seed)
    badges, joiners = everybody[:badge_count], everybody[badge_count:]
    leavers = badges[:changes]
    with _make_world(everybody, settings) as world:
        outdated, current = (
            world.build_list("police", version, set(joiners)).read_bytes() for version in (1, 2)
        )
        _put_list(world, outdated)
        _put_list(world, current)
        data = world.build_list("police", 3, set(leavers)).read_bytes()
        return Update(_door(world, badges), data, outdated, joiners, leavers)


def make_full_journal() -> bytes:
    """Return the flash area of a door whose journal has come round, with two sectors erased ahead."""
    with _make_world([], {}) as world:
        path = world.folder / "flash.bin"
        layout = board_module("layout").LAYOUT
        file = unix.FlashFile(str(path), layout.size_bytes)
        ticks = _Ticks()
        full = ring.Journal(
            file.region(layout.journal),
            state.Snapshots(file.region(layout.provision), roles.PROVISION_SLOT_BYTES),
            state.Snapshots(file.region(layout.state), roles.STATE_SLOT_BYTES),
            WallTime(ticks),
            ticks,
            _NoGate(),
            boot=1,
            random_bytes=unix.random_bytes,
        )
        asyncio.run(_fill(full))
        file.close()
        return path.read_bytes()


async def _fill(full: ring.Journal) -> None:
    # As MicroPython's asyncio has it.
    setattr(asyncio, "sleep_ms", lambda ms: asyncio.sleep(ms / 1000))  # noqa: B010
    while full.oldest_sequence == 1:
        for _ in range(ring.RAM_EVENTS):
            full.note(Event(TAP, 0))
        await full.flush()
        # Its first round erases ahead.
        tending = asyncio.create_task(full.tend())
        await asyncio.sleep(0)
        tending.cancel()


class _Ticks:
    """Ticks that stand still."""

    def ticks_ms(self) -> int:
        return 0

    def ticks_diff(self, later: int, earlier: int) -> int:
        return later - earlier


@contextlib.contextmanager
def _make_world(badges: list[bytes], settings: dict[str, Any]) -> Iterator[World]:
    """Make a provisioned world whose police roster has these badges."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "site")
        world.begin()
        world.make_keys()
        people.write_roster(
            world.folder / "police.csv",
            [people.Person("", uid, "responder") for uid in badges],
        )
        if "strike_pulse_ms" in settings:
            # The badges here are responders'.
            settings = {"responder_pulse_ms": settings["strike_pulse_ms"], **settings}
        world.provision(broker_host="", **settings)
        yield world


def _door(world: World, badges: list[bytes]) -> Door:
    site_key = keys.load_site_key(world.folder / "keys" / "site.key")
    return Door((world.folder / "flash.bin").read_bytes(), badges, site_key)


def make_badges(count: int, seed: int) -> list[bytes]:
    """Return distinct UIDs of 4, 7 and 10 bytes in turn, none of them a random one."""
    chance = random.Random(seed)
    badges: dict[bytes, None] = {}
    while len(badges) < count:
        uid = chance.randbytes((4, 7, 10)[len(badges) % 3])
        if not (len(uid) == 4 and uid[0] == 0x08):
            badges[uid] = None
    return list(badges)


def journal(area: bytes) -> list[Record]:
    """Return the whole records of a flash area's journal, in order."""
    offset, length = board_module("layout").LAYOUT.journal
    slots = (area[at : at + RECORD_BYTES] for at in range(offset, offset + length, RECORD_BYTES))
    found = [record for record in map(records.unpack, slots) if record is not None]
    return sorted(found, key=lambda record: record.sequence)


def taps(area: bytes) -> list[tuple[bytes, bool]]:
    """Return (blinded identity, was granted) of every tap in the journal, in order."""
    events = [record.event for record in journal(area)]
    return [(one.badge_id, one.reason < UNKNOWN_BADGE) for one in events if one.code == TAP]


class _NoGate:
    """A file does not stall anybody: run at once."""

    async def run(self, call, *args):
        return call(*args)


def _put_list(world: World, data: bytes) -> None:
    """Put a signed list in force: the door's own intake does it."""
    layout = board_module("layout").LAYOUT
    file = unix.FlashFile(str(world.folder / "flash.bin"), layout.size_bytes)
    snapshots = state.Snapshots(file.region(layout.state), roles.STATE_SLOT_BYTES)
    ring = keyring.open_ring_file(world.folder / "ring.dwk")
    shelf = Shelf(file.region(layout.lists), snapshots, ring, Address(SITE, DOOR))
    intake = Intake(shelf, _NoGate(), no_pause, None)

    async def take() -> None:
        intake.begin(len(data))
        await intake.feed(data)
        await intake.finish()

    run_through(take())
    file.close()
