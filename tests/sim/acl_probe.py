"""A door that tries what is not its own; test_downlink.py reads what it prints.

Usage: micropython acl_probe.py HOST PORT PSK_IDENTITY PSK_HEX_KEY TOPIC ...

Subscribes to everything, publishes its identity on every TOPIC, and prints a line for each message
that it is sent: GOT topic payload.
"""

import asyncio
import binascii
import sys

from doorward.hal.unix import Network
from doorward.uplink.mqtt import MqttClient, SubscribeRefused

FILTERS = ("#", "doorward/#", "doorward/+/+/records", "doorward/+/@all/#", "$SYS/#")
LISTEN_S = 2


async def main(host, port, identity, key, *topics):
    psk = (identity.encode(), binascii.unhexlify(key))
    network = Network()

    async def open_stream():
        return await network.open(host, int(port), psk)

    def on_message(topic, payload, is_retained):
        print("GOT", topic, bytes(payload))

    client = MqttClient(open_stream, identity, on_message=on_message)
    await client.connect()
    reading = asyncio.create_task(client.run())
    for topic in FILTERS:
        try:
            await client.subscribe(topic)
        except SubscribeRefused:
            print("REFUSED", topic)
    for topic in topics:
        await client.publish(topic, identity.encode(), qos=1)
    print("READY")
    await asyncio.sleep(LISTEN_S)
    reading.cancel()
    await client.close()


asyncio.run(main(*sys.argv[1:]))
