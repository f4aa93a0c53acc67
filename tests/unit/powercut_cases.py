"""The power goes at every flash operation of a door's life, and the door is started again.

A scenario lives through a part of that life. Before each flash operation the flash of the board is
put aside; afterwards each of these is torn in several ways, a door is started on it, and what it
still knows is compared with what had been reported. What the door then does at its flash is cut
once more. Run as a program, on MicroPython too, it prints a line a scenario; tests/run_powercut.py
adds them up.
"""

import asyncio
import sys

from doorward import config, state
from doorward.access.control import Access
from doorward.config import Config
from doorward.hal.roles import PAGE_BYTES, PROVISION_SLOT_BYTES, SECTOR_BYTES, STATE_SLOT_BYTES
from doorward.journal import record as records
from doorward.journal.ring import Journal, last_of
from doorward.supervisor import count_start
from doorward.trust.objects import ALLOWLIST_TYPE, COMMAND_TYPE, DENY_LIST_TYPE
from doorward.trust.primitives import HmacKey
from doorward.values import (
    CLOCK_SYNCED,
    ORDERED,
    RECORDS_DROPPED,
    RECORDS_OVERWRITTEN,
    REPLAYED,
    RESPONDER,
    STAFF,
    TAP,
    Event,
    Refused,
)
from doorward.walltime import WallTime
from support import TEARS, FakeTicks, MemoryFlash, OpenGate, Power, torn
from test_access_control import ISSUED_S, SITE_KEY, holder, read


class Lost(Exception):
    """Something that was reported durable is not there."""


class Corrupt(Exception):
    """Something is there that nobody wrote so, or a door does not start."""


def run(coroutine):
    """Run a coroutine to its end. CPython needs no event loop for one that waits for nobody."""
    if sys.implementation.name == "micropython":
        return asyncio.run(coroutine)
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value


class Cut:
    """The instant before one flash operation.

    regions: the bytes of each region. at: number of the region that is operated on, offset, and the
    bytes that will be there. expected: what a scenario says must be there if the power goes now.
    """

    def __init__(self, regions, at, expected):
        self.regions = regions
        self.at = at
        self.expected = expected

    def made(self, seed):
        """Return the regions of a board whose power went in this operation."""
        made = make_regions([len(data) for data in self.regions])
        for flash, data in zip(made, self.regions):
            flash.data[:] = data
        number, offset, after = self.at
        data = made[number].data
        data[offset : offset + len(after)] = torn(data[offset : offset + len(after)], after, seed)
        return made


def make_regions(sizes):
    """Return the flash of one board, erased."""
    power = Power()
    return [MemoryFlash(size, power=power) for size in sizes]


class Recorder:
    """Puts a Cut aside before each operation on the regions of a board.

    Attributes:
        expect: callable that returns what must be there if the power goes before the operation
            (number of the region, offset, bytes that will be there).
    """

    def __init__(self, regions):
        self._regions = regions
        self._cuts = []
        self.expect = None
        regions[0].power.watch = self._see

    def take(self):
        """Return the cuts since the last time."""
        cuts, self._cuts = self._cuts, []
        return cuts

    def _see(self, flash, offset, after):
        number = [one is flash for one in self._regions].index(True)
        at = (number, offset, bytes(after))
        regions = [bytes(one.data) for one in self._regions]
        self._cuts.append(Cut(regions, at, self.expect(*at)))


class Counts:
    """What became of the cuts. first: what was wrong with the first one that went wrong."""

    def __init__(self):
        self.tried = 0
        self.lost = 0
        self.corrupt = 0
        self.first = ""


def explore(scenario, tears=TEARS, part=0, parts=1):
    """Cut a scenario at each operation, and again at each that the door does after that.

    tears: in how many ways each operation is torn; the second cut in the first of them only.
    part, parts: every so-manieth operation only.
    """
    counts = Counts()
    regions = make_regions(scenario.SIZES)
    recorder = Recorder(regions)
    operation = 0
    try:
        for _ in scenario.live(regions, recorder):
            for cut in recorder.take():
                operation += 1
                if operation % parts == part:
                    for tear in range(tears):
                        _try(scenario, cut, operation * TEARS + tear, counts, not tear)
    except Exception as error:
        # Without any cut at all.
        counts.corrupt += 1
        counts.first = counts.first or scenario.NAME + ": " + repr(error)
    return counts


