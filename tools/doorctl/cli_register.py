"""`doorctl register`: the doors that were provisioned, and what a broker must know of them."""

from pathlib import Path

import click

from doorctl import output
from doorctl.options import FILE, REGISTER
from doorctl.register import Register, mosquitto_acl_file, mosquitto_psk_file, write_secret

_PSK_FILE = "psk"
_ACL_FILE = "acl"


@click.group()
def register() -> None:
    """List the doors that were provisioned, or write what a broker must know of them."""


@register.command("list")
@REGISTER
@click.option("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")
def list_(register: Path, is_json: bool) -> None:
    """List the doors and their journals; no key is shown."""
    rows = [
        {
            "site": door.site,
            "door": door.door,
            "journal": journal.id.hex(),
            "from": journal.begun.isoformat(),
        }
        for door in Register(register).doors()
        for journal in door.journals
    ]
    if is_json:
        output.print_json(rows)
    else:
        columns = ("site", "door", "journal", "from")
        output.print_table(columns, [[row[name] for name in columns] for row in rows])


@register.command()
@REGISTER
@click.option("--out", required=True, type=FILE, help="Folder for the files psk and acl.")
@click.option(
    "--collector", default="collector", show_default=True, help="The collector's user name."
)
def broker(register: Path, out: Path, collector: str) -> None:
    """Write Mosquitto's psk_file and acl_file: each door its own key and its own topics.

    Mosquitto reads them again on SIGHUP. They are written for their owner alone to read: give them
    to the user that Mosquitto runs as.
    """
    doors = Register(register).doors()
    write_secret(out / _PSK_FILE, mosquitto_psk_file(doors))
    write_secret(out / _ACL_FILE, mosquitto_acl_file(doors, collector))
    click.echo(f"{out / _PSK_FILE} and {out / _ACL_FILE}: {len(doors)} doors")
