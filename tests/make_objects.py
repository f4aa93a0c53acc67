"""Makes tests/vectors/objects: signed objects that both interpreters read, sound and unsound.

MicroPython cannot sign, so they are kept as files. Run it again after a change of a format:
PYTHONPATH=firmware:tools python tests/make_objects.py
Signatures are salted; a file in which nothing but them would change is left as it is.
"""

from pathlib import Path

from doorctl import commands, denials, keyring, keys, lists, schedules
from doorctl.roster import Row
from doorctl.schedules import Hours, Interval, Plan, Rule, Zone
from doorward.access.allowlist import ENTRY_BYTES, pack_entry
from doorward.access.command import Command
from doorward.access.control import blind
from doorward.access.schedule import DOOR_LEVEL, MAX_SCHEDULE_BYTES
from doorward.trust import objects
from doorward.trust.keyring import MAY_COMMAND, MAY_DENY, MAY_LIST, Issuer, KeyRing
from doorward.trust.primitives import HmacKey
from doorward.values import (
    BADGE_ID_BYTES,
    HOLD_OPEN,
    LOCK_DOWN,
    RELEASE,
    RESPONDER,
    STAFF,
    UNLOCK,
    VISITOR,
    Entry,
)

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
    entries: list[bytes],
    signers: list,
    count: int | None = None,
    entry_bytes: int = ENTRY_BYTES,
    schedule: bytes = b"",
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
    return keys.seal(header, b"".join(entries) + schedule, signers)


def crafted_ring(
    threshold: int, roots: list, signers: list, version: int = 1, believed: list | None = None
) -> bytes:
    """Return a key ring that build_ring might refuse to make."""
    header = objects.Header()
    header.type = objects.KEY_RING_TYPE
    header.site = SITE
    header.version = version
    publics = [keys.public_key(root) for root in roots]
    ring = KeyRing(threshold, publics, issuers if believed is None else believed)
    return keys.seal(header, ring.pack(), signers)


def allowlist(
    badges: list[Row], key, version: int, site: str = SITE, later_s: int = 0, **more
) -> bytes:
    """Return a sound list."""
    issued_s = ISSUED_S + later_s
    return lists.build_list(
        badges, key, site, version, SITE_KEY, issued_s, soft_stale_s=100, hard_stale_s=200, **more
    )


def denial(badges: list[Row], key, version: int) -> bytes:
    """Return a sound deny list."""
    identities = [row.identity for row in badges]
    return denials.build_deny_list(identities, key, SITE, version, SITE_KEY, ISSUED_S)


def crafted_denial(badge_ids: list[bytes], entry_bytes: int = BADGE_ID_BYTES) -> bytes:
    """Return a deny list that build_deny_list would not make."""
    header = objects.Header()
    header.type = objects.DENY_LIST_TYPE
    header.site = SITE
    header.version = 1
    header.entry_bytes = entry_bytes
    header.entry_count = len(badge_ids)
    header.issuer_id = keys.public_key(police).key_id
    return keys.seal(header, b"".join(badge_ids), [police])


def command(kind: int, counter: int, key=None, **how) -> bytes:
    """Return a sound command that is in time for an hour after ISSUED_S."""
    order = Command(kind, ISSUED_S + 3600, **how)
    return commands.build_command(order, key or police, SITE, counter, ISSUED_S)


def crafted_command(body: bytes, counter: int = 1) -> bytes:
    """Return a command with any body."""
    header = objects.Header()
    header.type = objects.COMMAND_TYPE
    header.site = SITE
    header.version = counter
    header.issuer_id = keys.public_key(police).key_id
    return keys.seal(header, body, [police])


root, second, third = load("root"), load("second"), load("third")
police, district, stranger = load("police"), load("district"), load("stranger")
issuers = [
    Issuer(
        "police",
        1 << RESPONDER,
        keys.public_key(police),
        powers=MAY_LIST | MAY_DENY | MAY_COMMAND,
    ),
    Issuer("district", 1 << STAFF | 1 << VISITOR, keys.public_key(district)),
]
officers = rows(RESPONDER, 60)
entries = body_of(officers)
ids = [entry[:BADGE_ID_BYTES] for entry in entries]
# The police with another key; the district as it was.
moved = [Issuer("police", 1 << RESPONDER, keys.public_key(third)), issuers[1]]
# The police may grant staff only, and the district nothing here.
narrowed = [
    Issuer("police", 1 << STAFF, keys.public_key(police)),
    Issuer("district", 1 << STAFF, keys.public_key(district), site="south"),
]
first_ring = keyring.open_ring(keyring.build_ring(SITE, 1, [root], 1, issuers))
# Riverside High: 2026-09-21 is a Monday, and ISSUED_S lies in it; Friday the 25th is a holiday.
hours = schedules.pack(
    Plan(
        Zone(-360, -300, Rule(3, 2, 6, 120), Rule(11, 1, 6, 120)),
        ((20721, 1),),
        {
            3: Hours((Interval(0x1F, 420, 1080), Interval(0x80, 540, 720))),
            4: Hours((Interval(0x1F, 420, 1080),), opens_without_clock=True),
            DOOR_LEVEL: Hours((Interval(0x1F, 450, 490),)),
        },
    )
)
lockdown_body = Command(LOCK_DOWN, ISSUED_S + 3600).pack()
unknown_class = entries[0][:10] + bytes((9,)) + entries[0][11:]

