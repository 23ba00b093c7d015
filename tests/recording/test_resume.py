"""A training that was killed and whose files were damaged, and results that cannot be handed over: nothing is lost."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
import torch

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import canonical_json, sha256
from lrp_dynamics.training import resume
from lrp_dynamics.training import run as experiment

pytestmark = pytest.mark.long

PARAMS = {
    "model": "blog_cnn",
    "inputs": {"low": 0.0, "high": 1.0},
    "training": {"epochs": 4, "batch_size": 20, "optimizer": "adam", "learning_rate": 0.001, "threads": 1},
    "recording": {
        "samples": 12,
        "composites": {"plus": "z_plus", "box": "epsilon_gamma_box"},
        "every": 1,
        "maps": 8,
        "batch_size": 12,
    },
    "validation": {"share": 0.1, "seed": 0, "every": 0.5, "patience": None},
    "seed": 7,
}
RESULTS = (
    *("plus/relevance.h5", "box/relevance.h5", "model.safetensors", "training.csv", "training.json", "validation.csv"),
)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The SHA-256 of each result of a training that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    experiment.run_training(data, PARAMS, folder / "run", cache=folder / "cache")
    return {name: sha256(folder / "run" / name) for name in RESULTS}


def command(data, out, cache, params=PARAMS):
    values = canonical_json({key: value for key, value in params.items() if key != "seed"})
    arguments = ["train", "--data", data, "--seed", params["seed"], "--params", values, "--out", out, "--cache", cache]
    return [sys.executable, "-m", "lrp_dynamics.commands.cli", *map(str, arguments)]


@contextlib.contextmanager
def started(arguments, happened):
    """A training in a process of its own, in which something has happened that is waited for."""
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        while not happened():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def run(arguments):
    return subprocess.run(arguments, capture_output=True, text=True)


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


def results(out):
    return {name: sha256(out / name) for name in RESULTS}


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


# --- handing results over


def may_write_everywhere(folder):
    """As root may."""
    (folder / "probe").mkdir(mode=0o555)
    return os.access(folder / "probe", os.W_OK)


def a_file_in_its_place(out):
    """Put a file where the folder of the results was; return what takes it away."""
    shutil.rmtree(out)
    out.write_text("notes")
    return out.unlink


def no_permission(out):
    out.chmod(0o555)
    return lambda: out.chmod(0o755)


def no_room(out):
    """Fill the disk of the results."""
    filler = out / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    return filler.unlink


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 MB, or None where it cannot be had."""
    place = tmp_path / "disk"
    place.mkdir()
    made = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True
        ).returncode
    )
    yield place if made else None
    if made:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("spoil", [a_file_in_its_place, no_permission, no_room])
def test_results_that_cannot_be_handed_over_are_kept_and_the_next_run_does_it(
    spoil, data, undisturbed, tmp_path, small_disk
):
    if spoil is no_room and small_disk is None:
        pytest.skip("a small disk can only be made by root")
    if spoil is no_permission and may_write_everywhere(tmp_path):
        pytest.skip("root may write everywhere")
    out = (small_disk if spoil is no_room else tmp_path) / "run"
    arguments = command(data, out, tmp_path / "cache")
    with started(arguments, lambda: list(tmp_path.glob("cache/*/checkpoint.pt"))) as process:
        mend = spoil(out)
        _, said = process.communicate()
        assert process.returncode == 2
    last = said.splitlines()[-1]
    [work] = (tmp_path / "cache").iterdir()
    assert f"error: {out}: the results could not be put there" in last
    assert f"complete in {work}" in last
    assert results(work) == undisturbed
    if out.is_dir():
        assert not [path for path in out.rglob("*") if path.is_file() and path.name != "filler"]
    mend()
    again = run(arguments)
    assert again.returncode == 0, again.stderr
    assert "step" not in again.stderr  # nothing was trained
    assert results(out) == undisturbed
    assert not list((tmp_path / "cache").iterdir())
    assert sorted(path.name for path in out.iterdir()) == sorted(
        {Path(name).parts[0] for name in (*RESULTS, "provenance.json")}
    )


