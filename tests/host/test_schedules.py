"""Schedules on the host: the file with its mistakes, the bytes, what doors answer, doorctl list."""

import io
import json
import struct
import sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result
from doorctl import keyring, keys, lists, schedules, signed
from doorctl.main import main
from doorctl.roster import Row
from doorctl.schedules import (
    Hours,
    Interval,
    Plan,
    Rule,
    ScheduleRefused,
    Zone,
    derive_zone,
    moments_of,
    pack,
    read_plan,
    unpack,
)
from doorward.access.schedule import (
    DOOR_LEVEL,
    MAX_HOLIDAYS,
    MAX_INTERVALS,
    MAX_SCHEDULE_BYTES,
    ON_HOLIDAYS,
    Schedule,
)
from doorward.trust.keyring import MAY_LIST, MAY_UNLOCK, Issuer
from doorward.values import (
    ALWAYS,
    HOLIDAY,
    INSIDE_HOURS,
    OUTSIDE_HOURS,
    RESPONDER,
    STAFF,
    Entry,
    Refused,
)
from hypothesis import given, settings
from hypothesis import strategies as st

OBJECTS = Path(__file__).parents[1] / "vectors" / "objects"
SITE_KEY = bytes(range(32))
ISSUED_S = 1_790_000_000  # 2026-09-21
MONDAY = 20717
DAY_S = 86400
CHICAGO = Zone(-360, -300, Rule(3, 2, 6, 120), Rule(11, 1, 6, 120))
EPOCH = date(1970, 1, 1)

FILE = """
time_zone = "America/Chicago"

[[holiday]]
date = 2026-09-25
name = "staff day"

[[holiday]]
date = "2026-12-21"
until = "2027-01-01"

[[level]]
number = 3
days = "mon-fri"
from = "07:00"
until = "18:00"

[[level]]
number = 3
days = "holidays"
from = "09:00"
until = "12:00"

[[level]]
number = 4
days = "fri, sun"
from = 22:00:00
until = "06:00"
open_without_clock = true

[[level]]
number = 5
days = "none"

[[unlocked]]
days = "mon-fri"
from = "07:30"
until = "08:10"
"""
PLAN = Plan(
    CHICAGO,
    ((20721, 1), (20808, 12)),
    {
        3: Hours((Interval(0x1F, 420, 1080), Interval(0x80, 540, 720))),
        4: Hours((Interval(0x50, 1320, 1800),), True),
        5: Hours(),
        DOOR_LEVEL: Hours((Interval(0x1F, 450, 490),)),
    },
)


# The file


def read(tmp_path, text: str) -> Plan:
    path = tmp_path / "hours.toml"
    path.write_text(text)
    return read_plan(path, ISSUED_S)


def problems(tmp_path, text: str) -> list[str]:
    """Return what is told of a file, without the file's name, which each line begins with."""
    with pytest.raises(ScheduleRefused) as caught:
        read(tmp_path, text)
    start = f"{tmp_path / 'hours.toml'}: "
    assert all(line.startswith(start) for line in caught.value.problems)
    return [line[len(start) :] for line in caught.value.problems]


def test_a_file(tmp_path):
    assert read(tmp_path, FILE) == PLAN


def test_the_modules_own_example_is_one(tmp_path):
    text = str(schedules.__doc__)
    example = "\n".join(line[4:] for line in text.split("\n") if line.startswith("    "))
    first, zone = example.split("[time_zone]")
    plan = read(tmp_path, first)
    assert plan.zone == CHICAGO and set(plan.levels) == {3, DOOR_LEVEL}
    assert read(tmp_path, f"[time_zone]{zone}").zone == CHICAGO


def test_a_file_of_a_zone_alone_has_no_hours_for_anybody(tmp_path):
    plan = read(tmp_path, 'time_zone = "UTC"\n')
    assert plan == Plan()
    assert len(pack(plan)) == 16


def test_a_table_of_the_zone(tmp_path):
    table = '[time_zone]\nstandard = "+05:30"\n'
    assert read(tmp_path, table).zone == Zone(330, 330)
    table = (
        '[time_zone]\nstandard = "-02:00"\nsummer = "-01:00"\n'
        'summer_begins = "Last Sun of Mar -01:00"\nsummer_ends = "last sun of oct 26:30"\n'
    )
    zone = Zone(-120, -60, Rule(3, 5, 6, -60), Rule(10, 5, 6, 1590))
    assert read(tmp_path, table).zone == zone


