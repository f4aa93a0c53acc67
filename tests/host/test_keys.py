"""doorctl keys and keyring: files, passphrases, and rings that a door opens."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from doorctl import keyring, keys
from doorctl.errors import DoorctlError
from doorctl.main import main
from doorward.trust import objects
from doorward.trust.keyring import (
    ALL_GROUPS,
    MAY_DENY,
    MAY_DISABLE,
    MAY_LIST,
    MAY_LOCK_DOWN,
    Issuer,
    open_successor,
)
from doorward.trust.primitives import no_pause, run_through
from doorward.values import Refused
from hypothesis import given, settings
from hypothesis import strategies as st

OBJECTS = Path(__file__).parents[1] / "vectors" / "objects"
RING = (OBJECTS / "ring.dwk").read_bytes()


def key_file(name: str) -> Path:
    return OBJECTS / "keys" / f"{name}_DO_NOT_USE.pem"


def doorctl(*words: object, **environment: str) -> Result:
    env = {"DOORCTL_PASSPHRASE": None, **environment}
    return CliRunner().invoke(main, [str(word) for word in words], env=env)


def pem_of(private) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_is_encrypted_private_and_refuses_to_overwrite(tmp_path):
    result = doorctl("keys", "new", "police", "--dir", tmp_path, DOORCTL_PASSPHRASE="open sesame")
    assert result.exit_code == 0, result.output
    private = tmp_path / "police.pem"
    assert mode_of(private) == 0o600
    assert private.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    before = private.read_bytes()
    again = doorctl("keys", "new", "police", "--dir", tmp_path, "--unprotected")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == f"doorctl: {private}: exists, and is not overwritten\n"
    assert private.read_bytes() == before


def test_new_does_not_overwrite_a_public_key_either(tmp_path):
    (tmp_path / "a.pub.pem").write_text("mine")
    assert doorctl("keys", "new", "a", "--dir", tmp_path, "--unprotected").exit_code == 1
    assert (tmp_path / "a.pub.pem").read_text() == "mine"
    assert not (tmp_path / "a.pem").exists()


def test_new_without_terminal_or_passphrase_says_what_to_do(tmp_path):
    result = doorctl("keys", "new", "a", "--dir", tmp_path)
    assert result.exit_code == 1
    assert "DOORCTL_PASSPHRASE" in result.stderr and "--unprotected" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_unprotected_says_so(tmp_path):
    result = doorctl("keys", "new", "demo", "--dir", tmp_path / "new", "--unprotected")
    assert "NOT encrypted" in result.stderr
    assert keys.load_private(tmp_path / "new" / "demo.pem").key_size == 2048


@pytest.mark.parametrize("words", [("a", "--bits", "1024"), ("../a",), (".a",), ("",)])
def test_new_usage_errors(tmp_path, words):
    assert doorctl("keys", "new", *words, "--dir", tmp_path, "--unprotected").exit_code == 2


def test_asks_twice_on_a_terminal(tmp_path):
    ours, theirs = os.openpty()
    env = {name: value for name, value in os.environ.items() if name != "DOORCTL_PASSPHRASE"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-m", "doorctl.main", "keys", "new", "a", "--dir", str(tmp_path)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    for prompt in (b"Passphrase:", b"Repeat for confirmation:"):
        while prompt not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, b"secret\n")
    assert process.wait(20) == 0
    os.close(ours)
    assert b"secret" not in shown
    assert keys.load_private(tmp_path / "a.pem", "secret").key_size == 2048


def test_show(tmp_path):
    doorctl("keys", "new", "a", "--bits", "3072", "--dir", tmp_path, DOORCTL_PASSPHRASE="x")
    public = json.loads(doorctl("keys", "show", tmp_path / "a.pub.pem", "--json").stdout)
    assert public["bits"] == 3072
    assert (public["is_private"], public["is_encrypted"]) == (False, False)
    shown = doorctl("keys", "show", tmp_path / "a.pem", "--json", DOORCTL_PASSPHRASE="x")
    private = json.loads(shown.stdout)
    assert private == {**public, "is_private": True, "is_encrypted": True}
    plain = doorctl("keys", "show", tmp_path / "a.pem", DOORCTL_PASSPHRASE="x").stdout
    assert plain == f"key id: {public['key_id']}\nbits: 3072\nkind: private, encrypted\n"


def test_passphrases(tmp_path):
    private, _ = keys.new_key(tmp_path, "a", 2048, "right")
    assert keys.load_private(private, "right")
    assert keys.load_private(private, ask=lambda path: "right")
    with pytest.raises(DoorctlError, match="passphrase is wrong"):
        keys.load_private(private, "wrong")
    with pytest.raises(DoorctlError, match="DOORCTL_PASSPHRASE"):
        keys.load_private(private)
    # One that is given for a key that needs none is no mistake.
    assert keys.load_private(key_file("police"), "right")


@pytest.mark.parametrize(
    ("pem", "what"),
    [
        (b"", "not a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n", "not a public key"),
        (b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n", "not a private"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
        (pem_of(rsa.generate_private_key(3, 2048)), "exponent 3"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "2048 to 3072 bits"),
        (b"x" * 20000, "larger than"),
    ],
)
def test_keys_that_are_not_taken(tmp_path, pem, what):
    file = tmp_path / "key.pem"
    file.write_bytes(pem)
    result = doorctl("keys", "show", file)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"doorctl: {file}: ")
    assert what in result.stderr and result.stderr.count("\n") == 1


def test_missing_file(tmp_path):
    result = doorctl("keys", "show", tmp_path / "none.pem")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_the_device_believes_the_signature():
    private = keys.load_private(key_file("police"))
    header = bytes(range(96))
    digest = objects.message_hash(header)
    key = keys.public_key(private)
    signature = keys.sign(private, header)
    assert run_through(key.verify(digest, signature, no_pause))
    assert not run_through(key.verify(objects.message_hash(header[1:]), signature, no_pause))
    assert keys.public_key(keys.public_pem(private)).key_id == key.key_id


def test_site_key(tmp_path):
    file = tmp_path / "site.key"
    assert doorctl("keys", "site", file).exit_code == 0
    assert mode_of(file) == 0o600
    assert len(file.read_text().strip()) == 64
    assert len(keys.load_site_key(file)) == 32
    assert doorctl("keys", "site", file).exit_code == 1
    for text in ("", "ab" * 31, "ab" * 33, "xy" * 32):
        file.write_text(text)
        with pytest.raises(DoorctlError, match="not a site key"):
            keys.load_site_key(file)


def ring_words(tmp_path: Path, **changes: object) -> list:
    for name in ("police", "district", "root", "second", "third"):
        pem = keys.public_pem(keys.load_private(key_file(name)))
        (tmp_path / f"{name}.pub.pem").write_bytes(pem)
    options: dict = {
        "site": "north",
        "version": 3,
        "root": [key_file("root")],
        "threshold": 1,
        "issuer": [
            f"police:responder:{tmp_path}/police.pub.pem",
            f"district:staff,visitor:{tmp_path}/district.pub.pem",
        ],
        "out": tmp_path / "ring.dwk",
        **changes,
    }
    words = ["keyring", "build"]
    for name, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{name}", each]
    return words


def test_keyring_build_and_show(tmp_path):
    assert doorctl(*ring_words(tmp_path)).exit_code == 0
    facts = json.loads(doorctl("keyring", "show", tmp_path / "ring.dwk", "--json").stdout)
    assert (facts["site"], facts["version"], facts["threshold"]) == ("north", 3, 1)
    assert [(issuer["name"], issuer["classes"]) for issuer in facts["issuers"]] == [
        ("police", ["responder"]),
        ("district", ["staff", "visitor"]),
    ]
    plain = doorctl("keyring", "show", tmp_path / "ring.dwk").stdout
    assert facts["issuers"][1]["key_id"] in plain and "staff,visitor" in plain
    ring = keyring.open_ring_file(tmp_path / "ring.dwk")
    assert ring.issuers[0].name == "police"


def test_keyring_two_of_three(tmp_path):
    roots = [key_file("root"), tmp_path / "second.pub.pem", key_file("third")]
    assert doorctl(*ring_words(tmp_path, root=roots, threshold=2)).exit_code == 0
    ring = keyring.open_ring_file(tmp_path / "ring.dwk")
    assert (ring.threshold, len(ring.roots)) == (2, 3)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"threshold": 2}, "threshold 2"),
        ({"scope": "police:site=south"}, "may sign for south, and the ring is for north"),
        ({"threshold": 0}, "threshold 0"),
        ({"site": "no rth"}, "site 'no rth'"),
        ({"site": "n" * 17}, "site"),
        ({"version": 0}, "version 0"),
        ({"version": 1 << 32}, "version"),
        ({"version": (1 << 32) - 1}, "nothing could come after it"),
        ({"root": [key_file("root")] * 2}, "same root key"),
        ({"root": [key_file("root")] * 5}, "5 roots"),
        ({"root": ["none.pem"]}, "none.pem"),
        ({"issuer": [f"a:staff:{key_file('police')}"]}, "holds a private key"),
    ],
)
def test_keyring_mistakes(tmp_path, changes, what):
    result = doorctl(*ring_words(tmp_path, **changes))
    assert result.exit_code == 1, result.output
    assert what in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "ring.dwk").exists()


def test_keyring_needs_enough_private_roots(tmp_path):
    ring_words(tmp_path)
    roots = [key_file("root"), tmp_path / "second.pub.pem"]
    result = doorctl(*ring_words(tmp_path, root=roots, threshold=2))
    assert result.exit_code == 1
    assert result.stderr == (
        "doorctl: 1 of the 2 roots of the new ring sign, and its threshold is 2: "
        "1 more as a private key with --root\n"
    )


def test_keyring_same_issuer_twice(tmp_path):
    ring_words(tmp_path)
    police = f"{tmp_path}/police.pub.pem"
    district = f"{tmp_path}/district.pub.pem"
    for second, what in ((f"b:staff:{police}", "issuer key"), (f"a:staff:{district}", "name")):
        issuer = [f"a:staff:{police}", second]
        result = doorctl(*ring_words(tmp_path, issuer=issuer))
        assert result.exit_code == 1 and what in result.stderr


@pytest.mark.parametrize(
    "scope",
    [
        "police",
        "police:",
        "fire:site=north",
        "police:doors=1",
        "police:site=",
        "police:site=no rth",
        "police:groups=0",
        "police:groups=17",
        "police:groups=1;groups=2",
        "police:groups=",
        "police:powers=everything",
        "police:powers=lists,",
        ["police:groups=1", "police:groups=2"],
    ],
)
def test_scope_usage_errors(tmp_path, scope):
    result = doorctl(*ring_words(tmp_path, scope=scope))
    assert result.exit_code == 2 and "--scope" in result.stderr
    assert not (tmp_path / "ring.dwk").exists()


def test_scopes_are_in_the_ring_and_shown(tmp_path):
    scope = ["police:site=north;groups=1,3;powers=lists,lockdown,disable", "district:groups=all"]
    assert doorctl(*ring_words(tmp_path, scope=scope)).exit_code == 0
    police, district = keyring.open_ring_file(tmp_path / "ring.dwk").issuers
    assert (police.site, police.groups) == ("north", 0b101)
    assert police.powers == MAY_LIST | MAY_LOCK_DOWN | MAY_DISABLE
    assert (district.site, district.groups) == ("*", ALL_GROUPS)
    assert district.powers == MAY_LIST | MAY_DENY
    shown = doorctl("keyring", "show", tmp_path / "ring.dwk")
    assert "police\tresponder\tnorth\t1,3\tlists,lockdown,disable\t" in shown.stdout
    assert "district\tstaff,visitor\t*\tall\tlists,deny\t" in shown.stdout
    facts = json.loads(doorctl("keyring", "show", tmp_path / "ring.dwk", "--json").stdout)
    assert facts["issuers"][0]["powers"] == ["lists", "lockdown", "disable"]


def test_a_ring_for_several_sites(tmp_path):
    assert doorctl(*ring_words(tmp_path, site="*", scope="police:site=south")).exit_code == 0
    ring = keyring.open_ring_file(tmp_path / "ring.dwk")
    assert ring.is_for("north") and ring.issuers[0].site == "south"


def next_ring(tmp_path: Path, **changes: object) -> Result:
    """Build the ring after ring.dwk, which one root signed at version 3."""
    if not (tmp_path / "ring.dwk").exists():
        assert doorctl(*ring_words(tmp_path)).exit_code == 0
    options = {"previous": tmp_path / "ring.dwk", "out": tmp_path / "next.dwk", **changes}
    words = ring_words(tmp_path, **options)
    for name in ("site", "version"):
        if name not in changes:
            at = words.index(f"--{name}")
            del words[at : at + 2]
    return doorctl(*words)


def test_the_next_ring_takes_site_and_version_from_the_one_before(tmp_path):
    result = next_ring(tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "version: 3 -> 4"
    ring = keyring.open_ring_file(tmp_path / "next.dwk")
    assert (ring.site, ring.version) == ("north", 4)


def test_what_changes_is_told_and_what_stops_is_warned_of(tmp_path):
    ring_words(tmp_path)
    third = f"police-2:responder:{tmp_path}/third.pub.pem"
    district = f"district:staff:{tmp_path}/district.pub.pem"
    result = next_ring(tmp_path, issuer=[third, district], scope="district:groups=1")
    assert result.exit_code == 0
    old = keyring.open_ring_file(tmp_path / "ring.dwk")
    new = keyring.open_ring_file(tmp_path / "next.dwk")
    scope = "classes responder, site *, groups all, powers lists,deny"
    police, moved = old.issuers[0].key.key_id.hex(), new.issuers[0].key.key_id.hex()
    assert result.stdout.splitlines()[:-1] == [
        "version: 3 -> 4",
        f"issuer added: police-2, key {moved}: {scope}",
        "issuer district: classes staff,visitor -> staff",
        "issuer district: groups all -> 1",
        f"issuer removed: police, key {police}",
    ]
    gone, narrower = result.stderr.splitlines()
    assert gone.startswith(f"doorctl: warning: police, key {police}, is no longer believed: ")
    assert "push the new list right behind it" in gone
    assert narrower.startswith("doorctl: warning: district, key ") and "may do less" in narrower


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("powers=lists", "its deny lists stop denying the moment"),
        ("powers=deny", "its lists stop opening the moment"),
        ("powers=unlock", "beyond that stops opening, and what it denied stops being denied, the"),
        ("site=north", "beyond that stops opening, and what it denied stops being denied, the"),
        ("powers=lists,deny,lockdown", ""),
    ],
)
def test_narrower_scopes_are_warned_of(tmp_path, scope, told):
    result = next_ring(tmp_path, scope=f"police:{scope}")
    assert result.exit_code == 0
    assert result.stderr.count("\n") == bool(told) and told in result.stderr


def test_a_key_that_stays_under_another_name_is_no_loss(tmp_path):
    ring_words(tmp_path)
    issuer = [
        f"sheriff:responder:{tmp_path}/police.pub.pem",
        f"district:staff,visitor:{tmp_path}/district.pub.pem",
    ]
    result = next_ring(tmp_path, issuer=issuer, site="*")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "site: north -> *\n" in result.stdout
    assert "issuer police: is called sheriff\n" in result.stdout


def test_roots_are_replaced_by_both_thresholds(tmp_path):
    words = {"root": [key_file("second"), key_file("third")], "threshold": 2}
    lacking = next_ring(tmp_path, **words)
    assert lacking.exit_code == 1
    assert lacking.stderr == (
        "doorctl: 0 of the 1 roots of the previous ring sign, and its threshold is 1: "
        "1 more as a private key with --root, or --sign for a root no longer\n"
    )
    only_old = {"root": [tmp_path / "second.pub.pem", key_file("third")], "threshold": 2}
    assert "the new ring sign" in next_ring(tmp_path, sign=key_file("root"), **only_old).stderr
    assert not (tmp_path / "next.dwk").exists()

    assert next_ring(tmp_path, sign=key_file("root"), **words).exit_code == 0
    # It bears the signature of a root that is none of its own; it can be followed all the same.
    ring = keyring.open_ring_file(tmp_path / "next.dwk")
    assert (ring.version, len(ring.roots), ring.threshold) == (4, 2, 2)
    third = next_ring(
        tmp_path, previous=tmp_path / "next.dwk", out=tmp_path / "third.dwk", **words
    )
    assert third.exit_code == 0, third.stderr
    data = (tmp_path / "next.dwk").read_bytes()
    first = keyring.open_ring_file(tmp_path / "ring.dwk")
    assert run_through(open_successor(data, first, "north", no_pause)).version == 4


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        ({"version": 3}, 1, "version 3: the previous ring has 3"),
        ({"site": "south"}, 1, "the previous ring is for north, and this one for south"),
        ({"sign": key_file("stranger")}, 1, "is to sign and is a root of neither ring"),
        ({"sign": "none.pem"}, 1, "none.pem"),
        ({"previous": OBJECTS / "police_1.dwl"}, 1, "wrong-type (12)"),
        ({"previous": OBJECTS / "ring_signed_by_stranger.dwk"}, 1, "unknown-issuer (5)"),
        ({"previous": "none.dwk"}, 1, "none.dwk"),
    ],
)
def test_next_ring_mistakes(tmp_path, changes, code, what):
    result = next_ring(tmp_path, **changes)
    assert result.exit_code == code
    assert what in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "next.dwk").exists()


def test_the_first_ring_needs_site_and_version_and_no_old_roots(tmp_path):
    words = ring_words(tmp_path)
    at = words.index("--version")
    assert doorctl(*words[:at], *words[at + 2 :]).exit_code == 2
    assert doorctl(*words, "--sign", key_file("second")).exit_code == 2


def test_rings_that_their_own_roots_did_not_sign_are_not_opened():
    for name, refusal in (
        ("ring_signed_by_stranger", "unknown-issuer"),
        ("ring_one_signature_short", "too-few-signatures"),
        ("ring_one_root_twice", "too-few-signatures"),
        ("ring_4_only_old_signed", "unknown-issuer"),
        ("ring_4_new_below_threshold", "unknown-issuer"),
        ("ring_of_no_root", "malformed"),
        ("ring_root_listed_twice", "bad-key"),
    ):
        with pytest.raises(Refused) as caught:
            keyring.open_ring((OBJECTS / f"{name}.dwk").read_bytes())
        assert caught.value.name == refusal, name


@pytest.mark.parametrize("text", ["a", "a:staff", "a:staff:", "a:boss:x.pem", "a::x.pem", ":b:c"])
def test_keyring_usage_errors(tmp_path, text):
    assert doorctl(*ring_words(tmp_path, issuer=[text])).exit_code == 2


def test_keyring_show_refuses_as_a_door_does(tmp_path):
    file = tmp_path / "bad.dwk"
    file.write_bytes(RING[:-1] + bytes((RING[-1] ^ 2,)))
    result = doorctl("keyring", "show", file)
    assert result.exit_code == 1
    assert result.stderr == (
        f"doorctl: {file}: bad-body-hash (7): The body is not the one that was signed.\n"
    )


def test_build_ring_with_the_most_of_everything():
    roots = [keys.load_private(key_file(name)) for name in ("root", "second", "third", "stranger")]
    issuer_key = keys.public_key(keys.load_private(key_file("police")))
    ring = keyring.build_ring("north", 1, roots, 4, [Issuer("police", 2, issuer_key)])
    assert keyring.open_ring(ring).threshold == 4


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(RING) * 8 - 1))
def test_any_single_bit_changed_in_a_ring_is_refused(bit):
    changed = bytearray(RING)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Refused):
        keyring.open_ring(bytes(changed))
