"""ISO/IEC 14443-3 type A: from "somebody answers" to one selected card and its UID.

Stands alone beside mfrc522.py. No allocation in steady state.
"""

try:
    from micropython import const
except ImportError:  # CPython, where the tests run
    const = int

try:
    from .mfrc522 import COLLISION, OK, RX_AT, TIMEOUT, TX_AT
except ImportError:  # installed beside each other, without the package
    from mfrc522 import COLLISION, OK, RX_AT, TIMEOUT, TX_AT

_REQA = const(0x26)  # 6.4.1
_WUPA = const(0x52)
_HLTA = const(0x50)  # 6.4.3
_CASCADE = (0x93, 0x95, 0x97)  # SEL of cascade levels 1 to 3, 6.5.3.1
_CASCADE_TAG = const(0x88)
_SAK_NOT_COMPLETE = const(0x04)  # 6.5.3.4: the UID goes on at the next cascade level

# The answer to REQA, anticollision and SELECT begins exactly 1172 or 1236 carrier periods after
# the command (6.2.1.1), 91.15 us; the timer stops at the fifth bit, 47 us later. HLTA has no answer
# and runs into the same time-out: a card that heard it is silent at once (6.4.3).
_TIMEOUT_US = const(175)
# Air time from StartSend to the end of a sound answer at 9.44 us a bit, frame delay included: the
# PCD's frame is 1 + 9 bits a byte (REQA: 8), the card's 1 + 9 bits a byte.
_REQUEST_US = const(340)  # 8 bits, 86 us, ATQA 19 bits
_ANTICOLLISION_US = const(690)  # 19 bits, 86 us, UID part and BCC 46 bits
_SELECT_US = const(1120)  # 82 bits, 86 us, SAK and CRC 28 bits
_HALT_US = const(640)  # 37 bits, then the time-out
_MAX_ROUNDS = const(32)
# Where UID part and BCC stand in the chip's tx: behind SEL and NVB.
_PART = const(3)

# Outcomes beyond the chip's own.
BAD_BCC = const(16)
ENDLESS_CASCADE = const(17)
NONSENSE = const(18)


class Activation:
    """Brings one card of those in the field to ACTIVE.

    Attributes:
        uid: bytearray of 10, the first `uid_length` bytes are the UID.
        uid_length: 4, 7 or 10.
        sak: the last SAK.
        had_collision: another card answered too and is still to be asked.
        errors: outcomes that were errors so far, by number.
    """

    def __init__(self, chip) -> None:
        """chip: an MFRC522."""
        self._chip = chip
        self.uid = bytearray(10)
        self.uid_length = 0
        self.sak = 0
        self.had_collision = False
        self.errors = {}

    def request(self, is_wake_up: bool = False) -> bool:
        """Send REQA, or WUPA, which halted cards answer too. Did anything answer?

        An answer that is garbled, as by several cards or one still on its way in, counts.
        """
        chip = self._chip
        chip.tx[TX_AT] = _WUPA if is_wake_up else _REQA
        outcome = chip.exchange(1, _TIMEOUT_US, False, 7, 0, 2, _REQUEST_US)
        self.had_collision = outcome == COLLISION
        return outcome != TIMEOUT

    def select(self) -> bool:
        """Go through anticollision and selection. True with `uid`, `uid_length`, `sak` set.

        Whether the UID goes on at the next level is the SAK's cascade bit alone: 0x88 is a
        cascade tag only there, and a legal first byte of a 4-byte UID.
        """
        tx = self._chip.tx
        uid = self.uid
        at = 0
        for sel in _CASCADE:
            outcome = self._resolve(sel)
            if outcome == OK:
                outcome = self._select_level(sel)
            if outcome != OK:
                return self._fail(outcome)
            sak = self._chip.rx[RX_AT]
            if not sak & _SAK_NOT_COMPLETE:
                for i in range(4):
                    uid[at + i] = tx[_PART + i]
                self.uid_length = at + 4
                self.sak = sak
                return True
            if tx[_PART] != _CASCADE_TAG:
                return self._fail(NONSENSE)
            for i in range(3):
                uid[at + i] = tx[_PART + 1 + i]
            at += 3
        return self._fail(ENDLESS_CASCADE)

    def halt(self) -> None:
        """Send HLTA: the selected card stays silent until WUPA or until it loses the field."""
        chip = self._chip
        chip.tx[TX_AT] = _HLTA
        chip.tx[TX_AT + 1] = 0
        chip.exchange(2, _TIMEOUT_US, True, 0, 0, 0, _HALT_US)

    def _resolve(self, sel: int) -> int:
        """Find one card's four bytes and BCC at a cascade level; leave them in tx from _PART on.

        At a collision the branch of the set bit is followed (6.5.3.1), so the number of known
        bits grows each round and the loop ends.
        """
        chip = self._chip
        tx = chip.tx
        rx = chip.rx
        tx[TX_AT] = sel
        for i in range(_PART, _PART + 5):
            tx[i] = 0
        known = 0
        for _ in range(_MAX_ROUNDS):
            whole = known >> 3
            rest = known & 7
            tx[TX_AT + 1] = (2 + whole) << 4 | rest
            length = 2 + whole + (1 if rest else 0)
            # Every known bit is one more to send and one less to receive.
            outcome = chip.exchange(
                length, _TIMEOUT_US, False, rest, rest, 5 - whole, _ANTICOLLISION_US
            )
            # Two comparisons, because a tuple to look in would be allocated.
            is_collision = outcome == COLLISION
            if outcome != OK and not is_collision:
                return outcome
            if outcome == OK and chip.rx_bytes != 5 - whole:
                return NONSENSE
            # Bits already known were sent, not received: keep them in the shared byte.
            mask = (1 << rest) - 1
            for i in range(min(chip.rx_bytes, 5 - whole)):
                value = rx[RX_AT + i]
                if i == 0:
                    value = value & ~mask | tx[_PART + whole] & mask
                tx[_PART + whole + i] = value
            if outcome == OK:
                bcc = tx[_PART] ^ tx[_PART + 1] ^ tx[_PART + 2] ^ tx[_PART + 3]
                return OK if bcc == tx[_PART + 4] else BAD_BCC
            self.had_collision = True
            position = (known & ~7) + chip.coll_pos
            if chip.coll_pos == 0 or not known < position <= 32:
                return NONSENSE
            self._follow_set_bit(position)
            known = position
        return NONSENSE

    def _follow_set_bit(self, position: int) -> None:
        """Set bit `position` (1 to 32) of the UID in tx and clear everything behind it."""
        tx = self._chip.tx
        index = _PART + ((position - 1) >> 3)
        bit = (position - 1) & 7
        tx[index] = tx[index] & ((1 << bit) - 1) | 1 << bit
        for i in range(index + 1, _PART + 5):
            tx[i] = 0

    def _select_level(self, sel: int) -> int:
        chip = self._chip
        chip.tx[TX_AT] = sel
        chip.tx[TX_AT + 1] = 0x70
        outcome = chip.exchange(7, _TIMEOUT_US, True, 0, 0, 1, _SELECT_US)
        if outcome == OK and (chip.rx_bytes != 1 or chip.rx_last_bits):
            return NONSENSE
        return outcome

    def _fail(self, outcome: int) -> bool:
        self.errors[outcome] = self.errors.get(outcome, 0) + 1
        return False
