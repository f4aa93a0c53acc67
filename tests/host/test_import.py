"""doorctl roster import: exports of other systems, and every mistake in them placed."""

import csv
import io
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doorctl import roster, roster_import
from doorctl.errors import DoorctlError
from doorctl.main import main
from doorctl.roster import Row, parse_roster
from doorctl.roster_import import parse_decimal, write_roster
from doorward.values import STAFF, Entry
from hypothesis import given
from hypothesis import strategies as st

uids = st.sampled_from([4, 7, 10]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


@pytest.fixture
def bench(tmp_path):
    """Import an export that is given as text; the roster goes to roster.csv."""

    def run(text: str, *words: object) -> Result:
        (tmp_path / "export.csv").write_text(text)
        files = (tmp_path / "export.csv", "--out", tmp_path / "roster.csv")
        arguments = ["roster", "import", *map(str, (*files, *words))]
        return CliRunner().invoke(main, arguments)

    return run


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_columns_are_mapped_and_the_rest_is_passed_over(bench, tmp_path):
    result = bench(
        "Officer,Card Number,Unit,Until,Phone\n"
        '"Ortiz, Alma",04a2b1c3,North,2027-06-30,555\n'
        "Bo Chen,04 A2 B1 C3 D4 E5 F6,Harbour,,556\n",
        *("--map", "Card Number=badge", "--map", "officer = name", "--map", "UNTIL=valid_until"),
        *("--map", "Unit=note_unit", "--class", "responder", "--level", 3),
    )
    assert (result.exit_code, result.stderr) == (0, "")
    out = tmp_path / "roster.csv"
    assert result.stdout == (
        f"{out}: 2 badges: 2 responder; levels 3 (2); earliest expiry 2027-07-01T00:00:00Z\n"
    )
    assert rows_of(out) == [
        {
            "badge": "04:A2:B1:C3",
            "class": "responder",
            "level": "3",
            "valid_until": "2027-06-30",
            "name": "Ortiz, Alma",
            "note_unit": "North",
        },
        {
            "badge": "04:A2:B1:C3:D4:E5:F6",
            "class": "responder",
            "level": "3",
            "valid_until": "",
            "name": "Bo Chen",
            "note_unit": "Harbour",
        },
    ]
    checked = CliRunner().invoke(main, ["roster", "check", str(out)])
    assert checked.stdout == result.stdout


def test_columns_that_are_called_as_in_a_roster_need_no_map(bench, tmp_path):
    text = "Badge;Class;Level;Authenticate;Name;Locker\n04A2B1C3;Staff;4;YES;Alma;9\n"
    assert bench(text).exit_code == 0
    (row,) = rows_of(tmp_path / "roster.csv")
    assert row == {
        "badge": "04:A2:B1:C3",
        "class": "staff",
        "level": "4",
        "authenticate": "YES",
        "name": "Alma",
    }
    (read,) = roster.sound_rows([tmp_path / "roster.csv"])
    assert read.entry.must_authenticate and read.entry.level == 4


@pytest.mark.parametrize(
    "spelling", ["04A2B1C3", "04:a2:b1:c3", "0x04A2B1C3", "04-A2-B1-C3", "04 a2 b1 c3"]
)
def test_spellings(bench, tmp_path, spelling):
    assert bench(f"badge\n{spelling}\n", "--class", "staff").exit_code == 0
    assert rows_of(tmp_path / "roster.csv")[0]["badge"] == "04:A2:B1:C3"
    assert bench(f"badge\n{spelling}\n", "--class", "staff", "--reversed").exit_code == 0
    assert rows_of(tmp_path / "roster.csv")[0]["badge"] == "C3:B1:A2:04"


@given(uids)
def test_decimal_numbers_are_their_uids(uid):
    if (len(uid) == 4 and uid[0] == 8) or (len(uid) > 4 and not uid[0]):
        return
    # What is as short as a Wiegand number could be one.
    if int.from_bytes(uid, "big") >> 26:
        assert parse_decimal(str(int.from_bytes(uid, "big"))) == uid
    # Back to front a number may be short of bytes, and the shorter UID is another one's.
    if uid[-1] if len(uid) > 4 else int.from_bytes(uid, "little") >> 26:
        assert parse_decimal(str(int.from_bytes(uid, "little")), is_reversed=True) == uid


def test_decimal(bench, tmp_path):
    text = "badge\n0077771203\n1304364506140150\n"
    assert bench(text, "--class", "staff", "--format", "decimal").exit_code == 0
    assert [row["badge"] for row in rows_of(tmp_path / "roster.csv")] == [
        "04:A2:B1:C3",
        "04:A2:50:07:0B:CD:F6",
    ]
    for number in ("0", "04A2B1C3", "-5", "1.0", "4294967296", str(1 << 80), "9" * 26, "٣٤", ""):
        result = bench(f"badge,note\n{number},x\n", "--class", "staff", "--format", "decimal")
        assert result.exit_code == 1 and "export.csv:2: column 'badge': " in result.stderr
    for number in ("7", "12345", "16777215", str((1 << 26) - 1)):
        for flags in ((), ("--reversed",)):
            words = ("--class", "staff", "--format", "decimal", *flags)
            result = bench(f"badge\n1304364506140150\n{number}\n", *words)
            told = f"export.csv:3: column 'badge': {number} is too short for a UID"
            assert result.exit_code == 1 and told in result.stderr
    assert parse_decimal(str(1 << 26)) == bytes.fromhex("04000000")
    # 0x08000000 and more: random.
    result = bench("badge\n134217729\n", "--class", "staff", "--format", "decimal")
    assert "random" in result.stderr


def test_every_mistake_is_told_and_nothing_is_written(bench, tmp_path):
    (tmp_path / "roster.csv").write_text("the old one")
    source = tmp_path / "export.csv"
    result = bench(
        "Card,Kind\n04A2B1C3,staff\n08A2B1C3,staff\n04A2B1,staff\n04:a2:b1:c3,staff\n"
        "4.2E+12,staff\n04A2B1C4,boss\n" + "x,staff\n" * 30,
        *("--map", "Card=badge", "--map", "Kind=class"),
    )
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert [line.split(": ", 2)[:2] for line in lines[:5]] == [
        [f"{source}:{line}", f"column '{column}'"]
        for line, column in ((3, "card"), (4, "card"), (5, "card"), (6, "card"), (7, "kind"))
    ]
    assert "random" in lines[0] and "3 bytes" in lines[1]
    assert f"stands already at {source}:2" in lines[2] and "not a UID" in lines[3]
    assert lines[-1] == "doorctl: mistakes in the roster: 35; nothing was made from it"
    assert len(lines) == 36
    assert (tmp_path / "roster.csv").read_text() == "the old one"


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        ("Card\n04A2B1C3\n", (), "1: column 'badge': missing"),
        ("badge\n04A2B1C3\n", (), "1: column 'class': missing"),
        ("badge\n04A2B1C3\n", ("--map", "Kind=class"), "1: column 'kind': missing"),
        ("a,b\n04A2B1C3,1\n", ("--map", "a=badge", "--map", "b=badge"), "'b': there twice, as"),
        ("badge,class\n04A2B1C3,x\n", ("--class", "staff"), "'class': given for every row"),
        ("badge,level\n04A2B1C3,1\n", ("--level", 2, "--class", "staff"), "'level': given for"),
        ("badge\n04A2B1C3,x\n", ("--class", "staff"), "2: 2 cells under 1 columns"),
        ("badge\n", ("--class", "staff"), ": has no rows"),
        ("", ("--class", "staff"), ": is empty"),
        ('badge,name\n04A2B1C3,"x\n', ("--class", "staff"), "2: not CSV"),
        (f"badge,name\n04A2B1C3,{'x' * 300}\n", ("--class", "staff"), "'name': longer than"),
    ],
)
def test_exports_that_are_no_rosters(bench, tmp_path, text, words, told):
    result = bench(text, *words)
    assert result.exit_code == 1 and told in result.stderr
    assert not (tmp_path / "roster.csv").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('badge,name,note\n04A2B1C3,"Eve\r04666666666666",responder\n', "2: column 'name': has a"),
        ('badge,name\n04A2B1C3,"Ann\rOrtiz"\n', "2: column 'name': has a line break"),
        ('badge,"name\r04666666666666,x"\n04A2B1C3,Eve\n', "1: column 'name\\r04666666666666,x'"),
        ("badge,name\n04A2B1C3,Eve\r04666666666666,x\n", "2: not CSV: a carriage return inside"),
    ],
)
def test_no_cell_becomes_a_row(bench, tmp_path, text, told):
    (tmp_path / "roster.csv").write_text("badge,class\n04A2B1C3,staff\n")
    result = bench(text, "--class", "staff")
    assert result.exit_code == 1 and f"export.csv:{told}" in result.stderr
    assert (tmp_path / "roster.csv").read_text() == "badge,class\n04A2B1C3,staff\n"


