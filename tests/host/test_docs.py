"""What the documentation says of numbers and of tests is what there is."""

import re
from pathlib import Path

from doorward.values import REFUSALS

DOCS = Path(__file__).parents[2] / "docs"


def rows_of(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without the table's own heading."""
    text = (DOCS / page).read_text().split(heading, 1)[1]
    lines = text[text.index("\n|") + 1 :].split("\n\n", 1)[0].splitlines()
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_refusals():
    documented = {
        int(code): (name, text) for code, name, text in rows_of("formats.md", "### Refusals")
    }
    assert documented == REFUSALS


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(tests/[a-z_/]+\.py)((?:::\w+)*)`", (DOCS / "standards.md").read_text())
    assert len(named) > 20
    for path, names in named:
        text = (DOCS.parent / path).read_text()
        for name in names.split("::")[1:]:
            assert re.search(rf"^\s*(class|def) {name}\b", text, re.MULTILINE), f"{path}::{name}"
