"""The clock: keeps the door's time by a time server and by a clock with a battery, believing neither
blindly.

Whoever answers for a time server is not known to the door: NTP proves nothing. So a time before the
newest signed object in force, or beyond all reason, is refused; a jump needs several answers that
agree; and whatever no crystal explains is recorded. docs/threat-model.md, "Time".
"""

import asyncio

from .. import const
from ..values import CLOCK_HELD, CLOCK_QUALITIES, CLOCK_SYNCED, CLOCK_UNSET
from .mqtt import Backoff
from .ntp import Kiss, NtpError, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# 2070-01-01: further than any list reaches, and before 32 bits of Unix seconds end.
LATEST_S = 3_155_760_000
# A clock that was set is not moved further than this by one answer, but by several that agree to
# within so much, the last so long after the first; asked for at least so often meanwhile.
_JUMP_MS = const(180_000)
_AGREE_MS = const(5_000)
_WITNESSES = const(4)
_DOUBT_MS = const(900_000)
_DOUBT_PAUSE_MS = const(300_000)
# A server that says "go away" is left alone for a day, one that says anything else for an hour.
_GO_AWAY = (b"DENY", b"RSTR")
_GO_AWAY_MS = const(86_400_000)
_KISS_MS = const(3_600_000)
# Between two questions while there is no answer: this and a back-off. And while there is no network.
_LEAST_PAUSE_MS = const(1000)
_FIRST_BACKOFF_MS = const(4000)
_LINK_MS = const(1000)
# How often the clock with the battery is set by ours, or ours by it while it is held; from which
# difference on. It tells whole seconds, so the middle of one is meant.
_COMPARE_S = const(86_400)
_LONGEST_NAP_MS = const(3_600_000)
_OFF_MS = const(1000)
_MIDDLE_MS = const(500)
# What the board itself brings along, by its quality.
_START_SOURCES = ("none", "battery", "board")


