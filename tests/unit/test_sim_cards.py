"""Cards and the field: the ISO 14443-3 states, anticollision, and every way to misbehave."""

import unittest

from sim import cards
from sim.cards import ACTIVE, HALT, IDLE, READY, Card
from sim.field import RfField
from sim.iso14443a import (
    COLLISION,
    FDT_PICC_FC,
    PARITY,
    bcc,
    fc_ns,
    has_crc,
    pcd_frame_ns,
    raw_bits,
    with_crc,
)

UID4 = b"\xde\xad\xbe\xef"
UID7 = b"\x04\xa3\xc6\x12\x34\x56\x80"
UID10 = b"\x04\x01\x02\x03\x04\x05\x06\x07\x08\x09"
MS = 1_000_000


def data_of(bits: bytes) -> bytes:
    """Return whole bytes out of raw bits, without looking at parity."""
    return bytes(sum(bits[at + i] << i for i in range(8)) for at in range(0, len(bits), 9))


def select_frame(sel: int, part: bytes) -> bytes:
    return with_crc(bytes((sel, 0x70)) + part + bytes((bcc(part),)))


def wake(card: Card, command: int = 0x26) -> bytes | None:
    bits = card.receive(bytes((command,)), 7)
    return bits and data_of(bits)


def select(card: Card) -> list[int]:
    """Walk a card in READY to ACTIVE; return the SAKs."""
    saks = []
    for sel in (0x93, 0x95, 0x97):
        part = data_of(card.receive(bytes((sel, 0x20)), 16))
        sak = data_of(card.receive(select_frame(sel, part[:4]), 72))
        saks.append(sak[0])
        if not sak[0] & 4:
            return saks
    return saks


class StateTest(unittest.TestCase):
    def test_atqa_and_sak_by_uid_size(self) -> None:
        for uid, atqa, saks in (
            (UID4, b"\x04\x00", [8]),
            (UID7, b"\x44\x00", [4, 0]),
            (UID10, b"\x84\x00", [4, 4, 0]),
        ):
            card = Card(uid)
            self.assertEqual(wake(card), atqa)
            self.assertEqual(select(card), saks)
            self.assertEqual(card.state, ACTIVE)

    def test_uid_parts_carry_the_cascade_tag(self) -> None:
        card = Card(UID7)
        wake(card)
        part = data_of(card.receive(b"\x93\x20", 16))
        self.assertEqual(part, b"\x88\x04\xa3\xc6" + bytes((0x88 ^ 0x04 ^ 0xA3 ^ 0xC6,)))

    def test_a_4_byte_uid_may_begin_with_88(self) -> None:
        # Such cards exist (DarkFlippers#1074): only the SAK says whether the UID goes on.
        card = Card(b"\x88\x77\x66\x55")
        wake(card)
        self.assertEqual(select(card), [8])

    def test_halt_hears_only_wupa(self) -> None:
        card = Card(UID4)
        wake(card)
        select(card)
        self.assertIsNone(card.receive(with_crc(b"\x50\x00"), 32))
        self.assertEqual(card.state, HALT)
        self.assertIsNone(wake(card))
        self.assertEqual(card.state, HALT)
        self.assertEqual(wake(card, 0x52), b"\x04\x00")
        self.assertTrue(card.is_starred)

    def test_starred_states_fall_back_to_halt(self) -> None:
        card = Card(UID4)
        wake(card)
        select(card)
        card.receive(with_crc(b"\x50\x00"), 32)
        wake(card, 0x52)
        select(card)
        card.receive(with_crc(b"\x30\x00"), 32)
        self.assertEqual(card.state, HALT)

    def test_request_in_ready_ends_the_selection(self) -> None:
        card = Card(UID4)
        wake(card)
        self.assertIsNone(wake(card))
        self.assertEqual(card.state, IDLE)
        self.assertEqual(wake(card), b"\x04\x00")

    def test_unknown_command_in_active_falls_back(self) -> None:
        card = Card(UID4)
        wake(card)
        select(card)
        self.assertIsNone(card.receive(with_crc(b"\x30\x00"), 32))
        self.assertEqual(card.state, IDLE)

    def test_select_of_another_uid(self) -> None:
        card = Card(UID4)
        wake(card)
        self.assertIsNone(card.receive(select_frame(0x93, b"\x01\x02\x03\x04"), 72))
        self.assertEqual(card.state, IDLE)

    def test_select_with_wrong_crc(self) -> None:
        card = Card(UID4)
        wake(card)
        frame = bytearray(select_frame(0x93, UID4))
        frame[8] ^= 1
        self.assertIsNone(card.receive(frame, 72))
        self.assertEqual(card.state, IDLE)

    def test_wrong_cascade_level(self) -> None:
        card = Card(UID7)
        wake(card)
        self.assertIsNone(card.receive(b"\x95\x20", 16))

    def test_damaged_frame(self) -> None:
        card = Card(UID4)
        self.assertIsNone(card.receive(b"\x26", 7, False))
        wake(card)
        card.receive(b"\x93\x20", 16, False)
        self.assertEqual(card.state, IDLE)

    def test_bit_by_bit_anticollision(self) -> None:
        part = UID4 + bytes((bcc(UID4),))
        for known in range(40):
            card = Card(UID4)
            wake(card)
            whole, rest = known >> 3, known & 7
            frame = bytearray((0x93, (2 + whole) << 4 | rest)) + part[:whole]
            if rest:
                frame.append(part[whole] & ((1 << rest) - 1))
            self.assertEqual(card.receive(frame, 16 + known), raw_bits(part, known))
            if known:
                frame[(15 + known) >> 3] ^= 1 << (known - 1 & 7)
                self.assertIsNone(card.receive(frame, 16 + known))
                self.assertEqual(card.state, READY)

    def test_nonsense_nvb(self) -> None:
        for nvb in (0x00, 0x10, 0x28, 0x2F, 0x71, 0x80, 0xFF):
            card = Card(UID4)
            wake(card)
            self.assertIsNone(card.receive(bytes((0x93, nvb)), 16))
            self.assertEqual(card.state, IDLE)

    def test_hook_answers(self) -> None:
        class Echo(Card):
            def on_frame(self, payload: bytes) -> bytes | int | None:
                return {0x01: b"\xaa\xbb", 0x02: 0x0A, 0x03: b""}.get(payload[0])

        card = Echo(UID4)
        wake(card)
        select(card)
        self.assertEqual(card.receive(with_crc(b"\x01"), 24), raw_bits(with_crc(b"\xaa\xbb")))
        self.assertEqual(list(card.receive(with_crc(b"\x02"), 24)), [0, 1, 0, 1])
        self.assertIsNone(card.receive(with_crc(b"\x03"), 24))
        self.assertEqual(card.state, ACTIVE)
        self.assertIsNone(card.receive(with_crc(b"\x04"), 24))
        self.assertEqual(card.state, IDLE)

    def test_uid_length_is_checked(self) -> None:
        with self.assertRaises(ValueError):
            Card(b"\x01\x02\x03")

    def test_random_frames_never_break_a_card(self) -> None:
        chance = cards.Chance(7)
        card = Card(UID7)
        for _ in range(2000):
            frame = bytes(chance.bits(8) for _ in range(1 + chance.bits(4)))
            if chance.bits(1):
                frame = bytes((0x93, chance.bits(8))) + frame
            wake(card, 0x52)
            card.receive(frame, 8 * len(frame) - chance.bits(3))
            self.assertIn(card.state, (IDLE, READY, ACTIVE, HALT))


