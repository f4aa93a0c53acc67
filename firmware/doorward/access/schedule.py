"""When an access level may enter: weekly hours, holidays and local time, out of a signed list.

A board knows no time zones: local time is reckoned by rules that came with the list. Layout of the
section: docs/formats.md, "Schedule".
"""

import struct

from .. import const
from ..values import ALWAYS, BAD_SCHEDULE, HOLIDAY, INSIDE_HOURS, OUTSIDE_HOURS, Refused

MAX_SCHEDULE_BYTES = const(2048)
MAX_HOLIDAYS = const(64)
MAX_INTERVALS = const(16)
# The door itself: inside these hours it stands unlocked.
DOOR_LEVEL = const(16)

# Offsets from UTC, minutes; summer time's begin and end: month, week, weekday, minute; how many
# holidays and levels follow.
HEAD_LAYOUT = "<hhBBBhBBBhBB"
HEAD_BYTES = const(16)
HOLIDAY_LAYOUT = "<HBB"  # days since 1970, how many days, reserved
HOLIDAY_BYTES = const(4)
LEVEL_LAYOUT = "<BBBB"  # level, flags, intervals, reserved
LEVEL_BYTES = const(4)
INTERVAL_LAYOUT = "<BBHH"  # days, reserved, from, until: minutes of the day
INTERVAL_BYTES = const(6)

OPEN_WITHOUT_CLOCK = const(1)
ON_HOLIDAYS = const(0x80)  # bits 0 to 6 of an interval's days are Monday to Sunday
DAY_MIN = const(1440)
MAX_OFFSET_MIN = const(900)
# As far as POSIX time zones go (RFC 8536, 3.3.1): 167 hours before or after the day begins.
MAX_RULE_MIN = const(10020)

_DAY_S = const(86400)
_NO_RULE = (0, 0, 0, 0)


