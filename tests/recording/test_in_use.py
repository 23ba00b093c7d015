"""What others have recorded or are recording is never harmed, and is said to be what it is."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.base import locks
from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.recovery import recover, validate

WRITER = """
import sys, torch
from lrp_dynamics import Recorder
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
with Recorder(sys.argv[1], model, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]), live=sys.argv[2] == "live") as recorder:
    for i in range(32):
        recorder.record(i)
    recorder.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(32, 64):
        recorder.record(i)
"""


def arguments(**change):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    return {"model": model, "samples": torch.rand(2, 1, 8, 8), "targets": torch.tensor([0, 1])} | change


def record(path, steps=20, **options):
    with Recorder(path, **arguments(), **options) as recorder:
        for iteration in range(steps):
            recorder.record(iteration)
    return path


@pytest.fixture(params=["plain", "live"])
def running(request, tmp_path):
    """Another process that has recorded 32 of 64 steps; a line on its standard input lets it go on."""
    path = tmp_path / "r.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.path, process.live = path, request.param == "live"
    yield process
    process.kill()
    process.communicate()


def test_a_running_recording_is_left_alone(running, capsys):
    """A second recorder, whatever it is told, and `recover` change nothing; the first one comes to its end."""
    path, who = running.path, f"being written by process {running.pid} on "
    for options in ({}, {"overwrite": True}, {"live": True, "overwrite": True}):
        with pytest.raises(StorageError, match=who):
            Recorder(path, **arguments(), **options)
    for marked in (False, True):
        with pytest.raises(StorageError, match=who):
            recover(path, mark_complete=marked)
    for command in ("info", "validate"):
        status = cli.main([command, str(path)])
        output = "".join(capsys.readouterr())
        assert who in output
        assert "damaged" not in output
        assert status == (0 if running.live and command == "info" else 2)
    running.communicate("\n")
    assert running.returncode == 0
    assert validate(path) == []
    with open_relevance(path) as recording:
        assert recording.steps == 64
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_recording_blocks_nobody(running):
    path = running.path
    running.kill()
    running.wait()
    assert validate(path) == ["the recording is not complete: it was interrupted"]
    with pytest.raises(UserError, match="exists already"):
        Recorder(path, **arguments())
    record(path, 3, overwrite=True, live=running.live)
    with open_relevance(path) as recording:
        assert recording.steps == 3


def test_two_recorders_of_one_process(tmp_path):
    """By another name of the same file, too."""
    (tmp_path / "link.h5").symlink_to(tmp_path / "r.h5")
    with Recorder(tmp_path / "r.h5", **arguments()) as first:
        first.record(0)
        for name in ("r.h5", "link.h5"):
            with pytest.raises(StorageError, match=f"being written by process {os.getpid()}"):
                Recorder(tmp_path / name, **arguments(), overwrite=True)
            with open_relevance(tmp_path / name) as recording:
                assert recording.writer.startswith(f"process {os.getpid()} on ")
        first.record(1)
    assert validate(tmp_path / "r.h5") == []


def test_an_existing_file_is_replaced_only_if_asked_for(tmp_path):
    path = record(tmp_path / "r.h5")
    content = path.read_bytes()
    with pytest.raises(UserError, match=r"r.h5: exists already; .*overwrite=True"):
        Recorder(path, **arguments())
    for change in ({"targets": torch.tensor([0, 3])}, {"composite": "no_such"}, {"attributes": {"seed": [1]}}):
        with pytest.raises(UserError):
            Recorder(path, **arguments(**change), overwrite=True)
    with open_relevance(path), pytest.raises(StorageError, match="is open in this or another process"):
        Recorder(path, **arguments(), overwrite=True)
    assert path.read_bytes() == content
    record(path, 2, overwrite=True)
    with open_relevance(path) as recording:
        assert recording.steps == 2
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: found a folder"):
        Recorder(tmp_path / "folder", **arguments(), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "r.h5"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("held", [False, True])
def test_the_lock_of_another_user(held):
    """Left by a killed process, it blocks nobody; held, it tells who holds it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path = Path(folder, "r.h5")
        Path(folder, ".r.h5.lock").touch(0o644)
        own = locks.Lock(path) if held else None
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                locks.Lock(path)
                os._exit(0)
            except StorageError as error:
                os._exit(1 if f"process {os.getppid()} on" in str(error) else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == held
        if own:
            own.release()


def test_without_locks_everything_else_works(tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(locks, "fcntl", None)
    path = record(tmp_path / "r.h5")
    with pytest.raises(UserError, match="exists already"):
        Recorder(path, **arguments())
    record(path, 2, overwrite=True)
    assert validate(path) == []
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_arguments_create_nothing(tmp_path):
    with pytest.raises(UserError):
        Recorder(tmp_path / "new" / "r.h5", **arguments(targets=torch.tensor([0, 7])))
    assert not any(tmp_path.iterdir())


def test_recover_leaves_a_complete_recording_alone(tmp_path, capsys):
    path = record(tmp_path / "r.h5")
    content = path.read_bytes()
    assert cli.main(["recover", str(path)]) == 0
    assert "complete, 20 steps; left as it is" in capsys.readouterr().out
    assert recover(path) == 20
    assert path.read_bytes() == content


def test_a_recovered_recording_can_be_called_complete(tmp_path, capsys):
    """The way on for a loop that cannot be repeated: `dynamics` takes the steps that are there, on the user's word."""
    path = tmp_path / "r.h5"
    recorder = Recorder(path, **arguments())
    for iteration in range(20):
        recorder.record(iteration)
    recorder.close(complete=False)
    stage = ["dynamics", "--relevance", path, "--out", tmp_path / "d.h5", "--samples", tmp_path / "s.csv"]
    assert cli.main(["recover", str(path)]) == 0
    assert "20 whole steps kept; the file stays marked as not complete" in capsys.readouterr().out
    assert cli.main([*map(str, stage)]) == 2
    assert "recover --mark-complete" in capsys.readouterr().err
    assert cli.main(["recover", "--mark-complete", str(path)]) == 0
    assert "the file is now marked as complete" in capsys.readouterr().out
    assert cli.main(["validate", str(path)]) == 0
    assert cli.main([*map(str, stage)]) == 0


def test_a_recording_of_no_steps_is_not_complete(tmp_path):
    Recorder(tmp_path / "r.h5", **arguments()).close()
    problems = validate(tmp_path / "r.h5")
    assert problems == ["the recording is not complete: it was interrupted", "the recording holds no steps"]
    with pytest.raises(UserError, match="no whole step"):
        recover(tmp_path / "r.h5", mark_complete=True)


# Going on after a crash, from what a user's own checkpoint kept -------------------------------------------------------

LOOP = """
import os, sys, torch
from lrp_dynamics import Recorder
from torch import nn

path, checkpoint, mode = sys.argv[1:]
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
samples, targets = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
start, state = 0, None
if os.path.exists(checkpoint):
    saved = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(saved["model"])
    start, state = saved["iteration"] + 1, saved["recorder"]
with Recorder(path, model, samples, targets, live=mode == "live", resume=state) as recorder:
    for iteration in range(start, 50):
        recorder.record(iteration, loss=iteration / 50)
        with torch.no_grad():
            model[0].weight.mul_(1.01)
        if iteration == 20:
            torch.save({"model": model.state_dict(), "iteration": iteration, "recorder": recorder.state()}, checkpoint)
        if iteration == 45 and start == 0 and mode != "whole":
            os.kill(os.getpid(), 9)
"""


def run_loop(folder, mode):
    command = [sys.executable, "-c", LOOP, str(folder / "r.h5"), str(folder / "checkpoint.pt"), mode]
    return subprocess.run(command, check=False).returncode


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert run_loop(folder, "whole") == 0
    return content(folder / "r.h5")


def content(path):
    """All attributes and datasets of a file, as text and bytes."""
    with h5py.File(path) as file:
        held = {name: str(value) for name, value in file.attrs.items()}
        file.visititems(lambda name, item: held.update({name: item[()].tobytes()}) if hasattr(item, "dtype") else None)
        return held


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_a_killed_loop_goes_on_from_its_own_checkpoint(tmp_path, mode, unbroken):
    assert run_loop(tmp_path, mode) == -9
    assert run_loop(tmp_path, mode) == 0
    assert validate(tmp_path / "r.h5") == []
    assert content(tmp_path / "r.h5") == unbroken


def test_going_on_with_another_file_is_refused(tmp_path):
    recorder = Recorder(tmp_path / "r.h5", **arguments())
    for iteration in range(20):
        recorder.record(iteration)
    state = recorder.state()
    recorder.close()
    with Recorder(tmp_path / "other.h5", **arguments()) as recorder:
        for iteration in range(5, 30):
            recorder.record(iteration)
    record(tmp_path / "short.h5", 7)
    (tmp_path / "damaged.h5").write_bytes((tmp_path / "r.h5").read_bytes()[:3000])
    for name, message in {
        "none.h5": "no such file",
        "short.h5": r"found 7 whole steps .* has 20",
        "other.h5": "step 20 is iteration 24, but the state .* at 19",
        "damaged.h5": "damaged",
    }.items():
        before = (tmp_path / name).read_bytes() if name != "none.h5" else None
        with pytest.raises(UserError, match=message):
            Recorder(tmp_path / name, **arguments(), resume=state)
        assert before is None or (tmp_path / name).read_bytes() == before
    with pytest.raises(UserError, match="resume is not what `state"):
        Recorder(tmp_path / "r.h5", **arguments(), resume={"accum": {}})
    with open_relevance(tmp_path / "r.h5"), pytest.raises(StorageError, match="open in this or another process"):
        Recorder(tmp_path / "r.h5", **arguments(), resume=state)
    assert not list(tmp_path.glob(".*"))
