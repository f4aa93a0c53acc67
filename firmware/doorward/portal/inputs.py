"""Inputs of the door, debounced in milliseconds."""


class Input:
    """One contact.

    It is seen when it is sampled. With a sample every 10 ms and one stall of 45 ms anywhere (a usual
    sector erase), what lasts `debounce_ms` + 100 ms is never missed: 300 ms at the most. A sector
    erase of the flash's worst case holds everything for 400 ms. What begins and ends within it is
    not seen; what lasts `debounce_ms` + 450 ms is, and meanwhile nothing else is lost.

    A contact that pulses while it is active has to rest for longer than its gaps last before it
    counts as being at rest again.

    Attributes:
        is_wired: there is such a contact.
        is_active: the debounced state.
    """

    def __init__(
        self, pin, ticks, *, active: int = 0, debounce_ms: int = 50, rest_ms: int = 0
    ) -> None:
        """pin: input pin, or None where the door has none. active: level of the active state.

        rest_ms: how long it rests before it counts as at rest; at least `debounce_ms`.
        """
        self._pin = pin
        self._ticks = ticks
        self._active = active
        self._debounce_ms = debounce_ms
        self._rest_ms = max(debounce_ms, rest_ms)
        self.is_wired = pin is not None
        self.is_active = False
        self._candidate = False
        self._since_ms = ticks.ticks_ms()

    @property
    def is_settling(self) -> bool:
        """The contact has left its debounced state, and not yet for long enough to count."""
        return self._candidate != self.is_active

    def is_active_now(self) -> bool:
        """Sample the contact, whatever its debounced state is."""
        return self._pin is not None and self._pin() == self._active

    def begin(self) -> None:
        """Take the state as it is now, without waiting for it to be steady."""
        self.is_active = self._candidate = self.is_active_now()

    def changed(self) -> bool:
        """Sample the contact. True at the sample by which a change has lasted long enough."""
        if self._pin is None:
            return False
        level = self._pin() == self._active
        now_ms = self._ticks.ticks_ms()
        if level != self._candidate:
            self._candidate = level
            self._since_ms = now_ms
        # Only from here on a difference of ticks: a contact at rest rests for months.
        if self._candidate == self.is_active:
            return False
        steady_ms = self._rest_ms if self.is_active else self._debounce_ms
        if self._ticks.ticks_diff(now_ms, self._since_ms) < steady_ms:
            return False
        self.is_active = self._candidate
        return True
