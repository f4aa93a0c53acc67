"""The app: passes values between the rooms, one task for each of them."""

import asyncio
import gc
from binascii import hexlify

from . import __version__, const
from .health import Taps
from .receiver import Allowance, Receiver
from .values import (
    BOOT,
    BY_GESTURE,
    BY_SWITCH,
    CLOCK_SET,
    CLOCK_UNSET,
    CONFIG_REFUSED,
    DECISION_FAULT,
    DISABLED,
    DOOR_CLOSED,
    DOOR_OPENED,
    DOOR_SECURED,
    EXIT_REQUESTED,
    FIRE,
    FIRE_CLEARED,
    FORCED_OPEN,
    HELD_OPEN,
    INPUTS_AT_START,
    LIST_CORRUPT,
    LOCKDOWN,
    NOT_ENTERED,
    POSTURE_CHANGED,
    POSTURES,
    READER_DOWN,
    READER_UP,
    RESTART_CAUSES,
    RESTARTED,
    SUPPLY_FAILED,
    SUPPLY_RESTORED,
    TAMPER,
    TAMPER_CLEARED,
    TAP,
    TASK_DIED,
    TEAM_HOLD_OVER,
    UNLOCKED,
    Badge,
    Decision,
    Event,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TICK_MS = const(250)
# Garbage is collected after so many taps, or so many ticks (5 s): a door that does nothing makes
# some 10 KB a second.
_TAPS_TO_COLLECT = const(8)
_TICKS_TO_COLLECT = const(20)
# How long a critical task may be silent. A task that waits for quiet may wait 20 s for each of
# several erases; the others only ever sleep for milliseconds.
_PROMPT_MS = const(5_000)
_PATIENT_MS = const(120_000)
# People go in and out all day; a loose wire does so all second, and must not push taps out of the
# journal. Records at once, then one in so many milliseconds:
_OFTEN = (1000, 30_000)  # of all goings together
_SELDOM = (40, 60_000)  # of each other event of an input
# What of the status is health.
_HEALTH = (
    "firmware",
    "boot",
    "uptime_s",
    "posture",
    "lockdown",
    "inputs",
    "lists",
    "denied",
    "key_ring",
    "journal",
    "taps",
    "memory_free_bytes",
)
_HEALTH_OF = {"clock": ("quality", "now_s", "synced_age_s"), "reader": ("is_up",)}
# An alarm, and what tells that it is over.
_ENDS = (
    (TAMPER, TAMPER_CLEARED),
    (SUPPLY_FAILED, SUPPLY_RESTORED),
    (FIRE, FIRE_CLEARED),
    (FORCED_OPEN, DOOR_SECURED),
    (HELD_OPEN, DOOR_SECURED),
)
_GOINGS = (DOOR_OPENED, DOOR_CLOSED, EXIT_REQUESTED, NOT_ENTERED)


class App:
    """One door. `main` builds the rooms and hands them in."""

    def __init__(
        self,
        board,
        config,
        time,
        gate,
        credentials,
        access,
        portal,
        journal,
        boot: int,
    ) -> None:
        """boot: number of this start. `supervisor`, `uplink`, `clock`, `console` are set before `run`."""
        ticks = board.ticks
        self._board = board
        self._config = config
        self._time = time
        self._gate = gate
        self._credentials = credentials
        self._access = access
        self._portal = portal
        self._journal = journal
        self._ticks = ticks
        self._boot = boot
        self._uptime_s = 0
        self._second_ms = ticks.ticks_ms()
        self._taps = Taps()
        self._uncollected_taps = 0
        self._reader_faults = Allowance(ticks)
        self._is_down_recorded = True
        self._deaths = Allowance(ticks)
        self._refusals = Allowance(ticks)
        self._settings_of_clock = Allowance(ticks)
        self._set_s = 0
        # Apart, so that a chattering door contact cannot use up what a fire alarm needs.
        self._input_events: dict[tuple[int, int], Allowance] = {}
        self._untold_alarms: dict[tuple[int, int], Event] = {}
        self._goings = Allowance(ticks, *_OFTEN)
        self._switch_events = Allowance(ticks, *_SELDOM)
        self._untold_turns = 0
        self.supervisor: Any = None
        self.uplink: Any = None
        self.clock: Any = None
        self.console: Any = None
        # What else is to be done once after the start: (name, coroutine function).
        self.once: tuple = ()

    def open_receiver(self) -> Receiver:
        """Return a receiver of signed objects for one carrier."""
        intake = self._access.open_intake()
        return Receiver(intake, self._unlock, self.note, self._ticks, self._refusals)

    def note(self, event: Event) -> None:
        """Hand an event to the journal, stamped with the posture it happened in."""
        event.posture = self._access.posture.current
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
        entry = decision.entry
        if decision.is_grant:
            self._portal.release(entry.cardholder_class, entry.has_extended_time)
        relay_us = ticks.ticks_us()
        self._portal.show(decision.reason)
        event = Event(TAP, ticks.ticks_ms(), reason=decision.reason)
        event.badge_id = decision.badge_id
        event.decision_us = ticks.ticks_diff(decided_us, badge.field_us)
        event.relay_us = ticks.ticks_diff(relay_us, badge.field_us) if decision.is_grant else 0
        if entry is not None:
            event.cardholder_class = entry.cardholder_class
            event.level = entry.level
            event.issuer_id = entry.issuer_id
            event.list_version = entry.list_version
        self.note(event)
        self._taps.add(decision.is_grant, ticks.ticks_diff(relay_us, badge.field_us))
        self._access.follow_tap(decision)
        return decision

    async def run(self) -> None:
        """Run the door until a critical task fails; then it is made safe and the board restarts."""
        self._tell_of_the_start()
        # What was over before the door came up must not release it for a moment.
        self._access.follow_time()
        self._access.posture.on_change = self._follow_posture
        # Nothing is remembered of the switch, and no tap may be decided before it is obeyed.
        self._access.posture.follow_switch(self._portal.is_lockdown_demanded)
        self._hold_what_is_held()
        add, add_other = self.supervisor.add, self.supervisor.add_other
        add("reader", self._watch_reader, _PROMPT_MS)
        add("strike", self._portal.watch_strike, _PROMPT_MS)
        add("inputs", self._watch_inputs, _PROMPT_MS)
        add("tick", self._tick, _PROMPT_MS)
        add("journal", self._journal.run, _PATIENT_MS)
        add("journal-upkeep", self._journal.tend, _PATIENT_MS)
        add("posture", self._access.posture.keep, _PATIENT_MS)
        add_other("indicator", self._portal.play)
        add_other("console", self.console.run)
        add_other("list-check", self._check_lists, is_once=True)
        add_other("clock", self.clock.run, is_once=True)
        for name, call in self.once:
            add_other(name, call, is_once=True)
        for name, call in self._board.tasks():
            add_other(name, call)
        for name, call in self.uplink.tasks():
            add_other(name, call)
        await self.supervisor.run()

    def note_death(self, number: int, is_critical: bool) -> None:
        """Record that a task ended; a flood of deaths of one that is started anew is counted."""
        if is_critical or self._deaths.take():
            self.note(Event(TASK_DIED, self._ticks.ticks_ms(), detail=number))

    def note_clock_set(self, difference_s: int) -> None:
        """Record by how much the clock was set; what goes unrecorded is in the next record."""
        self._set_s += difference_s
        if self._settings_of_clock.take():
            limit = 0x7FFF_FFFF
            detail = max(-limit, min(self._set_s, limit)) & 0xFFFF_FFFF
            self._set_s = 0
            self.note(Event(CLOCK_SET, self._ticks.ticks_ms(), detail=detail))

    def status(self) -> dict:
        """Return what a technician or a health message needs to know."""
        now_s = self._time.now_s()
        is_clock_set = self._time.quality != CLOCK_UNSET
        reader = self._credentials
        journal = self._journal
        shelf = self._access.shelf
        cause, task = self.supervisor.cause()
        return {
            "door": self._config.door,
            "site": self._config.site,
            "board": self._board.name,
            "firmware": __version__,
            "boot": self._boot,
            "uptime_s": self._uptime_s,
            "restart": {"cause": RESTART_CAUSES.get(cause, "unknown"), "task": task},
            "config_fault": self._config.fault,
            "posture": POSTURES[self._access.posture.current],
            "lockdown": self._access.posture.lockdown,
            "is_team_hold": self._access.posture.is_team_hold,
            "is_released": self._portal.is_released,
            "inputs": self._portal.inputs(),
            "clock": self.clock.facts(),
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
                    "age_s": max(0, now_s - allowlist.header.issued_s) if is_clock_set else None,
                }
                for allowlist in shelf.lists
            ],
            "denied": [
                {
                    "issuer": denial.issuer.name,
                    "version": denial.header.version,
                    "badges": denial.header.entry_count,
                }
                for denial in shelf.denials
            ],
            "key_ring": shelf.ring.version,
            "journal": {
                "oldest": journal.oldest_sequence,
                "next": journal.next_sequence,
                "acknowledged": journal.acknowledged,
                "pending": journal.pending,
                "capacity": journal.capacity,
            },
            "taps": self._taps.facts(),
            "network": None if self._board.network is None else self._board.network.is_up,
            "network_fault": "" if self._board.network is None else self._board.network.fault,
            "uplink": {
                "is_connected": self.uplink.is_connected,
                "fault": self.uplink.fault,
                "sessions": self.uplink.sessions,
                "resent": self.uplink.resent,
                "garbage": self.uplink.garbage,
                "fetched": self.uplink.down.fetched,
                "strays": self.uplink.down.strays,
            },
            "console": {"garbage_bytes": self.console.garbage_bytes},
            "stalls": {
                "runs": self._gate.runs,
                "hasty": self._gate.hasty,
                "longest_ms": self._gate.longest_ms,
            },
            "revived_tasks": self.supervisor.revived,
            "memory_free_bytes": gc.mem_free(),
        }

    def health(self) -> dict:
        """Return what of the status goes to the district every minute."""
        status = self.status()
        health = {name: status[name] for name in _HEALTH}
        # Eight issuers with long names leave room for no more in one message.
        for part, names in _HEALTH_OF.items():
            health[part] = {name: status[part][name] for name in names}
        return health

    def hello(self) -> dict:
        """Return who this is: protocol, door, board, firmware, journal."""
        return {
            "protocol": 1,
            "site": self._config.site,
            "door": self._config.door,
            "board": self._board.name,
            "firmware": __version__,
            "boot": self._boot,
            "journal": hexlify(self._journal.journal_id).decode(),
        }

    def _tell_of_the_start(self) -> None:
        now_ms = self._ticks.ticks_ms()
        self.note(Event(BOOT, now_ms, detail=self._boot))
        cause, task = self.supervisor.cause()
        self.note(Event(RESTARTED, now_ms, reason=cause, detail=task))
        # No alarm from before is told to be over: whoever follows them takes this for it.
        self.note(Event(INPUTS_AT_START, now_ms, detail=self._portal.input_bits()))
        if self._config.fault:
            self.note(Event(CONFIG_REFUSED, now_ms))
        for issuer in self._access.shelf.corrupt:
            self._note_corrupt(issuer)

    async def _watch_reader(self, beat) -> None:
        """Poll for badges; bring a reader that is down up again."""
        reader = self._credentials
        poll = reader.poll
        polled = self._gate.polled
        sleep_ms = asyncio.sleep_ms
        interval_ms = self._config.poll_interval_ms
        was_up = True
        retry_ms = self._ticks.ticks_ms()
        while True:
            beat()
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

    async def _watch_inputs(self, beat) -> None:
        await self._portal.watch_inputs(
            self._follow_input, beat, self._access.posture.follow_switch
        )

    def _follow_input(self, code: int, detail: int = 0) -> None:
        if code in _GOINGS:
            if self._goings.take():
                untold = self._goings.count_reset()
                self.note(Event(code, self._ticks.ticks_ms(), detail=untold))
            return
        which = (code, detail)
        if which not in self._input_events:
            self._input_events[which] = Allowance(self._ticks, *_SELDOM)
        for began, ended in _ENDS:
            # What it is the opposite of is not how things were left.
            if code in (began, ended):
                self._untold_alarms.pop((ended if code == began else began, detail), None)
                self._untold_alarms.pop(which, None)
                self._untold_alarms[which] = Event(code, self._ticks.ticks_ms(), detail=detail)
        if which in self._untold_alarms:
            self._tell_of_alarms()
        elif self._input_events[which].take():
            self.note(Event(code, self._ticks.ticks_ms(), detail=detail))

    def _tell_of_alarms(self) -> None:
        """Record what there is an allowance for: of a contact that chatters at least how it was
        left, with the time at which that was."""
        for which in list(self._untold_alarms):
            if self._input_events[which].take():
                self.note(self._untold_alarms.pop(which))

    def _follow_posture(self, code: int, cause: int, badge_id: bytes) -> None:
        """Whoever changed the posture: the strike, the light and the journal follow it here."""
        self._hold_what_is_held()
        posture = self._access.posture.current
        if code == POSTURE_CHANGED and posture == LOCKDOWN and cause != BY_GESTURE:
            # A minute's unlock by command must not outlive the beginning of a lockdown.
            self._portal.lock_down()
        elif code == POSTURE_CHANGED and posture in (LOCKDOWN, DISABLED):
            # Nor may the taps that ordered it.
            self._portal.lock()
        if code == TEAM_HOLD_OVER and cause == BY_GESTURE:
            # The tap that locks has released the door for its own time.
            self._portal.lock()
        if code == POSTURE_CHANGED and cause == BY_SWITCH:
            self._untold_turns += 1
            self._tell_of_the_switch()
        else:
            event = Event(code, self._ticks.ticks_ms(), reason=cause)
            event.badge_id = badge_id
            self.note(event)
        self._show_standing()

    def _tell_of_the_switch(self) -> None:
        """Record that it changed the posture, and how often it did since the last such record.

        A loose wire does so all second: what there is no allowance for is told as soon as there is,
        so that how the switch was left is in the journal.
        """
        if self._untold_turns and self._switch_events.take():
            detail = self._untold_turns - 1
            self._untold_turns = 0
            self.note(
                Event(POSTURE_CHANGED, self._ticks.ticks_ms(), reason=BY_SWITCH, detail=detail)
            )

    def _hold_what_is_held(self) -> None:
        posture = self._access.posture
        self._portal.hold(posture.current == UNLOCKED or posture.is_team_hold)

    def _unlock(self, seconds: int) -> None:
        """Release the strike by command, for that long."""
        self._portal.release(duration_ms=seconds * 1000)

    async def _tick(self, beat) -> None:
        """What time alone brings about."""
        ticks = 0
        while True:
            beat()
            ticks += 1
            if ticks % _TICKS_TO_COLLECT == 0:
                self._uncollected_taps = _TAPS_TO_COLLECT
            # Asked often enough, the clock never meets a wrap of the ticks it counts by.
            self._time.now_s()
            self._access.follow_time()
            self._count_uptime()
            self._tell_of_the_switch()
            self._tell_of_alarms()
            self._show_standing()
            await asyncio.sleep_ms(_TICK_MS)

    def _count_uptime(self) -> None:
        """Second by second, because a difference of ticks wraps after six days."""
        seconds = self._ticks.ticks_diff(self._ticks.ticks_ms(), self._second_ms) // 1000
        self._uptime_s += seconds
        self._second_ms = self._ticks.ticks_add(self._second_ms, seconds * 1000)

    async def _check_lists(self) -> None:
        """Once after boot, at leisure: do the lists on flash still hash to what was signed?"""
        for issuer in await self._access.check_lists():
            self._note_corrupt(issuer)

    def _note_corrupt(self, issuer) -> None:
        event = Event(LIST_CORRUPT, self._ticks.ticks_ms())
        event.issuer_id = issuer.key.key_id
        self.note(event)

    def _show_standing(self) -> None:
        self._portal.stand(
            self._credentials.is_up,
            self._access.posture.current == LOCKDOWN,
            self.uplink is not None and self.uplink.is_wanted and not self.uplink.is_connected,
            False,
        )
