"""The door register, and what a broker is told from it."""

import json
import stat

import pytest
from click.testing import CliRunner
from doorctl.cli_register import register as command
from doorctl.errors import DoorctlError
from doorctl.register import Register, mosquitto_acl_file, mosquitto_psk_file

KEYS = [bytes((number,)) * 32 for number in range(1, 7)]
IDS = [bytes((number,)) * 8 for number in range(1, 4)]


@pytest.fixture
def register(tmp_path):
    made = Register(tmp_path / "doors")
    made.add("north", "main", IDS[0], KEYS[0], KEYS[1])
    made.add("north", "gym", IDS[1], KEYS[2], KEYS[3])
    return made


def test_a_door_is_found_again(register):
    door = register.door("north", "main")
    assert (door.site, door.door, door.uplink_key) == ("north", "main", KEYS[1])
    assert door.journal_key(IDS[0]) == KEYS[0]
    assert door.journal_key(IDS[1]) is None
    assert register.door("north", "nowhere") is None
    assert [one.door for one in register.doors()] == ["gym", "main"]


def test_the_file_is_what_the_contract_says(register):
    path = register.folder / "north" / "main.json"
    found = json.loads(path.read_text())
    begun = found["journals"][0].pop("from")
    assert begun.endswith("+00:00")
    assert found == {
        "site": "north",
        "door": "main",
        "journals": [{"id": IDS[0].hex(), "key": KEYS[0].hex()}],
        "uplink_key": KEYS[1].hex(),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_door_that_is_provisioned_anew_keeps_its_older_journals(register):
    register.add("north", "main", IDS[2], KEYS[4], KEYS[5])
    door = register.door("north", "main")
    assert door.uplink_key == KEYS[5]
    assert [one.id for one in door.journals] == [IDS[0], IDS[2]]
    assert door.journal_key(IDS[0]) == KEYS[0]
    assert door.journal_key(IDS[2]) == KEYS[4]


@pytest.mark.parametrize(("site", "door"), [("north", "../../etc"), ("..", "x"), ("a/b", "x")])
def test_names_are_names_and_no_paths(register, site, door):
    with pytest.raises(DoorctlError):
        register.door(site, door)
    with pytest.raises(DoorctlError):
        register.add(site, door, IDS[0], KEYS[0], KEYS[1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"site": "north"}',
        '{"site": "north", "door": "main", "journals": [], "uplink_key": "00"}',
        '{"site": "north", "door": "main", "journals": [1], "uplink_key": "' + "00" * 32 + '"}',
        '{"site": "south", "door": "main", "journals": [], "uplink_key": "' + "00" * 32 + '"}',
    ],
)
def test_a_damaged_file_is_told(register, text):
    (register.folder / "north" / "main.json").write_text(text)
    with pytest.raises(DoorctlError, match=r"main\.json"):
        register.door("north", "main")


def test_a_damaged_file_is_not_written_over(register):
    path = register.folder / "north" / "main.json"
    path.write_text("?")
    with pytest.raises(DoorctlError):
        register.add("north", "main", IDS[2], KEYS[4], KEYS[5])
    assert path.read_text() == "?"


def test_mosquitto_gets_a_key_a_door(register):
    assert mosquitto_psk_file(register.doors()) == (
        f"north/gym:{KEYS[3].hex()}\nnorth/main:{KEYS[1].hex()}\n"
    )


def test_mosquitto_confines_each_door_to_its_own_topics(register):
    sections = mosquitto_acl_file(register.doors(), "collector").split("user ")[1:]
    assert sections[0] == "collector\ntopic readwrite doorward/#\n\n"
    own = "doorward/north/gym/"
    assert sections[1].splitlines() == [
        "north/gym",
        *(f"topic write {own}{name}" for name in ("state", "health", "records", "want")),
        *(f"topic read {own}{name}" for name in ("acknowledged", "piece", "command/#")),
        "topic read doorward/north/@all/#",
        "",
    ]
    assert "gym" not in sections[2]


def test_the_command_writes_both_files(register, tmp_path):
    out = tmp_path / "broker"
    result = CliRunner().invoke(
        command, ["broker", "--register", str(register.folder), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert (out / "psk").read_text() == mosquitto_psk_file(register.doors())
    assert (out / "acl").read_text() == mosquitto_acl_file(register.doors(), "collector")
    assert stat.S_IMODE((out / "psk").stat().st_mode) == 0o600
    listed = CliRunner().invoke(command, ["list", "--register", str(register.folder), "--json"])
    assert [one["door"] for one in json.loads(listed.output)] == ["gym", "main"]
    assert all(key.hex() not in listed.output for key in KEYS)


def test_no_register_is_told(tmp_path):
    result = CliRunner().invoke(command, ["list", "--register", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "no door register" in result.output
