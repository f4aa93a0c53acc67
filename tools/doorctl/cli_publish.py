"""`doorctl publish`."""

from pathlib import Path
from typing import Any

import click
from doorward.trust import objects
from sqlalchemy.exc import SQLAlchemyError

from doorctl import publish as publishing
from doorctl.database import Database, explain
from doorctl.errors import DoorctlError
from doorctl.keyring import open_ring_file
from doorctl.mqtt import broker_of, broker_options
from doorctl.options import FILE
from doorctl.output import read_file
from doorctl.signed import MAX_OBJECT_BYTES


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option(
    "--database",
    default="sqlite:///records.db",
    show_default=True,
    metavar="URL",
    help="The collectors' database.",
)
@broker_options
@click.option(
    "--keyring",
    type=FILE,
    help="The key ring that doors have; default: the one that their site is offered.",
)
@click.option("--force", is_flag=True, help="Publish also what doors would refuse.")
def publish(
    files: tuple[Path, ...], database: str, keyring: Path | None, force: bool, **broker: Any
) -> None:
    """Hand the signed objects in FILES down to the doors of their site.

    Key rings, lists and deny lists are offered from the collectors' database: each door fetches
    what it has not, whenever it is there. Commands go to the broker at once, which keeps the newest
    of each issuer for doors that come later. Everything is checked before anything is published.
    """
    sealed = [
        publishing.check_form(str(file), read_file(file, MAX_OBJECT_BYTES)) for file in files
    ]
    ring = None if keyring is None else open_ring_file(keyring)
    orders = [one for one in sealed if one.header.type == objects.COMMAND_TYPE]
    where = broker_of(**broker)
    store = Database(database)
    try:
        told = publishing.offer(store, sealed, ring, force)
    except SQLAlchemyError as error:
        raise DoorctlError(f"database {store.name}: {explain(error)}; nothing published") from None
    finally:
        store.close()
    for line in told:
        click.echo(line)
    if orders:
        for line in publishing.send(where, orders, force):
            click.echo(line)
