"""Verifies signed objects' headers. Blobs, by twos: an issuer's modulus, an object signed by it."""
# MicroPython's modules, without its stubs.
# pyright: reportMissingImports=none, reportAttributeAccessIssue=none, reportArgumentType=none

import asyncio
import gc

import probe
from doorward.trust import objects
from doorward.trust.signatures import PublicKey
from doorward.values import Refused


async def pause() -> None:
    probe.step(0)
    probe.step(1)


async def main() -> None:
    (count,) = probe.blob(0)
    believed = []
    for number in range(1, 1 + 2 * count, 2):
        key = PublicKey(bytes(probe.blob(number)))
        data = bytes(probe.blob(number + 1))
        is_believed = True
        gc.collect()
        probe.span(1)
        probe.step(1)
        try:
            await objects.verify(data, objects.parse_header(data), (((key,), 1),), pause)
        except Refused:
            is_believed = False
        probe.step(0)
        probe.span(0)
        believed.append(is_believed)
    probe.tell(believed=believed)


asyncio.run(main())
