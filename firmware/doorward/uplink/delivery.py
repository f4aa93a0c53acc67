"""Delivery: the journal's records to the collector, at least once, in order, acknowledged; and the
connection over which they go, on which the door also says how it is.

Topics below doorward/<site>/<door>/: `state` (retained, birth and will), `health`, `records` up,
`acknowledged` down. Payloads: docs/formats.md, "Uplink".
"""

import asyncio
import json
import struct
from binascii import hexlify

from .. import const
from ..quiet import Breather
from .mqtt import Backoff, MqttClient, MqttError

BATCH_RECORDS = const(32)
MAX_HEALTH_BYTES = const(2048)

_RECORD_BYTES = const(64)
_SEQUENCE_AT = const(4)  # in a record, a u32
_ACKNOWLEDGEMENT = "<8sI16s"  # journal id, sequence, tag
_ACKNOWLEDGEMENT_BYTES = const(28)
_LOOK_MS = const(100)
_LINK_MS = const(500)
# The longest batch with its topic; a health message and a piece are shorter. A TLS record is taken
# in at once, 4 to 7 ms a KB on an RP2040.
_MAX_PACKET_BYTES = const(2176)
# The first wait before connecting is drawn from this, later ones from up to a minute: hundreds of
# doors come back from an outage, and not all of them in the same second.
_SPREAD_MS = const(2000)
_SPREAD_CAP_MS = const(60_000)
# A connection that lasted as long was a good one. Two doors by one name push each other out at once.
_GOOD_MS = const(30_000)
# A batch leaves some 20 KB of garbage, from flash to its acknowledgement.
_BATCHES_TO_COLLECT = const(3)
# Patience with a collector that is silent grows to so many times `ack_timeout_ms`.
_PATIENCE = const(8)


