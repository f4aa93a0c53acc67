"""Two carriers at once, waits for quiet, aborts and faults: what is checked counts at the switch."""

import unittest

from doorward import state
from doorward.access.command import Command
from doorward.access.gesture import END_LOCKDOWN
from doorward.hal.roles import SECTOR_BYTES, STATE_SLOT_BYTES, FlashFault
from doorward.trust.objects import ALLOWLIST_TYPE, COMMAND_TYPE, DENY_LIST_TYPE
from doorward.values import (
    BUSY,
    CLOCK_SYNCED,
    CLOCK_UNSET,
    FLASH_FAULT,
    GRANTED,
    HOLD_OPEN,
    LOCKDOWN,
    LOCKED_DOWN,
    NO_CLOCK,
    NO_MEMORY,
    NO_SPACE,
    NORMAL,
    OLD_VERSION,
    REPLAYED,
    RESPONDER,
    REVOKED,
    STAFF,
    TOO_LATE,
    TOO_LONG,
    UNKNOWN_BADGE,
    UNKNOWN_ISSUER,
    UNLOCKED,
    Refused,
)
from support import MemoryFlash, OpenGate, asyncio
from test_access_control import ISSUED_S, holder, read, run
from test_access_trust import TrustCase


class Carrier:
    """One way an object comes: begun, then finished when the test wants it."""

    def __init__(self, access, name):
        self.intake = access.open_intake()
        self.data = read(name)

    async def bring(self):
        self.intake.begin(len(self.data))
        await self.intake.feed(self.data)

    async def finish(self):
        return await self.intake.finish()


class TwoCarriersTest(TrustCase):
    """`first` was believed before `second` came in force, and is finished after it."""

    def both(self, first, second):
        """Return the refusal of `first`, or None."""
        late, soon = Carrier(self.access, first), Carrier(self.access, second)

        async def play():
            await late.bring()
            await soon.bring()
            await soon.finish()
            try:
                await late.finish()
            except Refused as error:
                return error.code
            return None

        return run(play())

    def versions(self):
        lists = [(one.issuer.name, one.header.version) for one in self.access.shelf.lists]
        return lists, [one.header.version for one in self.access.shelf.denials]

    def test_an_older_list(self):
        self.assertEqual(self.both("police_2.dwl", "police_4_folds_deny_2.dwl"), OLD_VERSION)
        for _ in range(2):
            self.assertEqual(self.versions(), ([("police", 4), ("district", 1)], []))
            self.start()

    def test_an_older_deny_list(self):
        self.assertEqual(self.both("police_deny_1.dwd", "police_deny_2.dwd"), OLD_VERSION)
        for _ in range(2):
            self.assertEqual(self.versions()[1], [2])
            self.start()

    def test_a_deny_list_that_a_list_folds_away_meanwhile(self):
        code = self.both("police_deny_2.dwd", "police_4_folds_deny_2.dwl")
        self.assertEqual(code, OLD_VERSION)
        self.assertEqual(self.versions()[1], [])

    def test_the_same_command(self):
        self.assertEqual(self.both("unlock_12.dwc", "unlock_12.dwc"), REPLAYED)

    def test_an_older_command(self):
        self.assertEqual(self.both("release_11.dwc", "lockdown_17.dwc"), REPLAYED)
        self.assertEqual(self.posture(), LOCKDOWN)

    def test_an_older_ring(self):
        code = self.both("ring_2.dwk", "ring_3_police_moved.dwk")
        self.assertEqual(code, OLD_VERSION)
        for _ in range(2):
            self.assertEqual(self.access.shelf.ring.version, 3)
            self.start()

    def test_whatever_an_issuer_signed_that_a_ring_drops_meanwhile(self):
        for name in ("police_2.dwl", "police_deny_1.dwd", "unlock_12.dwc", "lockdown_10.dwc"):
            self.setUp()
            with self.subTest(name=name):
                code = self.both(name, "ring_3_police_moved.dwk")
                self.assertEqual(code, UNKNOWN_ISSUER)
                for _ in range(2):
                    self.assertEqual(self.versions(), ([("district", 1)], []))
                    self.assertEqual(self.posture(), NORMAL)
                    self.start()

    def test_two_lists_of_two_issuers_get_rooms_of_their_own(self):
        self.assertIsNone(self.both("police_2.dwl", "police_deny_1.dwd"))
        for _ in range(2):
            self.assertEqual(self.reason(holder(RESPONDER, 0)), REVOKED)
            self.assertEqual(self.reason(holder(RESPONDER, 249)), GRANTED)
            self.assertEqual(run(self.access.check_lists()), [])
            self.start()


