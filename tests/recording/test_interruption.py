"""A training that is asked to end, or killed within an epoch, goes on where it was, to the same bytes."""

import io
import os
import signal
import subprocess
import sys

import pytest
import torch
from waiting import LIMIT, wait_until

from lrp_dynamics.base.files import canonical_json, sha256
from lrp_dynamics.commands import cli
from lrp_dynamics.training import run as experiment

PARAMS = {
    "model": "blog_cnn",
    "inputs": {"low": 0.0, "high": 1.0},
    # What a step changes and goes by: moments of the optimizer, random images, measurements.
    "training": {
        "epochs": 2,
        "batch_size": 4,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "threads": 1,
        "augmentation": {"RandomHorizontalFlip": {"p": 0.5}},
    },
    "recording": {"samples": 12, "composite": "z_plus", "maps": 8, "batch_size": 12},
    "validation": {"share": 0.1, "seed": 0, "every": 0.5, "patience": None},
    "seed": 7,
}
PER_EPOCH, STEPS = 45, 90
RESULTS = ("relevance.h5", "model.safetensors", "training.csv", "training.json", "validation.csv")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The SHA-256 of each result of a training that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    experiment.run_training(data, PARAMS, folder / "run", cache=folder / "cache")
    return {name: sha256(folder / "run" / name) for name in RESULTS}


def command(data, folder, *options):
    values = canonical_json({key: value for key, value in PARAMS.items() if key != "seed"})
    arguments = ["train", "--data", data, "--seed", PARAMS["seed"], "--params", values, "--out", folder / "run"]
    arguments += ["--cache", folder / "cache", *options]
    return [sys.executable, "-m", "lrp_dynamics.commands.cli", *map(str, arguments)]


def done(folder):
    """The iteration of the checkpoint in a folder, which ends in a checksum of 32 bytes; 0 if there is none."""
    found = list(folder.glob("cache/*/checkpoint.pt"))
    return torch.load(io.BytesIO(found[0].read_bytes()[:-32]), weights_only=True)["done"] if found else 0


def assert_goes_on(data, folder, undisturbed):
    """The same command ends with the results of a training that nothing happened to, and trains only the rest."""
    begin = done(folder)
    again = subprocess.run(command(data, folder), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"{begin}/{STEPS}" in again.stderr
    assert {name: sha256(folder / "run" / name) for name in RESULTS} == undisturbed
    assert not list((folder / "cache").iterdir())


ENDS = {
    "SIGTERM": ([signal.SIGTERM], 143),
    "Ctrl-C": ([signal.SIGINT], 130),
    "Ctrl-C twice": ([signal.SIGINT, signal.SIGINT], 130),
    "Ctrl-C, and what started it ends it": ([signal.SIGINT, signal.SIGTERM], 130),
}


@pytest.mark.parametrize(
    ("kind", "heard"),
    [
        pytest.param(kind, heard, marks=[] if kind == "SIGTERM" and heard else pytest.mark.long)
        for kind in ENDS
        for heard in (True, False)
    ],
)
def test_asked_to_end_it_keeps_the_step_that_it_was_at(kind, heard, data, undisturbed, tmp_path):
    signals, status = ENDS[kind]
    process = subprocess.Popen(command(data, tmp_path), stderr=subprocess.PIPE, text=True)
    until = "validation after 23 steps"
    assert any(until in line for line in process.stderr), f"it ended before it said: {until}"
    if not heard:
        process.stderr.close()  # as where Ctrl-C has ended `tee`
    for number in signals:
        process.send_signal(number)
    said = process.stderr.read() if heard else ""
    process.wait(LIMIT)
    assert process.returncode == status, said
    kept = done(tmp_path)
    assert 23 <= kept < STEPS
    if heard:
        assert f"asked to end; the same command goes on behind iteration {kept}" in said
        assert "Traceback" not in said
    assert not any((tmp_path / "run").iterdir())
    assert_goes_on(data, tmp_path, undisturbed)


def test_killed_within_an_epoch_it_goes_on_from_the_last_checkpoint(data, undisturbed, tmp_path):
    process = subprocess.Popen(
        command(data, tmp_path), stderr=subprocess.DEVNULL, env=os.environ | {"LRP_DYNAMICS_CHECKPOINT_MINUTES": "0"}
    )
    wait_until(lambda: list(tmp_path.glob("cache/*/checkpoint.pt")) != [], process, pause=0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert done(tmp_path) % PER_EPOCH
    assert_goes_on(data, tmp_path, undisturbed)


@pytest.mark.long
def test_checkpoints_within_epochs_change_no_result(data, undisturbed, tmp_path):
    experiment.run_training(data, PARAMS, tmp_path / "run", cache=tmp_path / "cache", minutes=0)
    assert {name: sha256(tmp_path / "run" / name) for name in RESULTS} == undisturbed


def test_signals_do_after_a_training_what_they_did_before(data, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    experiment.run_training(data, PARAMS, tmp_path / "run", cache=tmp_path / "cache", record=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("minutes", ["-1", "nan", "inf", "soon"])
def test_minutes_that_are_none(minutes, data, tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        cli.main(list(map(str, command(data, tmp_path, "--checkpoint-minutes", minutes)[3:])))
    assert f"found '{minutes}', expected a number of minutes, at least 0" in capsys.readouterr().err
    monkeypatch.setenv("LRP_DYNAMICS_CHECKPOINT_MINUTES", minutes)
    with pytest.raises(SystemExit):
        cli.main(list(map(str, command(data, tmp_path)[3:])))
    assert f"found '{minutes}', expected a number of minutes, at least 0" in capsys.readouterr().err
    assert not os.listdir(tmp_path)
