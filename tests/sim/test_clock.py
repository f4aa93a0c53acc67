"""The real firmware and a time server that speaks NTP over UDP: what it believes, and what it does not."""

import asyncio
import contextlib
import datetime
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from doorctl.world import wait_until

_UNIX_S = 2_208_988_800
_HOUR_S = 3600


def packet(request: bytes, now_s: float, *, stratum: int = 2, code: bytes = b"LOCL") -> bytes:
    """Return a right answer to a request, RFC 5905, 7.3."""
    answer = bytearray(48)
    answer[0] = 0x24
    answer[1] = stratum
    answer[2:4] = bytes((6, 0xEC))
    answer[12:16] = code
    answer[24:32] = request[40:48]
    # What is beyond 2036 begins at 0 again.
    stamp = (round((now_s + _UNIX_S) * (1 << 32)) % (1 << 64)).to_bytes(8, "big")
    answer[32:40] = answer[40:48] = stamp
    return bytes(answer)


class TimeServer(asyncio.DatagramProtocol):
    """A server on the loopback that answers as `reply` says.

    Attributes:
        requests: what came in.
        addresses: from where.
    """

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.addresses: list[tuple[str, int]] = []
        self.reply: Callable[[bytes], list[bytes]] = honest
        self.is_from_elsewhere = False
        self._elsewhere: asyncio.DatagramTransport | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(5)

    async def _open(self) -> int:
        here = ("127.0.0.1", 0)
        self._transport, _ = await self._loop.create_datagram_endpoint(lambda: self, here)
        self._elsewhere, _ = await self._loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, here
        )
        return self._transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests.append(data)
        self.addresses.append(addr)
        sender = self._elsewhere if self.is_from_elsewhere else self._transport
        assert sender is not None
        for answer in self.reply(data):
            sender.sendto(answer, addr)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        for transport in (self._transport, self._elsewhere):
            if transport is not None:
                transport.close()
        with contextlib.suppress(RuntimeError):
            self._loop.close()


def honest(request: bytes) -> list[bytes]:
    return [packet(request, time.time())]


def late_by(seconds: float) -> Callable[[bytes], list[bytes]]:
    return lambda request: [packet(request, time.time() + seconds)]


@pytest.fixture
def server() -> Iterator[TimeServer]:
    made = TimeServer()
    yield made
    made.close()


@pytest.fixture
def new_door(site, server, monkeypatch):
    """Return a callable: start a door whose own clock is so, and which asks the server."""

    def start(clock: str = "unset", **settings: object) -> None:
        monkeypatch.setenv("DOORWARD_CLOCK", clock)
        given = {"ntp_host": "127.0.0.1", "ntp_port": server.port, "ntp_interval_s": 16}
        site.new_door(**{**given, **settings})

    return start


def clock_of(site) -> dict:
    return site.status()["clock"]


def set_by(site) -> list[int]:
    return [one["detail"] for one in site.events("clock-set")]


def wait_for_requests(server: TimeServer, count: int) -> None:
    wait_until(lambda: len(server.requests) >= count, 30, "the server was not asked")


def test_a_door_with_an_unset_clock_is_synced(site, server, new_door):
    new_door()
    wait_until(lambda: clock_of(site)["quality"] == "synced", 15, "not synced")
    clock = clock_of(site)
    assert abs(clock["now_s"] - time.time()) < 2
    assert (clock["source"], clock["fault"], clock["drift_ppm"]) == ("ntp", "", 0)
    assert clock["synced_age_s"] < 20
    # What the first setting is: the time itself, for the clock said 0.
    (detail,) = set_by(site)
    assert abs(detail - time.time()) < 60
    # Records from there on have the time, and say how good it is.
    assert site.tap(site.officers[0].badge)["opened"]
    tap = site.events("tap")[-1]
    assert tap["clock_quality"] == "synced"
    happened = tap["happened_at"].replace(tzinfo=datetime.timezone.utc)
    assert abs(happened.timestamp() - time.time()) < 10


