"""The DS3231, a clock with a battery and a crystal of its own, on I2C.

Numbers in brackets are sections of Analog Devices' (Maxim's) data sheet 19-5170: "Address Map"
(Figure 1), "Clock and Calendar", "Control Register (0Eh)", "Status Register (0Fh)".
"""

from .. import const

_ADDRESS = const(0x68)  # "I2C Serial Data Bus"
# "Address Map". The time is BCD: seconds, minutes, hours, day of the week, date, month, year.
_TIME = const(0x00)
_TIME_BYTES = const(7)
_ALARM_1 = const(0x07)
_CONTROL = const(0x0E)
_REGISTERS = const(16)
_STOPS_ON_BATTERY = const(0x80)  # EOSC, "Control Register"
_HAS_STOPPED = const(0x80)  # OSF, "Status Register"
_CENTURY = const(0x80)  # in the month
_EPOCH_2000_S = const(946_684_800)
_DAY_S = const(86_400)
_MONTH_DAYS = b"\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"
# No alarm is ever switched on, so a byte of the first one's tells that the time is half written.
_WHOLE = b"\x00"
_HALF = b"\x01"


class Ds3231:
    """A board's `rtc`. A chip that is not there, or not well, has no time; nothing is raised."""

    def __init__(self, i2c) -> None:
        """i2c: has machine.I2C's readfrom_mem_into and writeto_mem, and a timeout of its own."""
        self._i2c = i2c
        self._registers = bytearray(_REGISTERS)

    def read(self) -> int | None:
        """Return Unix seconds, of 2000 to 2199; None where the chip does not know. Takes 1 ms.

        It does not once its oscillator has stood still (no battery), while it is being set, or
        where its registers hold no time that this driver sets: 24 hours, BCD, a day that exists.
        """
        try:
            self._i2c.readfrom_mem_into(_ADDRESS, _TIME, self._registers)
        except OSError:
            return None
        return _seconds(self._registers)

    def write(self, seconds: int) -> None:
        """Set the chip to Unix `seconds`, of 2000 to 2199, which begin now. Takes 2 ms."""
        try:
            self._i2c.writeto_mem(_ADDRESS, _ALARM_1, _HALF)
            self._i2c.writeto_mem(_ADDRESS, _TIME, _fields(seconds))
            # Only now: cut off before, the chip goes on saying that it does not know.
            self._i2c.readfrom_mem_into(_ADDRESS, _TIME, self._registers)
            state = bytes(self._registers[_CONTROL:])
            state = bytes((state[0] & ~_STOPS_ON_BATTERY, state[1] & ~_HAS_STOPPED))
            self._i2c.writeto_mem(_ADDRESS, _CONTROL, state)
            self._i2c.writeto_mem(_ADDRESS, _ALARM_1, _WHOLE)
        except OSError:
            pass


def _seconds(registers: bytearray) -> int | None:
    is_stopped = registers[_CONTROL + 1] & _HAS_STOPPED or registers[_CONTROL] & _STOPS_ON_BATTERY
    if is_stopped or registers[_ALARM_1]:
        return None
    second = _binary(registers[0])
    minute = _binary(registers[1])
    hour = _binary(registers[2])  # 40 and more where it counts to twelve
    day = _binary(registers[4])
    month = _binary(registers[5] & ~_CENTURY)
    year = _binary(registers[6])
    if second > 59 or minute > 59 or hour > 23 or not 1 <= month <= 12 or year > 99:
        return None
    if registers[5] & _CENTURY:
        year += 100
    if not 1 <= day <= _days_in(year, month):
        return None
    # Days since 2000-01-01: every fourth year is longer, but 2100.
    days = year * 365 + (year + 3) // 4 - (1 if year > 100 else 0)
    for before in range(1, month):
        days += _days_in(year, before)
    return _EPOCH_2000_S + (days + day - 1) * _DAY_S + hour * 3600 + minute * 60 + second


def _fields(seconds: int) -> bytes:
    """Return the seven registers of a time."""
    seconds -= _EPOCH_2000_S
    days = seconds // _DAY_S
    seconds %= _DAY_S
    weekday = days % 7 + 1
    year = 0
    while days >= _days_of(year):
        days -= _days_of(year)
        year += 1
    month = 1
    while days >= _days_in(year, month):
        days -= _days_in(year, month)
        month += 1
    fields = (
        seconds % 60,
        seconds // 60 % 60,
        seconds // 3600,
        weekday,
        days + 1,
        month,
        year % 100,
    )
    packed = bytearray(field // 10 << 4 | field % 10 for field in fields)
    if year > 99:
        packed[5] |= _CENTURY
    return bytes(packed)


def _is_leap(year: int) -> bool:
    """year: since 2000."""
    return year % 4 == 0 and year != 100


def _days_of(year: int) -> int:
    return 366 if _is_leap(year) else 365


def _days_in(year: int, month: int) -> int:
    return _MONTH_DAYS[month - 1] + (1 if month == 2 and _is_leap(year) else 0)


def _binary(bcd: int) -> int:
    """Return what two BCD digits say; 255, which is too much for everything, where they are none."""
    return 255 if bcd & 0x0F > 9 or bcd >> 4 > 9 else (bcd >> 4) * 10 + (bcd & 0x0F)
