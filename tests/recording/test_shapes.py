"""What is recorded of signals, volumes and tables: the same as of images, in maps of their own shape."""

import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, lrp, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.gather import SHARED, gather
from lrp_dynamics.recording.layout import chunk_of
from lrp_dynamics.recording.recovery import recover, validate

N, STEPS = 7, 20
HEADS = {
    "signal": lambda: [nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3)],
    "volume": lambda: [nn.Conv3d(2, 4, 3), nn.ReLU(), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(8, 3)],
    "table": lambda: [nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)],
    "image": lambda: [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)],
}
SHAPES = {"signal": (2, 12), "volume": (2, 4, 5, 6), "table": (5,), "image": (2, 5, 6)}
SHOWN = {
    "signal": "12 positions",
    "volume": "4×5×6 voxels",
    "table": "5 features",
    "image": "5×6 pixels",
}


def net(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*HEADS[kind]())


def data(kind, count=N):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *SHAPES[kind], generator=generator), torch.arange(count) % 3


def steps(model, recorder, after=lambda: None, first=0, last=STEPS):
    """Change the weights from step to step, each time in the same way."""
    for iteration in range(first, last):
        recorder.record(iteration, loss=0.5)
        after()
        generator = torch.Generator().manual_seed(iteration)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture(params=["signal", "volume", "table"])
def kind(request):
    return request.param


