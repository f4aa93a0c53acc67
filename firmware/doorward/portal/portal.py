"""The portal: strike, light, sound and inputs of one opening, as one thing to act on."""

import asyncio

from .. import const
from ..values import Decision
from .indicator import LOCKED_DOWN, READER_LOST, READY, Indicator
from .inputs import Input
from .strike import Strike

_SAMPLE_MS = const(10)


class Portal:
    """One opening.

    Attributes:
        is_lockdown_demanded: the lockdown switch is on.
    """

    def __init__(self, board, settings) -> None:
        """board: has strike, strike_active, leds, buzzer, lockdown_switch, ticks.

        settings: the Config. The strike is made safe here.
        """
        ticks = board.ticks
        self._strike = Strike(board.strike, board.strike_active, ticks)
        self._indicator = Indicator(board.leds, board.buzzer, ticks, is_silent=settings.is_silent)
        self._lockdown_switch = Input(board.lockdown_switch, ticks)
        self._pulse_ms = settings.strike_pulse_ms

    def release(self, duration_ms: int = 0) -> None:
        """Release the door for a time, 0 = as long as the settings say. The tap path's first act."""
        self._strike.energise(duration_ms or self._pulse_ms)

    def hold(self, is_held: bool) -> None:
        """Keep the door released until told otherwise."""
        self._strike.hold(is_held)

    def show(self, decision: Decision) -> None:
        """Give the sign for a decision."""
        self._indicator.show(decision.reason)

    def stand(self, is_reader_up: bool, is_locked_down: bool) -> None:
        """Show how the door stands while nobody taps."""
        if not is_reader_up:
            self._indicator.stand(READER_LOST)
        else:
            self._indicator.stand(LOCKED_DOWN if is_locked_down else READY)

    def make_safe(self) -> None:
        """De-energise the strike."""
        self._strike.make_safe()

    @property
    def is_lockdown_demanded(self) -> bool:
        return self._lockdown_switch.is_active

    async def watch_inputs(self, on_change) -> None:
        """Sample the inputs for ever; call `on_change()`, which must not block, after each change.

        Critical.
        """
        while True:
            if self._lockdown_switch.changed():
                on_change()
            await asyncio.sleep_ms(_SAMPLE_MS)

    async def watch_strike(self) -> None:
        """Let go of the strike in time. Critical."""
        await self._strike.run()

    async def play(self) -> None:
        """Play light and sound."""
        await self._indicator.run()
