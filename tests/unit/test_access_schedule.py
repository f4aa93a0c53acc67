"""Hours of access levels: local time as zoneinfo has it, weeks, holidays, and every malformed section."""

import struct
import unittest

from doorward.access.schedule import (
    DOOR_LEVEL,
    MAX_HOLIDAYS,
    MAX_INTERVALS,
    MAX_SCHEDULE_BYTES,
    Schedule,
    day_of,
    weekday,
    year_of,
)
from doorward.trust.primitives import no_pause, run_through
from doorward.values import (
    ALWAYS,
    BAD_SCHEDULE,
    HOLIDAY,
    INSIDE_HOURS,
    OUTSIDE_HOURS,
    Refused,
)

try:
    from zoneinfo import ZoneInfo
except ImportError:  # MicroPython, which has the moments below to go by
    ZoneInfo = None

DAY_S = 86400
HOUR_S = 3600
UTC = (0, 0) + 8 * (0,)
CHICAGO = (-360, -300, 3, 2, 6, 120, 11, 1, 6, 120)
SYDNEY = (600, 660, 10, 1, 6, 120, 4, 1, 6, 180)
WORKDAYS, WEEKEND, DAILY, HOLIDAYS = 0x1F, 0x60, 0x7F, 0x80
MONDAY = 20717  # 2026-09-21
INSIDE = INSIDE_HOURS
OUTSIDE = OUTSIDE_HOURS

# Zone: its rule, and when its clocks changed in 2025 to 2030 and 2099 to 2101, as zoneinfo has it:
# ordinary ones, half an hour of summer time, a night before the day's beginning, one at its end.
# fmt: off
ZONES = {
    "America/Chicago": (
        CHICAGO,
        (1741507200, 1762066800, 1772956800, 1793516400, 1805011200, 1825570800, 1836460800, 1857020400, 1867910400, 1888470000, 1899360000, 1919919600, 4076640000, 4097199600, 4108694400, 4129254000, 4140144000, 4160703600),
    ),
    "Australia/Sydney": (
        SYDNEY,
        (1743868800, 1759593600, 1775318400, 1791043200, 1806768000, 1822492800, 1838217600, 1853942400, 1869667200, 1885996800, 1901721600, 1917446400, 4079001600, 4094726400, 4110451200, 4126176000, 4141900800, 4157625600),
    ),
    "Europe/Berlin": (
        (60, 120, 3, 5, 6, 120, 10, 5, 6, 180),
        (1743296400, 1761440400, 1774746000, 1792890000, 1806195600, 1824944400, 1837645200, 1856394000, 1869094800, 1887843600, 1901149200, 1919293200, 4078429200, 4096573200, 4109878800, 4128627600, 4141328400, 4160077200),
    ),
    "Australia/Lord_Howe": (
        (630, 660, 10, 1, 6, 120, 4, 1, 6, 120),
        (1743865200, 1759591800, 1775314800, 1791041400, 1806764400, 1822491000, 1838214000, 1853940600, 1869663600, 1885995000, 1901718000, 1917444600, 4078998000, 4094724600, 4110447600, 4126174200, 4141897200, 4157623800),
    ),
    "America/Nuuk": (
        (-120, -60, 3, 5, 6, -60, 10, 5, 6, 0),
        (1743296400, 1761440400, 1774746000, 1792890000, 1806195600, 1824944400, 1837645200, 1856394000, 1869094800, 1887843600, 1901149200, 1919293200, 4078429200, 4096573200, 4109878800, 4128627600, 4141328400, 4160077200),
    ),
    "Africa/Cairo": (
        (120, 180, 4, 5, 4, 0, 10, 5, 3, 1440),
        (1745532000, 1761858000, 1776981600, 1793307600, 1809036000, 1824757200, 1840485600, 1856206800, 1871935200, 1887656400, 1903384800, 1919710800, 4080664800, 4096990800, 4112719200, 4128440400, 4144168800, 4159890000),
    ),
}
# fmt: on