def test_holidays_that_meet_become_one(tmp_path):
    text = 'time_zone = "UTC"\n'
    for first, last in (
        ("09-24", "09-25"),
        ("09-21", "09-22"),
        ("09-22", "09-23"),
        ("10-01",) * 2,
    ):
        text += f"[[holiday]]\ndate = 2026-{first}\nuntil = 2026-{last}\n"
    assert read(tmp_path, text).holidays == ((MONDAY, 5), (MONDAY + 10, 1))


@pytest.mark.parametrize(
    ("days", "bits"),
    [
        ("mon", 0x01),
        ("Mon-Fri", 0x1F),
        ("sat, sun", 0x60),
        ("sat-mon", 0x61),
        ("mon-sun", 0x7F),
        ("holidays", 0x80),
        ("mon - wed , holidays", 0x87),
    ],
)
def test_days(tmp_path, days, bits):
    text = f'time_zone = "UTC"\n[[unlocked]]\ndays = "{days}"\nfrom = "00:00"\nuntil = "24:00"\n'
    assert read(tmp_path, text).levels[DOOR_LEVEL].intervals == (Interval(bits, 0, 1440),)


LEVEL = 'number = 3\ndays = "mon"\nfrom = "07:00"\nuntil = "18:00"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["time_zone: missing; a name such as America/Chicago, or a table"]),
        ("time_zone = 7", ["time_zone: 7 is not a name such as America/Chicago, or a table"]),
        ("zone = 'UTC'", ["zone: unknown; time_zone, holiday, level, unlocked", "time_zone: "]),
        ("time_zone = 'Mars/Olympus'", ["time_zone: 'Mars/Olympus' is no time zone of the IANA"]),
        ("time_zone = '../etc/passwd'", ["time_zone: '../etc/passwd' is no time zone"]),
        ("time_zone = ''", ["time_zone: '' is no time zone"]),
        (
            "time_zone = 'Africa/Casablanca'",
            ["time_zone: 'Africa/Casablanca' follows no yearly rule for the next 10 years"],
        ),
        ("time_zone = ", ["not TOML: "]),
        ("time_zone = {}", ["time_zone.standard: missing; an offset from UTC"]),
        (
            "time_zone = { standard = '6', dst = 1 }",
            [
                "time_zone.dst: unknown; standard, summer, summer_begins, summer_ends",
                "time_zone.standard: '6' is not an offset from UTC such as -06:00",
            ],
        ),
        (
            "time_zone = { standard = '+15:01' }",
            ["time_zone.standard: '+15:01' is not an offset from UTC"],
        ),
        (
            (
                "time_zone = { standard = '-06:00', summer = '-06:00', "
                "summer_begins = 'fifth sun of mar 02:00' }"
            ),
            [
                "time_zone.summer_begins: 'fifth sun of mar 02:00' is not a rule such as",
                "time_zone.summer_ends: missing; a rule such as",
                "time_zone.summer: '-06:00' is not another offset than 'standard'",
            ],
        ),
        (
            (
                "time_zone = { standard = '-06:00', summer = '-05:00', summer_begins = "
                "'first sun of mar 02:00', summer_ends = 'last sun of mar 167:01' }"
            ),
            ["time_zone.summer_ends: 'last sun of mar 167:01' is not a rule such as"],
        ),
        (
            (
                "time_zone = { standard = '-06:00', summer = '-05:00', summer_begins = "
                "'first sun of mar 02:00', summer_ends = 'last sun of mar 02:00' }"
            ),
            ["time_zone.summer_ends: 'last sun of mar 02:00' is not a rule of another month"],
        ),
    ],
)
def test_mistakes_in_the_zone(tmp_path, text, told):
    found = problems(tmp_path, text)
    for line, start in zip(found, told, strict=True):
        assert line.startswith(start), found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("holiday = 3", "holiday: 3 is not tables, each under a heading [[holiday]]"),
        ("level = [1]", "level: [1] is not tables, each under a heading [[level]]"),
        ("[[holiday]]", "holiday 1: date: missing; a date such as 2026-12-24, from 2000 to 2099"),
        ("[[holiday]]\ndate = 7", "holiday 1: date: 7 is not a date such as"),
        ("[[holiday]]\ndate = '2026-02-30'", "holiday 1: date: '2026-02-30' is not a date"),
        ("[[holiday]]\ndate = '20260230'", "holiday 1: date: '20260230' is not a date"),
        ("[[holiday]]\ndate = 1999-12-31", "holiday 1: date: 1999-12-31 is not a date"),
        ("[[holiday]]\ndate = 2026-01-01T08:00:00", "holiday 1: date: 2026-01-01 08:00:00 is not"),
        (
            "[[holiday]]\ndate = 2026-12-24\nuntil = 2026-12-23",
            "holiday 1: until: '2026-12-23' is not the last day, from 'date' on and at most 255",
        ),
        (
            "[[holiday]]\ndate = 2026-01-01\nuntil = 2026-09-13",
            "holiday 1: until: '2026-09-13' is not the last day",
        ),
        (
            "[[holiday]]\ndate = 2026-12-24\nnote = 'x'",
            "holiday 1: note: unknown; date, until, name",
        ),
        ("[[holiday]]\ndate = 2026-12-24\nname = 7", "holiday 1: name: 7 is not a text"),
        (f"[[level]]\n{LEVEL}[[level]]\n{LEVEL}number = 4", "not TOML: "),
        (
            f"[[level]]\n{LEVEL.replace('3', '16')}",
            "level 1: number: 16 is not a level from 0 to 15",
        ),
        (f"[[level]]\n{LEVEL.replace('3', 'true')}", "level 1: number: true is not a level"),
        (f"[[level]]\n{LEVEL.replace('3', '-1')}", "level 1: number: -1 is not a level"),
        (
            f"[[level]]\n{LEVEL.replace('number = 3', '')}",
            "level 1: number: missing; a level from",
        ),
        (
            f"[[level]]\n{LEVEL.replace('mon', 'monday')}",
            "level 1: days: 'monday' is not days such",
        ),
        (f"[[level]]\n{LEVEL.replace('mon', 'mon-')}", "level 1: days: 'mon-' is not days such"),
        (f"[[level]]\n{LEVEL.replace('mon', '')}", "level 1: days: '' is not days such as"),
        (f"[[level]]\n{LEVEL.replace('mon', 'holidays-mon')}", "level 1: days: 'holidays-mon' is"),
        (f"[[level]]\n{LEVEL.replace('mon', 'mon, none')}", "level 1: days: 'mon, none' is not"),
        (
            "[[level]]\nnumber = 3\ndays = 'none'\nuntil = '18:00'",
            "level 1: until: not where days = 'none'; leave it out",
        ),
        (
            f"[[level]]\n{LEVEL.replace('07:00', '7:00')}",
            "level 1: from: '7:00' is not a time, 00:0",
        ),
        (f"[[level]]\n{LEVEL.replace('07:00', '24:00')}", "level 1: from: '24:00' is not a time"),
        (f"[[level]]\n{LEVEL.replace('18:00', '24:01')}", "level 1: until: '24:01' is not a time"),
        (f"[[level]]\n{LEVEL.replace('18:00', '12:60')}", "level 1: until: '12:60' is not a time"),
        (
            f"[[level]]\n{LEVEL.replace('18:00', '07:00')}",
            "level 1: until: '07:00' is not another",
        ),
        (
            f"[[level]]\n{LEVEL.replace(chr(34) + '18:00' + chr(34), '18:00:01')}",
            "level 1: until: 18:00:01 is not a time, 00:00 to 24:00",
        ),
        (
            f"[[level]]\n{LEVEL}x = 1",
            "level 1: x: unknown; number, days, from, until, open_without",
        ),
        (
            f"[[level]]\n{LEVEL}open_without_clock = 1",
            "level 1: open_without_clock: 1 is not true",
        ),
        (
            (
                f"[[level]]\n{LEVEL}open_without_clock = true\n"
                f"[[level]]\n{LEVEL}open_without_clock = false"
            ),
            "level 2: open_without_clock: false is not what level 3 says before: true",
        ),
        (
            f"[[level]]\n{LEVEL}[[level]]\nnumber = 3\ndays = 'none'",
            "level 3: has hours, and a table with days = 'none'",
        ),
        (
            "[[unlocked]]\nnumber = 3\ndays = 'none'",
            "unlocked 1: number: unknown; days, from, until",
        ),
        (f"[[level]]\n{LEVEL}" * 17, "level 3: 17 tables; 16 at most"),
    ],
)
def test_mistakes(tmp_path, text, told):
    (found,) = problems(tmp_path, f"time_zone = 'UTC'\n{text}")
    assert found.startswith(told)