class MisbehaviourTest(unittest.TestCase):
    def test_wrong_bcc(self) -> None:
        card = cards.WrongBccCard(UID4)
        wake(card)
        part = data_of(card.receive(b"\x93\x20", 16))
        self.assertEqual(part[:4], UID4)
        self.assertFalse(bcc(part[:4]) == part[4])

    def test_wrong_sak_crc(self) -> None:
        card = cards.WrongSakCrcCard(UID4)
        wake(card)
        self.assertFalse(has_crc(data_of(card.receive(select_frame(0x93, UID4), 72))))

    def test_endless_cascade(self) -> None:
        card = cards.EndlessCascadeCard(UID4)
        wake(card)
        self.assertEqual(select(card), [4, 4, 4])
        self.assertEqual(select(card), [4, 4, 4])

    def test_babbling(self) -> None:
        card = cards.BabblingCard(UID4, 300)
        self.assertEqual(len(card.receive(b"\x26", 7)), 2700)

    def test_nonsense(self) -> None:
        card = cards.NonsenseCard(UID4)
        self.assertEqual(wake(card), b"\x3f\xf0")
        self.assertEqual(select(card), [0xDB])

    def test_torn(self) -> None:
        self.assertEqual(len(cards.TornCard(UID4, 12).receive(b"\x26", 7)), 12)
        self.assertEqual(len(cards.TornCard(UID4, 0).receive(b"\x26", 7)), 0)

    def test_parity_error(self) -> None:
        bits = cards.ParityErrorCard(UID4).receive(b"\x26", 7)
        self.assertEqual(bits[8], PARITY[0x04])
        self.assertFalse(bits[17] == PARITY[0x00])

    def test_random_id(self) -> None:
        card = cards.RandomIdCard()
        first = card.uid
        card.power_on()
        self.assertEqual((first[0], card.uid[0], len(card.uid)), (8, 8, 4))
        self.assertFalse(first == card.uid)


