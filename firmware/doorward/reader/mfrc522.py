"""The MFRC522 reader chip over SPI: registers, frames, timer. Knows nothing of cards.

Stands alone: needs only MicroPython's `machine.SPI` and `machine.Pin` shapes. Sections are those
of the NXP data sheet MFRC522, rev. 3.9. No allocation after construction.

How it stays short on the bus: the Transceive command stays active and a frame is sent by
StartSend alone (10.3.1.8); CRC is the chip's (TxCRCEn, RxCRCEn); "no card" is the chip's timer,
not a count of loops; one burst reads the outcome of a frame and its bytes (8.1.2.1, table 6). The
end of a frame is told by the chip's interrupt line where it is wired; where it is not, the bus is
left alone until the earliest instant at which the answer can be complete.
"""

try:
    from micropython import const
except ImportError:  # CPython, where the driver's tests run
    const = int

# fmt: off
# Registers (9.2), shifted into the address byte of an SPI transfer (8.1.2.3).
_COMMAND      = const(0x01 << 1)  # 9.3.1.2
_COM_IEN      = const(0x02 << 1)  # 9.3.1.3
_DIV_IEN      = const(0x03 << 1)  # 9.3.1.4
_COM_IRQ      = const(0x04 << 1)  # 9.3.1.5
_DIV_IRQ      = const(0x05 << 1)  # 9.3.1.6
_ERROR        = const(0x06 << 1)  # 9.3.1.7
_FIFO_DATA    = const(0x09 << 1)  # 9.3.1.10
_FIFO_LEVEL   = const(0x0A << 1)  # 9.3.1.11
_CONTROL      = const(0x0C << 1)  # 9.3.1.13
_BIT_FRAMING  = const(0x0D << 1)  # 9.3.1.14
_COLL         = const(0x0E << 1)  # 9.3.1.15
_MODE         = const(0x11 << 1)  # 9.3.2.2
_TX_MODE      = const(0x12 << 1)  # 9.3.2.3
_RX_MODE      = const(0x13 << 1)  # 9.3.2.4
_TX_CONTROL   = const(0x14 << 1)  # 9.3.2.5
_TX_ASK       = const(0x15 << 1)  # 9.3.2.6
_RF_CFG       = const(0x26 << 1)  # 9.3.3.6
_T_MODE       = const(0x2A << 1)  # 9.3.3.10
_T_PRESCALER  = const(0x2B << 1)  # 9.3.3.10
_T_RELOAD_H   = const(0x2C << 1)  # 9.3.3.11
_T_RELOAD_L   = const(0x2D << 1)  # 9.3.3.11
_AUTO_TEST    = const(0x36 << 1)  # 9.3.4.7
_VERSION      = const(0x37 << 1)  # 9.3.4.8

_READ         = const(0x80)       # 8.1.2.3, most significant bit of the address byte

# Commands (10.3).
_MEM          = const(0x01)
_CALC_CRC     = const(0x03)
_TRANSCEIVE   = const(0x0C)
_SOFT_RESET   = const(0x0F)
_POWER_DOWN   = const(0x10)       # CommandReg bit: set until a reset is over, 8.6

# ComIrqReg, ComIEnReg, DivIEnReg, DivIrqReg.
_RX_IRQ       = const(0x20)
_TIMER_IRQ    = const(0x01)
_CLEAR_ALL    = const(0x7F)
_SET          = const(0x80)
_IRQ_INVERTED = const(0x80)       # the pin is low while an enabled interrupt stands
_IRQ_PUSH_PULL = const(0x80)
_CRC_IRQ      = const(0x04)

# ErrorReg.
_BUFFER_OVFL  = const(0x10)
_COLL_ERR     = const(0x08)
_CRC_ERR      = const(0x04)
_PARITY_ERR   = const(0x02)
_PROTOCOL_ERR = const(0x01)

