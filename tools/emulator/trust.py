"""`make bench-trust`: what signatures, look-ups and updates take on the emulated chip.

Runs the development image, which is the release's firmware but for main.py; that and a probe come
from its file system (`on_chip`). Prints a table, writes build/bench/trust.json. The exit code says
whether the door was right, never whether it was quick.
"""

import argparse
import json
import math
import os
import random
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from doorctl import keys
from doorctl.world import SITE
from doorward.hal.roles import SECTOR_BYTES
from doorward.trust import objects
from littlefs import LittleFS, UserContext
from sim.cards import Card

from emulator import door as doors
from emulator.door import Door, Update
from emulator.flash import FlashOperation
from emulator.rig import BOARD, ROOT, Line, Rig, board_module

IMAGE = ROOT / "build" / "image" / f"{BOARD}-development"
RESULTS = ROOT / "build" / "bench"
ON_CHIP = Path(__file__).parent / "on_chip"
FIRMWARE = ROOT / "firmware"

BADGES = 20_000
# On the list that comes in while cards come and go. The emulator needs a minute for a second of
# that; what holds the board does so however long the list is.
TAP_BADGES = 4_000
CHANGES = 60
LOOK_UPS = 250
HEADS = 12
JOURNAL_BATCHES = 12  # must match on_chip/journal.py
KEY_BITS = {2048: 250, 3072: 500}  # and the target in ms
SLICE_MS = {2048: 25, 3072: 30}
LOOK_UP_MS = 1.0
UPDATE_S = 20
UPDATE_SLICE_MS = 25

# Must match on_chip/probe.py.
_BLOBS_AT = 0x200000
_SPAN, _STEP, _PUSH, _WAIT, _GO = 0, 1, 9, 22, 25
_SPI = 1

_PROGRAM_BYTES = 256
_DISK_VERSION = 0x00020000  # which every MicroPython's littlefs mounts
_NEXT_TAP_MS = 400  # after one, with doors.QUICK
_HELD_MS = 10
_TAP_LIMIT_MS = 250
_BOOT_LIMIT_MS = 10_000
# After boot the list is hashed once, at leisure.
_SETTLE_MS = 1000
_SETTLE_BADGE_MS = 0.1
_UPDATE_LIMIT_MS = 180_000
# From one tap to the next while a list comes in; erases wait for a second without one.
_BETWEEN_TAPS_MS = (1200, 2500)
# Cards that come at the start of a verification are read in the middle of it.
_INTO_HEAD_MS = 120
_HEAD_LIMIT_MS = 2000
_LONGEST = 6  # so many of the longest slices are told
# Who taps during the update, in turn: the joiner is on the new list only and must not open yet.
_KINDS = ("stayer", "leaver", "stayer", "joiner")


class ProbeRig(Rig):
    """A board that runs one of the probes in place of main.py.

    Attributes:
        span, step, push, wait: Lines, on_chip/probe.py says of what.
        told: what the probe told, by name.
    """

    def __init__(
        self,
        image: Path,
        area: bytes,
        probe: str,
        blobs: Sequence[bytes],
        modules: Sequence[Path] = (),
    ) -> None:
        """area: Doorward's flash area, or the beginning of it. probe: a module of on_chip.

        blobs: what the probe finds in flash. modules: what it imports besides.
        """
        layout = board_module("layout")
        area += bytes(layout.LAYOUT.size_bytes - len(area))
        area += _file_system(layout.STORAGE_BYTES - layout.LAYOUT.size_bytes, probe, modules)
        area += bytes(_BLOBS_AT - layout.STORAGE_OFFSET - len(area)) + _pack(blobs)
        super().__init__(image, area)
        self.span = self.watch(_SPAN)
        self.step = self.watch(_STEP)
        self.push = self.watch(_PUSH)
        self.wait = self.watch(_WAIT)
        self.told: dict = {}
        self._line_told = b""
        self.listen(_SPI, self._hear_byte)

    def order(self, is_on: bool) -> None:
        """Raise or lower the pin that the probe waits for."""
        self.drive(_GO, int(is_on))

    def run_to(self, until: Callable[[], object], limit_ms: float, what: str) -> None:
        """Run until `until()` holds. Raises RuntimeError after `limit_ms`."""
        if not self.run(limit_ms, until):
            raise RuntimeError(f"the probe did not come to {what} within {limit_ms} ms")

    def _hear_byte(self, value: int) -> None:
        self._line_told += bytes((value,))
        if value == 0x0A:
            self.told.update(json.loads(self._line_told))
            self._line_told = b""


