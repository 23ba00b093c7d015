"""Several explanations of one training, recorded side by side; the gradient among them."""

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, lrp, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.recording.explainers import make_explainer
from lrp_dynamics.recording.recovery import validate
from lrp_dynamics.training import loop as training
from lrp_dynamics.training import run as experiment

PARAMS = {
    "model": "blog_cnn",
    "inputs": {"low": 0.0, "high": 1.0},
    "training": {"epochs": 2, "batch_size": 20, "optimizer": "adam", "learning_rate": 0.001, "threads": 1},
    "recording": {"samples": 6, "split": "train", "seed": 3, "every": 1, "maps": 4},
    "seed": 7,
}
COMPOSITES = {
    "z_plus": "z_plus",
    "lrp0": {"rules": {"*": {"rule": "epsilon", "epsilon": 0.0}}},
    "gradient_x_input": "gradient_x_input",
    "sensitivity": "sensitivity",
}


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(36, 3)
        return nn.Sequential(*layers).double()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, 1, 8, 8, generator=generator, dtype=torch.float64), torch.tensor([2, 0, 1])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "shapes10.h5"
    options = {"title": "shapes10 (synthetic)", "n_train": 100, "n_test": 20}
    prepared.write(path, shapes10.prepare("shapes10", options, path.parent))
    return path


def train(data, tmp_path, name, recording):
    params = PARAMS | {"recording": PARAMS["recording"] | recording}
    experiment.run_training(data, params, tmp_path / name, cache=tmp_path / "cache")
    return tmp_path / name


def test_each_of_several_is_as_if_recorded_alone(data, tmp_path):
    both = train(data, tmp_path, "both", {"composites": COMPOSITES})
    assert sorted(path.name for path in both.iterdir() if path.is_dir()) == sorted(COMPOSITES)
    assert not any((tmp_path / "cache").iterdir())
    for name in ("z_plus", "sensitivity"):
        alone = train(data, tmp_path, name, {"composite": name})
        assert sha256(alone / "model.safetensors") == sha256(both / "model.safetensors")
        with open_relevance(both / name / "relevance.h5") as a, open_relevance(alone / "relevance.h5") as b:
            np.testing.assert_array_equal(a.maps(), b.maps())
            np.testing.assert_array_equal(a.accumulated("dynamics"), b.accumulated("dynamics"))
    for name in COMPOSITES:
        assert validate(both / name / "relevance.h5") == []
        with open_relevance(both / name / "relevance.h5") as recording:
            assert recording.attrs["composite"] == name


def test_all_recorders_and_checkpoints_go_on_after_an_interruption(data, tmp_path, monkeypatch):
    params = PARAMS | {"recording": PARAMS["recording"] | {"composites": COMPOSITES}}
    params |= {"checkpoints": {"iterations": [2, 9], "test_images": 10}}
    experiment.run_training(data, params, tmp_path / "whole", cache=tmp_path / "cache")
    step, calls = training.Steps.__call__, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 8:  # in the second epoch of five steps
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(training.Steps, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment.run_training(data, params, tmp_path / "again", cache=tmp_path / "cache")
    assert not any((tmp_path / "again").rglob("*.*"))
    experiment.run_training(data, params, tmp_path / "again", cache=tmp_path / "cache")
    assert len(calls) == 8 + 5  # not from the start
    for name in COMPOSITES:
        with (
            open_relevance(tmp_path / "whole" / name / "relevance.h5") as a,
            open_relevance(tmp_path / "again" / name / "relevance.h5") as b,
        ):
            assert b.complete
            np.testing.assert_array_equal(a.maps(), b.maps())
            np.testing.assert_array_equal(a.accumulated("dynamics"), b.accumulated("dynamics"))
    for name in ("checkpoints.safetensors", "accuracy.csv", "model.safetensors"):
        assert sha256(tmp_path / "whole" / name) == sha256(tmp_path / "again" / name)


def test_gradient_times_input_is_lrp_0_of_a_relu_net(data, tmp_path):
    run = train(data, tmp_path, "run", {"composites": COMPOSITES})
    with (
        open_relevance(run / "lrp0/relevance.h5") as a,
        open_relevance(run / "gradient_x_input/relevance.h5") as b,
    ):
        np.testing.assert_allclose(a.maps(), b.maps(), atol=2e-3 * np.abs(b.maps()).max())
        np.testing.assert_allclose(a.scalar("r_sum"), b.scalar("r_sum"), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "form"), [("sensitivity", lambda g, x: g**2), ("gradient_x_input", lambda g, x: g * x)]
)
def test_gradient_against_finite_differences(name, form):
    model, (x, y) = net(), inputs()
    _, explain = make_explainer(model, name)
    result = explain(x, y)  # in training mode: dropout must not act
    model.eval()
    rows, width = torch.arange(3), 1e-6
    with torch.no_grad():
        for pixel in [(0, 0), (3, 5), (7, 2)]:
            up, down = x.clone(), x.clone()
            up[(rows, 0, *pixel)] += width
            down[(rows, 0, *pixel)] -= width
            slope = (model(up)[rows, y] - model(down)[rows, y]) / (2 * width)
            expected = form(slope, x[(rows, 0, *pixel)])
            torch.testing.assert_close(result.input[(rows, 0, *pixel)], expected, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(result.output, model(x))


def test_gradient_leaves_the_model_alone():
    model, (x, y) = net(), inputs()
    called = []
    model.register_forward_hook(lambda *_: called.append(1))
    before = torch.random.get_rng_state()
    _, explain = make_explainer(model, "sensitivity")
    first = explain(x, y).input
    assert model.training
    assert not called
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(before, torch.random.get_rng_state())
    with torch.no_grad():
        model[0].weight.mul_(2)
    assert not torch.equal(first, explain(x, y).input)  # weights are read anew


def test_any_callable_can_be_recorded(tmp_path):
    model, (x, y) = net(), inputs()

    def half(samples, targets):
        result = lrp.relevance(model.eval(), samples, targets)
        result.input = result.input / 2
        return result

    half.name = "half"
    with (
        Recorder(tmp_path / "a.h5", model, x, y) as whole,
        Recorder(tmp_path / "b.h5", model, x, y, composite=half) as b,
    ):
        whole.record(0)
        b.record(0)
    with open_relevance(tmp_path / "a.h5") as a, open_relevance(tmp_path / "b.h5") as b:
        np.testing.assert_allclose(a.maps() / 2, b.maps())
        assert b.attrs["composite"] == "half"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("magic", "composite: found 'magic', expected one of z_plus.*sensitivity"),
        ({"rule": "z_plus"}, "composite 'custom' has no rule for layer '0'"),
    ],
)
def test_unknown_composite(spec, message):
    with pytest.raises(UserError, match=message):
        make_explainer(net(), spec)[1](*inputs())
