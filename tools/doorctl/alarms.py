"""Alarms: what records say of each, and which names there are."""

from collections.abc import Iterable

from doorward import values
from doorward.journal.record import Record
from doorward.portal.portal import INPUTS

# No alarm: what stood before a start is told anew after it, or is over.
BOOT = "boot"

FORCED_OPEN = "forced-open"
HELD_OPEN = "held-open"
FIRE = "fire"
CABINET_TAMPER = "cabinet-tamper"
READER_TAMPER = "reader-tamper"
MAINS_FAILED = "mains-failed"
BATTERY_LOW = "battery-low"
READER_DOWN = "reader-down"
LOCKDOWN = "lockdown"
DISABLED = "disabled"
CONFIG_REFUSED = "config-refused"
CONFLICT = "conflict"
# In the order in which somebody should look.
NAMES = (
    LOCKDOWN,
    FIRE,
    FORCED_OPEN,
    HELD_OPEN,
    CABINET_TAMPER,
    READER_TAMPER,
    READER_DOWN,
    DISABLED,
    MAINS_FAILED,
    BATTERY_LOW,
    CONFIG_REFUSED,
    CONFLICT,
)

# An active input of this name is the alarm.
BY_INPUT = {
    "fire": FIRE,
    "cabinet": CABINET_TAMPER,
    "reader": READER_TAMPER,
    "mains": MAINS_FAILED,
    "battery": BATTERY_LOW,
}
BY_POSTURE = {values.LOCKDOWN: LOCKDOWN, values.DISABLED: DISABLED}
_TAMPERS = {values.CABINET: CABINET_TAMPER, values.READER: READER_TAMPER}
_SUPPLIES = {values.MAINS: MAINS_FAILED, values.BATTERY: BATTERY_LOW}
# Event -> alarms and whether they stand from then on.
_BY_EVENT = {
    values.FORCED_OPEN: {FORCED_OPEN: True},
    values.HELD_OPEN: {HELD_OPEN: True},
    values.DOOR_SECURED: {FORCED_OPEN: False, HELD_OPEN: False},
    values.FIRE: {FIRE: True},
    values.FIRE_CLEARED: {FIRE: False},
    values.READER_DOWN: {READER_DOWN: True},
    values.READER_UP: {READER_DOWN: False},
    values.CONFIG_REFUSED: {CONFIG_REFUSED: True},
}


def changes(records: Iterable[Record]) -> dict[str, tuple[Record, bool]]:
    """Return, by alarm, the last of these records that says something of it, and whether it stands.

    records: in order. The result has BOOT for a start: what was said of any alarm before it
    counts no longer.
    """
    found = {}
    for record in records:
        for alarm, is_on in _said(record.event):
            found[alarm] = (record, is_on)
    return found


def _said(event: values.Event) -> Iterable[tuple[str, bool]]:
    code = event.code
    if code in _BY_EVENT:
        return _BY_EVENT[code].items()
    if code in (values.BOOT, values.POSTURE_CHANGED):
        said = [(alarm, event.posture == posture) for posture, alarm in BY_POSTURE.items()]
        return [(BOOT, True), *said] if code == values.BOOT else said
    if code in (values.TAMPER, values.TAMPER_CLEARED) and event.detail in _TAMPERS:
        return [(_TAMPERS[event.detail], code == values.TAMPER)]
    if code in (values.SUPPLY_FAILED, values.SUPPLY_RESTORED) and event.detail in _SUPPLIES:
        return [(_SUPPLIES[event.detail], code == values.SUPPLY_FAILED)]
    if code == values.INPUTS_AT_START:
        return [
            (BY_INPUT[name], bool(event.detail >> bit & 1))
            for bit, name in enumerate(INPUTS)
            if name in BY_INPUT
        ]
    return ()
