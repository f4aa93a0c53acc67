"""From the district's hands to the door's flash by MQTT, over Mosquitto with TLS-PSK and amqtt."""

import queue
import subprocess
import threading
import time
from pathlib import Path

import pytest
from district import ALL, OWN, District, offer_of, wait
from doorctl import people
from doorctl.world import DOOR, SITE
from doorward.values import LOCK_DOWN, RELEASE, UNLOCK

PROBE = Path(__file__).with_name("acl_probe.py")
only_mosquitto = pytest.mark.parametrize("wired", ["mosquitto"], indirect=True)


def test_a_door_gets_all_it_lives_by_and_delivers_what_it_did(wired):
    site, district = wired.site, wired.district
    lost = site.officers[3]
    ring = wired.ring(2)
    denials = site.build_deny_list("police", 1, [lost.badge])
    district.offer(site.police_list, ring, denials, site.school_list)
    wired.new_door()
    expected = ({"police": 1, "school": 1}, {"police": 1}, 2)
    wait(lambda: wired.in_force() == expected, f"not in force: {wired.in_force()}")
    # The ring first, because it says whose lists count; then what takes rights away.
    order = list(dict.fromkeys(offer for offer, _, _ in district.wants))
    assert order[:2] == [offer_of(ring), offer_of(denials)]
    assert site.tap(site.officers[0].badge)["opened"]
    assert not site.tap(lost.badge)["opened"]

    district.command(wired.order("police", LOCK_DOWN, 1))
    wait(lambda: site.status()["posture"] == "lockdown", "no lockdown")
    assert not site.tap(site.staff[0].badge)["opened"]
    district.command(wired.order("police", RELEASE, 2), OWN)
    wait(lambda: site.status()["posture"] == "normal", "no release")
    district.command(wired.order("school", UNLOCK, 1, argument=2, door=DOOR), OWN)
    wait(lambda: site.door.bench("look")["strike"] == "released", "not unlocked")

    held = site.held()
    wait(lambda: len(district.of_door()) >= len(held), "records are missing")
    assert district.of_door()[: len(held)] == held
    assert district.changed == []
    wait(lambda: site.status()["journal"]["pending"] == 0, "not acknowledged")
    status = site.status()["uplink"]
    assert (status["fetched"], status["garbage"], status["strays"]) == (4, 0, 0)
    assert site.events("object-refused") == []


def test_a_door_that_was_off_for_a_month_converges(wired):
    site, district = wired.site, wired.district
    district.offer(site.police_list, site.school_list)
    wired.new_door()
    wait(lambda: wired.in_force()[0] == {"police": 1, "school": 1}, "no lists")
    lockdown = wired.order("police", LOCK_DOWN, 1)
    district.command(lockdown)
    wait(lambda: site.status()["posture"] == "lockdown", "no lockdown")
    district.command(wired.order("police", RELEASE, 2))
    wait(lambda: site.status()["posture"] == "normal", "no release")
    site.door.power_off()
    wait(lambda: b"offline" in district.states()[-1], "no will")

    # A month goes by: rings and lists of which it never heard, and orders that are over.
    lost = site.officers[5]
    district.offer(
        site.build_list("police", 7).read_bytes(),
        site.build_list("school", 4).read_bytes(),
        site.build_deny_list("school", 2, [site.staff[1].badge]),
        site.build_deny_list("police", 9, [lost.badge]),
        wired.ring(5),
    )
    district.command(wired.order("school", LOCK_DOWN, 3, life_s=-1))
    district.command(lockdown, OWN)
    district.command(wired.order("school", LOCK_DOWN, 9, door="elsewhere"), OWN)
    site.door.power_on()
    expected = ({"police": 7, "school": 4}, {"police": 9, "school": 2}, 5)
    wait(lambda: wired.in_force() == expected, f"not in force: {wired.in_force()}")
    assert site.status()["posture"] == "normal"
    assert not site.tap(lost.badge)["opened"]
    assert site.tap(site.officers[0].badge)["opened"]
    # That old orders come again at every connection is no news.
    assert site.events("object-refused") == []


