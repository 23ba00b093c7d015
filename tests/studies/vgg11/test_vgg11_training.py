"""Training with validation, early stopping, augmentation and mixed precision."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from waiting import wait_until

from lrp_dynamics import models
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import canonical_json, sha256
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.models import trained
from lrp_dynamics.training import run as experiment
from lrp_dynamics.training.augmentation import Augmentation
from lrp_dynamics.training.data import Data
from lrp_dynamics.training.loop import Images, Settings, accuracy, train
from lrp_dynamics.training.losses import LOSSES
from lrp_dynamics.training.validation import Validation, divide

PARAMS = {
    "model": "vgg11_bn_narrow",
    "inputs": {"low": -1.0, "high": 1.0},
    "training": {"epochs": 3, "batch_size": 20, "optimizer": "adam", "learning_rate": 0.001, "threads": 1},
    "validation": {"share": 0.2, "seed": 0, "every": 0.5, "patience": None},
    "seed": 7,
}
FILES = ["model.safetensors", "training.csv", "training.json", "validation.csv"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "shapes10.h5"
    options = {"title": "shapes10 (synthetic)", "preset": "easy", "n_train": 200, "n_test": 40}
    prepared.write(path, shapes10.prepare("shapes10", options, path.parent))
    return path


def run(data, folder, params=PARAMS, **training):
    params = params | {"training": params["training"] | training}
    experiment.run_training(data, params, folder / "run", cache=folder / "cache", record=False)
    return folder / "run"


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    return run(data, tmp_path_factory.mktemp("finished"))


def images_of(data, index) -> Images:
    return Data.read(data, PARAMS["inputs"], torch.device("cpu")).images(index)


# Validation -----------------------------------------------------------------------------------------------------------


def test_images_are_divided_by_their_own_seed():
    index = np.arange(100, 200)
    kept, held_out = divide(index, PARAMS["validation"])
    assert len(held_out) == 20
    assert sorted([*kept, *held_out]) == index.tolist()
    again, other = (divide(index, PARAMS["validation"] | {"seed": seed})[1] for seed in (0, 1))
    assert held_out.tolist() == again.tolist() != other.tolist()
    with pytest.raises(UserError, match="leaves none of 2 images"):
        divide(np.arange(2), PARAMS["validation"])
    with pytest.raises(UserError, match=r"validation.share: found 1.5, expected a number between 0 and 1"):
        divide(index, PARAMS["validation"] | {"share": 1.5})


def test_the_network_is_measured_at_intervals_and_ends_with_its_best_weights(finished, data):
    table = read_csv(finished / "validation.csv")
    summary = json.loads((finished / "training.json").read_text(encoding="utf-8"))
    assert table["iteration"].tolist() == [0, 4, 8, 12, 16, 20, 24]
    assert table["epoch"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    best = max(range(7), key=lambda row: (table["accuracy"][row], -table["loss"][row]))
    assert table["best"].tolist() == [int(row == best) for row in range(7)]
    assert summary["best_step"] == table["iteration"][best]
    assert summary["validation_accuracy"] == pytest.approx(table["accuracy"][best])
    assert (summary["train_images"], summary["validation_images"], summary["steps"]) == (160, 40, 24)
    train_index = np.flatnonzero(prepared.read(data).split == prepared.TRAIN)
    held_out = images_of(data, divide(train_index, PARAMS["validation"])[1])
    network = trained.load(str(finished / "model.safetensors"))
    assert accuracy(network.model, held_out) == pytest.approx(summary["validation_accuracy"])
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network.model(held_out.inputs(slice(None))), held_out.labels).item()
    assert loss == pytest.approx(summary["validation_loss"], rel=1e-5)


class Frozen(nn.Module):
    """Answers class `answer` whatever the image, until told otherwise; one weight says which state it is in."""

    def __init__(self):
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return nn.functional.one_hot(self.answer.detach().long().expand(len(x)), 4).float() + 0 * self.answer


def validated(accuracies, patience, tmp_path, every=1.0):
    """Feed a validation networks of these accuracies, one an epoch; return it and the network."""
    labels = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2, 2, 2])
    by_accuracy = {0.1: 0, 0.2: 1, 0.7: 2, 0.0: 3}
    model, validation = Frozen(), None
    images = Images(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), labels)
    validation = Validation(tmp_path, model, images, LOSSES["cross_entropy"], every=every, patience=patience)
    for epoch, value in enumerate(accuracies):
        with torch.no_grad():
            model.answer.fill_(by_accuracy[value])
        validation.record(10 * epoch, epoch=float(epoch), loss=0.0, lr=0.1)
        if validation.stopped:
            break
    return validation, model


@pytest.mark.parametrize(("patience", "seen", "best"), [(1, 3, 1), (2, 4, 1), (3, 7, 5), (4, 7, 5), (None, 7, 5)])
def test_patience(tmp_path, patience, seen, best):
    validation, model = validated([0.1, 0.2, 0.0, 0.2, 0.1, 0.7, 0.1], patience, tmp_path)
    if patience == 3:  # the best before was measurement 1; the third without a better one is measurement 4
        seen, best = 5, 1
    assert len(validation.rows) == seen
    assert validation.best == best
    assert validation.stopped == (seen < 7)
    model.answer.data.fill_(3)
    validation.close()
    assert model.answer.item() == {1: 1, 5: 2}[best]


def test_an_interrupted_validation_changes_nothing(tmp_path):
    validation, model = validated([0.2, 0.1], 5, tmp_path)
    validation.close(complete=False)
    assert model.answer.item() == 0
    assert not list(tmp_path.iterdir())


def test_the_last_network_is_measured_in_any_case(tmp_path):
    validation, model = validated([0.1, 0.2, 0.7], None, tmp_path, every=2.0)
    assert [row[0] for row in validation.rows] == [0, 20]
    model.answer.data.fill_(1)
    validation.record(30, epoch=3.0)
    validation.close()
    assert read_csv(tmp_path / "validation.csv")["iteration"].tolist() == [0, 20, 30]
    assert model.answer.item() == 2


def test_training_stops_early(data, tmp_path):
    """With a learning rate that makes nothing better, the training ends when its patience does."""
    params = PARAMS | {"validation": PARAMS["validation"] | {"patience": 2}}
    out = run(data, tmp_path, params, epochs=20, optimizer="sgd", learning_rate=1e-12)
    summary = json.loads((out / "training.json").read_text(encoding="utf-8"))
    rows = len(read_csv(out / "validation.csv")["iteration"])
    assert summary["stopped_early"]
    assert summary["steps"] == 4 * (rows - 1) < 160
    assert len(read_csv(out / "training.csv")["iteration"]) == summary["steps"]
    assert rows - 1 - summary["best_step"] / 4 == 2


# The training as a whole ----------------------------------------------------------------------------------------------


def test_same_parameters_same_bytes(finished, data, tmp_path):
    again = run(data, tmp_path)
    for name in FILES:
        assert sha256(again / name) == sha256(finished / name), name


def test_weights_read_back_give_the_same_logits(finished, data):
    """What the network said about the images held out, it says again after it was saved and loaded."""
    network, other = (trained.load(str(finished / "model.safetensors")).model for _ in range(2))
    x = images_of(data, prepared.TEST).inputs(slice(None))
    with torch.no_grad():
        assert torch.equal(network(x), other(x))
    model = models.build("vgg11_bn_narrow", n_classes=10, seed=7)
    images = images_of(data, prepared.TRAIN)
    train(model, images, Settings(epochs=1, batch_size=20), seed=0, progress=False)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    from safetensors.torch import load, save

    copy = models.build("vgg11_bn_narrow", n_classes=10, seed=1)
    copy.load_state_dict(load(save(weights)))
    with torch.no_grad():  # in another layout, whose kernels may round otherwise
        torch.testing.assert_close(
            copy.double().eval()(x.double()), model.double().eval()(x.double()), rtol=0, atol=1e-12
        )


@pytest.mark.long
def test_killed_training_goes_on_to_the_same_result(finished, data, tmp_path):
    params = {key: value for key, value in PARAMS.items() if key != "seed"}
    command = [sys.executable, "-m", "lrp_dynamics.commands.cli", "train", "--no-record", "--data", data, "--seed", "7"]
    command += ["--params", canonical_json(params), "--out", tmp_path / "run", "--cache", tmp_path / "cache"]
    command = list(map(str, command))
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_until(lambda: list(tmp_path.glob("cache/*/checkpoint.pt")) != [], process, pause=0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the training ended before it could be killed"
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "8/24" in again.stderr or "16/24" in again.stderr  # not from the start
    for name in FILES:
        assert sha256(tmp_path / "run" / name) == sha256(finished / name), name


def test_events_are_logged_for_tensorboard(data, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    experiment.run_training(data, PARAMS, out, cache=tmp_path / "cache", record=False, events=tmp_path / "events")
    (folder,) = (tmp_path / "events").iterdir()
    log = EventAccumulator(str(folder))
    log.Reload()
    table, steps = read_csv(out / "validation.csv"), read_csv(out / "training.csv")
    measured = {event.step: event.value for event in log.Scalars("validation/accuracy")}
    assert list(measured) == table["iteration"].tolist()
    np.testing.assert_allclose(list(measured.values()), table["accuracy"], rtol=1e-6)
    np.testing.assert_allclose([event.value for event in log.Scalars("training/loss")], steps["loss"], rtol=1e-6)
    assert not any("event" in path.name for path in out.iterdir())


def test_without_tensorboard_the_training_goes_on(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    experiment.run_training(
        data, PARAMS, tmp_path / "run", cache=tmp_path / "cache", record=False, events=tmp_path / "events"
    )
    assert "tensorboard is not installed" in capsys.readouterr().err
    assert (tmp_path / "run/model.safetensors").exists()


# Mixed precision ------------------------------------------------------------------------------------------------------


class Probe(nn.Module):
    """A linear layer that notes in what type it computes."""

    def __init__(self):
        super().__init__()
        self.linear, self.types = nn.Linear(4, 3), []

    def forward(self, x):
        y = self.linear(x.flatten(1))
        self.types.append(y.dtype)
        return y


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_step_is_computed_in_the_precision_asked_for(precision):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 1, 2, 2), dtype=torch.uint8, generator=generator)
    images = Images(pixels, (pixels[:, 0, 0, 0] > 128).long() + (pixels[:, 0, 1, 1] > 128).long())
    torch.manual_seed(0)
    model = Probe()
    log = train(
        model,
        images,
        Settings(epochs=40, batch_size=20, learning_rate=0.05, precision=precision),
        seed=0,
        progress=False,
    )
    assert set(model.types) == {getattr(torch, precision)}
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert log.column("loss")[-3:].mean() < 0.6 * log.column("loss")[:3].mean()


def test_float16_scales_the_loss_so_that_small_gradients_count():
    """A gradient of 2.5e-9 is zero in float16; scaled by 2^16 it is not."""

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 2, bias=False)
            nn.init.zeros_(self.linear.weight)

        def forward(self, x):
            return self.linear(x.flatten(1)) * 1e-6

    images = Images(torch.ones(2, 1, 1, 1, dtype=torch.uint8), torch.zeros(2, dtype=torch.long), 0, 2.55)
    moved = {}
    for precision in ("float32", "float16"):
        model = Tiny()
        settings = Settings(epochs=1, batch_size=2, optimizer="sgd", learning_rate=1.0, precision=precision)
        train(model, images, settings, seed=0, progress=False)
        moved[precision] = model.linear.weight[0].item()
    assert moved["float32"] > 0
    assert moved["float16"] == pytest.approx(moved["float32"], rel=0.1)


def test_steps_with_infinite_gradients_are_left_out():
    """The scale starts too large for this loss: the first steps are skipped, then the training learns."""
    images = Images(torch.full((2, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([0, 1]), 0, 200)
    torch.manual_seed(1)
    model = Probe()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = Settings(epochs=1, batch_size=2, optimizer="sgd", learning_rate=0.1, precision="float16")
    train(model, images, settings, seed=0, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    train(model, images, Settings(**{**vars(settings), "epochs": 30}), seed=0, progress=False)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_precision_is_checked():
    with pytest.raises(UserError, match="precision: found 'half', expected float32, bfloat16 or float16"):
        Settings(precision="half")


# Augmentation ---------------------------------------------------------------------------------------------------------

AFFINE = {"RandomAffine": {"degrees": 20, "translate": [0.2, 0.2], "scale": [0.8, 1.2]}}


def test_augmentation_depends_on_seed_and_step_alone_and_differs_between_images():
    pixels = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8).expand(4, -1, -1, -1)
    change = Augmentation(AFFINE)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = change(pixels, seed=1, step=2)
    assert torch.equal(state, torch.get_rng_state()), "the global random state was changed"
    torch.rand(10)
    assert torch.equal(first, change(pixels, seed=1, step=2))
    assert (first.dtype, first.shape) == (torch.uint8, (4, 3, 32, 32))
    assert not torch.equal(first, change(pixels, seed=1, step=3))
    assert not torch.equal(first, change(pixels, seed=2, step=2))
    assert not torch.equal(first[0], first[1])


def test_augmentation_is_that_of_torchvision():
    pixels = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    flipped = Augmentation({"RandomHorizontalFlip": {"p": 1.0}, "RandomVerticalFlip": {"p": 1.0}})(
        pixels, seed=0, step=0
    )
    assert torch.equal(flipped, pixels.flip(2, 3))


def test_augmented_training_is_reproducible_and_another_one(finished, data, tmp_path):
    runs = [run(data, tmp_path / name, augmentation=AFFINE) for name in ("a", "b")]
    assert sha256(runs[0] / "training.csv") == sha256(runs[1] / "training.csv")
    assert sha256(runs[0] / "training.csv") != sha256(finished / "training.csv")


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ({"RandomAfine": {}}, "training.augmentation: found 'RandomAfine', expected transforms of torchvision"),
        ({"functional": {}}, "training.augmentation: found 'functional', expected transforms"),
        (
            {"RandomAffine": {"degree": 3}},
            r"training.augmentation.RandomAffine: torchvision does not take \{'degree': 3\}",
        ),
        ({"Resize": {"size": [8, 8]}}, r"images of \(3, 32, 32\) torch.uint8 became \(3, 8, 8\)"),
        ({"ToDtype": {"dtype": torch.float32}}, "became .* torch.float32; choose transforms that keep both"),
    ],
)
def test_augmentation_that_cannot_be(transforms, message):
    with pytest.raises(UserError, match=message):
        Augmentation(transforms)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), seed=0, step=0)


# The networks ---------------------------------------------------------------------------------------------------------


def test_vgg11_has_the_layers_of_torchvision():
    import torchvision

    for name, published in (("vgg11_32", "vgg11"), ("vgg11_bn_32", "vgg11_bn")):
        with torch.device("meta"):
            reference = torchvision.models.get_model(published)
        model = models.build(name, n_classes=10)
        shapes = [tuple(value.shape) for value in model.features.state_dict().values()]
        assert shapes == [tuple(value.shape) for value in reference.features.state_dict().values()]
        assert [m.out_features for m in model.classifier if isinstance(m, nn.Linear)] == [4096, 4096, 10]
    for name, divisor in (("vgg11_bn_half", 2), ("vgg11_bn_quarter", 4), ("vgg11_bn_narrow", 8)):
        model = models.build(name, n_classes=7, in_channels=1)
        assert model.features[0].out_channels == 64 // divisor
        assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
