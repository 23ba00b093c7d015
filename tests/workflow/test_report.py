"""The page of `snakemake --report` and the executed notebooks: complete, and of use without a network."""

import re
from pathlib import Path

import pytest

# What makes a browser load something; links that a reader may click are no such thing.
LOADS = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed|input)\b[^>]*?\bsrc\s*=\s*["']?(?:https?:)?//[^"'\s>]+
    |<link\b[^>]*?\bhref\s*=\s*["']?(?:https?:)?//[^"'\s>]+
    |@import\s+(?:url\()?["']?(?:https?:)?//[^"')]+
    |url\(\s*["']?(?:https?:)?//[^"')]+""",
    re.I | re.X,
)


def test_the_pattern_finds_what_it_must():
    for text in ('<script async src="https://cdn.example/x.js">', "<link rel=x href='//a.b/c.css'>", "url(http://a.b)"):
        assert LOADS.search(text)
    assert not LOADS.search('<a href="https://example.org">read</a> <img src="data:image/png;base64,xx">')


@pytest.mark.long
def test_one_offline_page_with_every_figure_and_run_time(built, tmp_path):
    page = tmp_path / "report.html"
    built.snakemake("--report", str(page))
    text = page.read_text(encoding="utf-8")
    assert LOADS.findall(text) == []
    figures = {Path(out).name for out in built.stages["figures-demo"]["outs"] if out.endswith(".png")}
    assert len(figures) >= 10
    for name in figures | {"report.html", "outliers.csv"}:
        assert name in text
    for caption in built.path("src/lrp_dynamics/studies/blog/captions").glob("*.rst"):
        if f"{caption.stem}.png" in figures:
            words = re.findall(r"[a-z]{4,}", caption.read_text(encoding="utf-8"))[:3]
            assert all(word in text for word in words), caption
    assert "runtime" in text
    for rule in ("prepare", "train", "dynamics", "outliers", "figures", "report"):
        assert re.search(rf'"rule": ?"{rule}"', text)


@pytest.mark.long
def test_executed_notebooks_load_nothing_from_elsewhere(built):
    pages = list(built.path("reports").rglob("*.html"))
    assert pages
    for page in pages:
        assert LOADS.findall(page.read_text(encoding="utf-8")) == [], page
