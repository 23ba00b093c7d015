"""Comparing explanations: numbers against plain loops, made-up recordings of known answer, and a real training."""

import argparse
import json
from itertools import pairwise

import h5py
import numpy as np
import pytest
from geometry import watched
from scipy.stats import spearmanr
from synthetic import maps_of_a_walk, write_recording

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.base.tables import read_csv, write_csv
from lrp_dynamics.commands import figures, report
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.measures.advice import ranks, reasons
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.studies.rules import compare
from lrp_dynamics.studies.rules.comparison import agreement_table, comparison_table, long_table, measure, ranked
from lrp_dynamics.studies.rules.figures import maps, smoothness
from lrp_dynamics.studies.rules.figures import ranks as ranks_figure
from lrp_dynamics.studies.rules.results import open_results
from lrp_dynamics.studies.rules.study import FIGURES
from lrp_dynamics.training import run as experiment

OUTLIERS = {"threshold": 3.5, "fwer": None, "numerical_share": 0.25, "min_abs_z": 1e-7}
STEPS, SAMPLES = 30, 25


def recording(folder, name, maps, seed=0, mask=None):
    path = write_recording(folder / f"{name}-{seed}.h5", maps, seed=seed)
    with h5py.File(path, "r+") as file:
        file.attrs["composite"] = name
        if mask is not None:
            file.create_dataset("samples/mask", data=mask)
    return path


def measured(path):
    with open_relevance(path) as file:
        return measure(file, OUTLIERS)


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    """Explanations: a walk, the same twice as large, an unrelated one, and the walk with one jump of one sample."""
    return walks_of(tmp_path_factory.mktemp("walks"))


def walks_of(folder, shape=(8, 8)):
    walk = maps_of_a_walk(STEPS, SAMPLES, seed=1, shape=shape)
    mask = np.zeros((SAMPLES, *shape), np.uint8)
    mask[:, :2] = 1
    maps = {
        "walk": walk,
        "twice": 2 * walk,
        "other": maps_of_a_walk(STEPS, SAMPLES, seed=9, shape=shape),
        "jump": maps_of_a_walk(STEPS, SAMPLES, seed=1, jump=(17, 3, 300.0), shape=shape),
    }
    return maps, {name: recording(folder, name, m, mask=mask) for name, m in maps.items()}


def row(table, name, column):
    return table[column][list(table["explanation"]).index(name)]


@pytest.mark.parametrize("shape", [(8, 8), (40,), (3, 4, 5)], ids=["images", "signals", "volumes"])
def test_numbers_are_those_of_plain_loops(tmp_path, shape):
    maps, paths = walks_of(tmp_path, shape)
    own = tuple(range(1, 1 + len(shape)))
    table = comparison_table([measured(path) for path in paths.values()])
    for name, values in maps.items():
        values = values.astype(np.float64)
        changes = [[np.abs(b - a).sum() for a, b in pairwise(sample)] for sample in values.swapaxes(0, 1)]
        divergence, net = np.sum(changes, axis=1), np.abs(values[-1] - values[0]).sum(axis=own)
        positive = np.maximum(values[-1], 0)
        on_object = positive[:, :2].sum(axis=own) / positive.sum(axis=own)
        relevance = np.abs(values).mean(axis=0).sum(axis=own)
        expected = {
            "divergence_max_over_median": divergence.max() / np.median(divergence),
            "path_to_net_change_median": np.median(divergence / net),
            "mass_on_object": np.median(on_object),
            "divergence_spearman_relevance": spearmanr(divergence, relevance).statistic,
            "conservation_error_max": 0,
            "min_abs_z": 0.1,
        }
        for column, value in expected.items():
            assert row(table, name, column) == pytest.approx(value, rel=2e-3, abs=1e-6), (name, column)
        correlations = [
            [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairwise(sample)] for sample in values.swapaxes(0, 1)
        ]
        expected = np.median(np.median(correlations, axis=1))
        assert row(table, name, "successive_correlation_median") == pytest.approx(expected, abs=1e-4)


def test_a_jump_is_found_and_called_numerical(walks):
    _, paths = walks
    table = comparison_table([measured(paths["walk"]), measured(paths["jump"])])
    assert row(table, "walk", "outliers_flagged") == 0
    assert row(table, "jump", "outliers_numerical") == row(table, "jump", "outliers_flagged") == 1
    assert row(table, "jump", "worst_step_share_max") > 0.4
    samples = measured(paths["jump"]).samples
    assert samples["flagged"].nonzero()[0].tolist() == [3]
    assert samples["worst_step_iteration"][3] in (17, 18)


