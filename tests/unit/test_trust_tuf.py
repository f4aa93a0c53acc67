"""TUF's conformance cases about rollback, expiry, rotation and keys, by their names, at a door.

The suite is theupdateframework/tuf-conformance; its names, our words. How its roles map:

- root -> key ring: replaced by one that a threshold of the old and of the new roots signed.
- targets -> allowlist. Its key and what it may say stand in the ring as a delegation's do.
- timestamp, the small one that comes often -> deny list; where it is about expiry -> command.

What a door answers otherwise, on purpose:

- A signature by nobody whom the object needs is ignored by TUF and refuses the object at a door, as
  does one that does not verify beside enough that do: no bit of an object can be changed unseen.
- An expired targets file is not taken by TUF. A door takes the list, because what is no longer on
  it must stop opening, and grants by none of it.
- A ring may skip versions: the old roots vouch for whatever they have signed.

A ring has four roots at most, so that the cases named 3-of-5 run as 3 of 4.

Without a counterpart:

- test_simple_snapshot_rollback, test_snapshot_rollback, test_new_snapshot_fast_forward_recovery,
  test_new_snapshot_version_mismatch, test_snapshot_expired: nothing binds the versions of several
  lists; each has its issuer, its version and its staleness of its own.
- test_root_expired, test_expired_local_root: a ring has no end. A door that has been off the network
  for a year must still know the police; staleness is a matter of lists.
- test_delegated_expiration: a list delegates to nobody.
- test_non_root_rotations, the cases named 2-of-5 and 3-of-5: a list, deny list or command has one
  signer and no threshold.
- test_keytype_and_scheme with ecdsa and ed25519: doors verify RSASSA-PSS alone.
- test_custom_fields, test_deprecated_keyid_hash_algorithms: a format without unknown fields.
- test_url_and_metadata_version_mismatch, the cases about requests, 404 and downloads: objects are
  brought to a door; it asks for none.
"""

import unittest

from doorward import state
from doorward.access.control import Access
from doorward.access.intake import Intake
from doorward.config import Config
from doorward.hal.roles import PROVISION_SLOT_BYTES, SECTOR_BYTES, STATE_SLOT_BYTES
from doorward.trust.keyring import open_ring
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
    GRANTED,
    LIST_TOO_OLD,
    LOCKDOWN,
    MALFORMED,
    NORMAL,
    OLD_VERSION,
    REPLAYED,
    RESPONDER,
    REVOKED,
    TOO_FEW_SIGNATURES,
    TOO_LATE,
    UNKNOWN_BADGE,
    UNKNOWN_ISSUER,
    Badge,
    Refused,
)
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate, vector

DAY_S = 86_400
DAY_0_S = 1_790_000_000


def read(name):
    with open(vector("tuf/" + name), "rb") as file:
        return file.read()


def with_bit(data, at):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


class DoorCase(unittest.TestCase):
    """A door of the site `north`, on day 0, that was provisioned with a ring."""

    ring = "root_1.dwk"

    def setUp(self):
        self.provision(read(self.ring))

    def provision(self, ring):
        """Make a new door that was given `ring`, as provisioning does. Raises Refused."""
        run_through(open_ring(ring, no_pause))
        self.lists = MemoryFlash(16 * SECTOR_BYTES)
        self.kept = MemoryFlash(2 * SECTOR_BYTES)
        self.given = MemoryFlash(6 * SECTOR_BYTES)
        self.time = WallTime(FakeTicks(), DAY_0_S, CLOCK_SYNCED)
        snapshots = state.Snapshots(self.given, PROVISION_SLOT_BYTES)
        values = {state.KEY_RING: ring, state.SITE_KEY: bytes(range(32))}
        run_through(snapshots.commit(values, OpenGate()))
        self.start()

    def start(self):
        """Start anew on the same flash."""
        self.access = Access(
            self.lists,
            state.Snapshots(self.given, PROVISION_SLOT_BYTES),
            state.Snapshots(self.kept, STATE_SLOT_BYTES),
            Config({"site": "north", "door": "main"}),
            self.time,
            FakeTicks(),
            OpenGate(),
        )
        self.intake = Intake(self.access.shelf, OpenGate(), no_pause, self.access)

    def on_day(self, day):
        self.time.set(DAY_0_S + day * DAY_S)

    def send(self, data):
        if isinstance(data, str):
            data = read(data)
        self.intake.begin(len(data))
        run_through(self.intake.feed(data))
        return run_through(self.intake.finish())

    def trusted(self):
        """Return what the door believes: ring version, and version of each list by type."""
        shelf = self.access.shelf
        lists = [one.header.version for one in shelf.lists]
        return shelf.ring.version, lists, [one.header.version for one in shelf.denials]

    def refuse(self, code, data):
        """Refused with `code`, and what was trusted still is, after a restart too."""
        trusted = self.trusted()
        with self.assertRaises(Refused) as caught:
            self.send(data)
        self.assertEqual(caught.exception.name, Refused(code).name)
        self.assertEqual(self.trusted(), trusted)
        self.start()
        self.assertEqual(self.trusted(), trusted)

    def tap(self, number):
        """Return why the responder of this number is let in or not."""
        badge = Badge()
        badge.identity[:8] = bytes((7, 4, RESPONDER)) + number.to_bytes(5, "big")
        return self.access.decide(badge).reason


