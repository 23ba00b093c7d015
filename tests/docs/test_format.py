"""The description of a recording is that of the code, and tells a recording from other files."""

import json
import shutil
import subprocess
import sys

import h5py
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder

from .pages import ROOT, programs

DESCRIPTION = json.loads((ROOT / "docs/_static/relevance.format.json").read_text(encoding="utf-8"))
SAMPLES = {
    "images": (torch.rand(3, 2, 5, 6), 2),
    "a signal": (torch.rand(3, 2, 7), 3),
    "volumes": (torch.rand(2, 1, 3, 4, 5), 1),
    "tables": (torch.rand(4, 9), 0),
}


def test_page_and_description_are_what_the_code_makes():
    done = subprocess.run([sys.executable, "docs/file_format.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def differences(path) -> list[str]:
    """Run the page's own program on a file."""
    code = programs("docs/file-format.md")[-1].partition("with open(")[0]
    names: dict = {}
    exec(code, names)
    return list(names["differences"](path, DESCRIPTION))


@pytest.fixture(params=SAMPLES)
def recording(request, tmp_path):
    samples, maps = SAMPLES[request.param]
    model = nn.Sequential(nn.Flatten(), nn.Linear(samples[0].numel(), 3))
    with Recorder(tmp_path / "relevance.h5", model, samples, [0] * len(samples), maps=maps) as recorder:
        recorder.record(0)
    return tmp_path / "relevance.h5"


def test_recordings_of_every_kind_of_sample_are_as_described(recording):
    assert differences(recording) == []


def remove(file: h5py.File) -> None:
    del file["scalars/logit"]


def widen(file: h5py.File) -> None:
    del file["scalars/logit"]
    file["scalars/logit"] = [[1.0] * 3]  # 64 bits


def shorten(file: h5py.File) -> None:
    del file["samples/label"]
    file.create_dataset("samples/label", (1,), "i2")


def rename(file: h5py.File) -> None:
    file.attrs["schema"] = "something else"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(remove, "no dataset"), (widen, "found f8"), (shorten, "samples/label"), (rename, "something else")],
)
def test_other_files_are_told_from_recordings(spoil, told, tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with Recorder(tmp_path / "relevance.h5", model, torch.rand(3, 1, 2, 2), [0, 1, 2]) as recorder:
        recorder.record(0)
    spoiled = shutil.copy(tmp_path / "relevance.h5", tmp_path / "spoiled.h5")
    with h5py.File(spoiled, "r+") as file:
        spoil(file)
    assert [line for line in differences(spoiled) if told in line]
