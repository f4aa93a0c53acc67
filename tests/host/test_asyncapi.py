"""docs/asyncapi.yaml is an AsyncAPI document, and says what the firmware's own figures say."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from contract import Contract
from doorward import __version__
from doorward.uplink import delivery, downlink

SCHEMA = Path(__file__).parents[1] / "vectors" / "asyncapi-3.0.0.json"
OWN = "doorward/riverside/north-entrance"


@pytest.fixture(scope="module")
def contract():
    return Contract()


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))


def test_it_is_what_the_published_schema_allows(contract, validator):
    assert [error.message for error in validator.iter_errors(contract.document)] == []
    spoilt = copy.deepcopy(contract.document)
    spoilt["operations"]["deliver"]["action"] = "publish"
    assert list(validator.iter_errors(spoilt))


def test_every_channel_has_one_operation_with_its_quality(contract):
    assert set(contract.operations) == set(contract.document["channels"])
    for operation in contract.operations.values():
        binding = operation["bindings"]["mqtt"]
        assert binding["qos"] in (0, 1)
        assert isinstance(binding["retain"], bool)


def test_lengths_are_those_of_the_firmware(contract):
    lengths = {name: contract.lengths(contract.layout(name)) for name in ("records", "piece")}
    assert lengths["records"] == (8 + 64, 8 + 64 * delivery.BATCH_RECORDS, 64)
    assert lengths["piece"] == (29, 28 + downlink.PIECE_BYTES, 1)
    assert contract.lengths(contract.layout("offers")) == (0, 24 * downlink.OFFER_BYTES, 24)
    offer = contract.document["components"]["schemas"]["offer"]["x-layout"]
    assert contract.lengths(offer)[0] == downlink.OFFER_BYTES


def test_a_message_that_is_none_is_found_out(contract):
    birth = {
        "state": "online",
        "protocol": 1,
        "site": "riverside",
        "door": "north-entrance",
        "board": "UNIX",
        "firmware": __version__,
        "boot": 1,
        "journal": "00" * 8,
    }
    assert contract.check(f"{OWN}/state", json.dumps(birth).encode()) == ("state", "birth")
    assert contract.check(f"{OWN}/state", b'{"state": "offline"}') == ("state", "will")
    assert contract.check(f"{OWN}/records", bytes(8 + 64)) == ("records", "records")
    for topic, payload in (
        (f"{OWN}/state", json.dumps({**birth, "more": 1}).encode()),
        (f"{OWN}/state", json.dumps({**birth, "journal": "?"}).encode()),
        (f"{OWN}/state", b"{"),
        (f"{OWN}/records", bytes(8)),
        (f"{OWN}/records", bytes(8 + 65)),
        (f"{OWN}/records", bytes(8 + 33 * 64)),
        (f"{OWN}/piece", bytes(28)),
        (f"{OWN}/piece", bytes(28 + 1025)),
        (f"{OWN}/acknowledged", bytes(27)),
        (f"{OWN}/nothing", b""),
        ("doorward/riverside/@all/state", b'{"state": "offline"}'),
        ("doorward/riverside/@all/command/xyz", bytes(402)),
    ):
        with pytest.raises(AssertionError):
            contract.check(topic, payload)


def test_the_longest_health_message_fits(contract):
    """Eight issuers with the longest names and every figure at its highest."""
    most = 2**32 - 1
    lists = [{"issuer": "i" * 16, "version": most, "badges": 200_000, "age_s": most}] * 8
    health = {
        "firmware": "100.100.100",
        "boot": most,
        "uptime_s": most,
        "posture": "unlocked",
        "lockdown": most,
        "inputs": dict.fromkeys(
            ("door", "rex", "lockdown", "fire", "cabinet", "reader", "mains", "battery"), False
        ),
        "clock": {"quality": "synced", "now_s": most, "synced_age_s": most},
        "reader": {"is_up": False},
        "lists": lists,
        "denied": [{"issuer": "i" * 16, "version": most, "badges": 512}] * 8,
        "key_ring": most,
        "journal": dict.fromkeys(("oldest", "next", "acknowledged", "pending", "capacity"), most),
        "taps": dict.fromkeys(
            ("count", "grants", "last_us", "longest_us", "p50_ms", "p99_ms"), most
        ),
        "memory_free_bytes": most,
    }
    payload = json.dumps(health).encode()
    assert contract.check(f"{OWN}/health", payload) == ("health", "health")
    assert len(payload) <= delivery.MAX_HEALTH_BYTES, len(payload)
