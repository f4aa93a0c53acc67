"""Delivery: whatever the connection and the collector do, every record once, in order, and no more."""

import asyncio
import json
import struct
import unittest

from doorward.uplink.delivery import Uplink
from sim.broker import Broker
from support import RealTicks

BASE = "doorward/school/front/"
JOURNAL_ID = b"journal1"
PATIENCE_S = 20  # for a slow machine: no test waits as long when all is well


class Config:
    site = "school"
    door = "front"
    broker_host = "127.0.0.1"
    broker_port = 1883
    broker_tls = False
    keepalive_s = 1
    ack_timeout_ms = 150
    health_s = 60


class Journal:
    """Records that are only a sequence and a tag."""

    journal_id = JOURNAL_ID

    def __init__(self, count=0):
        self.count = count
        self.acknowledged = 0
        self.refused = 0

    async def read(self, sequence, most):
        last = min(self.count, sequence + most - 1)
        await asyncio.sleep(0)
        return b"".join(record(n) for n in range(sequence, last + 1))

    def acknowledge(self, sequence, tag):
        if sequence <= self.acknowledged:
            return True
        if sequence > self.count or tag != tag_of(sequence):
            self.refused += 1
            return False
        self.acknowledged = sequence
        return True


def tag_of(sequence):
    return struct.pack("<IIII", sequence, sequence, sequence, sequence)


def record(sequence):
    return struct.pack("<II", 1, sequence) + bytes(36) + tag_of(sequence) + bytes(4)


def acknowledgement(sequence, journal_id=JOURNAL_ID, tag=None):
    return journal_id + struct.pack("<I16s", sequence, tag or tag_of(sequence))


class Network:
    def __init__(self, broker):
        self.open = broker.open
        self.is_up = True
        self.fault = ""

    async def join(self):
        return self.is_up


class Down:
    """The way down, of which only the connection matters here."""

    fetched = strays = 0

    def __init__(self):
        self.heard = []
        self.clients = []

    def subscriptions(self):
        return (("doorward/school/@all/offers", 1), (BASE + "piece", 0))

    def follow(self, client):
        self.clients.append(client)

    def take(self, topic, payload, is_retained):
        self.heard.append((topic, bytes(payload), is_retained))
        return topic.endswith("offers")


class Case(unittest.TestCase):
    """An Uplink, a broker in memory, and a collector that does what the test says.

    Attributes:
        batches: (first, last) sequences of every batch that came, in order.
        told: other messages: (topic, payload, QoS, retained).
    """

    def setUp(self):
        self.broker = Broker(self.take)
        self.network = Network(self.broker)
        self.ticks = RealTicks()
        self.random_bytes = bytes  # zeros: no jitter
        self.journal = Journal()
        self.down = Down()
        self.batches = []
        self.told = []
        self.acknowledge = lambda link, last: link.send(
            BASE + "acknowledged", acknowledgement(last), 1
        )
        self.uplink = self.make()

    def make(self, **settings):
        config = Config()
        for name, value in settings.items():
            setattr(config, name, value)
        return Uplink(
            self, config, self.journal, b"", lambda: {"door": "front"}, self.health, self.down
        )

    def health(self):
        return {"posture": "normal"}

    def take(self, link, topic, payload, qos, is_retained):
        if topic != BASE + "records":
            self.told.append((topic, payload, qos, is_retained))
            return
        self.assertEqual((payload[:8], qos, is_retained), (JOURNAL_ID, 1, False))
        records = [payload[at : at + 64] for at in range(8, len(payload), 64)]
        self.assertTrue(1 <= len(records) <= 32)
        sequences = [struct.unpack_from("<I", one, 4)[0] for one in records]
        self.assertEqual(sequences, list(range(sequences[0], sequences[-1] + 1)))
        self.batches.append((sequences[0], sequences[-1]))
        self.acknowledge(link, sequences[-1])

    def go(self, story, uplink=None):
        async def whole():
            running = asyncio.create_task((uplink or self.uplink).run())
            try:
                return await asyncio.wait_for(story(), PATIENCE_S)
            finally:
                running.cancel()
                try:
                    await running
                except asyncio.CancelledError:
                    pass

        try:
            return asyncio.run(whole())
        finally:
            asyncio.new_event_loop()  # MicroPython keeps one loop for ever, with its queues

    async def until(self, claim):
        while not claim():
            await asyncio.sleep(0.002)

    async def delivered(self):
        await self.until(lambda: self.journal.acknowledged == self.journal.count)


