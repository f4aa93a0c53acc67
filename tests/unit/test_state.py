"""Small durable state: whole snapshots, cut at every flash operation."""

import asyncio
import unittest

from doorward import state
from doorward.trust.primitives import run_through
from support import MemoryFlash, OpenGate, PowerCut

SLOT = 1024


def commit(store, changes):
    run_through(store.commit(changes, OpenGate()))


class Snapshots(unittest.TestCase):
    def test_an_empty_region_holds_nothing(self):
        store = state.Snapshots(MemoryFlash(8192), SLOT)
        self.assertIsNone(store.get(state.POSTURE))
        self.assertEqual(store.get_u32(state.BOOT_COUNT, 7), 7)

    def test_values_survive_a_restart(self):
        flash = MemoryFlash(8192)
        store = state.Snapshots(flash, SLOT)
        for boot in range(1, 40):
            commit(store, {state.BOOT_COUNT: boot.to_bytes(4, "little"), state.POSTURE: b"\x02"})
            again = state.Snapshots(flash, SLOT)
            self.assertEqual(again.get_u32(state.BOOT_COUNT), boot)
            self.assertEqual(again.get(state.POSTURE), b"\x02")

    def test_what_is_not_changed_stays(self):
        store = state.Snapshots(MemoryFlash(8192), SLOT)
        commit(store, {state.POSTURE: b"\x01"})
        commit(store, {state.BOOT_COUNT: b"\x05\x00\x00\x00"})
        self.assertEqual(store.get(state.POSTURE), b"\x01")

    def test_commits_at_the_same_time_are_both_kept(self):
        flash = MemoryFlash(8192)
        store = state.Snapshots(flash, SLOT)
        for boot in range(4):
            commit(store, {state.BOOT_COUNT: boot.to_bytes(4, "little")})

        class SlowGate:
            async def run(self, call, *args):
                await asyncio.sleep_ms(5)
                return call(*args)

        async def rounds():
            for n in range(1, 20):
                value = bytes([n])
                await asyncio.gather(
                    store.commit({state.LISTS: value}, SlowGate()),
                    store.commit({state.POSTURE: value}, SlowGate()),
                )
                for found in (store, state.Snapshots(flash, SLOT)):
                    self.assertEqual(found.get(state.LISTS), value)
                    self.assertEqual(found.get(state.POSTURE), value)

        asyncio.run(rounds())

    def test_too_much_is_refused_and_loses_nothing(self):
        flash = MemoryFlash(8192)
        store = state.Snapshots(flash, SLOT)
        commit(store, {state.POSTURE: b"\x01"})
        with self.assertRaises(state.StateFull):
            commit(store, {state.LISTS: bytes(SLOT)})
        self.assertEqual(store.get(state.POSTURE), b"\x01")
        self.assertEqual(state.Snapshots(flash, SLOT).get(state.POSTURE), b"\x01")

    def test_slots_of_several_sectors(self):
        flash = MemoryFlash(6 * 4096)
        store = state.Snapshots(flash, 12288)
        for n in range(5):
            commit(store, {state.CONFIG: bytes([n]) * 9000})
            self.assertEqual(state.Snapshots(flash, 12288).get(state.CONFIG), bytes([n]) * 9000)

    def test_a_power_cut_at_any_flash_operation_leaves_old_or_new(self):
        # Walk through two rounds of the ring; before each commit, try it with the power cut after
        # every number of operations, the one under way torn in the middle.
        flash = MemoryFlash(8192)
        store = state.Snapshots(flash, SLOT)
        commit(store, {state.BOOT_COUNT: bytes(4)})
        cuts = 0
        for boot in range(1, 18):
            new = boot.to_bytes(4, "little") + bytes(boot * 20)
            old = store.get(state.BOOT_COUNT)
            operations = 0
            while True:
                trial = flash.copy()
                trial.power.left = operations
                victim = state.Snapshots(trial, SLOT)
                try:
                    commit(victim, {state.BOOT_COUNT: new})
                except PowerCut:
                    trial.power.left = None
                    cuts += 1
                    survivor = state.Snapshots(trial, SLOT)
                    self.assertIn(survivor.get(state.BOOT_COUNT), (old, new))
                    commit(survivor, {state.BOOT_COUNT: new})
                    self.assertEqual(state.Snapshots(trial, SLOT).get(state.BOOT_COUNT), new)
                    operations += 1
                    continue
                break
            commit(store, {state.BOOT_COUNT: new})
        self.assertGreater(cuts, 20)

    def test_flipped_bits_are_not_believed(self):
        flash = MemoryFlash(8192)
        store = state.Snapshots(flash, SLOT)
        commit(store, {state.POSTURE: b"\x00"})
        commit(store, {state.POSTURE: b"\x02"})
        flash.data[SLOT + 12] ^= 0x01
        self.assertEqual(state.Snapshots(flash, SLOT).get(state.POSTURE), b"\x00")
