"""doorctl command: orders that a door obeys, and what is told of them before they are written."""

import json
import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doorctl import commands, keyring, keys, signed
from doorctl.errors import DoorctlError
from doorctl.main import main
from doorctl.roster import iso
from doorward.access.command import Command, parse_command
from doorward.access.shelf import Address
from doorward.trust import objects
from doorward.values import (
    DISABLE,
    ENABLE,
    HOLD_OPEN,
    LOCK_DOWN,
    RELEASE,
    TOO_LONG,
    UNLOCK,
    Refused,
)
from hypothesis import given, settings
from hypothesis import strategies as st

OBJECTS = Path(__file__).parents[1] / "vectors" / "objects"
RING_FILE = OBJECTS / "ring.dwk"
RING = keyring.open_ring_file(RING_FILE)
POLICE = keys.load_private(OBJECTS / "keys" / "police_DO_NOT_USE.pem")
FRESH = commands.build_command(
    Command(UNLOCK, int(time.time()) + 80_000, argument=5, group=3),
    POLICE,
    "north",
    7,
    int(time.time()),
)


def key_file(name: str) -> Path:
    return OBJECTS / "keys" / f"{name}_DO_NOT_USE.pem"


def doorctl(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def order(tmp_path):
    """Order something with the police's key; the command goes to order.dwc."""

    def give(kind: str, *more: object, key: str = "police", site: str = "north") -> Result:
        out = tmp_path / "order.dwc"
        words = ("--site", site, "--key", key_file(key), "--out", out)
        return doorctl("command", kind, *words, *more)

    return give


def spell(moment_s: int, hours: int = 0) -> str:
    """Return Unix seconds as ISO 8601, at so many hours east of Greenwich."""
    zone = timezone(timedelta(hours=hours))
    return datetime.fromtimestamp(moment_s, zone).isoformat().replace("+00:00", "Z")


def written(tmp_path: Path) -> tuple[objects.Header, Command]:
    found = signed.read(tmp_path / "order.dwc", objects.COMMAND_TYPE)
    return found.header, parse_command(found.body)


def test_lockdown_of_a_site(order, tmp_path):
    before_s = int(time.time())
    result = order("lockdown", "--keyring", RING_FILE)
    assert (result.exit_code, result.stderr) == (0, "")
    header, command = written(tmp_path)
    assert before_s <= header.issued_s <= time.time()
    # No counter has to be remembered on this side.
    assert header.version == header.issued_s
    assert command.expires_s == header.issued_s + 15 * 60
    assert (command.kind, command.door, command.group) == (LOCK_DOWN, "", 0)
    assert re.fullmatch(
        rf"{tmp_path}/order.dwc: lockdown for every door of north, counter {header.version}, "
        r"expires \S+Z, obeyed as police's\n",
        result.stdout,
    )


def test_release_unlock_and_hold_open(order, tmp_path):
    assert order("release", "--door", "main", "--counter", 5, "--expires-in", "24h").exit_code == 0
    header, command = written(tmp_path)
    assert (header.version, command.kind, command.door) == (5, RELEASE, "main")
    assert command.expires_s == header.issued_s + 86400

    assert order("unlock", "--seconds", 7, "--group", 16).exit_code == 0
    _, command = written(tmp_path)
    assert (command.kind, command.argument, command.group) == (UNLOCK, 7, 16)

    until_s = int(time.time()) // 60 * 60 + 3600
    for until in (spell(until_s, hours=2), spell(until_s).replace("T", " ")):
        assert order("hold-open", "--until", until).exit_code == 0
        _, command = written(tmp_path)
        assert (command.kind, command.argument) == (HOLD_OPEN, until_s)


def test_release_of_one_lockdown(order, tmp_path):
    file = tmp_path / "order.dwc"
    words = ("--door", "main", "--lockdown", 7, "--keyring", RING_FILE)
    result = order("release", *words)
    assert ": release of lockdown 7 for door main of north, counter " in result.stdout
    _, command = written(tmp_path)
    assert (command.kind, command.argument, command.door) == (RELEASE, 7, "main")
    assert "lockdown: 7\n" in doorctl("command", "show", file).stdout
    assert (
        ": ok: police, release, "
        in doorctl("command", "verify", file, "--keyring", RING_FILE).stdout
    )
    order("release", "--door", "main")
    assert "lockdown" not in doorctl("command", "show", file).stdout


def test_out_of_service_and_back(order, tmp_path):
    for kind, number in (("disable", DISABLE), ("enable", ENABLE)):
        result = order(kind, "--door", "main")
        assert f": {kind} for door main of north, counter " in result.stdout
        _, command = written(tmp_path)
        assert (command.kind, command.door, command.argument) == (number, "main", 0)


def test_a_door_is_held_open_for_a_day_at_most(order, tmp_path):
    day_s = int(time.time()) + 86400
    for until in (spell(day_s + 120), "2090-09-01T16:00+02:00"):
        result = order("hold-open", "--until", until)
        assert result.exit_code == 1 and "more than 24 hours from now" in result.stderr
        assert not (tmp_path / "order.dwc").exists()
    # The door's own limit is the same.
    words = ("hold-open", "--until", spell(day_s - 60), "--keyring", RING_FILE)
    assert order(*words).exit_code == 0
    late = Command(HOLD_OPEN, day_s, argument=day_s + 120)
    data = commands.build_command(late, POLICE, "north", 1, int(time.time()))
    with pytest.raises(Refused) as caught:
        commands.verify(data, RING, Address("north"))
    assert caught.value.code == TOO_LONG


def test_show(order, tmp_path):
    file = tmp_path / "order.dwc"
    order("unlock", "--seconds", 7, "--door", "main", "--counter", 9)
    facts = json.loads(doorctl("command", "show", file, "--json").stdout)
    assert (facts["command"], facts["door"], facts["seconds"]) == ("unlock", "main", 7)
    assert (facts["counter"], facts["group"], facts["until"]) == (9, None, None)
    plain = doorctl("command", "show", file).stdout
    assert "seconds: 7\n" in plain and "until" not in plain and "counter: 9\n" in plain
    until_s = int(time.time()) + 3600
    order("hold-open", "--until", spell(until_s, hours=2))
    assert f"until: {iso(until_s)}\n" in doorctl("command", "show", file).stdout


def test_verify_is_a_door_that_the_command_is_for(order, tmp_path):
    file = tmp_path / "order.dwc"
    words = ("command", "verify", file, "--keyring", RING_FILE)
    for kind, more in (
        ("lockdown", ()),
        ("release", ("--door", "main")),
        ("unlock", ("--seconds", 300, "--group", 4)),
        ("hold-open", ("--until", spell(int(time.time()) + 3600), "--group", 1)),
    ):
        order(kind, "--counter", 3, *more)
        result = doorctl(*words)
        assert result.stdout == f"{file}: ok: police, {kind}, counter 3\n", result.stderr
    assert "wrong-address (23)" in doorctl(*words, "--groups", "2,3").stderr
    assert doorctl(*words, "--groups", "1,2").exit_code == 0


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"key": "district"}, "not-permitted (22): "),
        ({"key": "stranger"}, "unknown-issuer (5): "),
        ({"site": "south"}, "wrong-site (4): "),
    ],
)
def test_what_no_door_would_obey_is_not_written(order, tmp_path, how, told):
    result = order("lockdown", "--keyring", RING_FILE, **how)
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "order.dwc").exists()
    # Without a ring nobody can tell.
    assert order("lockdown", **how).exit_code == 0


