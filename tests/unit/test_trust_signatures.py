"""RSASSA-PSS verification against every case of Wycheproof, and the keys that are taken."""

import unittest
from hashlib import sha256

import vector_cases
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import KeyRefused, PublicKey


class WycheproofTest(unittest.TestCase):
    def check(self, name):
        count = vector_cases.run_pss(name)
        self.assertEqual(count.failed, [])
        self.assertEqual((count.accepted, count.refused, count.keys_refused), (63, 45, 0))

    def test_2048(self):
        self.check(vector_cases.PSS_2048)

    def test_3072(self):
        self.check(vector_cases.PSS_3072)


class VerifyTest(unittest.TestCase):
    def setUp(self):
        group = vector_cases.load(vector_cases.PSS_2048)["testGroups"][0]
        case = group["tests"][0]
        self.key = vector_cases.pss_key(group)
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
