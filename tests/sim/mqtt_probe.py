"""The MQTT client on MicroPython against a real broker; test_mqtt_brokers.py reads what it prints.

Usage: micropython mqtt_probe.py HOST PORT once|again [PSK_IDENTITY PSK_HEX_KEY]

once: one connection, until a message on probe/in/stop; again: reconnects for ever.
Each line is a word and its values:
  REFUSED error       connect() failed; `once` ends here
  READY present cipher    connected, subscribed and published; a session was present; the suite
  GOT topic bytes crc32 retain
  LOST ms error       the connection ended, ms after the probe last heard from the broker
  SLICE us us         longest step of a task, from one await to the next: connecting, afterwards
  COUNT packets_in packets_out bytes_in bytes_out drained unknown_acks
"""

import asyncio
import binascii
import os
import sys
import time

from doorward.uplink.mqtt import Backoff, MqttClient, MqttError

KEEPALIVE_S = 2
SUITES = ("TLS-PSK-WITH-AES-256-GCM-SHA384", "TLS-PSK-WITH-AES-128-GCM-SHA256")


def psk_context(identity, key):
    import tls

    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(SUITES)  # no ECDHE-PSK, and nothing that would ask for a certificate
    context.psk_identity = identity
    context.psk_key = key  # once per context: setting it again is an error
    return context


class SliceWatch:
    """Times each step of each task: what the loop does between two looks at the sockets.

    A task that counts its own turns would not do here: the unix port's poll() waits 1 ms for every
    step while a TLS socket is in it, and that would be added up over all tasks.
    """

    def __init__(self):
        self._longest_us = 0
        self._start_us = time.ticks_us()
        queue = asyncio.core._io_queue
        self._wait = queue.wait_io_event
        queue.wait_io_event = self._wait_io_event

    def _wait_io_event(self, wait_ms):
        step_us = time.ticks_diff(time.ticks_us(), self._start_us)
        self._longest_us = max(self._longest_us, step_us)
        self._wait(wait_ms)
        self._start_us = time.ticks_us()

    def take_longest_us(self):
        longest_us, self._longest_us = self._longest_us, 0
        return longest_us


class Probe:
    def __init__(self, host, port, context):
        self.host = host
        self.port = port
        self.context = context
        self.cipher = "-"
        self.is_stopped = asyncio.Event()
        self.heard_ms = 0
        self.slices = SliceWatch()
        self.client = MqttClient(
            self.open_stream,
            "probe",
            on_message=self.on_message,
            keepalive_s=KEEPALIVE_S,
            will=("probe/will", b"gone", 1, False),
            max_packet_bytes=4096,
            timeout_ms=3000,
        )

    async def open_stream(self):
        # Defers the handshake to the first write, which waits for the socket between its steps.
        reader, writer = await asyncio.open_connection(
            self.host, self.port, ssl=self.context, server_hostname=self.host
        )
        self.stream = reader
        return reader, writer

    def on_message(self, topic, payload, retain):
        self.heard_ms = time.ticks_ms()
        print("GOT", topic, len(payload), f"{binascii.crc32(payload):08x}", int(retain))
        if topic == "probe/in/stop":
            self.is_stopped.set()

    async def connection(self):
        """Connect, say what there is to say, and return the task that runs the connection."""
        self.slices.take_longest_us()
        await self.client.connect()
        self.heard_ms = time.ticks_ms()
        connect_us = self.slices.take_longest_us()
        if self.context:
            self.cipher = self.stream.s.cipher()[0]
        run = asyncio.create_task(self.ended())
        await self.client.subscribe("probe/in/#", 1)
        await self.client.publish("probe/out/0", bytes(range(256)) * 8)
        await self.client.publish("probe/out/1", b"\xff" * 2048, qos=1)
        await self.client.publish("probe/out/kept", b"kept", qos=1, retain=True)
        self.heard_ms = time.ticks_ms()
        print("READY", int(self.client.session_present), self.cipher)
        return run, connect_us

    async def ended(self):
        try:
            await self.client.run()
        except MqttError as error:
            print("LOST", time.ticks_diff(time.ticks_ms(), self.heard_ms), repr(error))

    async def once(self):
        try:
            run, connect_us = await self.connection()
        except MqttError as error:
            print("REFUSED", repr(error))
            return
        await self.is_stopped.wait()
        # Eight at once, and more waiting, while the broker sends what it likes.
        for task in [
            asyncio.create_task(self.client.publish("probe/out/many", bytes(500), qos=1))
            for _ in range(20)
        ]:
            await task
        print("SLICE", connect_us, self.slices.take_longest_us())
        c = self.client
        print("COUNT", c.packets_in, c.packets_out, c.bytes_in, c.bytes_out, c.drained, end=" ")
        print(c.unknown_acks)
        await c.close()
        await run

    async def again(self):
        backoff = Backoff(os.urandom, 100, 400)
        while True:
            try:
                run, _ = await self.connection()
                backoff.reset()
                await run
            except MqttError as error:
                print("REFUSED", repr(error))
            await asyncio.sleep_ms(backoff.next_ms())


async def main(host, port, scenario, identity=None, key=None):
    context = psk_context(identity, binascii.unhexlify(key)) if identity else None
    probe = Probe(host, int(port), context)
    if scenario == "again":
        await probe.again()
    else:
        await probe.once()


asyncio.run(main(*sys.argv[1:]))
