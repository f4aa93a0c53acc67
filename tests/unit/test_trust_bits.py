"""Signed objects with something changed on the way: every one is refused, and says why.

Any single bit of an object of each type, bits in pairs, lengths and counts that are wrong by one or
overflow, an object of one type presented as another, objects over their cap. Every bit on CPython;
on MicroPython, where a signature takes four times as long, a seeded part, of which the output says
how many.
"""

import hashlib
import struct
import sys
import unittest

from doorward import state
from doorward.access.control import Access
from doorward.access.intake import Intake
from doorward.config import Config
from doorward.hal.roles import PROVISION_SLOT_BYTES, SECTOR_BYTES, STATE_SLOT_BYTES
from doorward.trust import objects
from doorward.trust.keyring import MAX_RING_BYTES
from doorward.trust.objects import (
    ALLOWLIST_TYPE,
    COMMAND_TYPE,
    DENY_LIST_TYPE,
    HEADER_BYTES,
    KEY_RING_TYPE,
)
from doorward.trust.primitives import no_pause, run_through
from doorward.values import (
    BAD_BODY_HASH,
    BAD_KEY,
    BAD_LENGTH,
    BAD_SIGNATURE,
    CLOCK_SYNCED,
    MALFORMED,
    NOT_AN_OBJECT,
    REFUSALS,
    TOO_FEW_SIGNATURES,
    TOO_LARGE,
    TRUNCATED,
    UNKNOWN_FORMAT,
    UNKNOWN_ISSUER,
    WRONG_ADDRESS,
    WRONG_SITE,
    WRONG_TYPE,
    Refused,
)
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate, vector

IS_MICROPYTHON = sys.implementation.name == "micropython"
SEED = 20_260_114

DAY_0_S = 1_790_000_000
BODY_AT = HEADER_BYTES + 10 + 256

LIST, DENY, COMMAND, RING = (
    "tuf/list_2.dwl",
    "tuf/deny_2.dwd",
    "tuf/lockdown_2.dwc",
    "tuf/root_2.dwk",
)
SMALL = (LIST, DENY, COMMAND, RING)
LARGE = ("objects/police_2.dwl", "objects/police_deny_4_full.dwd")

# Offsets of what is in a header, docs/formats.md.
TYPE, SIGNATURES, COUNT, ENTRY_BYTES, BODY_BYTES, BODY_HASH = 5, 6, 44, 48, 56, 60
SIGNATURE_LENGTH = HEADER_BYTES + 8

# For each field its length, and why a bit changed in it refuses the object: of every type, or of
# allowlist, deny list, command and key ring.
HEADER_FIELDS = (
    ("magic", 4, (NOT_AN_OBJECT,)),
    ("format", 1, (UNKNOWN_FORMAT,)),
    ("type", 1, (WRONG_TYPE, BAD_LENGTH, TOO_LARGE, MALFORMED)),
    (
        "signatures",
        1,
        (MALFORMED, BAD_LENGTH),
        (MALFORMED, BAD_LENGTH),
        (MALFORMED, BAD_LENGTH),
        (MALFORMED, BAD_LENGTH, TRUNCATED),
    ),
    ("reserved", 1, (MALFORMED,)),
    ("site", 16, (WRONG_SITE, MALFORMED)),
    ("version", 4, (BAD_SIGNATURE, MALFORMED)),
    ("issued", 4, (BAD_SIGNATURE,)),
    ("ages", 12, (BAD_SIGNATURE,), (MALFORMED,), (MALFORMED,), (MALFORMED,)),
    # Entries fewer than the body has may leave room for a schedule, as far as a header tells.
    ("entry count", 4, (BAD_LENGTH, BAD_SIGNATURE), (BAD_LENGTH,), (BAD_LENGTH,), (BAD_LENGTH,)),
    ("entry bytes", 2, (BAD_LENGTH,)),
    ("groups", 2, (WRONG_ADDRESS, BAD_SIGNATURE), (MALFORMED,), (MALFORMED,), (MALFORMED,)),
    ("deny version", 4, (BAD_SIGNATURE,), (MALFORMED,), (MALFORMED,), (MALFORMED,)),
    (
        "body bytes",
        4,
        (BAD_LENGTH, TOO_LARGE, TRUNCATED),
        (BAD_LENGTH, TOO_LARGE),
        (BAD_LENGTH, TOO_LARGE),
        (BAD_LENGTH, TOO_LARGE, TRUNCATED),
    ),
    ("body hash", 32, (BAD_SIGNATURE,), (BAD_SIGNATURE,), (BAD_SIGNATURE,), (BAD_BODY_HASH,)),
    ("issuer", 8, (UNKNOWN_ISSUER,), (UNKNOWN_ISSUER,), (UNKNOWN_ISSUER,), (BAD_SIGNATURE,)),
    ("key id", 8, (UNKNOWN_ISSUER,)),
    ("signature length", 2, (BAD_LENGTH, TRUNCATED)),
    ("signature", 256, (BAD_SIGNATURE,)),
)


