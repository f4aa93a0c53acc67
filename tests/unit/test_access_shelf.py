"""The shelf: where a list finds room, what a restart finds, what is dropped."""

import unittest

from doorward import state
from doorward.access.denylist import DenyList
from doorward.access.shelf import Address, Place, Shelf
from doorward.hal.roles import SECTOR_BYTES, STATE_SLOT_BYTES
from doorward.trust import objects
from doorward.trust.keyring import MAY_DENY, Issuer, KeyRing, read_ring
from doorward.trust.objects import ALLOWLIST_TYPE, COMMAND_TYPE, DENY_LIST_TYPE, KEY_RING_TYPE
from doorward.trust.primitives import run_through
from doorward.values import NO_SPACE, Refused
from support import MemoryFlash, OpenGate, PowerCut, vector


def read(name):
    with open(vector("objects/" + name), "rb") as file:
        return file.read()


class ShelfTest(unittest.TestCase):
    def setUp(self):
        self.flash = MemoryFlash(10 * SECTOR_BYTES)
        self.kept = MemoryFlash(2 * SECTOR_BYTES)
        self.ring = read_ring(read("ring.dwk"))
        self.police, self.district = (issuer.key.key_id for issuer in self.ring.issuers)
        self.start()

    def start(self):
        """Start anew on the same flash."""
        snapshots = state.Snapshots(self.kept, STATE_SLOT_BYTES)
        self.shelf = Shelf(self.flash, snapshots, self.ring, Address("north"))

    def put(self, name, issuer_id, version, sector):
        data = read(name)
        self.flash.data[sector * SECTOR_BYTES : sector * SECTOR_BYTES + len(data)] = data
        place = Place(data[5], issuer_id, version, sector, len(data))
        run_through(self.shelf.put_in_force(place, OpenGate()))

    def versions(self):
        return [(listed.issuer.name, listed.header.version) for listed in self.shelf.lists]

    def in_force(self, issuer_id):
        return self.shelf.in_force(ALLOWLIST_TYPE, issuer_id)

    def floor(self, issuer_id):
        return self.shelf.floor(ALLOWLIST_TYPE, issuer_id)

    def corrupt(self):
        return [issuer.name for issuer in self.shelf.corrupt]

    def room(self, length):
        """Return the sector that an object of this length is given."""
        place = Place(ALLOWLIST_TYPE, self.police, 9, 0, length)
        self.shelf.reserve(place)
        self.shelf.release(place)
        return place.sector

    def test_starts_empty(self):
        self.assertEqual(self.versions(), [])
        self.assertIsNone(self.in_force(self.police))
        self.assertEqual(self.floor(self.police), 1)

    def test_put_in_force_and_restart(self):
        self.put("district_1.dwl", self.district, 1, 4)
        self.put("police_2.dwl", self.police, 2, 0)
        for _ in range(2):
            # In the order of the ring's issuers, whatever came first.
            self.assertEqual(self.versions(), [("police", 2), ("district", 1)])
            self.assertEqual(self.floor(self.police), 2)
            self.assertEqual(self.floor(self.district), 1)
            self.assertEqual(self.shelf.corrupt, [])
            self.start()

    def test_a_cut_at_the_commit_leaves_the_old_list(self):
        self.put("police_1.dwl", self.police, 1, 0)
        self.kept.power.left = 0
        with self.assertRaises(PowerCut):
            self.put("police_2.dwl", self.police, 2, 2)
        self.kept.power.left = None
        self.assertEqual(self.versions(), [("police", 1)])
        self.start()
        self.assertEqual(self.versions(), [("police", 1)])
        self.assertEqual(self.floor(self.police), 1)

    def test_room_is_the_smallest_that_holds_it(self):
        # Ten sectors: list in 3, list in 5 and 6; free are 0-2, 4 and 7-9.
        self.put("police_1.dwl", self.police, 1, 3)
        self.put("district_1.dwl", self.district, 1, 5)
        self.put("police_2.dwl", self.police, 2, 5)
        self.put("district_1.dwl", self.district, 1, 3)
        for sectors, room in ((1, 4), (2, 0), (3, 0)):
            self.assertEqual(self.room(sectors * SECTOR_BYTES), room)
            self.assertEqual(self.room((sectors - 1) * SECTOR_BYTES + 1), room)
        with self.assertRaises(Refused) as caught:
            self.room(3 * SECTOR_BYTES + 1)
        self.assertEqual(caught.exception.code, NO_SPACE)

    def test_room_of_an_empty_region(self):
        # A tenth is kept for deny lists.
        self.assertEqual(self.room(9 * SECTOR_BYTES), 0)
        with self.assertRaises(Refused):
            self.room(9 * SECTOR_BYTES + 1)

    def test_a_list_leaves_room_for_the_next_one_of_another_issuer(self):
        # The police have two sectors: 0 and 1.
        self.put("police_2.dwl", self.police, 2, 0)
        place = Place(ALLOWLIST_TYPE, self.district, 1, 0, 6 * SECTOR_BYTES)
        with self.assertRaises(Refused) as caught:
            self.shelf.reserve(place)
        self.assertEqual(caught.exception.code, NO_SPACE)
        place.length = 5 * SECTOR_BYTES
        self.shelf.reserve(place)
        self.assertEqual(self.room(2 * SECTOR_BYTES), 7)

    def test_a_replaced_list_gives_its_room_back(self):
        self.put("police_1.dwl", self.police, 1, 0)
        self.assertEqual(self.room(1), 1)
        self.put("police_2.dwl", self.police, 2, 1)
        self.assertEqual(self.room(1), 0)

    def test_a_dropped_list_does_not_come_back_with_the_next_one(self):
        self.put("police_1.dwl", self.police, 1, 0)
        self.shelf.drop(self.in_force(self.police))
        self.assertEqual((self.versions(), self.corrupt()), ([], ["police"]))
        self.put("district_1.dwl", self.district, 1, 4)
        self.assertEqual((self.versions(), self.corrupt()), ([("district", 1)], ["police"]))
        self.start()
        self.assertEqual(self.versions(), [("district", 1)])

    def test_the_floor_outlives_a_dropped_list(self):
        self.put("police_2.dwl", self.police, 2, 0)
        self.shelf.drop(self.in_force(self.police))
        self.put("district_1.dwl", self.district, 1, 4)
        self.start()
        self.assertEqual(self.floor(self.police), 2)

    def test_a_header_that_did_not_survive_is_told_once(self):
        self.put("police_1.dwl", self.police, 1, 0)
        # magic, version, entry count, body length, issuer, length of the signature
        for at in (0, 25, 44, 56, 92, 108, 109):
            self.flash.data[at] ^= 1
            self.start()
            with self.subTest(byte=at):
                self.assertEqual((self.versions(), self.corrupt()), ([], ["police"]))
            self.flash.data[at] ^= 1
        # An entry of no bytes would let the count say anything.
        self.flash.data[44] = 255
        self.flash.data[48] = 0
        self.start()
        self.put("district_1.dwl", self.district, 1, 4)
        self.assertEqual((self.versions(), self.corrupt()), ([("district", 1)], ["police"]))

    def test_an_issuer_that_left_the_ring_is_no_longer_believed(self):
        self.put("police_1.dwl", self.police, 1, 0)
        district = self.ring.issuers[1]
        self.ring = KeyRing(1, self.ring.roots, [Issuer("district", 4, district.key)])
        self.start()
        self.assertEqual(self.versions(), [])

    def test_an_issuer_that_lost_the_power_or_the_site_is_no_longer_believed(self):
        self.put("police_1.dwl", self.police, 1, 0)
        police = self.ring.issuers[0]
        for scope in ({"powers": MAY_DENY}, {"site": "south"}, {"groups": 1}):
            changed = Issuer("police", police.classes, police.key, **scope)
            self.ring = KeyRing(1, self.ring.roots, [changed])
            self.start()
            self.assertEqual((self.versions(), self.corrupt()), ([], []))

    def test_what_an_offer_would_bring_is_wanted_or_not(self):
        wants = self.shelf.wants
        ring = self.ring.version
        self.assertTrue(wants(KEY_RING_TYPE, bytes(8), ring + 1, 0))
        self.assertFalse(wants(KEY_RING_TYPE, bytes(8), ring, 0))
        self.assertTrue(wants(ALLOWLIST_TYPE, self.police, 1, 0))
        self.assertTrue(wants(DENY_LIST_TYPE, self.police, 1, 0))
        self.assertFalse(wants(COMMAND_TYPE, self.police, 1, 0))
        self.assertFalse(wants(ALLOWLIST_TYPE, b"stranger", 1, 0))
        # For other groups of doors than those this door is in.
        self.shelf.address.groups = 0b110
        self.assertTrue(wants(ALLOWLIST_TYPE, self.police, 1, 0b010))
        self.assertFalse(wants(ALLOWLIST_TYPE, self.police, 1, 0b001))
        self.put("police_2.dwl", self.police, 2, 0)
        found = [wants(ALLOWLIST_TYPE, self.police, version, 0) for version in (1, 2, 3)]
        self.assertEqual(found, [False, False, True])
        # One that did not survive is wanted again, and none below it.
        self.shelf.drop(self.shelf.lists[0])
        found = [wants(ALLOWLIST_TYPE, self.police, version, 0) for version in (1, 2, 3)]
        self.assertEqual(found, [False, True, True])
        # Of what the issuer may not sign any more nothing is.
        self.ring.issuers[0].powers = MAY_DENY
        self.assertFalse(wants(ALLOWLIST_TYPE, self.police, 3, 0))
        self.assertTrue(wants(DENY_LIST_TYPE, self.police, 3, 0))

    def test_a_deny_list_in_force_and_not_on_flash_is_wanted(self):
        data = read("police_deny_1.dwd")
        header = objects.parse_header(data)
        self.shelf.deny_now(DenyList(header, self.ring.issuers[0], data[-header.body_bytes :]))
        offer = (DENY_LIST_TYPE, header.issuer_id, header.version, 0)
        self.assertTrue(self.shelf.wants(*offer))
        self.put("police_deny_1.dwd", header.issuer_id, header.version, 0)
        self.assertFalse(self.shelf.wants(*offer))

    def test_two_that_come_at_once_get_rooms_of_their_own(self):
        first = Place(ALLOWLIST_TYPE, self.police, 1, 0, 3 * SECTOR_BYTES)
        second = Place(ALLOWLIST_TYPE, self.district, 1, 0, 3 * SECTOR_BYTES)
        self.shelf.reserve(first)
        self.shelf.reserve(second)
        self.assertEqual((first.sector, second.sector), (0, 3))
        self.shelf.release(first)
        self.assertEqual(self.room(SECTOR_BYTES), 0)

    def test_deny_lists_lie_beside(self):
        self.put("police_1.dwl", self.police, 1, 0)
        self.put("police_deny_1.dwd", self.police, 1, 1)
        for _ in range(2):
            self.assertEqual(self.versions(), [("police", 1)])
            self.assertEqual([one.header.version for one in self.shelf.denials], [1])
            self.start()

    def test_a_deny_list_that_did_not_survive_is_told(self):
        self.put("police_deny_1.dwd", self.police, 1, 0)
        self.flash.data[self.flash.data.find(b"DWSO") + 366] ^= 1
        self.start()
        self.assertEqual((self.shelf.denials, self.corrupt()), ([], ["police"]))
        self.assertEqual(self.shelf.floor(DENY_LIST_TYPE, self.police), 1)


if __name__ == "__main__":
    unittest.main()
