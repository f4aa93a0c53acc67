"""Owns the far end of MQTT connections, in memory: a broker with one client on each, and its faults.

It knows what a door's client sends and little more; a real broker is for what this cannot show.
Runs on CPython, on MicroPython, and on a chip beside the firmware.
"""

import asyncio

_CONNACK = b"\x20\x02\x00\x00"
_PINGRESP = b"\xd0\x00"


class Broker:
    """Attributes:
    links: every Link that was opened, in order.
    is_listening: a connection can be opened.
    is_deaf: it takes what comes and says nothing, as a black hole does.
    on_publish: called with link, topic, payload (bytes), QoS and whether it is to be retained.
    """

    def __init__(self, on_publish=None) -> None:
        self.links = []
        self.is_listening = True
        self.is_deaf = False
        self.on_publish = on_publish

    async def open(self, host: str = "", port: int = 0, psk=None):
        """Open a connection; return (reader, writer). Raises OSError."""
        await asyncio.sleep(0)
        if not self.is_listening:
            raise OSError(111)
        link = Link(self)
        self.links.append(link)
        return link, link

    def send(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publish to whoever is connected."""
        for link in self.links:
            if not link.is_closed:
                link.send(topic, payload, qos, retain)

    def drop(self) -> None:
        """Close every connection, as a broker that is killed does."""
        for link in self.links:
            link.end()


class Link:
    """One connection, as MicroPython's asyncio.Stream looks from the client's side.

    Attributes:
        will: (topic, message) of the client's CONNECT, or None.
        filters: what the client subscribed to, in order.
        pubacks: how many messages the client acknowledged.
        is_closed: by the client.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._has_more = asyncio.Event()
        self._is_over = False
        self._next_id = 1
        self.will = None
        self.filters = []
        self.pubacks = 0
        self.is_closed = False

    # What the client does

    async def readinto(self, buf):
        while not self._outgoing and not self._is_over:
            self._has_more.clear()
            await self._has_more.wait()
        count = min(len(buf), len(self._outgoing))
        buf[:count] = self._outgoing[:count]
        self._outgoing = self._outgoing[count:]
        return count

    def write(self, data) -> None:
        if self.is_closed or self._is_over:
            raise OSError(104)
        self._incoming.extend(data)
        while True:
            packet = self._packet()
            if packet is None:
                return
            if not self._broker.is_deaf:
                self._answer(packet[0], packet[1])

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self.is_closed = True

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)

    # What the broker does

    def send(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        name = topic.encode()
        length = 2 + len(name) + 2 * qos + len(payload)
        self.feed(bytes((0x30 | qos << 1 | (1 if retain else 0),)) + _length(length))
        self.feed(bytes((len(name) >> 8, len(name) & 0xFF)) + name)
        if qos:
            self.feed(bytes((self._next_id >> 8, self._next_id & 0xFF)))
            self._next_id = self._next_id % 0xFFFF + 1
        self.feed(payload)

    def feed(self, data: bytes) -> None:
        """Let the client read these bytes, whatever they are."""
        self._outgoing.extend(data)
        self._has_more.set()

    def end(self) -> None:
        """Close the connection."""
        self._is_over = True
        self._has_more.set()

    def _packet(self):
        """Take the next whole packet off what came: (first byte, rest), or None."""
        data = self._incoming
        length = 0
        at = 1
        while True:
            if at >= len(data):
                return None
            length |= (data[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if data[at - 1] < 0x80:
                break
        if len(data) < at + length:
            return None
        self._incoming = data[at + length :]
        return data[0], bytes(data[at : at + length])

    def _answer(self, first: int, rest: bytes) -> None:
        kind = first & 0xF0
        if kind == 0x10:
            self._take_connect(rest)
            self.feed(_CONNACK)
        elif kind == 0x80:
            self.filters.append(rest[4:-1].decode())
            self.feed(b"\x90\x03" + rest[:2] + rest[-1:])
        elif kind == 0xC0:
            self.feed(_PINGRESP)
        elif kind == 0x40:
            self.pubacks += 1
        elif kind == 0x30:
            qos = first >> 1 & 3
            end = 2 + (rest[0] << 8 | rest[1])
            topic = rest[2:end].decode()
            if qos:
                self.feed(b"\x40\x02" + rest[end : end + 2])
                end += 2
            if self._broker.on_publish:
                self._broker.on_publish(self, topic, rest[end:], qos, bool(first & 1))

    def _take_connect(self, rest: bytes) -> None:
        if rest[7] & 0x04:
            _, at = _field(rest, 10)
            topic, at = _field(rest, at)
            message, at = _field(rest, at)
            self.will = (topic.decode(), message)


def _field(data: bytes, at: int):
    end = at + 2 + (data[at] << 8 | data[at + 1])
    return data[at + 2 : end], end


def _length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    return bytes((length & 0x7F | 0x80, length >> 7))
