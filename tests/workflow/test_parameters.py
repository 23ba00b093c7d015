"""Mistakes in params.yaml are told in one sentence that names the key; params.yaml itself is right."""

import copy
import json
import re
import subprocess
import sys
from dataclasses import fields

import jsonschema
import pytest
import yaml

from lrp_dynamics import lrp, models
from lrp_dynamics.base import training_sections
from lrp_dynamics.base.parameters import comment_of, field_at, kind_of
from lrp_dynamics.data import scenes
from lrp_dynamics.data.parameters import KINDS
from lrp_dynamics.recording import explainers
from lrp_dynamics.training import loop
from lrp_dynamics.training.step import PRECISIONS
from workflow.conftest import PARAMS, ROOT, changed

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
import reference
from parameter_file import problem_of_file
from parameters import Storage, experiments, json_of, normalised, problem

DEMO = "experiments.demo"


def test_the_project_s_own_parameters_are_right():
    assert problem(PARAMS) is None
    assert problem_of_file((ROOT / "params.yaml").read_bytes()) is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            f"{DEMO}.recording.composite",
            "zplus",
            "recording.composite: found 'zplus', which no composite is called; did you mean 'z_plus'?",
        ),
        (f"{DEMO}.recording.composite", {"a": 1}, "recording.composite.a: found 1, expected the name of a rule"),
        (f"{DEMO}.inputs.low", 3, "inputs.low: found 3.0, expected a number less than high, which is 1.0"),
        (f"{DEMO}.recording.maps", 0, "recording.maps: found 0, expected a whole number of at least 1"),
        (f"{DEMO}.recording.samples", 1, "recording.samples: found 1, expected a whole number of at least 3"),
        (f"{DEMO}.recording.shards", 3, f"{DEMO}.recording.shards: found 3, expected at most 2, the number of batches"),
        (f"{DEMO}.model", "blog_cn", "model: found 'blog_cn', which no network is called; did you mean 'blog_cnn'?"),
        (
            f"{DEMO}.model",
            "net{x}.py:net",
            "choose one of blog_cnn, homework_cnn, or your own network as path/net.py:my",
        ),
        (f"{DEMO}.epochs", 5, f"{DEMO}: unknown key epochs; the known keys are: dataset, model"),
        ("datasets.shapes10.seed", 10**20, "expected a whole number from 0 to 2147483647"),
        ("datasets.cifar10.sha256", "c4a3", "64 hexadecimal digits"),
    ],
)
def test_mistakes(key, value, message):
    found = problem(changed(key, value))
    assert found.startswith("params.yaml: ")
    assert message in found


def test_names_are_text():
    params = PARAMS | {"experiments": {2024: PARAMS["experiments"]["demo"]}}
    assert problem(params) == "params.yaml: experiments: found the name 2024, expected text: put it in quotes"


def test_a_key_that_stands_twice():
    told = "datasets.b: the key 'c' stands twice in one place; keep one of them"
    assert problem_of_file(b"storage: 1\ndatasets: {b: [{c: 1, d: 2, c: 3}]}\n") == told


def as_json(params, key):
    return json_of(normalised(params), key, {})


@pytest.mark.parametrize(
    ("key", "value"),
    [("inputs.low", 0), ("training.epochs", 8.0), ("outliers.threshold", 3.50), ("training.weight_decay", -0.0)],
)
def test_equal_values_are_handed_over_alike(key, value):
    """Neither 0 for 0.0 nor 1e1 for 10 trains anew."""
    section = f"{DEMO}.{key.split('.')[0]}"
    assert as_json(changed(f"{DEMO}.{key}", value), section) == as_json(PARAMS, section)


def test_what_has_a_default_may_be_left_out():
    params = copy.deepcopy(PARAMS)
    demo = params["experiments"]["demo"]
    for section in ("inputs", "outliers", "figures"):
        del demo[section]
    del demo["training"]["momentum"], demo["recording"]["shards"]
    demo["training"] = dict(reversed(demo["training"].items()))
    for section in ("inputs", "training", "recording", "outliers", "figures"):
        assert as_json(params, f"{DEMO}.{section}") == as_json(PARAMS, f"{DEMO}.{section}")


def test_the_project_s_own_parameters_are_in_their_normal_form():
    """So that results that were made keep their bytes: they hold the parameters as they are handed over."""
    assert normalised(PARAMS) == PARAMS
    for part in ("datasets", "experiments"):
        for name in PARAMS[part]:
            found, written = (json.dumps(params[part][name], sort_keys=True) for params in (normalised(PARAMS), PARAMS))
            assert found == written


