"""Drivers in four styles read cards through the model as they would through the chip."""

import unittest

from sim import mfrc522 as chip
from sim.cards import Card
from sim.clock import SimClock
from sim.field import RfField
from sim.iso14443a import bcc, with_crc
from sim.spi import IrqPin, SpiBus, chip_select_pin, reset_pin

UID4 = b"\xde\xad\xbe\xef"
UID7 = b"\x04\xa3\xc6\x12\x34\x56\x80"
UID10 = b"\x04\x01\x02\x03\x04\x05\x06\x07\x08\x09"


class Bench:
    """A chip on a bus, with a clock that runs while bytes are on the wire."""

    def __init__(self, *some_cards: Card, version: int = chip.VERSION_2_0) -> None:
        self.clock = SimClock(1_000_000)
        self.field = RfField()
        self.chip = chip.Mfrc522(self.field, self.clock, version)
        self.spi = SpiBus(self.chip, self.clock, baudrate=1_000_000, call_ns=20_000)
        self.cs = chip_select_pin(self.chip)
        self.reset = reset_pin(self.chip)
        self.irq = IrqPin(self.chip)
        for card in some_cards:
            self.field.enter(card, 0)


class PollingDriver:
    """The oldest MicroPython style: one register a transfer, CRC by coprocessor, a counted loop.

    Its loop does not look at TimerIRq, so an empty field costs all 2000 reads.
    """

    def __init__(self, bench: Bench) -> None:
        self.spi, self.cs, self.rst = bench.spi, bench.cs, bench.reset
        self.rst.init(self.rst.OUT, value=0)
        self.cs.init(self.cs.OUT, value=1)
        bench.clock.advance_us(1)
        self.rst.value(1)
        bench.clock.advance_us(50)
        self.write(0x01, 0x0F)
        self.write(0x2A, 0x8D)
        self.write(0x2B, 0x3E)
        self.write(0x2D, 30)
        self.write(0x2C, 0)
        self.write(0x15, 0x40)
        self.write(0x11, 0x3D)
        if not self.read(0x14) & 0x03:
            self.set_bits(0x14, 0x03)
        bench.clock.advance_ms(5)

    def write(self, register: int, value: int) -> None:
        self.cs.value(0)
        self.spi.write(b"%c" % ((register << 1) & 0x7E))
        self.spi.write(b"%c" % value)
        self.cs.value(1)

    def read(self, register: int) -> int:
        self.cs.value(0)
        self.spi.write(b"%c" % ((register << 1) & 0x7E | 0x80))
        value = self.spi.read(1)
        self.cs.value(1)
        return value[0]

    def set_bits(self, register: int, mask: int) -> None:
        self.write(register, self.read(register) | mask)

    def clear_bits(self, register: int, mask: int) -> None:
        self.write(register, self.read(register) & ~mask & 0xFF)

    def exchange(self, data: bytes) -> list[int] | None:
        self.write(0x02, 0x77 | 0x80)
        self.clear_bits(0x04, 0x80)
        self.set_bits(0x0A, 0x80)
        self.write(0x01, 0x00)
        for value in data:
            self.write(0x09, value)
        self.write(0x01, 0x0C)
        self.set_bits(0x0D, 0x80)
        seen = 0
        for _ in range(2000):
            seen = self.read(0x04)
            if seen & 0x30:
                break
        self.clear_bits(0x0D, 0x80)
        if not seen & 0x30 or self.read(0x06) & 0x1B:
            return None
        return [self.read(0x09) for _ in range(self.read(0x0A))]

    def crc(self, data: bytes) -> bytes:
        self.clear_bits(0x05, 0x04)
        self.set_bits(0x0A, 0x80)
        for value in data:
            self.write(0x09, value)
        self.write(0x01, 0x03)
        for _ in range(255):
            if self.read(0x05) & 0x04:
                break
        return bytes((self.read(0x22), self.read(0x21)))

    def request(self) -> list[int] | None:
        self.write(0x0D, 0x07)
        return self.exchange(b"\x26")

    def read_uid(self) -> tuple | None:
        """Return (uid, sak) of one 4-byte card."""
        if not self.request():
            return None
        self.write(0x0D, 0x00)
        part = self.exchange(b"\x93\x20")
        if not part or bcc(part[:4]) != part[4]:
            return None
        frame = b"\x93\x70" + bytes(part)
        sak = self.exchange(frame + self.crc(frame))
        return bytes(part[:4]), sak[0]