def read(name):
    with open(vector(name), "rb") as file:
        return file.read()


def numbers(seed):
    """Yield the same pseudo-random 32-bit numbers on both interpreters (xorshift32)."""
    x = seed
    while True:
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        yield x


def flipped(data, *bits):
    """Return `data` with these bits changed, counted from bit 0 of byte 0."""
    changed = bytearray(data)
    for bit in bits:
        changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def with_field(data, at, layout, value):
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    return bytes(changed)


def with_body(data, body):
    """Return an object with another body, its length and hash as they should be; not signed."""
    changed = with_field(data[:BODY_AT], BODY_BYTES, "<I", len(body))
    digest = hashlib.sha256(body).digest()
    return changed[:BODY_HASH] + digest + changed[BODY_HASH + 32 :] + body


class DoorCase(unittest.TestCase):
    """A door that takes each of the objects as it is."""

    def setUp(self):
        self.lists = MemoryFlash(16 * SECTOR_BYTES)
        self.kept = MemoryFlash(2 * SECTOR_BYTES)
        self.given = MemoryFlash(6 * SECTOR_BYTES)
        snapshots = state.Snapshots(self.given, PROVISION_SLOT_BYTES)
        values = {state.KEY_RING: read("tuf/root_1.dwk"), state.SITE_KEY: bytes(range(32))}
        run_through(snapshots.commit(values, OpenGate()))
        self.access = Access(
            self.lists,
            snapshots,
            state.Snapshots(self.kept, STATE_SLOT_BYTES),
            Config({"site": "north", "door": "main", "groups": [1, 3]}),
            WallTime(FakeTicks(), DAY_0_S, CLOCK_SYNCED),
            FakeTicks(),
            OpenGate(),
        )
        self.intake = Intake(self.access.shelf, OpenGate(), no_pause, self.access)
        self.before = self.standing()

    def standing(self):
        """Return what tells that nothing came in force: neither in memory nor on flash."""
        shelf = self.access.shelf
        return (
            shelf.ring.version,
            [one.header.pack() for one in shelf.lists],
            [one.header.pack() for one in shelf.denials],
            self.access.posture.current,
            self.kept.programs,
            self.given.programs,
        )

    def send(self, data, total_bytes=None):
        self.intake.begin(len(data) if total_bytes is None else total_bytes)
        run_through(self.intake.feed(data))
        return run_through(self.intake.finish())

    def code_of(self, data, total_bytes=None):
        """Return why an object is refused, 0 where it is not; what is in force must not change."""
        code = 0
        try:
            self.send(data, total_bytes)
        except Refused as error:
            code = error.code
        if self.standing() != self.before:
            self.fail("refused with %d, yet something changed" % code)
        if self.intake.is_open:
            self.fail("refused with %d, and the intake is still open" % code)
        return code

    def refuse(self, codes, data, what, total_bytes=None):
        code = self.code_of(data, total_bytes)
        if code not in codes:
            found = REFUSALS[code][0] if code else "accepted"
            self.fail("%s: %s, expected %s" % (what, found, [REFUSALS[c][0] for c in codes]))

    def take_all(self):
        """Each is refused for its change alone: as it is, the door takes it."""
        for name in SMALL:
            self.assertFalse(self.send(read(name)).is_repeat)

    def send_over_all(self, name, bits, codes_of):
        """Send an object with each of `bits` changed. codes_of: codes by the bit."""
        data = read(name)
        count = 0
        for bit in bits:
            self.refuse(codes_of(bit), flipped(data, bit), "%s bit %d" % (name, bit))
            count += 1
        print("#", name, count, "of", 8 * len(data), "single bits")


