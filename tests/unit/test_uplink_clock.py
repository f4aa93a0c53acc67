"""The clock: what a time server and a clock with a battery may do to the door's time."""

import asyncio
import unittest

from doorward.hal.ds3231 import Ds3231
from doorward.uplink.clock import LATEST_S, Clock
from doorward.uplink.ntp import PACKET_BYTES
from doorward.values import CLOCK_HELD, CLOCK_SYNCED, CLOCK_UNSET
from doorward.walltime import WallTime
from sim.ds3231 import Ds3231 as Ds3231Model
from support import FakeTicks

UNIX_S = 2_208_988_800
NOW_S = 1_790_000_000
ISSUED_S = NOW_S - 1_000_000
DAY_S = 86_400
real_sleep_ms = asyncio.sleep_ms


class Config:
    ntp_host = "10.0.0.1"
    ntp_port = 123
    ntp_interval_s = 3600


class Server:
    """A time server and the way there.

    Attributes:
        lie_ms: added to the true time. kiss: code, b"" for none. is_silent: nothing comes back.
        asked_ms: true times at which it was asked.
    """

    def __init__(self, world):
        self.world = world
        self.is_up = True
        self.fault = ""
        self.lie_ms = 0
        self.kiss = b""
        self.is_silent = False
        self.asked_ms = []

    async def join(self):
        self.fault = "" if self.is_up else "the Wi-Fi network refuses the password"
        return self.is_up

    async def exchange(self, host, port, request, timeout_ms):
        self.asked_ms.append(self.world.true_ms)
        if self.is_silent:
            self.world.advance_ms(timeout_ms)
            raise OSError(110)
        now_ms = self.world.true_ms + self.lie_ms
        packet = bytearray(PACKET_BYTES)
        packet[0] = 0x24
        packet[1] = 0 if self.kiss else 1
        packet[12:16] = self.kiss or b"GPS\x00"
        packet[24:32] = request[40:48]
        packet[40:44] = ((now_ms // 1000 + UNIX_S) & 0xFFFFFFFF).to_bytes(4, "big")
        packet[44:48] = ((now_ms % 1000 << 32) // 1000).to_bytes(4, "big")
        return bytes(packet)


class World:
    """A board around a clock, with time that passes by sleeping."""

    def __init__(self, quality=CLOCK_UNSET, start_s=NOW_S, skew_ppm=0, has_rtc=False):
        self.ticks = FakeTicks()
        self.true_ms = NOW_S * 1000
        self.skew_ppm = skew_ppm
        self.network = Server(self)
        self.chip = Ds3231Model(lambda: self.true_ms * 1_000_000)
        self.rtc = Ds3231(self.chip) if has_rtc else None
        self.earliest_s = ISSUED_S
        self.settings = []
        self.set_ms = 0
        self.time = WallTime(self.ticks, start_s, quality)
        self.clock = None

    def random_bytes(self, count):
        return bytes(range(200, 200 + count))

    def advance_ms(self, ms):
        self.true_ms += ms
        passed_ms = self.true_ms - NOW_S * 1000
        self.ticks.now_us = passed_ms * 1000 + passed_ms * self.skew_ppm // 1000
        self.time.now_s()

    def run(self, hours):
        """Let the clock's task, started anew, run for so long; return whether it ended by itself."""
        if self.clock is None:
            self.begin()
        end_ms = self.true_ms + int(hours * 3_600_000)

        async def sleep_ms(ms):
            left_ms = ms
            while left_ms > 0:
                # As the app's tick does, the clock is looked at often.
                step_ms = min(left_ms, 600_000, end_ms - self.true_ms)
                if step_ms <= 0:
                    raise asyncio.CancelledError()
                self.advance_ms(step_ms)
                left_ms -= step_ms
            await real_sleep_ms(0)

        async def play():
            try:
                await self.clock.run()
                return True
            except asyncio.CancelledError:
                return False

        asyncio.sleep_ms = sleep_ms
        try:
            return asyncio.run(play())
        finally:
            asyncio.sleep_ms = real_sleep_ms

    def begin(self, config=Config):
        self.clock = Clock(self, config, self.time, lambda: self.earliest_s, self.note_set)

    def note_set(self, difference_s):
        self.settings.append(difference_s)
        self.set_ms = self.true_ms

    def off_ms(self):
        """By how much the door's clock is behind."""
        return self.time.behind_ms(self.true_ms // 1000, self.true_ms % 1000)


class Synchronised(unittest.TestCase):
    def test_an_unset_clock_is_set_by_the_first_answer(self):
        world = World(start_s=0)
        world.run(1)
        self.assertEqual(world.time.quality, CLOCK_SYNCED)
        self.assertLess(abs(world.off_ms()), 5)
        self.assertEqual(world.settings, [NOW_S])
        facts = world.clock.facts()
        self.assertEqual(
            (facts["source"], facts["quality"], facts["fault"]), ("ntp", "synced", "")
        )

    def test_small_corrections_are_silent_and_the_door_holds_its_time_without_them(self):
        for skew_ppm in (-120, 25, 180):
            world = World(skew_ppm=skew_ppm)
            world.run(48)
            self.assertEqual(world.settings, [NOW_S])
            self.assertGreater(len(world.network.asked_ms), 45)
            world.network.is_silent = True
            world.run(7 * 24)
            self.assertEqual(world.time.quality, CLOCK_HELD)
            self.assertLess(abs(world.off_ms()), 10_000)
            self.assertLessEqual(abs(world.clock.facts()["drift_ppm"] + skew_ppm), 2)

    def test_it_is_held_after_a_day_without_an_answer_and_synced_by_the_next(self):
        world = World()
        world.run(1)
        world.network.is_silent = True
        world.run(22)
        self.assertEqual(world.time.quality, CLOCK_SYNCED)
        world.run(3)
        self.assertEqual(world.time.quality, CLOCK_HELD)
        self.assertEqual(world.clock.facts()["source"], "ntp")
        self.assertNotEqual(world.clock.facts()["fault"], "")
        world.network.is_silent = False
        world.run(2)
        self.assertEqual(world.time.quality, CLOCK_SYNCED)

    def test_while_nobody_answers_it_backs_off(self):
        world = World()
        world.network.is_silent = True
        world.run(24)
        self.assertEqual(world.time.quality, CLOCK_UNSET)
        self.assertLess(len(world.network.asked_ms), 200)
        self.assertGreater(len(world.network.asked_ms), 12)

    def test_without_a_network_it_says_what_the_network_says(self):
        world = World()
        world.network.is_up = False
        world.run(1)
        self.assertEqual(world.clock.facts()["fault"], "the Wi-Fi network refuses the password")
        self.assertEqual(world.network.asked_ms, [])
        world.network.is_up = True
        world.run(1)
        self.assertEqual(world.time.quality, CLOCK_SYNCED)

    def test_nothing_to_keep_it_by(self):
        class Bare(Config):
            ntp_host = ""

        world = World(CLOCK_SYNCED)
        world.begin(Bare)
        self.assertTrue(world.run(1))
        self.assertEqual(world.clock.facts()["fault"], "no time server configured")
        self.assertEqual(world.clock.facts()["source"], "board")
        world = World()
        world.network = None
        self.assertTrue(world.run(1))
        self.assertEqual(world.clock.facts()["fault"], "no network on this board")


class Lies(unittest.TestCase):
    def test_never_before_the_newest_signed_object_nor_beyond_all_reason(self):
        for at_s, is_believed in (
            (ISSUED_S - 1, False),
            (ISSUED_S + 1, True),
            (LATEST_S - 100, True),
            (LATEST_S, False),
            (0, False),
        ):
            with self.subTest(at_s=at_s):
                world = World()
                world.network.lie_ms = (at_s - NOW_S) * 1000
                world.clock = None
                world.begin()
                asyncio.run(world.clock._ask())
                self.assertEqual(world.time.quality != CLOCK_UNSET, is_believed)
                self.assertEqual("cannot be" in world.clock.fault, not is_believed)

    def test_a_kiss_of_death_is_obeyed_for_a_day_or_an_hour(self):
        for kiss, most in ((b"DENY", 2), (b"RSTR", 2), (b"RATE", 26), (b"XKCD", 26)):
            for quality in (CLOCK_UNSET, CLOCK_HELD):
                world = World(quality, has_rtc=True)
                world.network.kiss = kiss
                world.run(25)
                self.assertEqual(len(world.network.asked_ms), most)
                self.assertEqual(world.settings, [])
                self.assertIn("refuses", world.clock.facts()["fault"])

    def test_one_answer_does_not_move_a_clock_that_is_set(self):
        for quality in (CLOCK_SYNCED, CLOCK_HELD):
            for lie_ms in (181_000, -181_000, 400 * DAY_S * 1000):
                world = World(quality)
                world.network.lie_ms = lie_ms
                world.begin()
                pause_ms = asyncio.run(world.clock._ask())
                self.assertLessEqual(pause_ms, 300_000)
                self.assertEqual(world.off_ms(), 0)
                self.assertEqual(world.settings, [])
                self.assertIn("off", world.clock.facts()["fault"])
                world.network.lie_ms = 0
                world.run(3)
                self.assertEqual(world.settings, [])
                self.assertEqual(world.clock.facts()["fault"], "")

    def test_several_that_agree_do_and_it_is_recorded(self):
        for lie_s in (7200, -7200, 200 * DAY_S):
            world = World(CLOCK_SYNCED)
            world.run(1)
            world.network.lie_ms = lie_s * 1000
            asked = len(world.network.asked_ms)
            world.run(0.2)
            self.assertEqual(world.settings, [])
            world.run(1)
            self.assertEqual(world.settings, [lie_s])
            self.assertEqual(world.off_ms() // 1000, -lie_s)
            took_ms = world.set_ms - world.network.asked_ms[asked]
            self.assertTrue(900_000 <= took_ms <= 1_500_000)
            self.assertEqual(world.time.quality, CLOCK_SYNCED)

    def test_two_over_a_long_time_are_not_several(self):
        world = World(CLOCK_SYNCED)
        world.begin()
        world.network.lie_ms = 3_600_000
        for _ in range(3):
            asyncio.run(world.clock._ask())
            self.assertEqual(world.settings, [])
            world.advance_ms(1_000_000)
        asyncio.run(world.clock._ask())
        self.assertEqual(world.settings, [3600])

    def test_those_that_do_not_agree_never_do(self):
        world = World(CLOCK_SYNCED)
        world.begin()
        for i in range(40):
            world.network.lie_ms = (200 + 10 * i) * 1000
            asyncio.run(world.clock._ask())
            world.advance_ms(300_000)
        self.assertEqual(world.off_ms(), 0)
        self.assertEqual(world.settings, [])

    def test_a_right_answer_between_them_ends_the_doubt(self):
        world = World(CLOCK_SYNCED)
        world.begin()
        for i in range(40):
            world.network.lie_ms = 3_600_000 if i % 4 else 0
            asyncio.run(world.clock._ask())
            world.advance_ms(300_000)
        self.assertEqual(world.settings, [])

    def test_a_doubt_that_is_days_old_begins_anew(self):
        world = World(CLOCK_SYNCED)
        world.begin()
        world.network.lie_ms = 3_600_000
        for _ in range(3):
            asyncio.run(world.clock._ask())
        for _ in range(8):
            world.advance_ms(DAY_S * 1000)
        asyncio.run(world.clock._ask())
        self.assertEqual(world.settings, [])
        world.run(1)
        self.assertEqual(world.settings, [3600])

    def test_drawn_along_little_by_little_it_is_recorded(self):
        world = World()
        world.run(1)
        for _ in range(24):
            world.network.lie_ms += 100_000
            world.run(1)
        self.assertGreater(sum(world.settings[1:]), 2_000)

    def test_a_start_before_the_newest_object_is_no_time(self):
        for start_s in (ISSUED_S - 1, 946_684_800, LATEST_S):
            world = World(CLOCK_HELD, start_s)
            world.begin()
            self.assertEqual(world.time.quality, CLOCK_UNSET)
            self.assertEqual(world.clock.source, "none")
        world = World(CLOCK_HELD, ISSUED_S)
        world.begin()
        self.assertEqual((world.time.quality, world.clock.source), (CLOCK_HELD, "battery"))


class Battery(unittest.TestCase):
    def test_it_is_set_by_the_first_answer_and_compared_once_a_day(self):
        world = World(has_rtc=True)
        self.assertIsNone(world.rtc.read())
        world.run(1)
        self.assertLessEqual(abs(world.rtc.read() - world.true_ms // 1000), 1)
        writes = world.chip.transfers
        world.run(22)
        self.assertEqual(world.chip.transfers, writes)
        # It is right, so it is not written again.
        world.run(48)
        self.assertLessEqual(world.chip.transfers, writes + 3)

    def test_it_is_set_as_a_second_begins(self):
        world = World(has_rtc=True)
        world.true_ms += 700
        world.run(1)
        self.assertLess(world.chip.second_ns // 1_000_000 % 1000, 20)

    def test_one_that_goes_wrong_is_set_again(self):
        world = World(has_rtc=True)
        world.run(1)
        world.rtc.write(world.true_ms // 1000 - 5)
        world.run(25)
        self.assertLessEqual(abs(world.rtc.read() - world.true_ms // 1000), 1)

    def test_after_a_restart_without_a_network_the_door_holds_the_chip_s_time(self):
        world = World(skew_ppm=150, has_rtc=True)
        world.rtc.write(NOW_S)
        world.time = WallTime(world.ticks, world.rtc.read(), CLOCK_HELD)
        world.network.is_silent = True
        world.run(14 * 24)
        self.assertEqual(world.time.quality, CLOCK_HELD)
        self.assertLess(abs(world.off_ms()), 3000)
        self.assertEqual(world.settings, [])

    def test_without_a_time_server_too(self):
        class Bare(Config):
            ntp_host = ""

        world = World(CLOCK_HELD, skew_ppm=-150, has_rtc=True)
        world.rtc.write(NOW_S)
        world.begin(Bare)
        self.assertFalse(world.run(7 * 24))
        self.assertLess(abs(world.off_ms()), 3000)

    def test_a_chip_that_jumps_is_not_followed(self):
        for jump_s in (3600, -3600, -20 * 365 * DAY_S):
            world = World(CLOCK_HELD, has_rtc=True)
            world.rtc.write(NOW_S + jump_s)
            world.network.is_silent = True
            world.run(5)
            self.assertEqual(world.off_ms(), 0)

    def test_a_chip_that_is_not_there_or_stuck_costs_nothing(self):
        for is_stuck in (False, True):
            world = World(has_rtc=True)
            world.chip.is_there = False
            world.chip.is_stuck = is_stuck
            world.run(30)
            self.assertEqual(world.time.quality, CLOCK_SYNCED)
            self.assertLessEqual(world.chip.transfers, 8)


class Limits(unittest.TestCase):
    def test_the_bound_follows_the_objects(self):
        world = World(CLOCK_SYNCED)
        world.run(1)
        world.earliest_s = NOW_S + 10 * DAY_S
        world.run(30)
        self.assertEqual(world.time.quality, CLOCK_HELD)
        self.assertIn("cannot be", world.clock.fault)
