"""Every board folder: pins, flash, the safe strike at boot, and the roles the app needs.

The ports run here on stand-ins for MicroPython's hardware modules. What those cannot show, the
chip's own timing and levels, is the bench's to show.
"""

import asyncio
import csv
import importlib
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from doorward.config import SETTINGS, Config
from doorward.hal import roles
from doorward.hal.flash import BlockRegion
from doorward.portal.portal import INPUTS, Portal
from doorward.values import CLOCK_HELD, CLOCK_UNSET, UNKNOWN_BADGE
from sim.ds3231 import Ds3231

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "boards"
CHIP_BOARDS = sorted(p.name for p in BOARDS.iterdir() if (p / "pins.py").exists())
PICOS = [name for name in CHIP_BOARDS if name.startswith("RPI_")]
ESPS = [name for name in CHIP_BOARDS if name.startswith("ESP32")]

MB = 1 << 20
# What each board must not use: pins that strap, belong to flash, USB or the console, or are absent.
# The ESP32's 15 straps too, but high is what it is anyhow, and I2C holds it there.
FORBIDDEN = {
    "RPI_PICO": {0, 1, 23, 24, 25, 29},
    "RPI_PICO_W": {0, 1, 23, 24, 25, 29},
    "ESP32_GENERIC": {0, 1, 2, 3, 12, *range(6, 12), 20, 24, *range(28, 32)},
    "ESP32_GENERIC_S3": {0, 3, 19, 20, *range(22, 38), 43, 44, 45, 46},
}
FLASH_BYTES = {"ESP32_GENERIC": 4 * MB, "ESP32_GENERIC_S3": 8 * MB}
NOT_PINS = ("STRIKE_ACTIVE", "SPI", "SPI_BAUD", "WITHOUT_PULL_UP")
BOARD_MODULES = ("board", "pins", "layout")
PORT_MODULES = (
    "doorward.hal.rp2",
    "doorward.hal.esp32",
    "doorward.hal.chip",
    "doorward.hal.cable",
)


class NorFlash(bytearray):
    """A block device that erases to ones, programs ones to zeros, and fails outside its range."""

    def __new__(cls, *, start: int = 0, len: int = 64 * 4096):
        return super().__new__(cls, len)

    def __init__(self, *, start: int = 0, len: int = 64 * 4096) -> None:
        super().__init__(b"\xff" * len)
        self.start = start
        self.programs: list[tuple[int, int]] = []

    def _range(self, block: int, buf, offset: int) -> slice:
        assert 0 <= offset < 4096
        at = block * 4096 + offset
        if at + len(buf) > len(self):
            raise OSError(22)
        return slice(at, at + len(buf))

    def readblocks(self, block: int, buf, offset: int) -> None:
        buf[:] = self[self._range(block, buf, offset)]

    def writeblocks(self, block: int, buf, offset: int) -> None:
        place = self._range(block, buf, offset)
        self.programs.append((place.start, len(buf)))
        self[place] = bytes(old & new for old, new in zip(self[place], buf))

    def ioctl(self, request: int, block: int) -> int:
        assert request == 6
        if (block + 1) * 4096 > len(self):
            raise OSError(22)
        self[block * 4096 : (block + 1) * 4096] = b"\xff" * 4096
        return 0


