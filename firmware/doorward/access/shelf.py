"""What is in force and where it lies: extents of the list region, and the commits that switch them.

A list is written beside those in force and takes over with one state snapshot that holds its place
and its version floor together. Between any two instants there is the old list or the new.
"""

import asyncio
import struct

from .. import const, state
from ..hal.roles import SECTOR_BYTES, FlashFault, FlashRegion
from ..trust import objects
from ..trust.keyring import MAY_DENY, MAY_LIST, Issuer, KeyRing
from ..trust.objects import ALLOWLIST_TYPE, DENY_LIST_TYPE, KEY_RING_TYPE
from ..values import (
    FLASH_FAULT,
    NO_SPACE,
    NOT_PERMITTED,
    OLD_VERSION,
    UNKNOWN_ISSUER,
    Refused,
)
from .allowlist import Allowlist, schedule_bytes
from .denylist import DenyList, check_header

_PLACE = "<B8sIHI"  # type, issuer id, version, first sector, object bytes
_PLACE_BYTES = const(19)
_FLOOR = "<B8sI"  # type, issuer id, lowest version still accepted
_FLOOR_BYTES = const(13)
_MOST_U32 = 0xFFFFFFFF
_POWER_OF = {ALLOWLIST_TYPE: MAY_LIST, DENY_LIST_TYPE: MAY_DENY}
# What is kept free for an issuer's deny list, the old and the new one.
_DENY_SECTORS = const(4)
# Header and the one signature of a list, of the largest key.
_HEAD_BYTES = const(100 + 394)


class Address:
    """Who this door is, to whoever addresses an object.

    Attributes:
        site, door: names.
        groups: bit (n - 1) for each door group n it is in.
    """

    def __init__(self, site: str, door: str = "", groups: int = 0) -> None:
        self.site = site
        self.door = door
        self.groups = groups

    def is_meant(self, header: objects.Header) -> bool:
        """Is a list with this header for this door?"""
        is_ours = not header.groups or header.groups & self.groups
        return header.site == self.site and bool(is_ours)


class Place:
    """Where one object lies: `sector` is its first, `length` its bytes."""

    def __init__(
        self, object_type: int, issuer_id: bytes, version: int, sector: int, length: int
    ) -> None:
        self.type = object_type
        self.issuer_id = issuer_id
        self.version = version
        self.sector = sector
        self.length = length

    @property
    def end_sector(self) -> int:
        return self.sector + (self.length + SECTOR_BYTES - 1) // SECTOR_BYTES

    def replaces(self, other: "Place") -> bool:
        return (self.type, self.issuer_id) == (other.type, other.issuer_id)


