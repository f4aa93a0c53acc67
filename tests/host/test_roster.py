"""doorctl roster: spellings that are taken, and every mistake placed by file, line and column."""

import json
from datetime import datetime, timezone

import pytest
from click.testing import CliRunner, Result
from doorctl import roster
from doorctl.main import main
from doorward.values import RESPONDER, STAFF, VISITOR
from hypothesis import given
from hypothesis import strategies as st

HEADER = "badge,class,level,valid_from,valid_until,authenticate,name\n"


def check(*words: object) -> Result:
    return CliRunner().invoke(main, ["roster", "check", *map(str, words)])


@pytest.fixture
def sheet(tmp_path):
    """Write a roster; return its path."""

    def write(data: str | bytes, name: str = "r.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


def problems_of(path) -> list[str]:
    """Return the problems without the file's name."""
    (read,) = roster.read_rosters([path])
    assert all(problem.startswith(f"{path}") for problem in read.problems)
    return [problem[len(str(path)) + 1 :].strip() for problem in read.problems]


def utc(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=timezone.utc).timestamp())


def test_all_columns(sheet):
    path = sheet(
        HEADER
        + "04A2B1C3,responder,,,,,Alma Ortiz\n"
        + "04A2B1C3D4E5F6,Staff,7,2026-08-01,2027-06-30,yes,Bo Chen\n"
        + "0401020304050607080A,VISITOR,15,2026-08-01T07:30:00+02:00,2026-08-01 16:00Z,NO,\n"
    )
    one, two, three = (row.entry for row in roster.sound_rows([path]))
    assert (one.cardholder_class, one.level, one.must_authenticate) == (RESPONDER, 0, False)
    assert (one.valid_from_s, one.valid_until_s) == (0, 0)
    assert (two.cardholder_class, two.level, two.must_authenticate) == (STAFF, 7, True)
    # A bare date counts from its first second to its last.
    assert (two.valid_from_s, two.valid_until_s) == (utc(2026, 8, 1), utc(2027, 7, 1))
    assert (three.cardholder_class, three.level, three.must_authenticate) == (VISITOR, 15, False)
    assert (three.valid_from_s, three.valid_until_s) == (
        utc(2026, 8, 1, 5, 30),
        utc(2026, 8, 1, 16),
    )


@pytest.mark.parametrize(
    "spelling",
    [
        "04A2B1C3",
        "04a2b1c3",
        "04:A2:B1:C3",
        "04-a2-b1-c3",
        "04 A2 B1 C3",
        "0x04A2B1C3",
        "0X04a2b1c3",
        "04A2:B1C3",
        "  04A2B1C3 ",
    ],
)
def test_spellings_of_a_uid(sheet, spelling):
    (row,) = roster.sound_rows([sheet(f"badge,class\n{spelling},staff\n")])
    assert row.uid == bytes.fromhex("04A2B1C3")
    assert row.identity == bytes.fromhex("04 04A2B1C3 000000000000")


@given(st.sampled_from([4, 7, 10]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_any_uid_survives_its_spelling(uid):
    if not any(uid) or (len(uid) == 4 and uid[0] == 8):
        return
    for spelled in (uid.hex(), uid.hex(":").upper(), uid.hex("-"), "0x" + uid.hex(" ")):
        assert roster.parse_uid(spelled) == uid


@given(st.text(max_size=30))
def test_no_text_breaks_the_parsers(text):
    for parse in (roster.parse_uid, lambda t: roster.parse_time(t, True)):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfbadge,class,name\r\n04A2B1C3,staff,Zo\xc3\xab\r\n",
        b"badge;class;name\n04A2B1C3;staff;Ortiz, Alma\n",
        b"Class, Badge ,note_1\nstaff,04A2B1C3,x",
        b'badge,class,note\n04A2B1C3,staff,"a ""note"""\n\n,,\n',
        b"badge;class;name\r04A2B1C3;staff;Ortiz, Alma, Ms., of North, and others, too\r",
        b'"name, of whom, or none, or x";badge;class\nx,04A2;04A2B1C3;staff\n',
        b"\r\n \r\nbadge;class\r\n04A2B1C3;staff\r\n",
    ],
)
def test_dialects(sheet, data):
    (row,) = roster.sound_rows([sheet(data)])
    assert (row.uid, row.entry.cardholder_class) == (bytes.fromhex("04A2B1C3"), STAFF)


