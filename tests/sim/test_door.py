"""The whole door on the unix port: taps, lists, faults of the reader, restarts."""

import threading
import time

import pytest
from doorctl import keys, lists, people, roster
from doorctl.link import DoorRefused
from doorctl.world import DOOR, SITE, wait_until
from doorward.trust import objects
from doorward.values import HOLD_OPEN, LOCK_DOWN, REFUSALS, RELEASE, UNLOCK


def list_from(site, *, issuer="police", version=2, at_site=SITE, key=None, roster_of=None):
    """Sign a list that differs from a right one as the test wants it."""
    rows = roster.sound_rows([site.folder / f"{roster_of or issuer}.csv"])
    return lists.build_list(
        rows,
        key or keys.load_private(site.folder / "keys" / f"{issuer}.pem"),
        at_site,
        version,
        keys.load_site_key(site.folder / "keys" / "site.key"),
        int(time.time()),
    )


def test_badges_of_every_length_open_and_a_stranger_does_not_keep_the_next_out(door_site):
    by_length = {len(one.badge): one.badge for one in reversed(door_site.officers)}
    assert set(by_length) == {4, 7, 10}
    for badge in by_length.values():
        assert door_site.tap(badge)["opened"]
    assert not door_site.tap(people.strangers_badge())["opened"]
    seen = door_site.tap(door_site.officers[-1].badge)
    assert seen["opened"]
    # Listed badges whose zeros or lengths were dropped are strangers.
    seven = by_length[7]
    assert not door_site.tap(seven[:4])["opened"]
    assert not door_site.tap(seven + b"\0\0\0")["opened"]
    reasons = [one["reason"] for one in door_site.events("tap")]
    assert reasons == [*["granted"] * 3, "unknown-badge", "granted", *["unknown-badge"] * 2]


def test_a_random_uid_is_told_apart(door_site):
    assert not door_site.tap(b"\x08\x12\x34\x56")["opened"]
    assert [one["reason"] for one in door_site.events("tap")] == ["random-uid"]


def test_a_denial_lights_red_and_a_grant_green(door_site):
    denied = door_site.tap(people.strangers_badge())
    assert denied["lights"] == ["r"] and not denied["opened"]
    granted = door_site.tap(door_site.officers[0].badge)
    assert granted["lights"] == ["g"] and granted["opened"]


def test_the_strike_lets_go_by_itself(door_site, eventually):
    assert door_site.tap(door_site.officers[0].badge)["opened"]
    eventually(
        lambda: door_site.door.bench("look")["strike"] == "locked", "the strike stays released"
    )


def test_lockdown_keeps_staff_out_and_survives_a_power_cut(door_site, eventually):
    officer, teacher = door_site.officers[0].badge, door_site.staff[0].badge
    door_site.door.bench("lockdown on")
    eventually(lambda: door_site.status()["posture"] == "lockdown", "no lockdown")
    assert not door_site.tap(teacher)["opened"]
    assert door_site.tap(officer)["opened"]
    door_site.door.power_off()
    door_site.door.power_on()
    eventually(lambda: door_site.status()["reader"]["is_up"], "the reader is down")
    assert door_site.status()["posture"] == "lockdown"
    assert not door_site.tap(door_site.staff[1].badge)["opened"]
    door_site.door.bench("lockdown off")
    eventually(lambda: door_site.status()["posture"] == "normal", "still in lockdown")
    assert door_site.tap(teacher)["opened"]
    reasons = [one["reason"] for one in door_site.events("tap")]
    assert reasons == ["in-lockdown", "granted-in-lockdown", "in-lockdown", "granted"]


def test_lockdown_is_in_force_at_once_even_while_somebody_holds_a_card_there(door_site):
    """Each change wants to be durable; an erase for that may wait 20 s for a quiet moment."""
    hold = threading.Thread(
        target=lambda: door_site.door.bench(f"tap {people.strangers_badge().hex()} 8000")
    )
    hold.start()
    time.sleep(0.5)
    for turn in range(10):
        wanted = "lockdown" if turn % 2 == 0 else "normal"
        door_site.door.bench(f"lockdown {'on' if turn % 2 == 0 else 'off'}")
        time.sleep(0.4)
        assert door_site.status()["posture"] == wanted
    hold.join()


