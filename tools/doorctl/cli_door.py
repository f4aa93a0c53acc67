"""`doorctl push` and `status`: what is done at one door, over its cable."""

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path

import click
from doorward.reader.mfrc522 import VERSIONS
from doorward.values import ORDERED, POWER_ON, RESTART_CAUSES
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from doorctl.errors import DoorctlError
from doorctl.link import Door

_SIMULATED = Path("build/door/tty")
_MAX_OBJECT_BYTES = 5_000_000
_FINE_STARTS = (RESTART_CAUSES[POWER_ON], RESTART_CAUSES[ORDERED])
_STRIKE = {False: "locked", True: "released"}
# An input's name -> what it says at rest, and otherwise; in the order of the firmware's INPUTS.
_INPUTS = {
    "door": ("closed", "open"),
    "rex": ("off", "on"),
    "lockdown": ("off", "on"),
    "fire": ("off", "ALARM"),
    "cabinet": ("shut", "TAMPERED"),
    "reader": ("mounted", "TAMPERED"),
    "mains": ("there", "FAILED"),
    "battery": ("charged", "LOW"),
}
_ALARMS = ("fire", "cabinet", "reader", "mains", "battery")
# As the door tells it where nobody meant it to have an uplink.
_NO_UPLINK_WANTED = ("no broker configured", "no network on this board")
_NO_TIME_SERVER_WANTED = "no time server configured"

PORT = click.option(
    "--port",
    envvar="DOORCTL_PORT",
    metavar="DEVICE",
    help="The door's serial port; left out: the simulated door of `make door`.",
)
JSON = click.option("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")


def open_door(port: str | None) -> Door:
    """Return the door at `port`, or the simulated one where none is named. Raises DoorctlError."""
    if port is None and not _SIMULATED.exists():
        raise DoorctlError(
            "no door: name its serial port with --port or DOORCTL_PORT, or start one: make door"
        )
    return Door(port or os.fspath(_SIMULATED))


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@PORT
@JSON
def push(files: tuple[Path, ...], port: str | None, is_json: bool) -> None:
    """Send the signed objects in FILES to a door, in this order, each until it is in force.

    A key ring goes before the lists of issuers it brings. The door decides whether it believes an
    object; what it refuses changes nothing, and ends the push. --json prints a line for each.
    """
    objects = []
    for file in files:
        if file.stat().st_size > _MAX_OBJECT_BYTES:
            raise DoorctlError(f"{file}: {file.stat().st_size} bytes is more than a door takes")
        objects.append(file.read_bytes())
    with open_door(port) as door:
        for i, data in enumerate(objects):
            try:
                result = _push_one(door, data)
            except DoorctlError as error:
                raise DoorctlError(_broken_off(files, i, error)) from None
            click.echo(json.dumps(result) if is_json else _in_force(result))


def _push_one(door: Door, data: bytes) -> dict:
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("pushing"),
        BarColumn(),
        DownloadColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("push", total=len(data))
        return door.push(data, lambda done, _: bar.update(task, completed=done))


def _broken_off(files: tuple[Path, ...], failed: int, error: DoorctlError) -> str:
    """Return what to tell when one of several files did not come in force."""
    if len(files) == 1:
        return error.message
    done = ", ".join(map(str, files[:failed])) or "nothing"
    rest = ", ".join(map(str, files[failed + 1 :])) or "nothing"
    return f"{files[failed]}: {error.message} In force: {done}; not sent: {rest}"


@click.command()
@PORT
@JSON
def status(port: str | None, is_json: bool) -> None:
    """Show how a door is: posture, inputs, reader, lists, journal, uplink. Red: what is wrong."""
    with open_door(port) as door:
        found = door.status()
    if is_json:
        click.echo(json.dumps(found))
        return
    facts = _facts(found)
    width = max(14, *(len(one.name) + 2 for one in facts))
    for one in facts:
        # In a pipe click leaves the colour out.
        text = click.style(one.text, fg="red", bold=True) if one.is_wrong else one.text
        click.echo(f"{one.name:<{width}}{text}")


@dataclass(frozen=True, slots=True)
class _Fact:
    """One line of a status."""

    name: str
    text: str
    is_wrong: bool = False


def _facts(found: dict) -> list[_Fact]:
    """Return a door's status in words. What its firmware does not tell yet is left out."""
    journal, stalls = found["journal"], found["stalls"]
    facts = [
        _Fact(
            "door",
            f"{found['site']}/{found['door']}, {found['board']}, firmware {found['firmware']}",
        ),
        _Fact("up", f"{found['uptime_s']} s, start {found['boot']}"),
        *_restart(found.get("restart")),
    ]
    if found.get("config_fault"):
        facts.append(_Fact("config", f"REFUSED: {found['config_fault']}", is_wrong=True))
    facts += [
        _Fact("posture", found["posture"] + _held(found.get("is_team_hold"))),
        *_lockdown(found.get("lockdown")),
        *_strike(found.get("is_released")),
        *_inputs(found.get("inputs")),
        _clock(found["clock"]),
        _reader(found["reader"]),
        *_trust(found),
        _Fact(
            "journal",
            f"{journal['next'] - journal['oldest']} of {journal['capacity']} records, "
            f"{journal['pending']} not yet delivered",
        ),
        *_network(found.get("network"), found.get("network_fault")),
        _uplink(found["uplink"]),
        _Fact("taps", _taps(found["taps"])),
        _Fact(
            "stalls",
            f"{stalls['runs']}, longest {stalls['longest_ms']} ms, {stalls['hasty']} hasty",
        ),
        *_revived(found.get("revived_tasks")),
        _Fact("memory", f"{found['memory_free_bytes']} bytes free"),
    ]
    return facts


