"""The way down: what is fetched, in which order, and whatever the pieces do on their way."""

import asyncio
import random
import struct
import unittest

from doorward import values
from doorward.trust.objects import ALLOWLIST_TYPE, COMMAND_TYPE, DENY_LIST_TYPE, KEY_RING_TYPE
from doorward.uplink.downlink import Downlink
from doorward.uplink.mqtt import ConnectionLost, ProtocolError
from doorward.values import Refused
from support import FakeTicks

ALL = "doorward/school/@all/"
OWN = "doorward/school/front/"
POLICE = b"police--"
PATIENCE_S = 10  # for a slow machine: no test waits as long when all is well


class Config:
    site = "school"
    door = "front"
    groups = (3, 13)
    ack_timeout_ms = 20


class Receiver:
    """Keeps what it is given; refuses what the test says."""

    def __init__(self):
        self.given = bytearray()
        self.taken = []
        self.refused = []
        self.broken_off = 0
        self.refuses = {}  # by the object's bytes: code
        self.is_open = False
        self.largest = 0
        self.gate = None  # an Event that `feed` waits for
        self.commit = None  # one that `finish` waits for

    def begin(self, total):
        self.given = bytearray()
        self.total = total
        self.is_open = True

    async def feed(self, piece):
        if self.gate:
            await self.gate.wait()
        await asyncio.sleep(0)
        self.largest = max(self.largest, len(piece))
        self.given.extend(piece)

    async def finish(self):
        if self.commit:
            await self.commit.wait()
        self.is_open = False
        data = bytes(self.given)
        if len(data) != self.total:
            raise Refused(values.TRUNCATED)
        if data in self.refuses:
            raise Refused(self.refuses[data])
        self.taken.append(data)
        return {}

    def abort(self):
        if self.is_open:
            self.broken_off += 1
        self.is_open = False

    def refuse(self, code):
        self.refused.append(code)
        self.abort()


class District:
    """The client that the door sees, and the collector behind it.

    serve: called with (offer, offset, count), returns the payloads that come on the piece topic.
    """

    def __init__(self, world, serve=None):
        self.world = world
        self.wants = []
        self.serve = serve or self.pieces
        self.is_lost = False

    async def publish(self, topic, payload, *, qos=0, retain=False):
        if self.is_lost:
            raise ConnectionLost("lost")
        assert topic == OWN + "want" and qos == 1 and not retain and len(payload) == 32
        offer = bytes(payload[:24])
        at, count, reserved = struct.unpack("<IHH", payload[24:])
        assert 1 <= count <= 2048 and reserved == 0
        self.wants.append((offer, at, count))
        await asyncio.sleep(0)
        for piece in self.serve(offer, at, count):
            self.world.hear(OWN + "piece", piece)

    def pieces(self, offer, at, count):
        """Cut what was asked for into pieces."""
        data = self.world.objects[offer]
        end = min(at + count, len(data))
        for begin in range(at, end, 1024):
            yield piece(offer, begin, data[begin : min(begin + 1024, end)])


def piece(offer, at, data):
    return offer + struct.pack("<I", at) + data


def make_offer(kind, version, data, issuer=POLICE, groups=0):
    return struct.pack("<BBHII8s4s", kind, 0, groups, version, len(data), issuer, data[:4])


def noise(count, seed=1):
    random.seed(seed)
    return bytes(random.getrandbits(8) for _ in range(count))


