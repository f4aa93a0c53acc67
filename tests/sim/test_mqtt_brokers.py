"""The MQTT client in MicroPython against real brokers: amqtt over TCP, Mosquitto over TLS-PSK.

mqtt_probe.py is the device; paho is the other side, over a plain listener of the same broker.
"""

import os
import queue
import subprocess
import threading
import time
import zlib
from pathlib import Path

import pytest
from brokers import PATIENCE_S, Broker, Proxy, need_mosquitto
from paho.mqtt import client as paho

PROBE = Path(__file__).with_name("mqtt_probe.py")
KEEPALIVE_S = 2  # the probe's
STALL_BUDGET_US = 25_000
IDENTITY = "door-7"
KEY = "8d2f41c7a05be39b6f1d0c84e7a2935610fbd4c8a97e5263b1c04f7d28e6a935"


class Observer:
    """The other side: subscribes to all that the probe says, and publishes to it."""

    def __init__(self, port):
        self.messages = queue.Queue()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_args: subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe([("probe/out/#", 1), ("probe/will", 1)])
        assert subscribed.wait(PATIENCE_S)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def next(self, topic):
        """The next message on `topic`; what came before it on others is dropped."""
        while True:
            message = self.messages.get(timeout=PATIENCE_S)
            if message.topic == topic:
                return message

    def publish(self, topic, payload, qos, retain=False):
        self.client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)


class Probe:
    """A run of mqtt_probe.py, line by line."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines = queue.Queue()
        self.log = []
        self.unread = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def next(self, word):
        """The values of the next line that begins with `word`; other lines keep."""
        while True:
            for index, values in enumerate(self.unread):
                if values[0] == word:
                    return self.unread.pop(index)[1:]
            line = self.lines.get(timeout=PATIENCE_S)
            assert line is not None, "".join(self.log)
            self.log.append(line)
            self.unread.append(line.split() or [""])

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)


@pytest.fixture(scope="module", params=["amqtt", "mosquitto"])
def broker(request, tmp_path_factory):
    if request.param == "mosquitto":
        need_mosquitto()
    keys = {IDENTITY: bytes.fromhex(KEY)}
    broker = Broker(request.param, tmp_path_factory.mktemp(request.param), keys)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def observer(broker):
    observer = Observer(broker.port)
    yield observer
    observer.close()


@pytest.fixture
def start_probe(broker, micropython, firmware_env):
    probes = []

    def start(scenario, port=None, psk=None):
        if psk is None:
            psk = (IDENTITY, KEY) if broker.is_tls else ()
        command = [micropython, PROBE, "127.0.0.1", port or broker.device_port, scenario, *psk]
        probes.append(Probe([str(word) for word in command], firmware_env))
        return probes[-1]

    yield start
    for probe in probes:
        probe.kill()


def got(payload, retain=0):
    return [str(len(payload)), f"{zlib.crc32(payload):08x}", str(retain)]


def test_both_ways_at_both_qualities_and_an_idle_period(broker, observer, start_probe):
    kept = b"list 12"
    observer.publish("probe/in/kept", kept, 1, retain=True)
    probe = start_probe("once")
    session_present, cipher = probe.next("READY")
    assert session_present == "0"
    assert cipher == ("TLS-PSK-WITH-AES-256-GCM-SHA384" if broker.is_tls else "-")

    assert observer.next("probe/out/0").payload == bytes(range(256)) * 8
    assert observer.next("probe/out/1").payload == b"\xff" * 2048
    assert observer.next("probe/out/kept").payload == b"kept"
    late = Observer(broker.port)
    message = late.next("probe/out/kept")
    assert (message.payload, message.retain) == (b"kept", True)
    late.close()

    received = {}
    for topic, payload, qos in (
        ("probe/in/0", bytes(range(256)) * 8, 0),
        ("probe/in/long", os.urandom(6000), 1),  # over the probe's cap
        ("probe/in/1", os.urandom(2048), 1),
        ("probe/in/largest", os.urandom(4096 - 2 - 16 - 2), 1),
    ):
        observer.publish(topic, payload, qos)
        received[topic] = got(payload)
    del received["probe/in/long"]
    received["probe/in/kept"] = got(kept, retain=1)
    for _ in range(len(received)):
        topic, *values = probe.next("GOT")
        assert values == received.pop(topic)

    # A broker drops a client that is silent for one and a half keepalives [3.1.2.10].
    time.sleep(KEEPALIVE_S * 1.5 + 1)
    observer.publish("probe/in/stop", b"", 0)
    assert probe.next("GOT") == ["probe/in/stop", *got(b"")]
    drained, unknown_acks = probe.next("COUNT")[-2:]
    assert (drained, unknown_acks) == ("1", "0")
    assert probe.process.wait(PATIENCE_S) == 0

    # A polite end: no will.
    while not observer.messages.empty():
        assert observer.messages.get().topic != "probe/will"
    for topic in ("probe/in/kept", "probe/out/kept"):
        observer.publish(topic, b"", 1, retain=True)


def test_no_slice_exceeds_the_stall_budget(broker, observer, start_probe, capsys):
    runs = []
    for _ in range(4):
        probe = start_probe("once")
        probe.next("READY")
        observer.publish("probe/in/1", os.urandom(4000), 1)
        observer.publish("probe/in/long", os.urandom(6000), 1)
        observer.publish("probe/in/stop", b"", 1)
        runs.append([int(value) for value in probe.next("SLICE")])
        probe.process.wait(PATIENCE_S)
        with capsys.disabled():
            print(f"\nlongest slice, us: {runs[-1][0]} connecting, {runs[-1][1]} connected")
        # A stall of the client's own comes every time; one of a busy host's does not.
        if max(runs[-1]) < STALL_BUDGET_US:
            return
    pytest.fail(f"longest slices in us: {runs}")


def test_the_will_is_delivered_when_the_door_dies(observer, start_probe):
    probe = start_probe("once")
    probe.next("READY")
    probe.kill()
    assert observer.next("probe/will").payload == b"gone"


def test_a_killed_broker_is_noticed_and_found_again(broker, start_probe):
    probe = start_probe("again")
    probe.next("READY")
    broker.kill()
    killed_s = time.monotonic()
    try:
        probe.next("LOST")
        assert time.monotonic() - killed_s < KEEPALIVE_S
        probe.next("REFUSED")
    finally:
        broker.start()
    probe.next("READY")


def test_a_black_hole_is_noticed_by_keepalive(broker, start_probe):
    proxy = Proxy(broker.device_port)
    probe = start_probe("again", port=proxy.port)
    probe.next("READY")
    proxy.is_frozen = True
    frozen_s = time.monotonic()
    probe.next("LOST")
    noticed_s = time.monotonic() - frozen_s
    assert noticed_s < KEEPALIVE_S + 1
    proxy.is_frozen = False
    probe.next("READY")
    proxy.close()


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_a_wrong_key_or_identity_is_refused(start_probe):
    for psk in ((IDENTITY, KEY[:-2] + "00"), ("door-8", KEY)):
        error = start_probe("once", psk=psk).next("REFUSED")
        assert error[0].startswith("ConnectionLost("), error
