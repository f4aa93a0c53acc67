"""The collector: takes records from the broker, commits them, and only then acknowledges."""

import asyncio
import logging
import struct

import aiomqtt
from doorward.journal import record as records
from sqlalchemy.exc import SQLAlchemyError

from doorctl.database import Conflict, Database

log = logging.getLogger(__name__)

_TOPIC = "doorward/+/+/records"
_MAX_BATCH_RECORDS = 256
_RETRY_S = 2.0


class Collector:
    """Serves one broker and one database.

    Attributes:
        stored: records that were new. repeated: records that were known. garbage: messages that
        held no whole records.
    """

    def __init__(self, host: str, port: int, database: Database) -> None:
        self._host = host
        self._port = port
        self._database = database
        self.stored = 0
        self.repeated = 0
        self.garbage = 0

    async def run(self) -> None:
        """Serve for ever; a lost broker is tried again every two seconds."""
        while True:
            try:
                async with aiomqtt.Client(self._host, self._port) as client:
                    await client.subscribe(_TOPIC, qos=1)
                    async for message in client.messages:
                        await self._take(client, message)
            except aiomqtt.MqttError as error:
                log.warning("broker %s:%s: %s", self._host, self._port, error)
            await asyncio.sleep(_RETRY_S)

    async def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        batch = _split(message.payload)
        _, site, door, _ = message.topic.value.split("/")
        if not batch:
            self.garbage += 1
            log.warning("%s: not a batch of records, dropped", message.topic)
            return
        try:
            new = await asyncio.to_thread(self._database.add, site, door, batch)
        except (SQLAlchemyError, Conflict) as error:
            # Not acknowledged, so the door keeps it and sends it again.
            log.error("database: %s", error)
            return
        self.stored += new
        self.repeated += len(batch) - new
        last, _ = batch[-1]
        payload = struct.pack("<I16s", last.sequence, last.tag)
        await client.publish(f"doorward/{site}/{door}/acknowledged", payload, qos=1)


def _split(payload: object) -> list[tuple[records.Record, bytes]]:
    """Return the records of a batch, or [] where it is not made of whole, consecutive ones."""
    size = records.RECORD_BYTES
    if not isinstance(payload, bytes) or not payload or len(payload) % size:
        return []
    if len(payload) > _MAX_BATCH_RECORDS * size:
        return []
    batch = []
    for at in range(0, len(payload), size):
        raw = payload[at : at + size]
        record = records.unpack(raw)
        if record is None or (batch and record.sequence != batch[-1][0].sequence + 1):
            return []
        batch.append((record, raw))
    return batch
