"""Signed objects as they arrive, over whatever carrier: believed first, stored second.

One object at a time. Nothing is in force before the last check has passed, and a transfer that
breaks off at any byte leaves what was in force.
"""

from ..hal.roles import PAGE_BYTES, SECTOR_BYTES, FlashFault
from ..trust import objects
from ..values import (
    BAD_BODY_HASH,
    BADGE_ID_BYTES,
    BUSY,
    FLASH_FAULT,
    MALFORMED,
    NOT_SORTED,
    OLD_VERSION,
    OUT_OF_SCOPE,
    TOO_LARGE,
    TRUNCATED,
    UNKNOWN_ISSUER,
    WRONG_SITE,
    WRONG_TYPE,
    Entry,
    Refused,
)
from .allowlist import ENTRY_BYTES, Allowlist, unpack_entry
from .shelf import Place, Shelf


class Intake:
    """Receives one object: `begin`, `feed` for every piece, `finish`; `abort` at any time.

    Attributes:
        is_open: an object is being received.
        is_repeat: it is the very list that is in force already.
        header: the header of that object once it was believed, else None.
    """

    def __init__(self, shelf: Shelf, site: str, gate, pause) -> None:
        """gate: quiet.Gate for the erases. pause: async callable, awaited between slices."""
        self._shelf = shelf
        self._site = site
        self._gate = gate
        self._pause = pause
        self._page = bytearray(PAGE_BYTES)
        self.is_open = False
        self._reset()

    def begin(self, total_bytes: int) -> None:
        """Open for an object of `total_bytes`. Raises Refused."""
        if self.is_open:
            raise Refused(BUSY)
        self._reset()
        if total_bytes > objects.MAX_HEAD_BYTES + objects.MAX_BODY_BYTES:
            raise Refused(TOO_LARGE)
        if total_bytes <= objects.HEADER_BYTES:
            raise Refused(TRUNCATED)
        self._total_bytes = total_bytes
        self.is_open = True

    async def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the object. Raises Refused, after which `begin` starts anew."""
        try:
            await self._feed(memoryview(piece))
        except FlashFault:
            self.abort()
            raise Refused(FLASH_FAULT) from None
        except Refused:
            self.abort()
            raise

    async def finish(self) -> Allowlist:
        """Check the whole object, put it in force and return the list. Raises Refused.

        The very list that is in force already is accepted again and changes nothing.
        """
        try:
            if not self.is_open or self._received != self._total_bytes or self.header is None:
                raise Refused(TRUNCATED)
            current = self._shelf.in_force(self.header.issuer_id)
            if not self.is_repeat:
                await self._flush_page()
                place = Place(
                    self.header.issuer_id, self.header.version, self._sector, self._total_bytes
                )
                await self._check_written(place)
                await self._shelf.put_in_force(place, self._gate)
                current = self._shelf.in_force(self.header.issuer_id)
            if current is None:
                raise Refused(FLASH_FAULT)
            return current
        except FlashFault:
            raise Refused(FLASH_FAULT) from None
        finally:
            self.abort()

    def abort(self) -> None:
        """Forget the object being received."""
        self.is_open = False
        self._head = b""

    def _reset(self) -> None:
        self.header: objects.Header | None = None
        self._issuer = None
        self._head = b""
        self._received = 0
        self._written = 0
        self._total_bytes = 0
        self._sector = 0
        self.is_repeat = False

    async def _feed(self, piece: memoryview) -> None:
        if not self.is_open:
            raise Refused(BUSY)
        if self._received + len(piece) > self._total_bytes:
            raise Refused(TOO_LARGE)
        self._received += len(piece)
        if self.header is not None:
            await self._store(piece)
            return
        # Whole after MAX_HEAD_BYTES at the latest: signatures are few and their lengths bounded.
        self._head += bytes(piece)
        if len(self._head) >= objects.HEADER_BYTES:
            header = objects.parse_header(self._head)
            self._check_header(header)
            if objects.parse_signatures(self._head, header.signature_count) is not None:
                await self._believe(header)
                head, self._head = self._head, b""
                await self._store(memoryview(head))

    def _check_header(self, header: objects.Header) -> None:
        """Everything a header alone can be refused for, the cheapest first."""
        if header.type != objects.ALLOWLIST_TYPE:
            raise Refused(WRONG_TYPE)
        if header.site != self._site:
            raise Refused(WRONG_SITE)
        if header.entry_bytes != ENTRY_BYTES or header.signature_count != 1:
            raise Refused(MALFORMED)
        if header.entry_count * ENTRY_BYTES != header.body_bytes:
            raise Refused(MALFORMED)
        self._issuer = self._shelf.ring.issuer(header.issuer_id)
        if self._issuer is None:
            raise Refused(UNKNOWN_ISSUER)

    async def _believe(self, header: objects.Header) -> None:
        body_at = await objects.verify(self._head, header, [self._issuer.key], 1, self._pause)
        self.header = header
        # The version is looked at after the signature: only the issuer may say what is old.
        if body_at + header.body_bytes > self._total_bytes:
            raise Refused(TRUNCATED)
        if body_at + header.body_bytes < self._total_bytes:
            raise Refused(MALFORMED)
        current = self._shelf.in_force(header.issuer_id)
        self.is_repeat = current is not None and current.header.pack() == header.pack()
        if not self.is_repeat:
            if header.version < self._shelf.floor(header.issuer_id) or (
                current is not None and header.version <= current.header.version
            ):
                raise Refused(OLD_VERSION)
            self._sector = self._shelf.find_room(self._total_bytes)

    async def _store(self, piece: memoryview) -> None:
        """Collect whole pages and program them; a sector is erased when its first page is due."""
        if self.is_repeat:
            return
        done = 0
        while done < len(piece):
            at = self._written % PAGE_BYTES
            take = min(PAGE_BYTES - at, len(piece) - done)
            self._page[at : at + take] = piece[done : done + take]
            done += take
            self._written += take
            if self._written % PAGE_BYTES == 0:
                await self._program_page(self._written - PAGE_BYTES)

    async def _flush_page(self) -> None:
        rest = self._written % PAGE_BYTES
        if rest:
            for i in range(rest, PAGE_BYTES):
                self._page[i] = 0xFF
            await self._program_page(self._written - rest)

    async def _program_page(self, offset: int) -> None:
        region = self._shelf.region
        at = self._sector * SECTOR_BYTES + offset
        if offset % SECTOR_BYTES == 0 and not region.is_blank(at, SECTOR_BYTES):
            await self._gate.run(region.erase, at)
        region.program(at, self._page)
        await self._pause()

    async def _check_written(self, place: Place) -> None:
        """Read all back from flash: header, hash of the body, order and scope of every row."""
        written = self._shelf.open(place, self._issuer.name)
        if written is None or written.header.pack() != self.header.pack():
            raise Refused(FLASH_FAULT)
        rows = _RowCheck(self._issuer)
        # The hash goes first: rows of a body that is not the signed one prove nothing.
        if not await written.is_whole(self._pause, rows.look):
            raise Refused(BAD_BODY_HASH)
        if rows.code:
            raise Refused(rows.code)


class _RowCheck:
    """Looks at rows one after the other; remembers the first thing wrong."""

    def __init__(self, issuer) -> None:
        self._issuer = issuer
        self._last = b""
        self._entry = Entry()
        self.code = 0

    def look(self, rows: memoryview) -> None:
        for at in range(0, len(rows), ENTRY_BYTES):
            badge_id = bytes(rows[at : at + BADGE_ID_BYTES])
            if badge_id <= self._last:
                self.code = self.code or NOT_SORTED
            self._last = badge_id
            if not unpack_entry(rows, at, self._entry):
                self.code = self.code or MALFORMED
            elif not self._issuer.may_grant(self._entry.cardholder_class):
                self.code = self.code or OUT_OF_SCOPE
