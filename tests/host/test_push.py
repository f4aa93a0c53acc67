"""doorctl push: several objects in order, and what is told when the door refuses one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doorctl import cli_door
from doorctl.errors import DoorctlError
from doorctl.link import DoorRefused
from doorctl.main import main


class FakeDoor:
    """Takes what is pushed, up to the object that it refuses."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.error: dict[bytes, DoorctlError] = {}

    def __enter__(self) -> "FakeDoor":
        return self

    def __exit__(self, *_) -> None:
        pass

    def push(self, data: bytes, progress) -> dict:
        if data in self.error:
            raise self.error[data]
        progress(len(data), len(data))
        self.taken.append(data)
        return {"type": "allowlist", "issuer": data.decode(), "version": 1, "count": 2}


@pytest.fixture
def door(monkeypatch):
    fake = FakeDoor()
    monkeypatch.setattr(cli_door, "open_door", lambda port: fake)
    return fake


@pytest.fixture
def files(tmp_path) -> list[Path]:
    paths = [tmp_path / name for name in ("ring", "police", "school")]
    for path in paths:
        path.write_text(path.name)
    return paths


def push(*words: object) -> Result:
    return CliRunner().invoke(main, ["push", *map(str, words)])


def test_files_go_in_order(door, files):
    result = push(*files)
    assert (result.exit_code, result.stderr) == (0, "")
    assert door.taken == [b"ring", b"police", b"school"]
    assert [line.split(",")[0] for line in result.stdout.splitlines()] == [
        "in force: allowlist of ring",
        "in force: allowlist of police",
        "in force: allowlist of school",
    ]


def test_json_is_a_line_for_each(door, files):
    lines = push(*files, "--json").stdout.splitlines()
    assert [json.loads(line)["issuer"] for line in lines] == ["ring", "police", "school"]


def test_a_refusal_ends_it_and_says_what_is_in_force(door, files):
    ring, police, school = files
    door.error[b"police"] = DoorRefused(8, "old-version", "A higher version.")
    result = push(*files)
    assert result.exit_code == 1
    assert result.stdout == "in force: allowlist of ring, version 1, 2 badges\n"
    assert result.stderr == (
        f"doorctl: {police}: the door refused it: old-version (8): A higher version. "
        f"In force: {ring}; not sent: {school}\n"
    )
    assert door.taken == [b"ring"]
    door.error = {b"ring": DoorRefused(8, "old-version", "A higher version.")}
    assert f"In force: nothing; not sent: {police}, {school}\n" in push(*files).stderr


def test_one_file_alone_needs_no_such_account(door, files):
    door.error[b"ring"] = DoorctlError("no answer")
    result = push(files[0])
    assert (result.exit_code, result.stderr) == (1, "doorctl: no answer\n")


def test_nothing_is_sent_when_a_file_is_none(door, files, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(bytes(5_000_001))
    assert push(files[0], big).exit_code == 1
    assert push(files[0], tmp_path / "none").exit_code == 2
    assert push().exit_code == 2
    assert door.taken == []
