import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from synthetic import maps_of_a_walk, write_recording

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands import dynamics as dynamics_stage
from lrp_dynamics.measures import outliers
from lrp_dynamics.studies.blog import outliers as stage

DOCS = Path(__file__).parents[2] / "docs/reading-the-results.md"


def arguments(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def seed_of(folder, seed, jump=None, samples=60):
    folder.mkdir()
    maps = maps_of_a_walk(40, samples, seed=seed, jump=jump)
    recording = write_recording(folder / "relevance.h5", maps, seed=seed)
    out, table = folder / "dynamics.h5", folder / "samples.csv"
    dynamics_stage.run(arguments(dynamics_stage, "--relevance", recording, "--out", out, "--samples", table))
    (folder / "training.json").write_text(
        json.dumps({"test_accuracy": 0.5 + seed / 10, "train_accuracy": 0.9, "final_loss": 1.0 + seed}),
        encoding="utf-8",
    )
    return folder


def run(tmp_path, folders, **params):
    out, metrics = tmp_path / "outliers.csv", tmp_path / "metrics.json"
    training = [path for folder in folders for path in sorted(folder.glob("training.*"))]
    stage.run(
        arguments(
            stage,
            *("--dynamics", *(folder / "dynamics.h5" for folder in folders)),
            *("--samples", *(folder / "samples.csv" for folder in folders)),
            *("--training", *training),
            *("--params", json.dumps(params), "--out", out, "--metrics", metrics),
        )
    )
    return read_csv(out), json.loads(metrics.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("count", "repeats", "tolerance"), [(100, 20000, 0.2), (1000, 3000, 0.15)])
def test_false_positive_rate_on_log_normal_data_is_the_stated_one(count, repeats, tolerance):
    # Simulation, not the formula: data sets in which every value is ordinary.
    rng = np.random.default_rng(7)
    rate = np.mean([(outliers.log_mad_z(rng.lognormal(1, 0.7, count)) > 3.5).mean() for _ in range(repeats)])
    assert outliers.false_positive_rate(3.5, count) == pytest.approx(rate, rel=tolerance)


@pytest.mark.parametrize("count", [100, 2000])
def test_family_wise_error_rate_is_kept(count):
    rng = np.random.default_rng(8)
    cut = outliers.cut_off(count, fwer=0.05)
    any_flag = np.mean([(outliers.log_mad_z(rng.lognormal(0, 1, count)) > cut).any() for _ in range(4000)])
    assert 0.03 < any_flag < 0.06
    assert outliers.false_positive_rate(cut, count) * count == pytest.approx(0.05, rel=1e-3)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=5, max_size=50), st.floats(0.1, 10), st.floats(0.5, 3))
def test_z_does_not_depend_on_unit_or_power(values, unit, power):
    values = np.array(values)
    assume(np.median(abs(np.log(values) - np.median(np.log(values)))) > 1e-3)
    np.testing.assert_allclose(
        outliers.log_mad_z(unit * values**power), outliers.log_mad_z(values), rtol=1e-5, atol=1e-5
    )


def test_a_planted_outlier_is_found_among_values_that_it_cannot_move():
    values = np.random.default_rng(0).lognormal(0, 0.5, 200)
    values[17] = 1e6
    assert np.flatnonzero(outliers.log_mad_z(values) > 3.5).tolist() == [17]


def test_values_without_logarithm_or_spread_are_not_flagged_by_accident():
    z = outliers.log_mad_z(np.array([0.0, 1.0, 2.0, 3.0]))
    assert z[0] == -np.inf
    assert z[2] == 0
    assert outliers.log_mad_z(np.array([2.0, 2.0, 2.0, 5.0])).tolist() == [0, 0, 0, np.inf]
    assert outliers.log_mad_z(np.zeros(3)).tolist() == [-np.inf] * 3


