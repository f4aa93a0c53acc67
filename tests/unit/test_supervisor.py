"""The supervisor: whatever befalls a task ends in a safe restart in time, and its cause is told."""

import asyncio
import os
import sys
import unittest

from doorward import state, supervisor, values
from doorward.access.posture import Posture
from doorward.config import Config
from doorward.hal import unix
from doorward.hal.roles import STATE_SLOT_BYTES, FlashFault
from doorward.quiet import Gate
from doorward.supervisor import Supervisor, fail_start
from doorward.trust.primitives import run_through
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate

try:
    from micropython import heap_lock, heap_unlock
except ImportError:  # CPython

    def heap_lock():
        pass

    heap_unlock = heap_lock

WATCHDOG_MS = 8000
LAST_WORDS_MS = 300  # real ones, which fake ticks do not count
ERASE_MS = 400
DEADLINE_MS = 3000
STRIKE_ACTIVE = 1
is_on_micropython = sys.implementation.name == "micropython"

real_sleep_ms = asyncio.sleep_ms


class Reset(BaseException):
    """The board restarted."""


class Watchdog:
    def __init__(self, ticks):
        self._ticks = ticks
        self.fed_ms = []

    def feed(self):
        self.fed_ms.append(self._ticks.now_us // 1000)


class Board:
    """A board whose strike is released, with what its restart leaves behind.

    calls: what was done to it, in order.
    """

    strike_active = STRIKE_ACTIVE

    def __init__(self, flash=None, cause=values.POWER_ON):
        self.ticks = FakeTicks()
        self.watchdog = Watchdog(self.ticks)
        self.state = flash or MemoryFlash(8192)
        self.calls = []
        self.level = STRIKE_ACTIVE
        self.cause = cause
        self.reset_ms = -1

    def strike(self, level):
        if self.reset_ms >= 0:
            return
        self.level = level
        self.calls.append("safe" if level != STRIKE_ACTIVE else "released")

    def make_safe(self):
        self.strike(1 - STRIKE_ACTIVE)

    def restart_cause(self):
        return self.cause

    def report(self, text, error=None):
        pass

    def reset(self):
        if self.reset_ms < 0:
            self.reset_ms = self.ticks.now_us // 1000
            self.calls.append("reset")
        raise Reset()


class World:
    """A board, its supervisor and what its tasks do. Time passes with the supervisor's looks."""

    def __init__(self, flash=None, cause=values.POWER_ON):
        self.board = Board(flash, cause)
        self.kept = state.Snapshots(self.board.state, STATE_SLOT_BYTES)
        self.deaths = []
        self.words = 0
        self.supervisor = Supervisor(
            self.board,
            self.kept,
            OpenGate(),
            self.board.make_safe,
            lambda: None,
            self.speak,
            lambda number, is_critical: self.deaths.append((number, is_critical)),
        )

    def now_ms(self):
        return self.board.ticks.now_us // 1000

    def posture(self, gate):
        """Return the posture that is kept, of a door with a panic button."""
        settings = Config({"lockdown_ends_by": "release"})
        time = WallTime(self.board.ticks)
        return Posture(self.kept, gate, time, self.board.ticks, settings)

    def use_up_state(self):
        """Write until the next commit must wait for an erase."""
        while not self.kept._due_sectors():
            number = bytes((self.kept._sequence, 0, 0, 0))
            run_through(self.kept.commit({state.BOOT_COUNT: number}, OpenGate()))

    async def speak(self):
        self.words += 1
        self.board.calls.append("words")

    async def well(self, beat):
        """A task that is."""
        while True:
            beat()
            await real_sleep_ms(0)

    async def until(self, ms, beat):
        while self.now_ms() < ms:
            beat()
            await real_sleep_ms(0)

    def run(self, most_ms=20_000):
        """Run until the board restarts or the time is over; return whether it restarted."""
        self.end_ms = self.now_ms() + most_ms

        async def sleep_ms(ms):
            if self.now_ms() >= self.end_ms:
                raise KeyboardInterrupt()
            self.board.ticks.advance_ms(ms)
            # Every other task has its turns meanwhile.
            await real_sleep_ms(1)

        asyncio.sleep_ms = sleep_ms
        try:
            asyncio.run(self.supervisor.run())
        except Reset:
            return True
        except KeyboardInterrupt:
            return False
        finally:
            asyncio.sleep_ms = real_sleep_ms

    def next(self, cause=values.POWER_ON):
        """Return the world after the restart."""
        return World(self.board.state, cause)


class ClosedGate:
    """A gate in front of which somebody holds a badge to the reader for ever."""

    async def run(self, call, *args):
        await asyncio.Event().wait()


async def hang(beat):
    await asyncio.Event().wait()


async def end(beat):
    pass


async def fail(beat):
    raise ValueError("x")


async def run_out(beat):
    raise MemoryError()


class Restart(unittest.TestCase):
    def check_restart(self, world, failed_ms, cause, number):
        """The board restarted safely and in time; the next start tells why, the one after not."""
        board = world.board
        self.assertEqual(board.calls[0], "safe")
        self.assertEqual(board.calls[-2:], ["safe", "reset"])
        self.assertEqual(board.level, 1 - STRIKE_ACTIVE)
        worst_ms = board.reset_ms - failed_ms + LAST_WORDS_MS + ERASE_MS
        self.assertLess(worst_ms, WATCHDOG_MS)
        # A board that claims the watchdog did it, as the RP2040 does after any reset.
        after = world.next(values.WATCHDOG)
        self.assertEqual(after.supervisor.cause(), (cause, number))
        after.supervisor.add("reader", after.well, DEADLINE_MS)
        self.assertFalse(after.run(2000))
        self.assertEqual(after.supervisor.cause(), (cause, number))
        self.assertEqual(after.words, 1)
        self.assertEqual(world.next().supervisor.cause(), (values.POWER_ON, 0))

    def play(self, failing, cause, deadline_ms=DEADLINE_MS):
        """Let the second of three critical tasks fail after 5 s."""
        world = World()

        async def second(beat):
            await world.until(5000, beat)
            await failing(beat)

        world.supervisor.add("reader", world.well, DEADLINE_MS)
        world.supervisor.add("strike", second, deadline_ms)
        world.supervisor.add("inputs", world.well, DEADLINE_MS)
        self.assertTrue(world.run())
        self.check_restart(world, 5000, cause, 2)
        self.assertEqual(world.words, 1)
        self.assertLess(max(world.board.watchdog.fed_ms), world.board.reset_ms)
        return world

    def test_a_critical_task_that_ends(self):
        world = self.play(end, values.TASK_ENDED)
        self.assertEqual(world.deaths, [(2, True)])
        self.assertLess(world.board.reset_ms, 5600)

    def test_a_critical_task_that_raises(self):
        world = self.play(fail, values.TASK_ENDED)
        self.assertEqual(world.deaths, [(2, True)])
        self.assertEqual(world.supervisor.name_of(2), "strike")

    def test_a_critical_task_that_hangs(self):
        world = self.play(hang, values.TASK_HUNG)
        self.assertEqual(world.deaths, [])
        self.assertLess(world.board.reset_ms, 5000 + DEADLINE_MS + 600)

    def test_a_critical_task_that_runs_for_ever_without_getting_on(self):
        async def spin(beat):
            while True:
                await real_sleep_ms(0)

        self.play(spin, values.TASK_HUNG)

    def test_each_task_has_its_own_deadline(self):
        self.play(hang, values.TASK_HUNG, deadline_ms=1000)
        self.play(hang, values.TASK_HUNG, deadline_ms=6000)
        world = World()

        async def rare(beat):
            while True:
                await world.until(world.now_ms() + 250, beat)
                wake_ms = world.now_ms() + 40_000
                while world.now_ms() < wake_ms:
                    await real_sleep_ms(0)

        world.supervisor.add("reader", world.well, DEADLINE_MS)
        world.supervisor.add("journal", rare, 45_000)
        self.assertFalse(world.run(180_000))

    def test_memory_that_runs_out_in_a_critical_task(self):
        self.play(run_out, values.OUT_OF_MEMORY)

    def test_memory_that_runs_out_for_good(self):
        """Something holds on to all there is: not a byte is left to restart with."""
        hog = [None] * 100_000

        async def fill(beat):
            if not is_on_micropython:
                raise MemoryError()
            size = 1 << 20
            held = 0
            while size >= 16:
                try:
                    while True:
                        hog[held] = bytearray(size)
                        held += 1
                except MemoryError:
                    size //= 2
            bytearray(1 << 16)

        world = World()
        world.supervisor.add("reader", world.well, DEADLINE_MS)
        world.supervisor.add("strike", fill, DEADLINE_MS)
        is_restarted = world.run()
        hog.clear()
        self.assertTrue(is_restarted)
        self.check_restart(world, 0, values.OUT_OF_MEMORY, 2)

    def test_memory_that_runs_out_in_the_supervisor_itself(self):
        world = World()
        world.supervisor.add("reader", world.well, DEADLINE_MS)
        feed = world.board.watchdog.feed

        def feed_once():
            feed()
            world.board.watchdog.feed = fail_to_feed

        def fail_to_feed():
            raise MemoryError()

        world.board.watchdog.feed = feed_once
        self.assertTrue(world.run())
        self.check_restart(world, 0, values.OUT_OF_MEMORY, 0)

    def test_whatever_fails_on_the_way_the_board_is_reset(self):
        def broken(*args):
            raise OSError(5)

        async def lost_words():
            raise OSError(5)

        async def endless_words():
            await asyncio.Event().wait()

        names = "_make_safe _note_death _keep_now _last_words endless report flash"
        for name in names.split():
            world = World()
            world.supervisor.add("reader", fail, DEADLINE_MS)
            if name == "_last_words":
                world.supervisor._last_words = lost_words
            elif name == "endless":
                world.supervisor._last_words = endless_words
            elif name == "report":
                world.board.report = broken
            elif name == "flash":
                world.board.state.program = broken
            else:
                setattr(world.supervisor, name, broken)
            self.assertTrue(world.run(), name)
            self.assertEqual(world.board.calls[-1], "reset")
            if name != "_make_safe":
                self.assertEqual(world.board.calls[0], "safe")
            if name != "flash":
                self.assertEqual(world.next().supervisor.cause(), (values.TASK_ENDED, 1))

    def test_what_is_released_during_the_last_words_is_made_safe(self):
        world = World()

        async def speak():
            world.board.strike(STRIKE_ACTIVE)

        world.supervisor._last_words = speak
        world.supervisor.add("reader", fail, DEADLINE_MS)
        self.assertTrue(world.run())
        self.assertEqual(world.board.calls[-3:], ["released", "safe", "reset"])

    def test_a_lockdown_that_still_waits_for_quiet_is_not_lost(self):
        for failing in (end, fail, hang, run_out):
            world = World()
            world.use_up_state()
            posture = world.posture(ClosedGate())

            async def second(beat, world=world, posture=posture, failing=failing):
                await world.until(1000, beat)
                posture.follow_switch(True)
                await failing(beat)

            world.supervisor._keep_now = posture.keep_now
            world.supervisor.add("posture", posture.keep, 120_000)
            world.supervisor.add("inputs", second, DEADLINE_MS)
            self.assertTrue(world.run())
            self.assertEqual(world.next().posture(OpenGate()).current, values.LOCKDOWN)

    def test_nor_one_that_begins_during_the_last_words(self):
        world = World()
        posture = world.posture(ClosedGate())

        async def speak():
            posture.follow_switch(True)

        world.supervisor._keep_now = posture.keep_now
        world.supervisor._last_words = speak
        world.supervisor.add("reader", fail, DEADLINE_MS)
        self.assertTrue(world.run())
        self.assertEqual(world.next().posture(OpenGate()).current, values.LOCKDOWN)

    def test_an_ordered_restart(self):
        world = World()

        async def obey():
            await world.supervisor.restart(values.ORDERED)

        world.supervisor.add("reader", world.well, DEADLINE_MS)
        try:
            asyncio.run(obey())
        except Reset:
            pass
        self.check_restart(world, 0, values.ORDERED, 0)

    def test_without_a_record_the_board_is_asked(self):
        self.assertEqual(World().supervisor.cause(), (values.POWER_ON, 0))
        world = World(cause=values.WATCHDOG)
        self.assertEqual(world.supervisor.cause(), (values.WATCHDOG, 0))
        run_through(world.kept.commit({state.RESTART: b"\xff\x01"}, OpenGate()))
        self.assertEqual(world.next().supervisor.cause(), (values.POWER_ON, 0))


class Watch(unittest.TestCase):
    def test_the_watchdog_is_fed_as_long_as_all_is_well(self):
        world = World()
        world.supervisor.add("reader", world.well, DEADLINE_MS)
        world.supervisor.add("strike", world.well, DEADLINE_MS)
        self.assertFalse(world.run(30_000))
        fed_ms = world.board.watchdog.fed_ms
        self.assertEqual(fed_ms, list(range(0, 30_001, 250)))
        self.assertEqual(world.board.calls, [])

    def test_a_board_without_a_watchdog(self):
        world = World()
        world.board.watchdog = None
        world.supervisor.add("reader", fail, DEADLINE_MS)
        self.assertTrue(world.run())

    def test_a_stall_of_the_whole_board_that_ends_in_time_is_nobody_s_fault(self):
        world = World()

        async def stall(beat):
            await world.until(1000, beat)
            world.board.ticks.advance_ms(2000)
            await world.well(beat)

        world.supervisor.add("reader", world.well, DEADLINE_MS)
        world.supervisor.add("uplink", stall, DEADLINE_MS)
        self.assertFalse(world.run())

    def test_beating_and_looking_allocate_nothing(self):
        world = World()
        world.looks = 0

        async def keep(beat):
            find_dead = world.supervisor._find_dead
            while True:
                heap_lock()
                try:
                    beat()
                    dead = find_dead() or find_dead()
                finally:
                    heap_unlock()
                self.assertIsNone(dead)
                world.looks += 1
                await real_sleep_ms(0)

        world.supervisor.add("reader", keep, DEADLINE_MS)
        world.supervisor.add("strike", world.well, DEADLINE_MS)
        self.assertFalse(world.run(1000))
        self.assertGreater(world.looks, 3)


class Others(unittest.TestCase):
    def play(self, call, most_ms, is_once=False):
        world = World()
        starts_ms = []

        async def count():
            starts_ms.append(world.now_ms())
            await call()

        world.supervisor.add("reader", world.well, DEADLINE_MS)
        world.supervisor.add_other("console", count, is_once=is_once)
        self.assertFalse(world.run(most_ms), "the door is not restarted")
        self.assertEqual(world.board.watchdog.fed_ms[-1], most_ms)
        # The last one may not have had its first turn yet.
        self.assertIn(len(starts_ms), (world.supervisor.revived, world.supervisor.revived + 1))
        return world, starts_ms

    def test_one_that_ends_or_raises_is_started_anew(self):
        async def ends():
            pass

        async def raises():
            raise MemoryError()

        for call in (ends, raises):
            world, starts_ms = self.play(call, 5000)
            self.assertIn(len(starts_ms), (4, 5))
            self.assertEqual(world.deaths[0], (2, False))

    def test_one_that_is_to_run_once(self):
        async def ends():
            pass

        world, starts_ms = self.play(ends, 5000, is_once=True)
        self.assertEqual((len(starts_ms), world.deaths), (1, []))

        async def raises():
            raise OSError(5)

        world, starts_ms = self.play(raises, 5000, is_once=True)
        self.assertIn(len(starts_ms), (4, 5))

    def test_a_storm_of_exceptions_is_left_alone_for_a_minute(self):
        async def raises():
            raise OSError(5)

        _, starts_ms = self.play(raises, 200_000)
        gaps = [starts_ms[i + 1] - starts_ms[i] for i in range(len(starts_ms) - 1)]
        self.assertEqual([gap for gap in gaps if gap > 2000], [60_250, 60_250])
        self.assertEqual(gaps.index(60_250), 20)
        self.assertEqual(gaps.index(60_250, 21), 41)

    def test_one_that_dies_now_and_then_is_never_left_alone(self):
        world = World()
        ends = []

        async def rare():
            due_ms = world.now_ms() + 10_000
            while world.now_ms() < due_ms:
                await real_sleep_ms(0)
            ends.append(world.now_ms())
            raise OSError(5)

        world.supervisor.add("reader", world.well, DEADLINE_MS)
        world.supervisor.add_other("uplink", rare)
        self.assertFalse(world.run(400_000))
        self.assertGreater(len(ends), 30)

    def test_numbers_do_not_depend_on_how_the_board_started(self):
        for recorded in ({}, {state.RESTART: bytes((values.TASK_HUNG, 1))}):
            world = World()
            run_through(world.kept.commit(recorded, OpenGate()))
            world = world.next()
            world.supervisor.add("reader", world.well, DEADLINE_MS)
            world.supervisor.add_other("console", world.speak)
            self.assertEqual(
                [world.supervisor.name_of(number) for number in (0, 1, 2, 3)],
                ["", "reader", "console", ""],
            )


class Record(unittest.TestCase):
    """What a dying board writes at once, beside a commit that waits for quiet."""

    def setUp(self):
        self.flash = MemoryFlash(8192)
        self.kept = state.Snapshots(self.flash, STATE_SLOT_BYTES)

    def commit(self, boot):
        run_through(self.kept.commit({state.BOOT_COUNT: boot.to_bytes(4, "little")}, OpenGate()))

    def again(self):
        return state.Snapshots(self.flash, STATE_SLOT_BYTES)

    def test_every_slot_can_be_written_at_once(self):
        for boot in range(1, 20):
            self.commit(boot)
            self.kept.commit_now({state.RESTART: bytes((values.TASK_HUNG, boot))})
            self.assertEqual(self.again().get(state.RESTART)[1], boot)
            self.assertEqual(self.again().get_u32(state.BOOT_COUNT), boot)
        self.assertGreater(self.flash.erases, 4)

    def test_a_commit_that_waits_for_quiet_undoes_nothing(self):
        kept = self.kept
        for boot in range(1, 9):
            self.commit(boot)
        ticks = FakeTicks()
        gate = Gate(ticks)
        gate.saw_badge()
        erases = self.flash.erases

        async def meet():
            waiting = asyncio.create_task(kept.commit({state.POSTURE: b"\x02"}, gate))
            await asyncio.sleep_ms(20)
            kept.commit_now({state.RESTART: b"\x04\x01"})
            self.assertEqual(self.again().get(state.RESTART), b"\x04\x01")
            ticks.advance_ms(60_000)
            await waiting

        asyncio.run(meet())
        self.assertEqual(self.flash.erases, erases + 1)
        after = self.again()
        self.assertEqual(after.get(state.RESTART), b"\x04\x01")
        self.assertEqual(after.get(state.POSTURE), b"\x02")
        self.assertEqual(after.get_u32(state.BOOT_COUNT), 8)

    def test_the_same_cause_again_costs_no_flash(self):
        world = World(self.flash)
        world.supervisor._record(values.TASK_ENDED, 3)
        programs = self.flash.programs
        world.supervisor._record(values.TASK_ENDED, 3)
        self.assertEqual(self.flash.programs, programs)


class FailedStart(unittest.TestCase):
    def play(self, board, error, most_ms=200_000):
        """Return for how long the board waited, None where it goes on waiting."""
        start_ms = board.ticks.now_us // 1000

        async def sleep_ms(ms):
            board.ticks.advance_ms(ms)
            if board.ticks.now_us // 1000 - start_ms > most_ms:
                raise KeyboardInterrupt()
            await real_sleep_ms(0)

        asyncio.sleep_ms = sleep_ms
        try:
            asyncio.run(fail_start(board, error))
        except Reset:
            return board.reset_ms - start_ms
        except KeyboardInterrupt:
            return None
        finally:
            asyncio.sleep_ms = real_sleep_ms

    def check_fed(self, board):
        fed_ms = board.watchdog.fed_ms
        gaps = [fed_ms[i + 1] - fed_ms[i] for i in range(len(fed_ms) - 1)]
        self.assertLess(max(gaps), 1000)

    def test_it_is_recorded_and_tried_again_later_and_later(self):
        flash = MemoryFlash(8192)
        waits = []
        programs = []
        for error in (FlashFault("x"), MemoryError(), ValueError("x")):
            board = Board(flash)
            waits.append(self.play(board, error))
            programs.append(flash.programs)
            self.assertEqual((board.calls[0], board.calls[-1]), ("safe", "reset"))
            self.assertEqual(board.level, 1 - STRIKE_ACTIVE)
            self.check_fed(board)
        self.assertEqual(waits, [5000, 60_000, 60_000])
        self.assertEqual(programs, [programs[0]] * 3)
        self.assertEqual(World(flash).supervisor.cause(), (values.START_FAILED, 0))

    def test_whatever_else_is_broken(self):
        def broken(*args):
            raise FlashFault("x")

        board = Board()
        board.report = broken
        board.state.read_into = broken
        self.assertEqual(self.play(board, ValueError("x")), 5000)
        self.assertEqual(board.calls[0], "safe")

    def test_a_board_without_a_door_waits_for_one(self):
        board = Board()
        self.assertIsNone(self.play(board, state.NotProvisioned("x")))
        self.assertEqual(board.calls, ["safe"])
        self.assertEqual(board.state.programs, 0)
        self.check_fed(board)


class Anything:
    """Has every attribute, can be called; both give more of it."""

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **named):
        return self


