"""The words the rooms pass one another: Badge, Entry, Decision, Event, and every numbered code.

Numbers here are stable: they are in signed lists, in journals and on the wire, and are never
used again for something else. Runs on CPython too, so that doorctl says the same words.
"""

from . import const


class DoorwardError(Exception):
    """Root of every error this firmware raises on purpose."""


# Classes of cardholder: the low four bits of an entry's rights byte.
RESPONDER = 1
STAFF = 2
VISITOR = 3
CLASSES = {RESPONDER: "responder", STAFF: "staff", VISITOR: "visitor"}

# Postures of the portal.
NORMAL = 0
UNLOCKED = 1
LOCKDOWN = 2
DISABLED = 3
POSTURES = ("normal", "unlocked", "lockdown", "disabled")

# How good the wall clock is.
CLOCK_UNSET = 0
CLOCK_HELD = 1
CLOCK_SYNCED = 2
CLOCK_QUALITIES = ("unset", "held", "synced")

# How old a list is, by its own signed policy.
FRESH = 0
SOFT_STALE = 1
HARD_STALE = 2

# How a moment lies to the hours of an access level.
ALWAYS = 0  # the level has no hours
INSIDE_HOURS = 1
OUTSIDE_HOURS = 2
HOLIDAY = 3  # outside, because today is a holiday
NO_HOUR = 4  # it has hours, and the clock is unset

# Why a tap was granted (below 16) or denied (16 and above): name, and a sentence for people.
GRANTED = 1
GRANTED_IN_LOCKDOWN = 2
GRANTED_ON_OLD_LIST = 3
UNKNOWN_BADGE = 16
NOT_YET_VALID = 17
EXPIRED = 18
IN_LOCKDOWN = 19
DOOR_DISABLED = 20
LIST_TOO_OLD = 21
NOT_AUTHENTICATED = 22
RANDOM_UID = 23
DECISION_FAULT = 24
REVOKED = 25
NOT_AT_THIS_HOUR = 26
NOT_ON_HOLIDAYS = 27
HOUR_UNKNOWN = 28
REASONS = {
    GRANTED: ("granted", "The badge is on a list in force and nothing forbids it."),
    GRANTED_IN_LOCKDOWN: ("granted-in-lockdown", "A responder opened the door in a lockdown."),
    GRANTED_ON_OLD_LIST: ("granted-on-old-list", "The badge's list is past its soft staleness."),
    UNKNOWN_BADGE: ("unknown-badge", "No list in force has this badge."),
    NOT_YET_VALID: ("not-yet-valid", "The badge becomes valid later."),
    EXPIRED: ("expired", "The badge was valid until an earlier time."),
    IN_LOCKDOWN: ("in-lockdown", "The door is in lockdown and the badge is not a responder's."),
    DOOR_DISABLED: ("door-disabled", "The door is out of service."),
    LIST_TOO_OLD: ("list-too-old", "The badge's list is past its hard staleness."),
    NOT_AUTHENTICATED: ("not-authenticated", "This badge must prove a secret and did not."),
    RANDOM_UID: ("random-uid", "The card gives a new UID at each tap and cannot be listed."),
    DECISION_FAULT: ("decision-fault", "Deciding failed; a failure is a denial."),
    REVOKED: ("revoked", "The badge is on a deny list in force."),
    NOT_AT_THIS_HOUR: ("not-at-this-hour", "The badge's access level has other hours."),
    NOT_ON_HOLIDAYS: ("not-on-holidays", "The access level does not enter today, a holiday."),
    HOUR_UNKNOWN: ("hour-unknown", "The clock is unset, and the access level has hours."),
}

# What a signed command orders.
LOCK_DOWN = 1
RELEASE = 2
UNLOCK = 3
HOLD_OPEN = 4
DISABLE = 5
ENABLE = 6
COMMANDS = {
    LOCK_DOWN: "lockdown",
    RELEASE: "release",
    UNLOCK: "unlock",
    HOLD_OPEN: "hold-open",
    DISABLE: "disable",
    ENABLE: "enable",
}

