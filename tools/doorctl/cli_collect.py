"""`doorctl collect`."""

import asyncio
import contextlib
import logging

import click

from doorctl.collector import Collector
from doorctl.database import Database


@click.command()
@click.option("--broker", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT")
@click.option(
    "--database",
    default="sqlite:///records.db",
    show_default=True,
    metavar="URL",
    help="Where records are kept: a SQLAlchemy URL.",
)
def collect(broker: str, database: str) -> None:
    """Take the doors' records from the broker into a database, and acknowledge what is committed.

    Runs until it is stopped. Nothing is lost by stopping it: doors keep what is not acknowledged.
    """
    host, _, port = broker.rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise click.UsageError(f"--broker {broker!r} is not HOST:PORT")
    logging.basicConfig(level=logging.WARNING, format="doorctl: %(message)s")
    store = Database(database)
    click.echo(f"collecting from {broker} into {database}")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Collector(host, int(port), store).run())
    store.close()
