"""The cable: doorctl's end of a door's console. The protocol is in docs/console.md."""

import errno
import json
import secrets
import struct
import time
from binascii import crc32, unhexlify
from collections.abc import Callable
from dataclasses import dataclass

import serial
from doorward.journal import record as records

from doorctl.errors import DoorctlError

_ANSWER_TIMEOUT_S = 5.0
# Erasing flash waits for a moment without badges, 20 s at most, before each of several sectors.
_PUSH_TIMEOUT_S = 90.0
_LOG_RECORDS = 32
_MAX_LINE_BYTES = 16_384


class DoorRefused(DoorctlError):
    """The door answered ERROR.

    Attributes:
        code, name: of the error, as documented.
    """

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(f"the door refused it: {name} ({code}): {text}")
        self.code = code
        self.name = name


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Records, each with its bytes, and what the first of them is chained to.

    tag_before: None where there are none, and where the door overwrote what came before the first
    one while it was asked.
    """

    journal_id: bytes
    tag_before: bytes | None
    records: list[tuple[records.Record, bytes]]


class Door:
    """A door at the end of a cable; use as a context manager."""

    def __init__(self, port: str) -> None:
        """Open the serial port or pseudo-terminal `port`. Raises DoorctlError."""
        try:
            self._port = serial.Serial(port, 115200, timeout=0.1, write_timeout=5, exclusive=True)
        except (serial.SerialException, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EAGAIN:
                raise DoorctlError(f"{port} is busy; is another doorctl using it?") from None
            raise DoorctlError(f"{port}: {error}; is the door plugged in?") from None
        self._name = port
        self._pending = b""
        self._synchronise()

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_) -> None:
        self._port.close()

    def hello(self) -> dict:
        """Ask who this is."""
        return self._ask_json("hello")

    def status(self) -> dict:
        """Ask how it is."""
        return self._ask_json("status")

    def log(self, first: int = 1) -> list[records.Record]:
        """Fetch all records from sequence `first` on."""
        return [record for record, _ in self.raw_log(first)]

    def raw_log(self, first: int = 1) -> list[tuple[records.Record, bytes]]:
        """Fetch all records from sequence `first` on, each with its bytes."""
        found: list[tuple[records.Record, bytes]] = []
        while batch := self.log_batch(first).records:
            found += batch
            first = found[-1][0].sequence + 1
        return found

    def log_batch(self, first: int, most: int = _LOG_RECORDS) -> LogBatch:
        """Fetch up to `most` records, at most _LOG_RECORDS, from sequence `first` on."""
        self._write(f"log {first} {most}\n".encode())
        lines, text = self._answer(_ANSWER_TIMEOUT_S)
        found = []
        for line in lines:
            raw = unhexlify(line)
            record = records.unpack(raw)
            if record is None:
                raise DoorctlError(f"{self._name}: a record came damaged; try again")
            found.append((record, raw))
        words = text.split()
        try:
            journal_id = unhexlify(words[1])
            tag = unhexlify(words[2]) if lines and words[2] != "-" else None
        except (IndexError, ValueError):
            raise DoorctlError(f"{self._name}: does not tell its journal: {text!r}") from None
        return LogBatch(journal_id, tag, found)

    def push(self, data: bytes, progress: Callable[[int, int], None] | None = None) -> dict:
        """Send a signed object; return what the door says it now has in force.

        progress: called with (bytes taken, bytes in all). Raises DoorRefused.
        """
        self._write(b"push %d\n" % len(data))
        _, text = self._answer(_ANSWER_TIMEOUT_S)
        frame_bytes = int(text)
        for at in range(0, len(data), frame_bytes):
            piece = data[at : at + frame_bytes]
            self._write(struct.pack("<HI", len(piece), crc32(piece)) + piece)
            self._expect_progress()
            if progress is not None:
                progress(min(at + frame_bytes, len(data)), len(data))
        _, text = self._answer(_PUSH_TIMEOUT_S)
        return json.loads(text)

    def _synchronise(self) -> None:
        """Drop what was left for an earlier session: lines up to the echo of a number of our own."""
        number = secrets.randbelow(1_000_000_000)
        self._port.reset_input_buffer()
        # The first line end closes whatever somebody left half typed.
        self._write(b"\nsync %d\n" % number)
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        while self._line(_ANSWER_TIMEOUT_S) != f"OK sync {number}":
            if time.monotonic() > deadline:
                raise DoorctlError(f"{self._name}: talks, but not as a Doorward door does")

    def _ask_json(self, command: str) -> dict:
        self._write(command.encode() + b"\n")
        _, text = self._answer(_ANSWER_TIMEOUT_S)
        try:
            return json.loads(text)
        except ValueError:
            raise DoorctlError(f"{self._name}: not a Doorward door: {text[:40]!r}") from None

    def _expect_progress(self) -> None:
        line = self._line(_PUSH_TIMEOUT_S)
        if not line.startswith("PROGRESS "):
            self._raise_error(line)

    def _answer(self, timeout_s: float) -> tuple[list[str], str]:
        """Return (texts of the # lines, text behind OK)."""
        lines = []
        while True:
            line = self._line(timeout_s)
            if line.startswith("# "):
                lines.append(line[2:])
            elif line == "OK" or line.startswith("OK "):
                return lines, line[3:]
            else:
                self._raise_error(line)

    def _raise_error(self, line: str) -> None:
        parts = line.split(maxsplit=3)
        if len(parts) == 4 and parts[0] == "ERROR" and parts[1].isdigit():
            raise DoorRefused(int(parts[1]), parts[2], parts[3].strip('"'))
        raise DoorctlError(f"{self._name}: not an answer of a door: {line[:60]!r}")

    def _line(self, timeout_s: float) -> str:
        """Return the next line. Raises DoorctlError after `timeout_s` without one."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            if time.monotonic() > deadline:
                raise DoorctlError(f"{self._name}: no answer; is it a door, and is it running?")
            if len(self._pending) > _MAX_LINE_BYTES:
                raise DoorctlError(f"{self._name}: talks, but not as a Doorward door does")
            try:
                self._pending += self._port.read(max(1, self._port.in_waiting))
            except (serial.SerialException, OSError) as error:
                raise DoorctlError(f"{self._name}: {error}") from None
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode("ascii", "replace").rstrip("\r")

    def _write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise DoorctlError(f"{self._name}: {error}") from None
