"""docs/recorder.md tells every option, detail and attribute that a recorder takes, and no other."""

import inspect
import re
from pathlib import Path

import pytest
import torch

from lrp_dynamics import Recorder
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.recording.arguments import check_attributes, check_details
from lrp_dynamics.recording.store import ATTRIBUTES

DOCS = (Path(__file__).parents[2] / "docs/recorder.md").read_text(encoding="utf-8")


def rows(header: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this header."""
    table = re.search(rf"^\| {header} \|.*\n\|[-|]+\n((?:\|.*\n)+)", DOCS, re.M)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]


def test_every_option_is_told_with_its_default():
    options = inspect.signature(Recorder).parameters
    options = {name: option.default for name, option in options.items() if option.kind is option.KEYWORD_ONLY}
    told = {}
    for names, default, _ in rows("option"):
        values = [value.strip("`").strip('"') for value in default.split(", ")]
        told |= dict(zip(re.findall(r"`(\w+)`", names), values, strict=True))
    words = {None: "none", False: "off"}
    assert told == {name: words.get(default, str(default)) for name, default in options.items()}


def test_every_attribute_is_told_with_its_kind():
    assert [[name.strip("`"), kind, told] for name, kind, told in rows("attribute")] == [
        [name, kind, told] for name, (kind, told) in ATTRIBUTES.items()
    ]
    wrong = {"text": 3, "a whole number": "3", "True or False": 1, "a list of names": 3}
    for name, (kind, _) in ATTRIBUTES.items():
        with pytest.raises(UserError, match=rf"attributes\['{name}'\] is .*, expected {kind}"):
            check_attributes({name: wrong[kind]})


def test_every_detail_is_told():
    told = [name.strip("`") for name, *_ in rows("detail")]
    samples = torch.rand(2, 1, 3, 3)
    with pytest.raises(UserError, match=f"expected one of {', '.join(told)}$"):
        check_details(samples, torch.tensor([0, 1]), {"weather": [0, 1]})
