"""`doorctl config`: check, default and docs."""

import json
from pathlib import Path

import click
from doorward import config as settings

from doorctl.errors import DoorctlError


@click.group()
def config() -> None:
    """Check a door's configuration, print one of defaults, or the documentation."""


@config.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(file: Path) -> None:
    """Say whether a door would take FILE, and if not, why."""
    try:
        parsed = settings.parse(file.read_bytes())
    except settings.ConfigError as error:
        raise DoorctlError(f"{file}: {error}") from None
    click.echo(f"{file}: ok, door {parsed.door} of site {parsed.site}")


@config.command()
@click.option("--site", required=True, help="Site the door belongs to.")
@click.option("--door", required=True, help="Its name there.")
def default(site: str, door: str) -> None:
    """Print a configuration with every setting at its default, to be edited.

    Secrets are left out: they belong into no file that is passed around.
    """
    values = {one.name: one.default for one in settings.SETTINGS if not one.is_secret}
    text = json.dumps({**values, "site": site, "door": door}, indent=2)
    try:
        settings.parse(text.encode())
    except settings.ConfigError as error:
        raise DoorctlError(str(error)) from None
    click.echo(text)


@config.command()
def docs() -> None:
    """Print docs/configuration.md."""
    click.echo(documentation(), nl=False)


def documentation() -> str:
    """Return the settings as a Markdown page, from their declarations."""
    lines = [
        "# Configuration",
        "",
        "A door's configuration is a JSON object of these settings. `site` and `door` must be",
        "there; what is left out takes its default; an unknown name is refused. `doorctl config",
        "check FILE` says whether a door would take it; `doorctl config default` prints one to edit.",
        "",
        "This page is printed by `doorctl config docs` from `firmware/doorward/config.py`.",
        "",
        "| setting | takes | default | meaning |",
        "|---|---|---|---|",
    ]
    for setting in settings.SETTINGS:
        default = "empty" if setting.default == "" else json.dumps(setting.default)
        if setting.name in ("site", "door"):
            default = "none"
        meaning = setting.meaning + (" (secret)" if setting.is_secret else "")
        lines.append(f"| `{setting.name}` | {setting.allowed()} | {default} | {meaning} |")
    lines += [
        "",
        "Some settings contradict one another, and a configuration in which they do is refused, also",
        "where one of the two is left at its default:",
        "",
        "| setting | and | what goes together |",
        "|---|---|---|",
    ]
    for name, other, _, allowed in settings.CONTRADICTIONS:
        lines.append(f"| `{name}` | `{other}` | {allowed} |")
    return "\n".join(lines) + "\n"
