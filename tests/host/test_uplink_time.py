"""The uplink over hours and with hundreds of doors, in time that runs as fast as it can."""

import asyncio
import random
import selectors
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import test_uplink_delivery as parts
from doorward.uplink.delivery import Uplink
from sim.broker import Broker

BASE = parts.BASE


class Hurry(selectors.DefaultSelector):
    """Waits by setting the clock on. Nothing here comes from outside, so nothing can be missed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list:
        self.now_s += timeout or 0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.hurry = Hurry()
        super().__init__(self.hurry)

    def time(self) -> float:
        return self.hurry.now_s


class Ticks:
    """The loop's time as a board's ticks, which wrap: every time a quarter of an hour in."""

    def ticks_ms(self) -> int:
        return (int(asyncio.get_running_loop().time() * 1000) - 900_000) % (1 << 30)

    def ticks_diff(self, later: int, earlier: int) -> int:
        half = 1 << 29
        return (later - earlier + half) % (1 << 30) - half

    def ticks_add(self, ticks: int, delta: int) -> int:
        return (ticks + delta) % (1 << 30)


class Door:
    """A door with a journal and an uplink.

    Attributes:
        connected_s: when each connection was made.
    """

    def __init__(self, number: int, broker: Broker, backlog: int = 0, **settings: Any) -> None:
        chance = random.Random(number)
        self.random_bytes = chance.randbytes
        self.ticks = Ticks()
        self.network = parts.Network(broker)
        self.network.open = self._open
        self.journal = parts.Journal(backlog)
        self.connected_s: list[float] = []
        self._broker = broker
        config = parts.Config()
        config.keepalive_s = 30
        config.ack_timeout_ms = 5000
        for name, value in settings.items():
            setattr(config, name, value)
        down = parts.Down()
        self.uplink = Uplink(self, config, self.journal, b"", dict, dict, down)

    async def _open(self, *_args: object) -> tuple:
        self.connected_s.append(asyncio.get_running_loop().time())
        return await self._broker.open()


def play(story: Callable[[], Coroutine], doors: list[Door]) -> None:
    """Run the doors and `story()` in hurried time."""

    async def whole() -> None:
        running = [asyncio.create_task(door.uplink.run()) for door in doors]
        try:
            await story()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    loop = Loop()
    try:
        loop.run_until_complete(whole())
    finally:
        loop.close()


def collect(link: Any, topic: str, payload: bytes, _qos: int, _retain: bool) -> None:
    """Acknowledge records at once."""
    if topic == BASE + "records":
        last = payload[-64:]
        link.send(BASE + "acknowledged", payload[:8] + last[4:8] + last[44:60], 1)


def attempts(doors: list[Door], since_s: float) -> Counter:
    """Count attempts to connect by second."""
    return Counter(int(at) for door in doors for at in door.connected_s if at >= since_s)


@pytest.mark.parametrize("outage_s", [0.5, 30, 600])
def test_hundreds_of_doors_do_not_stampede_after_an_outage(outage_s: float) -> None:
    broker = Broker(collect)
    doors = [Door(number, broker, backlog=20) for number in range(400)]

    async def story() -> None:
        await asyncio.sleep(120)
        # At a start together the first attempts are spread too.
        assert max(attempts(doors, 0).values()) <= 260
        assert all(door.uplink.is_connected for door in doors)
        broker.is_listening = False
        broker.drop()
        await asyncio.sleep(outage_s)
        broker.is_listening = True
        back_s = asyncio.get_running_loop().time()
        await asyncio.sleep(61)
        for door in doors:
            assert door.uplink.is_connected
            assert door.journal.acknowledged == 20
        by_second = attempts(doors, back_s)
        # The longer it was gone, the wider they are spread.
        assert max(by_second.values()) <= (260 if outage_s < 1 else 60)

    play(story, doors)


def test_all_links_come_back_in_the_same_instant() -> None:
    broker = Broker(collect)
    doors = [Door(number, broker) for number in range(400)]

    async def story() -> None:
        await asyncio.sleep(60)
        for door in doors:
            door.network.is_up = False
        await asyncio.sleep(300)
        for door in doors:
            door.network.is_up = True
        back_s = asyncio.get_running_loop().time()
        await asyncio.sleep(10)
        assert all(door.uplink.is_connected for door in doors)
        assert max(attempts(doors, back_s).values()) <= 260

    play(story, doors)


def test_a_days_backlog_over_a_slow_wire_is_soon_there() -> None:
    """5,000 events over 50 ms there and back, and 10 ms at the collector."""
    began_s = []

    def collect_later(link: Any, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        loop = asyncio.get_running_loop()
        if topic == BASE + "records":
            began_s.append(loop.time())
        loop.call_later(0.060, collect, link, topic, payload, qos, retain)

    broker = Broker(collect_later)
    door = Door(1, broker, backlog=5000)

    async def story() -> None:
        while door.journal.acknowledged < 5000:
            await asyncio.sleep(0.01)
        took_s = asyncio.get_running_loop().time() - began_s[0]
        print(f"\n5,000 events over 50 ms: {took_s:.1f} s")
        assert took_s < 15
        assert door.uplink.resent == 0

    play(story, [door])


def test_a_collector_that_is_silent_for_a_day_is_asked_with_patience() -> None:
    sent_s = []

    def listen(_link: Any, topic: str, _payload: bytes, _qos: int, _retain: bool) -> None:
        if topic == BASE + "records":
            sent_s.append(asyncio.get_running_loop().time())

    broker = Broker(listen)
    door = Door(1, broker, backlog=3)

    async def story() -> None:
        await asyncio.sleep(86_400)
        # Every 25 s on average, never twice within the time that it was told to wait.
        assert 2500 < len(sent_s) < 5000
        assert min(later - earlier for earlier, later in pairwise(sent_s)) >= 5
        assert door.uplink.sessions == 1
        broker.on_publish = collect
        await asyncio.sleep(45)
        assert door.journal.acknowledged == 3

    play(story, [door])


def test_two_doors_with_one_identity_do_not_push_each_other_out_all_day() -> None:
    """The broker closes the older connection of a client id [3.1.4-2]."""

    class Jealous(Broker):
        async def open(self, host: str = "", port: int = 0, psk: Any = None) -> tuple:
            self.drop()
            return await super().open(host, port, psk)

    broker = Jealous(collect)
    doors = [Door(number, broker) for number in range(2)]

    async def story() -> None:
        await asyncio.sleep(3600)
        # Each is there for half a minute on average.
        assert len(broker.links) < 400

    play(story, doors)


def test_health_every_minute() -> None:
    told = []

    def listen(_link: Any, topic: str, _payload: bytes, _qos: int, _retain: bool) -> None:
        if topic == BASE + "health":
            told.append(asyncio.get_running_loop().time())

    broker = Broker(listen)
    door = Door(1, broker)

    async def story() -> None:
        await asyncio.sleep(3600)
        assert door.uplink.sessions == 1
        gaps = [later - earlier for earlier, later in pairwise(told)]
        assert not [gap for gap in gaps if not 59.9 <= gap < 60.2]
        assert 58 <= len(told) <= 61

    play(story, [door])
