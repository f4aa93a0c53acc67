"""Deny lists, commands and key rings at a door: what they do, what they cannot."""

import unittest

from doorward.access.command import Command, CommandError, parse_command
from doorward.hal.roles import SECTOR_BYTES
from doorward.trust.objects import ALLOWLIST_TYPE, DENY_LIST_TYPE
from doorward.values import (
    BAD_LENGTH,
    BY_COMMAND,
    CLOCK_HELD,
    CLOCK_SYNCED,
    CLOCK_UNSET,
    DUPLICATE_ENTRY,
    GRANTED,
    GRANTED_IN_LOCKDOWN,
    HOLD_OPEN,
    IN_LOCKDOWN,
    LOCK_DOWN,
    LOCKDOWN,
    LOCKED_DOWN,
    MALFORMED,
    NO_CLOCK,
    NORMAL,
    NOT_PERMITTED,
    NOT_SORTED,
    OLD_VERSION,
    OUT_OF_SCOPE,
    POSTURE_CHANGED,
    RELEASE,
    REPLAYED,
    RESPONDER,
    REVOKED,
    STAFF,
    TOO_FEW_SIGNATURES,
    TOO_LARGE,
    TOO_LATE,
    TOO_MANY_DENIED,
    UNKNOWN_BADGE,
    UNKNOWN_COMMAND,
    UNKNOWN_ISSUER,
    UNLOCK,
    UNLOCKED,
    WRONG_ADDRESS,
    WRONG_SITE,
    Refused,
)
from support import PowerCut
from test_access_control import ISSUED_S, AccessCase, holder, read, run


class TrustCase(AccessCase):
    """The door "main" of site north in group 3, with police list 1 and district list 1."""

    def refuse(self, code, name):
        with self.assertRaises(Refused) as caught:
            self.send(name)
        self.assertEqual(caught.exception.name, Refused(code).name)

    def floor(self, object_type):
        return self.access.shelf.floor(object_type, self.police_id)

    @property
    def police_id(self):
        return self.ring.issuers[0].key.key_id

    def police_version(self):
        allowlist = self.access.shelf.in_force(ALLOWLIST_TYPE, self.police_id)
        return allowlist and allowlist.header.version


