"""Headers and signature blocks: what is read back, and every reason to refuse."""

import struct
import unittest

from doorward.trust import objects
from doorward.trust.objects import Header, parse_header, parse_signatures
from doorward.trust.primitives import no_pause, run_through
from doorward.trust.signatures import PublicKey
from doorward.values import BAD_SIGNATURE, MALFORMED, TOO_LARGE, UNKNOWN_ISSUER, Refused
from support import vector

# Offsets in the header, docs/formats.md.
MAGIC, FORMAT, TYPE, SIGNATURES, RESERVED = 0, 4, 5, 6, 7
SITE, VERSION, COUNT, ENTRY_BYTES, RESERVED_TOO, BODY_BYTES = 8, 24, 44, 48, 50, 52


def header() -> Header:
    made = Header()
    made.type = objects.ALLOWLIST_TYPE
    made.site = "north"
    made.version = 7
    made.issued_s = 1_790_000_000
    made.soft_stale_s = 1
    made.hard_stale_s = 2
    made.responder_stale_s = 3
    made.entry_count = 5
    made.entry_bytes = 20
    made.body_bytes = 100
    made.body_hash = bytes(range(32))
    made.issuer_id = b"issuerid"
    return made


def vars_of(made: Header) -> dict:
    return {name: getattr(made, name) for name in dir(made) if name[:2] != "__" and name != "pack"}


class HeaderTest(unittest.TestCase):
    def refuse(self, code, data):
        with self.assertRaises(Refused) as caught:
            parse_header(data)
        self.assertEqual(caught.exception.code, code)

    def with_field(self, at, layout, value):
        data = bytearray(header().pack())
        struct.pack_into(layout, data, at, value)
        return bytes(data)

    def test_round_trip(self):
        packed = header().pack()
        self.assertEqual(len(packed), objects.HEADER_BYTES)
        parsed = parse_header(packed + b"whatever follows")
        self.assertEqual(vars_of(parsed), vars_of(header()))
        self.assertEqual(parsed.pack(), packed)

    def test_too_short(self):
        packed = header().pack()
        for length in (0, 1, 95):
            self.refuse(MALFORMED, packed[:length])

    def test_every_structural_field(self):
        for at, layout, value in (
            (MAGIC, "4s", b"DWSX"),
            (FORMAT, "B", 0),
            (FORMAT, "B", 2),
            (TYPE, "B", 0),
            (TYPE, "B", 3),
            (SIGNATURES, "B", 0),
            (SIGNATURES, "B", 5),
            (RESERVED, "B", 1),
            (RESERVED_TOO, "<H", 1),
            (SITE, "16s", b""),
            (SITE, "16s", b"no rth"),
            (SITE, "16s", b"no\x00rth"),
            (SITE, "16s", b"n\xc3\xb6rth"),
            (SITE, "16s", b"\x7f"),
            (VERSION, "<I", 0),
            (COUNT, "<I", 4),
            (COUNT, "<I", 6),
            (COUNT, "<I", 0xFFFFFFFF),
            (ENTRY_BYTES, "<H", 21),
            (BODY_BYTES, "<I", 99),
            (BODY_BYTES, "<I", 101),
        ):
            with self.subTest(at=at, value=value):
                self.refuse(MALFORMED, self.with_field(at, layout, value))

    def test_counts_that_would_overflow_32_bits(self):
        # 0x10000005 * 16 = 2^32 + 80: a 32-bit product would be 80.
        data = bytearray(self.with_field(COUNT, "<I", 0x10000005))
        struct.pack_into("<H", data, ENTRY_BYTES, 16)
        struct.pack_into("<I", data, BODY_BYTES, 80)
        self.refuse(MALFORMED, bytes(data))

    def test_body_over_the_cap(self):
        made = header()
        made.entry_count = made.entry_bytes = 0
        made.body_bytes = objects.MAX_BODY_BYTES
        parse_header(made.pack())
        made.body_bytes += 1
        self.refuse(TOO_LARGE, made.pack())

    def test_longest_site(self):
        made = header()
        made.site = "x" * 16
        self.assertEqual(parse_header(made.pack()).site, "x" * 16)


class SignaturesTest(unittest.TestCase):
    def test_round_trip(self):
        blocks = objects.pack_signature(b"key-id-1", b"s" * 256)
        blocks += objects.pack_signature(b"key-id-2", b"t" * 384)
        signatures, body_at = parse_signatures(bytes(96) + blocks + b"body", 2)
        self.assertEqual(signatures, [(b"key-id-1", b"s" * 256), (b"key-id-2", b"t" * 384)])
        self.assertEqual(body_at, 96 + len(blocks))

    def test_cut_short_anywhere(self):
        data = bytes(96) + objects.pack_signature(b"key-id-1", b"s" * 256)
        for length in range(96, len(data)):
            self.assertIsNone(parse_signatures(data[:length], 1))

    def test_length_out_of_range(self):
        for length in (0, 385, 0xFFFF):
            data = bytes(96) + b"key-id-1" + struct.pack("<H", length) + bytes(400)
            with self.assertRaises(Refused) as caught:
                parse_signatures(data, 1)
            self.assertEqual(caught.exception.code, MALFORMED)

    def test_most_signatures_of_the_largest_key_fit_the_cap(self):
        blocks = objects.pack_signature(b"key-id-1", b"s" * 384) * objects.MAX_SIGNATURES
        self.assertEqual(objects.HEADER_BYTES + len(blocks), objects.MAX_HEAD_BYTES)


class VerifyTest(unittest.TestCase):
    def setUp(self):
        with open(vector("objects/police_1.dwl"), "rb") as file:
            self.data = file.read()
        with open(vector("objects/ring.dwk"), "rb") as file:
            ring = file.read()
        # The police are the first issuer: header, one signature, root, then their modulus.
        at = 96 + 266 + 4 + 258 + 20
        self.police = PublicKey(ring[at : at + 256])
        self.district = PublicKey(ring[at + 276 : at + 276 + 256])

    def verify(self, data, keys, threshold=1):
        return run_through(objects.verify(data, parse_header(data), keys, threshold, no_pause))

    def refuse(self, code, data, keys, threshold=1):
        with self.assertRaises(Refused) as caught:
            self.verify(data, keys, threshold)
        self.assertEqual(caught.exception.code, code)

    def test_returns_where_the_body_begins(self):
        self.assertEqual(self.verify(self.data, [self.district, self.police]), 96 + 266)

    def test_signed_by_another(self):
        self.refuse(UNKNOWN_ISSUER, self.data, [self.district])
        self.refuse(UNKNOWN_ISSUER, self.data, [])

    def test_signed_by_another_in_this_name(self):
        with open(vector("objects/signed_by_district.dwl"), "rb") as file:
            data = file.read()
        data = data[:96] + self.police.key_id + data[104:]
        self.refuse(BAD_SIGNATURE, data, [self.police])

    def test_one_key_does_not_count_twice(self):
        with open(vector("objects/two_signatures.dwl"), "rb") as file:
            data = file.read()
        self.verify(data, [self.police, self.district], 1)
        self.refuse(BAD_SIGNATURE, data, [self.police, self.district], 2)

    def test_cut_short(self):
        self.refuse(MALFORMED, self.data[:200], [self.police])


if __name__ == "__main__":
    unittest.main()
