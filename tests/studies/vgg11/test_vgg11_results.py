"""Testing and explaining a trained VGG-11, its figures and its report."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from geometry import watched

from lrp_dynamics import lrp, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands import cli, figures, report
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.measures.classification import class_table, classify, confusion_matrix, summary
from lrp_dynamics.models import trained
from lrp_dynamics.recording.recovery import validate
from lrp_dynamics.studies.vgg11 import explaining as vgg11
from lrp_dynamics.studies.vgg11.results import METHODS
from lrp_dynamics.studies.vgg11.study import FIGURES
from lrp_dynamics.training import run as experiment

CPU = torch.device("cpu")
VALIDATION = {"share": 0.2, "seed": 0, "every": 1, "patience": None}
TRAINING = {"epochs": 2, "batch_size": 20, "optimizer": "adam", "learning_rate": 0.001, "threads": 1, "device": "cpu"}
PARAMS = {
    "explanations": {"images": 12, "top_k": 0.1, "speed_images": 20, "batch_size": 8},
    "threads": 1,
    "device": "cpu",
    "seed": 0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "shapes10.h5"
    options = {"title": "shapes10 (synthetic)", "preset": "easy", "n_train": 200, "n_test": 50}
    prepared.write(path, shapes10.prepare("shapes10", options, path.parent))
    return path


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Results of the whole experiment but its figures and report."""
    out = tmp_path_factory.mktemp("finished")
    params = {"model": "vgg11_bn_narrow", "inputs": {"low": -1.0, "high": 1.0}, "seed": 0}
    params |= {"training": TRAINING, "validation": VALIDATION}
    experiment.run_training(data, params, out, cache=out / "cache", record=False)
    classify(trained.load(str(out / "model.safetensors")), prepared.read(data), CPU, out)
    vgg11.run_explanations(out / "model.safetensors", data, PARAMS, out)
    return out


# Test -----------------------------------------------------------------------------------------------------------------

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 0, 0, 1, 1])


def test_a_confusion_matrix_worked_by_hand():
    """Three classes; nothing is taken for the third, and the fourth does not occur."""
    confusion = confusion_matrix(LABELS, PREDICTED, 4)
    assert confusion.tolist() == [[3, 1, 0, 0], [1, 2, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0]]
    table = class_table(confusion, list("abcd"))
    assert table["class"].tolist() == list("abcd")
    assert table["images"].tolist() == [4, 3, 3, 0]
    assert table["predicted"].tolist() == [5, 5, 0, 0]
    np.testing.assert_allclose(table["precision"], [3 / 5, 2 / 5, np.nan, np.nan])
    np.testing.assert_allclose(table["recall"], [3 / 4, 2 / 3, 0, np.nan])
    np.testing.assert_allclose(table["f1"], [2 / 3, 1 / 2, 0, np.nan])
    numbers = summary(confusion, table)
    assert numbers["test_accuracy"] == 0.5
    assert (numbers["test_errors"], numbers["test_images"]) == (5, 10)
    assert numbers["macro_precision"] == pytest.approx(0.5)
    assert numbers["macro_recall"] == pytest.approx((3 / 4 + 2 / 3) / 3)
    assert numbers["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 3)


def test_the_numbers_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 6, 300), generator.integers(0, 6, 300)
    confusion = confusion_matrix(labels, predicted, 6)
    np.testing.assert_array_equal(confusion, metrics.confusion_matrix(labels, predicted))
    table = class_table(confusion, list("abcdef"))
    expected = metrics.precision_recall_fscore_support(labels, predicted)
    for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        np.testing.assert_allclose(table[name], values, err_msg=name)


