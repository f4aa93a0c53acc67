"""The demonstration's people: two rosters of cardholders who do not exist."""

import csv
import random
from dataclasses import dataclass
from pathlib import Path

# Neither list is anybody's staff; any resemblance is the arithmetic's.
# fmt: off
_FIRST = [
    "Ada", "Bela", "Cleo", "Dario", "Edda", "Falk", "Gita", "Hugo", "Ines", "Jaro", "Kaia",
    "Levi", "Mira", "Nils", "Olga", "Pavel", "Quinn", "Rosa", "Samir", "Thea", "Umar", "Vera",
    "Willa", "Xenia", "Yusuf", "Zora", "Amir", "Britt", "Cato", "Dunja",
]
_LAST = [
    "Alder", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Glade", "Heath", "Isle", "Juniper",
    "Knoll", "Larch", "Marsh", "North", "Oakley", "Pike", "Quarry", "Ridge", "Sedge", "Thorn",
    "Upland", "Vale", "Willow", "Yarrow", "Zephyr", "Brook", "Crane", "Delta", "Eastman",
    "Frost",
]
# fmt: on
OFFICERS = 900
STAFF = 64


@dataclass
class Person:
    """One cardholder. badge: UID, 4, 7 or 10 bytes."""

    name: str
    badge: bytes
    cardholder_class: str


# The staff's first names are no officer's, so that a name is one person.
_STAFF_FIRST = ["Anouk", "Boris", "Celia", "Derya", "Emil", "Femke", "Goran", "Hedda"]


def officers() -> list[Person]:
    """Return OFFICERS responders; most badges have 7 bytes, some 4 or 10, as in a real drawer."""
    return _people(OFFICERS, "responder", _FIRST, seed=110)


def staff() -> list[Person]:
    """Return STAFF people of the school."""
    return _people(STAFF, "staff", _STAFF_FIRST, seed=7)


def strangers_badge() -> bytes:
    """Return a UID that is on no roster."""
    return bytes.fromhex("04DEC0DE2BAD11")


def write_roster(path: Path, people: list[Person]) -> None:
    """Write a roster as `doorctl roster check` reads it."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "badge", "class", "level"))
        for one in people:
            writer.writerow((one.name, one.badge.hex(":").upper(), one.cardholder_class, 0))


def _people(count: int, cardholder_class: str, first_names: list[str], seed: int) -> list[Person]:
    chance = random.Random(seed)
    names = [f"{first} {last}" for first in first_names for last in _LAST]
    chance.shuffle(names)
    people = []
    for i in range(count):
        length = (7, 7, 7, 7, 4, 10)[i % 6]
        # 04 is the manufacturer's byte of most cards, and never the 08 of a random UID.
        badge = bytes([0x04, seed]) + i.to_bytes(2, "big") + chance.randbytes(length - 4)
        people.append(Person(names[i], badge, cardholder_class))
    return people
