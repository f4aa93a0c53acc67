"""Stories at one door with every input wired: a day, a lockdown drill, a forced door, fire, power."""

import json
import random
import time

import pytest
from doorctl import people
from doorctl.link import DoorRefused
from doorctl.world import DOOR, wait_until
from doorward.values import DISABLE, ENABLE, LOCK_DOWN, RELEASE

WIRED = {
    "input_door": "nc",
    "input_rex": "no",
    "input_fire": "no",
    "input_cabinet": "no",
    "input_reader": "no",
    "input_mains": "no",
    "input_battery": "no",
    "held_open_ms": 3000,
    "held_open_warning_ms": 1500,
    "responder_pulse_ms": 800,
    "strike_pulse_ms": 400,
    "fire_clear_ms": 2000,
}


@pytest.fixture
def door(site):
    """A site whose door has all its inputs."""
    site.new_door(**WIRED)
    return site


def contact(site, name, state):
    site.door.bench(f"input {name} {state}")


def contact_while_off(site, name, state):
    file = site.folder / "bench.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), f"input {name}": state}))


def look(site):
    return site.door.bench("look")["strike"]


def wait_for(site, strike, seconds=5.0):
    wait_until(lambda: look(site) == strike, seconds, f"the strike is not {strike}")


def told(site, *leave_out):
    """Return the names of all events since the lists came, without some."""
    names = [one["event"] for one in site.events()]
    first = len(names) - names[::-1].index("list-in-force")
    return [name for name in names[first:] if name not in leave_out]


def go_through(site):
    contact(site, "door", "open")
    time.sleep(0.2)
    contact(site, "door", "closed")
    time.sleep(0.2)


def test_a_day_at_school(door):
    assert door.tap(door.staff[0].badge)["opened"]
    go_through(door)
    wait_for(door, "locked")
    contact(door, "rex", "closed")
    wait_for(door, "released")
    contact(door, "rex", "open")
    go_through(door)
    assert not door.tap(people.strangers_badge())["opened"]
    assert door.tap(door.officers[0].badge)["opened"]
    wait_until(lambda: told(door)[-1] == "not-entered", 5, "nobody was missed")
    assert told(door) == [
        *("tap", "door-opened", "door-closed"),
        *("exit-requested", "door-opened", "door-closed"),
        *("tap", "tap", "not-entered"),
    ]
    facts = door.status()
    assert facts["taps"]["count"] == 3
    assert facts["taps"]["p99_ms"] >= facts["taps"]["p50_ms"] > 0
    assert not facts["inputs"]["door"]


def test_a_loose_contact_locks_nobody_out(site):
    site.new_door(**dict(WIRED, responder_pulse_ms=20_000))
    assert site.tap(site.officers[0].badge)["opened"]
    for _ in range(3):
        go_through(site)
        assert look(site) == "released"
    contact(site, "door", "open")
    # Surely opened, so locked again long before the grant's own end.
    wait_for(site, "locked")
    assert not site.events("forced-open")


def test_a_lockdown_drill(door):
    officer, teacher = door.officers[0].badge, door.staff[0].badge
    door.door.bench("lockdown on")
    wait_until(lambda: door.status()["posture"] == "lockdown", 5, "no lockdown")
    assert not door.tap(teacher)["opened"]
    assert door.tap(officer)["opened"]
    # Out goes always.
    wait_for(door, "locked")
    contact(door, "rex", "closed")
    wait_for(door, "released")
    contact(door, "rex", "open")
    door.door.power_off()
    door.door.power_on()
    wait_until(lambda: door.status()["reader"]["is_up"], 10, "the reader is down")
    assert door.status()["posture"] == "lockdown"
    assert not door.tap(teacher)["opened"]
    door.door.bench("lockdown off")
    wait_until(lambda: door.status()["posture"] == "normal", 5, "still in lockdown")
    assert door.tap(door.staff[1].badge)["opened"]
    taps = [one["reason"] for one in door.events("tap")]
    assert taps == ["in-lockdown", "granted-in-lockdown", "in-lockdown", "granted"]
    causes = [one["reason"] for one in door.events("posture-changed")]
    # Of the switch nothing is remembered: that it is on is told at the start anew.
    assert causes == ["switch"] * 3


