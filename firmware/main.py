"""The composition root: board and configuration in, one door out. Nothing else builds parts."""

import asyncio

from board import make_board
from doorward import config, state
from doorward.access.control import Access
from doorward.app import App
from doorward.hal import roles
from doorward.journal.ring import Journal
from doorward.portal.portal import Portal
from doorward.quiet import Gate
from doorward.reader.credentials import Credentials
from doorward.service.console import Console
from doorward.supervisor import Supervisor, count_start, run_door
from doorward.uplink.clock import Clock
from doorward.uplink.delivery import Uplink
from doorward.uplink.downlink import Downlink
from doorward.walltime import WallTime


async def build(board: roles.Board) -> App:
    """Return the door that this board is, from what it was provisioned with."""
    ticks = board.ticks
    given = state.Snapshots(board.provision, roles.PROVISION_SLOT_BYTES)
    kept = state.Snapshots(board.state, roles.STATE_SLOT_BYTES)
    settings = config.load(given)
    portal = Portal(board, settings)
    reader = Credentials(board, settings)
    gate = Gate(ticks, quiet_ms=settings.quiet_ms)
    time = WallTime(ticks, *board.wall_clock())
    if board.network is not None:
        board.network.configure(settings.wifi_ssid, settings.wifi_password, gate)
    boot = await count_start(kept, gate)
    access = Access(board.lists, given, kept, settings, time, ticks, gate)
    journal = Journal(board.journal, given, kept, time, ticks, gate, boot, board.random_bytes)

    door = App(board, settings, time, gate, reader, access, portal, journal, boot)
    last_acts = (portal.make_safe, access.posture.keep_now, journal.flush)
    door.supervisor = Supervisor(board, kept, gate, *last_acts, door.note_death)
    door.once = (
        ("keep-config", lambda: config.keep_good(given, gate)),
        ("keep-key", journal.hand_over_key),
    )
    psk = given.require(state.UPLINK_KEY)
    down = Downlink(board, settings, door.open_receiver, access.shelf.wants)
    door.uplink = Uplink(board, settings, journal, psk, door.hello, door.health, down)
    door.clock = Clock(board, settings, time, access.earliest_s, door.note_clock_set)
    door.console = Console(board.console, door.hello, door.status, door.open_receiver(), journal)
    return door


if __name__ == "__main__":
    asyncio.run(run_door(make_board(), build))
