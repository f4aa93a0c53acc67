"""Key rings: round trip, threshold, and every reason to refuse."""

import unittest
from hashlib import sha256

from doorward.trust.keyring import (
    MAX_RING_BYTES,
    Issuer,
    KeyRing,
    open_ring,
    parse_body,
)
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import PublicKey
from doorward.values import (
    BAD_BODY_HASH,
    BAD_SIGNATURE,
    MALFORMED,
    RESPONDER,
    STAFF,
    TOO_LARGE,
    UNKNOWN_ISSUER,
    VISITOR,
    WRONG_TYPE,
    Refused,
)
from support import vector


def read(name):
    with open(vector("objects/" + name), "rb") as file:
        return file.read()


def key(number, size=256):
    return PublicKey(b"\x80" + bytes(size - 2) + bytes((2 * number + 1,)))


class OpenRingTest(unittest.TestCase):
    def refuse(self, code, data):
        with self.assertRaises(Refused) as caught:
            run_through(open_ring(data, no_pause))
        self.assertEqual(caught.exception.code, code)

    def test_opens(self):
        ring = run_through(open_ring(read("ring.dwk"), no_pause))
        self.assertEqual((ring.site, ring.version, ring.threshold), ("north", 1, 1))
        self.assertEqual(len(ring.roots), 1)
        police, district = ring.issuers
        self.assertEqual((police.name, district.name), ("police", "district"))
        self.assertIs(ring.issuer(district.key.key_id), district)
        self.assertIsNone(ring.issuer(bytes(8)))

    def test_neither_may_grant_the_others_class(self):
        police, district = run_through(open_ring(read("ring.dwk"), no_pause)).issuers
        self.assertEqual(
            [police.may_grant(kind) for kind in (RESPONDER, STAFF, VISITOR)],
            [True, False, False],
        )
        self.assertEqual(
            [district.may_grant(kind) for kind in (RESPONDER, STAFF, VISITOR)],
            [False, True, True],
        )

    def test_two_of_three(self):
        ring = run_through(open_ring(read("ring_two_of_three.dwk"), no_pause))
        self.assertEqual((ring.threshold, len(ring.roots)), (2, 3))

    def test_below_the_threshold(self):
        self.refuse(BAD_SIGNATURE, read("ring_one_signature_short.dwk"))

    def test_one_root_signs_twice(self):
        self.refuse(BAD_SIGNATURE, read("ring_one_root_twice.dwk"))

    def test_signed_by_no_root_of_its_own(self):
        self.refuse(UNKNOWN_ISSUER, read("ring_signed_by_stranger.dwk"))

    def test_threshold_of_none(self):
        self.refuse(MALFORMED, read("ring_of_no_root.dwk"))

    def test_a_root_listed_twice_is_no_second_root(self):
        self.refuse(MALFORMED, read("ring_root_listed_twice.dwk"))

    def test_an_allowlist_is_no_key_ring(self):
        self.refuse(WRONG_TYPE, read("police_1.dwl"))

    def test_nothing_at_all(self):
        self.refuse(MALFORMED, b"")

    def test_cut_short_and_too_long(self):
        ring = read("ring.dwk")
        self.refuse(MALFORMED, ring[:95])
        self.refuse(MALFORMED, ring[:300])
        self.refuse(BAD_BODY_HASH, ring[:-1])
        self.refuse(BAD_BODY_HASH, ring + b"\x00")
        self.refuse(TOO_LARGE, ring + bytes(MAX_RING_BYTES))

    def test_a_bit_changed_in_every_byte(self):
        ring = read("ring.dwk")
        for i in range(len(ring)):
            changed = bytearray(ring)
            changed[i] ^= 1 << i % 8
            with self.subTest(byte=i), self.assertRaises(Refused):
                run_through(open_ring(bytes(changed), no_pause))


class BodyTest(unittest.TestCase):
    def body(self):
        ring = KeyRing(1, [key(1), key(2, 384)], [Issuer("a", 2, key(3)), Issuer("b", 4, key(4))])
        return ring.pack()

    def refuse(self, body):
        with self.assertRaises(Refused) as caught:
            parse_body(body)
        self.assertEqual(caught.exception.code, MALFORMED)

    def test_round_trip(self):
        ring = parse_body(self.body())
        self.assertEqual(ring.pack(), self.body())
        self.assertEqual(ring.roots[1].key_id, sha256(key(2, 384).modulus).digest()[:8])
        self.assertEqual([issuer.classes for issuer in ring.issuers], [2, 4])

    def test_cut_short_anywhere(self):
        body = self.body()
        for length in range(len(body)):
            self.refuse(body[:length])
        self.refuse(body + b"\x00")

    def test_counts(self):
        for at, value in ((0, 0), (0, 3), (1, 0), (1, 5), (2, 0), (2, 9), (3, 1)):
            body = bytearray(self.body())
            body[at] = value
            with self.subTest(at=at, value=value):
                self.refuse(bytes(body))

    def test_same_issuer_key_twice(self):
        issuers = [Issuer("a", 2, key(3)), Issuer("b", 4, key(3))]
        self.refuse(KeyRing(1, [key(1)], issuers).pack())

    def test_issuer_without_a_name(self):
        self.refuse(KeyRing(1, [key(1)], [Issuer("", 2, key(3))]).pack())

    def test_weak_key(self):
        weak = key(3)
        weak.modulus = weak.modulus[:128]
        self.refuse(KeyRing(1, [key(1)], [Issuer("a", 2, weak)]).pack())


if __name__ == "__main__":
    unittest.main()