def field_codes(kind):
    """Return the codes for each byte of header and signature of the SMALL object `kind`."""
    codes = []
    for _, length, *by_kind in HEADER_FIELDS:
        codes += [by_kind[kind] if len(by_kind) > 1 else by_kind[0]] * length
    return codes


class OneBitTest(DoorCase):
    def check(self, kind):
        name = SMALL[kind]
        size = len(read(name))
        codes = field_codes(kind)
        self.assertEqual(len(codes), BODY_AT)
        bits = range(8 * size)
        if IS_MICROPYTHON:
            # All of the header, the signature's key id and length; a part of what follows.
            draw = numbers(SEED + kind)
            bits = [bit for bit in bits if bit < 8 * (BODY_AT - 256) or next(draw) % 8 == 0]
        self.send_over_all(
            name, bits, lambda bit: codes[bit >> 3] if bit >> 3 < BODY_AT else (BAD_BODY_HASH,)
        )
        self.take_all()

    def test_allowlist(self):
        self.check(0)

    def test_deny_list(self):
        self.check(1)

    def test_command(self):
        self.check(2)

    def test_key_ring(self):
        self.check(3)

    def test_key_ring_whose_hash_agrees(self):
        # Its body is read before any signature is verified: whatever stands there is a refusal.
        ring = read(RING)
        body = ring[BODY_AT:]
        codes = (BAD_LENGTH, MALFORMED, BAD_KEY, TOO_FEW_SIGNATURES, BAD_SIGNATURE)
        draw = numbers(SEED)
        for bit in range(8 * len(body)):
            if not IS_MICROPYTHON or next(draw) % 16 == 0:
                changed = with_body(ring, flipped(body, bit))
                self.refuse(codes, changed, "body of a ring, bit %d" % bit)
        self.take_all()

    def test_every_byte_of_a_large_body(self):
        for name in LARGE:
            size = len(read(name))
            draw = numbers(SEED)
            step = 16 if IS_MICROPYTHON else 1
            bits = [8 * at + next(draw) % 8 for at in range(BODY_AT, size, step)]
            self.send_over_all(name, bits, lambda bit: (BAD_BODY_HASH,))
            self.send(read(name))
            self.before = self.standing()


class TwoBitsTest(DoorCase):
    def test_pairs(self):
        count = 60 if IS_MICROPYTHON else 600
        for name in SMALL:
            data = read(name)
            draw = numbers(SEED)
            for _ in range(count):
                one = next(draw) % (8 * len(data))
                other = next(draw) % (8 * len(data))
                if one != other:
                    code = self.code_of(flipped(data, one, other))
                    self.assertNotEqual(code, 0, "%s bits %d, %d" % (name, one, other))
            print("#", name, count, "pairs of bits")
        self.take_all()


class InForceTest(DoorCase):
    """The same, of objects that are in force: a changed copy is no repeat of what is there."""

    def setUp(self):
        super().setUp()
        self.take_all()
        self.before = self.standing()

    def check(self, name):
        data = read(name)
        draw = numbers(SEED)
        step = 32 if IS_MICROPYTHON else 4
        for bit in range(8 * len(data)):
            # Few of the head, which a repeat is checked for like any object; all of the body.
            if bit >= 8 * BODY_AT or next(draw) % step == 0:
                code = self.code_of(flipped(data, bit))
                self.assertNotEqual(code, 0, "%s bit %d: accepted" % (name, bit))

    def test_allowlist(self):
        self.check(LIST)

    def test_deny_list(self):
        self.check(DENY)

    def test_command(self):
        self.check(COMMAND)

    def test_key_ring(self):
        self.check(RING)


