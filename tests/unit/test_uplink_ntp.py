"""NTP: what is an answer and what is not; the client and real datagrams."""

import asyncio
import socket
import unittest

from doorward.hal.datagram import MOST_BYTES, exchange
from doorward.uplink.ntp import PACKET_BYTES, Kiss, NtpError, ask, read
from support import FakeTicks

NONCE = b"\x91\x82\x73\x64\x55\x46\x37\x28"
UNIX_S = 2_208_988_800
NOW_S = 1_790_000_000


def answer(**how):
    """Return a right answer but for what `how` says; bytes at a position by `at_N`."""
    packet = bytearray(PACKET_BYTES)
    packet[0] = how.get("head", 0x24)  # no warning, version 4, server
    packet[1] = how.get("stratum", 2)
    packet[12:16] = how.get("reference", b"\x0a\x00\x00\x01")
    packet[24:32] = how.get("originate", NONCE)
    seconds = (how.get("seconds", NOW_S) + UNIX_S) & 0xFFFFFFFF
    packet[40:44] = seconds.to_bytes(4, "big")
    packet[44:48] = how.get("fraction", 0x80000000).to_bytes(4, "big")
    packet[4:8] = how.get("delay", 0x0800).to_bytes(4, "big")
    packet[8:12] = how.get("dispersion", 0x0800).to_bytes(4, "big")
    return bytes(packet)


class Answers(unittest.TestCase):
    def test_a_right_answer(self):
        self.assertEqual(read(answer(), NONCE), (NOW_S, 500))
        self.assertEqual(read(answer(fraction=0), NONCE), (NOW_S, 0))
        self.assertEqual(read(answer(fraction=0xFFFFFFFF), NONCE), (NOW_S, 999))
        for stratum in (1, 15):
            self.assertEqual(read(answer(stratum=stratum), NONCE), (NOW_S, 500))
        # A leap second ahead is no alarm.
        self.assertEqual(read(answer(head=0x64), NONCE), (NOW_S, 500))

    def test_the_era_after_2036(self):
        for seconds in (2_085_978_495, 2_085_978_496, 2_500_000_000):
            self.assertEqual(read(answer(seconds=seconds), NONCE), (seconds, 500))

    def test_lies(self):
        lies = {
            "48 bytes": (answer()[:-1], answer() + b"x", b"", answer()[:40]),
            "another question": (
                answer(originate=bytes(8)),
                answer(originate=NONCE[:7] + b"x"),
                # Nor may a stranger send us away.
                answer(stratum=0, reference=b"DENY", originate=bytes(8)),
            ),
            "NTP server": (
                answer(head=0x23),
                answer(head=0x25),
                answer(head=0x26),
                answer(head=0x1C),
                answer(head=0x2C),
            ),
            "not synchronised": (answer(stratum=16), answer(stratum=255), answer(head=0xE4)),
            "not sure": (answer(delay=0x30000), answer(dispersion=0x18000)),
            "does not say": (answer(seconds=-UNIX_S, fraction=0),),
        }
        for words, packets in lies.items():
            for packet in packets:
                with self.assertRaises(NtpError) as caught:
                    read(packet, NONCE)
                self.assertTrue(words in str(caught.exception), str(caught.exception))

    def test_just_sure_enough(self):
        self.assertEqual(read(answer(delay=0, dispersion=0x17FFF), NONCE)[0], NOW_S)

    def test_a_kiss_says_its_code(self):
        for code in (b"DENY", b"RSTR", b"RATE", b"\x00\xff\x80!"):
            with self.assertRaises(Kiss) as caught:
                read(answer(stratum=0, reference=code, head=0xE4), NONCE)
            self.assertEqual(caught.exception.code, code)


class Network:
    """Answers after `trip_ms` with what `make` makes of the request."""

    def __init__(self, ticks, trip_ms, make):
        self.ticks = ticks
        self.trip_ms = trip_ms
        self.make = make
        self.requests = []

    async def exchange(self, host, port, request, timeout_ms):
        self.requests.append((host, port, bytes(request), timeout_ms))
        self.ticks.advance_ms(self.trip_ms)
        return self.make(bytes(request))


class Asking(unittest.TestCase):
    def ask(self, trip_ms, **how):
        ticks = FakeTicks()
        self.network = Network(ticks, trip_ms, lambda request: answer(**how))
        return asyncio.run(ask(self.network, "10.0.0.1", 123, ticks, lambda n: NONCE[:n]))

    def test_half_the_round_trip_is_taken_off(self):
        self.assertEqual(self.ask(0), (NOW_S, 500))
        self.assertEqual(self.ask(300), (NOW_S, 650))
        self.assertEqual(self.ask(200, fraction=0xF3333333), (NOW_S + 1, 49))

    def test_the_request_tells_nothing(self):
        self.ask(5)
        host, port, request, timeout_ms = self.network.requests[0]
        self.assertEqual((host, port), ("10.0.0.1", 123))
        self.assertEqual(request, b"\x23" + bytes(39) + NONCE)
        self.assertLessEqual(timeout_ms, 1500)

    def test_a_long_round_trip_is_refused(self):
        self.assertEqual(self.ask(400)[0], NOW_S)
        for trip_ms in (401, 1499):
            with self.assertRaises(NtpError):
                self.ask(trip_ms)


async def drain(link, replies):
    """Answer each datagram that comes with what `replies` makes: [(from which socket, bytes)]."""
    while True:
        await asyncio.sleep_ms(2)
        try:
            request, sender = link.recvfrom(200)
        except OSError:
            continue
        for other, data in replies(request):
            other.sendto(data, sender)


class Datagrams(unittest.TestCase):
    def setUp(self):
        self.server, self.port = self.open_socket()
        self.stranger, _ = self.open_socket()

    def tearDown(self):
        self.server.close()
        self.stranger.close()

    def open_socket(self):
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.setblocking(False)
        for port in range(20_000, 60_000, 7):
            try:
                link.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
                return link, port
            except OSError:
                pass
        raise OSError("no port is free")

    def exchange(self, replies, timeout_ms=1500):
        async def both():
            server = asyncio.create_task(drain(self.server, replies))
            try:
                return await exchange("127.0.0.1", self.port, b"hello", timeout_ms)
            finally:
                server.cancel()

        return asyncio.run(both())

    def test_there_and_back(self):
        self.assertEqual(self.exchange(lambda got: [(self.server, got + b"!")]), b"hello!")

    def test_only_from_whom_was_asked(self):
        both = [(self.stranger, b"lie"), (self.server, b"truth")]
        self.assertEqual(self.exchange(lambda got: both), b"truth")
        with self.assertRaises(OSError):
            self.exchange(lambda got: [(self.stranger, b"lie")], 200)

    def test_nobody_answers(self):
        with self.assertRaises(OSError):
            self.exchange(lambda got: [], 100)
        self.server.close()
        with self.assertRaises(OSError):
            self.exchange(lambda got: [], 100)

    def test_more_than_anybody_wants_is_cut_and_shows(self):
        got = self.exchange(lambda got: [(self.server, bytes(1000))])
        self.assertEqual(len(got), MOST_BYTES)
        self.assertNotEqual(len(got), PACKET_BYTES)

    def test_others_go_on_meanwhile(self):
        async def count():
            turns = 0
            task = asyncio.create_task(exchange("127.0.0.1", self.port, b"x", 300))
            while not task.done():
                turns += 1
                await asyncio.sleep_ms(1)
            with self.assertRaises(OSError):
                await task
            return turns

        self.assertGreater(asyncio.run(count()), 40)
