"""The console: line commands, framed pushes, replies that begin OK, ERROR, PROGRESS or #.

The protocol is written down in docs/console.md. A cable is nobody's proof of anything: what
changes the door is signed, and what is not signed changes nothing.
"""

import asyncio
import json
import struct
from binascii import crc32, hexlify

from .. import const
from ..values import REFUSALS, TRANSFER_BROKEN, DoorwardError, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = const(1)
MAX_LINE_BYTES = const(96)
MAX_FRAME_BYTES = const(512)
MAX_LOG_RECORDS = const(32)

_RECORD_BYTES = const(64)
_FRAME_HEAD = "<HI"  # payload bytes, CRC-32 of the payload
_FRAME_HEAD_BYTES = const(6)
_READ_BYTES = const(128)
# A frame that stops coming for this long was cut off with the cable.
_FRAME_TIMEOUT_MS = const(3000)
_WRITE_TIMEOUT_MS = const(1000)

# Errors of the protocol itself; those of signed objects are values.REFUSALS.
BAD_COMMAND = const(64)
BAD_ARGUMENT = const(65)
LINE_TOO_LONG = const(66)
_ERRORS = {
    BAD_COMMAND: ("bad-command", "No such command; try help."),
    BAD_ARGUMENT: ("bad-argument", "The command's arguments are not the documented ones."),
    LINE_TOO_LONG: ("line-too-long", "A line may have 96 bytes."),
}


_HELP = (
    "sync <number>: repeat it",
    "hello: who this is",
    "status: how it is",
    "log <first sequence> <most>: journal records",
    "push <bytes>: send a signed object",
)
_NAMES = ("sync", "hello", "status", "log", "push")


class CableGone(DoorwardError):
    """Nobody takes what the console writes."""


class CommandError(DoorwardError):
    """A line was no valid command. The first argument is a key of the protocol's errors."""