class Main(unittest.TestCase):
    """main.py with every part stood in for."""

    PARTS = ("Portal", "Credentials", "WallTime", "Gate", "Access", "Journal", "Downlink")
    PARTS += ("Uplink", "Clock", "Console")

    def setUp(self):
        self.board = Board()
        self.board.provision = MemoryFlash(6 * 4096)
        self.board.lists = self.board.journal = self.board.console = None
        self.board.network = self.board.random_bytes = None
        self.board.wall_clock = lambda: (0, 0)
        given = state.Snapshots(self.board.provision, 12288)
        tags = (state.CONFIG, state.KEY_RING, state.SITE_KEY, state.UPLINK_KEY)
        run_through(given.commit({tag: bytes(32) for tag in tags}, OpenGate()))
        sys.modules["board"] = self
        import main

        self.main = main
        self.built = []
        self.before = {name: getattr(main, name) for name in self.PARTS}
        self.before["App"] = main.App
        self.parse = main.config.parse
        for name in self.before:
            setattr(main, name, self.stand_in(name))
        main.config.parse = lambda *args: Anything()

    def tearDown(self):
        for name, part in self.before.items():
            setattr(self.main, name, part)
        self.main.config.parse = self.parse
        del sys.modules["board"]
        del sys.modules["main"]

    def make_board(self):
        return self.board

    def stand_in(self, name):
        def make(*args, **named):
            self.built.append(name)
            return Anything()

        return make

    def test_the_strike_then_the_reader_then_everything_else(self):
        asyncio.run(self.main.build(self.board))
        self.assertEqual(self.built[:2], ["Portal", "Credentials"])
        self.assertEqual(sorted(self.built), sorted(self.before))

    def test_a_door_that_cannot_be_built_is_a_failed_start(self):
        def broken(*args):
            raise FlashFault("x")

        self.main.Access = broken
        failed = []

        async def fail_start(board, error):
            failed.append((board, type(error)))

        before = supervisor.fail_start
        supervisor.fail_start = fail_start
        asyncio.run(supervisor.run_door(self.board, self.main.build))
        supervisor.fail_start = before
        self.assertEqual(failed, [(self.board, FlashFault)])


class UnixCause(unittest.TestCase):
    def test_whoever_holds_the_process_names_it(self):
        self.assertEqual(unix.restart_cause(), values.POWER_ON)
        put = getattr(os, "putenv" if is_on_micropython else "environ")
        if is_on_micropython:
            put("DOORWARD_RESTART_CAUSE", "watchdog")
        else:
            put["DOORWARD_RESTART_CAUSE"] = "watchdog"
        self.assertEqual(unix.restart_cause(), values.WATCHDOG)
        if is_on_micropython:
            os.unsetenv("DOORWARD_RESTART_CAUSE")
        else:
            del put["DOORWARD_RESTART_CAUSE"]
        self.assertEqual(unix.restart_cause(), values.POWER_ON)


if __name__ == "__main__":
    unittest.main()
