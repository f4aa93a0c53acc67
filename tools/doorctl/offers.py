"""The way down: what doors of a site are offered, and the pieces of it that they ask for.

Layout of offers, wants and pieces: docs/formats.md, "Uplink".
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from doorward.trust.objects import (
    ALLOWLIST_TYPE,
    ANY_SITE,
    DENY_LIST_TYPE,
    KEY_RING_TYPE,
    Header,
)

from doorctl.database import Database, doors, objects, utc_now
from doorctl.errors import DoorctlError

MAX_OFFERS = 24
PIECE_BYTES = 1024
MAX_WANT_BYTES = 4096
OFFERED_TYPES = (KEY_RING_TYPE, ALLOWLIST_TYPE, DENY_LIST_TYPE)

# type, 0, groups, version, bytes, issuer, beginning of the SHA-256
_ENTRY = "<BBHII8s4s"
_ENTRY_BYTES = 24
_WANT = "<24sIHH"
_WANT_BYTES = 32
_CACHED_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class Want:
    """A door's question: `count` bytes of the object with this entry, from `offset` on."""

    entry: bytes
    offset: int
    count: int


def parse_want(payload: bytes) -> Want | None:
    """Return what a door asks for; None for what is no question."""
    if len(payload) != _WANT_BYTES:
        return None
    entry, offset, count, reserved = struct.unpack(_WANT, payload)
    if reserved or not 1 <= count <= MAX_WANT_BYTES:
        return None
    return Want(entry, offset, count)


class Offers:
    """What the database offers, with as much of it in memory as fits 64 MB.

    Attributes:
        by_site: site -> the payload of its `offers` topic.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._places: dict[tuple[str, bytes], tuple] = {}
        self._cache: dict[tuple, bytes] = {}
        self.by_site: dict[str, bytes] = {}

    def refresh(self) -> None:
        """Look what is offered now. Raises DBAPIError."""
        places: dict[tuple[str, bytes], tuple] = {}
        with self._database.reading() as connection:
            sites = set(connection.scalars(sa.select(doors.c.site).distinct()))
            query = sa.select(
                objects.c.site,
                objects.c.type,
                objects.c.issuer,
                objects.c.groups,
                objects.c.version,
                objects.c.digest,
                objects.c.bytes,
            ).order_by(objects.c.type, objects.c.issuer, objects.c.groups, objects.c.site)
            rows = list(connection.execute(query))
        sites |= {row.site for row in rows if row.site != ANY_SITE} | set(self.by_site)
        by_site = {}
        for site in sorted(sites):
            entries = {}
            for row in rows:
                if row.site in (site, ANY_SITE):
                    entries[_entry(row)] = (row.site, row.type, row.issuer, row.groups, row.digest)
            chosen = list(entries)[:MAX_OFFERS]
            by_site[site] = b"".join(chosen)
            places.update({(site, entry): entries[entry] for entry in chosen})
        self._places = places
        self.by_site = by_site
        offered = set(places.values())
        self._cache = {place: data for place, data in self._cache.items() if place in offered}

    def pieces(self, site: str, want: Want) -> Iterator[bytes]:
        """Yield the payloads that answer a door of this site; none for what is not offered.

        Raises DBAPIError.
        """
        place = self._places.get((site, want.entry))
        data = b"" if place is None else self._bytes_of(place)
        end = min(want.offset + want.count, len(data))
        for at in range(want.offset, end, PIECE_BYTES):
            piece = data[at : min(at + PIECE_BYTES, end)]
            yield want.entry + struct.pack("<I", at) + piece

    def _bytes_of(self, place: tuple) -> bytes:
        if place not in self._cache:
            site, object_type, issuer, groups, digest = place
            query = sa.select(objects.c.data).where(
                objects.c.site == site,
                objects.c.type == object_type,
                objects.c.issuer == issuer,
                objects.c.groups == groups,
                objects.c.digest == digest,
            )
            with self._database.reading() as connection:
                data = bytes(connection.scalar(query) or b"")
            while self._cache and sum(map(len, self._cache.values())) + len(data) > _CACHED_BYTES:
                self._cache.pop(next(iter(self._cache)))
            self._cache[place] = data
        return self._cache[place]


def _entry(row: sa.Row) -> bytes:
    """Return the entry of an object in its site's offers."""
    return struct.pack(
        _ENTRY,
        row.type,
        0,
        row.groups,
        row.version,
        row.bytes,
        bytes.fromhex(row.issuer),
        bytes.fromhex(row.digest)[:4],
    )


def put(connection: sa.Connection, database: Database, header: Header, data: bytes) -> None:
    """Offer an object in place of the one before it. Raises DoorctlError where there is no room."""
    row = {
        "site": header.site,
        "type": header.type,
        "issuer": header.issuer_id.hex(),
        "groups": header.groups,
        "version": header.version,
        "digest": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "published_at": utc_now(),
        "data": data,
    }
    columns = ("version", "digest", "bytes", "published_at", "data")
    connection.execute(database.upsert(objects, columns), row)
    query = sa.select(objects.c.site, sa.func.count()).group_by(objects.c.site)
    counts = {row[0]: row[1] for row in connection.execute(query)}
    for_any = counts.pop(ANY_SITE, 0)
    # What is for any site takes a place at each.
    for site in sorted(counts) if header.site == ANY_SITE else (header.site,):
        count = counts[site] + for_any
        if count > MAX_OFFERS:
            raise DoorctlError(f"site {site}: {count} objects, and it is offered {MAX_OFFERS}")


def offered(
    connection: sa.Connection, site: str, object_type: int, issuer: str, groups: int
) -> sa.Row | None:
    """Return version and digest of what is offered in this place, or None."""
    query = sa.select(objects.c.version, objects.c.digest).where(
        objects.c.site == site,
        objects.c.type == object_type,
        objects.c.issuer == issuer,
        objects.c.groups == groups,
    )
    return connection.execute(query).one_or_none()


def ring_of(connection: sa.Connection, site: str) -> bytes | None:
    """Return the newest key ring that doors of a site are offered, or None."""
    query = (
        sa.select(objects.c.data)
        .where(objects.c.type == KEY_RING_TYPE, objects.c.site.in_((site, ANY_SITE)))
        .order_by(objects.c.version.desc())
    )
    data = connection.scalars(query).first()
    return None if data is None else bytes(data)


def withdraw_others(connection: sa.Connection, site: str, issuers: set[str]) -> int:
    """Offer no longer what issuers other than these signed for a site; return how many objects.

    site: ANY_SITE for all.
    """
    query = sa.delete(objects).where(
        objects.c.type != KEY_RING_TYPE, objects.c.issuer.not_in(issuers)
    )
    if site != ANY_SITE:
        query = query.where(objects.c.site == site)
    return connection.execute(query).rowcount