def test_more_holidays_than_a_list_holds(tmp_path):
    text = "time_zone = 'UTC'\n"
    text += "".join(
        f"[[holiday]]\ndate = {EPOCH + timedelta(days=MONDAY + 2 * i)}\n" for i in range(65)
    )
    assert problems(tmp_path, text) == ["holiday: 65 stretches of days; a list holds 64"]


def test_every_mistake_is_told_at_once(tmp_path):
    text = "time_zone = 7\n[[holiday]]\ndate = 1\n[[level]]\nnumber = 99\n"
    starts = ["time_zone", "holiday 1: date", "level 1: number", "level 1: days", "level 1: from"]
    starts += ["level 1: until"]
    found = problems(tmp_path, text)
    assert all(line.startswith(start) for line, start in zip(found, starts, strict=True))


def test_what_is_no_text_and_what_is_not_there(tmp_path):
    path = tmp_path / "hours.toml"
    path.write_bytes(b"time_zone = '\xff'")
    with pytest.raises(ScheduleRefused, match="mistakes: 1"):
        read_plan(path, ISSUED_S)
    with pytest.raises(schedules.DoorctlError, match="No such file"):
        read_plan(tmp_path / "other.toml", ISSUED_S)


# Time zones


@pytest.mark.parametrize(
    "name",
    [
        "America/Chicago",
        "America/Nuuk",
        "America/Santiago",
        "America/Phoenix",
        "Asia/Jerusalem",
        "Asia/Kathmandu",
        "Africa/Cairo",
        "Australia/Lord_Howe",
        "Australia/Sydney",
        "Europe/Berlin",
        "Europe/Dublin",
        "Pacific/Chatham",
        "Pacific/Kiritimati",
        "UTC",
    ],
)
def test_zones_are_derived(name):
    found = Schedule(pack(Plan(derive_zone(name, ISSUED_S))))
    info = ZoneInfo(name)
    for now_s in range(ISSUED_S, ISSUED_S + 3650 * DAY_S, 5 * 3600 + 17):
        offset = datetime.fromtimestamp(now_s, info).utcoffset()
        assert offset is not None and found.offset_s(now_s) == offset.total_seconds(), now_s


