"""Signed allowlists: built from rosters here, verified with the door's own code."""

import time
from collections import Counter
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import rsa
from doorward import state
from doorward.access.allowlist import ENTRY_BYTES, Allowlist, pack_entry, unpack_entry
from doorward.access.control import blind
from doorward.access.intake import Intake
from doorward.access.shelf import Shelf
from doorward.hal.roles import SECTOR_BYTES, STATE_SLOT_BYTES, FlashRegion
from doorward.trust import objects
from doorward.trust.keyring import KeyRing
from doorward.trust.primitives import HmacKey, no_pause, run_through
from doorward.values import CLASSES, MALFORMED, TRUNCATED, WRONG_TYPE, Entry, Refused

from doorctl.errors import DoorctlError
from doorctl.keys import public_key, seal
from doorctl.roster import Row, iso, parse_time

MAX_LIST_BYTES = objects.MAX_HEAD_BYTES + objects.MAX_BODY_BYTES

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
) -> bytes:
    """Return a signed allowlist of `rows`.

    site_key: SITE_KEY_BYTES. issued_s: Unix seconds. The ages, in seconds after it, 0 = never:
    when the list is old (soft), and when staff and visitors (hard) or responders no longer open
    by it. Raises DoorctlError.
    """
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
    header.entry_count = len(rows)
    header.entry_bytes = ENTRY_BYTES
    header.issuer_id = public_key(private_key).key_id
    body = b"".join(pack_entry(badge_id, entries[badge_id]) for badge_id in sorted(entries))
    if len(body) > objects.MAX_BODY_BYTES:
        raise DoorctlError(
            f"{len(rows)} badges: a list holds {objects.MAX_BODY_BYTES // ENTRY_BYTES} at most"
        )
    return seal(header, body, [private_key])


def verify(data: bytes, ring: KeyRing, site: str) -> Allowlist:
    """Return the list as a door of `site` with this key ring would take it. Raises Refused.

    It is the door's own intake that takes it, into flash that is memory.
    """
    room = (len(data) // SECTOR_BYTES + 1) * SECTOR_BYTES
    snapshots = state.Snapshots(_MemoryFlash(2 * SECTOR_BYTES), STATE_SLOT_BYTES)
    intake = Intake(Shelf(_MemoryFlash(room), snapshots, ring), site, _NoGate(), no_pause)

    async def take() -> Allowlist:
        intake.begin(len(data))
        await intake.feed(data)
        return await intake.finish()

    return run_through(take())


def describe(data: bytes) -> dict:
    """Return what a list says of itself; its signature is not looked at. Raises Refused.

    Times are ISO 8601 in UTC, ages are days, None = never.
    """
    header = objects.parse_header(data)
    if header.type != objects.ALLOWLIST_TYPE:
        raise Refused(WRONG_TYPE)
    if header.entry_bytes != ENTRY_BYTES:
        raise Refused(MALFORMED)
    parsed = objects.parse_signatures(data, header.signature_count)
    body = b"" if parsed is None else data[parsed[1] :]
    if len(body) != header.entry_count * ENTRY_BYTES:
        raise Refused(TRUNCATED)
    entry = Entry()
    counts: Counter = Counter()
    for at in range(0, len(body), ENTRY_BYTES):
        is_known = unpack_entry(body, at, entry)
        counts[CLASSES[entry.cardholder_class] if is_known else "unknown"] += 1
    return {
        "site": header.site,
        "version": header.version,
        "issued": iso(header.issued_s),
        "issuer_id": header.issuer_id.hex(),
        "badges": header.entry_count,
        "classes": dict(sorted(counts.items())),
        "soft_stale_days": header.soft_stale_s // DAY_S or None,
        "hard_stale_days": header.hard_stale_s // DAY_S or None,
        "responder_hard_stale_days": header.responder_stale_s // DAY_S or None,
    }


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


class _MemoryFlash(FlashRegion):
    """Flash for one list: nothing in it is ever programmed twice."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._data = bytearray(b"\xff" * size_bytes)

    def read_into(self, offset: int, buf: bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        buf[:] = self._data[offset : offset + len(buf)]

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        self._data[offset : offset + len(buf)] = buf

    def erase(self, offset: int) -> None:
        self.check_range(offset, SECTOR_BYTES)
        self._data[offset : offset + SECTOR_BYTES] = b"\xff" * SECTOR_BYTES


class _NoGate:
    """Memory does not stall anybody: run at once."""

    async def run(self, call, *args):
        return call(*args)
