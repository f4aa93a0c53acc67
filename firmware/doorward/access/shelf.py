"""Which list lies where: extents of the list region, and the one commit that switches them.

A list is written beside the ones in force and takes over with a single state snapshot that holds
its place and its version floor together. Between any two instants there is the old list or the new.
"""

import struct

from .. import const, state
from ..hal.roles import SECTOR_BYTES, FlashRegion
from ..trust import objects
from ..trust.keyring import KeyRing
from ..values import NO_SPACE, Refused
from .allowlist import ENTRY_BYTES, Allowlist

_PLACE = "<8sIHI"  # issuer id, version, first sector, object bytes
_PLACE_BYTES = const(18)
_FLOOR = "<8sI"  # issuer id, lowest version still accepted
_FLOOR_BYTES = const(12)


class Place:
    """Where one object lies: `sector` is its first, `length` its bytes."""

    def __init__(self, issuer_id: bytes, version: int, sector: int, length: int) -> None:
        self.issuer_id = issuer_id
        self.version = version
        self.sector = sector
        self.length = length

    @property
    def end_sector(self) -> int:
        return self.sector + (self.length + SECTOR_BYTES - 1) // SECTOR_BYTES


class Shelf:
    """The allowlists in force.

    Attributes:
        lists: [Allowlist], in the order of the key ring's issuers.
        corrupt: issuer names whose list did not survive on flash.
    """

    def __init__(self, region: FlashRegion, snapshots: state.Snapshots, ring: KeyRing) -> None:
        self.region = region
        self.ring = ring
        self.lists: list[Allowlist] = []
        self.corrupt: list[str] = []
        self._snapshots = snapshots
        self._places: list[Place] = []
        self._read_places()
        self._open_lists()

    def floor(self, issuer_id: bytes) -> int:
        """Return the lowest version still accepted from an issuer."""
        floors = self._snapshots.get(state.FLOORS) or b""
        for at in range(0, len(floors), _FLOOR_BYTES):
            known_id, version = struct.unpack_from(_FLOOR, floors, at)
            if known_id == issuer_id:
                return version
        return 1

    def in_force(self, issuer_id: bytes) -> Allowlist | None:
        """Return the list in force from an issuer, or None."""
        for allowlist in self.lists:
            if allowlist.header.issuer_id == issuer_id:
                return allowlist
        return None

    def find_room(self, length: int) -> int:
        """Return the first sector of the smallest free extent for `length` bytes.

        Raises Refused(NO_SPACE).
        """
        need = (length + SECTOR_BYTES - 1) // SECTOR_BYTES
        best = None
        start = 0
        taken = [(place.sector, place.end_sector) for place in self._places]
        taken.append((self.region.size_bytes // SECTOR_BYTES, 0))
        for begin, end in sorted(taken):
            free = begin - start
            if free >= need and (best is None or free < best[0]):
                best = (free, start)
            start = max(start, end)
        if best is None:
            raise Refused(NO_SPACE)
        return best[1]

    def open(self, place: Place, issuer: str) -> Allowlist | None:
        """Return the list whose header lies at `place`, or None where it is not the one meant."""
        head = bytearray(min(place.length, objects.MAX_HEAD_BYTES))
        self.region.read_into(place.sector * SECTOR_BYTES, head)
        try:
            header = objects.parse_header(head)
            parsed = objects.parse_signatures(head, header.signature_count)
        except Refused:
            return None
        is_meant = (
            parsed is not None
            and header.issuer_id == place.issuer_id
            and header.version == place.version
            and header.entry_count * ENTRY_BYTES == header.body_bytes
            and parsed[1] + header.body_bytes == place.length
        )
        if not is_meant:
            return None
        return Allowlist(self.region, place.sector * SECTOR_BYTES + parsed[1], header, issuer)

    async def put_in_force(self, place: Place, gate) -> None:
        """Switch to the object at `place` and raise its issuer's floor."""
        places = [old for old in self._places if old.issuer_id != place.issuer_id]
        places.append(place)
        await self._snapshots.commit(
            {
                state.LISTS: b"".join(
                    struct.pack(_PLACE, p.issuer_id, p.version, p.sector, p.length) for p in places
                ),
                state.FLOORS: self._floors_with(place.issuer_id, place.version),
            },
            gate,
        )
        self._places = places
        self._open_lists()

    def drop(self, allowlist: Allowlist) -> None:
        """Stop believing a list whose bytes on flash are not the ones that were verified.

        Its place is forgotten with the next commit; its floor is not.
        """
        self.lists.remove(allowlist)
        issuer_id = allowlist.header.issuer_id
        self._places = [place for place in self._places if place.issuer_id != issuer_id]
        self.corrupt.append(allowlist.issuer)

    def _floors_with(self, issuer_id: bytes, version: int) -> bytes:
        floors = self._snapshots.get(state.FLOORS) or b""
        rows = [floors[at : at + _FLOOR_BYTES] for at in range(0, len(floors), _FLOOR_BYTES)]
        rows = [row for row in rows if row[:8] != issuer_id]
        rows.append(struct.pack(_FLOOR, issuer_id, version))
        return b"".join(rows)

    def _read_places(self) -> None:
        stored = self._snapshots.get(state.LISTS) or b""
        for at in range(0, len(stored), _PLACE_BYTES):
            self._places.append(Place(*struct.unpack_from(_PLACE, stored, at)))

    def _open_lists(self) -> None:
        lists = []
        for issuer in self.ring.issuers:
            for place in list(self._places):
                if place.issuer_id == issuer.key.key_id:
                    allowlist = self.open(place, issuer.name)
                    if allowlist is None:
                        self._places.remove(place)
                        self.corrupt.append(issuer.name)
                    else:
                        lists.append(allowlist)
        self.lists = lists
