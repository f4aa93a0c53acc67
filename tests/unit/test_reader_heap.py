"""No poll and no read allocates: replayed with the heap locked on MicroPython.

The chip model itself allocates, so what it answers is recorded first and played back then from
buffers made before. On CPython, which cannot lock its heap, the playback must give the same result.
"""

import unittest

from doorward.reader.credentials import Credentials
from doorward.reader.iso14443a import Activation
from doorward.reader.mfrc522 import MFRC522
from sim import cards
from test_reader import UID4, UID7, UID10, Rig, Settings

try:
    from micropython import heap_lock, heap_unlock
except ImportError:

    def heap_lock():
        pass

    def heap_unlock():
        pass


class RecordingSpi:
    def __init__(self, spi):
        self._spi = spi
        self.answers = bytearray()

    def write(self, out):
        self._spi.write(out)

    def write_readinto(self, out, into):
        self._spi.write_readinto(out, into)
        self.answers.extend(into)


class PlayingSpi:
    """Answers from a recording and allocates nothing."""

    def __init__(self, answers):
        self._answers = bytes(answers)
        self._at = 0

    def rewind(self):
        self._at = 0

    def write(self, out):
        pass

    def write_readinto(self, out, into):
        at = self._at
        for i in range(len(into)):
            into[i] = self._answers[at + i]
        self._at = at + len(into)


class StepTicks:
    """Ticks that go on by a fixed step at each look: small integers, nothing allocated."""

    def __init__(self, start_us=0):
        self.now_us = start_us

    def ticks_us(self):
        self.now_us += 20
        return self.now_us

    def ticks_ms(self):
        return self.ticks_us() // 1000

    def ticks_diff(self, later, earlier):
        return later - earlier

    def ticks_add(self, ticks, delta):
        return ticks + delta


def no_pin(level):
    pass


class Heap(unittest.TestCase):
    def record(self, uid):
        """Return (answers to start, answers to one activation of a card with `uid`, or none)."""
        rig = Rig()
        spi = RecordingSpi(rig.spi)
        chip = MFRC522(spi, rig.reader_cs, rig.ticks, rig.reader_reset)
        chip.start()
        started = bytes(spi.answers)
        activation = Activation(chip)
        activation.request()  # whatever is made only once has been made
        spi.answers = bytearray()
        if uid is not None:
            rig.enter(cards.Card(uid))
            rig.clock.advance_ms(5)
        self.assertEqual(activation.request(), uid is not None)
        if uid is not None:
            self.assertTrue(activation.select())
            activation.halt()
        return started, bytes(spi.answers)

    def play(self, uid):
        started, answers = self.record(uid)
        spi = PlayingSpi(started)
        chip = MFRC522(spi, no_pin, StepTicks())
        chip.start()
        spi._answers = answers
        spi.rewind()
        activation = Activation(chip)
        is_answered = is_selected = False
        heap_lock()
        try:
            is_answered = activation.request()
            if is_answered:
                is_selected = activation.select()
                activation.halt()
        finally:
            heap_unlock()
        self.assertEqual(is_answered, uid is not None)
        if uid is not None:
            self.assertTrue(is_selected)
            self.assertEqual(bytes(activation.uid[: activation.uid_length]), uid)

    def test_a_poll_without_a_card(self):
        self.play(None)

    def test_a_read_of_any_length(self):
        for uid in (UID4, UID7, UID10):
            self.play(uid)

    def test_the_room_as_a_whole(self):
        """Polls, one gesture, the badge staying there: all in Credentials, from a recording."""
        rig = Rig()
        rig.spi = RecordingSpi(rig.spi)
        reader = Credentials(rig, Settings)
        reader.start()
        started = bytes(rig.spi.answers)
        rig.spi.answers = bytearray()
        reader.poll()
        rig.enter(cards.Card(UID7))
        rig.clock.advance_ms(5)
        self.assertIsNotNone(reader.poll())
        self.assertIsNone(reader.poll())
        answers = bytes(rig.spi.answers)

        rig.spi = PlayingSpi(started)
        rig.reader_cs = no_pin
        rig.reader_reset = None
        rig.ticks = StepTicks()
        reader = Credentials(rig, Settings)
        reader.start()
        rig.spi._answers = answers
        rig.spi.rewind()
        badge = None
        heap_lock()
        try:
            reader.poll()
            badge = reader.poll()
            reader.poll()
        finally:
            heap_unlock()
        self.assertIsNotNone(badge)
        self.assertEqual(badge.uid(), UID7)

    def test_the_lock_can_fail(self):
        with self.assertRaises(MemoryError):
            heap_lock()
            try:
                self.allocate()
            finally:
                heap_unlock()

    def allocate(self):
        bytearray(1000)
        if heap_lock.__class__.__name__ == "function":  # CPython's stand-in locks nothing
            raise MemoryError
