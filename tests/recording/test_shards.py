"""Shards of the samples, each with a training of its own, joined: byte for byte what one training records."""

import json
import shutil
import tempfile

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrp_dynamics import Recorder, models, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import canonical_json
from lrp_dynamics.commands import cli
from lrp_dynamics.recording import checksums
from lrp_dynamics.recording.gather import gather
from lrp_dynamics.recording.shards import rows_of
from lrp_dynamics.recording.store import SCALARS

PARAMS = {
    "model": "blog_cnn",
    "inputs": {"low": 0.0, "high": 1.0},
    "training": {"epochs": 1, "batch_size": 10, "learning_rate": 0.001, "max_steps": 20, "threads": 1},
    # The maps end within the second of two shards, and before the last of four.
    "recording": {"samples": 11, "split": "train", "seed": 3, "composite": "z_plus", "maps": 8, "batch_size": 3},
}
RESULTS = {"relevance.h5", "model.safetensors", "training.csv", "training.json", "provenance.json"}


def train(data, out, *options, shards=1, **training):
    recording = PARAMS["recording"] | {"shards": shards}
    params = PARAMS | {"recording": recording, "training": PARAMS["training"] | training}
    arguments = ["--data", data, "--params", canonical_json(params), "--out", out, "--cache", out / "cache", *options]
    assert cli.main(["train", *map(str, arguments)]) == 0
    shutil.rmtree(out / "cache")
    return out


def train_shards(data, folder, shards):
    return [train(data, folder / str(k), "--shard", f"{k}/{shards}", shards=shards) for k in range(1, shards + 1)]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def halves(data, tmp_path_factory):
    return train_shards(data, tmp_path_factory.mktemp("halves"), 2)


@pytest.fixture
def parts(halves, tmp_path):
    """The two shards, to do anything with."""
    return [shutil.copytree(half, tmp_path / half.name) for half in halves]


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_gathered_shards_are_the_bytes_of_one_training(data, whole, halves, tmp_path, shards):
    folders = halves if shards == 2 else train_shards(data, tmp_path, shards)
    assert cli.main(["gather", "--shards", *map(str, folders), "--out", str(tmp_path / "joined")]) == 0
    assert {path.name for path in (tmp_path / "joined").iterdir()} == RESULTS
    for name in RESULTS - {"provenance.json"}:
        assert (tmp_path / "joined" / name).read_bytes() == (whole / name).read_bytes(), name
    provenance = json.loads((tmp_path / "joined" / "provenance.json").read_text())
    assert len(provenance["shards"]) == shards
    with open_relevance(tmp_path / "joined" / "relevance.h5") as recording:
        assert (recording.samples, recording.map_samples, recording.steps) == (11, 8, 21)
        assert "shards" not in recording.attrs["params_json"]


def test_a_shard_records_its_own_samples(whole, halves):
    with open_relevance(whole / "relevance.h5") as all_of_them:
        for half, rows, maps in zip(halves, (slice(0, 6), slice(6, 11)), (6, 2), strict=True):
            with open_relevance(half / "relevance.h5") as recording:
                np.testing.assert_array_equal(recording.sample("index"), all_of_them.sample("index")[rows])
                np.testing.assert_array_equal(recording.scalar("logit"), all_of_them.scalar("logit")[:, rows])
                assert recording.map_samples == maps


@pytest.mark.parametrize(
    ("samples", "size", "shards", "lengths"),
    [
        (100, 50, 2, [50, 50]),
        (101, 50, 2, [50, 51]),
        (12, 5, 3, [5, 5, 2]),
        (7, 100, 1, [7]),
        (60, 10, 4, [10, 20] * 2),
    ],
)
def test_shards_are_whole_batches_of_all_samples(samples, size, shards, lengths):
    rows = [rows_of({"samples": samples, "batch_size": size}, k, shards) for k in range(1, shards + 1)]
    assert [len(range(samples)[part]) for part in rows] == lengths
    assert [i for part in rows for i in range(samples)[part]] == list(range(samples))
    assert all(part.start % size == 0 for part in rows)


def test_more_shards_than_batches_are_refused():
    message = "recording.shards: found 5, expected at most 4, the number of batches of 11 samples"
    with pytest.raises(UserError, match=message):
        rows_of(PARAMS["recording"], 1, 5)
    with pytest.raises(UserError, match="shard 3/2: expected a number from 1 to 2"):
        rows_of(PARAMS["recording"], 3, 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
def test_maps_do_not_depend_on_samples_of_other_batches(count, batch, seed):
    """Bit for bit, for any number of samples, and any content of the other batches."""
    generator = torch.Generator().manual_seed(seed)
    samples, targets = torch.rand(count, 3, 32, 32, generator=generator), torch.arange(count) % 10
    model, first = models.build("blog_cnn", n_classes=10, seed=seed), slice(0, min(batch, count))
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("all", slice(None)), ("some", first)):
            with Recorder(f"{folder}/{name}.h5", model, samples[rows], targets[rows], batch=batch) as recorder:
                recorder.record(0)
        with open_relevance(f"{folder}/all.h5") as everything, open_relevance(f"{folder}/some.h5") as some:
            np.testing.assert_array_equal(everything.accumulated("mean")[first], some.accumulated("mean"))
            for name in SCALARS:
                np.testing.assert_array_equal(everything.scalar(name)[:, first], some.scalar(name), err_msg=name)


# What cannot be joined ------------------------------------------------------------------------------------------------


def refused(parts, tmp_path, message):
    with pytest.raises(UserError, match=message):
        gather(parts, tmp_path / "joined")
    assert not list(tmp_path.glob("joined/*"))


def test_other_parameters_are_refused(data, parts, tmp_path):
    parts[1] = train(data, tmp_path / "other", "--shard", "2/2", learning_rate=0.002)
    refused(parts, tmp_path, r"other/relevance.h5: params_json is not that of .*1/relevance.h5")


def test_other_weights_are_refused(parts, tmp_path):
    """As from a cluster whose machines differ in the last bit."""
    weights = parts[1] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    refused(parts, tmp_path, r"2/model.safetensors differs from .*; run all shards on machines of one type")


def test_other_losses_are_refused(parts, tmp_path):
    with h5py.File(parts[1] / "relevance.h5", "r+") as file:
        file["steps/train_loss"][3] += 1
        del file["checksums"]
        checksums.add(file)
    checksums.seal(parts[1] / "relevance.h5")
    refused(parts, tmp_path, "its steps or losses are not those of")


def test_an_unfinished_shard_is_refused(parts, tmp_path):
    with h5py.File(parts[1] / "relevance.h5", "r+") as file:
        file.attrs["complete"] = False
    refused(parts, tmp_path, "2/relevance.h5: the recording is not complete")


@pytest.mark.parametrize("chosen", [[0], [1, 0], [0, 0], [0, 1, 1]])
def test_shards_missing_or_out_of_order_are_refused(parts, tmp_path, chosen):
    refused([parts[i] for i in chosen], tmp_path, "expected 11 different ones; give every shard once, in order")


def test_a_missing_file_is_named(parts, tmp_path, capsys):
    (parts[1] / "training.csv").unlink()
    assert cli.main(["gather", "--shards", *map(str, parts), "--out", str(tmp_path / "joined")]) == 2
    assert "2/training.csv" in capsys.readouterr().err


def test_no_such_shard_on_the_command_line(data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--data", str(data), "--params", "{}", "--out", str(tmp_path), "--shard", "2of4"])
    assert "expected two whole numbers such as 2/4" in capsys.readouterr().err