def _try(scenario, cut, seed, counts, is_cut_again):
    counts.tried += 1
    regions = cut.made(seed)
    again = Recorder(regions)
    try:
        scenario.check(regions, cut.expected, again)
    except Lost as error:
        counts.lost += 1
        counts.first = counts.first or _place(scenario, cut, seed) + str(error)
    except Exception as error:
        # Whatever it is that a door dies of at its start.
        counts.corrupt += 1
        counts.first = counts.first or _place(scenario, cut, seed) + repr(error)
    regions[0].power.watch = None
    if is_cut_again:
        for number, second in enumerate(again.take()):
            _try(scenario, second, seed + number, counts, False)


def _place(scenario, cut, seed):
    number, offset, after = cut.at
    return "%s: region %d, offset 0x%x, %d bytes, seed %d: " % (
        scenario.NAME,
        number,
        offset,
        len(after),
        seed,
    )


# The journal

_RING, _KEPT, _GIVEN = 0, 1, 2
_RING_SECTORS = 4
_JOURNAL = b"journal1"
_KEY = bytes(range(32))
_OTHER_JOURNAL = b"journal2"
_OTHER_KEY = bytes(range(100, 132))
_MARK = 0xFFFFFF  # detail of a tap after a cut
_BOOT_AFTER = 1000


def find_fault(collected, held, key, chained_to):
    """Return what is wrong with the records that a door holds, or "".

    collected, held: [(sequence, record)], at the collector and on the door. key: the journal's
    first. chained_to: what a record was chained to, by its sequence. A plain walk along what is
    held, for MicroPython; tests/run_powercut.py asks doorctl.
    """
    if not held:
        return ""
    expected = held[0][0]
    tag = chained_to[expected]
    missing = expected - 1 - (collected[-1][0] if collected else 0)
    if missing > 0 and not any(_explains(raw, tag, missing) for _, raw in held):
        return "%d records before record %d are missing" % (missing, expected)
    sector = 0
    is_found = False
    for sequence, raw in held:
        if sequence != expected:
            return "record %d is missing" % expected
        expected += 1
        while not records.follows(raw, HmacKey(key), tag):
            if is_found:
                tag = records.closing_tag(HmacKey(key), tag)
            key = records.next_key(key)
            sector += 1
            if sector > 100:
                return "record %d was forged" % sequence
        is_found = True
        tag = records.tag_of(raw)
    return ""


def _explains(raw, tag, missing):
    """Is this the record that says what was overwritten before the one that `tag` belongs to?"""
    record = records.unpack(raw)
    is_such = record.event.code == RECORDS_OVERWRITTEN and record.tag_before == tag
    return is_such and record.event.detail >= missing


class _Kept:
    """What a journal has at one instant, and what it must still have if the power goes then.

    truth: records by sequence, as far as they were reported durable. last: the highest of them.
    oldest: the lowest that must still be there. unreported: details of taps noted since; the first
    few of them may be there. persisted, acknowledged: the position is one of these or between.
    collected: [(sequence, record)] at the collector. has_handed_over: the first key is no longer in
    the provision store.
    """

    def __init__(self, life, oldest):
        self.truth = life.truth
        self.chained_to = life.chained_to
        self.last = life.last
        self.oldest = oldest
        self.unreported = list(life.unreported)
        self.persisted = life.journal._persisted if life.journal else 0
        self.acknowledged = life.journal.acknowledged if life.journal else 0
        self.collected = life.collected
        self.key = life.key
        self.has_handed_over = life.has_handed_over


