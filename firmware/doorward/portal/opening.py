"""The opening: what door contact and strike tell together, from opened to held open to secured."""

from .. import const
from ..values import (
    DOOR_CLOSED,
    DOOR_OPENED,
    DOOR_SECURED,
    FORCED_OPEN,
    HELD_OPEN,
    HELD_OPEN_SOON,
    NOT_ENTERED,
)
from .inputs import Input
from .strike import Strike

_IN_TIME = const(0)
_WARNED = const(1)
_TOO_LONG = const(2)

# A contact that is open for less may be loose; nobody's grant ends by that.
_SURELY_OPEN_MS = const(1_000)
# One that is closed for less may have been shaken, or bridged: time and alarms go on over it.
_SURELY_CLOSED_MS = const(1_000)


class Opening:
    """Follows one door by its contact. Without a contact it knows nothing and says nothing.

    What an opening began, its time and its alarms, ends once the door has been closed for a second,
    or when somebody with a permission of their own opens it again before that.

    Attributes:
        is_warning: the door stands open and will soon raise the alarm.
        is_alarmed: it was forced, or stands open for too long.
    """

    def __init__(self, contact: Input, rex: Input, strike: Strike, ticks, settings) -> None:
        """contact: active while the door is open. settings: the Config."""
        self._contact = contact
        self._rex = rex
        self._strike = strike
        self._ticks = ticks
        self._relocks = settings.relock_on_opening
        self._warning_ms = settings.held_open_warning_ms
        self._limit_ms = settings.held_open_ms
        self._opened_ms = ticks.ticks_ms()
        self._stage = _IN_TIME
        self._is_long = False
        self._is_permitted = True
        self._is_forced = False
        self._is_unsecured = False
        self._is_awaited = False
        self._is_relocking = False
        self._steady_ms = self._opened_ms
        self._grants = 0
        self._is_closing = False
        self._closed_ms = self._opened_ms
        self._is_renewed = False

    @property
    def is_warning(self) -> bool:
        return self._stage == _WARNED

    @property
    def is_alarmed(self) -> bool:
        return self._is_forced or self._stage == _TOO_LONG

    def expect(self) -> None:
        """A grant released the door: somebody is to open it."""
        self._is_awaited = self._contact.is_wired and not self._contact.is_active
        self.renew()

    def renew(self) -> None:
        """Somebody was permitted to open the door anew: their opening has a time of its own."""
        self._is_renewed = True

    def begin(self, on_event) -> None:
        """Tell of a door that stands open at the start. Nobody knows how it was opened."""
        self._opened_ms = self._ticks.ticks_ms()
        if self._contact.is_active:
            on_event(DOOR_OPENED)

    def look(self, on_event) -> None:
        """Sample the contact and follow what has changed. After fire and request to exit."""
        contact = self._contact
        if not contact.is_wired:
            return
        was_settling = contact.is_settling
        if contact.changed():
            if contact.is_active:
                self._open(on_event)
            else:
                self._close(on_event)
        elif contact.is_settling and not was_settling:
            # Judged when it begins: the release may be over by the time the contact is steady.
            self._is_permitted = (
                self._strike.is_permissive or self._rex.is_active or self._rex.is_settling
            )
            if not contact.is_active:
                self._grants = self._strike.grants
        if self._is_closing:
            self._watch_closing(on_event)
        if self._is_relocking:
            self._watch_relock()
        if contact.is_active:
            self._watch_time(on_event)
        elif self._is_awaited:
            self._watch_entry(on_event)

    def _open(self, on_event) -> None:
        now_ms = self._ticks.ticks_ms()
        if self._is_closing and self._is_renewed and self._is_permitted:
            self._secure(on_event)
        if not self._is_closing:
            self._opened_ms = now_ms
            self._is_long = False
        self._is_closing = False
        self._is_renewed = False
        self._is_awaited = False
        self._is_relocking = self._relocks
        self._steady_ms = now_ms
        on_event(DOOR_OPENED)
        if not self._is_permitted and not self._strike.is_held_open:
            self._is_forced = True
            self._is_unsecured = True
            on_event(FORCED_OPEN)

    def _close(self, on_event) -> None:
        self._is_relocking = False
        self._is_closing = True
        self._closed_ms = self._ticks.ticks_ms()
        on_event(DOOR_CLOSED)

    def _secure(self, on_event) -> None:
        """What the opening began is over."""
        was_unsecured = self._is_unsecured
        self._is_closing = False
        self._stage = _IN_TIME
        self._is_forced = False
        self._is_unsecured = False
        if was_unsecured:
            on_event(DOOR_SECURED)

    def _watch_closing(self, on_event) -> None:
        """Take the door for closed once it surely is; what settles now may be its opening."""
        if self._contact.is_settling:
            return
        now_ms = self._ticks.ticks_ms()
        if self._ticks.ticks_diff(now_ms, self._closed_ms) >= _SURELY_CLOSED_MS:
            self._secure(on_event)

    def _watch_relock(self) -> None:
        """End the grant that the door was opened by, once it was surely opened.

        One that was given since is for whoever comes next, and they find their door released.
        """
        now_ms = self._ticks.ticks_ms()
        if self._contact.is_settling:
            self._steady_ms = now_ms
        elif self._ticks.ticks_diff(now_ms, self._steady_ms) >= _SURELY_OPEN_MS:
            self._is_relocking = False
            if self._strike.grants == self._grants:
                self._strike.end_grant()

    def _watch_time(self, on_event) -> None:
        """Warn of, then alarm for, a door that stands open.

        A difference of ticks wraps after six days: the first stages are over long before, and the
        last does not look at it.
        """
        now_ms = self._ticks.ticks_ms()
        strike = self._strike
        open_ms = self._ticks.ticks_diff(now_ms, self._opened_ms)
        if strike.is_held_open:
            self._opened_ms = now_ms
            self._stage = _IN_TIME
            self._is_forced = False
        elif self._stage == _IN_TIME and (self._is_long or open_ms >= self._warning_ms):
            # Released for longer than a door may stand open: then it may, and its time begins after.
            self._is_long = strike.is_released
            if self._is_long:
                self._opened_ms = now_ms
            elif open_ms >= self._warning_ms:
                self._stage = _WARNED
                on_event(HELD_OPEN_SOON)
        if self._stage == _WARNED and open_ms >= self._limit_ms:
            self._stage = _TOO_LONG
            self._is_unsecured = True
            on_event(HELD_OPEN)

    def _watch_entry(self, on_event) -> None:
        """Notice that a grant is over and nobody came."""
        if self._strike.is_held_open:
            self._is_awaited = False
        elif not self._strike.is_permissive and not self._contact.is_settling:
            self._is_awaited = False
            on_event(NOT_ENTERED)
