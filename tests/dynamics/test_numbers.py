"""The numbers per sample and per experiment, on examples small enough to work out by hand."""

from itertools import pairwise

import numpy as np
import pytest
from synthetic import maps_of_a_walk, write_recording

from lrp_dynamics.base.parameters import normal
from lrp_dynamics.measures import dynamics as dyn
from lrp_dynamics.measures.outliers import outlier_table
from lrp_dynamics.measures.parameters import Outliers
from lrp_dynamics.measures.samples import conservation, placement, sample_table, worst_share
from lrp_dynamics.measures.summary import between_seeds, metrics
from lrp_dynamics.recording.store import open_relevance


def test_a_mere_change_of_gain_gives_slope_one():
    rng = np.random.default_rng(0)
    maps = rng.uniform(0.5, 2, (30, 1, 1, 1)) * rng.lognormal(0, 1, (1, 3, 6, 6))  # R_t = c_t r
    result = placement(dyn.dynamics(maps), np.abs(maps).sum(axis=0))
    assert result["dynamics_relevance_slope"] == pytest.approx([1, 1, 1])
    assert result["dynamics_relevance_spearman"] == pytest.approx([1, 1, 1])


def test_noise_of_the_same_size_everywhere_gives_slope_zero():
    rng = np.random.default_rng(1)
    maps = 100 * rng.lognormal(0, 1, (1, 4, 16, 16)) + rng.normal(0, 0.01, (400, 4, 16, 16))
    slope = placement(dyn.dynamics(maps), np.abs(maps).sum(axis=0))["dynamics_relevance_slope"]
    assert np.abs(slope).max() < 0.02


def test_a_sample_that_never_changes_has_no_placement_and_no_worst_step():
    result = placement(np.zeros((1, 3, 3)), np.ones((1, 3, 3)))
    assert np.isnan([result["dynamics_relevance_slope"], result["dynamics_relevance_spearman"]]).all()
    assert worst_share(np.array([[0.0, 0], [0, 3], [0, 1]])).tolist() == [0, 0.75]


class Recorded:
    """Scalars of one sample at two steps."""

    def __init__(self, **scalars):
        self._scalars = scalars

    def scalar(self, name):
        return np.array(self._scalars[name], dtype=np.float32)[:, None]


def test_conservation_separates_what_was_absorbed_from_what_is_unaccounted():
    result = conservation(Recorded(initial=[4.0, -2.0], r_sum=[4.0, -1.5], r_abs_sum=[4.0, 1.5], absorbed=[0.0, -0.25]))
    assert result["conservation_error"] == pytest.approx([0.25])  # |-2 + 1.5| / 2
    assert result["unaccounted_relevance"] == pytest.approx([0.125])  # half of it was absorbed
    nothing = conservation(Recorded(initial=[0.0], r_sum=[0.0], r_abs_sum=[0.0], absorbed=[0.0]))
    assert nothing["conservation_error"].tolist() == [0]
    # A map of large terms that cancel is judged by these terms, not by their tiny sum.
    assert conservation(Recorded(initial=[0.001], r_sum=[0.002], r_abs_sum=[10.0], absorbed=[0.0]))[
        "conservation_error"
    ] == pytest.approx([0.0001])


def test_columns_of_the_sample_table_agree_with_plain_formulas(tmp_path):
    maps = maps_of_a_walk(21, 7) / 64  # logits near 1, so that labels are sometimes right
    with open_relevance(write_recording(tmp_path / "relevance.h5", maps)) as recording:
        changes = dyn.dynamics(maps)
        table = sample_table(recording, changes, dyn.dynamics(dyn.normalize(maps)), None)
        probability, margin = recording.scalar("probability"), recording.scalar("margin")
        right = recording.scalar("predicted") == recording.sample("label")
    np.testing.assert_allclose(table["confidence"], probability.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(table["variability"], probability.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(table["aum"], margin.mean(axis=0), rtol=1e-6)
    assert table["forgetting_events"].tolist() == [
        sum(bool(a) and not b for a, b in pairwise(column)) for column in right.T
    ]
    assert 0 < right.mean() < 1
    assert table["correct"].tolist() == right[-1].tolist()


def table_of(divergence, **columns):
    count = len(divergence)
    defaults = {"index": np.arange(count), "split": np.zeros(count, int), "label": np.zeros(count, int)}
    names = (
        "worst_step_share worst_step_iteration min_abs_z conservation_error unaccounted_relevance "
        "successive_correlation path_to_net_change dynamics_relevance_spearman dynamics_relevance_slope "
        "mean_abs_relevance confidence aum forgetting_events divergence_normalized"
    )
    zeros = {name: np.zeros(count) for name in names.split()}
    return zeros | defaults | {"min_abs_z": np.ones(count), "divergence": np.array(divergence, float)} | columns


def test_metrics_of_two_seeds_by_hand():
    first = table_of(
        [1, 2, 3, 4, 5], mean_abs_relevance=np.array([1, 2, 3, 4, 5]), conservation_error=np.array([0, 0, 0.1, 0, 0])
    )
    second = table_of([2, 4, 6, 8, 100], worst_step_share=np.array([0, 0, 0, 0, 0.5]))
    tables = [first, second]
    rows = outlier_table(tables, [0, 1], normal(Outliers, {"threshold": 3.0}, "outliers"))
    result = metrics(
        tables,
        rows,
        [
            {"steps": 10, "step_sum_difference": 1e-9, "largest_step_gap": 5},
            {"steps": 10, "step_sum_difference": 3e-9, "largest_step_gap": 7},
        ],
        [{"test_accuracy": 0.5, "final_loss": 1.0}, {"test_accuracy": 0.7, "final_loss": 2.0}],
        numerical_share=0.3,
    )
    assert result["divergence_median"] == 4.5  # mean of 3 and 6
    assert result["divergence_max_over_median"] == pytest.approx(100 / 6)
    assert result["conservation_error_max"] == 0.1
    assert (result["outliers_flagged"], result["outliers_numerical"]) == (1, 1)  # only the 100, by its one step
    assert result["outliers_in_majority_of_seeds"] == 0  # one seed of two is no majority
    assert result["divergence_spearman_between_seeds"] == pytest.approx(1)
    assert result["divergence_spearman_mean_abs_relevance"] == pytest.approx(1)  # unknown in the second seed
    assert "divergence_spearman_aum" not in result  # constant in both
    assert "recomputation_difference_max" not in result
    assert result["step_sum_difference_max"] == 3e-9
    assert result["test_accuracy"] == pytest.approx(0.6)
    assert result["final_loss"] == pytest.approx(1.5)
    assert "train_accuracy" not in result


def test_seeds_are_compared_on_the_samples_that_they_share():
    first = table_of([1, 2, 3, 4], index=np.array([10, 11, 12, 13]))
    second = table_of([9, 5, 4, 3, 7], index=np.array([99, 13, 12, 11, 98]))
    assert between_seeds([first, second]) == pytest.approx(1)  # 11, 12, 13: 2, 3, 4 against 3, 4, 5
    assert between_seeds([first]) is None