def section(zone=UTC, holidays=(), levels=()):
    """Return a schedule's bytes. holidays: (first, days). levels: (level, flags, intervals), each
    interval (days, from, until)."""
    made = struct.pack("<hhBBBhBBBhBB", *zone, len(holidays), len(levels))
    for first, days in holidays:
        made += struct.pack("<HBB", first, days, 0)
    for level, flags, intervals in levels:
        made += struct.pack("<BBBB", level, flags, len(intervals), 0)
        for days, begin, end in intervals:
            made += struct.pack("<BBHH", days, 0, begin, end)
    return made


def schedule(*intervals, zone=UTC, holidays=()):
    """Return the Schedule in which level 3 has these hours."""
    return Schedule(section(zone, holidays, ((3, 0, intervals),)))


def checked(data):
    """Return the Schedule of a section that a door would take. Raises Refused."""
    found = Schedule(bytes(data))
    run_through(found.check(no_pause))
    return found


class LocalTimeTest(unittest.TestCase):
    def test_clocks_change_to_the_second(self):
        for name, (zone, moments) in ZONES.items():
            standard_s, summer_s = zone[0] * 60, zone[1] * 60
            found = Schedule(section(zone))
            is_south = zone[2] > zone[6]
            for i, moment_s in enumerate(moments):
                with self.subTest(name=name, moment_s=moment_s):
                    is_begin = (i % 2 == 1) == is_south
                    before_s, after_s = standard_s, summer_s
                    if not is_begin:
                        before_s, after_s = summer_s, standard_s
                    self.assertEqual(found.offset_s(moment_s - 1), before_s)
                    self.assertEqual(found.offset_s(moment_s), after_s)
                    # Asked anew, so that nothing remembered helps or hinders.
                    self.assertEqual(Schedule(section(zone)).offset_s(moment_s), after_s)
                    self.assertEqual(Schedule(section(zone)).offset_s(moment_s - 1), before_s)

    def test_as_zoneinfo_has_it(self):
        if ZoneInfo is None:
            return
        from datetime import datetime

        for name, (zone, moments) in ZONES.items():
            found = Schedule(section(zone))
            info = ZoneInfo(name)
            for now_s in list(range(1_735_700_000, 1_924_000_000, 10_007)) + list(moments):
                offset = datetime.fromtimestamp(now_s, info).utcoffset()
                self.assertEqual(found.offset_s(now_s), offset and offset.total_seconds())

    def test_no_summer_time(self):
        for minutes in (-720, -1, 0, 330, 840):
            found = Schedule(section((minutes, minutes) + 8 * (0,)))
            for now_s in (0, 1_790_000_000, 0xFFFFFFFF):
                self.assertEqual(found.offset_s(now_s), minutes * 60)

    def test_year_borders(self):
        """New Year's eve, north and south, in local time."""
        for zone, offset_s in ((CHICAGO, -6 * HOUR_S), (SYDNEY, 11 * HOUR_S)):
            for year in (2026, 2027, 2028, 2099, 2100):
                midnight_s = day_of(year, 1, 1) * DAY_S - offset_s
                found = schedule((DAILY, 1380, 1500), zone=zone)  # 23:00 to 01:00
                for second, wanted in (
                    (-HOUR_S - 1, OUTSIDE),
                    (-HOUR_S, INSIDE),
                    (-1, INSIDE),
                    (0, INSIDE),
                    (HOUR_S - 1, INSIDE),
                    (HOUR_S, OUTSIDE),
                ):
                    with self.subTest(year=year, second=second):
                        self.assertEqual(found.offset_s(midnight_s + second), offset_s)
                        self.assertEqual(found.look(3, midnight_s + second), wanted)


