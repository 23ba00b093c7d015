"""Declarations of parameters: what is refused in which sentence, and what equal values become."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.kinds import BOOLEAN, COUNT, SHARE, TEXT, list_of, mapping_of, number, one_of, optional, whole
from lrp_dynamics.base.parameters import Section, nested, normal, parameter, parse, pick, same
from lrp_dynamics.base.reference import definitions, skeleton
from lrp_dynamics.commands import cli


@dataclass(frozen=True)
class Draw(Section):
    """How samples are drawn."""

    share: float = parameter(SHARE, "of all images", 0.5)
    seed: int = parameter(whole(0, 10), "of the draw", 0)


@dataclass(frozen=True)
class Study(Section):
    """A study."""

    name: str = parameter(TEXT, "of the study")
    draw: Draw = nested(Draw)
    sizes: list[int] = parameter(list_of(COUNT, "a list of sizes, each once", least=1, unique=True), "tried", [8])
    weights: dict[str, float] = parameter(mapping_of(number(), "a mapping to numbers", names="[a-z]+"), "of each", {})
    channels: int = parameter(one_of(1, 3), "1 or 3", 1)
    shown: bool = parameter(BOOLEAN, "whether to draw", True)
    limit: int | None = parameter(optional(COUNT), "stop then", None)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "study.name: is missing, expected a text that is not empty"),
        ({"name": ""}, "study.name: found '', expected a text that is not empty"),
        ({"name": "x", "nam": 1}, "study: unknown key nam; the known keys are: name, draw, sizes"),
        ({"name": "x", "draw": 3}, "study.draw: found 3, expected a mapping with keys among share, seed"),
        ({"name": "x", "draw": {"seeds": 1}}, "study.draw: unknown key seeds; the known keys are: share, seed"),
        ({"name": "x", "draw": {"seed": 11}}, "study.draw.seed: found 11, expected a whole number from 0 to 10"),
        ({"name": "x", "draw": {"share": "1"}}, "study.draw.share: found '1', expected a number from 0 to 1"),
        ({"name": "x", "draw": {"share": float("nan")}}, "study.draw.share: found nan, expected"),
        ({"name": "x", "draw": {"seed": float("inf")}}, "study.draw.seed: found inf, expected"),
        ({"name": "x", "draw": {"seed": 1.5}}, "study.draw.seed: found 1.5, expected"),
        ({"name": "x", "draw": {"seed": True}}, "study.draw.seed: found True, expected"),
        ({"name": "x", "sizes": [8, 8]}, "study.sizes: found [8, 8], expected a list of sizes, each once"),
        ({"name": "x", "sizes": []}, "study.sizes: found [], expected a list"),
        ({"name": "x", "sizes": 8}, "study.sizes: found 8, expected a list"),
        ({"name": "x", "weights": {"a": "b"}}, "study.weights.a: found 'b', expected a number"),
        ({"name": "x", "weights": {"A": 1}}, "study.weights: found {'A': 1}, expected a mapping to numbers"),
        ({"name": "x", "channels": True}, "study.channels: found True, expected 1 or 3"),
        ({"name": "x", "shown": 1}, "study.shown: found 1, expected true or false"),
        ({"name": "x", "limit": 0}, "study.limit: found 0, expected a whole number of at least 1, or null"),
        (["name"], "study: found ['name'], expected a mapping with keys among name, draw"),
    ],
)
def test_the_first_mistake_is_told_in_one_sentence(values, sentence):
    with pytest.raises(UserError) as caught:
        parse(Study, values, "study")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_section_made_in_python_is_checked_alike():
    with pytest.raises(UserError, match=r"seed: found -1, expected a whole number from 0 to 10"):
        Draw(seed=-1)
    assert Draw(seed=3.0) == Draw(seed=3)


@given(st.integers(-(2**53), 2**53))
def test_equal_numbers_have_one_normal_form(value):
    """However they are written, and as often as they are normalised."""
    written = [json.dumps(number().read(other)) for other in (value, float(value), number().read(value))]
    assert len(set(written)) == 1
    if 0 < value < 2**31:
        assert json.dumps(COUNT.read(float(value))) == json.dumps(COUNT.read(value)) == str(value)


def test_the_normal_form_has_all_defaults_and_the_order_of_the_declaration():
    expected = {"name": "x", "draw": {"share": 1.0, "seed": 0}, "sizes": [8], "weights": {}, "channels": 1}
    expected |= {"shown": True, "limit": None}
    found = normal(Study, {"draw": {"seed": 0, "share": 1}, "name": "x"})
    assert json.dumps(found) == json.dumps(expected)
    assert normal(Study, found) == found
    assert normal(Study, {"draw": {"share": 1}, "name": "x"}, fill=False) == {"name": "x", "draw": {"share": 1.0}}


def test_a_default_is_not_shared():
    first, second = Study(name="a"), Study(name="b")
    first.sizes.append(9)
    assert second.sizes == [8]


def test_what_is_picked_and_taken_over_is_checked_the_same_way():
    picked = pick(Study, "name", start="draw.seed")
    assert normal(picked, {"name": "x"}) == {"name": "x", "start": 0}
    with pytest.raises(UserError, match=r"start: found 99, expected a whole number from 0 to 10"):
        parse(picked, {"name": "x", "start": 99})
    with pytest.raises(KeyError):
        pick(Study, start="draw.sead")

    @dataclass(frozen=True)
    class Other(Draw):
        seed: int = same(Draw, "seed", default=7)

    assert normal(Other, {}) == {"share": 0.5, "seed": 7}


def test_schema_and_yaml_say_what_is_declared():
    own = next(body for name, body in definitions(Study).items() if name.endswith("Study"))
    draw = next(body for name, body in definitions(Study).items() if name.endswith("Draw"))
    assert own["required"] == ["name"]
    assert own["additionalProperties"] is False
    assert draw["properties"]["share"] == {
        "type": "number", "minimum": 0, "maximum": 1, "description": "of all images", "default": 0.5,
    }  # fmt: skip
    lines = [line.split() for line in skeleton(Study)]
    assert ["share:", "0.5", "#", "of", "all", "images;", "a", "number", "from", "0", "to", "1"] in lines
    assert ["name:", "<required>", "#", "of", "the", "study"] in lines


PARAMS = {"model": "blog_cnn", "inputs": {"low": 0, "high": 1}, "training": {}, "recording": {"samples": 3}}


@pytest.mark.parametrize(
    ("command", "params", "sentence"),
    [
        (
            ["train", "--data", "x.h5", "--out", "out"],
            PARAMS | {"training": {"learning_rate": -1}},
            "training.learning_rate: found -1, expected a number greater than 0",
        ),
        (
            ["train", "--data", "x.h5", "--out", "out"],
            PARAMS | {"inputs": {"low": 2, "high": 1}},
            "inputs.low: found 2.0, expected a number less than high, which is 1.0",
        ),
        (
            ["homework-train", "--data", "x.h5", "--out", "out"],
            {"training": {"iterations": 0}, "checkpoints": {"iterations": [1, 2]}},
            "training.iterations: found 0, expected a whole number of at least 1",
        ),
        (
            ["vgg11-classify", "--model", "x", "--data", "x.h5", "--out", "out"],
            {"device": "gpu"},
            "device: found 'gpu', expected cpu, cuda, cuda:N or auto",
        ),
        (
            ["vgg11-explain", "--model", "x", "--data", "x.h5", "--out", "out"],
            {"explanations": {"top_k": 1}},
            "explanations.top_k: found 1, expected a number between 0 and 1",
        ),
        (
            ["vgg11-trial", "--data", "x.h5", "--out", "out", "--trial", "0"],
            PARAMS | {"sampler": "bayes", "space": {"seed": [1]}},
            "sampler: found 'bayes', expected grid or random",
        ),
        (
            ["vgg16-weights", "--raw", "x", "--out", "out"],
            {"sha256": "c4"},
            "weights.urls: is missing, expected a list",
        ),
        (
            ["vgg16-explain", "--model", "x", "--data", "x", "--maps", "x", "--predictions", "x", "--measures", "x"]
            + ["--metrics", "out"],
            {"flipping": {"fill": "grey"}},
            "explanations.flipping.fill: found 'grey', expected blur or mean",
        ),
        (
            ["rules-compare", "--recordings", "x", "--training", "x", "--out", "out"],
            {"threshold": 0},
            "outliers.threshold: found 0, expected a number greater than 0",
        ),
        (
            ["blog-outliers", "--dynamics", "x", "--samples", "x", "--out", "out", "--metrics", "m"],
            {"fwer": 1},
            "outliers.fwer: found 1, expected a number between 0 and 1",
        ),
        *(
            (
                ["figures", study, "--inputs", "x=.", "--out-dir", "out"],
                {"colour": 1},
                "figures: unknown key colour; the known keys are: ",
            )
            for study in ("blog", "rules", "homework", "vgg11", "vgg16")
        ),
    ],
)
def test_every_step_refuses_wrong_parameters_as_the_workflow_does(
    tmp_path, monkeypatch, capsys, command, params, sentence
):
    """Before it looks at its files, which are not there."""
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, "--params", json.dumps(params)]) == 2
    assert f"lrp-dynamics: error: {sentence}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
