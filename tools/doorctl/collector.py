"""The collector: commits what doors send before it acknowledges, and hands down what is offered.

Three threads beside the client's own, which only sorts messages into bounded boxes: one writes to
the database and acknowledges, one answers what doors want and looks after all else. Nothing that
waits here is missed when it is lost: a door keeps and repeats what was not acknowledged.
"""

import datetime
import logging
import os
import socket
import struct
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from doorward import config
from doorward.journal import record as records
from sqlalchemy.exc import DBAPIError

from doorctl import fleet
from doorctl.database import Batch, Database, News, explain, utc_now
from doorctl.errors import DoorctlError
from doorctl.home_assistant import HomeAssistant
from doorctl.metrics import Metrics
from doorctl.mqtt import Broker
from doorctl.offers import Offers, Want, parse_want

log = logging.getLogger(__name__)

JOURNAL_ID_BYTES = 8
MAX_BATCH_RECORDS = 32
_MAX_WORDS_BYTES = 2048  # of a state or a health message
_MAX_WAITING = 8192  # batches, 17 MB
_MAX_WAITING_OF_DOOR = 32  # so that one door leaves room for the others
_MAX_DOORS = 50_000
_MAX_JOURNALS = 8  # by one door's name, until it is written down
# How long batches gather for one commit: nobody waits for an acknowledgement but a door's flash.
_GATHER_S = 0.004
_MAX_GROUP = 512
_LOOK_S = 1.0
_NOTE_S = 2.0
# When a door that only goes on sending was last seen need not be known to the second.
_SEEN_S = 15.0
_FLEET_S = 5.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_PIECES_PER_S = 2000
_MAX_IN_FLIGHT = 1000
_MAX_QUEUED = 20_000

_LEAVES = ("records", "health", "want")  # each for one collector; every collector sees `state`
_QOS = {"records": 1, "health": 0, "want": 1, "state": 1}
_SITE, _DOOR = (one for one in config.SETTINGS if one.name in ("site", "door"))