# What a journal record tells.
BOOT = 1
TAP = 2
READER_DOWN = 3
READER_UP = 4
LIST_IN_FORCE = 5
OBJECT_REFUSED = 6
POSTURE_CHANGED = 7
RECORDS_OVERWRITTEN = 8
RECORDS_DROPPED = 9
TASK_DIED = 10
LIST_CORRUPT = 11
DENY_LIST_IN_FORCE = 12
KEY_RING_IN_FORCE = 13
COMMAND_OBEYED = 14
DOOR_OPENED = 15
DOOR_CLOSED = 16
FORCED_OPEN = 17
HELD_OPEN_SOON = 18
HELD_OPEN = 19
DOOR_SECURED = 20
NOT_ENTERED = 21
EXIT_REQUESTED = 22
TAMPER = 23
TAMPER_CLEARED = 24
FIRE = 25
FIRE_CLEARED = 26
SUPPLY_FAILED = 27
SUPPLY_RESTORED = 28
RESTARTED = 29
CONFIG_REFUSED = 30
TEAM_HOLD = 31
TEAM_HOLD_OVER = 32
INPUTS_AT_START = 33
TOGGLE_OVER = 34
CLOCK_SET = 35
JOURNAL_KEY_LOST = 36
EVENTS = {
    BOOT: "boot",
    TAP: "tap",
    READER_DOWN: "reader-down",
    READER_UP: "reader-up",
    LIST_IN_FORCE: "list-in-force",
    OBJECT_REFUSED: "object-refused",
    POSTURE_CHANGED: "posture-changed",
    RECORDS_OVERWRITTEN: "records-overwritten",
    RECORDS_DROPPED: "records-dropped",
    TASK_DIED: "task-died",
    LIST_CORRUPT: "list-corrupt",
    DENY_LIST_IN_FORCE: "deny-list-in-force",
    KEY_RING_IN_FORCE: "key-ring-in-force",
    COMMAND_OBEYED: "command-obeyed",
    DOOR_OPENED: "door-opened",
    DOOR_CLOSED: "door-closed",
    FORCED_OPEN: "forced-open",
    HELD_OPEN_SOON: "held-open-soon",
    HELD_OPEN: "held-open",
    DOOR_SECURED: "door-secured",
    NOT_ENTERED: "not-entered",
    EXIT_REQUESTED: "exit-requested",
    TAMPER: "tamper",
    TAMPER_CLEARED: "tamper-cleared",
    FIRE: "fire",
    FIRE_CLEARED: "fire-cleared",
    SUPPLY_FAILED: "supply-failed",
    SUPPLY_RESTORED: "supply-restored",
    RESTARTED: "restarted",
    CONFIG_REFUSED: "config-refused",
    TEAM_HOLD: "team-hold",
    TEAM_HOLD_OVER: "team-hold-over",
    INPUTS_AT_START: "inputs-at-start",
    TOGGLE_OVER: "toggle-over",
    CLOCK_SET: "clock-set",
    JOURNAL_KEY_LOST: "journal-key-lost",
}

# Which of two a TAMPER or SUPPLY_FAILED record is about: its detail.
CABINET = 1
READER = 2
MAINS = 1
BATTERY = 2

# Why the posture changed.
BY_SWITCH = 1
BY_COMMAND = 2
BY_GESTURE = 3
BY_KEY_HOLDER = 4
BY_SCHEDULE = 5
BY_TIME = 6
POSTURE_CAUSES = {
    BY_SWITCH: "switch",
    BY_COMMAND: "command",
    BY_GESTURE: "gesture",
    BY_KEY_HOLDER: "key-holder",
    BY_SCHEDULE: "schedule",
    BY_TIME: "time-over",
}

# Why the board started: reason of a RESTARTED record, whose detail is the task's number.
POWER_ON = 1
WATCHDOG = 2
TASK_ENDED = 3
TASK_HUNG = 4
OUT_OF_MEMORY = 5
START_FAILED = 6
ORDERED = 7
RESTART_CAUSES = {
    POWER_ON: "power-on",
    WATCHDOG: "watchdog",
    TASK_ENDED: "task-ended",
    TASK_HUNG: "task-hung",
    OUT_OF_MEMORY: "out-of-memory",
    START_FAILED: "start-failed",
    ORDERED: "ordered",
}

MAX_UID_BYTES = const(10)
BADGE_ID_BYTES = const(10)


