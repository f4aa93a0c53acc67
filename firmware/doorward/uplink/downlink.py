"""The way down: what the district offers is fetched piece by piece, and its commands are taken.

All of it goes to the door's own receivers, which believe signatures and not the broker. Topics and
payloads: docs/formats.md, "Uplink".
"""

import asyncio
import struct

from .. import const
from ..quiet import Breather
from ..trust.objects import ALLOWLIST_TYPE, DENY_LIST_TYPE, KEY_RING_TYPE
from ..values import REPLAYED, TOO_LATE, WRONG_ADDRESS, Refused
from .mqtt import Backoff, MqttError, ProtocolError

OFFER_BYTES = const(24)
PIECE_BYTES = const(1024)

_OFFER = "<BBHII8s4s"  # type, reserved, door groups, version, object bytes, issuer, start of hash
_MAX_OFFERS_BYTES = const(24 * 24)
_PLACE = "<I"  # offset in the object, behind the offer
_HEAD_BYTES = const(28)
_WANT = "<IHH"  # offset, count, reserved
# Asked for at once, and so the most that ever waits to be taken in.
_WANT_BYTES = const(2048)
_MAX_PIECES = const(8)
# The ring first, because it says whose lists count; then what takes rights away.
_RANKS = {KEY_RING_TYPE: 0, DENY_LIST_TYPE: 1, ALLOWLIST_TYPE: 2}

# Doors that hear of an offer in the same instant ask for it within this time.
_SPREAD_MS = const(2000)
# How often in a row it may be asked for a piece that does not come, and to how many times
# `ack_timeout_ms` the patience grows.
_TRIES = const(4)
_PATIENCE = const(4)
# An offer that was refused, and one that nobody served or that is done, is left alone for so long.
_REFUSED_MS = const(3_600_000)
_PAUSE_MS = const(60_000)
# Each that came to nothing may have cost the flash a list's room: so many in a row, whatever they
# were offered as, then one in so long.
_MAX_FAILURES = const(24)
_FORGIVEN_MS = const(600_000)
# The cable brings lists as well: what is wanted is looked at again now and then.
_LOOK_MS = const(5000)

# A header, one signature of the largest key, and the longest body of a command.
_MAX_COMMAND_BYTES = const(100 + 394 + 64)
# Two topics for each of the issuers that a ring can name; few doors are in groups with more.
_MAX_COMMANDS = const(16)
# So many may wait at once until they are on flash; where people go on tapping, for 20 s.
_MAX_OBEYED = const(4)
# Retained, a command comes again at every connection: that it was obeyed, or is over, is no news.
_NO_NEWS = (REPLAYED, TOO_LATE, WRONG_ADDRESS)


