"""The floors of the house: what each package may import."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "lrp_dynamics"
FLOORS = (
    {"base"},
    {"lrp", "data"},
    {"models", "recording"},
    {"measures", "training"},
    {"reports"},
    {"commands", "studies"},
)
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
# Above all floors: the public page, which loads names on first use.
PUBLIC = {"__init__.py"}


def room(parts: tuple[str, ...]) -> str:
    """Return the package that a module lies in; each study is one of its own."""
    return ".".join(parts[:2]) if parts[0] == "studies" and len(parts) > 1 else parts[0]


def imported(path: Path, package: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield line and module, below the package, of every import of the package in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, *parts = name.split(".")
            if top == package.name and parts and (package / parts[0]).exists():
                yield node.lineno, tuple(parts)


def offences(package: Path) -> list[str]:
    """Return every import that does not lead to a lower floor, and every module outside of the floors."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        if place.name in PUBLIC and len(place.parts) == 1:
            continue
        if place.parts[0] not in FLOOR:
            found.append(f"{place}: lies in no package; put it into one of {', '.join(FLOOR)}")
            continue
        here = room(place.with_suffix("").parts)
        for line, parts in imported(path, package):
            there = room(parts)
            if there != here and FLOOR[parts[0]] >= FLOOR[place.parts[0]]:
                if (here, parts) == ("commands", ("studies",)):  # the command line looks them up by name
                    continue
                found.append(f"{place}:{line}: {here} imports {'.'.join(parts)}; imports lead to lower floors only")
    return found


def test_imports_lead_downwards_and_no_study_imports_another():
    assert offences(PACKAGE) == []


def test_an_import_that_does_not_is_named(tmp_path):
    package = tmp_path / "lrp_dynamics"
    for name in ("base", "lrp", "studies/one", "studies/two"):
        (package / name).mkdir(parents=True)
    (package / "base" / "files.py").write_text("def f():\n    from lrp_dynamics import lrp\n")
    (package / "studies" / "one" / "figures.py").write_text("import lrp_dynamics.studies.two.figures\n")
    (package / "stray.py").write_text("")
    assert offences(package) == [
        "base/files.py:2: base imports lrp; imports lead to lower floors only",
        "stray.py: lies in no package; put it into one of " + ", ".join(FLOOR),
        "studies/one/figures.py:1: studies.one imports studies.two.figures; imports lead to lower floors only",
    ]
