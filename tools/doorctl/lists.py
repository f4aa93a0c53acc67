"""Signed allowlists: built from rosters here, verified with the door's own code."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric import rsa
from doorward.access.allowlist import ENTRY_BYTES, pack_entry, schedule_bytes, unpack_entry
from doorward.access.control import blind
from doorward.access.shelf import Address
from doorward.access.takers import Accepted
from doorward.trust import objects
from doorward.trust.keyring import KeyRing
from doorward.trust.primitives import HmacKey
from doorward.values import BADGE_ID_BYTES, CLASSES, Entry

from doorctl import schedules, trial
from doorctl.errors import DoorctlError
from doorctl.keys import check_site, public_key, seal
from doorctl.options import spell_groups
from doorctl.roster import Row, iso, parse_time
from doorctl.signed import Signed

DAY_S = 86400


def build_list(
    rows: Sequence[Row],
    private_key: rsa.RSAPrivateKey,
    site: str,
    version: int,
    site_key: bytes,
    issued_s: int,
    *,
    soft_stale_s: int = 0,
    hard_stale_s: int = 0,
    responder_stale_s: int = 0,
    includes_deny: int = 0,
    groups: int = 0,
    schedule: bytes = b"",
) -> bytes:
    """Return a signed allowlist of `rows`.

    site_key: SITE_KEY_BYTES. issued_s: Unix seconds. The ages, in seconds after it, 0 = never:
    when the list is old (soft), and when staff and visitors (hard) or responders no longer open
    by it. includes_deny: version of the issuer's deny list whose badges `rows` no longer have.
    groups: bits of the door groups it is for, 0 = all. schedule: as schedules.pack returns it, b"" =
    no hours for anybody. Raises DoorctlError.
    """
    check_site(site)
    key = HmacKey(site_key)
    entries = {blind(key, row.identity): row.entry for row in rows}
    if len(entries) != len(rows):
        raise DoorctlError("two badges are the same, or blind to the same id; see roster check")
    header = objects.Header()
    header.type = objects.ALLOWLIST_TYPE
    header.site = site
    header.version = version
    header.issued_s = issued_s
    header.soft_stale_s = soft_stale_s
    header.hard_stale_s = hard_stale_s
    header.responder_stale_s = responder_stale_s
    header.includes_deny = includes_deny
    header.groups = groups
    header.entry_count = len(rows)
    header.entry_bytes = ENTRY_BYTES
    header.issuer_id = public_key(private_key).key_id
    body = b"".join(pack_entry(badge_id, entries[badge_id]) for badge_id in sorted(entries))
    if len(body) + len(schedule) > objects.MAX_BODY_BYTES:
        most = (objects.MAX_BODY_BYTES - len(schedule)) // ENTRY_BYTES
        raise DoorctlError(f"{len(rows)} badges: a list holds {most} at most")
    return seal(header, body + schedule, [private_key])


def verify(data: bytes, ring: KeyRing, site: str, groups: int = 0) -> Accepted:
    """Return what a door of `site` and `groups` with this key ring would make of a list.

    Raises Refused.
    """
    address = Address(site, groups=groups)
    return trial.take(data, objects.ALLOWLIST_TYPE, ring, address, int(time.time()))


def describe(found: Signed) -> dict:
    """Return what a list says of itself; its signature is not looked at. Raises Refused.

    Times are ISO 8601 in UTC, ages are days, None = never or none.
    """
    header = found.header
    return {
        "site": header.site,
        "version": header.version,
        "issued": iso(header.issued_s),
        "issuer_id": header.issuer_id.hex(),
        "groups": spell_groups(header.groups),
        "badges": header.entry_count,
        "classes": count_classes(rows_of(found).values()),
        "soft_stale_days": days(header.soft_stale_s),
        "hard_stale_days": days(header.hard_stale_s),
        "responder_hard_stale_days": days(header.responder_stale_s),
        "includes_deny": header.includes_deny or None,
        "schedule": schedules.describe(plan_of(found)),
    }


def rows_of(found: Signed) -> dict[bytes, bytes]:
    """Return the rows of a list: blinded badge id -> its entry. Raises Refused."""
    body = found.body
    end = len(body) - schedule_bytes(found.header)
    rows = (body[at : at + ENTRY_BYTES] for at in range(0, end, ENTRY_BYTES))
    return {row[:BADGE_ID_BYTES]: row for row in rows}


def section_of(found: Signed) -> bytes:
    """Return the schedule of a list as it lies there. Raises Refused."""
    return found.body[len(found.body) - schedule_bytes(found.header) :]


def plan_of(found: Signed) -> schedules.Plan | None:
    """Return the schedule of a list, or None where it has none. Raises Refused."""
    return schedules.unpack(section_of(found))


def count_classes(rows: Iterable[bytes]) -> dict[str, int]:
    """Return how many rows there are of each class that there is any of."""
    entry = Entry()
    counts: Counter = Counter()
    for row in rows:
        is_known = unpack_entry(row, 0, entry)
        counts[CLASSES[entry.cardholder_class] if is_known else "unknown"] += 1
    return dict(sorted(counts.items()))


def days(seconds: int) -> int | float | None:
    """Return an age of a list's policy in days, whole where it is; None for 0, never."""
    whole, rest = divmod(seconds, DAY_S)
    return round(seconds / DAY_S, 2) if rest else whole or None


def parse_issued(text: str | None) -> int:
    """Return Unix seconds of an ISO date or date and time, now for None. Raises DoorctlError.

    A time to come is refused: doors take it for a lower bound of their own clock and would deny
    whatever expires before it.
    """
    now_s = int(time.time())
    if text is None:
        return now_s
    try:
        issued_s = parse_time(text, is_end=False)
    except ValueError as error:
        raise DoorctlError(f"issued: {error}") from None
    if issued_s > now_s + DAY_S:
        raise DoorctlError(f"issued {iso(issued_s)} lies in the future")
    return issued_s