class DenyListTest(TrustCase):
    def reasons(self, count=4):
        return [self.reason(holder(RESPONDER, number)) for number in range(count)]

    def test_denies_at_once_and_after_a_restart(self):
        self.send("police_deny_2.dwd")
        for _ in range(2):
            self.assertEqual(self.reasons(), [REVOKED, REVOKED, REVOKED, GRANTED])
            self.start()

    def test_denies_in_every_posture(self):
        self.send("police_deny_1.dwd")
        self.access.posture.follow_switch(True)
        self.assertEqual(self.reasons(2), [REVOKED, GRANTED_IN_LOCKDOWN])

    def test_cannot_deny_what_its_issuer_cannot_grant(self):
        # The police name a staff badge too, and the district six officers.
        self.send("police_deny_2.dwd")
        self.assertEqual(self.reason(holder(STAFF, 0)), GRANTED)
        self.send("district_deny_1.dwd")
        self.assertEqual(self.reason(holder(STAFF, 0)), REVOKED)
        self.assertEqual(self.reason(holder(STAFF, 2)), GRANTED)
        self.assertEqual(self.reason(holder(RESPONDER, 5)), GRANTED)

    def test_a_newer_one_replaces_the_whole(self):
        self.send("police_deny_2.dwd")
        self.send("police_deny_3_nobody.dwd")
        self.assertEqual(self.reasons(), [GRANTED] * 4)

    def test_an_older_one_is_refused(self):
        self.send("police_deny_2.dwd")
        self.refuse(OLD_VERSION, "police_deny_1.dwd")
        self.start()
        self.refuse(OLD_VERSION, "police_deny_1.dwd")
        self.assertTrue(self.send("police_deny_2.dwd").is_repeat)

    def test_is_in_force_before_it_is_on_flash(self):
        class ClosedGate:
            async def run(self, call, *args):
                raise PowerCut()

        for at in range(4 * SECTOR_BYTES, len(self.flash.data)):
            self.flash.data[at] = 0
        intake = self.access.open_intake()
        intake._gate = ClosedGate()

        async def take(data):
            intake.begin(len(data))
            await intake.feed(data)
            await intake.finish()

        # Whatever sector it gets is dirty, and its erase never comes.
        for at in range(len(self.flash.data)):
            self.flash.data[at] &= 0xFE if at % SECTOR_BYTES == SECTOR_BYTES - 1 else 0xFF
        with self.assertRaises(PowerCut):
            run(take(read("police_deny_1.dwd")))
        self.assertEqual(self.reasons(2), [REVOKED, GRANTED])
        # Another commit in between does not forget it, and it can be sent again.
        self.send("police_2.dwl")
        self.assertEqual(self.reasons(2), [REVOKED, GRANTED])
        self.assertFalse(self.send("police_deny_1.dwd").is_repeat)
        self.start()
        self.assertEqual(self.reasons(2), [REVOKED, GRANTED])

    def test_folded_away_by_a_list_that_includes_it(self):
        self.send("police_deny_2.dwd")
        self.send("police_4_folds_deny_2.dwl")
        for _ in range(2):
            self.assertEqual(self.access.shelf.denials, [])
            self.assertEqual(
                self.reasons(), [UNKNOWN_BADGE, UNKNOWN_BADGE, UNKNOWN_BADGE, GRANTED]
            )
            # Nor can it, or an older one, come back.
            self.refuse(OLD_VERSION, "police_deny_2.dwd")
            self.refuse(OLD_VERSION, "police_deny_1.dwd")
            self.start()

    def test_not_folded_by_a_list_that_includes_less(self):
        self.send("police_deny_4_full.dwd")
        self.send("police_4_folds_deny_2.dwl")
        self.assertEqual(self.reason(holder(RESPONDER, 5)), REVOKED)

    def test_cap(self):
        self.send("police_deny_4_full.dwd")
        self.assertEqual(self.reason(holder(RESPONDER, 59)), REVOKED)
        self.refuse(TOO_MANY_DENIED, "deny_513.dwd")
        # One issuer's cap is nobody else's.
        self.send("district_deny_1.dwd")
        self.assertEqual(self.reason(holder(STAFF, 0)), REVOKED)

    def test_malformed(self):
        self.refuse(NOT_SORTED, "deny_unsorted.dwd")
        self.refuse(DUPLICATE_ENTRY, "deny_duplicate.dwd")
        self.refuse(BAD_LENGTH, "deny_of_long_entries.dwd")
        self.assertEqual(self.reasons(), [GRANTED] * 4)

    def test_a_list_may_have_another_version_than_the_deny_list(self):
        self.send("police_deny_2.dwd")
        self.assertEqual((self.floor(ALLOWLIST_TYPE), self.floor(DENY_LIST_TYPE)), (1, 2))
        self.send("police_2.dwl")
        self.assertEqual((self.floor(ALLOWLIST_TYPE), self.floor(DENY_LIST_TYPE)), (2, 2))


