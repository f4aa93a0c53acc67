"""Runs the whole door with an uplink to a broker in memory, and tells what that costs of the heap.

Blobs: 1 where slices are measured instead, else 0; the offer of a list; the list. The network comes
when the rig says so. What the broker keeps for the door's stream is taken off where it is counted.
"""
# MicroPython's modules, without its stubs.
# pyright: reportMissingImports=none, reportAttributeAccessIssue=none, reportArgumentType=none

import asyncio
import binascii  # noqa: F401  # with what follows: what the door has without an uplink
import gc
import json  # noqa: F401

import doorward.access.control
import doorward.app
import probe
from board import make_board
from broker import Broker
from doorward import config
from doorward.values import TAP, Event


def used() -> int:
    """Return the bytes of the heap that somebody holds."""
    gc.collect()
    return gc.mem_alloc()


_before = used()
import doorward.uplink.delivery
import doorward.uplink.downlink  # noqa: F401

MODULES_BYTES = used() - _before

import composition

_LOOK_MS = 20
_SETTLE_MS = 300
# Looking collects garbage, which takes the board 18 ms.
_PEAK_MS = 100
_BATCHES = 1
_BATCH_RECORDS = 32
_WANT_AT = 24
_RECORD_BYTES = 64


class Wire:
    """A network that is there when the rig says so."""

    fault = ""

    def __init__(self, broker) -> None:
        self.is_up = False
        self._broker = broker

    def configure(self, ssid, password, gate) -> None:
        pass

    async def join(self) -> bool:
        self.is_up = bool(probe.go())
        return self.is_up

    async def open(self, host, port, psk):
        return await self._broker.open()


class District:
    """Acknowledges records, and serves the one object that is offered."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._offer = bytes(probe.blob(1))
        self._data = probe.blob(2)

    def hear(self, link, topic, payload, qos, is_retained) -> None:
        if topic == self._base + "records":
            last = payload[-_RECORD_BYTES:]
            acknowledgement = payload[:8] + last[4:8] + last[44:60]
            link.send(self._base + "acknowledged", acknowledgement, 1)
        elif topic == self._base + "want":
            at = int.from_bytes(payload[_WANT_AT : _WANT_AT + 4], "little")
            count = int.from_bytes(payload[_WANT_AT + 4 : _WANT_AT + 6], "little")
            end = min(at + count, len(self._data))
            while at < end:
                size = min(1024, end - at)
                head = self._offer + at.to_bytes(4, "little")
                link.send(self._base + "piece", head + self._data[at : at + size])
                at += size


class Peak:
    """Looks again and again at what is held.

    Attributes:
        bytes: the most that it was.
    """

    def __init__(self, broker) -> None:
        self.bytes = 0
        self._broker = broker

    async def watch(self) -> None:
        while True:
            await asyncio.sleep_ms(_PEAK_MS)
            kept = sum(len(one._outgoing) + len(one._incoming) for one in self._broker.links)
            self.bytes = max(self.bytes, used() - kept)


def watched(coroutine):
    """Run a coroutine, every step of which shows on a pin. A generator, which can be awaited."""
    error = None
    while True:
        probe.step(1)
        try:
            value = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration as end:
            return end.value
        finally:
            probe.step(0)
        try:
            error = None
            yield value
        except BaseException as thrown:  # noqa: BLE001
            error = thrown


def watch_tasks(uplink) -> None:
    """Have the uplink's tasks watched, and those that they make."""
    create_task = asyncio.create_task
    tasks = uplink.tasks()
    uplink.tasks = lambda: [(name, lambda call=call: watched(call())) for name, call in tasks]
    asyncio.create_task = lambda coroutine: create_task(
        watched(coroutine) if probe.step() else coroutine
    )


def give_broker() -> None:
    """Have the door configured for a broker, whatever it was provisioned with."""
    load = config.load

    def load_with_broker(given):
        settings = load(given)
        settings.broker_host = "127.0.0.1"
        settings.broker_tls = False
        return settings

    config.load = load_with_broker


def measure_making(counts: dict) -> None:
    """Count what the door's two parts of the uplink hold from the beginning."""
    for name in ("Downlink", "Uplink"):
        setattr(composition, name, measured(getattr(composition, name), counts))


def measured(make, counts: dict):
    """Return a maker that counts what it makes."""

    def make_measured(*args):
        before = used()
        made = make(*args)
        counts["parts"] += used() - before
        return made

    return make_measured


async def until(is_so) -> None:
    while not is_so():
        await asyncio.sleep_ms(_LOOK_MS)


async def play(door, broker, counts: dict, is_timed: bool) -> None:
    uplink = door.uplink
    journal = door._journal
    shelf = door._access.shelf
    peak = Peak(broker)

    def is_delivered():
        return uplink.is_connected and journal.acknowledged == journal.next_sequence - 1

    await asyncio.sleep_ms(_SETTLE_MS)
    before = used()
    probe.span(1)
    await until(probe.go)
    await until(is_delivered)
    await asyncio.sleep_ms(_SETTLE_MS)
    (link,) = broker.links
    counts["connected"] = used() - before
    watching = None if is_timed else asyncio.create_task(peak.watch())
    for _ in range(_BATCHES):
        first = journal.next_sequence
        for _ in range(_BATCH_RECORDS):
            door.note(Event(TAP, 0))
        await until(lambda first=first: journal.next_sequence == first + _BATCH_RECORDS)
        await until(is_delivered)
    counts["records"] = peak.bytes - before
    peak.bytes = 0
    link.send(uplink._base.rsplit("/", 2)[0] + "/@all/offers", bytes(probe.blob(1)), 1, True)
    version = shelf.lists[0].header.version
    await until(lambda: shelf.lists[0].header.version > version)
    counts["list"] = peak.bytes - before
    if watching is not None:
        watching.cancel()
    await asyncio.sleep_ms(_SETTLE_MS)
    counts["after"] = used() - before
    probe.span(0)
    down = uplink.down
    told = {"version": shelf.lists[0].header.version, "sessions": uplink.sessions}
    told["wrong"] = uplink.garbage + down.strays + uplink.resent
    probe.tell(modules=MODULES_BYTES, free=gc.mem_free(), told=told, **counts)


async def main() -> None:
    is_timed = probe.blob(0)[0] == 1
    counts = {"parts": 0}
    board = make_board()
    broker = Broker()
    board.network = Wire(broker)
    board.random_bytes = bytes  # no waiting for the sake of other doors
    give_broker()
    measure_making(counts)
    door = await composition.build(board)
    broker.on_publish = District(door.uplink._base).hear
    playing = asyncio.create_task(play(door, broker, counts, is_timed))
    if is_timed:
        watch_tasks(door.uplink)
    await door.run()
    await playing


asyncio.run(main())
