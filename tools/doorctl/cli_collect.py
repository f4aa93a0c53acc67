"""`doorctl collect`."""

import logging
import re
import signal
from typing import Any

import click

from doorctl.collector import Collector
from doorctl.database import Database
from doorctl.errors import DoorctlError
from doorctl.home_assistant import HomeAssistant
from doorctl.metrics import Metrics
from doorctl.mqtt import Place, broker_of, broker_options


def _share(ctx: click.Context, parameter: click.Parameter, name: str | None) -> str:
    if name is not None and not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
        raise click.BadParameter(f"{name!r} is no name of 1 to 64 letters, digits, - and _")
    return name or ""


@click.command()
@click.option(
    "--database",
    default="sqlite:///records.db",
    show_default=True,
    metavar="URL",
    help="Where records are kept: a SQLAlchemy URL, sqlite or postgresql.",
)
@broker_options
@click.option(
    "--share",
    metavar="NAME",
    callback=_share,
    help="Part the work with the collectors of the same name, by a shared subscription, which the "
    "broker must know (Mosquitto, EMQX).",
)
@click.option("--metrics", "metrics_at", type=Place(), help="Answer Prometheus here, at /metrics.")
@click.option(
    "--home-assistant",
    "is_shown",
    is_flag=True,
    help="Publish doors' state and alarms for Home Assistant's MQTT discovery.",
)
def collect(
    database: str,
    share: str,
    metrics_at: tuple[str, int] | None,
    is_shown: bool,
    **broker: Any,
) -> None:
    """Take the doors' records from the broker into a database, and acknowledge what is committed.

    Hands down to the doors what `doorctl publish` put into the database. Runs until it is stopped.
    Nothing is lost by stopping it: doors keep what is not acknowledged.
    """
    logging.basicConfig(level=logging.WARNING, format="doorctl: %(message)s")
    where = broker_of(**broker)
    if database in ("sqlite://", "sqlite:///:memory:"):
        raise DoorctlError(
            f"--database {database}: kept in memory, what was acknowledged would be lost; "
            "name a file: sqlite:///records.db"
        )
    store = Database(database)
    metrics = Metrics()
    if metrics_at is not None:
        metrics.serve(*metrics_at)
    collector = Collector(
        where,
        store,
        metrics,
        share=share,
        home_assistant=HomeAssistant() if is_shown else None,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: collector.stop())
    click.echo(f"collecting from {where.host}:{where.port} into {store.name}")
    collector.run()
    store.close()