def test_line_breaks_in_columns_passed_over_are_nobodys_concern(bench, tmp_path):
    text = 'badge,address\n04A2B1C3,"Mill Lane\n04666666666666"\n'
    assert bench(text, "--class", "staff").exit_code == 0
    (row,) = rows_of(tmp_path / "roster.csv")
    assert row == {"badge": "04:A2:B1:C3", "class": "staff", "level": "0"}


def member(**cells: str) -> Row:
    entry = Entry()
    entry.cardholder_class = STAFF
    return Row(bytes.fromhex("04A2B1C3"), entry, cells)


@given(st.text(max_size=20))
def test_a_roster_reads_back_as_it_was_meant_or_is_not_written(name):
    row = member(name=name.strip())
    is_one_line = all(unicodedata.category(c) not in ("Cc", "Zl", "Zp") for c in name.strip())
    try:
        data = write_roster([row])
    except DoorctlError as error:
        assert not is_one_line and "would not read back" in error.message
        return
    (read,) = parse_roster(Path("r.csv"), data).rows
    assert is_one_line and read.cells.get("name", "") == name.strip()


def test_what_would_read_back_otherwise_is_not_written(monkeypatch):
    spelled = roster_import.write_roster([member(name="Ann")])
    for other in (
        spelled.replace(b"Ann", b"Eve"),
        spelled.replace(b"staff", b"responder"),
        spelled + b"04:66:66:66,responder,0,x\r\n",
    ):
        monkeypatch.setattr(roster_import, "_spell", lambda rows, other=other: other)
        with pytest.raises(DoorctlError, match="would not read back"):
            write_roster([member(name="Ann")])


