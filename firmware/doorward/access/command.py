"""Signed commands: what an administrator orders a door, a group of doors or a site to do, once.

A command's counter is its header's version. Layout of the body: docs/formats.md, "Command".
"""

import struct

from .. import const
from ..trust.keyring import MAY_DISABLE, MAY_LOCK_DOWN, MAY_RELEASE, MAY_UNLOCK
from ..trust.objects import is_name
from ..values import (
    BAD_LENGTH,
    COMMANDS,
    DISABLE,
    ENABLE,
    HOLD_OPEN,
    LOCK_DOWN,
    MALFORMED,
    RELEASE,
    UNKNOWN_COMMAND,
    UNLOCK,
    DoorwardError,
    Refused,
)

_POWERS = {
    LOCK_DOWN: MAY_LOCK_DOWN,
    RELEASE: MAY_RELEASE,
    UNLOCK: MAY_UNLOCK,
    HOLD_OPEN: MAY_UNLOCK,
    DISABLE: MAY_DISABLE,
    ENABLE: MAY_DISABLE,
}
MAX_UNLOCK_S = const(300)
DOOR_NAME_BYTES = const(24)
MAX_GROUP = const(16)

_BODY = "<BBBBII24s"  # kind, target, group, reserved, argument, expires, door
COMMAND_BYTES = const(36)
_TO_SITE = const(0)
_TO_GROUP = const(1)
_TO_DOOR = const(2)


class Command:
    """One order.

    Attributes:
        kind: a key of COMMANDS.
        door: the door it is for, or "".
        group: the door group it is for, 1 to MAX_GROUP, or 0. Neither door nor group: the site.
        argument: UNLOCK: seconds, 1 to MAX_UNLOCK_S. HOLD_OPEN: Unix seconds until which. RELEASE:
            number of the lockdown that it ends, which is one door's own; 0: whichever. Else 0.
        expires_s: Unix seconds; from then on it is too late.
    """

    def __init__(
        self, kind: int, expires_s: int, *, argument: int = 0, door: str = "", group: int = 0
    ) -> None:
        self.kind = kind
        self.expires_s = expires_s
        self.argument = argument
        self.door = door
        self.group = group

    @property
    def power(self) -> int:
        """The MAY_ bit its issuer needs."""
        return _POWERS[self.kind]

    @property
    def only_closes(self) -> bool:
        """A late one could let nobody in, and shuts no responder out."""
        return self.kind == LOCK_DOWN

    def is_for(self, door: str, groups: int) -> bool:
        """Is it for this door, which is in `groups` (bit n - 1 for group n)?"""
        if self.door:
            return self.door == door
        return not self.group or bool(groups >> (self.group - 1) & 1)

    def pack(self) -> bytes:
        """Return the body of the command's signed object. Raises CommandError."""
        if len(self.door) > DOOR_NAME_BYTES:
            raise CommandError(
                "command: a door's name has %d characters at most" % DOOR_NAME_BYTES
            )
        target = _TO_DOOR if self.door else _TO_GROUP if self.group else _TO_SITE
        body = struct.pack(
            _BODY,
            self.kind,
            target,
            self.group,
            0,
            self.argument,
            self.expires_s,
            self.door.encode(),
        )
        try:
            parse_command(body)
        except Refused as error:
            raise CommandError("command: " + str(error)) from None
        return body


class CommandError(DoorwardError):
    """The parts of a command do not fit together."""


def parse_command(body: bytes) -> Command:
    """Read the body of a command. Raises Refused."""
    if len(body) != COMMAND_BYTES:
        raise Refused(BAD_LENGTH)
    kind, target, group, reserved, argument, expires_s, name = struct.unpack(_BODY, body)
    if kind not in COMMANDS:
        raise Refused(UNKNOWN_COMMAND)
    name = name.rstrip(b"\x00")
    is_sound = reserved == 0 and expires_s > 0 and _is_argument(kind, target, argument)
    if target == _TO_DOOR:
        is_sound = is_sound and group == 0 and _is_door(name)
    elif target == _TO_GROUP:
        is_sound = is_sound and 1 <= group <= MAX_GROUP and not name
    else:
        is_sound = is_sound and target == _TO_SITE and group == 0 and not name
    if not is_sound:
        raise Refused(MALFORMED)
    return Command(kind, expires_s, argument=argument, door=name.decode(), group=group)


def _is_argument(kind: int, target: int, argument: int) -> bool:
    if kind == UNLOCK:
        return 1 <= argument <= MAX_UNLOCK_S
    if kind == RELEASE and target == _TO_DOOR:
        return True
    return argument > 0 if kind == HOLD_OPEN else argument == 0


def _is_door(name: bytes) -> bool:
    # A site's name has 16 bytes at most, a door's 24; both take the same characters.
    return is_name(name[:16]) and (len(name) <= 16 or is_name(name[16:]))
