"""`make bench-uplink`: what an uplink costs a door on the emulated chip, in heap and in slices.

A Pico has no network: the broker is a model in the chip's own memory (sim/broker.py), and TLS is
not there. Prints a table, writes build/bench/uplink.json. The exit code says whether the door did
what it should, never what it cost.
"""

import argparse
import hashlib
import json
import struct
import sys
import time
from pathlib import Path

from doorward.trust import objects

from emulator import door as doors
from emulator.door import Update
from emulator.rig import BOARD, ROOT, Line
from emulator.trust import IMAGE, RESULTS, ProbeRig

BADGES = 200
CHANGES = 20
TARGET_BYTES = 40 * 1024
SLICE_MS = 25
# Of mbedTLS's socket on a Pico W: 16 KB to read a record, 4 KB to write one, its state.
TLS_BYTES = 22_800

_BROKER = ROOT / "tools" / "sim" / "broker.py"
_BOOT_LIMIT_MS = 10_000
_SETTLE_MS = 2500
_LIMIT_MS = 120_000


def offer_of(data: bytes) -> bytes:
    """Return the entry that offers an object."""
    header = objects.parse_header(data)
    first = struct.pack("<BBHII", header.type, 0, header.groups, header.version, len(data))
    return first + header.issuer_id + hashlib.sha256(data).digest()[:4]


def measure(image: Path, update: Update, *, is_timed: bool) -> tuple[dict, list[str]]:
    """Connect a door, let it deliver and fetch a list; return figures, and what was wrong."""
    blobs = [bytes((is_timed,)), offer_of(update.data), update.data]
    rig = ProbeRig(image, update.door.area, "uplink", blobs, [_BROKER])
    rig.run_to(lambda: rig.span.level, _BOOT_LIMIT_MS + _SETTLE_MS, "a door that is settled")
    rig.order(True)
    rig.run_to(lambda: rig.told, _LIMIT_MS, "the end of the list")
    told = rig.told
    wrong = []
    expected = {"version": objects.parse_header(update.data).version, "sessions": 1, "wrong": 0}
    if told["told"] != expected:
        wrong.append(f"it came to {told['told']}, not {expected}")
    if is_timed:
        return {"slices_ms": _longest_ms(rig.step, erases_of(rig))}, wrong
    always = told["modules"] + told["parts"]
    figures = {
        "modules_bytes": told["modules"],
        "parts_bytes": told["parts"],
        "connection_bytes": told["connected"],
        "delivering_bytes": always + told["records"],
        "connected_bytes": always + told["connected"],
        "list_bytes": always + told["list"],
        "free_bytes": told["free"],
    }
    return figures, wrong


def erases_of(rig: ProbeRig) -> list[tuple[int, int]]:
    """Return when sectors were being erased, ns: that is the quiet gate's, and no slice."""
    return [
        (one.begin_ns, one.ready_ns or one.begin_ns)
        for one in rig.flash.operations
        if one.kind == "erase"
    ]


def _longest_ms(line: Line, erases: list[tuple[int, int]]) -> list[float]:
    """Return the longest times that a line was high, without what was in it of others."""
    times = []
    rose_ns = 0
    for at_ns, level in line.edges:
        if level:
            rose_ns = at_ns
            continue
        inside = sum(end - begin for begin, end in erases if rose_ns < begin < at_ns)
        times.append(round((at_ns - rose_ns - inside) / 1e6, 2))
    return sorted(times, reverse=True)[:6]


def table(figures: dict) -> list[str]:
    """Return the figures as lines of text."""
    lines = ["what an uplink holds of the heap           bytes   with TLS"]
    for name, text in (
        ("connected", "connected, all delivered"),
        ("delivering", "at most, delivering 32 records at a time"),
        ("list", "at most, while a list comes in"),
    ):
        held = figures[f"{name}_bytes"]
        lines.append(f"{text:<40} {held:>7,}    {held + TLS_BYTES:>7,}")
    lines += [
        f"target {TARGET_BYTES:,}, of it {TLS_BYTES:,} for TLS, measured elsewhere",
        f"  modules {figures['modules_bytes']:,}, parts {figures['parts_bytes']:,}",
        f"longest slices of its tasks, target {SLICE_MS} ms: {figures['slices_ms']} ms",
    ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure an uplink on the emulated chip.")
    parser.add_argument("--badges", type=int, default=BADGES, help=f"on the list ({BADGES:,})")
    options = parser.parse_args()
    try:
        made = json.loads((IMAGE / "image.json").read_text())
    except OSError:
        sys.exit(
            f"bench: no image in {IMAGE.relative_to(ROOT)}; "
            f"run: python -m image.build {BOARD} --development"
        )
    started = time.monotonic()
    update = doors.make_update(options.badges, CHANGES)
    figures: dict = {}
    wrong = []
    for is_timed in (False, True):
        found, texts = measure(IMAGE / "firmware.uf2", update, is_timed=is_timed)
        figures.update(found)
        wrong += texts
    results = {"board": BOARD, "micropython": made["micropython"], **figures}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "uplink.json").write_text(json.dumps(results, indent=2) + "\n")
    print("\n".join(table(figures)))
    written = (RESULTS / "uplink.json").relative_to(ROOT)
    print(f"written: {written}, in {time.monotonic() - started:.0f} s")
    for text in wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
