"""Owns the bench: a chip, a field, pins and switches around one door, and how to play with them.

It sees the door from outside only, as a person at it does: badges go into the field, the strike
clicks, lights shine. Commands come as lines over TCP on the loopback, answers are JSON lines.
"""

import asyncio
import json
import time

from sim.cards import Card
from sim.field import RfField
from sim.mfrc522 import Mfrc522
from sim.network import SwitchedNetwork
from sim.spi import IrqPin, Pin, SpiBus, chip_select_pin, reset_pin

_MAX_LINE_BYTES = 256
_LOOK_MS = 2
# How long a tap waits for the door: far above the promise, so that a late door shows as late.
_PATIENCE_MS = 1000
# Before that a light may still be the one for the tap before.
_SIGN_MS = 100
_INPUTS = ("door", "rex", "lockdown", "fire", "cabinet", "reader", "mains", "battery")


def now_ns() -> int:
    return time.ticks_us() * 1000


class StrikePin(Pin):
    """The strike output and the lock on it; remembers when it was last told to release the door."""

    def __init__(self, active: int) -> None:
        super().__init__(1 - active)
        self._active = active
        self.is_fail_safe = False
        self.released_us = None
        self.releases = 0

    def value(self, level: int | None = None) -> int | None:
        if level is not None and self._releases_at(level):
            self.released_us = time.ticks_us()
            self.releases += 1
        return super().value(level)

    @property
    def is_released(self) -> bool:
        return self._releases_at(self._level)

    def _releases_at(self, level: int) -> bool:
        """A fail-safe lock lets go without current, a fail-secure one with it."""
        return (level == self._active) != self.is_fail_safe


class Pixel:
    """One addressable light."""

    def __init__(self) -> None:
        self.colour = (0, 0, 0)

    def __call__(self, red: int, green: int, blue: int) -> None:
        self.colour = (red, green, blue)


class Bench:
    """One door's surroundings. The attributes named like roles go into the board."""

    def __init__(self, network, memory: str, strike_active: int = 1) -> None:
        """network: the host's. memory: file that keeps how things stand around the door, because a
        board that restarts finds its surroundings as they were."""
        self.field = RfField()
        self.chip = Mfrc522(self.field, now_ns)
        self.spi = SpiBus(self.chip)
        self.reader_cs = chip_select_pin(self.chip)
        self.reader_reset = reset_pin(self.chip)
        self.reader_irq = IrqPin(self.chip)
        self.strike = StrikePin(strike_active)
        self.leds = (Pin(0), Pin(0), Pin(0))
        self.buzzer = Pin(0)
        # Contacts to ground: open unless somebody closes them, but for that of a closed door.
        self.inputs = {name: Pin(1) for name in _INPUTS}
        self.inputs["door"](0)
        self.pixel = Pixel()
        self.network = SwitchedNetwork(network)
        self._memory = memory
        self._standing = {}
        try:
            with open(memory) as file:
                self._standing = json.load(file)
        except (OSError, ValueError):
            pass
        for name in self._standing:
            self._set(name, self._standing[name])

    async def serve(self, port: int) -> None:
        """Take commands on 127.0.0.1:port for ever."""
        server = await asyncio.start_server(self._client, "127.0.0.1", port)
        while True:
            await asyncio.sleep(3600)
        server.close()

    async def _client(self, reader, writer) -> None:
        try:
            while True:
                line = await reader.readline()
                if not line or len(line) > _MAX_LINE_BYTES:
                    break
                try:
                    answer = await self.command(line.decode().split())
                except (ValueError, IndexError, KeyError, UnicodeError) as error:
                    answer = {"error": str(error) or "bad command"}
                writer.write((json.dumps(answer) + "\n").encode())
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def command(self, words: list) -> dict:
        """Carry out one command; return what there is to say. Raises ValueError and the like."""
        name = words[0]
        if name == "tap":
            stay_ms = int(words[2]) if len(words) > 2 else 300
            return await self.tap(bytes.fromhex(words[1]), stay_ms)
        if name == "lockdown":
            # The switch, which is an input that a door has without being told of it.
            words = ["input", name, "closed" if _is_on(words[1]) else "open"]
            name = "input"
        if name == "input":
            name += " " + words[1]
            words = [name, words[2]]
        if name in ("network", "lock", "reader", "noise") or name.startswith("input "):
            self._set(name, words[1])
            self._standing[name] = words[1]
            self._remember()
        elif name == "break" and words[1] == "spi":
            # Not a silent chip but a bus that raises: what no reader code expects.
            self.chip.transfer = _broken
        elif name != "look":
            raise ValueError("tap, network, input, lockdown, lock, reader, noise, break or look")
        return self._look()

    def _remember(self) -> None:
        with open(self._memory, "w") as file:
            json.dump(self._standing, file)

    def _set(self, name: str, value: str) -> None:
        if name == "network":
            self.network.switch(_is_on(value))
        elif name.startswith("input "):
            self.inputs[name.split()[1]]({"open": 1, "closed": 0}[value])
        elif name == "lock":
            self.strike.is_fail_safe = {"fail-secure": False, "fail-safe": True}[value]
        elif name == "reader":
            self.chip.unplugged = {"plug": None, "unplug": 0x00, "short": 0xFF}[value]
            if value == "plug":
                self.chip.brown_out()
        elif name == "noise":
            self.field.noise = float(value)

    async def tap(self, uid: bytes, stay_ms: int) -> dict:
        """Hold a badge to the reader for `stay_ms`; return whether and when the strike released.

        tap_to_relay_ms is from the badge entering the field, its power-up included, to the pin.
        """
        card = Card(uid)
        lights = set()
        start_us = time.ticks_us()
        releases = self.strike.releases
        self.field.enter(card, start_us * 1000)
        has_left = False
        try:
            while True:
                elapsed_ms = time.ticks_diff(time.ticks_us(), start_us) // 1000
                is_open = self.strike.releases != releases
                if elapsed_ms >= _SIGN_MS:
                    lights.add(self._light())
                if not has_left and elapsed_ms >= stay_ms:
                    self.field.leave(card, now_ns())
                    has_left = True
                has_sign = elapsed_ms > _SIGN_MS and (is_open or lights & _DENIED)
                if has_left and (has_sign or elapsed_ms >= _PATIENCE_MS):
                    break
                await asyncio.sleep_ms(_LOOK_MS)
        finally:
            self.field.leave(card, now_ns())
        answer = self._look()
        answer["opened"] = is_open
        answer["lights"] = sorted(lights - {""})
        answer["tap_to_relay_ms"] = (
            time.ticks_diff(self.strike.released_us, start_us) / 1000 if is_open else None
        )
        return answer

    def _look(self) -> dict:
        return {
            "strike": "released" if self.strike.is_released else "locked",
            "light": self._light(),
            "network": "on" if self.network.is_up else "off",
            "sound": "on" if self.buzzer() else "off",
            "lockdown": "off" if self.inputs["lockdown"]() else "on",
            "inputs": {name: "open" if pin() else "closed" for name, pin in self.inputs.items()},
        }

    def _light(self) -> str:
        colour = self.pixel.colour
        return "".join("rgb"[i] for i in range(3) if self.leds[i]() or colour[i])


# Red alone or with another colour is what a denial looks like.
_DENIED = {"r", "rg", "rb"}


def _broken(_: int) -> int:
    raise OSError("the bench broke the SPI bus")


def _is_on(word: str) -> bool:
    return {"on": True, "off": False}[word]
