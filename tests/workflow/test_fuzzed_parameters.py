"""Files of parameters that the schema makes: each is refused in one sentence that names the key, or can be trained."""

import copy
import sys

import jsonschema
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.training_sections import RULES
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.studies.homework.explaining import training_params
from lrp_dynamics.training import run
from lrp_dynamics.training.augmentation import Augmentation
from lrp_dynamics.training.plans import open_recorder, plans
from workflow.conftest import ROOT

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
from parameter_file import problem_of_file
from parameters import normalised, problem

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "params.schema.yaml").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NAME = "demo"
SMALL = 20
IMAGES = {"n_train": 200, "n_test": 500}

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([float("nan"), float("inf"), 1e308, -1e308, 10**400, -1, 0, 0.5, 2**31, 2**63, [], {}, [[]], ""]),
    st.sampled_from(
        ["none", "\n", "cpu\n", "a\0", "\ud800", "x" * 2000, "$x$", "<b>", "__use_yte__", "../..", b"bytes"]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.lists(st.integers() | st.text(max_size=3), max_size=4),
    st.dictionaries(st.text(max_size=4) | st.integers(), st.integers() | st.text(max_size=3), max_size=3),
)


def resolved(schema: dict) -> dict:
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def valid(schema: dict) -> st.SearchStrategy:
    """Values that a part of the schema allows, small ones."""
    schema = resolved(schema)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return st.one_of([valid(one) for one in schema[several]])
    kind = schema.get("type")
    if kind == "null":
        return st.none()
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        low = schema.get("minimum", 0)
        return st.integers(low, min(schema.get("maximum", low + SMALL), low + SMALL))
    if kind == "number":
        low, high = schema.get("minimum", schema.get("exclusiveMinimum", -10)), schema.get("maximum", 10)
        low, high = max(low, -10), min(high, schema.get("exclusiveMaximum", 10))
        edges = {"exclude_min": "exclusiveMinimum" in schema, "exclude_max": "exclusiveMaximum" in schema}
        return st.floats(low, high, allow_subnormal=False, **edges)
    if kind == "string":
        return st.from_regex(schema["pattern"]) if "pattern" in schema else st.sampled_from(["a title", "$x$", "<b>"])
    if kind == "array":
        least, unique = schema.get("minItems", 0), schema.get("uniqueItems", False)
        return st.lists(valid(schema["items"]), min_size=least, max_size=least + 2, unique=unique)
    if kind == "object" and "properties" in schema:
        required = schema.get("required", [])
        parts = {name: valid(part) for name, part in schema["properties"].items()}
        return st.fixed_dictionaries(
            {name: parts[name] for name in required},
            optional={name: part for name, part in parts.items() if name not in required},
        )
    if kind == "object" and "additionalProperties" not in schema:  # a composite written out
        layers = st.sampled_from(["*", "first", "last", "2-", "Conv2d", "Linear", "nolayer"])
        return st.dictionaries(layers, st.sampled_from(list(RULES)), min_size=1, max_size=3)
    if kind == "object":
        names = (
            st.from_regex(schema["propertyNames"]["pattern"])
            if "propertyNames" in schema
            else st.text("ab", min_size=1)
        )
        values, least = valid(schema.get("additionalProperties", {})), schema.get("minProperties", 0)
        return st.dictionaries(names, values, min_size=least, max_size=least + 1)
    return st.sampled_from([1, 0.5, "a", True])


VARIANTS = [resolved(case["then"]) for case in SCHEMA["properties"]["experiments"]["additionalProperties"]["allOf"]]


def leaves(node, path=()):
    """Every place in a file: of values and of sections."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from leaves(value, (*path, key))


PLACES = list(leaves(PARAMS))


@st.composite
def spoilt(draw):
    """The project's parameters with one to three values, or keys, in the place of others."""
    params, changed = copy.deepcopy(PARAMS), []
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(PLACES))
        node = params
        try:
            for parent in parents:
                node = node[parent]
            if draw(st.booleans()) or isinstance(node, list):
                node[last] = draw(HOSTILE)
            else:
                node[draw(st.text(max_size=8))] = node.pop(last)
            changed.append((*parents, last))
        except (LookupError, TypeError, AttributeError):  # within what was replaced before
            continue
    return params, changed


