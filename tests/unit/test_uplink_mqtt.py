"""The MQTT client against a broker made of bytes. Sections are those of OASIS MQTT 3.1.1."""

import asyncio
import random
import unittest

from doorward.uplink.mqtt import (
    Backoff,
    ConnectionLost,
    ConnectRefused,
    MqttClient,
    MqttError,
    ProtocolError,
    SubscribeRefused,
)

CONNACK = b"\x20\x02\x00\x00"  # [3.2]
PINGRESP = b"\xd0\x00"  # [3.13]
PATIENCE_S = 10  # for a slow machine: no test waits as long when all is well
SOON_MS = 60  # timeout_ms where a test is about the time-out


class Pipe:
    """Both ends of a stream, as MicroPython's asyncio.Stream looks from inside the client."""

    def __init__(self, *incoming, answer=None):
        self.incoming = bytearray().join(incoming)
        self.sent = bytearray()
        self.answer = answer  # called with each write, returns the bytes the broker answers
        self.has_more = asyncio.Event()
        self.is_eof = False
        self.is_closed = False
        self.is_stuck = False  # drain() never ends
        self.spurious = 0  # this many reads find nothing, as under TLS
        self.largest_read = 0
        self.largest_write = 0

    def feed(self, data):
        self.incoming.extend(data)
        self.has_more.set()

    def end(self):
        self.is_eof = True
        self.has_more.set()

    async def readinto(self, buf):
        await asyncio.sleep(0)
        if self.spurious:
            self.spurious -= 1
            return None
        while not self.incoming and not self.is_eof:
            self.has_more.clear()
            await self.has_more.wait()
        count = min(len(buf), len(self.incoming))
        self.largest_read = max(self.largest_read, count)
        buf[:count] = self.incoming[:count]
        self.incoming = self.incoming[count:]
        return count

    def write(self, data):
        if self.is_closed:
            raise OSError(9)
        self.largest_write = max(self.largest_write, len(data))
        self.sent.extend(data)
        if self.answer:
            self.feed(self.answer(bytes(data)))

    async def drain(self):
        await asyncio.sleep(PATIENCE_S * 2 if self.is_stuck else 0)

    def close(self):
        self.is_closed = True

    async def wait_closed(self):
        pass


def puback_answer(data):
    """A broker that acknowledges each QoS 1 PUBLISH written whole, with a topic of 1 byte."""
    if data[0] & 0xF6 == 0x32:
        return b"\x40\x02" + data[5:7]
    return b""


class Case(unittest.TestCase):
    """Runs a coroutine with a client on a Pipe; collects what the client hands out."""

    def client(self, pipe, **kwargs):
        async def open_stream():
            await asyncio.sleep(0)
            if isinstance(pipe, Exception):
                raise pipe
            return pipe, pipe

        self.messages = []
        kwargs.setdefault("timeout_ms", PATIENCE_S * 500)
        kwargs.setdefault(
            "on_message",
            lambda topic, payload, retain: self.messages.append((topic, bytes(payload), retain)),
        )
        return MqttClient(open_stream, "d1", **kwargs)

    def go(self, coroutine):
        async def bounded():
            return await asyncio.wait_for(coroutine, PATIENCE_S)

        try:
            return asyncio.run(bounded())
        finally:
            asyncio.new_event_loop()  # MicroPython keeps one loop for ever, with its queues

    async def until(self, claim):
        """Let the client run until `claim()` is true; go() bounds it."""
        while not claim():
            await asyncio.sleep(0.001)

    async def raised(self, coroutine):
        """The MqttError that ended `coroutine`; None when it returned."""
        try:
            await coroutine
        except MqttError as error:
            return error
        return None

    def received(self, *packets, error=ConnectionLost, **kwargs):
        """Connect, let the broker send `packets` and hang up; return the pipe after run()."""
        pipe = Pipe(CONNACK, *packets)
        pipe.is_eof = True
        self.mqtt = self.client(pipe, **kwargs)

        async def session():
            await self.mqtt.connect()
            return await self.raised(self.mqtt.run())

        ended_by = self.go(session())
        self.assertEqual(type(ended_by), error, repr(ended_by))
        self.assertTrue(pipe.is_closed)
        return pipe

    def session(self, pipe, body, **kwargs):
        """Connect, run `body(client)` beside run(), end the connection, return body's result."""
        self.mqtt = client = self.client(pipe, **kwargs)

        async def whole():
            await client.connect()
            runner = asyncio.create_task(self.raised(client.run()))
            try:
                return await body(client)
            finally:
                pipe.end()
                self.ended_by = await runner

        return self.go(whole())


