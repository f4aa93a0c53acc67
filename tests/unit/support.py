"""What unit tests on both interpreters share: flash in memory, settable ticks, asyncio on CPython.

Importing it gives CPython's asyncio the `sleep_ms` and `wait_for_ms` that the firmware uses.
"""

import asyncio
import hashlib
import time

from doorward.hal.roles import PAGE_BYTES, SECTOR_BYTES, FlashFault, FlashRegion

TEARS = 7  # ways in which an operation is torn that the power cuts

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


class Power:
    """The power of one board: it may go at any flash operation, over all regions that share it.

    Attributes:
        left: operations until it goes; None: it stays.
        seed: how the operation is torn that is under way then, see `torn`.
        watch: called before each operation with the flash, the offset and the bytes that will be
            there after it; None: nobody watches.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        self.seed = 0
        self.watch = None

    def spend(self, flash: "MemoryFlash", offset: int, after: bytes) -> None:
        """Let one operation happen. Raises PowerCut, with the bytes torn or, later, untouched."""
        if self.watch is not None:
            self.watch(flash, offset, after)
        if self.left is not None:
            self.left -= 1
            if self.left == -1:
                before = flash.data[offset : offset + len(after)]
                flash.data[offset : offset + len(after)] = torn(before, after, self.seed)
            if self.left < 0:
                raise PowerCut()
        flash.data[offset : offset + len(after)] = after


def torn(before: bytes | bytearray, after: bytes, seed: int) -> bytes:
    """Return what an operation leaves that was cut: each bit as it was before or as it would be
    after, at random.

    TEARS seeds in a row tear in as many ways: half of the bits changed, an eighth, all but an
    eighth, one in a thousand, all but that, none, and all.
    """
    kind = seed % TEARS
    if kind >= TEARS - 2:
        return bytes(after if kind == TEARS - 1 else before)
    mask = -1
    for part in range((1, 3, 3, 10, 10)[kind]):
        mask &= _random_bits(len(after), seed, part)
    if kind in (2, 4):
        mask = ~mask
    old, new = int.from_bytes(before, "little"), int.from_bytes(after, "little")
    return (old ^ (old ^ new) & mask).to_bytes(len(after), "little")


def _random_bits(size_bytes: int, seed: int, part: int) -> int:
    blocks = []
    for block in range((size_bytes + 31) // 32):
        blocks.append(hashlib.sha256(b"%d %d %d" % (seed, part, block)).digest())
    return int.from_bytes(b"".join(blocks)[:size_bytes], "little")


class MemoryFlash(FlashRegion):
    """NOR flash in RAM: erased is 0xFF, programming only clears bits.

    Attributes:
        data: the bytes; a test may change them behind the firmware's back.
        erases, programs: operations so far.
        power: the Power of the board, which may be cut.
    """

    def __init__(
        self, size_bytes: int, is_mapped: bool = False, power: Power | None = None
    ) -> None:
        super().__init__(size_bytes)
        self.data = bytearray(b"\xff" * size_bytes)
        if is_mapped:
            self.view = memoryview(self.data)
        self.erases = 0
        self.programs = 0
        self.power = power or Power()

    def read_into(self, offset: int, buf: bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        buf[:] = self.data[offset : offset + len(buf)]

    def program(self, offset: int, buf: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(buf))
        if offset // PAGE_BYTES != (offset + len(buf) - 1) // PAGE_BYTES:
            raise FlashFault("programs over the end of a page")
        self.programs += 1
        old = int.from_bytes(self.data[offset : offset + len(buf)], "little")
        after = (old & int.from_bytes(buf, "little")).to_bytes(len(buf), "little")
        self.power.spend(self, offset, after)

    def erase(self, offset: int) -> None:
        self.check_range(offset, SECTOR_BYTES)
        if offset % SECTOR_BYTES:
            raise FlashFault("erases what is no sector")
        self.erases += 1
        self.power.spend(self, offset, b"\xff" * SECTOR_BYTES)

    def copy(self, power: Power | None = None) -> "MemoryFlash":
        """Return another flash with the same content, on a power of its own or the given one."""
        other = MemoryFlash(self.size_bytes, self.view is not None, power)
        other.data[:] = self.data
        return other


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


class RealTicks(FakeTicks):
    """Ticks that go, as a board's do."""

    def ticks_us(self) -> int:
        return time.time_ns() // 1000 % _TICKS_PERIOD

    def ticks_ms(self) -> int:
        return time.time_ns() // 1_000_000 % _TICKS_PERIOD
