"""Owns the RF field: which cards are in it and when, and what their answers add up to on the air."""

from sim.cards import Card
from sim.chance import Chance
from sim.iso14443a import COLLISION, ETU_FC, fc_ns, fdt_ns, last_bit, picc_frame_ns

NEVER_NS = 1 << 60  # later than any simulated time, and still a small integer on MicroPython

_ETU_NS = fc_ns(ETU_FC)
_NOTHING = 3  # raw bit that no card has sent yet
_SETTLING_LOSS = 0.5  # how many frames a card misses while it comes near slowly
_SETTLING_NOISE = 0.05  # bit errors in its answers meanwhile


class Answer:
    """What the reader's antenna hears after one frame: raw bits from `start_ns` on.

    `bits` may grow shorter while it is being sent: a card that is taken away stops talking.
    `is_silent` means that it went before it began.
    """

    def __init__(self, start_ns: int, bits: bytearray) -> None:
        self.start_ns = start_ns
        self.bits = bits
        self.is_silent = False

    @property
    def end_ns(self) -> int:
        """The end of the last bit."""
        return self.start_ns + picc_frame_ns(self.bits)


class _Presence:
    """One stay of one card in the field."""

    def __init__(self, card: Card, enter_ns: int, settle_ns: int) -> None:
        self.card = card
        self.enter_ns = enter_ns
        self.settled_ns = enter_ns + settle_ns
        self.leave_ns = NEVER_NS
        self.powered_ns: int | None = None  # since when the card has had power, once it was told
        self.busy_until_ns = 0  # a card that is still answering hears nothing