def test_results_handed_over_in_part_are_handed_over_whole(data, undisturbed, tmp_path, monkeypatch):
    """As after a power cut while they were put there; what lies there may be deleted before the next run."""
    cache, out = tmp_path / "cache", tmp_path / "run"
    real, count = os.replace, iter(range(100))

    def cut(source, target):
        if Path(target).is_relative_to(out) and next(count) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        experiment.run_training(data, PARAMS, out, cache=cache)
    monkeypatch.undo()
    assert any(path.is_file() for path in out.rglob("*"))
    shutil.rmtree(out)
    experiment.run_training(data, PARAMS, out, cache=cache)
    assert results(out) == undisturbed


def test_a_folder_that_cannot_take_the_results_is_refused_before_the_training(data, tmp_path, small_disk):
    (tmp_path / "file").write_text("notes")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/plus").write_text("notes")
    cases = [(tmp_path / "file", "is a file or lies below one"), (tmp_path / "file/run", "is a file or lies below one")]
    cases += [(tmp_path / "run", "is a file or lies below one")]
    if not may_write_everywhere(tmp_path):
        (tmp_path / "closed").mkdir(mode=0o555)
        cases += [(tmp_path / "closed/run", "cannot be written"), (tmp_path / "closed", "cannot be written")]
    if small_disk:
        with open(small_disk / "filler", "wb") as file:
            file.truncate(0)
            file.write(bytes(62 << 20))
        cases += [(small_disk / "run", "MB are free on this disk, but the results take at least")]
    for out, message in cases:
        with pytest.raises(UserError, match=message):
            experiment.run_training(data, PARAMS, out, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    assert (tmp_path / "file").read_text() == "notes"


# --- trainings that fail


@pytest.mark.parametrize("options", [[], ["--no-record"]], ids=["recorded", "unrecorded"])
def test_a_full_disk_leaves_what_was_trained_and_the_training_goes_on_from_it(
    options, data, undisturbed, tmp_path, small_disk
):
    if small_disk is None:
        pytest.skip("a small disk can only be made by root")
    cache, out = small_disk / "cache", tmp_path / "run"
    arguments = [*command(data, out, cache), *options]
    with started(arguments, lambda: list(cache.glob("*/checkpoint.pt"))) as process:
        mend = no_room(small_disk)
        _, said = process.communicate()
        assert process.returncode == 2
    [work] = cache.iterdir()
    [told] = [line for line in said.splitlines() if "error: " in line]
    assert "No space left on device" in told
    assert f"error: {work}" in told
    assert "Traceback" not in said
    mend()
    again = run(arguments)
    assert again.returncode == 0, again.stderr
    assert "starts anew" not in again.stderr
    assert "/36" in again.stderr
    assert " 0/36" not in again.stderr
    if options == []:
        assert results(out) == undisturbed
    else:
        experiment.run_training(data, PARAMS, tmp_path / "other", cache=tmp_path / "cache", record=False)
        assert sha256(out / "model.safetensors") == sha256(tmp_path / "other/model.safetensors")


def test_a_training_that_diverges_leaves_nothing_and_one_that_fails_otherwise_its_checkpoint(
    data, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    diverging = PARAMS["training"] | {"optimizer": "sgd", "learning_rate": 1e20}
    with pytest.raises(UserError, match="diverged"):
        experiment.run_training(data, PARAMS | {"training": diverging}, tmp_path / "run", cache=cache, record=False)
    assert not list(cache.iterdir())
    assert not (tmp_path / "run").exists()

    def fail(training):
        raise UserError("a mistake that shows late")

    monkeypatch.setattr(experiment, "check_weights", fail)
    with pytest.raises(UserError, match="shows late"):
        experiment.run_training(data, PARAMS, tmp_path / "run", cache=cache, record=False)
    assert list(cache.glob("*/checkpoint.pt"))
    assert not (tmp_path / "run").exists()