_FLUSH        = const(0x80)       # FIFOLevelReg
_START_SEND   = const(0x80)       # BitFramingReg
_CRC_ON       = const(0x80)       # TxModeReg, RxModeReg; speed bits 0 = 106 kbit/s
_COLL_POS_NOT_VALID = const(0x20)
_ANTENNA_ON   = const(0x83)       # TxControlReg: reset value with both drivers on
# TMode 0x80: TAuto. With a prescaler of 169 a timer tick is (2 * 169 + 1) / 13.56 MHz = 25 us.
_T_AUTO       = const(0x80)
_T_PRESCALE   = const(169)
_TICK_US      = const(25)
_FORCE_100_ASK = const(0x40)
_MODE_CRC_6363 = const(0x3D)      # TxWaitRF on, CRC preset 0x6363 as ISO 14443-3 has it
# fmt: on

FIFO_BYTES = const(64)

# Where a frame's first byte stands in `tx` and in `rx`: behind what the bus itself needs.
TX_AT = const(1)
RX_AT = const(6)

# Outcome of a frame.
OK = const(0)
TIMEOUT = const(1)
COLLISION = const(2)
CRC_ERROR = const(3)
PARITY_ERROR = const(4)
PROTOCOL_ERROR = const(5)
OVERFLOW = const(6)
EMPTY = const(7)

# RxGain (9.3.3.6, table 98): value of RFCfgReg bits 6 to 4 by decibel.
GAIN_DB = {18: 0x20, 23: 0x30, 33: 0x40, 38: 0x50, 43: 0x60, 48: 0x70}

# VersionReg of chips seen in the field; any other value that is not a stuck bus is tried as well.
VERSIONS = {
    0x90: "MFRC522 0.0",
    0x91: "MFRC522 1.0",
    0x92: "MFRC522 2.0",
    0x88: "FM17522",
    0x89: "FM17522E",
    0xB2: "FM17522",
    0x12: "counterfeit",
}
# First bytes of the self-test's answer (16.1.1); clones answer otherwise and work all the same.
_SELF_TEST_HEADS = {0x91: b"\x00\xc6\x37\xd5", 0x92: b"\x00\xeb\x66\xba"}

# A 64-byte answer takes 5.4 ms at 106 kbit/s; one that goes on longer never ends.
_LONGEST_ANSWER_US = const(8_000)
_RESET_LIMIT_US = const(10_000)
_SELF_TEST_LIMIT_US = const(10_000)
_BUFFER_BYTES = const(25)  # the Mem command's, 10.3.1.2


class ReaderDown(Exception):
    """The chip does not answer, or not as an MFRC522 does."""


