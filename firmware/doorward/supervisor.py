"""The supervisor: watches over named tasks, feeds the watchdog, restarts a door that cannot go on."""

import asyncio
import gc
import os
import struct

from . import const, state
from .hal.roles import STATE_SLOT_BYTES
from .values import OUT_OF_MEMORY, RESTART_CAUSES, START_FAILED, TASK_ENDED, TASK_HUNG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOOK_MS = const(250)
# How long a dying board may take to get its last records onto flash.
_LAST_WORDS_MS = const(300)
# A task that is not critical: how soon it is started anew; how often in how long it may die before
# it is left alone for as long.
_REVIVE_MS = const(1000)
_MOST_DEATHS = const(20)
_STORM_MS = const(60_000)
# Given back when a restart is due, so that one for want of memory has some to record it with.
_RESERVE_BYTES = const(4096)
# A door that does not start is tried again soon, for what passes by itself, and after that at
# leisure: every start costs state flash a snapshot.
_START_AGAIN_MS = const(5000)
_START_AGAIN_LATER_MS = const(60_000)

_RECORD = "<BB"  # cause, number of the task
_RECORD_BYTES = const(2)
_CTRL_C = const(3)


class _Task:
    """A task and how it stands.

    Attributes:
        is_over: it ended or raised.
        error: what it raised.
    """

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.is_over = False
        self.error: Exception | None = None
        self._running: Any = None

    def start(self) -> None:
        self.is_over = False
        self.error = None
        # Held on to: CPython's loop itself does not.
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        # The exception is kept here: one that the loop has to keep, MicroPython prints, and on a
        # chip that is into the technician's cable.
        try:
            await self._work()
        except Exception as error:
            self.error = error
        finally:
            self.is_over = True

    async def _work(self) -> None:
        raise NotImplementedError


class _Critical(_Task):
    """A task without which there is no door.

    Attributes:
        has_beaten: since it was last looked at.
        seen_ms: when it was last found to have beaten.
    """

    def __init__(self, number: int, name: str, call, deadline_ms: int) -> None:
        super().__init__(number, name)
        self.deadline_ms = deadline_ms
        self.has_beaten = True
        self.seen_ms = 0
        self._call = call

    def beat(self) -> None:
        """The task tells: it gets on. Allocates nothing."""
        self.has_beaten = True

    async def _work(self) -> None:
        await self._call(self.beat)


class _Other(_Task):
    """A task that the door does without for a while.

    Attributes:
        is_done: it came to its proper end.
        deaths: so many since `counted_ms`.
        over_ms, pause_ms: when it was found to be over, and for how long it stays so; 0 before.
    """

    def __init__(self, number: int, name: str, call, is_once: bool) -> None:
        super().__init__(number, name)
        self.is_done = False
        self.deaths = 0
        self.counted_ms = 0
        self.over_ms = 0
        self.pause_ms = 0
        self._call = call
        self._is_once = is_once

    async def _work(self) -> None:
        await self._call()
        self.is_done = self._is_once


