"""One signed deny list: badges that open nothing any more. It can only take rights away.

Entries are blinded badge identities, sorted. Layout: docs/formats.md, "Deny list".
"""

from .. import const
from ..trust.keyring import Issuer
from ..trust.objects import Header
from ..values import (
    BAD_LENGTH,
    BADGE_ID_BYTES,
    DUPLICATE_ENTRY,
    NOT_SORTED,
    TOO_MANY_DENIED,
    Refused,
)

# Of one issuer: they are kept in memory, 10 bytes each.
MAX_DENIED = const(512)
_PAUSE_BYTES = const(640)


def check_header(header: Header) -> None:
    """Refuse what a header alone says too much of. Raises Refused."""
    if header.entry_count > MAX_DENIED:
        raise Refused(TOO_MANY_DENIED)
    if header.entry_bytes != BADGE_ID_BYTES:
        raise Refused(BAD_LENGTH)
    if header.entry_count * BADGE_ID_BYTES != header.body_bytes:
        raise Refused(BAD_LENGTH)


async def check_order(badge_ids: bytes, pause) -> None:
    """Refuse entries that are not sorted, or there twice. Raises Refused.

    pause: async callable, awaited after every 64 entries, some 5 ms on an RP2040.
    """
    last = b""
    for at in range(0, len(badge_ids), BADGE_ID_BYTES):
        badge_id = badge_ids[at : at + BADGE_ID_BYTES]
        if badge_id == last:
            raise Refused(DUPLICATE_ENTRY)
        if badge_id < last:
            raise Refused(NOT_SORTED)
        last = badge_id
        if at % _PAUSE_BYTES == 0:
            await pause()


class DenyList:
    """A deny list that was verified.

    Attributes:
        header: its trust.objects.Header.
        issuer: its trust.keyring.Issuer. Only classes which it may grant can it deny: neither
            can the school lock officers out, nor the police the staff.
    """

    def __init__(self, header: Header, issuer: Issuer, badge_ids: bytes) -> None:
        """badge_ids: the body, in order."""
        self.header = header
        self.issuer = issuer
        self._badge_ids = badge_ids

    def denies(self, badge_id: bytes, cardholder_class: int) -> bool:
        """Has this badge lost its rights as a cardholder of this class?"""
        return self.issuer.may_grant(cardholder_class) and self._has(badge_id)

    def _has(self, badge_id: bytes) -> bool:
        low = 0
        high = self.header.entry_count
        while low < high:
            middle = (low + high) >> 1
            at = middle * BADGE_ID_BYTES
            found = self._badge_ids[at : at + BADGE_ID_BYTES]
            if found == badge_id:
                return True
            if found < badge_id:
                low = middle + 1
            else:
                high = middle
        return False