class Shelf:
    """The allowlists and deny lists in force, and the lowest versions still accepted.

    Attributes:
        address: the door's Address.
        ring: the KeyRing in force.
        lists: [Allowlist], in the order of the key ring's issuers.
        denials: [DenyList], likewise; one is in force before it is durable.
        corrupt: Issuers of whom a list did not survive on flash.
    """

    def __init__(
        self, region: FlashRegion, snapshots: state.Snapshots, ring: KeyRing, address: Address
    ) -> None:
        self.region = region
        self.ring = ring
        self.address = address
        self.lists: list[Allowlist] = []
        self.denials: list[DenyList] = []
        self.corrupt: list[Issuer] = []
        self._snapshots = snapshots
        self._places: list[Place] = []
        self._reserved: list[Place] = []
        self._floors: dict[tuple[int, bytes], int] = {}
        # Two carriers may bring two objects at once; each switch starts from the one before.
        self._turn = asyncio.Lock()
        self._load()
        self._open_all()

    # Versions

    def floor(self, object_type: int, issuer_id: bytes) -> int:
        """Return the lowest version still accepted from an issuer."""
        return self._floors.get((object_type, issuer_id), 1)

    def raise_floor(self, object_type: int, issuer_id: bytes, version: int) -> None:
        """Accept nothing below `version` from now on; the next commit makes it durable."""
        key = (object_type, issuer_id)
        self._floors[key] = max(min(version, _MOST_U32), self._floors.get(key, 1))

    def in_force(self, object_type: int, issuer_id: bytes) -> Allowlist | DenyList | None:
        """Return the list of this type in force from an issuer, or None."""
        for one in self.lists if object_type == ALLOWLIST_TYPE else self.denials:
            if one.header.issuer_id == issuer_id:
                return one
        return None

    def wants(self, object_type: int, issuer_id: bytes, version: int, groups: int) -> bool:
        """Would this be news, by what an offer of it says? Never of a command."""
        address = self.address
        if object_type == KEY_RING_TYPE:
            return version > self.ring.version
        issuer = self.ring.issuer(issuer_id)
        power = _POWER_OF.get(object_type, 0)
        is_meant = not groups or bool(groups & address.groups)
        if issuer is None or not is_meant:
            return False
        if not issuer.may_sign(power, address.site, address.groups):
            return False
        current = self.in_force(object_type, issuer_id)
        if current is not None and version == current.header.version:
            # A deny list is in force before it is on flash; it may not have come there.
            return not self.is_durable(object_type, issuer_id, version)
        is_newer = current is None or version > current.header.version
        return is_newer and version >= self.floor(object_type, issuer_id)

    def is_durable(self, object_type: int, issuer_id: bytes, version: int) -> bool:
        """Does the state on flash name this object?"""
        for place in self._places:
            if (place.type, place.issuer_id, place.version) == (object_type, issuer_id, version):
                return True
        return False

    # Room

    def reserve(self, place: Place) -> None:
        """Give `place` the first sector of the smallest free extent; `release` it when done.

        An allowlist leaves room for the next list of every other issuer, so that none can keep
        another's from being replaced, and for deny lists. Raises Refused(NO_SPACE).
        """
        need = place.end_sector - place.sector
        best = None
        start = 0
        taken = [(one.sector, one.end_sector) for one in self._places + self._reserved]
        taken.append((self.region.size_bytes // SECTOR_BYTES, 0))
        for begin, end in sorted(taken):
            free = begin - start
            if free >= need and (best is None or free < best[0]):
                best = (free, start)
            start = max(start, end)
        if best is None:
            raise Refused(NO_SPACE)
        place.sector = best[1]
        if place.type == ALLOWLIST_TYPE and not self._leaves_room(place):
            raise Refused(NO_SPACE)
        self._reserved.append(place)

    def _leaves_room(self, place: Place) -> bool:
        """Is there room beside `place` for what the other issuers may bring next?"""
        others = [
            one.end_sector - one.sector
            for one in self._places
            if one.type == ALLOWLIST_TYPE and one.issuer_id != place.issuer_id
        ]
        gaps = []
        start = 0
        taken = [(one.sector, one.end_sector) for one in self._places + self._reserved]
        taken.append((place.sector, place.end_sector))
        taken.append((self.region.size_bytes // SECTOR_BYTES, 0))
        for begin, end in sorted(taken):
            gaps.append(begin - start)
            start = max(start, end)
        largest = max(others) if others else 0
        reserve = min(_DENY_SECTORS * len(self.ring.issuers), self.region.size_bytes >> 15)
        return max(gaps) >= largest and sum(gaps) >= largest + reserve

    def release(self, place: Place) -> None:
        """Give up what was reserved; what is in force by now stays."""
        if place in self._reserved:
            self._reserved.remove(place)

    # What lies there

    def open(self, place: Place, issuer: Issuer) -> Allowlist | DenyList | None:
        """Return the list that lies at `place`, or None where it is not the one meant.

        A deny list is read and hashed; an allowlist is too large for that here, but its schedule
        is read.
        """
        found = self.locate(place, issuer)
        try:
            if isinstance(found, Allowlist):
                found.read_schedule()
        except (Refused, FlashFault):
            return None
        return found

    def locate(self, place: Place, issuer: Issuer) -> Allowlist | DenyList | None:
        """Do as `open` does, but leave an allowlist's schedule unread: it may be none."""
        head = bytearray(min(place.length, _HEAD_BYTES))
        try:
            self.region.read_into(place.sector * SECTOR_BYTES, head)
            header = objects.parse_header(head)
            parsed = objects.parse_signatures(head, header.signature_count)
            is_meant = (
                parsed is not None
                and header.type == place.type
                and header.issuer_id == place.issuer_id
                and header.version == place.version
                and parsed[1] + header.body_bytes == place.length
            )
            if not is_meant:
                return None
            offset = place.sector * SECTOR_BYTES + parsed[1]
            if header.type == DENY_LIST_TYPE:
                check_header(header)
                body = bytearray(header.body_bytes)
                self.region.read_into(offset, body)
                objects.check_body(header, body)
                return DenyList(header, issuer, bytes(body))
            schedule_bytes(header)
        except (Refused, FlashFault):
            return None
        return Allowlist(self.region, offset, header, issuer)

    # Switches

    def check_version(self, header: objects.Header) -> None:
        """Refuse a list that is not newer than what was accepted. Raises Refused(OLD_VERSION)."""
        current = self.in_force(header.type, header.issuer_id)
        is_older = current is not None and header.version <= current.header.version
        is_same = current is not None and current.header.pack() == header.pack()
        is_low = header.version < self.floor(header.type, header.issuer_id)
        if is_low or (is_older and not is_same):
            raise Refused(OLD_VERSION)

    def check_issuer(self, issuer_id: bytes, power: int) -> Issuer:
        """Return the issuer, by the ring in force now, if it may sign for this door.

        Raises Refused(UNKNOWN_ISSUER), Refused(NOT_PERMITTED).
        """
        issuer = self.ring.issuer(issuer_id)
        if issuer is None:
            raise Refused(UNKNOWN_ISSUER)
        if not issuer.may_sign(power, self.address.site, self.address.groups):
            raise Refused(NOT_PERMITTED)
        return issuer

    async def put_in_force(self, place: Place, gate) -> None:
        """Switch to the object at `place` and raise its issuer's floor, in one commit.

        An allowlist that includes the issuer's deny list folds that away with the same commit.
        What was checked when the object came is checked once more: another carrier may have
        brought something newer meanwhile, a key ring even. Raises Refused.
        """
        async with self._turn:
            found = self.open(place, self.check_issuer(place.issuer_id, _POWER_OF[place.type]))
            if found is None:
                raise Refused(FLASH_FAULT)
            self.check_version(found.header)
            self.raise_floor(place.type, place.issuer_id, place.version)
            folded = found.header.includes_deny
            if folded:
                self.raise_floor(DENY_LIST_TYPE, place.issuer_id, folded + 1)
            places = [
                one
                for one in self._places
                if not place.replaces(one) and not _is_folded(one, place.issuer_id, folded)
            ]
            places.append(place)
            await self._commit(places, {}, gate)
            if isinstance(found, DenyList):
                self.denials = self._with(self.denials, found)
                return
            self.lists = self._with(self.lists, found)
            self.denials = [
                one
                for one in self.denials
                if one.header.issuer_id != place.issuer_id or one.header.version > folded
            ]

    def deny_now(self, denial: DenyList) -> None:
        """Put a verified deny list in force in memory. Raises Refused."""
        header = denial.header
        denial.issuer = self.check_issuer(header.issuer_id, MAY_DENY)
        self.check_version(header)
        self.denials = self._with(self.denials, denial)
        self.raise_floor(DENY_LIST_TYPE, header.issuer_id, header.version)

    async def adopt(self, ring: KeyRing, gate) -> None:
        """Believe by another ring from now on: lists of those it does not name stop counting.

        Their places and floors go as well: an issuer that comes back with the same key some day
        begins anew (TUF 5.3.11, recovery from a fast-forward attack).
        """
        async with self._turn:
            self.ring = ring
            self._prune()
            self._open_all()
            await self._commit(self._places, {}, gate)

    async def commit(self, changes: dict, gate) -> None:
        """Make floors and places durable, together with other values of the state."""
        async with self._turn:
            await self._commit(self._places, changes, gate)

    def drop(self, allowlist: Allowlist) -> None:
        """Stop believing a list whose bytes on flash are not the ones that were verified.

        Its place is forgotten with the next commit; its floor is not.
        """
        self.lists.remove(allowlist)
        issuer_id = allowlist.header.issuer_id
        self._places = [
            one for one in self._places if one.type != ALLOWLIST_TYPE or one.issuer_id != issuer_id
        ]
        self.corrupt.append(allowlist.issuer)

    async def _commit(self, places: list[Place], changes: dict, gate) -> None:
        values = {
            state.LISTS: b"".join(
                struct.pack(_PLACE, p.type, p.issuer_id, p.version, p.sector, p.length)
                for p in places
            ),
            state.FLOORS: b"".join(
                struct.pack(_FLOOR, key[0], key[1], low)
                for key, low in sorted(self._floors.items())
            ),
        }
        values.update(changes)
        await self._snapshots.commit(values, gate)
        self._places = places

    def _with(self, lists: list, newest: Allowlist | DenyList) -> list:
        """Return `lists` with the newest one of its issuer, in the order of the ring's issuers."""
        issuer_id = newest.header.issuer_id
        by_id = {one.header.issuer_id: one for one in lists}
        by_id[issuer_id] = newest
        known = [issuer.key.key_id for issuer in self.ring.issuers]
        return [by_id[key_id] for key_id in known if key_id in by_id]

    def _prune(self) -> None:
        """Forget what belongs to issuers that the ring does not name."""
        known = {issuer.key.key_id for issuer in self.ring.issuers}
        self._places = [one for one in self._places if one.issuer_id in known]
        self._floors = {key: low for key, low in self._floors.items() if key[1] in known}

    def _load(self) -> None:
        stored = self._snapshots.get(state.LISTS) or b""
        for at in range(0, len(stored), _PLACE_BYTES):
            self._places.append(Place(*struct.unpack_from(_PLACE, stored, at)))
        stored = self._snapshots.get(state.FLOORS) or b""
        for at in range(0, len(stored), _FLOOR_BYTES):
            object_type, issuer_id, version = struct.unpack_from(_FLOOR, stored, at)
            self._floors[(object_type, issuer_id)] = version
        # The power may have gone between a key ring and the pruning that it brings.
        self._prune()

    def _open_all(self) -> None:
        lists: list[Allowlist] = []
        denials: list[DenyList] = []
        address = self.address
        for issuer in self.ring.issuers:
            for place in list(self._places):
                if place.issuer_id != issuer.key.key_id:
                    continue
                if not issuer.may_sign(_POWER_OF[place.type], address.site, address.groups):
                    continue
                found = self.open(place, issuer)
                if found is not None and not address.is_meant(found.header):
                    continue
                if found is None:
                    self._places.remove(place)
                    self.corrupt.append(issuer)
                elif isinstance(found, DenyList):
                    denials.append(found)
                else:
                    lists.append(found)
        for denial in self.denials:
            # In force in memory, and still on its way to flash.
            header = denial.header
            known = self.ring.issuer(header.issuer_id)
            is_durable = self.is_durable(DENY_LIST_TYPE, header.issuer_id, header.version)
            if known is not None and not is_durable:
                denial.issuer = known
                denials = self._with(denials, denial)
        self.lists = lists
        self.denials = denials


def _is_folded(place: Place, issuer_id: bytes, includes_deny: int) -> bool:
    """Is it a deny list of this issuer that its new allowlist has made needless?"""
    is_theirs = place.type == DENY_LIST_TYPE and place.issuer_id == issuer_id
    return is_theirs and place.version <= includes_deny
