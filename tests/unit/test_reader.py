"""The reader room on the chip model: driver, activation, one badge per gesture, self-heal."""

import unittest

from doorward.reader import iso14443a, mfrc522
from doorward.reader.credentials import Credentials
from sim import cards
from sim.chance import Chance
from sim.clock import SimClock
from sim.field import RfField
from sim.mfrc522 import Mfrc522
from sim.spi import IrqPin, SpiBus, chip_select_pin, reset_pin

UID4 = b"\x04\xa1\xb2\xc3"
UID7 = b"\x04\xa1\xb2\xc3\xd4\xe5\xf6"
UID10 = b"\x04\x01\x02\x03\x04\x05\x06\x07\x08\x09"


class SimTicks:
    """Ticks on the simulated clock; a look at them takes 2 us, so that waiting loops end."""

    def __init__(self, clock):
        self._clock = clock

    def ticks_us(self):
        self._clock.advance_us(2)
        return self._clock.now_ns // 1000

    def ticks_ms(self):
        return self.ticks_us() // 1000

    def ticks_diff(self, later, earlier):
        return later - earlier

    def ticks_add(self, ticks, delta):
        return ticks + delta


class Settings:
    reader_gain_db = 38
    same_badge_ms = 1000
    reader_check_ms = 2000


class Rig:
    """A board's reader on a model, with the bus taking the time it takes on an RP2040."""

    strike = None

    def __init__(self, has_reset=True, has_irq=False):
        self.clock = SimClock()
        self.field = RfField()
        self.model = Mfrc522(self.field, self.clock)
        self.ticks = SimTicks(self.clock)
        self.spi = SpiBus(self.model, self.clock, baudrate=8_000_000, call_ns=20_000)
        self.reader_cs = chip_select_pin(self.model)
        self.reader_reset = reset_pin(self.model) if has_reset else None
        self.reader_irq = IrqPin(self.model) if has_irq else None

    def enter(self, card):
        self.field.enter(card, self.clock.now_ns)
        return card

    def leave(self, card):
        self.field.leave(card, self.clock.now_ns)