def test_a_list_with_a_revoked_badge_denies_it_at_once(door_site):
    lost = door_site.officers[3].badge
    assert door_site.tap(lost)["opened"]
    data = door_site.build_list("police", 2, without=[lost]).read_bytes()
    with door_site.cable() as door:
        assert door.push(data)["version"] == 2
    time.sleep(1.2)  # the badge that stays away for a second is read anew
    assert not door_site.tap(lost)["opened"]
    assert door_site.tap(door_site.officers[4].badge)["opened"]


def test_a_denied_badge_opens_nothing_from_the_next_tap_on(door_site):
    lost = door_site.officers[3].badge
    assert door_site.tap(lost)["opened"]
    with door_site.cable() as door:
        told = door.push(door_site.build_deny_list("police", 1, [lost]))
    assert (told["type"], told["issuer"], told["count"]) == ("deny list", "police", 1)
    time.sleep(1.2)  # the badge that stays away for a second is read anew
    assert not door_site.tap(lost)["opened"]
    assert door_site.events("tap")[-1]["reason"] == "revoked"
    door_site.door.power_off()
    door_site.door.power_on()
    wait_until(lambda: door_site.status()["reader"]["is_up"], 10, "the reader is down")
    assert not door_site.tap(lost)["opened"]
    assert door_site.status()["denied"] == [{"issuer": "police", "version": 1, "badges": 1}]


def test_commands_are_obeyed_once(door_site):
    lockdown = door_site.build_command("school", LOCK_DOWN, 1)
    release = door_site.build_command("school", RELEASE, 2)
    unlock = door_site.build_command("school", UNLOCK, 3, argument=1, door=DOOR)
    hold = door_site.build_command("school", HOLD_OPEN, 4, argument=int(time.time()) + 2)

    def is_open():
        return door_site.door.bench("look")["strike"] == "released"

    with door_site.cable() as door:
        assert door.push(lockdown)["command"] == "lockdown"
        assert door.status()["posture"] == "lockdown"
        assert not door_site.tap(door_site.staff[0].badge)["opened"]
        door.push(release)
        assert door.status()["posture"] == "normal"
        for old in (lockdown, release):
            with pytest.raises(DoorRefused) as refusal:
                door.push(old)
            assert refusal.value.name == "replayed"
        door.push(unlock)
        assert is_open()
        wait_until(lambda: not is_open(), 5, "it stays open")
        assert door.push(hold)["command"] == "hold-open"
        assert door.status()["posture"] == "unlocked"
        assert is_open()
        wait_until(lambda: not is_open(), 5, "it stays open")
        assert door.status()["posture"] == "normal"
    obeyed = [one["reason"] for one in door_site.events("command-obeyed")]
    assert obeyed == ["lockdown", "release", "unlock", "hold-open"]
    refused = [one["reason"] for one in door_site.events("object-refused")]
    assert refused == ["replayed", "replayed"]


def refused_objects(site):
    """Return (refusal, bytes) of every kind of list a door does not take."""
    other_key = keys.load_private(site.folder / "keys" / "root.pem")
    good = list_from(site)
    flipped = bytearray(good)
    flipped[objects.HEADER_BYTES + 40] ^= 1
    foreign_body = good[:-1] + bytes([good[-1] ^ 1])
    return [
        ("bad-signature", bytes(flipped)),
        ("bad-body-hash", foreign_body),
        ("wrong-site", list_from(site, at_site="elsewhere")),
        ("unknown-issuer", list_from(site, key=other_key)),
        ("old-version", list_from(site, version=1)),
        ("truncated", good[:-20]),
        ("out-of-scope", list_from(site, issuer="school", roster_of="police")),
        ("not-an-object", b"#!/bin/sh\n" * 100),
    ]


def test_every_wrong_list_is_refused_by_name_recorded_and_changes_nothing(door_site):
    wrong = refused_objects(door_site)
    for name, data in wrong:
        with door_site.cable() as door, pytest.raises(DoorRefused) as refusal:
            door.push(data)
        assert refusal.value.name == name
        assert REFUSALS[refusal.value.code][0] == name
    recorded = [one["reason"] for one in door_site.events("object-refused")]
    assert recorded == [name for name, _ in wrong]
    versions = {one["issuer"]: one["version"] for one in door_site.status()["lists"]}
    assert versions == {"police": 1, "school": 1}
    assert door_site.tap(door_site.officers[5].badge)["opened"]