def test_one_jump_is_numerical_and_many_large_changes_are_persistent(tmp_path):
    folder = tmp_path / "seed-0"
    folder.mkdir()
    maps = maps_of_a_walk(40, 60)
    maps[20, 5] *= 1000
    maps[:, 6] *= 1000
    recording = write_recording(folder / "relevance.h5", maps)
    out, table = folder / "dynamics.h5", folder / "samples.csv"
    dynamics_stage.run(arguments(dynamics_stage, "--relevance", recording, "--out", out, "--samples", table))
    rows, metrics = run(tmp_path, [folder])
    kinds = dict(zip(rows["index"].tolist(), rows["kind"], strict=True))
    assert {index: kind for index, kind in kinds.items() if kind != "none"} == {105: "numerical", 106: "persistent"}
    assert (metrics["outliers_flagged"], metrics["outliers_numerical"], metrics["outliers_persistent"]) == (2, 1, 1)
    assert np.isnan(rows["majority"]).all()  # one seed is no majority


def test_tiny_denominators_make_a_flag_numerical():
    flagged, smallest = np.array([True, True, False, True]), np.array([1e-9, 1.0, 1e-9, 0])
    kinds = outliers.kind(flagged, np.full(4, 0.01), smallest, numerical_share=0.25, tiny_z=1e-7)
    assert kinds.tolist() == ["numerical", "persistent", "none", "persistent"]  # 0 is that of a dead unit


def test_majority_of_seeds(tmp_path):
    jumps = [(20, 5, 1e4), (20, 5, 1e4), (20, 9, 1e4)]
    rows, metrics = run(tmp_path, [seed_of(tmp_path / f"seed-{k}", k, jump) for k, jump in enumerate(jumps)])
    by_index = {
        int(i): (int(n), int(m))
        for i, n, m in zip(*(rows[c] for c in ("index", "seeds_flagged", "majority")), strict=True)
    }
    assert by_index[105] == (2, 1)
    assert by_index[109] == (1, 0)
    assert metrics["outliers_in_majority_of_seeds"] == 1
    assert rows["seeds_recorded"].tolist() == [3] * 180
    assert (np.diff(rows["z"][:60]) <= 0).all()
    assert metrics["test_accuracy"] == pytest.approx(0.6)
    assert metrics["final_loss"] == pytest.approx(2.0)
    assert metrics["false_flags_expected"] == pytest.approx(180 * outliers.false_positive_rate(3.5, 60))


def test_wishing_for_a_family_wise_error_rate_sets_the_threshold(tmp_path):
    rows, metrics = run(tmp_path, [seed_of(tmp_path / "seed-0", 0)], fwer=0.05)
    assert metrics["outlier_threshold"] == pytest.approx(outliers.cut_off(60, fwer=0.05))
    assert metrics["outlier_threshold"] != pytest.approx(3.5, abs=1e-3)
    assert (rows["flagged"] == (rows["z"] > metrics["outlier_threshold"])).all()
    assert metrics["false_flags_expected"] == pytest.approx(0.05, rel=1e-3)