class WithActivation(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.chip = mfrc522.MFRC522(
            self.rig.spi, self.rig.reader_cs, self.rig.ticks, self.rig.reader_reset
        )
        self.chip.start()
        self.activation = iso14443a.Activation(self.chip)

    def read(self, card):
        """Return (UID, SPI transfers, milliseconds) of one read, or None."""
        self.rig.enter(card)
        self.rig.clock.advance_ms(5)
        start_ns = self.rig.clock.now_ns
        transfers = self.chip.transfers
        try:
            if not (self.activation.request() and self.activation.select()):
                return None
            uid = bytes(self.activation.uid[: self.activation.uid_length])
            taken_ms = (self.rig.clock.now_ns - start_ns) / 1e6
            transfers = self.chip.transfers - transfers
            self.activation.halt()
            return uid, transfers, taken_ms
        finally:
            self.rig.leave(card)


class Activation(WithActivation):
    def test_nobody_there(self):
        self.assertFalse(self.activation.request())
        start_ns = self.rig.clock.now_ns
        self.assertFalse(self.activation.request())
        self.assertLess(self.rig.clock.now_ns - start_ns, 1_500_000)

    def test_all_lengths(self):
        for uid, most_ms in ((UID4, 4), (UID7, 7), (UID10, 10)):
            found = self.read(cards.Card(uid))
            self.assertEqual(found[0], uid)
            self.assertLess(found[2], most_ms)

    def test_a_zero_in_every_position_is_kept(self):
        for uid in (UID4, UID7, UID10):
            for i in range(len(uid)):
                zeroed = bytearray(uid)
                zeroed[i] = 0
                # A 10-byte UID may have 0x88 nowhere at the head of a cascade level; zero may.
                self.assertEqual(self.read(cards.Card(bytes(zeroed)))[0], bytes(zeroed))

    def test_0x88_first_in_four_bytes_is_no_cascade_tag(self):
        self.assertEqual(self.read(cards.Card(b"\x88\x77\x66\x55"))[0], b"\x88\x77\x66\x55")

    def test_two_cards_are_both_read(self):
        for first, second in ((UID4, b"\x04\xa1\xb2\xc2"), (UID7, UID7[:-1] + b"\x07")):
            one, two = cards.Card(first), cards.Card(second)
            self.rig.enter(one)
            self.rig.enter(two)
            self.rig.clock.advance_ms(5)
            found = set()
            for _ in range(2):
                self.assertTrue(self.activation.request())
                self.assertTrue(self.activation.select())
                found.add(bytes(self.activation.uid[: self.activation.uid_length]))
                self.activation.halt()
            self.assertEqual(found, {first, second})
            self.rig.leave(one)
            self.rig.leave(two)

    def test_five_cards_that_collide_in_many_places(self):
        uids = {b"\x10\x20\x30\x40", b"\x11\x20\x30\x40", b"\x10\x60\x30\x40", b"\x10\x20\x31\xc0"}
        uids.add(b"\x10\x20\x31\x40")
        here = [self.rig.enter(cards.Card(uid)) for uid in sorted(uids)]
        self.rig.clock.advance_ms(5)
        found = set()
        for _ in here:
            self.activation.request()
            self.assertTrue(self.activation.select())
            found.add(bytes(self.activation.uid[: self.activation.uid_length]))
            self.activation.halt()
        self.assertEqual(found, uids)

    def test_misbehaving_cards_are_errors_and_the_next_card_is_read(self):
        for make in (
            cards.WrongBccCard,
            cards.WrongSakCrcCard,
            cards.EndlessCascadeCard,
            cards.ParityErrorCard,
            lambda uid: cards.BabblingCard(uid, 80),
            lambda uid: cards.TornCard(uid, 11),
        ):
            self.assertIsNone(self.read(make(UID4)))
            self.rig.clock.advance_ms(50)
            self.assertEqual(self.read(cards.Card(UID7))[0], UID7)

    def test_nonsense_in_atqa_and_sak_is_still_a_uid(self):
        self.assertEqual(self.read(cards.NonsenseCard(UID4))[0], UID4)

    def test_errors_are_told_apart(self):
        self.read(cards.WrongBccCard(UID4))
        self.assertEqual(self.activation.errors, {iso14443a.BAD_BCC: 1})
        self.read(cards.EndlessCascadeCard(UID4))
        self.assertIn(iso14443a.ENDLESS_CASCADE, self.activation.errors)


class Chip(unittest.TestCase):
    def make(self, rig):
        return mfrc522.MFRC522(rig.spi, rig.reader_cs, rig.ticks, rig.reader_reset)

    def test_starts_with_and_without_a_reset_pin(self):
        for has_reset in (True, False):
            chip = self.make(Rig(has_reset))
            chip.start()
            self.assertEqual(chip.version, 0x92)
            self.assertTrue(chip.is_healthy())

    def test_the_self_test_knows_nxp_and_spares_clones(self):
        for version, is_passed in ((0x92, True), (0x91, True), (0x88, False), (0x12, False)):
            rig = Rig()
            rig.model = Mfrc522(rig.field, rig.clock, version=version)
            rig.spi = SpiBus(rig.model, rig.clock, baudrate=8_000_000, call_ns=20_000)
            rig.reader_cs = chip_select_pin(rig.model)
            rig.reader_reset = reset_pin(rig.model)
            reader = Credentials(rig, Settings)
            self.assertTrue(reader.start())
            self.assertEqual(reader.self_test, is_passed)
            self.assertEqual(reader.chip.version, version)
            rig.enter(cards.Card(UID7))
            rig.clock.advance_ms(5)
            self.assertEqual(reader.poll().uid(), UID7)

    def test_gain_is_set_and_kept(self):
        rig = Rig()
        chip = self.make(rig)
        chip.start()
        chip.gain(48)
        self.assertEqual(rig.model.gain_db, 48)
        chip.start()
        self.assertEqual(rig.model.gain_db, 48)

    def test_an_interrupt_line_that_is_dead_is_not_used(self):
        rig = Rig()
        for level in (0, 1):
            chip = mfrc522.MFRC522(
                rig.spi, rig.reader_cs, rig.ticks, rig.reader_reset, lambda level=level: level
            )
            chip.start()
            self.assertFalse(chip.has_irq)
            self.assertFalse(iso14443a.Activation(chip).request())

    def test_a_missing_chip_is_down(self):
        for stuck in (0x00, 0xFF):
            rig = Rig()
            rig.model.unplugged = stuck
            with self.assertRaises(mfrc522.ReaderDown):
                self.make(rig).start()

    def test_a_chip_that_lost_its_settings_is_not_healthy(self):
        rig = Rig()
        chip = self.make(rig)
        chip.start()
        rig.model.brown_out()
        self.assertFalse(chip.is_healthy())

    def test_a_chip_that_falls_silent_is_down_and_not_a_hang(self):
        rig = Rig()
        chip = self.make(rig)
        chip.start()
        rig.model.unplugged = 0x00
        chip.tx[mfrc522.TX_AT] = 0x26
        with self.assertRaises(mfrc522.ReaderDown):
            chip.exchange(1, 250, tx_last_bits=7)


class Gestures(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.reader = Credentials(self.rig, Settings)
        self.assertTrue(self.reader.start())

    def poll_for(self, ms, step_ms=8):
        """Return the identities that come within `ms`."""
        found = []
        end_ns = self.rig.clock.now_ns + ms * 1_000_000
        while self.rig.clock.now_ns < end_ns:
            badge = self.reader.poll()
            if badge is not None:
                found.append(bytes(badge.identity))
            self.rig.clock.advance_ms(step_ms)
        return found

    def test_identity_is_length_and_bytes(self):
        card = self.rig.enter(cards.Card(UID4))
        self.assertEqual(self.poll_for(100), [b"\x04" + UID4 + bytes(6)])
        self.rig.leave(card)
        self.rig.enter(cards.Card(UID10))
        self.assertEqual(self.poll_for(100), [b"\x0a" + UID10])

    def test_a_badge_held_at_the_reader_is_one_gesture(self):
        self.rig.enter(cards.Card(UID7))
        self.assertEqual(len(self.poll_for(5000)), 1)
        self.assertTrue(self.reader.has_badge)

    def test_a_badge_that_went_and_came_back_is_two(self):
        card = self.rig.enter(cards.Card(UID7))
        self.assertEqual(len(self.poll_for(300)), 1)
        self.rig.leave(card)
        self.assertEqual(self.poll_for(1500), [])
        self.assertFalse(self.reader.has_badge)
        self.rig.enter(card)
        self.assertEqual(len(self.poll_for(300)), 1)

    def test_somebody_elses_held_badge_does_not_keep_mine_out(self):
        mine = self.rig.enter(cards.Card(UID7))
        self.assertEqual(len(self.poll_for(300)), 1)
        self.rig.leave(mine)
        self.rig.enter(cards.Card(UID4))
        self.assertEqual(len(self.poll_for(1500)), 1)
        self.rig.enter(mine)
        self.assertEqual(self.poll_for(300), [b"\x07" + UID7 + bytes(3)])

    def test_two_badges_at_once_are_two_gestures_and_stay_two(self):
        self.rig.enter(cards.Card(UID4))
        self.rig.enter(cards.Card(UID7))
        self.assertEqual(len(self.poll_for(3000)), 2)

    def test_pairs_one_after_the_other_are_one_gesture_each(self):
        for pair in range(8):
            here = [self.rig.enter(cards.Card(bytes((4, pair, n, 9)))) for n in (1, 2)]
            self.assertEqual(len(self.poll_for(400)), 2)
            for card in here:
                self.rig.leave(card)

    def test_an_unplugged_reader_comes_back(self):
        self.rig.model.unplugged = 0x00
        self.assertEqual(self.poll_for(100), [])
        self.assertFalse(self.reader.is_up)
        self.assertNotEqual(self.reader.fault, "")
        self.assertFalse(self.reader.start())
        self.rig.model.unplugged = None
        self.rig.model.brown_out()
        self.assertTrue(self.reader.start())
        self.rig.enter(cards.Card(UID4))
        self.assertEqual(len(self.poll_for(100)), 1)

    def test_a_reader_that_lost_its_settings_is_noticed(self):
        self.rig.model.brown_out()
        self.poll_for(2100)
        self.assertFalse(self.reader.is_up)

    def test_noise_of_any_kind_ends_in_silence_or_the_right_badge(self):
        for seed in range(1, 6):
            self.rig = Rig()
            self.rig.field = self.rig.model.field = RfField(seed)
            self.reader = Credentials(self.rig, Settings)
            self.reader.start()
            self.rig.field.noise = 0.02
            self.rig.enter(cards.Card(UID7))
            # One read in 2 ** 8 of those with errors passes the BCC; SELECT's CRC stops it then.
            for identity in self.poll_for(1000):
                self.assertEqual(identity, b"\x07" + UID7 + bytes(3))
            self.rig.field.noise = 0.0
            self.poll_for(100)
            self.assertTrue(self.reader.is_up)
            self.assertTrue(self.reader.has_badge)


class FuzzCard(cards.Card):
    """Answers well, badly, or with anything at all, as a seeded chance has it."""

    def __init__(self, uid, chance):
        self._chance = chance
        super().__init__(uid)

    def receive(self, frame, bit_count, is_sound=True, is_enciphered=False):
        bits = super().receive(frame, bit_count, is_sound, is_enciphered)
        what = self._chance.bits(3)
        if what < 3 or (bits is None and what < 6):
            return bits
        length = self._chance.bits(10) if what == 3 else self._chance.bits(6)
        if what == 4 and bits is not None:
            return bits[:length]
        if what == 5 and bits is not None and bits:
            at = self._chance.bits(16) % len(bits)
            bits[at] = 2 if self._chance.bits(1) else bits[at] ^ 1
            return bits
        return bytearray(self._chance.bits(1) for _ in range(length))


class Fuzz(unittest.TestCase):
    def test_no_answer_breaks_the_reader_or_becomes_another_badge(self):
        identities = {b"\x04" + UID4 + bytes(6), b"\x07" + UID7 + bytes(3), b"\x0a" + UID10}
        for seed in range(1, 13):
            rig = Rig(has_irq=seed & 1 == 1)
            reader = Credentials(rig, Settings)
            self.assertTrue(reader.start())
            uid = (UID4, UID7, UID10)[seed % 3]
            card = rig.enter(FuzzCard(uid, Chance(seed)))
            for _ in range(150):
                badge = reader.poll()
                if badge is not None:
                    self.assertIn(bytes(badge.identity), identities)
                if not reader.is_up:
                    self.assertTrue(reader.start())
                rig.clock.advance_ms(8)
            self.assertGreater(reader.errors, 10)
            rig.leave(card)
            rig.clock.advance_ms(1500)
            reader.poll()
            rig.clock.advance_ms(1500)
            reader.poll()
            rig.enter(cards.Card(UID7))
            rig.clock.advance_ms(10)
            found = [reader.poll() for _ in range(3)]
            self.assertTrue(any(badge is not None for badge in found))