# Case: (versions, code with which the last one is refused or 0).
ROTATIONS = {
    "1-of-1-key-rotation": (3, 0),
    "3-of-5-sign-with-different-keycombos": (4, 0),
    "3-of-5-one-key-rotated": (2, 0),
    "3-of-5-one-key-rotated-with-intermediate-step": (3, 0),
    "3-of-5-all-keys-rotated-with-intermediate-step": (3, 0),
    "1-of-3-threshold-increase-to-2-of-3": (2, 0),
    "2-of-3-threshold-decrease-to-1-of-3": (3, 0),
    "1-of-2-threshold-increase-to-2-of-2": (2, 0),
    "1-of-1-key-rotation-fail-not-signed-with-old-key": (2, TOO_FEW_SIGNATURES),
    "1-of-1-key-rotation-fail-not-signed-with-new-key": (2, TOO_FEW_SIGNATURES),
    "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys": (2, TOO_FEW_SIGNATURES),
    "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys": (2, TOO_FEW_SIGNATURES),
    "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": (2, TOO_FEW_SIGNATURES),
    "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-eached": (2, TOO_FEW_SIGNATURES),
}


class RotationTest(DoorCase):
    """test_updater_key_rotations.py: a method for each case, made below."""

    def check_root_rotation(self, case):
        versions, code = ROTATIONS[case]
        self.provision(read(case + ".1.dwk"))
        for version in range(2, versions + 1):
            data = read("%s.%d.dwk" % (case, version))
            if version == versions and code:
                self.refuse(code, data)
                continue
            self.send(data)
            # In force at once, kept byte for byte, and still there after a restart.
            self.assertEqual(self.access.shelf.ring.version, version)
            self.start()
            self.assertEqual(self.access.shelf.ring.version, version)
            self.assertEqual(self.access.ring_object(), data)

    def test_root_rotation_1_of_1_key_rotation_unused_signatures(self):
        # TUF ignores them, and so does provisioning; see above for a door.
        case = "1-of-1-key-rotation-unused-signatures"
        for version in (1, 3):
            self.provision(read("%s.%d.dwk" % (case, version)))
            self.assertEqual(self.access.shelf.ring.version, version)
        self.provision(read("1-of-1-key-rotation.1.dwk"))
        self.refuse(UNKNOWN_ISSUER, case + ".2.dwk")
        self.send("1-of-1-key-rotation.2.dwk")
        self.refuse(UNKNOWN_ISSUER, case + ".3.dwk")

    def test_root_rotation_must_not_skip_the_version_that_rotates(self):
        self.provision(read("1-of-1-key-rotation.1.dwk"))
        self.refuse(TOO_FEW_SIGNATURES, "1-of-1-key-rotation.3.dwk")

    def test_root_rotation_may_skip_a_version_that_does_not(self):
        self.send("root_3.dwk")
        self.assertEqual(self.trusted()[0], 3)

    def test_non_root_rotations_1_of_1_key_rotation(self):
        self.send("root_2_police_rotated.dwk")
        self.send("list_1_rotated.dwl")
        self.assertEqual(self.trusted(), (2, [1], []))

    def test_non_root_rotations_1_of_1_key_rotation_unused_signatures(self):
        self.refuse(BAD_LENGTH, "list_2_unused_signatures.dwl")

    def test_non_root_rotations_1_of_1_key_rotation_fail_not_signed_with_new_key(self):
        self.send("list_1.dwl")
        self.send("root_2_police_rotated.dwk")
        # What the old key has signed counts no more, neither what is there nor what comes.
        self.assertEqual(self.trusted(), (2, [], []))
        self.assertEqual(self.tap(0), UNKNOWN_BADGE)
        self.refuse(UNKNOWN_ISSUER, "list_2.dwl")
        self.refuse(UNKNOWN_ISSUER, "deny_1.dwd")
        self.refuse(UNKNOWN_ISSUER, "lockdown_1.dwc")

    def test_non_root_rotations_signed_with_a_new_key_in_an_old_name(self):
        self.refuse(BAD_SIGNATURE, self.in_name_of_police("list_2_in_name_of_police.dwl"))

    def in_name_of_police(self, name):
        """The signature block names the police as well, not only the header."""
        data = read(name)
        police = self.access.shelf.ring.issuers[0].key.key_id
        return data[:HEADER_BYTES] + police + data[HEADER_BYTES + 8 :]