def test_scope_by_group(tmp_path, order):
    for name in ("police", "district"):
        pem = keys.public_pem(keys.load_private(key_file(name)))
        (tmp_path / f"{name}.pub.pem").write_bytes(pem)
    ring = tmp_path / "ring.dwk"
    built = doorctl(
        *("keyring", "build", "--site", "*", "--version", 1, "--threshold", 1),
        *("--root", key_file("root"), "--out", ring),
        *("--issuer", f"police:responder:{tmp_path}/police.pub.pem"),
        *("--scope", "police:site=north;groups=2;powers=lockdown"),
    )
    assert built.exit_code == 0, built.stderr
    assert order("lockdown", "--group", 2, "--keyring", ring).exit_code == 0
    assert order("lockdown", "--keyring", ring, "--groups", "2,5").exit_code == 0
    for kind, more in (
        ("lockdown", ("--group", 3)),
        ("lockdown", ("--groups", "3")),
        ("lockdown", ()),
        ("release", ("--group", 2)),
    ):
        result = order(kind, "--keyring", ring, *more)
        assert "not-permitted (22)" in result.stderr, (kind, more)
    result = order("lockdown", "--group", 2, "--keyring", ring, site="south")
    assert "not-permitted (22)" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("lockdown", "--door", "a", "--group", 1), 2, "exclude one another"),
        (("lockdown", "--group", 0), 2, "--group"),
        (("lockdown", "--group", 17), 2, "--group"),
        (("lockdown", "--groups", 1), 2, "--keyring"),
        (("lockdown", "--door", "no door"), 1, "door: 'no door'"),
        (("lockdown", "--door", "n" * 25), 1, "door: "),
        (("lockdown", "--door", "tür"), 1, "door: "),
        (("lockdown", "--door", ""), 1, "door: "),
        (("lockdown", "--expires-in", "25h"), 1, "24h at most"),
        (("lockdown", "--expires-in", "0m"), 2, "no span"),
        (("lockdown", "--expires-in", "15"), 2, "no span"),
        (("lockdown", "--expires-in", "-1m"), 2, "no span"),
        (("lockdown", "--counter", 0), 1, "version 0"),
        (("lockdown", "--counter", (1 << 32) - 1), 1, "nothing could come after it"),
        (("lockdown", "--counter", 1 << 32), 1, "version 4294967296"),
        (("lockdown", "--keyring", "none.dwk"), 1, "none.dwk"),
        (("release", "--lockdown", 7), 2, "--lockdown is for --door"),
        (("release", "--lockdown", 7, "--group", 1), 2, "--lockdown is for --door"),
        (("release", "--door", "a", "--lockdown", 0), 2, "--lockdown"),
        (("release", "--door", "a", "--lockdown", 1 << 32), 2, "--lockdown"),
        (("unlock",), 2, "--seconds"),
        (("unlock", "--seconds", 0), 2, "--seconds"),
        (("unlock", "--seconds", 301), 2, "--seconds"),
        (("hold-open",), 2, "--until"),
        (("hold-open", "--until", "16:00"), 1, "has no offset"),
        (("hold-open", "--until", "2090-09-01"), 1, "has no offset"),
        (("hold-open", "--until", "2090-09-01T16:00"), 1, "has no offset"),
        (("hold-open", "--until", "2090-02-30T16:00Z"), 1, "not in the calendar"),
        (("hold-open", "--until", "2020-09-01T16:00Z"), 1, "is over"),
        (("open",), 2, "No such command"),
    ],
)
def test_mistakes_write_nothing(order, tmp_path, words, code, what):
    result = order(*words)
    assert result.exit_code == code, result.output
    assert what in result.stderr
    assert not (tmp_path / "order.dwc").exists()