class Hardware:
    """Stand-ins for one chip's modules.

    Attributes:
        writes: (pin number, level) in the order they came.
        used: the numbers of the pins that were set up.
        levels: what input pins read; 1 where nothing else is said.
        streams: (pin number, timing, bytes) that went out as bit streams.
        rtc: the DS3231 on the I2C wires; it is not there until a test says so.
        buses: (SCL pin, SDA pin, named arguments) of the I2C buses.
    """

    def __init__(self, partition_bytes: int) -> None:
        self.writes: list[tuple[int, int]] = []
        self.used: list[int] = []
        self.levels: dict[int, int] = {}
        self.streams: list[tuple[int, tuple[int, ...], bytes]] = []
        self.watchdogs: list[int] = []
        self.is_break_off = False
        self.rtc = Ds3231(time.monotonic_ns)
        self.rtc.is_there = False
        self.buses: list[tuple] = []
        hardware = self

        class Pin:
            OUT, IN, PULL_UP = "out", "in", "up"

            def __init__(self, number, mode=None, pull=None, *, value=None) -> None:
                assert mode is not self.OUT or value is not None, "an output without a level"
                self.number, self.mode, self.pull = number, mode, pull
                hardware.used.append(number)
                if value is not None:
                    self(value)

            def __call__(self, level=None):
                if level is None:
                    return hardware.levels.get(self.number, 1)
                hardware.writes.append((self.number, level))
                return None

        class WDT:
            def __init__(self, *, timeout: int) -> None:
                hardware.watchdogs.append(timeout)

        class Partition(NorFlash):
            @staticmethod
            def find(kind: int, subtype: int, label: str):
                is_ours = (kind, subtype, label) == (0x40, 0x00, "doorward") and partition_bytes
                return [Partition(len=partition_bytes)] if is_ours else []

            def info(self):
                return (0x40, 0, 0x200000, len(self), "doorward", False)

        class Poller:
            def register(self, stream, flags) -> None:
                pass

        wlan = type("WLAN", (), {"IF_STA": 0, "__init__": lambda self, interface: None})
        self.modules = {
            "machine": SimpleNamespace(
                Pin=Pin,
                WDT=WDT,
                SPI=lambda n, **how: SimpleNamespace(n=n, **how),
                SoftI2C=self._soft_i2c,
                reset=None,
                bitstream=lambda pin, encoding, timing, data: self.streams.append(
                    (pin.number, timing, bytes(data))
                ),
            ),
            "rp2": SimpleNamespace(Flash=NorFlash),
            "esp32": SimpleNamespace(Partition=Partition),
            "network": SimpleNamespace(WLAN=wlan),
            "micropython": SimpleNamespace(kbd_intr=self._kbd_intr, const=int),
            "select": SimpleNamespace(poll=Poller, POLLIN=1, POLLOUT=4),
        }

    def _soft_i2c(self, scl, sda, **how):
        self.buses.append((scl, sda, how))
        return self.rtc

    def _kbd_intr(self, char: int) -> None:
        self.is_break_off = char == -1


@pytest.fixture
def power_on(monkeypatch):
    """Return a callable: put one board's folder and its chip's modules where imports find them."""

    def power(name: str, partition_bytes: int = 8 * MB) -> Hardware:
        hardware = Hardware(partition_bytes)
        for module, stand_in in hardware.modules.items():
            monkeypatch.setitem(sys.modules, module, stand_in)
        for module in BOARD_MODULES + PORT_MODULES:
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(str(BOARDS / name))
        return hardware

    yield power
    for module in BOARD_MODULES + PORT_MODULES:
        sys.modules.pop(module, None)


def board_module(name: str, module: str) -> ModuleType:
    return SimpleNamespace(**runpy.run_path(str(BOARDS / name / (module + ".py"))))


def numbers(pins) -> list[int]:
    found = []
    for name, value in vars(pins).items():
        if name == "INPUTS":
            found += value.values()
        elif name.isupper() and name not in NOT_PINS:
            found += value if isinstance(value, tuple) else [value]
    return found


# Pins.


def test_there_are_boards() -> None:
    assert CHIP_BOARDS == ["ESP32_GENERIC", "ESP32_GENERIC_S3", "RPI_PICO", "RPI_PICO_W"]


