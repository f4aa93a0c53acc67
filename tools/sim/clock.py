"""Owns simulated time: a nanosecond clock that moves only when it is told to."""


class SimClock:
    """A clock for unit tests; calling it gives the time in ns, as `Mfrc522(now_ns=...)` wants."""

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def advance_ns(self, ns: int) -> None:
        self.now_ns += ns

    def advance_us(self, us: int) -> None:
        self.now_ns += us * 1000

    def advance_ms(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000
