"""Owns the cards: the ISO 14443-3A state machine, and cards that misbehave on purpose."""

from sim.chance import Chance
from sim.iso14443a import (
    CASCADE_TAG,
    HLTA,
    NVB_SELECT,
    REQA,
    SAK_CASCADE,
    SEL,
    WUPA,
    bcc,
    has_crc,
    raw_bits,
    with_crc,
)

# PICC states, ISO 14443-3 6.3. READY* and ACTIVE* are READY and ACTIVE with `is_starred`.
IDLE = 0
READY = 1
ACTIVE = 2
HALT = 3
PROTOCOL = 4  # ISO 14443-4: only the card's own `on_frame` answers

_ATQA = {4: 0x0004, 7: 0x0044, 10: 0x0084}
_SAK = {4: 0x08, 7: 0x00, 10: 0x00}


class Card:
    """A well-behaved card with a UID of 4, 7 or 10 bytes.

    `atqa` is 16 bits, sent low byte first. `power_up_us` is how long the card needs in the field
    before it hears anything. A subclass gives itself commands in `on_frame`, and sets `think_us`
    there to answer later than the frame delay time by so much.
    """

    needs_gain_db = 0  # a reader with less receiver gain does not hear this card

    def __init__(
        self,
        uid: bytes,
        sak: int | None = None,
        atqa: int | None = None,
        power_up_us: int = 2500,
    ) -> None:
        if len(uid) not in _ATQA:
            raise ValueError("uid is 4, 7 or 10 bytes")
        self.uid = uid
        self.sak = _SAK[len(uid)] if sak is None else sak
        self.atqa = _ATQA[len(uid)] if atqa is None else atqa
        self.power_up_us = power_up_us
        self.think_us = 0
        self.is_enciphered = False
        self.power_on()

    def power_on(self) -> None:
        """Begin in IDLE, as after the field came up."""
        self.state = IDLE
        self.is_starred = False
        self.is_enciphered = False
        self._level = 0

    def receive(
        self,
        frame: bytes | bytearray,
        bit_count: int,
        is_sound: bool = True,
        is_enciphered: bool = False,
    ) -> bytearray | None:
        """Take one PCD frame; return the raw bits of the answer, or None for silence.

        `bit_count` counts data bits. `is_sound` is False when bits were damaged on the way;
        `is_enciphered` says that the reader speaks Crypto1.
        """
        self.think_us = 0
        if is_enciphered != self.is_enciphered:
            is_sound = False
        if self.state in (ACTIVE, PROTOCOL):
            return self._active(frame, bit_count, is_sound)
        if not is_sound:
            self.fall_back()
            return None
        if bit_count == 7:
            return self._request(frame[0] & 0x7F)
        if self.state == READY:
            return self._anticollision(frame, bit_count)
        return None

    def on_frame(self, payload: bytes) -> bytes | int | None:
        """Answer a frame with a good CRC_A in ACTIVE or PROTOCOL; `payload` is without the CRC.

        Return bytes (CRC_A is added), 0..15 for a 4-bit ACK or NAK, b"" for silence in the same
        state, or None to fall back to IDLE or HALT.
        """
        return None

    def on_error(self) -> None:
        """Take notice of a damaged or odd frame in ACTIVE; in PROTOCOL a card ignores it."""
        if self.state == ACTIVE:
            self.fall_back()

    def fall_back(self) -> None:
        """Return to IDLE, or to HALT if that is where the card was woken from."""
        if self.state not in (IDLE, HALT):
            self.state = HALT if self.is_starred else IDLE
            self.is_enciphered = False

    def _request(self, command: int) -> bytearray | None:
        # A request in READY gets no answer and ends the selection, ISO 14443-3 6.3.3.
        is_woken = self.state == HALT and command == WUPA
        if not is_woken and not (self.state == IDLE and command in (REQA, WUPA)):
            self.fall_back()
            return None
        self.is_starred = is_woken
        self.state = READY
        self._level = 0
        return raw_bits(bytes((self.atqa & 0xFF, self.atqa >> 8)))

    def _cascade(self, level: int) -> bytes:
        """Return UID CLn and its BCC: the five bytes that one cascade level sends."""
        rest = self.uid[3 * level :]
        part = rest if len(rest) == 4 else bytes((CASCADE_TAG,)) + rest[:3]
        return part + bytes((bcc(part),))

    def _is_last_level(self) -> bool:
        return len(self.uid) == 4 + 3 * self._level

    def _anticollision(self, frame: bytes | bytearray, bit_count: int) -> bytearray | None:
        if bit_count < 16 or frame[0] != SEL[self._level]:
            self.fall_back()
            return None
        part = self._cascade(self._level)
        nvb = frame[1]
        if nvb == NVB_SELECT:
            if bit_count != 72 or not has_crc(frame) or bytes(frame[2:7]) != part:
                self.fall_back()
                return None
            return self._select()
        known = ((nvb >> 4) - 2) * 8 + (nvb & 0x0F)
        if nvb & 0x08 or not 0 <= known < 40 or bit_count != 16 + known:
            self.fall_back()
            return None
        whole, rest = known >> 3, known & 7
        if bytes(frame[2 : 2 + whole]) != part[:whole]:
            return None
        if rest and (frame[2 + whole] ^ part[whole]) & ((1 << rest) - 1):
            return None
        return raw_bits(part, known)

    def _select(self) -> bytearray:
        if self._is_last_level():
            self.state = ACTIVE
            sak = self.sak
        else:
            self._level += 1
            sak = SAK_CASCADE
        return self._send_sak(sak)

    def _send_sak(self, sak: int) -> bytearray:
        return raw_bits(with_crc(bytes((sak,))))

    def _active(
        self, frame: bytes | bytearray, bit_count: int, is_sound: bool
    ) -> bytearray | None:
        if not is_sound or bit_count & 7 or not has_crc(frame):
            self.on_error()
            return None
        payload = bytes(frame[:-2])
        if self.state == ACTIVE and payload == HLTA:
            self.state = HALT
            self.is_enciphered = False
            return None
        answer = self.on_frame(payload)
        if answer is None:
            self.fall_back()
            return None
        if isinstance(answer, int):
            return bytearray(answer >> i & 1 for i in range(4))
        return raw_bits(with_crc(answer)) if answer else None


