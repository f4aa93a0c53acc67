"""Settings: what is taken, what is refused and with which words."""

import json
import unittest

from doorward import config


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

    def test_a_secret_is_not_shown(self):
        self.assert_refused(
            "(secret)", json.dumps({"site": "s", "door": "d", "wifi_password": "x" * 65}).encode()
        )
