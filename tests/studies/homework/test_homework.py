"""The homework: its network, its training with checkpoints, and explanations that conserve."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from geometry import watched
from matplotlib import rc_context
from synthetic import maps_of_a_walk, write_recording
from torch import nn
from torch.nn import functional as F

from lrp_dynamics import lrp, models, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.base.style import RC
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands import cli, figures, report
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.recording.recovery import validate
from lrp_dynamics.reports.material import material
from lrp_dynamics.studies.homework import explaining as homework
from lrp_dynamics.studies.homework.figures import accuracy
from lrp_dynamics.studies.homework.results import open_results
from lrp_dynamics.studies.homework.study import FIGURES
from lrp_dynamics.training import checkpoints
from lrp_dynamics.training import run as experiment
from lrp_dynamics.training.checkpoints import Checkpoints
from lrp_dynamics.training.loop import Images

PARAMS = {
    "model": "homework_cnn",
    "inputs": {"low": -1.0, "high": 1.0},
    "training": {"iterations": 24, "batch_size": 25, "learning_rate": 0.01, "threads": 1, "device": "cpu"},
    "checkpoints": {"iterations": [2, 10, 24], "test_images": 40},
    "explained": 30,
    "seed": 3,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "shapes10.h5"
    options = {"title": "shapes10 (synthetic)", "n_train": 200, "n_test": 50}
    prepared.write(path, shapes10.prepare("shapes10", options, path.parent))
    return path


def run(data, out):
    experiment.run_training(data, homework.training_params(PARAMS), out, cache=out / "cache", record=False)
    homework.run_explanations(data, out / "checkpoints.safetensors", out / "accuracy.csv", PARAMS, out)
    return out


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    return run(data, tmp_path_factory.mktemp("finished"))


def trained(path, moment) -> nn.Module:
    model = models.build("homework_cnn", n_classes=10, seed=0)
    model.load_state_dict(checkpoints.load(path / "checkpoints.safetensors", moment))
    return model.eval()


def test_images(data, index) -> torch.Tensor:
    return torch.from_numpy(prepared.read(data).images[index]).float() / 255 * 2 - 1


test_images.__test__ = False


def test_network_adds_up_windows_and_starts_without_evidence():
    model = models.build("homework_cnn", n_classes=10, seed=1)
    x = torch.randn(2, 3, 32, 32)
    assert [tuple(model[: i + 1](x).shape[1:]) for i in (2, 5, 8, 10)] == [(10, 14, 14), (50, 5, 5), (250, 1, 1), (10,)]
    assert torch.equal(model(x), torch.zeros(2, 10))
    assert model[2](torch.ones(1, 10, 4, 4)).unique().tolist() == [4]


def test_accuracies_are_those_of_the_stored_weights(finished, data):
    table, dataset = read_csv(finished / "accuracy.csv"), prepared.read(data)
    assert checkpoints.iterations_of(finished / "checkpoints.safetensors") == [2, 10, 24]
    assert table["iteration"].tolist() == [2, 10, 24]
    index = np.flatnonzero(dataset.split == prepared.TEST)[:40]
    for moment, expected in zip(table["iteration"], table["accuracy"], strict=True):
        with torch.no_grad():
            predicted = trained(finished, moment)(test_images(data, index)).argmax(1).numpy()
        assert (predicted == dataset.labels[index]).mean() == pytest.approx(expected, abs=1e-9)
    last = checkpoints.load(finished / "checkpoints.safetensors", 24)
    from safetensors.torch import load_file

    assert all(torch.equal(value, last[name]) for name, value in load_file(finished / "model.safetensors").items())


def test_training_is_plain_gradient_descent_on_the_published_loss(data, finished):
    """The first two steps, written out."""
    dataset, moment = prepared.read(data), 2
    model = models.build("homework_cnn", n_classes=10, seed=3)
    train_set = np.flatnonzero(dataset.split == prepared.TRAIN)
    images = Images(
        torch.from_numpy(dataset.images[train_set]), torch.from_numpy(dataset.labels[train_set]).long(), -1, 1
    )
    from lrp_dynamics.training.loop import batch_order

    order = batch_order(len(images), 3, 0)
    assert sorted(order.tolist()) == list(range(len(images)))
    for batch in order.split(25)[:moment]:
        model.zero_grad()
        y = model(images.inputs(batch))
        p = y.exp() / (1 + y.exp().sum(1, keepdim=True))
        (-p[range(25), images.labels[batch]].log().mean()).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.01 * parameter.grad
    stored = checkpoints.load(finished / "checkpoints.safetensors", moment)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(stored[name], value, rtol=1e-4, atol=1e-6)


def test_most_evidence_comes_first(finished, data):
    table, dataset = read_csv(finished / "evidence.csv"), prepared.read(data)
    with torch.no_grad():
        scores = trained(finished, 24).double()(test_images(data, table["index"]).double())
    own = scores.gather(1, torch.from_numpy(dataset.labels[table["index"]].astype(np.int64))[:, None])[:, 0].numpy()
    np.testing.assert_allclose(table["evidence"], own, atol=1e-4 * np.abs(own).max())
    assert (np.diff(table["evidence"]) <= 0).all()
    with open_relevance(finished / "deep_taylor/relevance.h5") as recording:
        np.testing.assert_array_equal(recording.sample("index"), table["index"][:30])
        np.testing.assert_array_equal(recording.step("iteration"), [2, 10, 24])


def deep_taylor_by_hand(model: nn.Sequential, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The recipe of the exercise in float64: propagate with the gradient of the clamped layers; z+ above, zB below."""
    model, activations = model.double(), [x.double()]
    for layer in model:
        activations.append(layer(activations[-1]).detach())
    y = activations[-1]
    relevance = F.one_hot(target, 10) * y.clamp(min=0)
    for layer, a in zip(reversed(model), reversed(activations[:-1]), strict=True):
        if isinstance(layer, nn.Flatten):
            relevance = relevance.reshape(a.shape)
        elif isinstance(layer, nn.Conv2d) and layer is model[0]:
            low, high = torch.full_like(a, -1), torch.full_like(a, 1)
            parts = [(a, layer.weight), (low, layer.weight.clamp(min=0)), (high, layer.weight.clamp(max=0))]
            leaves = [part.clone().requires_grad_() for part, _ in parts]
            z = sum(s * F.conv2d(v, w.detach()) for s, v, (_, w) in zip((1, -1, -1), leaves, parts, strict=True))
            gradients = torch.autograd.grad((z * (relevance / (z + 1e-9)).detach()).sum(), leaves)
            relevance = sum(part * g for (part, _), g in zip(parts, gradients, strict=True))
        elif isinstance(layer, (nn.Conv2d, nn.AvgPool2d)):
            leaf = a.clone().requires_grad_()
            z = (
                4 * F.avg_pool2d(leaf, 2)
                if isinstance(layer, nn.AvgPool2d)
                else F.conv2d(leaf, layer.weight.detach().clamp(min=0))
            )
            (gradient,) = torch.autograd.grad((z * (relevance / (z + 1e-9)).detach()).sum(), leaf)
            relevance = a * gradient
    return relevance.sum(1)


