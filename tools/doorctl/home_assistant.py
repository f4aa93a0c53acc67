"""Home Assistant: doors' state and alarms by MQTT discovery. It is told, and cannot order anything."""

import json
from collections.abc import Sequence

import paho.mqtt.client as paho

from doorctl import alarms
from doorctl.fleet import Door

# Alarm -> Home Assistant's class of binary sensor; the others are plain problems.
_DEVICE_CLASSES = {
    alarms.FIRE: "smoke",
    alarms.FORCED_OPEN: "safety",
    alarms.LOCKDOWN: "safety",
    alarms.HELD_OPEN: "door",
    alarms.CABINET_TAMPER: "tamper",
    alarms.READER_TAMPER: "tamper",
    alarms.BATTERY_LOW: "battery",
}
# Name -> what it is of a Door.
_SENSORS = {
    "posture": lambda door: door.posture,
    "clock": lambda door: door.clock_quality,
    "unsent": lambda door: door.unsent,
}


class HomeAssistant:
    """Publishes a device for each door, and how the door is on a topic of our own.

    Topics: <prefix>/<component>/<id>/config, retained, as Home Assistant's documentation of MQTT
    discovery has them; doorward/<site>/<door>/shown, retained.
    """

    def __init__(self, prefix: str = "homeassistant") -> None:
        self._prefix = prefix
        self._published: dict[str, bytes] = {}

    def forget(self) -> None:
        """Publish everything anew: the broker may have lost it."""
        self._published = {}

    def show(self, client: paho.Client, doors: Sequence[Door]) -> None:
        """Publish what has changed."""
        for door in doors:
            topics = {**configs(self._prefix, door), _topic_of(door): _shown(door)}
            for topic, value in topics.items():
                payload = json.dumps(value, sort_keys=True).encode()
                if self._published.get(topic) != payload:
                    self._published[topic] = payload
                    client.publish(topic, payload, 1, retain=True)


def configs(prefix: str, door: Door) -> dict[str, dict]:
    """Return the discovery messages of a door by topic: sensors only."""
    name = f"{door.site}_{door.door}"
    shared = {
        "state_topic": _topic_of(door),
        "device": {
            "identifiers": [f"doorward_{name}"],
            "name": f"{door.site} {door.door}",
            "manufacturer": "Doorward",
            "model": door.board or "door controller",
            "sw_version": door.firmware or "",
        },
    }
    found = {}
    binary = {"online": "connectivity"}
    binary |= {alarm: _DEVICE_CLASSES.get(alarm, "problem") for alarm in alarms.NAMES}
    for what, device_class in binary.items():
        found[f"{prefix}/binary_sensor/doorward_{name}_{what}/config"] = {
            **shared,
            "name": what.replace("-", " "),
            "unique_id": f"doorward_{name}_{what}",
            "device_class": device_class,
            "value_template": f"{{{{ value_json['{what}'] }}}}",
        }
    for what in _SENSORS:
        found[f"{prefix}/sensor/doorward_{name}_{what}/config"] = {
            **shared,
            "name": what,
            "unique_id": f"doorward_{name}_{what}",
            "value_template": f"{{{{ value_json['{what}'] }}}}",
        }
    return found


def _topic_of(door: Door) -> str:
    return f"doorward/{door.site}/{door.door}/shown"


def _shown(door: Door) -> dict:
    """Return how a door is: ON or OFF for what is so or not, None for what nobody knows."""
    online = {True: "ON", False: "OFF", None: None}[door.is_online]
    shown = {"online": online, **{name: of(door) for name, of in _SENSORS.items()}}
    return shown | {name: "ON" if name in door.alarms else "OFF" for name in alarms.NAMES}
