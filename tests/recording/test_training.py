"""The train stage: same weights with and without recording, same bytes again, and nothing lost by a crash."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from waiting import wait_until

from lrp_dynamics import models, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import canonical_json, sha256
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.data import prepared
from lrp_dynamics.training import plans
from lrp_dynamics.training import run as experiment
from lrp_dynamics.training.device import prepare_device
from lrp_dynamics.training.loop import Images, Settings, batch_order, train

PARAMS = {
    "model": "blog_cnn",
    "inputs": {"low": 0.0, "high": 1.0},
    "training": {"epochs": 4, "batch_size": 20, "optimizer": "adam", "learning_rate": 0.001, "threads": 1},
    "recording": {"samples": 12, "split": "train", "seed": 3, "composite": "z_plus", "every": 1, "maps": 8},
    "seed": 7,
}


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    experiment.run_training(data, PARAMS, out / "run", cache=out / "cache")
    return out


def test_everything_is_there_and_the_cache_is_empty(finished, data):
    run = finished / "run"
    names = {"relevance.h5", "model.safetensors", "training.csv", "training.json", "provenance.json"}
    assert {path.name for path in run.iterdir()} == names
    assert not list((finished / "cache").iterdir())
    dataset = prepared.read(data)
    with open_relevance(run / "relevance.h5") as recording:
        assert recording.complete
        assert recording.steps == 41
        index = recording.sample("index")
        assert len(set(index)) == 12
        np.testing.assert_array_equal(recording.sample("image"), dataset.images[index])
        np.testing.assert_array_equal(recording.sample("mask"), dataset.mask[index])
        np.testing.assert_array_equal(recording.sample("label"), dataset.labels[index])
        np.testing.assert_array_equal(recording.sample("factors/contrast"), dataset.factors["contrast"][index])
        assert (dataset.split[index] == prepared.TRAIN).all()
        assert recording.attrs["dataset_title"] == "shapes10 (synthetic)"
        assert recording.attrs["dataset_sha256"] == sha256(data)
        assert json.loads(recording.attrs["params_json"]) == PARAMS
        assert {"conv1", "fc2"} <= json.loads(recording.attrs["composite_json"]).keys()
    table = read_csv(run / "training.csv")
    assert table["iteration"].tolist() == list(range(1, 41))
    assert table["loss"][-10:].mean() < table["loss"][:10].mean()


def test_samples_are_the_same_for_every_training_seed(data):
    dataset = prepared.read(data)
    first = plans.choose_samples(dataset, PARAMS["recording"])
    assert (first == plans.choose_samples(dataset, PARAMS["recording"])).all()
    assert (first != plans.choose_samples(dataset, PARAMS["recording"] | {"seed": 4})).any()


def test_weights_do_not_depend_on_recording(finished, data, tmp_path):
    experiment.run_training(data, PARAMS, tmp_path / "run", cache=tmp_path / "cache", record=False)
    assert not (tmp_path / "run" / "relevance.h5").exists()
    assert sha256(tmp_path / "run" / "model.safetensors") == sha256(finished / "run" / "model.safetensors")


def test_same_parameters_same_bytes_other_seed_other_weights(finished, data, tmp_path):
    experiment.run_training(data, PARAMS, tmp_path / "again", cache=tmp_path / "cache")
    for name in ("relevance.h5", "model.safetensors", "training.csv", "training.json"):
        assert sha256(tmp_path / "again" / name) == sha256(finished / "run" / name), name
    experiment.run_training(data, PARAMS | {"seed": 8}, tmp_path / "other", cache=tmp_path / "cache")
    assert sha256(tmp_path / "other" / "model.safetensors") != sha256(finished / "run" / "model.safetensors")


def test_killed_training_goes_on_to_the_same_result(finished, data, tmp_path):
    command = [sys.executable, "-m", "lrp_dynamics.commands.cli", "train", "--data", data, "--seed", "7"]
    params = {key: value for key, value in PARAMS.items() if key != "seed"}
    command += ["--params", canonical_json(params), "--out", tmp_path / "run", "--cache", tmp_path / "cache"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE)
    wait_until(lambda: list(tmp_path.glob("cache/*/checkpoint.pt")) != [], process, pause=0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the training ended before it could be killed"
    assert not any((tmp_path / "run").iterdir())
    again = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "10/40" in again.stderr or "20/40" in again.stderr or "30/40" in again.stderr  # not from the start
    for name in ("relevance.h5", "model.safetensors", "training.csv", "training.json"):
        assert sha256(tmp_path / "run" / name) == sha256(finished / "run" / name), name


def test_diverging_training_is_told(data, tmp_path):
    params = PARAMS | {"training": PARAMS["training"] | {"optimizer": "sgd", "learning_rate": 1e20}}
    with pytest.raises(UserError, match=r"diverged|not finite"):
        experiment.run_training(data, params, tmp_path / "run", cache=tmp_path / "cache")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "no_such"}, "model: found 'no_such', expected one of blog_cnn"),
        ({"training": {"epochs": "x"}}, "training.epochs: found 'x', expected a whole number of at least 1"),
        ({"training": {"learnig_rate": 1}}, "training: unknown key learnig_rate; the known keys are: epochs, "),
        ({"training": {"optimizer": "lamb"}}, "training.optimizer: found 'lamb', expected adam or sgd"),
        ({"training": {"batch_size": 500}}, "batch_size: found 500, expected at most 200"),
        ({"recording": PARAMS["recording"] | {"samples": 201}}, "found 201, but dataset 'shapes10' has 200 images"),
    ],
)
def test_bad_parameters(data, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        experiment.run_training(data, PARAMS | change, tmp_path / "run", cache=tmp_path / "cache")


def test_leftovers_of_a_crash_do_not_matter(finished, data, tmp_path, capsys):
    """A damaged checkpoint and half-written files: the training starts anew, and only results are handed over."""
    work = tmp_path / "cache" / experiment._key(PARAMS, sha256(data), True, (1, 1), str(tmp_path / "run"))
    work.mkdir(parents=True)
    (work / "checkpoint.pt").write_bytes(b"damaged")
    (work / ".checkpoint.99.part.pt").write_bytes(b"half")
    experiment.run_training(data, PARAMS, tmp_path / "run", cache=tmp_path / "cache")
    assert "starts anew" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "run").iterdir()} == {p.name for p in (finished / "run").iterdir()}
    assert sha256(tmp_path / "run/relevance.h5") == sha256(finished / "run/relevance.h5")


def test_images_that_the_network_cannot_take(tmp_path):
    count = 30
    small = prepared.Prepared(
        name="small",
        title="small",
        classes=("a", "b"),
        images=np.zeros((count, 1, 28, 28), np.uint8),
        labels=np.arange(count, dtype=np.int16) % 2,
        labels_clean=np.arange(count, dtype=np.int16) % 2,
        split=np.zeros(count, np.uint8),
    )
    prepared.write(tmp_path / "small.h5", small)
    with pytest.raises(UserError, match="'blog_cnn' cannot take the images of dataset 'small', 1×28×28"):
        experiment.run_training(tmp_path / "small.h5", PARAMS, tmp_path / "run", cache=tmp_path / "cache")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_cuda_is_told(data, tmp_path):
    params = PARAMS | {"training": {"device": "cuda"}}
    with pytest.raises(UserError, match="sees no CUDA device"):
        experiment.run_training(data, params, tmp_path / "run", cache=tmp_path / "cache")


def test_each_epoch_has_an_order_of_its_own():
    orders = [batch_order(50, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(map(tuple, orders))) == 4
    assert orders[0] == batch_order(50, 0, 0).tolist()


def test_max_steps_and_sgd():
    model = models.build("blog_cnn", n_classes=10, seed=1)
    images = Images(torch.randint(0, 256, (60, 3, 32, 32), dtype=torch.uint8), torch.arange(60) % 10)
    settings = Settings(epochs=9, batch_size=20, optimizer="sgd", learning_rate=0.01, max_steps=4)
    log = train(model, images, settings, seed=0, progress=False)
    assert log.column("iteration").tolist() == [1, 2, 3, 4]
    assert log.column("epoch")[-1] == pytest.approx(4 / 3)


def test_initial_weights_leave_the_global_random_state():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    models.build("blog_cnn", n_classes=10, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_scaled_inputs():
    images = Images(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1), torch.zeros(2), low=-1, high=1)
    assert images.inputs(slice(None)).flatten().tolist() == [-1.0, 1.0]


def test_nothing_reads_memory_before_it_is_written(finished, data, tmp_path, monkeypatch):
    """Here new memory is NaN."""

    def filling(training):
        device = prepare_device(training)
        torch.utils.deterministic.fill_uninitialized_memory = True
        assert torch.empty(3).isnan().all()
        return device

    monkeypatch.setattr(experiment, "prepare_device", filling)
    try:
        experiment.run_training(data, PARAMS, tmp_path / "run", cache=tmp_path / "cache")
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = False
    assert sha256(tmp_path / "run/model.safetensors") == sha256(finished / "run/model.safetensors")
    with open_relevance(tmp_path / "run/relevance.h5") as ours, open_relevance(finished / "run/relevance.h5") as theirs:
        np.testing.assert_array_equal(ours.maps(), theirs.maps())


def test_products_of_matrices_are_made_deterministic_unless_told_how(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert prepare_device({"threads": 1}) == torch.device("cpu")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    prepare_device({"threads": 1})
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