class CommandTest(TrustCase):
    def test_lockdown_and_release(self):
        self.send("lockdown_10.dwc")
        for _ in range(2):
            self.assertEqual(self.posture(), LOCKDOWN)
            self.assertEqual(self.reason(holder(STAFF, 0)), IN_LOCKDOWN)
            self.start()
        self.send("release_11.dwc")
        for _ in range(2):
            self.assertEqual(self.posture(), NORMAL)
            self.start()

    def test_tells_of_each_order_to_lock_down(self):
        # Also of one in a standing lockdown: it shuts what was held open inside.
        self.send("lockdown_10.dwc")
        self.send("lockdown_17.dwc")
        self.assertEqual(self.changes, [(POSTURE_CHANGED, BY_COMMAND, b"")] * 2)

    def test_replays_are_refused_also_after_a_restart(self):
        self.send("lockdown_10.dwc")
        self.send("release_11.dwc")
        for _ in range(2):
            for name in ("lockdown_10.dwc", "release_11.dwc"):
                self.refuse(REPLAYED, name)
            self.assertEqual(self.posture(), NORMAL)
            self.start()

    def test_the_switch_does_not_end_a_commanded_lockdown(self):
        self.send("lockdown_10.dwc")
        self.access.posture.follow_switch(True)
        self.access.posture.follow_switch(False)
        self.assertEqual(self.posture(), LOCKDOWN)

    def test_a_release_does_not_end_what_the_switch_goes_on_demanding(self):
        self.access.posture.follow_switch(True)
        self.send("release_11.dwc")
        self.assertEqual(self.posture(), LOCKDOWN)
        self.access.posture.follow_switch(False)
        self.assertEqual(self.posture(), NORMAL)

    def test_unlock_is_for_the_caller_to_do(self):
        accepted = self.send("unlock_12.dwc")
        self.assertEqual((accepted.command.kind, accepted.command.argument), (UNLOCK, 7))
        self.assertEqual(self.posture(), NORMAL)
        self.refuse(REPLAYED, "unlock_12.dwc")

    def test_hold_open_until(self):
        self.send("hold_open_13.dwc")
        self.time.set(ISSUED_S + 899)
        for _ in range(2):
            self.access.follow_time()
            self.assertEqual(self.posture(), UNLOCKED)
            self.start()
        self.time.set(ISSUED_S + 900)
        self.access.follow_time()
        self.assertEqual(self.posture(), NORMAL)

    def test_held_open_locks_when_nobody_knows_the_time(self):
        self.send("hold_open_13.dwc")
        self.time.set(0, CLOCK_UNSET)
        self.access.follow_time()
        self.assertEqual(self.posture(), NORMAL)

    def test_a_lockdown_ends_holding_open_for_good(self):
        self.send("hold_open_13.dwc")
        self.access.posture.follow_switch(True)
        self.access.posture.follow_switch(False)
        self.assertEqual(self.posture(), NORMAL)

    def test_a_door_in_lockdown_is_not_held_open(self):
        self.access.posture.follow_switch(True)
        self.refuse(LOCKED_DOWN, "hold_open_13.dwc")

    def test_address(self):
        self.refuse(WRONG_ADDRESS, "lockdown_14_group_4.dwc")
        self.refuse(WRONG_ADDRESS, "lockdown_15_other_door.dwc")
        self.assertEqual(self.posture(), NORMAL)
        self.access.shelf.address.groups = 1 << 3
        self.send("lockdown_14_group_4.dwc")
        self.assertEqual(self.posture(), LOCKDOWN)

    def test_an_issuer_without_the_power(self):
        self.refuse(NOT_PERMITTED, "lockdown_16_by_district.dwc")

    def test_too_late(self):
        self.time.set(ISSUED_S + 3600)
        for name in ("lockdown_10.dwc", "release_11.dwc", "unlock_12.dwc", "hold_open_13.dwc"):
            self.refuse(TOO_LATE, name)
        self.time.set(ISSUED_S + 3599, CLOCK_HELD)
        self.send("lockdown_10.dwc")

    def test_without_a_clock_only_what_closes_is_obeyed(self):
        self.time.set(0, CLOCK_UNSET)
        for name in ("release_11.dwc", "unlock_12.dwc", "hold_open_13.dwc"):
            self.refuse(NO_CLOCK, name)
        self.send("lockdown_10.dwc")
        self.assertEqual(self.posture(), LOCKDOWN)

    def test_what_was_refused_may_be_obeyed_later(self):
        self.time.set(0, CLOCK_UNSET)
        self.refuse(NO_CLOCK, "release_11.dwc")
        self.time.set(ISSUED_S, CLOCK_SYNCED)
        self.send("release_11.dwc")

    def test_bodies_that_are_none(self):
        self.refuse(UNKNOWN_COMMAND, "command_of_no_kind.dwc")
        self.refuse(MALFORMED, "command_of_no_target.dwc")
        self.refuse(BAD_LENGTH, "command_too_long.dwc")
        self.refuse(MALFORMED, "command_counter_last.dwc")

    def test_a_lockdown_does_not_wait_for_the_list_that_is_being_received(self):
        data = read("police_2.dwl")
        other = self.access.open_intake()

        async def half():
            other.begin(len(data))
            await other.feed(data[:3000])

        async def rest():
            await other.feed(data[3000:])
            await other.finish()

        run(half())
        self.send("lockdown_10.dwc")
        self.assertEqual(self.posture(), LOCKDOWN)
        run(rest())
        self.assertEqual(self.police_version(), 2)
        self.start()
        self.assertEqual((self.police_version(), self.posture()), (2, LOCKDOWN))


