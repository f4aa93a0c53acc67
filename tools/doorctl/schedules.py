"""Hours and holidays: read from a TOML file with every mistake told, packed for the list, spelled.

A file has a time zone, holidays, and a table for each stretch of hours:

    time_zone = "America/Chicago"

    [[holiday]]
    date = 2026-12-21
    until = 2027-01-01          # its last day; left out: one day
    name = "winter break"       # stays on the host

    [[level]]
    number = 3                  # an access level, 0 to 15; the same one may come again
    days = "mon-fri"            # weekdays, ranges of them and holidays, parted by commas; or none
    from = "07:00"
    until = "18:00"             # not after `from`: on the next day; 24:00 is the end of the day
    open_without_clock = false  # may it enter while the door does not know the hour?

    [[unlocked]]                # when the door itself stands unlocked
    days = "mon-fri"
    from = "07:30"
    until = "08:10"

On a holiday only hours count whose days name holidays. A level without a table enters at any hour.
In place of the zone's name its rule can stand:

    [time_zone]
    standard = "-06:00"
    summer = "-05:00"
    summer_begins = "second sun of mar 02:00"   # by standard time
    summer_ends = "first sun of nov 02:00"      # by summer time
"""

import re
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from doorward.access.allowlist import MAX_LEVEL
from doorward.access.schedule import (
    DAY_MIN,
    DOOR_LEVEL,
    HEAD_BYTES,
    HEAD_LAYOUT,
    HOLIDAY_BYTES,
    HOLIDAY_LAYOUT,
    INTERVAL_BYTES,
    INTERVAL_LAYOUT,
    LEVEL_BYTES,
    LEVEL_LAYOUT,
    MAX_HOLIDAYS,
    MAX_INTERVALS,
    MAX_OFFSET_MIN,
    MAX_RULE_MIN,
    ON_HOLIDAYS,
    OPEN_WITHOUT_CLOCK,
    Schedule,
    moment_s,
)
from doorward.trust.primitives import no_pause, run_through
from doorward.values import ALWAYS, HOLIDAY, INSIDE_HOURS, OUTSIDE_HOURS

from doorctl.errors import DoorctlError
from doorctl.output import read_file
from doorctl.roster import iso

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What a door makes of a moment, in words.
_ANSWERS = {
    ALWAYS: "it has no hours",
    INSIDE_HOURS: "inside its hours",
    OUTSIDE_HOURS: "outside its hours",
    HOLIDAY: "a holiday, on which it has no hours",
}
# How far ahead a zone's name is checked to follow one rule.
CHECKED_YEARS = 10
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_MAX_FILE_BYTES = 100_000
_DAY_S = 86400
_MAX_HOLIDAY_DAYS = 255
_YEARS = range(2000, 2100)
_EPOCH = date(1970, 1, 1)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKS = ("first", "second", "third", "fourth", "last")
_HOLIDAYS = "holidays"
_NOBODY = "none"
_ALL_WEEK = 0x7F
_RULE = re.compile(
    rf"({'|'.join(_WEEKS)}) ({'|'.join(WEEKDAYS)}) of ({'|'.join(_MONTHS)}) (-?)(\d\d\d?):([0-5]\d)"
)
_OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)")
_CLOCK = re.compile(r"(\d\d):([0-5]\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?")

_OFFSET_ALLOWED = "an offset from UTC such as -06:00, 15 hours at most"
_RULE_ALLOWED = "a rule such as 'second sun of mar 02:00'"
_DAYS_ALLOWED = "days such as 'mon-fri', 'sat, holidays' or 'none'"
_DATE_ALLOWED = f"a date such as 2026-12-24, from {_YEARS[0]} to {_YEARS[-1]}"


@dataclass(frozen=True, slots=True)
class Rule:
    """When summer time begins or ends in each year.

    month: from 1. week: 1 to 4, or 5 for the last. weekday: 0 Monday to 6 Sunday. minute: from the
    midnight with which that day begins, by the time that is in force until then.
    """

    month: int
    week: int
    weekday: int
    minute: int


