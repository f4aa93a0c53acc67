"""Access as a whole: the door's lists asked about a badge, posture, and lists that went bad."""

import asyncio
import unittest

import support
from doorward import state
from doorward.access.command import Command
from doorward.access.control import Access, blind
from doorward.access.gesture import BEGIN_LOCKDOWN
from doorward.config import Config
from doorward.hal.roles import PROVISION_SLOT_BYTES, SECTOR_BYTES, STATE_SLOT_BYTES
from doorward.trust import objects
from doorward.trust.keyring import read_ring
from doorward.trust.objects import ALLOWLIST_TYPE, Header
from doorward.trust.primitives import HmacKey, no_pause
from doorward.values import (
    ALWAYS,
    BY_SWITCH,
    CLOCK_SYNCED,
    CLOCK_UNSET,
    DISABLE,
    DISABLED,
    DOOR_DISABLED,
    EXPIRED,
    GRANTED,
    GRANTED_IN_LOCKDOWN,
    GRANTED_ON_OLD_LIST,
    IN_LOCKDOWN,
    LIST_TOO_OLD,
    LOCKDOWN,
    POSTURE_CHANGED,
    RANDOM_UID,
    RESPONDER,
    STAFF,
    UNKNOWN_BADGE,
    VISITOR,
    Badge,
    Entry,
)
from doorward.walltime import WallTime
from support import FakeTicks, MemoryFlash, OpenGate, vector

ISSUED_S = 1_790_000_000
SITE_KEY = bytes(range(32))


def read(name):
    with open(vector("objects/" + name), "rb") as file:
        return file.read()


def run(coroutine):
    """Run on asyncio: Access pauses with sleep_ms."""
    return support.asyncio.run(coroutine)


def badge(uid):
    made = Badge()
    made.identity[0] = len(uid)
    made.identity[1 : 1 + len(uid)] = uid
    return made


def holder(kind, number):
    """Return a badge of tests/make_objects.py."""
    return badge(bytes((4, kind)) + bytes(4) + bytes((number,)))


class AccessCase(unittest.TestCase):
    is_mapped = False
    settings = {}

    def setUp(self):
        self.flash = MemoryFlash(8 * SECTOR_BYTES, self.is_mapped)
        self.kept = MemoryFlash(2 * SECTOR_BYTES)
        self.ring = read_ring(read("ring.dwk"))
        self.given = MemoryFlash(6 * SECTOR_BYTES)
        values = {state.KEY_RING: read("ring.dwk"), state.SITE_KEY: SITE_KEY}
        run(state.Snapshots(self.given, PROVISION_SLOT_BYTES).commit(values, OpenGate()))
        self.ticks = FakeTicks()
        self.time = WallTime(self.ticks, ISSUED_S, CLOCK_SYNCED)
        self.start()
        self.send("police_1.dwl")
        self.send("district_1.dwl")

    def start(self):
        settings = {"site": "north", "door": "main", "groups": [3]}
        settings.update(self.settings)
        self.access = Access(
            self.flash,
            state.Snapshots(self.given, PROVISION_SLOT_BYTES),
            state.Snapshots(self.kept, STATE_SLOT_BYTES),
            Config(settings),
            self.time,
            self.ticks,
            OpenGate(),
        )
        self.changes = []
        self.access.posture.on_change = lambda *change: self.changes.append(change)

    def send(self, name):
        intake = self.access.open_intake()

        async def take(data):
            intake.begin(len(data))
            await intake.feed(data)
            return await intake.finish()

        return run(take(read(name)))

    def posture(self):
        return self.access.posture.current

    def reason(self, a_badge):
        return self.access.decide(a_badge).reason


