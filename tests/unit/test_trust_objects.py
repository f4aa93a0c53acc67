"""Headers and signature blocks: what is read back, and every reason to refuse."""

import struct
import unittest

from doorward.trust import objects
from doorward.trust.keyring import read_ring
from doorward.trust.objects import Header, parse_header, parse_signatures
from doorward.trust.primitives import no_pause, run_through
from doorward.values import (
    BAD_LENGTH,
    BAD_SIGNATURE,
    MALFORMED,
    NOT_AN_OBJECT,
    TOO_LARGE,
    TRUNCATED,
    UNKNOWN_FORMAT,
    UNKNOWN_ISSUER,
    WRONG_TYPE,
    Refused,
)
from support import vector

# Offsets in the header, docs/formats.md.
MAGIC, FORMAT, TYPE, SIGNATURES, RESERVED = 0, 4, 5, 6, 7
SITE, VERSION, COUNT, ENTRY_BYTES, BODY_BYTES = 8, 24, 44, 48, 56


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
        for length in (0, 1, 3):
            self.refuse(NOT_AN_OBJECT, packed[:length])
        for length in (4, 99):
            self.refuse(TRUNCATED, packed[:length])

    def test_every_structural_field(self):
        for code, at, layout, value in (
            (NOT_AN_OBJECT, MAGIC, "4s", b"DWSX"),
            (UNKNOWN_FORMAT, FORMAT, "B", 0),
            (UNKNOWN_FORMAT, FORMAT, "B", 2),
            (WRONG_TYPE, TYPE, "B", 0),
            (WRONG_TYPE, TYPE, "B", 5),
            (MALFORMED, SIGNATURES, "B", 0),
            (MALFORMED, SIGNATURES, "B", 9),
            (MALFORMED, RESERVED, "B", 1),
            (MALFORMED, SITE, "16s", b""),
            (MALFORMED, SITE, "16s", b"no rth"),
            (MALFORMED, SITE, "16s", b"no\x00rth"),
            (MALFORMED, SITE, "16s", b"n\xc3\xb6rth"),
            (MALFORMED, SITE, "16s", b"\x7f"),
            (MALFORMED, VERSION, "<I", 0),
            (BAD_LENGTH, COUNT, "<I", 6),
            (BAD_LENGTH, COUNT, "<I", 0xFFFFFFFF),
            (BAD_LENGTH, ENTRY_BYTES, "<H", 21),
            (BAD_LENGTH, BODY_BYTES, "<I", 99),
        ):
            with self.subTest(at=at, value=value):
                self.refuse(code, self.with_field(at, layout, value))

    def test_a_schedule_lies_behind_the_entries_of_an_allowlist_only(self):
        for at, layout, value in ((COUNT, "<I", 4), (BODY_BYTES, "<I", 101)):
            data = bytearray(self.with_field(at, layout, value))
            parse_header(bytes(data))
            data[TYPE] = objects.DENY_LIST_TYPE
            # Ages are an allowlist's too.
            data[32:44] = bytes(12)
            self.refuse(BAD_LENGTH, bytes(data))

    def test_what_only_allowlists_have(self):
        for object_type in (objects.KEY_RING_TYPE, objects.DENY_LIST_TYPE, objects.COMMAND_TYPE):
            made = Header()
            made.type = object_type
            made.site = "north"
            made.version = 1
            parse_header(made.pack())
            for name in (
                "soft_stale_s",
                "hard_stale_s",
                "responder_stale_s",
                "groups",
                "includes_deny",
            ):
                setattr(made, name, 1)
                with self.subTest(type=object_type, field=name):
                    self.refuse(MALFORMED, made.pack())
                setattr(made, name, 0)

    def test_cap_of_each_type(self):
        for object_type, most in objects.MAX_BODIES.items():
            made = Header()
            made.type = object_type
            made.site = "north"
            made.version = 1
            made.body_bytes = most
            parse_header(made.pack())
            made.body_bytes += 1
            self.refuse(TOO_LARGE, made.pack())

    def test_counts_that_would_overflow_32_bits(self):
        # 0x10000005 * 16 = 2^32 + 80: a 32-bit product would be 80.
        data = bytearray(self.with_field(COUNT, "<I", 0x10000005))
        struct.pack_into("<H", data, ENTRY_BYTES, 16)
        struct.pack_into("<I", data, BODY_BYTES, 80)
        self.refuse(BAD_LENGTH, bytes(data))

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
        signatures, body_at = parse_signatures(bytes(100) + blocks + b"body", 2)
        self.assertEqual(signatures, [(b"key-id-1", b"s" * 256), (b"key-id-2", b"t" * 384)])
        self.assertEqual(body_at, 100 + len(blocks))

    def test_cut_short_anywhere(self):
        data = bytes(100) + objects.pack_signature(b"key-id-1", b"s" * 256)
        for length in range(100, len(data)):
            self.assertIsNone(parse_signatures(data[:length], 1))

    def test_length_out_of_range(self):
        for length in (0, 385, 0xFFFF):
            data = bytes(100) + b"key-id-1" + struct.pack("<H", length) + bytes(400)
            with self.assertRaises(Refused) as caught:
                parse_signatures(data, 1)
            self.assertEqual(caught.exception.code, BAD_LENGTH)

    def test_most_signatures_of_the_largest_key_fit_the_cap(self):
        blocks = objects.pack_signature(b"key-id-1", b"s" * 384) * objects.MAX_SIGNATURES
        self.assertEqual(objects.HEADER_BYTES + len(blocks), objects.MAX_HEAD_BYTES)


class VerifyTest(unittest.TestCase):
    def setUp(self):
        with open(vector("objects/police_1.dwl"), "rb") as file:
            self.data = file.read()
        with open(vector("objects/ring.dwk"), "rb") as file:
            ring = read_ring(file.read())
        self.police, self.district = (issuer.key for issuer in ring.issuers)

    def verify(self, data, keys, threshold=1):
        quorums = ((keys, threshold),)
        return run_through(objects.verify(data, parse_header(data), quorums, no_pause))

    def refuse(self, code, data, keys, threshold=1):
        with self.assertRaises(Refused) as caught:
            self.verify(data, keys, threshold)
        self.assertEqual(caught.exception.code, code)

    def test_returns_where_the_body_begins(self):
        self.assertEqual(self.verify(self.data, [self.district, self.police]), 100 + 266)

    def test_signed_by_another(self):
        self.refuse(UNKNOWN_ISSUER, self.data, [self.district])
        self.refuse(UNKNOWN_ISSUER, self.data, [])

    def test_signed_by_another_in_this_name(self):
        with open(vector("objects/signed_by_district.dwl"), "rb") as file:
            data = file.read()
        data = data[:100] + self.police.key_id + data[108:]
        self.refuse(BAD_SIGNATURE, data, [self.police])

    def test_one_key_does_not_sign_twice(self):
        with open(vector("objects/two_signatures.dwl"), "rb") as file:
            data = file.read()
        self.refuse(MALFORMED, data, [self.police, self.district], 1)
        self.refuse(MALFORMED, data, [self.police, self.district], 2)

    def test_cut_short(self):
        self.refuse(TRUNCATED, self.data[:200], [self.police])


if __name__ == "__main__":
    unittest.main()
