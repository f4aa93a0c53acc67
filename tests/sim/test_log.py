"""`doorctl log`: exports of a running door, resumed and verified; and the collector's database."""

import json
import sqlite3

import pytest
from click.testing import CliRunner
from doorctl.cli_log import log
from doorctl.world import DOOR, SITE


@pytest.fixture
def doorctl(site):
    """Call `doorctl log` at the site's door; return exit code and what it said."""

    def call(*arguments):
        environment = {
            "DOORCTL_REGISTER": str(site.register.folder),
            "DOORCTL_PORT": site.door.tty if site.door else None,
        }
        result = CliRunner().invoke(log, [str(one) for one in arguments], env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result.exit_code, result.output

    return call


def tap_some(site, count):
    for one in site.officers[:count]:
        site.tap(one.badge)
    site.wait_for_event("tap", count)


def test_an_export_is_resumed_and_verified(site, doorctl, tmp_path):
    site.new_door()
    tap_some(site, 3)
    file = tmp_path / "door.dwj"
    code, told = doorctl("export", file)
    assert code == 0, told
    held = site.held()
    assert file.read_bytes()[80:] == b"".join(held)
    assert f"{len(held)} new records of {SITE}/{DOOR}" in told
    code, told = doorctl("verify", file)
    assert code == 0, told
    assert told.endswith(f": {len(held)} records, 1 to {len(held)}: as the door wrote them\n")

    # Cut off in the middle of a record, and gone on with after more has happened.
    with open(file, "r+b") as exported:
        exported.truncate(80 + 64 * 2 + 30)
    tap_some(site, 5)
    assert doorctl("export", file)[0] == 0
    assert file.read_bytes()[80:] == b"".join(site.held())
    code, told = doorctl("export", file)
    assert (code, "0 new records" in told) == (0, True)
    code, told = doorctl("verify", file, "--json")
    (found,) = json.loads(told)
    assert found["is_sound"] and found["last"] == len(site.held())

    # Somebody changes it.
    data = bytearray(file.read_bytes())
    data[80 + 64 * 4 + 20] ^= 1
    file.write_bytes(data)
    code, told = doorctl("verify", file)
    assert (code, "record 5 was changed" in told) == (1, True)
    code, told = doorctl("export", file)
    assert (code, "record 5 is damaged" in told) == (1, True)


def test_an_export_goes_on_only_with_its_own_journal(site, doorctl, tmp_path):
    site.new_door()
    file = tmp_path / "door.dwj"
    assert doorctl("export", file)[0] == 0
    site.door.close()
    site.new_door()
    before = file.read_bytes()
    code, told = doorctl("export", file)
    assert (code, "begun another since" in told) == (1, True)
    assert file.read_bytes() == before
    # Both journals can be verified: the register keeps the older one's key.
    assert doorctl("export", tmp_path / "new.dwj")[0] == 0
    assert doorctl("verify", file)[0] == doorctl("verify", tmp_path / "new.dwj")[0] == 0


def test_files_that_are_no_export_are_told(site, doorctl, tmp_path):
    site.new_door()
    file = tmp_path / "door.dwj"
    assert doorctl("export", file)[0] == 0
    sound = file.read_bytes()
    for data, told in (
        (b"", "is no journal export"),
        (sound[:79], "is no journal export"),
        (b"DWJX\x02" + sound[5:], "format 2"),
        (sound[:20] + b"x" + sound[21:], "the export's header is damaged"),
    ):
        file.write_bytes(data)
        for command in ("export", "verify"):
            code, said = doorctl(command, file)
            assert (code, told in said) == (1, True), said
            assert file.read_bytes() == data


def test_usage(site, doorctl, tmp_path):
    assert doorctl("verify")[0] == 2
    assert doorctl("verify", tmp_path / "x", "--database", "sqlite://")[0] == 2
    code, told = doorctl("verify", tmp_path / "none")
    assert (code, "No such file" in told) == (1, True)


def test_a_door_whose_key_nobody_kept_is_told(site, doorctl, tmp_path):
    site.new_door()
    assert doorctl("export", tmp_path / "x")[0] == 0
    code, told = doorctl("verify", tmp_path / "x", "--register", tmp_path / "empty")
    assert (code, "has no key for it" in told) == (1, True)


def test_the_database_is_verified(site, doorctl):
    site.start_broker()
    site.start_collector()
    site.new_door()
    tap_some(site, 4)
    site.wait_for_delivery()
    site.stop_collector()
    code, told = doorctl("verify", "--database", site.database_url)
    assert code == 0, told
    path = site.folder / "records.db"
    # What the reports show, and not the record beside it.
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET badge = '' WHERE event = 'tap'")
        database.execute("UPDATE records SET happened_at = NULL WHERE sequence = 2")
    database.close()
    code, told = doorctl("verify", "--database", site.database_url)
    assert (code, "record 2 says otherwise than its row: happened_at" in told) == (1, True)
    assert told.count("says otherwise than its row: badge") == 4, told
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM records WHERE sequence = 3")
    database.close()
    code, told = doorctl("verify", "--database", site.database_url)
    assert (code, "record 3 is missing" in told) == (1, True)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET journal = 'none'")
    database.close()
    code, told = doorctl("verify", "--database", site.database_url)
    assert (code, "'none', which is no journal's id" in told) == (1, True)


def test_plain_log_shows(site, doorctl):
    site.new_door()
    code, told = doorctl()
    assert (code, "boot" in told) == (0, True)
    code, shown = doorctl("--json", "--from", 2)
    assert code == 0
    assert json.loads(shown) == json.loads(doorctl("show", "--json", "--from", 2)[1])
    assert json.loads(shown)[0]["sequence"] == 2
    assert "verify" in doorctl("--help")[1]