class CalendarTest(unittest.TestCase):
    def test_days(self):
        for date, day in (
            ((1970, 1, 1), 0),
            ((1999, 12, 31), 10956),
            ((2000, 2, 29), 11016),
            ((2000, 3, 1), 11017),
            ((2026, 9, 21), MONDAY),
            ((2100, 2, 28), 47540),
            ((2100, 3, 1), 47541),
        ):
            self.assertEqual(day_of(*date), day)
        self.assertEqual(weekday(MONDAY), 0)
        self.assertEqual(weekday(0), 3)
        self.assertEqual(weekday(-1), 2)

    def test_years_follow_one_another(self):
        for year in range(1970, 2107):
            first = day_of(year, 1, 1)
            is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
            self.assertEqual(day_of(year + 1, 1, 1) - first, 366 if is_leap else 365)
            self.assertEqual(year_of(first), year)
            self.assertEqual(year_of(first - 1), year - 1)
            months = [day_of(year, month, 1) - first for month in range(1, 13)]
            leap = int(is_leap)
            self.assertEqual(months[:3], [0, 31, 59 + leap])
            self.assertEqual(months[11], 334 + leap)


class HoursCase(unittest.TestCase):
    def check(self, found, wanted, day=MONDAY, offset_s=0, level=3):
        """wanted: ((hour, minute), answer), in UTC days from `day` on."""
        for (hour, minute), answer in wanted:
            for second in (0, 59):
                now_s = day * DAY_S + hour * HOUR_S + minute * 60 + second - offset_s
                with self.subTest(day=day, hour=hour, minute=minute, second=second):
                    self.assertEqual(found.look(level, now_s), answer)


class HoursTest(HoursCase):
    def test_no_hours(self):
        for found in (Schedule(b""), Schedule(), Schedule(section()), schedule()):
            for level in (0, 4, 15, DOOR_LEVEL):
                self.assertEqual(found.look(level, 1_790_000_000), ALWAYS)
                self.assertFalse(found.has_hours(level))
                self.assertTrue(found.opens_without_clock(level))

    def test_a_level_that_never_enters(self):
        found = schedule()
        self.assertTrue(found.has_hours(3))
        self.assertEqual(found.look(3, 1_790_000_000), OUTSIDE)

    def test_a_working_day(self):
        found = schedule((WORKDAYS, 450, 1050))
        wanted = (((7, 29), OUTSIDE), ((7, 30), INSIDE), ((17, 29), INSIDE), ((17, 30), OUTSIDE))
        for day in range(MONDAY, MONDAY + 5):
            self.check(found, wanted, day)
        for day in range(MONDAY + 5, MONDAY + 7):
            self.check(found, (((7, 30), OUTSIDE), ((12, 0), OUTSIDE)), day)

    def test_each_weekday_is_its_bit(self):
        for bit in range(7):
            found = schedule((1 << bit, 0, 1440))
            for day in range(14):
                wanted = INSIDE if day % 7 == bit else OUTSIDE
                self.check(found, (((0, 0), wanted), ((23, 59), wanted)), MONDAY + day)

    def test_several_intervals(self):
        found = schedule(*((WORKDAYS, hour * 60, hour * 60 + 30) for hour in range(0, 24, 2)))
        for hour in range(24):
            wanted = INSIDE if hour % 2 == 0 else OUTSIDE
            self.check(found, (((hour, 0), wanted), ((hour, 29), wanted), ((hour, 30), OUTSIDE)))

    def test_across_midnight(self):
        found = schedule((1 << 4, 1320, 1800))  # Friday 22:00 to Saturday 06:00
        friday = MONDAY + 4
        self.check(found, (((5, 59), OUTSIDE), ((21, 59), OUTSIDE), ((22, 0), INSIDE)), friday)
        self.check(found, (((0, 0), INSIDE), ((5, 59), INSIDE), ((6, 0), OUTSIDE)), friday + 1)
        self.check(found, (((0, 0), OUTSIDE), ((22, 0), OUTSIDE)), friday + 2)

    def test_across_the_end_of_the_week(self):
        found = schedule((1 << 6, 1439, 1441))  # Sunday 23:59 to Monday 00:01
        self.check(found, (((23, 58), OUTSIDE), ((23, 59), INSIDE)), MONDAY - 1)
        self.check(found, (((0, 0), INSIDE), ((0, 1), OUTSIDE)), MONDAY)

    def test_a_whole_day_from_its_middle(self):
        found = schedule((1, 720, 2160))  # Monday noon to Tuesday noon
        self.check(found, (((11, 59), OUTSIDE), ((12, 0), INSIDE), ((23, 59), INSIDE)))
        self.check(found, (((0, 0), INSIDE), ((11, 59), INSIDE), ((12, 0), OUTSIDE)), MONDAY + 1)

    def test_levels_are_apart(self):
        found = Schedule(
            section(
                levels=(
                    (0, 0, ((DAILY, 0, 60),)),
                    (3, 1, ((DAILY, 60, 120),)),
                    (15, 0, ()),
                    (DOOR_LEVEL, 0, ((DAILY, 120, 180),)),
                )
            )
        )
        for hour, inside in ((0, 0), (1, 3), (2, DOOR_LEVEL)):
            for level in (0, 3, 15, DOOR_LEVEL):
                answer = INSIDE if level == inside else OUTSIDE
                self.check(found, (((hour, 30), answer),), level=level)
        self.check(found, (((0, 0), ALWAYS),), level=1)
        self.assertEqual([n for n in range(17) if found.has_hours(n)], [0, 3, 15, DOOR_LEVEL])
        closed = [n for n in range(17) if not found.opens_without_clock(n)]
        self.assertEqual(closed, [0, 15, DOOR_LEVEL])


