"""doorctl status: a door's state in lines, red where something is wrong."""

import copy
import json

import pytest
from click.testing import CliRunner, Result
from doorctl import cli_door, cli_log
from doorctl.main import main
from doorward.portal.portal import INPUTS

FOUND = {
    "door": "main",
    "site": "north",
    "board": "pico-w",
    "firmware": "0.2.0",
    "boot": 4,
    "uptime_s": 90,
    "restart": {"cause": "power-on", "task": 0},
    "config_fault": "",
    "posture": "normal",
    "lockdown": 0,
    "is_team_hold": False,
    "is_released": False,
    "inputs": {"door": True, "lockdown": False, "mains": False, "later": True},
    "clock": {"quality": "synced", "now_s": 1_790_000_000},
    "reader": {
        "is_up": True,
        "fault": "",
        "version": 0x92,
        "self_test": True,
        "has_irq": False,
        "errors": 0,
    },
    "lists": [{"issuer": "police", "version": 7, "badges": 900, "age_s": 90}],
    "denied": [{"issuer": "police", "version": 3, "badges": 12}],
    "key_ring": 5,
    "journal": {"oldest": 1, "next": 21, "acknowledged": 0, "pending": 20, "capacity": 4096},
    "taps": {
        "count": 3,
        "grants": 2,
        "last_us": 40_000,
        "longest_us": 62_100,
        "p50_ms": 41,
        "p99_ms": 63,
    },
    "network": True,
    "uplink": {"is_connected": True, "fault": "", "sessions": 1, "resent": 0, "garbage": 0},
    "console": {"garbage_bytes": 0},
    "stalls": {"runs": 0, "hasty": 0, "longest_ms": 0},
    "revived_tasks": 0,
    "memory_free_bytes": 100_000,
}
# What a firmware before these did not tell.
NEWER = (
    *("restart", "config_fault", "lockdown", "is_team_hold", "is_released", "inputs"),
    "network",
)


class FakeDoor:
    def __init__(self, found: dict) -> None:
        self._found = found

    def __enter__(self) -> "FakeDoor":
        return self

    def __exit__(self, *_) -> None:
        pass

    def status(self) -> dict:
        return self._found


@pytest.fixture
def status(monkeypatch):
    """Show the status of a door that is as FOUND but for `changes`."""

    def show(*words: str, color: bool = False, **changes: object) -> Result:
        found = {**copy.deepcopy(FOUND), **changes}
        found = {name: value for name, value in found.items() if value is not ...}
        monkeypatch.setattr(cli_door, "open_door", lambda port: FakeDoor(found))
        result = CliRunner().invoke(main, ["status", *words], color=color)
        assert (result.exit_code, result.stderr) == (0, ""), result.exception
        return result

    return show


def red_in(result: Result) -> list[str]:
    return [line.split()[0] for line in result.stdout.splitlines() if "\x1b[31m" in line]