def posix(zone: Zone) -> str:
    """Return a zone as POSIX spells it (RFC 8536, 3.3.1), whose offsets have the other sign."""

    def clock(minutes: int) -> str:
        return f"{'-' if minutes < 0 else ''}{abs(minutes) // 60}:{abs(minutes) % 60:02}"

    told = f"<S>{clock(-zone.standard)}"
    if zone.begins is not None and zone.ends is not None:
        told += f"<D>{clock(-zone.summer)}"
        for rule in (zone.begins, zone.ends):
            day = (rule.weekday + 1) % 7
            told += f",M{rule.month}.{rule.week}.{day}/{clock(rule.minute)}"
    return told


def zone_info(zone: Zone) -> ZoneInfo:
    """Return the standard library's reading of a zone's rule: a TZif file of nothing but it."""
    block = struct.pack(">4sB15x6I", b"TZif", ord("2"), 0, 0, 0, 0, 1, 4)
    block += struct.pack(">iBB", zone.standard * 60, 0, 0) + b"<S>\x00"
    return ZoneInfo.from_file(io.BytesIO(2 * block + f"\n{posix(zone)}\n".encode()))


# Summer time that is begun and ended far from the New Year and from each other.
rule_fields = (st.integers(1, 5), st.integers(0, 6), st.integers(-1440, 2880))


@st.composite
def zones(draw) -> Zone:
    standard = draw(st.integers(-12 * 60, 13 * 60))
    shift = draw(st.sampled_from([0, 30, 60, 60, 120]))
    if not shift:
        return Zone(standard, standard)
    months = draw(st.sampled_from([(3, 10), (10, 4), (2, 11), (9, 5), (6, 8)]))
    rules = [Rule(month, *(draw(one) for one in rule_fields)) for month in months]
    return Zone(standard, standard + shift, *rules)


