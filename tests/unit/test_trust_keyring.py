"""Key rings: round trip, threshold, and every reason to refuse."""

import unittest
from hashlib import sha256

from doorward.trust.keyring import (
    ALL_GROUPS,
    MAX_RING_BYTES,
    MAY_DENY,
    MAY_LIST,
    MAY_UNLOCK,
    Issuer,
    KeyRing,
    open_ring,
    open_successor,
    parse_body,
    read_ring,
)
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import PublicKey
from doorward.values import (
    BAD_BODY_HASH,
    BAD_KEY,
    BAD_LENGTH,
    MALFORMED,
    NOT_AN_OBJECT,
    OLD_VERSION,
    RESPONDER,
    STAFF,
    TOO_FEW_SIGNATURES,
    TOO_LARGE,
    TRUNCATED,
    UNKNOWN_ISSUER,
    VISITOR,
    WRONG_SITE,
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
        self.refuse(TOO_FEW_SIGNATURES, read("ring_one_signature_short.dwk"))

    def test_one_root_signs_twice(self):
        self.refuse(TOO_FEW_SIGNATURES, read("ring_one_root_twice.dwk"))

    def test_signed_by_no_root_of_its_own(self):
        self.refuse(UNKNOWN_ISSUER, read("ring_signed_by_stranger.dwk"))

    def test_threshold_of_none(self):
        self.refuse(MALFORMED, read("ring_of_no_root.dwk"))

    def test_a_root_listed_twice_is_no_second_root(self):
        self.refuse(BAD_KEY, read("ring_root_listed_twice.dwk"))

    def test_an_allowlist_is_no_key_ring(self):
        self.refuse(WRONG_TYPE, read("police_1.dwl"))

    def test_nothing_at_all(self):
        self.refuse(NOT_AN_OBJECT, b"")

    def test_cut_short_and_too_long(self):
        ring = read("ring.dwk")
        self.refuse(TRUNCATED, ring[:99])
        self.refuse(TRUNCATED, ring[:300])
        self.refuse(BAD_LENGTH, ring[:-1])
        self.refuse(BAD_LENGTH, ring + b"\x00")
        self.refuse(BAD_BODY_HASH, ring[:-1] + bytes((ring[-1] ^ 1,)))
        self.refuse(TOO_LARGE, ring + bytes(MAX_RING_BYTES))

    def test_a_bit_changed_in_every_byte(self):
        ring = read("ring.dwk")
        for i in range(len(ring)):
            changed = bytearray(ring)
            changed[i] ^= 1 << i % 8
            with self.subTest(byte=i), self.assertRaises(Refused):
                run_through(open_ring(bytes(changed), no_pause))


class ScopeTest(unittest.TestCase):
    def test_power_site_and_group(self):
        one = Issuer("a", 2, key(3), site="north", groups=0b101, powers=MAY_LIST)
        self.assertTrue(one.may_sign(MAY_LIST, "north", 0b100))
        self.assertFalse(one.may_sign(MAY_DENY, "north", 0b100))
        self.assertFalse(one.may_sign(MAY_LIST, "south", 0b100))
        self.assertFalse(one.may_sign(MAY_LIST, "north", 0b010))
        self.assertFalse(one.may_sign(MAY_LIST, "north", 0))

    def test_everywhere(self):
        one = Issuer("a", 2, key(3))
        self.assertTrue(one.may_sign(MAY_LIST, "north", 0))
        self.assertTrue(one.may_sign(MAY_DENY, "south", 8))
        self.assertFalse(one.may_sign(MAY_UNLOCK, "north", 0))


class SuccessorTest(unittest.TestCase):
    def setUp(self):
        self.current = read_ring(read("ring.dwk"))

    def open(self, name, site="north"):
        return run_through(open_successor(read(name), self.current, site, no_pause))

    def refuse(self, code, name, site="north"):
        with self.assertRaises(Refused) as caught:
            self.open(name, site)
        self.assertEqual(caught.exception.name, Refused(code).name)

    def test_the_next(self):
        self.assertEqual(self.open("ring_2.dwk").version, 2)

    def test_not_the_very_next(self):
        self.assertEqual(self.open("ring_3_police_moved.dwk").version, 3)

    def test_the_same_or_an_older(self):
        self.refuse(OLD_VERSION, "ring.dwk")
        self.current = self.open("ring_3_police_moved.dwk")
        self.refuse(OLD_VERSION, "ring_2.dwk")

    def test_for_several_sites(self):
        self.assertEqual(self.open("ring_2_any_site.dwk", "south").site, "*")
        self.refuse(WRONG_SITE, "ring_2_other_site.dwk")

    def test_roots_that_all_change(self):
        self.current = self.open("ring_4_roots_moved.dwk")
        self.assertEqual((self.current.threshold, len(self.current.roots)), (2, 2))
        self.assertEqual(self.open("ring_5_by_moved_roots.dwk").version, 5)
        # The old root has no say any more.
        self.refuse(TOO_FEW_SIGNATURES, "ring_2.dwk")

    def test_signed_by_the_old_roots_alone(self):
        self.refuse(TOO_FEW_SIGNATURES, "ring_4_only_old_signed.dwk")

    def test_signed_by_the_new_roots_alone(self):
        self.refuse(TOO_FEW_SIGNATURES, "ring_4_only_new_signed.dwk")

    def test_new_roots_below_their_threshold(self):
        self.refuse(TOO_FEW_SIGNATURES, "ring_4_new_below_threshold.dwk")

    def test_a_bit_changed_in_every_byte(self):
        ring = read("ring_4_roots_moved.dwk")
        for i in range(len(ring)):
            changed = bytearray(ring)
            changed[i] ^= 1 << i % 8
            with self.subTest(byte=i), self.assertRaises(Refused):
                run_through(open_successor(bytes(changed), self.current, "north", no_pause))


class BodyTest(unittest.TestCase):
    def body(self):
        issuers = [
            Issuer("a", 2, key(3)),
            Issuer("b", 4, key(4), site="north", groups=5, powers=MAY_LIST | MAY_UNLOCK),
        ]
        return KeyRing(1, [key(1), key(2, 384)], issuers).pack()

    def refuse(self, code, body):
        with self.assertRaises(Refused) as caught:
            parse_body(body)
        self.assertEqual(caught.exception.code, code)

    def test_round_trip(self):
        ring = parse_body(self.body())
        self.assertEqual(ring.pack(), self.body())
        self.assertEqual(ring.roots[1].key_id, sha256(key(2, 384).modulus).digest()[:8])
        told = [(one.classes, one.site, one.groups, one.powers) for one in ring.issuers]
        self.assertEqual(
            told,
            [
                (2, "*", ALL_GROUPS, MAY_LIST | MAY_DENY),
                (4, "north", 5, MAY_LIST | MAY_UNLOCK),
            ],
        )

    def test_cut_short_anywhere(self):
        body = self.body()
        for length in range(len(body)):
            self.refuse(BAD_LENGTH, body[:length])
        self.refuse(BAD_LENGTH, body + b"\x00")

    def test_counts(self):
        for at, value in ((0, 0), (0, 3), (1, 0), (1, 5), (2, 0), (2, 9), (3, 1)):
            body = bytearray(self.body())
            body[at] = value
            with self.subTest(at=at, value=value):
                self.refuse(MALFORMED, bytes(body))

    def test_same_issuer_key_twice(self):
        issuers = [Issuer("a", 2, key(3)), Issuer("b", 4, key(3))]
        self.refuse(BAD_KEY, KeyRing(1, [key(1)], issuers).pack())

    def test_issuer_without_a_name(self):
        self.refuse(MALFORMED, KeyRing(1, [key(1)], [Issuer("", 2, key(3))]).pack())

    def test_scope_that_is_none(self):
        for scope in ({"site": ""}, {"groups": 0}, {"powers": 64}):
            with self.subTest(scope=scope):
                self.refuse(
                    MALFORMED, KeyRing(1, [key(1)], [Issuer("a", 2, key(3), **scope)]).pack()
                )

    def test_weak_key(self):
        weak = key(3)
        weak.modulus = weak.modulus[:128]
        self.refuse(BAD_KEY, KeyRing(1, [key(1)], [Issuer("a", 2, weak)]).pack())


if __name__ == "__main__":
    unittest.main()
