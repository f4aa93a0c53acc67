"""What happens to a signed object of each type, once its header is believed, until it is in force.

A taker is made for one object. `check_header` looks at what a header alone can be refused for,
`believed` is told that the issuer signed it, `take` gets the bytes of the body as they come, and
`finish` puts it in force.
"""

import hashlib

from ..hal.roles import PAGE_BYTES, SECTOR_BYTES
from ..trust import objects
from ..trust.keyring import (
    MAX_RING_BYTES,
    MAY_COMMAND,
    MAY_DENY,
    MAY_LIST,
    Issuer,
    open_successor,
)
from ..trust.objects import ALLOWLIST_TYPE, COMMAND_TYPE, DENY_LIST_TYPE, KEY_RING_TYPE
from ..values import (
    BAD_BODY_HASH,
    BAD_ENTRY,
    BAD_LENGTH,
    BADGE_ID_BYTES,
    DUPLICATE_ENTRY,
    FLASH_FAULT,
    MALFORMED,
    NOT_SORTED,
    OUT_OF_SCOPE,
    REPLAYED,
    TOO_LARGE,
    WRONG_ADDRESS,
    WRONG_SITE,
    Entry,
    Refused,
)
from .allowlist import ENTRY_BYTES, Allowlist, schedule_bytes, unpack_entry
from .command import COMMAND_BYTES, Command, parse_command
from .denylist import DenyList, check_header, check_order
from .shelf import Place, Shelf

_LAST_COUNTER = 0xFFFFFFFF


class Accepted:
    """What came in force.

    Attributes:
        header: its trust.objects.Header.
        issuer: the issuer's name, or "" for a key ring.
        is_repeat: it was in force already, and nothing changed.
        count: badges of a list, issuers of a key ring, else 0.
        command: the Command, or None.
    """

    def __init__(
        self,
        header: objects.Header,
        issuer: str,
        count: int,
        is_repeat: bool = False,
        command: Command | None = None,
    ) -> None:
        self.header = header
        self.issuer = issuer
        self.count = count
        self.is_repeat = is_repeat
        self.command = command


class _Taker:
    """power: MAY_ bits, of which its issuer needs one."""

    power = 0
    issuer: Issuer

    def __init__(self, shelf: Shelf, gate, pause, door) -> None:
        """door: does what commands and key rings ask; see control.Access."""
        self._shelf = shelf
        self._gate = gate
        self._pause = pause
        self._door = door

    def check_header(self, header: objects.Header) -> None:
        """Everything a header alone can be refused for, the cheapest first. Raises Refused."""
        address = self._shelf.address
        if header.site != address.site:
            raise Refused(WRONG_SITE)
        if header.groups and not header.groups & address.groups:
            raise Refused(WRONG_ADDRESS)

    def believed(self, header: objects.Header, total_bytes: int) -> None:
        """The issuer signed it: only now may its version be looked at. Raises Refused."""

    async def take(self, piece: memoryview) -> None:
        raise NotImplementedError

    async def finish(self) -> Accepted:
        raise NotImplementedError

    def abort(self) -> None:
        """Let go of what was taken for an object that does not come in force."""


class _ShelfWriter:
    """Writes one object to the list region, beside those in force."""

    def __init__(self, shelf: Shelf, gate, pause) -> None:
        self._shelf = shelf
        self._gate = gate
        self._pause = pause
        self._page = bytearray(PAGE_BYTES)
        self._written = 0
        self.place: Place | None = None

    def begin(self, header: objects.Header, total_bytes: int) -> None:
        """Find room. Raises Refused(NO_SPACE)."""
        place = Place(header.type, header.issuer_id, header.version, 0, total_bytes)
        self._shelf.reserve(place)
        self.place = place

    async def write(self, piece: memoryview) -> None:
        """Collect whole pages and program them; a sector is erased when its first page is due."""
        done = 0
        while done < len(piece):
            at = self._written % PAGE_BYTES
            take = min(PAGE_BYTES - at, len(piece) - done)
            self._page[at : at + take] = piece[done : done + take]
            done += take
            self._written += take
            if self._written % PAGE_BYTES == 0:
                await self._program(self._written - PAGE_BYTES)

    async def finish(self) -> Place:
        """Program what is left and return where it all lies."""
        rest = self._written % PAGE_BYTES
        if rest:
            for i in range(rest, PAGE_BYTES):
                self._page[i] = 0xFF
            await self._program(self._written - rest)
        if self.place is None:
            raise Refused(FLASH_FAULT)
        return self.place

    def abort(self) -> None:
        if self.place is not None:
            self._shelf.release(self.place)

    async def _program(self, offset: int) -> None:
        if self.place is None:
            raise Refused(FLASH_FAULT)
        region = self._shelf.region
        at = self.place.sector * SECTOR_BYTES + offset
        # Looking, erasing and programming are slices of their own: one would be too long.
        if offset % SECTOR_BYTES == 0:
            is_blank = region.is_blank(at, SECTOR_BYTES)
            await self._pause()
            if not is_blank:
                await self._gate.run(region.erase, at)
                await self._pause()
        region.program(at, self._page)
        await self._pause()


