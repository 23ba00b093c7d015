"""A disk that is full or fails: the recording stops with one sentence, keeps what was whole, and ends no process."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.recovery import recover, validate

# Prints how many steps were acknowledged, then what was raised, by `record` and by whatever is called afterwards.
LOOP = """
import os, sys, torch
from lrp_dynamics import Recorder
from torch import nn

path, mode, steps, broken = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if mode == "macos":
    del os.posix_fallocate, os.memfd_create
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 3))
samples, targets = torch.rand(20, 3, 32, 32), torch.arange(20) % 3
taken, said = 0, []
try:
    with Recorder(path, model, samples, targets, live=mode == "live") as recorder:
        for iteration in range(steps):
            taken += recorder.record(iteration)
            with torch.no_grad():
                model[0].weight.add_(torch.randn_like(model[0].weight) * 0.01)
            if iteration + 1 == broken:
                recorder._writer.background.wait()
                os.dup2(os.open(path, os.O_RDONLY), recorder._writer.file.id.get_vfd_handle())
except Exception as error:
    said.append(f"{type(error).__name__}: {error}")
try:
    recorder.record(steps)
except Exception as error:
    said.append(f"{type(error).__name__}: {error}")
recorder.close()
print(taken, *said, sep="\\n")
"""


@pytest.fixture
def disk(tmp_path):
    """A disk of 10 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def run(path, mode="plain", steps=1000, broken=0):
    """How many steps `record` has taken, and what it and the next call have said."""
    command = [sys.executable, "-c", LOOP, str(path), mode, str(steps), str(broken)]
    process = subprocess.run(command, check=False, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    taken, *said = process.stdout.splitlines()
    return int(taken), said


@pytest.mark.parametrize("mode", ["plain", "live", "macos"])
def test_a_full_disk_stops_the_recording_and_loses_nothing(disk, mode, capsys):
    path = disk / "r.h5"
    taken, (first, then) = run(path, mode)
    assert first.startswith(
        f"StorageError: {path}: the recording has ended, since the disk of {disk} does not take more"
    )
    assert f"its {taken} whole steps are kept" in first
    assert then == f"UserError: Recorder: {path} is closed"
    assert list(disk.iterdir()) == [path]
    assert validate(path) == ["the recording is not complete: it was interrupted"]
    with open_relevance(path) as recording:
        assert recording.steps == taken > 50
        sums = np.abs(np.diff(recording.maps().astype(np.float64), axis=0)).sum(0)
        np.testing.assert_allclose(recording.accumulated("dynamics"), sums, atol=0.02 * sums.max())
    # No room for a second copy: the file stays as it is.
    content = path.read_bytes()
    assert cli.main(["recover", "--mark-complete", str(path)]) == 2
    assert "a second copy cannot be made" in capsys.readouterr().err
    assert path.read_bytes() == content
    assert list(disk.iterdir()) == [path]
    elsewhere = shutil.copy(path, disk.parent / "r.h5")
    assert recover(elsewhere, mark_complete=True) == taken
    assert validate(elsewhere) == []


def test_no_room_for_the_complete_copy_at_the_end(disk):
    path = disk / "r.h5"
    (disk / "other").write_bytes(bytes(3_000_000))
    taken, (first, then) = run(path, steps=48)
    assert taken == 48
    assert first.startswith(f"StorageError: {path}: is whole, but not marked as complete")
    assert "recover --mark-complete" in first
    assert "closed" in then
    with open_relevance(path) as recording:
        assert (recording.steps, recording.complete) == (48, False)
    (disk / "other").unlink()
    recover(path, mark_complete=True)
    assert validate(path) == []


def test_no_room_at_all(disk):
    (disk / "other").write_bytes(bytes(10_000_000))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 3))
    with pytest.raises(StorageError, match=r"r\.h5: cannot be written, since the disk of"):
        Recorder(disk / "r.h5", model, torch.rand(20, 3, 32, 32), torch.arange(20) % 3)
    assert [path.name for path in disk.iterdir()] == ["other"]


@pytest.mark.parametrize("mode", ["plain", "live", "macos"])
def test_a_write_that_fails_within_a_block_ends_no_process(tmp_path, mode):
    """Room was taken, but the system refuses the write, as a broken disk does."""
    path = tmp_path / "r.h5"
    taken, (first, then) = run(path, mode, broken=40)
    assert 48 <= taken < 64  # the 48th step ends a block, whose failure is told before another is taken
    assert first.startswith(f"StorageError: {path}: the recording has ended")
    assert "its 32 whole steps are kept" in first
    assert "closed" in then
    assert validate(path)[0] == "the recording is not complete: it was interrupted"
    with open_relevance(path) as recording:
        assert recording.steps == 32
        assert np.isfinite(recording.maps()).all()
    assert recover(path) == 32


def test_what_does_not_read_back_is_not_acknowledged(tmp_path, monkeypatch):
    """A disk that takes everything and keeps zeros."""
    path = tmp_path / "r.h5"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 3))
    recorder = Recorder(path, model, torch.rand(20, 3, 32, 32), torch.arange(20) % 3)
    for iteration in range(31):
        recorder.record(iteration)
    recorder._writer.background.wait()
    end, sync = recorder._writer.file.id.get_filesize(), os.fsync

    def forget(descriptor):
        sync(descriptor)
        with open(path, "rb+") as file:
            size = recorder._writer.file.id.get_filesize() - end
            file.seek(end)
            file.write(bytes(size))

    monkeypatch.setattr(os, "fsync", forget)
    recorder.record(31)
    with pytest.raises(StorageError, match=r"does not read back|Can't"):
        recorder.flush()
    monkeypatch.undo()
    recorder.close()
    with pytest.raises(UserError, match="closed"):
        recorder.record(32)
    with open_relevance(path) as recording:
        assert (recording.steps, recording.complete) == (16, False)


def test_an_error_in_a_flush_is_raised_once_and_keeps_whole_blocks(tmp_path):
    """Whatever the error: here, values that were tampered with."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    path = tmp_path / "r.h5"
    with Recorder(path, model, torch.rand(2, 3, 8, 8), torch.tensor([0, 1])) as recorder:
        for iteration in range(31):
            recorder.record(iteration)
        recorder._pending[-1][1]["plain"] = torch.zeros(5, dtype=torch.float32)
        recorder.record(31)
        with pytest.raises(RuntimeError, match="shape"):
            recorder.flush()
        with pytest.raises(UserError, match="closed"):
            recorder.record(32)
    with open_relevance(path) as recording:
        assert (recording.steps, recording.complete) == (16, False)
        assert len(recording.file["steps/iteration"]) == 16


def test_an_interrupt_between_sums_and_steps_writes_no_half_step(tmp_path, monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    recorder = Recorder(tmp_path / "r.h5", model, torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    for iteration in range(20):
        recorder.record(iteration)

    class Interrupting(dict):
        def __getitem__(self, name):
            if name == "m2":
                raise KeyboardInterrupt
            return super().__getitem__(name)

    recorder._sums.held = Interrupting(recorder._sums.held)
    with pytest.raises(KeyboardInterrupt):
        recorder.record(20)
    recorder._sums.held = dict(recorder._sums.held)
    recorder.close()
    with open_relevance(tmp_path / "r.h5") as recording:
        assert (recording.steps, recording.complete) == (16, False)
