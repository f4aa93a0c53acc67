"""Every setting of a door, declared once: name, type, range, default, unit, secret or not.

The declarations are the validation, the defaults and the documentation (docs/configuration.md is
written from them by `doorctl config docs`).
"""

import json

from . import const, state
from .values import DoorwardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_CONFIG_BYTES = const(2048)

_NAME_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class ConfigError(DoorwardError):
    """A configuration was refused. The text names the key, the value and what is allowed."""


class Setting:
    """One declared setting.

    kind: int, str, bool or list; low and high bound an int, a str's length, or each of the
    different ints that a list holds. is_name: the text goes
    into MQTT topics and signed objects, so it is letters, digits, hyphens and underscores.
    is_address: the text is an IPv4 address.
    choices: the only values there are, where a range says too little.
    """

    def __init__(
        self,
        name,
        kind,
        default,
        low,
        high,
        unit,
        meaning,
        *,
        is_secret=False,
        is_name=False,
        is_address=False,
        choices=(),
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.low = low
        self.high = high
        self.unit = unit
        self.meaning = meaning
        self.is_secret = is_secret
        self.is_name = is_name
        self.is_address = is_address
        self.choices = choices

    def check(self, value):
        """Return `value`, or raise ConfigError."""
        # bool is an int in Python; a true where a number belongs is still a mistake.
        if not isinstance(value, self.kind) or isinstance(value, bool) != (self.kind is bool):
            raise ConfigError(f"{self.name}: {value!r} is not {self.allowed()}")
        if self.kind is list:
            is_sound = all(type(one) is int and self.low <= one <= self.high for one in value)
            if not is_sound or len(set(value)) != len(value):
                raise ConfigError(f"{self.name}: {value!r} is not {self.allowed()}")
            return value
        size = len(value) if isinstance(value, str) else value
        if self.kind is not bool and not self.choices and not self.low <= size <= self.high:
            shown = "(secret)" if self.is_secret else repr(value)
            raise ConfigError(f"{self.name}: {shown} is not {self.allowed()}")
        if self.choices and value not in self.choices:
            raise ConfigError(f"{self.name}: {value!r} is not {self.allowed()}")
        if self.is_address and value and not _is_address(value):
            raise ConfigError(f"{self.name}: {value!r} is not {self.allowed()}")
        if self.is_name and not all(byte in _NAME_BYTES for byte in value.encode()):
            raise ConfigError(f"{self.name}: {value!r} is not {self.allowed()}")
        return value

    def allowed(self) -> str:
        """Return what the setting takes, in words."""
        if self.kind is bool:
            return "true or false"
        if self.kind is list:
            return f"a list of different numbers from {self.low} to {self.high}"
        if self.is_address:
            return "an IPv4 address, or empty"
        if self.choices:
            allowed = ", ".join(str(choice) for choice in self.choices)
            return ("one of " + allowed + " " + self.unit).rstrip()
        if self.is_name:
            return f"a name of {self.low} to {self.high} letters, digits, - and _"
        if self.kind is str:
            return f"a text of {self.low} to {self.high} characters"
        return f"a number from {self.low} to {self.high} {self.unit}".rstrip()


# fmt: off
SETTINGS = (
    Setting("site",                 str, "",     1,    16, "", "site the door belongs to; lists are made for a site", is_name=True),
    Setting("door",                 str, "",     1,    24, "", "name of the door, unique within its site", is_name=True),
    Setting("groups",               list, [],    1,    16, "", "door groups that the door is in; signed objects may be for some groups only"),
    Setting("strike_type",          str, "fail-secure", 0, 0, "", "without power the lock stays locked (fail-secure), or lets go (fail-safe)", choices=("fail-secure", "fail-safe")),
    Setting("strike_mode",          str, "pulse", 0, 0, "", "a grant releases the door for a time, or until the next grant (toggle); one for a responder always for a time", choices=("pulse", "toggle")),
    Setting("strike_pulse_ms",      int, 5000,   200,  60000, "ms", "how long a grant releases the door for staff and visitors"),
    Setting("responder_pulse_ms",   int, 5000,   200,  60000, "ms", "the same for responders"),
    Setting("extended_pulse_ms",    int, 15000,  200,  120000, "ms", "the same for cardholders who need longer; never shorter than their class has it"),
    Setting("toggle_limit_s",       int, 14400,  60,   86400, "s", "a toggled release locks by itself after this long"),
    Setting("relock_on_opening",    bool, True,  0,    1, "", "lock again once the door contact has said for a second on end that the door is open"),
    Setting("input_door",           str, "none", 0,    0, "", "door contact: the contact while the door is closed; no: open, nc: closed", choices=("none", "no", "nc")),
    Setting("input_rex",            str, "none", 0,    0, "", "request to exit: the contact at rest", choices=("none", "no", "nc")),
    Setting("input_lockdown",       str, "no",   0,    0, "", "lockdown switch or panic button: the contact at rest", choices=("none", "no", "nc")),
    Setting("input_fire",           str, "none", 0,    0, "", "fire alarm: the contact at rest", choices=("none", "no", "nc")),
    Setting("input_cabinet",        str, "none", 0,    0, "", "cabinet tamper: the contact while it is shut", choices=("none", "no", "nc")),
    Setting("input_reader",         str, "none", 0,    0, "", "reader tamper: the contact while it is mounted", choices=("none", "no", "nc")),
    Setting("input_mains",          str, "none", 0,    0, "", "mains failure: the contact while there is mains", choices=("none", "no", "nc")),
    Setting("input_battery",        str, "none", 0,    0, "", "battery low: the contact while it is charged", choices=("none", "no", "nc")),
    Setting("debounce_ms",          int, 30,     5,    200, "ms", "a contact counts once it has been steady this long"),
    Setting("fire_clear_ms",        int, 10000,  0,    60000, "ms", "a fire is over once its contact has rested this long; panels that pulse it rest in between"),
    Setting("held_open_ms",         int, 30000,  2000, 600000, "ms", "a door that stands open longer raises the alarm"),
    Setting("held_open_warning_ms", int, 20000,  1000, 600000, "ms", "and warns at the door from here on"),
    Setting("lockdown_ends_by",     str, "switch", 0,  0, "", "what ends a lockdown begun at the door: turning the switch back, or only a signed release or a key-holder", choices=("switch", "release")),
    Setting("key_holder_level",     int, -1,     -1,   15, "", "access level whose badge ends a lockdown by three taps; -1: none"),
    Setting("lockdown_level",       int, -1,     -1,   15, "", "access level whose badge begins a lockdown by three taps; -1: none"),
    Setting("gesture_ms",           int, 0,      0,    20000, "ms", "taps of one badge within this time are a gesture; 0: there are no gestures"),
    Setting("team_hold_s",          int, 600,    10,   14400, "s", "a responder's second tap within gesture_ms holds the door open this long, a third locks it"),
    Setting("poll_interval_ms",     int, 8,      2,    50, "ms", "pause between two looks for a badge"),
    Setting("same_badge_ms",        int, 1000,   200,  10000, "ms", "a badge that stays at the reader is not read again before it was away this long"),
    Setting("reader_retry_ms",      int, 1000,   100,  60000, "ms", "pause between attempts to start a reader that is down"),
    Setting("reader_check_ms",      int, 2000,   200,  60000, "ms", "pause between looks at the reader's own registers"),
    Setting("reader_gain_db",       int, 38,     18,   48, "dB", "receiver gain: more reaches further and can blind it near by", choices=(18, 23, 33, 38, 43, 48)),
    Setting("quiet_ms",             int, 1000,   100,  10000, "ms", "no badge for this long before the board may stall"),
    Setting("lights",               str, "rgb",  0,    0, "", "what is wired: red, green and blue; red and green alone; or one addressable light", choices=("rgb", "rg", "pixel")),
    Setting("is_silent",            bool, False, 0,    1, "", "the buzzer stays off"),
    Setting("broker_host",          str, "",     0,    64, "", "MQTT broker; a name would have to be looked up, which blocks; empty: no uplink", is_address=True),
    Setting("broker_port",          int, 8883,   1,    65535, "", "TCP port of the broker"),
    Setting("broker_tls",           bool, True,  0,    1, "", "TLS with the door's pre-shared key; without it the network must be trusted"),
    Setting("keepalive_s",          int, 30,     5,    600, "s", "longest silence on the broker connection"),
    Setting("ack_timeout_ms",       int, 5000,   500,  60000, "ms", "what the collector does not answer for this long is sent again"),
    Setting("health_s",             int, 60,     5,    3600, "s", "pause between two messages in which the door says how it is"),
    Setting("ntp_host",             str, "",     0,    64, "", "time server, NTP; empty: none", is_address=True),
    Setting("ntp_port",             int, 123,    1,    65535, "", "its UDP port"),
    Setting("ntp_interval_s",       int, 3600,   16,   86400, "s", "how often it is asked"),
    Setting("wifi_ssid",            str, "",     0,    32, "", "Wi-Fi network; empty: none"),
    Setting("wifi_password",        str, "",     0,    64, "", "its passphrase", is_secret=True),
)

# What can never be meant: setting, the other one, what is wrong of a Config, what goes together.
CONTRADICTIONS = (
    ("held_open_warning_ms", "held_open_ms",     lambda c: c.held_open_warning_ms > c.held_open_ms, "the warning is no later than the alarm"),
    ("lockdown_ends_by",     "input_lockdown",   lambda c: c.lockdown_ends_by == "release" and c.input_lockdown == "none", "release is for a panic button, whose contact is no or nc"),
    ("lockdown_level",       "gesture_ms",       lambda c: c.lockdown_level >= 0 and not c.gesture_ms, "a level that orders by taps needs a gesture_ms above 0"),
    ("key_holder_level",     "gesture_ms",       lambda c: c.key_holder_level >= 0 and not c.gesture_ms, "a level that orders by taps needs a gesture_ms above 0"),
    ("key_holder_level",     "lockdown_level",   lambda c: c.key_holder_level >= 0 and c.key_holder_level == c.lockdown_level, "two levels, else whoever goes on tapping ends the lockdown just begun"),
    ("gesture_ms",           "same_badge_ms",    lambda c: 0 < c.gesture_ms <= c.same_badge_ms, "0, or more than same_badge_ms, before which no badge is read again"),
    ("wifi_password",        "wifi_ssid",        lambda c: bool(c.wifi_password and not c.wifi_ssid), "a passphrase is for a network that is named"),
)
# fmt: on


def _is_address(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)


class Config:
    """The settings in force, as attributes named like the declarations.

    Attributes:
        fault: why the configuration that was given is not the one in force; "" where it is.
    """

    def __init__(self, values: dict) -> None:
        self.fault = ""
        for setting in SETTINGS:
            setattr(self, setting.name, values.get(setting.name, setting.default))

    def group_bits(self) -> int:
        """Return the door's groups as signed objects have them: bit (n - 1) for group n."""
        bits = 0
        for group in self.groups:
            bits |= 1 << (group - 1)
        return bits

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> "Any": ...


def parse(text: bytes) -> Config:
    """Return the Config that a JSON object of at most MAX_CONFIG_BYTES states; raise ConfigError.

    Settings left out take their default; `site` and `door` have none. An unknown key is refused,
    because a misspelt one would silently leave a default in force; so are CONTRADICTIONS.
    """
    config = _read(text)
    for name, other, is_wrong, allowed in CONTRADICTIONS:
        if is_wrong(config):
            raise ConfigError(f"{_shown(config, name)} with {_shown(config, other)}: {allowed}")
    return config


def _shown(config: Config, name: str) -> str:
    """Return a setting and its value in words, without a secret."""
    setting = next(one for one in SETTINGS if one.name == name)
    return f"{name} {'(secret)' if setting.is_secret else repr(getattr(config, name))}"


def _read(text: bytes) -> Config:
    """Return the Config that a text states, each setting looked at by itself."""
    if len(text) > MAX_CONFIG_BYTES:
        raise ConfigError(f"configuration: more than {MAX_CONFIG_BYTES} bytes")
    try:
        values = json.loads(text)
    except ValueError:
        raise ConfigError("configuration: not a JSON object") from None
    if not isinstance(values, dict):
        raise ConfigError("configuration: not a JSON object")
    known = {setting.name: setting for setting in SETTINGS}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{name}: no such setting")
        known[name].check(value)
    for name in ("site", "door"):
        known[name].check(values.get(name, ""))
    return Config(values)


def load(given: state.Snapshots) -> Config:
    """Return the Config that the door was given, or the last good one, which says why in `fault`.

    given: the provision store. Raises NotProvisioned; ConfigError where no other is to be had.
    """
    try:
        return parse(given.require(state.CONFIG))
    except ConfigError as error:
        good = given.get(state.GOOD_CONFIG)
        if good is None:
            raise
        # A door has run with it: what a later firmware finds contradictory must not stop it now.
        config = _read(good)
        config.fault = str(error)
        return config


async def keep_good(given: state.Snapshots, gate) -> None:
    """Remember the configuration that the door runs with, once it runs."""
    text = given.require(state.CONFIG)
    if text != given.get(state.GOOD_CONFIG):
        try:
            parse(text)
        except ConfigError:
            return
        await given.commit({state.GOOD_CONFIG: text}, gate)
