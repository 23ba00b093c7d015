"""What a bare install brings is enough to explain and to record; commands that need more say which extra brings it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lrp_dynamics.base.imports import OF_TRAINING

ROOT = Path(__file__).parents[1]
# Only what explaining and recording import; every other package must earn its place in an extra.
BARE = {"torch", "numpy", "h5py", "isal", "matplotlib", "pillow", "scipy", "tqdm"}
HIDE = f"import sys; sys.modules |= dict.fromkeys({OF_TRAINING!r}); "
EXPLAIN_AND_RECORD = """
import torch
from lrp_dynamics import Recorder, lrp, open_relevance, study

net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
images = torch.ones(2, 3, 2, 2)
assert lrp.relevance(net, images, [0, 1]).input.shape == images.shape
with Recorder("relevance.h5", net, images, [0, 1]) as recorder:
    recorder.record(0)
with open_relevance("relevance.h5") as recording:
    assert recording.maps(0).shape[-2:] == (2, 2)
"""


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_the_dependencies_are_what_explaining_and_recording_import():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert names(project["dependencies"]) == BARE
    assert names(project["optional-dependencies"]["training"]) == set(OF_TRAINING)
    assert "lrp-dynamics[training]" in project["optional-dependencies"]["workflow"]


def test_explaining_and_recording_need_no_extra(tmp_path):
    run = {"cwd": tmp_path, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", HIDE + EXPLAIN_AND_RECORD], **run)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["train", "explain"])
def test_a_command_that_needs_more_names_the_extra(command, tmp_path):
    words = {
        "train": ["--data", "none.h5", "--params", "{}", "--seed", "0", "--out", "."],
        "explain": ["none.png", "--model", "resnet18", "--out", "explained"],
    }[command]
    code = HIDE + f"from lrp_dynamics.commands import cli; sys.exit(cli.main({[command, *words]!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "is needed here, and not installed: pip install 'lrp-dynamics[training]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