class RfField:
    """The field of one reader.

    `noise` is the probability, 0.0..1.0, that a bit is damaged, in either direction; it may be
    changed at any time. Times are in ns on the clock of the chip that drives the field.
    """

    def __init__(self, seed: int = 1, noise: float = 0.0) -> None:
        self.noise = noise
        self._chance = Chance(seed)
        self._stays = []
        self._on_since_ns = None
        self._off_ns = NEVER_NS
        self._answer = None
        self._parts = []

    @property
    def is_on(self) -> bool:
        """Whether the carrier is there."""
        return self._on_since_ns is not None

    def enter(self, card: Card, now_ns: int, settle_ms: int = 0) -> None:
        """Bring a card near; for `settle_ms` it comes so slowly that frames get lost or damaged.

        Raises ValueError when the card is already there.
        """
        if card in self.cards(now_ns):
            raise ValueError("card is already in the field")
        self._stays.append(_Presence(card, now_ns, settle_ms * 1_000_000))

    def leave(self, card: Card, now_ns: int) -> None:
        """Take a card away; an answer it is sending breaks off. Without effect if it is not there."""
        for stay in self._stays:
            if stay.card is card and stay.leave_ns == NEVER_NS:
                stay.leave_ns = now_ns
        self._cut_answer(now_ns)

    def cards(self, now_ns: int) -> list[Card]:
        """Return the cards in the field at this time."""
        return [s.card for s in self._stays if s.enter_ns <= now_ns < s.leave_ns]

    def carrier(self, is_on: bool, now_ns: int) -> None:
        """Switch the carrier; without it every card loses power and forgets its state."""
        if is_on == self.is_on:
            return
        if is_on:
            self._on_since_ns = now_ns
            self._off_ns = NEVER_NS
        else:
            self._on_since_ns = None
            self._off_ns = now_ns
            self._cut_answer(now_ns)

    def transmit(
        self,
        frame: bytes | bytearray,
        bit_count: int,
        start_ns: int,
        end_ns: int,
        *,
        is_sound: bool = True,
        is_enciphered: bool = False,
        gain_db: int = 33,
    ) -> Answer | None:
        """Send one PCD frame to all cards that hear it; return what comes back, or None.

        Call it once the frame's end has come, in order of time. `is_sound` False sends it with
        wrong parity. `gain_db` is the receiver gain: weak cards below it are not heard.
        """
        self._answer = None
        self._parts = []
        if self._on_since_ns is None:
            return None
        fdt = fdt_ns(last_bit(frame, bit_count))
        self._stays = [s for s in self._stays if s.leave_ns > start_ns]
        for stay in self._stays:
            if not self._hears(stay, start_ns, end_ns):
                continue
            card = stay.card
            is_heard_well = is_sound and not self._is_damaged(stay, start_ns, bit_count)
            bits = card.receive(frame, bit_count, is_heard_well, is_enciphered)
            if bits is None:
                continue
            begins_ns = end_ns + fdt + card.think_us * 1000
            stay.busy_until_ns = begins_ns + picc_frame_ns(bits)
            if card.needs_gain_db <= gain_db:
                self._parts.append((stay, begins_ns, bits))
        if not self._parts:
            return None
        self._parts.sort(key=_begin_of)
        bits = self._combine()
        if bits is None:
            return None
        answer = Answer(self._parts[0][1], bits)
        self._add_noise(answer)
        self._answer = answer
        return answer

    def _hears(self, stay: _Presence, start_ns: int, end_ns: int) -> bool:
        if stay.enter_ns > start_ns or stay.leave_ns < end_ns:
            return False
        powered_ns = max(stay.enter_ns, self._on_since_ns or 0)
        if stay.powered_ns != powered_ns:
            stay.powered_ns = powered_ns
            stay.busy_until_ns = 0
            stay.card.power_on()
        return (
            start_ns >= powered_ns + stay.card.power_up_us * 1000
            and start_ns >= stay.busy_until_ns
        )

    def _is_damaged(self, stay: _Presence, start_ns: int, bit_count: int) -> bool:
        chance = self._chance
        if start_ns < stay.settled_ns and chance.is_hit(_SETTLING_LOSS):
            return True
        if not self.noise:
            return False
        return any(chance.is_hit(self.noise) for _ in range(bit_count))

    def _combine(self) -> bytearray | None:
        """Lay the answers over one another, bit by bit; None when all were cut before they began."""
        total = None
        first_ns = 0
        for stay, start_ns, bits in self._parts:
            bit_end = (min(stay.leave_ns, self._off_ns) - start_ns) // _ETU_NS - 1
            if bit_end < 0:
                continue
            said = bits if bit_end >= len(bits) else bits[:bit_end]
            if total is None:
                total = said
                first_ns = start_ns
                continue
            offset = (start_ns - first_ns + _ETU_NS // 2) // _ETU_NS
            if offset:
                # The late answer's start bit is a 1 that falls on a data bit of the others.
                total = _lay_over(total, b"\x01" + said, offset - 1)
            else:
                total = _lay_over(total, said, 0)
        return total

    def _add_noise(self, answer: Answer) -> None:
        noise = self.noise
        for stay, start_ns, _ in self._parts:
            if start_ns < stay.settled_ns:
                noise = max(noise, _SETTLING_NOISE)
        if noise:
            bits = bytearray(answer.bits)
            for i in range(len(bits)):
                if bits[i] != COLLISION and self._chance.is_hit(noise):
                    bits[i] ^= 1
            answer.bits = bits

    def _cut_answer(self, now_ns: int) -> None:
        answer = self._answer
        if answer is not None and now_ns < answer.end_ns:
            bits = self._combine()
            answer.is_silent = bits is None
            answer.bits = answer.bits[: 0 if bits is None else len(bits)]


def _begin_of(part: tuple) -> int:
    return part[1]


def _lay_over(under: bytearray, bits: bytes | bytearray, offset: int) -> bytearray:
    if offset > len(under):
        # It begins after the others are silent: to a receiver that is another frame.
        return under
    total = bytearray(under)
    if len(total) < offset + len(bits):
        total = total + bytes((_NOTHING,)) * (offset + len(bits) - len(total))
    for i in range(len(bits)):
        seen = total[offset + i]
        if seen == _NOTHING:
            total[offset + i] = bits[i]
        elif seen != bits[i]:
            total[offset + i] = COLLISION
    return total
