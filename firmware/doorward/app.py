"""The app: passes values between the rooms, and watches over their tasks."""

import asyncio
import gc

from . import __version__, const
from .trust.objects import (
    ALLOWLIST_TYPE,
    COMMAND_TYPE,
    DENY_LIST_TYPE,
    KEY_RING_TYPE,
    TYPES,
)
from .values import (
    BOOT,
    BUSY,
    CLOCK_QUALITIES,
    COMMAND_OBEYED,
    COMMANDS,
    DECISION_FAULT,
    DENY_LIST_IN_FORCE,
    KEY_RING_IN_FORCE,
    LIST_CORRUPT,
    LIST_IN_FORCE,
    OBJECT_REFUSED,
    POSTURE_CHANGED,
    POSTURES,
    READER_DOWN,
    READER_UP,
    TAP,
    TASK_DIED,
    TRANSFER_BROKEN,
    UNLOCK,
    UNLOCKED,
    Badge,
    Decision,
    Event,
    Refused,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUPERVISE_MS = const(250)
_INPUT_MS = const(10)
_REVIVE_MS = const(1000)
# Garbage is collected after so many taps, or so many turns of the supervisor (30 s).
_TAPS_TO_COLLECT = const(8)
_TURNS_TO_COLLECT = const(120)
# How long a dying board may take to get its last records onto flash.
_LAST_WORDS_MS = const(300)
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


class Taps:
    """What the taps since boot took: from the first answer of the badge, in microseconds."""

    def __init__(self) -> None:
        self.count = 0
        self.grants = 0
        self.last_us = 0
        self.longest_us = 0

    def add(self, is_grant: bool, taken_us: int) -> None:
        self.count += 1
        self.grants += 1 if is_grant else 0
        self.last_us = taken_us
        self.longest_us = max(self.longest_us, taken_us)


class Allowance:
    """How many records of one kind may still be made, so that a flood of them cannot push out of
    the journal what has not been delivered.

    Attributes:
        unrecorded: how many were not, since the last that was.
    """

    def __init__(self, ticks) -> None:
        self._ticks = ticks
        self._left = _RECORDS_AT_ONCE
        self._granted_ms = ticks.ticks_ms()
        self.unrecorded = 0

    def take(self) -> bool:
        """May one more be recorded? A no is counted."""
        now_ms = self._ticks.ticks_ms()
        if self._ticks.ticks_diff(now_ms, self._granted_ms) >= _RECORD_EVERY_MS:
            self._granted_ms = now_ms
            self._left = min(self._left + 1, _RECORDS_AT_ONCE)
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


class App:
    """One door. `main` builds the rooms and hands them in."""

    def __init__(
        self, board, config, time, gate, credentials, access, portal, journal, boot: int
    ) -> None:
        """boot: number of this start. `uplink` and `console` are set before `run`."""
        self._board = board
        self._config = config
        self._time = time
        self._gate = gate
        self._credentials = credentials
        self._access = access
        self._portal = portal
        self._journal = journal
        self._ticks = board.ticks
        self._boot = boot
        self._uptime_s = 0
        self._second_ms = board.ticks.ticks_ms()
        self._revived = 0
        self._taps = Taps()
        self._uncollected_taps = 0
        self._reader_faults = Allowance(board.ticks)
        self._is_down_recorded = True
        self._deaths = Allowance(board.ticks)
        self._refusals = Allowance(board.ticks)
        self.uplink: Any = None
        self.console: Any = None

    def open_receiver(self) -> Receiver:
        """Return a receiver of signed objects for one carrier."""
        intake = self._access.open_intake()
        return Receiver(intake, self._unlock, self.note, self._ticks, self._refusals)

    def note(self, event: Event) -> None:
        """Hand an event to the journal, stamped with the posture it happened in."""
        event.posture = self._access.posture
        self._journal.note(event)

    def tap(self, badge: Badge) -> Decision:
        """Decide one badge and act on it: strike first, everything else after it."""
        ticks = self._ticks
        try:
            decision = self._access.decide(badge)
        except Exception as error:
            # A failure to decide is a denial, and the next tap must work.
            self._board.report("deciding failed", error)
            decision = Decision(DECISION_FAULT, b"", None)
        decided_us = ticks.ticks_us()
        if decision.is_grant:
            self._portal.release()
        relay_us = ticks.ticks_us()
        self._portal.show(decision)
        event = Event(TAP, ticks.ticks_ms(), reason=decision.reason)
        event.badge_id = decision.badge_id
        event.decision_us = ticks.ticks_diff(decided_us, badge.field_us)
        event.relay_us = ticks.ticks_diff(relay_us, badge.field_us) if decision.is_grant else 0
        entry = decision.entry
        if entry is not None:
            event.cardholder_class = entry.cardholder_class
            event.level = entry.level
            event.issuer_id = entry.issuer_id
            event.list_version = entry.list_version
        self.note(event)
        self._taps.add(decision.is_grant, ticks.ticks_diff(relay_us, badge.field_us))
        return decision

    async def run(self) -> None:
        """Run the door until a critical task dies; then make it safe and restart the board."""
        self.note(Event(BOOT, self._ticks.ticks_ms(), detail=self._boot))
        for issuer in self._access.shelf.corrupt:
            self._note_corrupt(issuer)
        self._portal.hold(self._access.posture == UNLOCKED)
        self._access.on_posture = self._follow_posture
        tasks = [
            ("reader", self._watch_reader, True),
            ("strike", self._portal.watch_strike, True),
            ("journal", self._journal.run, True),
            ("journal-upkeep", self._journal.tend, True),
            ("inputs", self._watch_inputs, True),
            ("posture", self._access.keep_posture, True),
            ("indicator", self._portal.play, False),
            ("console", self.console.run, False),
            ("uplink", self.uplink.run, False),
            ("list-check", self._check_lists, False),
        ]
        tasks += [(name, call, False) for name, call in self._board.tasks()]
        running = [
            (number, name, call, is_critical, asyncio.create_task(call()))
            for number, (name, call, is_critical) in enumerate(tasks)
        ]
        await self._supervise(running)

    def status(self) -> dict:
        """Return what a technician or a health message needs to know."""
        now_s = self._time.now_s()
        reader = self._credentials
        journal = self._journal
        return {
            "door": self._config.door,
            "site": self._config.site,
            "board": self._board.name,
            "firmware": __version__,
            "boot": self._boot,
            "uptime_s": self._uptime_s,
            "posture": POSTURES[self._access.posture],
            "clock": {"quality": CLOCK_QUALITIES[self._time.quality], "now_s": now_s},
            "reader": {
                "is_up": reader.is_up,
                "fault": reader.fault,
                "version": reader.chip.version,
                "self_test": reader.self_test,
                "has_irq": reader.chip.has_irq,
                "errors": reader.errors,
            },
            "lists": [
                {
                    "issuer": allowlist.issuer.name,
                    "version": allowlist.header.version,
                    "badges": allowlist.header.entry_count,
                    "age_s": max(0, now_s - allowlist.header.issued_s),
                }
                for allowlist in self._access.shelf.lists
            ],
            "denied": [
                {
                    "issuer": denial.issuer.name,
                    "version": denial.header.version,
                    "badges": denial.header.entry_count,
                }
                for denial in self._access.shelf.denials
            ],
            "key_ring": self._access.shelf.ring.version,
            "journal": {
                "oldest": journal.oldest_sequence,
                "next": journal.next_sequence,
                "acknowledged": journal.acknowledged,
                "pending": journal.pending,
                "capacity": journal.capacity,
            },
            "taps": {
                "count": self._taps.count,
                "grants": self._taps.grants,
                "last_us": self._taps.last_us,
                "longest_us": self._taps.longest_us,
            },
            "uplink": {
                "is_connected": self.uplink.is_connected,
                "fault": self.uplink.fault,
                "sessions": self.uplink.sessions,
                "resent": self.uplink.resent,
                "garbage": self.uplink.garbage,
            },
            "console": {"garbage_bytes": self.console.garbage_bytes},
            "stalls": {
                "runs": self._gate.runs,
                "hasty": self._gate.hasty,
                "longest_ms": self._gate.longest_ms,
            },
            "revived_tasks": self._revived,
            "memory_free_bytes": gc.mem_free(),
        }

    def hello(self) -> dict:
        """Return who this is: protocol, door, board, firmware."""
        return {
            "protocol": 1,
            "site": self._config.site,
            "door": self._config.door,
            "board": self._board.name,
            "firmware": __version__,
            "boot": self._boot,
        }

    async def _watch_reader(self) -> None:
        """Poll for badges; bring a reader that is down up again."""
        reader = self._credentials
        poll = reader.poll
        polled = self._gate.polled
        sleep_ms = asyncio.sleep_ms
        interval_ms = self._config.poll_interval_ms
        was_up = True
        retry_ms = self._ticks.ticks_ms()
        while True:
            if reader.is_up:
                badge = poll()
                if reader.has_badge:
                    self._gate.saw_badge()
                if not reader.has_answer and self._uncollected_taps >= _TAPS_TO_COLLECT:
                    # Now, with nobody to be served: left to itself it comes in the middle of a
                    # tap and costs it 25 ms.
                    self._uncollected_taps = 0
                    gc.collect()
                if badge is not None:
                    self._uncollected_taps += 1
                    self.tap(badge)
            elif self._ticks.ticks_diff(self._ticks.ticks_ms(), retry_ms) >= 0:
                retry_ms = self._ticks.ticks_add(
                    self._ticks.ticks_ms(), self._config.reader_retry_ms
                )
                reader.start()
            if reader.is_up != was_up:
                was_up = reader.is_up
                self._board.report("reader: " + (reader.fault or "up"))
                self._note_reader(was_up)
                self._show_standing()
            # A reader that is down has looked too: nobody can be tapping.
            polled()
            await sleep_ms(interval_ms)

    def _note_reader(self, is_up: bool) -> None:
        """A loose wire goes down and up all day. The state it is left in is always recorded."""
        if not is_up:
            self._is_down_recorded = self._reader_faults.take()
        if self._is_down_recorded:
            detail = self._reader_faults.count_reset()
            code = READER_UP if is_up else READER_DOWN
            self.note(Event(code, self._ticks.ticks_ms(), detail=detail))

    async def _watch_inputs(self) -> None:
        self._show_standing()
        await self._portal.watch_inputs(self._follow_inputs)

    def _follow_inputs(self) -> None:
        """The lockdown switch holds the door in lockdown while it is on."""
        self._access.lockdown(self._portal.is_lockdown_demanded)

    def _follow_posture(self) -> None:
        """Whoever changed the posture: the strike, the light and the journal follow it here."""
        self._portal.hold(self._access.posture == UNLOCKED)
        self.note(Event(POSTURE_CHANGED, self._ticks.ticks_ms()))
        self._show_standing()

    def _unlock(self, seconds: int) -> None:
        """Release the strike by command, for that long."""
        self._portal.release(seconds * 1000)

    async def _check_lists(self) -> None:
        """Once after boot, at leisure: do the lists on flash still hash to what was signed?"""
        for issuer in await self._access.check_lists():
            self._note_corrupt(issuer)

    def _note_corrupt(self, issuer) -> None:
        event = Event(LIST_CORRUPT, self._ticks.ticks_ms())
        event.issuer_id = issuer.key.key_id
        self.note(event)

    def _show_standing(self) -> None:
        self._portal.stand(self._credentials.is_up, self._access.is_locked_down)

    async def _supervise(self, running: list) -> None:
        turns = 0
        while True:
            turns += 1
            if turns % _TURNS_TO_COLLECT == 0:
                self._uncollected_taps = _TAPS_TO_COLLECT
            for number, name, call, is_critical, task in running:
                if not task.done():
                    continue
                error = await _outcome(task)
                if error is None and not is_critical:
                    continue
                if is_critical or self._deaths.take():
                    self.note(Event(TASK_DIED, self._ticks.ticks_ms(), detail=number))
                if is_critical:
                    await self._restart(name, error)
                    return
                self._board.report("task %s is started anew" % name, error)
                self._revived += 1
                await asyncio.sleep_ms(_REVIVE_MS)
                running[number] = (number, name, call, False, asyncio.create_task(call()))
            self._time.now_s()
            self._access.end_what_is_over()
            self._count_uptime()
            if self._board.watchdog is not None:
                self._board.watchdog.feed()
            await asyncio.sleep_ms(_SUPERVISE_MS)

    def _count_uptime(self) -> None:
        """Second by second, because a difference of ticks wraps after six days."""
        seconds = self._ticks.ticks_diff(self._ticks.ticks_ms(), self._second_ms) // 1000
        self._uptime_s += seconds
        self._second_ms = self._ticks.ticks_add(self._second_ms, seconds * 1000)

    async def _restart(self, name: str, error) -> None:
        """Outputs safe first, then the last records, then the board's reset, come what may."""
        try:
            self._portal.make_safe()
            self._board.report("task %s died; restarting" % name, error)
            await asyncio.wait_for_ms(self._journal.flush(), _LAST_WORDS_MS)
        except Exception as lost:
            self._board.report("last records lost", lost)
        finally:
            self._board.reset()


async def _outcome(task) -> Exception | None:
    """Return the exception that ended a task, or None."""
    try:
        await task
    except asyncio.CancelledError:
        return RuntimeError("cancelled")
    except Exception as error:
        return error
    return None
