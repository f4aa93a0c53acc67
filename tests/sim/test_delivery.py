"""From the door's flash to the collector's database: every record, once, whatever dies on the way."""

import contextlib
import os
import random
import threading
import time

import paho.mqtt.client as mqtt
from brokers import Broker, need_mosquitto
from doorctl import chain, link
from doorctl.database import describe
from doorctl.errors import DoorctlError
from doorctl.world import DOOR, SITE, wait_until
from doorward.journal import record as records
from doorward.trust.primitives import HmacKey


def assert_chain(site):
    rows = ((records.sequence_of(raw), raw) for raw in site.held())
    assert chain.verify(rows, site.journal_key()).faults == []


def tap_some(site, first, count):
    for one in site.officers[first : first + count]:
        assert site.tap(one.badge)["opened"]


def test_the_door_does_not_need_a_broker_and_delivers_when_there_is_one(site):
    site.new_door()
    tap_some(site, 0, 5)
    assert site.status()["journal"]["pending"] >= 7
    site.start_broker()
    site.start_collector()
    site.wait_for_delivery()
    wait_until(lambda: site.status()["journal"]["pending"] == 0, 15, "not acknowledged")


def test_a_broker_that_is_killed_loses_nothing(site):
    site.start_broker()
    site.start_collector()
    site.new_door()
    site.wait_for_delivery()
    for at in (0, 4):
        site.stop_broker()
        tap_some(site, at, 4)
        site.start_broker()
        site.wait_for_delivery(60)
    assert_chain(site)


def test_a_collector_that_is_killed_loses_nothing(site):
    site.start_broker()
    site.start_collector()
    site.new_door()
    for at in (0, 4):
        site.stop_collector()
        tap_some(site, at, 4)
        time.sleep(1.5)  # the door sends, and nobody acknowledges
        assert site.status()["journal"]["pending"] >= 4
        site.start_collector()
        site.wait_for_delivery()
    assert site.status()["uplink"]["resent"] > 0


def test_a_door_killed_at_any_moment_keeps_what_it_acknowledged(site, monkeypatch):
    """Kill it 25 times, in taps, pushes and deliveries; look at it after every start."""
    monkeypatch.setattr(link, "_PUSH_TIMEOUT_S", 0.5)
    chance = random.Random(2026)
    site.start_broker()
    site.start_collector()
    site.new_door()
    version = 1
    seen = site.held()
    opened = 0
    for round_number in range(25):
        what = chance.choice(("tap", "push", "idle"))
        if what == "tap":
            # The tap answers when the strike was released; the record is on its way to flash.
            opened += site.tap(site.officers[round_number].badge)["opened"]
        elif what == "push":
            data = site.build_list("police", version + 1).read_bytes()
            # Cut somewhere in the push, or right behind its OK.
            if chance.random() < 0.5:
                with site.cable() as door:
                    version = door.push(data)["version"]
            else:
                cut_push(site, data, chance.uniform(0.001, 0.08))
        time.sleep(chance.uniform(0, 0.05))
        site.door.power_off()
        site.door.power_on()
        wait_until(lambda: site.status()["reader"]["is_up"], 10, "the reader is down")
        in_force = {one["issuer"]: one["version"] for one in site.status()["lists"]}
        # Old or new, never neither; and never older than what was acknowledged.
        assert in_force["school"] == 1
        assert in_force["police"] in (version, version + 1)
        version = in_force["police"]
        held = site.held()
        assert held[: len(seen)] == seen
        seen = held
    assert_chain(site)
    taps = [one for one in site.events("tap") if one["reason"] == "granted"]
    assert len(taps) == opened
    boots = [one["detail"] for one in site.events("boot")]
    assert boots == list(range(1, 27))
    site.wait_for_delivery(60)


def cut_push(site, data, after_s):
    """Push, and cut the power `after_s` seconds into it."""
    timer = threading.Timer(after_s, site.door.power_off)
    timer.start()
    with contextlib.suppress(DoorctlError), site.cable() as door:
        door.push(data)
    timer.join()


def publisher(port):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def test_garbage_over_mqtt_is_counted_and_the_door_goes_on(site):
    site.start_broker()
    site.start_collector()
    site.new_door()
    site.wait_for_delivery()
    client = publisher(site.broker_port)
    topic = f"doorward/{SITE}/{DOOR}/acknowledged"
    chance = random.Random(5)
    for size in (0, 1, 19, 20, 21, 600, 4000, 9000):
        client.publish(topic, chance.randbytes(size), qos=1).wait_for_publish(5)
    tap_some(site, 0, 2)
    site.wait_for_delivery()
    status = site.status()
    assert status["uplink"]["garbage"] >= 5
    assert site.door.resets == 0
    # Nobody on the broker can make the door forget what was never stored.
    site.stop_collector()
    tap_some(site, 4, 1)
    forged = (2**31).to_bytes(4, "little") + bytes(16)
    client.publish(topic, forged, qos=1).wait_for_publish(5)
    last = len(site.held())
    client.publish(topic, last.to_bytes(4, "little") + bytes(16), qos=1).wait_for_publish(5)
    time.sleep(0.5)
    assert site.status()["journal"]["pending"] > 0
    site.start_collector()
    site.wait_for_delivery()
    client.loop_stop()


def test_the_state_topic_says_whether_the_door_is_there(site):
    site.start_broker()
    site.new_door()
    states = []
    client = publisher(site.broker_port)
    client.on_message = lambda *args: states.append(args[2].payload)
    client.subscribe(f"doorward/{SITE}/{DOOR}/state", qos=1)
    wait_until(lambda: any(b'"online"' in s for s in states), 15, "no birth")
    site.door.power_off()
    wait_until(lambda: any(b'"offline"' in s for s in states), 15, "no will")
    client.loop_stop()


def test_garbage_for_the_collector_is_dropped_and_not_acknowledged(site):
    site.start_broker()
    site.start_collector()
    site.new_door()
    site.wait_for_delivery()
    stored = site.stored()
    client = publisher(site.broker_port)
    topic = f"doorward/{SITE}/{DOOR}/records"
    for payload in (b"", b"x" * 63, b"x" * 64, b"x" * 640, stored[0][:-1] + b"?"):
        client.publish(topic, payload, qos=1).wait_for_publish(5)
    # Records that are known with other content are another door by the same name.
    forged = bytearray(stored[1])
    key = HmacKey(b"somebody else's")
    record = records.unpack(bytes(forged))
    record.event.detail = 666
    client.publish(topic, record.pack(key, bytes(16)), qos=1).wait_for_publish(5)
    tap_some(site, 0, 1)
    site.wait_for_delivery()
    assert site.stored()[: len(stored)] == stored
    assert all(describe(records.unpack(raw))["detail"] != 666 for raw in site.stored())
    client.loop_stop()


def test_over_tls_with_the_doors_own_key_to_mosquitto(site):
    need_mosquitto()
    key = os.urandom(32)
    site.stop_broker()
    broker = Broker("mosquitto", site.folder, {f"{SITE}/{DOOR}": key}, is_confined=True)
    broker.start()
    site.broker_port = broker.port
    try:
        site.start_collector()
        site.new_door(uplink_key=key, broker_port=broker.device_port, broker_tls=True)
        tap_some(site, 0, 3)
        site.wait_for_delivery()
        # A door with another key does not get in.
        site.door.close()
        site.new_door(uplink_key=os.urandom(32), broker_port=broker.device_port, broker_tls=True)
        time.sleep(3)
        assert not site.status()["uplink"]["is_connected"]
        assert site.tap(site.officers[0].badge)["opened"]
    finally:
        broker.kill()
