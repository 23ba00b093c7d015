"""Of several GPUs, trainings side by side take one each."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lrp_dynamics.training import device

TAKE = """
import sys, torch
from types import SimpleNamespace
from lrp_dynamics.training import device
torch.cuda.is_available = lambda: True
torch.cuda.device_count = lambda: 2
torch.cuda.get_device_properties = lambda k: SimpleNamespace(uuid=f"uuid-{k}")
print(device.prepare_device({"device": sys.argv[1], "threads": 1}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def training(tmp_path):
    """Return a function that starts a process that takes a device, and tells which."""
    running = []

    def start(name):
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=device.os.environ | {"TMPDIR": str(tmp_path)},
        )  # fmt: skip
        running.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in running:
        process.communicate()


def test_trainings_side_by_side_take_a_gpu_each(training):
    first, took = training("cuda")
    assert took == "cuda:0"
    assert training("auto")[1] == "cuda:1"
    assert training("cuda")[1] == "cuda:0"  # all are taken
    assert training("cuda:1")[1] == "cuda:1"  # as asked for
    first.kill()
    first.wait()
    assert training("cuda")[1] == "cuda:0"


def test_a_single_gpu_is_not_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(device, "free_gpu", lambda: SimpleNamespace())
    assert str(device.prepare_device({"device": "cuda", "threads": 1})) == "cuda"


def test_the_warning_that_is_left_out_is_one_of_torch():
    assert device.CAPTURABLE in Path(torch.optim.__file__).with_name("optimizer.py").read_text(encoding="utf-8")
