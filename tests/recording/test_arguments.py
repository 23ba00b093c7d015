"""What a recorder is given: checked and converted before any file is touched, and at once in `record`."""

import gc
import weakref

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, lrp, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.recovery import recover, validate

NAN = float("nan")


def arguments(outputs: int = 3, **change):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, outputs))
    return {"model": model, "samples": torch.rand(2, 1, 8, 8), "targets": torch.tensor([0, outputs - 1])} | change


def flat(samples: torch.Tensor, targets: torch.Tensor) -> lrp.Relevance:
    """Attribute, but without the axes of images."""
    nothing = torch.zeros(len(samples))
    return lrp.Relevance(samples.flatten(1) * 0, torch.zeros(len(samples), 3), nothing, nothing, {}, nothing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": "cat.png"}, "found a str for samples that does not hold numbers"),
        ({"samples": [[0.5], [0.5, 1.0]]}, "found a list for samples that does not hold numbers"),
        ({"samples": np.zeros((2, 1, 8, 8), int)}, "samples are torch.int64, expected floats"),
        ({"samples": torch.rand(2)}, r"samples of shape \(2,\), expected \(N, F\), \(N, C, L\), \(N, C, H, W\)"),
        ({"samples": torch.rand(2, 1, 0, 8)}, r"samples of shape \(2, 1, 0, 8\), expected"),
        ({"targets": ["cat", "dog"]}, "found a list for targets that does not hold numbers"),
        ({"targets": "label"}, "targets is 'label', expected class indices"),
        ({"targets": [[0], [1]]}, r"targets of shape \(2, 1\) and torch.int64, expected class indices of shape"),
        ({"targets": torch.full((2, 3), NAN)}, r"targets of shape \(2, 3\) and torch.float32, expected .* finite"),
        ({"targets": 0}, r"targets of shape \(\), expected one target a sample"),
        ({"samples": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)}, "samples are torch.uint8, expected floats"),
        (
            {"samples": torch.tensor([0, NAN]).repeat_interleave(64).view(2, 1, 8, 8)},
            "sample 1 has values that are not",
        ),
        ({"samples": torch.rand(2, 1, 9, 9)}, "."),
        ({"targets": torch.tensor([True, False])}, "targets are torch.bool"),
        ({"targets": torch.tensor([0.0, 1.0])}, "targets are torch.float32"),
        ({"targets": torch.tensor([0, -1])}, "found target -1"),
        ({"targets": torch.tensor([0, 3])}, "found target 3, but the network has 3 outputs"),
        ({"every": 1.0}, "every is 1.0, expected a whole number"),
        ({"every": True}, "every is True, expected a whole number"),
        ({"batch": 0}, "batch is 0, expected at least 1"),
        ({"attributes": {"classes": 3}}, "'classes'.* expected a list of names"),
        ({"attributes": {"classes": ["a", 1]}}, "'classes'.* expected a list of names"),
        ({"attributes": {"classes": "a, b"}}, "'classes'.* expected a list of names"),
        ({"attributes": {"params_json": {"a": 1}}}, "'params_json'.* expected text"),
        ({"attributes": {"seed": 2**70}}, "'seed'.* expected a whole number"),
        ({"attributes": {"model": "a\0b"}}, "'model'.* expected text"),
        ({"attributes": {"model": "\ud800"}}, "'model'.* expected text"),
        ({"attributes": {"seed": "0"}}, "'seed'.* is '0', expected a whole number"),
        ({"attributes": {"seed": 0.5}}, "'seed'.* is 0.5, expected a whole number"),
        ({"attributes": {"deterministic": 1}}, "'deterministic'.* is 1, expected True or False"),
        ({"attributes": {"dataset_title": 3}}, "'dataset_title'.* is 3, expected text"),
        ({"attributes": {"weather": "fine"}}, "the key 'weather', expected one of params_json"),
        ({"attributes": {"classes": ["a", "b"]}}, "has 2 names, but the network has 3 outputs"),
        ({"composite": "epsilon_plsu"}, "did you mean 'epsilon_plus'"),
        ({"details": {"labels": [0, 1]}}, "details has the key 'labels', expected one of index"),
        ({"attributes": {"seed": None}}, "'seed'. is None, expected a whole number"),
        ({"details": {"label": [0.5, 1]}}, r"details\['label'\] has values that are not whole numbers"),
        ({"details": {"label": [0, NAN]}}, r"details\['label'\] has values that are not whole numbers"),
        ({"details": {"split": [0, 256]}}, r"details\['split'\] has values from 0 to 256, expected 0 to 255"),
        ({"details": {"label": np.array([0, 2**63], np.uint64)}}, r"details\['label'\] has values from"),
        ({"details": {"image": np.full((2, 1, 8, 8), 0.5)}}, r"details\['image'\] has values that are not whole"),
        ({"details": {"mask": np.full((2, 8, 8), -1)}}, r"details\['mask'\] has values from -1 to -1"),
        ({"details": {"label": [[0], [1, 2]]}}, r"details\['label'\] has shape"),
        ({"details": {"factors": {"a/b": [0, 1]}}}, "has the name 'a/b'"),
        ({"details": {"factors": [0, 1]}}, r"details\['factors'\] is a list"),
        ({"composite": flat}, "maps of shape"),
        ({"composite": lambda samples, targets: object()}, "an object of type object, expected a tensor or an array"),
        ({"resume": "state.pt"}, "resume is not what `state"),
    ],
)
def test_refused_before_a_file_is_touched(tmp_path, change, message):
    with pytest.raises((UserError), match=message):
        Recorder(tmp_path / "r.h5", **arguments(**change))
    assert not any(tmp_path.iterdir())