@st.composite
def intervals(draw) -> Interval:
    begin = draw(st.integers(0, 1439))
    return Interval(draw(st.integers(1, 255)), begin, begin + draw(st.integers(1, 1440)))


@st.composite
def plans(draw) -> Plan:
    holidays = []
    day = MONDAY - 20
    for _ in range(draw(st.integers(0, 8))):
        day += draw(st.integers(0, 9))
        count = draw(st.integers(1, 5))
        holidays.append((day, count))
        day += count
    hours = st.builds(Hours, st.lists(intervals(), max_size=5).map(tuple), st.booleans())
    levels = draw(st.dictionaries(st.integers(0, 15), hours, max_size=4))
    if draw(st.booleans()):
        levels[DOOR_LEVEL] = Hours(tuple(draw(st.lists(intervals(), max_size=3))))
    return Plan(draw(zones()), tuple(holidays), levels)


@given(plans())
@settings(deadline=None)
def test_there_and_back(plan):
    section = pack(plan)
    assert len(section) <= MAX_SCHEDULE_BYTES
    assert unpack(section) == plan
    assert unpack(pack(plan)) == plan


def inside_minutes(plan: Plan, level: int, first: int, last: int) -> set[int]:
    """Return the local minutes since 1970 that are inside a level's hours, written out one by one."""
    holidays = {day + i for day, count in plan.holidays for i in range(count)}
    minutes: set[int] = set()
    for day in range(first - 1, last + 1):
        bit = ON_HOLIDAYS if day in holidays else 1 << (EPOCH + timedelta(days=day)).weekday()
        for one in plan.levels[level].intervals:
            if one.days & bit:
                minutes |= set(range(day * 1440 + one.begin, day * 1440 + one.end))
    return minutes


@given(plans(), st.integers(-30, 400), st.integers(0, 59))
@settings(deadline=None, max_examples=60)
def test_look_is_what_a_minute_by_minute_model_says(plan, day, second):
    """Three days, every seventh minute, local time by the standard library."""
    schedule = Schedule(pack(plan))
    info = zone_info(plan.zone)
    first = MONDAY + day
    holidays = {one + i for one, count in plan.holidays for i in range(count)}
    inside = {level: inside_minutes(plan, level, first - 2, first + 5) for level in plan.levels}
    for now_s in range(first * DAY_S + second, (first + 3) * DAY_S, 420):
        local = datetime.fromtimestamp(now_s, info).replace(tzinfo=timezone.utc)
        minute = int(local.timestamp()) // 60
        for level, hours in plan.levels.items():
            wanted = OUTSIDE_HOURS
            if minute in inside[level]:
                wanted = INSIDE_HOURS
            elif minute // 1440 in holidays:
                has_holiday_hours = any(one.days & ON_HOLIDAYS for one in hours.intervals)
                wanted = OUTSIDE_HOURS if has_holiday_hours else HOLIDAY
            assert schedule.look(level, now_s) == wanted, (now_s, level)
        assert all(
            schedule.look(level, now_s) == ALWAYS
            for level in range(DOOR_LEVEL + 1)
            if level not in plan.levels
        )


@given(zones(), st.integers(2026, 2040), st.integers(-4 * 24, 4 * 24))
@settings(deadline=None)
def test_local_time_is_the_standard_librarys(zone, year, hours):
    schedule = Schedule(pack(Plan(zone)))
    info = zone_info(zone)
    for month in range(1, 13):
        now_s = int(datetime(year, month, 14, tzinfo=timezone.utc).timestamp()) + hours * 3600
        for at_s in (now_s, now_s + 7 * DAY_S, now_s + 14 * DAY_S):
            offset = datetime.fromtimestamp(at_s, info).utcoffset()
            assert offset is not None and schedule.offset_s(at_s) == offset.total_seconds()


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_refused_or_read(section):
    try:
        plan = unpack(section)
    except Refused:
        return
    assert (b"" if plan is None else pack(plan)) == section


def test_the_largest_fits():
    hours = Hours((Interval(1, 0, 1),) * MAX_INTERVALS)
    holidays = tuple((2 * i, 1) for i in range(MAX_HOLIDAYS))
    plan = Plan(CHICAGO, holidays, dict.fromkeys(range(DOOR_LEVEL), hours))
    section = pack(plan)
    assert len(section) <= MAX_SCHEDULE_BYTES
    assert unpack(section) == plan