class Badge:
    """One badge in the field, known by its canonical identity: UID length, then the UID, zeros kept.

    The reader refills one instance for every read, so whoever wants to keep it copies it.

    Attributes:
        identity: bytearray of 11: UID length (4, 7 or 10), UID bytes, zero padding.
        sak: last SAK byte (ISO/IEC 14443-3, 6.5.3).
        field_us: ticks_us when the badge first answered.
        is_authenticated: the badge proved its secret in this tap.
    """

    def __init__(self) -> None:
        self.identity = bytearray(1 + MAX_UID_BYTES)
        self.sak = 0
        self.field_us = 0
        self.is_authenticated = False

    @property
    def has_random_uid(self) -> bool:
        """A 4-byte UID that begins with 0x08 is drawn anew at each activation (ISO/IEC 14443-3)."""
        return self.identity[0] == 4 and self.identity[1] == 0x08

    def uid(self) -> bytes:
        """Return a copy of the UID: 4, 7 or 10 bytes."""
        return bytes(self.identity[1 : 1 + self.identity[0]])


class Entry:
    """One row of an allowlist, as the door holds it while it decides.

    Attributes:
        cardholder_class: RESPONDER, STAFF or VISITOR.
        level: access level, 0 to 15.
        must_authenticate: a UID alone is not enough for this badge.
        has_extended_time: the cardholder needs longer to get through.
        valid_from_s, valid_until_s: Unix seconds, 0 = no bound; valid until is the first second
            after the validity.
        issuer_id: key id of the list's issuer.
        list_version: version of the list it stands on.
        staleness: FRESH, SOFT_STALE or HARD_STALE for this cardholder's class.
        is_denied: a deny list in force has the badge.
        hours: ALWAYS, INSIDE_HOURS, OUTSIDE_HOURS, HOLIDAY or NO_HOUR of its access level.
    """

    def __init__(self) -> None:
        self.cardholder_class = 0
        self.level = 0
        self.must_authenticate = False
        self.has_extended_time = False
        self.valid_from_s = 0
        self.valid_until_s = 0
        self.issuer_id = b""
        self.list_version = 0
        self.staleness = FRESH
        self.is_denied = False
        self.hours = ALWAYS


class Decision:
    """What the door decided about one tap.

    Attributes:
        reason: a key of REASONS.
        badge_id: blinded badge identity, BADGE_ID_BYTES long.
        entry: the Entry it was decided on, or None where no list has the badge.
    """

    def __init__(self, reason: int, badge_id: bytes, entry: Entry | None) -> None:
        self.reason = reason
        self.badge_id = badge_id
        self.entry = entry

    @property
    def is_grant(self) -> bool:
        return self.reason < UNKNOWN_BADGE


class Event:
    """Something that happened, before the journal gives it sequence and time.

    Attributes:
        code: a key of EVENTS.
        reason: for TAP a key of REASONS; for OBJECT_REFUSED a key of REFUSALS; for COMMAND_OBEYED
            a key of COMMANDS; for POSTURE_CHANGED and TEAM_HOLD_OVER one of POSTURE_CAUSES; for RESTARTED one of
            RESTART_CAUSES; else 0.
        ticks_ms: ticks_ms at which it happened.
        posture: the posture in force.
        cardholder_class, level, issuer_id, list_version: the entry's, where there was one.
        badge_id: blinded badge identity, or b"".
        decision_us, relay_us: badge in the field to decision and to strike, microseconds.
        detail: one number more, its meaning by code.
    """

    def __init__(self, code: int, ticks_ms: int, *, reason: int = 0, detail: int = 0) -> None:
        self.code = code
        self.reason = reason
        self.ticks_ms = ticks_ms
        self.posture = NORMAL
        self.cardholder_class = 0
        self.level = 0
        self.issuer_id = b""
        self.list_version = 0
        self.badge_id = b""
        self.decision_us = 0
        self.relay_us = 0
        self.detail = detail