class CollisionDriver:
    """The Arduino way: every exchange checked, collisions resolved bit by bit, cascade by SAK."""

    def __init__(self, bench: Bench) -> None:
        self.spi, self.cs = bench.spi, bench.cs
        self.write(0x01, 0x0F)
        while self.read(0x01) & 0x10:
            pass
        for register, value in (
            (0x12, 0x00),
            (0x13, 0x00),
            (0x24, 0x26),
            (0x2A, 0x80),
            (0x2B, 0xA9),
            (0x2C, 0x03),
            (0x2D, 0xE8),
            (0x15, 0x40),
            (0x11, 0x3D),
        ):
            self.write(register, value)
        self.write(0x14, self.read(0x14) | 0x03)
        bench.clock.advance_ms(5)

    def write(self, register: int, *values: int) -> None:
        self.cs(0)
        self.spi.write(bytes((register << 1,)) + bytes(values))
        self.cs(1)

    def read(self, register: int) -> int:
        self.cs(0)
        self.spi.write(bytes((register << 1 | 0x80,)))
        value = self.spi.read(1)[0]
        self.cs(1)
        return value

    def read_many(self, register: int, count: int) -> bytes:
        """Read one register over and over: its address before each byte but the last."""
        address = register << 1 | 0x80
        out = bytes([address] * count + [0])
        into = bytearray(count + 1)
        self.cs(0)
        self.spi.write_readinto(out, into)
        self.cs(1)
        return bytes(into[1:])

    def exchange(self, data: bytes, last_bits: int = 0, align: int = 0) -> tuple:
        """Return (error flags or None on timeout, data)."""
        self.write(0x01, 0x00)
        self.write(0x04, 0x7F)
        self.write(0x0A, 0x80)
        self.write(0x09, *data)
        self.write(0x0D, align << 4 | last_bits)
        self.write(0x01, 0x0C)
        self.write(0x0D, self.read(0x0D) | 0x80)
        while True:
            irq = self.read(0x04)
            if irq & 0x30:
                break
            if irq & 0x01:
                return None, b""
        error = self.read(0x06)
        if error & 0x13:
            raise OSError(error)
        return error, self.read_many(0x09, self.read(0x0A))

    def crc(self, data: bytes) -> bytes:
        self.write(0x01, 0x00)
        self.write(0x05, 0x04)
        self.write(0x0A, 0x80)
        self.write(0x09, *data)
        self.write(0x01, 0x03)
        while not self.read(0x05) & 0x04:
            pass
        self.write(0x01, 0x00)
        return bytes((self.read(0x22), self.read(0x21)))

    def request(self, command: int = 0x26) -> bool:
        self.write(0x0E, self.read(0x0E) & 0x7F)
        return self.exchange(bytes((command,)), 7)[0] is not None

    def select(self) -> tuple:
        """Return (uid, sak) of one card in READY, whatever its UID size and company."""
        uid = b""
        for sel in (0x93, 0x95, 0x97):
            part = self.resolve(sel)
            frame = bytes((sel, 0x70)) + part + bytes((bcc(part),))
            _, sak = self.exchange(frame + self.crc(frame))
            if self.crc(sak[:1]) != sak[1:]:
                raise OSError("SAK")
            if not sak[0] & 0x04:
                return uid + part, sak[0]
            uid += part[1:]
        raise OSError("cascade")

    def resolve(self, sel: int) -> bytes:
        self.write(0x0E, self.read(0x0E) & 0x7F)
        part = bytearray(5)
        known = 0
        for _ in range(33):
            whole, rest = known >> 3, known & 7
            frame = bytes((sel, (2 + whole) << 4 | rest)) + part[: whole + (1 if rest else 0)]
            error, data = self.exchange(frame, rest, rest)
            if error is None:
                raise OSError("no answer")
            # Bits below the alignment belong to what was sent.
            first = part[whole] & ((1 << rest) - 1) | data[0] & 0xFF << rest & 0xFF
            part[whole : whole + len(data)] = bytes((first,)) + data[1:]
            if not error & 0x08:
                return bytes(part[:4])
            coll = self.read(0x0E)
            if coll & 0x20:
                raise OSError("collision position")
            known = 8 * whole + (coll & 0x1F or 32)
            part[(known - 1) >> 3] |= 1 << (known - 1 & 7)
        raise OSError("anticollision")

    def halt(self) -> None:
        self.exchange(b"\x50\x00" + self.crc(b"\x50\x00"))