def test_what_can_be_converted_is(tmp_path):
    """Lists, tensors and NumPy scalars are stored as what they mean."""
    details = {"label": torch.tensor([2, 1]), "mask": np.ones((2, 8, 8), bool), "factors": {"size": torch.rand(2)}}
    attributes = {"classes": ["a", "é", "c"], "seed": np.int64(3), "deterministic": np.True_, "model": "größer"}
    options = {"every": np.int32(2), "maps": np.uint8(1), "details": details, "attributes": attributes}
    with Recorder(tmp_path / "r.h5", **arguments(**options)) as recorder:
        recorder.record(np.int64(0))
        recorder.record(2)
    assert validate(tmp_path / "r.h5") == []
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.attrs["classes"] == ["a", "é", "c"]
        assert (recording.attrs["seed"], recording.attrs["model"]) == (3, "größer")
        assert recording.sample("label").tolist() == [2, 1]
        assert recording.sample("mask").min() == 1
        np.testing.assert_array_equal(recording.sample("factors/size"), details["factors"]["size"].numpy())
    with Recorder(tmp_path / "json.h5", **arguments(attributes={"classes": '["a", "b", "c"]'})) as recorder:
        recorder.record(0)
    with open_relevance(tmp_path / "json.h5") as recording:
        assert recording.attrs["classes"] == ["a", "b", "c"]


def test_the_usual_loss_is_taken_as_a_number(tmp_path):
    """A 0-d tensor in the graph of its step, which is not kept alive."""
    given, graphs = arguments(), []
    with Recorder(tmp_path / "r.h5", **given) as recorder:
        for iteration in range(20):
            loss = nn.functional.cross_entropy(given["model"](given["samples"]), given["targets"])
            graphs.append(weakref.ref(loss))
            assert recorder.record(iteration, loss=loss, lr=np.float32(0.5), epoch=torch.tensor([0.5])[0])
            expected = loss.item()
            del loss
        gc.collect()
        assert [graph() for graph in graphs] == [None] * 20
    with open_relevance(tmp_path / "r.h5") as recording:
        np.testing.assert_allclose(recording.step("train_loss"), expected, rtol=1e-6)
        assert (recording.step("learning_rate") == 0.5).all()


@pytest.mark.parametrize(
    ("iteration", "numbers", "message"),
    [
        (1.0, {}, "iteration is 1.0, expected a whole number"),
        (True, {}, "iteration is True, expected a whole number"),
        ("1", {}, "iteration is '1', expected a whole number"),
        (2**63, {}, "iteration is 9223372036854775808, expected at least"),
        (1, {"loss": "0.5"}, "loss is '0.5', expected one number"),
        (1, {"loss": None}, "loss is None, expected one number"),
        (1, {"loss": torch.zeros(3)}, r"loss is a Tensor of shape \(3,\), expected one number"),
        (1, {"lr": [0.1]}, r"lr is a list of shape \(1,\), expected one number"),
        (1, {"epoch": 1j}, "epoch is 1j, expected one number"),
    ],
)
def test_no_number_is_refused_at_once(tmp_path, iteration, numbers, message):
    """And the recording can go on."""
    with Recorder(tmp_path / "r.h5", **arguments()) as recorder:
        recorder.record(0)
        with pytest.raises(UserError, match=message):
            recorder.record(iteration, **numbers)
        assert recorder.record(1)
    assert validate(tmp_path / "r.h5") == []


# Outputs: one of them, and very many ----------------------------------------------------------------------------------


def record(path, given):
    with Recorder(path, **given) as recorder:
        for iteration in range(4):
            recorder.record(iteration, loss=0.5)
            with torch.no_grad():
                given["model"][0].weight.mul_(1.1)
    return path


def test_one_output_has_no_margin(tmp_path):
    path = record(tmp_path / "r.h5", arguments(1, targets=torch.tensor([0, 0])))
    assert validate(path) == []
    with open_relevance(path) as recording:
        assert np.isnan(recording.scalar("margin")).all()
        assert (recording.scalar("probability") == 1).all()
    stage = ["dynamics", "--relevance", path, "--out", tmp_path / "d.h5", "--samples", tmp_path / "s.csv"]
    assert cli.main([*map(str, stage)]) == 0


def test_a_margin_of_several_outputs_is_a_number(tmp_path):
    path = record(tmp_path / "r.h5", arguments())
    for rows in (slice(0, 1), slice(None)):
        with h5py.File(path, "r+") as file:
            file["scalars/margin"][rows] = np.nan
        assert validate(path)[-1] == "/scalars/margin has values that are not finite"


@pytest.mark.parametrize(
    ("outputs", "dtype"), [(32_768, "i2"), (32_769, "i4")], ids=["the last that fits", "the first that does not"]
)
def test_many_classes_neither_wrap_nor_saturate(tmp_path, outputs, dtype):
    given = arguments(outputs, attributes={"classes": [f"class {number}" for number in range(outputs)]})
    with torch.no_grad():
        given["model"][3].bias[-1] = 100
    path = record(tmp_path / "r.h5", given)
    for _ in range(2):
        with open_relevance(path) as recording:
            assert (recording.scalar("predicted") == outputs - 1).all()
            for name in ("label", "label_clean"):
                assert recording.sample(name).tolist() == [0, outputs - 1]
                assert recording.sample(name).dtype == dtype
            assert recording.scalar("predicted").dtype == dtype
            assert len(recording.attrs["classes"]) == outputs
        with h5py.File(path, "r+") as file:
            file.attrs["complete"] = False
        recover(path, mark_complete=True)
