"""The door register: a folder with a JSON file a door, written when the door is provisioned.

It holds the first key of each of a door's journals, which is on no board any more, and the door's
uplink key. Whoever has it can check the record, and can speak to the broker as any door.
"""

import datetime
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from doorward import config
from doorward.journal.record import JOURNAL_ID_BYTES, KEY_BYTES

from doorctl.errors import DoorctlError

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_MAX_FILE_BYTES = 1_000_000
# What a door may do below its own topics, docs/formats.md, "Uplink".
_DOOR_WRITES = ("state", "health", "records", "want")
_DOOR_READS = ("acknowledged", "piece", "command/#")


@dataclass(frozen=True, slots=True)
class JournalKey:
    """One journal of a door.

    id: JOURNAL_ID_BYTES. key: its first key, KEY_BYTES. begun: UTC, when the door was provisioned.
    """

    id: bytes
    key: bytes
    begun: datetime.datetime


@dataclass(slots=True)
class RegisteredDoor:
    """What is known of one door. uplink_key: its TLS pre-shared key, KEY_BYTES.

    journals: the oldest first; every provisioning begins another.
    """

    site: str
    door: str
    uplink_key: bytes
    journals: list[JournalKey] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """Return what the door calls itself to the broker."""
        return f"{self.site}/{self.door}"

    def journal_key(self, journal_id: bytes) -> bytes | None:
        """Return the first key of a journal, or None where the register has no such journal."""
        for journal in self.journals:
            if journal.id == journal_id:
                return journal.key
        return None


class Register:
    """The files in one folder: `<site>/<door>.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, site: str, door: str, journal_id: bytes, journal_key: bytes, uplink_key: bytes
    ) -> None:
        """Enter a door that is being provisioned; what it had before is kept. Raises DoorctlError.

        To be done before the door is given its keys: a journal whose first key is nowhere can
        never be checked.
        """
        entry = self.door(site, door) or RegisteredDoor(site, door, uplink_key)
        entry.uplink_key = uplink_key
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        entry.journals.append(JournalKey(journal_id, journal_key, now))
        self._write(entry)

    def door(self, site: str, door: str) -> RegisteredDoor | None:
        """Return what is known of a door, or None. Raises DoorctlError for a damaged file."""
        path = self._path(site, door)
        return _read(path, site, door) if path.exists() else None

    def doors(self) -> list[RegisteredDoor]:
        """Return all doors, by site and name. Raises DoorctlError, also for no register at all."""
        if not self.folder.is_dir():
            raise DoorctlError(f"{self.folder}: no door register; name one with --register")
        return [
            _read(path, path.parent.name, path.stem)
            for path in sorted(self.folder.glob("*/*.json"))
        ]

    def _path(self, site: str, door: str) -> Path:
        for name, value in (("site", site), ("door", door)):
            _check_name(name, value)
        return self.folder / site / f"{door}.json"

    def _write(self, entry: RegisteredDoor) -> None:
        path = self._path(entry.site, entry.door)
        text = json.dumps(
            {
                "site": entry.site,
                "door": entry.door,
                "journals": [
                    {"id": one.id.hex(), "key": one.key.hex(), "from": one.begun.isoformat()}
                    for one in entry.journals
                ],
                "uplink_key": entry.uplink_key.hex(),
            },
            indent=2,
        )
        write_secret(path, text + "\n")


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all. Raises DoorctlError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
            with open(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DoorctlError(f"{path}: {error.strerror}") from None


def mosquitto_psk_file(doors: Iterable[RegisteredDoor]) -> str:
    """Return Mosquitto's psk_file: a line `identity:key` a door."""
    return "".join(f"{door.identity}:{door.uplink_key.hex()}\n" for door in doors)


def mosquitto_acl_file(doors: Iterable[RegisteredDoor], collector: str) -> str:
    """Return Mosquitto's acl_file, for a listener with use_identity_as_username.

    Each door may do what docs/formats.md says below its own topics, and read what is for the whole
    site; the user `collector` may do everything below `doorward/`.
    """
    lines = [f"user {collector}", "topic readwrite doorward/#", ""]
    for door in doors:
        lines.append(f"user {door.identity}")
        lines += [f"topic write doorward/{door.identity}/{name}" for name in _DOOR_WRITES]
        lines += [f"topic read doorward/{door.identity}/{name}" for name in _DOOR_READS]
        lines += [f"topic read doorward/{door.site}/@all/#", ""]
    return "\n".join(lines)


def _check_name(name: str, value: str) -> None:
    (setting,) = (one for one in config.SETTINGS if one.name == name)
    try:
        setting.check(value)
    except config.ConfigError as error:
        raise DoorctlError(str(error)) from None


def _read(path: Path, site: str, door: str) -> RegisteredDoor:
    """Read one file. Raises DoorctlError where it is not this door's, whole and in order."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError("too large")
        found = json.loads(path.read_text())
        entry = RegisteredDoor(
            found["site"], found["door"], _secret(found["uplink_key"], KEY_BYTES)
        )
        for one in found["journals"]:
            begun = datetime.datetime.fromisoformat(one["from"])
            journal_id = _secret(one["id"], JOURNAL_ID_BYTES)
            entry.journals.append(JournalKey(journal_id, _secret(one["key"], KEY_BYTES), begun))
    except OSError as error:
        raise DoorctlError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DoorctlError(f"{path}: not a door's entry in a register") from None
    if (entry.site, entry.door) != (site, door):
        raise DoorctlError(f"{path}: is the entry of {entry.identity}, not of {site}/{door}")
    return entry


def _secret(text: str, size: int) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != size:
        raise ValueError("not as long as it is to be")
    return value