def test_a_lockdown_does_not_wait_for_a_list(wired):
    site, district = wired.site, wired.district
    wired.new_door(has_lists=True)
    wired.until_connected()

    def slowly(offer, at, count):
        time.sleep(0.3)
        return district.pieces(offer, at, count)

    district.serve = slowly
    # At this pace it takes ten seconds.
    district.offer(big_list(site, 2))
    wait(lambda: len(district.wants) >= 3, "nothing is wanted")
    took_s = []
    for counter in range(1, 6):
        kind, posture = (LOCK_DOWN, "lockdown") if counter % 2 else (RELEASE, "normal")
        order = wired.order("police", kind, counter)
        began_s = time.monotonic()
        district.command(order)
        wait(lambda posture=posture: site.status()["posture"] == posture, "not obeyed", 10)
        took_s.append(time.monotonic() - began_s)
        assert site.tap(site.officers[counter].badge)["opened"]
    assert max(took_s) < 1, took_s
    assert wired.in_force()[0]["police"] == 1
    print(f"\nlockdown in force after {max(took_s) * 1000:.0f} ms at most")


def big_list(site, version):
    """Return the police's list with 5,000 more badges, 110 KB."""
    more = [
        people.Person("", bytes((4,)) + number.to_bytes(6, "big"), "responder")
        for number in range(5000)
    ]
    path = site.folder / "police.csv"
    people.write_roster(path, site.officers + more)
    try:
        return site.build_list("police", version).read_bytes()
    finally:
        people.write_roster(path, site.officers)


def test_what_is_refused_is_not_asked_for_again_and_the_rest_comes(wired):
    site, district = wired.site, wired.district
    forged = bytearray(site.build_list("police", 6).read_bytes())
    forged[-1] ^= 1
    district.offer(bytes(forged), site.school_list)
    wired.new_door()
    wait(lambda: wired.in_force()[0] == {"school": 1}, "no list")
    wait(lambda: site.events("object-refused"), "no refusal")
    count = len(district.wants)
    time.sleep(6)  # longer than it looks for what is wanted
    assert len(district.wants) == count
    assert [one["reason"] for one in site.events("object-refused")] == ["bad-body-hash"]
    district.offer(site.police_list, site.school_list)
    wait(lambda: wired.in_force()[0] == {"police": 1, "school": 1}, "no lists")


@only_mosquitto
def test_a_door_has_its_own_topics_and_no_others(wired, micropython, firmware_env):
    site, district = wired.site, wired.district
    wired.new_door(has_lists=True)
    wired.until_connected()
    district.offer(site.police_list)
    district.command(wired.order("police", LOCK_DOWN, 1, door="elsewhere"), OWN)
    own, other = f"doorward/{SITE}/back", OWN
    theirs = [
        *(f"{other}/{name}" for name in ("state", "health", "records", "want")),
        *(f"{other}/{name}" for name in ("acknowledged", "piece", "command/0011223344556677")),
        *(f"{ALL}/{name}" for name in ("offers", "command/0011223344556677", "x")),
        *(f"{own}/{name}" for name in ("acknowledged", "piece", "command/0011223344556677")),
        "doorward",
        "x",
        "doorward/elsewhere/back/state",
    ]
    mine = [f"{own}/{name}" for name in ("state", "health", "records", "want")]
    heard: queue.Queue = queue.Queue()
    listener = threading.Event()
    client = District(wired.broker.port)._client
    client.on_connect = lambda client, *_args: client.subscribe("#", 1)
    client.on_subscribe = lambda *_args: listener.set()
    client.on_message = lambda _client, _data, message: heard.put(message)
    client.connect("127.0.0.1", wired.broker.port)
    client.loop_start()
    assert listener.wait(15)
    identity = f"{SITE}/back"
    command = [micropython, PROBE, "127.0.0.1", wired.broker.device_port]
    command += [identity, bytes(32).hex(), *theirs, *mine]
    probe = subprocess.Popen(
        [str(word) for word in command], env=firmware_env, stdout=subprocess.PIPE, text=True
    )
    time.sleep(1)
    # What others are told meanwhile is not for it.
    assert site.tap(site.officers[0].badge)["opened"]
    district.say(f"doorward/{SITE}/back/acknowledged", b"mine")
    told, _ = probe.communicate(timeout=20)
    client.loop_stop()
    published = {m.topic for m in heard.queue if m.payload == identity.encode()}
    assert published == set(mine)
    got = {line.split()[1] for line in told.splitlines() if line.startswith("GOT")}
    assert got == {f"{own}/acknowledged", f"{ALL}/offers"}
    assert "READY" in told
