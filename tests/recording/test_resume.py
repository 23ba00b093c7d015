"""A training that was killed, and whose files were damaged, goes on or begins anew: nothing is lost."""

import os
import shutil
import signal
import time
from pathlib import Path

import h5py
import pytest
import torch
from trainings import PARAMS, command, results, started

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.training import resume
from lrp_dynamics.training import run as experiment

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def killed(data, tmp_path_factory):
    """Cache and result folder of a training that was killed after its first or second epoch."""
    folder = tmp_path_factory.mktemp("killed")
    out, cache = folder / "run", folder / "cache"
    with started(command(data, out, cache), lambda: list(cache.glob("*/checkpoint.pt"))) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL, "the training ended before it could be killed"
    return folder


def flip(path: Path, place: float) -> None:
    """Flip the bits of one byte, at a share of the file."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0xFF
    path.write_bytes(content)


def resize(path: Path, steps: int) -> None:
    with h5py.File(path, "r+") as file:
        for group in ("steps", "scalars", "relevance"):
            for dataset in file[group].values():
                dataset.resize(steps, axis=0)


def change_a_map(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["relevance/map"][5, 2, 10, 10] += 0.25


def save_another(path: Path) -> None:
    """A sound checkpoint, of another network."""
    path.unlink()
    resume.save(path, {"identity": "another", "model": {"weight": torch.zeros(2)}}, [], {})


class Touches:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def save_code(path: Path) -> None:
    """A checkpoint whose checksum is right, and which runs code where it is read by pickle."""
    torch.save({"identity": Touches(path.parents[2] / "ran")}, path)
    path.write_bytes(path.read_bytes() + bytes.fromhex(sha256(path)))


def replace(path: Path, other: str) -> None:
    shutil.copy(path.parents[1] / other, path)


DAMAGES = {
    "recording missing": ("box/relevance.h5", Path.unlink),
    "recording empty": ("box/relevance.h5", lambda path: path.write_bytes(b"")),
    "recording truncated": ("plus/relevance.h5", lambda path: os.truncate(path, 2**15)),
    "recording cut in its head": ("plus/relevance.h5", lambda path: os.truncate(path, 100)),
    "recording of zeros": ("plus/relevance.h5", lambda path: path.write_bytes(bytes(path.stat().st_size))),
    "recording with another map": ("box/relevance.h5", change_a_map),
    "recording older": ("plus/relevance.h5", lambda path: resize(path, 8)),
    "recording of no steps": ("plus/relevance.h5", lambda path: resize(path, 0)),
    "recording of other rules": ("box/relevance.h5", lambda path: replace(path, "plus/relevance.h5")),
    "no HDF5": ("plus/relevance.h5", lambda path: path.write_text("notes")),
    "checkpoint with a flipped byte": ("checkpoint.pt", lambda path: flip(path, 0.5)),
    "checkpoint with a flipped byte in its checksum": ("checkpoint.pt", lambda path: flip(path, 0.9999999)),
    "checkpoint truncated": ("checkpoint.pt", lambda path: os.truncate(path, path.stat().st_size // 2)),
    "checkpoint empty": ("checkpoint.pt", lambda path: path.write_bytes(b"")),
    "checkpoint of another network": ("checkpoint.pt", save_another),
    "checkpoint that runs code": ("checkpoint.pt", save_code),
}


def copied(killed, data, folder):
    """A copy of what the killed training left, under the name that a training with results in `folder` looks for."""
    shutil.copytree(killed, folder, dirs_exist_ok=True)
    [old] = (folder / "cache").iterdir()
    work = old.with_name(experiment._key(PARAMS, sha256(data), True, (1, 1), str(folder / "run")))
    old.rename(work)
    return work


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_set_aside_and_the_result_is_the_same(damage, killed, data, undisturbed, tmp_path, capsys):
    work = copied(killed, data, tmp_path)
    name, do = DAMAGES[damage]
    do(work / name)
    experiment.run_training(data, PARAMS, tmp_path / "run", cache=tmp_path / "cache")
    told = [line for line in capsys.readouterr().err.splitlines() if "set aside" in line]
    assert len(told) == 1
    assert str(work / name) in told[0]
    assert "starts anew" in told[0]
    assert results(tmp_path / "run") == undisturbed
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".damaged" or path.name == "ran"]
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("more", ["no more", "steps without a checkpoint", "all steps, marked complete"])
def test_what_is_whole_is_gone_on_with(more, killed, data, undisturbed, tmp_path, capsys):
    """Also where the recording got further than the checkpoint."""
    work = copied(killed, data, tmp_path)
    if more == "steps without a checkpoint":
        for name in ("plus", "box"):
            with open_relevance(work / name / "relevance.h5") as recording:
                steps = recording.steps
            resize(work / name / "relevance.h5", steps + 7)
    elif more == "all steps, marked complete":
        experiment.run_training(data, PARAMS, tmp_path / "other", cache=tmp_path / "other-cache")
        for name in ("plus/relevance.h5", "box/relevance.h5"):
            shutil.copy(tmp_path / "other" / name, work / name)
        capsys.readouterr()
    experiment.run_training(data, PARAMS, tmp_path / "run", cache=tmp_path / "cache")
    err = capsys.readouterr().err
    assert "set aside" not in err
    assert " 0/36" not in err
    assert results(tmp_path / "run") == undisturbed


def test_a_log_that_was_not_asked_for_before_joins_what_is_gone_on_with(killed, data, undisturbed, tmp_path, capsys):
    pytest.importorskip("tensorboard")
    copied(killed, data, tmp_path)
    options = {"cache": tmp_path / "cache", "events": tmp_path / "events"}
    experiment.run_training(data, PARAMS, tmp_path / "run", **options)
    assert " 0/36" not in capsys.readouterr().err
    assert list((tmp_path / "events").rglob("events.out.tfevents*"))
    assert results(tmp_path / "run") == undisturbed


def test_where_one_observer_cannot_be_opened_the_others_are_closed(tmp_path):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    samples, targets = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
    opened = []  # held, so that nothing but closing can close it

    def first(state):
        opened.append(Recorder(tmp_path / "first.h5", model, samples, targets, resume=state))
        return opened[0]

    def second(state):
        raise UserError("second: cannot be opened")

    with pytest.raises(UserError, match="second"):
        resume.go_on(None, "", [first, second])
    Recorder(tmp_path / "first.h5", model, samples, targets, overwrite=True).close()  # refused where it is in use


def test_what_is_set_aside_is_kept_until_the_training_has_ended_and_does_not_pile_up(killed, data, tmp_path):
    work = copied(killed, data, tmp_path)
    for _ in range(2):
        flip(work / "checkpoint.pt", 0.5)
        damaged = (work / "checkpoint.pt").read_bytes()
        with started(
            command(data, tmp_path / "run", tmp_path / "cache"), lambda: (work / "checkpoint.pt.damaged").exists()
        ) as process:
            while not (work / "checkpoint.pt").exists():
                assert process.poll() is None
                time.sleep(0.002)
        assert (work / "checkpoint.pt.damaged").read_bytes() == damaged
        names = sorted(str(path.relative_to(work)) for path in work.rglob("*.damaged"))
        assert names == ["box/relevance.h5.damaged", "checkpoint.pt.damaged", "plus/relevance.h5.damaged"]


def test_a_second_run_of_the_same_training_is_refused_and_the_first_one_ends_well(data, undisturbed, tmp_path):
    arguments = command(data, tmp_path / "run", tmp_path / "cache")
    with started(arguments, lambda: list(tmp_path.glob("cache/*/plus/relevance.h5"))) as process:
        with pytest.raises(UserError, match="the same training is run by process"):
            experiment.run_training(data, PARAMS, tmp_path / "run", cache=tmp_path / "cache")
        process.communicate()
        assert process.returncode == 0
    assert results(tmp_path / "run") == undisturbed