@pytest.mark.parametrize("name", CHIP_BOARDS)
def test_pins_are_unique_and_usable(name: str) -> None:
    pins = board_module(name, "pins")
    used = numbers(pins)
    assert len(used) == 21
    assert len(set(used)) == len(used)
    assert not set(used) & FORBIDDEN[name]
    assert pins.STRIKE_ACTIVE in (0, 1)
    assert 8_000_000 <= pins.SPI_BAUD <= 10_000_000


@pytest.mark.parametrize("name", CHIP_BOARDS)
def test_every_input_that_can_be_configured_has_a_pin(name: str) -> None:
    configured = {one.name[6:] for one in SETTINGS if one.name.startswith("input_")}
    assert set(board_module(name, "pins").INPUTS) == set(INPUTS) == configured


@pytest.mark.parametrize("name", CHIP_BOARDS)
def test_what_has_no_pull_up_is_stated_and_only_an_input(name: str) -> None:
    """ESP32 data sheet, 2.2: GPIO 34 to 39 are inputs without pull-ups."""
    pins = board_module(name, "pins")
    bare = {number for number in numbers(pins) if name == "ESP32_GENERIC" and number >= 34}
    assert set(pins.WITHOUT_PULL_UP) == bare
    assert bare <= set(pins.INPUTS.values())