class Case(unittest.TestCase):
    """A Downlink with receivers that only look. Its long waits are in ticks that stand still."""

    def setUp(self):
        self.ticks = FakeTicks()
        self.random_bytes = bytes  # zeros: no jitter
        self.receivers = []
        self.unwanted = set()
        self.objects = {}
        self.down = Downlink(self, Config(), self.open_receiver, self.is_wanted)
        self.receiver, self.orderly = self.receivers[:2]

    def open_receiver(self):
        self.receivers.append(Receiver())
        return self.receivers[-1]

    def is_wanted(self, kind, issuer_id, version, groups):
        return (kind, version) not in self.unwanted

    def hear(self, topic, payload, is_retained=False):
        return self.down.take(topic, memoryview(bytearray(payload)), is_retained)

    def offer(self, *offers):
        self.assertTrue(self.hear(ALL + "offers", b"".join(offers), True))

    def add(self, kind, version, size=3000, **how):
        """Put an object up; return its offer."""
        data = noise(size, version * 10 + kind)
        offer = make_offer(kind, version, data, **how)
        self.objects[offer] = data
        return offer

    def go(self, story, *tasks):
        async def whole():
            running = [asyncio.create_task(task()) for task in tasks]
            try:
                return await asyncio.wait_for(story(), PATIENCE_S)
            finally:
                for task in running:
                    task.cancel()

        try:
            return asyncio.run(whole())
        finally:
            asyncio.new_event_loop()  # MicroPython keeps one loop for ever, with its queues

    async def until(self, claim):
        while not claim():
            await asyncio.sleep(0.001)

    def fetch(self, story, serve=None):
        """Run `story(district)` with the door connected and fetching."""
        district = District(self, serve)
        self.down.follow(district)

        async def told():
            return await story(district)

        return self.go(told, self.down.fetch)


