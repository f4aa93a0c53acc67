"""`make bench`: from badge in the field to the strike's pin, on the emulated chip, in its own time.

Prints a table, writes build/bench/tap.json and build/bench/latency.png. The exit code says whether
the door was right, never whether it was quick.
"""

import argparse
import json
import math
import multiprocessing
import os
import queue
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sim.cards import Card

from emulator import door as doors
from emulator import histogram
from emulator.door import Door
from emulator.rig import BOARD, ROOT, Rig

IMAGE = ROOT / "build" / "image" / BOARD
RESULTS = ROOT / "build" / "bench"
COMMITTED = ROOT / "docs" / "performance.json"
BADGES = 10_000

BOOT_LIMIT_MS = 10_000
_STRIKE_PULSE_MS = 200  # as doors.QUICK has it
_OPEN_LIMIT_MS = 150
_USB_SETTLE_MS = 300  # for the host to find the device
_ANSWER_LIMIT_MS = 1000
_SETTLE_MS = 1000  # after boot the list is hashed once, at leisure
# Before each tap a random pause, of up to several polls: every phase is as likely.
_PHASE_MS = 40
# Longer than any pause within a poll, shorter than any between two.
_POLL_GAP_NS = 4_000_000
# How long cards stay once it opened: two until the second has been read too, and then they must
# have been forgotten before the next two come.
_HELD_MS = {1: 10, 2: 60}
_SPARSE_POLLS_MS = 50
_WATCH_MS = 500


@dataclass(frozen=True)
class Case:
    """One row of the table.

    uid_bytes: 0 where nobody taps. cards: how many at once. p50_ms, max_ms: targets, None = none.
    is_extra: half the taps will do.
    """

    name: str
    uid_bytes: int
    cards: int = 1
    power_up_us: int = 2500
    is_listed: bool = True
    p50_ms: float | None = None
    max_ms: float | None = None
    is_extra: bool = False


# The cases of a run take turns on one board. A stranger's red light is still on when the next badge
# comes, which must open all the same.
RUNS = (
    (Case("deny7", 7, is_listed=False), Case("uid7", 7, p50_ms=22, max_ms=40)),
    (Case("uid7_two_cards", 7, cards=2),),
    (Case("uid4", 4, p50_ms=18, max_ms=35),),
    (Case("uid10", 10, p50_ms=27, max_ms=45),),
    (Case("uid4_5ms", 4, power_up_us=5000, is_extra=True),),
    (Case("uid7_5ms", 7, power_up_us=5000, is_extra=True),),
    (Case("uid10_5ms", 10, power_up_us=5000, is_extra=True),),
)
CASES = {case.name: case for run in RUNS for case in run}
CASES["poll_empty"] = Case("poll_empty", uid_bytes=0)
SHOWN = ("uid4", "uid7", "uid10", "uid4_5ms", "uid7_5ms", "uid10_5ms")
SHOWN += ("uid7_two_cards", "deny7", "poll_empty")


@dataclass
class Outcome:
    """What a case came to. transfers: SPI transactions of each poll that read a badge.

    failures: where the door was wrong, in words. extra: figures of this case alone.
    """

    times_ms: list[float] = field(default_factory=list)
    transfers: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)


def measure(
    rig: Rig, door: Door, cases: Sequence[Case], taps: int, step: Callable[[], None]
) -> dict[str, Outcome]:
    """Run cases in turns on a rig that polls. step: called after each tap."""
    chance = random.Random(cases[0].name)
    outcomes = {case.name: Outcome() for case in cases}
    presented: list[tuple[bytes, bool]] = []
    before = len(doors.taps(rig.area()))
    listed = door.of_length(cases[0].uid_bytes)
    chance.shuffle(listed)
    for _ in range(_taps_of(cases[0], taps)):
        for case in cases:
            rig.run(chance.uniform(0, _PHASE_MS))
            if case.is_listed:
                uids = [listed.pop() for _ in range(case.cards)]
                _grant(rig, case, uids, outcomes[case.name])
            else:
                uids = [_unlisted(door, case.uid_bytes, chance)]
                _deny(rig, case, uids[0], outcomes[case.name])
            presented += [(door.badge_id(uid), case.is_listed) for uid in uids]
            step()
    rig.run(100)
    recorded = doors.taps(rig.area())[before:]
    if cases[0].cards > 1:  # which of the two is first is their UIDs' affair
        recorded, presented = sorted(recorded), sorted(presented)
    if recorded != presented:
        outcomes[cases[0].name].failures.append(
            f"the journal has {len(recorded)} taps, {sum(grant for _, grant in recorded)} granted; "
            f"there were {len(presented)}, {sum(grant for _, grant in presented)} to grant"
        )
    return outcomes


