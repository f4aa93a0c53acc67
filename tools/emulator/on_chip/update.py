"""Runs the whole door and pushes a list into it as its console would, when the rig says so.

Blobs: how often the last one is pushed first; the list; another, which is verified and then refused
as outdated. Tells how often it was, what was said to the list, and the heap free before and after.
"""
# MicroPython's modules, without its stubs.
# pyright: reportMissingImports=none, reportAttributeAccessIssue=none, reportArgumentType=none

import asyncio
import gc
from binascii import crc32

import probe
from board import make_board
from composition import build
from doorward.values import OLD_VERSION, Refused

_PIECE_BYTES = 512  # a frame of the console
_LOOK_MS = 2


class Watched:
    """A coroutine whose every step shows on a pin."""

    def __init__(self, coroutine, pin) -> None:
        self._send = coroutine.send
        self._throw = coroutine.throw
        self._pin = pin

    def send(self, value):
        self._pin(1)
        try:
            return self._send(value)
        finally:
            self._pin(0)

    def throw(self, error):
        self._pin(1)
        try:
            return self._throw(error)
        finally:
            self._pin(0)


def watch_tasks() -> None:
    """Have every task that is made from now on watched."""
    create_task = asyncio.create_task

    def create_watched(coroutine):
        return create_task(Watched(coroutine, probe.step))

    asyncio.create_task = create_watched


def watch_gate(gate) -> None:
    """Show when somebody waits at the gate or runs in it."""
    run = gate.run

    async def run_watched(call, *args):
        probe.wait(1)
        try:
            return await run(call, *args)
        finally:
            probe.wait(0)

    gate.run = run_watched


async def ordered() -> None:
    while not probe.go():
        await asyncio.sleep_ms(_LOOK_MS)


async def push_list(receiver, data: bytearray) -> dict:
    receiver.begin(len(data))
    for at in range(0, len(data), _PIECE_BYTES):
        piece = bytes(data[at : at + _PIECE_BYTES])
        crc32(piece)
        await receiver.feed(piece)
    return await receiver.finish()


async def push_outdated(receiver, data: bytearray) -> bool:
    """Have a list verified that is refused right after that."""
    receiver.begin(len(data))
    try:
        await receiver.feed(bytes(data[:_PIECE_BYTES]))
    except Refused as error:
        return error.code == OLD_VERSION
    return False


async def push(receiver, data: bytearray, outdated: bytearray, count: int) -> None:
    refused = 0
    for _ in range(count):
        await ordered()
        probe.span(1)
        is_refused = await push_outdated(receiver, outdated)
        probe.span(0)
        refused += is_refused
        while probe.go():
            await asyncio.sleep_ms(_LOOK_MS)
    gc.collect()
    free_bytes = gc.mem_free()
    await ordered()
    probe.span(1)
    told = await push_list(receiver, data)
    probe.span(0)
    await asyncio.sleep_ms(0)
    gc.collect()
    probe.tell(told=told, refused=refused, free_bytes=[free_bytes, gc.mem_free()])


async def main() -> None:
    (count,) = probe.blob(0)
    door = await build(make_board())
    watch_gate(door._gate)
    job = push(door.open_receiver(), probe.blob(1), probe.blob(2), count)
    pushing = asyncio.create_task(Watched(job, probe.push))
    watch_tasks()
    await door.run()
    await pushing


asyncio.run(main())
