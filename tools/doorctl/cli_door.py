"""`doorctl push`, `status` and `log`: what is done at one door, over its cable."""

import datetime
import json
import os
from pathlib import Path

import click
from doorward.reader.mfrc522 import VERSIONS
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from doorctl.database import describe
from doorctl.errors import DoorctlError
from doorctl.link import Door

_SIMULATED = Path("build/door/tty")
_MAX_OBJECT_BYTES = 5_000_000

_port = click.option(
    "--port",
    envvar="DOORCTL_PORT",
    metavar="DEVICE",
    help="The door's serial port; left out: the simulated door of `make door`.",
)
_json = click.option("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")


def _open(port: str | None) -> Door:
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
@_port
@_json
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
    with _open(port) as door:
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
@_port
@_json
def status(port: str | None, is_json: bool) -> None:
    """Show how a door is: posture, reader, lists, journal, uplink."""
    with _open(port) as door:
        found = door.status()
    if is_json:
        click.echo(json.dumps(found))
        return
    now = datetime.datetime.fromtimestamp(found["clock"]["now_s"], datetime.timezone.utc)
    reader, journal, uplink = found["reader"], found["journal"], found["uplink"]
    taps, stalls = found["taps"], found["stalls"]
    rows = [
        (
            "door",
            f"{found['site']}/{found['door']}, {found['board']}, firmware {found['firmware']}",
        ),
        ("up", f"{found['uptime_s']} s, start {found['boot']}"),
        ("posture", found["posture"]),
        ("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, {found['clock']['quality']}"),
        (
            "reader",
            f"up, {_chip(reader)}, {reader['errors']} errors"
            if reader["is_up"]
            else f"DOWN: {reader['fault']}",
        ),
        *(
            (
                f"list {one['issuer']}",
                f"version {one['version']}, {one['badges']} badges, {_age(one['age_s'])} old",
            )
            for one in found["lists"]
        ),
        (
            "journal",
            (
                f"{journal['next'] - journal['oldest']} of {journal['capacity']} records, "
                f"{journal['pending']} not yet delivered"
            ),
        ),
        (
            "uplink",
            "connected" if uplink["is_connected"] else f"not connected: {uplink['fault'] or '-'}",
        ),
        (
            "taps",
            (
                f"{taps['count']} since start, {taps['grants']} granted, "
                f"slowest {taps['longest_us'] / 1000:.1f} ms"
            ),
        ),
        (
            "stalls",
            f"{stalls['runs']}, longest {stalls['longest_ms']} ms, {stalls['hasty']} hasty",
        ),
        ("memory", f"{found['memory_free_bytes']} bytes free"),
    ]
    for name, text in rows:
        click.echo(f"{name:<14}{text}")


@click.command()
@click.option("--from", "first", type=click.IntRange(1), default=1, help="First sequence.")
@_port
@_json
def log(first: int, port: str | None, is_json: bool) -> None:
    """Show a door's journal, oldest record first."""
    with _open(port) as door:
        found = [describe(record) for record in door.log(first)]
    if is_json:
        click.echo(json.dumps(found, default=str))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("seq", "time (UTC)", "event", "reason", "class", "badge", "field to relay"):
        table.add_column(name)
    for one in found:
        table.add_row(
            str(one["sequence"]),
            str(one["happened_at"] or f"boot {one['boot']} +{one['ticks_ms']} ms"),
            one["event"],
            one["reason"],
            one["class"],
            one["badge"][:8],
            f"{one['relay_us'] / 1000:.1f} ms" if one["relay_us"] else "",
        )
    console = Console()
    console.width = console.width if console.is_terminal else 120
    console.print(table)


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


def _age(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172800 else f"{seconds // 86400} d"
