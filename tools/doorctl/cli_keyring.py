"""doorctl keyring: build and show a site's key ring."""

from pathlib import Path

import click
from doorward.trust.keyring import Issuer

from doorctl import keyring as rings
from doorctl.cli_keys import ask_passphrase
from doorctl.keys import load_either
from doorctl.output import print_facts, print_json, print_table, write_file

_FILE = click.Path(path_type=Path)


def _issuers(ctx: click.Context, parameter: click.Parameter, texts: tuple) -> list[Issuer]:
    try:
        return [rings.parse_issuer(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group()
def keyring() -> None:
    """Build and show a site's key ring: whom its doors believe, and for what."""


@keyring.command()
@click.option("--site", required=True, help="Site whose doors take it.")
@click.option("--version", required=True, type=int, help="Higher than the last one's.")
@click.option(
    "--root",
    "root_files",
    required=True,
    multiple=True,
    type=_FILE,
    help="Root key; a private one signs, a public one is only listed. Repeat.",
)
@click.option("--threshold", required=True, type=int, help="How many roots sign the next ring.")
@click.option(
    "--issuer",
    "issuers",
    required=True,
    multiple=True,
    callback=_issuers,
    metavar="NAME:CLASSES:PUBLIC.pem",
    help="Who may sign lists, and for which classes, such as staff,visitor. Repeat.",
)
@click.option("--out", required=True, type=_FILE)
def build(
    site: str,
    version: int,
    root_files: tuple[Path, ...],
    threshold: int,
    issuers: list[Issuer],
    out: Path,
) -> None:
    """Build a key ring and sign it with the private root keys."""
    roots = [load_either(file, ask_passphrase) for file in root_files]
    ring = rings.build_ring(site, version, roots, threshold, issuers)
    write_file(out, ring)
    click.echo(f"{out}: key ring of {site}, version {version}, {len(issuers)} issuers")


@keyring.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Verify the key ring in FILE as a door does and show it."""
    facts = rings.describe(rings.open_ring_file(file))
    if as_json:
        print_json(facts)
        return
    print_facts((name, facts[name]) for name in ("site", "version", "threshold"))
    rows = [("root", "", "", root["key_id"], root["bits"]) for root in facts["roots"]]
    rows += [
        ("issuer", issuer["name"], ",".join(issuer["classes"]), issuer["key_id"], issuer["bits"])
        for issuer in facts["issuers"]
    ]
    print_table(("kind", "name", "classes", "key id", "bits"), rows)