class DecideTest(AccessCase):
    def test_every_badge_of_both_lists(self):
        for kind, count in ((RESPONDER, 60), (STAFF, 20), (VISITOR, 5)):
            for number in range(count):
                decision = self.access.decide(holder(kind, number))
                self.assertEqual(decision.reason, GRANTED)
                self.assertTrue(decision.is_grant)
                self.assertEqual(decision.entry.cardholder_class, kind)
                self.assertEqual(decision.entry.level, number % 16)
                self.assertEqual(decision.entry.list_version, 1)
            self.assertEqual(self.reason(holder(kind, count)), UNKNOWN_BADGE)

    def test_says_by_whose_list(self):
        police, district = self.ring.issuers
        decision = self.access.decide(holder(RESPONDER, 0))
        self.assertEqual(decision.entry.issuer_id, police.key.key_id)
        decision = self.access.decide(holder(STAFF, 0))
        self.assertEqual(decision.entry.issuer_id, district.key.key_id)

    def test_unknown_badges_have_an_id_but_no_entry(self):
        decision = self.access.decide(holder(RESPONDER, 77))
        self.assertIsNone(decision.entry)
        self.assertEqual(len(decision.badge_id), 10)
        self.assertFalse(decision.is_grant)

    def test_identity_is_length_and_bytes(self):
        # The same bytes at another length are another badge; trailing zeros count.
        listed = holder(RESPONDER, 0)
        listed.identity[0] = 10
        self.assertEqual(self.reason(listed), UNKNOWN_BADGE)

    def test_random_uid(self):
        self.assertEqual(self.reason(badge(b"\x08\x01\x02\x03")), RANDOM_UID)
        self.assertEqual(self.reason(badge(b"\x08\x01\x02\x03\x04\x05\x06")), UNKNOWN_BADGE)

    def test_no_list_at_all(self):
        self.flash = MemoryFlash(8 * SECTOR_BYTES)
        self.kept = MemoryFlash(2 * SECTOR_BYTES)
        self.start()
        self.assertEqual(self.reason(holder(RESPONDER, 0)), UNKNOWN_BADGE)

    def test_staff_are_held_to_staleness_and_responders_are_not(self):
        # soft after 100 s, hard after 200 s, responders never
        for age_s, staff, responder in (
            (0, GRANTED, GRANTED),
            (100, GRANTED_ON_OLD_LIST, GRANTED_ON_OLD_LIST),
            (200, LIST_TOO_OLD, GRANTED_ON_OLD_LIST),
            (100_000_000, LIST_TOO_OLD, GRANTED_ON_OLD_LIST),
        ):
            self.time.set(ISSUED_S + age_s)
            self.assertEqual(self.reason(holder(STAFF, 0)), staff)
            self.assertEqual(self.reason(holder(RESPONDER, 0)), responder)

    def test_deciding_writes_nothing(self):
        before = self.flash.programs + self.flash.erases + self.kept.programs
        for _ in range(10):
            self.reason(holder(RESPONDER, 0))
        self.assertEqual(self.flash.programs + self.flash.erases + self.kept.programs, before)


class MappedDecideTest(DecideTest):
    is_mapped = True


class FakeList:
    """A list that has every badge, with the entry it was given."""

    issuer = None

    def __init__(self, entry, issued_s=0):
        self.entry = entry
        self.header = Header()
        self.header.issued_s = issued_s

    def find(self, badge_id, entry):
        entry.cardholder_class = self.entry.cardholder_class
        entry.valid_until_s = self.entry.valid_until_s
        entry.list_version = self.entry.list_version
        return True

    def staleness(self, cardholder_class, now_s):
        return 0

    def hours(self, level, now_s, is_clock_set):
        return ALWAYS


class TwoListsTest(AccessCase):
    def decide(self, *versions_until):
        lists = []
        for version, until_s in versions_until:
            entry = Entry()
            entry.cardholder_class = STAFF
            entry.valid_until_s = until_s
            entry.list_version = version
            lists.append(FakeList(entry))
        self.access.shelf.lists = lists
        decision = self.access.decide(holder(STAFF, 0))
        return decision.reason, decision.entry.list_version

    def test_the_list_that_opens_counts(self):
        self.assertEqual(self.decide((1, 5), (2, 0)), (GRANTED, 2))
        self.assertEqual(self.decide((1, 0), (2, 5)), (GRANTED, 1))

    def test_else_the_first_says_why_not(self):
        self.assertEqual(self.decide((1, 5), (2, 6)), (EXPIRED, 1))

    def test_a_misdated_list_ages_nobody_elses(self):
        def listed(until_s, issued_s):
            entry = Entry()
            entry.cardholder_class = STAFF
            entry.valid_until_s = until_s
            return FakeList(entry, issued_s)

        soon_s = ISSUED_S + 1000
        for quality in (CLOCK_SYNCED, CLOCK_UNSET):
            self.time.set(ISSUED_S, quality)
            self.access.shelf.lists = [listed(soon_s, ISSUED_S), listed(soon_s, soon_s + 9)]
            self.assertTrue(self.access.decide(holder(STAFF, 0)).is_grant)
            # On its own the misdated list's entries are over.
            self.access.shelf.lists = [listed(soon_s, soon_s + 9)]
            self.assertEqual(self.access.decide(holder(STAFF, 0)).reason, EXPIRED)


