"""The loss of both halves, worked by hand."""

import json

import numpy as np

from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.commands.cli import main


def test_the_means_of_both_halves(tmp_path):
    write_csv(tmp_path / "training.csv", {"iteration": np.arange(1, 5), "loss": np.array([3.0, 1.0, 0.5, 1.5])})
    words = ["--training", str(tmp_path / "training.csv"), "--out", str(tmp_path / "metrics.json")]
    assert main(["halves-measure", *words]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == {"first_half": 2, "second_half": 1}
