"""Signed commands: an order to a door, a group of doors or a site."""

import re
import time

from cryptography.hazmat.primitives.asymmetric import rsa
from doorward.access.command import Command, CommandError, parse_command
from doorward.access.shelf import Address
from doorward.access.takers import Accepted
from doorward.trust import objects
from doorward.trust.keyring import KeyRing
from doorward.values import COMMANDS, HOLD_OPEN, RELEASE, UNLOCK

from doorctl import trial
from doorctl.errors import DoorctlError
from doorctl.keys import check_site, public_key, seal
from doorctl.roster import iso, parse_time
from doorctl.signed import LAST_VERSION, Signed, split

MAX_EXPIRY_S = 86400
# A door refuses to be held open for longer: too-long (33).
MAX_HOLD_S = 86400


def build_command(
    command: Command, private_key: rsa.RSAPrivateKey, site: str, counter: int, issued_s: int
) -> bytes:
    """Return a signed command. counter: higher than the issuer's last one. Raises DoorctlError."""
    check_site(site)
    if counter == LAST_VERSION:
        raise DoorctlError(f"counter {counter}: nothing could come after it")
    if not command.door.isascii():
        raise DoorctlError(f"door {command.door!r}: ASCII characters only")
    try:
        body = command.pack()
    except CommandError as error:
        raise DoorctlError(str(error)) from None
    header = objects.Header()
    header.type = objects.COMMAND_TYPE
    header.site = site
    header.version = counter
    header.issued_s = issued_s
    header.issuer_id = public_key(private_key).key_id
    return seal(header, body, [private_key])


def verify(data: bytes, ring: KeyRing, address: Address) -> Accepted:
    """Return what a door with this key ring would make of a command now. Raises Refused.

    A door to which a release names a lockdown is in that one.
    """
    command = parse_command(split(data, objects.COMMAND_TYPE).body)
    lockdown = command.argument if command.kind == RELEASE else 0
    return trial.take(data, objects.COMMAND_TYPE, ring, address, int(time.time()), lockdown)


def address_of(found: Signed, site: str, groups: int | None = None) -> Address:
    """Return a door of `site` that a command is for.

    groups: the door's; None: the one that the command names, if any. Raises Refused.
    """
    command = parse_command(found.body)
    if groups is None:
        groups = 1 << (command.group - 1) if command.group else 0
    return Address(site, command.door, groups)


def describe(found: Signed) -> dict:
    """Return what a command says; its signature is not looked at. Raises Refused.

    Times are ISO 8601 in UTC. Of `lockdown`, `seconds` and `until`, None where the command has no
    such thing.
    """
    header = found.header
    command = parse_command(found.body)
    return {
        "command": COMMANDS[command.kind],
        "site": header.site,
        "door": command.door or None,
        "group": command.group or None,
        "lockdown": (command.argument or None) if command.kind == RELEASE else None,
        "seconds": command.argument if command.kind == UNLOCK else None,
        "until": iso(command.argument) if command.kind == HOLD_OPEN else None,
        "counter": header.version,
        "issued": iso(header.issued_s),
        "expires": iso(command.expires_s),
        "issuer_id": header.issuer_id.hex(),
    }


def parse_until(text: str, now_s: int) -> int:
    """Return Unix seconds of the time a door is held open until. Raises DoorctlError.

    A time without its offset would be the office's to whoever types it and UTC to the door.
    """
    if not re.search(r"T?\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)$", text):
        raise DoorctlError(
            f"until: {text!r} has no offset; write 2026-09-01T16:00+02:00, or ...Z for UTC"
        )
    try:
        until_s = parse_time(text, is_end=False)
    except ValueError as error:
        raise DoorctlError(f"until: {error}") from None
    if until_s <= now_s:
        raise DoorctlError(f"until: {iso(until_s)} is over")
    if until_s > now_s + MAX_HOLD_S:
        raise DoorctlError(
            f"until: {iso(until_s)} is more than 24 hours from now, and doors refuse that; order "
            "it again every day, or give the list [[unlocked]] hours"
        )
    return until_s
