"""Signed objects as they arrive, over whatever carrier: believed first, stored second.

One object at a time; a door has one intake for each carrier. Nothing is in force before the last
check has passed, and a transfer that breaks off at any byte leaves what was in force.
"""

from ..hal.roles import FlashFault
from ..state import StateFull
from ..trust import objects
from ..trust.keyring import MAX_RING_BYTES
from ..trust.objects import KEY_RING_TYPE
from ..values import (
    BAD_LENGTH,
    BUSY,
    FLASH_FAULT,
    NO_MEMORY,
    NO_SPACE,
    NOT_PERMITTED,
    TOO_LARGE,
    TRANSFER_BROKEN,
    TRUNCATED,
    UNKNOWN_ISSUER,
    Refused,
)
from .shelf import Shelf
from .takers import TAKERS, Accepted


class Intake:
    """Receives one object: `begin`, `feed` for every piece, `finish`; `abort` at any time.

    Attributes:
        is_open: an object is being received.
        header: the header of that object once it was believed, else None.
    """

    def __init__(self, shelf: Shelf, gate, pause, door) -> None:
        """gate: quiet.Gate for the erases. pause: async callable, awaited between slices.

        door: does what commands and key rings ask; see control.Access.
        """
        self._shelf = shelf
        self._gate = gate
        self._pause = pause
        self._door = door
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
        is_taken = False
        try:
            await self._feed(memoryview(piece))
            is_taken = True
        except (FlashFault, StateFull, MemoryError) as error:
            raise _refusal(error) from None
        finally:
            # Also of what is no refusal: an intake that stayed open would be busy for ever.
            if not is_taken:
                self.abort()

    async def finish(self) -> Accepted:
        """Check the whole object, put it in force and return what it was. Raises Refused.

        What is in force already is accepted again and changes nothing; a command is refused then.
        """
        try:
            if not self.is_open or self._received != self._total_bytes or not self._is_believed:
                raise Refused(TRUNCATED)
            self._is_finishing = True
            return await self._taker.finish()
        except (FlashFault, StateFull, MemoryError) as error:
            raise _refusal(error) from None
        finally:
            self._is_finishing = False
            self.abort()

    def abort(self) -> None:
        """Forget the object being received. One that is being put in force already goes on."""
        if self._is_finishing:
            return
        if self._taker is not None:
            self._taker.abort()
            self._taker = None
        self._is_believed = False
        self.is_open = False
        self._head = b""

    def _reset(self) -> None:
        self.header: objects.Header | None = None
        self._taker = None
        self._is_believed = False
        self._is_finishing = False
        self._head = b""
        self._received = 0
        self._total_bytes = 0

    async def _feed(self, piece: memoryview) -> None:
        if not self.is_open:
            raise Refused(BUSY)
        if self._received + len(piece) > self._total_bytes:
            raise Refused(TOO_LARGE)
        self._received += len(piece)
        if self._is_believed:
            await self._taker.take(piece)
            return
        # Whole after MAX_HEAD_BYTES at the latest: signatures are few and their lengths bounded.
        self._head += bytes(piece)
        if len(self._head) < objects.HEADER_BYTES:
            return
        header = objects.parse_header(self._head)
        if self._taker is None:
            self._taker = TAKERS[header.type](self._shelf, self._gate, self._pause, self._door)
            self._taker.check_header(header)
            if header.type != KEY_RING_TYPE:
                self._find_issuer(header)
        parsed = objects.parse_signatures(self._head, header.signature_count)
        if parsed is not None:
            self._check_length(header, parsed[1])
            await self._believe(header)
            head, self._head = self._head, b""
            await self._taker.take(memoryview(head))

    def _find_issuer(self, header: objects.Header) -> None:
        """Nobody but the one issuer that the ring lets sign this, here, is listened to."""
        issuer = self._shelf.ring.issuer(header.issuer_id)
        if issuer is None:
            raise Refused(UNKNOWN_ISSUER)
        if header.signature_count != 1:
            raise Refused(BAD_LENGTH)
        address = self._shelf.address
        if not issuer.may_sign(self._taker.power, address.site, address.groups):
            raise Refused(NOT_PERMITTED)
        self._taker.issuer = issuer

    def _check_length(self, header: objects.Header, body_at: int) -> None:
        if header.type == KEY_RING_TYPE and self._total_bytes > MAX_RING_BYTES:
            raise Refused(TOO_LARGE)
        if body_at + header.body_bytes > self._total_bytes:
            raise Refused(TRUNCATED)
        if body_at + header.body_bytes < self._total_bytes:
            raise Refused(BAD_LENGTH)

    async def _believe(self, header: objects.Header) -> None:
        # A key ring's own roots stand in its body: it is verified when it is whole.
        if header.type != KEY_RING_TYPE:
            quorum = ((self._taker.issuer.key,), 1)
            taker = self._taker
            await objects.verify(self._head, header, (quorum,), self._pause)
            if self._taker is not taker:
                raise Refused(TRANSFER_BROKEN)
            self.header = header
        self._taker.believed(header, self._total_bytes)
        self._is_believed = True


def _refusal(error: Exception) -> Refused:
    """Return what the carrier is told of an error."""
    if isinstance(error, FlashFault):
        return Refused(FLASH_FAULT)
    return Refused(NO_SPACE if isinstance(error, StateFull) else NO_MEMORY)
