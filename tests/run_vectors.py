"""Runs all vector files and TUF's conformance cases on MicroPython, a line a file: `make vectors`.

The last line is `vectors: <n> passed, <n> failed`; exits 1 where anything failed or nothing ran.
"""

import re
import subprocess
import sys
from pathlib import Path

from doorctl.simulator import find_micropython, firmware_environment

HERE = Path(__file__).parent
_FILE = re.compile(r"\S+ +(\d+) valid accepted, +(\d+) invalid refused, +(\d+) .*, (\d+) failed$")


def on_micropython(*arguments: Path):
    """Yield the lines that a program prints; raise RuntimeError where it dies of something else
    than a case that failed."""
    environment = firmware_environment()
    environment["MICROPYPATH"] = f"{HERE / 'micropython'}:{environment['MICROPYPATH']}"
    command = [find_micropython(), "-X", "heapsize=64M", *map(str, arguments)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            yield line.rstrip("\n")
        if process.wait() not in (0, 1):
            raise RuntimeError(f"{arguments[0].name}: exit {process.returncode}")


def run_files() -> tuple[int, int]:
    """Run the cases of the vector files; return how many passed and failed."""
    passed = failed = 0
    for line in on_micropython(HERE / "unit" / "vector_cases.py"):
        print(line, flush=True)
        if found := _FILE.match(line):
            numbers = [int(number) for number in found.groups()]
            passed += sum(numbers[:3])
            failed += numbers[3]
    return passed, failed


def run_tuf() -> tuple[int, int]:
    """Run TUF's cases; return how many passed and failed."""
    passed: list[str] = []
    failed: list[str] = []
    for line in on_micropython(HERE / "micropython" / "run.py", HERE / "unit/test_trust_tuf.py"):
        word, _, name = line.partition(" ")
        if word == "ok":
            passed.append(name)
        elif word == "FAIL":
            failed.append(name)
            print("# failed:", name, flush=True)
    kinds = {name.partition("Test.")[0]: 0 for name in passed}
    for name in passed:
        kinds[name.partition("Test.")[0]] += 1
    counts = ", ".join(f"{count:2} {kind.lower()}" for kind, count in kinds.items())
    print(f"{'TUF conformance':38} {counts}, {len(failed)} failed")
    return len(passed), len(failed)


def main() -> int:
    passed = failed = 0
    for run in (run_files, run_tuf):
        try:
            counts = run()
        except RuntimeError as error:
            print("#", error)
            counts = (0, 1)
        # A part in which nothing ran proves nothing.
        passed += counts[0]
        failed += counts[1] if any(counts) else 1
    print(f"vectors: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