class _JournalLife:
    """A journal and what its surroundings know of it; attributes as of _Kept."""

    def __init__(self, regions, recorder, boot=0):
        self.regions = regions
        self.boot = boot
        self.ticks = FakeTicks(5_000_000)
        self._recorder = recorder
        self.journal = None
        self.be(_KEY)

    def be(self, key):
        """Be another journal, in which nothing has happened."""
        self.key = key
        self.truth = {}
        self.chained_to = {}
        self.last = 0
        self.unreported = []
        self.collected = []
        self.has_handed_over = False

    def resume(self, kept):
        """Be the journal of which `kept` is known."""
        self.be(kept.key)
        self.truth = dict(kept.truth)
        self.chained_to = dict(kept.chained_to)
        self.last = kept.last
        self.collected = kept.collected
        self.has_handed_over = kept.has_handed_over

    def start(self, kept):
        """Start the door; `kept` is what must survive a cut during that."""
        self._recorder.expect = lambda *at: kept
        self.boot += 1
        self.unreported = []
        self.journal = Journal(
            self.regions[_RING],
            state.Snapshots(self.regions[_GIVEN], PROVISION_SLOT_BYTES),
            state.Snapshots(self.regions[_KEPT], STATE_SLOT_BYTES),
            WallTime(self.ticks, 1_700_000_000, CLOCK_SYNCED),
            self.ticks,
            OpenGate(),
            self.boot,
            bytes,
        )
        self._recorder.expect = self.kept

    def kept(self, region=-1, offset=0, after=b""):
        """Return what must be there if the power goes before this operation."""
        journal = self.journal
        cleared = -1
        if region == _RING and (len(after) == SECTOR_BYTES or after == bytes(64)):
            cleared = offset // SECTOR_BYTES
        oldest = journal.next_sequence
        for sector, first in enumerate(journal._first):
            if first and sector != cleared:
                oldest = min(oldest, first)
        return _Kept(self, oldest)

    def write(self, *details):
        """Note taps and have them reported durable."""
        for detail in details:
            self.unreported.append(detail)
            self.journal.note(Event(TAP, self.ticks.ticks_ms(), detail=detail))
        run(self.journal.flush())
        self.unreported = []
        before = self.last
        self.take_in(self.held(self.last + 1))
        if self.last < before + len(details):
            raise Lost("%d taps were reported durable and are no records" % len(details))

    def tend(self):
        self.ticks.advance_ms(3_601_000)
        run(self.journal._erase_ahead(lambda: None))
        run(self.journal._persist_acknowledged())

    def hand_over(self):
        run(self.journal.hand_over_key())
        self.has_handed_over = True

    def collect(self):
        batch = run(self.journal.read(self.journal.acknowledged + 1, 32))
        if batch:
            self.collected = self.collected + _split(batch)
            self.journal.acknowledge(*last_of(batch))

    def held(self, sequence=1):
        """Return [(sequence, record)] from `sequence` on."""
        found = []
        while True:
            batch = run(self.journal.read(sequence, 32))
            if not batch:
                return found
            found += _split(batch)
            sequence = found[-1][0] + 1

    def take_in(self, rows):
        for sequence, raw in rows:
            self.truth[sequence] = raw
            self.chained_to[sequence] = self.journal.tag_before(sequence)
            self.last = max(self.last, sequence)


def _split(batch):
    found = []
    for at in range(0, len(batch), 64):
        raw = bytes(batch[at : at + 64])
        found.append((records.sequence_of(raw), raw))
    return found