class SlowGate:
    """A gate at which whoever waits is held until the test opens it; `meanwhile` is called then."""

    def __init__(self):
        self.meanwhile = None

    async def run(self, call, *args):
        await asyncio.sleep_ms(1)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return call(*args)


class WaitingTest(TrustCase):
    """The commit of a command waits for an erase, and something happens before it is over."""

    def setUp(self):
        super().setUp()
        self.fill_sector()

    def fill_sector(self):
        """Commit until the next slot is the first of a sector that must be erased; start anew."""
        snapshots = state.Snapshots(self.kept, STATE_SLOT_BYTES)
        while not snapshots._due_sectors():
            number = bytes((snapshots._sequence & 0xFF, 0, 0, 0))
            run(snapshots.commit({state.BOOT_COUNT: number}, OpenGate()))
        self.start()
        self.gate = SlowGate()
        self.access._gate = self.gate

    def send_while(self, name, meanwhile):
        self.gate.meanwhile = meanwhile
        try:
            self.send(name)
        except Refused as error:
            return error.code
        self.assertIsNone(self.gate.meanwhile)
        return None

    def switch(self):
        self.access.posture.follow_switch(True)
        self.access.posture.follow_switch(False)

    def test_nothing_happens(self):
        self.assertIsNone(self.send_while("hold_open_13.dwc", lambda: None))
        self.assertEqual(self.posture(), UNLOCKED)

    def test_a_lockdown_in_between_calls_off_what_opens(self):
        for name in ("hold_open_13.dwc", "unlock_12.dwc", "release_11.dwc"):
            self.setUp()
            self.assertEqual(self.send_while(name, self.switch), LOCKED_DOWN)
            self.assertEqual(self.posture(), NORMAL)
            self.start()
            self.assertEqual(self.posture(), NORMAL)

    def test_it_expires_in_between(self):
        code = self.send_while("unlock_12.dwc", lambda: self.time.set(ISSUED_S + 3600))
        self.assertEqual(code, TOO_LATE)

    def test_what_is_ordered_in_between_is_not_written_over(self):
        order = Command(HOLD_OPEN, ISSUED_S + 60, argument=ISSUED_S + 60)
        code = self.send_while(
            "unlock_12.dwc", lambda: self.access.posture.obey(order, self.police_id)
        )
        self.assertIsNone(code)
        self.start()
        self.assertEqual(self.posture(), UNLOCKED)


class WaitingPanicButtonTest(WaitingTest):
    settings = {"lockdown_ends_by": "release"}

    def test_a_lockdown_in_between_calls_off_what_opens(self):
        self.switch()
        self.access.posture.keep_now()
        self.fill_sector()
        # Somebody presses it inside that lockdown: the release knows nothing of why.
        self.assertEqual(self.send_while("release_11.dwc", self.switch), LOCKED_DOWN)
        for _ in range(2):
            self.assertEqual(self.posture(), LOCKDOWN)
            self.start()