def test_one_site_only(order):
    assert "name one site" in order("lockdown", site="*").stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("command_of_no_kind.dwc", "unknown-command (29): "),
        ("command_of_no_target.dwc", "malformed (1): "),
        ("command_too_long.dwc", "bad-length (18): "),
        ("police_1.dwl", "wrong-type (12): "),
        ("ring.dwk", "wrong-type (12): "),
    ],
)
def test_show_and_verify_say_what_a_door_would(name, told):
    file = OBJECTS / name
    for words in (("show", file), ("verify", file, "--keyring", RING_FILE)):
        result = doorctl("command", *words)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"doorctl: {file}: {told}")


def test_a_late_one_is_refused_as_a_door_does():
    order = Command(LOCK_DOWN, int(time.time()))
    data = commands.build_command(order, POLICE, "north", 1, 1_790_000_000)
    with pytest.raises(Refused) as caught:
        commands.verify(data, RING, Address("north"))
    assert caught.value.name == "too-late"


def test_a_door_of_no_ascii_is_no_door():
    order = Command(LOCK_DOWN, 1, door="tür")
    with pytest.raises(DoorctlError, match="ASCII"):
        commands.build_command(order, POLICE, "north", 1, 1)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(FRESH) * 8 - 1))
def test_any_single_bit_changed_in_a_command_is_refused(bit):
    address = Address("north", groups=0b100)
    assert commands.verify(FRESH, RING, address).count == 0
    changed = bytearray(FRESH)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Refused):
        commands.verify(bytes(changed), RING, address)
