"""The DS3231: driver and model, which count the days each in their own way."""

import unittest

from doorward.hal.ds3231 import Ds3231
from sim.clock import SimClock
from sim.ds3231 import Ds3231 as Model
from sim.ds3231 import PowerCut

DAY_S = 86_400
# 2026-09-21 14:13:20, a Monday.
NOW_S = 1_790_000_000
FIRST_S = 946_684_800  # 2000-01-01
LAST_S = 7_258_118_399  # 2199-12-31 23:59:59
# Of well-known moments: their registers 00h to 06h.
KNOWN = (
    (FIRST_S, "00000007010100"),
    (951_782_400, "00000003290200"),  # 2000-02-29, a Tuesday, and no day lost before it
    (NOW_S, "20131402210926"),
    (1_709_251_199, "59592305290224"),  # 2024-02-29
    (4_102_444_799, "59592305311299"),  # 2099-12-31
    (4_102_444_800, "00000006018100"),  # 2100-01-01: the century bit
    (4_107_542_400, "00000002018300"),  # 2100-03-01: no leap year
    (LAST_S, "59592303319299"),
)


class Chip(unittest.TestCase):
    def setUp(self):
        self.clock = SimClock()
        self.model = Model(self.clock)
        self.rtc = Ds3231(self.model)

    def fields(self):
        return bytes(self.model.registers[:7]).hex()

    def test_a_new_chip_does_not_know(self):
        self.assertIsNone(self.rtc.read())

    def test_known_moments(self):
        for seconds, registers in KNOWN:
            with self.subTest(seconds=seconds):
                self.rtc.write(seconds)
                self.assertEqual(self.fields()[:6], registers[:6])
                self.assertEqual(self.fields()[8:], registers[8:])
                self.assertEqual(self.rtc.read(), seconds)
                self.assertIn(self.model.registers[3], range(1, 8))

    def test_it_goes_on_by_itself(self):
        for start_s in (FIRST_S, NOW_S, 1_709_164_790, 4_102_358_401):
            self.rtc.write(start_s)
            passed_s = 0
            for step_s in (1, 59, 3600, DAY_S, 30 * DAY_S, 400 * DAY_S):
                self.clock.advance_ns(step_s * 1_000_000_000)
                passed_s += step_s
                if start_s + passed_s < 4_107_542_400:  # the chip takes 2100 for a leap year
                    self.assertEqual(self.rtc.read(), start_s + passed_s)

    def test_every_day_of_a_century(self):
        self.rtc.write(FIRST_S)
        for day in range(1, 36_525, 7):
            self.clock.now_ns = day * DAY_S * 1_000_000_000
            self.assertEqual(self.rtc.read(), FIRST_S + day * DAY_S)

    def test_writing_begins_a_second(self):
        self.clock.advance_ms(700)
        self.rtc.write(NOW_S)
        self.clock.advance_ms(999)
        self.assertEqual(self.rtc.read(), NOW_S)
        self.clock.advance_ms(1)
        self.assertEqual(self.rtc.read(), NOW_S + 1)

    def test_an_oscillator_that_stood_still_knows_nothing(self):
        self.rtc.write(NOW_S)
        self.model.registers[0x0F] |= 0x80
        self.assertIsNone(self.rtc.read())
        self.rtc.write(NOW_S)
        self.assertEqual(self.rtc.read(), NOW_S)
        self.model.lose_battery()
        self.assertIsNone(self.rtc.read())

    def test_an_oscillator_that_stands_still_on_the_battery_is_started(self):
        self.model.registers[0x0E] |= 0x80
        self.rtc.write(NOW_S)
        self.assertEqual(self.model.registers[0x0E], 0x1C)
        self.model.registers[0x0E] |= 0x80
        self.assertIsNone(self.rtc.read())

    def test_registers_that_hold_no_time_are_refused(self):
        wrong = {
            0: (0x60, 0x5A, 0xFF, 0xA0),
            1: (0x60, 0x0F),
            2: (0x24, 0x1A, 0x52, 0x72),  # 12 hours among them
            4: (0x00, 0x31, 0x3A, 0xFF),  # September has 30 days
            5: (0x00, 0x13, 0x1A, 0x80, 0x93),
            6: (0x9A, 0xA0, 0xFF),
        }
        for register, values in wrong.items():
            for value in values:
                with self.subTest(register=register, value=value):
                    self.rtc.write(NOW_S)
                    self.model.registers[register] = value
                    self.assertIsNone(self.rtc.read())
        for year, is_leap in ((0x26, False), (0x28, True)):
            self.rtc.write(NOW_S)
            self.model.registers[4:7] = bytes((0x29, 0x02, year))
            self.assertEqual(self.rtc.read() is not None, is_leap)
        # A bus that reads as all ones, or all zeros, has no chip on it.
        for byte in (0x00, 0xFF):
            self.model.registers[:] = bytes([byte]) * len(self.model.registers)
            self.assertIsNone(self.rtc.read())

    def test_a_chip_that_is_not_there_raises_nothing(self):
        self.rtc.write(NOW_S)
        for is_stuck in (False, True):
            self.model.is_there = False
            self.model.is_stuck = is_stuck
            self.assertIsNone(self.rtc.read())
            self.rtc.write(NOW_S)
        self.model.is_there = True
        self.model.is_stuck = False
        self.assertEqual(self.rtc.read(), NOW_S)

    def test_the_power_is_cut_at_every_byte_of_setting_it(self):
        """The old time, the new one or none: never one made of both."""
        old_s = 1_767_225_599  # 2025-12-31 23:59:59: every field differs from the next second's
        for new_s in (old_s + 1, NOW_S, FIRST_S):
            seen = set()
            cuts = 0
            while True:
                self.model.fail_after = None
                self.rtc.write(old_s)
                self.model.fail_after = cuts
                try:
                    self.rtc.write(new_s)
                except PowerCut:
                    found = self.rtc.read()
                    self.assertIn(found, (None, old_s, new_s))
                    seen.add(found)
                    cuts += 1
                    continue
                break
            self.assertGreaterEqual(cuts, 9)
            self.assertIn(None, seen)
            self.assertEqual(self.rtc.read(), new_s)


class ModelTest(unittest.TestCase):
    def test_twelve_hours(self):
        clock = SimClock()
        model = Model(clock)
        model.writeto_mem(0x68, 0x0F, b"\x08")
        model.writeto_mem(0x68, 0, b"\x59\x59\x51\x01\x01\x01\x26")  # 11:59:59 AM
        for expected in (0x72, 0x61, 0x62):
            clock.advance_ns(1_000_000_000 if expected == 0x72 else 3_600_000_000_000)
            got = bytearray(1)
            model.readfrom_mem_into(0x68, 2, got)
            self.assertEqual(got[0], expected)

    def test_the_stop_flag_can_only_be_cleared(self):
        model = Model(SimClock())
        self.assertTrue(model.registers[0x0F] & 0x80)
        model.writeto_mem(0x68, 0x0F, b"\x00")
        model.writeto_mem(0x68, 0x0F, b"\x88")
        self.assertEqual(model.registers[0x0F], 0x08)

    def test_nobody_else_answers(self):
        with self.assertRaises(OSError):
            Model(SimClock()).readfrom_mem_into(0x69, 0, bytearray(1))