class JournalScenario:
    """A small ring that comes round several times, with and without a collector, restarts, the
    hand-over of the first key, and a provisioning anew.

    sizes: how many taps each part of it is made of.
    """

    NAME = "journal"
    SIZES = (_RING_SECTORS * SECTOR_BYTES, 2 * SECTOR_BYTES, 6 * SECTOR_BYTES)

    def __init__(self, online=70, offline=320, untended=140, anew=80):
        self._parts = (online, offline, untended, anew)
        self.find_fault = find_fault

    def live(self, regions, recorder):
        """Live; yield after each step."""
        online, offline, untended, anew = self._parts
        life = _JournalLife(regions, recorder)
        self._provision(life, recorder, _JOURNAL, _KEY)
        life.start(_Kept(life, 1))
        taps = iter(range(1, 1 << 20))
        for n in range(online):
            life.write(next(taps))
            yield
            if n == 2:
                life.hand_over()
                yield
            if n % 16 == 15:
                life.collect()
            if n % 20 == 19:
                life.tend()
                yield
        for n in range(offline):
            life.write(next(taps))
            yield
            if n % 25 == 24:
                life.tend()
                yield
            if n % 90 == 89:
                life.start(life.kept())
                yield
        while life.journal.pending:
            life.collect()
        life.tend()
        yield
        # Whoever writes erases for himself where nobody did it ahead.
        for n in range(untended):
            life.write(*(next(taps) for _ in range(1 + n % 3)))
            if n % 16 == 15:
                life.collect()
            yield
        self._provision(life, recorder, _OTHER_JOURNAL, _OTHER_KEY)
        life.start(_Kept(life, 1))
        yield
        for n in range(anew):
            life.write(next(taps))
            if n == 70:
                life.hand_over()
            if n % 16 == 15:
                life.collect()
                life.tend()
            yield

    def check(self, regions, kept, recorder):
        """Start a door on what the cut left; compare, and let it go on."""
        life = _JournalLife(regions, recorder, _BOOT_AFTER)
        life.resume(kept)
        life.start(kept)
        held = life.held()
        _compare(held, kept, life.journal)
        self._check_keys(life, kept.has_handed_over)
        life.take_in(held)
        life.write(_MARK)
        life.tend()
        life.hand_over()
        life.write()
        held = life.held()
        if records.unpack(held[-1][1]).event.code not in (TAP, RECORDS_OVERWRITTEN):
            raise Corrupt("the door does not go on with its records")
        fault = self.find_fault(kept.collected, held, life.key, life.chained_to)
        if fault:
            raise Corrupt(fault)
        self._check_keys(life, True)

    def _provision(self, life, recorder, journal_id, key):
        """Do as doorctl does; its own writing is not cut."""
        recorder.expect = lambda *at: None
        given = state.Snapshots(life.regions[_GIVEN], PROVISION_SLOT_BYTES)
        values = {state.JOURNAL_ID: journal_id, state.JOURNAL_KEY: key, state.CONFIG: b"{}"}
        run(given.commit(values, OpenGate()))
        recorder.take()
        life.journal = None
        life.be(key)

    def _check_keys(self, life, has_handed_over):
        """No key but the newest sector's is on flash."""
        journal = life.journal
        ring = bytes(life.regions[_RING].data)
        for other in (_KEY, _OTHER_KEY):
            key = other
            # Of an older journal none at all may be there, as many as it may have had.
            sectors = journal._sector_sequence - 1 if other == life.key else 30
            for _ in range(sectors):
                if key in ring:
                    raise Corrupt("an older key is still in the ring")
                key = records.next_key(key)
        if has_handed_over and life.key in bytes(life.regions[_GIVEN].data):
            raise Corrupt("the first key is still in the provision store")


def _compare(held, kept, journal):
    """Is what the door holds what it must hold?"""
    for at, (sequence, raw) in enumerate(held):
        if sequence != held[0][0] + at:
            raise Corrupt("record %d is not in its place" % sequence)
        if sequence <= kept.last and raw != kept.truth[sequence]:
            raise Corrupt("record %d is not the one that was reported" % sequence)
    is_there = held and held[0][0] <= kept.oldest and held[-1][0] >= kept.last
    if kept.oldest <= kept.last and not is_there:
        raise Lost("records %d to %d were durable" % (kept.oldest, kept.last))
    if journal.next_sequence <= kept.last:
        raise Lost("numbers are given twice")
    new = [records.unpack(raw).event for sequence, raw in held if sequence > kept.last]
    taps = [event.detail for event in new if event.code == TAP]
    if taps != kept.unreported[: len(taps)]:
        raise Corrupt("taps that nobody made: %r" % taps)
    for event in new:
        if event.code not in (TAP, RECORDS_OVERWRITTEN, RECORDS_DROPPED):
            raise Corrupt("an event of code %d that never was" % event.code)
    if journal.acknowledged < kept.persisted:
        raise Lost("the acknowledged position")
    if journal.acknowledged > kept.acknowledged:
        raise Corrupt("acknowledged what nobody has")


# What is old or new as a whole


class _OldOrNew:
    """Before and after one step, as a scenario's `look` tells it. A step that takes several commits
    may stop between two of them: `between` lists what is then seen."""

    def __init__(self, step, before, after=None, between=()):
        self.step = step
        self.before = before
        self.after = after
        self.between = between

    def check(self, seen):
        if seen not in (self.before, self.after) and seen not in self.between:
            raise Corrupt("saw %r, neither %r nor %r" % (seen, self.before, self.after))


class _StepScenario:
    """Lives in steps, of which each is done or not done, whenever the power goes."""

    def live(self, regions, recorder):
        """Live; yield after each step. What is not there after it is known only then."""
        self.begin(regions, recorder)
        recorder.take()
        for step in self.steps():
            door = self.start(regions)
            kept = _OldOrNew(step, self.look(door))
            recorder.expect = lambda *at, kept=kept: kept
            self.take_step(door, step)
            kept.after = self.look(door)
            kept.between = self.between(step, kept)
            # What was reported is durable.
            fresh = self.look(self.start(regions))
            if fresh != kept.after:
                raise Lost("%r: %r became %r" % (step, kept.after, fresh))
            yield

    def check(self, regions, kept, recorder):
        """Start a door on what the cut left, look, and let it go on."""
        recorder.expect = lambda *at: kept
        door = self.start(regions)
        kept.check(self.look(door))
        self.go_on(door, kept, recorder)

    def between(self, step, kept):
        return ()