class Schedule:
    """The hours of all levels on one list. Checked before the list is in force; asked at each tap."""

    def __init__(self, section: bytes | bytearray = b"") -> None:
        """section: as in the list; b"" has no hours for anybody.

        Raises Refused(BAD_SCHEDULE) where the section cannot be read; whether everything in it is
        sound is for `check` to say, which takes longer.
        """
        self._section = section
        # Where in it each level stands; 0: it has no hours.
        self._places = [0] * (DOOR_LEVEL + 1)
        self._holidays = 0
        self._standard_s = self._summer_s = self._offset_s = 0
        self._begin = self._end = _NO_RULE
        # Of the year that was asked about last.
        self._edges: tuple = ()
        # The stretch of time that was asked about last: a local day, or what an edge leaves of it.
        self._from_s = self._until_s = 0
        self._midnight_s = 0
        self._today = self._yesterday = 0  # as an interval's days
        if section:
            self._parse(section)

    def look(self, level: int, now_s: int) -> int:
        """Return ALWAYS, INSIDE_HOURS, OUTSIDE_HOURS or HOLIDAY for a level at `now_s`, Unix seconds.

        It is HOLIDAY where the level has no hours on holidays, and today is one.
        """
        place = self._places[level]
        if not place:
            return ALWAYS
        if not self._from_s <= now_s < self._until_s:
            self._turn_to(now_s)
        section = self._section
        minute = (now_s - self._midnight_s) // 60
        late = minute + DAY_MIN
        today = self._today
        unpack = struct.unpack_from
        all_days = 0
        at = place + LEVEL_BYTES
        for _ in range(section[place + 2]):
            days, _, begin, end = unpack(INTERVAL_LAYOUT, section, at)
            if begin <= minute < end and days & today:
                return INSIDE_HOURS
            # What began yesterday and goes on past midnight.
            if end > late and days & self._yesterday:
                return INSIDE_HOURS
            all_days |= days
            at += INTERVAL_BYTES
        return HOLIDAY if today & ON_HOLIDAYS & ~all_days else OUTSIDE_HOURS

    def has_hours(self, level: int) -> bool:
        return self._places[level] != 0

    def opens_without_clock(self, level: int) -> bool:
        """May the level enter while nobody knows the hour?"""
        place = self._places[level]
        return not place or bool(self._section[place + 1] & OPEN_WITHOUT_CLOCK)

    def offset_s(self, now_s: int) -> int:
        """Return the seconds that local time is ahead of UTC."""
        if not self._from_s <= now_s < self._until_s:
            self._turn_to(now_s)
        return self._offset_s

    def _turn_to(self, now_s: int) -> None:
        """Get ready for the local day that `now_s` lies in: what is the same all day long."""
        offset_s = self._standard_s
        edges = ()
        if self._begin != _NO_RULE:
            edges = self._edges
            if not edges or not edges[2] <= now_s < edges[3]:
                edges = self._edges = self._edges_of(year_of((now_s + offset_s) // _DAY_S))
            begin_s, end_s, _, _ = edges
            if begin_s <= end_s:
                is_summer = begin_s <= now_s < end_s
            else:  # south of the equator
                is_summer = not end_s <= now_s < begin_s
            if is_summer:
                offset_s = self._summer_s
        day = (now_s + offset_s) // _DAY_S
        midnight_s = day * _DAY_S - offset_s
        from_s = midnight_s
        until_s = midnight_s + _DAY_S
        for edge_s in edges:
            if from_s < edge_s < until_s:
                if edge_s <= now_s:
                    from_s = edge_s
                else:
                    until_s = edge_s
        self._offset_s = offset_s
        self._midnight_s = midnight_s
        self._turn_days(day)
        self._from_s = from_s
        self._until_s = until_s

    def _edges_of(self, year: int) -> tuple:
        """Return where summer time begins and ends, and the year, by standard time. Unix seconds."""
        standard_s = self._standard_s
        return (
            moment_s(year, self._begin) - standard_s,
            moment_s(year, self._end) - self._summer_s,
            day_of(year, 1, 1) * _DAY_S - standard_s,
            day_of(year + 1, 1, 1) * _DAY_S - standard_s,
        )

    def _turn_days(self, day: int) -> None:
        """Look up which bit intervals of a day, and of the day before it, have in their days."""
        section = self._section
        low = 0
        high = self._holidays
        while low < high:
            middle = (low + high) >> 1
            at = HEAD_BYTES + middle * HOLIDAY_BYTES
            if section[at] | section[at + 1] << 8 <= day:
                low = middle + 1
            else:
                high = middle
        self._today = 1 << weekday(day)
        self._yesterday = 1 << weekday(day - 1)
        # The last two that have begun; there may be one on each of the two days.
        for number in range(max(low - 2, 0), low):
            first, days, _ = self._holiday(number)
            if day < first + days:
                self._today = ON_HOLIDAYS
            if first < day <= first + days:
                self._yesterday = ON_HOLIDAYS

    def _holiday(self, number: int) -> tuple:
        at = HEAD_BYTES + number * HOLIDAY_BYTES
        return struct.unpack_from(HOLIDAY_LAYOUT, self._section, at)

    def _parse(self, section: bytes | bytearray) -> None:
        """Take out what each question needs; see to it that none leads out of the section."""
        if not HEAD_BYTES <= len(section) <= MAX_SCHEDULE_BYTES:
            raise Refused(BAD_SCHEDULE)
        head = struct.unpack_from(HEAD_LAYOUT, section, 0)
        standard, summer = head[:2]
        begin, end = head[2:6], head[6:10]
        holidays, levels = head[10:]
        if standard == summer:
            is_sound = begin == end == _NO_RULE
        else:
            is_sound = _is_rule(begin) and _is_rule(end)
        is_sound = (
            is_sound
            and abs(standard) <= MAX_OFFSET_MIN
            and abs(summer) <= MAX_OFFSET_MIN
            and holidays <= MAX_HOLIDAYS
        )
        if not is_sound:
            raise Refused(BAD_SCHEDULE)
        self._standard_s, self._summer_s = standard * 60, summer * 60
        self._begin, self._end = begin, end
        self._holidays = holidays
        at = HEAD_BYTES + holidays * HOLIDAY_BYTES
        last = -1
        for _ in range(levels):
            if at + LEVEL_BYTES > len(section):
                raise Refused(BAD_SCHEDULE)
            level, flags, count, reserved = struct.unpack_from(LEVEL_LAYOUT, section, at)
            # Whether the door stands unlocked without a clock is no question: it does not.
            known = 0 if level == DOOR_LEVEL else OPEN_WITHOUT_CLOCK
            is_sound = last < level <= DOOR_LEVEL and count <= MAX_INTERVALS
            if not is_sound or flags & ~known or reserved:
                raise Refused(BAD_SCHEDULE)
            self._places[level] = at
            last = level
            at += LEVEL_BYTES + count * INTERVAL_BYTES
        if at != len(section):
            raise Refused(BAD_SCHEDULE)

    async def check(self, pause) -> None:
        """Look at every holiday and interval. Raises Refused(BAD_SCHEDULE).

        pause: async callable, awaited before each level that has hours.
        """
        free = 0  # the first day behind the holiday before
        for number in range(self._holidays):
            first, days, reserved = self._holiday(number)
            if reserved or not days or first < free:
                raise Refused(BAD_SCHEDULE)
            free = first + days
        for place in self._places:
            if not place:
                continue
            await pause()
            at = place + LEVEL_BYTES
            for _ in range(self._section[place + 2]):
                days, reserved, begin, end = struct.unpack_from(INTERVAL_LAYOUT, self._section, at)
                is_sound = days and begin < DAY_MIN and begin < end <= begin + DAY_MIN
                if not is_sound or reserved:
                    raise Refused(BAD_SCHEDULE)
                at += INTERVAL_BYTES


def weekday(day: int) -> int:
    """Return the weekday of a day since 1970: 0 Monday to 6 Sunday."""
    return (day + 3) % 7


def day_of(year: int, month: int, day: int) -> int:
    """Return the days since 1970 of a date of the Gregorian calendar."""
    # Years begin in March, so that the leap day is their last.
    if month <= 2:
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400
    return days + (153 * (month - 3) + 2) // 5 + day - 719_469


def year_of(day: int) -> int:
    """Return the year that a day since 1970 lies in."""
    year = 1970 + day // 366
    while day_of(year + 1, 1, 1) <= day:
        year += 1
    return year


def moment_s(year: int, rule: tuple) -> int:
    """Return seconds since 1970, local, of "the nth such weekday of a month, at a minute"."""
    month, week, wanted, minute = rule
    first = day_of(year, month, 1)
    day = first + (wanted - weekday(first)) % 7 + 7 * (week - 1)
    # Week 5 is the last one, wherever it is.
    if week == 5 and day >= day_of(year + month // 12, month % 12 + 1, 1):
        day -= 7
    return day * _DAY_S + minute * 60


def _is_rule(rule: tuple) -> bool:
    month, week, wanted, minute = rule
    return 1 <= month <= 12 and 1 <= week <= 5 and wanted <= 6 and abs(minute) <= MAX_RULE_MIN