class LengthTest(DoorCase):
    """Lengths and counts that are wrong by one, or overflow."""

    def off_by_one(self, name, field, at, layout, less, more):
        data = read(name)
        (value,) = struct.unpack_from(layout, data, at)
        for code, other in ((less, value - 1), (more, value + 1)):
            if other >= 0:
                changed = with_field(data, at, layout, other)
                self.refuse((code,), changed, "%s %s %d" % (name, field, other))

    def test_signature_count(self):
        for name in SMALL:
            self.off_by_one(name, "signatures", SIGNATURES, "B", MALFORMED, BAD_LENGTH)

    def test_entry_count(self):
        # Fewer entries than the body has could leave room for a schedule: the signature says no.
        self.off_by_one(LIST, "entries", COUNT, "<I", BAD_SIGNATURE, BAD_LENGTH)
        for name in SMALL[1:]:
            self.off_by_one(name, "entries", COUNT, "<I", BAD_LENGTH, BAD_LENGTH)

    def test_entry_bytes(self):
        for name in SMALL:
            self.off_by_one(name, "bytes of an entry", ENTRY_BYTES, "<H", BAD_LENGTH, BAD_LENGTH)

    def test_body_bytes(self):
        self.off_by_one(LIST, "bytes of the body", BODY_BYTES, "<I", BAD_LENGTH, TRUNCATED)
        for name in SMALL[1:3]:
            self.off_by_one(name, "bytes of the body", BODY_BYTES, "<I", BAD_LENGTH, BAD_LENGTH)
        # Of a ring nothing but what is sent says how long it should be.
        self.off_by_one(RING, "bytes of the body", BODY_BYTES, "<I", BAD_LENGTH, TRUNCATED)

    def test_signature_length(self):
        for name in SMALL:
            self.off_by_one(name, "length", SIGNATURE_LENGTH, "<H", BAD_LENGTH, TRUNCATED)

    def test_length_of_the_whole(self):
        for name in SMALL:
            data = read(name)
            self.refuse((TRUNCATED,), data[:-1], name + " cut short")
            self.refuse((TRUNCATED,), data[:-1], name + " broken off", len(data))
            self.refuse((BAD_LENGTH,), data + b"\x00", name + " with a byte more")
            self.refuse((TOO_LARGE,), data + b"\x00", name + " sent on", len(data))
            self.refuse((BAD_LENGTH,), data, name + " announced too long", len(data) + 1)

    def test_body_of_another_length_with_a_header_that_agrees(self):
        for name, code in (
            (LIST, BAD_SIGNATURE),
            (DENY, BAD_LENGTH),
            (COMMAND, BAD_LENGTH),
            (RING, BAD_LENGTH),
        ):
            data = read(name)
            self.refuse((BAD_LENGTH,), with_body(data, data[BODY_AT:-1]), name + " body - 1")
            self.refuse((code,), with_body(data, data[BODY_AT:] + b"\x00"), name + " body + 1")

    def test_counts_and_lengths_inside_a_ring(self):
        ring = read(RING)
        body = ring[BODY_AT:]
        root_at = 4
        police_at = root_at + 2 + 256
        district_at = police_at + 38 + 256
        self.assertEqual(district_at + 38 + 256, len(body))
        for what, at, layout, less, more in (
            ("threshold", 0, "B", MALFORMED, MALFORMED),
            ("roots", 1, "B", MALFORMED, BAD_LENGTH),
            ("issuers", 2, "B", BAD_LENGTH, BAD_LENGTH),
            ("bytes of a root", root_at, "<H", BAD_KEY, BAD_KEY),
            ("bytes of the first issuer", police_at + 36, "<H", BAD_KEY, BAD_KEY),
            ("bytes of the last issuer", district_at + 36, "<H", BAD_KEY, BAD_LENGTH),
        ):
            (value,) = struct.unpack_from(layout, body, at)
            for code, other in ((less, value - 1), (more, value + 1)):
                changed = with_body(ring, with_field(body, at, layout, other))
                self.refuse((code,), changed, "%s %d" % (what, other))

    def test_counts_that_overflow(self):
        # Times its bytes each is the body's length modulo 2^32, or 2^16.
        for name, counts in (
            (LIST, (0x40000004, 0x80000004, 0xC0000004)),
            (DENY, (0x80000002,)),
        ):
            data = read(name)
            for count in counts:
                (entry_bytes,) = struct.unpack_from("<H", data, ENTRY_BYTES)
                (body_bytes,) = struct.unpack_from("<I", data, BODY_BYTES)
                self.assertEqual(count * entry_bytes & 0xFFFFFFFF, body_bytes)
                changed = with_field(data, COUNT, "<I", count)
                self.refuse((BAD_LENGTH,), changed, "%s %d entries" % (name, count))

    def test_largest_numbers(self):
        for name in SMALL:
            data = read(name)
            for code, what, at, layout, value in (
                (MALFORMED, "signatures", SIGNATURES, "B", 0xFF),
                (BAD_LENGTH, "entries", COUNT, "<I", 0xFFFFFFFF),
                (BAD_LENGTH, "bytes of an entry", ENTRY_BYTES, "<H", 0xFFFF),
                (TOO_LARGE, "bytes of the body", BODY_BYTES, "<I", 0xFFFFFFFF),
                (BAD_LENGTH, "length of the signature", SIGNATURE_LENGTH, "<H", 0xFFFF),
            ):
                self.refuse((code,), with_field(data, at, layout, value), name + " " + what)


