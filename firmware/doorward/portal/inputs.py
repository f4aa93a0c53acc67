"""Inputs of the door, debounced in milliseconds."""


class Input:
    """One contact.

    Attributes:
        is_active: the debounced state.
    """

    def __init__(self, pin, ticks, *, active: int = 0, debounce_ms: int = 50) -> None:
        """pin: input pin, or None where the door has none. active: level of the active state."""
        self._pin = pin
        self._ticks = ticks
        self._active = active
        self._debounce_ms = debounce_ms
        self.is_active = False
        self._candidate = False
        self._since_ms = ticks.ticks_ms()

    def changed(self) -> bool:
        """Sample the contact. True at the sample by which a change has lasted `debounce_ms`."""
        if self._pin is None:
            return False
        level = self._pin() == self._active
        now_ms = self._ticks.ticks_ms()
        if level != self._candidate:
            self._candidate = level
            self._since_ms = now_ms
        if self._candidate == self.is_active:
            return False
        if self._ticks.ticks_diff(now_ms, self._since_ms) < self._debounce_ms:
            return False
        self.is_active = self._candidate
        return True