def test_a_panic_button_and_its_release(site):
    site.new_door(**WIRED, lockdown_ends_by="release")
    site.door.bench("lockdown on")
    time.sleep(0.2)
    site.door.bench("lockdown off")
    time.sleep(0.2)
    assert site.status()["posture"] == "lockdown"
    with site.cable() as cable:
        cable.push(site.build_command("school", RELEASE, 1))
        assert (cable.status()["posture"], cable.status()["lockdown"]) == ("normal", 0)
        cable.push(site.build_command("school", LOCK_DOWN, 2, door=DOOR))
        assert (cable.status()["posture"], cable.status()["lockdown"]) == ("lockdown", 2)
        with pytest.raises(DoorRefused, match="not the one that is on"):
            cable.push(site.build_command("school", RELEASE, 3, door=DOOR, argument=1))
        cable.push(site.build_command("school", RELEASE, 3, door=DOOR, argument=2))
        assert cable.status()["posture"] == "normal"


def test_a_team_goes_in(site):
    site.new_door(**WIRED, gesture_ms=5000, same_badge_ms=200)
    officer = site.officers[0].badge
    for wanted in ("released", "released", "locked"):
        assert site.tap(officer)["opened"]
        time.sleep(1.2)
        if wanted == "released" and site.status()["is_team_hold"]:
            assert look(site) == "released"
    assert not site.status()["is_team_hold"]
    wait_for(site, "locked")
    stands_out = [
        (one["event"], one["reason"]) for one in site.events("team-hold", "team-hold-over")
    ]
    assert stands_out == [("team-hold", ""), ("team-hold-over", "gesture")]


def test_a_responder_at_a_door_that_was_toggled(site):
    site.new_door(**WIRED, strike_mode="toggle")
    assert site.tap(site.officers[0].badge)["opened"]
    wait_for(site, "locked")
    assert site.tap(site.staff[0].badge)["opened"]
    for one in site.officers[1:3]:
        site.tap(one.badge)
        time.sleep(1)
        assert look(site) == "released"
    site.tap(site.staff[1].badge)
    wait_for(site, "locked")


def test_a_forced_door_and_one_held_open(door):
    contact(door, "door", "open")
    wait_until(lambda: "forced-open" in told(door), 5, "no alarm")
    contact(door, "door", "closed")
    wait_until(lambda: "door-secured" in told(door), 5, "the alarm stands")
    assert door.tap(door.officers[0].badge)["opened"]
    contact(door, "door", "open")
    wait_until(lambda: "held-open" in told(door), 8, "no alarm")
    contact(door, "door", "closed")
    wait_until(lambda: told(door)[-1] == "door-secured", 5, "the alarm stands")
    assert told(door, "door-opened", "door-closed") == [
        *("forced-open", "door-secured"),
        *("tap", "held-open-soon", "held-open", "door-secured"),
    ]


def test_a_door_that_is_swung_to_and_fro_is_held_open(door):
    assert door.tap(door.officers[0].badge)["opened"]

    def swing():
        contact(door, "door", "open")
        time.sleep(0.6)
        contact(door, "door", "closed")
        time.sleep(0.2)
        contact(door, "door", "open")
        return "held-open" in told(door)

    wait_until(swing, 15, "no alarm")
    assert "door-secured" not in told(door)
    contact(door, "door", "closed")
    wait_until(lambda: told(door)[-1] == "door-secured", 5, "the alarm stands")
    assert told(door).count("door-secured") == 1


def test_a_fire_drill(door):
    contact(door, "fire", "closed")
    wait_for(door, "released")
    contact(door, "door", "open")
    # Whatever else is asked of it, it stays released and nothing alarms.
    door.door.bench("lockdown on")
    with door.cable() as cable:
        cable.push(door.build_command("school", DISABLE, 1))
    time.sleep(3.5)
    assert look(door) == "released"
    contact(door, "door", "closed")
    time.sleep(0.3)
    assert look(door) == "released"
    contact(door, "fire", "open")
    wait_for(door, "locked")
    with door.cable() as cable:
        cable.push(door.build_command("school", ENABLE, 2))
    door.door.bench("lockdown off")
    wait_until(lambda: door.status()["posture"] == "normal", 5, "not normal again")
    names = told(door)
    assert names[0] == "fire"
    assert "fire-cleared" in names
    assert not {"forced-open", "held-open", "held-open-soon"} & set(names)


def test_a_fire_panel_that_pulses(door):
    for _ in range(3):
        contact(door, "fire", "closed")
        time.sleep(0.2)
        contact(door, "fire", "open")
        time.sleep(0.5)
        assert look(door) == "released"
    wait_for(door, "locked")
    wait_until(lambda: told(door) == ["fire", "fire-cleared"], 5, "not one alarm")