class Supervisor:
    """Runs the door's tasks.

    A critical task that ends, raises or misses its deadline means a restart: outputs safe before
    anything else, and the cause kept for the next start to tell. A hang of the whole board, when no
    task gets a turn and this one neither, is the hardware watchdog's. It is fed here and, with the
    door running, nowhere else; and only after every critical task was found well.

    Attributes:
        revived: times that a task that is not critical was started anew.
    """

    def __init__(
        self, board, kept: state.Snapshots, gate, make_safe, keep_now, last_words, note_death
    ) -> None:
        """kept: keeps the cause of a restart. gate: what forgetting it waits for.

        make_safe: brings the outputs to rest. keep_now: writes at once what is in force and still
        waits to be written. last_words: coroutine function, makes durable what was noted. note_death(number, is_critical): called when a task ended or raised; whether
        that is worth a record is left to it.
        """
        self._board = board
        self._ticks = board.ticks
        self._kept = kept
        self._gate = gate
        self._make_safe = make_safe
        self._keep_now = keep_now
        self._last_words = last_words
        self._note_death = note_death
        self._names: list[str] = []
        self._critical: list[_Critical] = []
        self._others: list[_Other] = []
        self._reserve: bytearray | None = bytearray(_RESERVE_BYTES)
        self._recorded = _recorded(kept)
        self.revived = 0

    def cause(self) -> tuple[int, int]:
        """Return why the board started: a key of RESTART_CAUSES, and the task's number, 0 = none.

        What was recorded counts before what the chip says: to the RP2040 a reset on purpose and
        one by the watchdog are the same.
        """
        return self._recorded or (self._board.restart_cause(), 0)

    def name_of(self, number: int) -> str:
        """Return the name of a task, "" where none has the number."""
        return self._names[number - 1] if 0 < number <= len(self._names) else ""

    def add(self, name: str, call, deadline_ms: int) -> None:
        """Add a critical task. Tasks are numbered from 1, in the order they are added.

        call(beat): coroutine function that never ends and calls `beat()` at least every
        `deadline_ms`. Who waits at the quiet gate may wait for as long as the gate is patient.
        """
        self._names.append(name)
        self._critical.append(_Critical(len(self._names), name, call, deadline_ms))

    def add_other(self, name: str, call, *, is_once: bool = False) -> None:
        """Add a task that is started anew when it ends or raises. It is numbered as any.

        is_once: when it ends without an exception, it is done.
        """
        self._names.append(name)
        self._others.append(_Other(len(self._names), name, call, is_once))

    async def run(self) -> None:
        """Run the tasks until a critical one takes the door with it. Ends in the board's reset."""
        cause = TASK_ENDED
        number = 0
        error: Exception | None = None
        try:
            dead = await self._watch()
            number = dead.number
            error = dead.error
            if not dead.is_over:
                cause = TASK_HUNG
        except Exception as own:
            # Memory may run out here as well as in any task.
            error = own
        try:
            self._reserve = None
            _attempt(self._make_safe)
            gc.collect()
            if isinstance(error, MemoryError):
                cause = OUT_OF_MEMORY
            if number and cause != TASK_HUNG:
                _attempt(self._note_death, number, True)
            if error is not None:
                _attempt(self._board.report, "a critical task died", error)
            await self.restart(cause, number)
        finally:
            self._reset()

    async def restart(self, cause: int, number: int = 0) -> None:
        """Outputs safe, posture and cause kept, the last records onto flash, reset; come what may.

        cause: a key of RESTART_CAUSES. number: the task's. Returns on no board.
        """
        try:
            _attempt(self._make_safe)
            self._record(cause, number)
            await asyncio.wait_for_ms(self._last_words(), _LAST_WORDS_MS)
        except Exception as error:
            _attempt(self._board.report, "last records lost", error)
        finally:
            # Others had their turns meanwhile: one may have erased the record for its own, one may
            # have released the strike, one may have begun a lockdown.
            self._record(cause, number)
            self._reset()

    async def _watch(self) -> _Critical:
        """Look after the tasks until a critical one is over or overdue; return it."""
        if self._recorded is not None:
            self.add_other("restart-cause", self._forget_cause, is_once=True)
        now_ms = self._ticks.ticks_ms()
        for task in self._critical:
            task.seen_ms = now_ms
            task.start()
        for other in self._others:
            other.start()
        while True:
            dead = self._find_dead()
            if dead is not None:
                return dead
            self._tend_others()
            if self._board.watchdog is not None:
                self._board.watchdog.feed()
            await asyncio.sleep_ms(_LOOK_MS)

    def _find_dead(self) -> _Critical | None:
        now_ms = self._ticks.ticks_ms()
        for task in self._critical:
            if task.is_over:
                return task
            if task.has_beaten:
                task.has_beaten = False
                task.seen_ms = now_ms
            elif self._ticks.ticks_diff(now_ms, task.seen_ms) >= task.deadline_ms:
                return task
        return None

    def _tend_others(self) -> None:
        now_ms = self._ticks.ticks_ms()
        for other in self._others:
            if other.deaths and self._ticks.ticks_diff(now_ms, other.counted_ms) >= _STORM_MS:
                other.deaths = 0
            if not other.is_over or other.is_done:
                continue
            if not other.pause_ms:
                self._bury(other, now_ms)
            elif self._ticks.ticks_diff(now_ms, other.over_ms) >= other.pause_ms:
                other.pause_ms = 0
                self.revived += 1
                other.start()

    def _bury(self, other: _Other, now_ms: int) -> None:
        """Note that a task is over, and for how long it stays so."""
        if not other.deaths:
            other.counted_ms = now_ms
        other.deaths += 1
        other.over_ms = now_ms
        other.pause_ms = _STORM_MS if other.deaths > _MOST_DEATHS else _REVIVE_MS
        _attempt(self._note_death, other.number, False)
        _attempt(self._board.report, other.name + " is started anew", other.error)

    def _record(self, cause: int, number: int) -> None:
        _attempt(self._keep_now)
        _attempt(_keep, self._kept, cause, number)

    async def _forget_cause(self) -> None:
        """Once it is durably told, the next start must not tell it again."""
        await self._last_words()
        await self._kept.commit({state.RESTART: b""}, self._gate)

    def _reset(self) -> None:
        _attempt(self._make_safe)
        self._board.reset()