class Console:
    """Serves one stream.

    Attributes:
        garbage_bytes: bytes that were part of no line and no frame.
    """

    def __init__(self, stream, hello, status, receiver, journal) -> None:
        """stream: the board's console. hello, status: callables that return a dict.

        receiver: takes signed objects: begin(total), async feed(piece), async finish() -> dict,
        abort(). journal: journal_id, async read(sequence, most) -> bytes, tag_before(sequence).
        """
        self._reader = asyncio.StreamReader(stream)
        self._writer: Any = asyncio.StreamWriter(stream, {})
        self._hello = hello
        self._status = status
        self._receiver = receiver
        self._journal = journal
        self._pending = b""
        self._is_line_torn = False
        self.garbage_bytes = 0

    async def run(self) -> None:
        """Serve for ever; a cable that is pulled ends a command, not the console."""
        while True:
            line = await self._line()
            try:
                await self._serve(line)
            except CableGone:
                self._receiver.abort()

    async def _serve(self, line: bytes | None) -> None:
        try:
            if line is None:
                raise CommandError(LINE_TOO_LONG)
            words = _words(line)
            if words:
                await self._command(words)
        except CommandError as error:
            code = error.args[0]
            await self._error(code, *_ERRORS[code])
        except Refused as error:
            await self._error(error.code, *REFUSALS[error.code])

    async def _command(self, words: list) -> None:
        name = words[0]
        if name == "sync" and len(words) == 2:
            # Whoever plugs in drops all lines until this answer: they were for somebody else.
            await self._ok("sync %d" % _number(words[1]))
        elif name == "hello" and len(words) == 1:
            await self._ok(json.dumps(self._hello()))
        elif name == "status" and len(words) == 1:
            await self._ok(json.dumps(self._status()))
        elif name == "log" and len(words) == 3:
            await self._log(_number(words[1]), _number(words[2]))
        elif name == "push" and len(words) == 2:
            await self._push(_number(words[1]))
        elif name == "help":
            for text in _HELP:
                await self._say("# " + text)
            await self._ok()
        elif name in _NAMES:
            raise CommandError(BAD_ARGUMENT)
        else:
            raise CommandError(BAD_COMMAND)

    async def _log(self, first: int, most: int) -> None:
        """Send records as hexadecimal lines, the oldest that is left first."""
        records = await self._journal.read(first, min(most, MAX_LOG_RECORDS))
        for at in range(0, len(records), _RECORD_BYTES):
            await self._say("# " + hexlify(records[at : at + _RECORD_BYTES]).decode())
        told = hexlify(self._journal.journal_id).decode()
        if records:
            # What the chain goes on from; nothing where it was overwritten this very moment.
            tag = self._journal.tag_before(struct.unpack_from("<I", records, 4)[0])
            told += " " + (hexlify(tag).decode() if tag else "-")
        await self._ok("%d %s" % (len(records) // _RECORD_BYTES, told))

    async def _push(self, total_bytes: int) -> None:
        """Take one signed object in frames; each is answered before the next is sent."""
        self._receiver.begin(total_bytes)
        taken = 0
        try:
            await self._ok(str(MAX_FRAME_BYTES))
            while taken < total_bytes:
                piece = await self._frame()
                await self._receiver.feed(piece)
                taken += len(piece)
                await self._say("PROGRESS %d/%d" % (taken, total_bytes))
            await self._ok(json.dumps(await self._receiver.finish()))
        except Refused as error:
            self._receiver.refuse(error.code)
            raise

    async def _frame(self) -> bytes:
        length, crc = struct.unpack(_FRAME_HEAD, await self._exactly(_FRAME_HEAD_BYTES))
        if not 1 <= length <= MAX_FRAME_BYTES:
            await self._drain()
            raise Refused(TRANSFER_BROKEN)
        payload = await self._exactly(length)
        if crc32(payload) & 0xFFFFFFFF != crc:
            await self._drain()
            raise Refused(TRANSFER_BROKEN)
        return payload

    async def _exactly(self, count: int) -> bytes:
        while len(self._pending) < count:
            try:
                got = await asyncio.wait_for_ms(self._read(), _FRAME_TIMEOUT_MS)
            except asyncio.TimeoutError:
                self.garbage_bytes += len(self._pending)
                self._pending = b""
                raise Refused(TRANSFER_BROKEN) from None
            self._pending += got
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    async def _drain(self) -> None:
        """Drop what is still coming of a broken transfer, until the line is silent for 200 ms."""
        while True:
            self.garbage_bytes += len(self._pending)
            self._pending = b""
            try:
                self._pending = await asyncio.wait_for_ms(self._read(), 200)
            except asyncio.TimeoutError:
                return

    async def _line(self) -> bytes | None:
        """Return the next line without its end, or None for one that was too long."""
        is_too_long = False
        while True:
            end = self._pending.find(b"\n")
            if end >= 0:
                line, self._pending = self._pending[:end], self._pending[end + 1 :]
                if is_too_long or end > MAX_LINE_BYTES:
                    self.garbage_bytes += end
                    return None
                return line.rstrip(b"\r")
            if len(self._pending) > MAX_LINE_BYTES:
                is_too_long = True
                self.garbage_bytes += len(self._pending)
                self._pending = b""
            self._pending += await self._read()

    async def _read(self) -> bytes:
        while True:
            try:
                got = await self._reader.read(_READ_BYTES)
            except OSError:
                got = None
            if got:
                return got
            # Nobody at the other end: a pulled cable reads as an error or as an end.
            await asyncio.sleep_ms(50)

    async def _say(self, line: str) -> None:
        text = line.encode() + b"\n"
        if self._is_line_torn:
            self._is_line_torn = False
            text = b"\n" + text
        try:
            self._writer.write(text)
            await asyncio.wait_for_ms(self._writer.drain(), _WRITE_TIMEOUT_MS)
        except (asyncio.TimeoutError, OSError):
            self._writer.out_buf = b""
            self._is_line_torn = True
            raise CableGone("nobody reads the console") from None

    async def _ok(self, text: str = "") -> None:
        await self._say(("OK " + text).rstrip())

    async def _error(self, code: int, name: str, text: str) -> None:
        await self._say('ERROR %d %s "%s"' % (code, name, text))


def _words(line: bytes) -> list:
    """Split a line into words. Raises CommandError(BAD_COMMAND) for anything but printable ASCII."""
    for byte in line:
        if not 0x20 <= byte < 0x7F:
            raise CommandError(BAD_COMMAND)
    return line.decode().split()


def _number(word: str) -> int:
    if not word.isdigit() or len(word) > 9:
        raise CommandError(BAD_ARGUMENT)
    return int(word)