class EarliestTest(AccessCase):
    def test_it_is_when_the_newest_object_in_force_was_issued(self):
        access = self.access
        self.assertEqual(access.earliest_s(), objects.parse_header(read("ring.dwk")).issued_s)
        access.shelf.ring.issued_s = ISSUED_S - 1
        self.assertEqual(access.earliest_s(), ISSUED_S)
        self.send("police_2_issued_later.dwl")
        self.assertEqual(access.earliest_s(), ISSUED_S + 86_400)
        self.send("police_deny_1.dwd")
        self.assertEqual(access.earliest_s(), ISSUED_S + 86_400)
        access.shelf.denials[0].header.issued_s = ISSUED_S + 90_000
        self.assertEqual(access.earliest_s(), ISSUED_S + 90_000)


class PostureTest(AccessCase):
    def test_lockdown(self):
        self.access.posture.follow_switch(True)
        self.assertEqual(self.posture(), LOCKDOWN)
        self.assertEqual(self.reason(holder(STAFF, 0)), IN_LOCKDOWN)
        self.assertEqual(self.reason(holder(RESPONDER, 0)), GRANTED_IN_LOCKDOWN)
        self.access.posture.follow_switch(True)
        self.access.posture.follow_switch(False)
        self.assertEqual(self.reason(holder(STAFF, 0)), GRANTED)
        self.assertEqual(self.changes, [(POSTURE_CHANGED, BY_SWITCH, b"")] * 2)

    def test_survives_a_restart(self):
        async def keep():
            keeping = asyncio.create_task(self.access.posture.keep(lambda: None))
            await asyncio.sleep_ms(5)
            keeping.cancel()

        self.access.posture.follow_gesture(BEGIN_LOCKDOWN, b"principal")
        asyncio.run(keep())
        self.start()
        self.assertEqual(self.posture(), LOCKDOWN)
        self.assertEqual(self.reason(holder(STAFF, 0)), IN_LOCKDOWN)

    def test_the_switch_leaves_another_posture(self):
        self.access.posture.obey(Command(DISABLE, ISSUED_S), b"district")
        self.access.posture.follow_switch(True)
        self.access.posture.follow_switch(False)
        self.assertEqual(self.posture(), DISABLED)
        self.assertEqual(self.reason(holder(RESPONDER, 0)), DOOR_DISABLED)

    def test_a_posture_of_a_later_firmware_is_read_as_lockdown(self):
        snapshots = state.Snapshots(self.kept, STATE_SLOT_BYTES)
        run(snapshots.commit({state.POSTURE: b"\x09"}, OpenGate()))
        self.start()
        self.assertEqual(self.posture(), LOCKDOWN)


class CheckListsTest(AccessCase):
    def corrupt(self, issuer_id):
        allowlist = self.access.shelf.in_force(ALLOWLIST_TYPE, issuer_id)
        body = self.flash.data.find(allowlist.header.pack()) + 366
        self.flash.data[body + 12] ^= 1

    def test_sound_lists_stay(self):
        self.assertEqual(run(self.access.check_lists()), [])
        self.assertEqual(len(self.access.shelf.lists), 2)

    def test_a_list_that_changed_on_flash_is_dropped(self):
        self.corrupt(self.ring.issuers[0].key.key_id)
        self.assertEqual([one.name for one in run(self.access.check_lists())], ["police"])
        self.assertEqual(self.reason(holder(RESPONDER, 0)), UNKNOWN_BADGE)
        self.assertEqual(self.reason(holder(STAFF, 0)), GRANTED)

    def test_a_list_replaced_during_the_check_is_nobodys_concern(self):
        police_id = self.ring.issuers[0].key.key_id
        self.corrupt(police_id)

        async def check_and_replace():
            asyncio = support.asyncio
            check = asyncio.create_task(self.access.check_lists())
            await asyncio.sleep(0)
            data = read("police_2.dwl")
            intake = self.access.open_intake()
            # The check is inside its first list; this one comes in force before it goes on.
            intake._pause = no_pause
            intake.begin(len(data))
            await intake.feed(data)
            await intake.finish()
            return await check

        self.assertEqual(run(check_and_replace()), [])
        self.assertEqual(self.access.shelf.in_force(ALLOWLIST_TYPE, police_id).header.version, 2)


class BlindTest(unittest.TestCase):
    def test_is_the_truncated_hmac_of_the_identity(self):
        key = HmacKey(SITE_KEY)
        identity = holder(STAFF, 1).identity
        self.assertEqual(blind(key, identity), key.tag(identity)[:10])
        self.assertNotEqual(blind(key, identity), blind(HmacKey(bytes(32)), identity))


if __name__ == "__main__":
    unittest.main()
