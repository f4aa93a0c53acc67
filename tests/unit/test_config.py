"""Settings: what is taken, what is refused and with which words."""

import json
import unittest

from doorward import config, state
from doorward.hal.roles import PROVISION_SLOT_BYTES, SECTOR_BYTES
from doorward.trust.primitives import run_through
from support import MemoryFlash, OpenGate


def parse(**values):
    return config.parse(json.dumps(values).encode())


class Configuration(unittest.TestCase):
    def assert_refused(self, words, text):
        with self.assertRaises(config.ConfigError) as caught:
            config.parse(text)
        self.assertIn(words, str(caught.exception))

    def test_defaults(self):
        settings = parse(site="school", door="front")
        self.assertEqual(settings.door, "front")
        self.assertEqual(settings.strike_pulse_ms, 5000)
        self.assertFalse(settings.is_silent)

    def test_every_default_is_in_its_own_range(self):
        for setting in config.SETTINGS:
            if setting.name not in ("site", "door"):
                setting.check(setting.default)

    def test_bounds_are_inclusive(self):
        for setting in config.SETTINGS:
            if setting.kind is int:
                setting.check(setting.low)
                setting.check(setting.high)
                for beyond in (setting.low - 1, setting.high + 1):
                    with self.assertRaises(config.ConfigError):
                        setting.check(beyond)

    def test_the_error_names_key_value_and_range(self):
        self.assert_refused(
            "strike_pulse_ms: 5 is not a number from 200 to 60000 ms",
            b'{"site": "s", "door": "d", "strike_pulse_ms": 5}',
        )

    def test_wrong_types(self):
        self.assert_refused("is_silent: 1 is not", b'{"site": "s", "door": "d", "is_silent": 1}')
        self.assert_refused(
            "poll_interval_ms: ", b'{"site":"s","door":"d","poll_interval_ms":true}'
        )
        self.assert_refused("door: 7 is not", b'{"site": "s", "door": 7}')

    def test_unknown_and_missing_keys(self):
        self.assert_refused("strike_pulse: no such", b'{"site":"s","door":"d","strike_pulse":500}')
        self.assert_refused("site: '' is not", b'{"door": "d"}')

    def test_names_go_into_topics(self):
        for name in (b"a/b", b"a b", b"+", b"#", b"caf\xc3\xa9"):
            self.assert_refused("door: ", b'{"site": "s", "door": "' + name + b'"}')

    def test_a_broker_is_an_address(self):
        self.assertEqual(parse(site="s", door="d", broker_host="10.0.0.7").broker_host, "10.0.0.7")
        for host in (b"broker.school", b"10.0.0.256", b"10.0.0", b"::1"):
            self.assert_refused(
                "broker_host: ", b'{"site": "s", "door": "d", "broker_host": "' + host + b'"}'
            )

    def test_no_object_and_too_long(self):
        self.assert_refused("not a JSON object", b"")
        self.assert_refused("not a JSON object", b"[1]")
        self.assert_refused("not a JSON object", b'{"site": ')
        self.assert_refused("more than", b" " * 3000)

    def test_groups(self):
        self.assertEqual(parse(site="s", door="d", groups=[1, 3, 16]).group_bits(), 0x8005)
        self.assertEqual(parse(site="s", door="d").group_bits(), 0)
        for groups in ([0], [17], [1, 1], [True], ["1"], 1, "1"):
            text = json.dumps({"site": "s", "door": "d", "groups": groups}).encode()
            self.assert_refused("is not a list of different numbers from 1 to 16", text)

    def test_choices(self):
        self.assertEqual(parse(site="s", door="d", input_rex="nc").input_rex, "nc")
        self.assert_refused(
            "input_rex: 'closed' is not one of none, no, nc",
            b'{"site": "s", "door": "d", "input_rex": "closed"}',
        )

    def test_contradictions(self):
        refused = (
            (
                "held_open_warning_ms 20000 with held_open_ms 10000: the warning is no later",
                {"held_open_ms": 10000},
            ),
            (
                "lockdown_ends_by 'release' with input_lockdown 'none': release is for a panic",
                {"lockdown_ends_by": "release", "input_lockdown": "none"},
            ),
            ("lockdown_level 0 with gesture_ms 0: a level that orders", {"lockdown_level": 0}),
            ("key_holder_level 3 with gesture_ms 0: a level", {"key_holder_level": 3}),
            (
                "key_holder_level 3 with lockdown_level 3: two levels",
                {"key_holder_level": 3, "lockdown_level": 3, "gesture_ms": 5000},
            ),
            ("gesture_ms 1000 with same_badge_ms 1000: 0, or more", {"gesture_ms": 1000}),
            ("wifi_password (secret) with wifi_ssid '': a", {"wifi_password": "sesame"}),
        )
        for words, values in refused:
            text = json.dumps(dict(values, site="s", door="d")).encode()
            self.assert_refused(words, text)
        self.assertEqual(len(refused), len(config.CONTRADICTIONS))

    def test_what_goes_together(self):
        for values in (
            {"held_open_ms": 20000},
            # Who needs longer has at least what their class has, whatever is set.
            {"extended_pulse_ms": 1500},
            {"responder_pulse_ms": 60000},
            {"lockdown_ends_by": "release", "input_lockdown": "nc"},
            {"input_lockdown": "none"},
            {"lockdown_level": 3, "gesture_ms": 5000},
            {"lockdown_level": 3, "key_holder_level": 4, "gesture_ms": 1001},
            {"gesture_ms": 201, "same_badge_ms": 200},
            {"wifi_ssid": "open"},
            {"wifi_ssid": "school", "wifi_password": "sesame"},
        ):
            parse(site="s", door="d", **values)

    def test_a_secret_is_not_shown(self):
        self.assert_refused(
            "(secret)", json.dumps({"site": "s", "door": "d", "wifi_password": "x" * 65}).encode()
        )