class ReleaseWithoutClockTest(TrustCase):
    def setUp(self):
        super().setUp()
        self.time.set(0, CLOCK_UNSET)

    def test_ends_the_lockdown_of_the_same_issuer(self):
        self.send("lockdown_10.dwc")
        self.start()
        self.send("release_11.dwc")
        self.assertEqual(self.posture(), NORMAL)

    def test_one_from_before_the_lockdown_does_not(self):
        self.send("lockdown_17.dwc")
        self.refuse(REPLAYED, "release_11.dwc")

    def test_ends_no_lockdown_that_was_not_ordered_by_command(self):
        self.access.posture.follow_switch(True)
        self.refuse(NO_CLOCK, "release_11.dwc")


class PanicButtonWithoutClockTest(TrustCase):
    settings = {"lockdown_ends_by": "release"}

    def setUp(self):
        super().setUp()
        self.time.set(0, CLOCK_UNSET)
        self.press()

    def press(self):
        self.access.posture.follow_switch(True)
        self.access.posture.follow_switch(False)
        self.access.posture.keep_now()

    def test_a_release_that_names_it_is_newer_and_ends_it(self):
        for _ in range(2):
            self.assertEqual((self.posture(), self.access.posture.lockdown), (LOCKDOWN, 1))
            self.start()
        self.refuse(NO_CLOCK, "release_11.dwc")
        self.send("release_18_of_lockdown_1.dwc")
        for _ in range(2):
            self.assertEqual(self.posture(), NORMAL)
            self.refuse(REPLAYED, "release_18_of_lockdown_1.dwc")
            self.start()

    def test_one_that_names_another_is_from_before_it_or_a_mistake(self):
        for quality in (CLOCK_UNSET, CLOCK_SYNCED):
            self.time.set(ISSUED_S, quality)
            self.refuse(TOO_LATE, "release_19_of_lockdown_2.dwc")
            self.assertEqual(self.posture(), LOCKDOWN)
        self.send("release_18_of_lockdown_1.dwc")
        self.press()
        self.send("release_19_of_lockdown_2.dwc")
        self.assertEqual(self.posture(), NORMAL)

    def test_one_that_names_what_is_over(self):
        self.access.posture.follow_gesture(END_LOCKDOWN, b"key-holder")
        self.access.posture.keep_now()
        self.refuse(TOO_LATE, "release_18_of_lockdown_1.dwc")

    def test_an_order_inside_it_makes_it_another(self):
        self.send("lockdown_10.dwc")
        self.refuse(TOO_LATE, "release_18_of_lockdown_1.dwc")
        self.send("release_19_of_lockdown_2.dwc")
        self.assertEqual(self.posture(), NORMAL)


class HoldOpenBoundsTest(TrustCase):
    def test_until_a_time_that_is_past(self):
        self.time.set(ISSUED_S + 900)
        self.refuse(TOO_LATE, "hold_open_13.dwc")

    def test_for_more_than_a_day(self):
        self.time.set(ISSUED_S + 900 - 86_401)
        self.refuse(TOO_LONG, "hold_open_13.dwc")
        self.time.set(ISSUED_S + 900 - 86_400)
        self.send("hold_open_13.dwc")


class RingCutTest(TrustCase):
    """The power goes between a ring and the pruning that it brings."""

    def test_what_belonged_to_dropped_issuers_is_forgotten_all_the_same(self):
        self.send("police_2.dwl")
        kept = bytes(self.kept.data)
        self.send("ring_3_police_moved.dwk")
        self.kept.data[:] = kept
        self.start()
        shelf = self.access.shelf
        self.assertEqual(shelf.floor(ALLOWLIST_TYPE, self.police_id), 1)
        self.assertFalse(shelf.is_durable(ALLOWLIST_TYPE, self.police_id, 2))

    def test_the_state_holds_eight_issuers(self):
        shelf = self.access.shelf
        shelf._floors = {
            (kind, bytes((kind, n)) + bytes(6)): 0xFFFFFFFF
            for kind in (ALLOWLIST_TYPE, DENY_LIST_TYPE, COMMAND_TYPE)
            for n in range(8)
        }
        run(shelf.commit({}, OpenGate()))


