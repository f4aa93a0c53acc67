"""What the documentation says of stable numbers is what the code says."""

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