def _file_system(size_bytes: int, probe: str, modules: Sequence[Path]) -> bytes:
    """Return a file system with a probe as main.py and what it imports."""
    context = UserContext(buffsize=size_bytes)
    files = LittleFS(
        context=context,
        block_size=SECTOR_BYTES,
        block_count=size_bytes // SECTOR_BYTES,
        prog_size=_PROGRAM_BYTES,
        disk_version=_DISK_VERSION,
    )
    for name, path in (
        ("main.py", ON_CHIP / f"{probe}.py"),
        ("probe.py", ON_CHIP / "probe.py"),
        ("composition.py", FIRMWARE / "main.py"),
        *((path.name, path) for path in modules),
    ):
        with files.open(name, "wb") as file:
            file.write(path.read_bytes())
    files.unmount()
    return bytes(context.buffer)


def _pack(blobs: Sequence[bytes]) -> bytes:
    """Return a table of (offset, length) and the blobs behind it."""
    table = b""
    at = 8 * len(blobs)
    for blob in blobs:
        table += struct.pack("<II", at, len(blob))
        at += len(blob)
    return table + b"".join(blobs)


def _spans(line: Line) -> list[tuple[int, int]]:
    """Return from when to when a line was high each time, ns."""
    spans = []
    rose_ns = None
    for at_ns, level in line.edges:
        if level:
            rose_ns = at_ns
        elif rose_ns is not None:
            spans.append((rose_ns, at_ns))
            rose_ns = None
    return spans


def _lengths_ms(spans: Iterable[tuple[int, int]]) -> list[float]:
    return [(end - begin) / 1e6 for begin, end in spans]


def _steps_ms(
    line: Line, spans: Sequence[tuple[int, int]], erases: Sequence[FlashOperation] = ()
) -> list[float]:
    """Return how long a task had the VM each time, erases not counted, the longest first.

    spans: (begin, end), ns. A step counts that ends in one of them, or is cut by its end.
    """
    steps = []
    rose_ns = 0
    for at_ns, level in line.edges:
        if level:
            rose_ns = at_ns
        elif any(begin < at_ns and rose_ns < end for begin, end in spans):
            erasing_ns = sum(
                (one.ready_ns or at_ns) - one.begin_ns
                for one in erases
                if rose_ns < one.begin_ns < at_ns
            )
            steps.append((at_ns - rose_ns - erasing_ns) / 1e6)
    return sorted(steps, reverse=True)


def _longest(times_ms: Sequence[float]) -> list[float]:
    return [round(ms, 2) for ms in times_ms[:_LONGEST]]


def _spread(times_ms: Sequence[float]) -> dict:
    """Return the figures of a row."""
    times = sorted(times_ms) or [math.nan]
    return {
        "n": len(times_ms),
        "p50_ms": round(statistics.median(times), 3),
        "p99_ms": round(times[math.ceil(0.99 * len(times)) - 1], 3),
        "max_ms": round(times[-1], 3),
    }


# Measuring: each returns figures, and what was wrong, in words