class ConnectTest(Case):
    def connect_bytes(self, **kwargs):
        pipe = Pipe(CONNACK)
        client = self.client(pipe, **kwargs)
        self.go(client.connect())
        return bytes(pipe.sent)

    def test_smallest_connect(self):
        # [3.1]: name "MQTT", level 4, flags clean session, keep alive 30, client id.
        self.assertEqual(self.connect_bytes(), b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x1e\x00\x02d1")

    def test_full_connect(self):
        # Flags [3.1.2.3]: user 80, password 40, will retain 20, will QoS 1 = 08, will 04.
        # Payload order [3.1.3]: client id, will topic, will message, user name, password.
        self.assertEqual(
            self.connect_bytes(
                keepalive_s=0x0102,
                clean_session=False,
                username="us",
                password=b"\x00\xff",
                will=("w/t", b"dead", 1, True),
            ),
            b"\x10\x21\x00\x04MQTT\x04\xec\x01\x02"
            b"\x00\x02d1\x00\x03w/t\x00\x04dead\x00\x02us\x00\x02\x00\xff",
        )

    def test_long_connect_has_two_length_bytes_and_goes_out_in_slices(self):
        pipe = Pipe(CONNACK)
        client = self.client(pipe, will=("w", b"x" * 1000, 0, False))
        self.go(client.connect())
        # 10 + 4 + 3 + 1002 = 1019 = 0x7b + 7 * 128 [2.2.3]
        self.assertEqual(bytes(pipe.sent[:3]), b"\x10\xfb\x07")
        self.assertEqual(len(pipe.sent), 3 + 1019)
        self.assertTrue(pipe.largest_write <= 512)

    def test_bad_arguments(self):
        for kwargs in (
            {"keepalive_s": 0},
            {"keepalive_s": 65536},
            {"password": "p"},  # [3.1.2.9]: no password without a user name
            {"will": ("a/#", b"", 0, False)},
            {"will": ("a", b"", 2, False)},
            {"will": ("a", b"x" * 65536, 0, False)},
        ):
            with self.assertRaises(ValueError):
                self.client(Pipe(), **kwargs)

    def test_session_present(self):
        client = self.client(Pipe(b"\x20\x02\x01\x00"), clean_session=False)
        self.go(client.connect())
        self.assertTrue(client.session_present)

    def failed(self, pipe, error, **kwargs):
        client = self.client(pipe, **kwargs)
        ended_by = self.go(self.raised(client.connect()))
        self.assertEqual(type(ended_by), error)
        if isinstance(pipe, Pipe):
            self.assertTrue(pipe.is_closed)
        return ended_by

    def test_refusals_carry_the_code(self):
        for code in range(1, 6):  # [3.2.2.3]
            error = self.failed(Pipe(bytes((0x20, 2, 0, code))), ConnectRefused)
            self.assertEqual(error.code, code)

    def test_what_is_not_a_connack(self):
        for answer in (
            b"\x21\x02\x00\x00",  # reserved flags [2.2.2]
            b"\x20\x03\x00\x00\x00",
            b"\x20\x02\x02\x00",  # reserved acknowledge flags [3.2.2.1]
            b"\x20\x02\x01\x00",  # a session where a clean one was asked for [3.2.2.2]
            b"\xd0\x00",
            b"\x20\xff\xff\xff\xff\x01",
        ):
            self.failed(Pipe(answer), ProtocolError)

    def test_silence_and_hang_up(self):
        self.failed(Pipe(), ConnectionLost, timeout_ms=SOON_MS)
        self.failed(Pipe(CONNACK[:3]), ConnectionLost, timeout_ms=SOON_MS)
        pipe = Pipe(CONNACK[:3])
        pipe.is_eof = True
        self.failed(pipe, ConnectionLost)
        self.failed(OSError(111), ConnectionLost)
        stuck = Pipe(CONNACK)
        stuck.is_stuck = True
        self.failed(stuck, ConnectionLost, timeout_ms=SOON_MS)

    def test_connecting_again(self):
        pipes = [Pipe(b"\x20\x02\x00\x05"), Pipe(CONNACK), Pipe(CONNACK)]

        async def open_stream():
            return pipes[0], pipes[0]

        client = MqttClient(open_stream, "d1", on_message=None)

        async def session():
            self.assertEqual(type(await self.raised(client.run())), ProtocolError)
            self.assertEqual(type(await self.raised(client.connect())), ConnectRefused)
            self.assertEqual(type(await self.raised(client.publish("t", b""))), ConnectionLost)
            pipes.pop(0)
            await client.connect()
            self.assertEqual(type(await self.raised(client.connect())), ProtocolError)
            await client.close()
            self.assertEqual(bytes(pipes[0].sent[-2:]), b"\xe0\x00")  # DISCONNECT [3.14]
            self.assertTrue(pipes.pop(0).is_closed)
            await client.connect()
            await client.close(polite=False)
            self.assertEqual(bytes(pipes[0].sent[-2:]), b"d1")
            self.assertTrue(pipes[0].is_closed)
            await client.close()

        self.go(session())


class PublishTest(Case):
    def test_qos_0(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            before = len(pipe.sent)
            await client.publish("a/b", b"hello")
            await client.publish("a/b", b"", retain=True)
            return bytes(pipe.sent[before:])

        # [3.3]: no packet id at QoS 0; RETAIN is bit 0.
        self.assertEqual(self.session(pipe, body), b"\x30\x0a\x00\x03a/bhello\x31\x05\x00\x03a/b")
        self.assertEqual(self.mqtt.packets_out, 3)
        self.assertEqual(self.mqtt.bytes_out, len(pipe.sent))

    def test_qos_1_returns_after_puback(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            before = len(pipe.sent)
            task = asyncio.create_task(client.publish("t", b"x", qos=1))
            await self.until(lambda: len(pipe.sent) == before + 8)
            await asyncio.sleep(0.01)
            self.assertFalse(task.done())
            pipe.feed(b"\x40\x02\x00\x01")  # [3.4]
            await task
            return bytes(pipe.sent[before:])

        self.assertEqual(self.session(pipe, body), b"\x32\x06\x00\x01t\x00\x01x")

    def test_long_payload_goes_out_in_slices(self):
        pipe = Pipe(CONNACK)
        payload = bytes(range(256)) * 12

        async def body(client):
            await client.publish("t", payload)

        self.session(pipe, body)
        # 3 + 3072 = 3075 = 0x03 + 24 * 128 [2.2.3]
        self.assertTrue(bytes(pipe.sent).endswith(b"\x30\x83\x18\x00\x01t" + payload))
        self.assertTrue(pipe.largest_write <= 512)

    def test_arguments_out_of_range_leave_the_connection_up(self):
        pipe = Pipe(CONNACK, answer=puback_answer)

        async def body(client):
            for topic, payload, qos in (
                ("", b"", 0),
                ("a/#", b"", 0),
                ("a/+/b", b"", 0),
                ("a\0b", b"", 0),
                ("x" * 257, b"", 0),
                ("t", b"", 2),
                ("t", bytes(4094), 0),
            ):
                with self.assertRaises(ValueError):
                    await client.publish(topic, payload, qos=qos)
            await client.publish("t", b"x", qos=1)

        self.session(pipe, body)

    def test_missing_puback_ends_the_connection(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            return await self.raised(client.publish("t", b"x", qos=1))

        self.assertEqual(type(self.session(pipe, body, timeout_ms=SOON_MS)), ConnectionLost)
        self.assertEqual(type(self.ended_by), ConnectionLost)
        self.assertTrue(pipe.is_closed)

    def test_hang_up_wakes_every_publisher(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            tasks = [
                asyncio.create_task(self.raised(client.publish("t", b"x", qos=1)))
                for _ in range(20)
            ]
            await self.until(lambda: len(self.mqtt._waiters) == 8)
            pipe.end()
            ends = []
            for task in tasks:
                ends.append(type(await task))
            return ends

        self.assertEqual(self.session(pipe, body), [ConnectionLost] * 20)

    def test_eight_in_flight_and_the_ninth_waits(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            before = len(pipe.sent)
            tasks = [
                asyncio.create_task(client.publish("t", bytes((n,)), qos=1)) for n in range(12)
            ]
            await self.until(lambda: len(pipe.sent) >= before + 8 * 8)
            await asyncio.sleep(0.02)
            self.assertEqual(len(pipe.sent), before + 8 * 8)
            for n in range(12):
                await self.until(lambda end=before + (n + 1) * 8: len(pipe.sent) >= end)
                packet_id = pipe.sent[before + n * 8 + 6]
                pipe.feed(bytes((0x40, 2, 0, packet_id)))
            for task in tasks:
                await task
            packets = [bytes(pipe.sent[before + n * 8 :][:8]) for n in range(12)]
            return sorted(packet[-1] for packet in packets)

        self.assertEqual(self.session(pipe, body), list(range(12)))

    def test_packet_ids_pass_over_zero_and_those_in_use(self):
        pipe = Pipe(CONNACK, answer=puback_answer)

        async def body(client):
            seen = []
            client._next_id = 0xFFFE
            for _ in range(4):
                await client.publish("t", b"x", qos=1)
                seen.append(int.from_bytes(pipe.sent[-3:-1], "big"))
            pipe.answer = None
            before = len(pipe.sent)
            slow = asyncio.create_task(client.publish("t", b"x", qos=1))
            await self.until(lambda: len(pipe.sent) == before + 8)
            seen.append(int.from_bytes(pipe.sent[-3:-1], "big"))
            client._next_id = 3
            pipe.answer = puback_answer
            await client.publish("t", b"x", qos=1)
            seen.append(int.from_bytes(pipe.sent[-3:-1], "big"))
            pipe.feed(b"\x40\x02\x00\x03")
            await slow
            return seen

        self.assertEqual(self.session(pipe, body), [0xFFFE, 0xFFFF, 1, 2, 3, 4])

    def test_acknowledgements_nobody_waits_for(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            task = asyncio.create_task(client.publish("t", b"x", qos=1))
            await self.until(lambda: client._waiters)
            # A PUBACK for another id, a SUBACK for this one, this one twice.
            pipe.feed(b"\x40\x02\x01\x01" + b"\x90\x03\x00\x01\x00" + b"\x40\x02\x00\x01" * 2)
            await task
            await self.until(lambda: client.unknown_acks >= 3)
            return client.unknown_acks

        self.assertEqual(self.session(pipe, body), 3)

    def test_a_stuck_write_ends_the_connection(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            pipe.is_stuck = True
            first = asyncio.create_task(self.raised(client.publish("t", b"x")))
            second = asyncio.create_task(self.raised(client.publish("t", b"y")))
            return type(await first), type(await second)

        ends = self.session(pipe, body, timeout_ms=SOON_MS)
        self.assertEqual(ends, (ConnectionLost, ConnectionLost))
        self.assertTrue(pipe.sent.endswith(b"x"))  # the second never began
        self.assertTrue(pipe.is_closed)

    def test_a_cancelled_write_ends_the_connection(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            pipe.is_stuck = True
            task = asyncio.create_task(client.publish("t", b"x"))
            await self.until(lambda: pipe.sent.endswith(b"x"))
            task.cancel()
            await self.until(task.done)
            return type(await self.raised(client.publish("t", b"y")))

        self.assertEqual(self.session(pipe, body), ConnectionLost)
        self.assertEqual(type(self.ended_by), ConnectionLost)

    def test_a_cancelled_wait_for_puback_does_not(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            task = asyncio.create_task(client.publish("t", b"x", qos=1))
            await self.until(lambda: client.packets_out == 2)
            task.cancel()
            await self.until(task.done)
            pipe.answer = puback_answer
            await client.publish("t", b"y", qos=1)

        self.session(pipe, body)


class SubscribeTest(Case):
    def subscribe(self, code, *args):
        pipe = Pipe(CONNACK)

        async def body(client):
            before = len(pipe.sent)
            task = asyncio.create_task(client.subscribe(*args))
            await self.until(lambda: client.packets_out == 2)
            self.packet = bytes(pipe.sent[before:])
            pipe.feed(bytes((0x90, 3, 0, 1, code)))
            try:
                return await task
            except MqttError as error:
                return type(error)

        return self.session(pipe, body)

    def test_granted(self):
        self.assertEqual(self.subscribe(1, "a/#"), 1)
        # [3.8]: flags 2, packet id, filter, requested QoS.
        self.assertEqual(self.packet, b"\x82\x08\x00\x01\x00\x03a/#\x01")
        self.assertEqual(self.subscribe(0, "a/#", 0), 0)
        self.assertEqual(self.packet[-1], 0)

    def test_refused(self):
        self.assertEqual(self.subscribe(0x80, "a"), SubscribeRefused)  # [3.9.3]

    def test_a_code_that_is_none(self):
        self.assertEqual(self.subscribe(2, "a"), ConnectionLost)
        self.assertEqual(type(self.ended_by), ProtocolError)

    def test_bad_arguments(self):
        async def body(client):
            for args in (("", 1), ("x" * 257, 1), ("a", 2)):
                with self.assertRaises(ValueError):
                    await client.subscribe(*args)

        self.session(Pipe(CONNACK), body)


class ReceiveTest(Case):
    def test_qos_0_and_retain(self):
        self.received(b"\x30\x06\x00\x01thi!", b"\x31\x03\x00\x01t")
        self.assertEqual(self.messages, [("t", b"hi!", False), ("t", b"", True)])
        self.assertEqual(self.mqtt.packets_in, 3)
        self.assertEqual(self.mqtt.bytes_in, 4 + 8 + 5)

    def test_qos_1_is_acknowledged_after_the_handler(self):
        pipe = None
        acknowledged_before = []

        def on_message(topic, payload, retain):
            acknowledged_before.append(bytes(pipe.sent[-4:]))

        pipe = Pipe(CONNACK, b"\x32\x06\x00\x01t\x12\x34x", b"\x3a\x06\x00\x01t\x12\x34x")
        pipe.is_eof = True
        client = self.client(pipe, on_message=on_message)

        async def session():
            await client.connect()
            await self.raised(client.run())

        self.go(session())
        # The second is a repetition: DUP [3.3.1.1].
        self.assertEqual(acknowledged_before[1], b"\x40\x02\x12\x34")
        self.assertFalse(acknowledged_before[0] == b"\x40\x02\x12\x34")
        self.assertEqual(bytes(pipe.sent[-8:]), b"\x40\x02\x12\x34" * 2)

    def test_one_byte_at_a_time_with_spurious_wakeups(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            for byte in b"\x32\x0a\x00\x04\xc3\xa9/x\x00\x07hi":
                pipe.spurious = 2
                pipe.feed(bytes((byte,)))
                await self.until(lambda: not pipe.incoming)
            await self.until(lambda: self.messages)

        self.session(pipe, body)
        self.assertEqual(self.messages, [("\u00e9/x", b"hi", False)])

    def test_payload_across_slices(self):
        payload = bytes(range(251)) * 16
        length = len(payload) + 3
        pipe = self.received(
            bytes((0x30, length & 0x7F | 0x80, length >> 7)) + b"\x00\x01t" + payload
        )
        self.assertEqual(self.messages, [("t", payload, False)])
        self.assertEqual(pipe.largest_read, 512)

    def test_many_small_packets_let_others_run(self):
        pipe = Pipe(CONNACK)
        turns = []

        async def body(client):
            pipe.feed(PINGRESP * 250)
            while client.packets_in < 251:
                turns.append(client.packets_in)
                await asyncio.sleep(0)

        self.session(pipe, body)
        self.assertTrue(len(turns) > 100, len(turns))

    def test_malformed(self):
        for packet in (
            b"\x36\x06\x00\x01t\x00\x01x",  # QoS 3 [3.3.1.2]
            b"\x34\x06\x00\x01t\x00\x01x",  # QoS 2, never subscribed to
            b"\x38\x04\x00\x01tx",  # DUP at QoS 0 [3.3.1.1]
            b"\x30\x00",
            b"\x30\x01\x00",
            b"\x30\x03\x00\x00x",  # empty topic [4.7.3]
            b"\x30\x04\x00\x03tx",  # topic beyond the packet
            b"\x32\x04\x00\x01t\x00",  # packet id beyond the packet
            b"\x32\x05\x00\x01t\x00\x00",  # packet id 0 [2.3.1]
            b"\x30\x05\x00\x03a/+",  # wildcards in a topic name [3.3.2.1]
            b"\x30\x05\x00\x03a/#",
            b"\x30\x05\x00\x03a\x00b",  # U+0000 [1.5.3]
            b"\x40\x02\x00\x00",  # packet id 0
            b"\x40\x03\x00\x01\x00",
            b"\x41\x02\x00\x01",  # flags [2.2.2]
            b"\x90\x02\x00\x01",
            b"\x90\x03\x00\x01\x03",
            b"\xd0\x01\x00",
            b"\xd1\x00",
            b"\x20\x02\x00\x00",  # a second CONNACK
            b"\x00\x00",  # reserved types [2.2.1]
            b"\xf0\x00",
            b"\x10\x00",  # packets only a client sends
            b"\x82\x00",
            b"\xa2\x00",
            b"\xc0\x00",
            b"\xe0\x00",
            b"\x50\x02\x00\x01",  # QoS 2's acknowledgements
            b"\x62\x02\x00\x01",
            b"\x70\x02\x00\x01",
            b"\x30\x80\x80\x80\x80\x01",  # remaining length of five bytes [2.2.3]
            b"\xd0\xff\xff\xff\xff",
        ):
            self.received(packet, error=ProtocolError)
            self.assertEqual(self.messages, [])

    def test_topics_that_are_not_utf8(self):
        # [1.5.3]; MicroPython's own decoder lets the last seven pass.
        for topic in (
            b"\xff",
            b"\x80",
            b"a\xc3",
            b"\xc3(",
            b"\xf8\x88\x80\x80\x80",
            b"\xc0\xaf",  # over-long '/'
            b"\xc0\x80",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xed\xa0\x80",  # surrogate
            b"\xf4\x90\x80\x80",  # beyond U+10FFFF
            b"\xf5\x80\x80\x80",
        ):
            packet = bytes((0x30, 2 + len(topic), 0, len(topic))) + topic
            self.received(packet, error=ProtocolError)

    def test_topics_that_are_utf8(self):
        for topic in (
            "a",
            "/",
            "\u00e9",
            "\u20ac",
            "\ud7ff",
            "\uffff",
            "\U0001f6aa",
            "\U0010ffff",
        ):
            raw = topic.encode()
            self.received(bytes((0x30, 2 + len(raw), 0, len(raw))) + raw)
            self.assertEqual(self.messages, [(topic, b"", False)])

    def test_over_long_packets_are_drained_and_refused(self):
        # 105 > 100; QoS 0, then QoS 1, which is acknowledged; then one that fits.
        pipe = self.received(
            b"\x30\x69\x00\x01t" + bytes(102),
            b"\x32\x69\x00\x01t\x00\x07" + bytes(100),
            b"\x30\x64\x00\x01t" + b"x" * 97,
            max_packet_bytes=100,
        )
        self.assertEqual(self.messages, [("t", b"x" * 97, False)])
        self.assertEqual(self.mqtt.drained, 2)
        self.assertEqual(bytes(pipe.sent[-4:]), b"\x40\x02\x00\x07")

    def test_over_long_topic_is_drained_and_refused(self):
        pipe = self.received(
            b"\x32\x85\x02\x01\x01" + b"t" * 257 + b"\x00\x09", b"\x30\x03\x00\x01t"
        )
        self.assertEqual(self.messages, [("t", b"", False)])
        self.assertEqual(self.mqtt.drained, 1)
        self.assertEqual(bytes(pipe.sent[-4:]), b"\x40\x02\x00\x09")

    def test_an_over_long_packet_takes_no_memory(self):
        # The largest there is, 268,435,455 bytes; the broker hangs up after 100,000.
        pipe = self.received(b"\x30\xff\xff\xff\x7f\xff\xff" + bytes(100_000))
        self.assertEqual(self.mqtt.bytes_in, 4 + 7 + 100_000)
        self.assertEqual(pipe.largest_read, 512)

    def test_malformed_and_over_long_is_malformed(self):
        self.received(b"\x36\xff\x7f\x00\x01t", error=ProtocolError)
        self.received(b"\x30\xff\x7f\x00\x00t", error=ProtocolError)
        self.received(b"\x32\xff\x7f\x00\x01t\x00\x00", error=ProtocolError)
        self.received(b"\x40\xff\x7f\x00\x01", error=ProtocolError)

    def test_what_the_handler_raises_comes_out_of_run(self):
        for kind in (KeyError, OSError, ValueError):

            def on_message(topic, payload, retain, kind=kind):
                raise kind("handler")

            pipe = Pipe(CONNACK, b"\x32\x05\x00\x01t\x00\x05")
            client = self.client(pipe, on_message=on_message)

            async def session(client=client):
                await client.connect()
                await client.run()

            with self.assertRaises(kind):
                self.go(session())
            self.assertTrue(pipe.is_closed)
            self.assertFalse(pipe.sent.endswith(b"\x40\x02\x00\x05"))


class KeepAliveTest(Case):
    def test_pings_keep_an_idle_connection(self):
        pipe = Pipe(CONNACK, answer=lambda data: PINGRESP if data == b"\xc0\x00" else b"")

        async def body(client):
            await asyncio.sleep(1.8)
            return bytes(pipe.sent).count(b"\xc0\x00")

        # Twice per second of keepalive [3.12].
        self.assertTrue(2 <= self.session(pipe, body, keepalive_s=1) <= 4)

    def test_silence_after_a_ping_ends_the_connection(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            await asyncio.sleep(0.9)

        self.session(pipe, body, keepalive_s=1, timeout_ms=SOON_MS)
        self.assertEqual(self.ended_by.args[0], "no answer to a ping")

    def test_publishing_at_qos_0_does_not_hide_a_dead_connection(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            for _ in range(45):
                await self.raised(client.publish("t", b"x"))
                await asyncio.sleep(0.02)

        self.session(pipe, body, keepalive_s=1, timeout_ms=SOON_MS)
        self.assertEqual(self.ended_by.args[0], "no answer to a ping")

    def test_a_long_message_answers_a_ping_too(self):
        pipe = Pipe(CONNACK, b"\x30\xff\xff\x03\x00\x01t")

        async def body(client):
            for _ in range(90):
                pipe.feed(b"x")
                await asyncio.sleep(0.01)
            return client._is_connected

        self.assertTrue(self.session(pipe, body, keepalive_s=1, timeout_ms=300))

    def test_close_ends_run(self):
        pipe = Pipe(CONNACK)

        async def body(client):
            await client.close()
            await self.until(lambda: pipe.is_closed)
            return True

        self.assertTrue(self.session(pipe, body))
        self.assertEqual(type(self.ended_by), ConnectionLost)
        self.assertTrue(pipe.sent.endswith(b"\xe0\x00"))

    def test_cancelling_run_closes_the_stream(self):
        pipe = Pipe(CONNACK)
        client = self.client(pipe)

        async def session():
            await client.connect()
            runner = asyncio.create_task(client.run())
            await asyncio.sleep(0.01)
            runner.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await runner
            return type(await self.raised(client.publish("t", b"")))

        self.assertEqual(self.go(session()), ConnectionLost)
        self.assertTrue(pipe.is_closed)


class FuzzTest(Case):
    """Whatever comes in, run() ends in an MqttError, in time, and nothing over-long is kept."""

    SEEDS = (
        b"\x30\x0a\x00\x03a/bhello",
        b"\x33\x0c\x00\x03a/b\x00\x01hello",
        b"\x32\x85\x02\x01\x01" + b"t" * 257 + b"\x00\x09",
        b"\x30\x84\x01\x00\x01t" + b"x" * 129,
        b"\x40\x02\x00\x01",
        b"\x90\x03\x00\x01\x01",
        b"\xd0\x00",
    )
    CAP_BYTES = 128

    def packet(self, rng):
        kind = rng.randrange(4)
        if kind == 0:  # noise
            return bytes(rng.getrandbits(8) for _ in range(rng.randrange(1, 24)))
        packet = bytearray(rng.choice(self.SEEDS))
        if kind == 1:  # some bytes changed, mostly in the header
            for _ in range(rng.randrange(1, 4)):
                packet[rng.randrange(min(len(packet), 8))] = rng.getrandbits(8)
        elif kind == 2:  # cut or lengthened
            packet = packet[: rng.randrange(len(packet))]
            packet.extend(bytes(rng.getrandbits(8) for _ in range(rng.randrange(8))))
        return bytes(packet)

    def test_random_and_mutated_packets(self):
        rng = random  # MicroPython's random has no Random class; the seed makes it repeatable
        rng.seed(20261)
        ends = {}
        longest = [0]

        def on_message(topic, payload, retain):
            longest[0] = max(longest[0], len(payload))

        async def one(data):
            pipe = Pipe(data)
            pipe.is_eof = True

            async def open_stream():
                return pipe, pipe

            client = MqttClient(
                open_stream,
                "d1",
                on_message=on_message,
                max_packet_bytes=self.CAP_BYTES,
                timeout_ms=PATIENCE_S * 1000,
            )
            try:
                await client.connect()
                await client.run()
            except MqttError as error:
                name = type(error).__name__
                ends[name] = ends.get(name, 0) + 1
            self.assertTrue(pipe.is_closed)
            self.assertTrue(client.bytes_in <= len(data))

        async def all_of_them():
            for n in range(2500):
                packets = [self.packet(rng) for _ in range(rng.randrange(1, 5))]
                greeting = b"" if n % 10 == 0 else CONNACK
                data = greeting + b"".join(packets)
                try:
                    await asyncio.wait_for(one(data), PATIENCE_S)
                except asyncio.TimeoutError:
                    self.assertTrue(False, ("hang", data))

        asyncio.run(all_of_them())
        self.assertEqual(sum(ends.values()), 2500)
        self.assertTrue(ends["ProtocolError"] > 500 and ends["ConnectionLost"] > 500, ends)
        self.assertTrue(0 < longest[0] <= self.CAP_BYTES)

    def heard(self, data, cut):
        """What comes out of a stream: messages and how it ended. cut: gives the size of a read."""
        pipe = Pipe(data)
        pipe.is_eof = True
        readinto = pipe.readinto

        async def read_a_little(buf):
            return await readinto(memoryview(buf)[: cut()])

        pipe.readinto = read_a_little
        messages = []

        async def open_stream():
            return pipe, pipe

        async def session():
            client = MqttClient(
                open_stream,
                "d1",
                on_message=lambda *message: messages.append(
                    (message[0], bytes(message[1]), message[2])
                ),
                max_packet_bytes=self.CAP_BYTES,
                timeout_ms=PATIENCE_S * 1000,
            )
            try:
                await client.connect()
                await client.run()
            except MqttError as error:
                return messages, type(error), client.drained, bytes(pipe.sent)

        return session()

    def test_it_does_not_matter_how_a_stream_is_cut(self):
        rng = random
        rng.seed(20262)

        async def all_of_them():
            differing = []
            for _ in range(400):
                packets = [
                    rng.choice(self.SEEDS) if rng.randrange(4) else self.packet(rng)
                    for _ in range(rng.randrange(1, 6))
                ]
                data = CONNACK + b"".join(packets)
                whole = await self.heard(data, lambda: 512)
                parts = await self.heard(data, lambda: rng.randrange(1, 9))
                if whole != parts:
                    differing.append((data, whole, parts))
            return differing

        try:
            self.assertEqual(asyncio.run(all_of_them()), [])
        finally:
            asyncio.new_event_loop()


class BackoffTest(unittest.TestCase):
    def test_the_ceiling_doubles_up_to_the_cap(self):
        backoff = Backoff(lambda count: b"\xff" * count, first_ms=1000, cap_ms=10000)
        # 2**32 - 1 modulo each ceiling + 1
        expected = [0xFFFFFFFF % (n + 1) for n in (1000, 2000, 4000, 8000, 10000, 10000)]
        self.assertEqual([backoff.next_ms() for _ in range(6)], expected)
        backoff.reset()
        self.assertEqual(backoff.next_ms(), expected[0])

    def test_full_jitter_spans_from_zero_to_the_ceiling(self):
        random.seed(7)
        backoff = Backoff(
            lambda count: bytes(random.getrandbits(8) for _ in range(count)), 100, 100
        )
        waits_ms = [backoff.next_ms() for _ in range(2000)]
        self.assertEqual((min(waits_ms), max(waits_ms)), (0, 100))
        self.assertTrue(45 < sum(waits_ms) / 2000 < 55)

    def test_bad_arguments(self):
        for first_ms, cap_ms in ((0, 1), (2, 1), (1, 1 << 31)):
            with self.assertRaises(ValueError):
                Backoff(None, first_ms, cap_ms)


if __name__ == "__main__":
    unittest.main()