class SessionTest(Case):
    def test_will_subscriptions_birth_and_health_in_this_order(self):
        async def story():
            await self.until(lambda: len(self.told) == 2)

        self.go(story)
        (link,) = self.broker.links
        self.assertEqual(link.will, (BASE + "state", b'{"state": "offline"}'))
        own = [BASE + "acknowledged", "doorward/school/@all/offers", BASE + "piece"]
        self.assertEqual(link.filters, own)
        (topic, birth, qos, is_retained), health = self.told
        self.assertEqual((topic, qos, is_retained), (BASE + "state", 1, True))
        expected = {"door": "front", "state": "online", "journal": "6a6f75726e616c31"}
        self.assertEqual(json.loads(birth), expected)
        self.assertEqual(health, (BASE + "health", b'{"posture": "normal"}', 0, False))
        self.assertEqual((self.uplink.sessions, self.uplink.garbage), (1, 0))
        # The way down hears of the connection, and of its end.
        self.assertEqual([client is None for client in self.down.clients], [False, True])

    def test_health_again_and_again_and_never_too_long(self):
        words = ["x", "y" * 2039, "z" * 2040, "w"]
        self.health = lambda: {"p": words.pop(0)} if words else {}
        uplink = self.make(health_s=0.05)

        async def story():
            await self.until(lambda: len(self.told) == 5)

        self.go(story, uplink)
        sent = [len(payload) for topic, payload, _, _ in self.told if topic.endswith("health")]
        self.assertEqual(sent[:4], [10, 2048, 10, 2])

    def test_a_door_without_a_broker_has_nothing_to_run(self):
        uplink = self.make(broker_host="")
        self.assertEqual((uplink.tasks(), uplink.fault), ((), "no broker configured"))
        self.network = None
        uplink = self.make()
        self.assertEqual((uplink.tasks(), uplink.fault), ((), "no network on this board"))

    def test_other_messages_go_to_the_way_down_or_are_counted(self):
        async def story():
            await self.until(lambda: self.uplink.is_connected)
            self.broker.send("doorward/school/@all/offers", b"o", 1, True)
            self.broker.send("doorward/school/back/piece", b"p")
            self.broker.send(BASE + "acknowledged", bytes(27), 1)
            self.broker.send(BASE + "acknowledged", bytes(29), 1)
            self.broker.send(BASE + "acknowledged", b"", 1)
            await self.until(lambda: self.broker.links[0].pubacks == 4)

        self.go(story)
        self.assertEqual(self.down.heard[0], ("doorward/school/@all/offers", b"o", True))
        self.assertEqual(self.uplink.garbage, 4)


