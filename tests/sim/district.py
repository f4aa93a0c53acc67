"""The district's side of the broker, as the contract of the topics has it and as it can go wrong.

The collector itself is doorctl's; this one keeps what comes in memory and acknowledges as a test
says: late, twice, wrong or never.
"""

import hashlib
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from brokers import Broker
from doorctl import commands, keyring, keys
from doorctl.world import DOOR, ISSUERS, SITE, wait_until
from doorward.access.command import Command
from doorward.journal import record as records
from doorward.trust import objects
from doorward.trust.keyring import MAY_COMMAND, MAY_DENY, MAY_LIST, Issuer
from paho.mqtt import client as paho

OWN = f"doorward/{SITE}/{DOOR}"
ALL = f"doorward/{SITE}/@all"
_PIECE_BYTES = 1024
_PATIENCE_S = 15


def offer_of(data: bytes) -> bytes:
    """Return the entry that offers an object."""
    header = objects.parse_header(data)
    return struct.pack(
        "<BBHII8s4s",
        header.type,
        0,
        header.groups,
        header.version,
        len(data),
        header.issuer_id,
        hashlib.sha256(data).digest()[:4],
    )


class District:
    """Connected to a broker's plain port from `start` on; it connects again by itself.

    Attributes:
        stored: raw records of the door by journal and sequence.
        changed: records that came again with other content.
        batches: (first, last sequence) of each batch, as they came.
        heard: every message from the door: (topic, payload, QoS, retained). A live one is not
            retained, whatever it was published as.
        said: every message to it.
        wants: (offer, offset, count), as they came.
        acknowledge: called with journal id, last sequence, tag; does what a collector does.
        serve: called with offer, offset, count; returns the pieces to send.
    """

    def __init__(self, port: int) -> None:
        self.stored: dict[bytes, dict[int, bytes]] = {}
        self.changed: list[bytes] = []
        self.batches: list[tuple[int, int]] = []
        self.heard: list[tuple[str, bytes, int, bool]] = []
        self.said: list[tuple[str, bytes, int, bool]] = []
        self.wants: list[tuple[bytes, int, int]] = []
        self.objects: dict[bytes, bytes] = {}
        self.acknowledge: Callable[[bytes, int, bytes], None] = self.say_acknowledged
        self.serve: Callable[[bytes, int, int], list[bytes]] = self.pieces
        self._port = port
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, clean_session=True)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_args: self._subscribed.set()
        self._client.on_message = self._take

    def start(self) -> None:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._subscribed.wait(_PATIENCE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # What it says

    def say(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self.said.append((topic, payload, qos, retain))
        self._client.publish(topic, payload, qos, retain)

    def say_acknowledged(self, journal_id: bytes, sequence: int, tag: bytes) -> None:
        payload = journal_id + struct.pack("<I16s", sequence, tag)
        self.say(f"{OWN}/acknowledged", payload)

    def offer(self, *whole: bytes) -> None:
        """Offer these objects and no others."""
        self.objects = {offer_of(data): data for data in whole}
        self.say(f"{ALL}/offers", b"".join(self.objects), retain=True)

    def command(self, data: bytes, to: str = ALL) -> None:
        """Publish a signed command, to all doors of the site or to one."""
        issuer = objects.parse_header(data).issuer_id.hex()
        self.say(f"{to}/command/{issuer}", data, retain=True)

    def pieces(self, offer: bytes, at: int, count: int) -> list[bytes]:
        """Return the pieces that answer a want."""
        data = self.objects.get(offer, b"")
        end = min(at + count, len(data))
        return [
            piece(offer, begin, data[begin : min(begin + _PIECE_BYTES, end)])
            for begin in range(at, end, _PIECE_BYTES)
        ]

    # What it hears

    def states(self) -> list[bytes]:
        return [payload for topic, payload, _, _ in self.heard if topic == f"{OWN}/state"]

    def of_door(self) -> list[bytes]:
        """Return the records of the door's only journal, in order."""
        assert len(self.stored) <= 1
        for by_sequence in self.stored.values():
            return [by_sequence[n] for n in sorted(by_sequence)]
        return []

    def _subscribe(self, client: paho.Client, *_args: object) -> None:
        own = f"doorward/{SITE}/{DOOR}/"
        client.subscribe([(own + name, 1) for name in ("state", "health", "records", "want")])

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        self.heard.append((message.topic, payload, message.qos, message.retain))
        if message.topic == f"{OWN}/records":
            self._take_records(payload)
        elif message.topic == f"{OWN}/want":
            offer, (at, count, _) = payload[:24], struct.unpack("<IHH", payload[24:])
            self.wants.append((offer, at, count))
            for one in self.serve(offer, at, count):
                self.say(f"{OWN}/piece", one, qos=0)

    def _take_records(self, payload: bytes) -> None:
        journal_id, whole = payload[:8], payload[8:]
        known = self.stored.setdefault(journal_id, {})
        last = None
        first = 0
        for at in range(0, len(whole), records.RECORD_BYTES):
            raw = whole[at : at + records.RECORD_BYTES]
            last = records.unpack(raw)
            assert last is not None
            first = first or last.sequence
            if known.setdefault(last.sequence, raw) != raw:
                self.changed.append(raw)
        assert last is not None
        self.batches.append((first, last.sequence))
        self.acknowledge(journal_id, last.sequence, last.tag)


def piece(offer: bytes, at: int, data: bytes) -> bytes:
    return offer + struct.pack("<I", at) + data


QUICK = {"ack_timeout_ms": 1000, "keepalive_s": 5, "health_s": 5, "quiet_ms": 100}


class Wired:
    """A site whose door and district meet at one broker.

    Attributes:
        taps_ms: from badge to strike, of every `tap`.
    """

    def __init__(self, site: Any, broker: Broker, uplink_key: bytes) -> None:
        self.site = site
        self.broker = broker
        self._uplink_key = uplink_key
        self.district = District(broker.port)
        self.taps_ms: list[float] = []
        self._taps = 0

    def new_door(
        self, *, has_lists: bool = False, port: int | None = None, **settings: object
    ) -> None:
        """Start a new door. port: of a wire between it and the broker."""
        self.site.new_door(
            has_lists=has_lists,
            uplink_key=self._uplink_key,
            broker_port=port or self.broker.device_port,
            **{**QUICK, "broker_tls": self.broker.is_tls, **settings},
        )

    def until_connected(self) -> None:
        wait(lambda: self.site.status()["uplink"]["is_connected"], "no connection")

    def ring(self, version: int) -> bytes:
        """Sign a key ring with the same issuers."""
        folder = self.site.folder / "keys"
        issuers = [
            Issuer(
                name,
                1 << number,
                keys.load_public(folder / f"{name}.pub.pem"),
                powers=MAY_LIST | MAY_DENY | MAY_COMMAND,
            )
            for name, number in ISSUERS.items()
        ]
        root = keys.load_private(folder / "root.pem")
        return keyring.build_ring(SITE, version, [root], 1, issuers)

    def order(self, issuer: str, kind: int, counter: int, life_s: int = 600, **how: Any) -> bytes:
        """Sign a command that is over in `life_s`. how: what Command takes besides."""
        now_s = int(time.time())
        private = keys.load_private(self.site.folder / "keys" / f"{issuer}.pem")
        command = Command(kind, now_s + life_s, **how)
        return commands.build_command(command, private, SITE, counter, now_s)

    def tap(self) -> None:
        """Tap an officer's badge, another than the last one: it must open, and at once."""
        self._taps += 1
        badge = self.site.officers[self._taps % len(self.site.officers)].badge
        seen = self.site.tap(badge)
        assert seen["opened"], seen
        # The promise is 100 ms, on the chip. This is a host's process among others.
        assert seen["tap_to_relay_ms"] < 400, seen
        self.taps_ms.append(seen["tap_to_relay_ms"])

    def check_delivered(self) -> None:
        """Wait until the district has all that the door holds: nothing lost, nothing changed."""
        held = self.site.held()
        wait(lambda: len(self.district.of_door()) >= len(held), "records are missing", 90)
        assert self.district.of_door()[: len(held)] == held
        assert self.district.changed == []

    def in_force(self) -> tuple[dict, dict, int]:
        """Return the versions in force: lists, deny lists, key ring."""
        status = self.site.status()
        lists = {one["issuer"]: one["version"] for one in status["lists"]}
        return (
            lists,
            {one["issuer"]: one["version"] for one in status["denied"]},
            status["key_ring"],
        )


def wait(is_so: Callable[[], object], otherwise: str, timeout_s: float = 150) -> None:
    """timeout_s: connections that did not last make a door's pauses longer, up to a minute each."""
    wait_until(lambda: bool(is_so()), timeout_s, otherwise)