class FetchTest(Case):
    def test_the_ring_then_denials_then_lists_each_from_the_newest(self):
        offers = [
            self.add(ALLOWLIST_TYPE, 7),
            self.add(ALLOWLIST_TYPE, 9, size=400_000),
            self.add(DENY_LIST_TYPE, 3, size=1),
            self.add(KEY_RING_TYPE, 2),
        ]
        order = [offers[3], offers[2], offers[1], offers[0]]
        self.objects[offers[2]] = b"d"

        async def story(district):
            self.offer(*offers)
            for count, offer in enumerate(order):
                await self.until(lambda count=count: len(self.receiver.taken) > count)
                self.unwanted.add((offer[0], struct.unpack_from("<I", offer, 4)[0]))
            return district

        district = self.fetch(story)
        self.assertEqual(self.receiver.taken, [self.objects[offer] for offer in order])
        self.assertEqual(self.down.fetched, 4)
        self.assertEqual(self.receiver.refused, [])
        # Never much at once, without a gap and without asking twice.
        at = 0
        for offer, begin, count in district.wants:
            if offer == offers[1]:
                self.assertEqual(begin, at)
                at += count
        self.assertEqual(at, 400_000)
        self.assertTrue(self.receiver.largest <= 1024)

    def test_what_is_no_offer(self):
        data = b"x" * 500
        bad = [
            make_offer(COMMAND_TYPE, 1, data),
            make_offer(9, 1, data),
            make_offer(ALLOWLIST_TYPE, 1, b"")[:12] + POLICE + bytes(4),
            b"\x02\x01" + make_offer(ALLOWLIST_TYPE, 1, data)[2:],
        ]
        good = self.add(ALLOWLIST_TYPE, 1)

        async def story(district):
            self.offer(*bad, good)
            await self.until(lambda: self.receiver.taken)
            return district.wants

        self.assertEqual({want[0] for want in self.fetch(story)}, {good})
        for size in (1, 23, 25, 25 * 24):
            self.assertFalse(self.hear(ALL + "offers", bytes(size)))
        self.assertTrue(self.hear(ALL + "offers", b""))
        self.assertTrue(self.hear(ALL + "offers", bytes(24 * 24)))

    def test_pieces_out_of_order_twice_of_others_and_over_long(self):
        other = self.add(DENY_LIST_TYPE, 1)
        self.unwanted.add((DENY_LIST_TYPE, 1))
        offer = self.add(ALLOWLIST_TYPE, 5, size=20_000)
        whole = self.objects[offer]
        asked = []

        def serve(wanted, at, count):
            pieces = list(district_pieces(wanted, at, count))
            asked.append(at)
            trick = len(asked)
            if trick == 1:
                pieces.reverse()  # only the first is where it belongs
            elif trick == 2:
                pieces = [one for one in pieces for _ in range(2)]
            elif trick == 3:
                pieces.insert(0, piece(other, at, b"?" * 1024))
            elif trick == 4:
                pieces = pieces[1:]  # the first is lost
            elif trick == 5:
                pieces.insert(0, piece(wanted, at, b"?" * 1025))
            elif trick == 6:
                pieces.append(piece(wanted, at + count, b"more than was asked for"))
            return pieces

        def district_pieces(wanted, at, count):
            for begin in range(at, at + count, 1024):
                yield piece(wanted, begin, whole[begin : min(begin + 1024, at + count)])

        async def story(district):
            self.offer(other, offer)
            await self.until(lambda: self.receiver.taken)

        self.fetch(story, serve)
        self.assertEqual(self.receiver.taken, [whole])
        self.assertEqual(self.receiver.refused, [])
        self.assertTrue(self.down.strays >= 1 + 2 + 1 + 1 + 1)
        # The only thing that was no piece at all is what was over-long.
        for size in (0, 27, 28, 28 + 1025):
            self.assertFalse(self.hear(OWN + "piece", bytes(size)))

    def test_pieces_of_any_size_that_fit(self):
        offer = self.add(ALLOWLIST_TYPE, 1, size=9_001)
        random.seed(3)

        def serve(wanted, at, count):
            end = at + count
            while at < end:
                size = min(random.randrange(1, 1025), end - at)
                yield piece(wanted, at, self.objects[offer][at : at + size])
                at += size

        async def story(district):
            self.offer(offer)
            await self.until(lambda: self.receiver.taken)

        self.fetch(story, serve)
        self.assertEqual(self.receiver.taken, [self.objects[offer]])

    def test_a_piece_nobody_asked_for_takes_no_memory(self):
        offer = self.add(ALLOWLIST_TYPE, 1)
        for at in range(0, 100_000, 1024):
            self.assertTrue(self.hear(OWN + "piece", piece(offer, at, bytes(1024))))
            self.assertTrue(self.hear(OWN + "piece", piece(bytes(24), at, bytes(1024))))
        self.assertEqual(len(self.down._pieces), 0)

    def test_no_more_waits_than_was_asked_for(self):
        offer = self.add(ALLOWLIST_TYPE, 1, size=50_000)
        self.receiver.gate = asyncio.Event()

        async def story(district):
            self.offer(offer)
            await self.until(lambda: district.wants)
            for at in range(0, 50_000, 1024):
                self.hear(OWN + "piece", piece(offer, at, self.objects[offer][at : at + 1024]))
            await asyncio.sleep(0.02)
            self.assertTrue(sum(len(one) for one in self.down._pieces) <= 2048)
            self.receiver.gate.set()
            await self.until(lambda: self.receiver.taken)

        self.fetch(story)
        self.assertEqual(self.receiver.taken, [self.objects[offer]])

    def test_crumbs_take_no_more_memory_than_pieces(self):
        """Each is a message of its own, with 100 bytes around it."""
        offer = self.add(ALLOWLIST_TYPE, 1, size=50_000)
        data = self.objects[offer]
        self.receiver.gate = asyncio.Event()

        async def story(district):
            self.offer(offer)
            await self.until(lambda: self.down._pieces)
            await asyncio.sleep(0.05)
            self.assertTrue(len(self.down._pieces) <= 8)
            self.receiver.gate.set()
            district.serve = district.pieces
            await self.until(lambda: self.receiver.taken)

        def serve(wanted, at, count):
            return [piece(wanted, n, data[n : n + 1]) for n in range(at, at + count)]

        self.fetch(story, serve)
        self.assertEqual(self.receiver.taken, [data])

    def test_what_nobody_serves_does_not_keep_the_rest_waiting(self):
        ring = self.add(KEY_RING_TYPE, 2)
        half = self.add(DENY_LIST_TYPE, 2, size=6000)
        offer = self.add(ALLOWLIST_TYPE, 5)

        def serve(wanted, at, count):
            if wanted == ring or (wanted == half and at):
                return
            data = self.objects[wanted]
            for begin in range(at, at + count, 1024):
                yield piece(wanted, begin, data[begin : min(begin + 1024, at + count)])

        async def story(district):
            self.offer(ring, half, offer)
            await self.until(lambda: self.receiver.taken)
            self.unwanted.add((ALLOWLIST_TYPE, 5))
            count = len(district.wants)
            # Both are left alone for a minute and then tried again.
            self.offer(ring, half, offer)
            await asyncio.sleep(0.05)
            self.assertEqual(len(district.wants), count)
            self.ticks.advance_ms(60_000)
            self.offer(ring, half, offer)
            await self.until(lambda: len(district.wants) > count)
            return district.wants[count][0]

        self.assertEqual(self.fetch(story, serve), ring)
        self.assertEqual(self.receiver.taken, [self.objects[offer]])
        # What had begun is told to the receiver, and what never began is not.
        self.assertEqual(self.receiver.broken_off, 1)

    def test_what_was_refused_is_left_alone_until_it_changes_or_an_hour_has_gone(self):
        offer = self.add(ALLOWLIST_TYPE, 5)
        self.receiver.refuses[self.objects[offer]] = values.BAD_SIGNATURE

        async def story(district):
            self.offer(offer)
            await self.until(lambda: self.receiver.refused)
            for ms in (0, 1_000_000, 2_599_000):
                self.ticks.advance_ms(ms)
                self.offer(offer)
                await asyncio.sleep(0.02)
            self.assertEqual(len(self.receiver.refused), 1)
            self.ticks.advance_ms(1000)
            self.offer(offer)
            await self.until(lambda: len(self.receiver.refused) == 2)
            # Another version is another offer, and so is the same once it was withdrawn.
            better = self.add(ALLOWLIST_TYPE, 6)
            self.offer(better)
            await self.until(lambda: self.receiver.taken)
            self.unwanted.add((ALLOWLIST_TYPE, 6))
            self.offer(offer)
            await self.until(lambda: len(self.receiver.refused) == 3)

        self.fetch(story)
        self.assertEqual(self.receiver.refused, [values.BAD_SIGNATURE] * 3)

    def test_offers_that_come_to_nothing_are_not_fetched_without_end(self):
        """Each may have erased and written the room of a whole list."""
        forged = [self.add(ALLOWLIST_TYPE, version, size=100) for version in range(100)]
        for offer in forged:
            self.receiver.refuses[self.objects[offer]] = values.BAD_BODY_HASH

        async def story(district):
            self.offer()
            for offer in forged:
                self.offer(offer)
                await asyncio.sleep(0.01)
            self.assertEqual(len(self.receiver.refused), 24)
            for more in range(3):
                self.ticks.advance_ms(600_000)
                self.offer(forged[more])
                await self.until(lambda more=more: len(self.receiver.refused) > 24 + more)
                self.offer(forged[50 + more])
                await asyncio.sleep(0.02)
                self.assertEqual(len(self.receiver.refused), 25 + more)
            # What is wanted and sound comes then, too.
            self.ticks.advance_ms(600_000)
            self.offer(self.add(DENY_LIST_TYPE, 1))
            await self.until(lambda: self.receiver.taken)

        self.fetch(story)

    def test_a_new_ring_makes_what_was_refused_worth_another_try(self):
        ring = self.add(KEY_RING_TYPE, 2)
        offer = self.add(ALLOWLIST_TYPE, 5)
        self.unwanted.add((KEY_RING_TYPE, 2))
        self.receiver.refuses[self.objects[offer]] = values.UNKNOWN_ISSUER

        async def story(district):
            self.offer(ring, offer)
            await self.until(lambda: self.receiver.refused)
            self.receiver.refuses = {}
            self.unwanted.clear()
            self.offer(ring, offer)
            await self.until(lambda: self.receiver.taken)
            self.unwanted.add((KEY_RING_TYPE, 2))
            await self.until(lambda: len(self.receiver.taken) == 2)

        self.fetch(story)
        self.assertEqual(self.receiver.taken, [self.objects[ring], self.objects[offer]])

    def test_what_is_withdrawn_while_it_comes_is_dropped(self):
        offer = self.add(ALLOWLIST_TYPE, 5, size=50_000)
        newer = self.add(ALLOWLIST_TYPE, 6)

        def serve(wanted, at, count):
            if wanted == offer and at >= 8192:
                self.offer(newer)
                return ()
            data = self.objects[wanted]
            return [
                piece(wanted, begin, data[begin : min(begin + 1024, at + count)])
                for begin in range(at, at + count, 1024)
            ]

        async def story(district):
            self.offer(offer)
            await self.until(lambda: self.receiver.taken)
            return [at for wanted, at, _ in district.wants if wanted == offer]

        asked = self.fetch(story, serve)
        self.assertEqual(asked[-2:], [6144, 8192])
        self.assertEqual(self.receiver.taken, [self.objects[newer]])
        self.assertEqual(self.receiver.broken_off, 1)

    def test_a_lost_connection_is_waited_for_and_then_it_goes_on(self):
        offer = self.add(ALLOWLIST_TYPE, 5, size=50_000)
        second = District(self)

        def serve(wanted, at, count):
            if at < 4096:
                return second.pieces(wanted, at, count)
            # Of what was asked for one piece still comes.
            self.down.follow(None)
            return list(second.pieces(wanted, at, count))[:1]

        async def story(district):
            self.offer(offer)
            await self.until(lambda: len(district.wants) == 3)
            district.is_lost = True
            await asyncio.sleep(0.2)  # longer than it would wait for a piece, four times over
            self.assertEqual(self.receiver.taken, [])
            self.down.follow(second)
            self.offer(offer)
            await self.until(lambda: self.receiver.taken)

        self.fetch(story, serve)
        self.assertEqual(self.receiver.taken, [self.objects[offer]])
        self.assertEqual(second.wants[0][1], 4096)
        self.assertEqual(self.receiver.refused, [])

    def test_a_want_that_is_lost_is_sent_again(self):
        offer = self.add(ALLOWLIST_TYPE, 5)

        async def story(district):
            district.is_lost = True
            self.offer(offer)
            await asyncio.sleep(0.03)
            district.is_lost = False
            await self.until(lambda: self.receiver.taken)

        self.fetch(story)
        self.assertEqual(self.receiver.taken, [self.objects[offer]])

    def test_noise_on_every_topic(self):
        offer = self.add(ALLOWLIST_TYPE, 5, size=30_000)
        random.seed(20261)
        topics = (OWN + "piece", OWN + "command/x", ALL + "command/y", OWN + "no", "x", ALL + "z")

        async def story(district):
            self.offer(offer)
            for _ in range(1500):
                size = random.choice((0, 1, 24, 27, 28, 29, 576, 1052, 1053, 2000))
                payload = noise(size, random.getrandbits(30))
                if random.getrandbits(1):
                    payload = (offer + payload)[: max(24, size)]
                try:
                    self.hear(random.choice(topics), payload, bool(random.getrandbits(1)))
                except ProtocolError:
                    self.down._orders.clear()
                await asyncio.sleep(0)
            await self.until(lambda: self.receiver.taken or self.receiver.refused)

        self.fetch(story)
        self.assertTrue(len(self.down._orders) <= 16)
        self.assertFalse(self.hear(OWN + "no", b""))
        self.assertFalse(self.hear("doorward/school/back/piece", bytes(30)))