class AbortTest(TrustCase):
    def test_during_the_signature_no_room_is_lost(self):
        shelf = self.access.shelf
        carrier = Carrier(self.access, "police_2.dwl")

        async def play():
            bringing = asyncio.create_task(carrier.bring())
            await asyncio.sleep(0)
            carrier.intake.abort()
            try:
                await bringing
            except Refused:
                return
            self.fail("it was taken though the carrier had gone")

        run(play())
        self.assertEqual(shelf._reserved, [])

    def test_an_object_that_comes_in_force_is_not_aborted(self):
        carrier = Carrier(self.access, "police_2.dwl")

        async def play():
            await carrier.bring()
            finishing = asyncio.create_task(carrier.finish())
            await asyncio.sleep(0)
            carrier.intake.abort()
            with self.assertRaises(Refused) as caught:
                carrier.intake.begin(1000)
            self.assertEqual(caught.exception.code, BUSY)
            await finishing

        run(play())
        self.assertEqual(self.police_version(), 2)
        self.assertEqual(run(self.access.check_lists()), [])

    def test_whatever_is_raised_frees_the_intake(self):
        for error, code in ((MemoryError(), NO_MEMORY), (FlashFault("x"), FLASH_FAULT)):
            carrier = Carrier(self.access, "police_2.dwl")

            def program(offset, buf, error=error):
                raise error

            sound, self.flash.program = self.flash.program, program
            with self.assertRaises(Refused) as caught:
                run(carrier.bring())
            self.flash.program = sound
            self.assertEqual(caught.exception.code, code)
            self.assertFalse(carrier.intake.is_open)
            self.assertEqual(self.access.shelf._reserved, [])

    def test_a_full_state_is_no_space(self):
        carrier = Carrier(self.access, "police_2.dwl")
        for number in range(80):
            self.access.shelf._floors[(9, bytes((number,)) + bytes(7))] = 1
        run(carrier.bring())
        with self.assertRaises(Refused) as caught:
            run(carrier.finish())
        self.assertEqual(caught.exception.code, NO_SPACE)


class StuckState(MemoryFlash):
    """State flash in which a bit of one slot does not take."""

    stuck_at = -1

    def program(self, offset, buf):
        super().program(offset, buf)
        if offset <= self.stuck_at < offset + len(buf):
            self.data[self.stuck_at] = 0xFF


class StuckStateTest(TrustCase):
    def test_the_next_slot_is_taken_and_nothing_is_obeyed_twice(self):
        stuck = StuckState(2 * SECTOR_BYTES)
        stuck.data[:] = self.kept.data
        self.kept = stuck
        self.start()
        snapshots = state.Snapshots(self.kept, STATE_SLOT_BYTES)
        stuck.stuck_at = snapshots._next_slot * STATE_SLOT_BYTES + 20
        self.send("unlock_12.dwc")
        self.start()
        self.refuse(REPLAYED, "unlock_12.dwc")

    def test_a_place_beyond_the_region_is_a_corrupt_list(self):
        small = MemoryFlash(SECTOR_BYTES)
        self.flash = small
        self.start()
        self.assertEqual(self.reason(holder(STAFF, 0)), UNKNOWN_BADGE)
        self.assertTrue(self.access.shelf.corrupt)


class DenyFloorTest(TrustCase):
    def test_a_list_that_includes_less_does_not_let_a_folded_one_come_back(self):
        self.send("police_4_folds_deny_2.dwl")
        self.send_group_list()
        self.refuse(OLD_VERSION, "police_deny_2.dwd")
        self.start()
        self.refuse(OLD_VERSION, "police_deny_2.dwd")

    def send_group_list(self):
        # Version 5, for this door's group 3, includes no deny list.
        self.send("police_5_for_group_3.dwl")
        self.assertEqual(self.police_version(), 5)


if __name__ == "__main__":
    unittest.main()