class RandomIdCard(Card):
    """A card that shows a new random ID, 08 and three bytes, at every power-up."""

    def __init__(self, seed: int = 1, sak: int = 0x20, power_up_us: int = 2500) -> None:
        self._chance = Chance(seed)
        super().__init__(b"\x08\0\0\0", sak, power_up_us=power_up_us)

    def power_on(self) -> None:
        super().power_on()
        self.uid = b"\x08" + bytes(self._chance.bits(8) for _ in range(3))


class ClassicCard(Card):
    """A MIFARE Classic 1K with one key for all sectors, as far as MFAuthent and READ go.

    Crypto1 is stood in for: the reader's proof is `classic_proof(key, uid)`, and enciphered
    frames are plain ones that carry a flag.
    """

    _READ = 0x30
    _AUTH = (0x60, 0x61)
    _NAK = 0x04

    def __init__(self, uid: bytes, key: bytes = b"\xff" * 6, power_up_us: int = 2500) -> None:
        self.key = key
        self.memory = bytearray(1024)
        super().__init__(uid, 0x08, power_up_us=power_up_us)
        self.memory[: len(uid)] = uid

    def power_on(self) -> None:
        super().power_on()
        self._is_challenged = False

    def _active(
        self, frame: bytes | bytearray, bit_count: int, is_sound: bool
    ) -> bytearray | None:
        if self._is_challenged:
            self._is_challenged = False
            if is_sound and bit_count == 64 and frame == classic_proof(self.key, self.uid):
                self.is_enciphered = True
                return raw_bits(b"\x12\x34\x56\x78")
            self.fall_back()
            return None
        if is_sound and bit_count == 32 and frame[0] in self._AUTH and has_crc(frame):
            self._is_challenged = True
            return raw_bits(b"\x01\x20\x01\x45")
        return super()._active(frame, bit_count, is_sound)

    def on_frame(self, payload: bytes) -> bytes | int | None:
        if not self.is_enciphered or len(payload) != 2 or payload[0] != self._READ:
            return None
        at = payload[1] * 16
        return bytes(self.memory[at : at + 16]) if at < len(self.memory) else self._NAK