class Clock:
    """Keeps a WallTime. The door never waits for it.

    Attributes:
        source: where the time came from: "none", "board", "battery" or "ntp".
        fault: why there is no answer to be believed, in words; "" while there is.
    """

    def __init__(self, board, config, time, earliest_s, note_set) -> None:
        """board: has network and rtc, either may be None; ticks, random_bytes.

        time: the WallTime, set by the board's own clock. earliest_s: callable, returns the Unix
        seconds that it cannot be before. note_set: called with by how many seconds the clock was
        set, where that is more than a correction.
        """
        self._network = board.network if config.ntp_host else None
        self._rtc = board.rtc
        self._ticks = board.ticks
        self._random_bytes = board.random_bytes
        self._host = config.ntp_host
        self._port = config.ntp_port
        self._interval_ms = config.ntp_interval_s * 1000
        self._time = time
        self._earliest_s = earliest_s
        self._note_set = note_set
        self._backoff = Backoff(
            board.random_bytes, _FIRST_BACKOFF_MS, max(_FIRST_BACKOFF_MS, self._interval_ms)
        )
        # A jump that is not believed yet: how far, how many said so, since when.
        self._jump_ms = 0
        self._witnesses = 0
        self._doubted_ms = 0
        self._compared_s = 0
        self.source = _START_SOURCES[time.quality]
        self.fault = ""
        if config.ntp_host and board.network is None:
            self.fault = "no network on this board"
        elif not config.ntp_host:
            self.fault = "no time server configured"
        if time.quality != CLOCK_UNSET and not self._is_possible(time.now_s()):
            # It is known to be wrong. No time is better than that.
            time.quality = CLOCK_UNSET
            self.source = "none"

    async def run(self) -> None:
        """Keep the time. Ends where there is nothing to keep it by."""
        while self._network is not None or self._rtc is not None:
            left_ms = _LONGEST_NAP_MS if self._network is None else await self._ask()
            while left_ms > 0:
                nap_ms = min(left_ms, _LONGEST_NAP_MS)
                await asyncio.sleep_ms(nap_ms)
                left_ms -= nap_ms
                if self._time.quality == CLOCK_HELD:
                    self._follow_battery()

    def facts(self) -> dict:
        """Return what the status tells."""
        time = self._time
        now_s = time.now_s()
        return {
            "quality": CLOCK_QUALITIES[time.quality],
            "now_s": now_s,
            "source": self.source,
            "synced_age_s": now_s - time.synced_s if time.synced_s else None,
            "drift_ppm": time.drift_ppm,
            "fault": self.fault,
        }

    async def _ask(self) -> int:
        """Ask the time server once and believe what may be; return the pause until the next."""
        network: Any = self._network
        try:
            if not await network.join():
                self.fault = network.fault or "no network"
                return _LINK_MS
            seconds, ms = await ask(
                network, self._host, self._port, self._ticks, self._random_bytes
            )
            self._take(seconds, ms)
        except Kiss as kiss:
            self.fault = str(kiss)
            return _GO_AWAY_MS if kiss.code in _GO_AWAY else _KISS_MS
        except (NtpError, OSError) as error:
            self.fault = str(error)
            return _LEAST_PAUSE_MS + self._backoff.next_ms()
        self._backoff.reset()
        if self._witnesses:
            return min(self._interval_ms, _DOUBT_PAUSE_MS)
        self.fault = ""
        self.source = "ntp"
        await self._keep_in_battery()
        # Up to an eighth earlier, so that the doors of a city do not ask in step.
        early = int.from_bytes(self._random_bytes(2), "little")
        return self._interval_ms - (self._interval_ms * early >> 19)

    def _take(self, seconds: int, ms: int) -> None:
        """Set or correct the time, or begin to doubt. Raises NtpError for what cannot be."""
        time = self._time
        if not self._is_possible(seconds):
            raise NtpError("the time server says a time that cannot be")
        behind_ms = time.behind_ms(seconds, ms)
        is_set = time.quality != CLOCK_UNSET
        is_jump = is_set and abs(behind_ms) > _JUMP_MS
        if is_jump and not self._is_agreed(behind_ms):
            self.fault = f"the time server is {behind_ms // 1000} s off; asking on"
            return
        self._witnesses = 0
        if is_jump or not is_set:
            time.set(seconds, CLOCK_SYNCED, ms)
            self._compared_s = 0
            self._note_set(behind_ms // 1000 if is_set else seconds)
        else:
            odd_ms = time.correct(behind_ms)
            if odd_ms:
                self._note_set(odd_ms // 1000)

    def _is_possible(self, seconds: int) -> bool:
        return self._earliest_s() <= seconds < LATEST_S

    def _is_agreed(self, behind_ms: int) -> bool:
        """Have enough answers, over long enough, said this of a clock that goes on meanwhile?"""
        now_ms = self._ticks.ticks_ms()
        since_ms = self._ticks.ticks_diff(now_ms, self._doubted_ms)
        is_same = abs(behind_ms - self._jump_ms) <= _AGREE_MS
        # Less than nothing: the ticks wrapped, days went by without an answer.
        if not self._witnesses or not is_same or since_ms < 0:
            self._jump_ms = behind_ms
            self._witnesses = 0
            self._doubted_ms = now_ms
            since_ms = 0
        self._witnesses += 1
        return self._witnesses >= _WITNESSES and since_ms >= _DOUBT_MS

    async def _keep_in_battery(self) -> None:
        """Set the clock with the battery by ours, as a second begins: once a day, if it is off."""
        time = self._time
        now_s = time.now_s()
        is_recent = self._compared_s and now_s - self._compared_s < _COMPARE_S
        if self._rtc is None or is_recent:
            return
        self._compared_s = now_s
        kept_s = self._rtc.read()
        if kept_s is None or abs(time.behind_ms(kept_s, _MIDDLE_MS)) > _OFF_MS:
            await asyncio.sleep_ms(time.behind_ms(now_s + 1, 0))
            self._rtc.write(time.now_s())

    def _follow_battery(self) -> None:
        """Correct a held clock: a chip made for it keeps time better than the board's crystal."""
        kept_s = None if self._rtc is None else self._rtc.read()
        if kept_s is not None and self._is_possible(kept_s):
            behind_ms = self._time.behind_ms(kept_s, _MIDDLE_MS)
            if _OFF_MS < abs(behind_ms) <= _JUMP_MS:
                self._time.shift(behind_ms)