OBJECTS = {
    "ring.dwk": keyring.build_ring(SITE, 1, [root], 1, issuers),
    "ring_two_of_three.dwk": crafted_ring(2, [root, second, third], [third, root]),
    "ring_one_signature_short.dwk": crafted_ring(2, [root, second, third], [root]),
    "ring_one_root_twice.dwk": crafted_ring(2, [root, second, third], [root, root]),
    "ring_signed_by_stranger.dwk": crafted_ring(1, [root], [stranger]),
    "ring_of_no_root.dwk": crafted_ring(0, [root], [root]),
    "ring_root_listed_twice.dwk": crafted_ring(2, [root, root], [root]),
    "ring_2.dwk": keyring.build_ring(SITE, 2, [root], 1, issuers, previous=first_ring),
    "ring_2_any_site.dwk": keyring.build_ring("*", 2, [root], 1, issuers, previous=first_ring),
    "ring_2_other_site.dwk": keyring.build_ring("south", 2, [root], 1, issuers),
    "ring_3_police_moved.dwk": keyring.build_ring(SITE, 3, [root], 1, moved, previous=first_ring),
    "ring_3_narrowed.dwk": keyring.build_ring(SITE, 3, [root], 1, narrowed, previous=first_ring),
    "ring_4_roots_moved.dwk": keyring.build_ring(
        SITE, 4, [second, third], 2, issuers, previous=first_ring, old_roots=[root]
    ),
    "ring_4_only_old_signed.dwk": crafted_ring(2, [second, third], [root], 4),
    "ring_4_only_new_signed.dwk": crafted_ring(2, [second, third], [second, third], 4),
    "ring_4_new_below_threshold.dwk": crafted_ring(2, [second, third], [root, second], 4),
    "ring_5_by_moved_roots.dwk": crafted_ring(2, [second, third], [second, third], 5),
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
    "police_4_folds_deny_2.dwl": allowlist(officers[3:], police, 4, includes_deny=2),
    "police_5_for_group_3.dwl": allowlist(officers, police, 5, groups=1 << 2),
    "police_6_with_hours.dwl": allowlist(officers, police, 6, schedule=hours),
    "district_2_with_hours.dwl": allowlist(
        rows(STAFF, 20) + rows(VISITOR, 5), district, 2, schedule=hours
    ),
    # The last interval, the door's, ends before it begins.
    "hours_reversed.dwl": crafted(entries, [police], schedule=hours[:-2] + bytes((1, 0))),
    "hours_cut_short.dwl": crafted(entries, [police], schedule=hours[:-1]),
    "hours_too_long.dwl": crafted(entries, [police], schedule=hours + bytes(1)),
    "hours_over_the_cap.dwl": crafted(entries, [police], schedule=bytes(MAX_SCHEDULE_BYTES + 1)),
    "police_1_by_moved_key.dwl": allowlist(officers, third, 1),
    "police_deny_1.dwd": denial(officers[:1], police, 1),
    "police_deny_2.dwd": denial(officers[:3] + rows(STAFF, 1), police, 2),
    "police_deny_3_nobody.dwd": denial([], police, 3),
    "police_deny_4_full.dwd": denial(rows(RESPONDER, 512), police, 4),
    "district_deny_1.dwd": denial(rows(STAFF, 2) + officers[:6], district, 1),
    "deny_513.dwd": crafted_denial([bytes(8) + n.to_bytes(2, "big") for n in range(513)]),
    "deny_unsorted.dwd": crafted_denial(ids[1::-1] + ids[2:]),
    "deny_duplicate.dwd": crafted_denial([ids[0], *ids]),
    "deny_of_long_entries.dwd": crafted_denial(entries, ENTRY_BYTES),
    "lockdown_10.dwc": command(LOCK_DOWN, 10),
    "release_11.dwc": command(RELEASE, 11),
    "unlock_12.dwc": command(UNLOCK, 12, argument=7, door="main"),
    "hold_open_13.dwc": command(HOLD_OPEN, 13, argument=ISSUED_S + 900, group=3),
    "lockdown_14_group_4.dwc": command(LOCK_DOWN, 14, group=4),
    "lockdown_15_other_door.dwc": command(LOCK_DOWN, 15, door="side"),
    "lockdown_16_by_district.dwc": command(LOCK_DOWN, 16, district),
    "lockdown_17.dwc": command(LOCK_DOWN, 17),
    "release_18_of_lockdown_1.dwc": command(RELEASE, 18, door="main", argument=1),
    "release_19_of_lockdown_2.dwc": command(RELEASE, 19, door="main", argument=2),
    "command_of_no_kind.dwc": crafted_command(b"\x09" + lockdown_body[1:]),
    "command_of_no_target.dwc": crafted_command(b"\x01\x07" + lockdown_body[2:]),
    "command_too_long.dwc": crafted_command(lockdown_body + b"\x00"),
    "command_counter_last.dwc": crafted_command(lockdown_body, 0xFFFFFFFF),
}


_SIGNATURES_AT = 6  # in the header: how many there are


def without_signatures(data: bytes) -> tuple:
    """Return the parts of an object that are the same whenever it is made."""
    signatures, body_at = objects.parse_signatures(data, data[_SIGNATURES_AT]) or ([], 0)
    signers = [key_id for key_id, _ in signatures]
    return data[: objects.HEADER_BYTES], signers, data[body_at:]


for name, data in OBJECTS.items():
    path = FOLDER / name
    if not path.exists() or without_signatures(path.read_bytes()) != without_signatures(data):
        path.write_bytes(data)
