"""Type A frames: check values and durations against published figures."""

import unittest

from sim import iso14443a as iso


class CrcTest(unittest.TestCase):
    def test_standard_examples(self) -> None:
        # ISO 14443-3 Annex B: 00 00 and 12 34 go out as A0 1E and 26 CF.
        self.assertEqual(iso.crc_a(b"\x00\x00"), 0x1EA0)
        self.assertEqual(iso.with_crc(b"\x12\x34"), b"\x12\x34\x26\xcf")

    def test_well_known_frames(self) -> None:
        self.assertEqual(iso.with_crc(b"\x50\x00"), b"\x50\x00\x57\xcd")  # HLTA
        self.assertEqual(iso.with_crc(b"\x08"), b"\x08\xb6\xdd")  # SAK of a MIFARE Classic 1K
        self.assertEqual(iso.with_crc(b"\x04"), b"\x04\xda\x17")  # SAK "UID not complete"

    def test_has_crc_sees_any_flipped_bit(self) -> None:
        frame = bytearray(iso.with_crc(b"\x93\x70\x88\x04\xa3\xc6\xe9"))
        self.assertTrue(iso.has_crc(frame))
        for bit in range(len(frame) * 8):
            frame[bit >> 3] ^= 1 << (bit & 7)
            self.assertFalse(iso.has_crc(frame))
            frame[bit >> 3] ^= 1 << (bit & 7)

    def test_a_bare_crc_is_no_frame(self) -> None:
        self.assertFalse(iso.has_crc(b"\x63\x63"))


class BitsTest(unittest.TestCase):
    def test_bcc(self) -> None:
        self.assertEqual(iso.bcc(b"\x88\x04\xa3\xc6"), 0x88 ^ 0x04 ^ 0xA3 ^ 0xC6)

    def test_parity_is_odd(self) -> None:
        for value in range(256):
            ones = sum(value >> i & 1 for i in range(8))
            self.assertEqual((ones + iso.PARITY[value]) & 1, 1)

    def test_bits_go_out_low_first_with_parity(self) -> None:
        self.assertEqual(
            list(iso.raw_bits(b"\x26\x00")), [0, 1, 1, 0, 0, 1, 0, 0, 0] + [0] * 8 + [1]
        )

    def test_a_split_byte_keeps_the_parity_of_the_whole(self) -> None:
        self.assertEqual(list(iso.raw_bits(b"\xff\x26", 13)), [1, 0, 0, 0])
        self.assertEqual(list(iso.raw_bits(b"\xff\x26", 8)), [0, 1, 1, 0, 0, 1, 0, 0, 0])

    def test_last_bit_on_the_air(self) -> None:
        self.assertEqual(iso.last_bit(b"\x26", 7), 0)
        self.assertEqual(iso.last_bit(b"\x52", 7), 1)
        self.assertEqual(iso.last_bit(b"\x93\x20", 16), 0)  # one 1: parity 0
        self.assertEqual(iso.last_bit(b"\x93\x60", 16), 1)  # two: parity 1


class TimeTest(unittest.TestCase):
    def test_bit_and_delays(self) -> None:
        self.assertEqual(iso.fc_ns(iso.ETU_FC), 9439)  # 9.44 us
        self.assertEqual(iso.fdt_ns(0), 86430)  # 86.4 us
        self.assertEqual(iso.fdt_ns(1), 91150)  # 91.2 us
        self.assertEqual(iso.fc_ns(iso.REQUEST_GUARD_FC) // 1000, 516)

    def test_frames(self) -> None:
        self.assertEqual(iso.pcd_frame_ns(7), iso.fc_ns(8 * 128))  # short frame: 8 etu
        self.assertEqual(iso.pcd_frame_ns(72), iso.fc_ns(82 * 128))  # SELECT: 1 + 9 n
        self.assertEqual(iso.picc_frame_ns(iso.raw_bits(b"\x04\x00")), iso.fc_ns(19 * 128))