class Collector:
    """Serves one broker and one database, until it is told to stop."""

    def __init__(
        self,
        broker: Broker,
        database: Database,
        metrics: Metrics,
        *,
        share: str = "",
        home_assistant: HomeAssistant | None = None,
    ) -> None:
        """share: name of the shared subscription by which several collectors part the work; "":
        this one takes everything. home_assistant: None where nobody wants it."""
        self._broker = broker
        self._database = database
        self._metrics = metrics
        self._home_assistant = home_assistant
        self._name = f"{socket.gethostname()[:40]}-{os.getpid()}"
        prefix = f"$share/{share}/" if share else ""
        self._topics = [(f"{prefix}doorward/+/+/{leaf}", _QOS[leaf]) for leaf in _LEAVES]
        # A shared subscription is not sent what is retained.
        self._topics.append(("doorward/+/+/state", _QOS["state"]))
        self._client = broker.client("collect")
        self._client.max_inflight_messages_set(_MAX_IN_FLIGHT)
        self._client.max_queued_messages_set(_MAX_QUEUED)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        metrics.is_stored.set(1)
        self._is_connected = False
        self._is_told = False  # that there is no connection
        self._stop = threading.Event()
        self._failed: list[str] = []
        self._lock = threading.Lock()  # over the four below
        self._waiting: deque[Batch] = deque()
        self._waiting_of: Counter[tuple[str, str]] = Counter()
        self._wants: OrderedDict[tuple[str, str], Want] = OrderedDict()
        self._news: dict[tuple[str, str], News] = {}
        self._written: dict[tuple[str, str], float] = {}
        self._arrived = threading.Event()
        self._wanted = threading.Event()
        self._offers = Offers(database)
        self._offered: dict[str, bytes] = {}
        self._contradicted: set[tuple[str, str, str]] = set()
        # Since when, and in doing what, the database fails; None while it does not.
        self._down_since: float | None = None
        self._down_in = ""

    def run(self) -> None:
        """Serve until `stop`. Raises DoorctlError where a part of it died."""
        self._broker.connect(self._client)
        threads = [
            threading.Thread(target=self._guard, args=(part,))
            for part in (self._write, self._serve)
        ]
        for thread in threads:
            thread.start()
        try:
            self._stop.wait()
        finally:
            self._stop.set()
            self._arrived.set()
            self._wanted.set()
            for thread in threads:
                thread.join()
            self._client.disconnect()
            self._client.loop_stop()
        if self._failed:
            raise DoorctlError(f"the collector's {', '.join(self._failed)} ended; start it again")

    def stop(self) -> None:
        """Ask `run` to end. Safe in a signal handler."""
        self._stop.set()

    def _guard(self, part: Callable[[], None]) -> None:
        """Run a part; if it ends by itself, so does the collector, and whoever started it knows."""
        try:
            part()
        finally:
            if not self._stop.is_set():
                self._failed.append(part.__name__)
            self._stop.set()

    # What the client's thread calls.

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, code: Any, _: Any) -> None:
        if code.is_failure:
            self._tell_disconnected(f"refused us: {code}")
            return
        client.subscribe(self._topics)

    def _on_connect_fail(self, _client: paho.Client, _data: Any) -> None:
        self._tell_disconnected("does not answer")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _: Any) -> None:
        self._is_connected = False
        self._metrics.is_connected.set(0)
        if not self._stop.is_set():
            self._tell_disconnected(f"connection lost: {code}")

    def _tell_disconnected(self, why: str) -> None:
        if not self._is_told:
            self._is_told = True
            log.error("broker %s:%s: %s; trying again", self._broker.host, self._broker.port, why)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, codes: Any, _: Any) -> None:
        for (topic, _qos), code in zip(self._topics, codes):
            if code.is_failure:
                log.error("broker: refuses the subscription %s; see its access list", topic)
        log.warning("broker %s:%s: connected", self._broker.host, self._broker.port)
        self._is_connected = True
        self._is_told = False
        self._metrics.is_connected.set(1)
        # A broker that forgot what it retained is told anew.
        self._offered = {}
        if self._home_assistant is not None:
            self._home_assistant.forget()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        """Sort one message in. Must not raise: that would end the client's thread."""
        place = _parse_topic(message)
        if place is None:
            self._metrics.garbage.inc()
            return
        site, door, leaf = place
        take = {
            "records": self._take_records,
            "state": self._take_state,
            "health": self._take_health,
            "want": self._take_want,
        }[leaf]
        if not take(site, door, bytes(message.payload), message.retain):
            self._metrics.garbage.inc()
            log.info("%s/%s: dropped a message on %s", site, door, leaf)

    def _take_records(self, site: str, door: str, payload: bytes, _: bool) -> bool:
        batch = parse_batch(site, door, payload)
        if batch is None:
            return False
        key = (site, door)
        now = utc_now()
        with self._lock:
            news = self._news_of(key, now)
            if news is not None:
                heard = news.journals = news.journals or {}
                if batch.journal in heard or len(heard) < _MAX_JOURNALS:
                    heard[batch.journal] = now
            is_room = (
                len(self._waiting) < _MAX_WAITING and self._waiting_of[key] < _MAX_WAITING_OF_DOOR
            )
            if is_room:
                self._waiting.append(batch)
                self._waiting_of[key] += 1
        if is_room:
            self._arrived.set()
        else:
            self._metrics.dropped.inc()
        return True

    def _take_state(self, site: str, door: str, payload: bytes, is_retained: bool) -> bool:
        if not payload:
            return True  # somebody cleared what was retained
        found, text = _parse_words(payload)
        state = found.get("state")
        if state not in ("online", "offline"):
            return False
        is_online = state == "online"
        with self._lock:
            # What the broker kept may be a year old, and says nothing of when the door was there.
            news = self._news_of((site, door), utc_now(), is_word=not is_retained)
            if news is not None:
                news.is_online = is_online
                news.birth = text if is_online else news.birth
        return True

    def _take_health(self, site: str, door: str, payload: bytes, _: bool) -> bool:
        found, text = _parse_words(payload)
        if not found:
            return False
        now = utc_now()
        with self._lock:
            news = self._news_of((site, door), now)
            if news is not None:
                news.health, news.health_at = text, now
        return True

    def _take_want(self, site: str, door: str, payload: bytes, _: bool) -> bool:
        want = parse_want(payload)
        if want is None:
            return False
        with self._lock:
            # A door asks again when it has lost patience: the later question counts.
            if len(self._wants) < _MAX_DOORS or (site, door) in self._wants:
                self._wants[site, door] = want
        self._wanted.set()
        return True

    def _news_of(
        self, key: tuple[str, str], now: datetime.datetime, *, is_word: bool = True
    ) -> News | None:
        """Return what is to be written down of a door; None beyond the cap. Needs the lock.

        is_word: the door has spoken.
        """
        news = self._news.get(key)
        if news is None:
            if len(self._news) >= _MAX_DOORS:
                return None
            news = self._news[key] = News(now, is_seen=False)
        if is_word:
            news.seen_at, news.is_seen = now, True
        return news

    # What writes.

    def _write(self) -> None:
        """Commit what has come, group by group, and then acknowledge it."""
        noted = 0.0
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            group = self._gather()
            is_fine = not group or self._try(self._store, group)
            if is_fine and time.monotonic() - noted >= _NOTE_S:
                noted = time.monotonic()
                is_fine = self._try(self._note)
            if is_fine:
                pause_s = _FIRST_PAUSE_S
                continue
            self._stop.wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        # What is known of the doors need not wait for the next collector.
        self._try(self._note)

    def _try(self, write: Callable[..., None], *args: Any) -> bool:
        """Do something with the database; tell when that begins to fail, and when it works again."""
        try:
            write(*args)
        except DBAPIError as error:
            self._lose_database(error, write.__name__)
            return False
        # A full disk may take a note and no records: then it is not back.
        if self._down_since is not None and write.__name__ in ("_store", self._down_in):
            log.warning("database: back after %d s", time.monotonic() - self._down_since)
            self._down_since = None
            self._metrics.is_stored.set(1)
        return True

    def _gather(self) -> list[Batch]:
        """Wait for batches, and a moment for more; return them."""
        self._arrived.wait(_LOOK_S)
        self._arrived.clear()
        if self._waiting and not self._stop.is_set():
            self._stop.wait(_GATHER_S)
        with self._lock:
            count = min(len(self._waiting), _MAX_GROUP)
            group = [self._waiting.popleft() for _ in range(count)]
            self._waiting_of -= Counter((batch.site, batch.door) for batch in group)
            if self._waiting:
                self._arrived.set()
        return group

    def _store(self, group: list[Batch]) -> None:
        began = time.monotonic()
        found = self._database.add(group)
        self._metrics.commit_seconds.observe(time.monotonic() - began)
        newest: dict[tuple[str, str, str], Batch] = {}
        for batch, new in zip(group, found):
            if new is None:
                self._metrics.conflicts.inc()
                self._tell_contradicted(batch)
                continue
            self._metrics.stored.inc(new)
            self._metrics.repeated.inc(len(batch.records) - new)
            key = (batch.site, batch.door, batch.journal)
            if key not in newest or newest[key].records[-1][0].sequence < _last(batch).sequence:
                newest[key] = batch
        for batch in newest.values():
            last = _last(batch)
            payload = bytes.fromhex(batch.journal) + struct.pack("<I16s", last.sequence, last.tag)
            self._client.publish(f"doorward/{batch.site}/{batch.door}/acknowledged", payload, 1)

    def _tell_contradicted(self, batch: Batch) -> None:
        """Say so once: the door comes with it again and again."""
        key = (batch.site, batch.door, batch.journal)
        if key not in self._contradicted and len(self._contradicted) < _MAX_DOORS:
            self._contradicted.add(key)
            log.error(
                "%s/%s: journal %s has a record that is known with other content; it is not "
                "acknowledged. Two doors with one identity? Provision one of them anew",
                *key,
            )

    def _note(self) -> None:
        """Write down what was heard of doors, and that we are there."""
        now = time.monotonic()
        with self._lock:
            due = {
                key: news
                for key, news in self._news.items()
                if news.is_online is not None
                or news.health is not None
                or now - self._written.get(key, -_SEEN_S) >= _SEEN_S
            }
            for key in due:
                del self._news[key]
        try:
            self._database.note(due, self._name, self._is_connected)
        except DBAPIError:
            self._take_back(due)
            raise
        if len(self._written) > _MAX_DOORS:
            self._written.clear()
        for key in due:
            self._written[key] = now

    def _take_back(self, due: dict[tuple[str, str], News]) -> None:
        """Keep what could not be written, beside what has come meanwhile."""
        with self._lock:
            for key, old in due.items():
                new = self._news.setdefault(key, old)
                if new is old:
                    continue
                if old.is_seen and not new.is_seen:
                    new.seen_at, new.is_seen = old.seen_at, True
                new.is_online = old.is_online if new.is_online is None else new.is_online
                new.birth = new.birth or old.birth
                if new.health is None:
                    new.health, new.health_at = old.health, old.health_at
                new.journals = {**(old.journals or {}), **(new.journals or {})}

    def _lose_database(self, error: DBAPIError, doing: str) -> None:
        self._metrics.database_errors.inc()
        self._metrics.is_stored.set(0)
        if doing == "_store" or self._down_since is None:
            self._down_in = doing
        if self._down_since is None:
            self._down_since = time.monotonic()
            log.error(
                "database %s: %s; what cannot be stored is not acknowledged, doors keep it",
                self._database.name,
                explain(error),
            )

    # What serves.

    def _serve(self) -> None:
        """Answer doors, publish offers when they change, and show how the fleet is."""
        looked = shown = 0.0
        while not self._stop.is_set():
            self._wanted.wait(_LOOK_S)
            self._wanted.clear()
            try:
                if time.monotonic() - looked >= _LOOK_S:
                    looked = time.monotonic()
                    self._publish_offers()
                self._answer()
                if time.monotonic() - shown >= _FLEET_S:
                    shown = time.monotonic()
                    self._show()
            except DBAPIError as error:
                # The writer tells of it; here doors ask again.
                self._metrics.database_errors.inc()
                log.info("database: %s", explain(error))

    def _publish_offers(self) -> None:
        self._offers.refresh()
        if not self._is_connected:
            return
        for site, payload in self._offers.by_site.items():
            if self._offered.get(site) != payload:
                self._offered[site] = payload
                self._client.publish(f"doorward/{site}/@all/offers", payload, 1, retain=True)

    def _answer(self) -> None:
        """Answer each door that has asked, in turn, no faster than `_PIECES_PER_S`."""
        until = time.monotonic() + _LOOK_S
        while not self._stop.is_set():
            with self._lock:
                if not self._wants:
                    return
                if time.monotonic() > until:
                    self._wanted.set()
                    return
                (site, door), want = self._wants.popitem(last=False)
            count = 0
            for payload in self._offers.pieces(site, want):
                self._client.publish(f"doorward/{site}/{door}/piece", payload, 0)
                count += 1
            self._metrics.pieces.inc(count)
            self._stop.wait(count / _PIECES_PER_S)

    def _show(self) -> None:
        found = fleet.read(self._database)
        self._metrics.show_fleet(found.doors)
        if self._home_assistant is not None and self._is_connected:
            self._home_assistant.show(self._client, found.doors)


