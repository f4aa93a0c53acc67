"""What an --out may replace: only its like."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doorctl import keys
from doorctl.errors import DoorctlError
from doorctl.main import main
from doorctl.output import write_file
from doorward.trust import objects

OBJECTS = Path(__file__).parents[1] / "vectors" / "objects"
LIST = (OBJECTS / "police_1.dwl").read_bytes()
DENY_LIST = (OBJECTS / "police_deny_1.dwd").read_bytes()
RING = (OBJECTS / "ring.dwk").read_bytes()
ROSTER = b"badge,class\n04A2B1C4,responder\n"
POLICE = objects.parse_header(LIST).issuer_id.hex()


def key_file(name: str) -> Path:
    return OBJECTS / "keys" / f"{name}_DO_NOT_USE.pem"


@pytest.fixture
def office(tmp_path) -> Path:
    """A folder with one file of each kind, all of them somebody's."""
    stranger = keys.load_private(key_file("stranger"))
    for name, data in (
        ("police.csv", ROSTER),
        ("export.csv", b"Officer,Card\nAlma,04A2B1C3\n"),
        ("site.key", b"ab" * 32 + b"\n"),
        ("root.pem", key_file("root").read_bytes()),
        ("stranger.pub.pem", keys.public_pem(stranger)),
        ("police.dwl", LIST),
        ("district.dwl", (OBJECTS / "district_1.dwl").read_bytes()),
        ("police.dwd", DENY_LIST),
        ("ring.dwk", RING),
        ("police.dwc", (OBJECTS / "lockdown_10.dwc").read_bytes()),
        ("cut.dwl", LIST[:60]),
        ("door.json", b'{"site": "north", "door": "main"}'),
        ("records.db", b"SQLite format 3\x00" + bytes(4080)),
    ):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def build(office: Path, what: str, out: object) -> Result:
    """Make a list, a deny list, a command, a key ring or a roster of the police's."""
    common = ("--key", key_file("police"), "--site", "north")
    blinded = (*common, "--site-key", office / "site.key", "--version", 9)
    words = {
        "list": ("list", "build", *blinded, "--roster", office / "police.csv", "--force"),
        "deny": ("deny", "build", *blinded, "--badge", "04A2B1C3"),
        "command": ("command", "lockdown", *common),
        "keyring": (
            *("keyring", "build", "--site", "north", "--version", 9, "--threshold", 1),
            *("--root", key_file("root")),
            *("--issuer", f"police:responder:{office / 'stranger.pub.pem'}"),
        ),
        "roster": (
            *("roster", "import", office / "export.csv", "--class", "responder"),
            *("--map", "Card=badge", "--map", "Officer=name"),
        ),
    }[what]
    return CliRunner().invoke(main, [str(word) for word in (*words, "--out", out)])


MAY_REPLACE = {
    "list": "police.dwl",
    "deny": "police.dwd",
    "command": "police.dwc",
    "keyring": "ring.dwk",
    "roster": "police.csv",
}


@pytest.mark.parametrize("what", MAY_REPLACE)
def test_a_file_gives_way_only_to_its_like(office, what):
    before = {path.name: path.read_bytes() for path in office.iterdir()}
    for name, data in before.items():
        if what == "roster" and name == "export.csv":
            continue  # refused as the export itself
        file = office / name
        result = build(office, what, file)
        if name == MAY_REPLACE[what]:
            assert (result.exit_code, file.read_bytes() == data) == (0, False), result.output
            file.write_bytes(data)
            continue
        assert result.exit_code == 1, (name, result.output)
        last = result.stderr.splitlines()[-1]
        assert last.startswith(f"doorctl: {file}: is a") and " does not replace it; " in last
        assert file.read_bytes() == data
    assert {path.name for path in office.iterdir()} == set(before)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("police.csv", "a roster"),
        ("root.pem", "a PEM file"),
        ("ring.dwk", "a key ring"),
        ("police.dwl", f"an allowlist of issuer {POLICE}"),
        ("police.dwd", f"a deny list of issuer {POLICE}"),
        ("cut.dwl", "a damaged signed object"),
        ("site.key", "a file of another kind"),
        ("records.db", "a file of another kind"),
    ],
)
def test_what_is_there_is_told(office, name, kind):
    command = (OBJECTS / "lockdown_10.dwc").read_bytes()
    with pytest.raises(DoorctlError) as caught:
        write_file(office / name, command)
    assert caught.value.message == (
        f"{office / name}: is {kind}, and a command of issuer {POLICE} does not replace it; "
        "write to another file, or move this one away first"
    )


def test_nothing_is_lost_with_an_empty_file(office):
    (office / "new").touch()
    write_file(office / "new", LIST)
    assert (office / "new").read_bytes() == LIST


def test_a_roster_is_known_by_its_first_line(office):
    for data in (b"\xef\xbb\xbfName;Badge;Class\r\n", b'\n\n"badge","class"\n', b"class,BADGE\r"):
        (office / "old.csv").write_bytes(data)
        write_file(office / "old.csv", ROSTER)
    for data in (b"name,badges\n", b"name\nbadge\n", b"\x00badge,class\n"[:1]):
        (office / "old.csv").write_bytes(data)
        with pytest.raises(DoorctlError, match="is a file of another kind"):
            write_file(office / "old.csv", ROSTER)


@pytest.mark.parametrize("what", MAY_REPLACE)
@pytest.mark.parametrize("out", [".", "..", "/", "", "folder"])
def test_a_directory_is_no_file(office, monkeypatch, what, out):
    monkeypatch.chdir(office)
    (office / "folder").mkdir()
    result = build(office, what, out)
    assert isinstance(result.exception, SystemExit), result.exception
    told = f"doorctl: {Path(out)}: is a directory; name a file in it"
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, told)


def test_what_is_no_file_is_not_replaced_by_one(office):
    # A pipe stands for all of them: a test that fails on a device of the machine replaces that.
    pipe = office / "pipe"
    os.mkfifo(pipe)
    result = build(office, "command", pipe)
    assert result.exit_code == 1 and f"{pipe}: is no regular file" in result.stderr
    assert pipe.is_fifo()
