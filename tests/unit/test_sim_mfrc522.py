"""The MFRC522 model register by register, against the figures of its data sheet."""

import unittest

from sim import cards
from sim import mfrc522 as chip
from sim.cards import Card, ClassicCard
from sim.clock import SimClock
from sim.field import RfField
from sim.iso14443a import bcc, with_crc
from sim.spi import IrqPin, SpiBus, chip_select_pin, reset_pin

UID4 = b"\xde\xad\xbe\xef"
UID7 = b"\x04\xa3\xc6\x12\x34\x56\x80"
MS = 1_000_000


class ChipTest(unittest.TestCase):
    """A chip with its antenna on, 1 ms of timer, and ways to talk to it."""

    def setUp(self) -> None:
        self.start()

    def start(self, *some_cards: Card, version: int = chip.VERSION_2_0) -> None:
        self.clock = SimClock(1 * MS)
        self.field = RfField()
        self.chip = chip.Mfrc522(self.field, self.clock, version)
        for card in some_cards:
            self.field.enter(card, 0)

    def write(self, register: int, *values: int) -> None:
        for value in values:
            self.chip.write_register(register, value)

    def read(self, register: int) -> int:
        return self.chip.read_register(register)

    def antenna_on(self) -> None:
        self.write(chip.TX_ASK, 0x40)
        self.write(chip.MODE, 0x3D)
        self.write(chip.T_MODE, 0x80)
        self.write(chip.T_PRESCALER, 0xA9)
        self.write(chip.T_RELOAD_H, 0x00)
        self.write(chip.T_RELOAD_L, 40)
        self.write(chip.TX_CONTROL, 0x83)
        self.clock.advance_ms(5)

    def send(self, data: bytes, framing: int = 0) -> None:
        self.write(chip.COMMAND, chip.CMD_IDLE)
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.FIFO_LEVEL, 0x80)
        self.write(chip.FIFO_DATA, *data)
        self.write(chip.COMMAND, chip.CMD_TRANSCEIVE)
        self.write(chip.BIT_FRAMING, 0x80 | framing)

    def take(self) -> bytes:
        return bytes(self.read(chip.FIFO_DATA) for _ in range(self.read(chip.FIFO_LEVEL)))

    def exchange(self, data: bytes, framing: int = 0) -> bytes:
        self.send(data, framing)
        self.clock.advance_ms(4)
        return self.take()

    def select_card(self, uid: bytes = UID4) -> None:
        self.exchange(b"\x52", 7)
        sak = self.exchange(with_crc(b"\x93\x70" + uid + bytes((bcc(uid),))))
        self.assertEqual(len(sak), 3)

    def check_irq(self, mask: int, value: int) -> None:
        self.assertEqual(self.read(chip.COM_IRQ) & mask, value)

    # The bus

    def test_spi_bursts(self) -> None:
        select = chip_select_pin(self.chip)
        spi = SpiBus(self.chip)
        select(0)
        # Addresses 37h, 06h, 07h in one stream, then 00h: data comes one byte late.
        into = bytearray(4)
        spi.write_readinto(b"\xee\x8c\x8e\x00", into)
        select(1)
        self.assertEqual(bytes(into), b"\x00\x92\x00\x21")
        select(0)
        spi.write(b"\x12\x01\x02\x03")  # one address, then all data to it
        select(1)
        select.off()
        spi.write(b"\x94")
        self.assertEqual(spi.read(1), b"\x03")
        select.on()
        select(0)
        self.assertEqual(spi.read(4, 0x92), b"\x00\x01\x02\x03")
        select(1)
        self.assertEqual(self.read(chip.FIFO_LEVEL), 0)

    def test_a_read_that_is_never_clocked_out_takes_nothing(self) -> None:
        self.write(chip.FIFO_DATA, 5)
        self.chip.select()
        self.chip.transfer(0x92)
        self.chip.deselect()
        self.assertEqual(self.read(chip.FIFO_LEVEL), 1)

    def test_a_write_address_ends_a_read_burst(self) -> None:
        self.write(chip.FIFO_DATA, 1, 2, 3)
        self.chip.select()
        self.assertEqual([self.chip.transfer(v) for v in (0x92, 0x12, 0x00)], [0, 1, 0])
        self.chip.deselect()
        self.assertEqual(self.read(chip.FIFO_LEVEL), 2)

    def test_deselected_chip_is_silent(self) -> None:
        self.assertEqual(self.chip.transfer(0xEE), 0xFF)
        self.chip.select()
        self.chip.transfer(0x22)
        self.chip.deselect()
        self.chip.transfer(0x00)
        self.assertEqual(self.read(chip.MODE), 0x3F)

    def test_unplugged(self) -> None:
        for value in (0x00, 0xFF):
            self.chip.unplugged = value
            self.chip.select()
            self.assertEqual([self.chip.transfer(0xEE), self.chip.transfer(0)], [value] * 2)
            self.chip.deselect()
        self.chip.unplugged = None
        self.assertEqual(self.read(chip.VERSION), 0x92)

    def test_read_noise(self) -> None:
        self.chip.read_noise = 0.5
        good = [self.read(chip.VERSION) for _ in range(200)].count(0x92)
        self.assertTrue(60 < good < 140)

    # Reset

    def test_reset_values(self) -> None:
        # Section 9.3, one line per register.
        for register, value in (
            (0x01, 0x20),
            (0x02, 0x80),
            (0x03, 0x00),
            (0x04, 0x14),
            (0x06, 0x00),
            (0x07, 0x21),
            (0x08, 0x00),
            (0x0A, 0x00),
            (0x0B, 0x08),
            (0x0C, 0x10),
            (0x0D, 0x00),
            (0x11, 0x3F),
            (0x12, 0x00),
            (0x13, 0x00),
            (0x14, 0x80),
            (0x15, 0x00),
            (0x16, 0x10),
            (0x17, 0x84),
            (0x18, 0x84),
            (0x19, 0x4D),
            (0x1C, 0x62),
            (0x1D, 0x00),
            (0x1F, 0xEB),
            (0x21, 0xFF),
            (0x22, 0xFF),
            (0x24, 0x26),
            (0x26, 0x48),
            (0x27, 0x88),
            (0x28, 0x20),
            (0x29, 0x20),
            (0x2A, 0x00),
            (0x2B, 0x00),
            (0x2C, 0x00),
            (0x2D, 0x00),
            (0x33, 0x80),
            (0x36, 0x40),
            (0x37, 0x92),
        ):
            self.assertEqual((register, self.read(register)), (register, value))
        self.assertEqual(self.chip.gain_db, 33)

    def test_soft_reset(self) -> None:
        self.antenna_on()
        self.write(chip.COMMAND, chip.CMD_SOFT_RESET)
        self.assertEqual(self.read(chip.COMMAND), 0x30)
        self.clock.advance_us(38)
        self.assertEqual(self.read(chip.COMMAND), 0x20)
        self.assertEqual(self.read(chip.TX_CONTROL), 0x80)
        self.assertFalse(self.field.is_on)

    def test_reset_pin(self) -> None:
        pin = reset_pin(self.chip)
        self.antenna_on()
        pin(0)
        self.assertFalse(self.field.is_on)
        self.chip.select()
        self.chip.transfer(0xEE)
        self.assertEqual(self.chip.transfer(0), 0x00)
        self.chip.deselect()
        pin(1)
        self.assertEqual(self.read(chip.COMMAND), 0x30)
        self.clock.advance_us(38)
        self.assertEqual(self.read(chip.COMMAND), 0x20)

    def test_soft_power_down(self) -> None:
        self.antenna_on()
        self.write(chip.COMMAND, 0x10 | chip.CMD_NO_CHANGE)
        self.assertFalse(self.field.is_on)
        self.assertEqual(self.read(chip.T_RELOAD_L), 40)
        self.write(chip.COMMAND, chip.CMD_IDLE)
        self.assertEqual(self.read(chip.COMMAND), 0x10)
        self.assertTrue(self.field.is_on)
        self.clock.advance_us(37)
        self.assertEqual(self.read(chip.COMMAND), 0x10)
        self.clock.advance_us(1)
        self.assertEqual(self.read(chip.COMMAND), 0x00)

    def test_versions(self) -> None:
        for version in (chip.VERSION_1_0, chip.VERSION_FM17522, chip.VERSION_FAKE):
            self.start(version=version)
            self.write(chip.VERSION, 0x55)
            self.assertEqual(self.read(chip.VERSION), version)

    # Interrupts

    def test_set_and_clear_bits(self) -> None:
        self.write(chip.COM_IRQ, 0x7F)
        self.check_irq(0xFF, 0x00)
        self.write(chip.COM_IRQ, 0x80 | 0x21)
        self.check_irq(0xFF, 0x21)
        self.write(chip.COM_IRQ, 0x01)
        self.check_irq(0xFF, 0x20)
        self.write(chip.DIV_IRQ, 0x84)
        self.assertEqual(self.read(chip.DIV_IRQ), 0x04)
        self.write(chip.DIV_IRQ, 0x04)
        self.assertEqual(self.read(chip.DIV_IRQ), 0x00)

    def test_irq_pin(self) -> None:
        pin = IrqPin(self.chip)
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.COM_IEN, 0x80 | chip.IRQ_TIMER)  # inverted: low means a request
        self.assertEqual(pin(), 1)
        self.write(chip.COM_IRQ, 0x80 | chip.IRQ_RX)
        self.assertEqual(pin(), 1)
        self.write(chip.COM_IRQ, 0x80 | chip.IRQ_TIMER)
        self.assertEqual(pin(), 0)
        self.assertEqual(self.read(chip.STATUS1) & 0x10, 0x10)
        self.write(chip.COM_IEN, chip.IRQ_TIMER)
        self.assertEqual(pin(), 1)
        self.write(chip.COM_IRQ, 0x7F)
        self.assertEqual(pin(), 0)
        self.write(chip.DIV_IEN, 0x80 | chip.IRQ_CRC)
        self.write(chip.DIV_IRQ, 0x80 | chip.IRQ_CRC)
        self.assertEqual(pin(), 1)

    def test_written_idle_is_not_an_interrupt_but_an_ended_command_is(self) -> None:
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.COMMAND, chip.CMD_TRANSCEIVE)
        self.write(chip.COMMAND, chip.CMD_IDLE)
        self.check_irq(chip.IRQ_IDLE, 0)
        self.write(chip.COMMAND, chip.CMD_RANDOM_ID)
        self.check_irq(chip.IRQ_IDLE, chip.IRQ_IDLE)

    def test_unknown_command_ends_in_idle(self) -> None:
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.COMMAND, 0x05)
        self.assertEqual(self.read(chip.COMMAND), 0x00)
        self.check_irq(chip.IRQ_IDLE, chip.IRQ_IDLE)

    # FIFO

    def test_fifo_is_a_ring_of_64(self) -> None:
        for start in range(3):
            self.write(chip.FIFO_DATA, *range(50))
            self.assertEqual(self.take(), bytes(range(50)), start)
        self.write(chip.FIFO_DATA, *range(64))
        self.assertEqual(self.read(chip.FIFO_LEVEL), 64)
        self.assertEqual(self.read(chip.ERROR), 0)

    def test_overflow_is_cleared_by_a_flush_only(self) -> None:
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.FIFO_DATA, *range(65))
        self.assertEqual(self.read(chip.ERROR), chip.ERR_BUFFER_OVFL)
        self.check_irq(chip.IRQ_ERR, chip.IRQ_ERR)
        self.write(chip.COMMAND, chip.CMD_IDLE)
        self.assertEqual(self.read(chip.ERROR), chip.ERR_BUFFER_OVFL)
        self.write(chip.FIFO_LEVEL, 0x80)
        self.assertEqual((self.read(chip.ERROR), self.read(chip.FIFO_LEVEL)), (0, 0))

    def test_water_levels(self) -> None:
        self.write(chip.WATER_LEVEL, 8)
        self.write(chip.FIFO_DATA, *range(9))
        self.write(chip.COM_IRQ, 0x7F)
        self.assertEqual(self.read(chip.STATUS1) & 0x03, 0)
        self.write(chip.FIFO_DATA, *range(46))
        self.check_irq(0x0C, 0)
        self.write(chip.FIFO_DATA, 0)
        self.assertEqual(self.read(chip.STATUS1) & 0x03, 0x02)
        self.check_irq(0x0C, chip.IRQ_HI_ALERT)
        while self.read(chip.FIFO_LEVEL) > 8:
            self.read(chip.FIFO_DATA)
        self.assertEqual(self.read(chip.STATUS1) & 0x03, 0x01)
        self.check_irq(0x0C, 0x0C)

    def test_memory_and_random_id(self) -> None:
        self.write(chip.FIFO_DATA, *range(1, 26))
        self.write(chip.COMMAND, chip.CMD_MEM)
        self.assertEqual(self.read(chip.FIFO_LEVEL), 0)
        self.write(chip.COMMAND, chip.CMD_SOFT_RESET)  # the buffer survives
        self.write(chip.COMMAND, chip.CMD_MEM)
        self.assertEqual(self.take(), bytes(range(1, 26)))
        self.write(chip.COMMAND, chip.CMD_RANDOM_ID)
        self.write(chip.COMMAND, chip.CMD_MEM)
        data = self.take()
        self.assertEqual(data[10:], bytes(range(11, 26)))
        self.assertFalse(data[:10] == bytes(range(1, 11)))

    # CRC coprocessor and self-test

    def calc_crc(self, data: bytes) -> int:
        self.write(chip.DIV_IRQ, 0x04)
        self.write(chip.FIFO_DATA, *data)
        self.write(chip.COMMAND, chip.CMD_CALC_CRC)
        self.clock.advance_us(100)
        self.assertEqual(self.read(chip.DIV_IRQ), chip.IRQ_CRC)
        self.write(chip.COMMAND, chip.CMD_IDLE)
        return self.read(chip.CRC_RESULT_H) << 8 | self.read(chip.CRC_RESULT_L)

    def test_crc_presets(self) -> None:
        self.write(chip.MODE, 0x3D)
        self.assertEqual(self.calc_crc(b"\x12\x34"), 0xCF26)  # ISO 14443-3 Annex B, CRC_A
        self.write(chip.MODE, 0x3F)
        # CRC_B is this one's complement: 0A 12 34 56 gives 2C F6 in the same annex.
        self.assertEqual(self.calc_crc(b"\x0a\x12\x34\x56") ^ 0xFFFF, 0xF62C)

    def test_crc_with_msb_first(self) -> None:
        self.write(chip.MODE, 0xBD)
        self.assertEqual(self.calc_crc(b"\x12\x34"), 0x64F3)  # CF26h, its bits turned round

    def test_crc_takes_its_time(self) -> None:
        self.write(chip.FIFO_DATA, *range(7))
        self.write(chip.COMMAND, chip.CMD_CALC_CRC)
        self.assertEqual(self.read(chip.STATUS1) & 0x20, 0)
        self.assertEqual(self.read(chip.DIV_IRQ), 0)
        self.clock.advance_us(5)
        self.assertEqual(self.read(chip.STATUS1) & 0x20, 0x20)

    def test_crc_started_before_it_is_fed(self) -> None:
        self.write(chip.MODE, 0x3D)
        self.write(chip.COMMAND, chip.CMD_CALC_CRC)
        for value in b"\x12\x34":
            self.write(chip.FIFO_DATA, value)
            self.clock.advance_us(10)
        self.assertEqual(self.read(chip.CRC_RESULT_L), 0x26)
        self.assertEqual(self.read(chip.CRC_RESULT_H), 0xCF)

    def self_test(self, first: int = 0) -> bytes:
        self.write(chip.COMMAND, chip.CMD_SOFT_RESET)
        self.write(chip.FIFO_DATA, first, *bytes(24))
        self.write(chip.COMMAND, chip.CMD_MEM)
        self.write(chip.AUTO_TEST, 0x09)
        self.write(chip.FIFO_DATA, 0)
        self.write(chip.COMMAND, chip.CMD_CALC_CRC)
        self.clock.advance_ms(1)
        self.assertEqual(self.read(chip.FIFO_LEVEL), 64)
        return self.take()

    def test_self_test(self) -> None:
        # Section 16.1.1
        for version, first, last in (
            (chip.VERSION_1_0, b"\x00\xc6\x37\xd5", b"\x25\x1d\x29\x79"),
            (chip.VERSION_2_0, b"\x00\xeb\x66\xba", b"\x7d\x95\x3b\x2f"),
            (chip.VERSION_FM17522, b"\x00\xd6\x78\x8c", b"\x26\xea\x2a\x62"),
        ):
            self.start(version=version)
            result = self.self_test()
            self.assertEqual((len(result), result[:4], result[-4:]), (64, first, last))

    def test_self_test_needs_a_cleared_buffer(self) -> None:
        self.assertFalse(self.self_test(1)[:4] == b"\x00\xeb\x66\xba")

    def test_counterfeit_fails_the_self_test(self) -> None:
        self.start(version=chip.VERSION_FAKE)
        self.assertFalse(self.self_test()[:2] in (b"\x00\xc6", b"\x00\xeb", b"\x00\xd6"))

    def test_chip_is_useless_after_the_self_test_until_reset(self) -> None:
        self.start(Card(UID4))
        self.self_test()
        self.antenna_on()
        self.assertEqual(self.exchange(b"\x52", 7), b"")
        self.write(chip.COMMAND, chip.CMD_SOFT_RESET)
        self.antenna_on()
        self.assertEqual(self.exchange(b"\x52", 7), b"\x04\x00")

    # Timer

    def check_timer(self, prescaler: int, reload: int, ms: float) -> None:
        self.write(chip.T_MODE, prescaler >> 8)
        self.write(chip.T_PRESCALER, prescaler & 0xFF)
        self.write(chip.T_RELOAD_H, reload >> 8)
        self.write(chip.T_RELOAD_L, reload & 0xFF)
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.CONTROL, 0x40)
        self.assertEqual(self.read(chip.STATUS1) & 0x08, 0x08)
        self.clock.advance_ns(int((ms - 0.05) * MS))
        self.check_irq(chip.IRQ_TIMER, 0)
        self.clock.advance_ns(100_000)
        self.check_irq(chip.IRQ_TIMER, chip.IRQ_TIMER)
        self.assertEqual(self.read(chip.STATUS1) & 0x08, 0)
        self.assertEqual(self.read(chip.T_COUNTER_L), 0)

    def test_published_timer_settings(self) -> None:
        self.check_timer(0x0A9, 1000, 25.02)
        self.check_timer(0xD3E, 30, 15.5)
        self.check_timer(0xD3E, 600, 300.5)
        self.check_timer(0xD3E, 1000, 500.6)

    def test_even_prescaler_is_for_version_2_only(self) -> None:
        self.write(chip.DEMOD, 0x4D | 0x10)
        self.check_timer(0, 0xFFFF, 65536 * 2 / 13560)
        self.start(version=chip.VERSION_1_0)
        self.write(chip.DEMOD, 0x4D | 0x10)
        self.check_timer(0, 0xFFFF, 65536 / 13560)

    def test_counter_runs_down_and_stops(self) -> None:
        self.write(chip.T_PRESCALER, 0xA9)  # 25 us
        self.write(chip.T_RELOAD_H, 0x01)
        self.write(chip.CONTROL, 0x40)
        self.clock.advance_us(25 * 16 + 10)
        self.assertEqual(self.read(chip.T_COUNTER_L), 0xF0)
        self.assertEqual(self.read(chip.T_COUNTER_H), 0x00)
        self.write(chip.CONTROL, 0x80)
        self.clock.advance_ms(100)
        self.assertEqual(self.read(chip.T_COUNTER_L), 0xF0)
        self.check_irq(chip.IRQ_TIMER, 0)

    def test_auto_restart(self) -> None:
        self.write(chip.T_MODE, 0x10)
        self.write(chip.T_PRESCALER, 0xA9)
        self.write(chip.T_RELOAD_L, 39)
        self.write(chip.CONTROL, 0x40)
        for _ in range(3):
            self.clock.advance_ms(1)
            self.clock.advance_us(10)
            self.check_irq(chip.IRQ_TIMER, chip.IRQ_TIMER)
            self.write(chip.COM_IRQ, 0x7F)
            self.check_irq(chip.IRQ_TIMER, 0)

    # Radio

    def test_request_step_by_step(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.send(b"\x26", 7)
        self.assertEqual(self.read(chip.STATUS2) & 7, 3)  # transmitting
        self.clock.advance_us(75)
        self.check_irq(0x61, 0)
        self.clock.advance_us(1)  # 8 etu = 75.5 us
        self.check_irq(0x61, chip.IRQ_TX)
        self.assertEqual(self.read(chip.STATUS2) & 7, 4)  # the receiver waits
        self.assertEqual(self.read(chip.STATUS1) & 0x08, 0x08)
        self.clock.advance_us(86 + 38)  # FDT and four bits
        self.assertEqual(self.read(chip.STATUS1) & 0x08, 0x08)
        self.clock.advance_us(10)  # the fifth
        self.assertEqual(self.read(chip.STATUS2) & 7, 6)  # receiving
        self.assertEqual(self.read(chip.STATUS1) & 0x08, 0)  # the timer stopped
        self.assertEqual(self.read(chip.FIFO_LEVEL), 0)
        self.clock.advance_us(48)
        self.assertEqual(self.read(chip.FIFO_LEVEL), 1)
        self.clock.advance_us(85)
        self.assertEqual(self.read(chip.FIFO_LEVEL), 2)
        self.check_irq(0x61, chip.IRQ_TX)
        self.clock.advance_us(10)  # end of frame
        self.check_irq(0x61, chip.IRQ_TX | chip.IRQ_RX)
        self.assertEqual(self.take(), b"\x04\x00")
        self.assertEqual(self.read(chip.COMMAND) & 0x0F, chip.CMD_TRANSCEIVE)
        self.assertEqual(self.read(chip.STATUS2) & 7, 1)  # waits for StartSend

    def test_next_event_leads_to_the_interrupt(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.assertIsNone(self.chip.next_event_ns())
        self.write(chip.COM_IEN, chip.IRQ_RX)
        self.send(b"\x26", 7)
        begin = self.clock()
        steps = 0
        while not self.chip.irq:
            self.clock.now_ns = self.chip.next_event_ns()
            steps += 1
        self.assertTrue(340_000 < self.clock() - begin < 356_000)
        self.assertLessEqual(steps, 10)
        self.assertIsNone(self.chip.next_event_ns())

    def test_timeout_does_not_end_the_command(self) -> None:
        self.antenna_on()
        self.send(b"\x26", 7)
        self.clock.advance_ms(1)
        self.clock.advance_us(70)
        self.check_irq(0x71, chip.IRQ_TX)
        self.clock.advance_us(50)
        self.check_irq(0x71, chip.IRQ_TX | chip.IRQ_TIMER)
        self.assertEqual(self.read(chip.COMMAND) & 0x0F, chip.CMD_TRANSCEIVE)

    def test_fifo_write_while_waiting_for_an_answer_is_an_error(self) -> None:
        self.antenna_on()
        self.exchange(b"\x26", 7)
        self.write(chip.FIFO_DATA, 1)
        self.assertEqual(self.read(chip.ERROR), chip.ERR_WR)
        self.assertEqual(self.read(chip.FIFO_LEVEL), 1)
        self.write(chip.COMMAND, chip.CMD_TRANSCEIVE)
        self.assertEqual(self.read(chip.ERROR), 0)
        self.assertEqual(self.read(chip.FIFO_LEVEL), 1)

    def test_start_send_is_for_one_frame(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.assertEqual(self.exchange(b"\x26", 7), b"\x04\x00")
        self.assertEqual(self.read(chip.BIT_FRAMING), 7)
        self.write(chip.COMMAND, chip.CMD_IDLE)
        self.write(chip.FIFO_DATA, 0x93, 0x20)
        self.write(chip.COMMAND, chip.CMD_TRANSCEIVE)
        self.clock.advance_us(300)  # a slow bus: longer than the frame
        self.assertEqual(self.read(chip.STATUS2) & 7, 1)
        self.write(chip.BIT_FRAMING, 0x80)
        self.clock.advance_ms(1)
        self.assertEqual(self.take(), UID4 + bytes((bcc(UID4),)))

    def test_start_send_may_come_before_the_command(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.write(chip.FIFO_DATA, 0x26)
        self.write(chip.BIT_FRAMING, 0x87)
        self.write(chip.COMMAND, chip.CMD_TRANSCEIVE)
        self.clock.advance_ms(1)
        self.assertEqual(self.take(), b"\x04\x00")

    def test_fifo_may_be_filled_while_sending(self) -> None:
        heard = []

        class Listener(Card):
            def receive(self, frame, bit_count, is_sound=True, is_enciphered=False):
                heard.append((bytes(frame), bit_count))

        self.start(Listener(UID4))
        self.antenna_on()
        self.send(bytes(range(64)))
        self.clock.advance_ms(2)
        self.write(chip.FIFO_DATA, *range(64, 80))
        self.clock.advance_ms(10)
        self.read(chip.ERROR)
        self.assertEqual(heard, [(bytes(range(80)), 640)])

    def test_transmit_then_receive(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.write(chip.BIT_FRAMING, 7)
        self.write(chip.FIFO_DATA, 0x26)
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.COMMAND, chip.CMD_TRANSMIT)
        self.clock.advance_us(80)
        self.check_irq(0x70, chip.IRQ_TX | chip.IRQ_IDLE)
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.COMMAND, chip.CMD_RECEIVE)
        self.clock.advance_ms(1)
        self.check_irq(0x70, chip.IRQ_RX | chip.IRQ_IDLE)
        self.assertEqual(self.take(), b"\x04\x00")

    def test_commands_break_off_a_reception(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.send(b"\x26", 7)
        self.clock.advance_us(200)
        self.write(chip.COMMAND, chip.CMD_IDLE)
        self.clock.advance_ms(1)
        self.check_irq(chip.IRQ_RX, 0)

    def test_a_misconfigured_transmitter_is_not_heard(self) -> None:
        for register, value in (
            (chip.TX_ASK, 0x00),  # no 100 % ASK
            (chip.TX_CONTROL, 0x80),  # antenna off
            (chip.TX_MODE, 0x10),  # 212 kbit/s
            (chip.RX_MODE, 0x10),
        ):
            self.start(Card(UID4))
            self.antenna_on()
            self.write(register, value)
            self.assertEqual(self.exchange(b"\x52", 7), b"")
            self.check_irq(chip.IRQ_RX, 0)

    def test_receiver_off(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.write(chip.FIFO_DATA, 0x52)
        self.write(chip.COMMAND, 0x20 | chip.CMD_TRANSCEIVE)
        self.write(chip.BIT_FRAMING, 0x87)
        self.clock.advance_ms(2)
        self.check_irq(0x60, chip.IRQ_TX)

    def test_deaf_until_soft_reset(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.chip.is_deaf = True
        self.assertEqual(self.exchange(b"\x52", 7), b"")
        self.write(chip.COMMAND, chip.CMD_SOFT_RESET)
        self.antenna_on()
        self.assertEqual(self.exchange(b"\x52", 7), b"\x04\x00")

    def test_brown_out_loses_the_antenna_silently(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.chip.brown_out()
        self.assertEqual(self.read(chip.TX_CONTROL) & 0x03, 0)
        self.assertEqual(self.exchange(b"\x52", 7), b"")

    def test_gain(self) -> None:
        card = Card(UID4)
        card.needs_gain_db = 43
        self.start(card)
        self.antenna_on()
        self.assertEqual(self.exchange(b"\x52", 7), b"")
        self.write(chip.RF_CFG, 0x68)
        self.assertEqual(self.chip.gain_db, 43)
        self.exchange(b"\x52", 7)
        self.assertEqual(self.exchange(b"\x52", 7), b"\x04\x00")

    def test_guard_time_before_the_next_frame(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.send(b"\x26", 7)
        self.clock.advance_us(352)
        self.assertEqual(self.take(), b"\x04\x00")
        # TxWait: 7 + 2 bits after the answer, though the host is quicker.
        self.send(b"\x93\x20")
        self.clock.advance_us(9 * 9 + 19 * 9)
        self.check_irq(chip.IRQ_TX, 0)
        self.clock.advance_us(30)
        self.check_irq(chip.IRQ_TX, chip.IRQ_TX)

    # Errors

    def test_collision_register(self) -> None:
        for other, coll, kept, cleared in (
            (b"\x01\x50\x00\x00", 0x0F, 0x50, 0x10),
            (b"\x00\x10\x00\x00", 0x01, 0x10, 0x00),
            (b"\x01\x10\x00\x80", 0x00, 0x10, 0x10),  # 0 means bit 32
        ):
            for values_after in (0x80, 0x00):
                self.start(Card(b"\x01\x10\x00\x00"), Card(other))
                self.antenna_on()
                self.write(chip.COLL, values_after)
                self.exchange(b"\x26", 7)
                self.assertEqual(self.read(chip.COLL), values_after | 0x20)
                data = self.exchange(b"\x93\x20")
                self.assertEqual(self.read(chip.ERROR), chip.ERR_COLL)
                self.assertEqual(self.read(chip.COLL), values_after | coll)
                self.assertEqual(data[1], kept if values_after else cleared)
                self.check_irq(chip.IRQ_RX | chip.IRQ_ERR, chip.IRQ_RX | chip.IRQ_ERR)

    def test_errors_belong_to_one_frame(self) -> None:
        self.start(Card(b"\x01\x10\x00\x00"), Card(b"\x01\x50\x00\x00"))
        self.antenna_on()
        self.exchange(b"\x26", 7)
        self.exchange(b"\x93\x20")
        self.assertEqual(self.read(chip.ERROR), chip.ERR_COLL)
        # Transceive is still active: StartSend alone sends the next frame.
        self.write(chip.FIFO_DATA, 0x93, 0x27, 0x01)
        self.write(chip.BIT_FRAMING, 0xF7)
        self.clock.advance_ms(2)
        self.assertEqual(self.read(chip.ERROR), chip.ERR_COLL)
        self.write(chip.FIFO_LEVEL, 0x80)
        self.write(chip.FIFO_DATA, 0x93, 0x37, 0x01, 0x50)
        self.write(chip.BIT_FRAMING, 0xF7)
        self.clock.advance_ms(2)
        self.assertEqual(self.read(chip.ERROR), 0)
        self.assertEqual(self.read(chip.COLL) & 0x20, 0x20)
        self.assertEqual(self.take(), b"\x00\x00\x00\x51")
        self.assertEqual(self.read(chip.CONTROL) & 7, 0)

    def test_crc_in_the_radio_path(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.exchange(b"\x26", 7)
        # ModeReg's preset is for the coprocessor only.
        self.write(chip.MODE, 0x3F)
        self.write(chip.TX_MODE, 0x80)
        self.write(chip.RX_MODE, 0x80)
        self.assertEqual(self.exchange(b"\x93\x70" + UID4 + bytes((bcc(UID4),))), b"\x08")
        self.assertEqual(self.read(chip.ERROR), 0)

    def test_crc_error(self) -> None:
        self.start(cards.WrongSakCrcCard(UID4))
        self.antenna_on()
        self.exchange(b"\x26", 7)
        self.write(chip.TX_MODE, 0x80)
        self.write(chip.RX_MODE, 0x80)
        self.exchange(b"\x93\x70" + UID4 + bytes((bcc(UID4),)))
        self.assertEqual(self.read(chip.ERROR), chip.ERR_CRC)

    def test_parity_error_and_parity_disable(self) -> None:
        self.start(cards.ParityErrorCard(UID4))
        self.antenna_on()
        self.assertEqual(self.exchange(b"\x26", 7), b"\x04\x00")
        self.assertEqual(self.read(chip.ERROR), chip.ERR_PARITY)
        self.write(chip.MF_RX, 0x10)
        self.exchange(b"\x93\x20")
        self.assertEqual(self.read(chip.FIFO_LEVEL), 0)

    def test_over_long_answer_overflows_the_fifo(self) -> None:
        self.start(cards.BabblingCard(UID4, 300))
        self.antenna_on()
        self.send(b"\x26", 7)
        self.clock.advance_ms(26)
        self.assertEqual(self.take(), bytes(range(64)))
        self.check_irq(chip.IRQ_RX | chip.IRQ_ERR, chip.IRQ_RX | chip.IRQ_ERR)
        self.assertEqual(self.read(chip.ERROR), chip.ERR_BUFFER_OVFL)

    def test_torn_answer_leaves_bits(self) -> None:
        self.start(cards.TornCard(UID4, 12))
        self.antenna_on()
        self.assertEqual(self.exchange(b"\x26", 7), b"\x04\x00")
        self.assertEqual(self.read(chip.CONTROL) & 7, 3)

    def test_a_start_bit_alone_is_an_answer_without_data(self) -> None:
        self.start(cards.TornCard(UID4, 0))
        self.antenna_on()
        self.assertEqual(self.exchange(b"\x26", 7), b"")
        self.check_irq(chip.IRQ_RX, chip.IRQ_RX)
        self.write(chip.RX_MODE, 0x08)  # RxNoErr: too short to be a frame
        self.exchange(b"\x26", 7)
        self.assertEqual(self.exchange(b"\x26", 7), b"")
        self.check_irq(chip.IRQ_RX, 0)

    def test_card_taken_away_in_mid_answer(self) -> None:
        card = Card(UID4)
        self.start(card)
        self.antenna_on()
        self.exchange(b"\x26", 7)
        self.send(b"\x93\x20")
        self.clock.advance_us(179 + 91 + 9 * 25)
        level = self.read(chip.FIFO_LEVEL)
        self.field.leave(card, self.clock())
        self.clock.advance_ms(3)
        self.assertEqual((level, self.read(chip.FIFO_LEVEL)), (2, 3))
        self.check_irq(chip.IRQ_RX, chip.IRQ_RX)

    def test_card_taken_away_before_its_answer(self) -> None:
        card = Card(UID4)
        self.start(card)
        self.antenna_on()
        self.send(b"\x26", 7)
        self.clock.advance_us(120)
        self.check_irq(0x60, chip.IRQ_TX)
        self.field.leave(card, self.clock())
        self.clock.advance_ms(3)
        self.check_irq(0x21, chip.IRQ_TIMER)

    def test_sending_waits_for_the_oscillator(self) -> None:
        self.antenna_on()
        self.write(chip.COMMAND, 0x10 | chip.CMD_NO_CHANGE)
        self.send(b"\x26", 7)
        self.clock.advance_us(37 + 75)
        self.check_irq(chip.IRQ_TX, 0)
        self.clock.advance_us(2)
        self.check_irq(chip.IRQ_TX, chip.IRQ_TX)

    def test_four_bit_answer(self) -> None:
        class Nak(Card):
            def on_frame(self, payload):
                return 0x05

        self.start(Nak(UID4))
        self.antenna_on()
        self.select_card()
        self.assertEqual(self.exchange(with_crc(b"\x30\x00")), b"\x05")
        self.assertEqual(self.read(chip.CONTROL) & 7, 4)
        self.write(chip.TX_MODE, 0x80)
        self.write(chip.RX_MODE, 0x80)
        self.assertEqual(self.exchange(b"\x30\x00"), b"\x05")
        self.assertEqual(self.read(chip.ERROR), chip.ERR_CRC)

    def test_slow_card_beats_the_timer_only_in_time(self) -> None:
        class Thinker(Card):
            def on_frame(self, payload):
                self.think_us = 1500
                return b"\x90\x00"

        self.start(Thinker(UID4))
        self.antenna_on()
        self.select_card()
        self.assertEqual(self.exchange(with_crc(b"\x1a\x00")), with_crc(b"\x90\x00"))
        self.check_irq(0x21, 0x21)  # 1 ms had run out, the answer came all the same

    def test_random_register_traffic_never_breaks_the_model(self) -> None:
        self.start(ClassicCard(UID4), Card(UID7), cards.BabblingCard(UID4, 80))
        self.antenna_on()
        self.field.noise = 0.001
        chance = cards.Chance(3)
        for _ in range(4000):
            register = chance.bits(6)
            self.write(register, chance.bits(8))
            if chance.bits(2) == 0:
                self.exchange(bytes(chance.bits(8) for _ in range(1 + chance.bits(4))), 7)
            self.assertLessEqual(self.read(register), 0xFF)
            self.assertLessEqual(self.read(chip.FIFO_LEVEL), 64)
            self.clock.advance_us(chance.bits(10))

    # MFAuthent

    def authenticate(self, key: bytes, uid: bytes = UID4) -> None:
        self.write(chip.COMMAND, chip.CMD_IDLE)
        self.write(chip.COM_IRQ, 0x7F)
        self.write(chip.FIFO_LEVEL, 0x80)
        self.write(chip.FIFO_DATA, 0x60, 0x04, *(key + uid))
        self.write(chip.COMMAND, chip.CMD_MF_AUTHENT)

    def test_authentication(self) -> None:
        self.start(ClassicCard(UID4, b"\xa0\xa1\xa2\xa3\xa4\xa5"))
        self.antenna_on()
        self.select_card()
        self.authenticate(b"\xa0\xa1\xa2\xa3\xa4\xa5")
        self.clock.advance_us(1800)
        self.check_irq(0x11, 0)
        self.clock.advance_us(300)  # published air time: 2.0 ms
        self.check_irq(0x11, chip.IRQ_IDLE)
        self.assertEqual(self.read(chip.STATUS2) & 0x08, 0x08)
        self.assertEqual(self.exchange(with_crc(b"\x30\x00")), with_crc(UID4 + bytes(12)))

    def test_wrong_key_ends_in_a_timeout(self) -> None:
        self.start(ClassicCard(UID4))
        self.antenna_on()
        self.select_card()
        self.authenticate(b"\x00" * 6)
        self.write(chip.FIFO_DATA, 1)
        self.assertEqual(self.read(chip.ERROR), chip.ERR_WR)
        self.clock.advance_ms(5)
        self.check_irq(0x11, chip.IRQ_TIMER)
        self.assertEqual(self.read(chip.STATUS2) & 0x08, 0)
        self.assertEqual(self.read(chip.COMMAND) & 0x0F, chip.CMD_MF_AUTHENT)

    def test_no_classic_card(self) -> None:
        self.start(Card(UID4))
        self.antenna_on()
        self.select_card()
        self.authenticate(b"\xff" * 6)
        self.clock.advance_ms(5)
        self.check_irq(0x11, chip.IRQ_TIMER)

    def test_crypto_left_on_spoils_plain_cards(self) -> None:
        card = ClassicCard(UID4)
        self.start(card)
        self.antenna_on()
        self.select_card()
        self.authenticate(b"\xff" * 6)
        self.clock.advance_ms(5)
        self.field.leave(card, self.clock())
        self.field.enter(Card(UID7), self.clock())
        self.clock.advance_ms(5)
        self.assertEqual(self.exchange(b"\x52", 7), b"")
        self.write(chip.STATUS2, 0x08)  # software cannot set it anew, so this keeps it
        self.assertEqual(self.exchange(b"\x52", 7), b"")
        self.write(chip.STATUS2, 0x00)
        self.write(chip.STATUS2, 0x08)
        self.assertEqual(self.exchange(b"\x52", 7), b"\x44\x00")
