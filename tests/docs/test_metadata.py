"""Name, version, licence and authors are the same wherever they are written."""

import json
import re
import tomllib

import yaml

import lrp_dynamics

from .pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CODEMETA = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))


def test_versions():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    written = [lrp_dynamics.__version__, CITATION["version"], CODEMETA["version"]]
    written.append(re.search(r"^## (.*)$", changes, re.M)[1])
    assert written == [PROJECT["version"]] * 4


def test_what_describes_the_project():
    assert CODEMETA["identifier"] == PROJECT["name"]
    assert CODEMETA["description"] == PROJECT["description"]
    assert CITATION["title"].startswith(CODEMETA["name"])
    assert CODEMETA["keywords"] == CITATION["keywords"]
    assert [one["name"] for one in CODEMETA["author"]] == [one["name"] for one in CITATION["authors"]]
    assert CITATION["license"] == PROJECT["license"] == CODEMETA["license"].rpartition("/")[2]