def _restart(restart: dict | None) -> list[_Fact]:
    if restart is None:
        return []
    task = f", task {restart['task']}" if restart["task"] else ""
    return [_Fact("started by", restart["cause"] + task, restart["cause"] not in _FINE_STARTS)]


def _lockdown(number: int | None) -> list[_Fact]:
    """What a release may call the lockdown that is on; one by the switch has no number."""
    return [_Fact("lockdown", f"number {number}")] if number else []


def _held(is_team_hold: bool | None) -> str:
    return ", held open for a team" if is_team_hold else ""


def _strike(is_released: bool | None) -> list[_Fact]:
    return [] if is_released is None else [_Fact("strike", _STRIKE[is_released])]


def _inputs(inputs: dict | None) -> list[_Fact]:
    """Only those that are wired; a door without any has no such line."""
    if not inputs:
        return []
    told = [
        f"{name} {_INPUTS.get(name, ('off', 'on'))[is_active]}"
        for name, is_active in inputs.items()
    ]
    return [_Fact("inputs", ", ".join(told), any(inputs.get(name) for name in _ALARMS))]


def _clock(clock: dict) -> _Fact:
    now = datetime.datetime.fromtimestamp(clock["now_s"], datetime.timezone.utc)
    quality = clock["quality"]
    told = f"{now:%Y-%m-%d %H:%M:%S} UTC, {quality}"
    if clock.get("source", "none") != "none":
        told += f", from {clock['source']}"
    if clock.get("synced_age_s") is not None:
        told += f" {_age(clock['synced_age_s'])} ago, drift {clock['drift_ppm']:+} ppm"
    fault = clock.get("fault", "")
    is_wanted = bool(fault) and fault != _NO_TIME_SERVER_WANTED
    if is_wanted:
        told += f"; {fault}"
    return _Fact("clock", told, quality == "unset" or (quality == "held" and is_wanted))


def _reader(reader: dict) -> _Fact:
    if not reader["is_up"]:
        return _Fact("reader", f"DOWN: {reader['fault']}", is_wrong=True)
    return _Fact("reader", f"up, {_chip(reader)}, {reader['errors']} errors")


def _trust(found: dict) -> list[_Fact]:
    """What the door believes: its key ring, lists and deny lists."""
    facts = []
    if "key_ring" in found:
        facts.append(_Fact("key ring", f"version {found['key_ring']}"))
    facts += [
        _Fact(
            f"list {one['issuer']}",
            f"version {one['version']}, {one['badges']} badges, {_old(one['age_s'])}",
        )
        for one in found["lists"]
    ] or [_Fact("lists", "NONE: no badge opens", is_wrong=True)]
    facts += [
        _Fact(
            f"deny {one['issuer']}",
            f"version {one['version']}, {one['badges']} badges",
        )
        for one in found.get("denied", ())
    ]
    return facts


def _network(is_up: bool | None, fault: str | None) -> list[_Fact]:
    """A board without a network has no such line."""
    if is_up is None:
        return []
    down = f"DOWN: {fault}" if fault else "DOWN"
    return [_Fact("network", "up" if is_up else down, not is_up)]


def _uplink(uplink: dict) -> _Fact:
    if uplink["is_connected"]:
        return _Fact("uplink", "connected")
    fault = uplink["fault"]
    is_wanted = bool(fault) and fault not in _NO_UPLINK_WANTED
    return _Fact("uplink", f"not connected: {fault or '-'}", is_wanted)


def _taps(taps: dict) -> str:
    told = f"{taps['count']} since start, {taps['grants']} granted"
    if taps.get("p50_ms"):
        told += f", half within {taps['p50_ms']} ms, 99 of 100 within {taps['p99_ms']} ms"
    return f"{told}, slowest {taps['longest_us'] / 1000:.1f} ms"


def _revived(count: int | None) -> list[_Fact]:
    return [_Fact("tasks", f"started anew {count} times", is_wrong=True)] if count else []


def _chip(reader: dict) -> str:
    name = VERSIONS.get(reader["version"], f"unknown version 0x{reader['version']:02X}")
    return name + (
        ", self-test passed" if reader["self_test"] else ", self-test failed (a clone?)"
    )


def _in_force(result: dict) -> str:
    if result["type"] == "command":
        return f"obeyed: {result['command']} by {result['issuer']}, counter {result['version']}"
    what = "issuers" if result["type"] == "key ring" else "badges"
    signer = f" of {result['issuer']}" if result["issuer"] else ""
    return (
        f"in force: {result['type']}{signer}, version {result['version']}, "
        f"{result['count']} {what}"
    )


def _old(seconds: int | None) -> str:
    return "age unknown" if seconds is None else f"{_age(seconds)} old"


def _age(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172800 else f"{seconds // 86400} d"
