"""doorctl list: lists that a door takes, and the refusals of a door told by doorctl."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doorctl import denials, keyring, keys, lists, roster
from doorctl.errors import DoorctlError
from doorctl.main import main
from doorctl.roster import Row
from doorward.access.allowlist import ENTRY_BYTES
from doorward.access.control import blind
from doorward.trust import objects
from doorward.trust.primitives import HmacKey
from doorward.values import REFUSALS, RESPONDER, STAFF, Entry, Refused
from hypothesis import given, settings
from hypothesis import strategies as st

OBJECTS = Path(__file__).parents[1] / "vectors" / "objects"
RING_FILE = OBJECTS / "ring.dwk"
RING = keyring.open_ring_file(RING_FILE)
LIST = (OBJECTS / "police_1.dwl").read_bytes()
SITE_KEY = bytes(range(32))
ISSUED_S = 1_790_000_000


def key_file(name: str) -> Path:
    return OBJECTS / "keys" / f"{name}_DO_NOT_USE.pem"


def doorctl(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def badge(uid: bytes, kind: int = RESPONDER) -> Row:
    entry = Entry()
    entry.cardholder_class = kind
    return Row(uid, entry)


def build(rows: list[Row], **policy: int) -> bytes:
    private = keys.load_private(key_file("police"))
    return lists.build_list(rows, private, "north", 1, SITE_KEY, ISSUED_S, **policy)


@pytest.fixture
def bench(tmp_path):
    """A roster of three officers and a site key; `build` makes a list of them."""
    (tmp_path / "site.key").write_text(SITE_KEY.hex() + "\n")
    (tmp_path / "r.csv").write_text(
        "badge,class,level,name\n04A2B1C3,responder,1,A\n04A2B1C4,responder,2,B\n"
        "04A2B1C3D4E5F6,responder,3,C\n"
    )

    def run(*flags: str, **changes: object) -> Result:
        options: dict = {
            "roster": [tmp_path / "r.csv"],
            "key": key_file("police"),
            "site": "north",
            "version": 1,
            "site-key": tmp_path / "site.key",
            "out": tmp_path / "police.dwl",
            **changes,
        }
        words: list = ["list", "build", *flags]
        for name, value in options.items():
            for each in value if isinstance(value, list) else [value]:
                words += [] if each is None else [f"--{name}", each]
        return doorctl(*words)

    return run


def test_build_verify_show(bench, tmp_path):
    before_s = int(time.time())
    result = bench()
    assert result.exit_code == 0, result.output
    file = tmp_path / "police.dwl"
    assert doorctl("list", "verify", file, "--keyring", RING_FILE).stdout == (
        f"{file}: ok: police, version 1, 3 badges\n"
    )
    facts = json.loads(doorctl("list", "show", file, "--json").stdout)
    assert facts["classes"] == {"responder": 3}
    assert (facts["site"], facts["version"], facts["badges"]) == ("north", 1, 3)
    assert facts["soft_stale_days"] == 30
    assert facts["hard_stale_days"] is None and facts["responder_hard_stale_days"] is None
    assert "classes: 3 responder\n" in doorctl("list", "show", file).stdout
    header = objects.parse_header(file.read_bytes())
    assert before_s <= header.issued_s <= time.time()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["police.dwl", "r.csv", "site.key"]


def test_policy_and_issue_date(bench, tmp_path):
    policy = {"soft-stale": 1, "hard-stale": 2, "responder-hard-stale": 3}
    assert bench(issued="2026-09-21T14:13:20Z", **policy).exit_code == 0
    header = objects.parse_header((tmp_path / "police.dwl").read_bytes())
    assert header.issued_s == ISSUED_S
    ages = (header.soft_stale_s, header.hard_stale_s, header.responder_stale_s)
    assert ages == (86400, 2 * 86400, 3 * 86400)


def test_a_policy_that_contradicts_itself(bench, tmp_path):
    late = {"soft-stale": 30, "hard-stale": 10}
    officers_first = {"soft-stale": 1, "hard-stale": 30, "responder-hard-stale": 10}
    for policy, named in (
        (late, "--soft-stale 30 is more than --hard-stale 10"),
        ({"responder-hard-stale": 10}, "--soft-stale 30 is more than --responder-hard-stale 10"),
        (officers_first, "--hard-stale 30 is more than --responder-hard-stale 10"),
    ):
        result = bench(**policy)
        assert result.exit_code == 2 and named in result.stderr
        assert not (tmp_path / "police.dwl").exists()
    # 0 is never, and a list of responders alone needs no word about staff.
    for policy in ({"soft-stale": 0, "hard-stale": 1}, {"responder-hard-stale": 30}):
        assert bench(**policy).exit_code == 0
        (tmp_path / "police.dwl").unlink()


def test_no_name_and_no_uid_is_in_the_file(bench, tmp_path):
    (tmp_path / "r.csv").write_text("badge,class,name\n04A2B1C3D4E5F6,responder,Alma Ortiz\n")
    bench()
    data = (tmp_path / "police.dwl").read_bytes()
    assert b"Alma" not in data and bytes.fromhex("04A2B1C3D4E5F6") not in data


def test_several_rosters_make_one_list(bench, tmp_path):
    (tmp_path / "s.csv").write_text("badge,class\n0405060708090A,responder\n")
    assert bench(roster=[tmp_path / "r.csv", tmp_path / "s.csv"]).exit_code == 0
    header = objects.parse_header((tmp_path / "police.dwl").read_bytes())
    assert header.entry_count == 4


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"version": 0}, "version 0"),
        ({"version": 1 << 32}, "version"),
        ({"site": "no rth"}, "site 'no rth'"),
        ({"site": "*"}, "name one site"),
        ({"version": None}, "begin with --version 1"),
        ({"key": "none.pem"}, "none.pem"),
        ({"site-key": key_file("police")}, "site key"),
        ({"issued": "yesterday"}, "issued: 'yesterday'"),
        ({"issued": "2099-01-01"}, "lies in the future"),
        ({"out": "/nowhere/police.dwl"}, "/nowhere/police.dwl"),
    ],
)
def test_mistakes_write_nothing(bench, tmp_path, changes, what):
    (tmp_path / "police.dwl").write_text("the old one")
    result = bench(**changes)
    assert result.exit_code == 1, result.output
    assert what in result.stderr and result.stderr.count("\n") == 1
    assert (tmp_path / "police.dwl").read_text() == "the old one"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_bad_roster_writes_nothing(bench, tmp_path):
    (tmp_path / "r.csv").write_text("badge,class\n04A2B1C3,responder\n04A2,responder\n")
    result = bench()
    assert result.exit_code == 1
    assert f"{tmp_path / 'r.csv'}:3: column 'badge'" in result.stderr
    assert not (tmp_path / "police.dwl").exists()


def test_usage_errors(bench):
    assert bench(version="x").exit_code == 2
    assert bench(**{"soft-stale": -1}).exit_code == 2
    assert doorctl("list", "build").exit_code == 2
    assert doorctl("list", "verify", "x.dwl").exit_code == 2


def test_the_write_is_atomic(bench, tmp_path, monkeypatch):
    bench()
    before = (tmp_path / "police.dwl").read_bytes()

    def cut(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", cut)
    result = bench(version=None)
    assert result.exit_code == 1 and "No space left" in result.stderr
    assert (tmp_path / "police.dwl").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_entries_are_sorted_and_blinded():
    uids = [bytes((4, i)) + bytes(5) for i in range(200)]
    data = build([badge(uid) for uid in uids])
    body = data[-200 * ENTRY_BYTES :]
    ids = [body[at : at + 10] for at in range(0, len(body), ENTRY_BYTES)]
    assert ids == sorted(ids)
    key = HmacKey(SITE_KEY)
    assert set(ids) == {blind(key, bytes((7,)) + uid + bytes(3)) for uid in uids}


def test_twenty_thousand_badges_in_two_seconds():
    rows = [badge(b"\x04" + i.to_bytes(6, "big")) for i in range(20_000)]
    start = time.perf_counter()
    data = build(rows)
    assert time.perf_counter() - start < 2
    assert lists.verify(data, RING, "north").header.entry_count == 20_000


def test_a_badge_twice_is_no_list():
    with pytest.raises(DoorctlError, match="two badges are the same"):
        build([badge(b"\x04\x01\x02\x03"), badge(b"\x04\x01\x02\x03")])


def test_show_refuses_what_is_no_list(tmp_path):
    file = tmp_path / "x.dwl"
    for data, name in (
        (RING_FILE.read_bytes(), "wrong-type (12)"),
        (LIST[:-1], "bad-length (18)"),
        (LIST[:100], "truncated (3)"),
        (LIST[:50], "truncated (3)"),
        (LIST[:-1] + b"x", "bad-body-hash (7)"),
        (b"", "not-an-object (16)"),
        (b"junk" * 100, "not-an-object (16)"),
        ((OBJECTS / "count_of_none.dwl").read_bytes(), "bad-schedule (31)"),
    ):
        file.write_bytes(data)
        result = doorctl("list", "show", file)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"doorctl: {file}: {name}: ")


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("police_other_site.dwl", "wrong-site"),
        ("stranger_1.dwl", "unknown-issuer"),
        ("signed_by_district.dwl", "unknown-issuer"),
        ("unsorted.dwl", "not-sorted"),
        ("duplicate.dwl", "duplicate-entry"),
        ("out_of_scope.dwl", "out-of-scope"),
        ("unknown_class.dwl", "bad-entry"),
        ("count_too_low.dwl", "bad-schedule"),
        ("two_signatures.dwl", "bad-length"),
        ("police_5_for_group_3.dwl", "wrong-address"),
        ("ring.dwk", "wrong-type"),
        ("police_deny_1.dwd", "wrong-type"),
        ("lockdown_10.dwc", "wrong-type"),
    ],
)
def test_verify_says_what_a_door_would(name, refusal):
    file = OBJECTS / name
    result = doorctl("list", "verify", file, "--keyring", RING_FILE)
    (told,) = [
        f"{refusal} ({code}): {sentence}"
        for code, (name, sentence) in REFUSALS.items()
        if name == refusal
    ]
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"doorctl: {file}: {told}\n"


def test_verify_for_another_site():
    file = OBJECTS / "police_1.dwl"
    words = ["list", "verify", file, "--keyring", RING_FILE, "--site"]
    assert doorctl(*words, "north").exit_code == 0
    assert "wrong-site (4)" in doorctl(*words, "south").stderr


def test_verify_for_a_door_in_groups():
    file = OBJECTS / "police_5_for_group_3.dwl"
    words = ["list", "verify", file, "--keyring", RING_FILE, "--groups"]
    assert doorctl(*words, "1,3").exit_code == 0
    assert "wrong-address (23)" in doorctl(*words, "1,2").stderr
    for groups in ("0", "17", "1,,3", "x", ""):
        assert doorctl(*words, groups).exit_code == 2
    assert json.loads(doorctl(*words, "3", "--json").stdout) == {
        "issuer": "police",
        "site": "north",
        "version": 5,
        "badges": 60,
    }


def test_verify_with_a_ring_of_several_sites():
    ring = OBJECTS / "ring_2_any_site.dwk"
    words = ["list", "verify", OBJECTS / "police_other_site.dwl", "--keyring", ring]
    assert doorctl(*words).exit_code == 0
    assert "wrong-site (4)" in doorctl(*words, "--site", "north").stderr


def test_a_list_follows_the_one_in_its_place(bench, tmp_path):
    assert bench().stdout.count("\n") == 1
    (tmp_path / "r.csv").write_text(
        "badge,class,level\n04A2B1C3,responder,9\n04A2B1C4,responder,2\n04A2B1C5,responder\n"
    )
    result = bench(version=None)
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(
        r"\+1 -1 ~1, responders -1, list was \d seconds? old", result.stdout.splitlines()[0]
    )
    assert objects.parse_header((tmp_path / "police.dwl").read_bytes()).version == 2


def test_a_list_follows_the_one_that_is_named(bench, tmp_path):
    bench(version=7)
    named = {"previous": tmp_path / "police.dwl", "out": tmp_path / "new.dwl"}
    assert bench(version=None, **named).exit_code == 0
    assert objects.parse_header((tmp_path / "new.dwl").read_bytes()).version == 8
    for version in (1, 7):
        result = bench(version=version, **named)
        assert result.exit_code == 1 and f"version {version}: " in result.stderr
        assert "leave --version out" in result.stderr
    assert bench(version=12, **named).exit_code == 0


def test_what_lies_in_the_place_of_a_list_and_is_another_is_not_followed(bench, tmp_path):
    for name in ("district_1.dwl", "police_other_site.dwl", "ring.dwk"):
        (tmp_path / "police.dwl").write_bytes((OBJECTS / name).read_bytes())
        result = bench(version=None)
        assert result.exit_code == 1 and "begin with --version 1" in result.stderr
        assert "responders" not in bench().stdout
        assert objects.parse_header((tmp_path / "police.dwl").read_bytes()).version == 1


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("district_1.dwl", "allowlist of issuer"),
        ("police_other_site.dwl", "allowlist of site south, not of north"),
        ("signed_by_district.dwl", "unknown-issuer (5)"),
        ("ring.dwk", "wrong-type (12)"),
        ("none.dwl", "No such file"),
    ],
)
def test_lists_that_cannot_be_followed(bench, tmp_path, name, what):
    result = bench(version=None, previous=OBJECTS / name)
    assert result.exit_code == 1 and what in result.stderr
    assert not (tmp_path / "police.dwl").exists()


def test_nothing_comes_after_the_highest_version(bench, tmp_path):
    bench(version=(1 << 32) - 1)
    result = bench(version=None)
    assert result.exit_code == 1 and "give this issuer another key" in result.stderr


def test_a_list_without_any_of_the_responders_asks_for_force(bench, tmp_path):
    bench()
    before = (tmp_path / "police.dwl").read_bytes()
    for sheet in (
        "badge,class\n04A2B1C9,staff\n",
        # Cards that are all new, rights that are all taken, and validities that are all over.
        "badge,class\n04A2B1C9,responder\n",
        "badge,class\n04A2B1C3,staff\n",
        "badge,class,valid_until\n04A2B1C3,responder,2020-01-01\n",
    ):
        (tmp_path / "r.csv").write_text(sheet)
        result = bench(version=None)
        assert result.exit_code == 1
        assert "not one of the 3 responders" in result.stderr and "--force" in result.stderr
        assert "responders -3" in result.stdout
        assert (tmp_path / "police.dwl").read_bytes() == before
    result = bench("--force", version=None)
    assert result.exit_code == 0 and "responders -3" in result.stdout


def test_another_site_key_is_noticed(bench, tmp_path):
    bench()
    (tmp_path / "site.key").write_text("ab" * 32)
    result = bench(version=None)
    assert result.exit_code == 1 and "is it the right site key?" in result.stderr


def test_one_responder_that_stays_is_enough(bench, tmp_path):
    bench()
    (tmp_path / "r.csv").write_text("badge,class\n04A2B1C3,responder\n")
    result = bench(version=None)
    assert result.exit_code == 0 and "responders -2" in result.stdout


def test_a_list_for_groups(bench, tmp_path):
    assert bench(groups="1,3").exit_code == 0
    assert objects.parse_header((tmp_path / "police.dwl").read_bytes()).groups == 0b101
    assert "groups: 1,3\n" in doorctl("list", "show", tmp_path / "police.dwl").stdout
    assert bench(groups="17").exit_code == 2


@pytest.fixture
def denied(tmp_path):
    """Deny badges of the bench with the police's key; return the file."""

    def deny(*uids: str, version: int = 1, key: str = "police", site: str = "north") -> Path:
        file = tmp_path / "police.dwd"
        identities = [roster.identity_of(roster.parse_uid(uid)) for uid in uids]
        private = keys.load_private(key_file(key))
        file.write_bytes(
            denials.build_deny_list(identities, private, site, version, SITE_KEY, ISSUED_S)
        )
        return file

    return deny