def test_the_tables_are_those_of_the_network(finished, data):
    dataset = prepared.read(data)
    test = np.flatnonzero(dataset.split == prepared.TEST)
    network = trained.load(str(finished / "model.safetensors"))
    with torch.no_grad():
        x = torch.from_numpy(dataset.images[test]).double() / 127.5 - 1
        probability = network.model.double()(x).softmax(1).numpy()
    predicted, labels = probability.argmax(1), dataset.labels[test]
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test_accuracy"] == pytest.approx((predicted == labels).mean())
    table = read_csv(finished / "confusion.csv")
    assert table["class"].tolist() == list(dataset.classes)
    counts = np.stack([table[f"as_{name}"] for name in dataset.classes], 1)
    np.testing.assert_array_equal(counts, confusion_matrix(labels, predicted, 10))
    mistakes = read_csv(finished / "mistakes.csv")
    assert sorted(mistakes["index"]) == test[predicted != labels].tolist()
    assert (np.diff(mistakes["probability"]) <= 0).all()
    at = {index: row for row, index in enumerate(test)}
    for index, label, taken, value, own in zip(*mistakes.values(), strict=True):
        row = probability[at[index]]
        assert (label, taken) == (dataset.labels[index], row.argmax())
        assert (value, own) == (pytest.approx(row.max(), abs=1e-5), pytest.approx(row[label], abs=1e-5))


def test_a_network_of_another_dataset_is_refused(finished, data, tmp_path):
    other = shapes10.prepare("xor", {"n_train": 20, "n_test": 20, "labels": "xor", "title": "xor"}, tmp_path)
    with pytest.raises(UserError, match=r"for 10 classes .* but dataset 'xor' has 2 classes"):
        classify(trained.load(str(finished / "model.safetensors")), other, CPU, tmp_path)
    prepared.write(tmp_path / "xor.h5", other)
    with pytest.raises(UserError, match="dataset 'xor' has 2 classes"):
        vgg11.run_explanations(finished / "model.safetensors", tmp_path / "xor.h5", PARAMS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_test_images(finished, data, tmp_path):
    dataset = prepared.read(data)
    dataset.split[:] = prepared.TRAIN
    with pytest.raises(UserError, match="no test images to classify"):
        classify(trained.load(str(finished / "model.safetensors")), dataset, CPU, tmp_path)


# Explanations ---------------------------------------------------------------------------------------------------------


def test_maps_are_those_of_the_composites_and_the_filter_leaves_less(finished, data):
    dataset, network = prepared.read(data), trained.load(str(finished / "model.safetensors"))
    with open_relevance(finished / "all/relevance.h5") as every, open_relevance(finished / "top_k/relevance.h5") as top:
        index = every.sample("index")
        assert dataset.labels[index].tolist() == [*range(10), 0, 1]
        assert (dataset.split[index] == prepared.TEST).all()
        x = torch.from_numpy(dataset.images[index]) / 127.5 - 1
        for recording, share in ((every, 1.0), (top, 0.1)):
            assert validate(recording.path) == []
            spec = lrp.COMPOSITES["from_scratch"].describe() | {"top_k": share}
            expected = lrp.relevance(network.model, x, "predicted", spec).input.sum(1).numpy()
            np.testing.assert_allclose(recording.maps(0), expected, atol=1e-3 * expected.max())
            np.testing.assert_allclose(recording.scalar("initial"), 1, rtol=1e-5)  # the probabilities of all classes
        assert (top.scalar("r_sum") < 0.9 * every.scalar("r_sum")).all()
        assert ((top.maps(0) > 0).mean() < 0.5) & ((every.maps(0) > 0).mean() > 0.9)


def test_speed_is_beside_the_results_and_in_none_of_them(finished, data, tmp_path):
    speed = json.loads((finished / "speed.json").read_text(encoding="utf-8"))
    assert (speed["images"], speed["batch_size"], speed["threads"]) == (20, 8, 1)
    assert all(frames > 0 for frames in speed["frames_per_second"].values())
    vgg11.run_explanations(finished / "model.safetensors", data, PARAMS, tmp_path)
    for method in METHODS:
        assert sha256(tmp_path / method / "relevance.h5") == sha256(finished / method / "relevance.h5")


def test_frames_per_second_counts_every_image_but_the_first_batch(monkeypatch):
    batches, clock = [], iter([10.0, 14.0])
    monkeypatch.setattr(vgg11.time, "perf_counter", lambda: next(clock))
    speed = vgg11.frames_per_second(lambda x, target: batches.append(len(x)), torch.zeros(10, 1), 4)
    assert batches == [4, 4, 4, 2]
    assert speed == 10 / 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_k": 1.5}, ".top_k: found 1.5, expected a number between 0 and 1"),
        ({"image": 3}, ": unknown key image"),
        ({"images": 0}, ".images: found 0"),
    ],
)
def test_bad_parameters(finished, data, tmp_path, change, message):
    params = PARAMS | {"explanations": PARAMS["explanations"] | change}
    with pytest.raises(UserError, match=f"explanations{message}"):
        vgg11.run_explanations(finished / "model.safetensors", data, params, tmp_path)


