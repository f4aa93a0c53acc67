"""Owns the MFRC522 at register level: SPI bytes in, field and interrupt pin out, time read lazily.

Sections are those of the NXP data sheet MFRC522 Rev. 3.9. Nothing here waits: every register
access first catches up with all that happened since, up to `now_ns()`.
"""

from sim.cards import classic_proof
from sim.chance import Chance
from sim.field import NEVER_NS, RfField
from sim.iso14443a import COLLISION, CRC_TABLE, ETU_FC, PARITY, crc_a, fc_ns, pcd_frame_ns

# Registers, section 9.2
# fmt: off
COMMAND        = 0x01  # 9.3.1.2
COM_IEN        = 0x02  # 9.3.1.3
DIV_IEN        = 0x03  # 9.3.1.4
COM_IRQ        = 0x04  # 9.3.1.5
DIV_IRQ        = 0x05  # 9.3.1.6
ERROR          = 0x06  # 9.3.1.7
STATUS1        = 0x07  # 9.3.1.8
STATUS2        = 0x08  # 9.3.1.9
FIFO_DATA      = 0x09  # 9.3.1.10
FIFO_LEVEL     = 0x0A  # 9.3.1.11
WATER_LEVEL    = 0x0B  # 9.3.1.12
CONTROL        = 0x0C  # 9.3.1.13
BIT_FRAMING    = 0x0D  # 9.3.1.14
COLL           = 0x0E  # 9.3.1.15
MODE           = 0x11  # 9.3.2.2
TX_MODE        = 0x12  # 9.3.2.3
RX_MODE        = 0x13  # 9.3.2.4
TX_CONTROL     = 0x14  # 9.3.2.5
TX_ASK         = 0x15  # 9.3.2.6
TX_SEL         = 0x16  # 9.3.2.7
RX_SEL         = 0x17  # 9.3.2.8
RX_THRESHOLD   = 0x18  # 9.3.2.9
DEMOD          = 0x19  # 9.3.2.10
MF_TX          = 0x1C  # 9.3.2.13
MF_RX          = 0x1D  # 9.3.2.14
SERIAL_SPEED   = 0x1F  # 9.3.2.16
CRC_RESULT_H   = 0x21  # 9.3.3.2
CRC_RESULT_L   = 0x22  # 9.3.3.2
MOD_WIDTH      = 0x24  # 9.3.3.4
RF_CFG         = 0x26  # 9.3.3.6
GS_N           = 0x27  # 9.3.3.7
CW_GS_P        = 0x28  # 9.3.3.8
MOD_GS_P       = 0x29  # 9.3.3.9
T_MODE         = 0x2A  # 9.3.3.10
T_PRESCALER    = 0x2B  # 9.3.3.10
T_RELOAD_H     = 0x2C  # 9.3.3.11
T_RELOAD_L     = 0x2D  # 9.3.3.11
T_COUNTER_H    = 0x2E  # 9.3.3.12
T_COUNTER_L    = 0x2F  # 9.3.3.12
TEST_PIN_EN    = 0x33  # 9.3.4.4
AUTO_TEST      = 0x36  # 9.3.4.7
VERSION        = 0x37  # 9.3.4.8

# Values after reset, section 9.3; every other register is 00h
_RESET = {
    COMMAND: 0x20,
    COM_IEN: 0x80,
    COM_IRQ: 0x14,
    STATUS1: 0x21,
    WATER_LEVEL: 0x08,
    CONTROL: 0x10,
    COLL: 0xA0,
    MODE: 0x3F,
    TX_CONTROL: 0x80,
    TX_SEL: 0x10,
    RX_SEL: 0x84,
    RX_THRESHOLD: 0x84,
    DEMOD: 0x4D,
    MF_TX: 0x62,
    SERIAL_SPEED: 0xEB,
    MOD_WIDTH: 0x26,
    RF_CFG: 0x48,
    GS_N: 0x88,
    CW_GS_P: 0x20,
    MOD_GS_P: 0x20,
    TEST_PIN_EN: 0x80,
    AUTO_TEST: 0x40,
}

# Commands, section 10.3
CMD_IDLE          = 0x00
CMD_MEM           = 0x01
CMD_RANDOM_ID     = 0x02
CMD_CALC_CRC      = 0x03
CMD_TRANSMIT      = 0x04
CMD_NO_CHANGE     = 0x07
CMD_RECEIVE       = 0x08
CMD_TRANSCEIVE    = 0x0C
CMD_MF_AUTHENT    = 0x0E
CMD_SOFT_RESET    = 0x0F

