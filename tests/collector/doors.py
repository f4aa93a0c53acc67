"""Simulated doors that do nothing but deliver: real journals, real MQTT, hundreds in one thread.

Each sends the oldest batch that is not acknowledged, waits for its acknowledgement, and sends it
again when none comes, as a door does.
"""

import asyncio
import json
import os
import struct
from collections.abc import Sequence

from doorward import values
from doorward.journal import record as records
from doorward.trust.primitives import HmacKey

RECORD_BYTES = records.RECORD_BYTES
KEY = HmacKey(bytes(32))
_ACKNOWLEDGED = struct.Struct("<8sI16s")
_NOW_S = 1_790_000_000


def event(code: int, **what) -> values.Event:
    """An event as the firmware makes it. what: attributes of Event."""
    made = values.Event(code, 0)
    for name, value in what.items():
        setattr(made, name, value)
    return made


def journal(
    events: Sequence[values.Event],
    *,
    first: int = 1,
    boot: int = 1,
    tag: bytes = records.FIRST_TAG,
    wall_s: int = _NOW_S,
) -> list[bytes]:
    """The records of these events, chained. wall_s: of the first; 0: the clock is unset."""
    found = []
    for number, one in enumerate(events):
        quality = values.CLOCK_SYNCED if wall_s else values.CLOCK_UNSET
        record = records.Record(one, first + number, boot, wall_s and wall_s + number, quality)
        found.append(record.pack(KEY, tag))
        tag = record.tag
    return found


def taps(count: int, seed: int = 0) -> list[values.Event]:
    """That many granted taps of different badges."""
    return [
        event(
            values.TAP,
            reason=values.GRANTED,
            badge_id=struct.pack("<IIH", seed, number, 1),
            cardholder_class=values.RESPONDER,
            decision_us=4000,
            relay_us=4100,
            list_version=7,
        )
        for number in range(count)
    ]