class ConfigurationScenario(_StepScenario):
    """The provision store: configurations, a key ring, and the first journal key, which goes."""

    NAME = "configuration"
    SIZES = (6 * SECTOR_BYTES,)
    _SECRET = bytes(range(200, 232))
    _CONFIGS = [b'{"site": "north", "door": "main", "keepalive_s": %d}' % n for n in (30, 31, 32)]

    def begin(self, regions, recorder):
        recorder.expect = lambda *at: None
        given = self.start(regions)
        values = {
            state.CONFIG: self._CONFIGS[0],
            state.SITE_KEY: SITE_KEY,
            state.KEY_RING: read("ring.dwk"),
            state.JOURNAL_ID: b"journal1",
            state.JOURNAL_KEY: self._SECRET,
        }
        run(given.commit(values, OpenGate()))

    def steps(self):
        yield "keep", None
        yield "forget", None
        for text in self._CONFIGS[1:]:
            yield "commit", {state.CONFIG: text}
            yield "keep", None
        yield "commit", {state.KEY_RING: read("ring_3_police_moved.dwk")}
        yield "commit", {state.JOURNAL_ID: b"journal2", state.JOURNAL_KEY: self._SECRET}
        yield "forget", None
        yield "commit", {state.CONFIG: b'{"site": '}
        yield "keep", None

    def start(self, regions):
        self._region = regions[0]
        return state.Snapshots(regions[0], PROVISION_SLOT_BYTES)

    def look(self, given):
        return dict(given._values)

    def take_step(self, given, step):
        name, changes = step
        if name == "commit":
            run(given.commit(changes, OpenGate()))
        elif name == "keep":
            run(config.keep_good(given, OpenGate()))
        else:
            run(given.forget(state.JOURNAL_KEY, OpenGate()))
            self._check_forgotten(given)

    def between(self, step, kept):
        if step[0] != "forget":
            return ()
        marked = dict(kept.after)
        marked[state.JOURNAL_KEY] = b""
        return (marked,)

    def go_on(self, given, kept, recorder):
        """The door starts: it takes the configuration, and forgets the key once more."""
        found = config.load(given)
        if found.keepalive_s not in (30, 31, 32):
            raise Corrupt("no configuration that was given")
        seen = self.look(given)
        done = dict(seen)
        done.pop(state.JOURNAL_KEY, None)
        once_more = _OldOrNew(("forget", None), seen, done)
        once_more.between = self.between(once_more.step, once_more)
        recorder.expect = lambda *at: once_more
        self.take_step(given, once_more.step)
        if self.look(given) != done:
            raise Corrupt("forgetting a key changed more")

    def _check_forgotten(self, given):
        if self._SECRET in bytes(self._region.data):
            raise Corrupt("a forgotten key is still on flash")