# ComIrqReg and ComIEnReg bits
IRQ_TX            = 0x40
IRQ_RX            = 0x20
IRQ_IDLE          = 0x10
IRQ_HI_ALERT      = 0x08
IRQ_LO_ALERT      = 0x04
IRQ_ERR           = 0x02
IRQ_TIMER         = 0x01
# DivIrqReg and DivIEnReg bits
IRQ_MFIN_ACT      = 0x10
IRQ_CRC           = 0x04

# ErrorReg bits
ERR_WR            = 0x80
ERR_TEMP          = 0x40
ERR_BUFFER_OVFL   = 0x10
ERR_COLL          = 0x08
ERR_CRC           = 0x04
ERR_PARITY        = 0x02
ERR_PROTOCOL      = 0x01

# Status2Reg ModemState, Table 37
_MODEM_IDLE       = 0
_MODEM_WAIT_START = 1
_MODEM_TX         = 3
_MODEM_RX_WAIT    = 4
_MODEM_RX_LISTEN  = 5
_MODEM_RX         = 6

# VersionReg: genuine chips (9.3.4.8) and what else is sold as one
VERSION_0_0       = 0x90
VERSION_1_0       = 0x91
VERSION_2_0       = 0x92
VERSION_FM17522   = 0x88
VERSION_FM17522E  = 0x89
VERSION_FM17522_1 = 0xB2
VERSION_FAKE      = 0x12
# fmt: on

FIFO_BYTES = 64
WAKE_NS = 37_740  # 1024 clocks of 27.12 MHz, sections 8.6.2 and 8.8
SELF_TEST_NS = 200_000  # no published figure
_BUFFER_BYTES = 25
_RX_GAIN_DB = (18, 23, 18, 23, 33, 38, 43, 48)  # RFCfgReg RxGain, 9.3.3.6
_CRC_PRESET = (0x0000, 0x6363, 0xA671, 0xFFFF)  # ModeReg CRCPreset, 9.3.2.2

# What the self-test leaves in the FIFO, section 16.1.1 (version 0.0: the older data sheet)
_SELF_TEST = {
    VERSION_0_0: bytes.fromhex(
        "0087980f49ff0719bf2230495963adca7fe34e035c4e4950479a3761e7e2c62e"
        "755aed043d024b7832ff583b7ce90094b44a595bfdc929df3596989e4f30328d"
    ),
    VERSION_1_0: bytes.fromhex(
        "00c637d532b7575cc2d87c4dd970c77310e6d2aa5ea13e5a14af3061c970db2e"
        "642272b5bd65f4ec22bcd37235cdaa411fa7f35314de7e02d90fb55e251d2979"
    ),
    VERSION_2_0: bytes.fromhex(
        "00eb66ba57bf2395d0e30d3d27895cde9d3ba700215b8982513aeb020ca50049"
        "7c844db3ccd21b815d4876d5716121a986968338cf9d5b6ddc15ba3e7d953b2f"
    ),
    VERSION_FM17522: bytes.fromhex(
        "00d6788ce2aa0c182ab87a7fd36acf0bb137634b69ae91c7c397ae77f437d79b"
        "7cf53c118f15c3d7c15b002ad075de9e5164ab3ee915b5ab569a988226ea2a62"
    ),
}

# What the radio does next
_NONE = 0
_TX_BYTE = 1
_TX_END = 2
_RX_BEGIN = 3
_RX_BYTE = 4
_RX_END = 5


