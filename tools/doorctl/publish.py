"""Publishing: signed objects into the collectors' database, commands to the broker."""

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
import sqlalchemy as sa
from doorward.access import denylist
from doorward.access.allowlist import unpack_entry
from doorward.access.command import parse_command
from doorward.access.shelf import Address
from doorward.trust import objects
from doorward.trust.keyring import ALL_GROUPS, KeyRing, open_successor
from doorward.trust.primitives import no_pause, run_through
from doorward.values import BAD_ENTRY, DUPLICATE_ENTRY, NOT_SORTED, Entry, Refused

from doorctl import commands, keyring, lists, offers, trial
from doorctl.database import Database
from doorctl.errors import DoorctlError, refusal
from doorctl.mqtt import Broker
from doorctl.signed import Signed, split

_PATIENCE_S = 10.0
# A broker sends what it retains together with the answer to a subscription.
_RETAINED_S = 0.2


@dataclass(frozen=True, slots=True)
class Sealed:
    """One signed object. name: what to call it in a message."""

    name: str
    data: bytes
    parts: Signed

    @property
    def header(self) -> objects.Header:
        return self.parts.header

    @property
    def what(self) -> str:
        return f"{objects.TYPES[self.header.type]} version {self.header.version}"


def check_form(name: str, data: bytes) -> Sealed:
    """Return an object that follows its format; whether it is believed, says `verify`.

    Raises DoorctlError.
    """
    try:
        header = objects.parse_header(data)
        sealed = Sealed(name, data, split(data, header.type, name=name))
        if header.type == objects.KEY_RING_TYPE:
            keyring.open_ring(data)
        else:
            _CHECKS[header.type](sealed.parts)
    except Refused as error:
        raise DoorctlError(f"{name}: {refusal(error)}") from None
    return sealed


def _check_list(parts: Signed) -> None:
    """Raise Refused for rows or hours that no door takes."""
    rows = lists.rows_of(parts)
    if len(rows) != parts.header.entry_count:
        raise Refused(DUPLICATE_ENTRY)
    if list(rows) != sorted(rows):
        raise Refused(NOT_SORTED)
    if not all(unpack_entry(row, 0, Entry()) for row in rows.values()):
        raise Refused(BAD_ENTRY)
    lists.plan_of(parts)


def _check_deny_list(parts: Signed) -> None:
    denylist.check_header(parts.header)
    run_through(denylist.check_order(parts.body, no_pause))


def _check_command(parts: Signed) -> None:
    parse_command(parts.body)


_CHECKS = {
    objects.ALLOWLIST_TYPE: _check_list,
    objects.DENY_LIST_TYPE: _check_deny_list,
    objects.COMMAND_TYPE: _check_command,
}


def verify(sealed: Sealed, ring: KeyRing) -> None:
    """Raise DoorctlError where a door that it is for, with this key ring, would refuse it."""
    header = sealed.header
    try:
        site = header.site if ring.site == objects.ANY_SITE else ring.site
        if header.type == objects.KEY_RING_TYPE:
            if header.version != ring.version:
                run_through(open_successor(sealed.data, ring, site, no_pause))
            return
        address = Address(site, groups=header.groups or ALL_GROUPS)
        if header.type == objects.COMMAND_TYPE:
            address = commands.address_of(sealed.parts, site)
        trial.take(sealed.data, header.type, ring, address, int(time.time()))
    except Refused as error:
        raise DoorctlError(f"{sealed.name}: {refusal(error)}") from None


def offer(
    database: Database,
    sealed: Sequence[Sealed],
    ring: KeyRing | None,
    is_forced: bool,
) -> list[str]:
    """Check all objects, and offer those that are offered; return a line for each of those.

    ring: what doors believe; None: the key ring that their site is offered, where there is one.
    All of them or none: raises DoorctlError.
    """
    told = []
    with database.writing() as connection:
        for one in sealed:
            believed = ring or _ring_of(connection, one.header.site)
            if believed is not None and not is_forced:
                verify(one, believed)
            if one.header.type == objects.COMMAND_TYPE:
                continue
            told.append(_offer_one(connection, database, one, is_forced, believed is not None))
    return told