@pytest.mark.parametrize("name", PICOS)
def test_a_pico_s_spi_pins_are_its_spi_s(name: str) -> None:
    """RP2040 data sheet 1.4.3: GPIO n is SPI(n / 8 % 2)'s RX, CSn, SCK, TX by n % 4."""
    pins = board_module(name, "pins")
    for number, function in ((pins.SPI_MISO, 0), (pins.SPI_SCK, 2), (pins.SPI_MOSI, 3)):
        assert (number // 8 % 2, number % 4) == (pins.SPI, function)


# Flash.


@pytest.mark.parametrize("name", CHIP_BOARDS)
def test_a_layout_has_what_the_stores_need(name: str) -> None:
    layout = board_module(name, "layout").LAYOUT
    assert layout.provision[1] >= 2 * roles.PROVISION_SLOT_BYTES
    assert layout.state[1] >= 2 * roles.SECTOR_BYTES
    assert layout.journal[1] >= 4 * roles.SECTOR_BYTES
    assert layout.lists[1] >= 256 * 1024


@pytest.mark.parametrize("name", PICOS)
def test_a_pico_s_layout_fits_its_storage_area(name: str) -> None:
    flash = board_module(name, "layout")
    assert flash.STORAGE_OFFSET + flash.STORAGE_BYTES == 2 * MB
    assert flash.LAYOUT.size_bytes + 32 * roles.SECTOR_BYTES <= flash.STORAGE_BYTES


@pytest.mark.parametrize("name", ESPS)
def test_an_esp32_s_partitions_fit_its_flash_and_its_layout(name: str) -> None:
    text = (BOARDS / name / "partitions.csv").read_text().splitlines()
    rows = [row for row in csv.reader(text) if not row[0].startswith("#")]
    table = {row[0]: [field.strip() for field in row[1:]] for row in rows}
    places = [(int(row[2], 0), int(row[3], 0)) for row in table.values()]
    end = 0x9000
    for start, size in places:
        assert start >= end
        assert start % 4096 == size % 4096 == 0
        end = start + size
    assert end == FLASH_BYTES[name]
    assert table["doorward"][:2] == ["0x40", "0x00"]
    assert table["factory"][2] == "0x10000"
    assert int(table["doorward"][3], 0) == board_module(name, "layout").LAYOUT.size_bytes


# Boot.


@pytest.mark.parametrize("name", CHIP_BOARDS)
@pytest.mark.parametrize("script", [ROOT / "firmware" / "boot.py", BOARDS / "_boot.py"])
def test_boot_makes_the_strike_safe_and_touches_nothing_else(power_on, name, script) -> None:
    hardware = power_on(name)
    runpy.run_path(str(script))
    pins = importlib.import_module("pins")
    assert hardware.writes == [(pins.STRIKE, 1 - pins.STRIKE_ACTIVE)]
    loaded = [module for module in PORT_MODULES if module in sys.modules]
    assert loaded == [], "a fault in a port must not keep the strike from being safe"


def test_a_development_image_makes_the_strike_safe_before_it_formats(
    power_on, monkeypatch
) -> None:
    hardware = power_on("RPI_PICO")
    steps = []

    class VfsLfs2:
        def __init__(self, device, progsize: int) -> None:
            steps.append(("open", device.start, len(hardware.writes)))
            if len(steps) == 1:
                raise OSError(19)

        @staticmethod
        def mkfs(device, progsize: int) -> None:
            steps.append(("format", device.start, len(hardware.writes)))

    monkeypatch.setitem(
        sys.modules, "vfs", SimpleNamespace(VfsLfs2=VfsLfs2, mount=lambda files, place: None)
    )
    runpy.run_path(str(BOARDS / "RPI_PICO" / "development" / "_boot.py"))
    behind = roles.LAYOUT_2MB.size_bytes
    assert steps == [("open", behind, 1), ("format", behind, 1), ("open", behind, 1)]


@pytest.mark.parametrize("name", CHIP_BOARDS)
def test_a_board_has_every_role(power_on, name: str) -> None:
    hardware = power_on(name)
    runpy.run_path(str(ROOT / "firmware" / "boot.py"))
    made = importlib.import_module("board").make_board()
    pins = importlib.import_module("pins")
    layout = importlib.import_module("layout").LAYOUT

    assert made.name == name
    at_strike = [level for number, level in hardware.writes if number == pins.STRIKE]
    assert set(at_strike) == {1 - pins.STRIKE_ACTIVE}
    assert (made.strike.number, made.strike_active) == (pins.STRIKE, pins.STRIKE_ACTIVE)
    assert [led.number for led in made.leds] == list(pins.LEDS)
    assert made.buzzer.number == pins.BUZZER
    assert not set(hardware.used) & set(pins.INPUTS.values()), "not before somebody wants one"
    for input_name, number in pins.INPUTS.items():
        contact = made.inputs.get(input_name)
        assert (contact.number, contact.mode) == (number, "in")
        assert contact.pull == (None if number in pins.WITHOUT_PULL_UP else "up")
        assert contact() == 1
    assert made.inputs.get("window") is None
    assert (made.reader_cs.number, made.reader_reset.number) == (pins.READER_CS, pins.READER_RESET)
    assert (pins.READER_CS, 1) in hardware.writes, "not selected"
    assert (made.spi.n, made.spi.polarity, made.spi.phase) == (pins.SPI, 0, 0)
    assert made.spi.sck.number == pins.SPI_SCK
    for role in ("provision", "state", "lists", "journal"):
        assert getattr(made, role).size_bytes == getattr(layout, role)[1]
        assert (getattr(made, role).view is None) == (name in ESPS)
    assert made.ticks is time
    assert made.console is not None
    assert hardware.is_break_off, "Ctrl-C is a byte like any other"
    assert (made.network is None) == (name == "RPI_PICO")
    assert hardware.watchdogs == [8000]
    seconds, quality = made.wall_clock()
    assert quality == CLOCK_UNSET
    assert abs(seconds - time.time()) < 5
    assert len(made.random_bytes(16)) == 16
    assert made.tasks() == []


class Clock:
    """MicroPython's ticks on CPython, which stand still."""

    def __init__(self) -> None:
        self.now_ms = 0

    def ticks_ms(self) -> int:
        return self.now_ms

    def ticks_diff(self, late: int, early: int) -> int:
        return late - early

    def ticks_add(self, ticks: int, delta: int) -> int:
        return ticks + delta


def portal_of(made, **settings) -> Portal:
    made.ticks = Clock()
    return Portal(made, Config({"site": "here", "door": "front", **settings}))


@pytest.mark.parametrize("name", CHIP_BOARDS)
@pytest.mark.parametrize("script", [ROOT / "firmware" / "boot.py", BOARDS / "_boot.py"])
@pytest.mark.parametrize("kind", ["fail-secure", "fail-safe"])
def test_the_strike_from_boot_to_crash(power_on, name: str, script: Path, kind: str) -> None:
    """De-energised at boot, when it is built, and when the task that watches over it dies."""
    hardware = power_on(name)
    runpy.run_path(str(script))
    made = importlib.import_module("board").make_board()
    pins = importlib.import_module("pins")
    off, on = 1 - pins.STRIKE_ACTIVE, pins.STRIKE_ACTIVE

    def levels() -> list[int]:
        return [level for number, level in hardware.writes if number == pins.STRIKE]

    assert set(levels()) == {off}
    at_boot = len(levels())
    portal = portal_of(made, strike_type=kind)
    while_built = levels()[at_boot:]
    assert while_built == ([off] if kind == "fail-secure" else [off, on])
    assert not portal.is_released
    portal.release()
    assert levels()[-1] == (on if kind == "fail-secure" else off)

    def die() -> None:
        raise RuntimeError("crash")

    portal.hold(True)
    with pytest.raises(RuntimeError, match="crash"):
        asyncio.run(portal.watch_strike(die))
    assert levels()[-1] == off
    portal.make_safe()
    assert levels()[-1] == off
    assert portal.is_released == (kind == "fail-safe")


@pytest.mark.parametrize("name", CHIP_BOARDS)
@pytest.mark.parametrize("rest", ["no", "nc"])
def test_a_fail_safe_door_that_starts_in_a_fire_does_not_lock(power_on, name, rest) -> None:
    hardware = power_on(name)
    made = importlib.import_module("board").make_board()
    pins = importlib.import_module("pins")
    hardware.levels[pins.INPUTS["fire"]] = 0 if rest == "no" else 1
    portal = portal_of(made, strike_type="fail-safe", input_fire=rest)
    strike = {level for number, level in hardware.writes if number == pins.STRIKE}
    assert strike == {1 - pins.STRIKE_ACTIVE}
    assert portal.is_released and portal.is_fire


@pytest.mark.parametrize("name", CHIP_BOARDS)
def test_one_addressable_light_takes_the_place_of_the_red_one(power_on, name: str) -> None:
    hardware = power_on(name)
    made = importlib.import_module("board").make_board()
    pins = importlib.import_module("pins")
    before = len(hardware.writes)
    portal = portal_of(made, lights="pixel")
    portal.show(UNKNOWN_BADGE)
    leds = [write for write in hardware.writes[before:] if write[0] in pins.LEDS]
    assert leds == []
    number, timing, data = hardware.streams[-1]
    assert (number, timing) == (pins.LEDS[0], (400, 850, 800, 450))
    assert data[1] and not data[0] and not data[2], "red, on the wire after green"


@pytest.mark.parametrize("name", CHIP_BOARDS)
def test_a_clock_with_a_battery_is_asked_at_the_start(power_on, name: str) -> None:
    hardware = power_on(name)
    made = importlib.import_module("board").make_board()
    pins = importlib.import_module("pins")
    ((scl, sda, how),) = hardware.buses
    assert (scl.number, sda.number) == (pins.RTC_SCL, pins.RTC_SDA)
    assert (scl.pull, sda.pull) == ("up", "up")
    assert how["timeout"] <= 1000, "us that a stuck wire may hold the board"
    assert hardware.rtc.transfers == 0, "not before the strike and the reader"
    assert made.wall_clock()[1] == CLOCK_UNSET
    hardware.rtc.is_there = True
    assert made.wall_clock()[1] == CLOCK_UNSET, "it was never set"
    made.rtc.write(1_790_000_000)
    assert made.wall_clock() == (1_790_000_000, CLOCK_HELD)


def test_a_clock_that_counts_from_2000_gives_unix_seconds(power_on, monkeypatch) -> None:
    power_on("ESP32_GENERIC")
    chip = importlib.import_module("doorward.hal.chip")
    since_2000 = SimpleNamespace(time=lambda: 100, gmtime=lambda s: (2000, 1, 1, 0, 0, 0, 5, 1))
    monkeypatch.setattr(chip, "time", since_2000)
    assert chip.unix_seconds() == 946684900


@pytest.mark.parametrize("partition_bytes", [0, 64 * 4096])
def test_an_esp32_without_room_for_doorward_says_so(power_on, partition_bytes: int) -> None:
    power_on("ESP32_GENERIC", partition_bytes)
    with pytest.raises(roles.FlashFault, match="partition"):
        importlib.import_module("board").make_board()


# Flash regions.


def regions(power_on, port: str):
    """Return (region of two sectors, its device, where it starts on the device)."""
    if port == "rp2":
        power_on("RPI_PICO")
        rp2 = importlib.import_module("doorward.hal.rp2")
        region = rp2.RP2Region((8192, 8192))
        assert region._device.start == 8192
        return region, region._device, 0
    power_on("ESP32_GENERIC", 64 * 4096)
    esp32 = importlib.import_module("doorward.hal.esp32")
    layout = roles.Layout(provision=6, state=2, lists=4, journal=4)
    region = esp32.Area(layout).region((8192, 8192))
    return region, region._device, 8192


@pytest.fixture(params=["rp2", "esp32"])
def region_on(request, power_on):
    return regions(power_on, request.param)


def test_a_region_reads_programs_and_erases(region_on) -> None:
    region, device, start = region_on
    region.program(4096 + 64, b"\xf0" * 64)
    region.program(4096 + 128, memoryview(b"\x33" * 8))
    region.program(4096 + 64, b"\x0f\xff")
    assert device[start + 4096 :][64:66] == b"\x00\xf0", "ones become zeros, never back"
    got = bytearray(130)
    region.read_into(4096 + 2, got)
    assert got == b"\xff" * 62 + b"\x00" + b"\xf0" * 63 + b"\x33" * 4
    assert not region.is_blank(4096, 4096)
    assert region.is_blank(0, 4096)
    region.erase(4096)
    assert region.is_blank(0, 8192)


def test_a_region_writes_any_length(region_on) -> None:
    region, device, start = region_on
    data = bytes(range(256)) * 3
    region.write(200, data)
    assert device[start + 200 : start + 200 + len(data)] == data
    assert region.is_blank(0, 200)


def test_a_region_keeps_to_its_range(region_on) -> None:
    region, device, _ = region_on
    untouched = bytes(device)
    for call in (
        lambda: region.program(8192 - 4, b"\x00" * 5),
        lambda: region.program(-1, b"\x00"),
        lambda: region.erase(8192),
        lambda: region.erase(-4096),
        lambda: region.read_into(8190, bytearray(3)),
        lambda: region.read_into(-1, bytearray(1)),
    ):
        with pytest.raises(roles.FlashFault):
            call()
    assert bytes(device) == untouched


def test_the_pico_s_flash_is_given_whole_pages_and_seen_through_the_view(power_on) -> None:
    region, device, _ = regions(power_on, "rp2")
    region.program(256 + 64, b"\x12" * 64)
    region.program(256 + 128, b"\x34" * 128)
    assert device.programs == [(256, 256), (256, 256)]
    assert region.view[256:512] == b"\xff" * 64 + b"\x12" * 64 + b"\x34" * 128
    with pytest.raises(roles.FlashFault):
        region.program(255, b"\x00\x00")


def test_what_the_device_refuses_is_a_flash_fault() -> None:
    region = BlockRegion(NorFlash(len=4096), 0, 8192)
    for call in (
        lambda: region.read_into(4096, bytearray(1)),
        lambda: region.program(4096, b"\x00"),
        lambda: region.erase(4096),
    ):
        with pytest.raises(roles.FlashFault):
            call()


# The cable, on MicroPython itself.

ECHO = """
import asyncio
from doorward.hal.cable import Cable

async def echo():
    cable = Cable()
    reader = asyncio.StreamReader(cable)
    writer = asyncio.StreamWriter(cable, {})
    total = 0
    largest = 0
    while total < 512:
        got = await reader.read(128)
        total += len(got)
        largest = max(largest, len(got))
        writer.write(got)
        await writer.drain()
    writer.write(b"largest %d" % largest)
    await writer.drain()

asyncio.run(echo())
"""


def test_the_cable_carries_every_byte_in_small_slices(micropython, firmware_env) -> None:
    sent = bytes(range(256)) * 2
    echo = subprocess.run(
        [micropython, "-c", ECHO], input=sent, env=firmware_env, capture_output=True, timeout=20
    )
    assert echo.stderr == b""
    assert echo.stdout == sent + b"largest 64"


# Manifests.


def frozen(path: Path, **options) -> dict[str, Path | None]:
    """Return what a manifest freezes: name in the image -> file, None where it is MicroPython's."""
    found: dict[str, Path | None] = {}

    def add(name: str, file: Path | None) -> None:
        assert name not in found, f"{name} twice"
        assert file is None or file.exists(), file
        found[name] = file

    def run(manifest: Path, options: dict) -> None:
        here = manifest.parent

        def freeze(folder: str, names: str | tuple) -> None:
            for name in (names,) if isinstance(names, str) else names:
                add(name, None if "$(" in folder else here / folder / name)

        def package(name: str, base_path: str) -> None:
            for file in (here / base_path / name).rglob("*.py"):
                add(str(file.relative_to(here / base_path)), file)

        def include(other: str, **more) -> None:
            if "$(" in other:
                add(other, None)
            else:
                run(here / other, more)

        class Options:
            def __getattr__(self, name: str):
                return options.get(name)

        scope = {"freeze": freeze, "package": package, "include": include, "options": Options()}
        runpy.run_path(str(manifest), init_globals=scope)

    run(path, options)
    return found


@pytest.mark.parametrize("name", CHIP_BOARDS)
@pytest.mark.parametrize("is_development", [False, True])
def test_a_manifest_freezes_the_whole_firmware(name: str, is_development: bool) -> None:
    image = frozen(BOARDS / name / "manifest.py", development=is_development)
    for needed in ("boot.py", "_boot.py", "board.py", "pins.py", "layout.py", "doorward/app.py"):
        assert needed in image
    assert image["board.py"].samefile(BOARDS / name / "board.py")
    assert ("main.py" in image) != is_development
    assert "$(MPY_DIR)/extmod/asyncio" in image
    if not is_development:
        assert image["_boot.py"].samefile(BOARDS / "_boot.py"), "no file system"
    assert ("rp2.py" in image) == (name in PICOS)


def test_tls_offers_plain_psk_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """ECDHE-PSK would bring back the handshake's stall of more than a second."""

    class Context:
        def __init__(self, protocol: int) -> None:
            self.protocol = protocol

        def set_ciphers(self, suites: tuple[str, ...]) -> None:
            self.suites = suites

    fake = ModuleType("tls")
    fake.SSLContext = Context
    fake.PROTOCOL_TLS_CLIENT = 0
    monkeypatch.setitem(sys.modules, "tls", fake)
    sys.modules.pop("doorward.hal.tls", None)
    module = importlib.import_module("doorward.hal.tls")
    context = module.psk_context(b"door", bytes(32))
    assert context.suites and all(name.startswith("TLS-PSK-WITH-") for name in context.suites)
    assert (context.psk_identity, context.psk_key) == (b"door", bytes(32))
    assert not hasattr(context, "verify_mode")
