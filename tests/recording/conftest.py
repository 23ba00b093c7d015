"""The images of most trainings here, and what one of them comes to."""

from pathlib import Path

import pytest
from trainings import PARAMS, results

from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.training import run as experiment


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training images, some of them labelled wrongly, and 50 test images."""
    path = tmp_path_factory.mktemp("data") / "shapes10.h5"
    options = {"title": "shapes10 (synthetic)", "n_train": 200, "n_test": 50, "preset": "easy", "label_noise": 0.1}
    prepared.write(path, shapes10.prepare("shapes10", options, path.parent))
    return path


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The SHA-256 of each result of a training that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    experiment.run_training(data, PARAMS, folder / "run", cache=folder / "cache")
    return results(folder / "run")