class HolidayTest(HoursCase):
    def test_without_hours_of_their_own(self):
        found = schedule((DAILY, 420, 1080), holidays=((MONDAY + 1, 2),))
        wanted = (((6, 59), OUTSIDE), ((7, 0), INSIDE), ((18, 0), OUTSIDE))
        for day in (0, 3, 7, 8):
            self.check(found, wanted, MONDAY + day)
        for day in (1, 2):
            self.check(found, (((0, 0), HOLIDAY), ((7, 0), HOLIDAY)), MONDAY + day)

    def test_hours_of_their_own(self):
        found = schedule(
            (WORKDAYS, 420, 1080), (HOLIDAYS, 540, 720), holidays=((MONDAY, 1), (MONDAY + 5, 1))
        )
        # On a Monday and a Saturday; it does enter on holidays, so this is an ordinary "not now".
        for day in (MONDAY, MONDAY + 5):
            self.check(found, (((8, 59), OUTSIDE), ((9, 0), INSIDE), ((12, 0), OUTSIDE)), day)
        self.check(found, (((7, 0), INSIDE), ((9, 0), INSIDE), ((18, 0), OUTSIDE)), MONDAY + 1)
        self.check(found, (((9, 0), OUTSIDE),), MONDAY + 6)

    def test_into_a_holiday_and_out_of_it(self):
        """What begins on a day belongs to that day."""
        found = schedule((DAILY, 1320, 1560), (HOLIDAYS, 1200, 1500), holidays=((MONDAY, 1),))
        # From Sunday 22:00 to 02:00; from the holiday 20:00 to 01:00.
        self.check(found, (((1, 59), INSIDE), ((2, 0), OUTSIDE), ((19, 59), OUTSIDE)), MONDAY)
        self.check(found, (((20, 0), INSIDE), ((23, 59), INSIDE)), MONDAY)
        self.check(found, (((0, 59), INSIDE), ((1, 0), OUTSIDE), ((22, 0), INSIDE)), MONDAY + 1)

    def test_every_one_of_the_most_there_can_be(self):
        holidays = tuple((MONDAY + 3 * i, 1 + i % 2) for i in range(MAX_HOLIDAYS))
        found = schedule((DAILY, 0, 1440), holidays=holidays)
        for i in range(MAX_HOLIDAYS):
            answers = [HOLIDAY, HOLIDAY if i % 2 else INSIDE, INSIDE]
            for day in range(3):
                self.check(found, (((12, 0), answers[day]),), MONDAY + 3 * i + day)
        self.check(found, (((12, 0), INSIDE),), MONDAY - 1)

    def test_a_long_one_up_to_the_last_day_there_is(self):
        found = schedule((DAILY, 0, 1440), holidays=((MONDAY, 255), (0xFFFF, 1)))
        self.check(found, (((12, 0), HOLIDAY),), MONDAY + 254)
        self.check(found, (((12, 0), INSIDE),), MONDAY + 255)
        self.assertEqual(found.look(3, 0xFFFF * DAY_S), HOLIDAY)

    def test_the_day_is_the_local_one(self):
        for zone, offset_s in ((CHICAGO, -5 * HOUR_S), (SYDNEY, 10 * HOUR_S)):
            found = schedule((DAILY, 0, 1440), zone=zone, holidays=((MONDAY, 1),))
            self.check(found, (((0, 0), HOLIDAY), ((23, 59), HOLIDAY)), MONDAY, offset_s)
            self.check(found, (((23, 59), INSIDE),), MONDAY - 1, offset_s)
            self.check(found, (((0, 0), INSIDE),), MONDAY + 1, offset_s)