def test_mains_battery_and_tampering(door):
    for name, began, ended in (
        ("mains", "supply-failed", "supply-restored"),
        ("battery", "supply-failed", "supply-restored"),
        ("cabinet", "tamper", "tamper-cleared"),
        ("reader", "tamper", "tamper-cleared"),
    ):
        before = len(told(door))
        contact(door, name, "closed")
        wait_until(lambda before=before: len(told(door)) == before + 1, 5, "not told")
        contact(door, name, "open")
        wait_until(lambda before=before: len(told(door)) == before + 2, 5, "not told")
        assert told(door)[before:] == [began, ended]
    details = [one["detail"] for one in door.events("supply-failed", "tamper")]
    assert details == [1, 2, 1, 2]
    contact(door, "cabinet", "closed")
    wait_until(lambda: told(door)[-1] == "tamper", 5, "not told")
    door.door.power_off()
    contact_while_off(door, "cabinet", "open")
    contact_while_off(door, "mains", "closed")
    door.door.power_on()
    wait_until(lambda: told(door)[-1] == "supply-failed", 10, "not told")
    assert told(door)[-4:] == ["boot", "restarted", "inputs-at-start", "supply-failed"]
    # All are wired, and the mains alone are not as they should be.
    assert door.events("inputs-at-start")[-1]["detail"] == 0xFF << 8 | 1 << 6
    assert door.tap(door.officers[0].badge)["opened"]


def test_exit_works_with_everything_else_dead(site):
    site.new_door(has_lists=False, **WIRED)
    site.door.bench("reader unplug")
    site.door.bench("network off")
    site.door.bench("lockdown on")
    with site.cable() as cable:
        cable.push(site.build_command("school", DISABLE, 1))
        wait_until(lambda: not cable.status()["reader"]["is_up"], 10, "the reader is up")
    assert look(site) == "locked"
    contact(site, "rex", "closed")
    wait_for(site, "released")
    contact(site, "rex", "open")
    contact(site, "door", "open")
    time.sleep(0.3)
    contact(site, "door", "closed")
    assert not site.events("forced-open")


def test_a_fail_safe_lock(site):
    (site.folder / "bench.json").unlink(missing_ok=True)
    site.provision(strike_type="fail-safe", **WIRED)
    (site.folder / "bench.json").write_text('{"lock": "fail-safe"}')
    site.start_door()
    wait_until(lambda: site.status()["reader"]["is_up"], 10, "the reader is down")
    with site.cable() as cable:
        cable.push(site.police_list)
    assert look(site) == "locked"
    assert site.tap(site.officers[0].badge)["opened"]
    wait_for(site, "locked")


def test_a_configuration_that_is_none_leaves_the_last_good_one_in_force(site):
    site.new_door(**WIRED)
    time.sleep(0.5)
    site.door.power_off()
    site.give_settings(strike_pulse_ms=7)
    site.door.power_on()
    wait_until(lambda: site.status()["reader"]["is_up"], 10, "the reader is down")
    facts = site.status()
    assert "strike_pulse_ms: 7 is not a number from 200 to 60000 ms" in facts["config_fault"]
    assert facts["inputs"]
    assert site.events("config-refused")
    assert site.tap(site.officers[0].badge)["opened"]


@pytest.mark.parametrize("seed", range(3))
def test_no_trace_of_taps_keeps_the_next_good_one_out(site, seed):
    """Bad, torn, repeated and simultaneous taps at random; then a good tap opens in time."""
    site.new_door(same_badge_ms=200)
    chance = random.Random(seed)
    good = iter(site.officers)
    for _ in range(12):
        for _ in range(chance.randrange(1, 6)):
            deed = chance.choice(("stranger", "torn", "repeat", "noise", "together"))
            if deed == "noise":
                site.door.bench("noise 0.02")
            uid = chance.randbytes(chance.choice((4, 7, 10)))
            stay_ms = chance.choice((1, 3, 5, 8)) if deed == "torn" else 60
            if deed == "repeat":
                uid = site.officers[-1].badge
            site.door.bench(f"tap {uid.hex()} {stay_ms}")
            site.door.bench("noise 0")
        seen = site.door.bench(f"tap {next(good).badge.hex()} 300")
        assert seen["opened"]
        assert seen["tap_to_relay_ms"] < 1000


def test_a_badge_that_is_held_there_opens_once(door):
    door.door.bench(f"tap {door.officers[0].badge.hex()} 3000")
    assert len(door.events("tap")) == 1
