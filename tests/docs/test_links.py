"""Links between pages lead somewhere: to a file of the project, and to a heading of it."""

import re
from pathlib import Path

import pytest

from .pages import FENCE, PAGES, ROOT, name_of

LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
ACTIONS = re.compile(r"\.\./\.\./actions/workflows/(\w+\.yml)(?:/badge\.svg)?")  # of the repository's host
TOC = re.compile(r"```\{toctree\}\n(.*?)```", re.S)
MOST = 2_000_000  # bytes of all pictures


def slugs(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts and the site write them."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    headings = [re.sub(r"[`*]|<[^>]+>|\]\([^)]*\)|\[", "", line) for line in re.findall(r"^#+ (.*)$", text, re.M)]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(path):
    for link in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        if workflow := ACTIONS.fullmatch(link):
            assert (ROOT / ".github" / "workflows" / workflow[1]).exists(), link
            continue
        target, _, anchor = link.partition("#")
        found = path.parent / target if target else path
        assert found.exists(), link
        if anchor:
            assert anchor in slugs(found), link


def test_every_page_of_the_site_is_in_its_tree():
    listed, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        listed.add(page)
        entries = [line for toc in TOC.findall(page.read_text(encoding="utf-8")) for line in toc.splitlines()]
        pages = [(page.parent / f"{entry}.md").resolve() for entry in entries if entry and not entry.startswith(":")]
        assert all(one.exists() for one in pages), page
        waiting += [one for one in pages if one not in listed]
    assert {path for path in PAGES if path.is_relative_to(ROOT / "docs")} - listed == set()


def test_pictures_are_small_and_used():
    pictures = set((ROOT / "docs" / "images").rglob("*.png"))
    assert sum(path.stat().st_size for path in pictures) < MOST
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert [path.name for path in sorted(pictures) if path.name not in text] == []
