"""Looks badges up in the list in force, then decides them. Tells how many were found and granted.

Blobs: blinded identities; the badge identities that they are of.
"""
# MicroPython's modules, without its stubs.
# pyright: reportMissingImports=none, reportAttributeAccessIssue=none, reportArgumentType=none

import asyncio
import gc

import probe
from board import make_board
from composition import build
from doorward.values import BADGE_ID_BYTES, Badge, Entry

_IDENTITY_BYTES = 11
_COLLECT_EVERY = 50


async def main() -> None:
    board = make_board()
    door = await build(board)
    access = door._access
    (allowlist,) = access.shelf.lists
    gc.collect()
    free_bytes = gc.mem_free()
    badge_ids = probe.blob(0)
    identities = probe.blob(1)
    count = len(badge_ids) // BADGE_ID_BYTES

    find = allowlist.find
    span = probe.span
    entry = Entry()
    found = 0
    for i in range(count):
        badge_id = bytes(badge_ids[i * BADGE_ID_BYTES : (i + 1) * BADGE_ID_BYTES])
        tidy(board, i)
        span(1)
        is_listed = find(badge_id, entry)
        span(0)
        found += is_listed

    decide = access.decide
    badge = Badge()
    granted = 0
    for i in range(count):
        badge.identity[:] = identities[i * _IDENTITY_BYTES : (i + 1) * _IDENTITY_BYTES]
        tidy(board, i)
        span(1)
        decision = decide(badge)
        span(0)
        granted += decision.is_grant
    probe.tell(found=found, granted=granted, free_bytes=free_bytes)
    while True:
        board.watchdog.feed()


def tidy(board, i: int) -> None:
    """Collect garbage between two of them, as the door does between taps."""
    if i % _COLLECT_EVERY == 0:
        board.watchdog.feed()
        gc.collect()


asyncio.run(main())