def measure_verify(image: Path, repeats: int) -> tuple[dict, list[str]]:
    """Verify objects of fresh keys, `repeats` of each size, and one forged of each size."""
    blobs = []
    expected = []
    sizes = []
    for bits in KEY_BITS:
        for number in range(repeats + 1):
            private = rsa.generate_private_key(65537, bits)
            header = objects.Header()
            header.type = objects.ALLOWLIST_TYPE
            header.site = SITE
            header.version = 1 + number
            header.issuer_id = keys.public_key(private).key_id
            data = bytearray(keys.seal(header, b"", [private]))
            is_forged = number == repeats
            if is_forged:
                data[-1] ^= 1
            blobs += [keys.public_key(private).modulus, bytes(data)]
            expected.append(not is_forged)
            sizes.append(bits)
    rig = ProbeRig(image, b"", "verify", [bytes((len(sizes),)), *blobs])
    rig.run_to(lambda: rig.told, _BOOT_LIMIT_MS + 1000 * len(sizes), "its end")
    wrong = [] if rig.told["believed"] == expected else [f"believed: {rig.told['believed']}"]

    figures: dict = {}
    for bits in KEY_BITS:
        totals, slices = [], []
        count = 0
        for size, is_sound, span in zip(sizes, expected, _spans(rig.span)):
            # A forged one is found out before all of it was done.
            if size == bits and is_sound:
                totals += _lengths_ms([span])
                steps = _steps_ms(rig.step, [span])
                count = len(steps)
                slices.append(steps[0])
        figures[f"rsa{bits}"] = {
            **_spread(totals),
            "slices": count,
            "longest_slice_ms": round(max(slices), 3),
        }
    return figures, wrong


def measure_look_ups(image: Path, door: Door, count: int) -> tuple[dict, list[str]]:
    """Look `count` listed badges up and as many others, and decide them."""
    chance = random.Random("look-ups")
    listed = chance.sample(door.badges, count)
    known = set(door.badges)
    others = [uid for uid in doors.make_badges(2 * count, seed=523) if uid not in known][:count]
    uids = listed + others
    ids = [door.badge_id(uid) for uid in uids]
    blobs = [b"".join(ids), b"".join(doors.identity(uid) for uid in uids)]
    rig = ProbeRig(image, door.area, "look_up", blobs)
    rig.run_to(lambda: rig.told, _BOOT_LIMIT_MS + 50 * count, "its end")
    wrong = []
    for name in ("found", "granted"):
        if rig.told[name] != count:
            wrong.append(f"{name}: {rig.told[name]} of {2 * count}, {count} are listed")
    times = _lengths_ms(_spans(rig.span))
    cases = ("look_up_hit", "look_up_miss", "decide_hit", "decide_miss")
    figures: dict = {
        name: _spread(times[i * count : (i + 1) * count]) for i, name in enumerate(cases)
    }
    figures["badges"] = len(door.badges)
    figures["memory_free_bytes"] = rig.told["free_bytes"]
    return figures, wrong


def measure_journal(image: Path) -> tuple[dict, list[str]]:
    """Start on a full journal, read it in batches, acknowledge them, write what RAM holds."""
    rig = ProbeRig(image, doors.make_full_journal(), "journal", [])
    rig.run_to(lambda: rig.told, _BOOT_LIMIT_MS, "its end")
    wrong = []
    # One record more than events: at each start the door says again what was overwritten.
    if rig.told != {"read": JOURNAL_BATCHES * 32, "written": 65}:
        wrong.append(f"of so many batches and 64 events: {rig.told}")
    start, *batches, writing = _spans(rig.span)
    reads, acknowledgements = batches[::2], batches[1::2]
    figures = {
        "start_ms": round(_lengths_ms([start])[0], 1),
        "read": _spread(_lengths_ms(reads)),
        "read_slices_ms": _longest(_steps_ms(rig.step, reads)),
        "acknowledge": _spread(_lengths_ms(acknowledgements)),
        "write_64_ms": round(_lengths_ms([writing])[0], 1),
        "write_slices_ms": _longest(_steps_ms(rig.step, [writing])),
    }
    return figures, wrong


