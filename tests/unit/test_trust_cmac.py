"""AES-128 CMAC: RFC 4493's own examples, every case of Wycheproof, and the keys that are taken."""

import unittest

import vector_cases
from doorward.trust.cmac import Cmac, CmacKeyRefused
from doorward.values import DoorwardError
from vector_cases import aes

# RFC 4493, 4 (NIST SP 800-38B, D.1)
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
TAGS = {
    0: "bb1d6929e95937287fa37d129b756746",
    16: "070a16b46b4d4144f79bdd9dd04a287c",
    40: "dfa66747de9ae63030ca32611497c827",
    64: "51f0bebf7e3b9d92fc49741779363cfe",
}


class CmacTest(unittest.TestCase):
    def test_examples_of_the_rfc(self):
        # The same object for all: a tag leaves nothing behind for the next one.
        mac = Cmac(KEY, aes)
        for length, tag in sorted(TAGS.items()):
            with self.subTest(length=length):
                self.assertEqual(mac.tag(MESSAGE[:length]), bytes.fromhex(tag))
        self.assertEqual(mac.tag(b""), bytes.fromhex(TAGS[0]))

    def test_takes_any_buffer_and_leaves_it_alone(self):
        mac = Cmac(KEY, aes)
        tag = bytes.fromhex(TAGS[40])
        buffer = bytearray(MESSAGE)
        self.assertEqual(mac.tag(memoryview(buffer)[:40]), tag)
        self.assertEqual(mac.tag(buffer[:40]), tag)
        self.assertEqual(bytes(buffer), MESSAGE)

    def test_tags_made_earlier_stay(self):
        mac = Cmac(KEY, aes)
        first = mac.tag(b"")
        mac.tag(MESSAGE)
        self.assertEqual(first, bytes.fromhex(TAGS[0]))

    def test_padding_is_not_taken_for_message(self):
        mac = Cmac(KEY, aes)
        for length in (0, 1, 15, 16, 17, 31, 32):
            padded = MESSAGE[:length] + b"\x80" + bytes(15 - length % 16)
            with self.subTest(length=length):
                self.assertEqual(len(padded) % 16, 0)
                self.assertNotEqual(mac.tag(MESSAGE[:length]), mac.tag(padded))

    def test_subkeys_whose_top_bit_is_shifted_out_or_not(self):
        # Keys under which AES of zeros begins with the bits 00, 01, 10 and 11: both doublings,
        # each with and without reduction. Expected: python-cryptography.
        for last, empty, whole in (
            (1, "62486417db9545f0f4b1104c16eccb7b", "83ff66ffdbb327b13b2b3e458f003256"),
            (0, "4387c14b46ef7e176dceefa862d72ff9", "763cbcde81df9131bf897712c088edad"),
            (5, "0ab76467f1ed800d4730b23b00146192", "f62913abc0cf3b875d033fc47b52db84"),
            (4, "8eafd685cfacecfd6c7a134fb02df5c9", "5dff2d600b137e68e545023c3d4732ea"),
        ):
            mac = Cmac(bytes(15) + bytes((last,)), aes)
            with self.subTest(last=last):
                self.assertEqual(mac.tag(b""), bytes.fromhex(empty))
                self.assertEqual(mac.tag(bytes(16)), bytes.fromhex(whole))


class KeyTest(unittest.TestCase):
    def test_only_aes_128(self):
        for length in (0, 1, 8, 15, 17, 20, 24, 32, 40):
            with self.subTest(length=length), self.assertRaises(CmacKeyRefused) as caught:
                Cmac(bytes(length), aes)
            self.assertIsInstance(caught.exception, DoorwardError)

    def test_cipher_is_not_asked_for_another_key(self):
        asked = []

        def spy(key, mode):
            asked.append(len(key))
            return aes(key, mode)

        for length in (24, 16, 32):
            try:
                Cmac(bytes(length), spy)
            except CmacKeyRefused:
                pass
        self.assertEqual(asked, [16])


class VectorsTest(unittest.TestCase):
    def test_wycheproof(self):
        count = vector_cases.run_cmac()
        self.assertEqual(count.failed, [])
        # 102 cases have a key of 16 bytes; 24, 32 and five odd sizes are refused.
        self.assertEqual((count.accepted, count.refused, count.keys_refused), (21, 81, 209))

    def test_badges(self):
        count = vector_cases.run_badges()
        self.assertEqual(count.failed, [])
        self.assertEqual((count.accepted, count.waiting), (1, 3))


if __name__ == "__main__":
    unittest.main()