def test_deep_taylor_is_the_recipe_and_conserves(finished, data):
    with open_relevance(finished / "deep_taylor/relevance.h5") as recording:
        assert validate(recording.path) == []
        x, target = test_images(data, recording.sample("index")), torch.from_numpy(recording.sample("label")).long()
        evidence = np.maximum(recording.scalar("logit"), 0)
        np.testing.assert_allclose(recording.scalar("r_sum"), evidence, rtol=1e-5, atol=1e-6)
        assert (evidence > 0).any()
        assert (recording.scalar("logit") < 0).any()  # speaks against the class: nothing to explain
        assert (recording.maps() >= 0).all()
        for step, moment in enumerate((2, 10, 24)):
            expected = deep_taylor_by_hand(trained(finished, moment), x, target).numpy()
            np.testing.assert_allclose(recording.maps(step), expected, atol=1e-3 * max(expected.max(), 1e-9))


def test_sensitivity_is_the_squared_gradient(finished, data):
    with open_relevance(finished / "sensitivity/relevance.h5") as recording:
        x, target = test_images(data, recording.sample("index")), torch.from_numpy(recording.sample("label")).long()
        expected = lrp.sensitivity(trained(finished, 24), x, target).sum(1).numpy()
        np.testing.assert_allclose(recording.maps(-1), expected, atol=1e-3 * expected.max())


def test_metrics_say_what_the_files_say(finished):
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))
    table = read_csv(finished / "accuracy.csv")
    assert metrics["final_accuracy"] == metrics["accuracy_at_24"] == table["accuracy"][-1]
    assert metrics["deep_taylor_conservation_error_max"] < 1e-5 < metrics["sensitivity_conservation_error_max"]
    assert 0 < metrics["object_area_median"] < metrics["deep_taylor_mass_on_object_median"] < 1


