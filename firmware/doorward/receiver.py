"""Signed objects from one carrier: seen to, answered, recorded; and how many records that may cost."""

from . import const
from .trust.objects import (
    ALLOWLIST_TYPE,
    COMMAND_TYPE,
    DENY_LIST_TYPE,
    KEY_RING_TYPE,
    TYPES,
)
from .values import (
    BUSY,
    COMMAND_OBEYED,
    COMMANDS,
    DENY_LIST_IN_FORCE,
    KEY_RING_IN_FORCE,
    LIST_IN_FORCE,
    OBJECT_REFUSED,
    TRANSFER_BROKEN,
    UNLOCK,
    Event,
    Refused,
)

# Records that anybody with a cable or a loose wire can cause: so many in a row, then one in ten
# minutes of each kind.
_RECORDS_AT_ONCE = const(24)
_RECORD_EVERY_MS = const(600_000)

_EVENT_OF = {
    ALLOWLIST_TYPE: LIST_IN_FORCE,
    DENY_LIST_TYPE: DENY_LIST_IN_FORCE,
    KEY_RING_TYPE: KEY_RING_IN_FORCE,
    COMMAND_TYPE: COMMAND_OBEYED,
}


class Allowance:
    """How many records of one kind may still be made, so that a flood of them cannot push out of
    the journal what has not been delivered.

    Attributes:
        unrecorded: how many were not, since the last that was.
    """

    def __init__(
        self, ticks, at_once: int = _RECORDS_AT_ONCE, every_ms: int = _RECORD_EVERY_MS
    ) -> None:
        """at_once: so many in a row, then one each `every_ms`."""
        self._ticks = ticks
        self._at_once = at_once
        self._every_ms = every_ms
        self._left = at_once
        self._granted_ms = ticks.ticks_ms()
        self.unrecorded = 0

    def take(self) -> bool:
        """May one more be recorded? A no is counted."""
        now_ms = self._ticks.ticks_ms()
        # Whole periods that went by, at most as many as are ever in store.
        since_ms = self._ticks.ticks_diff(now_ms, self._granted_ms)
        # Less than nothing: so many days went by that the ticks wrapped.
        periods = since_ms // self._every_ms if since_ms >= 0 else self._at_once
        if periods > 0:
            self._granted_ms = now_ms
            self._left = min(self._left + periods, self._at_once)
        if not self._left:
            self.unrecorded += 1
            return False
        self._left -= 1
        return True

    def count_reset(self) -> int:
        """Return `unrecorded` for the record that tells it, and begin to count anew."""
        count, self.unrecorded = self.unrecorded, 0
        return count


class Receiver:
    """Takes signed objects from one carrier, sees to what they ask, and records how it ended."""

    def __init__(self, intake, unlock, note, ticks, refusals: Allowance) -> None:
        """unlock: called with seconds. refusals: how many may be recorded, of all carriers."""
        self._intake = intake
        self._unlock = unlock
        self._note = note
        self._now_ms = ticks.ticks_ms
        self._refusals = refusals

    def begin(self, total_bytes: int) -> None:
        try:
            self._intake.begin(total_bytes)
        except Refused as error:
            self.refuse(error.code)
            raise

    async def feed(self, piece: bytes) -> None:
        await self._intake.feed(piece)

    def abort(self) -> None:
        """The carrier went away in the middle."""
        if self._intake.is_open:
            self.refuse(TRANSFER_BROKEN)
        self._intake.abort()

    async def finish(self) -> dict:
        """Put the object in force; return what it is, for whoever sent it."""
        accepted = await self._intake.finish()
        header = accepted.header
        command = accepted.command
        if not accepted.is_repeat:
            # What is in force already changes nothing and is worth no record: anybody may send it
            # again and again.
            event = Event(_EVENT_OF[header.type], self._now_ms(), detail=accepted.count)
            event.issuer_id = header.issuer_id
            event.list_version = header.version
            if command is not None:
                event.reason = command.kind
                event.detail = command.argument
            self._note(event)
        if command is not None and command.kind == UNLOCK:
            self._unlock(command.argument)
        told = {"type": TYPES[header.type], "issuer": accepted.issuer, "version": header.version}
        if command is not None:
            told["command"] = COMMANDS[command.kind]
        else:
            told["count"] = accepted.count
        return told

    def refuse(self, code: int) -> None:
        """Record a refusal, and forget what was received; being busy with another is no reason to."""
        event = Event(OBJECT_REFUSED, self._now_ms(), reason=code)
        if self._intake.header is not None:
            event.issuer_id = self._intake.header.issuer_id
            event.list_version = self._intake.header.version
        if code != BUSY:
            self._intake.abort()
        if self._refusals.take():
            event.detail = self._refusals.count_reset()
            self._note(event)
