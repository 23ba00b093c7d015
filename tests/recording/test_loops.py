"""Every loop of docs/loops.md runs as it stands there, and trains to the weights that it has without a recorder."""

import contextlib
import copy
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrp_dynamics import Recorder
from lrp_dynamics.recording.store import open_relevance

PAGE = (Path(__file__).parents[2] / "docs" / "loops.md").read_text(encoding="utf-8")
LOOPS = dict(re.findall(r"## ([^\n]*)\n.*?```python\n(.*?)```", PAGE, re.S))
STEPS = 6


class Nothing:
    """Takes the place of a recorder."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def record(self, *_, **__):
        pass

    close = record


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(36, 3),
    )


def given(recorder, seed=1):
    torch.manual_seed(seed)
    names = {
        "torch": torch, "F": F, "contextlib": contextlib, "Recorder": recorder, "model": network(), "device": "cpu",
        "backend": "eager", "batches": [(torch.rand(8, 1, 8, 8), torch.randint(3, (8,))) for _ in range(STEPS)],
        "samples": torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(2)), "targets": [0, 1, 2, 0, 1],
    }  # fmt: skip
    return names


def lightning(names):
    """Add what the loop of Lightning takes for granted."""
    pl = pytest.importorskip("pytorch_lightning")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = names["model"]

        def training_step(self, batch, _):
            return F.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.network.parameters(), lr=0.05)

    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options["enable_model_summary"] = False
    loader = torch.utils.data.DataLoader(names["batches"], batch_size=None)
    return names | {"pl": pl, "module": Module(), "loader": loader, "options": options}


def test_every_loop_of_the_page_is_tried():
    assert len(LOOPS) == PAGE.count("```python") == 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(LOOPS) - {"Several processes"}))
def test_a_loop_trains_as_without_a_recorder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for recorder in (Nothing, Recorder):
        names = given(recorder)
        start = copy.deepcopy(names["model"].state_dict())
        names = lightning(names) if name == "Lightning" else names
        exec(LOOPS[name], names)
        found.append(names["model"].state_dict())
        assert not torch.equal(found[-1]["0.weight"], start["0.weight"])
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    for path in tmp_path.glob("*.h5"):
        with open_relevance(path) as recording:
            assert recording.complete
            assert recording.steps == STEPS // (2 if name == "Gradients of several batches" else 1)
            assert recording.accumulated("dynamics").any()


PROCESS = """
import contextlib, sys, torch, torch.nn.functional as F
from lrp_dynamics import Recorder
sys.path.insert(0, sys.argv[1])
from test_loops import LOOPS, Nothing, given
rank, records = int(sys.argv[2]), sys.argv[3] == "True"
torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{sys.argv[4]}", rank=rank, world_size=2)
names = given(Recorder if records else Nothing, seed=rank)
exec(LOOPS["Several processes"], names)
torch.save(names["model"].state_dict(), f"{records}{rank}.pt")
torch.distributed.destroy_process_group()
"""


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
def test_of_several_processes_one_records_and_all_train_as_without(tmp_path):
    for records in (False, True):
        port = str(free_port())
        command = [sys.executable, "-c", PROCESS, str(Path(__file__).parent)]
        running = [
            subprocess.Popen(
                [*command, str(rank), str(records), port], cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            for rank in range(2)
        ]
        assert [process.wait(120) for process in running] == [0, 0]
    weights = {path.stem: torch.load(path, weights_only=True) for path in tmp_path.glob("*.pt")}
    assert weights.keys() == {"False0", "False1", "True0", "True1"}
    for other in ("False1", "True0", "True1"):
        shared = [key for key in weights[other] if "running" not in key]
        assert all(torch.equal(weights["False0"][key], weights[other][key]) for key in shared)
    for rank in (0, 1):  # statistics of BatchNorm are each process's own
        mine, theirs = weights[f"False{rank}"], weights[f"True{rank}"]
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    with open_relevance(tmp_path / "relevance.h5") as recording:
        assert recording.complete
        assert recording.steps == STEPS