def _offer_one(
    connection: sa.Connection, database: Database, one: Sealed, is_forced: bool, is_verified: bool
) -> str:
    header = one.header
    issuer = header.issuer_id.hex()
    before = offers.offered(connection, header.site, header.type, issuer, header.groups)
    if before is not None:
        if before.digest == hashlib.sha256(one.data).hexdigest():
            return f"{one.name}: {one.what} is offered already"
        if before.version >= header.version and not is_forced:
            raise DoorctlError(
                f"{one.name}: {one.what}, and version {before.version} is offered to "
                f"{header.site}; doors refuse what is not newer (--force offers it all the same)"
            )
    offers.put(connection, database, header, one.data)
    line = f"{one.name}: {one.what} offered to {header.site}"
    if header.type == objects.KEY_RING_TYPE:
        issuers = {one.key.key_id.hex() for one in keyring.open_ring(one.data).issuers}
        gone = offers.withdraw_others(connection, header.site, issuers)
        return line + (f"; {gone} of issuers it does not name offered no longer" if gone else "")
    return line if is_verified else line + ", signature not verified: no key ring is offered there"


def _ring_of(connection: sa.Connection, site: str) -> KeyRing | None:
    data = offers.ring_of(connection, site)
    return None if data is None else keyring.open_ring(data)


def send(broker: Broker, orders: Sequence[Sealed], is_forced: bool) -> list[str]:
    """Publish commands, retained, and see them come back; return a line for each.

    Raises DoorctlError.
    """
    told = []
    post = _Post(broker)
    try:
        for one in orders:
            topic = topic_of(one)
            there = post.retained(topic)
            counter = _counter_of(there)
            if there != one.data and counter >= one.header.version and not is_forced:
                raise DoorctlError(
                    f"{one.name}: counter {one.header.version}, and the broker keeps one of this "
                    f"issuer with {counter}; doors would take it for a replay"
                )
            post.publish(topic, one.data)
            told.append(f"{one.name}: {one.what.replace('version', 'counter')} sent to {topic}")
    finally:
        post.close()
    return told


def topic_of(order: Sealed) -> str:
    """Return the topic of a command: its door's, its group's, or the one of all doors of the site.

    A group has one of its own, so that an order to it takes no other group's from the broker.
    """
    header = order.header
    command = parse_command(order.parts.body)
    group = f"-{command.group}" if command.group else ""
    door = command.door or "@all"
    return f"doorward/{header.site}/{door}/command/{header.issuer_id.hex()}{group}"


def _counter_of(data: bytes) -> int:
    """Return the counter of what a broker retained; 0 for nothing and for what is no command."""
    try:
        header = objects.parse_header(data)
    except Refused:
        return 0
    return header.version if header.type == objects.COMMAND_TYPE else 0


class _Post:
    """A connection to the broker that hears what it publishes."""

    def __init__(self, broker: Broker) -> None:
        """Raises DoorctlError."""
        self._name = f"broker {broker.host}:{broker.port}"
        self._came = threading.Condition()
        self._answer: Any = None
        self._subscribed: Any = None
        self._newest: dict[str, bytes] = {}
        self._client = broker.client("publish")
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        try:
            self._client.connect(broker.host, broker.port)
        except (OSError, ValueError) as error:
            raise DoorctlError(f"{self._name}: {error}; see --broker") from None
        self._client.loop_start()
        if not self._wait(lambda: self._answer is not None):
            self.close()
            raise DoorctlError(f"{self._name}: does not answer")
        if self._answer.is_failure:
            self.close()
            raise DoorctlError(f"{self._name}: refused us: {self._answer}; see --username")

    def retained(self, topic: str) -> bytes:
        """Return what the broker keeps on a topic, b"" for nothing."""
        self._subscribed = None
        self._client.subscribe(topic, 1)
        self._wait(lambda: self._subscribed is not None)
        with self._came:
            self._came.wait_for(lambda: topic in self._newest, _RETAINED_S)
            return self._newest.get(topic, b"")

    def publish(self, topic: str, data: bytes) -> None:
        """Publish, and wait until it has come back. Raises DoorctlError."""
        with self._came:
            self._newest.pop(topic, None)
        self._client.publish(topic, data, 1, retain=True)
        if not self._wait(lambda: self._newest.get(topic) == data):
            raise DoorctlError(
                f"{self._name}: took the command and did not deliver it on {topic}; does its "
                "access list let this user write and read there?"
            )

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _wait(self, is_so: Any) -> bool:
        with self._came:
            return self._came.wait_for(is_so, _PATIENCE_S)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, _: Any) -> None:
        with self._came:
            self._answer = code
            self._came.notify_all()

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, codes: Any, _: Any) -> None:
        with self._came:
            self._subscribed = codes
            self._came.notify_all()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with self._came:
            self._newest[message.topic] = bytes(message.payload)
            self._came.notify_all()
