"""`lrp-dynamics info | validate | recover | export` on real recordings."""

import shlex

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.commands import cli


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "relevance.h5"
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    with Recorder(path, model, torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])) as recorder:
        for iteration in range(20):
            recorder.record(iteration)
    return path


def test_info(recording, capsys):
    assert cli.main(["info", str(recording)]) == 0
    out = capsys.readouterr().out
    assert "complete" in out
    assert "steps      20" in out
    assert "z_plus" in out


def test_validate(recording, capsys):
    assert cli.main(["validate", str(recording)]) == 0
    import h5py

    with h5py.File(recording, "r+") as file:
        file.attrs["complete"] = False
        file["scalars/logit"][3, 1] = np.nan
    assert cli.main(["validate", str(recording)]) == 2
    error = capsys.readouterr().err
    assert "not complete" in error
    assert f"`lrp-dynamics recover {shlex.quote(str(recording))}` cuts it to its whole steps" in error
    assert cli.main(["info", str(recording)]) == 0
    assert "`lrp-dynamics recover " in capsys.readouterr().out
    assert "/scalars/logit has values that are not finite" in error


def test_export(recording, tmp_path):
    assert cli.main(["export", str(recording), "--npz", str(tmp_path / "out.npz"), "--every", "5"]) == 0
    with np.load(tmp_path / "out.npz") as arrays, open_relevance(recording) as file:
        np.testing.assert_array_equal(arrays["relevance"], file.maps()[::5])
        assert arrays["scalars/logit"].shape == (20, 4)


@pytest.mark.parametrize("every", ["0", "-2"])
def test_export_refuses_to_go_backwards(recording, tmp_path, capsys, every):
    assert cli.main(["export", str(recording), "--npz", str(tmp_path / "out.npz"), f"--every={every}"]) == 2
    assert f"--every is {every}; expected 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_export_writes_the_file_that_was_named(recording, tmp_path, capsys):
    before = {path.name for path in tmp_path.iterdir()}
    assert cli.main(["export", str(recording), "--npz", str(tmp_path / "maps")]) == 0
    assert {path.name for path in tmp_path.iterdir()} - before == {"maps"}
    with np.load(tmp_path / "maps") as arrays:
        assert "relevance" in arrays
    (tmp_path / "folder").mkdir()
    assert cli.main(["export", str(recording), "--npz", str(tmp_path / "folder")]) == 2
    assert "folder: found a folder, expected the name of a file" in capsys.readouterr().err


def test_export_takes_masks_and_factors_along(tmp_path):
    path = tmp_path / "relevance.h5"
    mask, contrast = np.arange(128, dtype=np.uint8).reshape(2, 8, 8), np.array([0.25, 0.75])
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    details = {"mask": mask, "factors": {"contrast": contrast}}
    with Recorder(path, model, torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), details=details) as recorder:
        for iteration in range(3):
            recorder.record(iteration)
    assert cli.main(["export", str(path), "--npz", str(tmp_path / "out.npz")]) == 0
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_array_equal(arrays["samples/mask"], mask)
        np.testing.assert_array_equal(arrays["samples/factors/contrast"], contrast)


@pytest.mark.parametrize("command", ["info", "validate", "recover"])
def test_not_a_recording(tmp_path, capsys, command):
    assert cli.main([command, str(tmp_path / "nothing.h5")]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "text.h5").write_text("hello")
    assert cli.main([command, str(tmp_path / "text.h5")]) == 2
    assert "HDF5 cannot open it" in capsys.readouterr().err


def test_help_of_every_command(capsys):
    for command in ("prepare", "train", "dynamics", "blog-outliers", "info", "validate", "recover", "export"):
        with pytest.raises(SystemExit) as stop:
            cli.main([command, "--help"])
        assert stop.value.code == 0
    assert "usage: lrp-dynamics" in capsys.readouterr().out
