"""Makes tests/vectors/tuf: the signed objects of the TUF conformance cases that fit a door.

Rings of the rotation cases are <case>.<number>.dwk; what is wrong with the others stands in
tests/unit/test_trust_tuf.py, which also says how a door's objects and TUF's roles go together.
Run it again after a change of a format: PYTHONPATH=firmware:tools python tests/make_tuf_objects.py
"""

from pathlib import Path

from doorctl import commands, denials, keys, lists
from doorctl.roster import Row
from doorward.access.command import Command
from doorward.trust import objects
from doorward.trust.keyring import MAY_COMMAND, MAY_DENY, MAY_LIST, Issuer, KeyRing
from doorward.values import LOCK_DOWN, RESPONDER, STAFF, Entry

FOLDER = Path(__file__).parent / "vectors" / "tuf"
SITE = "north"
SITE_KEY = bytes(range(32))
DAY_S = 86_400
DAY_0_S = 1_790_000_000

# The suite's cases: (root keys, threshold, signers) for each version. Where it has five roots a
# door has four, so key 3 is left out there, and where only that key's signature made the number
# full, key 2 or 4 signs in its stead. Signatures by keys that are no roots, which TUF says to
# ignore and a door refuses, stand only in the case that is about them.
ROTATIONS = {
    "1-of-1-key-rotation": [([1], 1, [1]), ([2], 1, [2, 1]), ([2], 1, [2])],
    "1-of-1-key-rotation-unused-signatures": [
        ([1], 1, [3, 1, 4]),
        ([2], 1, [3, 2, 1, 4]),
        ([2], 1, [3, 2, 4]),
    ],
    "3-of-5-sign-with-different-keycombos": [
        ([0, 1, 2, 4], 3, [0, 2, 4]),
        ([0, 1, 2, 4], 3, [0, 4, 1]),
        ([0, 1, 2, 4], 3, [0, 1, 2]),
        ([0, 1, 2, 4], 3, [1, 2, 4]),
    ],
    "3-of-5-one-key-rotated": [
        ([0, 1, 2, 4], 3, [0, 2, 4]),
        ([0, 1, 4, 5], 3, [0, 4, 1]),
    ],
    "3-of-5-one-key-rotated-with-intermediate-step": [
        ([0, 1, 2, 4], 3, [0, 2, 4]),
        ([0, 1, 4, 5], 3, [0, 2, 4, 5]),
        ([0, 1, 4, 5], 3, [0, 4, 5]),
    ],
    "3-of-5-all-keys-rotated-with-intermediate-step": [
        ([0, 1, 2, 4], 3, [0, 2, 4]),
        ([5, 6, 7, 8], 3, [0, 2, 4, 5, 6, 7]),
        ([5, 6, 7, 8], 3, [5, 6, 7]),
    ],
    "1-of-3-threshold-increase-to-2-of-3": [([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [1, 2])],
    "2-of-3-threshold-decrease-to-1-of-3": [
        ([1, 2, 3], 2, [1, 2]),
        ([1, 2, 3], 1, [1, 2]),
        ([1, 2, 3], 1, [1]),
    ],
    "1-of-2-threshold-increase-to-2-of-2": [([1], 1, [1]), ([1, 2], 2, [1, 2])],
    "1-of-1-key-rotation-fail-not-signed-with-old-key": [([1], 1, [1]), ([2], 1, [2])],
    "1-of-1-key-rotation-fail-not-signed-with-new-key": [([1], 1, [1]), ([2], 1, [1])],
    "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys": [
        ([0, 1, 2, 4], 3, [0, 2, 4]),
        ([0, 1, 4, 5], 3, [0, 2, 4]),
    ],
    "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys": [
        ([0, 1, 2, 4], 3, [0, 2, 4]),
        ([0, 1, 4, 5], 3, [0, 4, 5]),
    ],
    "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": [
        ([1, 2, 3], 1, [1]),
        ([1, 2, 3], 2, [2]),
    ],
    "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-eached": [
        ([1, 2, 3], 2, [1, 2]),
        ([1, 2, 3], 1, [1]),
    ],
}


def load(path: Path, bits: int = 2048):
    """Return the committed test key at this path, made where it is missing."""
    path = path.with_name(path.name + "_DO_NOT_USE.pem")
    if not path.exists():
        keys.new_key(path.parent, path.stem, bits, None)
        path.with_name(path.stem + ".pub.pem").unlink()
    return keys.load_private(path)


def ring(version: int, roots: list, threshold: int, signers: list, issuers: list) -> bytes:
    """Return a key ring, sound or not."""
    header = objects.Header()
    header.type = objects.KEY_RING_TYPE
    header.site = SITE
    header.version = version
    header.issued_s = DAY_0_S
    publics = [keys.public_key(root) for root in roots]
    return keys.seal(header, KeyRing(threshold, publics, issuers).pack(), signers)


def badges(kind: int, count: int) -> list[Row]:
    """Return `count` badges of a class: UID 04, class, then their number."""
    rows = []
    for number in range(count):
        entry = Entry()
        entry.cardholder_class = kind
        rows.append(Row(bytes((4, kind)) + number.to_bytes(5, "big"), entry))
    return rows


def allowlist(version: int, key, count: int = 3, day: int = 0, lasts_days: int = 0) -> bytes:
    """Return a list of responders that was issued on `day` and is hard stale `lasts_days` later."""
    lasts_s = lasts_days * DAY_S
    return lists.build_list(
        badges(RESPONDER, count),
        key,
        SITE,
        version,
        SITE_KEY,
        DAY_0_S + day * DAY_S,
        soft_stale_s=0,
        hard_stale_s=lasts_s,
        responder_stale_s=lasts_s,
    )


def sealed_list(version: int, issuer, signers: list) -> bytes:
    """Return an empty list in the name of `issuer`, signed by `signers`."""
    header = objects.Header()
    header.type = objects.ALLOWLIST_TYPE
    header.site = SITE
    header.version = version
    header.issued_s = DAY_0_S
    header.entry_bytes = 20
    header.issuer_id = keys.public_key(issuer).key_id
    return keys.seal(header, b"", signers)


def denial(version: int, key, count: int = 1) -> bytes:
    """Return a deny list with the first `count` responders."""
    identities = [row.identity for row in badges(RESPONDER, count)]
    return denials.build_deny_list(identities, key, SITE, version, SITE_KEY, DAY_0_S)


def lockdown(counter: int, key, expires_day: int = 1) -> bytes:
    """Return the command that locks the site down."""
    order = Command(LOCK_DOWN, DAY_0_S + expires_day * DAY_S)
    return commands.build_command(order, key, SITE, counter, DAY_0_S - 30 * DAY_S)


shared = FOLDER.parent / "objects" / "keys"
named = [load(shared / name) for name in ("root", "second", "third", "stranger")]
named += [load(FOLDER / "keys" / f"key_{number}") for number in range(4, 9)]
large = load(FOLDER / "keys" / "large", 3072)
police, district = load(shared / "police"), load(shared / "district")
new_police = named[8]


def issuers_with(police_key) -> list[Issuer]:
    """Return police and district, the police with this key."""
    all_of_it = MAY_LIST | MAY_DENY | MAY_COMMAND
    return [
        Issuer("police", 1 << RESPONDER, keys.public_key(police_key), powers=all_of_it),
        Issuer("district", 1 << STAFF, keys.public_key(district)),
    ]


issuers = issuers_with(police)
root, second, third = named[:3]

OBJECTS = {
    "root_1.dwk": ring(1, [root], 1, [root], issuers),
    "root_2.dwk": ring(2, [root], 1, [root], issuers),
    "root_2_other.dwk": ring(2, [root], 1, [root], issuers[:1]),
    "root_3.dwk": ring(3, [root], 1, [root], issuers),
    "root_2_police_rotated.dwk": ring(2, [root], 1, [root], issuers_with(new_police)),
    "root_2_by_police.dwk": ring(2, [root], 1, [police], issuers),
    "root_2_believes_police.dwk": ring(2, [police], 1, [police], issuers),
    "root_2_with_large.dwk": ring(2, [root, large], 2, [root, large], issuers),
    "root_3_with_large.dwk": ring(3, [root, large], 2, [root, large], issuers),
    "root_2_spare_signature.dwk": ring(2, [root, second], 1, [root, second], issuers),
    "of_3_1.dwk": ring(1, [root, second, third], 3, [root, second, third], issuers),
    "of_3_2.dwk": ring(2, [root, second, third], 3, [root, second, third], issuers),
    "of_3_2_signed_by_2.dwk": ring(2, [root, second, third], 3, [root, third], issuers),
    "of_3_2_same_key_twice.dwk": ring(2, [root, second, third], 3, [root, third, third], issuers),
    "of_3_2_duplicate_signature.dwk": ring(
        2, [root, second, third], 3, [root, second, third, third], issuers
    ),
    "root_2_too_few_keys.dwk": ring(2, [root, second], 3, [root, second], issuers),
    "root_2_duplicate_keys.dwk": ring(2, [root, second, second], 3, [root, second], issuers),
    "root_2_five_keys.dwk": ring(2, named[:5], 3, named[:3], issuers),
    "list_1.dwl": allowlist(1, police),
    "list_2.dwl": allowlist(2, police, 4),
    "list_2_other.dwl": allowlist(2, police, 5),
    "list_100.dwl": allowlist(100, police),
    "list_1_rotated.dwl": allowlist(1, new_police, 2),
    "list_1_for_7_days.dwl": allowlist(1, police, lasts_days=7),
    "list_2_for_21_days.dwl": allowlist(2, police, 4, lasts_days=21),
    "list_2_5_days_ago.dwl": allowlist(2, police, 2, day=-6, lasts_days=1),
    "list_1_by_root.dwl": sealed_list(1, root, [root]),
    "list_2_in_name_of_police.dwl": sealed_list(2, police, [new_police]),
    "list_2_unused_signatures.dwl": sealed_list(2, police, [third, police, second]),
    "deny_1.dwd": denial(1, police),
    "deny_2.dwd": denial(2, police, 2),
    "deny_100.dwd": denial(100, police, 3),
    "deny_1_rotated.dwd": denial(1, new_police),
    "lockdown_1.dwc": lockdown(1, police),
    "lockdown_2.dwc": lockdown(2, police),
    "lockdown_100.dwc": lockdown(100, police),
    "lockdown_1_rotated.dwc": lockdown(1, new_police),
    "lockdown_2_expired.dwc": lockdown(2, police, -5),
}
for name, versions in ROTATIONS.items():
    for at, (roots, threshold, signers) in enumerate(versions):
        OBJECTS[f"{name}.{at + 1}.dwk"] = ring(
            at + 1, [named[i] for i in roots], threshold, [named[i] for i in signers], issuers
        )

for name, data in OBJECTS.items():
    (FOLDER / name).write_bytes(data)