def _rotation_test(case):
    def test(self):
        self.check_root_rotation(case)

    return test


for _case in ROTATIONS:
    setattr(RotationTest, "test_root_rotation_" + _case.replace("-", "_"), _rotation_test(_case))


class RollbackTest(DoorCase):
    """test_rollback.py."""

    def test_targets_rollback(self):
        # basic and with hashes are one: a list's header always holds the hash of its body.
        self.send("list_2.dwl")
        self.refuse(OLD_VERSION, "list_1.dwl")
        self.assertEqual(self.trusted(), (1, [2], []))

    def test_targets_rollback_after_the_list_is_lost(self):
        self.send("list_2.dwl")
        self.lists.data[:] = b"\xff" * len(self.lists.data)
        self.start()
        self.refuse(OLD_VERSION, "list_1.dwl")
        self.send("list_2.dwl")

    def test_new_targets_fast_forward_recovery(self):
        self.send("list_100.dwl")
        self.refuse(OLD_VERSION, "list_1.dwl")
        self.send("root_2_police_rotated.dwk")
        self.send("list_1_rotated.dwl")
        self.start()
        self.assertEqual(self.trusted(), (2, [1], []))

    def test_new_timestamp_version_rollback(self):
        self.send("list_1.dwl")
        self.send("deny_2.dwd")
        self.assertEqual(self.tap(1), REVOKED)
        self.refuse(OLD_VERSION, "deny_1.dwd")
        self.assertEqual((self.tap(0), self.tap(1), self.tap(2)), (REVOKED, REVOKED, GRANTED))

    def test_new_timestamp_fast_forward_recovery(self):
        self.send("deny_100.dwd")
        self.refuse(OLD_VERSION, "deny_1.dwd")
        self.send("root_2_police_rotated.dwk")
        self.send("list_1_rotated.dwl")
        self.send("deny_1_rotated.dwd")
        self.start()
        self.assertEqual(self.trusted(), (2, [1], [1]))
        self.assertEqual((self.tap(0), self.tap(1)), (REVOKED, GRANTED))

    def test_command_rollback_and_fast_forward_recovery(self):
        self.send("lockdown_100.dwc")
        for name in ("lockdown_100.dwc", "lockdown_2.dwc"):
            self.refuse(REPLAYED, name)
        self.send("root_2_police_rotated.dwk")
        self.send("lockdown_1_rotated.dwc")
        self.refuse(REPLAYED, "lockdown_1_rotated.dwc")

    def test_root_rollback(self):
        # TUF specification 5.3.5; the suite leaves it to the numbered files of a repository.
        self.send("root_3.dwk")
        self.refuse(OLD_VERSION, "root_2.dwk")
        self.refuse(OLD_VERSION, "root_1.dwk")

    def test_an_issuer_that_comes_back_with_its_key_begins_anew(self):
        # What a door keeps of keys that its ring does not name would never be tidied away.
        self.send("list_100.dwl")
        self.send("root_2_police_rotated.dwk")
        self.start()
        self.send("root_3.dwk")
        self.assertEqual(self.trusted(), (3, [], []))
        self.send("list_1.dwl")

    def test_recovery_leaves_other_issuers_and_other_floors_alone(self):
        self.send("list_2.dwl")
        self.send("deny_2.dwd")
        self.send("lockdown_2.dwc")
        self.send("root_3.dwk")
        self.start()
        self.assertEqual(self.trusted(), (3, [2], [2]))
        self.refuse(OLD_VERSION, "list_1.dwl")
        self.refuse(OLD_VERSION, "deny_1.dwd")
        self.refuse(REPLAYED, "lockdown_1.dwc")
        police = self.access.shelf.ring.issuers[0].key.key_id
        floors = [
            self.access.shelf.floor(kind, police)
            for kind in (ALLOWLIST_TYPE, DENY_LIST_TYPE, COMMAND_TYPE)
        ]
        self.assertEqual(floors, [2, 2, 3])


class ExpirationTest(DoorCase):
    """test_expiration.py."""

    def test_targets_expired(self):
        # It comes in force, see above: who is on it waits, who is no longer on it is out.
        self.send("list_1.dwl")
        self.assertEqual((self.tap(0), self.tap(2)), (GRANTED, GRANTED))
        self.send("list_2_5_days_ago.dwl")
        self.assertEqual((self.tap(0), self.tap(2)), (LIST_TOO_OLD, UNKNOWN_BADGE))

    def test_timestamp_expired(self):
        self.refuse(TOO_LATE, "lockdown_2_expired.dwc")
        self.assertEqual(self.access.posture.current, NORMAL)
        # It has used up no counter.
        self.send("lockdown_1.dwc")
        self.assertEqual(self.access.posture.current, LOCKDOWN)

    def test_expired_local_timestamp(self):
        self.send("list_1_for_7_days.dwl")
        self.on_day(6)
        self.assertEqual(self.tap(0), GRANTED)
        self.on_day(18)
        self.assertEqual(self.tap(0), LIST_TOO_OLD)
        # An expired list is no obstacle to the next one.
        self.send("list_2_for_21_days.dwl")
        self.assertEqual((self.tap(0), self.tap(3)), (GRANTED, GRANTED))
        self.on_day(21)
        self.assertEqual(self.tap(0), LIST_TOO_OLD)


