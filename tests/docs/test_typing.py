"""The package is typed: what a user writes with its public names is checked by mypy as their own code is."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

SCRIPT = """
from pathlib import Path

import numpy as np
import torch
from torch import nn

import lrp_dynamics
from lrp_dynamics import Recorder, lrp, open_relevance

model: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
x, y = torch.rand(4, 3, 2, 2), torch.arange(4) % 3
found: lrp.Relevance = lrp.relevance(model, x, y, composite="epsilon_plus")
explainer = lrp.Explainer(model, {"rules": {"*": {"rule": "epsilon", "epsilon": 1e-6}}})
residual: torch.Tensor = explainer(x, y).residual
with Recorder("relevance.h5", model, x, y, every=2, maps=2, attributes={"classes": ["a", "b", "c"]}) as recorder:
    recorder.record(1, loss=0.5)
with open_relevance(Path("relevance.h5")) as recording:
    array: np.ndarray = recording.maps(samples=0)
    samples: int = recording.samples
page: Path = lrp_dynamics.study("relevance.h5", "out")
"""
WRONG = """
lrp.relevance(model, x, y, compsite="epsilon")
maps: str = found.input
Recorder("relevance.h5", model, x, y, every="2")
"""


def checked(folder, script):
    (folder / "mine.py").write_text(script, encoding="utf-8")
    options = ["--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    command = [sys.executable, "-m", "mypy", *options, "mine.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def test_calls_of_public_names_are_clean_and_wrong_ones_are_found(tmp_path):
    done = checked(tmp_path, SCRIPT)
    assert done.returncode == 0, done.stdout
    done = checked(tmp_path, SCRIPT + WRONG)
    assert "Found 3 errors" in done.stdout, done.stdout
