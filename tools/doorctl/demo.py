"""The demonstration: a school day on one door, every step checked as it is told."""

import time
from collections.abc import Callable
from pathlib import Path

from doorward.journal import record as records
from doorward.values import COMMANDS, LOCK_DOWN, OLD_VERSION, REFUSALS, RELEASE, REPLAYED
from rich.console import Console
from rich.text import Text

from doorctl import chain, people, roster
from doorctl.database import describe
from doorctl.errors import DoorctlError
from doorctl.keyring import open_ring
from doorctl.link import Door, DoorRefused
from doorctl.lists import verify
from doorctl.world import DOOR, SITE, World, wait_until

PROMISE_MS = 100.0
_DELIVERY_TIMEOUT_S = 60.0
_SAME_BADGE_S = 1.5

# A step: story time, what happens, and the check. The check returns what was seen, or raises.
Step = tuple[str, str, Callable[[], str]]


class Unexpected(DoorctlError):
    """A step did not go as the story has it."""


class Demo:
    """Plays the day in `folder`, which is emptied first."""

    def __init__(self, folder: Path) -> None:
        self._world = World(folder)
        self._console = Console(highlight=False)
        self._slowest_ms = 0.0
        self._ring = b""
        self._lists: dict[str, Path] = {}
        self._commands: list[bytes] = []
        self._next_tap: dict[bytes, float] = {}

    def run(self) -> bool:
        """Play; return whether every step went as expected. Stops at the first that did not."""
        chapters = self._chapters()
        total = sum(len(steps) for _, steps in chapters)
        done = 0
        try:
            for title, steps in chapters:
                self._say_chapter(title)
                for clock, text, check in steps:
                    try:
                        with self._working(text):
                            seen = check()
                    except KeyboardInterrupt:
                        self._console.print(f"demo: stopped at step {done + 1} of {total}: {text}")
                        return False
                    except DoorctlError as error:
                        self._say_step(clock, False, text, error.message)
                        self._console.print(f"demo: step {done + 1} of {total} failed: {text}")
                        self._console.print(f"demo: {error.message}")
                        self._console.print(f"demo: what was written is in {self._world.folder}")
                        return False
                    self._say_step(clock, True, text, seen)
                    done += 1
            self._say_chapter(
                f"slowest tap to relay {self._slowest_ms:.1f} ms; the promise is {PROMISE_MS:.0f} ms"
            )
            self._console.print(f"demo: {done} of {total} steps as expected", soft_wrap=True)
            return True
        finally:
            self._world.close()

    def _chapters(self) -> list[tuple[str, list[Step]]]:
        world = self._world
        officer = iter(world.officers)
        teacher = iter(world.staff)
        first, second, third, fourth, fifth, sixth = (next(officer) for _ in range(6))
        lost, colleague = next(officer), next(officer)
        seventh = next(officer)
        anne, bert, carl, dora, emma, fred, gina = (next(teacher) for _ in range(7))
        return [
            (
                "The office prepares: who may sign, who may enter",
                [
                    (
                        "Mon",
                        "Keys are made; a ring says who signs for whom",
                        self._keys,
                    ),
                    ("Mon", "Two rosters are read from CSV", self._rosters),
                    ("Mon", "Each issuer signs its own list", self._sign),
                ],
            ),
            (
                "The technician mounts the door",
                [
                    ("Tue", "Broker, collector and door start", self._start),
                    ("Tue", "The police list goes in by cable", self._push("police")),
                    ("Tue", "The school's list goes in by cable", self._push("school")),
                ],
            ),
            (
                f"A school day at {DOOR}, {SITE}",
                [
                    ("07:10", f"Officer {first.name} taps", self._tap(first.badge, "granted")),
                    ("07:45", f"{anne.name}, staff, taps", self._tap(anne.badge, "granted")),
                    (
                        "07:52",
                        "A stranger taps a transit card",
                        self._tap(people.strangers_badge(), "unknown-badge"),
                    ),
                    (
                        "07:52",
                        f"Officer {second.name}, right behind",
                        self._tap(second.badge, "granted"),
                    ),
                ],
            ),
            (
                "The network goes down",
                [
                    ("09:30", "The school's network fails", self._network_off),
                    ("09:31", f"Officer {third.name} taps", self._tap(third.badge, "granted")),
                    ("09:40", f"{bert.name}, staff, taps", self._tap(bert.badge, "granted")),
                ],
            ),
            (
                "Lockdown",
                [
                    ("10:15", "The lockdown switch is turned", self._lockdown(True)),
                    ("10:15", f"{carl.name}, staff, taps", self._tap(carl.badge, "in-lockdown")),
                    (
                        "10:16",
                        f"Officer {fourth.name} taps",
                        self._tap(fourth.badge, "granted-in-lockdown"),
                    ),
                    ("10:40", "The lockdown switch is turned back", self._lockdown(False)),
                    ("10:41", f"{dora.name}, staff, taps", self._tap(dora.badge, "granted")),
                ],
            ),
            (
                "The district orders a lockdown",
                [
                    ("11:00", "A signed command comes by cable", self._command(LOCK_DOWN, 1)),
                    ("11:01", f"{bert.name}, staff, taps", self._tap(bert.badge, "in-lockdown")),
                    ("11:20", "A signed command releases it", self._command(RELEASE, 2)),
                    ("11:21", "Somebody replays the lockdown", self._replay),
                    ("11:22", f"{emma.name}, staff, taps", self._tap(emma.badge, "granted")),
                ],
            ),
            (
                "A panic button in place of the switch",
                [
                    ("11:45", "The technician changes the settings", self._panic_button),
                    ("11:50", "The panic button is pressed and let go", self._press),
                    ("11:51", f"{fred.name}, staff, taps", self._tap(fred.badge, "in-lockdown")),
                    (
                        "11:52",
                        f"Officer {seventh.name} taps",
                        self._tap(seventh.badge, "granted-in-lockdown"),
                    ),
                    ("12:05", "A signed command releases it by its number", self._release_it),
                    ("12:06", f"{gina.name}, staff, taps", self._tap(gina.badge, "granted")),
                ],
            ),
            (
                "The power fails",
                [
                    ("12:30", "The board loses power and comes back", self._power),
                    ("12:30", f"Officer {fifth.name} taps", self._tap(fifth.badge, "granted")),
                ],
            ),
            (
                "A badge is lost",
                [
                    ("14:00", f"{lost.name}'s badge is denied", self._deny(lost.badge)),
                    ("14:05", "Somebody taps the lost badge", self._tap(lost.badge, "revoked")),
                    (
                        "14:05",
                        f"Officer {colleague.name} taps",
                        self._tap(colleague.badge, "granted"),
                    ),
                    ("14:30", "List 2 leaves it out for good", self._revoke(lost.badge)),
                    (
                        "14:31",
                        "Somebody taps the lost badge",
                        self._tap(lost.badge, "unknown-badge"),
                    ),
                    ("14:40", "Somebody brings back the old list", self._old_list),
                ],
            ),
            (
                "The network returns",
                [
                    ("15:30", "The network is mended; the door reports", self._network_on),
                    ("15:31", f"Officer {sixth.name} taps", self._tap(sixth.badge, "granted")),
                    ("15:35", "Every event is at the collector, none twice", self._compare),
                    ("15:36", "The record's chain is unbroken", self._chain),
                ],
            ),
        ]

    # Steps

    def _keys(self) -> str:
        self._world.begin()
        self._ring = self._world.make_keys()
        ring = open_ring(self._ring)
        return ", ".join(
            f"{issuer.name} for {'responders' if issuer.may_grant(1) else 'staff'}"
            for issuer in ring.issuers
        )

    def _rosters(self) -> str:
        paths = self._world.write_rosters()
        counts = {name: len(roster.sound_rows([path])) for name, path in paths.items()}
        _expect(counts, {"police": people.OFFICERS, "school": people.STAFF}, "badges read")
        return f"{counts['police']} officers, {counts['school']} staff"

    def _sign(self) -> str:
        ring = open_ring(self._ring)
        self._lists = {name: self._world.build_list(name, 1) for name in ("police", "school")}
        sizes = []
        for name, path in self._lists.items():
            data = path.read_bytes()
            _expect(verify(data, ring, SITE).issuer, name, "issuer")
            sizes.append(f"{name} {len(data):,} bytes")
        return ", ".join(sizes)

    def _start(self) -> str:
        # A short pulse, so that every tap of the story is a click of its own.
        self._world.provision(strike_pulse_ms=300)
        self._world.start_broker()
        self._world.start_collector()
        started = time.monotonic()
        self._world.start_door()
        taken_s = time.monotonic() - started
        with self._world.cable() as door:
            self._wait_for_reader(door)
            hello = door.hello()
        _expect(hello["door"], DOOR, "door")
        return f"firmware {hello['firmware']}, up in {taken_s:.2f} s"

    def _push(self, issuer: str) -> Callable[[], str]:
        def push() -> str:
            with self._world.cable() as door:
                result = door.push(self._lists[issuer].read_bytes())
            _expect((result["issuer"], result["version"]), (issuer, 1), "list in force")
            return f"version {result['version']}, {result['count']} badges in force"

        return push

    def _tap(self, badge: bytes, reason: str) -> Callable[[], str]:
        """Return a step: tap, look at the door from outside, then ask its journal why."""

        def tap() -> str:
            # The story's minutes are milliseconds here; a badge is read anew a second later.
            time.sleep(max(0.0, self._next_tap.get(badge, 0.0) - time.monotonic()))
            self._next_tap[badge] = time.monotonic() + _SAME_BADGE_S
            with self._world.cable() as door:
                before = door.status()["journal"]["next"]
                seen = self._bench(f"tap {badge.hex()}")
                wait_until(
                    lambda: door.status()["journal"]["next"] > before,
                    5.0,
                    "the tap is not recorded",
                )
                taps = [describe(record) for record in door.log(before)]
            taps = [one for one in taps if one["event"] == "tap"]
            _expect([one["reason"] for one in taps], [reason], "reason recorded")
            _expect(seen["opened"], reason.startswith("granted"), "strike released")
            if not seen["opened"]:
                return f"denied: {reason}"
            self._slowest_ms = max(self._slowest_ms, seen["tap_to_relay_ms"])
            return f"opens {seen['tap_to_relay_ms']:5.1f} ms after the tap"

        return tap

    def _network_off(self) -> str:
        self._bench("network off")
        with self._world.cable() as door:
            wait_until(
                lambda: not door.status()["uplink"]["is_connected"], 10.0, "the uplink is still up"
            )
        return "the door is on its own"

    def _lockdown(self, is_on: bool) -> Callable[[], str]:
        posture = "lockdown" if is_on else "normal"

        def turn() -> str:
            self._bench(f"lockdown {'on' if is_on else 'off'}")
            with self._world.cable() as door:
                wait_until(
                    lambda: door.status()["posture"] == posture,
                    5.0,
                    f"the door is not in {posture}",
                )
            return f"posture {posture}"

        return turn

    def _power(self) -> str:
        with self._world.cable() as door:
            before = door.status()
        self._door.power_off()
        self._door.power_on()
        with self._world.cable() as door:
            self._wait_for_reader(door)
            after = door.status()
        _expect(after["boot"], before["boot"] + 1, "starts counted")
        _expect(_versions(after), _versions(before), "lists in force")
        kept = after["journal"]["next"] - before["journal"]["next"]
        if kept < 0:
            raise Unexpected(f"the journal lost {-kept} records")
        return "same lists in force, no record lost"

    def _command(self, kind: int, counter: int) -> Callable[[], str]:
        posture = "lockdown" if kind == LOCK_DOWN else "normal"

        def order() -> str:
            data = self._world.build_command("school", kind, counter)
            self._commands.append(data)
            with self._world.cable() as door:
                result = door.push(data)
                _expect(result["command"], COMMANDS[kind], "command obeyed")
                _expect(door.status()["posture"], posture, "posture")
            return f"posture {posture}"

        return order

    def _replay(self) -> str:
        with self._world.cable() as door:
            try:
                door.push(self._commands[0])
            except DoorRefused as refusal:
                _expect(refusal.name, REFUSALS[REPLAYED][0], "refusal")
                _expect(door.status()["posture"], "normal", "posture")
                return f"refused: {refusal.name}"
        raise Unexpected("the door obeyed a command twice")

    def _panic_button(self) -> str:
        self._door.power_off()
        self._world.change_settings(lockdown_ends_by="release")
        self._door.power_on()
        with self._world.cable() as door:
            self._wait_for_reader(door)
            status = door.status()
        _expect((status["config_fault"], status["posture"]), ("", "normal"), "settings taken")
        return "only a release ends a lockdown"

    def _press(self) -> str:
        self._bench("lockdown on")
        with self._world.cable() as door:
            wait_until(lambda: door.status()["lockdown"], 5.0, "the door is not in lockdown")
            self._bench("lockdown off")
            wait_until(
                lambda: not door.status()["inputs"]["lockdown"], 5.0, "the button is still down"
            )
            status = door.status()
        _expect(status["posture"], "lockdown", "posture")
        return f"posture lockdown, number {status['lockdown']}"

    def _release_it(self) -> str:
        with self._world.cable() as door:
            number = door.status()["lockdown"]
            door.push(self._world.build_command("school", RELEASE, 3, door=DOOR, argument=number))
            _expect(door.status()["posture"], "normal", "posture")
        return f"lockdown {number} is over"

    def _deny(self, badge: bytes) -> Callable[[], str]:
        def deny() -> str:
            data = self._world.build_deny_list("police", 1, [badge])
            with self._world.cable() as door:
                result = door.push(data)
            _expect((result["type"], result["count"]), ("deny list", 1), "deny list in force")
            return f"{len(data)} bytes, in force at once"

        return deny

    def _revoke(self, badge: bytes) -> Callable[[], str]:
        def revoke() -> str:
            path = self._world.build_list("police", 2, without=[badge], includes_deny=1)
            with self._world.cable() as door:
                result = door.push(path.read_bytes())
                _expect(door.status()["denied"], [], "deny lists left")
            _expect(result["version"], 2, "version in force")
            _expect(result["count"], people.OFFICERS - 1, "badges in force")
            return f"version 2, {result['count']} badges in force"

        return revoke

    def _old_list(self) -> str:
        with self._world.cable() as door:
            try:
                door.push(self._lists["police"].read_bytes())
            except DoorRefused as refusal:
                _expect(refusal.name, REFUSALS[OLD_VERSION][0], "refusal")
                _expect(_versions(door.status())["police"], 2, "version in force")
                return f"refused: {refusal.name}; version 2 stays"
        raise Unexpected("the door took an older list")

    def _network_on(self) -> str:
        self._bench("network on")
        started = time.monotonic()
        with self._world.cable() as door:
            waiting = door.status()["journal"]["pending"]
            wait_until(
                lambda: door.status()["journal"]["pending"] == 0,
                _DELIVERY_TIMEOUT_S,
                "the door's records do not arrive",
            )
        return f"{waiting} records delivered in {time.monotonic() - started:.1f} s"

    def _compare(self) -> str:
        held = self._held_records()
        last = held[-1][0].sequence
        database = self._world.database()

        def stored() -> list[bytes]:
            return [bytes(row.raw) for row in database.of_door(SITE, DOOR) if row.sequence <= last]

        try:
            wait_until(
                lambda: len(stored()) >= len(held), _DELIVERY_TIMEOUT_S, "events are missing"
            )
            _expect(stored(), [raw for _, raw in held], "records at the collector")
        finally:
            database.close()
        taps = sum(describe(record)["event"] == "tap" for record, _ in held)
        return f"{len(held)} records, {taps} of them taps"

    def _chain(self) -> str:
        rows = ((record.sequence, raw) for record, raw in self._held_records())
        verdict = chain.verify(rows, self._world.journal_key())
        _expect([fault.text for fault in verdict.faults], [], "faults in the record")
        return f"{verdict.count} links verified"

    # What the steps share

    @property
    def _door(self):
        if self._world.door is None:
            raise Unexpected("the door is not running")
        return self._world.door

    def _bench(self, command: str) -> dict:
        return self._door.bench(command)

    def _held_records(self) -> list[tuple[records.Record, bytes]]:
        with self._world.cable() as door:
            return door.raw_log()

    def _wait_for_reader(self, door: Door) -> None:
        wait_until(lambda: door.status()["reader"]["is_up"], 10.0, "the reader does not start")

    # How it is told

    def _working(self, text: str):
        return self._console.status(Text(text, style="dim"))

    def _say_chapter(self, title: str) -> None:
        self._console.print()
        self._console.print(Text(title, style="bold"))

    def _say_step(self, clock: str, is_good: bool, text: str, seen: str) -> None:
        mark = ("ok  ", "green") if is_good else ("FAIL", "bold red")
        if self._console.is_terminal:
            mark = ("\u2714", "green") if is_good else ("\u2718", "bold red")
        line = Text.assemble(
            (f"  {clock:<6}", "cyan"),
            mark,
            " ",
            f"{text:<45} ",
            (seen, "dim" if is_good else "red"),
        )
        self._console.print(line, soft_wrap=True)


def _versions(status: dict) -> dict[str, int]:
    return {one["issuer"]: one["version"] for one in status["lists"]}


def _expect(seen: object, wanted: object, what: str) -> None:
    if seen != wanted:
        raise Unexpected(f"{what}: expected {wanted!r}, saw {seen!r}")