def assert_one_sentence(found: str, changed=None) -> None:
    place = "the top level" if found.startswith("params.yaml: the top level: ") else found.split(": ")[1]
    assert found.startswith("params.yaml: "), found
    assert found.isprintable(), found
    assert len(found) < 3000, len(found)
    assert place.split(".")[0] in ("the top level", "storage", "datasets", "experiments"), found
    if changed is not None and place != "the top level":
        tops = {".".join(map(str, path[:2])) for path in changed} | {path[0] for path in changed}
        tops |= {"experiments"} if any(path[0] == "datasets" for path in changed) else set()  # that need them
        assert any(place.startswith(top) for top in tops), (found, changed)


def check_spoilt(example):
    params, changed = example
    found = problem(params)
    if found is not None:
        assert_one_sentence(found, changed)
    else:
        assert list(VALIDATOR.iter_errors(normalised(params))) == []


def check_bytes(content: bytes):
    found = problem_of_file(content)
    assert found is None or (found.isprintable() and len(found) < 1000), found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "shapes10.h5"
    prepared.write(path, shapes10.prepare("shapes10", PARAMS["datasets"]["shapes10"] | IMAGES))
    return path


SECTIONS = ("model", "inputs", "training", "recording", "validation", "checkpoints")


def check_valid(data, tmp_path, experiment):
    """It passes what runs before a training, up to the untrained network's maps, or one sentence says why not."""
    experiment["dataset"] = "shapes10"
    small = {"shapes10": PARAMS["datasets"]["shapes10"] | IMAGES}
    params = PARAMS | {"datasets": small, "experiments": {NAME: experiment}}
    found = problem(params)
    if found is not None:
        assert_one_sentence(found)
        return
    full = normalised(params)["experiments"][NAME]
    if full["kind"] == "vgg16":  # trains nothing
        return
    seed = full.get("seeds", [full.get("seed", 0)])[0]
    full["training"] |= {"device": "cpu", "threads": 1}
    given_to_command = {name: full[name] for name in SECTIONS if name in full} | {"seed": seed}
    if full["kind"] == "homework":
        given_to_command = training_params(given_to_command)
    try:
        training = run.load(data, given_to_command)
        run.check_fit(training, given_to_command)
        assert training.settings.steps(len(training.train_images)) >= 1
        if training.settings.augmentation:
            images = training.train_images.pixels[:2]
            Augmentation(training.settings.augmentation)(images, seed=0, step=0)
        recorded = plans(given_to_command, training.data.dataset) if "recording" in full else {}
        for number, plan in enumerate(recorded.values()):
            recorder = open_recorder(tmp_path / f"{number}.h5", training.model, training.data, plan)
            try:
                recorder.record(0)
            finally:
                recorder.close()
            assert np.isfinite(recorder_sums(tmp_path / f"{number}.h5")).all()
    except UserError as error:
        said = str(error)
    else:
        return
    assert said.isprintable(), said
    assert len(said) < 2000


def recorder_sums(path):
    from lrp_dynamics.recording.store import open_relevance

    with open_relevance(path) as recording:
        return recording.scalar("r_sum")


ANY = st.one_of([valid(variant) for variant in VARIANTS])
BYTES = st.one_of(
    st.binary(max_size=200),
    st.text("storage:{}[]&*!<>-|\n\t '\"0123456789exyte_", max_size=80).map(str.encode),
    st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=3)).map(
        lambda change: (ROOT / "params.yaml").read_bytes()[: change[0]] + change[1]
    ),
)
QUIET = [
    HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
]
few = settings(max_examples=30, suppress_health_check=QUIET, deadline=None)
many = settings(max_examples=500, suppress_health_check=QUIET, deadline=None)


@few
@given(spoilt())
def test_what_is_wrong_is_told(example):
    check_spoilt(example)


@few
@given(BYTES)
def test_any_bytes_are_told_of(content):
    check_bytes(content)


@few
@given(ANY)
def test_what_the_schema_allows_begins_or_says_why_not(data, tmp_path, experiment):
    check_valid(data, tmp_path, experiment)


@pytest.mark.long
@many
@given(spoilt())
def test_what_is_wrong_is_told_500_times(example):
    check_spoilt(example)


@pytest.mark.long
@many
@given(BYTES)
def test_any_bytes_are_told_of_500_times(content):
    check_bytes(content)


@pytest.mark.long
@many
@given(ANY)
def test_what_the_schema_allows_begins_or_says_why_not_500_times(data, tmp_path, experiment):
    check_valid(data, tmp_path, experiment)