class Reader:
    """Sends frames at the closest spacing that the standard allows, and keeps the time."""

    def __init__(self, field: RfField, now_ns: int = 0) -> None:
        self.field = field
        self.now_ns = now_ns

    def send(self, frame: bytes, bit_count: int = 0):
        bit_count = bit_count or 8 * len(frame)
        start_ns = self.now_ns
        end_ns = start_ns + pcd_frame_ns(bit_count)
        answer = self.field.transmit(frame, bit_count, start_ns, end_ns)
        self.now_ns = answer.end_ns + fc_ns(FDT_PICC_FC) if answer else end_ns + 500_000
        return answer

    def read_uid(self, wake_command: int = 0x26) -> bytes:
        self.send(bytes((wake_command,)), 7)
        uid = b""
        for sel in (0x93, 0x95, 0x97):
            part = data_of(self.send(bytes((sel, 0x20))).bits)[:4]
            answer = self.send(select_frame(sel, part))
            sak = data_of(answer.bits)
            if not sak[0] & 4:
                self.done_ns = answer.end_ns
                return uid + part
            uid += part[1:]
        return uid


class FieldTest(unittest.TestCase):
    def setUp(self) -> None:
        self.field = RfField()
        self.field.carrier(True, 0)

    def stand_ready(self, *some: Card) -> Reader:
        for card in some:
            self.field.enter(card, 0)
        return Reader(self.field, 10 * MS)

    def check_ms(self, ns: int, ms: float, frames: int) -> None:
        # The published sums take the longer frame delay time, 64/fc more, for every frame.
        self.assertLessEqual(ns, (ms + 0.005) * MS)
        self.assertLessEqual((ms - 0.005) * MS - frames * fc_ns(64), ns)

    def test_air_times(self) -> None:
        # Published air times at 106 kbit/s, from the start of the request to the end of the SAK.
        for uid, ms, frames in ((UID4, 2.35, 3), (UID7, 4.36, 5), (UID10, 6.37, 7)):
            self.setUp()
            reader = self.stand_ready(Card(uid))
            self.assertEqual(reader.read_uid(), uid)
            self.check_ms(reader.done_ns - 10 * MS, ms, frames)

    def test_request_time(self) -> None:
        reader = self.stand_ready(Card(UID4))
        answer = reader.send(b"\x26", 7)
        self.check_ms(answer.end_ns - 10 * MS, 0.35, 1)
        self.assertEqual(answer.start_ns, 10 * MS + pcd_frame_ns(7) + fc_ns(1172))

    def test_no_card_and_no_carrier(self) -> None:
        reader = Reader(self.field, 10 * MS)
        self.assertIsNone(reader.send(b"\x26", 7))
        self.field.enter(Card(UID4), 0)
        self.field.carrier(False, reader.now_ns)
        self.assertIsNone(reader.send(b"\x26", 7))

    def test_power_up_time(self) -> None:
        card = Card(UID4, power_up_us=4000)
        self.field.enter(card, 1 * MS)
        reader = Reader(self.field, 4_999_999)
        self.assertIsNone(reader.send(b"\x26", 7))
        self.assertTrue(reader.send(b"\x26", 7) is not None)

    def test_losing_the_field_loses_the_state(self) -> None:
        card = Card(UID4)
        reader = self.stand_ready(card)
        reader.read_uid()
        reader.send(with_crc(b"\x50\x00"))
        self.assertIsNone(reader.send(b"\x26", 7))
        self.field.carrier(False, reader.now_ns)
        self.field.carrier(True, reader.now_ns + 1 * MS)
        reader.now_ns += 10 * MS
        self.assertEqual(reader.read_uid(), UID4)

    def test_taken_away_and_brought_back_between_two_frames(self) -> None:
        card = Card(UID4)
        reader = self.stand_ready(card)
        reader.read_uid()
        self.field.leave(card, reader.now_ns)
        self.field.enter(card, reader.now_ns + 1 * MS)
        self.assertEqual(self.field.cards(reader.now_ns), [])
        reader.now_ns += 10 * MS
        self.assertEqual(reader.read_uid(), UID4)

    def test_a_card_cannot_be_there_twice(self) -> None:
        card = Card(UID4)
        self.field.enter(card, 0)
        with self.assertRaises(ValueError):
            self.field.enter(card, 5)

    def test_different_atqa_collide(self) -> None:
        reader = self.stand_ready(Card(UID4), Card(UID7))
        bits = reader.send(b"\x26", 7).bits
        self.assertEqual(bits[6], COLLISION)  # 04 and 44
        self.assertEqual(bits[8], COLLISION)  # and so their parity
        self.assertEqual(bits[2], 1)

    def test_first_differing_uid_bit_collides(self) -> None:
        reader = self.stand_ready(Card(b"\x01\x10\x00\x00"), Card(b"\x01\x50\x00\x00"))
        reader.send(b"\x26", 7)
        bits = reader.send(b"\x93\x20").bits
        self.assertEqual(bits.find(bytes((COLLISION,))), 9 + 6)

    def test_cards_that_think_longer_run_into_the_others(self) -> None:
        class Slow(Card):
            def receive(self, *arguments):
                bits = super().receive(*arguments)
                self.think_us = 47  # five bits
                return bits

        reader = self.stand_ready(Card(UID4), Slow(UID4))
        bits = reader.send(b"\x26", 7).bits
        self.assertEqual(len(bits), 18 + 5)
        self.assertIn(COLLISION, list(bits))

    def test_leaving_cuts_the_answer(self) -> None:
        card = Card(UID4)
        reader = self.stand_ready(card)
        answer = reader.send(b"\x26", 7)
        self.field.leave(card, answer.start_ns + fc_ns(128 * 6))
        self.assertEqual(len(answer.bits), 5)

    def test_leaving_in_mid_frame_hears_nothing(self) -> None:
        card = Card(UID4)
        reader = self.stand_ready(card)
        self.field.leave(card, reader.now_ns + 20_000)
        self.assertIsNone(reader.send(b"\x26", 7))
        self.assertEqual(card.state, IDLE)

    def test_carrier_off_cuts_the_answer(self) -> None:
        reader = self.stand_ready(Card(UID4))
        answer = reader.send(b"\x26", 7)
        self.field.carrier(False, answer.start_ns + fc_ns(128 * 6))
        self.assertEqual(len(answer.bits), 5)

    def test_leaving_before_the_answer_silences_it(self) -> None:
        card = Card(UID4)
        reader = self.stand_ready(card)
        answer = reader.send(b"\x26", 7)
        self.field.leave(card, answer.start_ns - 1000)
        self.assertTrue(answer.is_silent)

    def test_leaving_told_before_the_frame_is_worked_out(self) -> None:
        card = Card(UID4)
        reader = self.stand_ready(card)
        answer_ns = reader.now_ns + pcd_frame_ns(7) + fc_ns(1172)
        self.field.leave(card, answer_ns + fc_ns(128 * 6))
        self.assertEqual(len(reader.send(b"\x26", 7).bits), 5)

    def test_one_of_two_leaving_leaves_the_other(self) -> None:
        gone, stays = Card(UID7), Card(UID4)
        reader = self.stand_ready(gone, stays)
        answer = reader.send(b"\x26", 7)
        self.field.leave(gone, answer.start_ns + fc_ns(128 * 6))
        self.assertEqual(len(answer.bits), 18)

    def test_a_busy_card_hears_nothing(self) -> None:
        reader = self.stand_ready(Card(UID4))
        answer = reader.send(b"\x26", 7)
        reader.now_ns = answer.end_ns - 10_000
        self.assertIsNone(reader.send(b"\x93\x20"))

    def test_noise_is_seeded(self) -> None:
        seen = []
        for _ in range(2):
            self.field = RfField(seed=5, noise=0.02)
            self.field.carrier(True, 0)
            reader = self.stand_ready(Card(UID4))
            seen.append([])
            for _ in range(50):
                answer = reader.send(b"\x52", 7)
                seen[-1].append(answer and bytes(answer.bits))
        self.assertEqual(seen[0], seen[1])
        self.assertIn(bytes(raw_bits(b"\x04\x00")), seen[0])
        self.assertTrue(len(set(seen[0])) > 3)

    def test_slow_entry_spoils_frames_until_it_has_settled(self) -> None:
        self.field.enter(Card(UID4), 0, settle_ms=100)
        reader = Reader(self.field, 10 * MS)
        good = bytes(raw_bits(b"\x04\x00"))
        early = []
        for _ in range(40):
            answer = reader.send(b"\x52", 7)
            early.append(answer is not None and bytes(answer.bits) == good)
        self.assertTrue(early.count(True) < 18)
        reader.now_ns = 101 * MS
        reader.send(b"\x52", 7)
        self.assertEqual([reader.send(b"\x52", 7) is None for _ in range(4)].count(True), 2)

    def test_a_weak_card_needs_gain(self) -> None:
        card = Card(UID4)
        card.needs_gain_db = 43
        self.field.enter(card, 0)
        self.assertIsNone(self.field.transmit(b"\x52", 7, 10 * MS, 11 * MS, gain_db=33))
        self.field.transmit(b"\x52", 7, 20 * MS, 21 * MS, gain_db=48)
        answer = self.field.transmit(b"\x52", 7, 30 * MS, 31 * MS, gain_db=48)
        self.assertTrue(answer is not None)
