"""Credentials: turns what the chip sees into one Badge per gesture, and keeps the chip alive."""

from .. import const
from ..values import MAX_UID_BYTES, Badge
from .iso14443a import Activation
from .mfrc522 import MFRC522, ReaderDown

# Badges at the reader that are remembered, so that holding them there is one gesture.
_MEMORY = const(4)
# A halted card answers WUPA only; asking this often tells whether it is still there.
_PRESENCE_MS = const(100)


class _Seen:
    def __init__(self) -> None:
        self.identity = bytearray(1 + MAX_UID_BYTES)
        self.last_ms = 0
        self.is_used = False


class Credentials:
    """The reader of one door.

    Attributes:
        chip: the MFRC522.
        is_up: the chip was started and answers.
        has_badge: a badge is in the field, or was so lately that it is still remembered.
        has_answer: somebody answered the last poll, understood or not.
        errors: frames of the RF side that were no valid answer, so far.
        fault: why the chip is down, in words; "" while it is up.
        self_test: did the chip pass its own at the first start? None: not run yet. Clones fail
            it and work, so it is told and nothing hangs on it.
    """

    def __init__(self, board, settings) -> None:
        """board: has spi, reader_cs, reader_reset, ticks. settings: the Config."""
        ticks = board.ticks
        chip = MFRC522(
            board.spi,
            board.reader_cs,
            ticks,
            board.reader_reset,
            board.reader_irq,
            gain_db=settings.reader_gain_db,
        )
        self.chip = chip
        self.is_up = False
        self.has_badge = False
        self.has_answer = False
        self.errors = 0
        self.fault = "not started"
        self.self_test: bool | None = None
        self._ticks = ticks
        self._same_badge_ms = settings.same_badge_ms
        self._check_ms = settings.reader_check_ms
        self._activation = Activation(chip)
        self._badge = Badge()
        self._seen = [_Seen() for _ in range(_MEMORY)]
        self._checked_ms = 0
        self._presence_ms = 0
        self._must_halt = False
        self._next_slot = 0

    def start(self) -> bool:
        """Bring the chip up. False, with `fault` set, where it does not come."""
        try:
            if self.self_test is None:
                self.self_test = self.chip.self_test()
            self.chip.start()
        except ReaderDown as error:
            return self._lose(error)
        self._checked_ms = self._ticks.ticks_ms()
        self._must_halt = False
        self.is_up = True
        self.fault = ""
        return True

    def poll(self) -> Badge | None:
        """Look once. Return a badge that has just come, else None.

        The Badge is the same object every time. Without a badge in the field this is under 1 ms
        of bus time; reading one takes 3 to 8 ms of air time. A chip that fails is no longer
        `is_up`.
        """
        try:
            return self._poll()
        except ReaderDown as error:
            self._lose(error)
            return None

    def _lose(self, error: ReaderDown) -> bool:
        self.is_up = False
        self.has_badge = False
        self.fault = str(error)
        return False

    def _poll(self) -> Badge | None:
        now_ms = self._ticks.ticks_ms()
        if self._ticks.ticks_diff(now_ms, self._checked_ms) >= self._check_ms:
            self._checked_ms = now_ms
            # A chip that lost its settings still answers, and is deaf: nobody would notice.
            if not self.chip.is_healthy():
                raise ReaderDown("the chip lost its settings")
        activation = self._activation
        if self._must_halt:
            # Left until the door has decided: a halt costs air time that an officer would wait.
            self._must_halt = False
            activation.halt()
        # Nearly every look finds nobody there and nobody remembered: then nothing else is done.
        is_wake_up = self.has_badge and self._is_presence_due(now_ms)
        field_us = self._ticks.ticks_us()
        self.has_answer = activation.request(is_wake_up)
        if not self.has_answer:
            if self.has_badge:
                self.has_badge = self._forget_absent(now_ms)
            return None
        self.has_badge = True
        if not activation.select():
            self.errors += 1
            return None
        if activation.had_collision:
            self._keep_all(now_ms)
        self._must_halt = True
        badge = self._badge
        badge.identity[0] = activation.uid_length
        for i in range(MAX_UID_BYTES):
            badge.identity[1 + i] = activation.uid[i] if i < activation.uid_length else 0
        badge.sak = activation.sak
        badge.field_us = field_us
        badge.is_authenticated = False
        return badge if self._is_new(badge, now_ms) else None

    def _is_presence_due(self, now_ms: int) -> bool:
        """Ask halted cards too, now and then."""
        if self._ticks.ticks_diff(now_ms, self._presence_ms) < _PRESENCE_MS:
            return False
        self._presence_ms = now_ms
        return True

    def _forget_absent(self, now_ms: int) -> bool:
        """Forget badges that have been away long enough. True while any is remembered."""
        is_any = False
        for seen in self._seen:
            if seen.is_used:
                if self._ticks.ticks_diff(now_ms, seen.last_ms) > self._same_badge_ms:
                    seen.is_used = False
                else:
                    is_any = True
        return is_any

    def _keep_all(self, now_ms: int) -> None:
        """Several cards answer and one is read: any of the others may be one remembered."""
        for seen in self._seen:
            if seen.is_used:
                seen.last_ms = now_ms

    def _is_new(self, badge: Badge, now_ms: int) -> bool:
        """Remember a badge that was read. False where it never went away."""
        for seen in self._seen:
            if seen.is_used and seen.identity == badge.identity:
                seen.last_ms = now_ms
                return False
        # Who came first goes first: when each was last seen is not told apart while several stay.
        slot = self._seen[self._next_slot]
        self._next_slot = (self._next_slot + 1) % _MEMORY
        slot.identity[:] = badge.identity
        slot.last_ms = now_ms
        slot.is_used = True
        return True