@dataclass(frozen=True, slots=True)
class Zone:
    """Local time: minutes ahead of UTC, and the rules of summer time where there is any."""

    standard: int = 0
    summer: int = 0
    begins: Rule | None = None
    ends: Rule | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """One stretch of hours. days: bits 0 to 6 Monday to Sunday, bit 7 holidays. begin, end: minutes
    of the day, the end above DAY_MIN on the next one."""

    days: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of one level; without an interval it never enters."""

    intervals: tuple[Interval, ...] = ()
    opens_without_clock: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a schedule says. holidays: (first day, how many days), days since 1970, in
    their order, none twice. levels: access level, or DOOR_LEVEL for the door -> its hours."""

    zone: Zone = field(default_factory=Zone)
    holidays: tuple[tuple[int, int], ...] = ()
    levels: Mapping[int, Hours] = field(default_factory=dict)


class ScheduleRefused(DoorctlError):
    """A schedule file has mistakes; nothing is made from it.

    Attributes:
        problems: all of them, a line each.
    """

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        super().__init__(f"{path}: mistakes: {len(problems)}; nothing was made from it")
        self.problems = [f"{path}: {problem}" for problem in problems]

    def show(self, file=None) -> None:
        for problem in self.problems:
            click.echo(problem, err=True, file=file)
        super().show(file)


# As it lies in a list


def pack(plan: Plan) -> bytes:
    """Return the section of a list."""
    zone = plan.zone
    section = struct.pack(
        HEAD_LAYOUT,
        zone.standard,
        zone.summer,
        *_rule_fields(zone.begins),
        *_rule_fields(zone.ends),
        len(plan.holidays),
        len(plan.levels),
    )
    for first, days in plan.holidays:
        section += struct.pack(HOLIDAY_LAYOUT, first, days, 0)
    for level, hours in sorted(plan.levels.items()):
        flags = OPEN_WITHOUT_CLOCK if hours.opens_without_clock else 0
        section += struct.pack(LEVEL_LAYOUT, level, flags, len(hours.intervals), 0)
        for one in hours.intervals:
            section += struct.pack(INTERVAL_LAYOUT, one.days, 0, one.begin, one.end)
    return section


def unpack(section: bytes) -> Plan | None:
    """Return what the section of a list says, None where it is empty. Raises Refused."""
    if not section:
        return None
    run_through(Schedule(section).check(no_pause))
    head = struct.unpack_from(HEAD_LAYOUT, section)
    standard, summer = head[:2]
    zone = Zone(standard, summer)
    if standard != summer:
        zone = Zone(standard, summer, Rule(*head[2:6]), Rule(*head[6:10]))
    holiday_count, level_count = head[10:]
    at = HEAD_BYTES
    holidays = []
    for _ in range(holiday_count):
        holidays.append(struct.unpack_from(HOLIDAY_LAYOUT, section, at)[:2])
        at += HOLIDAY_BYTES
    levels = {}
    for _ in range(level_count):
        level, flags, count, _ = struct.unpack_from(LEVEL_LAYOUT, section, at)
        at += LEVEL_BYTES
        intervals = []
        for _ in range(count):
            days, _, begin, end = struct.unpack_from(INTERVAL_LAYOUT, section, at)
            intervals.append(Interval(days, begin, end))
            at += INTERVAL_BYTES
        levels[level] = Hours(tuple(intervals), bool(flags & OPEN_WITHOUT_CLOCK))
    return Plan(zone, tuple(holidays), levels)


def _rule_fields(rule: Rule | None) -> tuple[int, int, int, int]:
    return (0, 0, 0, 0) if rule is None else (rule.month, rule.week, rule.weekday, rule.minute)


# In words