async def count_start(kept: state.Snapshots, gate) -> int:
    """Count this start; return its number."""
    boot = kept.get_u32(state.BOOT_COUNT) + 1
    await kept.commit({state.BOOT_COUNT: struct.pack("<I", boot)}, gate)
    return boot


async def run_door(board, build) -> None:
    """Build the door of a board and run it. An exception on the way is a start that failed.

    build(board): coroutine function, returns the App.
    """
    try:
        door = await build(board)
        await door.run()
    except Exception as error:
        await fail_start(board, error)


async def fail_start(board, error: Exception) -> None:
    """No door could be built: keep the strike safe, record that, and start again after a while.

    A board that was never given a door stays as it is: nothing changes by another start. In a
    development image Ctrl-C stops either.
    """
    _make_strike_safe(board)
    gc.collect()
    _attempt(board.report, "the door does not start", error)
    if isinstance(error, state.NotProvisioned):
        await _await_provision(board)
    pause_ms = _START_AGAIN_MS
    try:
        kept = state.Snapshots(board.state, STATE_SLOT_BYTES)
        if _recorded(kept) == (START_FAILED, 0):
            pause_ms = _START_AGAIN_LATER_MS
        _keep(kept, START_FAILED, 0)
    except Exception as lost:
        _attempt(board.report, "the cause is not recorded", lost)
    await _wait(board, pause_ms)
    _make_strike_safe(board)
    board.reset()


async def _await_provision(board) -> None:
    """Wait, with the strike safe, for whoever comes to provision this board and resets it."""
    while True:
        await _wait(board, _START_AGAIN_LATER_MS)


async def _wait(board, duration_ms: int) -> None:
    if _is_development():
        import micropython

        micropython.kbd_intr(_CTRL_C)
    for _ in range(duration_ms // _LOOK_MS):
        if board.watchdog is not None:
            board.watchdog.feed()
        await asyncio.sleep_ms(_LOOK_MS)


def _is_development() -> bool:
    """Does main.py lie in a file system? A release image has it frozen, and mounts none."""
    try:
        os.stat("main.py")
    except OSError:
        return False
    return True


def _make_strike_safe(board) -> None:
    board.strike(1 - board.strike_active)


def _recorded(kept: state.Snapshots) -> tuple[int, int] | None:
    """Return the cause and the task's number that were kept; None where none was."""
    value = kept.get(state.RESTART)
    if not value or len(value) != _RECORD_BYTES or value[0] not in RESTART_CAUSES:
        return None
    return value[0], value[1]


def _keep(kept: state.Snapshots, cause: int, number: int) -> None:
    if _recorded(kept) != (cause, number):
        kept.commit_now({state.RESTART: struct.pack(_RECORD, cause, number)})


def _attempt(call, *args) -> None:
    """Call. Nothing that goes wrong there may keep a board from being safe and from its restart."""
    try:
        call(*args)
        return
    except Exception:
        # For want of memory, perhaps; then it may go now.
        gc.collect()
    try:
        call(*args)
    except Exception:
        return
