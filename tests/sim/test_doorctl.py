"""doorctl at a running door: what it prints, and how it fails."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

import pytest
from doorctl import people
from doorctl.world import wait_until


def doorctl(*arguments, cwd=None, port=None):
    env = dict(os.environ)
    env.pop("DOORCTL_PORT", None)
    if port is not None:
        env["DOORCTL_PORT"] = str(port)
    return subprocess.run(
        [sys.executable, "-m", "doorctl.main", *map(str, arguments)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_fails(result, words, code=1):
    assert result.returncode == code, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("doorctl: "), result.stderr
    assert words in lines[0]


def test_push_status_and_log(door_site):
    tty_path = door_site.door.tty
    path = door_site.build_list("police", 2)
    result = doorctl("push", path, port=tty_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "in force: allowlist of police, version 2, 900 badges\n"
    assert json.loads(doorctl("push", path, "--json", port=tty_path).stdout)["version"] == 2

    door_site.tap(door_site.officers[0].badge)
    status = doorctl("status", "--port", tty_path)
    assert "list police   version 2, 900 badges" in status.stdout
    assert "taps          1 since start, 1 granted" in status.stdout
    assert json.loads(doorctl("status", "--json", port=tty_path).stdout)["taps"]["count"] == 1

    log = doorctl("log", port=tty_path)
    assert log.stdout.count("list-in-force") == 3 and "granted" in log.stdout
    found = json.loads(doorctl("log", "--json", "--from", 2, port=tty_path).stdout)
    assert [one["sequence"] for one in found] == list(range(2, len(found) + 2))


def test_a_refused_list_is_one_line_and_exit_1(door_site, tmp_path):
    port = door_site.door.tty
    newer = door_site.build_list("police", 5)
    assert doorctl("push", newer, port=port).returncode == 0
    older = door_site.folder / "police-1.dwl"
    assert_fails(doorctl("push", older, port=port), "old-version (8)")
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(os.urandom(5000))
    assert_fails(doorctl("push", rubbish, port=port), "not-an-object (16)")
    rubbish.write_bytes(b"")
    assert_fails(doorctl("push", rubbish, port=port), "truncated (3)")


def test_no_door_wrong_door_and_usage(tmp_path):
    assert_fails(doorctl("status", cwd=tmp_path), "no door")
    assert_fails(doorctl("status", port=tmp_path / "nothing"), "is the door plugged in?")
    assert_fails(doorctl("sim", "tap", "stranger", cwd=tmp_path), "make door")
    assert doorctl("push", cwd=tmp_path).returncode == 2
    assert doorctl("nonsense").returncode == 2
    assert doorctl("push", tmp_path / "missing").returncode == 2
    assert doorctl("collect", "--broker", "nowhere").returncode == 2
    assert_fails(doorctl("collect", "--database", "mysql://x"), "database")


def test_a_port_that_is_no_door_is_told(tmp_path):
    master, slave = pty.openpty()
    tty.setraw(slave)
    stop = threading.Event()

    def chatter():
        while not stop.is_set():
            os.write(master, b"login: \r\n")
            time.sleep(0.05)

    thread = threading.Thread(target=chatter, daemon=True)
    thread.start()
    try:
        assert_fails(doorctl("status", port=os.ttyname(slave)), "not as a Doorward door does")
    finally:
        stop.set()
        thread.join()
        os.close(master)
        os.close(slave)


def test_two_doorctl_at_once_are_kept_apart(door_site):
    with door_site.cable():
        assert_fails(doorctl("status", port=door_site.door.tty), "is another doorctl using it?")
    assert doorctl("status", port=door_site.door.tty).returncode == 0


def wait_until_running(run):
    told = ""
    while "What reaches the collector" not in told:
        line = run.stdout.readline()
        assert line, told  # it ended before it ran
        told += line


def test_a_door_for_hands(tmp_path):
    """`doorctl sim run` in one terminal, the commands of the README in another."""
    run = subprocess.Popen(
        [sys.executable, "-m", "doorctl.main", "sim", "run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_running(run)
        officer = people.officers()[0]
        tap = doorctl("sim", "tap", officer.name, cwd=tmp_path)
        assert "the strike releases" in tap.stdout, tap.stderr
        assert (
            doorctl("sim", "tap", "stranger", cwd=tmp_path).stdout == "the strike stays locked\n"
        )
        assert doorctl("sim", "network", "off", cwd=tmp_path).stdout == "network off\n"
        spelled = people.officers()[1].badge.hex("-").upper()
        assert json.loads(doorctl("sim", "tap", spelled, "--json", cwd=tmp_path).stdout)["opened"]
        assert_fails(doorctl("sim", "tap", "Nobody", cwd=tmp_path), "nobody on the rosters")
        assert "granted" in doorctl("log", cwd=tmp_path).stdout
        assert "900 badges" in doorctl("status", cwd=tmp_path).stdout
        badges = doorctl("sim", "badges", cwd=tmp_path).stdout
        assert officer.name in badges
        assert_fails(doorctl("sim", "run", cwd=tmp_path), "is this site running already?")
        assert "900 badges" in doorctl("status", cwd=tmp_path).stdout
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 0
    finally:
        run.kill()
    assert not (tmp_path / "build/door/tty").exists()
    assert_fails(doorctl("status", cwd=tmp_path), "no door")


@pytest.fixture
def sabotage(monkeypatch):
    from doorctl import demo

    return lambda name, what: monkeypatch.setattr(demo.Demo, name, what)


def test_a_demo_that_goes_wrong_says_which_step_and_why(tmp_path, capsys, sabotage):
    from doorctl import demo

    sabotage("_rosters", lambda self: demo._expect(1, 2, "badges read"))
    assert demo.Demo(tmp_path / "demo").run() is False
    told = capsys.readouterr().out
    assert "demo: step 2 of 41 failed: Two rosters are read from CSV" in told
    assert "badges read: expected 2, saw 1" in told
    assert "steps as expected" not in told


def test_a_configuration_of_defaults_is_one_that_doors_take(tmp_path):
    result = doorctl("config", "default", "--site", "north", "--door", "main")
    assert json.loads(result.stdout)["strike_type"] == "fail-secure"
    (tmp_path / "door.json").write_text(result.stdout)
    checked = doorctl("config", "check", tmp_path / "door.json")
    assert checked.stdout.endswith("ok, door main of site north\n")
    assert_fails(doorctl("config", "default", "--site", "a b", "--door", "main"), "site: 'a b'")


def test_configuration_is_documented_as_declared():
    root = Path(__file__).parents[2]
    from doorctl.cli_config import documentation

    assert (root / "docs/configuration.md").read_text() == documentation()


def test_a_name_is_one_person():
    names = [one.name for one in [*people.officers(), *people.staff()]]
    assert len(set(names)) == len(names) == people.OFFICERS + people.STAFF


def test_config_check(tmp_path):
    file = tmp_path / "door.json"
    file.write_text('{"site": "riverside", "door": "north", "strike_pulse_ms": 3}')
    result = doorctl("config", "check", file)
    assert_fails(result, "strike_pulse_ms: 3 is not a number from 200 to 60000 ms")
    assert str(file) in result.stderr
    file.write_text('{"site": "riverside", "door": "north"}')
    assert doorctl("config", "check", file).returncode == 0


def test_sigterm_leaves_nothing_behind(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-m", "doorctl.main", "sim", "run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_until_running(run)
    run.terminate()
    assert run.wait(20) == 143

    def is_gone():
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(is_gone, 10, "processes are left behind")