class AccessScenario(_StepScenario):
    """Lists, deny lists, key ring, commands, posture, counted starts: the objects of
    tests/make_objects.py in one door's life.

    fill: starts counted before, so that other commits meet the end of a sector. steps: those of
    STEPS to take; all, where left out.
    """

    NAME = "lists, counters, posture"
    SIZES = (8 * SECTOR_BYTES, 2 * SECTOR_BYTES, 6 * SECTOR_BYTES)
    STEPS = (
        "police_1.dwl",
        "district_1.dwl",
        "count start",
        "lockdown_10.dwc",
        "count start",
        "release_11.dwc",
        "police_deny_1.dwd",
        "hold_open_13.dwc",
        "panic button",
        "police_2.dwl",
        "restart cause",
        "police_deny_2.dwd",
        "police_4_folds_deny_2.dwl",
        "release_19_of_lockdown_2.dwc",
        "count start",
        "ring_3_police_moved.dwk",
        "police_1_by_moved_key.dwl",
    )

    def __init__(self, fill=0, steps=None):
        self._fill = fill
        self._steps = steps or self.STEPS

    def begin(self, regions, recorder):
        recorder.expect = lambda *at: None
        values = {state.KEY_RING: read("ring.dwk"), state.SITE_KEY: SITE_KEY}
        given = state.Snapshots(regions[2], PROVISION_SLOT_BYTES)
        run(given.commit(values, OpenGate()))
        # Worn, so that erases are among the operations.
        for at in range(0, len(regions[0].data), PAGE_BYTES):
            regions[0].data[at] = 0
        for _ in range(self._fill):
            self.take_step(self.start(regions), "count start")

    def steps(self):
        return self._steps

    def start(self, regions):
        door = _Door()
        door.regions = regions
        door.kept = state.Snapshots(regions[1], STATE_SLOT_BYTES)
        ticks = FakeTicks()
        door.access = Access(
            regions[0],
            state.Snapshots(regions[2], PROVISION_SLOT_BYTES),
            door.kept,
            Config(
                {"site": "north", "door": "main", "groups": [3], "lockdown_ends_by": "release"}
            ),
            WallTime(ticks, ISSUED_S, CLOCK_SYNCED),
            ticks,
            OpenGate(),
        )
        return door

    def look(self, door):
        shelf = door.access.shelf
        seen = [
            door.kept.get_u32(state.BOOT_COUNT),
            door.kept.get(state.RESTART),
            door.access.posture.current,
            door.access.posture.lockdown,
            shelf.ring.version,
            len(shelf.corrupt),
        ]
        for object_type in (ALLOWLIST_TYPE, DENY_LIST_TYPE):
            for issuer in shelf.ring.issuers:
                found = shelf.in_force(object_type, issuer.key.key_id)
                seen.append(found and found.header.version)
        for object_type in (ALLOWLIST_TYPE, DENY_LIST_TYPE, COMMAND_TYPE):
            for issuer in shelf.ring.issuers:
                seen.append(shelf.floor(object_type, issuer.key.key_id))
        for kind, number in ((RESPONDER, 0), (RESPONDER, 10), (RESPONDER, 249), (STAFF, 0)):
            seen.append(door.access.decide(holder(kind, number)).reason)
        return seen

    def take_step(self, door, step):
        if step == "count start":
            run(count_start(door.kept, OpenGate()))
        elif step == "restart cause":
            door.kept.commit_now({state.RESTART: bytes((ORDERED, 0))})
        elif step == "panic button":
            door.access.posture.follow_switch(True)
            asyncio.run(_keep(door.access.posture))
        else:
            run(_take(door.access.open_intake(), read(step)))

    def go_on(self, door, kept, recorder):
        """Whatever it is now, the same once more ends as if nothing had been."""
        if run(door.access.check_lists()):
            raise Corrupt("a list is not the one that was signed")
        once_more = _OldOrNew(kept.step, self.look(door), kept.after)
        if kept.step == "count start":
            once_more.after = list(once_more.before)
            once_more.after[0] += 1
        recorder.expect = lambda *at: once_more
        was_refused = False
        try:
            self.take_step(door, kept.step)
        except Refused as error:
            if error.code != REPLAYED:
                raise
            was_refused = True
        if was_refused != (kept.step.endswith(".dwc") and once_more.before == kept.after):
            raise Corrupt("%s is obeyed %s" % (kept.step, "never" if was_refused else "twice"))
        seen = self.look(self.start(door.regions))
        if seen != once_more.after:
            raise Corrupt("saw %r once more, and not %r" % (seen, once_more.after))


class _Door:
    """One start of a door."""

    access: Access
    kept: state.Snapshots
    regions: list


async def _take(intake, data):
    intake.begin(len(data))
    await intake.feed(data)
    await intake.finish()


async def _keep(posture):
    """Let the posture be written."""
    keeping = asyncio.create_task(posture.keep(lambda: None))
    await asyncio.sleep_ms(5)
    keeping.cancel()


def scenarios():
    """Return all of them, by a name that says which."""
    found = {"journal": JournalScenario(), "configuration": ConfigurationScenario()}
    for fill in range(8):
        found["lists, counters, posture %d" % (fill + 1)] = AccessScenario(fill)
    return found


def main(tears, parts):
    """Run a part of every scenario; print a line each. False where anything went wrong."""
    is_fine = True
    for number, (name, scenario) in enumerate(sorted(scenarios().items())):
        counts = explore(scenario, tears, number % parts, parts)
        print(
            "%s: %d tried, %d lost, %d corrupt" % (name, counts.tried, counts.lost, counts.corrupt)
        )
        if counts.first:
            print("#", counts.first)
        is_fine = is_fine and not counts.first
    return is_fine


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]), int(sys.argv[2])) else 1)
