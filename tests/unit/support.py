"""What unit tests on both interpreters share: flash in memory, settable ticks, asyncio on CPython.

Importing it gives CPython's asyncio the `sleep_ms` and `wait_for_ms` that the firmware uses.
"""

import asyncio

from doorward.hal.roles import SECTOR_BYTES, FlashRegion

_TICKS_PERIOD = 1 << 30  # as on the boards
_HERE = __file__.replace("\\", "/")
_UNIT_FOLDER = _HERE.rsplit("/", 1)[0] if "/" in _HERE else "."


if not hasattr(asyncio, "sleep_ms"):

    async def _sleep_ms(ms: int) -> None:
        await asyncio.sleep(ms / 1000)

    async def _wait_for_ms(awaitable, ms: int):
        return await asyncio.wait_for(awaitable, ms / 1000)

    asyncio.sleep_ms = _sleep_ms
    asyncio.wait_for_ms = _wait_for_ms


def vector(name: str) -> str:
    """Return the path of a file under tests/vectors."""
    return _UNIT_FOLDER + "/../vectors/" + name


class MemoryFlash(FlashRegion):
    """NOR flash in RAM: erased is 0xFF, programming only clears bits.

    Attributes:
        data: the bytes; a test may change them behind the firmware's back.
        erases, programs: operations so far.
        fail_after: operations until a power cut, which raises PowerCut; None: never. The operation
            that is cut is torn: done for the first half of its bytes.
    """

    def __init__(self, size_bytes: int, is_mapped: bool = False) -> None:
        super().__init__(size_bytes)
        self.data = bytearray(b"\xff" * size_bytes)
        if is_mapped:
            self.view = memoryview(self.data)
        self.erases = 0
        self.programs = 0
        self.fail_after: int | None = None

    def read_into(self, offset: int, buf: bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        buf[:] = self.data[offset : offset + len(buf)]

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        self.programs += 1
        is_cut = self._is_cut()
        for i in range(len(buf) // 2 if is_cut else len(buf)):
            self.data[offset + i] &= buf[i]
        if is_cut:
            raise PowerCut()

    def erase(self, offset: int) -> None:
        self.check_range(offset, SECTOR_BYTES)
        self.erases += 1
        is_cut = self._is_cut()
        length = SECTOR_BYTES // 2 if is_cut else SECTOR_BYTES
        self.data[offset : offset + length] = b"\xff" * length
        if is_cut:
            raise PowerCut()

    def copy(self) -> "MemoryFlash":
        """Return another flash with the same content."""
        other = MemoryFlash(self.size_bytes, self.view is not None)
        other.data[:] = self.data
        return other

    def _is_cut(self) -> bool:
        if self.fail_after is None:
            return False
        self.fail_after -= 1
        return self.fail_after < 0


class PowerCut(Exception):
    """The power went during a flash operation; whoever holds the region starts anew on it."""


class OpenGate:
    """A quiet gate that always is: runs at once."""

    async def run(self, call, *args):
        return call(*args)


class FakeTicks:
    """Ticks that stand still until they are moved; they wrap as a board's do.

    Attributes:
        now_us: microseconds since the start, not wrapped.
    """

    def __init__(self, now_us: int = 0) -> None:
        self.now_us = now_us

    def advance_us(self, us: int) -> None:
        self.now_us += us

    def advance_ms(self, ms: int) -> None:
        self.now_us += ms * 1000

    def ticks_us(self) -> int:
        return self.now_us % _TICKS_PERIOD

    def ticks_ms(self) -> int:
        return self.now_us // 1000 % _TICKS_PERIOD

    def ticks_diff(self, later: int, earlier: int) -> int:
        half = _TICKS_PERIOD // 2
        return (later - earlier + half) % _TICKS_PERIOD - half

    def ticks_add(self, ticks: int, delta: int) -> int:
        return (ticks + delta) % _TICKS_PERIOD