def test_same_bytes_again(finished, data, tmp_path):
    again = run(data, tmp_path)
    names = ["checkpoints.safetensors", "accuracy.csv", "evidence.csv", "metrics.json"]
    for name in [*names, "deep_taylor/relevance.h5", "sensitivity/relevance.h5"]:
        assert sha256(again / name) == sha256(finished / name), name


def stage(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    module.run(parser.parse_args([str(word) for word in words]))


def test_the_legends_of_the_accuracy_figure_lie_above_curves_and_lines(finished):
    files = {name: finished / f"{name}.csv" for name in ("accuracy", "training", "evidence")}
    files |= {name: finished / name / "relevance.h5" for name in homework.METHODS}
    files |= {"published": material("homework", "published.json")}
    with rc_context(RC), open_results(files, {"samples": 3, "published": True}) as results:
        figure = accuracy(results)
        figure.draw_without_rendering()
        for axes in figure.axes:
            legend = axes.get_legend().get_window_extent()
            assert legend.y0 > axes.bbox.y1 - 1  # pixels
            assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1


@pytest.mark.parametrize("published", [True, False])
def test_report_draws_and_tells_the_results(finished, tmp_path, monkeypatch, published):
    params, literature = {"samples": 3, "published": published}, tmp_path / "published.json"
    literature.write_text('{"source": "somewhere", "accuracy": {"10": 0.25, "24": 0.5}}', encoding="utf-8")
    inputs = {name: finished / f"{name}.csv" for name in ("accuracy", "training", "evidence")}
    inputs |= {name: finished / name / "relevance.h5" for name in homework.METHODS} | {"published": literature}
    words = [*(f"{name}={path}" for name, path in inputs.items()), "--params", json.dumps(params)]
    with watched() as faults:
        stage(figures, "homework", "--inputs", *words, "--out-dir", tmp_path / "figures")
    assert faults == {}
    monkeypatch.chdir(tmp_path)
    names = {"metrics": "metrics.json", "accuracy": "accuracy.csv", "evidence": "evidence.csv"}
    inputs = {name: finished / file for name, file in names.items()}
    inputs |= {"recording": finished / "deep_taylor/relevance.h5", "published": literature, "figures": "figures"}
    words = [f"{name}={path}" for name, path in inputs.items()]
    notebook = ["homework", "--inputs", *words]
    told = json.dumps({"published": published, "batch_size": 24})
    stage(report, *notebook, "--params", told, "--ipynb", "report.ipynb", "--html", "report.html")
    html = Path("report.html").read_text(encoding="utf-8")
    assert html.count("<img") == len(FIGURES)
    assert ("published (literature)" in html) == published
    assert ("50.0 %" in html) == published
    assert "Deep Taylor conserves" in html
    assert "shapes10 (synthetic)" in html
    assert "minibatches of 24 images" in html


def test_checkpoints_survive_an_interruption(tmp_path):
    model = models.build("homework_cnn", n_classes=10, seed=0)
    test = Images(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 0, 0, 1]))
    first = Checkpoints(tmp_path, model, [1, 2], test)
    assert first.record(1, loss=0.5)
    state = first.state()
    first.close(complete=False)
    assert not list(tmp_path.iterdir())
    with torch.no_grad():
        model[0].weight.add_(1)
    second = Checkpoints(tmp_path, model, [1, 2], test, state)
    with pytest.raises(UserError, match="ended before iteration 2"):
        second.close()
    assert second.record(2)
    assert not second.record(3)
    second.close()
    one, two = (checkpoints.load(tmp_path / "checkpoints.safetensors", moment) for moment in (1, 2))
    torch.testing.assert_close(two["conv1.weight"], one["conv1.weight"] + 1)
    assert read_csv(tmp_path / "accuracy.csv")["accuracy"].tolist() == [0.75, 0.75]
    with pytest.raises(UserError, match="found no checkpoint of iteration 7"):
        checkpoints.load(tmp_path / "checkpoints.safetensors", 7)


def test_figures_of_images_refuse_recordings_of_signals(tmp_path, capsys):
    path = write_recording(tmp_path / "signals.h5", maps_of_a_walk(5, 3, shape=(40,)))
    inputs = [f"{name}={path}" for name in ("sensitivity", "deep_taylor")]
    assert cli.main(["figures", "homework", "--inputs", *inputs, "--out-dir", str(tmp_path / "figures")]) == 2
    assert "signals.h5: found maps of 40 positions, expected a recording of images" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()
