"""A network and a folder of images of the user's own, by parameters alone: Snakemake and DVC know their files."""

import copy
import shutil

import numpy as np
import pytest
from PIL import Image

from workflow.conftest import PARAMS, Project, copy_of_project

NET = """
from torch import nn

from parts import width

def small(n_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, width(), 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(width() * 36, n_classes))
"""


def fill(folder, count, seed):
    rng = np.random.default_rng(seed)
    for name in ("stripes", "noise"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (24, 20, 3), np.uint8)
            pixels = pixels if name == "noise" else np.where(np.arange(20)[None, :, None] % 4 < 2, 220, pixels // 4)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:02}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with one experiment, of a network in a file, trained on a folder of images."""
    project = copy_of_project(tmp_path_factory.mktemp("own") / "my project")
    (project.path("my nets")).mkdir()
    project.path("my nets/net.py").write_text(NET, encoding="utf-8")
    project.path("my nets/parts.py").write_text("def width():\n    return 3\n", encoding="utf-8")
    fill(project.path("data/pictures/for training"), 12, 0)
    fill(project.path("data/pictures/for test"), 4, 1)
    mine = copy.deepcopy(PARAMS["experiments"]["demo"]) | {"dataset": "pictures", "model": "my nets/net.py:small"}
    mine["training"] |= {"epochs": 1, "batch_size": 4, "threads": 1}
    mine["recording"] |= {"samples": 4, "maps": 4, "composite": "epsilon"}
    folder = {"kind": "folder", "path": "data/pictures/for training", "test_path": "data/pictures/for test", "size": 20}
    datasets = {"pictures": folder | {"channels": 1}}
    project.write_params({"storage": PARAMS["storage"], "datasets": datasets, "experiments": {"mine": mine}})
    project.run("python", "workflow/scripts/dvc_yaml.py", "mine")
    project.commit("own")
    project.snakemake("--cores", "1", "results/mine/outliers.csv")
    return project


@pytest.fixture
def project(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def stages(project):
    """Both tools' lists of what the trained network would be made anew by, of the stages up to the outliers."""
    wanted = {"prepare-pictures", "train-mine-0", "dynamics-mine-0", "outliers-mine"}
    return project.planned("results/mine/outliers.csv") & wanted, project.after(*project.dirty()) & wanted


@pytest.mark.long
def test_the_files_of_a_network_and_of_its_images_are_followed(project):
    assert stages(project) == (set(), set())
    # What the network's file imports beside it counts as well.
    file = project.path("my nets/parts.py")
    file.write_text("def width():\n    return 5\n", encoding="utf-8")
    trained = {"train-mine-0", "dynamics-mine-0", "outliers-mine"}
    assert stages(project) == (trained, trained)
    file.write_text("def width():\n    return 3\n", encoding="utf-8")
    assert stages(project) == (set(), set())
    # So does a new image of either folder.
    source = project.path("data/pictures/for test/noise/00.png")
    shutil.copy(source, source.with_name("new.png"))
    assert stages(project) == ({"prepare-pictures", *trained}, {"prepare-pictures", *trained})


@pytest.mark.long
def test_a_network_by_its_package_and_one_that_is_not_there(project):
    shutil.copytree(project.path("my nets"), project.path("mine"))
    project.path("mine/net.py").write_text(NET.replace("from parts", "from .parts"), encoding="utf-8")
    project.edit("experiments.mine.model", "mine.net.small")
    assert "train-mine-0" in stages(project)[0]
    project.snakemake("--cores", "1", "results/mine/seed-0/relevance.h5")
    out = project.run("lrp-dynamics", "info", "results/mine/seed-0/relevance.h5")
    assert "mine.net.small" in out
    assert "2: noise, stripes" in out
    project.edit("experiments.mine.model", "mine/other.py:small")
    told = project.snakemake("-n", ok=False)
    assert (
        "params.yaml: experiments.mine.model: found 'mine/other.py:small', but there is no file mine/other.py" in told
    )
    assert "Traceback" not in told