def measure_update(image: Path, update: Update) -> tuple[dict, list[str]]:
    """Bring a list in with nobody there: how long it takes."""
    rig = _running(image, update, heads=0)
    first = len(rig.flash.operations)
    rig.order(True)
    rig.run_to(lambda: rig.told, _UPDATE_LIMIT_MS, "the end of the update")
    spans = _spans(rig.span)
    (total_ms,) = _lengths_ms(spans)
    erases = [one for one in rig.flash.operations[first:] if one.kind == "erase"]
    erase_ms = sum((one.ready_ns or 0) - one.begin_ns for one in erases) / 1e6
    waits = _lengths_ms(one for one in _spans(rig.wait) if spans[0][0] < one[0] < spans[0][1])
    figures = {
        "badges": len(update.door.badges),
        "object_bytes": len(update.data),
        "total_s": round(total_ms / 1e3, 2),
        "erases": len(erases),
        "erase_s": round(erase_ms / 1e3, 2),
        "without_erases_s": round((total_ms - erase_ms) / 1e3, 2),
        "of_that_waiting_for_quiet_s": round((sum(waits) - erase_ms) / 1e3, 2),
        "update_slices_ms": _longest(_steps_ms(rig.push, spans, erases)),
        "other_slices_ms": _longest(_steps_ms(rig.step, spans, erases)),
        "memory_free_bytes": rig.told["free_bytes"],
    }
    return figures, _wrong_update(rig, update)


def measure_taps(image: Path, update: Update, heads: int) -> tuple[dict, list[str]]:
    """Bring a list in with cards coming and going.

    heads: verifications of an outdated list before that, with a card in each.
    """
    chance = random.Random("taps")
    rig = _running(image, update, heads=heads)
    taps = _Taps(rig, update, chance)
    for _ in range(heads):
        rig.order(True)
        edges = len(rig.span.edges)
        rig.run_to(lambda: len(rig.span.edges) > edges, _HEAD_LIMIT_MS, "a head")  # noqa: B023
        rig.run(chance.uniform(0, _INTO_HEAD_MS))
        taps.tap(update.door.badges.pop(), is_listed=True, kind="in_head")
        rig.run_to(lambda: not rig.span.level, _HEAD_LIMIT_MS, "the end of a head")
        rig.order(False)
        rig.run(_NEXT_TAP_MS)

    edges = len(rig.span.edges)
    rig.order(True)
    rig.run_to(lambda: len(rig.span.edges) > edges, _HEAD_LIMIT_MS, "the update")
    begin_ns = rig.now_ns()
    number = 0
    while not rig.told:
        kind = _KINDS[number % len(_KINDS)]
        number += 1
        taps.tap(_next(update, kind), is_listed=kind != "joiner", kind=kind)
        rig.run(chance.uniform(*_BETWEEN_TAPS_MS), lambda: rig.told)
        if rig.now_ns() - begin_ns > _UPDATE_LIMIT_MS * 1e6:
            raise RuntimeError("the update does not come to its end")
    # And afterwards the new list decides.
    rig.run(_NEXT_TAP_MS)
    taps.tap(_next(update, "leaver"), is_listed=False, kind="after")
    taps.tap(_next(update, "joiner"), is_listed=True, kind="after")

    erases = [one for one in rig.flash.operations if one.kind == "erase"]
    spans = _spans(rig.span)
    *verifications_ms, total_ms = _lengths_ms(spans)
    during = [ms for kind in set(_KINDS) for ms in taps.times_ms.get(kind, ())]
    figures = {
        "badges": objects.parse_header(update.data).entry_count,
        "total_s": round(total_ms / 1e3, 2),
        "update_slices_ms": _longest(_steps_ms(rig.push, spans, erases)),
        "other_slices_ms": _longest(_steps_ms(rig.step, spans, erases)),
        "taps_during": _spread(during),
        "taps_during_verification": _spread(taps.times_ms.get("in_head", ())),
        "denied_during": taps.denied,
        "verification_in_the_door": _spread(verifications_ms),
    }
    if rig.told["refused"] != heads:
        taps.wrong.append(f"{rig.told['refused']} of {heads} outdated lists were refused as such")
    return figures, taps.wrong + _wrong_update(rig, update)


