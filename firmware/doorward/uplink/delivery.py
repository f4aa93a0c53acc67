"""Delivery: the journal's records to the collector, at least once, in order, acknowledged.

Topics below doorward/<site>/<door>/: `state` (retained, birth and will), `records` up,
`acknowledged` down. Payloads: docs/formats.md, "Uplink".
"""

import asyncio
import json
import struct

from .. import const
from .mqtt import Backoff, MqttClient, MqttError

BATCH_RECORDS = const(32)
_RECORD_BYTES = const(64)
_ACKNOWLEDGEMENT = "<I16s"
_ACKNOWLEDGEMENT_BYTES = const(20)
_LOOK_MS = const(100)
_LINK_MS = const(500)
_MAX_PACKET_BYTES = const(4096)


class Uplink:
    """Keeps a connection to the broker and delivers over it. The door never waits for it.

    Attributes:
        is_wanted: this door is to have a connection.
        is_connected: the broker answers.
        sessions: connections made so far.
        resent: batches that were sent again because no acknowledgement came.
        garbage: messages that were none of the documented ones.
        fault: why there is no connection, in words; "" while there is one.
    """

    def __init__(self, board, config, journal, psk: bytes, birth) -> None:
        """board: has network, ticks, random_bytes. journal: has read, acknowledge, acknowledged.

        board.network may be None. psk: TLS key, used where broker_tls is on. birth: callable,
        returns what the door says of itself online (dict).
        """
        self._network = board.network
        self._journal = journal
        self._ticks = board.ticks
        self._config = config
        self._psk = psk
        self._birth = birth
        self._backoff = Backoff(board.random_bytes)
        self._base = "doorward/" + config.site + "/" + config.door + "/"
        self._acknowledged = asyncio.Event()
        self.is_wanted = bool(board.network is not None and config.broker_host)
        self.is_connected = False
        self.sessions = 0
        self.resent = 0
        self.garbage = 0
        self.fault = ""

    async def run(self) -> None:
        """Connect, deliver, and after any failure begin again after a jittered pause."""
        if not self.is_wanted:
            self.fault = "no broker configured" if self._network else "no network on this board"
            return
        while True:
            await self._join()
            client = MqttClient(
                self._open_stream,
                self._config.site + "/" + self._config.door,
                on_message=self._on_message,
                keepalive_s=self._config.keepalive_s,
                will=(self._base + "state", b'{"state": "offline"}', 1, True),
                max_packet_bytes=_MAX_PACKET_BYTES,
            )
            reading = None
            try:
                await client.connect()
                reading = asyncio.create_task(client.run())
                await client.subscribe(self._base + "acknowledged")
                birth = dict(self._birth(), state="online")
                await client.publish(
                    self._base + "state", json.dumps(birth).encode(), qos=1, retain=True
                )
                self.is_connected = True
                self.sessions += 1
                self.fault = ""
                self._backoff.reset()
                await self._deliver(client, reading)
            except (MqttError, OSError) as error:
                self.fault = str(error)
            finally:
                self.is_connected = False
                if reading is not None:
                    reading.cancel()
                await client.close(polite=False)
            await asyncio.sleep_ms(self._backoff.next_ms())

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
        identity = (self._config.site + "/" + self._config.door).encode()
        return await self._network.open(
            self._config.broker_host,
            self._config.broker_port,
            (identity, self._psk) if self._config.broker_tls else None,
        )

    async def _deliver(self, client: MqttClient, reading) -> None:
        """Send the oldest unacknowledged batch until it is acknowledged; then the next."""
        journal = self._journal
        last_sent = 0
        while True:
            await self._check_connection(reading)
            batch = await journal.read(journal.acknowledged + 1, BATCH_RECORDS)
            if not batch:
                await asyncio.sleep_ms(_LOOK_MS)
                continue
            (sequence,) = struct.unpack_from("<I", batch, len(batch) - _RECORD_BYTES + 4)
            if sequence <= last_sent:
                self.resent += 1
            last_sent = sequence
            self._acknowledged.clear()
            await client.publish(self._base + "records", batch, qos=1)
            await self._wait_for(sequence, reading)

    async def _wait_for(self, sequence: int, reading) -> None:
        """Wait until the collector has `sequence`, the connection ends, or the patience does."""
        ticks = self._ticks
        deadline = ticks.ticks_add(ticks.ticks_ms(), self._config.ack_timeout_ms)
        while self._journal.acknowledged < sequence:
            await self._check_connection(reading)
            left_ms = ticks.ticks_diff(deadline, ticks.ticks_ms())
            if left_ms <= 0:
                return
            try:
                await asyncio.wait_for_ms(self._acknowledged.wait(), min(left_ms, _LOOK_MS))
            except asyncio.TimeoutError:
                pass
            self._acknowledged.clear()

    async def _check_connection(self, reading) -> None:
        """Raise what ended the connection, if something has."""
        if reading.done():
            await reading
        if not self._network.is_up:
            # A lost link is known at once; the broker's silence only after the keepalive.
            raise OSError("the network is down")

    def _on_message(self, topic: str, payload, retain: bool) -> None:
        """Take an acknowledgement. Anything else is counted and dropped."""
        if topic != self._base + "acknowledged" or len(payload) != _ACKNOWLEDGEMENT_BYTES:
            self.garbage += 1
            return
        sequence, tag = struct.unpack(_ACKNOWLEDGEMENT, payload)
        if self._journal.acknowledge(sequence, tag):
            self._acknowledged.set()