def describe(plan: Plan | None) -> dict[str, Any]:
    """Return a schedule in words; without one every level enters at any hour."""
    if plan is None:
        return {"time_zone": None, "holidays": [], "levels": {}, "unlocked": None}
    door = plan.levels.get(DOOR_LEVEL)
    return {
        "time_zone": spell_zone(plan.zone),
        "holidays": [spell_holiday(*one) for one in plan.holidays],
        "levels": {
            str(level): spell_hours(hours)
            for level, hours in sorted(plan.levels.items())
            if level != DOOR_LEVEL
        },
        "unlocked": None if door is None else spell_hours(door),
    }


def spell_hours(hours: Hours) -> str:
    """Return the hours of a level: mon-fri 07:00-18:00, sat 09:00-12:00."""
    told = ", ".join(
        f"{spell_days(one.days)} {_spell_clock(one.begin)}-{_spell_end(one.end)}"
        for one in hours.intervals
    )
    return (told or "never") + ("; also without a clock" if hours.opens_without_clock else "")


def spell_days(days: int) -> str:
    """Return an interval's days as a file has them: mon-fri+holidays."""
    words = []
    first = None
    for day in range(8):
        is_on = day < 7 and days >> day & 1
        if is_on and first is None:
            first = day
        if first is not None and not is_on:
            last = day - 1
            words.append(WEEKDAYS[first] + (f"-{WEEKDAYS[last]}" if last > first else ""))
            first = None
    return "+".join(words + ([_HOLIDAYS] if days & ON_HOLIDAYS else []))


def spell_zone(zone: Zone) -> str:
    """Return a zone: UTC-06:00, summer UTC-05:00 from second sun of mar 02:00 to ..."""
    told = f"UTC{spell_offset(zone.standard)}"
    if zone.begins is not None and zone.ends is not None:
        told += f", summer UTC{spell_offset(zone.summer)}"
        told += f" from {spell_rule(zone.begins)} to {spell_rule(zone.ends)}"
    return told