class _Taps:
    """Presents cards and notes what the door does.

    Attributes:
        times_ms: from card in the field to strike edge, by kind.
        denied: red lights.
        wrong: where the door was, in words.
    """

    def __init__(self, rig: ProbeRig, update: Update, chance: random.Random) -> None:
        self._rig = rig
        self._update = update
        self._chance = chance
        self.times_ms: dict[str, list[float]] = {}
        self.denied = 0
        self.wrong: list[str] = []

    def tap(self, uid: bytes, *, is_listed: bool, kind: str) -> None:
        """Hold a card to the reader until the door has answered. is_listed: by the old list."""
        rig = self._rig
        card = Card(uid)
        start_ns = rig.enter(card)
        rig.run(_TAP_LIMIT_MS, lambda: rig.strike.rises(start_ns) or rig.red.rises(start_ns))
        is_open = bool(rig.strike.rises(start_ns))
        # Either may be right where the lists were switched in the middle of it.
        is_switched = kind in _KINDS and not rig.span.level
        if is_open:
            self.times_ms.setdefault(kind, []).append((rig.now_ns() - start_ns) / 1e6)
        elif rig.red.rises(start_ns):
            self.denied += 1
        else:
            self.wrong.append(f"{uid.hex()}: neither strike nor red light")
        if is_open != is_listed and not is_switched:
            self.wrong.append(f"{uid.hex()}, {kind}: {'opened' if is_open else 'did not open'}")
        rig.run(_HELD_MS)
        rig.leave(card)
        rig.run(_NEXT_TAP_MS, lambda: not rig.strike.level)
        # The red light stays on for longer; the next denial must be seen to light it.
        rig.run(_HEAD_LIMIT_MS, lambda: not rig.red.level)


def _next(update: Update, kind: str) -> bytes:
    """Return a badge that was not at the reader before."""
    if kind == "joiner":
        return update.joiners.pop()
    if kind == "leaver":
        return update.leavers.pop()
    return update.door.badges.pop()


def _running(image: Path, update: Update, *, heads: int) -> ProbeRig:
    """Return a board that runs its door and waits for the order."""
    blobs = [bytes((heads,)), update.data, update.outdated]
    rig = ProbeRig(image, update.door.area, "update", blobs)
    rig.run_to(lambda: rig.first_poll_ns is not None, _BOOT_LIMIT_MS, "its first poll")
    rig.run(_SETTLE_MS + _SETTLE_BADGE_MS * len(update.door.badges))
    return rig


def _wrong_update(rig: ProbeRig, update: Update) -> list[str]:
    told = rig.told["told"]
    header = objects.parse_header(update.data)
    if (told["version"], told["count"]) != (header.version, header.entry_count):
        return [f"the update came to {told}"]
    return []


# Running and telling