def test_unknown_parameters_and_missing_columns_are_refused(tmp_path):
    folder = seed_of(tmp_path / "seed-0", 0)
    with pytest.raises(UserError, match="unknown key treshold; the known keys are: threshold"):
        run(tmp_path, [folder], treshold=3)
    (folder / "samples.csv").write_text("index,label\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"samples.csv: no column split, divergence"):
        run(tmp_path, [folder])


def documented(section: str) -> set[str]:
    """Return the names in the first column of a section's table in docs/reading-the-results.md."""
    text = DOCS.read_text(encoding="utf-8").split(f"## `{section}`")[1].split("\n## ")[0]
    return {
        name for row in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }


def test_every_column_is_documented_and_every_documented_column_exists(tmp_path):
    rows, metrics = run(tmp_path, [seed_of(tmp_path / f"seed-{seed}", seed) for seed in (0, 1)])
    assert documented("samples.csv") == set(read_csv(tmp_path / "seed-0/samples.csv"))
    assert documented("outliers.csv") == set(rows)
    spearman = {name for name in metrics if name.startswith("divergence_spearman_")}
    assert documented("metrics.json") - {"divergence_spearman_…", "…between_seeds"} == set(metrics) - spearman


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"fwer": 2}, "outliers.fwer: found 2, expected a number between 0 and 1, neither of them, or null"),
        ({"threshold": "x"}, "threshold: found 'x', expected a number greater than 0"),
        ({"threshold": float("nan")}, "threshold: found nan"),
        ({"threshold": None}, "threshold: found None"),
        ({"numerical_share": 1.5}, "numerical_share: found 1.5, expected a number from 0 to 1"),
        ({"min_abs_z": True}, "min_abs_z: found True, expected a number of at least 0"),
    ],
)
def test_wrong_values_of_parameters_are_refused(tmp_path, params, says):
    with pytest.raises(UserError, match=says):
        run(tmp_path, [seed_of(tmp_path / "seed-0", 0)], **params)
    assert not (tmp_path / "outliers.csv").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not a JSON file"),
        ("[1, 2]", "expected a training.json, with numbers for train_accuracy"),
        ("{}", "expected a training.json"),
        ('{"train_accuracy": 0.9, "test_accuracy": "good", "final_loss": 1.0}', "expected a training.json"),
    ],
)
def test_only_the_summary_of_a_training_is_taken_for_one(tmp_path, content, says):
    folder = seed_of(tmp_path / "seed-0", 0)
    (folder / "training.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"seed-0/training.json: {says}"):
        run(tmp_path, [folder])


def test_a_training_without_test_images_is_summed_up(tmp_path):
    folder = seed_of(tmp_path / "seed-0", 0)
    (folder / "training.json").write_text(
        '{"train_accuracy": 0.9, "test_accuracy": null, "final_loss": 1.0}', encoding="utf-8"
    )
    _, metrics = run(tmp_path, [folder])
    assert metrics["train_accuracy"] == 0.9
    assert "test_accuracy" not in metrics


def test_a_seed_given_twice_does_not_make_a_majority(tmp_path):
    folders = [seed_of(tmp_path / name, 4, (20, 5, 1e4)) for name in ("one", "two")]
    with pytest.raises(
        UserError, match=r"one/dynamics.h5 and .*two/dynamics.h5 are both of seed 4; give each seed once"
    ):
        run(tmp_path, folders)


def test_tables_and_dynamics_of_different_seeds_are_not_mixed(tmp_path):
    folders = [seed_of(tmp_path / f"seed-{seed}", seed) for seed in (0, 1)]
    paths = [folder / "samples.csv" for folder in folders]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    for path, text in zip(paths, reversed(texts), strict=True):
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"seed-0/samples.csv and .*seed-0/dynamics.h5 are not of the same run"):
        run(tmp_path, folders)


def test_files_that_are_no_dynamics_are_named(tmp_path):
    folder = seed_of(tmp_path / "seed-0", 0)
    shutil.copy(folder / "relevance.h5", folder / "dynamics.h5")
    with pytest.raises(UserError, match=r"dynamics.h5: found schema 'lrp-dynamics/relevance' version 2, expected"):
        run(tmp_path, [folder])
    (folder / "dynamics.h5").write_text("hello", encoding="utf-8")
    with pytest.raises(UserError, match=r"dynamics.h5: HDF5 cannot open it"):
        run(tmp_path, [folder])


def test_metrics_tell_how_far_records_are_apart_and_what_counts_as_numerical(tmp_path):
    folder = tmp_path / "seed-0"
    folder.mkdir()
    recording = write_recording(folder / "relevance.h5", maps_of_a_walk(10, 20), every=7)
    out, table = folder / "dynamics.h5", folder / "samples.csv"
    dynamics_stage.run(arguments(dynamics_stage, "--relevance", recording, "--out", out, "--samples", table))
    _, metrics = run(tmp_path, [folder], numerical_share=0.4)
    assert (metrics["largest_step_gap"], metrics["numerical_share"]) == (7, 0.4)


def test_broken_tables_are_named(tmp_path):
    folder = seed_of(tmp_path / "seed-0", 0)
    text = (folder / "samples.csv").read_text(encoding="utf-8")
    (folder / "samples.csv").write_text(text[: len(text) // 2].rpartition(",")[0] + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"samples.csv: line \d+ has \d+ cells, expected \d+ as the header has"):
        run(tmp_path, [folder])
    (folder / "samples.csv").write_bytes(b"index\n\xff\xfe\n")
    with pytest.raises(UserError, match=r"samples.csv: not a CSV file"):
        run(tmp_path, [folder])