def test_moments_of_local_time():
    schedule = Schedule(pack(PLAN))

    def local_s(text: str) -> int:
        return int(datetime.fromisoformat(text + "+00:00").timestamp())

    assert moments_of(schedule, local_s("2026-12-24T08:00")) == [1798120800]
    assert moments_of(schedule, local_s("2026-03-08T02:30")) == []
    twice = moments_of(schedule, local_s("2026-11-01T01:30"))
    assert twice == [1793514600, 1793518200]


# In words


def test_words():
    assert schedules.describe(PLAN) == {
        "time_zone": "UTC-06:00, summer UTC-05:00 from second sun of mar 02:00 "
        "to first sun of nov 02:00",
        "holidays": ["2026-09-25", "2026-12-21 to 2027-01-01"],
        "levels": {
            "3": "mon-fri 07:00-18:00, holidays 09:00-12:00",
            "4": "fri+sun 22:00-06:00; also without a clock",
            "5": "never",
        },
        "unlocked": "mon-fri 07:30-08:10",
    }


@given(st.integers(1, 255))
def test_days_are_spelled_as_they_are_read(days):
    assert schedules._parse_days(schedules.spell_days(days).replace("+", ",")) == days


@given(zones())
def test_rules_are_spelled_as_they_are_read(zone):
    if zone.begins is not None:
        assert schedules._parse_rule(schedules.spell_rule(zone.begins)) == zone.begins
    assert schedules._parse_offset(schedules.spell_offset(zone.standard)) == zone.standard


# doorctl list


