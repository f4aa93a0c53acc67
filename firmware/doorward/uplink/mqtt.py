"""MQTT: an asyncio client for MQTT 3.1.1, and the back-off between its connections.

QoS 0 and 1, plain TCP or TLS: the stream is made by whoever builds the client. Section numbers in
brackets are those of the OASIS Standard "MQTT Version 3.1.1" (29 October 2014).

The client keeps no message over a lost connection: what was not acknowledged was refused with
ConnectionLost and is the caller's to send again, under a new packet id. So [4.4]'s resending is
the journal's, which holds its records in flash until the server acknowledges their sequence.
"""

import asyncio

from doorward import const

from ..values import DoorwardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Octets = bytes | bytearray | memoryview

# Control packets with the flags 3.1.1 fixes for them [2.2.1, 2.2.2].
# fmt: off
_CONNECT   = const(0x10)  # [3.1]
_CONNACK   = const(0x20)  # [3.2]
_PUBLISH   = const(0x30)  # [3.3], flags are DUP 8, QoS 6, RETAIN 1
_PUBACK    = const(0x40)  # [3.4]
_SUBSCRIBE = const(0x82)  # [3.8]
_SUBACK    = const(0x90)  # [3.9]
_PINGRESP  = const(0xD0)  # [3.13]

_FLAG_DUP    = const(0x08)
_FLAG_QOS    = const(0x06)
_FLAG_RETAIN = const(0x01)

# Connect flags [3.1.2.3]; the will's QoS is shifted left by 3.
_USERNAME      = const(0x80)
_PASSWORD      = const(0x40)
_WILL_RETAIN   = const(0x20)
_WILL          = const(0x04)
_CLEAN_SESSION = const(0x02)

_SUBSCRIPTION_REFUSED = const(0x80)  # [3.9.3]

_SLICE_BYTES     = const(512)  # read or written between two awaits; a TLS record of it is 2 to 4 ms
_MAX_TOPIC_BYTES = const(256)  # checking a topic is one loop in Python: this keeps it to some ms
_MAX_IN_FLIGHT   = const(8)
# fmt: on

# Whole packets that are always the same [3.12, 3.14].
_PINGREQ = b"\xc0\x00"
_DISCONNECT = b"\xe0\x00"

# What a broken stream raises. ValueError: MicroPython's TLS, when it refuses a certificate.
_STREAM_ERRORS = (OSError, EOFError, ValueError)


class MqttError(DoorwardError):
    """The root of what this client raises about the connection and the other side."""


class ConnectRefused(MqttError):
    """The broker answered CONNECT with a refusal. `code`: the return code, 1..255 [3.2.2.3]."""

    def __init__(self, code: int) -> None:
        super().__init__("the broker refused the connection", code)
        self.code = code


class SubscribeRefused(MqttError):
    """The broker refused a subscription; the connection goes on [3.9.3]."""


class ProtocolError(MqttError):
    """A malformed or unexpected packet came in, or a method was called in the wrong state."""


class ConnectionLost(MqttError):
    """There is no connection: it ended, it broke, or the other side did not answer in time."""


class Backoff:
    """Waits between connection attempts: exponential, with full jitter.

    Each wait is drawn evenly from zero to a ceiling that doubles, so that the doors of a city do
    not return in step after an outage.

    random_bytes: called with a count, returns that many random bytes (os.urandom).
    first_ms, cap_ms: the first and the highest ceiling, 1 <= first_ms <= cap_ms < 2**31.
    """

    def __init__(
        self, random_bytes: "Callable[[int], bytes]", first_ms: int = 1000, cap_ms: int = 60000
    ) -> None:
        if not 1 <= first_ms <= cap_ms < 1 << 31:
            raise ValueError("first_ms, cap_ms")
        self._random_bytes = random_bytes
        self._first_ms = first_ms
        self._cap_ms = cap_ms
        self._ceiling_ms = first_ms

    def next_ms(self) -> int:
        """Return how long to wait before the next attempt, in ms, and raise the ceiling."""
        ceiling_ms = self._ceiling_ms
        self._ceiling_ms = min(ceiling_ms * 2, self._cap_ms)
        return int.from_bytes(self._random_bytes(4), "little") % (ceiling_ms + 1)

    def reset(self) -> None:
        """Start over: a connection proved good."""
        self._ceiling_ms = self._first_ms