def parse_batch(site: str, door: str, payload: bytes) -> Batch | None:
    """Return the batch in a message; None where it is no journal id with whole, consecutive records."""
    size = records.RECORD_BYTES
    count, rest = divmod(len(payload) - JOURNAL_ID_BYTES, size)
    if rest or not 1 <= count <= MAX_BATCH_RECORDS:
        return None
    found: list[tuple[records.Record, bytes]] = []
    for at in range(JOURNAL_ID_BYTES, len(payload), size):
        raw = payload[at : at + size]
        record = records.unpack(raw)
        if record is None or (found and record.sequence != found[-1][0].sequence + 1):
            return None
        found.append((record, raw))
    return Batch(site, door, payload[:JOURNAL_ID_BYTES].hex(), found)


def _last(batch: Batch) -> records.Record:
    return batch.records[-1][0]


def _parse_topic(message: paho.MQTTMessage) -> tuple[str, str, str] | None:
    """Return site, door and last word of a door's topic; None for a name that no door has."""
    try:
        root, site, door, leaf = message.topic.split("/")
        _SITE.check(site)
        _DOOR.check(door)
    except (ValueError, config.ConfigError):
        return None
    return (site, door, leaf) if root == "doorward" and leaf in _QOS else None


def _parse_words(payload: bytes) -> tuple[dict, str]:
    """Return a JSON object and its text; {} for what is none."""
    if len(payload) > _MAX_WORDS_BYTES:
        return {}, ""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return {}, ""
    # PostgreSQL keeps no zero in a text, and JSON needs none.
    return ({}, "") if "\0" in text else (fleet.parse(text), text)
