"""The console: its protocol, and whatever comes over a cable that is none of it."""

import json
import random
import struct
import time
from binascii import crc32

import pytest
import serial


@pytest.fixture
def cable(door_site):
    with serial.Serial(door_site.door.tty, timeout=5, exclusive=True) as port:
        yield port


def ask(port, line):
    port.write(line.encode() + b"\n")
    return port.readline().decode().rstrip()


def assert_alive(port, site):
    port.write(b"\nsync 4711\n")
    while port.readline() != b"OK sync 4711\n":
        pass
    answer = ask(port, "hello")
    assert answer.startswith("OK ") and json.loads(answer[3:])["door"] == "north-entrance"
    assert site.tap(site.officers[0].badge)["opened"]


def test_replies_have_their_form(cable):
    hello = json.loads(ask(cable, "hello")[3:])
    assert hello["protocol"] == 1 and hello["board"] == "UNIX"
    assert json.loads(ask(cable, "status")[3:])["posture"] == "normal"
    cable.write(b"log 1 2\n")
    lines = [cable.readline().decode() for _ in range(3)]
    assert [line[:2] for line in lines] == ["# ", "# ", "OK"]
    # How many, which journal, and what the first of them is chained to: nothing comes before it.
    journal = json.loads(ask(cable, "hello")[3:])["journal"]
    assert len(journal) == 16
    assert lines[-1] == f"OK 2 {journal} {bytes(16).hex()}\n"
    assert ask(cable, "log 100000 2") == f"OK 0 {journal}"
    cable.write(b"help\n")
    while not (line := cable.readline()).startswith(b"OK"):
        assert line.startswith(b"# ")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("open", "ERROR 64 bad-command"),
        ("push", "ERROR 65 bad-argument"),
        ("push -5", "ERROR 65 bad-argument"),
        ("push 0x10", "ERROR 65 bad-argument"),
        ("push 99999999999", "ERROR 65 bad-argument"),
        ("log 1", "ERROR 65 bad-argument"),
        ("log one two", "ERROR 65 bad-argument"),
        ("status now", "ERROR 65 bad-argument"),
        ("hello \u00e9", "ERROR 64 bad-command"),
        ("x" * 97, "ERROR 66 line-too-long"),
        ("x" * 5000, "ERROR 66 line-too-long"),
    ],
)
def test_wrong_lines_get_their_error(cable, line, error):
    assert ask(cable, line).startswith(error)
    assert ask(cable, "hello").startswith("OK ")


def test_empty_lines_are_nothing(cable):
    cable.write(b"\n\r\n   \n")
    assert ask(cable, "hello").startswith("OK ")


def test_random_bytes_are_drained_and_counted(cable, door_site):
    chance = random.Random(11)
    for _ in range(20):
        cable.write(chance.randbytes(chance.randrange(1, 700)))
        time.sleep(0.02)
    time.sleep(0.3)
    assert_alive(cable, door_site)
    assert json.loads(ask(cable, "status")[3:])["console"]["garbage_bytes"] > 0


def frame(payload):
    return struct.pack("<HI", len(payload), crc32(payload)) + payload


def begin_push(port, site):
    answer = ask(port, f"push {len(site.police_list)}")
    assert answer == "OK 512"


def test_a_damaged_frame_ends_the_push_only(cable, door_site):
    begin_push(cable, door_site)
    damaged = bytearray(frame(door_site.police_list[:512]))
    damaged[100] ^= 1
    cable.write(damaged)
    assert cable.readline().startswith(b"ERROR 13 transfer-broken")
    assert_alive(cable, door_site)


@pytest.mark.parametrize("length", [0, 513, 65535])
def test_a_frame_of_an_impossible_length_ends_the_push_only(cable, door_site, length):
    begin_push(cable, door_site)
    cable.write(struct.pack("<HI", length, 0) + bytes(40))
    assert cable.readline().startswith(b"ERROR 13 transfer-broken")
    assert_alive(cable, door_site)


def test_a_cable_pulled_in_mid_frame_is_forgotten(cable, door_site):
    begin_push(cable, door_site)
    cable.write(frame(door_site.police_list[:512]))
    assert cable.readline().startswith(b"PROGRESS 512/")
    cable.write(frame(door_site.police_list[512:1024])[:200])
    assert cable.readline().startswith(b"ERROR 13 transfer-broken")  # after 3 s of silence
    assert_alive(cable, door_site)
    assert [one["reason"] for one in _events(cable)] == ["transfer-broken"]


def test_taps_are_decided_from_the_old_list_until_the_switch(cable, door_site):
    begin_push(cable, door_site)
    cable.write(frame(door_site.police_list[:512]))
    cable.readline()
    assert door_site.tap(door_site.officers[1].badge)["opened"]


def test_a_technician_who_does_not_read_holds_nothing_up(door_site):
    with serial.Serial(door_site.door.tty, timeout=0.1, exclusive=True) as port:
        for _ in range(200):
            port.write(b"status\n")
        assert door_site.tap(door_site.officers[0].badge)["opened"]
        time.sleep(1.5)
        port.reset_input_buffer()
    time.sleep(0.5)
    assert door_site.status()["taps"]["count"] == 1
    assert door_site.door.resets == 0


def _events(port):
    port.write(b"log 1 32\n")
    found = []
    while not (line := port.readline()).startswith(b"OK"):
        found.append(bytes.fromhex(line[2:].decode()))
    from doorctl.database import describe
    from doorward.journal import record

    return [
        one
        for one in (describe(record.unpack(raw)) for raw in found)
        if one["event"] == "object-refused"
    ]
