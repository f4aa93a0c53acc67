"""RSASSA-PSS verification against every case of Wycheproof, and the keys that are taken."""

import json
import unittest
from hashlib import sha256

from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import KeyRefused, PublicKey
from support import vector


def suite_of(bits):
    with open(vector("rsa_pss_%d_sha256_mgf1_32_test.json" % bits)) as file:
        return json.load(file)


def key_of(group):
    """Return the group's key; its modulus is written with a leading zero byte."""
    modulus = bytes.fromhex(group["publicKey"]["modulus"])
    return PublicKey(modulus[modulus[0] == 0 :])


class WycheproofTest(unittest.TestCase):
    def check(self, bits):
        passed = 0
        for group in suite_of(bits)["testGroups"]:
            self.assertEqual(int(group["publicKey"]["publicExponent"], 16), 65537)
            key = key_of(group)
            for case in group["tests"]:
                with self.subTest(tcId=case["tcId"], comment=case["comment"]):
                    digest = sha256(bytes.fromhex(case["msg"])).digest()
                    signature = bytes.fromhex(case["sig"])
                    is_valid = run_through(key.verify(digest, signature, no_pause))
                    self.assertEqual(is_valid, case["result"] == "valid")
                    passed += 1
        self.assertEqual(passed, 108)

    def test_2048(self):
        self.check(2048)

    def test_3072(self):
        self.check(3072)


class VerifyTest(unittest.TestCase):
    def setUp(self):
        group = suite_of(2048)["testGroups"][0]
        case = group["tests"][0]
        self.key = key_of(group)
        self.digest = sha256(bytes.fromhex(case["msg"])).digest()
        self.signature = bytes.fromhex(case["sig"])
        self.n = int.from_bytes(self.key.modulus, "big")

    def verify(self, signature):
        return run_through(self.key.verify(self.digest, signature, no_pause))

    def test_pauses_after_every_multiplication(self):
        pauses = []

        async def pause():
            pauses.append(1)

        self.assertTrue(run_through(self.key.verify(self.digest, self.signature, pause)))
        self.assertEqual(len(pauses), 17)

    def test_length_must_be_the_modulus(self):
        self.assertFalse(self.verify(b""))
        self.assertFalse(self.verify(self.signature[:-1]))
        self.assertFalse(self.verify(b"\x00" + self.signature))
        self.assertFalse(self.verify(self.signature + b"\x00"))

    def test_a_signature_not_below_the_modulus_is_none(self):
        # The same number modulo n would verify, and every signature would have a twin.
        value = int.from_bytes(self.signature, "big") + self.n
        self.assertFalse(self.verify(value.to_bytes(256, "big")))
        self.assertFalse(self.verify(self.key.modulus))
        self.assertFalse(self.verify(b"\xff" * 256))

    def test_trivial_signatures(self):
        for value in (0, 1, self.n - 1):
            self.assertFalse(self.verify(value.to_bytes(256, "big")))

    def test_another_message(self):
        self.digest = sha256(b"other").digest()
        self.assertFalse(self.verify(self.signature))


class PublicKeyTest(unittest.TestCase):
    def test_key_id_is_the_hash_of_the_modulus(self):
        modulus = b"\x80" + bytes(254) + b"\x01"
        self.assertEqual(PublicKey(modulus).key_id, sha256(modulus).digest()[:8])

    def test_refuses_what_is_too_short_long_even_or_padded(self):
        for modulus in (
            b"\x80" + bytes(253) + b"\x01",
            b"\x80" + bytes(383) + b"\x01",
            b"\x80" + bytes(255),
            b"\x7f" + bytes(254) + b"\x01",
            b"\x00" + bytes(254) + b"\x01",
        ):
            with self.assertRaises(KeyRefused):
                PublicKey(modulus)


if __name__ == "__main__":
    unittest.main()