class Uplink:
    """Keeps a connection to the broker and delivers over it. The door never waits for it.

    Attributes:
        is_wanted: this door is to have a connection.
        is_connected: the broker answers.
        sessions: connections made so far.
        resent: batches that were sent again because no acknowledgement came.
        garbage: messages that were none of the documented ones, or for another journal.
        fault: why there is no connection, in words; "" while there is one.
        down: the Downlink, which hears over the same connection.
    """

    def __init__(self, board, config, journal, psk: bytes, birth, health, down) -> None:
        """board: has network, ticks, random_bytes. journal: has read, acknowledge, acknowledged,
        journal_id (8 bytes).

        board.network may be None. psk: TLS key, used where broker_tls is on. birth, health:
        callables, return what the door says of itself online, and how it is (dict).
        """
        self._network = board.network
        self._journal = journal
        self._ticks = board.ticks
        self._config = config
        self._psk = psk
        self._birth = birth
        self._health = health
        self._backoff = Backoff(board.random_bytes, _SPREAD_MS, _SPREAD_CAP_MS)
        ack_timeout_ms = config.ack_timeout_ms
        self._patience = Backoff(board.random_bytes, ack_timeout_ms, _PATIENCE * ack_timeout_ms)
        self._name = config.site + "/" + config.door
        self._base = "doorward/" + self._name + "/"
        self._acknowledged = asyncio.Event()
        self._breather = Breather(_BATCHES_TO_COLLECT)
        self._last_sent = 0
        self._connected_ms = 0
        self._is_proven = False
        self._health_ms = 0
        self.down = down
        self.is_wanted = bool(board.network is not None and config.broker_host)
        self.is_connected = False
        self.sessions = 0
        self.resent = 0
        self.garbage = 0
        self.fault = ""
        if not self.is_wanted:
            self.fault = "no broker configured" if self._network else "no network on this board"

    def tasks(self) -> tuple:
        """Return (name, coroutine function) of what is to run, for ever; nothing without a broker."""
        if not self.is_wanted:
            return ()
        return (
            ("uplink", self.run),
            ("fetch", self.down.fetch),
            ("commands", self.down.obey),
        )

    async def run(self) -> None:
        """Connect, deliver, and after any failure begin again after a jittered pause."""
        while True:
            await self._join()
            await asyncio.sleep_ms(self._backoff.next_ms())
            client = MqttClient(
                self._open_stream,
                self._name,
                on_message=self._on_message,
                keepalive_s=self._config.keepalive_s,
                will=(self._base + "state", b'{"state": "offline"}', 1, True),
                max_packet_bytes=_MAX_PACKET_BYTES,
            )
            reading = None
            try:
                await client.connect()
                reading = asyncio.create_task(client.run())
                await self._begin(client)
                await self._deliver(client, reading)
            except (MqttError, OSError) as error:
                self.fault = str(error)
            finally:
                self.is_connected = False
                self.down.follow(None)
                if reading is not None:
                    reading.cancel()
                await client.close(polite=False)

    async def _join(self) -> None:
        """Wait until the network is there. No attempt at the broker, so nothing to back off from."""
        while True:
            try:
                if await self._network.join():
                    return
                self.fault = self._network.fault or "no network"
            except OSError as error:
                self.fault = str(error)
            await asyncio.sleep_ms(_LINK_MS)

    async def _open_stream(self):
        return await self._network.open(
            self._config.broker_host,
            self._config.broker_port,
            (self._name.encode(), self._psk) if self._config.broker_tls else None,
        )

    async def _begin(self, client: MqttClient) -> None:
        """Subscribe, and then say that the door is there."""
        await client.subscribe(self._base + "acknowledged")
        for topic, qos in self.down.subscriptions():
            await client.subscribe(topic, qos)
        journal_id = hexlify(self._journal.journal_id).decode()
        birth = dict(self._birth(), state="online", journal=journal_id)
        await client.publish(self._base + "state", json.dumps(birth).encode(), qos=1, retain=True)
        self.is_connected = True
        self.sessions += 1
        self.fault = ""
        self._connected_ms = self._health_ms = self._ticks.ticks_ms()
        self._is_proven = False
        self.down.follow(client)

    async def _deliver(self, client: MqttClient, reading) -> None:
        """Send the oldest unacknowledged batch until it is acknowledged; then the next.

        Never two at once: collectors share the doors' batches among them and may commit the second
        one first, and an acknowledgement is for all that came before.
        """
        journal = self._journal
        while True:
            await self._look_after(client, reading)
            batch = await journal.read(journal.acknowledged + 1, BATCH_RECORDS)
            if not batch:
                await asyncio.sleep_ms(_LOOK_MS)
                continue
            (first,) = struct.unpack_from("<I", batch, _SEQUENCE_AT)
            (last,) = struct.unpack_from("<I", batch, len(batch) - _RECORD_BYTES + _SEQUENCE_AT)
            if first <= self._last_sent:
                self.resent += 1
            self._last_sent = last
            self._acknowledged.clear()
            await client.publish(self._base + "records", journal.journal_id + batch, qos=1)
            await self._wait_for(last, client, reading)

    async def _wait_for(self, sequence: int, client: MqttClient, reading) -> None:
        """Wait until the collector has `sequence`, the connection ends, or the patience does."""
        ticks = self._ticks
        patience_ms = self._config.ack_timeout_ms + self._patience.next_ms()
        deadline = ticks.ticks_add(ticks.ticks_ms(), patience_ms)
        while self._journal.acknowledged < sequence:
            await self._look_after(client, reading)
            left_ms = ticks.ticks_diff(deadline, ticks.ticks_ms())
            if left_ms <= 0:
                return
            try:
                await asyncio.wait_for_ms(self._acknowledged.wait(), min(left_ms, _LOOK_MS))
            except asyncio.TimeoutError:
                pass
            self._acknowledged.clear()
        self._patience.reset()

    async def _look_after(self, client: MqttClient, reading) -> None:
        """Raise what ended the connection, if something has; say how the door is when it is time."""
        if reading.done():
            await reading
        if not self._network.is_up:
            # A lost link is known at once; the broker's silence only after the keepalive.
            raise OSError("the network is down")
        ticks = self._ticks
        now_ms = ticks.ticks_ms()
        if not self._is_proven and ticks.ticks_diff(now_ms, self._connected_ms) >= _GOOD_MS:
            self._is_proven = True
            self._backoff.reset()
        if ticks.ticks_diff(now_ms, self._health_ms) >= 0:
            self._health_ms = ticks.ticks_add(now_ms, self._config.health_s * 1000)
            health = json.dumps(self._health()).encode()
            if len(health) <= MAX_HEALTH_BYTES:
                await client.publish(self._base + "health", health)

    def _on_message(self, topic: str, payload: memoryview, is_retained: bool) -> None:
        """Take a message. What is none of the documented ones is counted and dropped."""
        if topic == self._base + "acknowledged":
            is_known = self._take_acknowledgement(payload)
        else:
            is_known = self.down.take(topic, payload, is_retained)
        if not is_known:
            self.garbage += 1

    def _take_acknowledgement(self, payload: memoryview) -> bool:
        if len(payload) != _ACKNOWLEDGEMENT_BYTES:
            return False
        journal_id, sequence, tag = struct.unpack(_ACKNOWLEDGEMENT, payload)
        if journal_id != self._journal.journal_id:
            return False
        if self._journal.acknowledge(sequence, tag):
            self._acknowledged.set()
        return True