class TypeTest(DoorCase):
    def test_presented_as_another(self):
        for name, codes in (
            # as key ring, allowlist, deny list, command
            (LIST, (BAD_LENGTH, 0, BAD_LENGTH, TOO_LARGE)),
            ("tuf/list_1.dwl", (BAD_LENGTH, 0, BAD_LENGTH, BAD_LENGTH)),
            (DENY, (BAD_LENGTH, BAD_LENGTH, 0, BAD_LENGTH)),
            (COMMAND, (MALFORMED, BAD_LENGTH, BAD_LENGTH, 0)),
            (RING, (0, BAD_LENGTH, BAD_LENGTH, TOO_LARGE)),
        ):
            data = read(name)
            kinds = (KEY_RING_TYPE, ALLOWLIST_TYPE, DENY_LIST_TYPE, COMMAND_TYPE)
            for kind, code in zip(kinds, codes):
                if kind != data[TYPE]:
                    what = "%s as %s" % (name, objects.TYPES[kind])
                    self.refuse((code,), with_field(data, TYPE, "B", kind), what)
            for kind in (0, 5, 0xFF):
                self.refuse((WRONG_TYPE,), with_field(data, TYPE, "B", kind), name)

    def test_presented_as_another_in_its_shape(self):
        # What fits the other type in every length still carries a signature for its own.
        ids = read(DENY)[BODY_AT:]
        as_list = with_body(with_field(read(DENY), TYPE, "B", ALLOWLIST_TYPE), ids)
        as_list = with_field(with_field(as_list, ENTRY_BYTES, "<H", 20), COUNT, "<I", 1)
        self.refuse((BAD_SIGNATURE,), as_list, "deny list in the shape of an allowlist")
        as_deny = with_body(
            with_field(read(LIST), TYPE, "B", DENY_LIST_TYPE), read(LIST)[BODY_AT:]
        )
        as_deny = with_field(with_field(as_deny, ENTRY_BYTES, "<H", 10), COUNT, "<I", 8)
        self.refuse((BAD_SIGNATURE,), as_deny, "allowlist in the shape of a deny list")
        as_command = with_body(read(LIST), read(COMMAND)[BODY_AT:])
        as_command = with_field(as_command, TYPE, "B", COMMAND_TYPE)
        as_command = with_field(with_field(as_command, ENTRY_BYTES, "<H", 0), COUNT, "<I", 0)
        self.refuse((BAD_SIGNATURE,), as_command, "allowlist with the body of a command")


class SizeTest(DoorCase):
    def test_over_the_cap_of_its_type(self):
        for name in SMALL:
            data = read(name)
            cap = objects.MAX_BODIES[data[TYPE]]
            self.refuse(
                (TOO_LARGE,), with_field(data, BODY_BYTES, "<I", cap + 1), name, BODY_AT + cap + 1
            )

    def test_over_any_cap(self):
        most = objects.MAX_HEAD_BYTES + objects.MAX_BODY_BYTES
        for total_bytes in (most + 1, 1 << 31, 1 << 32, 1 << 64):
            self.refuse((TOO_LARGE,), b"", "announced", total_bytes)

    def test_a_ring_longer_than_any(self):
        data = read(RING)
        self.refuse((TOO_LARGE,), data, "ring", MAX_RING_BYTES + 1)


if __name__ == "__main__":
    unittest.main()