def doorctl(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def bench(tmp_path):
    """A roster, a site key and hours.toml; `build` makes a list, version 1 unless it follows one."""
    (tmp_path / "site.key").write_text(SITE_KEY.hex() + "\n")
    (tmp_path / "r.csv").write_text(
        "badge,class,level,extended\n04A2B1C3,responder,3,yes\n04A2B1C4,responder,4,\n"
    )
    (tmp_path / "hours.toml").write_text(FILE)

    def build(*flags: object, out: str = "police.dwl") -> Result:
        return doorctl(
            *("list", "build", "--roster", tmp_path / "r.csv", "--site", "north"),
            *("--key", OBJECTS / "keys" / "police_DO_NOT_USE.pem"),
            *("--site-key", tmp_path / "site.key", "--out", tmp_path / out, *flags),
        )

    return build


def plan_in(path: Path) -> Plan | None:
    return lists.plan_of(signed.read(path, 2))


def test_build_with_a_schedule(bench, tmp_path):
    schedule = tmp_path / "hours.toml"
    result = bench("--version", 1, "--schedule", schedule)
    assert result.exit_code == 0, result.output
    assert plan_in(tmp_path / "police.dwl") == PLAN
    found = lists.rows_of(signed.read(tmp_path / "police.dwl", 2))
    entries = sorted(row[10:12] for row in found.values())
    assert entries == [bytes((RESPONDER, 4)), bytes((RESPONDER | 0x20, 3))]
    assert b"staff day" not in (tmp_path / "police.dwl").read_bytes()


def test_build_refuses_a_bad_one_and_writes_nothing(bench, tmp_path):
    (tmp_path / "hours.toml").write_text("time_zone = 'UTC'\n[[level]]\nnumber = 77\n")
    result = bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    assert result.exit_code == 1
    assert f"{tmp_path / 'hours.toml'}: level 1: number: 77 is not a level" in result.stderr
    assert "doorctl: " in result.stderr and "mistakes: 4; nothing was made" in result.stderr
    assert not (tmp_path / "police.dwl").exists()


def test_the_previous_lists_schedule_is_carried_over(bench, tmp_path):
    bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    file = tmp_path / "police.dwl"
    result = bench()
    assert f"{file}: its hours and holidays are carried over" in result.stdout
    assert "hours changed" not in result.stdout
    assert plan_in(file) == PLAN
    result = bench("--no-schedule")
    assert "carried over" not in result.stdout and ", hours changed\n" in result.stdout
    assert plan_in(file) is None
    result = bench()
    assert "carried over" not in result.stdout and plan_in(file) is None
    result = bench("--schedule", tmp_path / "hours.toml", "--previous", file, out="next.dwl")
    assert ", hours changed\n" in result.stdout and plan_in(tmp_path / "next.dwl") == PLAN


def test_schedule_and_no_schedule(bench, tmp_path):
    result = bench("--version", 1, "--schedule", tmp_path / "hours.toml", "--no-schedule")
    assert result.exit_code == 2 and "exclude one another" in result.stderr


def test_show(bench, tmp_path):
    bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    told = doorctl("list", "show", tmp_path / "police.dwl").stdout
    for line in (
        "time zone: UTC-06:00, summer UTC-05:00 from second sun of mar 02:00 to first sun of nov",
        "holidays: 2026-09-25, 2026-12-21 to 2027-01-01\n",
        "level 3: mon-fri 07:00-18:00, holidays 09:00-12:00\n",
        "level 5: never\n",
        "door unlocked: mon-fri 07:30-08:10\n",
    ):
        assert line in told
    facts = json.loads(doorctl("list", "show", tmp_path / "police.dwl", "--json").stdout)
    assert facts["schedule"] == schedules.describe(PLAN)
    assert "hours: none: every level enters at any hour\n" in (
        doorctl("list", "show", OBJECTS / "police_1.dwl").stdout
    )


def test_diff(bench, tmp_path):
    bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    text = FILE.replace('until = "18:00"', 'until = "20:00"').replace("number = 4", "number = 6")
    (tmp_path / "hours.toml").write_text(
        text.replace("[[holiday]]\ndate = 2026-09-25", "[[holiday]]\ndate = 2026-09-24")
    )
    bench(
        "--previous", tmp_path / "police.dwl", "--schedule", tmp_path / "hours.toml", out="b.dwl"
    )
    pair = (tmp_path / "police.dwl", tmp_path / "b.dwl")
    assert doorctl("list", "diff", *pair).stdout.endswith(" old, hours changed\n")
    found = json.loads(doorctl("list", "diff", *pair, "--json").stdout)["details"]
    night = "fri+sun 22:00-06:00; also without a clock"
    rest = "holidays 09:00-12:00"
    winter = "2026-12-21 to 2027-01-01"
    assert found == {
        "version": {"old": 1, "new": 2},
        "holidays": {"old": f"2026-09-25, {winter}", "new": f"2026-09-24, {winter}"},
        "level_3_hours": {
            "old": f"mon-fri 07:00-18:00, {rest}",
            "new": f"mon-fri 07:00-20:00, {rest}",
        },
        "level_4_hours": {"old": night, "new": None},
        "level_6_hours": {"old": None, "new": night},
    }


def test_what_a_person_is_told_of_changed_hours():
    old, new = (
        signed.split(
            lists.build_list([], private(), "north", n, SITE_KEY, ISSUED_S, schedule=one), 2
        )
        for n, one in ((1, b""), (2, pack(PLAN)))
    )
    told = lists_difference(old, new)
    assert "level 3 hours: any hour -> mon-fri 07:00-18:00, holidays 09:00-12:00" in told
    assert "holidays: none -> 2026-09-25, 2026-12-21 to 2027-01-01" in told
    assert "unlocked hours: none -> mon-fri 07:30-08:10" in told


def private(name: str = "police"):
    return keys.load_private(OBJECTS / "keys" / f"{name}_DO_NOT_USE.pem")


def lists_difference(old, new) -> list[str]:
    from doorctl.difference import Difference

    return Difference(old, new).lines()


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (
            "2026-09-21T07:00",
            ["mon 2026-09-21 07:00, UTC-05:00", "level 3: yes: inside its hours: "],
        ),
        (
            "2026-09-21T06:59",
            ["mon 2026-09-21 06:59, UTC-05:00", "level 3: no: outside its hours"],
        ),
        ("2026-09-21T12:00Z", ["mon 2026-09-21 07:00, UTC-05:00", "level 3: yes: inside"]),
        ("2026-09-21T14:00:30+02:00", ["mon 2026-09-21 07:00, UTC-05:00", "level 3: yes: inside"]),
        (
            "2026-12-24 08:00",
            ["thu 2026-12-24 08:00, UTC-06:00, a holiday", "level 3: no: outside"],
        ),
        (
            "2026-12-24T09:00",
            ["thu 2026-12-24 09:00, UTC-06:00, a holiday", "level 3: yes: inside"],
        ),
        (
            "2026-11-01T01:30",
            ["sun 2026-11-01 01:30, UTC-05:00", "level 3: no: outside its hours"],
        ),
    ],
)
def test_hours(bench, tmp_path, at, told):
    bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    result = doorctl("list", "hours", tmp_path / "police.dwl", "--level", 3, "--at", at)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first == told[0] and second.startswith(told[1])
    assert second.endswith(": mon-fri 07:00-18:00, holidays 09:00-12:00")