class DeliveryTest(Case):
    def test_a_backlog_in_order_and_one_batch_at_a_time(self):
        self.journal.count = 200
        late = []
        self.acknowledge = lambda link, last: late.append((link, last))

        async def story():
            for batch in range(7):
                await self.until(lambda batch=batch: len(self.batches) == batch + 1)
                # Several collectors may commit in any order: the next waits for this one.
                await asyncio.sleep(0.02)
                self.assertEqual(len(self.batches), batch + 1)
                link, last = late[-1]
                link.send(BASE + "acknowledged", acknowledgement(last), 1)
            await self.delivered()

        self.go(story)
        first = range(1, 200, 32)
        self.assertEqual(self.batches, [(n, min(n + 31, 200)) for n in first])
        self.assertEqual(self.uplink.resent, 0)

    def test_events_go_as_they_happen(self):
        async def story():
            for count in (1, 2, 3):
                self.journal.count = count
                await self.delivered()

        self.go(story)
        self.assertEqual(self.batches, [(1, 1), (2, 2), (3, 3)])

    def test_no_acknowledgement_and_a_late_one(self):
        self.journal.count = 40
        links = []
        self.acknowledge = lambda link, last: links.append(link)

        async def story():
            # Sent again, with what came to it meanwhile.
            await self.until(lambda: len(self.batches) == 2)
            self.acknowledge = lambda link, last: link.send(
                BASE + "acknowledged", acknowledgement(last), 1
            )
            links[-1].send(BASE + "acknowledged", acknowledgement(32), 1)
            await self.delivered()

        self.go(story)
        self.assertEqual(self.batches, [(1, 32), (1, 32), (33, 40)])
        self.assertEqual(self.uplink.resent, 1)

    def test_an_acknowledgement_of_a_part_and_one_that_comes_twice(self):
        self.journal.count = 64

        def part(link, last):
            for sequence in (last - 20, last - 20, last, last, last - 5):
                link.send(BASE + "acknowledged", acknowledgement(sequence), 1)

        self.acknowledge = part
        self.go(self.delivered)
        self.assertEqual(self.batches, [(1, 32), (33, 64)])
        self.assertEqual(self.uplink.garbage, 0)

    def test_wrong_ones_acknowledge_nothing(self):
        self.journal.count = 32

        def wrong(link, last):
            for payload in (
                acknowledgement(33),  # which it never wrote
                acknowledgement(0xFFFFFFFF),
                acknowledgement(last, tag=tag_of(last - 1)),
                acknowledgement(last, journal_id=b"journal0"),
                acknowledgement(last)[8:],
                acknowledgement(last) + b"?",
            ):
                link.send(BASE + "acknowledged", payload, 1)

        self.acknowledge = wrong

        async def story():
            await self.until(lambda: len(self.batches) == 2)
            self.assertEqual(self.journal.acknowledged, 0)
            self.acknowledge = lambda link, last: link.send(
                BASE + "acknowledged", acknowledgement(last), 1
            )
            await self.delivered()

        self.go(story)
        self.assertEqual(self.batches, [(1, 32)] * len(self.batches))
        self.assertTrue(self.uplink.garbage >= 6)
        self.assertTrue(self.journal.refused >= 6)

    def test_the_connection_ends_at_every_step(self):
        """Whatever was acknowledged is not sent again; what was not comes first."""
        self.journal.count = 100
        drops = [0]

        def cut(link, last):
            drops[0] += 1
            if drops[0] % 2:
                link.send(BASE + "acknowledged", acknowledgement(last), 1)
            else:
                link.end()

        self.acknowledge = cut
        self.go(self.delivered)
        expected = [(1, 32), (33, 64), (33, 64), (65, 96), (65, 96), (97, 100), (97, 100)]
        self.assertEqual(self.batches, expected)
        self.assertEqual(self.uplink.sessions, 4)

    def test_a_lost_link_is_not_waited_for(self):
        self.journal.count = 5
        self.acknowledge = lambda link, last: None

        async def story():
            await self.until(lambda: self.batches)
            self.network.is_up = False
            await self.until(lambda: not self.uplink.is_connected)
            self.assertTrue(self.broker.links[0].is_closed)
            self.acknowledge = lambda link, last: link.send(
                BASE + "acknowledged", acknowledgement(last), 1
            )
            self.network.is_up = True
            await self.delivered()

        self.go(story)
        self.assertEqual(self.batches[-1], (1, 5))

    def test_a_black_hole_is_noticed_within_the_keepalive(self):
        async def story():
            await self.until(lambda: self.uplink.is_connected)
            self.broker.is_deaf = True
            begin_ms = self.ticks.ticks_ms()
            await self.until(lambda: not self.uplink.is_connected)
            took_ms = self.ticks.ticks_diff(self.ticks.ticks_ms(), begin_ms)
            self.assertTrue(took_ms < 2000, took_ms)
            self.broker.is_deaf = False
            self.journal.count = 3
            await self.delivered()

        self.go(story)

    def test_malformed_packets_end_the_connection_and_lose_nothing(self):
        self.journal.count = 3
        bad = [b"\xf0\x00", b"\x30\xff\xff\xff\xff\x01", b"\x40\x02\x00\x00", b"\x36\x02\x00\x01"]

        def spoil(link, last):
            if bad:
                link.feed(bad.pop())
            else:
                link.send(BASE + "acknowledged", acknowledgement(last), 1)

        self.acknowledge = spoil
        self.go(self.delivered)
        self.assertEqual(self.batches, [(1, 3)] * 5)


if __name__ == "__main__":
    unittest.main()