class _ShelfTaker(_Taker):
    """What lists of both types have in common: versions, and a place on the shelf."""

    _is_repeat = False
    _writer: "_ShelfWriter | None" = None

    def _hash_repeat(self, piece: memoryview) -> None:
        """Of what is in force already only the hash is wanted: a changed copy is refused too."""
        skip = min(self._head_bytes, len(piece))
        self._head_bytes -= skip
        self._digest.update(piece[skip:])

    def _check_repeat(self) -> None:
        if self._digest.digest() != self._header.body_hash:
            raise Refused(BAD_BODY_HASH)

    def believed(self, header: objects.Header, total_bytes: int) -> None:
        self._header = header
        self._total_bytes = total_bytes
        self._writer = _ShelfWriter(self._shelf, self._gate, self._pause)
        current = self._shelf.in_force(header.type, header.issuer_id)
        is_current = current is not None and current.header.pack() == header.pack()
        is_durable = self._shelf.is_durable(header.type, header.issuer_id, header.version)
        self._is_repeat = is_current and is_durable
        if self._is_repeat:
            self._head_bytes = total_bytes - header.body_bytes
            self._digest = hashlib.sha256()
            return
        self._shelf.check_version(header)
        self._begin()

    def _begin(self) -> None:
        """It is wanted: make ready for its bytes."""

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()

    def _accepted(self) -> Accepted:
        header = self._header
        return Accepted(header, self.issuer.name, header.entry_count, self._is_repeat)


class ListTaker(_ShelfTaker):
    """An allowlist: straight to flash, too large for memory."""

    power = MAY_LIST

    def check_header(self, header: objects.Header) -> None:
        _Taker.check_header(self, header)
        schedule_bytes(header)

    def _begin(self) -> None:
        self._writer.begin(self._header, self._total_bytes)

    async def take(self, piece: memoryview) -> None:
        if self._is_repeat:
            self._hash_repeat(piece)
        else:
            await self._writer.write(piece)

    async def finish(self) -> Accepted:
        if self._is_repeat:
            self._check_repeat()
        else:
            place = await self._writer.finish()
            await self._check_written(place)
            await self._shelf.put_in_force(place, self._gate)
        if self._shelf.in_force(ALLOWLIST_TYPE, self._header.issuer_id) is None:
            raise Refused(FLASH_FAULT)
        return self._accepted()

    async def _check_written(self, place: Place) -> None:
        """Read all back from flash: header, hash of the body, every row, the schedule."""
        written = self._shelf.locate(place, self.issuer)
        if not isinstance(written, Allowlist) or written.header.pack() != self._header.pack():
            raise Refused(FLASH_FAULT)
        rows = _RowCheck(self.issuer)
        # The hash goes first: rows of a body that is not the signed one prove nothing.
        if not await written.is_whole(self._pause, rows.look):
            raise Refused(BAD_BODY_HASH)
        if rows.code:
            raise Refused(rows.code)
        written.read_schedule()
        await written.schedule.check(self._pause)


