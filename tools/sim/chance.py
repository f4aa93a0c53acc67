"""Owns seeded chance: the same seed gives the same noise on CPython and on MicroPython."""


class Chance:
    """Marsaglia's xorshift32. Not for secrets."""

    def __init__(self, seed: int = 1) -> None:
        # Zero is the one state xorshift never leaves.
        self._state = (seed & 0xFFFFFFFF) or 1

    def bits(self, n: int) -> int:
        """Return `n` random bits, 1..32."""
        x = self._state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self._state = x
        return x >> (32 - n)

    def is_hit(self, probability: float) -> bool:
        """Say yes with this probability, 0.0..1.0."""
        return self.bits(24) < probability * 0x1000000