@pytest.mark.parametrize("shape", [(8, 8), (40,), (3, 4, 5)], ids=["images", "signals", "volumes"])
def test_agreement_sees_shape_and_not_size(tmp_path, shape):
    _, paths = walks_of(tmp_path, shape)
    table = agreement_table([measured(paths[name]) for name in ("walk", "twice", "other")])
    pairs = {(str(a), str(b)): i for i, (a, b) in enumerate(zip(table["a"], table["b"], strict=True))}
    for column in ("divergence", "last_map", "dynamics_map"):
        assert table[column][pairs["walk", "twice"]] == pytest.approx(1, abs=1e-3)
        assert abs(table[column][pairs["walk", "other"]]) < 0.6


def test_agreement_compares_within_a_seed_and_reproducibility_between_seeds(tmp_path):
    walk, other = maps_of_a_walk(STEPS, SAMPLES, seed=1), maps_of_a_walk(STEPS, SAMPLES, seed=2)
    runs = [recording(tmp_path, name, maps, seed) for name in ("a", "b") for seed, maps in ((0, walk), (1, other))]
    runs = [measured(path) for path in runs]
    assert agreement_table(runs)["divergence"].tolist() == [pytest.approx(1)]
    between = spearmanr(runs[0].samples["divergence"], runs[1].samples["divergence"]).statistic
    table = comparison_table(runs)
    assert table["divergence_spearman_between_seeds"].tolist() == [pytest.approx(between)] * 2
    assert table["seeds"].tolist() == [2, 2]


def test_advice_follows_the_numbers():
    table = {
        "explanation": np.array(["good", "fair", "poor", "worst"]),
        "conservation_error_median": np.array([1e-7, 5e-4, 0.1, 2.0]),
        "successive_correlation_median": np.array([0.99, 0.98, 0.7, 0.1]),
        "worst_step_share_max": np.array([0.1, 0.2, 0.3, 0.9]),
        "mass_on_object": np.full(4, np.nan),
    }
    ranked = ranks(table)
    assert ranked["conservation_error_median"].tolist() == [1, 1, 3, 4]  # below a thousandth is rounding
    assert ranked["successive_correlation_median"].tolist() == [1, 2, 3, 4]
    assert "mass_on_object" not in ranked
    speaks, against = reasons(table, 0)
    assert "maps change smoothly from step to step" in speaks
    assert against == []
    assert reasons(table, 3)[0] == []
    assert len(reasons(table, 3)[1]) == 3


