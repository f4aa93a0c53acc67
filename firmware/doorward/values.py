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
}

# What a signed command orders.
LOCK_DOWN = 1
RELEASE = 2
UNLOCK = 3
HOLD_OPEN = 4
COMMANDS = {
    LOCK_DOWN: "lockdown",
    RELEASE: "release",
    UNLOCK: "unlock",
    HOLD_OPEN: "hold-open",
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
        valid_from_s, valid_until_s: Unix seconds, 0 = no bound; valid until is the first second
            after the validity.
        issuer_id: key id of the list's issuer.
        list_version: version of the list it stands on.
        staleness: FRESH, SOFT_STALE or HARD_STALE for this cardholder's class.
        is_denied: a deny list in force has the badge.
    """

    def __init__(self) -> None:
        self.cardholder_class = 0
        self.level = 0
        self.must_authenticate = False
        self.valid_from_s = 0
        self.valid_until_s = 0
        self.issuer_id = b""
        self.list_version = 0
        self.staleness = FRESH
        self.is_denied = False


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
            a key of COMMANDS; else 0.
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
    TOO_LATE: ("too-late", "The command came after it had expired."),
    REPLAYED: ("replayed", "This command, or a later one of its issuer, was obeyed already."),
    NO_CLOCK: ("no-clock", "A door whose clock is unset cannot tell whether this is late."),
    TOO_MANY_DENIED: ("too-many-denied", "More badges than a door denies: 512 in all."),
    BAD_KEY: ("bad-key", "A key in the key ring is not one that doors verify with."),
    UNKNOWN_COMMAND: ("unknown-command", "No kind of command that this firmware knows."),
    LOCKED_DOWN: ("locked-down", "The door is in lockdown; release it before holding it open."),
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
