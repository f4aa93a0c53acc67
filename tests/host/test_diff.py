"""doorctl list diff: what another list would change, in the words a person signs by."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doorctl import keys, lists
from doorctl.main import main
from doorctl.roster import Row
from doorward.values import RESPONDER, STAFF, VISITOR, Entry

OBJECTS = Path(__file__).parents[1] / "vectors" / "objects"
SITE_KEY = bytes(range(32))
ISSUED_S = 1_790_000_000
DAY_S = 86400


def private(name: str = "police"):
    return keys.load_private(OBJECTS / "keys" / f"{name}_DO_NOT_USE.pem")


def doorctl(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def badge(number: int, kind: int = RESPONDER, level: int = 0, until_s: int = 0) -> Row:
    entry = Entry()
    entry.cardholder_class = kind
    entry.level = level
    entry.valid_until_s = until_s
    return Row(b"\x04\xa2\xb1" + bytes((number,)), entry)


@pytest.fixture
def pair(tmp_path):
    """Write an old and a new list; return what `list diff` says of them."""

    def write(name: str, rows: list[Row], version: int, age_days: float = 0, **how) -> Path:
        key = private(how.pop("key", "police"))
        site = how.pop("site", "north")
        site_key = how.pop("site_key", SITE_KEY)
        issued_s = ISSUED_S - int(age_days * DAY_S)
        path = tmp_path / name
        path.write_bytes(lists.build_list(rows, key, site, version, site_key, issued_s, **how))
        return path

    return write


def test_the_line(pair):
    old = pair("old.dwl", [badge(n) for n in range(5)], 1, 41.5)
    rows = [badge(0), badge(1, level=3), badge(2, until_s=ISSUED_S + 9), badge(3)]
    new = pair("new.dwl", [*rows, *(badge(n, STAFF) for n in (7, 8, 9))], 2)
    result = doorctl("list", "diff", old, new)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "+3 -1 ~2, responders -1, list was 41 days old\n"


def test_no_change(pair):
    rows = [badge(n) for n in range(5)]
    result = doorctl("list", "diff", pair("a", rows, 1, 1), pair("b", rows, 2))
    assert result.stdout == "+0 -0 ~0, responders -0, list was 1 day old\n"


@pytest.mark.parametrize(
    ("age_days", "told"),
    [
        (0, "0 seconds"),
        (1 / DAY_S, "1 second"),
        (90 / DAY_S, "1 minute"),
        (0.5, "12 hours"),
        (1.99, "1 day"),
        (400, "400 days"),
        (-2, "-2 days"),
    ],
)
def test_ages(pair, age_days, told):
    result = doorctl("list", "diff", pair("a", [], 1, age_days), pair("b", [], 2))
    assert result.stdout.endswith(f", list was {told} old\n")


def test_whoever_opens_no_more_as_a_responder_is_counted(pair):
    over = badge(4, until_s=ISSUED_S - 5)
    old = pair("a", [badge(1), badge(2), badge(3), over, badge(5, STAFF)], 1)
    # Gone, made staff, over; the fourth was over before, and the fifth was none.
    new = pair("b", [badge(2, STAFF), badge(3, until_s=ISSUED_S)], 2)
    assert ", responders -3, " in doorctl("list", "diff", old, new).stdout


def test_json_tells_it_all(pair):
    old = pair("a", [badge(1), badge(2, STAFF)], 1, 2, soft_stale_s=30 * DAY_S)
    new = pair(
        "b",
        [badge(2, VISITOR), badge(3)],
        2,
        hard_stale_s=DAY_S,
        responder_stale_s=DAY_S // 2,
        groups=0b101,
        includes_deny=4,
    )
    assert json.loads(doorctl("list", "diff", old, new, "--json").stdout) == {
        "added": 1,
        "removed": 1,
        "changed": 1,
        "responders_removed": 1,
        "age_s": 2 * DAY_S,
        "added_classes": {"responder": 1},
        "removed_classes": {"responder": 1},
        "changed_classes": {"visitor": 1},
        "details": {
            "version": {"old": 1, "new": 2},
            "groups": {"old": "all", "new": "1,3"},
            "soft_stale_days": {"old": 30, "new": None},
            "hard_stale_days": {"old": None, "new": 1},
            "responder_hard_stale_days": {"old": None, "new": 0.5},
            "includes_deny": {"old": None, "new": 4},
        },
    }


def test_details_are_for_a_terminal(pair):
    old = pair("a", [badge(1), badge(2)], 1, 41, soft_stale_s=30 * DAY_S)
    new = pair("b", [badge(2, level=1), badge(3, STAFF), badge(4)], 2, groups=1, includes_deny=4)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "doorctl.main", "list", "diff", str(old), str(new)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    told = b""
    while b"includes deny" not in told:
        told += os.read(ours, 4096)
    assert process.wait(20) == 0
    os.close(ours)
    assert told.decode().split("\r\n")[:8] == [
        "+2 -1 ~1, responders -1, list was 41 days old",
        "  added: 1 responder, 1 staff",
        "  removed: 1 responder",
        "  changed: 1 responder",
        "  version: 1 -> 2",
        "  groups: all -> 1",
        "  soft stale days: 30 -> never",
        "  includes deny: none -> 4",
    ]


def test_uids_are_those_of_the_rosters_given(pair, tmp_path):
    old = pair("a", [badge(1), badge(2), badge(3)], 1)
    new = pair("b", [badge(1, level=5), badge(4), badge(5)], 2)
    (tmp_path / "site.key").write_text(SITE_KEY.hex())
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    before.write_text("badge,class,name\n04A2B101,responder,A\n04A2B102,responder,B\n")
    after.write_text("badge,class,name\n04A2B101,responder,A\n04A2B104,responder,D\n")
    words = ["list", "diff", old, new, "--site-key", tmp_path / "site.key"]
    result = doorctl(*words, "--roster", before, "--roster", after)
    assert result.stdout.splitlines()[1:] == [
        "+ 04:A2:B1:04",
        "- 04:A2:B1:02",
        "~ 04:A2:B1:01",
        "2 more on no roster given",
    ]
    facts = json.loads(doorctl(*words, "--roster", before, "--json").stdout)
    assert facts["removed_uids"] == ["04:A2:B1:02"] and facts["added_uids"] == []
    assert doorctl(*words).exit_code == 2
    assert doorctl("list", "diff", old, new, "--roster", before).exit_code == 2
    before.write_text("badge,class\nx,responder\n")
    assert doorctl(*words, "--roster", before).exit_code == 1


def test_sites_and_issuers_that_differ_must_be_meant(pair):
    here = pair("a", [badge(1)], 1)
    there = pair("b", [badge(1)], 2, site="south", site_key=bytes(32))
    other = pair("c", [badge(1)], 1, key="third")
    result = doorctl("list", "diff", here, there)
    assert result.exit_code == 1 and "sites differ, north and south" in result.stderr
    result = doorctl("list", "diff", here, other)
    assert result.exit_code == 1 and "issuers differ, " in result.stderr
    assert "--across" in result.stderr
    assert doorctl("list", "diff", here, there, "--across").stdout.startswith("+1 -1 ~0, ")
    result = doorctl("list", "diff", here, other, "--across")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("+0 -0 ~0, ")


def test_lists_the_wrong_way_round_are_noticed(pair):
    result = doorctl("list", "diff", pair("a", [], 2), pair("b", [], 1))
    assert result.exit_code == 0 and "is not newer than" in result.stderr


def test_files_that_are_no_lists(pair, tmp_path):
    good = pair("a", [badge(1)], 1)
    bad = tmp_path / "bad.dwl"
    for data, told in (
        (b"", "not-an-object (16)"),
        (good.read_bytes()[:-1], "bad-length (18)"),
        (good.read_bytes()[:-1] + b"\x01", "bad-body-hash (7)"),
        ((OBJECTS / "ring.dwk").read_bytes(), "wrong-type (12)"),
        ((OBJECTS / "count_too_low.dwl").read_bytes(), "bad-schedule (31)"),
        (b"x" * 5_000_000, "larger than"),
    ):
        bad.write_bytes(data)
        for words in ((good, bad), (bad, good)):
            result = doorctl("list", "diff", *words)
            assert result.exit_code == 1 and str(bad) in result.stderr
            assert told in result.stderr and result.stderr.count("\n") == 1
    assert doorctl("list", "diff", good, tmp_path / "none").exit_code == 1


def test_rows_of_a_later_firmware_are_counted_as_unknown(pair, tmp_path):
    old = pair("a", [], 1)
    result = doorctl("list", "diff", old, OBJECTS / "unknown_class.dwl", "--json")
    assert json.loads(result.stdout)["added_classes"] == {"responder": 59, "unknown": 1}
