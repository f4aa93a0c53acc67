"""Wi-Fi: joining, roaming and failing, with a radio that behaves as the ports document theirs."""

import asyncio
import unittest

from doorward.hal import wlan
from doorward.hal.wlan import BAD_PASSWORD, NO_LEASE, NO_NETWORK, Wlan
from doorward.quiet import Gate
from support import FakeTicks

# As in hal/rp2.py.
FAULTS = {-3: BAD_PASSWORD, -2: NO_NETWORK, 2: NO_LEASE}
JOINING = 1
NO_IP = 2
UP = 3
GIVEN_UP = -1
DAY_MS = 86_400_000
real_asyncio = wlan.asyncio
real_time = wlan.time
real_exchange = wlan.exchange
real_psk_context = wlan.psk_context


class Station:
    """A network.WLAN whose access point is as `world` has it.

    Attributes:
        calls: those that may hold the board: make, active, connect, disconnect.
        outside: calls of those that came from outside the quiet gate.
    """

    def __init__(self, world):
        self.world = world
        self.calls = []
        self.outside = 0
        self.began_ms = None
        self.is_linked = False
        self.broken = {}

    def _stall(self, name, ms=0):
        self.calls.append(name)
        self.outside += 0 if self.world.gate.is_running else 1
        self.world.ticks.advance_ms(ms)
        if name in self.broken:
            raise self.broken[name]

    def active(self, is_on):
        self._stall("active", 900)

    def connect(self, ssid, password):
        self._stall("connect", 15)
        self.asked = (ssid, password)
        self.began_ms = self.world.now_ms

    def disconnect(self):
        self._stall("disconnect", 5)
        self.began_ms = None
        self.is_linked = False

    def status(self):
        self._follow()
        if self.is_linked:
            return UP
        return 0 if self.began_ms is None else self.world.status

    def isconnected(self):
        self._follow()
        return self.is_linked

    def ifconfig(self):
        self.world.asked_address += 1
        return (self.world.address, "255.255.255.0", "10.0.0.1", "10.0.0.1")

    def _follow(self):
        world = self.world
        if not world.has_network:
            self.is_linked = False
        elif self.began_ms is not None and world.now_ms - self.began_ms >= world.joins_ms:
            self.is_linked = True


class WatchedGate(Gate):
    is_running = False

    async def run(self, call, *args):
        def watched():
            self.is_running = True
            try:
                return call(*args)
            finally:
                self.is_running = False

        self.polled()
        return await super().run(watched)


class World:
    """A board's radio and the access point around it.

    Attributes:
        has_network: the access point is there and lets the board in. joins_ms: after so long.
        status: what the radio says of an attempt that does not come up.
    """

    def __init__(self, ssid="school", password="secret"):
        self.ticks = FakeTicks()
        self.gate = WatchedGate(self.ticks)
        self.has_network = True
        self.joins_ms = 3000
        self.status = JOINING
        self.address = "10.0.0.7"
        self.asked_address = 0
        self.opened = []
        self.station = Station(self)
        self.wlan = Wlan(self.make_station, FAULTS)
        self.wlan.configure(ssid, password, self.gate)
        # In place of the modules that wlan imported.
        self.ticks_ms = self.ticks.ticks_ms
        self.ticks_diff = self.ticks.ticks_diff
        wlan.asyncio = self
        wlan.time = self

    @property
    def now_ms(self):
        return self.ticks.now_us // 1000

    def make_station(self):
        self.station._stall("make")
        return self.station

    async def sleep_ms(self, ms):
        self.ticks.advance_ms(ms)
        await real_asyncio.sleep(0)

    async def open_connection(self, host, port, **how):
        self.opened.append((host, port, how))
        return "reader", "writer"

    def join(self):
        return asyncio.run(self.wlan.join())

    def wait_ms(self, ms):
        self.ticks.advance_ms(ms)


