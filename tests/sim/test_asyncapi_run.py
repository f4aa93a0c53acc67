"""Every message of a whole door's run is one that docs/asyncapi.yaml has, and all of those occur."""

import threading
import time
from collections import Counter

import pytest
from contract import Contract
from district import ALL, OWN, wait
from doorward.values import LOCK_DOWN, RELEASE
from paho.mqtt import client as paho

HEALTH_S = 6  # more than the pause between two health messages

pytestmark = pytest.mark.parametrize("wired", ["mosquitto"], indirect=True)


class Listener:
    """Hears everything that goes over a broker."""

    def __init__(self, port: int) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_args: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("doorward/#", 1)
        assert subscribed.wait(15)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_a_run_of_the_door(wired):
    site, district = wired.site, wired.district
    contract = Contract()
    listener = Listener(wired.broker.port)
    denials = site.build_deny_list("police", 1, [site.officers[3].badge])
    district.offer(site.police_list, wired.ring(2), denials, site.school_list)
    wired.new_door(input_door="no", input_rex="nc", input_lockdown="no", input_fire="nc")
    wait(lambda: wired.in_force()[0] == {"police": 1, "school": 1}, "no lists")
    wait(lambda: wired.in_force()[1] == {"police": 1}, "no deny list")
    wired.tap()
    district.command(wired.order("police", LOCK_DOWN, 1))
    wait(lambda: site.status()["posture"] == "lockdown", "no lockdown")
    district.command(wired.order("police", RELEASE, 2), OWN)
    wait(lambda: site.status()["posture"] == "normal", "no release")
    time.sleep(HEALTH_S)
    wired.check_delivered()
    site.door.power_off()
    wait(lambda: b"offline" in listener.messages[-1].payload, "no will")
    listener.close()

    seen: Counter = Counter()
    for message in listener.messages:
        channel, name = contract.check(message.topic, bytes(message.payload))
        seen[channel, name] += 1
        expected = contract.operations[channel]["bindings"]["mqtt"]
        assert message.qos == expected["qos"], message.topic
        # It is the door that sends up, and the district that sends down.
        is_down = contract.operations[channel]["action"] == "receive"
        said = [(topic, payload) for topic, payload, _, _ in district.said]
        assert ((message.topic, bytes(message.payload)) in said) == is_down, message.topic
    documented = {
        (channel, name)
        for channel, one in contract.document["channels"].items()
        for name in one["messages"]
    }
    assert set(seen) == documented
    assert seen["health", "health"] >= 2

    # What is retained is what whoever comes later still gets.
    late = Listener(wired.broker.port)
    time.sleep(1)
    late.close()
    retained = {contract.channel(message.topic) for message in late.messages if message.retain}
    assert retained == {
        channel
        for channel, one in contract.operations.items()
        if one["bindings"]["mqtt"]["retain"]
    }
    assert f"{ALL}/offers" in {message.topic for message in late.messages}