def test_the_file_holds_what_lrp_says_at_each_step(tmp_path, kind):
    """Every map, sum and scalar, against maps explained beside the recorder and worked on in float64."""
    model, (x, y), maps, logits = net(kind), data(kind), [], []

    def explain():
        explained = lrp.relevance(model.eval(), x, y)
        maps.append((explained.input if kind == "table" else explained.input.sum(1)).double().numpy())
        logits.append(explained.output.double().numpy())

    with Recorder(tmp_path / "r.h5", model, x, y, maps=4, batch=3) as recorder:
        steps(model, recorder, explain)
    exact, shape = np.stack(maps), SHAPES[kind] if kind == "table" else SHAPES[kind][1:]
    flat = exact.reshape(STEPS, N, -1)
    assert exact.shape == (STEPS, N, *shape)
    assert validate(tmp_path / "r.h5") == []
    with open_relevance(tmp_path / "r.h5") as recording:
        assert (recording.shape, recording.attrs["channel_reduction"]) == (shape, "none" if kind == "table" else "sum")
        np.testing.assert_array_equal(recording.sample("image"), x.numpy())
        size = np.abs(flat).max()
        np.testing.assert_allclose(recording.maps(), exact[:, :4], atol=2.0**-10 * size)
        np.testing.assert_array_equal(recording.maps(-1, 2), recording.maps()[-1, 2])
        np.testing.assert_allclose(recording.maps(3), recording.maps()[3], rtol=0)
        close = {"rtol": 1e-4, "atol": 1e-5 * size}
        change = np.abs(np.diff(exact, axis=0))
        np.testing.assert_allclose(recording.accumulated("dynamics"), change.sum(0), **close)
        np.testing.assert_allclose(recording.accumulated("mean"), exact.mean(0), **close)
        np.testing.assert_allclose(recording.accumulated("abs_sum"), np.abs(exact).sum(0), **close)
        total = np.abs(flat).sum(2, keepdims=True)
        shares = (flat / np.where(total > 0, total, 1)).reshape(exact.shape)
        normalized = np.abs(np.diff(shares, axis=0)).sum(0)
        np.testing.assert_allclose(recording.accumulated("dynamics_normalized"), normalized, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(recording.scalar("r_sum"), flat.sum(2), rtol=1e-4, atol=1e-4 * size)
        np.testing.assert_allclose(recording.scalar("r_abs_sum"), np.abs(flat).sum(2), rtol=1e-4)
        np.testing.assert_allclose(recording.scalar("r_max"), np.abs(flat).max(2), rtol=1e-4)
        divergence = np.abs(np.diff(flat, axis=0)).sum(2)
        np.testing.assert_allclose(recording.scalar("step_divergence")[1:], divergence, rtol=1e-3)
        own = np.take_along_axis(np.stack(logits), y.numpy()[None, :, None], 2)[..., 0]
        np.testing.assert_allclose(recording.scalar("logit"), own, rtol=1e-4, atol=1e-5)


def test_every_command_takes_them(tmp_path, kind, capsys):
    path, model = tmp_path / "r.h5", net(kind)
    with Recorder(path, model, *data(kind), maps=5) as recorder:
        steps(model, recorder)
    out, table = tmp_path / "dynamics.h5", tmp_path / "samples.csv"
    assert cli.main(["dynamics", "--relevance", str(path), "--out", str(out), "--samples", str(table)]) == 0
    with open_relevance(path) as recording, h5py.File(out) as file:
        assert file["dynamics"].shape == (N, *recording.shape)
        maps = recording.maps().astype(np.float64).reshape(STEPS, 5, -1)
        for name in ("dynamics", "mean_relevance", "std_relevance"):
            assert np.isfinite(file[name]).all()
    rows = read_csv(table)
    again = np.abs(np.diff(maps, axis=0)).sum((0, 2))
    np.testing.assert_allclose(rows["divergence"][:5], again, rtol=0.02)
    with np.errstate(invalid="ignore"):  # of maps of zeros, which have no correlation
        steps_of = [[np.corrcoef(*maps[t : t + 2, n])[0, 1] for t in range(STEPS - 1)] for n in range(5)]
    oracle = np.nanmedian(steps_of, axis=1)
    np.testing.assert_allclose(rows["successive_correlation"][:5], oracle, rtol=1e-6)
    assert cli.main(["info", str(path)]) == 0
    assert f"maps of 5, {SHOWN[kind]}" in capsys.readouterr().out
    assert cli.main(["validate", str(path)]) == 0
    assert cli.main(["export", str(path), "--npz", str(tmp_path / "r.npz")]) == 0
    with np.load(tmp_path / "r.npz") as arrays:
        assert arrays["relevance"].shape[0] == STEPS
        np.testing.assert_array_equal(arrays["samples/image"], data(kind)[0].numpy())


@pytest.mark.parametrize("live", [False, True])
def test_going_on_after_a_crash_gives_the_same_bytes(tmp_path, kind, live):
    whole, model = tmp_path / "whole.h5", net(kind)
    with Recorder(whole, model, *data(kind), live=live) as recorder:
        steps(model, recorder)
    path, model = tmp_path / "r.h5", net(kind)
    recorder = Recorder(path, model, *data(kind), live=live)
    steps(model, recorder, last=7)
    state, weights = recorder.state(), {name: value.clone() for name, value in model.state_dict().items()}
    steps(model, recorder, first=7, last=18)
    recorder.close(complete=False)
    assert recover(path) == 18
    model.load_state_dict(weights)
    with Recorder(path, model, *data(kind), resume=state, live=live) as recorder:
        steps(model, recorder, first=7)
    assert sha256(path) == sha256(whole)


def test_details_have_the_shape_of_the_samples(tmp_path, kind):
    (x, y), shape = data(kind), SHAPES[kind] if kind == "table" else SHAPES[kind][1:]
    image, mask = np.full(x.shape, 0.5), np.ones((N, *shape), bool)
    with Recorder(tmp_path / "r.h5", net(kind), x, y, details={"image": image, "mask": mask}) as recorder:
        recorder.record(0)
    with open_relevance(tmp_path / "r.h5") as recording:
        np.testing.assert_array_equal(recording.sample("image"), image)
        np.testing.assert_array_equal(recording.sample("mask"), mask)
    for name, value in {"image": image * np.nan, "mask": np.ones((N, 3))}.items():
        with pytest.raises(UserError, match=rf"details\['{name}'\] has"):
            Recorder(tmp_path / "other.h5", net(kind), x, y, details={name: value})


@pytest.mark.parametrize("targets", ["predicted", "mask", "floats"])
def test_shards_join_to_the_bytes_of_one_recording(tmp_path, kind, targets):
    """Whatever is explained: predicted classes, which each shard finds for its own samples, or parts of the output."""
    weights = torch.arange(3.0 * N).reshape(N, 3)
    join(tmp_path, kind, {"mask": weights % 2 == 0, "floats": weights}.get(targets, targets))


@pytest.mark.parametrize("other", [1, 5])
def test_shards_join_where_one_of_them_explains_its_labels(tmp_path, other):
    """And the other a class that is not the label of one sample."""
    label = np.zeros(N, int)
    label[other] = 2
    join(tmp_path, "table", torch.zeros(N, dtype=torch.long), label)


def join(tmp_path, kind, targets, label=None):
    x, _ = data(kind)
    attributes = {"params_json": json.dumps({"recording": {"samples": N}})}
    for name, rows in (("all", slice(None)), ("1", slice(4)), ("2", slice(4, None))):
        model, folder = net(kind), tmp_path / name
        folder.mkdir()
        details, own = {"index": np.arange(N)[rows]}, targets if isinstance(targets, str) else targets[rows]
        details |= {} if label is None else {"label": label[rows]}
        options = {"details": details, "attributes": attributes, "batch": 2, "maps": {"all": 5, "1": 4, "2": 1}[name]}
        with Recorder(folder / "relevance.h5", model, x[rows], own, **options) as recorder:
            steps(model, recorder)
        for file in (*SHARED, "provenance.json"):
            (folder / file).write_text("{}")
    gather([tmp_path / "1", tmp_path / "2"], tmp_path / "joined")
    assert sha256(tmp_path / "joined/relevance.h5") == sha256(tmp_path / "all/relevance.h5")


@pytest.mark.parametrize(
    ("maps", "shape", "chunk"),
    [
        (100, (32, 32), (16, 10, 32, 32)),
        (3, (700, 900), (16, 3, 700, 900)),
        (100, (5,), (16, 10, 5)),
        (100, (10**9,), (16, 1, 2**18)),
        (100, (64, 64, 64), (16, 1, 64, 64, 64)),
        (100, (512, 512, 512), (16, 1, 1, 512, 512)),
    ],
)
def test_a_chunk_of_maps_is_never_too_large_for_hdf5(maps, shape, chunk):
    """Chunks of images are as they were; of larger maps they hold fewer samples, slices, or positions."""
    assert chunk_of(maps, shape) == chunk


def test_a_recording_of_a_long_signal_can_be_made(tmp_path):
    """In chunks of sections, so that none needs to be read whole."""
    model = nn.Sequential(nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(2, 2))
    with Recorder(tmp_path / "r.h5", model, torch.rand(1, 1, 2**20), [1], maps=1) as recorder:
        recorder.record(0)
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.maps(0, 0).shape == (2**20,)
        assert recording.file["relevance/map"].chunks == (16, 1, 2**18)


def test_images_are_stored_as_they_were(tmp_path):
    """As bytes, and without a dataset that only other targets need."""
    with Recorder(tmp_path / "r.h5", net("image"), *data("image")) as recorder:
        recorder.record(0)
    with h5py.File(tmp_path / "r.h5") as file:
        assert sorted(file["samples"]) == ["image", "index", "label", "label_clean", "split"]
        assert (file["samples/image"].dtype, file["samples/image"].shape) == (np.uint8, (N, 2, 5, 6))
        assert file["relevance/map"].chunks == (16, 7, 5, 6)