class LeanDriver:
    """The quickest way: CRC in the radio path, the chip's timer, different registers in one burst."""

    _STATUS = bytes(
        (0x88, 0x8C, 0x94, 0x98, 0x9C, 0x00)
    )  # ComIrq, Error, FIFOLevel, Control, Coll

    def __init__(self, bench: Bench, irq=None) -> None:
        self.spi, self.cs, self.irq, self.clock = bench.spi, bench.cs, irq, bench.clock
        self.status = bytearray(6)
        self.has_crc = None
        for register, value in (
            (0x2A, 0x80),
            (0x2B, 0xA9),  # 25 us a tick
            (0x2C, 0x00),
            (0x2D, 40),  # 1 ms
            (0x15, 0x40),
            (0x11, 0x3D),
            (0x02, 0x21 | 0x80),
            (0x03, 0x80),
            (0x14, 0x83),
        ):
            self.write(register, value)
        bench.clock.advance_ms(5)

    def write(self, register: int, *values: int) -> None:
        self.cs(0)
        self.spi.write(bytes((register << 1,)) + bytes(values))
        self.cs(1)

    def set_crc(self, is_on: bool) -> None:
        if is_on != self.has_crc:
            self.has_crc = is_on
            self.write(0x12, 0x80 if is_on else 0x00)
            self.write(0x13, 0x80 if is_on else 0x00)

    def exchange(self, data: bytes, framing: int = 0, is_with_crc: bool = True) -> bytes | None:
        self.set_crc(is_with_crc)
        self.write(0x0A, 0x80)
        self.write(0x04, 0x7F)
        self.write(0x01, 0x0C)
        self.write(0x09, *data)
        self.write(0x0D, 0x80 | framing)
        status = self.status
        if self.irq:
            while self.irq.value():
                self.clock.advance_us(10)
        while True:
            self.cs(0)
            self.spi.write_readinto(self._STATUS, status)
            self.cs(1)
            if status[1] & 0x21:
                break
        if not status[1] & 0x20:
            return None
        if status[2]:
            raise OSError(status[2])
        into = bytearray(status[3] + 1)
        self.cs(0)
        self.spi.write_readinto(bytes([0x92] * status[3] + [0]), into)
        self.cs(1)
        return bytes(into[1:])

    def read_uid(self) -> tuple | None:
        if not self.exchange(b"\x52", 7, False):
            return None
        uid = b""
        for sel in (0x93, 0x95, 0x97):
            part = self.exchange(bytes((sel, 0x20)), 0, False)
            sak = self.exchange(bytes((sel, 0x70)) + part)
            if not sak[0] & 0x04:
                return uid + part[:4], sak[0]
            uid += part[1:4]
        return None


