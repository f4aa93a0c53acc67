"""doorctl deny: deny lists that a door takes, and the badges that stay on them."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doorctl import denials, keyring, keys, signed
from doorctl.errors import DoorctlError
from doorctl.main import main
from doorctl.roster import identity_of
from doorward.access.control import blind
from doorward.trust import objects
from doorward.trust.primitives import HmacKey
from doorward.values import Refused
from hypothesis import given, settings
from hypothesis import strategies as st

OBJECTS = Path(__file__).parents[1] / "vectors" / "objects"
RING_FILE = OBJECTS / "ring.dwk"
RING = keyring.open_ring_file(RING_FILE)
DENY = (OBJECTS / "police_deny_2.dwd").read_bytes()
SITE_KEY = bytes(range(32))
ISSUED_S = 1_790_000_000


def key_file(name: str) -> Path:
    return OBJECTS / "keys" / f"{name}_DO_NOT_USE.pem"


def doorctl(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def denied_in(path: Path) -> set[bytes]:
    return denials.badge_ids_of(signed.read(path, objects.DENY_LIST_TYPE))


def blinded(*uids: str) -> set[bytes]:
    key = HmacKey(SITE_KEY)
    return {blind(key, identity_of(bytes.fromhex(uid))) for uid in uids}


@pytest.fixture
def bench(tmp_path):
    """A site key; `deny` makes a deny list."""
    (tmp_path / "site.key").write_text(SITE_KEY.hex())

    def deny(*flags: str, **changes: object) -> Result:
        options: dict = {
            "badge": ["04A2B1C3"],
            "key": key_file("police"),
            "site": "north",
            "version": 1,
            "site-key": tmp_path / "site.key",
            "out": tmp_path / "police.dwd",
            **changes,
        }
        words: list = ["deny", "build", *flags]
        for name, value in options.items():
            for each in value if isinstance(value, list) else [value]:
                words += [] if each is None else [f"--{name}", each]
        return doorctl(*words)

    return deny


def test_build_verify_show(bench, tmp_path):
    before_s = int(time.time())
    file = tmp_path / "police.dwd"
    result = bench(badge=["04:a2:b1:c3", "0x04A2B1C3D4E5F6", "04A2B1C3"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{file}: 2 badges denied at north, version 1, ")
    assert denied_in(file) == blinded("04A2B1C3", "04A2B1C3D4E5F6")
    verified = doorctl("deny", "verify", file, "--keyring", RING_FILE)
    assert verified.stdout == f"{file}: ok: police, version 1, 2 badges denied\n"
    facts = json.loads(doorctl("deny", "show", file, "--json").stdout)
    assert (facts["site"], facts["version"], facts["badges"]) == ("north", 1, 2)
    assert "badges: 2\n" in doorctl("deny", "show", file).stdout
    assert before_s <= objects.parse_header(file.read_bytes()).issued_s <= time.time()
    assert bytes.fromhex("04A2B1C3") not in file.read_bytes()
    taken = json.loads(doorctl("deny", "verify", file, "--keyring", RING_FILE, "--json").stdout)
    assert taken == {"issuer": "police", "site": "north", "version": 1, "badges": 2}


def test_badges_come_from_a_roster_too(bench, tmp_path):
    lost = tmp_path / "lost.csv"
    lost.write_text("badge,note\n04A2B1C4,in the river\n04A2B1C5,\n")
    assert bench(roster=lost).exit_code == 0
    assert denied_in(tmp_path / "police.dwd") == blinded("04A2B1C3", "04A2B1C4", "04A2B1C5")
    lost.write_text("badge\n04A2B1C4\n04A2\n")
    result = bench(roster=lost, version=None)
    assert result.exit_code == 1 and f"{lost}:3: column 'badge': 2 bytes" in result.stderr


def test_what_was_denied_stays_denied(bench, tmp_path):
    file = tmp_path / "police.dwd"
    bench()
    result = bench(badge="04A2B1C4", version=None)
    assert f"{file}: 2 badges denied (+1 -0) at north, version 2, " in result.stdout
    assert denied_in(file) == blinded("04A2B1C3", "04A2B1C4")
    named = tmp_path / "new.dwd"
    assert bench(badge="04A2B1C5", version=9, previous=file, out=named).exit_code == 0
    assert denied_in(named) == blinded("04A2B1C3", "04A2B1C4", "04A2B1C5")
    assert objects.parse_header(named.read_bytes()).version == 9


def test_a_fresh_one_lets_them_open_again(bench, tmp_path):
    file = tmp_path / "police.dwd"
    bench()
    result = bench("--fresh", badge="04A2B1C4", version=None)
    assert "1 badges denied (+1 -1) at north, version 2, " in result.stdout
    assert denied_in(file) == blinded("04A2B1C4")
    assert bench("--fresh", badge=None, version=None).exit_code == 0
    assert denied_in(file) == set()
    assert "version 3, 0 badges" in doorctl("deny", "verify", file, "--keyring", RING_FILE).stdout


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        ({"badge": None}, 2, "--badge"),
        ({"badge": "04A2"}, 2, "2 bytes"),
        ({"badge": "08A2B1C3"}, 2, "random"),
        ({"badge": "lost"}, 2, "not a UID"),
        ({"version": None}, 1, "begin with --version 1"),
        ({"version": 0}, 1, "version 0"),
        ({"site": "*"}, 1, "name one site"),
        ({"key": "none.pem"}, 1, "none.pem"),
        ({"site-key": key_file("police")}, 1, "site key"),
        ({"roster": "none.csv"}, 1, "none.csv"),
        ({"previous": OBJECTS / "district_deny_1.dwd"}, 1, "the versions of another key"),
        ({"previous": OBJECTS / "police_1.dwl"}, 1, "wrong-type (12)"),
        ({"previous": OBJECTS / "police_deny_2.dwd"}, 1, "has 2 already"),
        ({"previous": OBJECTS / "police_deny_4_full.dwd", "version": 5}, 1, "513 badges"),
    ],
)
def test_mistakes_write_nothing(bench, tmp_path, changes, code, what):
    result = bench(**changes)
    assert result.exit_code == code, result.output
    assert what in result.stderr
    assert not (tmp_path / "police.dwd").exists()


def test_too_many_say_what_to_do():
    identities = [identity_of(b"\x04" + number.to_bytes(3, "big")) for number in range(513)]
    private = keys.load_private(key_file("police"))
    words = (private, "north", 1, SITE_KEY, ISSUED_S)
    assert (
        denials.verify(denials.build_deny_list(identities[:512], *words), RING, "north").count
        == 512
    )
    with pytest.raises(DoorctlError, match=r"513 badges: .* new list .* --deny"):
        denials.build_deny_list(identities, *words)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "deny_513.dwd",
            "too-many-denied (27): More badges than a door denies for one issuer: 512.",
        ),
        ("deny_unsorted.dwd", "not-sorted (10): "),
        ("deny_duplicate.dwd", "duplicate-entry (19): "),
        ("deny_of_long_entries.dwd", "bad-length (18): "),
        ("police_1.dwl", "wrong-type (12): "),
        ("ring.dwk", "wrong-type (12): "),
    ],
)
def test_verify_says_what_a_door_would(name, told):
    file = OBJECTS / name
    result = doorctl("deny", "verify", file, "--keyring", RING_FILE)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"doorctl: {file}: {told}")


def test_verify_minds_scope_and_site():
    file = OBJECTS / "police_deny_1.dwd"
    words = ["deny", "verify", file, "--keyring"]
    assert "wrong-site (4)" in doorctl(*words, RING_FILE, "--site", "south").stderr
    assert doorctl(*words, OBJECTS / "ring_2_any_site.dwk").exit_code == 0
    moved = OBJECTS / "ring_3_police_moved.dwk"
    assert "unknown-issuer (5)" in doorctl(*words, moved).stderr
    district = OBJECTS / "district_deny_1.dwd"
    narrowed = doorctl("deny", "verify", district, "--keyring", OBJECTS / "ring_3_narrowed.dwk")
    assert "not-permitted (22)" in narrowed.stderr


def test_show_refuses_what_is_no_deny_list(tmp_path):
    file = tmp_path / "x.dwd"
    for data, told in (
        (RING_FILE.read_bytes(), "wrong-type (12)"),
        (DENY[:-1], "bad-length (18)"),
        (DENY[:50], "truncated (3)"),
        (b"", "not-an-object (16)"),
        ((OBJECTS / "deny_of_long_entries.dwd").read_bytes(), "bad-length (18)"),
    ):
        file.write_bytes(data)
        result = doorctl("deny", "show", file)
        assert result.exit_code == 1 and told in result.stderr
        assert result.stderr.startswith(f"doorctl: {file}: ")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(DENY) * 8 - 1))
def test_any_single_bit_changed_in_a_deny_list_is_refused(bit):
    changed = bytearray(DENY)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Refused):
        denials.verify(bytes(changed), RING, "north")
