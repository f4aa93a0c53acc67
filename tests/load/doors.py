"""Many doors in one process of MicroPython's unix port: `micropython doors.py ORDERS`.

Each is the whole firmware, built by its own composition root on flash in memory, of which all runs
but reader, inputs and lights: nobody taps here, and a thousand of them would poll for it.

ORDERS is a JSON file: broker_port; psk, whether TLS is used; ring, a file; site; site_key, hex;
records, how many each door has to deliver; lists_sectors; doors: name, journal_id, journal_key and
uplink_key of each, hex.
"""

import asyncio
import json
import sys
import time
from binascii import unhexlify

from doorward import state
from doorward.hal import unix
from doorward.hal.roles import PROVISION_SLOT_BYTES, SECTOR_BYTES, Board, FlashRegion
from doorward.trust.primitives import run_through
from doorward.values import CLOCK_SYNCED, TAP, UNKNOWN_BADGE, Event
from main import build

_PROVISION_SECTORS = 6
_STATE_SECTORS = 2
# Beside the records: the sector in use and what is kept blank ahead.
_MORE_SECTORS = 4
_SECTOR_RECORDS = 63
# The reader tells the quiet gate that it has looked; here nobody else does.
_POLL_MS = 500
_FLUSH_EVERY = 32


class MemoryFlash(FlashRegion):
    """NOR flash that nothing outlives."""

    def __init__(self, sectors: int) -> None:
        super().__init__(sectors * SECTOR_BYTES)
        self._data = bytearray(b"\xff" * self.size_bytes)

    def read_into(self, offset: int, buf: bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        buf[:] = memoryview(self._data)[offset : offset + len(buf)]

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        data = self._data
        for i, byte in enumerate(buf):
            data[offset + i] &= byte

    def erase(self, offset: int) -> None:
        self.check_range(offset, SECTOR_BYTES)
        self._data[offset : offset + SECTOR_BYTES] = b"\xff" * SECTOR_BYTES


class NoGate:
    """Nobody is held up while a door is provisioned."""

    async def run(self, call, *args):
        return call(*args)


class NoSpi:
    """A bus that nobody answers on."""

    def write(self, buf) -> None:
        pass

    def readinto(self, buf) -> None:
        pass

    def write_readinto(self, out, into) -> None:
        pass


def nothing_wired(level: int | None = None) -> int:
    """Be a pin that nothing hangs on."""
    return 1


class LoadBoard(Board):
    """A board with flash and a network."""

    def __init__(self, orders: dict, door: dict, ring: bytes) -> None:
        self.name = "LOAD"
        self.strike = self.reader_cs = self.reader_reset = nothing_wired
        self.spi = NoSpi()
        self.ticks = time
        self.network = unix.Network()
        self.provision = MemoryFlash(_PROVISION_SECTORS)
        self.state = MemoryFlash(_STATE_SECTORS)
        self.lists = MemoryFlash(orders["lists_sectors"])
        self.journal = MemoryFlash(orders["records"] // _SECTOR_RECORDS + _MORE_SECTORS)
        settings = {
            "site": orders["site"],
            "door": door["name"],
            "broker_host": "127.0.0.1",
            "broker_port": orders["broker_port"],
            "broker_tls": orders["psk"],
            "input_lockdown": "none",
        }
        values = {
            state.CONFIG: json.dumps(settings).encode(),
            state.KEY_RING: ring,
            state.SITE_KEY: unhexlify(orders["site_key"]),
            state.JOURNAL_ID: unhexlify(door["journal_id"]),
            state.JOURNAL_KEY: unhexlify(door["journal_key"]),
            state.UPLINK_KEY: unhexlify(door["uplink_key"]),
        }
        given = state.Snapshots(self.provision, PROVISION_SLOT_BYTES)
        run_through(given.commit(values, NoGate()))

    def wall_clock(self) -> tuple[int, int]:
        return int(time.time()), CLOCK_SYNCED

    def random_bytes(self, n: int) -> bytes:
        return unix.random_bytes(n)

    def reset(self) -> None:
        sys.exit("a door asked for its restart")

    def report(self, text: str, error: Exception | None = None) -> None:
        sys.stderr.write(text + "\n")
        if error is not None:
            sys.print_exception(error, sys.stderr)


def no_beat() -> None:
    """Nobody watches over these tasks."""


async def run(board: LoadBoard, records: int) -> None:
    """Run one door, once it has noted a day's taps."""
    door = await build(board)
    for number in range(records):
        event = Event(TAP, time.ticks_ms(), reason=UNKNOWN_BADGE)
        event.badge_id = b"%010d" % number
        door.note(event)
        if number % _FLUSH_EVERY == 0:
            door._gate.polled()
            await door._journal.flush()
    door._access.posture.on_change = door._follow_posture
    watched = (door._journal.run, door._journal.tend, door._access.posture.keep)
    calls = [call(no_beat) for call in watched] + [call() for _, call in door.uplink.tasks()]
    await asyncio.gather(look(door), *calls)


async def look(door) -> None:
    """Do what the reader's task and the tick do for the others."""
    while True:
        door._gate.polled()
        door._access.follow_time()
        await asyncio.sleep_ms(_POLL_MS)


async def main(boards: list, records: int) -> None:
    await asyncio.gather(*[run(board, records) for board in boards])


def read_orders(path: str) -> tuple:
    """Return the boards, and how many records each is to note."""
    with open(path) as file:
        orders = json.load(file)
    with open(orders["ring"], "rb") as file:
        ring = file.read()
    return [LoadBoard(orders, door, ring) for door in orders["doors"]], orders["records"]


asyncio.run(main(*read_orders(sys.argv[1])))