class _Waiter:
    """One packet id in use: who sent the packet waits here for its acknowledgement."""

    def __init__(self, ack: int) -> None:
        self.ack = ack  # the packet type that answers: _PUBACK or _SUBACK
        self.code: int | None = None  # what it said; None while nothing came
        self.answered = asyncio.Event()  # set by the read loop, or by the end of the connection


class MqttClient:
    """One MQTT connection at a time: connect(), then run() in its own task, then the rest.

    open_stream: async, no arguments, returns (reader, writer) with the methods of MicroPython's
        asyncio.Stream: reader.readinto(buf); writer.write(buf), drain(), close(), wait_closed().
        It may be cancelled at any await and must then close what it had opened.
    client_id: 1..256 bytes in UTF-8 [3.1.3.1].
    on_message: called from the read loop as on_message(topic: str, payload: memoryview,
        retain: bool). It may keep the payload, which lies in a buffer of its own. It must not
        block and must not raise: what it raises is not this client's to judge, so it comes out
        of run() as it is, with the connection closed and the message unacknowledged.
    keepalive_s: 1..65535 [3.1.2.10]. A dead connection is noticed within it, or timeout_ms
        after a write got stuck.
    username: str; password: str or bytes, only with a username [3.1.2.8, 3.1.2.9].
    will: (topic, payload bytes, qos 0 or 1, retain) [3.1.2.5].
    max_packet_bytes: cap on the remaining length of a packet [2.2.3], both ways. A longer PUBLISH
        that comes in is read away in slices, counted in `drained` and otherwise ignored; so is
        one whose topic is longer than 256 bytes. Its QoS 1 is acknowledged all the same: an
        unacknowledged one stays in the broker's session, takes a place in its window for ever
        and comes again at every connection, and would be no shorter then.
        A TLS record is decrypted whole, so this also bounds the longest slice (4 to 7 ms a KB
        on an RP2040) as far as the broker puts one packet in one record.
    timeout_ms: bounds every wait for the other side: connecting, writing a packet, its answer.

    Attributes that count: packets_in, packets_out, bytes_in, bytes_out, drained, and
    unknown_acks, acknowledgements nobody waited for. `session_present`: the broker had kept a
    session, as of the last CONNACK [3.2.2.2].
    """

    def __init__(
        self,
        open_stream: "Callable[[], Awaitable[tuple]]",
        client_id: str,
        *,
        on_message: "Callable[[str, memoryview, bool], None]",
        keepalive_s: int = 30,
        clean_session: bool = True,
        username: str | None = None,
        password: str | bytes | None = None,
        will: "tuple[str, bytes, int, bool] | None" = None,
        max_packet_bytes: int = 4096,
        timeout_ms: int = 5000,
    ) -> None:
        if not 1 <= keepalive_s <= 0xFFFF:
            raise ValueError("keepalive_s")
        self._open_stream = open_stream
        self._on_message = on_message
        self._clean_session = clean_session
        self._keepalive_ms = keepalive_s * 1000
        self._max_packet_bytes = max_packet_bytes
        self._timeout_ms = timeout_ms
        self._connect_packet = _encode_connect(
            client_id,
            keepalive_s=keepalive_s,
            clean_session=clean_session,
            username=username,
            password=password,
            will=will,
        )
        self._reader: Any = None
        self._writer: Any = None  # None when there is no stream
        self._is_connected = False
        self._is_running = False
        self._lost = asyncio.Event()  # set when the connection ends; the keepalive task waits
        self._write_lock = asyncio.Lock()  # one packet at a time, whole
        self._room = asyncio.Event()  # set when a packet id falls free; senders over the cap wait
        self._waiters: dict[int, _Waiter] = {}  # by packet id, at most _MAX_IN_FLIGHT
        self._next_id = 1
        self._rx = bytearray(_SLICE_BYTES)
        self._rx_view = memoryview(self._rx)
        self._rx_start = 0
        self._rx_end = 0
        self._ack = bytearray((_PUBACK, 2, 0, 0))
        self.session_present = False
        self.packets_in = 0
        self.packets_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.drained = 0
        self.unknown_acks = 0

    async def connect(self) -> None:
        """Open the stream, send CONNECT and take the CONNACK, all within timeout_ms [3.1, 3.2].

        Raises ConnectRefused, ProtocolError (also: already connected), ConnectionLost, and
        whatever error of its own open_stream has. Nothing is left open after an error.
        """
        if self._writer is not None:
            raise ProtocolError("already connected")
        try:
            await asyncio.wait_for(self._open(), self._timeout_ms / 1000)
            self._is_connected = True
        except asyncio.TimeoutError:
            raise ConnectionLost("no connection in time") from None
        except _STREAM_ERRORS as error:
            raise ConnectionLost("connecting", error) from None
        finally:
            if not self._is_connected:
                await self._close_stream()

    async def run(self) -> None:
        """Read packets and keep the connection alive until it ends; close the stream then.

        Never returns. Raises ConnectionLost (also after close()), ProtocolError, or what
        on_message raised. publish() and subscribe() work only while this runs in another task.
        """
        if self._is_running or self._writer is None:
            raise ProtocolError("not connected, or running already")
        self._is_running = True
        tasks = (asyncio.create_task(self._read_loop()), asyncio.create_task(self._keep_alive()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            self._is_running = False
            self._lose()
            await self._close_stream()

    async def publish(
        self, topic: str, payload: "Octets", *, qos: int = 0, retain: bool = False
    ) -> None:
        """Send a message [3.3]; at QoS 1 return once the broker has it in hand [4.3.2].

        topic: 1..256 bytes in UTF-8, no wildcard. payload: bytes-like, within max_packet_bytes
        with the topic. At most 8 acknowledgements are awaited at a time; further callers queue.
        Raises ValueError for an argument out of range, ConnectionLost when there is no
        connection or the acknowledgement does not come in timeout_ms; that ends the connection.
        A QoS 1 message refused so may have arrived all the same.
        Cancelled while its packet is half written, it ends the connection too.
        """
        name = topic.encode()
        _check_topic(name, topic)
        if qos not in (0, 1):
            raise ValueError("qos")
        length = 2 + len(name) + 2 * qos + len(payload)
        if length > self._max_packet_bytes:
            raise ValueError("message too long")
        head = bytearray((_PUBLISH | qos << 1 | (_FLAG_RETAIN if retain else 0),))
        _append_length(head, length)
        _append_field(head, name)
        if qos:
            head.extend(b"\0\0")
            await self._send_and_wait(_PUBACK, head, payload)
        else:
            await self._send(head, payload)

    async def subscribe(self, topic: str, qos: int = 1) -> int:
        """Subscribe to a topic filter and return the QoS the broker grants, 0 or 1 [3.8, 3.9].

        topic: a filter of 1..256 bytes in UTF-8. qos: 0 or 1.
        Raises SubscribeRefused; otherwise as publish() at QoS 1.
        """
        name = topic.encode()
        if qos not in (0, 1) or not 1 <= len(name) <= _MAX_TOPIC_BYTES:
            raise ValueError("topic, qos")
        head = bytearray((_SUBSCRIBE,))
        _append_length(head, 2 + 2 + len(name) + 1)
        head.extend(b"\0\0")
        body = bytearray()
        _append_field(body, name)
        body.append(qos)
        code = await self._send_and_wait(_SUBACK, head, body)
        if code == _SUBSCRIPTION_REFUSED:
            raise SubscribeRefused(topic)
        return code

    async def close(self, *, polite: bool = True) -> None:
        """End the connection, if there is one. A running run() closes the stream and raises.

        polite: send DISCONNECT first, so that the broker forgets the will [3.14].
        """
        if polite and self._is_connected:
            try:
                await self._send(_DISCONNECT)
            except ConnectionLost:
                pass  # ended already, which is all that was wanted
        self._lose()
        if not self._is_running:
            await self._close_stream()

    # The connection: from open to lost.

    async def _open(self) -> None:
        self._rx_start = self._rx_end = 0
        self._lost.clear()
        # A new lock: someone may hold the old one, writing to the stream that was lost.
        self._write_lock = asyncio.Lock()
        self._reader, self._writer = await self._open_stream()
        await self._write(b"", self._connect_packet)
        # The server's first packet is the CONNACK [3.2].
        if await self._byte() != _CONNACK or await self._length() != 2:
            raise ProtocolError("not a CONNACK")
        flags = await self._byte()
        code = await self._byte()
        self.packets_in += 1
        if code:
            raise ConnectRefused(code)
        if flags & 0xFE or (flags and self._clean_session):  # [3.2.2.1, 3.2.2.2]
            raise ProtocolError("bad CONNACK flags")
        self.session_present = flags == 1

    def _lose(self) -> None:
        """Mark the connection as ended and wake everyone who waits for something from it."""
        self._is_connected = False
        self._lost.set()
        self._room.set()
        for waiter in self._waiters.values():
            waiter.answered.set()

    async def _close_stream(self) -> None:
        # Whoever still writes is waited for, timeout_ms at most: a task that waits on a socket
        # closed under it is not woken by every poll().
        async with self._write_lock:
            writer = self._writer
            self._reader = self._writer = None
            if writer is None:
                return
            try:
                writer.close()
                await writer.wait_closed()  # closes at once, where MicroPython's close() does not
            except _STREAM_ERRORS:
                pass  # the other side may have torn it down first

    async def _keep_alive(self) -> None:
        """Send a PINGREQ twice per keepalive and watch that something comes in [3.12, 3.13].

        Any byte will do as a sign of life: a PINGRESP may queue behind a long message.
        """
        half_ms = self._keepalive_ms // 2
        while True:
            await self._pause(half_ms)
            bytes_before = self.bytes_in
            await self._send(_PINGREQ)
            await self._pause(min(half_ms, self._timeout_ms))
            if self.bytes_in == bytes_before:
                raise ConnectionLost("no answer to a ping")

    async def _pause(self, wait_ms: int) -> None:
        """Sleep, or raise ConnectionLost as soon as the connection is marked as ended."""
        try:
            await asyncio.wait_for(self._lost.wait(), wait_ms / 1000)
        except asyncio.TimeoutError:
            return
        raise ConnectionLost("ended")

    # Writing.

    async def _send_and_wait(self, ack: int, head: bytearray, body: "Octets") -> int:
        """Send a packet whose id is the last two bytes of `head`; return its answer's code."""
        while len(self._waiters) >= _MAX_IN_FLIGHT:
            # Waits on the others in the table. Each leaves within its own time-outs, and one that
            # runs into them ends the connection, which wakes everybody.
            self._room.clear()
            await self._room.wait()
        packet_id = self._next_id
        while packet_id == 0 or packet_id in self._waiters:
            packet_id = (packet_id + 1) & 0xFFFF  # never 0, never one in use [2.3.1]
        self._next_id = (packet_id + 1) & 0xFFFF
        head[-2] = packet_id >> 8
        head[-1] = packet_id & 0xFF
        waiter = self._waiters[packet_id] = _Waiter(ack)
        try:
            await self._send(head, body)
            await asyncio.wait_for(waiter.answered.wait(), self._timeout_ms / 1000)
        except asyncio.TimeoutError:
            self._lose()
        finally:
            del self._waiters[packet_id]
            self._room.set()
        if waiter.code is None:
            raise ConnectionLost("not acknowledged")
        return waiter.code

    async def _send(self, head: "Octets", body: "Octets" = b"") -> None:
        """Write one whole packet, after those before it. Raises ConnectionLost."""
        writer = self._writer
        async with self._write_lock:
            # While this waited for the lock the connection may have ended, and even a new one
            # begun, on which this packet must not come before CONNECT.
            if not self._is_connected or writer is not self._writer:
                raise ConnectionLost("not connected")
            is_whole = False
            try:
                await asyncio.wait_for(self._write(head, body), self._timeout_ms / 1000)
                is_whole = True
            except asyncio.TimeoutError:
                raise ConnectionLost("a write took too long") from None
            except _STREAM_ERRORS as error:
                raise ConnectionLost("writing", error) from None
            finally:
                # Also when cancelled: after half a packet the rest of the stream means nothing.
                if not is_whole:
                    self._lose()

    async def _write(self, head: "Octets", body: "Octets") -> None:
        """Write `head` (within a slice) and `body`, in slices, so as few TLS records as that."""
        writer = self._writer
        view = memoryview(body)
        end = _SLICE_BYTES - len(head)
        writer.write(bytes(head) + view[:end])
        await writer.drain()
        while end < len(view):
            writer.write(view[end : end + _SLICE_BYTES])
            await writer.drain()
            end += _SLICE_BYTES
        self.packets_out += 1
        self.bytes_out += len(head) + len(view)

    # Reading. Each of these is called from the read loop, or from _open() before there is one.

    async def _read_loop(self) -> None:
        while True:
            await self._read_packet()
            # A slice read at once may hold many small packets: let others run between them.
            await asyncio.sleep(0)

    async def _read_packet(self) -> None:
        first = await self._byte()
        length = await self._length()
        self.packets_in += 1
        if first & 0xF0 == _PUBLISH:
            await self._read_publish(first & 0x0F, length)
        elif first == _PUBACK and length == 2:
            self._answer(_PUBACK, await self._uint16(), 0)
        elif first == _SUBACK and length == 3:
            packet_id = await self._uint16()
            code = await self._byte()
            if code not in (0, 1, _SUBSCRIPTION_REFUSED):  # QoS 2 was not asked for
                raise ProtocolError("bad SUBACK code")
            self._answer(_SUBACK, packet_id, code)
        elif first != _PINGRESP or length:
            raise ProtocolError("unexpected packet", first, length)

    def _answer(self, ack: int, packet_id: int, code: int) -> None:
        if packet_id == 0:
            raise ProtocolError("packet id 0")
        waiter = self._waiters.get(packet_id)
        if waiter is None or waiter.ack != ack or waiter.code is not None:
            self.unknown_acks += 1
            return
        waiter.code = code
        waiter.answered.set()

    async def _read_publish(self, flags: int, length: int) -> None:
        qos = (flags & _FLAG_QOS) >> 1
        if qos > 1 or (qos == 0 and flags & _FLAG_DUP):  # [3.3.1.1, 3.3.1.2]
            raise ProtocolError("bad PUBLISH flags")
        if length < 2:
            raise ProtocolError("short PUBLISH")
        topic_bytes = await self._uint16()
        payload_bytes = length - 2 - topic_bytes - 2 * qos
        if topic_bytes == 0 or payload_bytes < 0:
            raise ProtocolError("bad topic length")
        # Nothing is allocated for a packet before its length is known to be within the cap.
        is_too_long = length > self._max_packet_bytes or topic_bytes > _MAX_TOPIC_BYTES
        raw = await self._take(topic_bytes, is_too_long)
        topic = "" if raw is None else _decode_topic(raw)
        packet_id = 0
        if qos:
            packet_id = await self._uint16()
            if packet_id == 0:  # [2.3.1]
                raise ProtocolError("packet id 0")
        payload = await self._take(payload_bytes, is_too_long)
        if payload is None:
            self.drained += 1
        else:
            self._on_message(topic, memoryview(payload), bool(flags & _FLAG_RETAIN))
        if qos:
            self._ack[2] = packet_id >> 8
            self._ack[3] = packet_id & 0xFF
            await self._send(self._ack)

    async def _take(self, count: int, is_unwanted: bool) -> bytearray | None:
        """Read `count` bytes slice by slice, into a buffer of their own or into nothing."""
        try:
            data = None if is_unwanted else bytearray(count)
        except MemoryError:
            # Not acknowledged, so a QoS 1 message comes again; the heap may be better then.
            raise ConnectionLost("no memory for a packet") from None
        done = 0
        while done < count:
            size = min(await self._available(), count - done)
            start = self._rx_start
            self._rx_start = start + size
            if data is not None:
                data[done : done + size] = self._rx_view[start : start + size]
            done += size
        return data

    async def _length(self) -> int:
        """Read a remaining length, 0..268435455 in 1 to 4 bytes [2.2.3]."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = await self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ProtocolError("bad remaining length")

    async def _uint16(self) -> int:
        high = await self._byte()
        return high << 8 | await self._byte()

    async def _byte(self) -> int:
        if self._rx_start == self._rx_end:
            await self._available()
        byte = self._rx[self._rx_start]
        self._rx_start += 1
        return byte

    async def _available(self) -> int:
        """Return how many bytes wait in the slice, at least 1; read the next when it is empty.

        readinto() waits first and reads then, and MicroPython's TLS reports bytes it holds
        decrypted as ready, so none is left lying; a wake-up for less than a record gives None.
        """
        while self._rx_start == self._rx_end:
            try:
                count = await self._reader.readinto(self._rx)
            except _STREAM_ERRORS as error:
                raise ConnectionLost("reading", error) from None
            if count == 0:
                raise ConnectionLost("closed by the broker")
            if count is not None:
                self._rx_start = 0
                self._rx_end = count
                self.bytes_in += count
        return self._rx_end - self._rx_start


def _append_length(packet: bytearray, length: int) -> None:
    """Append a remaining length, 7 bits a byte, low first [2.2.3]."""
    while length > 0x7F:
        packet.append(length & 0x7F | 0x80)
        length >>= 7
    packet.append(length)


def _append_field(packet: bytearray, data: "Octets") -> None:
    """Append a string or binary field: its length in two bytes, then itself [1.5.3]."""
    if len(data) > 0xFFFF:
        raise ValueError("field too long")
    packet.append(len(data) >> 8)
    packet.append(len(data) & 0xFF)
    packet.extend(data)


def _encode_connect(
    client_id: str,
    *,
    keepalive_s: int,
    clean_session: bool,
    username: str | None,
    password: str | bytes | None,
    will: "tuple[str, bytes, int, bool] | None",
) -> bytearray:
    """Return a whole CONNECT packet [3.1]. Raises ValueError."""
    name = client_id.encode()
    if not 1 <= len(name) <= _MAX_TOPIC_BYTES:
        raise ValueError("client_id")
    if password is not None and username is None:  # [3.1.2.9]
        raise ValueError("password without username")
    flags = _CLEAN_SESSION if clean_session else 0
    fields = [name]  # in the order of [3.1.3]
    if will is not None:
        topic, message, qos, is_retained = will
        will_topic = topic.encode()
        _check_topic(will_topic, topic)
        if qos not in (0, 1):
            raise ValueError("will qos")
        flags |= _WILL | qos << 3 | (_WILL_RETAIN if is_retained else 0)
        fields += [will_topic, message]
    if username is not None:
        flags |= _USERNAME
        fields.append(username.encode())
    if password is not None:
        flags |= _PASSWORD
        fields.append(password.encode() if isinstance(password, str) else password)
    rest = bytearray(b"\0\x04MQTT\x04")  # protocol name and level 4 [3.1.2.1, 3.1.2.2]
    rest.append(flags)
    rest.append(keepalive_s >> 8)
    rest.append(keepalive_s & 0xFF)
    for field in fields:
        _append_field(rest, field)
    packet = bytearray((_CONNECT,))
    _append_length(packet, len(rest))
    packet.extend(rest)
    return packet


def _decode_topic(raw: bytearray) -> str:
    """Return a received topic name. Raises ProtocolError for one that 3.1.1 forbids."""
    try:
        topic = str(raw, "utf-8")
        _check_topic(raw, topic)
    except ValueError:  # UnicodeError is one
        raise ProtocolError("bad topic") from None
    return topic


def _check_topic(raw: "Octets", topic: str) -> None:
    """Raise ValueError unless `topic`, decoded from or encoded to `raw`, is a topic name.

    Length [4.7.3]; no wildcard [3.3.2.1]; well-formed UTF-8 without U+0000 or a surrogate
    [1.5.3]. MicroPython decodes over-long forms, surrogates and what lies beyond U+10FFFF.
    """
    if not 1 <= len(raw) <= _MAX_TOPIC_BYTES:
        raise ValueError("topic length")
    size = 0
    for char in topic:
        code = ord(char)
        if code in (0, 0x23, 0x2B) or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:  # '#', '+'
            raise ValueError("topic")
        size += 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
    if size != len(raw):
        raise ValueError("topic encoding")