class SummerTimeTest(HoursCase):
    """Hours are what the clock on the wall shows."""

    FORWARD_S = 1772956800  # 2026-03-08 in Chicago, 02:00 becomes 03:00
    BACK_S = 1793516400  # 2026-11-01, 02:00 becomes 01:00

    def answers(self, found, base_s, minutes):
        return [found.look(3, base_s + minute * 60) for minute in minutes]

    def test_the_hour_that_is_not(self):
        found = schedule((DAILY, 90, 150), zone=CHICAGO)  # 01:30 to 02:30
        answers = self.answers(found, self.FORWARD_S, (-31, -30, -1, 0, 29))
        self.assertEqual(answers, [OUTSIDE, INSIDE, INSIDE, OUTSIDE, OUTSIDE])
        found = schedule((DAILY, 120, 180), zone=CHICAGO)  # 02:00 to 03:00: not on that day
        self.assertEqual(self.answers(found, self.FORWARD_S, (-1, 0, 59)), [OUTSIDE] * 3)
        found = schedule((DAILY, 150, 240), zone=CHICAGO)  # 02:30 to 04:00
        answers = self.answers(found, self.FORWARD_S, (-1, 0, 59, 60))
        self.assertEqual(answers, [OUTSIDE, INSIDE, INSIDE, OUTSIDE])

    def test_the_hour_that_is_twice(self):
        found = schedule((DAILY, 60, 90), zone=CHICAGO)  # 01:00 to 01:30
        answers = self.answers(found, self.BACK_S, (-61, -60, -31, -30, -1, 0, 29, 30))
        self.assertEqual(
            answers, [OUTSIDE, INSIDE, INSIDE, OUTSIDE, OUTSIDE, INSIDE, INSIDE, OUTSIDE]
        )

    def test_a_night_that_is_an_hour_shorter_or_longer(self):
        found = schedule((1 << 5, 1320, 1800), zone=CHICAGO)  # Saturday 22:00 to 06:00
        for base_s, hours in ((self.FORWARD_S, 3), (self.BACK_S, 5)):
            end_s = base_s + hours * HOUR_S
            self.assertEqual(found.look(3, end_s - 1), INSIDE)
            self.assertEqual(found.look(3, end_s), OUTSIDE)

    def test_clocks_that_are_set_back_over_midnight(self):
        """Cairo: at the end of a Thursday it is 23:00 on that Thursday once more."""
        zone, moments = ZONES["Africa/Cairo"]
        found = schedule((1 << 3, 1380, 1440), zone=zone)
        for base_s in [moments[i] for i in range(1, 12, 2)]:
            self.assertEqual(
                self.answers(found, base_s, (-61, -60, -1, 0, 59, 60)),
                [OUTSIDE, INSIDE, INSIDE, INSIDE, INSIDE, OUTSIDE],
            )

    def test_the_order_of_questions_does_not_matter(self):
        for zone, moments in ZONES.values():
            found = schedule((WORKDAYS, 420, 1080), (1 << 5, 1320, 1800), zone=zone)
            asked = [
                moments[(7 * i) % len(moments)] + (i * 7919) % (4 * DAY_S) - 2 * DAY_S
                for i in range(200)
            ]
            for now_s in asked:
                anew = schedule((WORKDAYS, 420, 1080), (1 << 5, 1320, 1800), zone=zone)
                self.assertEqual(found.look(3, now_s), anew.look(3, now_s))


