"""doorctl deny: build, verify and show signed deny lists."""

import time
from pathlib import Path

import click
from doorward.trust import objects
from doorward.values import Refused

from doorctl import denials, signed
from doorctl.cli_keys import ask_passphrase
from doorctl.errors import DoorctlError, refusal
from doorctl.keyring import open_ring_file
from doorctl.keys import load_private, load_site_key, public_key
from doorctl.options import FILE, GROUPS
from doorctl.output import print_facts, print_json, read_file, write_file
from doorctl.roster import BADGES, identity_of, parse_uid, sound_rows
from doorctl.signed import MAX_OBJECT_BYTES


def _badges(ctx: click.Context, parameter: click.Parameter, texts: tuple) -> list[bytes]:
    try:
        return [parse_uid(text.strip()) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group()
def deny() -> None:
    """Build, verify and show deny lists: badges that open nothing from now on."""


@deny.command()
@click.option(
    "--badge", "uids", multiple=True, callback=_badges, metavar="UID", help="To deny; repeat."
)
@click.option(
    "--roster",
    "rosters",
    multiple=True,
    type=FILE,
    help="CSV whose badge column is denied; repeat.",
)
@click.option("--key", required=True, type=FILE, help="The issuer's private key; it signs.")
@click.option("--site", required=True, help="Site whose doors take it.")
@click.option("--site-key", required=True, type=FILE, help="See doorctl keys site.")
@click.option("--out", required=True, type=FILE)
@click.option(
    "--previous",
    type=FILE,
    help="The deny list before this one, whose badges stay denied; default: the one in --out, if "
    "it is of this issuer and site.",
)
@click.option("--version", type=int, help="Default: one more than the previous deny list's.")
@click.option("--fresh", is_flag=True, help="Let the previous deny list's badges open again.")
def build(
    uids: list[bytes],
    rosters: tuple[Path, ...],
    key: Path,
    site: str,
    site_key: Path,
    out: Path,
    previous: Path | None,
    version: int | None,
    fresh: bool,
) -> None:
    """Make a signed deny list. It can only take rights away, and counts the moment a door has it.

    An issuer denies badges of the classes that it may grant. With --fresh and no badge, nobody is
    denied any more.
    """
    if not uids and not rosters and not fresh:
        raise click.UsageError("name a badge with --badge or --roster")
    listed = [row.uid for row in sound_rows(rosters, BADGES)]
    blinding = load_site_key(site_key)
    private = load_private(key, ask=ask_passphrase)
    signer = public_key(private)
    before = signed.find_previous(previous, out, objects.DENY_LIST_TYPE, signer, site)
    version = signed.next_version(version, before, "deny list")
    try:
        known = set() if before is None else denials.badge_ids_of(before)
    except Refused as error:
        raise DoorctlError(f"{previous or out}: {refusal(error)}") from None
    data = denials.build_deny_list(
        [identity_of(uid) for uid in (*uids, *listed)],
        private,
        site,
        version,
        blinding,
        int(time.time()),
        kept=() if fresh else known,
    )
    denied = denials.badge_ids_of(signed.split(data, objects.DENY_LIST_TYPE))
    write_file(out, data)
    change = f" (+{len(denied - known)} -{len(known - denied)})" if before is not None else ""
    click.echo(
        f"{out}: {len(denied)} badges denied{change} at {site}, version {version}, "
        f"signed by {signer.key_id.hex()}"
    )


@deny.command()
@click.argument("file", type=FILE)
@click.option("--keyring", required=True, type=FILE, help="The key ring of the doors.")
@click.option("--site", help="Site of the doors; default: the key ring's, or the deny list's.")
@click.option(
    "--groups", type=GROUPS, default=0, help="Groups that the door is in; default: none."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(file: Path, keyring: Path, site: str | None, groups: int, as_json: bool) -> None:
    """Say whether a door with this key ring would take the deny list in FILE."""
    ring = open_ring_file(keyring)
    data = read_file(file, MAX_OBJECT_BYTES)
    try:
        site = site or signed.site_of(data, ring)
        taken = denials.verify(data, ring, site, groups)
    except Refused as error:
        raise DoorctlError(f"{file}: {refusal(error)}") from None
    version = taken.header.version
    if as_json:
        print_json(
            {"issuer": taken.issuer, "site": site, "version": version, "badges": taken.count}
        )
        return
    click.echo(f"{file}: ok: {taken.issuer}, version {version}, {taken.count} badges denied")


@deny.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show what the deny list in FILE says of itself; whether it is believed says verify."""
    try:
        facts = denials.describe(signed.read(file, objects.DENY_LIST_TYPE))
    except Refused as error:
        raise DoorctlError(f"{file}: {refusal(error)}") from None
    if as_json:
        print_json(facts)
        return
    print_facts((name.replace("_", " "), value) for name, value in facts.items())