# Why a signed object was refused: code on the wire and in the journal, name, and a sentence.
MALFORMED = 1
TOO_LARGE = 2
TRUNCATED = 3
WRONG_SITE = 4
UNKNOWN_ISSUER = 5
BAD_SIGNATURE = 6
BAD_BODY_HASH = 7
OLD_VERSION = 8
OUT_OF_SCOPE = 9
NOT_SORTED = 10
NO_SPACE = 11
WRONG_TYPE = 12
TRANSFER_BROKEN = 13
FLASH_FAULT = 14
BUSY = 15
NOT_AN_OBJECT = 16
UNKNOWN_FORMAT = 17
BAD_LENGTH = 18
DUPLICATE_ENTRY = 19
BAD_ENTRY = 20
TOO_FEW_SIGNATURES = 21
NOT_PERMITTED = 22
WRONG_ADDRESS = 23
TOO_LATE = 24
REPLAYED = 25
NO_CLOCK = 26
TOO_MANY_DENIED = 27
BAD_KEY = 28
UNKNOWN_COMMAND = 29
LOCKED_DOWN = 30
BAD_SCHEDULE = 31
NO_MEMORY = 32
TOO_LONG = 33
DOOR_IS_DISABLED = 34
REFUSALS = {
    MALFORMED: ("malformed", "A field has a value that the format does not allow."),
    TOO_LARGE: ("too-large", "The object is larger than the cap."),
    TRUNCATED: ("truncated", "The object ends before its length."),
    WRONG_SITE: ("wrong-site", "The object was made for another site."),
    UNKNOWN_ISSUER: ("unknown-issuer", "The key ring of this door has no such signer."),
    BAD_SIGNATURE: ("bad-signature", "The signature does not verify."),
    BAD_BODY_HASH: ("bad-body-hash", "The body is not the one that was signed."),
    OLD_VERSION: ("old-version", "A higher version was already accepted from this issuer."),
    OUT_OF_SCOPE: ("out-of-scope", "The issuer may not grant this class of cardholder."),
    NOT_SORTED: ("not-sorted", "The entries are not sorted."),
    NO_SPACE: ("no-space", "The list area has no room beside the lists in force."),
    WRONG_TYPE: ("wrong-type", "Not a type of object that is taken here."),
    TRANSFER_BROKEN: ("transfer-broken", "The transfer broke off or its checksum is wrong."),
    FLASH_FAULT: ("flash-fault", "The flash did not keep what was written."),
    BUSY: ("busy", "Another object is being received."),
    NOT_AN_OBJECT: ("not-an-object", "This does not begin as a Doorward signed object does."),
    UNKNOWN_FORMAT: ("unknown-format", "The object's format is newer than this firmware."),
    BAD_LENGTH: ("bad-length", "The lengths and counts in the object contradict one another."),
    DUPLICATE_ENTRY: ("duplicate-entry", "An entry stands in the object twice."),
    BAD_ENTRY: ("bad-entry", "An entry has a class, level or flag that does not exist."),
    TOO_FEW_SIGNATURES: ("too-few-signatures", "Fewer root keys signed than the threshold."),
    NOT_PERMITTED: ("not-permitted", "The issuer may not sign this, or not for this door."),
    WRONG_ADDRESS: ("wrong-address", "The object is addressed to another door or group."),
    TOO_LATE: (
        "too-late",
        "The command has expired, or the lockdown that it names is not the one that is on.",
    ),
    REPLAYED: ("replayed", "This command, or a later one of its issuer, was obeyed already."),
    NO_CLOCK: ("no-clock", "A door whose clock is unset cannot tell whether this is late."),
    TOO_MANY_DENIED: ("too-many-denied", "More badges than a door denies for one issuer: 512."),
    BAD_KEY: ("bad-key", "A key in the key ring is not one that doors verify with."),
    UNKNOWN_COMMAND: ("unknown-command", "No kind of command that this firmware knows."),
    LOCKED_DOWN: ("locked-down", "The door is in lockdown; release it before holding it open."),
    BAD_SCHEDULE: ("bad-schedule", "The list's schedule does not follow its format."),
    NO_MEMORY: ("no-memory", "The board has no memory for this at the moment."),
    TOO_LONG: ("too-long", "A door is held open for a day at the most."),
    DOOR_IS_DISABLED: ("door-is-disabled", "The door is out of service; enable it first."),
}


class Refused(DoorwardError):
    """A signed object was not accepted, and nothing changed.

    Attributes:
        code: a key of REFUSALS.
    """

    def __init__(self, code: int) -> None:
        super().__init__(REFUSALS[code][1])
        self.code = code

    @property
    def name(self) -> str:
        return REFUSALS[self.code][0]
