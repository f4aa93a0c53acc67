"""The one-way rule of docs/architecture.md, read off the source of every firmware module."""

import ast
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).parents[2] / "firmware"
PACKAGE = FIRMWARE / "doorward"
# What the app is made of, beside the rooms.
APP_PARTS = ("health", "receiver")
ROOMS = ("reader", "access", "portal", "journal", "uplink", "service")
GROUND = ("trust", "values", "quiet", "config", "state", "walltime", "hal.roles")
HARDWARE = {"machine", "network", "rp2", "esp32"}
# What the language and the interpreter bring along.
LIBRARY = {
    "asyncio",
    "binascii",
    "errno",
    "gc",
    "hashlib",
    "json",
    "micropython",
    "os",
    "struct",
    "sys",
}
LIBRARY |= {"array", "collections", "io", "select", "socket", "time", "tls"}


def running_code(tree: ast.AST) -> list[ast.AST]:
    """Return all nodes but those that only a type checker sees."""
    nodes = [tree]
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            nodes += running_code(child)
    return nodes


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Return (line, absolute dotted name) of every import, at whatever depth it stands."""
    inside = path.relative_to(FIRMWARE).with_suffix("").parts
    package = inside[:-1]
    found = []
    for node in running_code(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                name = ".".join([*base, alias.name])
                is_module = (FIRMWARE / Path(*base, alias.name)).with_suffix(".py").exists()
                is_package = (FIRMWARE / Path(*base, alias.name)).is_dir()
                found.append((node.lineno, name if is_module or is_package else ".".join(base)))
    return found


def may_import(inside: tuple[str, ...], name: str) -> bool:
    """May the module at doorward/<inside> import `name`?"""
    top = name.split(".", 1)[0]
    if top != "doorward":
        if top in HARDWARE:
            return inside[0] == "hal" and inside[-1] in ("rp2", "esp32", "chip")
        # The driver and the activation also stand beside each other without the package.
        return top in LIBRARY or (inside[0] == "reader" and name == "mfrc522")
    target = name[len("doorward") :].lstrip(".")
    if target == "":
        return True
    is_ground = any(target == g or target.startswith(g + ".") for g in GROUND)
    room = inside[0]
    if room == "hal":
        return target.startswith("hal") or target in ("values", "state")
    if room in ROOMS:
        return is_ground or target == room or target.startswith(room + ".")
    if inside == ("app",):
        return is_ground or target in APP_PARTS
    # The ground floor knows only itself.
    return is_ground


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    inside = path.relative_to(PACKAGE).with_suffix("").parts
    wrong = [(line, name) for line, name in imports_of(path) if not may_import(inside, name)]
    assert wrong == []


def test_every_module_says_what_it_owns() -> None:
    without = [str(p) for p in MODULES if not ast.get_docstring(ast.parse(p.read_text()))]
    assert without == []


def test_the_rule_can_fail() -> None:
    assert not may_import(("access", "control"), "doorward.journal.ring")
    assert not may_import(("app",), "doorward.reader.mfrc522")
    assert not may_import(("trust", "objects"), "doorward.access.allowlist")
    assert not may_import(("portal", "strike"), "machine")
    assert not may_import(("access", "shelf"), "doorward.hal.unix")
    assert may_import(("hal", "rp2"), "machine")


def test_main_is_short() -> None:
    assert len((FIRMWARE / "main.py").read_text().splitlines()) <= 60