class LastGood(unittest.TestCase):
    GOOD = b'{"site": "s", "door": "d", "strike_pulse_ms": 700}'
    BAD = b'{"site": "s", "door": "d", "strike_pulse_ms": 7}'

    def setUp(self):
        self.flash = MemoryFlash(6 * SECTOR_BYTES)

    def given(self):
        return state.Snapshots(self.flash, PROVISION_SLOT_BYTES)

    def give(self, text):
        run_through(self.given().commit({state.CONFIG: text}, OpenGate()))

    def test_the_last_good_one_stays_in_force(self):
        self.give(self.GOOD)
        settings = config.load(self.given())
        self.assertEqual((settings.strike_pulse_ms, settings.fault), (700, ""))
        run_through(config.keep_good(self.given(), OpenGate()))
        self.give(self.BAD)
        settings = config.load(self.given())
        self.assertEqual(settings.strike_pulse_ms, 700)
        self.assertIn("strike_pulse_ms: 7 is not a number from 200 to 60000 ms", settings.fault)

    def test_a_bad_one_is_never_the_last_good(self):
        self.give(self.BAD)
        with self.assertRaises(config.ConfigError):
            config.load(self.given())
        run_through(config.keep_good(self.given(), OpenGate()))
        self.assertIsNone(self.given().get(state.GOOD_CONFIG))

    def test_one_that_a_door_ran_with_is_not_stopped_by_a_later_contradiction(self):
        known = config.CONTRADICTIONS
        text = b'{"site": "s", "door": "d", "lockdown_level": 3}'
        self.give(text)
        try:
            config.CONTRADICTIONS = ()
            run_through(config.keep_good(self.given(), OpenGate()))
        finally:
            config.CONTRADICTIONS = known
        settings = config.load(self.given())
        self.assertEqual(settings.lockdown_level, 3)
        self.assertIn("lockdown_level 3 with gesture_ms 0", settings.fault)

    def test_kept_once(self):
        self.give(self.GOOD)
        run_through(config.keep_good(self.given(), OpenGate()))
        before = self.flash.programs
        run_through(config.keep_good(self.given(), OpenGate()))
        self.assertEqual(self.flash.programs, before)

    def test_none_at_all(self):
        with self.assertRaises(state.NotProvisioned):
            config.load(self.given())


if __name__ == "__main__":
    unittest.main()