def test_the_request_says_nothing_of_the_door_and_is_never_the_same(site, server, new_door):
    server.reply = lambda request: []
    new_door()
    wait_for_requests(server, 3)
    assert {len(request) for request in server.requests} == {48}
    assert {request[:40] for request in server.requests} == {b"\x23" + bytes(39)}
    assert len({request[40:] for request in server.requests}) == len(server.requests)
    assert len(set(server.addresses)) == len(server.addresses), "a port of its own for each"


LIES = {
    "too early": (late_by(-400 * 24 * _HOUR_S), "cannot be"),
    "beyond all reason": (late_by(60 * 365 * 24 * _HOUR_S), "cannot be"),
    "another's answer": (
        lambda request: [packet(request[:40] + bytes(8), time.time())],
        "another question",
    ),
    "truncated": (lambda request: [honest(request)[0][:47]], "48 bytes"),
    "far too long": (lambda request: [honest(request)[0] + bytes(9000)], "48 bytes"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_sets_no_clock_and_the_truth_after_it_does(site, server, new_door, lie):
    server.reply, words = LIES[lie]
    new_door()
    wait_until(lambda: words in clock_of(site)["fault"], 10, "the lie was not seen")
    clock = clock_of(site)
    assert (clock["quality"], clock["now_s"], clock["source"]) == ("unset", 0, "none")
    assert set_by(site) == []
    assert site.tap(site.officers[0].badge)["opened"], "a responder needs no clock"
    server.reply = honest
    wait_until(lambda: clock_of(site)["quality"] == "synced", 30, "not synced")
    assert site.door.resets == 0


def test_an_answer_from_elsewhere_is_none(site, server, new_door):
    server.is_from_elsewhere = True
    new_door()
    wait_for_requests(server, 2)
    clock = clock_of(site)
    assert clock["quality"] == "unset"
    assert "no answer from the time server" in clock["fault"]


def test_a_kiss_of_death_is_obeyed(site, server, new_door):
    server.reply = lambda request: [packet(request, time.time(), stratum=0, code=b"DENY")]
    new_door(ntp_interval_s=16)
    wait_until(lambda: "refuses" in clock_of(site)["fault"], 15, "no kiss")
    asked = len(server.requests)
    server.reply = honest
    time.sleep(8)
    assert len(server.requests) == asked
    assert clock_of(site)["quality"] == "unset"


@pytest.mark.parametrize("lie_s", [_HOUR_S, -_HOUR_S])
def test_a_clock_that_jumps_is_not_believed(site, server, new_door, lie_s):
    """The issue's fault "clock jumping": the time server does, the door does not."""
    new_door()
    wait_until(lambda: clock_of(site)["quality"] == "synced", 15, "not synced")
    # An hour back is before the lists were signed; those bound it too.
    words = "cannot be" if lie_s < 0 else "s off"
    server.reply = late_by(lie_s)
    wait_until(lambda: words in clock_of(site)["fault"], 25, "the jump was not seen")
    assert abs(clock_of(site)["now_s"] - time.time()) < 2
    assert site.tap(site.officers[0].badge)["opened"]
    assert len(set_by(site)) == 1
    server.reply = honest
    wait_until(lambda: clock_of(site)["fault"] == "", 25, "the truth was not believed")
    assert len(set_by(site)) == 1


def test_a_network_that_is_lost_and_found(site, server, new_door):
    new_door()
    wait_until(lambda: clock_of(site)["quality"] == "synced", 15, "not synced")
    site.door.bench("network off")
    wait_until(lambda: clock_of(site)["fault"] == "the network is down", 25, "not seen")
    assert clock_of(site)["quality"] == "synced"
    asked = len(server.requests)
    site.door.bench("network on")
    wait_for_requests(server, asked + 1)
    wait_until(lambda: clock_of(site)["fault"] == "", 10, "not synced again")


def test_a_clock_with_a_battery_is_held_at_the_start_and_synced_then(site, server, new_door):
    server.reply = lambda request: []
    new_door("battery")
    clock = clock_of(site)
    assert (clock["quality"], clock["source"]) == ("held", "battery")
    assert abs(clock["now_s"] - time.time()) < 3
    server.reply = honest
    wait_until(lambda: clock_of(site)["quality"] == "synced", 30, "not synced")
    assert set_by(site) == [], "less than a second is no setting"