def string(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def packet(kind: int, body: bytes) -> bytes:
    """An MQTT control packet."""
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes((digit | (0x80 if size else 0),))
        if not size:
            return bytes((kind,)) + length + body


class Door(asyncio.Protocol):
    """One door's connection and its journal.

    Attributes:
        sent: batches sent. resent: of them, again. acknowledged: sequence.
        strange: acknowledgements that fit no record of this door.
    """

    def __init__(
        self,
        site: str,
        name: str,
        raw: Sequence[bytes],
        *,
        journal_id: bytes | None = None,
        batch: int = 32,
        patience_s: float = 5.0,
    ) -> None:
        """raw: its records. batch: most records of a message. patience_s: then it sends again."""
        self.site, self.name, self.raw = site, name, list(raw)
        self.journal_id = journal_id or os.urandom(8)
        self._batch = batch
        self._patience_s = patience_s
        self._base = f"doorward/{site}/{name}/"
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._at = 0  # records that are acknowledged
        self._sent_at = -1
        self._timer: asyncio.TimerHandle | None = None
        self.is_welcome = asyncio.Event()
        self.is_done = asyncio.Event()
        self.sent = 0
        self.resent = 0
        self.strange = 0
        self.is_paused = True
        self._loop = asyncio.get_running_loop()
        topic = string(self._base + "records")
        # Made beforehand: the bench measures the collector, and nobody else.
        self._packets = {
            at: packet(
                0x32,
                topic + b"\x00\x01" + self.journal_id + b"".join(self.raw[at : at + batch]),
            )
            for at in range(0, len(self.raw), batch)
        }

    @property
    def journal(self) -> str:
        return self.journal_id.hex()

    async def live(self, port: int) -> None:
        """Connect, for ever: a lost connection is made again."""
        while True:
            try:
                _, _ = await self._loop.create_connection(lambda: self, "127.0.0.1", port)
                await self._lost
            except OSError:
                pass
            await asyncio.sleep(0.2)

    def go(self) -> None:
        """Deliver from now on."""
        self.is_paused = False
        self._send()

    def add(self, raw: Sequence[bytes]) -> None:
        """More has happened."""
        at = len(self.raw)
        self.raw += raw
        self._packets = {k: p for k, p in self._packets.items() if k + self._batch <= at}
        self.is_done.clear()
        self._send()

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._lost = self._loop.create_future()
        self._data.clear()
        will = string(self._base + "state") + string('{"state": "offline"}')
        transport.write(
            packet(
                0x10,
                string("MQTT") + b"\x04\x2e\x00\x3c" + string(f"{self.site}/{self.name}") + will,
            )
        )

    def connection_lost(self, exc) -> None:
        self._transport = None
        self.is_welcome.clear()
        if self._timer is not None:
            self._timer.cancel()
        if not self._lost.done():
            self._lost.set_result(None)

    def drop(self) -> None:
        """Lose the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    def publish(self, leaf: str, payload: bytes, kind: int = 0x30) -> None:
        """Publish below the door's own topics. kind: 0x30 QoS 0, 0x31 retained as well."""
        assert self._transport is not None
        self._transport.write(packet(kind, string(self._base + leaf) + payload))

    def say(self, leaf: str, **what) -> None:
        """Publish a state (retained) or a health message."""
        self.publish(leaf, json.dumps(what).encode(), 0x31 if leaf == "state" else 0x30)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 2:
            size, at, shift = 0, 1, 0
            while True:
                if at >= len(self._data):
                    return
                digit = self._data[at]
                size |= (digit & 0x7F) << shift
                at += 1
                shift += 7
                if not digit & 0x80:
                    break
            if len(self._data) < at + size:
                return
            kind, body = self._data[0], bytes(self._data[at : at + size])
            del self._data[: at + size]
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        assert self._transport is not None
        if kind == 0x20:
            topics = b"".join(
                string(self._base + leaf) + b"\x01" for leaf in ("acknowledged", "piece")
            )
            offers = string(f"doorward/{self.site}/@all/offers") + b"\x01"
            self._transport.write(packet(0x82, b"\x00\x01" + topics + offers))
        elif kind == 0x90:
            self.say("state", state="online", journal=self.journal, firmware="0.1.0", board="sim")
            self.is_welcome.set()
            self._sent_at = -1
            self._send()
        elif kind & 0xF0 == 0x30:
            (size,) = struct.unpack_from(">H", body)
            topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
            if kind & 0x06:
                self._transport.write(b"\x40\x02" + rest[:2])
                rest = rest[2:]
            self.on_message(topic.rpartition("/")[2], rest)

    def on_message(self, leaf: str, payload: bytes) -> None:
        if leaf != "acknowledged":
            return
        journal_id, sequence, tag = _ACKNOWLEDGED.unpack(payload)
        (first,) = struct.unpack_from("<I", self.raw[0], 4)
        at = sequence - first
        is_ours = journal_id == self.journal_id and 0 <= at < len(self.raw)
        if not is_ours or self.raw[at][44:60] != tag:
            self.strange += 1
            return
        self._at = max(self._at, at + 1)
        self._send()

    @property
    def acknowledged(self) -> int:
        """How many records are."""
        return self._at

    def _send(self) -> None:
        if self._at >= len(self.raw):
            if self._timer is not None:
                self._timer.cancel()
            self.is_done.set()
            return
        if self.is_paused or self._transport is None or not self.is_welcome.is_set():
            return
        if self._sent_at == self._at:
            self.resent += 1
        self._sent_at = self._at
        whole = self._packets.get(self._at)
        if whole is None:
            payload = b"".join(self.raw[self._at : self._at + self._batch])
            topic = string(self._base + "records")
            whole = packet(0x32, topic + b"\x00\x01" + self.journal_id + payload)
        self._transport.write(whole)
        self.sent += 1
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._patience_s, self._send)