class Mfrc522:
    """One chip, the far end of an SPI bus and the near end of an RF field.

    `now_ns` is called for the time at every register access; it must never go back.
    Faults that a test or a bench may set at any time:
    `unplugged` None, or the byte (0x00 or 0xFF) that MISO is stuck at;
    `is_deaf` the receiver hears nothing until a soft or hard reset;
    `read_noise` the probability 0.0..1.0 that a byte read over SPI has a wrong bit.
    """

    def __init__(self, field: RfField, now_ns, version: int = VERSION_2_0, seed: int = 1) -> None:
        self.field = field
        self.now_ns = now_ns
        self.version = version
        self.unplugged = None
        self.is_deaf = False
        self.read_noise = 0.0
        self._chance = Chance(seed)
        self._regs = bytearray(64)
        self._fifo = bytearray(FIFO_BYTES)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._tx = bytearray()
        self._is_selected = False
        self._is_held = False
        self._is_in_address = True
        self._is_reading = False
        self._read_address = -1
        self._awake_ns = 0
        self._readers = {
            COMMAND: self._read_command,
            COM_IRQ: self._read_com_irq,
            STATUS1: self._read_status1,
            STATUS2: self._read_status2,
            FIFO_DATA: self._read_fifo,
            FIFO_LEVEL: self._read_fifo_level,
            CONTROL: self._read_control,
            T_COUNTER_H: self._read_counter_h,
            T_COUNTER_L: self._read_counter_l,
        }
        self._writers = {
            COMMAND: self._write_command,
            COM_IRQ: self._write_com_irq,
            DIV_IRQ: self._write_div_irq,
            STATUS2: self._write_status2,
            FIFO_DATA: self._write_fifo,
            FIFO_LEVEL: self._write_fifo_level,
            WATER_LEVEL: self._write_water_level,
            CONTROL: self._write_control,
            BIT_FRAMING: self._write_bit_framing,
            COLL: self._write_coll,
            TX_CONTROL: self._write_tx_control,
            ERROR: self._write_nothing,
            STATUS1: self._write_nothing,
            CRC_RESULT_H: self._write_nothing,
            CRC_RESULT_L: self._write_nothing,
            T_COUNTER_H: self._write_nothing,
            T_COUNTER_L: self._write_nothing,
            VERSION: self._write_nothing,
        }
        self._reset(now_ns())

    # The pins

    def select(self) -> None:
        """NSS falls: the next byte is an address. Section 8.1.2."""
        self._is_selected = True
        self._is_in_address = True
        self._is_reading = False
        self._read_address = -1

    def deselect(self) -> None:
        """NSS rises: the stream ends."""
        self._is_selected = False

    def transfer(self, mosi: int) -> int:
        """Exchange one byte, full duplex, section 8.1.2: a read's data comes one byte late."""
        if self.unplugged is not None:
            return self.unplugged
        if not self._is_selected:
            return 0xFF
        if self._is_held:
            return 0x00
        if self._is_in_address:
            self._is_in_address = False
            self._is_reading = mosi & 0x80 != 0
            self._read_address = mosi >> 1 & 0x3F
            return 0x00
        if not self._is_reading:
            self.write_register(self._read_address, mosi)
            return 0x00
        # Every further byte of a read is the next address; 00h asks for nothing more.
        address = self._read_address
        self._read_address = mosi >> 1 & 0x3F if mosi & 0x80 else -1
        return self.read_register(address) if address >= 0 else 0x00

    @property
    def irq(self) -> int:
        """The level of the IRQ pin, 0 or 1, with a pull-up for its open-drain mode. 9.3.1.3, 9.3.1.4."""
        self._catch_up()
        if self._is_held or self.unplugged is not None:
            return 1
        level = self._irq_bit()
        return level ^ 1 if self._regs[COM_IEN] & 0x80 else level

    def hold_reset(self, is_held: bool) -> None:
        """NRSTPD: low (True) is reset and hard power-down, its rise starts the chip. Section 8.8."""
        now = self._catch_up()
        if is_held:
            self._reset(now)
        elif self._is_held:
            self._awake_ns = now + WAKE_NS
        self._is_held = is_held

    def next_event_ns(self) -> int | None:
        """Return when the chip will next do something by itself, or None."""
        return None if self._next_ns >= NEVER_NS else self._next_ns

    def brown_out(self) -> None:
        """Lose all register contents, as after a dip of the supply: the antenna is off, silently."""
        self._reset(self._catch_up())

    # Registers

    def read_register(self, address: int) -> int:
        """Read one register with all its side effects. Section 9.3."""
        self._catch_up()
        reader = self._readers.get(address)
        value = reader() if reader else self._regs[address]
        if self.read_noise and self._chance.is_hit(self.read_noise):
            value ^= 1 << self._chance.bits(3)
        return value

    def write_register(self, address: int, value: int) -> None:
        """Write one register with all its side effects. Section 9.3."""
        self._catch_up()
        writer = self._writers.get(address)
        if writer:
            writer(value)
        else:
            self._regs[address] = value

    def _reset(self, now: int) -> None:
        regs = self._regs
        for i in range(64):
            regs[i] = 0
        for address, value in _RESET.items():
            regs[address] = value
        regs[CRC_RESULT_H] = regs[CRC_RESULT_L] = 0xFF
        regs[VERSION] = self.version
        self.is_deaf = False
        self._is_after_self_test = False
        self._now = now
        self._head = 0
        self._level = 0
        self._crc = 0xFFFF
        self._is_crc_ready = True
        self._modem = _MODEM_IDLE
        self._radio = _NONE
        self._answer = None
        self._quiet_ns = 0
        self._auth_phase = 0
        self._auth_rx = None
        self._timer_from_ns = 0
        self._is_timer_running = False
        self._counter = 0
        self._radio_ns = NEVER_NS
        self._timer_ns = NEVER_NS
        self._crc_ns = NEVER_NS
        self._next_ns = NEVER_NS
        self.field.carrier(False, now)

    # Time

    def _catch_up(self) -> int:
        now = self.now_ns()
        while self._next_ns <= now:
            at = self._next_ns
            self._now = at
            if at == self._radio_ns:
                self._radio_ns = NEVER_NS
                self._step_radio(at)
            elif at == self._timer_ns:
                self._expire_timer(at)
            else:
                self._crc_ns = NEVER_NS
                self._finish_crc()
            self._plan()
        self._now = now
        return now

    def _plan(self) -> None:
        self._next_ns = min(self._radio_ns, self._timer_ns, self._crc_ns)

    # Interrupts and errors

    def _raise_irq(self, bits: int) -> None:
        self._regs[COM_IRQ] |= bits

    def _raise_error(self, bits: int) -> None:
        self._regs[ERROR] |= bits
        self._regs[COM_IRQ] |= IRQ_ERR

    def _irq_bit(self) -> int:
        regs = self._regs
        pending = regs[COM_IRQ] & regs[COM_IEN] & 0x7F
        return 1 if pending or regs[DIV_IRQ] & regs[DIV_IEN] & 0x14 else 0

    def _read_com_irq(self) -> int:
        return self._regs[COM_IRQ] & 0x7F

    def _write_com_irq(self, value: int) -> None:
        # Bit 7 says whether the marked bits are set or cleared.
        if value & 0x80:
            self._regs[COM_IRQ] |= value & 0x7F
        else:
            self._regs[COM_IRQ] &= ~value & 0x7F

    def _write_div_irq(self, value: int) -> None:
        if value & 0x80:
            self._regs[DIV_IRQ] |= value & 0x14
        else:
            self._regs[DIV_IRQ] &= ~value & 0x14

    def _read_status1(self) -> int:
        free = FIFO_BYTES - self._level
        water = self._regs[WATER_LEVEL]
        return (
            (0x40 if self._crc == 0 else 0)
            | (0x20 if self._is_crc_ready else 0)
            | (0x10 if self._irq_bit() else 0)
            | (0x08 if self._is_timer_running else 0)
            | (0x02 if free <= water else 0)
            | (0x01 if self._level <= water else 0)
        )

    def _read_status2(self) -> int:
        return self._regs[STATUS2] & 0xC8 | self._modem

    def _write_status2(self, value: int) -> None:
        # Software can only clear MFCrypto1On.
        self._regs[STATUS2] = value & 0xC0 | self._regs[STATUS2] & value & 0x08

    def _write_nothing(self, value: int) -> None:
        pass

    # FIFO, section 8.3

    def _fifo_changed(self) -> None:
        water = self._regs[WATER_LEVEL]
        if self._level <= water:
            self._regs[COM_IRQ] |= IRQ_LO_ALERT
        if FIFO_BYTES - self._level <= water:
            self._regs[COM_IRQ] |= IRQ_HI_ALERT

    def _push(self, value: int) -> None:
        if self._level == FIFO_BYTES:
            self._raise_error(ERR_BUFFER_OVFL)
            return
        self._fifo[(self._head + self._level) & 63] = value
        self._level += 1
        self._fifo_changed()

    def _pop(self) -> int:
        if not self._level:
            return 0
        value = self._fifo[self._head]
        self._head = (self._head + 1) & 63
        self._level -= 1
        self._fifo_changed()
        return value

    def _read_fifo(self) -> int:
        return self._pop()

    def _write_fifo(self, value: int) -> None:
        command = self._regs[COMMAND] & 0x0F
        if command == CMD_MF_AUTHENT or self._modem >= _MODEM_RX_WAIT:
            # It is an error but no refusal: interrupt-driven drivers fill the FIFO for the next
            # request while the receiver still waits for an answer to the last one.
            self._raise_error(ERR_WR)
        self._push(value)
        if command == CMD_CALC_CRC:
            self._feed_crc()

    def _read_fifo_level(self) -> int:
        return self._level

    def _write_fifo_level(self, value: int) -> None:
        if value & 0x80:
            self._level = 0
            self._regs[ERROR] &= ~ERR_BUFFER_OVFL & 0xFF
            self._fifo_changed()

    def _write_water_level(self, value: int) -> None:
        self._regs[WATER_LEVEL] = value & 0x3F
        self._fifo_changed()

    # Commands, section 10.3

    def _read_command(self) -> int:
        value = self._regs[COMMAND] & 0x2F
        if self._regs[COMMAND] & 0x10 or self._now < self._awake_ns:
            value |= 0x10
        return value

    def _write_command(self, value: int) -> None:
        regs = self._regs
        command = value & 0x0F
        was_down = regs[COMMAND] & 0x10
        if command == CMD_SOFT_RESET:
            self._reset(self._now)
            self._awake_ns = self._now + WAKE_NS
            self._raise_irq(IRQ_IDLE)
            return
        if command == CMD_NO_CHANGE:
            command = regs[COMMAND] & 0x0F
            regs[COMMAND] = value & 0x30 | command
            self._switch_power(was_down, value & 0x10)
            return
        regs[COMMAND] = value & 0x30 | command
        self._switch_power(was_down, value & 0x10)
        self._abort()
        # The start of a command clears all errors but these two.
        regs[ERROR] &= ERR_TEMP | ERR_BUFFER_OVFL
        if command == CMD_TRANSCEIVE:
            self._modem = _MODEM_WAIT_START
            if regs[BIT_FRAMING] & 0x80 and self._level:
                self._begin_tx()
        elif command == CMD_TRANSMIT:
            self._begin_tx()
        elif command == CMD_RECEIVE:
            self._begin_rx(self._now)
        elif command == CMD_CALC_CRC:
            self._begin_crc()
        elif command == CMD_MF_AUTHENT:
            self._begin_authent()
        elif command == CMD_MEM:
            self._move_buffer()
        elif command == CMD_RANDOM_ID:
            for i in range(10):
                self._buffer[i] = self._chance.bits(8)
            self._go_idle()
        elif command != CMD_IDLE:
            self._go_idle()
        self._plan()

    def _switch_power(self, was_down: int, is_down: int) -> None:
        # Soft power-down, section 8.6.2: registers stay, the transmitter is off.
        if is_down and not was_down:
            self._abort()
            self._plan()
        elif was_down and not is_down:
            self._awake_ns = self._now + WAKE_NS
        self._drive_antenna()

    def _abort(self) -> None:
        self._modem = _MODEM_IDLE
        self._radio = _NONE
        self._radio_ns = NEVER_NS
        self._crc_ns = NEVER_NS
        self._auth_phase = 0
        self._auth_rx = None

    def _go_idle(self) -> None:
        """End a command by itself: only this sets IdleIRq, a written Idle does not."""
        self._abort()
        self._regs[COMMAND] &= 0x30
        self._raise_irq(IRQ_IDLE)

    def _move_buffer(self) -> None:
        if self._level:
            for i in range(min(self._level, _BUFFER_BYTES)):
                self._buffer[i] = self._pop()
        else:
            for value in self._buffer:
                self._push(value)
        self._go_idle()

    # CRC coprocessor, section 8.4, and the self-test that hides behind it, section 16.1.1

    def _begin_crc(self) -> None:
        if self._regs[AUTO_TEST] & 0x0F == 0x09:
            self._is_crc_ready = False
            self._crc_ns = self._now + SELF_TEST_NS
            return
        self._crc = _CRC_PRESET[self._regs[MODE] & 0x03]
        self._show_crc()
        self._feed_crc()

    def _feed_crc(self) -> None:
        if not self._level or self._regs[AUTO_TEST] & 0x0F == 0x09:
            return
        crc = self._crc
        at = max(self._now, self._crc_ns if self._crc_ns < NEVER_NS else 0)
        at += fc_ns(8 * self._level)
        while self._level:
            crc = (crc >> 8) ^ CRC_TABLE[(crc ^ self._pop()) & 0xFF]
        self._crc = crc
        self._is_crc_ready = False
        self._crc_ns = at
        self._plan()

    def _finish_crc(self) -> None:
        if self._regs[AUTO_TEST] & 0x0F == 0x09:
            self._finish_self_test()
        self._show_crc()
        self._is_crc_ready = True
        self._regs[DIV_IRQ] |= IRQ_CRC

    def _show_crc(self) -> None:
        crc = self._crc
        if self._regs[MODE] & 0x80:
            crc = sum((crc >> i & 1) << 15 - i for i in range(16))  # ModeReg MSBFirst
        self._regs[CRC_RESULT_H] = crc >> 8
        self._regs[CRC_RESULT_L] = crc & 0xFF

    def _finish_self_test(self) -> None:
        # A chip of unknown make, or one whose buffer was not cleared, gives other bytes.
        result = _SELF_TEST.get(self.version)
        if result is None or any(self._buffer):
            result = bytes(self._chance.bits(8) for _ in range(FIFO_BYTES))
        self._level = 0
        for value in result:
            self._push(value)
        self._is_after_self_test = True

    # Timer, section 8.5

    def _tick_fc(self) -> int:
        regs = self._regs
        prescaler = (regs[T_MODE] & 0x0F) << 8 | regs[T_PRESCALER]
        is_even = regs[DEMOD] & 0x10 and self.version == VERSION_2_0
        return 2 * prescaler + (2 if is_even else 1)

    def _start_timer(self, at: int) -> None:
        self._counter = self._regs[T_RELOAD_H] << 8 | self._regs[T_RELOAD_L]
        self._timer_from_ns = at
        self._timer_ns = at + fc_ns(self._tick_fc() * (self._counter + 1))
        self._is_timer_running = True

    def _stop_timer(self, at: int) -> None:
        self._counter = self._counter_at(at)
        self._timer_ns = NEVER_NS
        self._is_timer_running = False

    def _expire_timer(self, at: int) -> None:
        self._raise_irq(IRQ_TIMER)
        if self._regs[T_MODE] & 0x10:
            self._start_timer(at)
        else:
            self._counter = 0
            self._timer_ns = NEVER_NS
            self._is_timer_running = False

    def _counter_at(self, at: int) -> int:
        if not self._is_timer_running:
            return self._counter
        ticks = (at - self._timer_from_ns) * 339 // (25000 * self._tick_fc())
        return max(0, self._counter - ticks)

    def _read_counter_h(self) -> int:
        return self._counter_at(self._now) >> 8

    def _read_counter_l(self) -> int:
        return self._counter_at(self._now) & 0xFF

    def _read_control(self) -> int:
        return self._regs[CONTROL] & 0x3F

    def _write_control(self, value: int) -> None:
        if value & 0x80:
            self._stop_timer(self._now)
        if value & 0x40:
            self._start_timer(self._now)
        self._plan()

    # Antenna

    @property
    def gain_db(self) -> int:
        """The receiver gain in dB: RFCfgReg RxGain, 9.3.3.6."""
        return _RX_GAIN_DB[self._regs[RF_CFG] >> 4 & 7]

    def _write_tx_control(self, value: int) -> None:
        self._regs[TX_CONTROL] = value
        self._drive_antenna()

    def _drive_antenna(self) -> None:
        is_on = self._regs[TX_CONTROL] & 0x03 and not self._regs[COMMAND] & 0x10
        self.field.carrier(bool(is_on), self._now)

    # Radio

    def _write_bit_framing(self, value: int) -> None:
        self._regs[BIT_FRAMING] = value
        if value & 0x80 and self._modem == _MODEM_WAIT_START and self._level:
            self._begin_tx()
            self._plan()

    def _write_coll(self, value: int) -> None:
        self._regs[COLL] = value & 0x80 | self._regs[COLL] & 0x3F

    def _begin_tx(self, frame: bytes | None = None) -> None:
        """Start sending: `frame` if given, else the FIFO, a byte at a time."""
        # The guard after the last answer is 7 bits and MfTxReg TxWait, 9.3.2.13.
        guard_ns = fc_ns((7 + (self._regs[MF_TX] & 0x03)) * ETU_FC)
        self._tx_start_ns = max(self._now, self._awake_ns, self._quiet_ns + guard_ns)
        self._modem = _MODEM_TX
        self._regs[BIT_FRAMING] &= 0x7F  # StartSend is for one frame
        self._answer = None
        if frame is None:
            self._tx = bytearray()
            self._radio = _TX_BYTE
            self._radio_ns = self._tx_start_ns + fc_ns(ETU_FC)
        else:
            self._end_tx(bytearray(frame), 8 * len(frame))

    def _end_tx(self, frame: bytearray, bit_count: int) -> None:
        self._tx = frame
        self._tx_bit_count = bit_count
        self._radio = _TX_END
        self._radio_ns = self._tx_start_ns + pcd_frame_ns(bit_count)

    def _step_radio(self, at: int) -> None:
        radio = self._radio
        if radio == _RX_BYTE:
            self._receive_byte()
        elif radio == _TX_BYTE:
            self._send_byte()
        elif radio == _TX_END:
            self._finish_tx(at)
        elif radio == _RX_BEGIN:
            self._hear_start(at)
        elif radio == _RX_END:
            self._finish_rx(at)

    def _send_byte(self) -> None:
        tx = self._tx
        last_bits = self._regs[BIT_FRAMING] & 0x07
        if self._level:
            tx.append(self._pop())
            if self._level or not last_bits:
                self._radio_ns = self._tx_start_ns + pcd_frame_ns(8 * len(tx))
                return
        bit_count = 8 * len(tx) - (8 - last_bits if last_bits else 0)
        if not tx:
            self._finish_empty_tx()
            return
        if self._regs[TX_MODE] & 0x80:
            # Communication takes CRC_A's preset by itself, not ModeReg's: 9.3.2.2.
            crc = crc_a(tx)
            tx.append(crc & 0xFF)
            tx.append(crc >> 8)
            bit_count += 16
        self._end_tx(tx, bit_count)

    def _finish_empty_tx(self) -> None:
        if self._regs[COMMAND] & 0x0F == CMD_TRANSMIT:
            self._go_idle()
        else:
            self._modem = _MODEM_WAIT_START
            self._radio = _NONE

    def _finish_tx(self, at: int) -> None:
        regs = self._regs
        self._raise_irq(IRQ_TX)
        self._answer = self._send_to_field(at)
        self._radio = _NONE
        if regs[T_MODE] & 0x80:
            self._start_timer(at)
        if regs[COMMAND] & 0x0F == CMD_TRANSMIT:
            self._go_idle()
        else:
            self._begin_rx(at)

    def _send_to_field(self, at: int):
        regs = self._regs
        is_type_a_106 = not regs[TX_MODE] & 0x70
        is_full_ask = regs[TX_ASK] & 0x40
        if not is_type_a_106 or not is_full_ask or self._is_after_self_test:
            return None
        # Without parity bits a card takes any whole byte for damaged.
        is_sound = not (regs[MF_RX] & 0x10 and self._tx_bit_count >= 8)
        return self.field.transmit(
            self._tx,
            self._tx_bit_count,
            self._tx_start_ns,
            at,
            is_sound=is_sound,
            is_enciphered=regs[STATUS2] & 0x08 != 0,
            gain_db=self.gain_db,
        )

    def _begin_rx(self, at: int) -> None:
        """Start the receiver; what it finds wrong from now on is about the coming frame."""
        regs = self._regs
        regs[ERROR] &= ERR_WR | ERR_TEMP | ERR_BUFFER_OVFL
        regs[COLL] = regs[COLL] & 0x80 | 0x20
        regs[CONTROL] &= 0xF8
        self._modem = _MODEM_RX_WAIT
        answer = self._answer
        if answer is None or self.is_deaf or regs[COMMAND] & 0x20:
            return
        listen_ns = at + fc_ns((regs[RX_SEL] & 0x3F) * ETU_FC)
        if answer.start_ns < listen_ns or regs[RX_MODE] & 0x70:
            return
        self._radio = _RX_BEGIN
        # The fifth bit stops the timer: the start bit and four of data, section 8.5.
        self._radio_ns = answer.start_ns + fc_ns(5 * ETU_FC)

    def _hear_start(self, at: int) -> None:
        answer = self._answer
        if answer.is_silent:
            self._radio = _NONE
            return
        regs = self._regs
        if len(answer.bits) < 4 and regs[RX_MODE] & 0x08:
            self._radio = _NONE  # RxNoErr: a stream of less than 4 bits is not one
            return
        self._modem = _MODEM_RX
        if regs[T_MODE] & 0x80 and not regs[RX_MODE] & 0x04 and self._is_timer_running:
            self._stop_timer(at)
        self._rx_at = 0
        self._rx_align = regs[BIT_FRAMING] >> 4 & 7 if not self._auth_phase else 0
        self._rx_position = self._rx_align
        self._rx_is_split = self._rx_align != 0
        self._rx_crc = 0x6363
        self._rx_bytes = 0
        self._rx_late = 0
        self._rx_last_bits = 0
        self._plan_rx_byte()

    def _plan_rx_byte(self) -> None:
        at, size = self._rx_at, len(self._answer.bits)
        if at >= size:
            self._radio = _RX_END
            at = size + 1  # the end of a frame is a bit of silence
        else:
            self._radio = _RX_BYTE
            at = min(size, at + 8 - self._rx_align + self._parity_bits())
        # A receiver started late in the frame does not go back in time.
        self._radio_ns = max(self._now, self._answer.start_ns + fc_ns((1 + at) * ETU_FC))

    def _parity_bits(self) -> int:
        return 0 if self._regs[MF_RX] & 0x10 else 1

    def _receive_byte(self) -> None:
        bits = self._answer.bits
        at, size = self._rx_at, len(bits)
        shift = self._rx_align
        self._rx_align = 0
        if at >= size:
            self._plan_rx_byte()
            return
        value = 0
        regs = self._regs
        is_kept = regs[COLL] & 0x80 or not regs[ERROR] & ERR_COLL
        position = self._rx_position
        while shift < 8 and at < size:
            bit = bits[at]
            at += 1
            position += 1
            if bit == COLLISION:
                if not regs[ERROR] & ERR_COLL:
                    self._raise_error(ERR_COLL)
                    if position <= 32:
                        regs[COLL] = regs[COLL] & 0x80 | position & 0x1F
                    is_kept = regs[COLL] & 0x80
                bit = 1
            if bit and is_kept:
                value |= 1 << shift
            shift += 1
        self._rx_position = position
        if shift < 8:
            self._rx_last_bits = shift
        elif self._parity_bits():
            # Half a byte's parity was sent over the whole byte, so it says nothing; nor does
            # any parity bit after a collision.
            is_checked = not self._rx_is_split and not regs[ERROR] & ERR_COLL
            if is_checked and (at >= size or bits[at] != PARITY[value]):
                self._raise_error(ERR_PARITY)
            at += 1
        self._rx_is_split = False
        self._rx_at = at
        self._take_byte(value)
        self._plan_rx_byte()

    def _take_byte(self, value: int) -> None:
        self._rx_bytes += 1
        if self._auth_rx is not None:
            self._auth_rx.append(value)
        elif not self._regs[RX_MODE] & 0x80:
            self._push(value)
        else:
            # The CRC stays out of the FIFO, so bytes go in two later.
            self._rx_crc = (self._rx_crc >> 8) ^ CRC_TABLE[(self._rx_crc ^ value) & 0xFF]
            if self._rx_bytes > 2:
                self._push(self._rx_late >> 8)
            self._rx_late = (self._rx_late << 8 | value) & 0xFFFF

    def _finish_rx(self, at: int) -> None:
        regs = self._regs
        self._radio = _NONE
        self._quiet_ns = self._answer.end_ns
        self._answer = None
        if self._auth_rx is not None:
            self._continue_authent()
            return
        if regs[RX_MODE] & 0x80:
            self._check_rx_crc()
        regs[CONTROL] = regs[CONTROL] & 0xF8 | self._rx_last_bits
        self._raise_irq(IRQ_RX)
        if regs[RX_MODE] & 0x04:
            self._modem = _MODEM_RX_LISTEN  # RxMultiple: it stays in the receiver
        elif regs[COMMAND] & 0x0F == CMD_RECEIVE:
            self._go_idle()
        else:
            self._modem = _MODEM_WAIT_START

    def _check_rx_crc(self) -> None:
        self._crc = self._rx_crc
        if self._rx_bytes < 3 or self._rx_last_bits:
            # Too short to end with a CRC, such as a 4-bit ACK: it is handed over as it came.
            for i in range(min(self._rx_bytes, 2) - 1, -1, -1):
                self._push(self._rx_late >> (8 * i) & 0xFF)
            self._raise_error(ERR_CRC)
        elif self._rx_crc:
            self._raise_error(ERR_CRC)

    # MFAuthent, section 10.3.1.9

    def _begin_authent(self) -> None:
        if self._level < 12:
            return
        request = bytes((self._pop(), self._pop()))
        self._auth_key = bytes(self._pop() for _ in range(6))
        self._auth_uid = bytes(self._pop() for _ in range(4))
        crc = crc_a(request)
        self._auth_phase = 1
        self._auth_rx = bytearray()
        self._begin_tx(request + bytes((crc & 0xFF, crc >> 8)))

    def _continue_authent(self) -> None:
        regs = self._regs
        if len(self._auth_rx or b"") != 4 or regs[ERROR] & (ERR_PARITY | ERR_COLL):
            # The card did not keep to the protocol: only the timer or the host ends this.
            self._raise_error(ERR_PROTOCOL)
            self._modem = _MODEM_RX_LISTEN
        elif self._auth_phase == 1:
            self._auth_phase = 2
            self._auth_rx = bytearray()
            self._begin_tx(classic_proof(self._auth_key, self._auth_uid))
        else:
            regs[STATUS2] |= 0x08
            self._go_idle()
