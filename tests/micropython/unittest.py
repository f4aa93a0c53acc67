"""As much of unittest as the unit tests use, for MicroPython, which has none of its own."""

import sys


class _Raises:
    def __init__(self, expected) -> None:
        self.expected = expected
        self.exception = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _) -> bool:
        if kind is None:
            raise AssertionError("nothing was raised")
        self.exception = error
        return issubclass(kind, self.expected)


class _SubTest:
    def __init__(self, facts: dict) -> None:
        self.facts = facts

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _) -> bool:
        if kind is not None:
            sys.stderr.write("in subtest %r\n" % (self.facts,))
        return False


class TestCase:
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        pass

    def tearDown(self):
        pass

    def fail(self, msg=None):
        raise AssertionError(msg or "failed")

    def subTest(self, msg=None, **facts):
        return _SubTest(dict(facts, msg=msg))

    def assertTrue(self, value, msg=None):
        if not value:
            self.fail(msg or "%r is not true" % (value,))

    def assertFalse(self, value, msg=None):
        if value:
            self.fail(msg or "%r is not false" % (value,))

    def assertEqual(self, left, right, msg=None):
        if not left == right:  # noqa: SIM201 - what is under test is __eq__
            self.fail(msg or "%r != %r" % (left, right))

    def assertNotEqual(self, left, right, msg=None):
        if left == right:
            self.fail(msg or "%r == %r" % (left, right))

    def assertIs(self, left, right, msg=None):
        if left is not right:
            self.fail(msg or "%r is not %r" % (left, right))

    def assertIsNot(self, left, right, msg=None):
        if left is right:
            self.fail(msg or "%r is %r" % (left, right))

    def assertIsNone(self, value, msg=None):
        self.assertIs(value, None, msg)

    def assertIsNotNone(self, value, msg=None):
        self.assertIsNot(value, None, msg)

    def assertIn(self, item, container, msg=None):
        if item not in container:
            self.fail(msg or "%r is not in %r" % (item, container))

    def assertNotIn(self, item, container, msg=None):
        if item in container:
            self.fail(msg or "%r is in %r" % (item, container))

    def assertLess(self, left, right, msg=None):
        if not left < right:
            self.fail(msg or "%r is not below %r" % (left, right))

    def assertLessEqual(self, left, right, msg=None):
        if not left <= right:
            self.fail(msg or "%r is above %r" % (left, right))

    def assertGreater(self, left, right, msg=None):
        if not left > right:
            self.fail(msg or "%r is not above %r" % (left, right))

    def assertGreaterEqual(self, left, right, msg=None):
        if not left >= right:
            self.fail(msg or "%r is below %r" % (left, right))

    def assertAlmostEqual(self, left, right, places=7, msg=None, delta=None):
        bound = 0.5 * 10**-places if delta is None else delta
        if abs(left - right) > bound:
            self.fail(msg or "%r is not near %r" % (left, right))

    def assertIsInstance(self, value, kind, msg=None):
        if not isinstance(value, kind):
            self.fail(msg or "%r is no %r" % (value, kind))

    def assertRaises(self, expected, call=None, *args, **kwargs):
        context = _Raises(expected)
        if call is None:
            return context
        with context:
            call(*args, **kwargs)


def run_module(module, report) -> int:
    """Run every test of a module; call report(name, exception or None); return how many ran."""
    count = 0
    for kind_name in sorted(dir(module)):
        kind = getattr(module, kind_name)
        if not (isinstance(kind, type) and issubclass(kind, TestCase)) or kind is TestCase:
            continue
        kind.setUpClass()
        for name in sorted(dir(kind)):
            if not name.startswith("test"):
                continue
            case = kind()
            try:
                case.setUp()
                try:
                    getattr(case, name)()
                finally:
                    case.tearDown()
            except Exception as error:  # noqa: BLE001 - whatever a test raises is its result
                report(kind_name + "." + name, error)
            else:
                report(kind_name + "." + name, None)
            count += 1
        kind.tearDownClass()
    return count


def main(*_args, **_kwargs):
    """Test files may end in unittest.main(); here run.py runs them."""
