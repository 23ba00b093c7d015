"""A recorder in many hands: threads, forks, errors in between, another folder, another file."""

import itertools
import os
import shutil
import threading

import h5py
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.recording.recovery import validate


def arguments(**change):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    return {"model": model, "samples": torch.rand(3, 1, 8, 8), "targets": torch.tensor([0, 1, 2])} | change


def test_several_threads_record_one_after_another(tmp_path):
    """Each step is taken whole or refused, whoever comes first."""
    count, taken, said = itertools.count(), [], []
    with Recorder(tmp_path / "r.h5", **arguments()) as recorder:

        def work():
            for _ in range(25):
                iteration = next(count)
                try:
                    recorder.record(iteration)
                    taken.append(iteration)
                except Exception as error:
                    said.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all("expected a greater number" in sentence for sentence in said)
    assert len(taken) + len(said) == 100
    assert validate(tmp_path / "r.h5") == []
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.step("iteration").tolist() == sorted(taken)
        assert len(taken) > 20
        assert recording.accumulated("dynamics").max() == 0  # the network was always the same


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_process_leaves_the_recording_to_its_owner(tmp_path):
    with Recorder(tmp_path / "r.h5", **arguments()) as recorder:
        for iteration in range(20):
            recorder.record(iteration)
        child = os.fork()
        if child == 0:
            said = []
            for call in (lambda: recorder.record(20), recorder.flush, recorder.close):
                try:
                    call()
                except UserError as error:
                    said.append("is a copy; record there" in str(error))
            os._exit(0 if said == [True] * 3 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for iteration in range(20, 40):
            recorder.record(iteration)
    assert validate(tmp_path / "r.h5") == []
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.steps == 40


@pytest.mark.parametrize("targets", [torch.tensor([0, 1, 2]), "predicted"], ids=["classes", "predicted"])
def test_it_goes_on_after_an_error(tmp_path, targets):
    """As if the step that could not be taken had not been asked for."""
    given = {name: arguments(targets=targets) for name in ("plain", "broken")}
    for name, kept in given.items():
        weight = kept["model"][0].weight
        with Recorder(tmp_path / f"{name}.h5", **kept) as recorder:
            for iteration in range(40):
                with torch.no_grad():
                    weight.mul_(1.01)
                if name == "broken" and iteration in (0, 5, 15, 16, 31):
                    before = weight.detach().clone()
                    with torch.no_grad():
                        weight[0, 0, 0, 0] = torch.nan
                    with pytest.raises(UserError, match=f"at iteration {iteration} the relevance of sample 0"):
                        recorder.record(iteration)
                    with pytest.raises(UserError, match="loss is 'high'"):
                        recorder.record(iteration, loss="high")
                    with torch.no_grad():
                        weight.copy_(before)
                recorder.record(iteration)
    assert validate(tmp_path / "broken.h5") == []
    assert (tmp_path / "broken.h5").read_bytes() == (tmp_path / "plain.h5").read_bytes()


def test_a_relative_path_is_one_of_the_folder_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with Recorder("r.h5", **arguments()) as recorder:
        recorder.record(0)
        state = recorder.state()
        monkeypatch.chdir("other")
        recorder.record(1)
    monkeypatch.chdir(tmp_path)
    with Recorder("r.h5", **arguments(), resume=state) as recorder:
        monkeypatch.chdir("other")
        recorder.record(1)
    assert validate(tmp_path / "r.h5") == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["other", "r.h5"]


def test_only_the_recording_of_a_state_is_gone_on_with(tmp_path):
    """Not another one of the same samples, steps and iterations, nor one that has lost something."""
    states = {}
    for name in ("r", "other"):
        kept = arguments()
        recorder = Recorder(tmp_path / f"{name}.h5", **kept)
        for iteration in range(20):
            recorder.record(iteration)
            with torch.no_grad():
                kept["model"][0].weight.mul_(1.01 if name == "r" else 1.02)
        states[name] = recorder.state()
        recorder.close(complete=False)
    with pytest.raises(UserError, match=r"other.h5: its steps are not those that the state was taken after"):
        Recorder(tmp_path / "other.h5", **arguments(), resume=states["r"])

    def forget(file):
        file["relevance/map"].resize(18, axis=0)

    def change(file):
        file["scalars/logit"][7] = 0

    for damage, message in ((forget, "relevance/map, expected 20 steps"), (change, "/scalars/logit is not what")):
        path = shutil.copy(tmp_path / "r.h5", tmp_path / f"{damage.__name__}.h5")
        with h5py.File(path, "r+") as file:
            damage(file)
        content = path.read_bytes()
        with pytest.raises(UserError, match=message):
            Recorder(path, **arguments(), resume=states["r"])
        assert path.read_bytes() == content
    with Recorder(tmp_path / "r.h5", **arguments(), resume=states["r"]) as recorder:
        recorder.record(20)
    assert validate(tmp_path / "r.h5") == []


@pytest.mark.parametrize("iteration", [2**63, -(2**63) - 1, 1.5, "3", True, None, float("inf")])
def test_an_iteration_that_the_file_cannot_hold_is_refused(tmp_path, iteration):
    """And nothing is dropped or clipped."""
    with Recorder(tmp_path / "r.h5", **arguments()) as recorder:
        recorder.record(-(2**63))
        recorder.record(0)
        with pytest.raises(UserError, match=r"iteration is .*, expected"):
            recorder.record(iteration)
        recorder.record(2**63 - 1)
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.step("iteration").tolist() == [-(2**63), 0, 2**63 - 1]