def spell_offset(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{_spell_clock(abs(minutes))}"


def spell_rule(rule: Rule) -> str:
    clock = f"{'-' if rule.minute < 0 else ''}{_spell_clock(abs(rule.minute))}"
    week, day = _WEEKS[rule.week - 1], WEEKDAYS[rule.weekday]
    return f"{week} {day} of {_MONTHS[rule.month - 1]} {clock}"


def spell_holiday(first: int, days: int) -> str:
    begin = _EPOCH + timedelta(days=first)
    return str(begin) if days == 1 else f"{begin} to {begin + timedelta(days=days - 1)}"


def _spell_clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _spell_end(minute: int) -> str:
    return _spell_clock(minute if minute <= DAY_MIN else minute - DAY_MIN)


# Time zones


def derive_zone(name: str, from_s: int) -> Zone:
    """Return the rule that a zone of the IANA database follows for CHECKED_YEARS after `from_s`.

    Raises ValueError where there is no such zone, or it follows no rule.
    """
    try:
        found = ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError(
            "is no time zone of the IANA database such as America/Chicago (or it is not on this "
            "computer: pip install tzdata)"
        ) from None
    until_s = from_s + CHECKED_YEARS * 366 * _DAY_S
    changes = _changes(found, from_s, until_s)
    offsets = sorted({offset for _, *both in changes for offset in both})
    offsets = offsets or [_offset_s(found, from_s)]
    if any(offset % 60 for offset in offsets):
        raise ValueError("is no whole number of minutes from UTC")
    standard, summer = offsets[0] // 60, offsets[-1] // 60
    zone = Zone(standard, summer)
    if standard != summer:
        begins = _common_rule([at + was for at, was, now in changes if now > was])
        ends = _common_rule([at + was for at, was, now in changes if now < was])
        if begins is None or ends is None:
            raise ValueError(_no_rule(changes))
        zone = Zone(standard, summer, begins, ends)
    schedule = Schedule(pack(Plan(zone)))
    moments = [*range(from_s, until_s, _DAY_S // 2), *(at - 1 for at, _, _ in changes)]
    moments += [at for at, _, _ in changes]
    if any(schedule.offset_s(at) != _offset_s(found, at) for at in moments):
        raise ValueError(_no_rule(changes))
    return zone


def _no_rule(changes: Sequence[tuple[int, int, int]]) -> str:
    shown = ", ".join(str(_date_of(at + was)) for at, was, _ in changes[:4])
    return (
        f"follows no yearly rule for the next {CHECKED_YEARS} years (its clocks change on {shown}, "
        "...); give its rule in a table [time_zone], and build the list anew when it changes"
    )


def _offset_s(zone: ZoneInfo, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, zone).utcoffset() or timedelta()
    return round(offset.total_seconds())


def _changes(zone: ZoneInfo, from_s: int, until_s: int) -> list[tuple[int, int, int]]:
    """Return (Unix seconds, offset before, offset from then on) of each change between the two."""
    found = []
    was = _offset_s(zone, from_s)
    for day_s in range(from_s, until_s, _DAY_S):
        now = _offset_s(zone, day_s + _DAY_S)
        if now == was:
            continue
        low, high = day_s, day_s + _DAY_S
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset_s(zone, middle) == was else (low, middle)
        found.append((high, was, now))
        was = now
    return found


def _common_rule(moments: Sequence[int]) -> Rule | None:
    """Return the rule that gives all these moments, local seconds, one in each year."""
    # The night of a Saturday may be spelled as the Sunday's hour -1, and only so be a rule.
    for shift in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6):
        day = _date_of(moments[0] + shift * _DAY_S)
        minute = moments[0] % _DAY_S // 60 - shift * DAY_MIN
        for week in range(1, 6):
            rule = Rule(day.month, week, day.weekday(), minute)
            if all(moment_s(_year_of(at), _rule_fields(rule)) == at for at in moments):
                return rule
    return None


def _date_of(seconds: int) -> date:
    return _EPOCH + timedelta(days=seconds // _DAY_S)


def _year_of(seconds: int) -> int:
    return _date_of(seconds).year


# What a door would answer


def moments_of(schedule: Schedule, local_s: int) -> list[int]:
    """Return the Unix seconds at which local clocks show a time; two where they are set back over
    it, none where they are set forward over it."""
    offsets = {schedule.offset_s(local_s + day * _DAY_S) for day in range(-1, 2)}
    offsets |= {schedule.offset_s(local_s - offset) for offset in offsets}
    return sorted(local_s - one for one in offsets if schedule.offset_s(local_s - one) == one)


def parse_moment(text: str | None, schedule: Schedule) -> int:
    """Return Unix seconds of an ISO date and time, local unless it names an offset; None: now.

    Raises DoorctlError.
    """
    if text is None:
        return int(datetime.now(timezone.utc).timestamp())
    try:
        if _MOMENT.fullmatch(text) is None:
            raise ValueError
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise DoorctlError(
            f"--at {text!r} is no date and time such as 2026-12-24T08:00 or 2026-12-24T14:00Z"
        ) from None
    if moment.tzinfo is not None:
        return int(moment.timestamp())
    found = moments_of(schedule, int(moment.replace(tzinfo=timezone.utc).timestamp()))
    if not found:
        raise DoorctlError(f"--at {text}: clocks are set forward over that time")
    return found[0]


class Moment:
    """One moment, by the clocks of the doors that have a schedule."""

    def __init__(self, plan: Plan, schedule: Schedule, at_s: int) -> None:
        """schedule: the same, as a door has it. at_s: Unix seconds."""
        self._plan = plan
        self._schedule = schedule
        self._at_s = at_s
        self._offset_s = schedule.offset_s(at_s)
        self._local = datetime.fromtimestamp(at_s + self._offset_s, timezone.utc)
        day = (at_s + self._offset_s) // _DAY_S
        self._is_holiday = any(first <= day < first + days for first, days in plan.holidays)

    def facts(self) -> dict[str, Any]:
        """Return when it is, for scripts."""
        return {
            "at": iso(self._at_s),
            "local": self._local.strftime("%Y-%m-%dT%H:%M:%S"),
            "offset": spell_offset(self._offset_s // 60),
            "weekday": WEEKDAYS[self._local.weekday()],
            "is_holiday": self._is_holiday,
        }

    def line(self) -> str:
        facts = self.facts()
        told = f"{facts['weekday']} {self._local:%Y-%m-%d %H:%M}, UTC{facts['offset']}"
        return told + (", a holiday" if self._is_holiday else "")

    def answer(self, level: int) -> dict[str, Any]:
        """Return what a door answers to a level, or does where it is DOOR_LEVEL, for scripts."""
        hours = self._plan.levels.get(level)
        answer = self._schedule.look(level, self._at_s)
        is_door = level == DOOR_LEVEL
        return {
            "level": "door" if is_door else level,
            "is_open": answer in (ALWAYS, INSIDE_HOURS) and not (is_door and hours is None),
            "answer": _ANSWERS[answer],
            "hours": None if hours is None else spell_hours(hours),
            "is_open_without_clock": not is_door and self._schedule.opens_without_clock(level),
        }

    def answer_line(self, level: int) -> str:
        facts = self.answer(level)
        if level == DOOR_LEVEL:
            told = "door: stands unlocked" if facts["is_open"] else "door: locked"
        else:
            told = f"level {level}: {'yes' if facts['is_open'] else 'no'}"
        told += f": {facts['answer']}"
        return told if facts["hours"] is None else f"{told}: {facts['hours']}"


# The file


def read_plan(path: Path, from_s: int) -> Plan:
    """Return what a schedule file says. from_s: when its list is issued, Unix seconds.

    Raises ScheduleRefused with every mistake, DoorctlError where it cannot be read.
    """
    data = read_file(path, _MAX_FILE_BYTES)
    try:
        values = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ScheduleRefused(path, ["not UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ScheduleRefused(path, [f"not TOML: {error}"]) from None
    reader = _Reader(values, from_s)
    plan = reader.read()
    if reader.problems:
        raise ScheduleRefused(path, reader.problems)
    return plan


class _Reader:
    """Reads one file.

    Attributes:
        problems: what is wrong with it, a line each: key, value, what is allowed.
    """

    def __init__(self, values: dict[str, Any], from_s: int) -> None:
        self._values = values
        self._from_s = from_s
        self.problems: list[str] = []

    def read(self) -> Plan:
        self._check_keys("", self._values, ("time_zone", "holiday", "level", "unlocked"))
        zone = self._zone()
        holidays = self._holidays()
        levels = self._levels()
        return Plan(zone, holidays, levels)

    def _holidays(self) -> tuple[tuple[int, int], ...]:
        days: set[int] = set()
        for place, table in self._tables("holiday"):
            self._check_keys(place, table, ("date", "until", "name"))
            first = self._value(place, table, "date", _parse_date, _DATE_ALLOWED)
            last = self._value(place, table, "until", _parse_date, _DATE_ALLOWED, first)
            self._value(place, table, "name", _parse_text, "a text", "")
            if first is None or last is None:
                continue
            if not first <= last < first + _MAX_HOLIDAY_DAYS:
                self._tell(
                    f"{place}until",
                    str(table["until"]),
                    f"the last day, from 'date' on and at most {_MAX_HOLIDAY_DAYS} days in all",
                )
                continue
            days |= set(range(first, last + 1))
        runs = _runs(sorted(days))
        if len(runs) > MAX_HOLIDAYS:
            self.problems.append(
                f"holiday: {len(runs)} stretches of days; a list holds {MAX_HOLIDAYS}"
            )
        return tuple(runs)

    def _levels(self) -> dict[int, Hours]:
        intervals: dict[int, list[Interval]] = {}
        flags: dict[int, bool] = {}
        nobody: set[int] = set()
        keys = ("number", "days", "from", "until", "open_without_clock")
        for name, allowed in (("level", keys), ("unlocked", keys[1:4])):
            for place, table in self._tables(name):
                self._check_keys(place, table, allowed)
                level = DOOR_LEVEL
                if name == "level":
                    level = self._value(
                        place, table, "number", _parse_level, f"a level from 0 to {MAX_LEVEL}"
                    )
                    flag = self._value(
                        place, table, "open_without_clock", _parse_flag, "true or false", None
                    )
                    if flag is not None and flags.setdefault(level, flag) != flag:
                        self._tell(
                            f"{place}open_without_clock",
                            flag,
                            f"what level {level} says before: {str(not flag).lower()}",
                        )
                found = self._interval(place, table)
                if level is None or found is None:
                    continue
                there = intervals.setdefault(level, [])
                if found.days:
                    there.append(found)
                else:
                    nobody.add(level)
        for level, there in intervals.items():
            named = "unlocked" if level == DOOR_LEVEL else f"level {level}"
            if level in nobody and there:
                self.problems.append(f"{named}: has hours, and a table with days = 'none'")
            if len(there) > MAX_INTERVALS:
                self.problems.append(f"{named}: {len(there)} tables; {MAX_INTERVALS} at most")
        return {
            level: Hours(tuple(there), flags.get(level, False))
            for level, there in sorted(intervals.items())
        }

    def _interval(self, place: str, table: dict[str, Any]) -> Interval | None:
        """Return the hours of one table, with no days where they are `none`."""
        days = self._value(place, table, "days", _parse_days, _DAYS_ALLOWED)
        if days == 0:
            for key in ("from", "until"):
                if key in table:
                    self.problems.append(f"{place}{key}: not where days = 'none'; leave it out")
            return Interval(0, 0, 0)
        begin = self._value(
            place, table, "from", lambda value: _parse_clock(value, 23), "a time, 00:00 to 23:59"
        )
        end = self._value(
            place, table, "until", lambda value: _parse_clock(value, 24), "a time, 00:00 to 24:00"
        )
        if days is None or begin is None or end is None:
            return None
        if begin == end:
            self._tell(
                f"{place}until",
                table["until"],
                "another time than 'from'; a whole day is 00:00 to 24:00",
            )
            return None
        return Interval(days, begin, end if end > begin else end + DAY_MIN)

    def _zone(self) -> Zone:
        value = self._values.get("time_zone")
        allowed = "a name such as America/Chicago, or a table"
        if isinstance(value, str):
            try:
                return derive_zone(value, self._from_s)
            except ValueError as error:
                self.problems.append(f"time_zone: {value!r} {error}")
        elif value is None:
            self.problems.append(f"time_zone: missing; {allowed}")
        elif not isinstance(value, dict):
            self._tell("time_zone", value, allowed)
        else:
            return self._zone_table(value)
        return Zone()

    def _zone_table(self, table: dict[str, Any]) -> Zone:
        place = "time_zone."
        summer_keys = ("summer", "summer_begins", "summer_ends")
        self._check_keys(place, table, ("standard", *summer_keys))
        standard = self._value(place, table, "standard", _parse_offset, _OFFSET_ALLOWED)
        if not any(key in table for key in summer_keys):
            return Zone(standard or 0, standard or 0)
        summer = self._value(place, table, "summer", _parse_offset, _OFFSET_ALLOWED)
        begins = self._value(place, table, "summer_begins", _parse_rule, _RULE_ALLOWED)
        ends = self._value(place, table, "summer_ends", _parse_rule, _RULE_ALLOWED)
        if summer is not None and summer == standard:
            self._tell("time_zone.summer", table["summer"], "another offset than 'standard'")
        if begins is not None and ends is not None and begins.month == ends.month:
            self._tell(
                "time_zone.summer_ends",
                table["summer_ends"],
                "a rule of another month than begins",
            )
        return Zone(standard or 0, summer or 0, begins, ends)

    def _tables(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the tables of this name, each with what to call its keys."""
        value = self._values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self._tell(name, value, f"tables, each under a heading [[{name}]]")
            return []
        return [(f"{name} {i + 1}: ", one) for i, one in enumerate(value)]

    def _value(
        self,
        place: str,
        table: dict[str, Any],
        key: str,
        parse: Callable[[Any], Any],
        allowed: str,
        *default: Any,
    ) -> Any:
        """Return a value parsed, or its default, or None after telling the mistake."""
        if key not in table:
            if not default:
                self.problems.append(f"{place}{key}: missing; {allowed}")
            return default[0] if default else None
        try:
            return parse(table[key])
        except (TypeError, ValueError):
            self._tell(f"{place}{key}", table[key], allowed)
            return None

    def _check_keys(self, place: str, table: dict[str, Any], allowed: Sequence[str]) -> None:
        for key in table:
            if key not in allowed:
                self.problems.append(f"{place}{key[:40]}: unknown; {', '.join(allowed)}")

    def _tell(self, key: str, value: Any, allowed: str) -> None:
        shown = f"{value}" if isinstance(value, date | time) else repr(value)
        if isinstance(value, bool):
            shown = str(value).lower()
        self.problems.append(f"{key}: {shown[:80]} is not {allowed}")


def _runs(days: Iterable[int]) -> list[tuple[int, int]]:
    """Return stretches of days that follow one another: (first, how many)."""
    runs: list[tuple[int, int]] = []
    for day in days:
        first, count = runs[-1] if runs else (0, 0)
        if count and first + count == day and count < _MAX_HOLIDAY_DAYS:
            runs[-1] = (first, count + 1)
        else:
            runs.append((day, 1))
    return runs


# Each of these raises TypeError or ValueError where a value is none of its kind.


def _parse_date(value: Any) -> int:
    if isinstance(value, str) and _DATE.fullmatch(value):
        value = date.fromisoformat(value)
    if not isinstance(value, date) or isinstance(value, datetime) or value.year not in _YEARS:
        raise ValueError
    return (value - _EPOCH).days


def _parse_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _parse_level(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_LEVEL:
        raise ValueError
    return value


def _parse_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _parse_clock(value: Any, most_hours: int) -> int:
    """Return the minute of the day of "07:00" or of TOML's own 07:00:00."""
    if isinstance(value, time) and not value.second and not value.microsecond:
        return value.hour * 60 + value.minute
    match = _CLOCK.fullmatch(_parse_text(value))
    if match is None:
        raise ValueError
    minute = int(match[1]) * 60 + int(match[2])
    if minute > most_hours * 60 + (59 if most_hours < 24 else 0):
        raise ValueError
    return minute


def _parse_days(value: Any) -> int:
    text = _parse_text(value).lower()
    if text.strip() == _NOBODY:
        return 0
    days = 0
    for word in text.split(","):
        first, dash, last = (part.strip() for part in word.partition("-"))
        if first == _HOLIDAYS and not dash:
            days |= ON_HOLIDAYS
            continue
        # index raises ValueError; a range may go over the week's end.
        begin = WEEKDAYS.index(first)
        end = WEEKDAYS.index(last) if dash else begin
        for day in range(begin, end + 1 if end >= begin else end + 8):
            days |= 1 << day % 7
    return days


def _parse_offset(value: Any) -> int:
    match = _OFFSET.fullmatch(_parse_text(value))
    if match is None:
        raise ValueError
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes > MAX_OFFSET_MIN:
        raise ValueError
    return -minutes if match[1] == "-" else minutes


def _parse_rule(value: Any) -> Rule:
    match = _RULE.fullmatch(_parse_text(value).lower())
    if match is None:
        raise ValueError
    minute = int(match[5]) * 60 + int(match[6])
    if minute > MAX_RULE_MIN:
        raise ValueError
    return Rule(
        _MONTHS.index(match[3]) + 1,
        _WEEKS.index(match[1]) + 1,
        WEEKDAYS.index(match[2]),
        -minute if match[4] else minute,
    )
