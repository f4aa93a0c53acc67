"""`doorctl sim`: the demonstration, a door left running, and the hands to play with it."""

import json
import signal
import sys
import threading
from pathlib import Path

import click

from doorctl import people
from doorctl.demo import Demo
from doorctl.errors import DoorctlError
from doorctl.roster import parse_uid
from doorctl.simulator import bench_command
from doorctl.world import DOOR, SITE, World

_DEMO = Path("build/demo")
_DOOR = Path("build/door")
_LOOK_S = 0.25
_INPUTS = ("door", "rex", "lockdown", "fire", "cabinet", "reader", "mains", "battery")


@click.group()
def sim() -> None:
    """Run a simulated door and play with it."""
    # A polite end of this process is the end of the broker, the collector and the door as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@sim.command()
def demo() -> None:
    """Play a school day on a door, each step checked."""
    sys.exit(0 if Demo(_DEMO).run() else 1)


@sim.command()
@click.option("--fresh", is_flag=True, help="Throw away what an earlier run left.")
def run(fresh: bool) -> None:
    """Run a site with one door until Ctrl-C; play with it from a second terminal."""
    world = World(_DOOR)
    try:
        if fresh or not world.resume():
            click.echo("making keys, rosters, lists and a new door in build/door")
            world.begin()
            world.make_keys()
            world.write_rosters()
            world.provision(strike_pulse_ms=3000)
        world.start_broker()
        world.start_collector()
        world.start_door()
        with world.cable() as door:
            known = {one["issuer"] for one in door.status()["lists"]}
            for issuer in ("police", "school"):
                if issuer not in known:
                    door.push(world.build_list(issuer, 1).read_bytes())
        _welcome(world)
        _follow(world)
        click.echo("\nthe door is switched off; `make door` starts it again where it was")
    finally:
        world.close()


@sim.command()
@click.argument("badge")
@click.option("--stay", default=300, type=click.IntRange(10, 8000), help="Milliseconds there.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")
def tap(badge: str, stay: int, is_json: bool) -> None:
    """Hold BADGE to the reader: a UID in hexadecimal, a cardholder's name, or `stranger`."""
    seen = _bench(f"tap {_badge(badge).hex()} {stay}")
    if is_json:
        click.echo(json.dumps(seen))
    elif seen["opened"]:
        click.echo(f"the strike releases, {seen['tap_to_relay_ms']:.1f} ms from tap to relay")
    else:
        click.echo("the strike stays locked")


@sim.command()
@click.argument("state", type=click.Choice(["on", "off"]))
def network(state: str) -> None:
    """Cut the door's network, or mend it."""
    click.echo(f"network {_bench(f'network {state}')['network']}")


@sim.command()
@click.argument("state", type=click.Choice(["on", "off"]))
def lockdown(state: str) -> None:
    """Turn the door's lockdown switch."""
    click.echo(f"lockdown switch {_bench(f'lockdown {state}')['lockdown']}")


@sim.command("input")
@click.argument("name", type=click.Choice(_INPUTS))
@click.argument("state", type=click.Choice(["open", "closed"]))
def set_input(name: str, state: str) -> None:
    """Open or close the contact of one of the door's inputs.

    What it means is for the door's configuration to say: a setting such as input_door.
    """
    click.echo(f"{name} contact {_bench(f'input {name} {state}')['inputs'][name]}")


@sim.command()
@click.argument("kind", type=click.Choice(["fail-secure", "fail-safe"]))
def lock(kind: str) -> None:
    """Mount another lock. The door's strike_type must say the same."""
    click.echo(f"{kind} lock: {_bench(f'lock {kind}')['strike']}")


@sim.command()
@click.argument("state", type=click.Choice(["plug", "unplug", "short"]))
def reader(state: str) -> None:
    """Plug the reader in, unplug it, or short its data line."""
    _bench(f"reader {state}")
    click.echo(f"reader: {state}")


@sim.command()
@click.argument("probability", type=click.FloatRange(0, 1))
def noise(probability: float) -> None:
    """Damage each bit on the air with this PROBABILITY; 0 is a quiet room."""
    _bench(f"noise {probability}")
    click.echo(f"noise {probability}")


@sim.command()
def badges() -> None:
    """Name some badges to tap."""
    for one in [*people.officers()[:5], *people.staff()[:5]]:
        click.echo(f"{one.badge.hex(':').upper():<30} {one.cardholder_class:<10} {one.name}")


def _bench(command: str) -> dict:
    try:
        port = json.loads((_DOOR / "door.json").read_text())["bench_port"]
    except (OSError, ValueError, KeyError):
        raise DoorctlError("no simulated door is running here; start one: make door") from None
    return bench_command(port, command)


def _badge(text: str) -> bytes:
    if text == "stranger":
        return people.strangers_badge()
    for one in [*people.officers(), *people.staff()]:
        if one.name.lower() == text.lower():
            return one.badge
    try:
        return parse_uid(text)
    except ValueError as error:
        raise DoorctlError(f"badge: {error}, and nobody on the rosters has that name") from None


def _welcome(world: World) -> None:
    officer, teacher = world.officers[0].name, world.staff[0].name
    click.echo(
        f"""
The door is running; Ctrl-C switches it off. In a second terminal, in this folder:

  .venv/bin/doorctl sim tap "{officer}"      an officer
  .venv/bin/doorctl sim tap "{teacher}"      a teacher
  .venv/bin/doorctl sim tap stranger         a badge on no list
  .venv/bin/doorctl sim network off          and on again
  .venv/bin/doorctl sim lockdown on          the switch at the door
  .venv/bin/doorctl sim input door open      a contact, where the door is told that it has one
  .venv/bin/doorctl status                   how the door is
  .venv/bin/doorctl log                      what it recorded

What reaches the collector:
"""
    )


def _follow(world: World) -> None:
    """Print every record as it reaches the collector, until Ctrl-C."""
    # A KeyboardInterrupt that comes inside one of the database's callbacks would be swallowed.
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    database = world.database()
    told = len(database.of_door(SITE, DOOR))
    while not stop.wait(_LOOK_S):
        for row in database.of_door(SITE, DOOR)[told:]:
            told += 1
            relay = f"{row.relay_us / 1000:.1f} ms" if row.relay_us else ""
            click.echo(f"  {row.happened_at}  {row.event:<16} {row.reason:<20} {relay}")
        if world.door is not None and not world.door.is_running:
            raise DoorctlError(f"the door stopped; see {world.folder / 'door.log'}")
