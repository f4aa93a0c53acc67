"""What can go wrong between a door and its district: nothing lost, nothing doubled, taps unaffected.

The whole door over TLS-PSK to Mosquitto. What needs time that runs faster than here is in
tests/host/test_uplink_time.py.
"""

import random
import socket
import threading
import time

import pytest
from brokers import Nobody, Proxy, stop_listening
from district import ALL, OWN, offer_of, piece, wait

pytestmark = pytest.mark.parametrize("wired", ["mosquitto"], indirect=True)


@pytest.fixture
def proxy(wired):
    proxy = Proxy(wired.broker.device_port)
    yield proxy
    proxy.close()


@pytest.fixture
def door(wired, proxy):
    """A door with both lists, connected through the proxy, all of its records delivered."""
    wired.new_door(has_lists=True, port=proxy.port)
    wired.until_connected()
    wired.check_delivered()
    yield wired
    # Whatever went on: the door never restarted, and no record was made of it.
    assert wired.site.door.resets == 0
    assert wired.site.events("task-died") == []


def tap_for(wired, seconds):
    """Tap all the time, without haste."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        wired.tap()


def is_connected(wired):
    return wired.site.status()["uplink"]["is_connected"]


def test_the_broker_is_killed_and_comes_back(door):
    for _ in range(3):
        door.broker.kill()
        tap_for(door, 2)
        assert not is_connected(door)
        door.broker.start()
        wait(lambda: is_connected(door), "not connected again")
        door.tap()
        door.check_delivered()
    assert door.site.status()["uplink"]["sessions"] == 4


def test_a_connection_that_is_dead_and_does_not_say_so(door, proxy):
    proxy.is_frozen = True
    began_s = time.monotonic()
    tap_for(door, 4)
    wait(lambda: not is_connected(door), "the dead connection was not noticed", 15)
    # Half of the keepalive of 5 s until it asks, and as long for an answer.
    assert time.monotonic() - began_s < 9
    tap_for(door, 1)
    proxy.is_frozen = False
    door.check_delivered()


@pytest.mark.parametrize("how", ["accepted and not answered", "not even accepted"])
def test_a_black_hole(door, proxy, how):
    port = proxy.port
    nobody = None
    if how == "not even accepted":
        proxy.close()
        nobody = Nobody(port)
    else:
        proxy.is_deaf = True
        proxy.cut()
    tap_for(door, 12)
    assert not is_connected(door)
    if nobody is None:
        proxy.is_deaf = False
        proxy.cut()
    else:
        nobody.close()
        again = Proxy(door.broker.device_port, at_port=port)
    door.check_delivered()
    if nobody is not None:
        again.close()


def test_a_slow_wire(door, proxy):
    proxy.delay_s = 0.4
    tap_for(door, 3)
    door.check_delivered()
    assert door.site.status()["uplink"]["sessions"] == 1


def test_acknowledging_late_twice_and_wrong(door):
    district = door.district
    say = district.say_acknowledged
    timers = []

    def late(journal_id, sequence, tag):
        timers.append(threading.Timer(2.5, say, (journal_id, sequence, tag)))
        timers[-1].start()

    def twice(journal_id, sequence, tag):
        say(journal_id, sequence, tag)
        say(journal_id, sequence, tag)
        say(journal_id, max(1, sequence - 3), tag)

    def wrong(journal_id, sequence, tag):
        say(journal_id, sequence + 1, tag)
        say(journal_id, 2**32 - 1, tag)
        say(journal_id, sequence, bytes(16))
        say(bytes(8), sequence, tag)
        district.say(f"{OWN}/acknowledged", journal_id + bytes(4))
        district.say(f"{OWN}/acknowledged", bytes(2000))

    district.acknowledge = late
    tap_for(door, 3)
    door.check_delivered()
    wait(lambda: door.site.status()["journal"]["pending"] == 0, "the late one does not count")
    district.acknowledge = twice
    tap_for(door, 2)
    wait(lambda: door.site.status()["journal"]["pending"] == 0, "not acknowledged")
    district.acknowledge = wrong
    before = door.site.status()
    tap_for(door, 3)
    wait(
        lambda: door.site.status()["uplink"]["resent"] > before["uplink"]["resent"],
        "what was not acknowledged is not sent again",
    )
    after = door.site.status()
    # What the district never confirmed is kept, and sent again.
    count = len(door.taps_ms)
    assert after["journal"]["pending"] > 0
    assert after["journal"]["acknowledged"] == before["journal"]["acknowledged"]
    assert after["uplink"]["garbage"] > before["uplink"]["garbage"]
    district.acknowledge = say
    wait(lambda: door.site.status()["journal"]["pending"] == 0, "not acknowledged")
    door.check_delivered()
    assert len(door.site.events("tap")) == count
    for timer in timers:
        timer.cancel()


def test_pieces_that_go_wrong(door):
    district = door.district
    chance = random.Random(6)
    wanted = door.site.build_list("police", 2).read_bytes()
    other = offer_of(door.site.school_list)
    asked = []

    def serve(offer, at, count):
        asked.append(at)
        right = district.pieces(offer, at, count)
        trick = (len(asked) - 1) % 8
        if trick == 0:
            return []
        if trick == 1:
            return right[::-1]
        if trick == 2:
            return [one for one in right for _ in range(3)]
        if trick == 3:
            return [piece(other, at, chance.randbytes(1024)), *right]
        if trick == 4:
            return [piece(offer, at, chance.randbytes(1025)), chance.randbytes(20), *right]
        if trick == 5:
            return [*right, piece(offer, at + count, b"?" * 900)]
        if trick == 6:
            return right[1:]
        return right

    district.serve = serve
    district.offer(wanted)
    until_s = time.monotonic() + 90
    while door.in_force()[0]["police"] != 2:
        assert time.monotonic() < until_s, f"not in force after {asked}"
        door.tap()
    assert door.site.events("object-refused") == []
    # And with bytes that are wrong where the pieces are right, the list in force stays.
    newer = door.site.build_list("police", 3).read_bytes()
    for at in (110, 300, 420, len(newer) - 1):
        spoilt = bytearray(newer)
        spoilt[at] ^= 1
        district.serve = district.pieces
        count = len(door.site.events("object-refused"))
        district.objects = {offer_of(newer)[:-1] + bytes((at & 0xFF,)): bytes(spoilt)}
        district.say(f"{ALL}/offers", b"".join(district.objects), retain=True)
        wait(lambda count=count: len(door.site.events("object-refused")) > count, "not refused")
        door.tap()
    assert door.in_force()[0]["police"] == 2
    district.offer(newer)
    wait(lambda: door.in_force()[0]["police"] == 3, "not in force")
    door.check_delivered()


class Babbler:
    """A broker that says CONNACK, and then what it likes."""

    def __init__(self, port, kinds):
        self._listener = socket.create_server(("127.0.0.1", port))
        self._kinds = kinds
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                end = self._listener.accept()[0]
            except OSError:
                return
            babble = self._kinds[self.connections % len(self._kinds)]
            self.connections += 1
            try:
                end.recv(1000)
                end.sendall(b"\x20\x02\x00\x00")
                for _ in range(9):
                    end.sendall(babble())
                end.settimeout(8)
                while end.recv(4096):
                    pass
            except OSError:
                end.close()

    def close(self):
        stop_listening(self._listener)


def test_a_broker_that_babbles(wired):
    """Plain, because what this broker says is nothing that TLS would let through."""
    chance = random.Random(20261)
    mine = [f"{OWN}/piece", f"{OWN}/command/x", f"{ALL}/offers", f"{OWN}/acknowledged", "x"]

    def message(size):
        topic = chance.choice(mine).encode()
        rest = len(topic).to_bytes(2, "big") + topic + chance.randbytes(size)
        head = bytes((0x30, len(rest) & 0x7F | 0x80, len(rest) >> 7))
        return head + rest

    kinds = [
        lambda: chance.randbytes(4000),
        lambda: b"\x30\xff\xff\xff\x7f" + chance.randbytes(100_000),
        lambda: b"".join(message(chance.randrange(1, 2000)) for _ in range(60)),
        lambda: b"\x40\x02\x00\x01" * 2000,
    ]
    proxy = Proxy(wired.broker.port)
    port = proxy.port
    proxy.close()
    babbler = Babbler(port, kinds)
    wired.new_door(has_lists=True, port=port, broker_tls=False)
    until_s = time.monotonic() + 90
    while babbler.connections < len(kinds):
        assert time.monotonic() < until_s, "the door does not come back"
        wired.tap()
    babbler.close()
    proxy = Proxy(wired.broker.port, at_port=port)
    wired.check_delivered()
    assert wired.site.door.resets == 0
    assert wired.site.events("task-died", "posture-changed") == []
    proxy.close()
