"""Trainings of which nothing can come: a right result, or one sentence that says why not; never a traceback."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrp_dynamics.commands.cli import main
from lrp_dynamics.recording.store import open_relevance

TRAINING = {"batch_size": 2, "epochs": 2, "max_steps": 6, "threads": 1}
RECORDING = {"samples": 4, "maps": 4, "batch_size": 4}
FIGURES = "samples training_loss prediction_and_relevance step_changes conservation heatmaps heatmap_changes schematic"
FIGURES += " dynamics_maps differences divergence"


def fill(folder: Path, classes: int, each: int, equal: bool = False) -> None:
    generator = np.random.default_rng(0)
    for number in range(classes):
        (folder / str(number)).mkdir(parents=True)
        for i in range(each):
            pixels = np.full((32, 32, 3), 99) if equal else generator.integers(0, 255, (32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / str(number) / f"{i}.png")


def train(training=(), recording=(), model="blog_cnn") -> int:
    params = {"model": model, "inputs": {"low": 0, "high": 1}, "training": TRAINING | dict(training)}
    params |= {"recording": RECORDING | dict(recording), "seed": 0}
    return main(["train", "--data", "d.h5", "--params", json.dumps(params), "--out", "out"])


def tell() -> None:
    """Run all that comes after a training, to the report."""
    recording, tables = "out/relevance.h5", ["--training", "out/training.json"]
    assert main(["validate", recording]) == 0
    assert main(["dynamics", "--relevance", recording, "--out", "x.h5", "--samples", "s.csv"]) == 0
    outliers = ["blog-outliers", "--dynamics", "x.h5", "--samples", "s.csv", *tables, "--params", "{}"]
    assert main([*outliers, "--out", "o.csv", "--metrics", "m.json"]) == 0
    inputs = [f"relevance={recording}", "dynamics=x.h5", "samples=s.csv", "outliers=o.csv", "training=out/training.csv"]
    drawn = ["--params", "{}", "--figures", *FIGURES.split(), "--out-dir", "figures"]
    assert main(["figures", "blog", "--inputs", *inputs, *drawn]) == 0
    told = ["metrics=m.json", "outliers=o.csv", "dynamics=x.h5", "samples=s.csv", "figures=figures"]
    told += [f"relevance={recording}"]
    report = ["report", "blog", "--params", "{}", "--inputs", *told]
    assert main([*report, "--ipynb", "report.ipynb", "--html", "report.html"]) == 0
    page = re.sub(r"<style>.*?</style>|<[^>]*>", " ", Path("report.html").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"\b(nan|inf|None)\b", page), page


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(classes: int, each: int, **options) -> None:
        fill(tmp_path / "set", classes, each, **options)
        params = json.dumps({"kind": "folder", "path": str(tmp_path / "set"), "test_fraction": 0.2})
        assert main(["prepare", "--name", "d", "--params", params, "--raw", "raw", "--out", "d.h5"]) == 0

    return make


@pytest.mark.parametrize("steps", [1, 2, 6])
@pytest.mark.parametrize("rate", [1e4, 1e20, 1e38])
def test_a_training_that_diverges_is_told_of_whenever_it_does(folder, capsys, steps, rate):
    """In its last step, too, of which no later loss tells."""
    folder(3, 5)
    status = train({"learning_rate": rate, "max_steps": steps, "optimizer": "sgd"})
    error = capsys.readouterr().err.splitlines()[-1]
    if status == 2:
        assert "diverged: lower t" in error
        assert not Path("out").exists() or not list(Path("out").iterdir())
        return
    assert status == 0
    with open_relevance("out/relevance.h5") as recording:
        assert np.isfinite(recording.maps()).all()
        assert np.isfinite(recording.scalar("r_sum")).all()


def test_weights_that_the_last_step_ruins_are_told_of_without_a_recording_too(folder, capsys):
    folder(3, 5)
    params = {"model": "blog_cnn", "inputs": {"low": 0, "high": 1}}
    params["training"] = TRAINING | {"learning_rate": 1e38, "weight_decay": 1e38, "max_steps": 1, "optimizer": "sgd"}
    command = ["train", "--data", "d.h5", "--params", json.dumps(params), "--out", "out", "--no-record"]
    assert main(command) == 2
    assert "the weights are not finite at the end" in capsys.readouterr().err
    assert not Path("out").exists() or not list(Path("out").iterdir())


def test_a_network_that_is_dead_explains_nothing_and_is_told_of(folder):
    folder(3, 5)
    assert train({"learning_rate": 100.0, "optimizer": "adam"}) == 0
    tell()


def test_equal_images(folder):
    folder(3, 5, equal=True)
    assert train() == 0
    tell()


def test_one_class(folder, capsys):
    folder(1, 8)
    assert train() == 2
    assert "dataset 'd' has one class, so that nothing can be learned" in capsys.readouterr().err
    assert not Path("out").exists()


def test_one_image_a_class_and_one_at_a_time(folder):
    folder(4, 1)
    assert train({"batch_size": 1}) == 0
    tell()


def test_no_epochs(folder, capsys):
    folder(2, 4)
    assert train({"epochs": 0}) == 2
    assert "training.epochs: found 0, expected a whole number of at least 1" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_step_that_changes_nothing(folder):
    folder(2, 4)
    assert train({"learning_rate": 1e-45}) == 0
    tell()