def _taps_of(case: Case, taps: int) -> int:
    return max(1, taps // 2) if case.is_extra else taps


def _grant(rig: Rig, case: Case, uids: list[bytes], outcome: Outcome) -> None:
    cards = [Card(uid, power_up_us=case.power_up_us) for uid in uids]
    start_ns = rig.now_ns()
    for card in cards:
        rig.enter(card)
    rig.run(_OPEN_LIMIT_MS, lambda: rig.strike.rises(start_ns))
    rig.run(_HELD_MS[case.cards])
    for card in cards:
        rig.leave(card)
    rig.run(2 * _STRIKE_PULSE_MS, lambda: not rig.strike.level)
    if case.cards > 1:
        rig.run(_HELD_MS[case.cards])
    rises = rig.strike.rises(start_ns)
    if len(rises) != 1 or rig.strike.level:
        names = " and ".join(uid.hex() for uid in uids)
        outcome.failures.append(f"{names}: the strike rose {len(rises)} times instead of once")
        return
    outcome.times_ms.append((rises[0] - start_ns) / 1e6)
    outcome.transfers.append(_transfers_of_poll(rig, rises[0]))


def _deny(rig: Rig, case: Case, uid: bytes, outcome: Outcome) -> None:
    card = Card(uid, power_up_us=case.power_up_us)
    start_ns = rig.enter(card)
    if rig.run(_OPEN_LIMIT_MS, lambda: rig.red.rises(start_ns)):
        outcome.times_ms.append((rig.now_ns() - start_ns) / 1e6)
        outcome.transfers.append(_transfers_of_poll(rig, rig.now_ns()))
    else:
        outcome.failures.append(f"{uid.hex()}: not listed, and no red light")
    rig.run(_OPEN_LIMIT_MS - (rig.now_ns() - start_ns) / 1e6)
    rig.leave(card)
    if rig.strike.rises(start_ns):
        outcome.failures.append(f"{uid.hex()}: not listed, and the strike was energised")


def _unlisted(door: Door, uid_bytes: int, chance: random.Random) -> bytes:
    """Return a UID that differs from a listed one by one bit."""
    listed = door.of_length(uid_bytes)
    while True:
        uid = bytearray(chance.choice(listed))
        uid[chance.randrange(1, uid_bytes)] ^= 1 << chance.randrange(8)
        if bytes(uid) not in listed:
            return bytes(uid)


def _transfers_of_poll(rig: Rig, end_ns: int) -> int:
    """Count the SPI transactions up to `end_ns` of the poll that it belongs to."""
    count = 0
    next_ns = end_ns
    for fall_ns, rise_ns in reversed(rig.transfers):
        if rise_ns > end_ns:
            continue
        if next_ns - rise_ns > _POLL_GAP_NS:
            break
        count += 1
        next_ns = fall_ns
    return count


def measure_polls(rig: Rig, sparse: Rig, polls: int, step: Callable[[], None]) -> Outcome:
    """Watch polls of an empty field: what they take of the bus, and of the processor.

    sparse: the same door with a longer pause between two polls. What it works less is the polls'.
    """
    outcome = Outcome()
    while len(outcome.times_ms) < polls:
        first = len(rig.transfers)
        rig.run(100)
        # The first and the last of a window may be cut.
        for poll in _polls(rig.transfers[first:])[1:-1][: polls - len(outcome.times_ms)]:
            outcome.times_ms.append((poll[-1][1] - poll[0][0]) / 1e6)
            outcome.transfers.append(len(poll))
            step()
    polls_per_ms, awake = _watch_idle(rig)
    sparse_per_ms, sparse_awake = _watch_idle(sparse)
    outcome.extra["cpu_ms"] = round((awake - sparse_awake) / (polls_per_ms - sparse_per_ms), 2)
    outcome.extra["idle_cpu_percent"] = round(100 * awake, 1)
    return outcome


def _watch_idle(rig: Rig) -> tuple[float, float]:
    """Return polls a millisecond, and the share of time that the processor is awake."""
    first = len(rig.transfers)
    awake = statistics.mean(rig.sample_awake(_WATCH_MS))
    begins_ns = [poll[0][0] for poll in _polls(rig.transfers[first:])]
    return (len(begins_ns) - 1) * 1e6 / (begins_ns[-1] - begins_ns[0]), awake


def _polls(transfers: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Group SPI transactions by the poll they belong to."""
    polls: list[list[tuple[int, int]]] = []
    for transfer in transfers:
        if not polls or transfer[0] - polls[-1][-1][1] > _POLL_GAP_NS:
            polls.append([])
        polls[-1].append(transfer)
    return polls


def free_memory(image: Path, door: Door) -> Outcome:
    """Boot once more with a USB host and ask the door's console for its free heap.

    The first answer counts what nobody needs any more as taken; the answer after a collection,
    which enough questions bring about, does not.
    """
    outcome = Outcome()
    rig = Rig(image, door.area, has_usb_host=True)
    rig.run(BOOT_LIMIT_MS, lambda: rig.first_poll_ns is not None)
    rig.run(_USB_SETTLE_MS)
    rig.type("\nsync 1\n")
    rig.run(_ANSWER_LIMIT_MS, lambda: rig.console.endswith("OK sync 1\n"))
    free_bytes: list[int] = []
    while len(free_bytes) < 2 or free_bytes[-1] < free_bytes[-2]:
        rig.console = ""
        rig.type("status\n")
        rig.run(_ANSWER_LIMIT_MS, lambda: rig.console.endswith("}\n"))
        try:
            free_bytes.append(json.loads(rig.console[3:])["memory_free_bytes"])
        except (ValueError, KeyError):
            outcome.failures.append(f"no status over USB but {rig.console[-80:]!r}")
            return outcome
    outcome.extra["memory_free_bytes"] = free_bytes[-1]
    outcome.extra["memory_free_uncollected_bytes"] = free_bytes[0]
    return outcome


# Running the cases

# Takes what to call after each tap, returns outcomes by the case's name.
Job = Callable[[Callable[[], None]], dict[str, Outcome]]


def run_all(image: Path, taps: int) -> tuple[dict[str, Outcome], dict]:
    """Boot once, then run every case from there in a process of its own, one a processor.

    Returns outcomes by the case's name, and facts of the board.
    """
    door = make_door()
    rig = boot(image, door)
    facts = {
        "cpu_hz": rig.cpu_hz,
        "spi_hz": rig.spi_hz,
        "badges": BADGES,
        "boot_ms": round((rig.first_poll_ns or 0) / 1e6, 1),
    }

    def polls(step: Callable[[], None]) -> dict[str, Outcome]:
        sparse = boot(image, make_door(poll_interval_ms=_SPARSE_POLLS_MS))
        return {"poll_empty": measure_polls(rig, sparse, taps, step)}

    jobs: list[Job] = [lambda step: {"memory": free_memory(image, door)}, polls]
    jobs += [lambda step, run=run: measure(rig, door, run, taps, step) for run in RUNS]
    return _run_jobs(jobs, sum(_taps_of(case, taps) for case in CASES.values())), facts


def make_door(**settings: int) -> Door:
    """Provision a door with BADGES, which is ready for the next tap soon after one."""
    return doors.make_door(BADGES, **doors.QUICK, **settings)


def boot(image: Path, door: Door) -> Rig:
    """Power a board up and wait until it has nothing to do but to poll."""
    rig = Rig(image, door.area)
    if not rig.run(BOOT_LIMIT_MS, lambda: rig.first_poll_ns is not None):
        sys.exit(f"bench: the image does not poll its reader within {BOOT_LIMIT_MS} ms")
    rig.run(_SETTLE_MS)
    return rig


def _run_jobs(jobs: list[Job], steps: int) -> dict[str, Outcome]:
    # A fork carries the booted chip with it. Progress refreshes by hand: threads do not fork.
    context = multiprocessing.get_context("fork")
    messages = context.Queue()

    def work(number: int) -> None:
        done = jobs[number](lambda: messages.put((number, None)))
        messages.put((number, done))

    outcomes: dict[str, Outcome] = {}
    waiting = list(range(len(jobs)))
    running: dict[int, BaseProcess] = {}
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("taps", total=steps)
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                number = waiting.pop(0)
                running[number] = context.Process(target=work, args=(number,), daemon=True)
                running[number].start()
            try:
                number, done = messages.get(timeout=1)
            except queue.Empty:
                for process in running.values():
                    if process.exitcode:
                        sys.exit(f"bench: a process ended with {process.exitcode}")
                progress.refresh()
                continue
            if done is None:
                progress.advance(bar)
                progress.refresh()
                continue
            outcomes.update(done)
            running.pop(number).join()
            if not console.is_terminal:
                print(f"  {', '.join(done)}: done", file=sys.stderr, flush=True)
    return outcomes


# Telling


def report(outcomes: dict[str, Outcome], facts: dict) -> dict:
    """Return what tap.json says."""
    cases = []
    for name in SHOWN:
        case, outcome = CASES[name], outcomes[name]
        times = sorted(outcome.times_ms) or [math.nan]
        cases.append(
            {
                "name": case.name,
                "n": len(outcome.times_ms),
                "p50_ms": round(statistics.median(times), 2),
                "p99_ms": round(times[math.ceil(0.99 * len(times)) - 1], 2),
                "max_ms": round(times[-1], 2),
                "spi_transfers": round(statistics.median(outcome.transfers or [0])),
                "power_up_ms": case.power_up_us / 1000 if case.uid_bytes else 0,
                **outcome.extra,
            }
        )
    return {**facts, **outcomes["memory"].extra, "cases": cases}


def table(results: dict, committed: dict | None) -> list[str]:
    """Return the results as lines of text, beside the targets and the committed figures."""
    before = {case["name"]: case for case in (committed or {}).get("cases", ())}
    lines = [
        "case             n   p50 ms  p99 ms  max ms    SPI  target p50 / max   p50 / committed",
        "-------------- ---  ------- ------- -------  -----  ----------------   ---------------",
    ]
    for row in results["cases"]:
        case = CASES[row["name"]]
        wanted = "-"
        if case.max_ms is not None:
            wanted = f"{case.p50_ms or '-'} / {case.max_ms} ms"
        old = before.get(row["name"])
        ratio = f"{row['p50_ms'] / old['p50_ms']:.2f}" if old and old["p50_ms"] else "-"
        lines.append(
            f"{row['name']:<14} {row['n']:>3}  {row['p50_ms']:7.2f} {row['p99_ms']:7.2f} "
            f"{row['max_ms']:7.2f}  {row['spi_transfers']:>5}  {wanted:<16}   {ratio}"
        )
    poll = next(row for row in results["cases"] if row["name"] == "poll_empty")
    memory = results.get("memory_free_bytes")
    notes = (
        "",
        "uid*: badge in the field to strike edge; two cards: to the first edge; deny7: to red light.",
        "poll_empty: first SPI select to last.",
        f"An empty poll takes {poll['cpu_ms']} ms of the processor, its turn included (target 1.5).",
        f"The processor of an idle door is awake {poll['idle_cpu_percent']} % of the time.",
        f"Boot to first poll {results['boot_ms']:.0f} ms (target 1500).",
        f"Free heap {'unknown' if memory is None else f'{memory:,}'} bytes (target 100,000).",
        f"List of {results['badges']:,} badges.",
        f"Processor {results['cpu_hz'] / 1e6:.0f} MHz, SPI {results['spi_hz'] / 1e6:g} MHz.",
    )
    return [*lines, *notes]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure taps on the emulated chip.")
    parser.add_argument(
        "--taps",
        type=int,
        default=50,
        help="taps a case (default: 50); half as many in the cases with 5 ms",
    )
    taps = parser.parse_args().taps
    try:
        made = json.loads((IMAGE / "image.json").read_text())
    except OSError:
        sys.exit(f"bench: no image in {IMAGE.relative_to(ROOT)}; run: make image BOARD={BOARD}")
    started = time.monotonic()
    print(f"bench: MicroPython {made['micropython']}, {BOARD}, {taps} taps a case", flush=True)
    outcomes, facts = run_all(IMAGE / "firmware.uf2", taps)
    results = {
        "board": BOARD,
        "micropython": made["micropython"],
        **report(outcomes, facts),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "tap.json").write_text(json.dumps(results, indent=2) + "\n")
    histogram.draw(
        {name: outcomes[name].times_ms for name in SHOWN if outcomes[name].times_ms},
        RESULTS / "latency.png",
    )
    committed = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else None
    print("\n".join(table(results, committed)))
    print(
        f"written: {(RESULTS / 'tap.json').relative_to(ROOT)}, "
        f"{(RESULTS / 'latency.png').relative_to(ROOT)}, in {time.monotonic() - started:.0f} s"
    )
    failures = [f"{name}: {text}" for name, one in outcomes.items() for text in one.failures]
    for failure in failures:
        print(f"WRONG: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
