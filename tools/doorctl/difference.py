"""What another list would change: the one line a person reads before signing, and its details."""

from collections.abc import Iterable

from doorward.access.allowlist import unpack_entry
from doorward.values import BADGE_ID_BYTES, RESPONDER, Entry

from doorctl.lists import DAY_S, count_classes, days, plan_of, rows_of
from doorctl.options import spell_groups
from doorctl.schedules import describe
from doorctl.signed import Signed

_UNITS = ((DAY_S, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class Difference:
    """How `new` differs from `old`, badge by badge; badges are told apart by their blinded ids.

    Attributes:
        added, removed, changed: [blinded badge id], sorted; changed are those with other rights.
        lost_responders: how many opened as responders by `old` and would not by `new`.
        kept_responders: how many do by both.
        age_s: how old `old` was when `new` was issued.
        details: name -> (old, new) of whatever else is another.
        changes_hours: the schedule, or a part of it, is another.
    """

    def __init__(self, old: Signed, new: Signed) -> None:
        """Raises Refused where one is no list."""
        self.old = old
        self.new = new
        self._before, self._after = rows_of(old), rows_of(new)
        before, after = self._before, self._after
        self.added = sorted(after.keys() - before.keys())
        self.removed = sorted(before.keys() - after.keys())
        self.changed = sorted(
            badge_id
            for badge_id in before.keys() & after.keys()
            if before[badge_id] != after[badge_id]
        )
        issued_s = new.header.issued_s
        responders = _responders(before.values(), issued_s)
        kept = responders & _responders(after.values(), issued_s)
        self.lost_responders = len(responders) - len(kept)
        self.kept_responders = len(kept)
        self.age_s = issued_s - old.header.issued_s
        self.details = _pairs(_facts(old), _facts(new))
        hours = _pairs(_hours(old), _hours(new))
        self.changes_hours = bool(hours)
        self.details.update(hours)

    @property
    def takes_every_responder(self) -> bool:
        return self.lost_responders > 0 and self.kept_responders == 0

    @property
    def shares_no_badge(self) -> bool:
        """Everything is other: most likely it was blinded under another site key."""
        return bool(self._before) and not self._before.keys() & self._after.keys()

    def line(self) -> str:
        """Return what a person needs to know before signing."""
        return (
            f"+{len(self.added)} -{len(self.removed)} ~{len(self.changed)}, "
            f"responders -{self.lost_responders}, list was {_span(self.age_s)} old"
            + (", hours changed" if self.changes_hours else "")
        )

    def lines(self) -> list[str]:
        """Return the details, a line each."""
        told = []
        for what, ids, rows in (
            ("added", self.added, self._after),
            ("removed", self.removed, self._before),
            ("changed", self.changed, self._after),
        ):
            classes = count_classes(rows[badge_id] for badge_id in ids)
            if classes:
                told.append(f"{what}: " + ", ".join(f"{n} {name}" for name, n in classes.items()))
        for name, (was, now) in self.details.items():
            nothing = "none"
            if name.endswith("_days"):
                nothing = "never"
            elif name.startswith("level_"):
                nothing = "any hour"
            told.append(f"{name.replace('_', ' ')}: {was or nothing} -> {now or nothing}")
        return told

    def facts(self) -> dict:
        """Return it all, for scripts."""
        return {
            "added": len(self.added),
            "removed": len(self.removed),
            "changed": len(self.changed),
            "responders_removed": self.lost_responders,
            "age_s": self.age_s,
            "added_classes": count_classes(self._after[one] for one in self.added),
            "removed_classes": count_classes(self._before[one] for one in self.removed),
            "changed_classes": count_classes(self._after[one] for one in self.changed),
            "details": {
                name: {"old": was, "new": now} for name, (was, now) in self.details.items()
            },
        }


def _responders(rows: Iterable[bytes], now_s: int) -> set[bytes]:
    """Return the ids of those who may open as responders, now or later."""
    entry = Entry()
    found = set()
    for row in rows:
        is_known = unpack_entry(row, 0, entry)
        is_over = entry.valid_until_s and entry.valid_until_s <= now_s
        if is_known and entry.cardholder_class == RESPONDER and not is_over:
            found.add(row[:BADGE_ID_BYTES])
    return found


def _facts(one: Signed) -> dict:
    header = one.header
    return {
        "site": header.site,
        "issuer": header.issuer_id.hex(),
        "version": header.version,
        "groups": spell_groups(header.groups),
        "soft_stale_days": days(header.soft_stale_s),
        "hard_stale_days": days(header.hard_stale_s),
        "responder_hard_stale_days": days(header.responder_stale_s),
        "includes_deny": header.includes_deny or None,
    }


def _hours(one: Signed) -> dict[str, str | None]:
    told = describe(plan_of(one))
    levels = {f"level_{level}_hours": hours for level, hours in told["levels"].items()}
    return {
        "time_zone": told["time_zone"],
        "holidays": ", ".join(told["holidays"]) or None,
        **levels,
        "unlocked_hours": told["unlocked"],
    }


def _pairs(was: dict, now: dict) -> dict[str, tuple]:
    """Return name -> (old, new) of everything that differs; what is not there is None."""
    names = dict.fromkeys([*was, *now])
    pairs = {name: (was.get(name), now.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _span(seconds: int) -> str:
    """Return an age in the largest unit that it fills."""
    size = abs(seconds)
    unit_s, unit = next(
        (pair for pair in _UNITS if size >= pair[0]),
        _UNITS[-1],
    )
    count = size // unit_s
    # A list that was issued before the one it replaces makes that one's age less than nothing.
    return f"{'-' if seconds < 0 else ''}{count} {unit}{'' if count == 1 else 's'}"
