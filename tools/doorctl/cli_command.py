"""doorctl command: order a door, a group of doors or a site to do something, once."""

import time
from collections.abc import Callable
from pathlib import Path

import click
from doorward import config
from doorward.access.command import MAX_GROUP, MAX_UNLOCK_S, Command
from doorward.access.takers import Accepted
from doorward.trust import objects
from doorward.values import (
    COMMANDS,
    DISABLE,
    ENABLE,
    HOLD_OPEN,
    LOCK_DOWN,
    RELEASE,
    UNLOCK,
    Refused,
)

from doorctl import commands, signed
from doorctl.cli_keys import ask_passphrase
from doorctl.errors import DoorctlError, refusal
from doorctl.keyring import open_ring_file
from doorctl.keys import load_private
from doorctl.options import FILE, GROUPS, SPAN
from doorctl.output import print_facts, print_json, read_file, write_file
from doorctl.roster import iso

_DOOR = next(setting for setting in config.SETTINGS if setting.name == "door")
_OPTIONS = (
    click.option("--site", required=True, help="Site of the doors."),
    click.option("--door", help="This door alone."),
    click.option(
        "--group",
        type=click.IntRange(1, MAX_GROUP),
        help="The doors of this group alone. Neither --door nor --group: the whole site.",
    ),
    click.option("--key", required=True, type=FILE, help="The issuer's private key; it signs."),
    click.option("--out", required=True, type=FILE),
    click.option(
        "--expires-in",
        "expiry_s",
        type=SPAN,
        default="15m",
        show_default=True,
        help="When it is too late to be obeyed, from now; 24h at most.",
    ),
    click.option(
        "--counter",
        type=int,
        help="Higher than in this issuer's last command. Default: the time, Unix seconds; so two "
        "within one second need it.",
    ),
    click.option("--keyring", type=FILE, help="Write it only if a door with this ring obeys it."),
    click.option("--groups", type=GROUPS, help="For --keyring: the groups that the door is in."),
)


def _ordering(function: Callable) -> Callable:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Order doors to lock down, to open or to go out of service: signed, counted, expiring."""


@command.command()
@_ordering
def lockdown(**options) -> None:
    """Lock down: nobody but responders comes in, until a release."""
    _order(LOCK_DOWN, **options)


@command.command()
@click.option(
    "--lockdown",
    "number",
    type=click.IntRange(1, (1 << 32) - 1),
    help="End this lockdown alone, by its number in the door's status: then the door obeys with its "
    "clock unset, too. Needs --door, because each door counts its own. Default: whichever is on.",
)
@_ordering
def release(number: int | None, **options) -> None:
    """End lockdowns, whoever ordered them, and holding open.

    A lockdown switch that is still on goes on being obeyed.
    """
    if number is not None and options["door"] is None:
        raise click.UsageError("--lockdown is for --door: each door counts its own")
    _order(RELEASE, argument=number or 0, **options)


@command.command()
@click.option(
    "--seconds", required=True, type=click.IntRange(1, MAX_UNLOCK_S), help="For how long."
)
@_ordering
def unlock(seconds: int, **options) -> None:
    """Release the strike for some seconds, in a lockdown too. Disabled doors refuse it."""
    _order(UNLOCK, argument=seconds, **options)


@command.command("hold-open")
@click.option(
    "--until",
    required=True,
    help="ISO date and time with its offset, 24 hours from now at most: 2026-09-01T16:00+02:00.",
)
@_ordering
def hold_open(until: str, **options) -> None:
    """Keep the doors unlocked until a time. Disabled doors and doors in lockdown refuse it."""
    _order(HOLD_OPEN, argument=commands.parse_until(until, int(time.time())), **options)


@command.command()
@_ordering
def disable(**options) -> None:
    """Take doors out of service: no badge opens, not a responder's either, until enable.

    The way out stays open. It needs a power of its own in the key ring, disable, as enable does.
    """
    _order(DISABLE, **options)


@command.command()
@_ordering
def enable(**options) -> None:
    """Put disabled doors back in service; a lockdown from before goes on until its release."""
    _order(ENABLE, **options)


def _order(
    kind: int,
    site: str,
    door: str | None,
    group: int | None,
    key: Path,
    out: Path,
    expiry_s: int,
    counter: int | None,
    keyring: Path | None,
    groups: int | None,
    argument: int = 0,
) -> None:
    if door is not None and group is not None:
        raise click.UsageError("--door and --group exclude one another")
    if groups is not None and keyring is None:
        raise click.UsageError("--groups is for --keyring")
    if door is not None:
        try:
            _DOOR.check(door)
        except config.ConfigError as error:
            raise DoorctlError(str(error)) from None
    if expiry_s > commands.MAX_EXPIRY_S:
        raise DoorctlError("--expires-in: 24h at most")
    private = load_private(key, ask=ask_passphrase)
    now_s = int(time.time())
    order = Command(kind, now_s + expiry_s, argument=argument, door=door or "", group=group or 0)
    counter = now_s if counter is None else counter
    data = commands.build_command(order, private, site, counter, now_s)
    signer = ""
    if keyring is not None:
        signer = f", obeyed as {_try(data, keyring, groups, str(out)).issuer}'s"
    write_file(out, data)
    what = f"door {door}" if door else f"group {group}" if group else "every door"
    which = f" of lockdown {argument}" if kind == RELEASE and argument else ""
    click.echo(
        f"{out}: {COMMANDS[kind]}{which} for {what} of {site}, counter {counter}, "
        f"expires {iso(order.expires_s)}{signer}"
    )


def _try(data: bytes, keyring: Path, groups: int | None, name: str) -> Accepted:
    """Return what a door with this ring obeys. Raises DoorctlError where it refuses."""
    ring = open_ring_file(keyring)
    try:
        found = signed.split(data, objects.COMMAND_TYPE)
        address = commands.address_of(found, signed.site_of(data, ring), groups)
        return commands.verify(data, ring, address)
    except Refused as error:
        raise DoorctlError(f"{name}: {refusal(error)}") from None


@command.command()
@click.argument("file", type=FILE)
@click.option("--keyring", required=True, type=FILE, help="The key ring of the doors.")
@click.option("--groups", type=GROUPS, help="Groups that the door is in; default: the addressed.")
def verify(file: Path, keyring: Path, groups: int | None) -> None:
    """Say whether a door that the command in FILE is for, with this key ring, would obey it now.

    What such a door has obeyed already, and in which lockdown it is, this computer does not know.
    """
    taken = _try(read_file(file, signed.MAX_OBJECT_BYTES), keyring, groups, str(file))
    what = "" if taken.command is None else f", {COMMANDS[taken.command.kind]}"
    click.echo(f"{file}: ok: {taken.issuer}{what}, counter {taken.header.version}")


@command.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show what the command in FILE says; whether it is obeyed says verify."""
    try:
        facts = commands.describe(signed.read(file, objects.COMMAND_TYPE))
    except Refused as error:
        raise DoorctlError(f"{file}: {refusal(error)}") from None
    if as_json:
        print_json(facts)
        return
    print_facts(
        (name.replace("_", " "), value) for name, value in facts.items() if value is not None
    )
