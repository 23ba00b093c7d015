"""Which values the trials of a search take, and what is made of their results."""

import json

import numpy as np
import pytest

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.studies.vgg11 import search as stage
from lrp_dynamics.training import search

GRID = {
    "sampler": "grid",
    "trials": None,
    "seed": 0,
    "space": {"training.learning_rate": [0.1, 0.01, 0.001], "model": ["a", "b"]},
}
RANDOM = {
    "sampler": "random",
    "trials": 5,
    "seed": 3,
    "space": {
        "training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "training.momentum": {"low": 0.5, "high": 0.9, "log": False},
        "training.epochs": {"low": 2, "high": 4, "log": False},
        "model": ["a", "b"],
    },
}


def test_a_grid_has_every_point_once():
    assert search.count(GRID) == 6
    points = [tuple(search.values_of(GRID, trial).values()) for trial in range(6)]
    assert points == [(0.1, "a"), (0.1, "b"), (0.01, "a"), (0.01, "b"), (0.001, "a"), (0.001, "b")]
    assert search.count(GRID | {"trials": 4}) == 4
    assert search.count(GRID | {"trials": 40}) == 6
    with pytest.raises(UserError, match="the grid has 6 points, hence no trial 6"):
        search.values_of(GRID, 6)


def test_random_trials_lie_in_the_space_and_depend_on_seed_and_number_alone():
    drawn = [search.values_of(RANDOM, trial) for trial in range(400)]
    assert drawn[7] == search.values_of(RANDOM | {"trials": 8}, 7)
    assert drawn[7] != search.values_of(RANDOM | {"seed": 4}, 7)
    rates, momenta, epochs, models = (np.array([values[key] for values in drawn]) for key in RANDOM["space"])
    assert ((rates >= 1e-4) & (rates <= 1e-1)).all()
    assert ((momenta >= 0.5) & (momenta <= 0.9)).all()
    # A third of the trials in each decade; evenly in between; every choice.
    np.testing.assert_allclose(np.histogram(np.log10(rates), [-4, -3, -2, -1])[0], 400 / 3, atol=40)
    np.testing.assert_allclose(np.histogram(momenta, [0.5, 0.7, 0.9])[0], 200, atol=40)
    assert sorted(set(epochs)) == [2, 3, 4]
    assert sorted(set(models)) == ["a", "b"]
    json.dumps(drawn)  # plain numbers, not NumPy's


def test_nothing_to_search():
    assert search.count(None) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (RANDOM | {"trials": None}, "search.trials: found null, expected the number"),
        (RANDOM | {"sampler": "grid"}, "search.space: training.learning_rate is a range"),
    ],
)
def test_searches_that_cannot_be(wrong, message):
    with pytest.raises(UserError, match=message):
        search.count(wrong)


def test_values_take_the_place_of_their_keys():
    params = {"model": "a", "training": {"learning_rate": 1, "epochs": 2}}
    changed = search.with_values(params, {"training.learning_rate": 5, "model": "b"})
    assert changed == {"model": "b", "training": {"learning_rate": 5, "epochs": 2}}
    assert params["training"]["learning_rate"] == 1
    for key in ("training.learning_rat", "model.depth", "nothing.there", "seed"):
        with pytest.raises(UserError, match=f"search.space: found the key '{key}', expected one of the experiment's"):
            search.with_values(params, {key: 0})


def test_the_best_trial_comes_first(tmp_path, capsys):
    import argparse

    paths = []
    for trial, (accuracy, loss) in enumerate([(0.5, 1.0), (0.9, 0.3), (0.9, 0.2), (0.7, 0.1), (0.1, 2.0), (0.2, 2.0)]):
        numbers = {"validation_accuracy": accuracy, "validation_loss": loss, "best_epoch": 1.5, "steps": 30}
        paths.append(tmp_path / f"{trial}.json")
        paths[-1].write_text(json.dumps(numbers | {"stopped_early": trial == 2, "parameters": 7}), encoding="utf-8")
    parser = argparse.ArgumentParser()
    stage.add_arguments(parser)
    words = [
        "--name",
        "demo",
        "--trials",
        *paths,
        "--params",
        json.dumps({"search": GRID, "dataset": "shapes10"}),
        "--table",
        tmp_path / "demo/search.csv",
    ]
    stage.run(parser.parse_args(list(map(str, [*words, "--out-dir", tmp_path / "figures"]))))
    table = read_csv(tmp_path / "demo/search.csv")
    assert table["trial"].tolist() == [2, 1, 3, 0, 5, 4]
    assert table["training.learning_rate"].tolist() == [0.01, 0.1, 0.01, 0.1, 0.001, 0.001]
    assert table["model"].tolist() == ["a", "b", "b", "a", "b", "a"]
    assert table["stopped_early"].tolist() == [1, 0, 0, 0, 0, 0]
    assert "best of 6 trials: trial 2, validation accuracy 90.00%, with training.learning_rate = 0.01, model = a" in (
        capsys.readouterr().out
    )
    assert (tmp_path / "figures/search.png").exists()
