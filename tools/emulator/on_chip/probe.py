"""What the probes share: pins that the rig watches, blobs that it laid into flash, a way to tell.

Runs on the emulated chip, from a development image's file system. Pins and format: emulator.trust.
"""
# MicroPython's modules, without its stubs.
# pyright: reportMissingImports=none, reportAttributeAccessIssue=none, reportArgumentType=none

import json
import struct

import uctypes
from machine import SPI, Pin

_BLOBS = 0x10200000  # behind the Pico's own 2 MB, memory-mapped
_TOLD_BYTES = 16

# None of them is a door's.
span = Pin(0, Pin.OUT, value=0)  # high while what is measured goes on
step = Pin(1, Pin.OUT, value=0)  # high while a task has the VM; falls for a moment at a pause
push = Pin(9, Pin.OUT, value=0)  # the same for the task that takes a list in
wait = Pin(22, Pin.OUT, value=0)  # high while somebody is at the quiet gate
go = Pin(25, Pin.IN, Pin.PULL_DOWN)

_spi = SPI(1, baudrate=8_000_000, sck=Pin(26), mosi=Pin(27), miso=Pin(28))


def blob(number: int) -> bytearray:
    """Return one of the rig's blobs where it lies."""
    place = uctypes.bytearray_at(_BLOBS + 8 * number, 8)
    offset, length = struct.unpack("<II", place)
    return uctypes.bytearray_at(_BLOBS + offset, length)


def tell(**results) -> None:
    """Send results to the rig, one JSON line."""
    line = json.dumps(results).encode() + b"\n"
    for at in range(0, len(line), _TOLD_BYTES):
        _spi.write(line[at : at + _TOLD_BYTES])
