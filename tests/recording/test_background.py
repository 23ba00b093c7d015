"""What is written beside the training: the same bytes whatever the timing, in bounded memory, and no error is lost."""

import errno
import os
import threading

import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.recording.recovery import validate


def recorder_at(path, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    return model, Recorder(path, model, torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 2]), **options)


def record(model, recorder, steps, flushed=()):
    for iteration in steps:
        recorder.record(iteration)
        if iteration in flushed:
            recorder.flush()
        with torch.no_grad():
            model[0].weight.mul_(1.01)


def test_the_same_bytes_whatever_the_timing(tmp_path, monkeypatch):
    """Of a disk that is slow, and of blocks that were flushed half full."""
    sync, held = os.fsync, {}
    for name, delay, flushed in (("plain", 0, ()), ("slow", 0.05, ()), ("flushed", 0, (0, 7, 15, 16, 40))):

        def slow(descriptor, delay=delay):
            threading.Event().wait(delay)
            sync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", slow)
            model, recorder = recorder_at(tmp_path / f"{name}.h5")
            with recorder:
                record(model, recorder, range(50), flushed)
        held[name] = (tmp_path / f"{name}.h5").read_bytes()
    assert held["plain"] == held["slow"] == held["flushed"]
    assert validate(tmp_path / "flushed.h5") == []


@pytest.mark.parametrize("live", [False, True])
def test_a_disk_that_stands_still_holds_the_training_up(tmp_path, monkeypatch, live):
    """With one block being written and one whole, nothing more is taken: memory does not grow."""
    gate, sync = threading.Event(), os.fsync

    def closed(descriptor):
        gate.wait()
        sync(descriptor)

    model, recorder = recorder_at(tmp_path / "r.h5", live=live)
    monkeypatch.setattr(os, "fsync", closed)
    record(model, recorder, range(31))
    waiting = threading.Thread(target=record, args=(model, recorder, range(31, 40)))
    waiting.start()
    waiting.join(0.5)
    try:
        assert waiting.is_alive()
        assert recorder._iteration == 31
    finally:
        gate.set()
        waiting.join()
    recorder.close()
    assert validate(tmp_path / "r.h5") == []
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.steps == 40


@pytest.mark.parametrize("call", ["record", "flush", "state", "close"])
def test_what_the_thread_meets_is_raised_once_by_whatever_is_called_next(tmp_path, monkeypatch, call):
    model, recorder = recorder_at(tmp_path / "r.h5")
    record(model, recorder, range(20))
    recorder.flush()

    def broken(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    record(model, recorder, range(20, 36))
    while recorder._writer.open:  # until the thread has met it
        threading.Event().wait(0.01)
    monkeypatch.undo()
    with pytest.raises(StorageError, match=r"Input/output error.* its 20 whole steps are kept"):
        recorder.record(36) if call == "record" else getattr(recorder, call)()
    with pytest.raises(UserError, match="closed"):
        recorder.record(37)
    recorder.close()
    with open_relevance(tmp_path / "r.h5") as recording:
        assert (recording.steps, recording.complete) == (20, False)
    assert [path.name for path in tmp_path.iterdir()] == ["r.h5"]