def test_a_door_that_is_well(status):
    assert status().stdout == (
        "door          north/main, pico-w, firmware 0.2.0\n"
        "up            90 s, start 4\n"
        "started by    power-on\n"
        "posture       normal\n"
        "strike        locked\n"
        "inputs        door open, lockdown off, mains there, later on\n"
        "clock         2026-09-21 14:13:20 UTC, synced\n"
        "reader        up, MFRC522 2.0, self-test passed, 0 errors\n"
        "key ring      version 5\n"
        "list police   version 7, 900 badges, 90 s old\n"
        "deny police   version 3, 12 badges\n"
        "journal       20 of 4096 records, 20 not yet delivered\n"
        "network       up\n"
        "uplink        connected\n"
        "taps          3 since start, 2 granted, half within 41 ms, 99 of 100 within 63 ms, "
        "slowest 62.1 ms\n"
        "stalls        0, longest 0 ms, 0 hasty\n"
        "memory        100000 bytes free\n"
    )
    assert red_in(status(color=True)) == []
    assert json.loads(status("--json").stdout) == FOUND


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"restart": {"cause": "task-hung", "task": 3}}, "started by    task-hung, task 3"),
        ({"restart": {"cause": "watchdog", "task": 0}}, "started by    watchdog"),
        ({"config_fault": "door: missing"}, "config        REFUSED: door: missing"),
        (
            {"clock": {"quality": "unset", "now_s": 0}},
            "clock         1970-01-01 00:00:00 UTC, unset",
        ),
        ({"reader": {"is_up": False, "fault": "no answer"}}, "reader        DOWN: no answer"),
        ({"lists": []}, "lists         NONE: no badge opens"),
        ({"network": False}, "network       DOWN"),
        (
            {"network": False, "network_fault": "the Wi-Fi network refuses the password"},
            "network       DOWN: the Wi-Fi network refuses the password",
        ),
        (
            {
                "clock": {
                    "quality": "held",
                    "now_s": 1_790_000_000,
                    "source": "ntp",
                    "synced_age_s": 100_000,
                    "drift_ppm": -12,
                    "fault": "late",
                }
            },
            "clock         2026-09-21 14:13:20 UTC, held, from ntp 27 h ago, drift -12 ppm; late",
        ),
        (
            {"uplink": {"is_connected": False, "fault": "no route"}},
            "uplink        not connected: no route",
        ),
        ({"inputs": {"rex": False, "fire": True}}, "inputs        rex off, fire ALARM"),
        ({"inputs": {"cabinet": True}}, "inputs        cabinet TAMPERED"),
        ({"revived_tasks": 2}, "tasks         started anew 2 times"),
    ],
)
def test_what_is_wrong_is_red_on_a_terminal(status, changes, line):
    assert line in status(**changes).stdout.splitlines()
    assert red_in(status(color=True, **changes)) == [line.split()[0]]
    assert "\x1b" not in status(**changes).stdout


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"restart": {"cause": "ordered", "task": 0}}, "started by    ordered"),
        (
            {"posture": "lockdown", "is_team_hold": True},
            "posture       lockdown, held open for a team",
        ),
        ({"posture": "lockdown", "lockdown": 7}, "lockdown      number 7"),
        (
            {"lists": [{"issuer": "police", "version": 7, "badges": 900, "age_s": None}]},
            "list police   version 7, 900 badges, age unknown",
        ),
        ({"is_released": True}, "strike        released"),
        (
            {
                "clock": {
                    "quality": "held",
                    "now_s": 1_790_000_000,
                    "source": "battery",
                    "synced_age_s": None,
                    "drift_ppm": 0,
                    "fault": "no time server configured",
                }
            },
            "clock         2026-09-21 14:13:20 UTC, held, from battery",
        ),
        (
            {"uplink": {"is_connected": False, "fault": "no broker configured"}},
            "uplink        not connected: no broker configured",
        ),
    ],
)
def test_what_is_meant_so_is_not_red(status, changes, line):
    assert line in status(**changes).stdout.splitlines()
    assert red_in(status(color=True, **changes)) == []


def test_an_older_firmware_tells_less(status):
    changes = dict.fromkeys((*NEWER, "key_ring", "denied"), ...)
    taps = {"count": 0, "grants": 0, "last_us": 0, "longest_us": 0}
    told = status(taps=taps, **changes).stdout
    assert [line[:14].strip() for line in told.splitlines()] == [
        *("door", "up", "posture", "clock", "reader", "list police", "journal", "uplink"),
        *("taps", "stalls", "memory"),
    ]
    assert "taps          0 since start, 0 granted, slowest 0.0 ms\n" in told


def test_boards_without_inputs_or_network_have_no_such_lines(status):
    told = status(inputs={}, network=None).stdout
    assert "inputs" not in told and "network" not in told


def test_the_inputs_at_the_start_are_those_of_the_firmware():
    assert tuple(cli_door._INPUTS) == INPUTS
    assert cli_log._inputs_of(0xFF00) == ""
    assert cli_log._inputs_of(0xFF85) == "door, lockdown, battery"


def test_a_long_name_does_not_run_into_what_follows(status):
    one = {"issuer": "sixteen-letters-", "version": 7, "badges": 1, "age_s": 9}
    told = status(lists=[one]).stdout
    assert "list sixteen-letters-  version 7" in told and "up                     90 s" in told
