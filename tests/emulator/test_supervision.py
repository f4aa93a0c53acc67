"""The image on the emulated chip: the strike's level and the way back, whatever ends the door."""

from collections.abc import Callable
from pathlib import Path

import pytest
from doorward import state
from doorward.hal import unix
from doorward.hal.roles import PROVISION_SLOT_BYTES, STATE_SLOT_BYTES
from doorward.trust.primitives import run_through
from doorward.values import POWER_ON, RESTARTED, TASK_DIED, TASK_ENDED, WATCHDOG
from emulator import door as doors
from emulator.door import Door, make_door
from emulator.rig import Rig, board_module
from sim.cards import Card

WATCHDOG_MS = 8000
LOOK_MS = 250
BOOT_MS = 1500
PULSE_MS = 30_000
START_AGAIN_MS = 5000
IN_LOCKDOWN_MS = 80  # debouncing and what follows
LAYOUT = board_module("layout").LAYOUT
LOCKDOWN_SWITCH = board_module("pins").INPUTS["lockdown"]
POSTURE_TASK = 7  # by its place in app.py
FILLER = 200  # a tag that nothing uses


class NoGate:
    async def run(self, call, *args):
        return call(*args)


@pytest.fixture(scope="module")
def patient() -> Door:
    """A door that a grant releases for longer than any test lasts."""
    return make_door(6, strike_pulse_ms=PULSE_MS, responder_pulse_ms=PULSE_MS)


@pytest.fixture
def change(tmp_path: Path) -> Callable[..., bytes]:
    """Return a flash area with values of one of its stores changed."""

    def change(area: bytes, place: tuple[int, int], slot_bytes: int, make) -> bytes:
        path = tmp_path / "flash.bin"
        path.write_bytes(area)
        flash = unix.FlashFile(str(path), LAYOUT.size_bytes)
        store = state.Snapshots(flash.region(place), slot_bytes)
        run_through(store.commit(make(store), NoGate()))
        flash.close()
        return path.read_bytes()

    return change


def boot(rig: Rig) -> None:
    assert rig.run(BOOT_MS, until=lambda: rig.first_poll_ns is not None)


def release(rig: Rig, uid: bytes) -> None:
    """Tap with a listed badge, up to the strike's edge."""
    card = Card(uid)
    start_ns = rig.enter(card)
    assert rig.run(200, until=lambda: rig.strike.rises(start_ns))
    rig.leave(card)


def causes(rig: Rig) -> list[tuple[int, int]]:
    """Return (cause, task's number) of every start that the journal tells of."""
    rig.run(50)
    events = [record.event for record in doors.journal(rig.area())]
    return [(event.reason, event.detail) for event in events if event.code == RESTARTED]


def levels(rig: Rig) -> list[int]:
    return [level for _, level in rig.strike.edges]


def test_a_hang_of_the_whole_board_with_the_strike_released(
    new_rig: Callable[..., Rig], patient: Door
) -> None:
    rig = new_rig(area=patient.area)
    assert rig.strike.level == 0
    boot(rig)
    rig.run(100)
    assert levels(rig) == []
    release(rig, patient.badges[0])

    rig.hang()
    hung_ns = rig.now_ns()
    feeds = len(rig.feeds)
    # In the middle of the next look for a badge.
    rig.run(LOOK_MS + 10)
    assert len(rig.feeds) <= feeds + 1
    hung_feeds = len(rig.feeds)
    assert rig.stall(WATCHDOG_MS, until=lambda: rig.resets)
    assert len(rig.feeds) == hung_feeds
    (reset_ns,) = rig.resets
    assert reset_ns - rig.feeds[-1] == pytest.approx(WATCHDOG_MS * 1e6, rel=0.01)
    assert reset_ns - hung_ns <= (WATCHDOG_MS + 10) * 1e6
    assert rig.strike.level == 0

    boot(rig)
    assert causes(rig) == [(POWER_ON, 0), (WATCHDOG, 0)]
    assert levels(rig) == [1, 0], "released by itself"
    release(rig, patient.badges[1])


def test_a_crash_with_the_strike_released(
    new_rig: Callable[..., Rig], patient: Door, change: Callable[..., bytes]
) -> None:
    """State that is full to the brim: the first change of posture cannot be kept."""

    def fill(store: state.Snapshots) -> dict[int, bytes]:
        values = {state.BOOT_COUNT: bytes(4), state.RESTART: bytes(2)}
        held = {tag: store.get(tag) for tag in range(1, 64)}
        used = sum(3 + len(value) for value in {**held, **values}.values() if value is not None)
        return {**values, FILLER: bytes(STATE_SLOT_BYTES - 12 - used - 3)}

    area = change(patient.area, LAYOUT.state, STATE_SLOT_BYTES, fill)
    rig = new_rig(area=area)
    boot(rig)
    rig.run(300)
    fed = len(rig.feeds)
    assert rig.run(2 * LOOK_MS, until=lambda: len(rig.feeds) > fed)
    # The supervisor has just looked. Until it looks again there is time for the lockdown, which ends
    # a release under way, and a responder's tap in it.
    rig.drive(LOCKDOWN_SWITCH, 0)
    crash_ns = rig.now_ns()
    rig.run(IN_LOCKDOWN_MS)
    release(rig, patient.badges[0])
    assert rig.run(1000, until=lambda: rig.resets)
    rig.drive(LOCKDOWN_SWITCH, 1)
    assert levels(rig) == [1, 0]
    fell_ns = rig.strike.edges[-1][0]
    assert fell_ns - crash_ns > (LOOK_MS - 50) * 1e6, "not by the crash"
    assert fell_ns - crash_ns < (LOOK_MS + 50) * 1e6
    assert fell_ns < rig.resets[0], "before everything else"
    assert rig.resets[0] - crash_ns < (LOOK_MS + 500) * 1e6

    boot(rig)
    rig.run(300)
    assert levels(rig) == [1, 0], "released by itself"
    assert causes(rig) == [(POWER_ON, 0), (TASK_ENDED, POSTURE_TASK)]
    died = [one.event for one in doors.journal(rig.area()) if one.event.code == TASK_DIED]
    assert POSTURE_TASK in [event.detail for event in died]
    assert len(rig.resets) == 1
    release(rig, patient.badges[1])

    rig.power_cycle()
    assert rig.strike.level == 0
    boot(rig)
    assert causes(rig)[2:] == [(POWER_ON, 0)], "told once"


def test_a_door_that_does_not_start(
    new_rig: Callable[..., Rig], patient: Door, change: Callable[..., bytes]
) -> None:
    area = change(
        patient.area,
        LAYOUT.provision,
        PROVISION_SLOT_BYTES,
        lambda store: {state.KEY_RING: b"no key ring"},
    )
    rig = new_rig(area=area)
    assert rig.run(START_AGAIN_MS + BOOT_MS, until=lambda: rig.resets)
    assert rig.resets[0] > START_AGAIN_MS * 1e6
    # No storm of resets, and the watchdog does not bite.
    assert not rig.run(START_AGAIN_MS + WATCHDOG_MS, until=lambda: len(rig.resets) > 1)
    assert levels(rig) == []
    assert rig.frames == 0


def test_a_board_that_was_never_given_a_door(new_rig: Callable[..., Rig]) -> None:
    rig = new_rig(area=b"\xff" * LAYOUT.size_bytes)
    assert not rig.run(WATCHDOG_MS + START_AGAIN_MS, until=lambda: rig.resets)
    assert len(rig.feeds) > WATCHDOG_MS / LOOK_MS
    assert levels(rig) == []
