"""doorctl list: build, verify and show signed allowlists."""

from pathlib import Path

import click
from doorward.values import Refused

from doorctl import lists
from doorctl.cli_keys import ask_passphrase
from doorctl.errors import DoorctlError
from doorctl.keyring import open_ring_file
from doorctl.keys import load_private, load_site_key, public_key
from doorctl.output import print_facts, print_json, read_file, write_file
from doorctl.roster import sound_rows

_FILE = click.Path(path_type=Path)
_DAYS = click.IntRange(0, 36500)


@click.group("list")
def list_() -> None:
    """Build, verify and show signed allowlists."""


@list_.command()
@click.option("--roster", "rosters", required=True, multiple=True, type=_FILE, help="CSV; repeat.")
@click.option("--key", required=True, type=_FILE, help="The issuer's private key; it signs.")
@click.option("--site", required=True, help="Site whose doors take it.")
@click.option("--version", required=True, type=int, help="Higher than this issuer's last one.")
@click.option("--site-key", required=True, type=_FILE, help="See doorctl keys site.")
@click.option("--out", required=True, type=_FILE)
@click.option("--issued", help="ISO date or date and time; default: now.")
@click.option(
    "--soft-stale",
    type=_DAYS,
    default=30,
    show_default=True,
    help="Days after which doors call the list old; it still opens. 0: never.",
)
@click.option(
    "--hard-stale",
    type=_DAYS,
    default=0,
    show_default=True,
    help="Days after which it no longer opens for staff and visitors. 0: never.",
)
@click.option(
    "--responder-hard-stale",
    type=_DAYS,
    default=0,
    show_default=True,
    help="Days after which it no longer opens for responders. 0: never.",
)
def build(
    rosters: tuple[Path, ...],
    key: Path,
    site: str,
    version: int,
    site_key: Path,
    out: Path,
    issued: str | None,
    soft_stale: int,
    hard_stale: int,
    responder_hard_stale: int,
) -> None:
    """Make a signed allowlist of one or more rosters.

    Nothing is written when anything in them is wrong.
    """
    rows = sound_rows(rosters)
    issued_s = lists.parse_issued(issued)
    blinding = load_site_key(site_key)
    private = load_private(key, ask=ask_passphrase)
    data = lists.build_list(
        rows,
        private,
        site,
        version,
        blinding,
        issued_s,
        soft_stale_s=soft_stale * lists.DAY_S,
        hard_stale_s=hard_stale * lists.DAY_S,
        responder_stale_s=responder_hard_stale * lists.DAY_S,
    )
    write_file(out, data)
    issuer = public_key(private).key_id.hex()
    click.echo(
        f"{out}: {len(rows)} badges for {site}, version {version}, "
        f"signed by {issuer}, {len(data):,} bytes"
    )


@list_.command()
@click.argument("file", type=_FILE)
@click.option("--keyring", required=True, type=_FILE, help="The key ring of the doors.")
@click.option("--site", help="Site of the doors; default: the key ring's.")
def verify(file: Path, keyring: Path, site: str | None) -> None:
    """Say whether a door with this key ring would take the list in FILE."""
    ring = open_ring_file(keyring)
    data = read_file(file, lists.MAX_LIST_BYTES)
    try:
        taken = lists.verify(data, ring, site or ring.site)
    except Refused as error:
        raise DoorctlError(f"{file}: {error.name}: {error}") from None
    header = taken.header
    click.echo(
        f"{file}: ok: {taken.issuer}, version {header.version}, {header.entry_count} badges"
    )


@list_.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show what the list in FILE says of itself. Whether it is believed is for verify to say."""
    try:
        facts = lists.describe(read_file(file, lists.MAX_LIST_BYTES))
    except Refused as error:
        raise DoorctlError(f"{file}: {error.name}: {error}") from None
    if as_json:
        print_json(facts)
        return
    facts["classes"] = ", ".join(f"{count} {name}" for name, count in facts["classes"].items())
    print_facts(
        (name.replace("_", " "), "never" if value is None else value)
        for name, value in facts.items()
    )