def test_denied_badges_are_left_out(bench, tmp_path, denied):
    deny = denied("04A2B1C3", "04A2B1C9", version=6)
    result = bench(deny=deny)
    assert result.exit_code == 0
    assert f"{deny}: 2 denied badges, 1 of them left out" in result.stdout
    assert "taken off: 04:A2:B1:C3\n" in result.stderr
    header = objects.parse_header((tmp_path / "police.dwl").read_bytes())
    assert (header.entry_count, header.includes_deny) == (2, 6)
    assert "includes deny: 6\n" in doorctl("list", "show", tmp_path / "police.dwl").stdout


def test_what_a_list_includes_the_next_one_includes_as_well(bench, tmp_path, denied):
    bench(deny=denied("04A2B1C9", version=6))
    assert bench(version=None).exit_code == 0
    header = objects.parse_header((tmp_path / "police.dwl").read_bytes())
    assert (header.version, header.includes_deny) == (2, 6)
    bench(version=None, deny=denied("04A2B1C9", version=5))
    assert objects.parse_header((tmp_path / "police.dwl").read_bytes()).includes_deny == 6


def test_deny_lists_that_cannot_be_included(bench, tmp_path, denied):
    for how, what in (
        ({"key": "district"}, "only its own issuer's"),
        ({"site": "south"}, "of site south, not of north"),
    ):
        result = bench(deny=denied("04A2B1C3", **how))
        assert result.exit_code == 1 and what in result.stderr
    deny = denied("04A2B1C3")
    deny.write_bytes(deny.read_bytes()[:-1] + b"x")
    assert "bad-body-hash (7)" in bench(deny=deny).stderr
    assert "wrong-type (12)" in bench(deny=RING_FILE).stderr
    assert not (tmp_path / "police.dwl").exists()


def test_verify_lists_of_no_badge_and_of_staff():
    assert lists.verify(build([]), RING, "north").header.entry_count == 0
    with pytest.raises(Refused) as caught:
        lists.verify(build([badge(b"\x04\x01\x02\x03", STAFF)]), RING, "north")
    assert caught.value.name == "out-of-scope"


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(LIST) * 8 - 1))
def test_any_single_bit_changed_in_a_list_is_refused(bit):
    changed = bytearray(LIST)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Refused):
        lists.verify(bytes(changed), RING, "north")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=3000))
def test_no_garbage_is_taken(data):
    for head in (b"", LIST[:96], LIST[:362]):
        if head + data != LIST:
            with pytest.raises(Refused):
                lists.verify(head + data, RING, "north")
