"""Cuts the power at every flash operation of tests/unit/powercut_cases.py: `make powercut`.

All of it on CPython, where doorctl verifies what is left of each journal; a part of it on
MicroPython. The last line is `power cuts: <n> tried, <n> lost, <n> corrupt`; exits 1 where anything
was lost or corrupt, or nothing was tried.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "unit"))

import powercut_cases
from doorctl import chain
from doorctl.simulator import find_micropython, firmware_environment
from doorward.journal.record import FIRST_TAG
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

# So that whoever waits sees it go on, and no processor is left over at the end.
_PARTS = {"journal": 24}
_MICROPYTHON_PARTS = 7
_MICROPYTHON_TEARS = 2
_LINE = re.compile(r"(.*): (\d+) tried, (\d+) lost, (\d+) corrupt$")
# Records before what a door holds that a verification begins with.
_CONTEXT = 64


@dataclass(slots=True)
class Counts:
    """Cuts, and what was wrong: `first` says with which."""

    tried: int = 0
    lost: int = 0
    corrupt: int = 0
    first: str = ""

    def add(self, other: "Counts") -> None:
        self.tried += other.tried
        self.lost += other.lost
        self.corrupt += other.corrupt
        self.first = self.first or other.first


def find_fault(
    collected: list[tuple[int, bytes]],
    held: list[tuple[int, bytes]],
    key: bytes,
    chained_to: dict[int, bytes],
) -> str:
    """Return what doorctl finds wrong with the collector's records and the door's, or ""."""
    last = collected[-1][0] if collected else 0
    rows = collected + [row for row in held if row[0] > last]
    first = max(1, min(last or 1, held[0][0]) - _CONTEXT)
    rows = [row for row in rows if row[0] >= first]
    tag = chained_to[first] if first > 1 else FIRST_TAG
    faults = chain.verify(rows, key, first, tag).faults
    return faults[0].text if faults else ""


def run_part(name: str, tears: int, part: int, parts: int) -> Counts:
    """Run a part of a scenario."""
    scenario = powercut_cases.scenarios()[name]
    if isinstance(scenario, powercut_cases.JournalScenario):
        scenario.find_fault = find_fault
    found = powercut_cases.explore(scenario, tears, part, parts)
    return Counts(found.tried, found.lost, found.corrupt, found.first)


def run_on_micropython() -> Counts:
    """Run a part of all scenarios on the other interpreter."""
    environment = firmware_environment()
    environment["MICROPYPATH"] = f"{HERE / 'micropython'}:{environment['MICROPYPATH']}"
    program = [str(HERE / "unit" / "powercut_cases.py")]
    program += [str(_MICROPYTHON_TEARS), str(_MICROPYTHON_PARTS)]
    command = [find_micropython(), "-X", "heapsize=64M", *program]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    counts = Counts()
    for line in ran.stdout.splitlines():
        if found := _LINE.match(line):
            counts.add(Counts(*(int(number) for number in found.groups()[1:])))
        elif line.startswith("#"):
            counts.first = counts.first or line[2:]
    if ran.returncode not in (0, 1) or not counts.tried:
        counts.add(Counts(corrupt=1, first=f"MicroPython died: {ran.stderr[-400:]}"))
    return counts


def run_all() -> Iterator[tuple[str, Counts, int, int]]:
    """Yield (scenario, counts of a part of it, parts of all done, and in all) as they end."""
    with ProcessPoolExecutor() as pool:
        waiting: dict[Future[Counts], str] = {pool.submit(run_on_micropython): "on MicroPython"}
        for name in powercut_cases.scenarios():
            parts = _PARTS.get(name, 1)
            for part in range(parts):
                future = pool.submit(run_part, name, powercut_cases.TEARS, part, parts)
                waiting[future] = name
        for done, future in enumerate(as_completed(waiting)):
            yield waiting[future], future.result(), done + 1, len(waiting)


def main() -> int:
    console = Console()
    total = Counts()
    by_name: dict[str, Counts] = {}
    bar = Progress(
        TextColumn("power cuts: {task.fields[tried]:,}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("cutting", total=None, tried=0)
        for name, counts, done, parts in run_all():
            total.add(counts)
            by_name.setdefault(name, Counts()).add(counts)
            bar.update(task, completed=done, total=parts, tried=total.tried)
    for name, counts in sorted(by_name.items()):
        print(f"{name:28} {counts.tried:7,} cuts, {counts.lost} lost, {counts.corrupt} corrupt")
    if total.first:
        print("#", total.first)
    print(f"power cuts: {total.tried} tried, {total.lost} lost, {total.corrupt} corrupt")
    return 0 if total.tried and not total.lost and not total.corrupt else 1


if __name__ == "__main__":
    sys.exit(main())