def run_all(
    image: Path,
    *,
    badges: int,
    tap_badges: int,
    look_ups: int,
    heads: int,
    repeats: int,
    processes: int,
) -> tuple[dict, list[str]]:
    """Run every measurement, each in a process of its own; return figures and what was wrong."""
    update = doors.make_update(badges, CHANGES, **doors.QUICK)
    crowded = doors.make_update(tap_badges, CHANGES, **doors.QUICK)
    half = doors.make_door(badges // 2, **doors.QUICK)
    jobs: dict[str, tuple] = {
        "taps": (measure_taps, image, crowded, heads),
        "update": (measure_update, image, update),
        "verify": (measure_verify, image, repeats),
        "journal": (measure_journal, image),
        "look_ups": (measure_look_ups, image, update.door, look_ups),
        "look_ups_half": (measure_look_ups, image, half, look_ups),
    }
    figures: dict = {}
    wrong: list[str] = []
    with ProcessPoolExecutor(processes) as pool:
        futures = {pool.submit(*job): name for name, job in jobs.items()}
        for future in as_completed(futures):
            name = futures[future]
            figures[name], texts = future.result()
            wrong += [f"{name}: {text}" for text in texts]
            print(f"  {name}: done", file=sys.stderr, flush=True)
    return {name: figures[name] for name in jobs}, wrong


def table(figures: dict) -> list[str]:
    """Return the figures as lines of text, beside their targets."""
    lines = ["what                             n   p50 ms   max ms  target max"]

    def row(name: str, spread: dict, target: float | None = None) -> None:
        wanted = "" if target is None else f"{target:g} ms"
        lines.append(
            f"{name:<28} {spread['n']:>5}  {spread['p50_ms']:7.2f}  {spread['max_ms']:7.2f}  {wanted}"
        )

    for bits, target in KEY_BITS.items():
        verify = figures["verify"][f"rsa{bits}"]
        row(f"RSA-{bits} verification", verify, target)
        longest = verify["longest_slice_ms"]
        row(
            "  its longest slice",
            {"n": verify["slices"], "p50_ms": longest, "max_ms": longest},
            SLICE_MS[bits],
        )
    for part in ("look_ups", "look_ups_half"):
        found = figures[part]
        lines.append(f"with {found['badges']:,} badges:")
        row("  look-up, listed", found["look_up_hit"], LOOK_UP_MS)
        row("  look-up, not listed", found["look_up_miss"], LOOK_UP_MS)
        row("  decision, listed", found["decide_hit"])
        row("  decision, not listed", found["decide_miss"])
        lines.append(f"  heap free: {found['memory_free_bytes']:,} bytes")
    journal = figures["journal"]
    row("a batch of 32 records", journal["read"])
    row("an acknowledgement", journal["acknowledge"])
    lines += (
        f"start on a full journal: {journal['start_ms']} ms",
        f"64 events written: {journal['write_64_ms']} ms",
        f"  longest slices of a batch, target {UPDATE_SLICE_MS} ms: {journal['read_slices_ms']} ms",
        f"  of writing: {journal['write_slices_ms']} ms",
    )
    update, taps = figures["update"], figures["taps"]
    notes = (
        f"update to {update['badges']:,} badges, first byte to in force: {update['total_s']} s",
        f"  in {update['erases']} sector erases: {update['erase_s']} s",
        f"  without them: {update['without_erases_s']} s (target {UPDATE_S})",
        f"  of that waiting for quiet: {update['of_that_waiting_for_quiet_s']} s",
        f"  its longest slices, target {UPDATE_SLICE_MS} ms: {update['update_slices_ms']} ms",
        f"  the longest of the door's other tasks: {update['other_slices_ms']} ms",
        f"update to {taps['badges']:,} badges with cards coming and going: {taps['total_s']} s",
        f"  its longest slices, target {UPDATE_SLICE_MS} ms: {taps['update_slices_ms']} ms",
        f"  the longest of the door's other tasks: {taps['other_slices_ms']} ms",
    )
    lines += notes
    row("  field to strike meanwhile", taps["taps_during"])
    row("  in the middle of RSA-2048", taps["taps_during_verification"])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure trust on the emulated chip.")
    parser.add_argument("--badges", type=int, default=BADGES, help=f"on the list ({BADGES:,})")
    parser.add_argument("--tap-badges", type=int, default=TAP_BADGES, help="while cards come")
    parser.add_argument("--look-ups", type=int, default=LOOK_UPS, help="of each kind")
    parser.add_argument(
        "--heads", type=int, default=HEADS, help="verifications with a tap in them"
    )
    parser.add_argument("--repeats", type=int, default=5, help="verifications of each key size")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at once")
    options = parser.parse_args()
    try:
        made = json.loads((IMAGE / "image.json").read_text())
    except OSError:
        sys.exit(
            f"bench: no image in {IMAGE.relative_to(ROOT)}; "
            f"run: python -m image.build {BOARD} --development"
        )
    started = time.monotonic()
    figures, wrong = run_all(
        IMAGE / "firmware.uf2",
        badges=options.badges,
        tap_badges=options.tap_badges,
        look_ups=options.look_ups,
        heads=options.heads,
        repeats=options.repeats,
        processes=options.processes,
    )
    results = {"board": BOARD, "micropython": made["micropython"], **figures}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "trust.json").write_text(json.dumps(results, indent=2) + "\n")
    print("\n".join(table(figures)))
    written = (RESULTS / "trust.json").relative_to(ROOT)
    print(f"written: {written}, in {time.monotonic() - started:.0f} s")
    for text in wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