def classic_proof(key: bytes, uid: bytes) -> bytes:
    """Return the eight bytes that stand in for Crypto1's answer to a challenge."""
    uid = uid[-4:]
    return key + bytes((uid[0] ^ uid[2], uid[1] ^ uid[3]))


class WrongBccCard(Card):
    """Sends UID parts whose check byte is wrong."""

    def _cascade(self, level: int) -> bytes:
        part = super()._cascade(level)
        return part[:4] + bytes((part[4] ^ 0xFF,))


class WrongSakCrcCard(Card):
    """Sends every SAK with a broken CRC_A."""

    def _send_sak(self, sak: int) -> bytearray:
        frame = with_crc(bytes((sak,)))
        return raw_bits(frame[:2] + bytes((frame[2] ^ 0x01,)))


class EndlessCascadeCard(Card):
    """Says "UID not complete" for ever, at whichever level it is asked."""

    def _anticollision(self, frame: bytes | bytearray, bit_count: int) -> bytearray | None:
        self._level = SEL.index(frame[0]) if frame[0] in SEL else 0
        return super()._anticollision(frame, bit_count)

    def _cascade(self, level: int) -> bytes:
        part = bytes((CASCADE_TAG,)) + self.uid[:3]
        return part + bytes((bcc(part),))

    def _select(self) -> bytearray:
        return self._send_sak(SAK_CASCADE)


class BabblingCard(Card):
    """Answers whatever it hears with a frame that is far too long."""

    def __init__(self, uid: bytes, length_bytes: int = 300, power_up_us: int = 2500) -> None:
        self.length_bytes = length_bytes
        super().__init__(uid, power_up_us=power_up_us)

    def receive(
        self,
        frame: bytes | bytearray,
        bit_count: int,
        is_sound: bool = True,
        is_enciphered: bool = False,
    ) -> bytearray | None:
        self.think_us = 0
        return raw_bits(bytes(i & 0xFF for i in range(self.length_bytes)))


class NonsenseCard(Card):
    """Selects well, but its ATQA and SAK use bits that mean nothing."""

    def __init__(self, uid: bytes, power_up_us: int = 2500) -> None:
        super().__init__(uid, sak=0xDB, atqa=0xF03F, power_up_us=power_up_us)


class TornCard(Card):
    """Stops every answer after `stop_bits` raw bits; 0 leaves a start bit and nothing else."""

    def __init__(self, uid: bytes, stop_bits: int, power_up_us: int = 2500) -> None:
        self.stop_bits = stop_bits
        super().__init__(uid, power_up_us=power_up_us)

    def receive(
        self,
        frame: bytes | bytearray,
        bit_count: int,
        is_sound: bool = True,
        is_enciphered: bool = False,
    ) -> bytearray | None:
        bits = super().receive(frame, bit_count, is_sound, is_enciphered)
        return bits if bits is None else bits[: self.stop_bits]


class ParityErrorCard(Card):
    """Sends the last parity bit of every answer inverted."""

    def receive(
        self,
        frame: bytes | bytearray,
        bit_count: int,
        is_sound: bool = True,
        is_enciphered: bool = False,
    ) -> bytearray | None:
        bits = super().receive(frame, bit_count, is_sound, is_enciphered)
        if bits is not None:
            bits[len(bits) - 1] ^= 1
        return bits
