"""The composition root: board and configuration in, one door out. Nothing else builds parts."""

import asyncio
import struct

from board import make_board
from doorward import config, state
from doorward.access.control import Access
from doorward.access.shelf import Address
from doorward.app import App
from doorward.hal import roles
from doorward.journal.ring import Journal
from doorward.portal.portal import Portal
from doorward.quiet import Gate
from doorward.reader.credentials import Credentials
from doorward.service.console import Console
from doorward.uplink.delivery import Uplink
from doorward.walltime import WallTime


async def build(board: roles.Board) -> App:
    """Return the door that this board is, from what it was provisioned with."""
    ticks = board.ticks
    given = state.Snapshots(board.provision, roles.PROVISION_SLOT_BYTES)
    kept = state.Snapshots(board.state, roles.STATE_SLOT_BYTES)
    settings = config.parse(given.require(state.CONFIG))
    portal = Portal(board, settings)
    reader = Credentials(board, settings)

    gate = Gate(ticks, quiet_ms=settings.quiet_ms)
    time = WallTime(ticks, *board.wall_clock())
    if board.network is not None:
        board.network.configure(settings.wifi_ssid, settings.wifi_password, gate)
    boot = kept.get_u32(state.BOOT_COUNT) + 1
    await kept.commit({state.BOOT_COUNT: struct.pack("<I", boot)}, gate)

    address = Address(settings.site, settings.door, settings.group_bits())
    access = Access(board.lists, given, kept, address, time, gate)
    journal_key = given.require(state.JOURNAL_KEY)
    journal = Journal(board.journal, kept, journal_key, time, ticks, gate, boot)

    door = App(board, settings, time, gate, reader, access, portal, journal, boot)
    psk = given.require(state.UPLINK_KEY)
    door.uplink = Uplink(board, settings, journal, psk, door.hello)
    receiver = door.open_receiver()
    door.console = Console(board.console, door.hello, door.status, receiver, journal)
    return door


async def main() -> None:
    door = await build(make_board())
    await door.run()


if __name__ == "__main__":
    asyncio.run(main())
