"""Which source files a stage depends on: all modules of the package that it imports, directly or not.

Where it imports one module of FOLDERS, it depends on every file of that package.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lrp_dynamics"
# Whoever imports one module of these imports nearly all. Of the other packages a stage reads a part, and must not run
# again because of the rest: a new kind of dataset trains nothing anew.
FOLDERS = [f"src/lrp_dynamics/{name}" for name in ("base", "lrp", "models", "training", "reports/explorer")]

# Strings and comments, which may hold what looks like one, and statements of import, at the beginning of a line.
IMPORT = re.compile(
    r"""(?P<quotes>\"{3}|'{3})(?:\\.|.)*?(?P=quotes) | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | \#[^\n]*
      | ^[ ]*(?P<statement>from[ ]+\S+[ ]+import[ ]+(?:\((?:\#[^\n]*|[^)])*\)|(?:\\\n|[^\n])*)
        |import[ ](?:\\\n|[^\n])*)""",
    re.M | re.S | re.X,
)


def code_of(command: str, *scripts: str) -> list[str]:
    """Return the source files of a subcommand, sorted, relative to the repository root.

    The command line is not among them; scripts that it runs, such as a notebook, and what they import are.
    """
    seen: set[Path] = set()
    study, _, step = command.partition("-")
    file = f"studies/{study}/{step}.py" if step else f"commands/{command}.py"
    waiting = [PACKAGE / file, *(ROOT / script for script in scripts)]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _imports(path)
    files = {str(path.relative_to(ROOT)) for path in seen}
    return sorted(files.union(*(files_in(folder) for folder in FOLDERS if any(_is_in(folder, file) for file in files))))


@cache
def files_in(folder: str) -> list[str]:
    """Return the files in a folder of sources, relative to the repository root, as DVC sees them by .dvcignore."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not any(_is_ignored(part) for part in path.parts))


def _is_ignored(name: str) -> bool:
    return name == "__pycache__" or name.startswith(".") or name.endswith("~")


def folded(paths: Iterable[str]) -> set[str]:
    """Return the paths, with each folder of FOLDERS in place of the files in it."""
    return {next((folder for folder in FOLDERS if _is_in(folder, path)), path) for path in paths}


def _is_in(folder: str, path: str) -> bool:
    return path.startswith(f"{folder}/")


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Return the files of the package that a file imports, also inside functions, and `__init__` of parent packages."""
    names: set[str] = set()
    for node in imports_in(path.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    files: set[Path] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] == PACKAGE.name:
            base = PACKAGE.joinpath(*parts[1:])
            packages = [base, *base.parents][: len(parts) - 1]
            files |= {base.with_suffix(".py"), *(package / "__init__.py" for package in packages)}
    return tuple(file for file in files if file.is_file() and file.is_relative_to(PACKAGE))


def imports_in(text: str) -> list[ast.Import | ast.ImportFrom]:
    """Return the statements of import in a source text, alone, since to parse all of it takes much longer."""
    return ast.parse("\n".join(match["statement"] for match in IMPORT.finditer(text) if match["statement"])).body
