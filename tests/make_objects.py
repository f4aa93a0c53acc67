"""Makes tests/vectors/objects: signed objects that both interpreters read, sound and unsound.

MicroPython cannot sign, so they are kept as files. Run it again after a change of a format:
PYTHONPATH=firmware:tools python tests/make_objects.py
"""

from pathlib import Path

from doorctl import keyring, keys, lists
from doorctl.roster import Row
from doorward.access.allowlist import ENTRY_BYTES, pack_entry
from doorward.access.control import blind
from doorward.trust import objects
from doorward.trust.keyring import Issuer, KeyRing
from doorward.trust.primitives import HmacKey
from doorward.values import RESPONDER, STAFF, VISITOR, Entry

FOLDER = Path(__file__).parent / "vectors" / "objects"
SITE = "north"
SITE_KEY = bytes(range(32))
ISSUED_S = 1_790_000_000


def load(name: str):
    """Return the committed test key of this name, made where it is missing."""
    path = FOLDER / "keys" / f"{name}_DO_NOT_USE.pem"
    if not path.exists():
        keys.new_key(path.parent, path.stem, 2048, None)
        path.with_name(f"{path.stem}.pub.pem").unlink()
    return keys.load_private(path)


def rows(kind: int, count: int) -> list[Row]:
    """Return `count` badges of a class: UID 04, class, then their number."""
    found = []
    for number in range(count):
        entry = Entry()
        entry.cardholder_class = kind
        entry.level = number % 16
        found.append(Row(bytes((4, kind)) + number.to_bytes(5, "big"), entry))
    return found


def body_of(badges: list[Row]) -> list[bytes]:
    """Return the sorted entries of a list of these badges."""
    site_key = HmacKey(SITE_KEY)
    return sorted(pack_entry(blind(site_key, row.identity), row.entry) for row in badges)


def crafted(
    entries: list[bytes], signers: list, count: int | None = None, entry_bytes: int = ENTRY_BYTES
) -> bytes:
    """Return a list that build_list would not make."""
    header = objects.Header()
    header.type = objects.ALLOWLIST_TYPE
    header.site = SITE
    header.version = 1
    header.issued_s = ISSUED_S
    header.entry_bytes = entry_bytes
    header.entry_count = len(entries) if count is None else count
    header.issuer_id = keys.public_key(police).key_id
    return keys.seal(header, b"".join(entries), signers)


def crafted_ring(threshold: int, roots: list, signers: list) -> bytes:
    """Return a key ring that build_ring would refuse to make."""
    header = objects.Header()
    header.type = objects.KEY_RING_TYPE
    header.site = SITE
    header.version = 1
    publics = [keys.public_key(root) for root in roots]
    return keys.seal(header, KeyRing(threshold, publics, issuers).pack(), signers)


def allowlist(badges: list[Row], key, version: int, site: str = SITE, later_s: int = 0) -> bytes:
    """Return a sound list."""
    issued_s = ISSUED_S + later_s
    return lists.build_list(
        badges, key, site, version, SITE_KEY, issued_s, soft_stale_s=100, hard_stale_s=200
    )


root, second, third = load("root"), load("second"), load("third")
police, district, stranger = load("police"), load("district"), load("stranger")
issuers = [
    Issuer("police", 1 << RESPONDER, keys.public_key(police)),
    Issuer("district", 1 << STAFF | 1 << VISITOR, keys.public_key(district)),
]
officers = rows(RESPONDER, 60)
entries = body_of(officers)
unknown_class = entries[0][:10] + bytes((9,)) + entries[0][11:]

OBJECTS = {
    "ring.dwk": keyring.build_ring(SITE, 1, [root], 1, issuers),
    "ring_two_of_three.dwk": crafted_ring(2, [root, second, third], [third, root]),
    "ring_one_signature_short.dwk": crafted_ring(2, [root, second, third], [root]),
    "ring_one_root_twice.dwk": crafted_ring(2, [root, second, third], [root, root]),
    "ring_signed_by_stranger.dwk": crafted_ring(1, [root], [stranger]),
    "ring_of_no_root.dwk": crafted_ring(0, [root], [root]),
    "ring_root_listed_twice.dwk": crafted_ring(2, [root, root], [root]),
    "police_1.dwl": allowlist(officers, police, 1),
    "police_2.dwl": allowlist(rows(RESPONDER, 250), police, 2),
    "police_2_other_body.dwl": allowlist(rows(RESPONDER, 249), police, 2),
    "police_2_issued_later.dwl": allowlist(rows(RESPONDER, 250), police, 2, later_s=86400),
    "police_3_empty.dwl": allowlist([], police, 3),
    "police_other_site.dwl": allowlist(officers, police, 1, "south"),
    "district_1.dwl": allowlist(rows(STAFF, 20) + rows(VISITOR, 5), district, 1),
    "stranger_1.dwl": allowlist(officers, stranger, 1),
    "unsorted.dwl": crafted(entries[1::-1] + entries[2:], [police]),
    "duplicate.dwl": crafted([entries[0], *entries], [police]),
    "out_of_scope.dwl": crafted(body_of(officers + rows(STAFF, 1)), [police]),
    "unknown_class.dwl": crafted([unknown_class, *entries[1:]], [police]),
    "count_too_low.dwl": crafted(entries, [police], len(entries) - 1),
    "count_too_high.dwl": crafted(entries, [police], len(entries) + 1),
    "count_of_none.dwl": crafted(entries, [police], 0),
    "entry_bytes_of_none.dwl": crafted(entries, [police], entry_bytes=0),
    "two_signatures.dwl": crafted(entries, [police, police]),
    "signed_by_district.dwl": crafted(entries, [district]),
}

for name, data in OBJECTS.items():
    (FOLDER / name).write_bytes(data)