@pytest.mark.parametrize(
    ("cells", "column", "what"),
    [
        ("04A2B1,staff", "badge", "3 bytes"),
        ("04A2B1C3D4,staff", "badge", "5 bytes"),
        ("04A2B1C3D4E5F60708090A,staff", "badge", "11 bytes"),
        ("4A2B1C3,staff", "badge", "'4A2B1C3' is not a UID"),
        ("4.2E+12,staff", "badge", "is not a UID"),
        ("04::A2:B1:C3,staff", "badge", "is not a UID"),
        ("04A2B1CG,staff", "badge", "is not a UID"),
        (",staff", "badge", "is not a UID"),
        ("08A2B1C3,staff", "badge", "random"),
        ("00000000,staff", "badge", "zeros"),
        ("00000000000000,staff", "badge", "zeros"),
        ("04A2B1C3,boss", "class", "'boss' is none of responder, staff, visitor"),
        ("04A2B1C3,", "class", "is none of"),
        ("04A2B1C3,staff,16", "level", "0 to 15"),
        ("04A2B1C3,staff,-1", "level", "0 to 15"),
        ("04A2B1C3,staff,3.0", "level", "0 to 15"),
        ("04A2B1C3,staff,٣", "level", "0 to 15"),
        ("04A2B1C3,staff,,01.08.2026", "valid_from", "is not a date"),
        ("04A2B1C3,staff,,20260801", "valid_from", "is not a date"),
        ("04A2B1C3,staff,,2026-02-30", "valid_from", "not in the calendar"),
        ("04A2B1C3,staff,,2026-02-01T25:00", "valid_from", "not in the calendar"),
        ("04A2B1C3,staff,,1999-12-31", "valid_from", "years from 2000 to 2099"),
        ("04A2B1C3,staff,,,2100-01-01", "valid_until", "years from 2000 to 2099"),
        ("04A2B1C3,staff,,2026-08-02,2026-08-01", "valid_until", "before valid_from"),
        ("04A2B1C3,staff,,2026-08-02T10:00,2026-08-02T10:00", "valid_until", "before"),
        ("04A2B1C3,staff,,,,maybe", "authenticate", "'maybe' is neither"),
        (f"04A2B1C3,staff,,,,,{'x' * 257}", "name", "longer than 256"),
    ],
)
def test_mistakes_are_placed(sheet, cells, column, what):
    path = sheet(HEADER + "0405060708090A,staff\n" + cells + "\n")
    (problem,) = problems_of(path)
    assert problem.startswith(f"3: column '{column}': ")
    assert what in problem


def test_one_day_is_a_validity(sheet):
    (row,) = roster.sound_rows([sheet(HEADER + "04A2B1C3,staff,,2026-08-01,2026-08-01\n")])
    assert row.entry.valid_until_s - row.entry.valid_from_s == 86400


def test_zero_byte_uids_and_levels_that_are_fine(sheet):
    path = sheet(HEADER + "00000001,staff,00\n08A2B1C3D4E5F6,staff,015\n")
    assert [row.entry.level for row in roster.sound_rows([path])] == [0, 15]


def test_all_mistakes_are_told(sheet):
    path = sheet(HEADER + "04,boss,99,x,y,z\n" + "0,staff\n")
    assert [problem.split(":")[0:2] for problem in problems_of(path)] == [
        ["2", " column 'badge'"],
        ["2", " column 'class'"],
        ["2", " column 'level'"],
        ["2", " column 'valid_from'"],
        ["2", " column 'valid_until'"],
        ["2", " column 'authenticate'"],
        ["3", " column 'badge'"],
    ]


def test_duplicates_name_the_first_place(sheet):
    path = sheet("badge,class\n04A2B1C3,staff\n04:a2:b1:c3,staff\n")
    assert problems_of(path) == [f"3: column 'badge': stands already at {path}:2"]


def test_duplicates_across_files(sheet):
    one = sheet("badge,class\n04A2B1C3,staff\n", "one.csv")
    two = sheet("badge,class\n04A2B1C4,staff\n0x04A2B1C3,responder\n", "two.csv")
    assert check(one).exit_code == check(two).exit_code == 0
    result = check(one, two)
    assert result.exit_code == 1
    assert f"{two}:3: column 'badge': stands already at {one}:2" in result.stderr
    assert result.stdout.startswith(f"{one}: 1 badges")