class MFRC522:
    """One reader chip.

    Payload stands behind what the bus needs in both buffers, so no copy is ever made: byte k of a
    frame to send is `tx[TX_AT + k]`, byte k of the answer is `rx[RX_AT + k]`.

    Attributes:
        tx, rx: bytearrays with room for FIFO_BYTES of payload.
        rx_bytes: bytes received with the last answer, a last partial one included.
        rx_last_bits: valid bits of the last byte received, 0 = all eight.
        coll_pos: position of the first collision in the last answer, counted in stored bits from
            1 to 32; 0 = not known.
        version: VersionReg (a key of VERSIONS, or a value nobody has seen), 0 before `start`.
        has_irq: the interrupt line was seen to work at the last `start`.
        transfers: SPI transactions so far.
    """

    def __init__(self, spi, cs, ticks, reset=None, irq=None, *, gain_db: int = 38) -> None:
        """spi: mode 0, at most 10 MHz. cs, reset: output pins; irq: input pin.

        reset may be None (soft reset only), irq too (the bus is asked). ticks: the `time` module
        or its like: ticks_us, ticks_diff, ticks_add. gain_db: a key of GAIN_DB.
        """
        # Bound methods once: looking them up for every transaction would allocate.
        self._spi_write = spi.write
        self._spi_exchange = spi.write_readinto
        self._cs = cs
        self._reset = reset
        self._irq = irq
        self._ticks_us = ticks.ticks_us
        self._ticks_diff = ticks.ticks_diff
        self._ticks_add = ticks.ticks_add
        self._gain = GAIN_DB[gain_db]
        self.tx = bytearray(TX_AT + FIFO_BYTES)
        self.rx = bytearray(RX_AT + FIFO_BYTES)
        self.rx_bytes = 0
        self.rx_last_bits = 0
        self.coll_pos = 0
        self.version = 0
        self.has_irq = False
        self.transfers = 0
        self._pair = bytearray(2)
        self._pair_in = bytearray(2)
        # Registers whose loss makes a reader deaf while it still answers.
        self._vital = bytearray(
            (_READ | _VERSION, _READ | _TX_CONTROL, _READ | _TX_ASK, _READ | _T_MODE, 0)
        )
        self._vital_in = bytearray(5)
        # One burst: the five registers of a frame's outcome, then the FIFO as often as bytes are
        # expected. The answer lags by one byte, hence the 0 at the end.
        burst = bytearray(
            (
                _READ | _COM_IRQ,
                _READ | _ERROR,
                _READ | _FIFO_LEVEL,
                _READ | _CONTROL,
                _READ | _COLL,
            )
        )
        outcome_bytes = len(burst)
        burst.extend(bytes([_READ | _FIFO_DATA] * FIFO_BYTES))
        tx_view = memoryview(self.tx)
        rx_view = memoryview(self.rx)
        self._tx_views = [tx_view[: TX_AT + n] for n in range(FIFO_BYTES + 1)]
        self._outcome_reads = [bytes(burst[: outcome_bytes + n]) + b"\x00" for n in range(9)]
        self._outcome_views = [rx_view[: RX_AT + n] for n in range(9)]
        # The rest of a longer answer: n bytes that end up behind those of the first burst.
        rest = memoryview(bytes([_READ | _FIFO_DATA] * FIFO_BYTES + [0]))
        self._rest_reads = [rest[FIFO_BYTES - n :] for n in range(FIFO_BYTES + 1)]
        self._rest = bytearray(1 + FIFO_BYTES)
        rest_view = memoryview(self._rest)
        self._rest_views = [rest_view[: 1 + n] for n in range(FIFO_BYTES + 1)]
        self._has_crc = False
        self._timeout_us = 0

    def start(self) -> None:
        """Reset and configure the chip, switch the antenna on. Raises ReaderDown.

        Takes under 2 ms with a chip that answers; gives up after 10 ms.
        """
        self._reset_chip()
        self.version = self._read(_VERSION)
        if self.version in (0x00, 0xFF):
            self.version = 0
            raise ReaderDown("the chip does not answer: check SPI wiring and supply")
        self._write(_T_MODE, _T_AUTO)
        self._write(_T_PRESCALER, _T_PRESCALE)
        self._timeout_us = 0
        self._write(_TX_ASK, _FORCE_100_ASK)
        self._write(_MODE, _MODE_CRC_6363)
        self._write(_RF_CFG, self._gain | 0x08)
        self._write(_TX_MODE, 0)
        self._write(_RX_MODE, 0)
        self._has_crc = False
        self._write(_DIV_IEN, _IRQ_PUSH_PULL)
        self._write(_COM_IEN, _IRQ_INVERTED | _RX_IRQ | _TIMER_IRQ)
        self.has_irq = self._irq is not None and self._moves(self._irq)
        self.antenna(True)
        self._write(_COMMAND, _TRANSCEIVE)
        if not self.is_healthy():
            raise ReaderDown("the chip does not keep its settings: check supply and wiring")

    def antenna(self, is_on: bool) -> None:
        """Switch the field. A card needs up to 5 ms after it is on (ISO 14443-3)."""
        self._write(_TX_CONTROL, _ANTENNA_ON if is_on else _ANTENNA_ON & ~0x03)

    def gain(self, gain_db: int) -> None:
        """Set the receiver's gain, a key of GAIN_DB, now and for every `start` to come."""
        self._gain = GAIN_DB[gain_db]
        self._write(_RF_CFG, self._gain | 0x08)

    def is_healthy(self) -> bool:
        """Do the registers that a brown-out or a bad contact loses still hold? One SPI burst."""
        self._transfer(self._vital, self._vital_in)
        seen = self._vital_in
        return (
            seen[1] == self.version
            and seen[2] == _ANTENNA_ON
            and seen[3] == _FORCE_100_ASK
            and seen[4] == _T_AUTO
        )

    def self_test(self) -> bool:
        """Run the chip's digital self-test (16.1.1): 64 bytes that NXP's chips all answer alike.

        True where the first of them are as published for its version. False says "not NXP's, or
        faulty", and many clones that work say it. Needs `start` afterwards. Raises ReaderDown.
        """
        self._reset_chip()
        self._write(_FIFO_LEVEL, _FLUSH)
        for i in range(_BUFFER_BYTES):
            self.tx[TX_AT + i] = 0
        self.tx[0] = _FIFO_DATA
        self._send(self._tx_views[_BUFFER_BYTES])
        self._write(_COMMAND, _MEM)
        self._write(_AUTO_TEST, 0x09)
        self._write(_FIFO_DATA, 0)
        self._write(_COMMAND, _CALC_CRC)
        deadline = self._ticks_add(self._ticks_us(), _SELF_TEST_LIMIT_US)
        # Some clones never raise CRCIRq here; the FIFO being full is what tells with them.
        while not self._read(_DIV_IRQ) & _CRC_IRQ and self._read(_FIFO_LEVEL) < FIFO_BYTES:
            if self._ticks_diff(self._ticks_us(), deadline) > 0:
                break
        self._transfer(self._rest_reads[4], self._rest_views[4])
        self._write(_AUTO_TEST, 0)
        self._write(_COMMAND, 0)
        head = bytes(self._rest[1:5])
        return head == _SELF_TEST_HEADS.get(self._read(_VERSION))

    def exchange(
        self,
        length: int,
        timeout_us: int,
        has_crc: bool = False,
        tx_last_bits: int = 0,
        rx_align: int = 0,
        expected: int = 0,
        air_us: int = 0,
    ) -> int:
        """Send `length` bytes of `tx` and receive the answer into `rx`; return its outcome.

        timeout_us: from the end of the frame to the first bits of an answer, 25 us to 1.6 s.
        has_crc: the chip appends CRC_A, and checks and removes that of the answer.
        tx_last_bits: bits of the last byte to send, 0 = all. rx_align: bit position in the first
        byte received at which the first bit is stored (9.3.1.14).
        expected: bytes the answer will have if all is well, 0 to 8: they come with its outcome in
        one burst; any other length costs one burst more. air_us: the earliest instant at which
        that answer can be complete; not looked at where the interrupt line works.
        Returns OK, TIMEOUT, COLLISION, CRC_ERROR, PARITY_ERROR, PROTOCOL_ERROR, OVERFLOW or EMPTY
        (an answer without a bit). With COLLISION the bits before `coll_pos` are in `rx`.
        Raises ReaderDown where the chip reports no end at all.
        """
        if has_crc != self._has_crc:
            self._write(_TX_MODE, _CRC_ON if has_crc else 0)
            self._write(_RX_MODE, _CRC_ON if has_crc else 0)
            self._has_crc = has_crc
        if timeout_us != self._timeout_us:
            reload = timeout_us // _TICK_US - 1
            self._write(_T_RELOAD_H, reload >> 8)
            self._write(_T_RELOAD_L, reload & 0xFF)
            self._timeout_us = timeout_us
        self._write(_COM_IRQ, _CLEAR_ALL)
        self.tx[0] = _FIFO_DATA
        self._send(self._tx_views[length])
        start_us = self._ticks_us()
        self._write(_BIT_FRAMING, _START_SEND | rx_align << 4 | tx_last_bits)
        self._await_end(start_us, air_us, timeout_us + _LONGEST_ANSWER_US)
        rx = self.rx
        self._transfer(self._outcome_reads[expected], self._outcome_views[expected])
        events = rx[1]
        errors = rx[2]
        level = rx[3] & 0x7F
        self.coll_pos = 0
        self.rx_bytes = 0
        self.rx_last_bits = rx[4] & 0x07
        if errors & _BUFFER_OVFL or level > FIFO_BYTES:
            # The card is still sending: leaving Transceive is what ends the reception.
            self._restart_receiver()
            return OVERFLOW
        if not events & _RX_IRQ:
            # The receiver is still waiting, and would until the next command.
            self._write(_COMMAND, _TRANSCEIVE)
            return TIMEOUT
        if level > expected:
            more = level - expected
            self._transfer(self._rest_reads[more], self._rest_views[more])
            for i in range(more):
                rx[RX_AT + expected + i] = self._rest[1 + i]
        self.rx_bytes = level
        if errors & _COLL_ERR:
            if not rx[5] & _COLL_POS_NOT_VALID:
                self.coll_pos = rx[5] & 0x1F or 32
            return COLLISION
        if errors & _PROTOCOL_ERR:
            return PROTOCOL_ERROR
        if errors & _PARITY_ERR:
            return PARITY_ERROR
        if errors & _CRC_ERR:
            return CRC_ERROR
        return OK if level else EMPTY

    def _await_end(self, start_us: int, air_us: int, limit_us: int) -> None:
        """Return once an answer is complete, the chip's timer is over, or nothing ever comes."""
        ticks_us = self._ticks_us
        diff = self._ticks_diff
        irq = self._irq
        if irq is not None and self.has_irq:
            while irq() and diff(ticks_us(), start_us) < limit_us:
                pass
            if not irq():
                return
        else:
            while diff(ticks_us(), start_us) < air_us:
                pass
        while True:
            # Looked at before the chip is: a stall between the two must not blame the chip.
            is_late = diff(ticks_us(), start_us) > limit_us
            if self._read(_COM_IRQ) & (_RX_IRQ | _TIMER_IRQ):
                return
            if is_late:
                break
        if not self._read(_ERROR) & _BUFFER_OVFL:
            raise ReaderDown("the chip reports neither an answer nor a timeout")

    def _restart_receiver(self) -> None:
        self._write(_COMMAND, 0)
        self._write(_FIFO_LEVEL, _FLUSH)
        self._write(_COMMAND, _TRANSCEIVE)

    def _reset_chip(self) -> None:
        """Bring the chip to its reset state and wait until its oscillator runs."""
        self._cs(1)
        start_us = self._ticks_us()
        if self._reset is not None:
            self._reset(0)
            self._wait_us(10)
            self._reset(1)
        else:
            self._write(_COMMAND, _SOFT_RESET)
        self._wait_us(100)
        # The oscillator needs 37.74 us (8.6.2) and more until it swings; the bit tells.
        is_late = False
        while self._read(_COMMAND) & _POWER_DOWN:
            if is_late:
                raise ReaderDown("the chip does not come out of reset")
            is_late = self._ticks_diff(self._ticks_us(), start_us) > _RESET_LIMIT_US

    def _moves(self, irq) -> bool:
        """Does the interrupt pin follow an interrupt that is raised and cleared by hand?"""
        self._write(_COM_IRQ, _CLEAR_ALL)
        is_idle_high = irq() == 1
        self._write(_COM_IRQ, _SET | _TIMER_IRQ)
        is_active_low = irq() == 0
        self._write(_COM_IRQ, _CLEAR_ALL)
        return is_idle_high and is_active_low

    def _wait_us(self, duration_us: int) -> None:
        start_us = self._ticks_us()
        while self._ticks_diff(self._ticks_us(), start_us) < duration_us:
            pass

    def _write(self, address: int, value: int) -> None:
        pair = self._pair
        pair[0] = address
        pair[1] = value
        self._cs(0)
        self._spi_write(pair)
        self._cs(1)
        self.transfers += 1

    def _read(self, address: int) -> int:
        pair = self._pair
        pair[0] = _READ | address
        pair[1] = 0
        self._cs(0)
        self._spi_exchange(pair, self._pair_in)
        self._cs(1)
        self.transfers += 1
        return self._pair_in[1]

    def _send(self, out) -> None:
        self._cs(0)
        self._spi_write(out)
        self._cs(1)
        self.transfers += 1

    def _transfer(self, out, into) -> None:
        self._cs(0)
        self._spi_exchange(out, into)
        self._cs(1)
        self.transfers += 1
