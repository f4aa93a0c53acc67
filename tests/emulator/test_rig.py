"""The image on the emulated chip: the strike opens for a listed badge and for nothing else."""

from collections.abc import Callable

import pytest
from doorward.hal.roles import SECTOR_BYTES
from doorward.values import BOOT, RANDOM_UID, TAP, UNKNOWN_BADGE
from emulator import door as doors
from emulator.door import Door
from emulator.flash import FlashOperation
from emulator.rig import Rig, board_module
from sim.cards import Card, RandomIdCard

LONGEST_TAP_MS = 100
LONGEST_READ_MS = 45
JOURNAL_AT = board_module("layout").LAYOUT.journal[0]


def boot(rig: Rig) -> None:
    assert rig.run(3000, until=lambda: rig.first_poll_ns is not None)


def tap(rig: Rig, card: Card) -> bool:
    """Hold a card to the reader until it opens or its time is over; did it open?"""
    start_ns = rig.enter(card)
    is_open = rig.run(LONGEST_TAP_MS, until=lambda: rig.strike.rises(start_ns))
    rig.run(20)
    rig.leave(card)
    rig.run(400, until=lambda: not rig.strike.level)
    return is_open


def reasons(rig: Rig) -> list[int]:
    """Return the reasons of the taps in the board's journal."""
    rig.run(50)
    events = [record.event for record in doors.journal(rig.area())]
    return [event.reason for event in events if event.code == TAP]


@pytest.mark.parametrize("uid_bytes", [4, 7, 10])
def test_a_listed_badge_opens(rig: Rig, door: Door, uid_bytes: int) -> None:
    uid = door.of_length(uid_bytes)[-1]
    edges = len(rig.strike.edges)
    assert tap(rig, Card(uid))
    assert [level for _, level in rig.strike.edges[edges:]] == [1, 0]
    rig.run(50)
    assert doors.taps(rig.area())[-1] == (door.badge_id(uid), True)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda door: Card(bytes.fromhex("04DEC0DE2BAD11")), UNKNOWN_BADGE),
        (lambda door: Card(door.of_length(7)[1][:4]), UNKNOWN_BADGE),
        (lambda door: Card(door.of_length(10)[1][:7]), UNKNOWN_BADGE),
        (lambda door: Card(door.of_length(4)[1] + bytes(3)), UNKNOWN_BADGE),
        (lambda door: RandomIdCard(), RANDOM_UID),
    ],
    ids=["stranger", "cut to 4 bytes", "cut to 7 bytes", "padded with zeros", "random UID"],
)
def test_no_other_badge_opens(
    rig: Rig, door: Door, officer: Card, make: Callable[[Door], Card], reason: int
) -> None:
    edges = len(rig.strike.edges)
    assert not tap(rig, make(door))
    assert len(rig.strike.edges) == edges
    assert reasons(rig)[-1] == reason
    assert tap(rig, officer), "the next listed badge must open"


def test_the_strike_is_inactive_through_resets(new_rig: Callable[..., Rig], officer: Card) -> None:
    rig = new_rig()
    assert rig.strike.level == 0
    boot(rig)
    rig.run(100)
    assert rig.strike.edges == []
    rig.enter(officer)
    assert rig.run(LONGEST_TAP_MS, until=lambda: rig.strike.level)
    rig.leave(officer)
    rig.power_cycle()
    assert rig.strike.level == 0, "held over a power cut"
    boot(rig)
    rig.run(100)
    assert len(rig.strike.edges) == 2, "opened by itself"


def test_a_journal_write_takes_its_time(new_rig: Callable[..., Rig], officer: Card) -> None:
    rig = new_rig()
    boot(rig)
    # At its first start a door makes its provision store forget the journal's first key.
    rig.run(1000)
    before = len(rig.flash.operations)
    assert tap(rig, officer)
    programs = rig.flash.operations[before:]
    assert [one.kind for one in programs] == ["program"]
    assert (programs[0].ready_ns or 0) - programs[0].begin_ns == pytest.approx(400_000, rel=0.02)
    opened_ns = rig.strike.edges[0][0]
    assert programs[0].begin_ns > opened_ns, "law 1: the relay first"


@pytest.mark.parametrize("erase_ms", [45.0, 400.0])
def test_an_erase_holds_the_board_and_the_tap_that_comes_then(
    new_rig: Callable[..., Rig], officer: Card, erase_ms: float
) -> None:
    # At its first start a door rewrites its provision store, which is not what this is about.
    rig = new_rig()
    boot(rig)
    rig.run(2000)
    area = bytearray(rig.area())
    # A journal that has been round once: the sector ahead is not blank.
    second = JOURNAL_AT + SECTOR_BYTES
    area[second : second + SECTOR_BYTES] = bytes(SECTOR_BYTES)
    rig = new_rig(area=bytes(area), sector_erase_ms=erase_ms)

    def erases() -> list[FlashOperation]:
        return [one for one in rig.flash.operations if one.kind == "erase"]

    boot(rig)
    assert rig.run(1000, until=erases)
    start_ns = rig.enter(officer)
    assert rig.run(erase_ms + LONGEST_TAP_MS, until=lambda: rig.strike.level)
    assert len(erases()) == 1
    erase = erases()[0]
    assert erase.at - board_module("layout").STORAGE_OFFSET == second
    ready_ns = erase.ready_ns or 0
    assert ready_ns - erase.begin_ns == pytest.approx(erase_ms * 1e6, rel=0.02)
    assert not [at for at, _ in rig.transfers if erase.begin_ns < at < ready_ns], "interrupts on?"
    opened_ns = rig.strike.edges[0][0]
    assert opened_ns - start_ns < (erase_ms + LONGEST_READ_MS) * 1e6


def test_a_power_cut_keeps_the_list(
    new_rig: Callable[..., Rig], door: Door, officer: Card
) -> None:
    rig = new_rig()
    boot(rig)
    rig.enter(officer)
    # In the middle of writing the tap down.
    programs = len(rig.flash.operations)
    assert rig.run(200, until=lambda: rig.strike.level)
    rig.run(50, until=lambda: len(rig.flash.operations) > programs)
    rig.leave(officer)
    rig.power_cycle()
    boot(rig)
    assert tap(rig, Card(door.badges[-1]))
    assert not tap(rig, Card(bytes.fromhex("04DEC0DE2BAD11")))
    rig.run(50)
    boots = [one for one in doors.journal(rig.area()) if one.event.code == BOOT]
    assert [one.boot for one in boots] == [1, 2]