# Figures and report ---------------------------------------------------------------------------------------------------


def stage(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    module.run(parser.parse_args([str(word) for word in words]))


def draw(finished, data, out):
    tables = ("training", "validation", "classes", "confusion", "mistakes")
    inputs = {name: finished / f"{name}.csv" for name in tables} | {"data": data}
    inputs |= {name: finished / name / "relevance.h5" for name in METHODS}
    words = [f"{name}={path}" for name, path in inputs.items()]
    stage(figures, "vgg11", "--inputs", *words, "--params", '{"images": 4}', "--out-dir", out)


def test_figures_and_report(finished, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with watched() as faults:
        draw(finished, data, "figures")
    assert faults == {}
    draw(finished, data, "again")
    files = sorted(path.name for path in Path("figures").iterdir())
    assert files == sorted(f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg"))
    for name in files:
        assert sha256(f"figures/{name}") == sha256(f"again/{name}"), name
    inputs = {"training": "training.json", "metrics": "metrics.json", "classes": "classes.csv", "speed": "speed.json"}
    inputs = {name: finished / file for name, file in inputs.items()}
    inputs |= {name: finished / name / "relevance.h5" for name in METHODS}
    words = [f"{name}={path}" for name, path in (inputs | {"figures": "figures"}).items()]
    training = TRAINING | {"precision": "float32", "augmentation": None}
    params = {"training": training, "validation": VALIDATION, "explanations": PARAMS["explanations"]}
    words = ["vgg11", "--params", json.dumps(params), "--inputs", *words]
    for name in ("one", "two"):
        stage(report, *words, "--ipynb", f"{name}/report.ipynb", "--html", f"{name}/report.html")
    assert Path("one/report.html").read_bytes() == Path("two/report.html").read_bytes()
    html = Path("one/report.html").read_text(encoding="utf-8")
    assert html.count("<img") == len(FIGURES)
    metrics = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))
    assert f"{metrics['test_accuracy']:.2%}".replace("%", " % of the test images are classified as labelled") in html
    assert "shapes10 (synthetic)" in html
    assert "These images come with masks" in html
    frames = json.loads((finished / "speed.json").read_text(encoding="utf-8"))["frames_per_second"]["all"]
    assert f"{frames:,.1f}</td>" in html


def test_perfect_predictions_can_be_drawn(finished, data, tmp_path):
    """A table of no mistakes has no rows."""
    (tmp_path / "results").mkdir()
    for path in finished.rglob("*"):
        if path.is_file() and path.name != "mistakes.csv":
            target = tmp_path / "results" / path.relative_to(finished)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    header = (finished / "mistakes.csv").read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "results/mistakes.csv").write_text(header + "\n", encoding="utf-8")
    draw(tmp_path / "results", data, tmp_path / "figures")
    assert (tmp_path / "figures/mistakes.png").exists()


def test_command_line(finished, data, tmp_path, capsys):
    words = ["--model", finished / "model.safetensors", "--data", data, "--params", '{"threads": 1}', "--out", tmp_path]
    assert cli.main(["vgg11-classify", *map(str, words)]) == 0
    assert "images misclassified" in capsys.readouterr().out
    for name in ("metrics.json", "classes.csv", "confusion.csv", "mistakes.csv"):
        assert sha256(tmp_path / name) == sha256(finished / name)
    words[1] = tmp_path / "nothing.safetensors"
    assert cli.main(["vgg11-classify", *map(str, words)]) == 2
    assert "expected a .safetensors file of the pipeline" in capsys.readouterr().err
