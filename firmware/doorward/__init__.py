"""Doorward: the door controller's firmware package. Owns the version and nothing else."""

__version__ = "0.1.0"


def const(value: int) -> int:
    """Return `value`. MicroPython folds `_NAME = const(...)` while it compiles; CPython runs this."""
    return value