class CommandBodyTest(unittest.TestCase):
    def test_round_trip(self):
        for made in (
            Command(LOCK_DOWN, 5),
            Command(RELEASE, 5, door="a" * 24),
            Command(RELEASE, 5, argument=0xFFFFFFFF, door="a"),
            Command(UNLOCK, 5, argument=300, group=16),
            Command(HOLD_OPEN, 5, argument=0xFFFFFFFF, group=1),
        ):
            read_back = parse_command(made.pack())
            for name in ("kind", "expires_s", "argument", "door", "group"):
                self.assertEqual(getattr(read_back, name), getattr(made, name))

    def test_parts_that_do_not_fit(self):
        for made in (
            Command(9, 5),
            Command(LOCK_DOWN, 0),
            Command(LOCK_DOWN, 5, argument=1),
            Command(LOCK_DOWN, 5, argument=1, door="a"),
            Command(RELEASE, 5, argument=1),
            Command(RELEASE, 5, argument=1, group=1),
            Command(UNLOCK, 5),
            Command(UNLOCK, 5, argument=301),
            Command(HOLD_OPEN, 5),
            Command(LOCK_DOWN, 5, door="a" * 25),
            Command(LOCK_DOWN, 5, door="a b"),
            Command(LOCK_DOWN, 5, group=17),
            Command(LOCK_DOWN, 5, group=1, door="a"),
        ):
            with self.assertRaises(CommandError):
                made.pack()


class KeyRingTest(TrustCase):
    def test_replaced_and_kept(self):
        self.send("ring_2.dwk")
        for _ in range(2):
            self.assertEqual(self.access.shelf.ring.version, 2)
            self.assertEqual(self.reason(holder(RESPONDER, 0)), GRANTED)
            self.assertTrue(self.send("ring_2.dwk").is_repeat)
            self.start()

    def test_refusals(self):
        self.refuse(WRONG_SITE, "ring_2_other_site.dwk")
        self.refuse(TOO_FEW_SIGNATURES, "ring_4_only_old_signed.dwk")
        self.refuse(TOO_FEW_SIGNATURES, "ring_4_only_new_signed.dwk")
        self.refuse(UNKNOWN_ISSUER, "ring_signed_by_stranger.dwk")
        self.send("ring_3_police_moved.dwk")
        self.refuse(OLD_VERSION, "ring_2.dwk")
        self.assertEqual(self.access.shelf.ring.version, 3)

    def test_over_the_cap(self):
        data = read("ring.dwk")[:100] + bytes(9000)
        intake = self.access.open_intake()

        async def take():
            intake.begin(len(data))
            await intake.feed(data)

        with self.assertRaises(Refused):
            run(take())
        data = bytearray(read("ring.dwk"))
        data[56:60] = (5121).to_bytes(4, "little")
        with self.assertRaises(Refused) as caught:
            run(take())
        self.assertEqual(caught.exception.code, TOO_LARGE)

    def test_an_issuers_new_key_starts_at_version_one(self):
        self.send("police_4_folds_deny_2.dwl")
        self.send("ring_3_police_moved.dwk")
        # What the old key signed no longer opens.
        self.assertEqual(self.reason(holder(RESPONDER, 10)), UNKNOWN_BADGE)
        self.assertEqual(self.reason(holder(STAFF, 0)), GRANTED)
        self.refuse(UNKNOWN_ISSUER, "police_4_folds_deny_2.dwl")
        self.send("police_1_by_moved_key.dwl")
        for _ in range(2):
            self.assertEqual(self.reason(holder(RESPONDER, 10)), GRANTED)
            self.start()

    def test_a_narrowed_scope_counts_at_once(self):
        self.send("ring_3_narrowed.dwk")
        for _ in range(2):
            self.assertEqual(self.reason(holder(RESPONDER, 0)), UNKNOWN_BADGE)
            self.assertEqual(self.reason(holder(STAFF, 0)), UNKNOWN_BADGE)
            self.start()
        self.refuse(OUT_OF_SCOPE, "police_2.dwl")
        self.refuse(NOT_PERMITTED, "district_1.dwl")

    def test_roots_that_all_change(self):
        self.send("ring_4_roots_moved.dwk")
        self.start()
        self.refuse(TOO_FEW_SIGNATURES, "ring_2.dwk")
        self.send("ring_5_by_moved_roots.dwk")
        self.start()
        self.assertEqual(self.access.shelf.ring.version, 5)

    def test_a_deny_list_outlives_the_ring(self):
        self.send("police_deny_1.dwd")
        self.send("ring_2.dwk")
        self.start()
        self.assertEqual(self.reason(holder(RESPONDER, 0)), REVOKED)


if __name__ == "__main__":
    unittest.main()