class Wifi(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.wlan = self.world.wlan
        self.station = self.world.station

    def tearDown(self):
        # Whatever a test did: no call that may hold the board came from outside the gate.
        self.assertEqual(self.station.outside, 0)
        wlan.asyncio = real_asyncio
        wlan.time = real_time
        wlan.exchange = real_exchange
        wlan.psk_context = real_psk_context

    def use(self, *args):
        self.world = World(*args)
        self.wlan = self.world.wlan
        self.station = self.world.station

    def assert_fault(self, words):
        self.assertIn(words, self.wlan.fault)
        self.assertFalse(self.wlan.is_up)


class Joining(Wifi):
    def test_the_radio_is_started_once_and_each_of_its_calls_is_a_stall_of_its_own(self):
        self.assertFalse(self.wlan.is_up)
        self.assertTrue(self.world.join())
        self.assertTrue(self.wlan.is_up)
        self.assertEqual(self.station.calls, ["make", "active", "disconnect", "connect"])
        self.assertEqual(self.station.asked, ("school", "secret"))
        self.assertEqual(self.world.gate.runs, 3)
        self.assertTrue(self.world.join())
        self.assertEqual(self.world.gate.runs, 3)
        self.assertEqual(self.wlan.fault, "")

    def test_an_open_network_has_no_password(self):
        self.use("school", "")
        self.world.join()
        self.assertEqual(self.station.asked, ("school", None))

    def test_none_is_configured(self):
        self.use("", "")
        with self.assertRaises(OSError):
            self.world.join()
        self.assert_fault("no Wi-Fi configured")
        self.assertEqual(self.station.calls, [])

    def test_a_link_without_an_address_is_not_up(self):
        self.world.address = "0.0.0.0"
        self.world.status = NO_IP
        self.world.has_network = True
        self.world.joins_ms = DAY_MS
        self.assertFalse(self.world.join())
        self.assert_fault("gives no address")
        self.use()
        self.world.address = "0.0.0.0"
        self.assertFalse(self.world.join())
        self.assertFalse(self.wlan.is_up)

    def test_two_tasks_that_join_make_one_attempt(self):
        async def both():
            return await asyncio.gather(self.wlan.join(), self.wlan.join())

        asyncio.run(both())
        self.assertTrue(self.wlan.is_up)
        self.assertEqual(self.station.calls.count("connect"), 1)
        self.assertEqual(self.station.calls.count("make"), 1)

    def test_a_join_that_was_cancelled_goes_on(self):
        async def cut():
            task = asyncio.create_task(self.wlan.join())
            while self.world.now_ms < 2000:
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            return await self.wlan.join()

        self.assertTrue(asyncio.run(cut()))
        self.assertEqual(self.station.calls.count("connect"), 1)


class Failing(Wifi):
    def test_a_technician_is_told_what_is_wrong(self):
        for status, words in (
            (-3, "refuses the password"),
            (-2, "no such Wi-Fi network"),
            (GIVEN_UP, "does not answer"),
            (JOINING, "does not answer"),
            (NO_IP, "gives no address"),
            (1001, "does not answer"),
        ):
            with self.subTest(status=status):
                self.use()
                self.fail_with(status)
                self.assert_fault(words)

    def fail_with(self, status):
        self.world.has_network = False
        self.world.status = status
        self.assertFalse(self.world.join())

    def test_what_the_radio_gave_up_is_not_waited_for(self):
        self.fail_with(-3)
        self.assertLess(self.world.now_ms, 2000)
        self.use()
        self.fail_with(JOINING)
        self.assertTrue(20_000 <= self.world.now_ms <= 22_000)

    def test_attempts_come_less_and_less_often_and_at_once_after_success(self):
        self.fail_with(-2)
        attempts_ms = []
        count = 1
        while self.world.now_ms < 30 * 60_000:
            self.world.join()
            if self.station.calls.count("connect") > count:
                count += 1
                attempts_ms.append(self.world.now_ms)
            self.world.wait_ms(500)
        gaps_ms = [attempts_ms[i + 1] - attempts_ms[i] for i in range(len(attempts_ms) - 1)]
        self.assertLess(gaps_ms[0], 4000)
        for gap_ms in gaps_ms[-5:]:
            self.assertTrue(30_000 <= gap_ms <= 62_000)
        self.assertEqual(self.station.calls.count("active"), 1)
        self.world.has_network = True
        self.world.wait_ms(60_000)
        self.assertTrue(self.world.join())
        # From there on the pauses are short again.
        self.world.has_network = False
        count = self.station.calls.count("connect")
        before_ms = self.world.now_ms
        while self.station.calls.count("connect") < count + 2:
            self.world.join()
            self.world.wait_ms(100)
        self.assertLess(self.world.now_ms - before_ms, 12_000)

    def test_a_pause_does_not_hold_who_asks(self):
        self.fail_with(-2)
        before_ms = self.world.now_ms
        self.assertFalse(self.world.join())
        self.assertEqual(self.world.now_ms, before_ms)
        self.assertEqual(self.station.calls.count("connect"), 1)

    def test_a_pause_that_began_before_the_ticks_wrapped_is_over(self):
        self.fail_with(-2)
        self.world.wait_ms(8 * DAY_MS)
        self.world.join()
        self.assertEqual(self.station.calls.count("connect"), 2)

    def test_a_radio_that_refuses_is_told_of_and_left_alone_for_a_while(self):
        for name in ("make", "active", "disconnect", "connect"):
            for error in (OSError("Wifi Internal State Error"), RuntimeError("Wifi Unknown 0x3")):
                self.use()
                self.station.broken[name] = error
                with self.assertRaises(OSError):
                    self.world.join()
                self.assert_fault("the radio refuses: Wifi")
                self.assertFalse(self.world.join())
                del self.station.broken[name]
                self.world.wait_ms(1000)
                self.assertTrue(self.world.join())
                self.assertEqual(self.station.outside, 0)


class Roaming(Wifi):
    def setUp(self):
        super().setUp()
        self.world.join()
        self.station.calls.clear()

    def lose(self):
        self.world.has_network = False
        self.assertFalse(self.wlan.is_up)

    def test_the_radio_may_find_it_again_by_itself(self):
        self.lose()

        async def back():
            task = asyncio.create_task(self.wlan.join())
            for _ in range(20):
                await asyncio.sleep(0)
            self.assert_fault("link was lost")
            self.world.has_network = True
            return await task

        self.assertTrue(asyncio.run(back()))
        self.assertEqual(self.station.calls, [])

    def test_else_it_is_told_to(self):
        self.lose()
        self.assertFalse(self.world.join())
        self.assertEqual(self.station.calls, [])
        self.world.has_network = True
        self.station.began_ms = None
        self.assertTrue(self.world.join())
        self.assertEqual(self.station.calls, ["disconnect", "connect"])
        self.assertEqual(self.wlan.fault, "")

    def test_another_address_ends_what_was_opened_from_the_old_one(self):
        self.world.wait_ms(1000)
        self.assertTrue(self.wlan.is_up)
        self.world.address = "10.0.0.8"
        self.world.wait_ms(1000)
        self.assertFalse(self.wlan.is_up)
        self.assertFalse(self.wlan.is_up)
        self.assertTrue(self.world.join())
        self.assertTrue(self.wlan.is_up)
        self.assertEqual(self.station.calls, [])

    def test_an_address_that_is_taken_away(self):
        self.world.address = "0.0.0.0"
        self.world.wait_ms(1000)
        self.assertFalse(self.wlan.is_up)
        self.assertFalse(self.world.join())
        self.world.address = "10.0.0.9"
        self.world.wait_ms(60_000)
        self.assertTrue(self.world.join())

    def test_looking_whether_it_is_up_asks_for_the_address_seldom(self):
        before = self.world.asked_address
        for _ in range(100):
            self.world.wait_ms(100)
            self.assertTrue(self.wlan.is_up)
        self.assertLessEqual(self.world.asked_address - before, 10)

    def test_days_later(self):
        for days in (1, 5, 7, 13):
            self.world.wait_ms(days * DAY_MS)
            self.assertTrue(self.wlan.is_up)
            self.lose()
            self.world.has_network = True
            self.assertTrue(self.world.join())


class Streams(Wifi):
    def test_are_opened_by_address_with_one_context_for_all(self):
        made = []
        wlan.psk_context = lambda *psk: made.append(psk) or psk
        key = (b"site/door", b"k" * 32)
        for _ in range(2):
            asyncio.run(self.wlan.open("10.1.2.3", 8883, key))
        asyncio.run(self.wlan.open("10.1.2.3", 1883, None))
        self.assertEqual(made, [key])
        (host, port, how), second, third = self.world.opened
        self.assertEqual((host, port, how["server_hostname"]), ("10.1.2.3", 8883, "10.1.2.3"))
        self.assertIs(second[2]["ssl"], how["ssl"])
        self.assertEqual(third, ("10.1.2.3", 1883, {}))

    def test_a_name_is_refused_before_it_is_looked_up(self):
        for host in ("broker.example", "10.1.2", "10.1.2.256", "", "10.1.2.3.4", "a.b.c.d"):
            with self.assertRaises(OSError):
                asyncio.run(self.wlan.open(host, 8883, None))
            with self.assertRaises(OSError):
                asyncio.run(self.wlan.exchange(host, 123, b"", 100))
        self.assertEqual(self.station.calls, [])

    def test_without_a_network_opening_fails_and_says_why(self):
        self.world.has_network = False
        self.world.status = -3
        with self.assertRaises(OSError) as caught:
            asyncio.run(self.wlan.open("10.1.2.3", 8883, None))
        self.assertIn("password", str(caught.exception))

    def test_a_datagram_goes_only_where_there_is_a_network(self):
        async def exchange(*what):
            return what

        wlan.exchange = exchange
        with self.assertRaises(OSError):
            asyncio.run(self.wlan.exchange("10.1.2.3", 123, b"x", 100))
        self.world.join()
        self.assertEqual(
            asyncio.run(self.wlan.exchange("10.1.2.3", 123, b"x", 100)),
            ("10.1.2.3", 123, b"x", 100),
        )
