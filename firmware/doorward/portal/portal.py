"""The portal: strike, light, sound and inputs of one opening, as one thing to act on."""

import asyncio

from .. import const
from ..values import (
    BATTERY,
    CABINET,
    EXIT_REQUESTED,
    FIRE,
    FIRE_CLEARED,
    MAINS,
    READER,
    RESPONDER,
    SUPPLY_FAILED,
    SUPPLY_RESTORED,
    TAMPER,
    TAMPER_CLEARED,
    TOGGLE_OVER,
)
from .indicator import (
    ALARM,
    CLOSE_IT,
    FREE,
    IN_SERVICE,
    LOCKED_DOWN,
    OFFLINE,
    READER_LOST,
    READY,
    Indicator,
    Lights,
)
from .inputs import Input
from .opening import Opening
from .strike import Strike

_SAMPLE_MS = const(10)

INPUTS = ("door", "rex", "lockdown", "fire", "cabinet", "reader", "mains", "battery")


class Portal:
    """One opening."""

    def __init__(self, board, settings) -> None:
        """board: has strike, strike_active, inputs, leds, pixel, buzzer, ticks; settings: the Config.

        The strike is de-energised before anything else, and then locked, unless there is a fire.
        """
        ticks = board.ticks
        is_fail_safe = settings.strike_type == "fail-safe"
        self._strike = Strike(board.strike, board.strike_active, ticks, is_fail_safe=is_fail_safe)
        self._is_toggle = settings.strike_mode == "toggle"
        self._toggle_limit_s = settings.toggle_limit_s
        self._pulse_ms = settings.strike_pulse_ms
        self._responder_ms = settings.responder_pulse_ms
        self._extended_ms = settings.extended_pulse_ms
        self._inputs = {name: _input(name, board, settings) for name in INPUTS}
        self._fire = self._inputs["fire"]
        self._rex = self._inputs["rex"]
        self._lockdown = self._inputs["lockdown"]
        self._door = self._inputs["door"]
        # Only told of: (input, event, event when it is over, which of two).
        self._watched = tuple(
            (self._inputs[name], began, ended, which)
            for name, began, ended, which in (
                ("cabinet", TAMPER, TAMPER_CLEARED, CABINET),
                ("reader", TAMPER, TAMPER_CLEARED, READER),
                ("mains", SUPPLY_FAILED, SUPPLY_RESTORED, MAINS),
                ("battery", SUPPLY_FAILED, SUPPLY_RESTORED, BATTERY),
            )
            if self._inputs[name].is_wired
        )
        self._opening = Opening(self._door, self._rex, self._strike, ticks, settings)
        self._indicator = Indicator(Lights(board, settings), ticks)
        self._is_reader_up = True
        self._is_locked_down = False
        self._is_offline = False
        self._is_in_service = False
        self._fire.begin()
        self._door.begin()
        self._lockdown.begin()
        if self._fire.is_active:
            self._strike.set_fire(True)
        else:
            self._strike.lock()

    @property
    def is_released(self) -> bool:
        """The lock lets the door go."""
        return self._strike.is_released

    @property
    def is_open(self) -> bool | None:
        """The door contact's word; None where there is none."""
        return self._door.is_active if self._door.is_wired else None

    @property
    def is_fire(self) -> bool:
        return self._fire.is_active

    @property
    def is_alarmed(self) -> bool:
        """The door was forced, or stands open for too long."""
        return self._opening.is_alarmed

    @property
    def is_lockdown_demanded(self) -> bool:
        """The lockdown switch is on."""
        return self._lockdown.is_active

    def inputs(self) -> dict:
        """Return each wired input's name and whether it is active: not at rest."""
        return {name: one.is_active for name, one in self._inputs.items() if one.is_wired}

    def input_bits(self) -> int:
        """Return what the contacts say at this instant: in the order of INPUTS from bit 0 on which
        are active, from bit 8 on which are wired."""
        bits = 0
        for number, name in enumerate(INPUTS):
            one = self._inputs[name]
            bits |= one.is_active_now() << number | one.is_wired << number + 8
        return bits

    def release(
        self, cardholder_class: int = 0, has_extended_time: bool = False, duration_ms: int = 0
    ) -> None:
        """Release the door. The tap path's first act: allocates nothing.

        duration_ms: for how long; 0: what the settings say, by class and need, or in mode toggle
        until the next grant. A responder's is a pulse in either mode, because a tap that locks the
        door is none that a responder may make.
        """
        if duration_ms == 0:
            if self._is_toggle and cardholder_class != RESPONDER:
                self._strike.toggle(self._toggle_limit_s)
                return
            duration_ms = self._pulse_ms
            if cardholder_class == RESPONDER:
                duration_ms = self._responder_ms
            if has_extended_time and self._extended_ms > duration_ms:
                duration_ms = self._extended_ms
        self._strike.grant(duration_ms, cardholder_class == RESPONDER)
        self._opening.expect()

    def hold(self, is_held: bool) -> None:
        """Keep the door released until told otherwise; False ends a toggled release too."""
        self._strike.hold(is_held)
        if is_held:
            self._opening.renew()

    def lock(self) -> None:
        """Lock now whatever a grant or a command released; not against hold, exit or fire."""
        self._strike.lock()

    def lock_down(self) -> None:
        """Do the same, but not against a responder's grant: it opens in a lockdown as well, and a
        loose lockdown switch would shut the door in their hand."""
        self._strike.lock_down()

    def make_safe(self) -> None:
        """De-energise the strike."""
        self._strike.make_safe()

    def show(self, reason: int) -> None:
        """Give the sign for a decision: a key of REASONS. Allocates nothing."""
        self._indicator.show(reason)

    def stand(
        self,
        is_reader_up: bool,
        is_locked_down: bool,
        is_offline: bool = False,
        is_in_service: bool = False,
    ) -> None:
        """Show how the door stands while nobody taps."""
        self._is_reader_up = is_reader_up
        self._is_locked_down = is_locked_down
        self._is_offline = is_offline
        self._is_in_service = is_in_service
        self._stand()

    async def watch_inputs(self, on_event, beat, on_lockdown) -> None:
        """Sample the inputs for ever. Critical.

        on_event(code, detail): called at once for what happens, a key of EVENTS and its detail;
        where it has none, on_event(code). on_lockdown(is_on): called when the lockdown switch was
        turned; where it stood before is `is_lockdown_demanded`. Neither may block. beat(): called after every sample.
        """
        self._begin(on_event)
        while True:
            self.look(on_event, on_lockdown)
            beat()
            await asyncio.sleep_ms(_SAMPLE_MS)

    async def watch_strike(self, beat) -> None:
        """Lock the strike in time. Critical. beat(): called at every turn."""
        await self._strike.run(beat)

    async def play(self) -> None:
        """Play light and sound."""
        await self._indicator.run()

    def look(self, on_event, on_lockdown) -> None:
        """Sample every input once and act on it; the door last, because the others excuse it."""
        strike = self._strike
        fire = self._fire
        if fire.changed():
            strike.set_fire(fire.is_active)
            on_event(FIRE if fire.is_active else FIRE_CLEARED)
        rex = self._rex
        is_rex_changed = rex.changed()
        if rex.is_active:
            # Anew at every sample: the time counts from when the last one to go out was seen.
            strike.exit(self._pulse_ms)
            if is_rex_changed:
                self._opening.renew()
                on_event(EXIT_REQUESTED)
        if self._lockdown.changed():
            on_lockdown(self._lockdown.is_active)
        if strike.is_toggle_over:
            strike.is_toggle_over = False
            on_event(TOGGLE_OVER)
        self._opening.look(on_event)
        for one, began, ended, which in self._watched:
            if one.changed():
                on_event(began if one.is_active else ended, which)
        self._stand()

    def _begin(self, on_event) -> None:
        if self._fire.is_active:
            on_event(FIRE)
        self._opening.begin(on_event)

    def _stand(self) -> None:
        self._indicator.stand(self._standing())

    def _standing(self) -> tuple:
        """Return the most urgent of what there is to show."""
        if self._fire.is_active:
            return FREE
        if self._opening.is_alarmed:
            return ALARM
        if self._opening.is_warning:
            return CLOSE_IT
        if not self._is_reader_up:
            return READER_LOST
        if self._is_locked_down:
            return LOCKED_DOWN
        if self._is_in_service:
            return IN_SERVICE
        if self._strike.is_held_open:
            return FREE
        return OFFLINE if self._is_offline else READY


def _input(name: str, board, settings) -> Input:
    """Return an input as it is configured: a contact to ground that is open (no) or closed (nc) at
    rest, pulled up."""
    at_rest = getattr(settings, "input_" + name)
    pin = None if at_rest == "none" else board.inputs.get(name)
    active = 1 if at_rest == "nc" else 0
    # Many fire panels pulse their contact: between two pulses the fire is not over.
    rest_ms = settings.fire_clear_ms if name == "fire" else 0
    return Input(
        pin, board.ticks, active=active, debounce_ms=settings.debounce_ms, rest_ms=rest_ms
    )
