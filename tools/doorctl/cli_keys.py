"""doorctl keys: make and show signing keys, make site keys."""

import os
import re
import sys
from pathlib import Path

import click

from doorctl import keys as signing
from doorctl.errors import DoorctlError
from doorctl.output import print_facts, print_json


def ask_passphrase(path: Path) -> str:
    """Ask for the passphrase of a key on the terminal; without one return ""."""
    if not sys.stdin.isatty():
        return ""
    return click.prompt(f"Passphrase of {path}", hide_input=True, err=True)


def _key_name(ctx: click.Context, parameter: click.Parameter, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise click.BadParameter("letters, digits, '.', '_' and '-' only")
    return name


@click.group()
def keys() -> None:
    """Make and show signing keys."""


@keys.command()
@click.argument("name", callback=_key_name)
@click.option("--bits", type=click.Choice([str(bits) for bits in signing.BITS]), default="2048")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("keys"))
@click.option("--unprotected", is_flag=True, help="No passphrase: for demonstrations and tests.")
def new(name: str, bits: str, folder: Path, unprotected: bool) -> None:
    """Make a key pair: NAME.pem, which signs, and NAME.pub.pem, which doors are given.

    The private key is encrypted with a passphrase, asked for or taken from DOORCTL_PASSPHRASE.
    """
    passphrase = None if unprotected else os.environ.get(signing.PASSPHRASE_VARIABLE)
    if not unprotected and not passphrase:
        if not sys.stdin.isatty():
            raise DoorctlError(
                f"no terminal to ask for a passphrase: set {signing.PASSPHRASE_VARIABLE}, "
                "or make a key for demonstrations with --unprotected"
            )
        passphrase = click.prompt(
            "Passphrase", hide_input=True, confirmation_prompt=True, err=True
        )
    private_path, public_path = signing.new_key(folder, name, int(bits), passphrase)
    click.echo(f"{private_path}: private key, {bits} bits; keep it where lists are signed")
    click.echo(f"{public_path}: public key {signing.load_public(public_path).key_id.hex()}")
    if unprotected:
        click.echo(f"{private_path} is NOT encrypted: for demonstrations only", err=True)


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show the key in FILE, private or public."""
    facts = signing.describe(file, ask_passphrase)
    if as_json:
        print_json(facts)
    else:
        kind = "private" if facts["is_private"] else "public"
        print_facts(
            [
                ("key id", facts["key_id"]),
                ("bits", facts["bits"]),
                ("kind", f"{kind}, encrypted" if facts["is_encrypted"] else kind),
            ]
        )


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
def site(file: Path) -> None:
    """Make a site key: the secret under which a site's badge identities are blinded."""
    signing.new_site_key(file)
    click.echo(f"{file}: site key; doors and list building need it, nobody else")