class KeysTest(DoorCase):
    """test_keys.py. Its snapshot has several keys, which at a door only the ring's roots are."""

    def test_snapshot_does_not_meet_threshold(self):
        self.provision(read("of_3_1.dwk"))
        self.refuse(TOO_FEW_SIGNATURES, "of_3_2_signed_by_2.dwk")
        self.send("of_3_2.dwk")

    def test_snapshot_has_too_few_keys(self):
        self.refuse(MALFORMED, "root_2_too_few_keys.dwk")

    def test_duplicate_keys(self):
        self.refuse(BAD_KEY, "root_2_duplicate_keys.dwk")
        self.provision(read("of_3_1.dwk"))
        self.refuse(MALFORMED, "of_3_2_same_key_twice.dwk")

    def test_duplicate_sig_keyids(self):
        # Three others would be enough.
        self.provision(read("of_3_1.dwk"))
        self.refuse(MALFORMED, "of_3_2_duplicate_signature.dwk")

    def test_keytype_and_scheme_rsa(self):
        self.send("root_2_with_large.dwk")
        good = read("root_3_with_large.dwk")
        # Signatures: of 256 bytes, then of 384.
        for at in (HEADER_BYTES + 10, HEADER_BYTES + 266 + 10, HEADER_BYTES + 266 + 393):
            self.refuse(BAD_SIGNATURE, with_bit(good, at))
        self.send(good)

    def test_invalid_sig_in_valid_metadata(self):
        # One good signature is enough for this ring; the other must be good all the same.
        good = read("root_2_spare_signature.dwk")
        self.refuse(BAD_SIGNATURE, with_bit(good, HEADER_BYTES + 266 + 100))
        self.refuse(BAD_SIGNATURE, with_bit(good, HEADER_BYTES + 100))
        self.send(good)

    def test_more_roots_than_a_ring_has(self):
        self.refuse(MALFORMED, "root_2_five_keys.dwk")


class BasicTest(DoorCase):
    """test_basic.py, as far as it is about what is trusted."""

    def test_unsigned_initial_root(self):
        data = read("root_1.dwk")
        with self.assertRaises(Refused) as caught:
            self.provision(with_bit(data, HEADER_BYTES + 10))
        self.assertEqual(caught.exception.code, BAD_SIGNATURE)

    def test_unsigned_metadata_root(self):
        # Signed by an issuer, that is no root, and by one that only itself calls a root.
        self.refuse(UNKNOWN_ISSUER, "root_2_by_police.dwk")
        self.refuse(TOO_FEW_SIGNATURES, "root_2_believes_police.dwk")

    def test_unsigned_metadata_targets(self):
        # A root that is no issuer signs no list.
        self.refuse(UNKNOWN_ISSUER, "list_1_by_root.dwl")

    def test_timestamp_content_changes(self):
        # The same version with other content, of every type that has versions.
        self.send("list_2.dwl")
        self.refuse(OLD_VERSION, "list_2_other.dwl")
        self.send("root_2.dwk")
        self.refuse(OLD_VERSION, "root_2_other.dwk")

    def test_basic_metadata_hash_support(self):
        data = read("list_2.dwl")
        self.refuse(BAD_BODY_HASH, with_bit(data, len(data) - 1))
        self.send(data)

    def test_metadata_bytes_match(self):
        for name in ("list_1.dwl", "deny_1.dwd"):
            data = read(name)
            self.send(data)
            self.assertEqual(self.lists.data.find(data) % SECTOR_BYTES, 0)
        self.send("root_2.dwk")
        self.assertEqual(self.access.ring_object(), read("root_2.dwk"))

    def test_incorrect_metadata_type(self):
        for name in ("list_1.dwl", "deny_1.dwd", "lockdown_1.dwc", "root_2.dwk"):
            data = read(name)
            for kind in (KEY_RING_TYPE, ALLOWLIST_TYPE, DENY_LIST_TYPE, COMMAND_TYPE):
                if kind == data[5]:
                    continue
                trusted = self.trusted()
                with self.subTest(name=name, kind=kind), self.assertRaises(Refused):
                    self.send(data[:5] + bytes((kind,)) + data[6:])
                self.assertEqual(self.trusted(), trusted)
            self.send(data)


if __name__ == "__main__":
    unittest.main()