@pytest.mark.parametrize(
    "composite",
    [
        "epsilon",
        {"first": "z_box", "*": "z_plus"},
        {"rules": {"first": {"rule": "flat"}, 2: "gamma", "*": {"rule": "epsilon", "epsilon": 0}}, "top_k": 1},
    ],
)
def test_a_composite_is_written_as_in_python(composite):
    """The first rule that fits a layer is taken: their order is handed over."""
    params = changed(f"{DEMO}.recording.composite", composite)
    handed_over = json.loads(as_json(params, f"{DEMO}.recording"))["composite"]
    assert lrp.composites.make_composite(handed_over) == lrp.composites.make_composite(composite)
    if isinstance(composite, dict):
        rules = handed_over.get("rules", handed_over)
        assert list(rules) == [str(key) for key in composite.get("rules", composite)]
    params = changed("experiments.demo_rules.recording.composites.gamma", composite)
    assert problem(params) is None
    params = changed("experiments.demo_vgg16.explanations.composites", {"mine": composite})
    assert problem(params) is None


def test_schema_and_reference_are_up_to_date():
    for file, text in reference.FILES.items():
        assert file.read_text(encoding="utf-8") == text(), f"{file.name}: run `make reference`"


def test_the_schema_says_the_same():
    """Of params.yaml, and of one mistake of each kind of check."""
    schema = yaml.safe_load(reference.SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(PARAMS)) == []
    mistakes = {
        f"{DEMO}.training.optimizer": "adm",
        f"{DEMO}.training.epochs": 0,
        f"{DEMO}.training.momentum": 1.0,
        f"{DEMO}.training.device": "gpu",
        f"{DEMO}.training.extra": 1,
        f"{DEMO}.seeds": [1, 1],
        f"{DEMO}.recording.composite": "zplus",
        "experiments.demo_rules.recording.composites": {"a b": "z_plus", "c": "z_plus"},
        "experiments.demo_vgg11.search": {"sampler": "bayes"},
        "datasets.mnist.channels": 2,
        "datasets.mnist.sha256": {"file": "c4a3"},
        "storage.cache_recordings": "yes",
    }
    for key, value in mistakes.items():
        params = changed(key, value)
        assert not validator.is_valid(params), key
        assert problem(params) is not None, key


def comments():
    """Yield dotted key and comment of each line of params.yaml that has a comment beside a value."""
    path = []
    for line in (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"( *)(\w+):(.*)", line):
            indent, name, rest = found.groups()
            path = [*path[: len(indent) // 2], name]
            _, mark, comment = rest.partition(" # ")
            if mark:
                yield ".".join(path), comment.strip()


def test_comments_beside_parameters_are_those_of_their_declarations():
    seen = 0
    for key, comment in comments():
        part, name, *rest = key.split(".")
        if part == "storage":
            section, field = Storage, name
        else:
            kinds = KINDS if part == "datasets" else experiments()
            section, field = kinds[PARAMS[part][name]["kind"]], ".".join(rest)
        if field == "inputs":  # on one line, for both of its keys
            continue
        assert comment == comment_of(field_at(section, field)), key
        seen += 1
    assert seen > 30


def test_names_that_base_must_know_without_imports_are_those_of_the_code():
    assert tuple(lrp.COMPOSITES) == training_sections.COMPOSITES
    assert tuple(explainers.GRADIENTS) == training_sections.GRADIENTS
    training = training_sections.AugmentedTraining
    assert kind_of(field_at(training, "optimizer")).schema["enum"] == list(loop.OPTIMIZERS)
    assert kind_of(field_at(training, "precision")).schema["enum"] == list(PRECISIONS)
    assert kind_of(field_at(KINDS["shapes10"], "preset")).schema["enum"] == list(scenes.PRESETS)
    for kind, section in experiments().items():
        if "model" in {field.name for field in fields(section)}:
            schema = kind_of(field_at(section, "model")).schema
            assert set(schema.get("anyOf", [schema])[0]["enum"]) <= models.MODELS.keys(), kind


def test_the_declarations_import_neither_numpy_nor_torch():
    """Every `snakemake -n` imports them."""
    heavy = {"numpy", "torch", "matplotlib", "h5py", "requests"}
    code = "import sys; sys.path.insert(0, 'workflow/scripts'); import parameters; parameters.experiments()"
    code += f"; sys.exit(', '.join(sorted({heavy} & set(sys.modules))) or None)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
