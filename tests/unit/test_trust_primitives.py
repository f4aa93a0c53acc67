"""HMAC-SHA256 against Wycheproof, comparison, and running coroutines through."""

import unittest

import vector_cases
from doorward.trust.primitives import HmacKey, is_equal, no_pause, run_through


async def _two_pauses():
    await no_pause()
    await no_pause()
    return 7


class _Forever:
    def __await__(self):
        yield 1

    __iter__ = __await__


async def _waits():
    await _Forever()


class HmacTest(unittest.TestCase):
    def test_wycheproof(self):
        count = vector_cases.run_hmac()
        self.assertEqual(count.failed, [])
        self.assertEqual((count.accepted, count.refused, count.keys_refused), (66, 108, 0))

    def test_parts_are_one_message(self):
        key = HmacKey(b"key")
        self.assertEqual(key.tag(b"ab", b"", bytearray(b"c")), key.tag(b"abc"))


class IsEqualTest(unittest.TestCase):
    def test_compares_every_byte(self):
        self.assertTrue(is_equal(b"", b""))
        self.assertTrue(is_equal(b"abc", bytearray(b"abc")))
        for i in range(3):
            other = bytearray(b"abc")
            other[i] ^= 0x80
            self.assertFalse(is_equal(b"abc", other))

    def test_a_prefix_is_not_equal(self):
        self.assertFalse(is_equal(b"abc", b"ab"))
        self.assertFalse(is_equal(b"", b"a"))


class RunThroughTest(unittest.TestCase):
    def test_returns_the_result(self):
        self.assertEqual(run_through(_two_pauses()), 7)

    def test_refuses_a_coroutine_that_waits(self):
        self.assertRaises(RuntimeError, run_through, _waits())


if __name__ == "__main__":
    unittest.main()
