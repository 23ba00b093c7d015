"""The pages of the documentation, and the blocks of code in them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [path for path in PAGES if "_build" not in path.parts]
FENCE = re.compile(r"^( *)(```+)([^\n]*)\n(.*?)^ *\2 *$", re.S | re.M)


class Block(NamedTuple):
    """One fenced block: its language, its text, and the line of the page where it begins."""

    language: str
    text: str
    line: int


def name_of(path: Path) -> str:
    """Return a page's path in the project."""
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path | str) -> list[Block]:
    """Return the blocks of a page, but for those that are directives of Sphinx."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [
        Block(m[3].strip(), re.sub(f"^{m[1]}", "", m[4], flags=re.M), text[: m.start()].count("\n") + 1)
        for m in FENCE.finditer(text)
    ]
    return [block for block in found if not block.language.startswith("{")]


def programs(page: Path | str) -> list[str]:
    """Return the Python programs of a page; those that show a session are for doctest."""
    return [block.text for block in blocks(page) if block.language == "python" and not block.text.startswith(">>>")]


def commands(page: Path | str) -> list[str]:
    """Return the commands of a page, a line each; lines that end in a backslash go on."""
    texts = [block.text for block in blocks(page) if block.language in ("bash", "sh")]
    return [line for text in texts for line in text.replace("\\\n", " ").splitlines() if line.strip()]
