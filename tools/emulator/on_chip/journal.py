"""Starts on a full journal, reads batches of it, acknowledges, and writes as many events as RAM holds.

Tells how many records it read and wrote. Spans: the start, each batch, each acknowledgement, the
writing. While `step` is high one task has the VM. Blobs: none.
"""
# MicroPython's modules, without its stubs.
# pyright: reportMissingImports=none, reportAttributeAccessIssue=none, reportArgumentType=none

import asyncio
import gc
import struct

import probe
from board import make_board
from doorward import state
from doorward.hal.roles import PROVISION_SLOT_BYTES, STATE_SLOT_BYTES
from doorward.journal.ring import RAM_EVENTS, Journal, last_of
from doorward.quiet import Gate
from doorward.values import CLOCK_SYNCED, TAP, Event
from doorward.walltime import WallTime

_BATCHES = 12
_BATCH_RECORDS = 32


async def others() -> None:
    """Have a turn whenever somebody lets go."""
    while True:
        probe.step(0)
        probe.step(1)
        await asyncio.sleep_ms(0)


async def main() -> None:
    board = make_board()
    ticks = board.ticks
    given = state.Snapshots(board.provision, PROVISION_SLOT_BYTES)
    kept = state.Snapshots(board.state, STATE_SLOT_BYTES)
    time = WallTime(ticks, 1_800_000_000, CLOCK_SYNCED)
    gc.collect()
    span = probe.span
    span(1)
    journal = Journal(board.journal, given, kept, time, ticks, Gate(ticks), 2, board.random_bytes)
    span(0)
    board.watchdog.feed()
    running = asyncio.create_task(others())
    await asyncio.sleep_ms(0)

    read = 0
    sequence = journal.oldest_sequence
    for _ in range(_BATCHES):
        gc.collect()
        await asyncio.sleep_ms(0)
        span(1)
        batch = await journal.read(sequence, _BATCH_RECORDS)
        span(0)
        last, tag = last_of(batch)
        await asyncio.sleep_ms(0)
        span(1)
        is_taken = journal.acknowledge(last, tag)
        span(0)
        (first,) = struct.unpack_from("<I", batch, 4)
        read += last - first + 1 if is_taken else 0
        sequence = last + 1
        board.watchdog.feed()

    before = journal.next_sequence
    for number in range(RAM_EVENTS):
        journal.note(Event(TAP, ticks.ticks_ms(), detail=number))
    gc.collect()
    await asyncio.sleep_ms(0)
    span(1)
    await journal.flush()
    span(0)
    running.cancel()
    probe.tell(read=read, written=journal.next_sequence - before)
    while True:
        board.watchdog.feed()


asyncio.run(main())