class MinuteByMinuteTest(unittest.TestCase):
    """A whole week against a model that writes every minute into a table."""

    def test_week(self):
        intervals = ((WORKDAYS, 420, 1080), (1 << 4, 1200, 1560), (WEEKEND, 1439, 2879))
        intervals += ((HOLIDAYS, 600, 660), (HOLIDAYS, 1380, 1500))
        holidays = ((MONDAY + 2, 1), (MONDAY + 5, 2))
        inside = set()
        for day in range(-1, 9):
            is_holiday = day in (2, 5, 6)
            for days, begin, end in intervals:
                if days & (HOLIDAYS if is_holiday else 1 << day % 7):
                    inside.update(range(day * 1440 + begin, day * 1440 + end))
        found = schedule(*intervals, holidays=holidays)
        for minute in range(7 * 1440):
            is_inside = found.look(3, MONDAY * DAY_S + minute * 60 + minute % 60) == INSIDE
            self.assertEqual(is_inside, minute in inside, minute)


class MalformedTest(unittest.TestCase):
    SOUND = section(CHICAGO, ((MONDAY, 1), (MONDAY + 1, 5)), ((3, 1, ((1, 2, 3), (1, 2, 3))),))
    # Where things stand in it.
    HOLIDAY_AT, LEVEL_AT, INTERVAL_AT = 16, 24, 28

    def refuse(self, data):
        with self.assertRaises(Refused) as caught:
            checked(data)
        self.assertEqual(caught.exception.code, BAD_SCHEDULE)

    def with_field(self, at, layout, *values):
        data = bytearray(self.SOUND)
        struct.pack_into("<" + layout, data, at, *values)
        return data

    def test_cut_at_any_byte_and_too_long(self):
        checked(self.SOUND)
        for length in range(1, len(self.SOUND)):
            with self.subTest(length=length):
                self.refuse(self.SOUND[:length])
        for more in (b"\x00", bytes(4), bytes(6)):
            self.refuse(self.SOUND + more)

    def test_fields(self):
        for at, layout, value in (
            (0, "h", 901),
            (0, "h", -901),
            (2, "h", 901),
            (2, "h", -901),
            (2, "h", -360),  # the same as standard time, and rules all the same
            (4, "B", 0),
            (4, "B", 13),
            (5, "B", 0),
            (5, "B", 6),
            (6, "B", 7),
            (7, "h", 10021),
            (7, "h", -10021),
            (9, "B", 0),
            (9, "B", 13),
            (10, "B", 0),
            (10, "B", 6),
            (11, "B", 7),
            (12, "h", 10021),
            (14, "B", 1),
            (14, "B", 3),
            (14, "B", 65),
            (14, "B", 255),
            (15, "B", 0),
            (15, "B", 2),
            (15, "B", 255),
            (self.HOLIDAY_AT + 2, "B", 0),
            (self.HOLIDAY_AT + 2, "B", 2),  # into the next one
            (self.HOLIDAY_AT + 3, "B", 1),
            (self.HOLIDAY_AT + 4, "H", MONDAY),  # the same day twice
            (self.HOLIDAY_AT + 4, "H", MONDAY - 9),  # not in their order
            (self.LEVEL_AT, "B", 17),
            (self.LEVEL_AT, "B", 255),
            (self.LEVEL_AT + 1, "B", 2),
            (self.LEVEL_AT + 1, "B", 0x81),
            (self.LEVEL_AT + 2, "B", 1),
            (self.LEVEL_AT + 2, "B", 3),
            (self.LEVEL_AT + 2, "B", 255),
            (self.LEVEL_AT + 3, "B", 1),
            (self.INTERVAL_AT, "B", 0),
            (self.INTERVAL_AT + 1, "B", 1),
            (self.INTERVAL_AT + 2, "H", 1440),
            (self.INTERVAL_AT + 2, "H", 3),  # ends as it begins
            (self.INTERVAL_AT + 4, "H", 1),
            (self.INTERVAL_AT + 4, "H", 1443),  # longer than a day
            (self.INTERVAL_AT + 4, "H", 0xFFFF),
        ):
            with self.subTest(at=at, value=value):
                self.refuse(self.with_field(at, layout, value))

    def test_fields_at_their_bounds(self):
        for at, layout, value in (
            (0, "h", 900),
            (2, "h", -900),
            (4, "B", 12),
            (5, "B", 5),
            (7, "h", 10020),
            (12, "h", -10020),
            (self.LEVEL_AT, "B", 15),
            (self.INTERVAL_AT + 4, "H", 1442),
        ):
            with self.subTest(at=at, value=value):
                checked(self.with_field(at, layout, value))

    def test_rules_without_summer_time(self):
        for at in (4, 5, 6, 7, 9, 10, 11, 12):
            data = bytearray(section((60, 60) + 8 * (0,)))
            data[at] = 1
            with self.subTest(at=at):
                self.refuse(data)

    def test_levels_twice_or_not_in_their_order(self):
        for levels in ((3, 3), (4, 3), (DOOR_LEVEL, 0)):
            self.refuse(section(levels=tuple((level, 0, ()) for level in levels)))

    def test_the_door_has_no_flag(self):
        checked(section(levels=((DOOR_LEVEL, 0, ()),)))
        self.refuse(section(levels=((DOOR_LEVEL, 1, ()),)))

    def test_one_more_than_there_can_be(self):
        one = (DAILY, 0, 1)
        checked(section(levels=((0, 0, (one,) * MAX_INTERVALS),)))
        self.refuse(section(levels=((0, 0, (one,) * (MAX_INTERVALS + 1)),)))
        days = [(2 * i, 1) for i in range(MAX_HOLIDAYS + 1)]
        checked(section(holidays=days[:-1]))
        self.refuse(section(holidays=days))

    def test_the_largest(self):
        levels = [(level, 0, ((DAILY, 0, 1),) * MAX_INTERVALS) for level in range(DOOR_LEVEL + 1)]
        data = section(CHICAGO, [(2 * i, 1) for i in range(MAX_HOLIDAYS)], levels)
        self.assertLessEqual(len(data), MAX_SCHEDULE_BYTES)
        pauses = []

        async def pause():
            pauses.append(1)

        found = Schedule(data)
        run_through(found.check(pause))
        self.assertEqual(len(pauses), DOOR_LEVEL + 1)
        self.assertEqual(found.look(DOOR_LEVEL, 70_000 * DAY_S), OUTSIDE)
        self.refuse(data + bytes(MAX_SCHEDULE_BYTES + 1 - len(data)))

    def test_any_bit_changed_is_refused_or_read(self):
        """Whatever stands in a section that nobody has checked since it was written to flash, reading
        it ends in an answer or in a refusal."""
        for i in range(8 * len(self.SOUND)):
            data = bytearray(self.SOUND)
            data[i // 8] ^= 1 << i % 8
            try:
                found = Schedule(bytes(data))
            except Refused:
                continue
            for level in range(DOOR_LEVEL + 1):
                self.assertIn(found.look(level, 1_790_000_000), (ALWAYS, INSIDE, OUTSIDE, HOLIDAY))


if __name__ == "__main__":
    unittest.main()
