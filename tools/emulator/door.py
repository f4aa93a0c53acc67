"""A door's flash area, made and read with the firmware's own code: keys, list, journal."""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doorctl import keyring, keys, people
from doorctl.world import SITE, World
from doorward import state
from doorward.access.control import blind
from doorward.access.intake import Intake
from doorward.access.shelf import Shelf
from doorward.hal import roles, unix
from doorward.journal import record as records
from doorward.journal.record import RECORD_BYTES, Record
from doorward.trust.primitives import HmacKey, no_pause, run_through
from doorward.values import TAP, UNKNOWN_BADGE, Badge

from emulator.rig import board_module


@dataclass
class Door:
    """A provisioned door. area: its flash area; badges: the UIDs on its list."""

    area: bytes
    badges: list[bytes]
    site_key: bytes

    def badge_id(self, uid: bytes) -> bytes:
        """Return a badge's blinded identity, as the journal has it."""
        identity = bytearray(Badge().identity)
        identity[: 1 + len(uid)] = bytes((len(uid),)) + uid
        return blind(HmacKey(self.site_key), identity)

    def of_length(self, uid_bytes: int) -> list[bytes]:
        """Return the listed badges whose UID is so long."""
        return [uid for uid in self.badges if len(uid) == uid_bytes]


def make_door(badge_count: int, seed: int = 522, **settings: Any) -> Door:
    """Provision a door with one responders' list of so many badges, a third of each UID length."""
    badges = make_badges(badge_count, seed)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "site")
        world.begin()
        ring = world.make_keys()
        people.write_roster(
            world.folder / "police.csv",
            [people.Person("", uid, "responder") for uid in badges],
        )
        world.provision(broker_host="", **settings)
        flash = world.folder / "flash.bin"
        _put_list(flash, ring, world.build_list("police", 1).read_bytes())
        site_key = keys.load_site_key(world.folder / "keys" / "site.key")
        return Door(flash.read_bytes(), badges, site_key)


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


def _put_list(flash: Path, ring: bytes, data: bytes) -> None:
    """Put a signed list in force: the door's own intake does it."""
    layout = board_module("layout").LAYOUT
    file = unix.FlashFile(str(flash), layout.size_bytes)
    snapshots = state.Snapshots(file.region(layout.state), roles.STATE_SLOT_BYTES)
    shelf = Shelf(file.region(layout.lists), snapshots, keyring.open_ring(ring))
    intake = Intake(shelf, SITE, _NoGate(), no_pause)

    async def take() -> None:
        intake.begin(len(data))
        await intake.feed(data)
        await intake.finish()

    run_through(take())
    file.close()
