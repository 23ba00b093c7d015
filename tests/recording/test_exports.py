"""Recordings go to other software, and maps of other software become recordings."""

import importlib.util
import sys

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.importing import import_maps
from lrp_dynamics.recording.recovery import validate

STEPS, N = 20, 5


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "relevance.h5"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = torch.rand(N, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    attributes = {"classes": ["cat", "dog & <b>", "über"], "dataset": "three"}
    with Recorder(path, model, x, y, attributes=attributes, maps=4) as recorder:
        for step in range(STEPS):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.record(step, loss=loss)
    return path


def export(recording, *options):
    assert cli.main(["export", str(recording), *map(str, options)]) == 0


def test_to_zarr_and_npz_alike(recording, tmp_path):
    import zarr

    export(recording, "--zarr", tmp_path / "r.zarr", "--npz", tmp_path / "r.npz", "--every", 3)
    group = zarr.open_group(tmp_path / "r.zarr", mode="r")
    with np.load(tmp_path / "r.npz") as arrays, open_relevance(recording) as file:
        assert set(arrays) == {f"{k}" for k, v in group.members(max_depth=None) if hasattr(v, "shape")}
        for name in arrays:
            np.testing.assert_array_equal(group[name][...], arrays[name])
        np.testing.assert_array_equal(group["relevance"][...], file.maps()[::3])
        np.testing.assert_array_equal(arrays["relevance_iteration"], file.step("iteration")[::3])
        assert group.attrs["classes"] == file.attrs["classes"]


def test_to_tensorboard(recording, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    export(recording, "--tensorboard", tmp_path / "logs", "--every", 5)
    log = EventAccumulator(str(tmp_path / "logs"), size_guidance={"images": 0, "scalars": 0}).Reload()
    assert len(log.Tags()["images"]) == 4
    assert [event.step for event in log.Images("sample 1: dog & <b>/relevance")] == [0, 5, 10, 15]
    with open_relevance(recording) as file:
        told = [event.value for event in log.Scalars("sample 1: dog & <b>/logit")]
        np.testing.assert_allclose(told, file.scalar("logit")[::5, 1])
        assert len(log.Scalars("steps/train_loss")) == STEPS


def test_to_a_table(recording, tmp_path):
    from pyarrow import parquet

    export(recording, "--table", tmp_path / "t.parquet")
    export(recording, "--table", tmp_path / "t.csv")
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.num_rows == N
    header, *rows = (tmp_path / "t.csv").read_text().splitlines()
    assert header.split(",") == table.column_names
    assert len(rows) == N
    assert cli.main(["export", str(recording), "--table", str(tmp_path / "t.xlsx")]) == 2


def virelay_model():
    """Return ViRelAy's own loader, where it is installed."""
    found = importlib.util.find_spec("virelay")
    if found is None:
        pytest.skip("ViRelAy is not installed")
    return importlib.import_module("virelay.model")


def test_to_virelay_as_its_own_loader_reads_it(recording, tmp_path):
    model = virelay_model()
    export(recording, "--virelay", tmp_path / "project", "--step", 7)
    project = model.Project(str(tmp_path / "project" / "project.yaml"))
    with open_relevance(recording) as file:
        for k in range(4):
            attribution = project.get_attribution(k)
            np.testing.assert_array_equal(attribution.data.sum(axis=2), file.maps(7, k))
            assert attribution.labels[0].name == file.class_name(k)
            assert attribution.prediction.argmax() == file.scalar("predicted")[7, k]
            assert attribution.render_heatmap("blue-white-red").shape == (8, 8, 3)
            np.testing.assert_array_equal(project.get_sample(k).data, file.image(k).transpose(1, 2, 0))
    (method,) = project.get_analysis_methods()
    categories = [category.name for category in project.get_analysis_categories(method)]
    assert categories == ["all samples"]
    assert set(project.get_analysis_clustering_names(method)) == {"label", "predicted"}
    assert set(project.get_analysis_embedding_names(method)) == {"maps", "dynamics"}
    analysis = project.get_analysis(method, "all samples", "label", "maps")
    assert analysis.embedding.shape[0] == 4
    project.close()


def test_a_folder_that_is_there_is_not_written_over(recording, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    for option in ("--virelay", "--zarr", "--tensorboard"):
        assert cli.main(["export", str(recording), option, str(tmp_path / "mine")]) == 2
        assert "exists already; name another folder" in capsys.readouterr().err
    assert cli.main(["export", str(recording), "--npz", str(tmp_path / "r.npz"), "--zarr", str(tmp_path / "mine")]) == 2
    assert not (tmp_path / "r.npz").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]
    assert cli.main(["export", str(recording)]) == 2
    assert "say what to write: --npz" in capsys.readouterr().err


def test_a_package_that_is_missing_is_named(recording, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert cli.main(["export", str(recording), "--zarr", str(tmp_path / "z")]) == 2
    assert "the package zarr is needed to write Zarr groups: pip install zarr" in capsys.readouterr().err


def test_maps_of_others_become_a_recording(recording, tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_relevance(recording) as file:
        maps, steps = file.maps(), file.step("iteration")
        labels, images = file.sample("label")[:4], np.stack([file.image(k) for k in range(4)])
        loss = file.step("train_loss")
    given = {"maps": maps, "iterations": steps * 10, "labels": labels, "images": images, "loss": loss}
    logits = np.random.default_rng(0).normal(size=(STEPS, 4, 3))
    for name, more in {"plain": {}, "whole": {"logits": logits}}.items():
        np.savez(tmp_path / f"{name}.npz", **given, **more)
        made = tmp_path / f"{name}.h5"
        told = ["--name", "theirs", "--dataset", "three", "--classes", "cat", "dog", "bird"]
        assert cli.main(["import", str(tmp_path / f"{name}.npz"), "--out", str(made), *told]) == 0
        assert f"{made}: {STEPS} steps, 4 samples, maps of 8×8 pixels (images)\n" in capsys.readouterr().out
        assert validate(made) == []
        with open_relevance(made) as file:
            assert file.tells_output == bool(more)
            assert file.attrs["model"] == "unknown"
            np.testing.assert_allclose(file.maps(), maps, atol=2**-10 * np.abs(maps).max())
            np.testing.assert_array_equal(file.step("iteration"), steps * 10)
            np.testing.assert_array_equal(file.sample("label"), labels)
            np.testing.assert_array_equal(file.sample("image"), images)
            names = ["cat", "dog", "bird", "cat"]  # by the labels, also where it is not known what is explained
            assert [file.class_name(k) for k in range(4)] == names
            assert file.attrs["composite"] == "theirs"
            if more:
                expected = logits[:, np.arange(4), labels]
                np.testing.assert_allclose(file.scalar("logit"), expected, rtol=1e-6)
            else:
                np.testing.assert_allclose(file.scalar("logit"), maps.sum((2, 3)), rtol=1e-4, atol=1e-6)
                assert np.isnan(file.scalar("margin")).all()
                assert (file.scalar("predicted") == -1).all()
        export(made, "--table", tmp_path / f"{name}.csv", "--virelay", tmp_path / f"{name}-virelay")
    with h5py.File(tmp_path / "plain-virelay" / "attributions.h5") as file:
        assert not file["prediction"][...].any()
    export(tmp_path / "plain.h5", "--tensorboard", tmp_path / "logs", "--every", 10)
    tags = EventAccumulator(str(tmp_path / "logs")).Reload().Tags()["scalars"]
    assert "sample 1: dog/r_sum" in tags
    assert not any("logit" in tag for tag in tags)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros(3)}, "found no `maps`, but other; expected a NumPy .npz file"),
        ({"maps": np.zeros((3, 2, 4, 4)), "label": np.zeros(2)}, "found label; expected"),
        ({"maps": np.zeros((3, 2))}, "maps: found float64 of shape (3, 2), expected real numbers (T, N, H, W)"),
        ({"maps": np.zeros((3, 2, 4, 4), complex)}, "maps: found complex128"),
        ({"maps": np.zeros((3, 2, 4, 4)), "labels": np.zeros(3, int)}, "labels: found shape (3,), expected (2,)"),
        (
            {"maps": np.zeros((3, 2, 4, 4)), "logits": np.zeros((3, 2))},
            "logits: found shape (3, 2), expected (3, 2, 2)",
        ),
        ({"maps": np.full((3, 2, 4, 4), np.nan)}, "maps: found values that are not finite in step 0"),
        ({"maps": np.zeros((2, 2, 4, 4)), "iterations": np.array([5, 5])}, "each greater than the one before"),
        (
            {"maps": np.zeros((3, 2, 4, 4)), "labels": np.array([0, 2])},
            "found 2 names and a sample of class 2; expected a name for each class from 0",
        ),
    ],
)
def test_arrays_that_are_no_maps_are_refused(arrays, message, tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **arrays)
    out = str(tmp_path / "r.h5")
    assert cli.main(["import", str(tmp_path / "a.npz"), "--out", out, "--classes", "cat", "dog"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r.h5").exists()


def test_a_file_that_is_no_npz_is_refused(tmp_path, capsys):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no")
    for name in ("a.npz", "none.npz"):
        assert cli.main(["import", str(tmp_path / name), "--out", str(tmp_path / "r.h5")]) == 2
        assert "expected a NumPy .npz file" in capsys.readouterr().err


def test_a_bare_array_is_taken_for_the_maps_and_told_how_it_is_read(tmp_path, capsys):
    np.save(tmp_path / "maps.npy", np.random.default_rng(0).normal(size=(3, 4, 6)))
    assert cli.main(["import", str(tmp_path / "maps.npy"), "--out", str(tmp_path / "r.h5")]) == 0
    assert "3 steps, 4 samples, maps of 6 positions (signals, of three axes" in capsys.readouterr().out
    with open_relevance(tmp_path / "r.h5") as file:
        assert file.maps().shape == (3, 4, 6)


def test_maps_with_logits_need_no_names_of_classes(tmp_path):
    maps, logits = np.ones((3, 2, 4, 4)), np.ones((3, 2, 3))
    np.savez(tmp_path / "m.npz", maps=maps, logits=logits, labels=np.array([0, 2]))
    assert cli.main(["import", str(tmp_path / "m.npz"), "--out", str(tmp_path / "r.h5")]) == 0
    assert validate(tmp_path / "r.h5") == []


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": np.array([0, 1, np.inf])},
        {"maps": np.full((3, 2, 4, 4), 1e39)},
        {"attributes": {"classes": None}},
    ],
    ids=["iterations", "maps", "classes"],
)
def test_what_cannot_be_imported_replaces_no_recording(tmp_path, change):
    given = {"maps": np.ones((3, 2, 4, 4)), "labels": np.array([0, 1])}
    import_maps(tmp_path / "r.h5", **given)
    before = (tmp_path / "r.h5").read_bytes()
    with pytest.raises(UserError):
        import_maps(tmp_path / "r.h5", **(given | change), overwrite=True)
    assert (tmp_path / "r.h5").read_bytes() == before
