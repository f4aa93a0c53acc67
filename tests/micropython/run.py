"""Runs one unit test file on MicroPython: run.py FILE. Prints a line a test, exits 1 on failure."""

import sys
import unittest

failed = []


def report(name, error) -> None:
    if error is None:
        print("ok", name)
    else:
        failed.append(name)
        print("FAIL", name)
        sys.print_exception(error)


folder, _, name = sys.argv[1].rpartition("/")
sys.path.insert(0, folder)
count = unittest.run_module(__import__(name[:-3]), report)
print("ran", count, "failed", len(failed))
sys.exit(1 if failed or not count else 0)
