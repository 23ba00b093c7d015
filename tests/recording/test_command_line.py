"""`lrp-dynamics info | validate | recover | export` on real recordings."""

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, cli, open_relevance


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
    assert "/scalars/logit has values that are not finite" in error


def test_export(recording, tmp_path):
    assert cli.main(["export", str(recording), "--npz", str(tmp_path / "out.npz"), "--every", "5"]) == 0
    with np.load(tmp_path / "out.npz") as arrays, open_relevance(recording) as file:
        np.testing.assert_array_equal(arrays["relevance"], file.maps()[::5])
        assert arrays["scalars/logit"].shape == (20, 4)


@pytest.mark.parametrize("command", ["info", "validate", "recover"])
def test_not_a_recording(tmp_path, capsys, command):
    assert cli.main([command, str(tmp_path / "nothing.h5")]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "text.h5").write_text("hello")
    assert cli.main([command, str(tmp_path / "text.h5")]) == 2
    assert "HDF5 cannot open it" in capsys.readouterr().err


def test_help_of_every_command(capsys):
    for command in ("prepare", "train", "dynamics", "outliers", "info", "validate", "recover", "export"):
        with pytest.raises(SystemExit) as stop:
            cli.main([command, "--help"])
        assert stop.value.code == 0
    assert "usage: lrp-dynamics" in capsys.readouterr().out
