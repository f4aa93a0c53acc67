"""Types of options that several commands share: door groups, spans of time, files."""

import re
from pathlib import Path
from typing import Any

import click
from doorward.access.command import MAX_GROUP

FILE = click.Path(path_type=Path)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_groups(text: str) -> int:
    """Return the bits of door groups such as 1,3. Raises ValueError."""
    bits = 0
    for word in text.split(","):
        if not re.fullmatch("[0-9]{1,2}", word) or not 1 <= int(word) <= MAX_GROUP:
            raise ValueError(f"{word!r} is no door group: 1 to {MAX_GROUP}, parted by commas")
        bits |= 1 << (int(word) - 1)
    return bits


def spell_groups(bits: int) -> str:
    """Return door groups as `parse_groups` reads them; `all` for none and for every one."""
    if bits in (0, (1 << MAX_GROUP) - 1):
        return "all"
    return ",".join(str(group) for group in range(1, MAX_GROUP + 1) if bits >> (group - 1) & 1)


class _Groups(click.ParamType):
    name = "N[,N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_groups(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Span(click.ParamType):
    name = "SPAN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch("([0-9]{1,6})([smhd])", value)
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is no span of time such as 90s, 15m or 2h", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


GROUPS = _Groups()
SPAN = _Span()
REGISTER = click.option(
    "--register",
    envvar="DOORCTL_REGISTER",
    default="doors",
    show_default=True,
    type=FILE,
    help="Folder of the door register.",
)