class CommandTest(Case):
    async def obey(self, messages):
        """Let the door hear (topic, payload, retained), and hand them all on."""
        for message in messages:
            self.hear(*message)
        await self.until(lambda: not self.down._orders and not self.orderly.is_open)
        refused, self.orderly.refused = self.orderly.refused, []
        return sorted(refused)

    def test_in_order_and_from_both_topics(self):
        async def story():
            return await self.obey(
                (
                    (ALL + "command/0011223344556677", b"1" * 402),
                    (OWN + "command/0011223344556677", b"2" * 402),
                    (ALL + "command/8899aabbccddeeff", b"3" * 558),
                )
            )

        self.assertEqual(self.go(story, self.down.obey), [])
        self.assertEqual([one[:1] for one in self.orderly.taken], [b"1", b"2", b"3"])

    def test_a_retained_one_that_is_no_news_is_no_event(self):
        codes = (values.REPLAYED, values.TOO_LATE, values.WRONG_ADDRESS, values.BAD_SIGNATURE)
        orders = [bytes((code,)) * 402 for code in codes]
        self.orderly.refuses = dict(zip(orders, codes))
        own, everybody = OWN + "command/x", ALL + "command/x"

        async def story():
            retained = await self.obey([(own, order, True) for order in orders])
            fresh = await self.obey([(own, order) for order in orders])
            to_all = await self.obey([(everybody, order) for order in orders])
            return retained, fresh, to_all

        retained, fresh, to_all = self.go(story, self.down.obey)
        self.assertEqual(retained, [values.BAD_SIGNATURE])
        self.assertEqual(fresh, sorted(codes))
        # What is for one group of doors goes to all of them.
        self.assertEqual(to_all, sorted(set(codes) - {values.WRONG_ADDRESS}))

    def test_what_is_no_command(self):
        topic = OWN + "command/x"
        self.assertTrue(self.hear(topic, b"", True))  # withdrawn
        self.assertFalse(self.hear(topic, bytes(559)))
        self.assertEqual(self.down._orders, [])
        for _ in range(16):
            self.assertTrue(self.hear(topic, bytes(500)))
        # More than can wait: the connection ends, and what is retained comes again.
        with self.assertRaises(ProtocolError):
            self.hear(topic, bytes(500))
        self.assertEqual(len(self.down._orders), 16)

    def test_what_is_for_another_group_is_not_even_looked_at(self):
        for group, count in ((1, 0), (3, 1), (31, 1), (13, 2)):
            self.assertTrue(self.hear(ALL + "command/0011223344556677-%d" % group, bytes(402)))
            self.assertEqual(len(self.down._orders), count)

    def test_a_command_does_not_wait_for_a_list(self):
        offer = self.add(ALLOWLIST_TYPE, 5, size=10_000)
        self.receiver.gate = asyncio.Event()
        district = District(self)
        self.down.follow(district)

        async def story():
            self.offer(offer)
            await self.until(lambda: self.receiver.is_open)
            self.hear(ALL + "command/x", b"lockdown" * 50)
            await self.until(lambda: self.orderly.taken)
            self.assertEqual(self.receiver.taken, [])
            self.receiver.gate.set()
            await self.until(lambda: self.receiver.taken)

        self.go(story, self.down.fetch, self.down.obey)
        self.assertEqual(self.receiver.taken, [self.objects[offer]])

    def test_a_lockdown_does_not_wait_until_an_unlock_is_on_flash(self):
        """That may take 20 seconds where people go on tapping."""
        self.orderly.commit = asyncio.Event()
        unlock, lockdown = b"unlock--" * 50, b"lockdown" * 50

        async def story():
            self.hear(ALL + "command/x", unlock)
            self.hear(ALL + "command/x", lockdown)
            await self.until(lambda: any(lockdown in one.taken for one in self.receivers))
            self.assertEqual(self.orderly.taken, [])
            self.orderly.commit.set()
            await self.until(lambda: self.orderly.taken == [unlock])

        self.go(story, self.down.obey)

    def test_so_many_are_waited_for_and_then_it_goes_on(self):
        commit = self.orderly.commit = asyncio.Event()
        orders = [bytes((n,)) * 402 for n in range(8)]

        def open_receiver():
            one = Receiver()
            one.commit = commit
            self.receivers.append(one)
            return one

        self.down._open_receiver = open_receiver
        self.orderly.refuses = {orders[0]: values.TOO_LATE}

        def taken():
            return sorted(data for one in self.receivers for data in one.taken)

        async def story():
            for order in orders:
                self.hear(OWN + "command/x", order)
            await asyncio.sleep(0.05)
            self.assertEqual((len(self.receivers), taken()), (5, []))
            commit.set()
            await self.until(lambda: taken() == orders[1:])
            self.assertEqual(self.orderly.refused, [values.TOO_LATE])

        self.go(story, self.down.obey)

    def test_what_breaks_while_it_is_obeyed_ends_the_task(self):
        async def fail():
            raise RuntimeError("broken")

        self.orderly.finish = fail

        async def story():
            self.hear(OWN + "command/x", bytes(402))
            with self.assertRaises(RuntimeError):
                await self.down.obey()
            del self.orderly.finish
            running = asyncio.create_task(self.down.obey())
            self.hear(OWN + "command/x", b"next" * 100)
            await self.until(lambda: self.orderly.taken)
            running.cancel()

        self.go(story)


if __name__ == "__main__":
    unittest.main()
