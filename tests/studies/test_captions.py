"""Captions are reStructuredText without mistakes, whose bars, indices and exponents appear as meant."""

import re
from pathlib import Path

import pytest
from docutils.core import publish_parts

import lrp_dynamics.studies

CAPTIONS = sorted(Path(lrp_dynamics.studies.__file__).parent.glob("*/captions/*.rst"))


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_caption_shows_no_markup(path):
    html = publish_parts(
        path.read_text(encoding="utf-8"),
        writer="html5",
        settings_overrides={"report_level": 1, "halt_level": 2, "warning_stream": False},
    )["body"]
    text = re.sub(r"<[^>]+>", "", html)
    assert not re.search(r"[`\\]|:su[bp]:|\*\*", text), text
    assert text.count("|") % 2 == 0, text