def test_a_short_uid_is_not_a_longer_ones_duplicate(sheet):
    path = sheet("badge,class\n04A2B1C3,staff\n04A2B1C3000000,staff\n")
    assert len(roster.sound_rows([path])) == 2


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", ["is empty"]),
        (b"\n \n,,\n", ["is empty"]),
        (b"badge,class\n", ["has no rows"]),
        (b"badge,class\n\n,\n", ["has no rows"]),
        (b"badge\n04A2B1C3\n", ["1: column 'class': missing"]),
        (b"\nuid,class\n", ["2: column 'badge': missing", "2: column 'uid': unknown"]),
        (b"badge,class,class\n", ["1: column 'class': there twice"]),
        (b"badge,class,phone\n", ["1: column 'phone': unknown"]),
        (b"badge,class,\n", ["1: column '': unknown"]),
        (b"badge,class\n04A2B1C3,staff,x\n", ["2: 3 cells under 2 columns"]),
        (b"badge,class\n04A2B1C3,staff\n\xff\n", ["3: not UTF-8"]),
        ("badge,class\n".encode("utf-16"), ["1: not UTF-8"]),
        (b'badge,class\n04A2B1C3,staff\n04A2B1C4,"staff\n', ["3: not CSV"]),
        (b'badge,class\n04A2B1C3,"' + b"x" * 200_000 + b'"\n', ["2: not CSV"]),
    ],
)
def test_files_that_are_not_rosters(sheet, data, told):
    problems = problems_of(sheet(data))
    assert len(problems) == len(told), problems
    for problem, expected in zip(problems, told):
        assert problem.startswith(expected)


def test_lines_are_those_of_the_file(sheet):
    path = sheet('badge,class,note\n04A2B1C3,staff,"two\nlines"\n\n04A2B1C4,boss,"a"\n')
    assert [problem.split("': ")[0] for problem in problems_of(path)] == [
        "2: column 'note",
        "5: column 'class",
    ]
    path = sheet("badge;class;note\r04A2B1C3;staff;x,y,z\r\r04A2B1C4;boss;\r")
    (problem,) = problems_of(path)
    assert problem.startswith("4: column 'class'")


@pytest.mark.parametrize("control", ["\r", "\n", "\r\n", "\x00", "\x1b", "\x85", "\u2028"])
def test_a_cell_is_one_line(sheet, control):
    path = sheet(f'badge,class,name\n04A2B1C3,staff,"Eve{control}04A2B1C4,responder"\n')
    assert problems_of(path) == [
        "2: column 'name': has a line break or another control character in it"
    ]
    path = sheet(f'badge,class,"name{control}x"\n04A2B1C3,staff,Eve\n')
    (problem,) = problems_of(path)
    assert problem.startswith("1: column 'name") and problem.endswith("control character in it")
    assert control not in problem


def test_a_line_end_inside_a_line_is_no_row_of_its_own(sheet):
    path = sheet("badge,class,name\n04A2B1C3,staff,Eve\r04A2B1C4,responder,x\n")
    assert problems_of(path) == ["2: not CSV: a carriage return inside a line"]


def test_too_many_rows(sheet, monkeypatch):
    monkeypatch.setattr(roster, "MAX_ROWS", 2)
    rows = "".join(f"04A2B1C{i},staff\n" for i in range(3))
    assert problems_of(sheet("badge,class\n" + rows)) == ["4: more than 2 rows"]
    assert len(roster.sound_rows([sheet("badge,class\n" + rows.replace("04A2B1C2,staff\n", ""))]))


def test_twenty_mistakes_are_shown_and_the_rest_counted(sheet):
    path = sheet("badge,class\n" + "x,staff\n" * 25)
    result = check(path)
    lines = result.stderr.splitlines()
    assert result.exit_code == 1 and result.stdout == ""
    assert lines[0] == (
        f"{path}:2: column 'badge': 'x' is not a UID in hexadecimal, two digits a byte"
    )
    assert lines[20] == "... and 5 more"
    assert lines[21].startswith("doorctl: ") and len(lines) == 22


def test_missing_file(tmp_path):
    result = check(tmp_path / "none.csv")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert check().exit_code == 2


def test_summary(sheet):
    path = sheet(
        HEADER + "04A2B1C3,staff,3,,2027-06-30\n04A2B1C4,staff,3,,2026-12-31\n04A2B1C5,responder\n"
    )
    result = check(path)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{path}: 3 badges: 1 responder, 2 staff; levels 0 (1), 3 (2); "
        "earliest expiry 2027-01-01T00:00:00Z\n"
    )
    (summary,) = json.loads(check(path, "--json").stdout)
    assert summary["classes"] == {"responder": 1, "staff": 2}
    assert summary["earliest_expiry"] == "2027-01-01T00:00:00Z"
    assert summary["problems"] == []


def test_json_tells_every_problem(sheet):
    path = sheet("badge,class\n" + "x,staff\n" * 25)
    result = check(path, "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)[0]["problems"]) == 25