def test_hours_of_all_levels(bench, tmp_path):
    bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    file = tmp_path / "police.dwl"
    told = doorctl("list", "hours", file, "--at", "2026-12-25T23:00").stdout
    assert told.splitlines() == [
        "fri 2026-12-25 23:00, UTC-06:00, a holiday",
        "level 3: no: outside its hours: mon-fri 07:00-18:00, holidays 09:00-12:00",
        (
            "level 4: no: a holiday, on which it has no hours: "
            "fri+sun 22:00-06:00; also without a clock"
        ),
        "level 5: no: a holiday, on which it has no hours: never",
        "door: locked: a holiday, on which it has no hours: mon-fri 07:30-08:10",
    ]
    told = doorctl("list", "hours", file, "--at", "2026-09-21T08:09").stdout
    assert "door: stands unlocked: inside its hours: mon-fri 07:30-08:10\n" in told
    told = doorctl("list", "hours", file, "--level", 9).stdout
    assert told.endswith("level 9: yes: it has no hours\n")
    told = doorctl("list", "hours", OBJECTS / "police_1.dwl").stdout
    assert told.endswith("every level: yes: the list has no hours\n")


def test_hours_for_scripts(bench, tmp_path):
    bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    words = ("list", "hours", tmp_path / "police.dwl", "--at", "2026-09-25T22:00", "--json")
    found = json.loads(doorctl(*words, "--level", 4).stdout)
    assert found == {
        "at": "2026-09-26T03:00:00Z",
        "local": "2026-09-25T22:00:00",
        "offset": "-05:00",
        "weekday": "fri",
        "is_holiday": True,
        "levels": [
            {
                "level": 4,
                "is_open": False,
                "answer": "a holiday, on which it has no hours",
                "hours": "fri+sun 22:00-06:00; also without a clock",
                "is_open_without_clock": True,
            }
        ],
    }
    assert [one["level"] for one in json.loads(doorctl(*words).stdout)["levels"]] == [
        3,
        4,
        5,
        "door",
    ]


@pytest.mark.parametrize("at", ["8:00", "2026-12-24", "2026-13-01T08:00", "20261224T0800", ""])
def test_hours_at_no_time(bench, tmp_path, at):
    bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    result = doorctl("list", "hours", tmp_path / "police.dwl", "--at", at)
    assert result.exit_code == 1 and "is no date and time" in result.stderr


def test_hours_at_a_time_that_is_not(bench, tmp_path):
    bench("--version", 1, "--schedule", tmp_path / "hours.toml")
    result = doorctl("list", "hours", tmp_path / "police.dwl", "--at", "2026-03-08T02:30")
    assert result.exit_code == 1 and "clocks are set forward over that time" in result.stderr


def test_verify_warns_of_unlocked_hours_that_do_not_count(tmp_path):
    for powers, is_told in ((MAY_LIST, True), (MAY_LIST | MAY_UNLOCK, False)):
        issuer = Issuer("police", 1 << STAFF, keys.public_key(private()), powers=powers)
        ring = tmp_path / "ring.dwk"
        ring.write_bytes(keyring.build_ring("north", 1, [private("root")], 1, [issuer]))
        entry = Entry()
        entry.cardholder_class = STAFF
        rows = [Row(b"\x04\xa2\xb1\xc3", entry)]
        data = lists.build_list(
            rows, private(), "north", 1, SITE_KEY, ISSUED_S, schedule=pack(PLAN)
        )
        (tmp_path / "a.dwl").write_bytes(data)
        result = doorctl("list", "verify", tmp_path / "a.dwl", "--keyring", ring)
        assert result.exit_code == 0, result.output
        assert ("has no power unlock" in result.stderr) == is_told


def test_toml_is_read_on_every_python():
    wanted = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    assert schedules.tomllib.__name__ == wanted
