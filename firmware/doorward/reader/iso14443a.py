"""ISO/IEC 14443-3 type A: from "somebody answers" to one selected card and its UID.

Stands alone beside mfrc522.py. No allocation in steady state.
"""

try:
    from micropython import const
except ImportError:  # CPython, where the tests run
    const = int

try:
    from .mfrc522 import COLLISION, OK, TIMEOUT
except ImportError:  # installed beside each other, without the package
    from mfrc522 import COLLISION, OK, TIMEOUT

_REQA = const(0x26)  # 6.4.1
_WUPA = const(0x52)
_HLTA = const(0x50)  # 6.4.3
_CASCADE = (0x93, 0x95, 0x97)  # SEL of cascade levels 1 to 3, 6.5.3.1
_CASCADE_TAG = const(0x88)
_SAK_NOT_COMPLETE = const(0x04)  # 6.5.3.4: the UID goes on at the next cascade level

# The answer to REQA, anticollision and SELECT begins exactly 1172 or 1236 carrier periods after
# the command (6.2.1.1), 91.15 us; the timer stops at the fifth bit, 47 us later.
_LAYER3_TIMEOUT_US = const(250)
# HLTA has no answer; 1 ms of silence acknowledges it (6.4.3).
_HALT_TIMEOUT_US = const(1000)
_MAX_ROUNDS = const(32)

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
        self._chip.tx[1] = _WUPA if is_wake_up else _REQA
        outcome = self._chip.exchange(1, _LAYER3_TIMEOUT_US, tx_last_bits=7)
        self.had_collision = outcome == COLLISION
        return outcome != TIMEOUT

    def select(self) -> bool:
        """Go through anticollision and selection. True with `uid`, `uid_length`, `sak` set.

        Whether the UID goes on at the next level is the SAK's cascade bit alone: 0x88 is a
        cascade tag only there, and a legal first byte of a 4-byte UID.
        """
        at = 0
        for sel in _CASCADE:
            outcome = self._resolve(sel)
            if outcome != OK:
                return self._fail(outcome)
            rx = self._chip.rx
            outcome = self._select_level(sel)
            if outcome != OK:
                return self._fail(outcome)
            tx = self._chip.tx
            sak = rx[1]
            if not sak & _SAK_NOT_COMPLETE:
                for i in range(4):
                    self.uid[at + i] = tx[3 + i]
                self.uid_length = at + 4
                self.sak = sak
                return True
            if tx[3] != _CASCADE_TAG:
                return self._fail(NONSENSE)
            for i in range(3):
                self.uid[at + i] = tx[4 + i]
            at += 3
        return self._fail(ENDLESS_CASCADE)

    def halt(self) -> None:
        """Send HLTA: the selected card stays silent until WUPA or until it loses the field."""
        tx = self._chip.tx
        tx[1] = _HLTA
        tx[2] = 0
        self._chip.exchange(2, _HALT_TIMEOUT_US, has_crc=True)

    def _resolve(self, sel: int) -> int:
        """Find one card's four bytes and BCC at a cascade level; leave them in tx[3:8].

        At a collision the branch of the set bit is followed (6.5.3.1), so the number of known
        bits grows each round and the loop ends.
        """
        chip = self._chip
        tx = chip.tx
        rx = chip.rx
        tx[1] = sel
        for i in range(3, 8):
            tx[i] = 0
        known = 0
        for _ in range(_MAX_ROUNDS):
            whole = known >> 3
            rest = known & 7
            tx[2] = (2 + whole) << 4 | rest
            length = 2 + whole + (1 if rest else 0)
            outcome = chip.exchange(length, _LAYER3_TIMEOUT_US, tx_last_bits=rest, rx_align=rest)
            if outcome not in (OK, COLLISION):
                return outcome
            if chip.rx_bytes != 5 - whole and outcome == OK:
                return NONSENSE
            # Bits already known were sent, not received: keep them in the shared byte.
            mask = (1 << rest) - 1
            for i in range(min(chip.rx_bytes, 5 - whole)):
                value = rx[1 + i]
                if i == 0:
                    value = value & ~mask | tx[3 + whole] & mask
                tx[3 + whole + i] = value
            if outcome == OK:
                is_sound = tx[3] ^ tx[4] ^ tx[5] ^ tx[6] == tx[7]
                return OK if is_sound else BAD_BCC
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
        index = (position - 1) >> 3
        bit = (position - 1) & 7
        tx[3 + index] = tx[3 + index] & ((1 << bit) - 1) | 1 << bit
        for i in range(index + 1, 5):
            tx[3 + i] = 0

    def _select_level(self, sel: int) -> int:
        chip = self._chip
        chip.tx[1] = sel
        chip.tx[2] = 0x70
        outcome = chip.exchange(7, _LAYER3_TIMEOUT_US, has_crc=True)
        if outcome == OK and (chip.rx_bytes != 1 or chip.rx_last_bits):
            return NONSENSE
        return outcome

    def _fail(self, outcome: int) -> bool:
        self.errors[outcome] = self.errors.get(outcome, 0) + 1
        return False
