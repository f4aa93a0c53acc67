"""Owns the time that flash takes: the emulated chip has it programmed and erased in no time."""

from collections.abc import Callable
from dataclasses import dataclass

from rp2040py.peripherals.ssi import (
    CMD_BLOCK_ERASE,
    CMD_PAGE_PROGRAM,
    CMD_READ_STATUS_1,
    CMD_SECTOR_ERASE,
    FLASH_BLOCK_SIZE,
    FLASH_PAGE_SIZE,
    FLASH_SECTOR_SIZE,
    RPSSI,
)

# Typical times of the Pico's W25Q16JV, data sheet 9.6; its longest are 3, 400 and 2000 ms.
PROGRAM_MS = 0.4
SECTOR_ERASE_MS = 45.0
BLOCK_ERASE_MS = 150.0

_BUSY = 0x01  # status register 1, data sheet 7.1
_PROGRAM = "program"
_ERASE = "erase"


@dataclass
class FlashOperation:
    """One program or erase. kind: "program" or "erase"; at: flash offset.

    begin_ns: chip select rose; ready_ns: the processor read that the flash is done, None before.
    """

    kind: str
    at: int
    begin_ns: int
    ready_ns: int | None = None


class FlashTiming:
    """Keeps the flash busy after each command, as its status register then says.

    The boot ROM asks for that status in a loop with interrupts off and no code fetched from flash,
    so the processor loses the same time in the same way as on the chip.

    Attributes:
        operations: every FlashOperation so far.
    """

    def __init__(
        self,
        ssi: RPSSI,
        flash: bytearray,
        now_ns: Callable[[], int],
        on_begin: Callable[[], None],
        sector_erase_ms: float,
    ) -> None:
        """on_begin: called when an operation begins."""
        self.operations: list[FlashOperation] = []
        self._ssi = ssi
        self._flash = flash
        self._now_ns = now_ns
        self._on_begin = on_begin
        # By command: kind, bytes it touches at most, how long it takes.
        self._commands = {
            CMD_PAGE_PROGRAM: (_PROGRAM, FLASH_PAGE_SIZE, round(PROGRAM_MS * 1e6)),
            CMD_SECTOR_ERASE: (_ERASE, FLASH_SECTOR_SIZE, round(sector_erase_ms * 1e6)),
            CMD_BLOCK_ERASE: (_ERASE, FLASH_BLOCK_SIZE, round(BLOCK_ERASE_MS * 1e6)),
        }
        self._busy_until_ns = 0
        self._before = b""
        # rp2040py has no hook here, so two of its methods are stood in for; its version is pinned.
        self._shift_plain = ssi._shift_byte
        self._apply_plain = ssi._apply_command
        ssi._shift_byte = self._shift_byte
        ssi._apply_command = self._apply_command

    def cut_power(self) -> None:
        """The power goes: what was being programmed or erased is done by half."""
        if self._now_ns() < self._busy_until_ns:
            at = self.operations[-1].at
            half = len(self._before) // 2
            self._flash[at + half : at + len(self._before)] = self._before[half:]
        self._busy_until_ns = 0

    def _shift_byte(self, byte_out: int) -> int:
        answer = self._shift_plain(byte_out)
        sent = self._ssi._tx_buffer
        if len(sent) > 1 and sent[0] == CMD_READ_STATUS_1:
            now = self._now_ns()
            if now < self._busy_until_ns:
                return answer | _BUSY
            if self.operations and self.operations[-1].ready_ns is None:
                self.operations[-1].ready_ns = now
        return answer

    def _apply_command(self) -> None:
        sent = bytes(self._ssi._tx_buffer)
        if sent and sent[0] in self._commands and self._ssi._write_enabled:
            kind, size, duration_ns = self._commands[sent[0]]
            at = int.from_bytes(sent[1:4], "big") // size * size
            self._before = bytes(self._flash[at : at + size])
            now = self._now_ns()
            self._busy_until_ns = now + duration_ns
            self.operations.append(FlashOperation(kind, at, now))
            self._on_begin()
        self._apply_plain()
