"""Owns the model of the DS3231: its registers as I2C sees them, its battery, the passing of time.

Numbers in brackets are sections of the data sheet 19-5170. What an RTC driver can see is modelled:
BCD counters, 12 and 24 hours, the century bit, the oscillator-stop flag, writing byte by byte.
"""

ADDRESS = 0x68
_EIO = 5
_ETIMEDOUT = 110
_SIZE = 0x13  # registers 00h to 12h, then the address wraps
_CONTROL = 0x0E
_STATUS = 0x0F
_EOSC = 0x80
_OSF = 0x80
# "Status Register": these can only be cleared; BSY is read-only.
_ONLY_CLEARED = 0x83
_READ_ONLY = 0x04
# Lengths of the months; the chip's own leap years are simply every fourth.
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Ds3231:
    """The chip and its bus: readfrom_mem_into and writeto_mem as machine.I2C has them.

    Attributes:
        registers: bytearray as it was when time last passed; a test may change it.
        is_there: the chip is on the bus.
        is_stuck: somebody holds a wire of the bus down.
        second_ns: when its present second began.
        fail_after: bytes until the power is cut in a write, which raises PowerCut; None: never.
        transfers: I2C transfers so far.
    """

    def __init__(self, now_ns) -> None:
        """now_ns: callable, the true time; only differences count. As new: never set."""
        self._now_ns = now_ns
        self.second_ns = now_ns()
        self.registers = bytearray(_SIZE)
        self.is_there = True
        self.is_stuck = False
        self.fail_after: int | None = None
        self.transfers = 0
        self.lose_battery()

    def lose_battery(self) -> None:
        """Lose all power, and get it back: [Figure 1] and the registers' power-on values."""
        self.registers[:] = bytes(_SIZE)
        self.registers[0x03] = 1
        self.registers[0x04] = 1
        self.registers[0x05] = 1
        self.registers[_CONTROL] = 0x1C
        self.registers[_STATUS] = 0x88
        self.second_ns = self._now_ns()

    def readfrom_mem_into(self, address: int, register: int, buf) -> None:
        """Read on from a register. Raises OSError where nobody answers."""
        self._check(address)
        for i in range(len(buf)):
            buf[i] = self.registers[(register + i) % _SIZE]

    def writeto_mem(self, address: int, register: int, buf) -> None:
        """Write from a register on; each byte counts as it is acknowledged. Raises OSError."""
        self._check(address)
        for i in range(len(buf)):
            if self.fail_after is not None:
                self.fail_after -= 1
                if self.fail_after < 0:
                    raise PowerCut()
            self._write((register + i) % _SIZE, buf[i])

    def _check(self, address: int) -> None:
        self.transfers += 1
        if self.is_stuck:
            raise OSError(_ETIMEDOUT)
        if not self.is_there or address != ADDRESS:
            raise OSError(_EIO)
        self.follow()

    def _write(self, register: int, value: int) -> None:
        if register == _STATUS:
            kept = self.registers[_STATUS]
            value = (value & kept & _ONLY_CLEARED) | (value & ~_ONLY_CLEARED & 0xFF)
            value = (value & ~_READ_ONLY & 0xFF) | (kept & _READ_ONLY)
        if register == 0:
            # "Clock and Calendar": writing the seconds begins a second.
            self.second_ns = self._now_ns()
        self.registers[register] = value

    def follow(self) -> None:
        """Let the time that has passed pass."""
        seconds = (self._now_ns() - self.second_ns) // 1_000_000_000
        self.second_ns += seconds * 1_000_000_000
        if seconds <= 0 or self.registers[_CONTROL] & _EOSC:
            return
        moment = self._hour() * 3600 + _binary(self.registers[1]) * 60
        moment += _binary(self.registers[0]) + seconds
        for _ in range(moment // 86_400):
            self._next_day()
        moment %= 86_400
        self.registers[0] = _bcd(moment % 60)
        self.registers[1] = _bcd(moment // 60 % 60)
        self._set_hour(moment // 3600)

    def _hour(self) -> int:
        hours = self.registers[2]
        if not hours & 0x40:
            return _binary(hours)
        return _binary(hours & 0x1F) % 12 + (12 if hours & 0x20 else 0)

    def _set_hour(self, hour: int) -> None:
        if self.registers[2] & 0x40:
            half = 0x20 if hour >= 12 else 0
            self.registers[2] = 0x40 | half | _bcd((hour + 11) % 12 + 1)
        else:
            self.registers[2] = _bcd(hour)

    def _next_day(self) -> None:
        registers = self.registers
        registers[3] = registers[3] % 7 + 1
        month = _binary(registers[5] & 0x1F)
        year = _binary(registers[6])
        last = _MONTH_DAYS[(month - 1) % 12] + (1 if month == 2 and year % 4 == 0 else 0)
        day = _binary(registers[4]) + 1
        if day > last:
            day = 1
            month += 1
            if month > 12:
                month = 1
                year += 1
                if year > 99:
                    year = 0
                    registers[5] ^= 0x80
        registers[4] = _bcd(day)
        registers[5] = registers[5] & 0x80 | _bcd(month)
        registers[6] = _bcd(year)


class PowerCut(Exception):
    """The board's power went in the middle of a write; the chip goes on by its battery."""


def _binary(bcd: int) -> int:
    return (bcd >> 4) * 10 + (bcd & 15)


def _bcd(number: int) -> int:
    return number // 10 << 4 | number % 10