def stage(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    module.run(parser.parse_args([str(word) for word in words]))


def test_recordings_that_do_not_belong_together_are_refused(tmp_path):
    training = tmp_path / "training.json"
    training.write_text("{}", encoding="utf-8")
    a = recording(tmp_path, "a", maps_of_a_walk(STEPS, 5))
    b = recording(tmp_path, "b", maps_of_a_walk(STEPS - 1, 5))
    arguments = ["--recordings", a, b, "--training", training, "--params", json.dumps(OUTLIERS), "--out", tmp_path]
    with pytest.raises(UserError, match=r"b-0\.h5: is not complete, or not of the same samples and steps as .*a-0\.h5"):
        stage(compare, *arguments)
    assert not (tmp_path / "comparison.csv").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short real training under three explanations, compared, drawn and told, twice."""
    folder = tmp_path_factory.mktemp("trained")
    options = {"title": "shapes10 (synthetic)", "n_train": 60, "n_test": 10}
    prepared.write(folder / "data.h5", shapes10.prepare("shapes10", options, folder))
    composites = {"plus": "z_plus", "eps": "epsilon_rms", "sensitivity": "sensitivity"}
    params = {
        "model": "blog_cnn",
        "inputs": {"low": 0.0, "high": 1.0},
        "training": {"epochs": 5, "batch_size": 20, "optimizer": "adam", "learning_rate": 0.001, "threads": 1},
        "recording": {"samples": 12, "split": "train", "seed": 0, "every": 1, "maps": 12, "composites": composites},
        "seed": 0,
    }
    experiment.run_training(folder / "data.h5", params, folder / "seed-0", cache=folder / "cache")
    recordings = [folder / "seed-0" / name / "relevance.h5" for name in composites]
    for name in ("one", "two"):
        training = ["--training", folder / "seed-0/training.json", "--params", json.dumps(OUTLIERS)]
        stage(compare, "--recordings", *recordings, *training, "--out", folder / name)
        shown = ["--params", '{"samples": 2, "snapshots": 3}', "--out-dir", folder / name / "figures"]
        tables = (f"{table}={folder / name / table}.csv" for table in ("comparison", "agreement", "samples", "curves"))
        with watched() as faults:
            stage(figures, "rules", "--inputs", *tables, *(f"recordings={path}" for path in recordings), *shown)
        assert faults == {}
    return folder, recordings


def test_the_same_bytes_each_time(trained):
    folder, _ = trained
    names = sorted(path.relative_to(folder / "one") for path in (folder / "one").rglob("*.*"))
    assert {f"figures/{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg")} <= set(map(str, names))
    for name in names:
        assert sha256(folder / "one" / name) == sha256(folder / "two" / name), name


def test_a_real_training_is_compared(trained):
    folder, _ = trained
    table = read_csv(folder / "one" / "comparison.csv")
    assert table["explanation"].tolist() == ["plus", "eps", "sensitivity"]
    assert table["conservation_error_median"][0] < 1e-3 < table["conservation_error_median"][2]
    assert table["unaccounted_relevance_max"][1] < 1e-4 < table["conservation_error_max"][1]
    assert np.isinf(table["min_abs_z"][2])
    assert (table["mass_on_object"] > 0).all()
    metrics = json.loads((folder / "one" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["plus_mean_rank"] == pytest.approx(table["mean_rank"][0])
    assert metrics["recorded_steps"] == 16
    assert len(read_csv(folder / "one" / "samples.csv")["seed"]) == 36


def test_the_report_tells_what_the_tables_say(trained, monkeypatch):
    folder, recordings = trained
    monkeypatch.chdir(folder)
    inputs = {name: f"one/{name}.csv" for name in ("comparison", "agreement")} | {"metrics": "one/metrics.json"}
    inputs |= {"recording": recordings[0], "figures": "one/figures"}
    words = [f"{name}={path}" for name, path in inputs.items()]
    notebook = ["rules", "--inputs", *words]
    stage(report, *notebook, "--ipynb", folder / "report.ipynb", "--html", folder / "report.html")
    html = (folder / "report.html").read_text(encoding="utf-8")
    table = read_csv(folder / "one" / "comparison.csv")
    best = table["explanation"][np.argsort(table["mean_rank"], kind="stable")[0]]
    assert f"By the mean of its ranks, {best} is the first choice here" in html
    assert html.count("<img") == len(FIGURES)
    assert "shapes10 (synthetic)" in html
    assert str(folder) not in html


def test_figures_mark_coincident_lines_and_rank_no_ties(walks, tmp_path):
    """`twice` lies on `walk` in every curve that does not see the size; maps are panels of one size."""
    _, paths = walks
    made = [measured(path) for path in paths.values()]
    table = ranked(comparison_table(made))
    tables = {"comparison": table, "agreement": agreement_table(made)}
    tables |= {name: long_table(made, name) for name in ("samples", "curves")}
    for name, columns in tables.items():
        write_csv(tmp_path / f"{name}.csv", columns)
    inputs = {name: tmp_path / f"{name}.csv" for name in tables} | {"recordings": list(paths.values())}
    with open_results(inputs, {"samples": 2, "snapshots": 3}) as run:
        solid = {line.get_label(): line.get_linestyle() == "-" for line in smoothness(run).axes[0].lines}
        assert solid == {"walk": True, "twice": False, "other": True, "jump": False}
        panels = [axes.get_position().size for axes in laid_out(maps(run)).axes if axes.images]
        np.testing.assert_allclose(panels, np.broadcast_to(panels[0], (len(panels), 2)), rtol=0.02)
        digits = [text.get_text() for text in ranks_figure(run).axes[0].texts]
    rows = np.reshape(digits, (-1, 4))
    ties = {key for key, values in ranks(table).items() if (values == 1).all()}
    assert "conservation_error_median" in ties
    assert sum((row == "=").all() for row in rows) == len(ties)
    assert sum((row == "=").any() for row in rows) == len(ties)


def laid_out(figure):
    figure.draw_without_rendering()
    return figure
