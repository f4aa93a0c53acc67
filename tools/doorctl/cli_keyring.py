"""doorctl keyring: build and show a site's key ring."""

from pathlib import Path

import click
from doorward.trust.keyring import Issuer

from doorctl import keyring as rings
from doorctl.cli_keys import ask_passphrase
from doorctl.errors import warn
from doorctl.keys import load_either, load_private
from doorctl.options import FILE
from doorctl.output import print_facts, print_json, print_table, write_file


def _issuers(ctx: click.Context, parameter: click.Parameter, texts: tuple) -> list[Issuer]:
    try:
        return [rings.parse_issuer(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group()
def keyring() -> None:
    """Build and show a site's key ring: whom its doors believe, and for what."""


@keyring.command()
@click.option("--site", help="Site whose doors take it, or '*' for several; default: as before.")
@click.option("--previous", type=FILE, help="The ring that doors have; left out for the first.")
@click.option("--version", type=int, help="Default: one more than the previous ring's.")
@click.option(
    "--root",
    "root_files",
    required=True,
    multiple=True,
    type=FILE,
    help="Root key; a private one signs, a public one is only listed. Repeat.",
)
@click.option("--threshold", required=True, type=int, help="How many roots sign the next ring.")
@click.option(
    "--sign",
    "sign_files",
    multiple=True,
    type=FILE,
    help="Private key of a root of the previous ring that is one no longer. Repeat.",
)
@click.option(
    "--issuer",
    "issuers",
    required=True,
    multiple=True,
    callback=_issuers,
    metavar="NAME:CLASSES:PUBLIC.pem",
    help="Who may sign lists, and for which classes, such as staff,visitor. Repeat.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="NAME:KEY=VALUE[;...]",
    help="What an issuer may sign: site=NAME or *; groups=1,3 or all; powers=lists,deny,lockdown,"
    "release,unlock,disable. Default: every site, all groups, lists and deny. Repeat.",
)
@click.option("--out", required=True, type=FILE)
def build(
    site: str | None,
    previous: Path | None,
    version: int | None,
    root_files: tuple[Path, ...],
    threshold: int,
    sign_files: tuple[Path, ...],
    issuers: list[Issuer],
    scopes: tuple[str, ...],
    out: Path,
) -> None:
    """Build a key ring and sign it with the private root keys.

    The next ring of the same doors names the one they have with --previous: a threshold of its
    roots must sign as well. Says what changes, and warns of lists that stop opening.
    """
    before = None if previous is None else rings.open_ring_file(previous)
    if before is not None:
        site = site or before.site
        version = before.version + 1 if version is None else version
    if site is None or version is None:
        raise click.UsageError("--site and --version, or --previous")
    if sign_files and before is None:
        raise click.UsageError("--sign is for a root of the --previous ring")
    _apply_scopes(scopes, issuers)
    rings.check_scopes(site, issuers)
    roots = [load_either(file, ask_passphrase) for file in root_files]
    old_roots = [load_private(file, ask=ask_passphrase) for file in sign_files]
    data = rings.build_ring(
        site, version, roots, threshold, issuers, previous=before, old_roots=old_roots
    )
    if before is not None:
        ring = rings.open_ring(data)
        for line in rings.changes(before, ring):
            click.echo(line)
        for line in rings.losses(before, ring):
            warn(line)
    write_file(out, data)
    click.echo(f"{out}: key ring of {site}, version {version}, {len(issuers)} issuers")


def _apply_scopes(scopes: tuple[str, ...], issuers: list[Issuer]) -> None:
    by_name = {issuer.name: issuer for issuer in issuers}
    for text in scopes:
        name, _, scope = text.partition(":")
        if name not in by_name:
            raise click.UsageError(f"--scope {text!r}: no --issuer {name!r}, or it has two scopes")
        try:
            rings.parse_scope(scope, by_name.pop(name))
        except ValueError as error:
            raise click.UsageError(f"--scope {text!r}: {error}") from None


@keyring.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Verify the key ring in FILE by its own roots and show it."""
    facts = rings.describe(rings.open_ring_file(file))
    if as_json:
        print_json(facts)
        return
    print_facts((name, facts[name]) for name in ("site", "version", "threshold"))
    rows = [("root", "", "", "", "", "", root["key_id"], root["bits"]) for root in facts["roots"]]
    rows += [
        (
            "issuer",
            issuer["name"],
            ",".join(issuer["classes"]),
            issuer["site"],
            issuer["groups"],
            ",".join(issuer["powers"]),
            issuer["key_id"],
            issuer["bits"],
        )
        for issuer in facts["issuers"]
    ]
    print_table(("kind", "name", "classes", "site", "groups", "powers", "key id", "bits"), rows)
