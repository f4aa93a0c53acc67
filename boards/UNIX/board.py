"""The board that is a process: MicroPython's unix port with the bench around it.

What it is wired to comes from the environment:
DOORWARD_FLASH       file that is the flash
DOORWARD_CONSOLE_FD  inherited non-blocking descriptor that is the cable
DOORWARD_BENCH_PORT  TCP port on the loopback for the bench's commands
DOORWARD_BENCH_FILE  file that keeps how things stand around the door
DOORWARD_CLOCK       "host", the default: the board's own clock is the host's; "unset": it has none;
                     "battery": it has a DS3231, whose battery began with the process
"""

import os
import sys
import time

from doorward.hal import unix
from doorward.hal.ds3231 import Ds3231
from doorward.hal.roles import LAYOUT_2MB, Board
from doorward.values import CLOCK_HELD, CLOCK_SYNCED, CLOCK_UNSET
from sim.bench import Bench
from sim.ds3231 import Ds3231 as Ds3231Model

# Whoever holds the process starts it anew on this exit, as power and reset do on a real board.
RESET_EXIT = 75


class UnixBoard(Board):
    """A board in a process."""

    def __init__(self) -> None:
        self.name = "UNIX"
        self.bench = Bench(unix.Network(), os.getenv("DOORWARD_BENCH_FILE"))
        self.strike = self.bench.strike
        self.leds = self.bench.leds
        self.buzzer = self.bench.buzzer
        self.pixel = self.bench.pixel
        self.inputs = self.bench.inputs
        self.spi = self.bench.spi
        self.reader_cs = self.bench.reader_cs
        self.reader_reset = self.bench.reader_reset
        self.reader_irq = self.bench.reader_irq
        self.network = self.bench.network
        self._clock = os.getenv("DOORWARD_CLOCK") or "host"
        if self._clock == "battery":
            self.rtc = Ds3231(Ds3231Model(time.time_ns))
            self.rtc.write(int(time.time()))
        self.ticks = time
        layout = LAYOUT_2MB
        flash = unix.FlashFile(os.getenv("DOORWARD_FLASH"), layout.size_bytes)
        self.provision = flash.region(layout.provision)
        self.state = flash.region(layout.state)
        self.lists = flash.region(layout.lists)
        self.journal = flash.region(layout.journal)
        self.console = unix.console(int(os.getenv("DOORWARD_CONSOLE_FD")))
        self._bench_port = int(os.getenv("DOORWARD_BENCH_PORT"))

    def wall_clock(self) -> tuple[int, int]:
        if self._clock == "host":
            return int(time.time()), CLOCK_SYNCED
        kept_s = None if self.rtc is None else self.rtc.read()
        return (0, CLOCK_UNSET) if kept_s is None else (kept_s, CLOCK_HELD)

    def random_bytes(self, n: int) -> bytes:
        return unix.random_bytes(n)

    def reset(self) -> None:
        sys.exit(RESET_EXIT)

    def restart_cause(self) -> int:
        return unix.restart_cause()

    def report(self, text: str, error: Exception | None = None) -> None:
        sys.stderr.write("doorward: " + text + "\n")
        if error is not None:
            sys.print_exception(error, sys.stderr)

    def tasks(self) -> list:
        return [("bench", self._serve_bench)]

    async def _serve_bench(self) -> None:
        await self.bench.serve(self._bench_port)


def make_board() -> Board:
    return UnixBoard()