def test_long_cells_of_columns_passed_over_are_nobodys_concern(bench):
    assert bench(f"badge,x\n04A2B1C3,{'x' * 300}\n", "--class", "staff").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--map", "badge"),
        ("--map", "=badge"),
        ("--map", "Card="),
        ("--map", "a=badge", "--map", "A=class"),
        ("--class", "boss"),
        ("--level", 16),
        ("--format", "wiegand26"),
    ],
)
def test_usage_errors(bench, tmp_path, words):
    assert bench("badge\n04A2B1C3\n", *words).exit_code == 2
    assert not (tmp_path / "roster.csv").exists()


def test_other_mistakes(bench, tmp_path):
    result = bench("a\n1\n", "--map", "a=uid")
    assert result.exit_code == 1 and "no column 'uid'" in result.stderr
    source = tmp_path / "export.csv"
    same = CliRunner().invoke(main, ["roster", "import", str(source), "--out", str(source)])
    assert same.exit_code == 1 and "is the export itself" in same.stderr
    missing = CliRunner().invoke(main, ["roster", "import", str(tmp_path / "x"), "--out", "y"])
    assert missing.exit_code == 1 and missing.stderr.count("\n") == 1
    source.write_bytes("badge\n04A2B1C3,Zoë\n".encode("latin-1"))
    words = ["roster", "import", str(source), "--out", str(tmp_path / "y"), "--class", "staff"]
    assert "2: not UTF-8" in CliRunner().invoke(main, words).stderr
