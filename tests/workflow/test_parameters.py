"""Mistakes in params.yaml are told in one sentence that names the key; params.yaml itself is right."""

import copy
import sys

import pytest
import yaml
from workflow.conftest import ROOT

from lrp_dynamics import lrp

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
from parameters import SCHEMA, problem, repeated_key

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
DEMO = "experiments.demo"


def test_the_project_s_own_parameters_are_right():
    assert problem(PARAMS) is None
    assert repeated_key((ROOT / "params.yaml").read_text(encoding="utf-8")) is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (f"{DEMO}.recording.composite", "zplus", "recording.composite: 'zplus' is not one of ['z_plus'"),
        (f"{DEMO}.recording.composite", {"a": 1}, "recording.composite: 'rules' is a required property"),
        (f"{DEMO}.inputs.low", 3, "inputs: found low 3 and high 1.0, expected low < high"),
        (f"{DEMO}.recording.maps", 0, "recording.maps: 0 is less than the minimum of 1"),
        (f"{DEMO}.recording.samples", 1, "recording.samples: 1 is less than the minimum of 3"),
        (f"{DEMO}.recording.shards", 3, f"{DEMO}.recording.shards: found 3, expected at most 2, the number of batches"),
        (f"{DEMO}.epochs", 5, f"{DEMO}: unknown key epochs; the known keys are: kind, dataset, model"),
        ("datasets.shapes10.seed", 10**20, "is greater than the maximum"),
        ("datasets.cifar10.sha256", "c4a3", "64 hexadecimal digits"),
    ],
)
def test_mistakes(key, value, message):
    params = copy.deepcopy(PARAMS)
    *parents, last = key.split(".")
    node = params
    for parent in parents:
        node = node[parent]
    node[last] = value
    found = problem(params)
    assert found.startswith("params.yaml: ")
    assert message in found


def test_names_are_text():
    params = PARAMS | {"experiments": {2024: PARAMS["experiments"]["demo"]}}
    assert problem(params) == "params.yaml: experiments: found the name 2024, expected text: put it in quotes"


def test_a_key_that_stands_twice():
    assert repeated_key("a: 1\nb: [{c: 1, d: 2, c: 3}]\n") == "c"


def test_the_schema_knows_every_composite():
    assert yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["$defs"]["composite_name"]["enum"] == list(lrp.COMPOSITES)