class _RowCheck:
    """Looks at rows one after the other; remembers the first thing wrong. Makes little garbage."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        # Below every badge id but one of zeros alone, which no HMAC gives.
        self._last = bytearray(BADGE_ID_BYTES)
        self._entry = Entry()
        self.code = 0

    def look(self, rows: memoryview) -> None:
        entry = self._entry
        may_grant = self._issuer.may_grant
        before, last = self._last, 0
        for at in range(0, len(rows), ENTRY_BYTES):
            i = 0
            while i < BADGE_ID_BYTES and rows[at + i] == before[last + i]:
                i += 1
            if i == BADGE_ID_BYTES:
                self.code = self.code or DUPLICATE_ENTRY
            elif rows[at + i] < before[last + i]:
                self.code = self.code or NOT_SORTED
            before, last = rows, at
            if not unpack_entry(rows, at, entry):
                self.code = self.code or BAD_ENTRY
            elif not may_grant(entry.cardholder_class):
                self.code = self.code or OUT_OF_SCOPE
        self._last[:] = rows[last : last + BADGE_ID_BYTES]


class DenyTaker(_ShelfTaker):
    """A deny list: small enough to be in force before it is on flash, so it does not wait for it."""

    power = MAY_DENY

    def check_header(self, header: objects.Header) -> None:
        _Taker.check_header(self, header)
        check_header(header)

    def _begin(self) -> None:
        self._object = bytearray()

    async def take(self, piece: memoryview) -> None:
        if self._is_repeat:
            self._hash_repeat(piece)
        else:
            self._object += bytes(piece)

    async def finish(self) -> Accepted:
        if self._is_repeat:
            self._check_repeat()
            return self._accepted()
        header = self._header
        body = bytes(self._object[len(self._object) - header.body_bytes :])
        objects.check_body(header, body)
        await check_order(body, self._pause)
        self._shelf.deny_now(DenyList(header, self.issuer, body))
        self._writer.begin(header, self._total_bytes)
        await self._writer.write(memoryview(self._object))
        place = await self._writer.finish()
        if self._shelf.open(place, self.issuer) is None:
            raise Refused(FLASH_FAULT)
        await self._shelf.put_in_force(place, self._gate)
        return self._accepted()


class CommandTaker(_Taker):
    """A command: obeyed once."""

    power = MAY_COMMAND

    def check_header(self, header: objects.Header) -> None:
        _Taker.check_header(self, header)
        if header.body_bytes != COMMAND_BYTES or header.entry_count or header.entry_bytes:
            raise Refused(BAD_LENGTH)
        if header.version == _LAST_COUNTER:  # nothing could come after it
            raise Refused(MALFORMED)
        # Before the signature: a flood of old ones must not cost a verification each.
        self._check_counter(header)

    def believed(self, header: objects.Header, total_bytes: int) -> None:
        self._check_counter(header)
        self._header = header
        self._object = b""

    def _check_counter(self, header: objects.Header) -> None:
        if header.version < self._shelf.floor(COMMAND_TYPE, header.issuer_id):
            raise Refused(REPLAYED)

    async def take(self, piece: memoryview) -> None:
        self._object += bytes(piece)

    async def finish(self) -> Accepted:
        header = self._header
        body = self._object[len(self._object) - COMMAND_BYTES :]
        objects.check_body(header, body)
        command = parse_command(body)
        address = self._shelf.address
        if not command.is_for(address.door, address.groups):
            raise Refused(WRONG_ADDRESS)
        await self._door.obey(header, command)
        return Accepted(header, self.issuer.name, 0, command=command)


class RingTaker(_Taker):
    """A key ring: what it says of its own roots is needed to verify it, so it is taken whole."""

    def check_header(self, header: objects.Header) -> None:
        self._header = header
        if header.site not in (objects.ANY_SITE, self._shelf.address.site):
            raise Refused(WRONG_SITE)
        self._object = bytearray()

    async def take(self, piece: memoryview) -> None:
        if len(self._object) + len(piece) > MAX_RING_BYTES:
            raise Refused(TOO_LARGE)
        self._object += bytes(piece)

    async def finish(self) -> Accepted:
        data = bytes(self._object)
        if data == self._door.ring_object():
            return Accepted(self._header, "", len(self._shelf.ring.issuers), is_repeat=True)
        ring = await open_successor(data, self._shelf.ring, self._shelf.address.site, self._pause)
        await self._door.adopt(ring, data)
        return Accepted(self._header, "", len(ring.issuers))


TAKERS = {
    KEY_RING_TYPE: RingTaker,
    ALLOWLIST_TYPE: ListTaker,
    DENY_LIST_TYPE: DenyTaker,
    COMMAND_TYPE: CommandTaker,
}