class RetriggerDriver(CollisionDriver):
    """The Arduino library's interrupt example: a REQA ten times a second, and the pin tells.

    It neither stops the receiver nor empties the FIFO before it sends again.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.irq, self.clock = bench.irq, bench.clock
        self.write(0x02, 0xA0)  # RxIRq only, low when it happens
        self.write(0x04, 0x7F)

    def trigger(self) -> bool:
        """Send one request; return whether the pin fell for it."""
        self.write(0x09, 0x26)
        self.write(0x01, 0x0C)
        self.write(0x0D, 0x87)
        self.clock.advance_ms(100)
        return not self.irq.value()


class PollingStyleTest(unittest.TestCase):
    def test_reads_a_4_byte_uid(self) -> None:
        driver = PollingDriver(Bench(Card(UID4)))
        self.assertEqual(driver.read_uid(), (UID4, 0x08))

    def test_sees_only_the_first_part_of_a_7_byte_uid(self) -> None:
        driver = PollingDriver(Bench(Card(UID7)))
        self.assertEqual(driver.read_uid(), (b"\x88\x04\xa3\xc6", 0x04))

    def test_empty_field_costs_the_whole_loop(self) -> None:
        bench = Bench()
        driver = PollingDriver(bench)
        before = bench.spi.call_count
        self.assertIsNone(driver.request())
        # Two calls a transfer: some 2,013 transfers, the published count for this family.
        self.assertEqual((bench.spi.call_count - before) // 2, 2013)
        self.assertTrue(driver.read(0x04) & 0x01)


class CollisionStyleTest(unittest.TestCase):
    def test_reads_all_uid_sizes(self) -> None:
        for uid, sak in ((UID4, 0x08), (UID7, 0x00), (UID10, 0x00)):
            driver = CollisionDriver(Bench(Card(uid)))
            self.assertTrue(driver.request())
            self.assertEqual(driver.select(), (uid, sak))

    def test_empty_field(self) -> None:
        bench = Bench()
        driver = CollisionDriver(bench)
        before = bench.clock()
        self.assertFalse(driver.request())
        self.assertLessEqual(25_020_000, bench.clock() - before)
        self.assertLessEqual(bench.clock() - before, 26_000_000)

    def read_all(self, *uids: bytes) -> list[bytes]:
        driver = CollisionDriver(Bench(*[Card(uid) for uid in uids]))
        found = []
        while driver.request():
            found.append(driver.select()[0])
            driver.halt()
        return found

    def test_two_cards_at_once(self) -> None:
        for other in (b"\x00\x00\x00\x01", b"\xde\xad\xbe\x6f", b"\xdf\xad\xbe\xef", UID7, UID10):
            found = self.read_all(UID4, other)
            self.assertEqual(sorted(found), sorted((UID4, other)))

    def test_two_long_uids_that_differ_late(self) -> None:
        other = UID10[:9] + b"\x89"
        self.assertEqual(sorted(self.read_all(UID10, other)), sorted((UID10, other)))

    def test_many_cards(self) -> None:
        uids = [bytes((0x11, 0x20 + 5 * i, 0x33, 3 * i)) for i in range(7)]
        self.assertEqual(sorted(self.read_all(*uids)), sorted(uids))

    def test_twins_cannot_be_told_apart(self) -> None:
        self.assertEqual(self.read_all(UID4, UID4), [UID4])


class RetriggerStyleTest(unittest.TestCase):
    def test_a_card_is_noticed_whenever_it_comes(self) -> None:
        bench = Bench()
        driver = RetriggerDriver(bench)
        for _ in range(3):
            self.assertFalse(driver.trigger())
        bench.field.enter(Card(UID7), bench.clock())
        bench.clock.advance_ms(5)
        self.assertTrue(driver.trigger())
        self.assertEqual(driver.select(), (UID7, 0x00))


class LeanStyleTest(unittest.TestCase):
    def test_reads_all_uid_sizes(self) -> None:
        for uid, sak in ((UID4, 0x08), (UID7, 0x00), (UID10, 0x00)):
            self.assertEqual(LeanDriver(Bench(Card(uid))).read_uid(), (uid, sak))

    def test_reads_by_interrupt_pin(self) -> None:
        bench = Bench(Card(UID7))
        self.assertEqual(LeanDriver(bench, bench.irq).read_uid(), (UID7, 0x00))

    def test_empty_field_takes_one_timer(self) -> None:
        bench = Bench()
        driver = LeanDriver(bench, bench.irq)
        before = bench.clock()
        self.assertIsNone(driver.read_uid())
        self.assertLessEqual(bench.clock() - before, 1_500_000)

    def test_a_miss_does_not_spoil_the_next_read(self) -> None:
        bench = Bench()
        driver = LeanDriver(bench)
        self.assertIsNone(driver.read_uid())
        bench.field.enter(Card(UID4), bench.clock())
        bench.clock.advance_ms(3)
        self.assertEqual(driver.read_uid(), (UID4, 0x08))

    def test_collision_is_an_error(self) -> None:
        driver = LeanDriver(Bench(Card(UID4), Card(b"\x01\x02\x03\x04")))
        with self.assertRaises(OSError):
            driver.read_uid()

    def test_forgetting_to_switch_crc_off_fails_as_on_the_chip(self) -> None:
        driver = LeanDriver(Bench(Card(UID4)))
        self.assertIsNone(driver.exchange(b"\x52", 7, True))

    def test_halt_gets_no_answer(self) -> None:
        driver = LeanDriver(Bench(Card(UID4)))
        driver.read_uid()
        self.assertIsNone(driver.exchange(b"\x50\x00"))
        self.assertEqual(with_crc(b"\x50\x00"), b"\x50\x00\x57\xcd")
        self.assertEqual(driver.read_uid(), (UID4, 0x08))