class Downlink:
    """Takes what comes down. One object at a time, and beside it commands, which never wait for it.

    Attributes:
        fetched: objects that were fetched and came in force.
        strays: pieces that nobody had asked for, or that came twice, or in crumbs.
    """

    def __init__(self, board, config, open_receiver, wants) -> None:
        """board: has ticks, random_bytes. open_receiver: called for a receiver of signed objects:
        begin(total), async feed(piece), async finish(), abort(), refuse(code).

        wants: called with type, issuer id, version and door groups of an offer: would the door
        take it?
        """
        self._ticks = board.ticks
        self._receiver = open_receiver()
        self._open_receiver = open_receiver
        # A lockdown must not wait for a list, nor for an unlock that is to be durable first.
        self._orderlies = 1
        self._idle = [open_receiver()]
        self._obeying: list = []  # tasks
        self._wants = wants
        self._breather = Breather(1)
        base = "doorward/" + config.site + "/"
        own = base + config.door + "/"
        self._offers_topic = base + "@all/offers"
        self._piece_topic = own + "piece"
        self._want_topic = own + "want"
        self._command_topics = (base + "@all/command/", own + "command/")
        self._groups = [str(group) for group in config.groups]
        self._spread = Backoff(board.random_bytes, _SPREAD_MS, _SPREAD_MS)
        self._piece_ms = config.ack_timeout_ms
        self._patience = Backoff(board.random_bytes, self._piece_ms, _PATIENCE * self._piece_ms)
        self._client = None
        self._connected = asyncio.Event()
        self._offers: list[bytes] = []
        self._told = asyncio.Event()  # offers came
        self._left_alone: dict[bytes, tuple[int, int]] = {}  # by offer: since when, for how long
        self._failures = 0
        self._forgiven_ms = board.ticks.ticks_ms()
        self._offer = b""  # what is being fetched
        self._due = 0  # where its next piece begins
        self._asked = 0  # up to where pieces were asked for
        self._pieces: list[memoryview] = []
        self._came = asyncio.Event()  # a piece, other offers, or another connection
        self._orders: list[tuple[bytes, tuple]] = []  # commands; which refusals are no news
        self._ordered = asyncio.Event()  # a command came, or one was obeyed
        self.fetched = 0
        self.strays = 0

    def subscriptions(self) -> tuple:
        """Return (topic filter, QoS) of all that comes down; commands first."""
        everybody, own = self._command_topics
        return (
            (everybody + "+", 1),
            (own + "+", 1),
            (self._piece_topic, 0),
            (self._offers_topic, 1),
        )

    def follow(self, client) -> None:
        """There is a connection, or with None there is none any more."""
        self._client = client
        # What was asked for over the old one does not come any more.
        self._asked = self._due
        self._came.set()
        if client is None:
            self._connected.clear()
        else:
            self._connected.set()

    def take(self, topic: str, payload: memoryview, is_retained: bool) -> bool:
        """Take a message, at once and without waiting. False for one that is not documented."""
        if topic == self._piece_topic:
            return self._take_piece(payload)
        if topic == self._offers_topic:
            return self._take_offers(payload)
        for prefix in self._command_topics:
            if topic.startswith(prefix):
                # Behind the issuer stands the group of doors that it is for, if it is for one.
                at = topic.find("-", len(prefix))
                if at >= 0 and topic[at + 1 :] not in self._groups:
                    return True
                is_for_all = prefix is self._command_topics[0]
                return self._take_command(payload, is_retained, is_for_all)
        return False

    def _take_piece(self, payload: memoryview) -> bool:
        count = len(payload) - _HEAD_BYTES
        if not 1 <= count <= PIECE_BYTES:
            return False
        (at,) = struct.unpack_from(_PLACE, payload, OFFER_BYTES)
        is_due = bytes(payload[:OFFER_BYTES]) == self._offer and at == self._due
        if not is_due or at + count > self._asked or len(self._pieces) >= _MAX_PIECES:
            self.strays += 1
            return True
        self._pieces.append(payload[_HEAD_BYTES:])
        self._due += count
        self._came.set()
        return True

    def _take_offers(self, payload: memoryview) -> bool:
        if len(payload) > _MAX_OFFERS_BYTES or len(payload) % OFFER_BYTES:
            return False
        self._offers = [
            bytes(payload[at : at + OFFER_BYTES]) for at in range(0, len(payload), OFFER_BYTES)
        ]
        self._told.set()
        self._came.set()
        return True

    def _take_command(self, payload: memoryview, is_retained: bool, is_for_all: bool) -> bool:
        if not len(payload):
            return True  # a retained one was withdrawn
        if len(payload) > _MAX_COMMAND_BYTES:
            return False
        if len(self._orders) >= _MAX_COMMANDS:
            # What is retained comes again with the next connection, and no lockdown is lost.
            raise ProtocolError("more commands than this door keeps waiting")
        quiet = _NO_NEWS if is_retained else (WRONG_ADDRESS,) if is_for_all else ()
        self._orders.append((bytes(payload), quiet))
        self._ordered.set()
        return True

    # Commands

    async def obey(self) -> None:
        """Hand on commands, in the order they came. Runs for ever."""
        while True:
            for task in list(self._obeying):
                if task.done():
                    self._obeying.remove(task)
                    await task  # raises what was no refusal
            if self._orders and not self._idle and self._orderlies < _MAX_OBEYED:
                self._orderlies += 1
                self._idle.append(self._open_receiver())
            if self._orders and self._idle:
                await self._hand_on(self._idle.pop(), *self._orders.pop(0))
                continue
            self._ordered.clear()
            await self._ordered.wait()

    async def _hand_on(self, receiver, order: bytes, quiet: tuple) -> None:
        """Have it verified before the next one is; to be obeyed it may take its time beside it."""
        is_begun = is_believed = False
        try:
            receiver.begin(len(order))
            is_begun = True
            await receiver.feed(order)
            is_believed = True
        except Refused as error:
            # A refusal to begin is recorded already.
            if is_begun and error.code not in quiet:
                receiver.refuse(error.code)
        finally:
            if not is_believed:
                self._idle.append(receiver)
        if is_believed:
            self._obeying.append(asyncio.create_task(self._finish(receiver, quiet)))
            # Whatever waits for nothing is done before the next one is looked at.
            await asyncio.sleep(0)

    async def _finish(self, receiver, quiet: tuple) -> None:
        """What closes is in force before anything is waited for here."""
        try:
            await receiver.finish()
        except Refused as error:
            if error.code not in quiet:
                receiver.refuse(error.code)
        finally:
            self._idle.append(receiver)
            self._ordered.set()

    # Offers

    async def fetch(self) -> None:
        """Fetch what is offered and wanted, one object after the other. Runs for ever."""
        while True:
            offer = self._choose() if self._may_fail() else None
            if offer is not None:
                await self._fetch(offer)
                continue
            self._told.clear()
            try:
                await asyncio.wait_for_ms(self._told.wait(), _LOOK_MS)
            except asyncio.TimeoutError:
                continue
            await asyncio.sleep_ms(self._spread.next_ms())

    def _may_fail(self) -> bool:
        """Is one more fetch that comes to nothing affordable?"""
        now_ms = self._ticks.ticks_ms()
        since_ms = self._ticks.ticks_diff(now_ms, self._forgiven_ms)
        # Less than nothing: so many days went by that the ticks wrapped.
        if not 0 <= since_ms < _FORGIVEN_MS:
            self._forgiven_ms = now_ms
            self._failures = max(0, self._failures - 1)
        return self._failures < _MAX_FAILURES

    def _choose(self) -> bytes | None:
        """Return the offer to fetch next, or None where none is wanted."""
        self._look_again()
        best = None
        best_rank = (0, 0)
        for offer in self._offers:
            kind, reserved, groups, version, total, issuer_id, _ = struct.unpack(_OFFER, offer)
            if kind not in _RANKS or reserved or not total or offer in self._left_alone:
                continue
            rank = (_RANKS[kind], -version)
            is_better = best is None or rank < best_rank
            if is_better and self._wants(kind, issuer_id, version, groups):
                best, best_rank = offer, rank
        return best

    def _look_again(self) -> None:
        """Forget what was to be left alone, once it was for long enough or is offered no more."""
        now_ms = self._ticks.ticks_ms()
        for offer, (since_ms, how_long_ms) in list(self._left_alone.items()):
            is_over = self._ticks.ticks_diff(now_ms, since_ms) >= how_long_ms
            if is_over or offer not in self._offers:
                del self._left_alone[offer]

    def _leave_alone(self, offer: bytes, how_long_ms: int) -> None:
        self._left_alone[offer] = (self._ticks.ticks_ms(), how_long_ms)

    async def _fetch(self, offer: bytes) -> None:
        """Bring one object to the receiver. A lost connection is waited for, and then it goes on."""
        kind, _, _, _, total, _, _ = struct.unpack(_OFFER, offer)
        receiver = self._receiver
        self._offer = offer
        self._due = self._asked = 0
        taken = 0
        is_begun = False
        try:
            while taken < total:
                if not self._pieces and not await self._ask(total):
                    receiver.abort()
                    self._failures += is_begun
                    self._leave_alone(offer, _PAUSE_MS)
                    return
                if not is_begun:
                    # Its verification then meets no garbage of those before.
                    await self._breather.pause()
                    receiver.begin(total)
                    is_begun = True
                piece = self._pieces.pop(0)
                await receiver.feed(piece)
                taken += len(piece)
            await receiver.finish()
            self.fetched += 1
            if kind == KEY_RING_TYPE:
                # Whoever was unknown may be known now.
                self._left_alone.clear()
            # Whatever came of it, the same is not fetched again and again.
            self._leave_alone(offer, _PAUSE_MS)
        except Refused as error:
            # A refusal to begin is recorded already.
            if is_begun:
                receiver.refuse(error.code)
            self._failures += 1
            self._leave_alone(offer, _REFUSED_MS)
        finally:
            self._offer = b""
            self._pieces = []

    async def _ask(self, total: int) -> bool:
        """Wait for a piece; ask where none is under way. False: nobody serves it, or it is offered
        no more."""
        silences = 0
        while silences < _TRIES and self._offer in self._offers:
            if self._due == self._asked:
                await self._connected.wait()
                await self._want(total)
            try:
                patience_ms = self._piece_ms + self._patience.next_ms()
                await asyncio.wait_for_ms(self._came.wait(), patience_ms)
            except asyncio.TimeoutError:
                silences += 1
                self._asked = self._due
            self._came.clear()
            if self._pieces:
                self._patience.reset()
                return True
        return False

    async def _want(self, total: int) -> None:
        client = self._client
        count = min(_WANT_BYTES, total - self._due)
        if client is None:
            return
        self._asked = self._due + count
        want = self._offer + struct.pack(_WANT, self._due, count, 0)
        try:
            await client.publish(self._want_topic, want, qos=1)
        except MqttError:
            # `follow` says when there is another connection.
            return
