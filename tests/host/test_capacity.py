"""How many badges the boards' flash holds, the old list and the new one beside it; how many records."""

import asyncio
import hashlib
import importlib.util
import random
from pathlib import Path

import pytest
from doorctl.keys import load_private, seal
from doorward import state
from doorward.access.allowlist import ENTRY_BYTES, pack_entry
from doorward.access.intake import Intake
from doorward.access.shelf import Address, Shelf
from doorward.hal.roles import (
    LAYOUT_2MB,
    PROVISION_SLOT_BYTES,
    SECTOR_BYTES,
    STATE_SLOT_BYTES,
    Layout,
)
from doorward.journal.ring import RAM_EVENTS, Journal
from doorward.trust import objects
from doorward.trust.keyring import read_ring
from doorward.trust.primitives import no_pause, run_through
from doorward.values import NO_SPACE, RESPONDER, TAP, Entry, Event, Refused
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate, vector

ROOT = Path(__file__).parents[2]


BOARDS = [path.parent.name for path in sorted((ROOT / "boards").glob("*/layout.py"))]


def layout_of(board: str) -> Layout:
    """Return a board's layout."""
    spec = importlib.util.spec_from_file_location("layout", ROOT / "boards" / board / "layout.py")
    assert spec is not None
    assert spec.loader is not None
    layout = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layout)
    return layout.LAYOUT


def make_list(badge_ids: list[bytes], version: int) -> bytes:
    entry = Entry()
    entry.cardholder_class = RESPONDER
    rights = pack_entry(b"", entry)
    police = load_private(Path(vector("objects/keys/police_DO_NOT_USE.pem")))
    header = objects.Header()
    header.type = objects.ALLOWLIST_TYPE
    header.site = "north"
    header.version = version
    header.entry_bytes = ENTRY_BYTES
    header.entry_count = len(badge_ids)
    n = police.public_key().public_numbers().n
    header.issuer_id = hashlib.sha256(n.to_bytes(256, "big")).digest()[:8]
    return seal(header, b"".join(badge_id + rights for badge_id in badge_ids), [police])


@pytest.mark.parametrize(
    ("board", "badges"),
    [("RPI_PICO", 20_000), ("ESP32_GENERIC", 20_000), ("ESP32_GENERIC_S3", 100_000)],
)
def test_old_and_new_list_lie_side_by_side(board, badges):
    flash = MemoryFlash(layout_of(board).lists[1], is_mapped=True)
    snapshots = state.Snapshots(MemoryFlash(2 * SECTOR_BYTES), STATE_SLOT_BYTES)
    with open(vector("objects/ring.dwk"), "rb") as file:
        ring = read_ring(file.read())
    shelf = Shelf(flash, snapshots, ring, Address("north"))
    intake = Intake(shelf, OpenGate(), no_pause, None)

    async def send(data: bytes) -> None:
        intake.begin(len(data))
        await intake.feed(data)
        await intake.finish()

    chance = random.Random(badges)
    badge_ids = sorted({chance.randbytes(10) for _ in range(badges)})
    assert len(badge_ids) == badges
    with open(vector("objects/district_1.dwl"), "rb") as file:
        run_through(send(file.read()))
    for version in (1, 2, 3):
        run_through(send(make_list(badge_ids, version)))
    found = Entry()
    police = shelf.lists[0]
    assert police.header.version == 3
    assert all(police.find(badge_id, found) for badge_id in badge_ids[:: badges // 500])
    assert not any(police.find(chance.randbytes(10), found) for _ in range(500))
    # Half as many again no longer fit beside them: the test above met the region's end.
    more = make_list(sorted(chance.randbytes(10) for _ in range(badges * 3 // 2)), 4)
    with pytest.raises(Refused) as caught:
        run_through(send(more))
    assert caught.value.code == NO_SPACE


# The build for a Pico W leaves less flash: docs/operations.md says what that means.
RECORDS = {"ESP32_GENERIC_S3": 16_000, "RPI_PICO_W": 2_800}


@pytest.mark.parametrize("board", [*BOARDS, "UNIX"])
def test_so_many_records_wait_for_a_network(board):
    layout = LAYOUT_2MB if board == "UNIX" else layout_of(board)
    given = state.Snapshots(MemoryFlash(layout.provision[1]), PROVISION_SLOT_BYTES)
    keys = {state.JOURNAL_ID: bytes(8), state.JOURNAL_KEY: bytes(32)}
    run_through(given.commit(keys, OpenGate()))
    kept = state.Snapshots(MemoryFlash(layout.state[1]), STATE_SLOT_BYTES)
    ticks = FakeTicks()
    region = MemoryFlash(layout.journal[1])
    journal = Journal(
        region, given, kept, WallTime(ticks), ticks, OpenGate(), boot=1, random_bytes=bytes
    )
    assert journal.capacity >= RECORDS.get(board, 4_000)
    assert RAM_EVENTS >= 64

    async def fill() -> None:
        """Until the first is overwritten, erasing ahead as a door does."""
        while journal.oldest_sequence == 1:
            for _ in range(RAM_EVENTS):
                journal.note(Event(TAP, 0))
            await journal.flush()
            await journal._erase_ahead(lambda: None)

    asyncio.run(fill())
    assert journal.next_sequence - journal.oldest_sequence >= journal.capacity