def test_a_list_over_the_cap_is_refused_before_a_byte_is_taken(door_site):
    with door_site.cable() as door:
        door._write(b"push 999999999\n")
        with pytest.raises(DoorRefused) as refusal:
            door._answer(5)
        assert refusal.value.name == "too-large"
    assert [one["reason"] for one in door_site.events("object-refused")] == ["too-large"]


def test_the_same_list_again_is_fine_and_no_record(door_site):
    before = door_site.status()["journal"]["next"]
    with door_site.cable() as door:
        for _ in range(30):
            assert door.push(door_site.police_list)["version"] == 1
    assert door_site.status()["journal"]["next"] == before


def test_a_flood_of_refused_objects_leaves_the_journal_to_the_taps(door_site):
    before = door_site.status()["journal"]["next"]
    with door_site.cable() as door:
        for _ in range(200):
            with pytest.raises(DoorRefused):
                door.push(b"x")
    assert door_site.status()["journal"]["next"] - before < 30


def test_an_unplugged_reader_is_an_event_and_not_a_restart(door_site):
    boot = door_site.status()["boot"]
    for how in ("unplug", "short"):
        door_site.door.bench(f"reader {how}")
        door_site.wait_for_event("reader-down", 1 if how == "unplug" else 2)
        assert not door_site.tap(door_site.officers[0].badge)["opened"]
        door_site.door.bench("reader plug")
        door_site.wait_for_event("reader-up", 1 if how == "unplug" else 2)
        assert door_site.tap(door_site.officers[0].badge)["opened"]
        time.sleep(1.2)
    status = door_site.status()
    assert status["boot"] == boot and door_site.door.resets == 0
    assert len(door_site.events("reader-down")) == 2


def test_a_door_that_starts_without_a_reader_waits_for_it(site):
    site.new_door()
    site.door.bench("reader unplug")
    site.wait_for_event("reader-down")
    site.door.power_off()
    site.door.power_on()
    site.wait_for_event("reader-down", 2)
    site.door.bench("reader plug")
    site.wait_for_event("reader-up")
    assert site.tap(site.officers[0].badge)["opened"]


def test_noise_on_the_air_opens_nothing_and_breaks_nothing(door_site):
    door_site.door.bench("noise 0.05")
    for one in door_site.officers[:4]:
        door_site.tap(one.badge)
    assert not door_site.tap(people.strangers_badge())["opened"]
    door_site.door.bench("noise 0")
    time.sleep(1.2)
    assert door_site.tap(door_site.officers[0].badge)["opened"]
    assert door_site.door.resets == 0
    listed = {"granted", "unknown-badge"}
    assert {one["reason"] for one in door_site.events("tap")} <= listed


def test_a_dead_critical_task_makes_safe_records_and_restarts(door_site, eventually):
    boot = door_site.status()["boot"]
    door_site.door.bench("break spi")
    eventually(lambda: door_site.door.resets == 1, "the board did not restart")
    eventually(lambda: door_site.status()["reader"]["is_up"], "the reader is down")
    assert door_site.status()["boot"] == boot + 1
    assert door_site.door.bench("look")["strike"] == "locked"
    assert len(door_site.events("task-died")) == 1
    assert door_site.tap(door_site.officers[0].badge)["opened"]


def test_a_list_that_rotted_on_flash_is_dropped_and_told(door_site, eventually):
    door_site.door.power_off()
    flash = bytearray((door_site.folder / "flash.bin").read_bytes())
    at = flash.index(door_site.school_list[-200:])
    flash[at] ^= 0x01
    (door_site.folder / "flash.bin").write_bytes(flash)
    door_site.door.power_on()
    door_site.wait_for_event("list-corrupt")
    assert [one["issuer"] for one in door_site.status()["lists"]] == ["police"]
    assert door_site.tap(door_site.officers[0].badge)["opened"]
    assert not door_site.tap(door_site.staff[0].badge)["opened"]
    with door_site.cable() as door:
        assert door.push(door_site.school_list)["issuer"] == "school"
    time.sleep(1.2)
    assert door_site.tap(door_site.staff[0].badge)["opened"]
