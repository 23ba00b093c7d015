"""Measures of explanations: hand-worked values, laws, and other libraries where they are installed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.measures import evaluation as ev

MAPS = arrays(np.float64, (2, 4, 4), elements=st.floats(-10, 10, allow_subnormal=False).map(lambda v: round(v, 3)))
MASKS = arrays(np.bool_, (2, 4, 4))


def linear_score(weight):
    return lambda x: (x * weight).flatten(1).sum(1)


def small_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5), nn.ReLU(), nn.Linear(5, 3)
    )


def gradient_x_input(model, x):
    x = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    return (g * x).detach()


# --- where the relevance lies


def test_mass_accuracy_sums_the_channels_first():
    relevance = torch.tensor([[[[2.0, 1.0]], [[-1.0, 3.0]]]])  # pixels: 1, 4
    assert ev.mass_accuracy(relevance, torch.tensor([[[1, 0]]])).tolist() == [0.2]


def test_a_map_without_positive_relevance_has_no_mass_accuracy():
    assert math.isnan(ev.mass_accuracy(-torch.ones(1, 2, 2), torch.ones(1, 2, 2)))


@given(MAPS, MASKS)
@settings(max_examples=60, deadline=None)
def test_mass_in_object_and_in_background_add_up_to_one(maps, mask):
    maps, mask = torch.from_numpy(maps), torch.from_numpy(mask)
    both = ev.mass_accuracy(maps, mask, part="absolute") + ev.mass_accuracy(maps, ~mask, part="absolute")
    defined = maps.flatten(1).abs().sum(1) > 0
    torch.testing.assert_close(both[defined], torch.ones_like(both)[defined])


@given(MAPS, MASKS)
@settings(max_examples=60, deadline=None)
def test_localisation_depends_on_ranks_alone_and_not_on_the_order_of_pixels(maps, mask):
    maps, mask = torch.from_numpy(maps), torch.from_numpy(mask)
    turned = (maps.rot90(1, (1, 2)), mask.rot90(1, (1, 2)))
    for measure in (ev.rank_accuracy, ev.localisation_auc):
        once = measure(maps, mask)
        torch.testing.assert_close(measure(3 * maps + 1, mask), once, equal_nan=True)
        torch.testing.assert_close(measure(*turned), once, equal_nan=True)
        assert ((once >= 0) & (once <= 1) | once.isnan()).all()


def test_the_mask_itself_is_the_best_map_and_its_negative_the_worst():
    mask = torch.zeros(1, 4, 4)
    mask[0, :2, :2] = 1
    for measure in (ev.mass_accuracy, ev.rank_accuracy, ev.localisation_auc):
        assert measure(mask, mask).tolist() == [1.0]
    assert ev.rank_accuracy(-mask, mask).tolist() == [0.0]
    assert ev.localisation_auc(-mask, mask).tolist() == [0.0]


def test_a_constant_map_has_the_rank_accuracy_of_chance():
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, :] = 1
    assert ev.rank_accuracy(torch.ones(1, 4, 4), mask).tolist() == [0.25]
    assert ev.localisation_auc(torch.ones(1, 4, 4), mask).tolist() == [0.5]


def test_auc_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    maps, mask = torch.randn(3, 8, 8).round(decimals=1), torch.rand(3, 8, 8) > 0.7
    expected = [metrics.roc_auc_score(m.flatten(), a.flatten()) for a, m in zip(maps, mask, strict=True)]
    np.testing.assert_allclose(ev.localisation_auc(maps, mask), expected, rtol=1e-12)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(UserError, match=r"mask has shape \(1, 2, 2\); expected \(1, 4, 4\)"):
        ev.mass_accuracy(torch.ones(1, 4, 4), torch.ones(1, 2, 2))


# --- pixel flipping


def test_flipping_by_hand():
    x = torch.tensor([[[[4.0, 1.0], [2.0, 3.0]]]])
    result = ev.pixel_flipping(linear_score(1.0), x, x, fill=torch.zeros(1), steps=4)
    assert result.fraction.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert result.morf.tolist() == [[10, 6, 3, 1, 0]]
    assert result.lerf.tolist() == [[10, 9, 7, 4, 0]]
    assert result.aopc.tolist() == [(0 + 4 + 7 + 9 + 10) / 5]
    assert result.abpc.tolist() == [(3 + 4 + 3) / 4]


def test_flipping_by_regions_replaces_whole_squares():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    relevance = torch.zeros(1, 4, 4)
    relevance[0, 3, 0] = 1  # the square at the bottom left
    seen = []
    ev.pixel_flipping(lambda b: seen.append(b) or b.sum((1, 2, 3)), x, relevance, fill=torch.full((1,), -1.0), region=2)
    first = seen[1][0, 0]
    assert (first[2:, :2] == -1).all()
    assert (first == -1).sum() == 4


@given(MAPS)
@settings(max_examples=40, deadline=None)
def test_for_an_additive_score_no_order_beats_its_contributions(maps):
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    weight = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    zero, score = torch.zeros(1), linear_score(weight)
    best = ev.pixel_flipping(score, x, x * weight, fill=zero, steps=16)
    other = ev.pixel_flipping(score, x, torch.from_numpy(maps), fill=zero, steps=16)
    assert (best.abpc >= other.abpc - 1e-12).all()
    assert (best.aopc >= other.aopc - 1e-12).all()


def test_the_opposite_map_has_the_opposite_abpc():
    x, score = torch.rand(3, 2, 6, 6), linear_score(torch.randn(1, 2, 6, 6))
    relevance = torch.randn(3, 6, 6)
    for fill in ("mean", "blur"):
        up = ev.pixel_flipping(score, x, relevance, fill=fill)
        down = ev.pixel_flipping(score, x, -relevance, fill=fill)
        torch.testing.assert_close(up.abpc, -down.abpc)
        torch.testing.assert_close(up.morf[:, -1], up.lerf[:, -1])


def test_a_constant_map_does_not_profit_from_the_order_of_pixels():
    ramp = torch.linspace(1, 0, 64).view(1, 1, 8, 8)  # raster order would be the perfect order
    draws = [
        ev.pixel_flipping(linear_score(1.0), ramp, torch.ones(1, 8, 8), fill=torch.zeros(1), seed=s).abpc
        for s in range(20)
    ]
    perfect = ev.pixel_flipping(linear_score(1.0), ramp, ramp, fill=torch.zeros(1)).abpc
    assert abs(torch.stack(draws).mean()) < 0.1 * perfect


def test_blur_keeps_brightness_and_removes_detail():
    x = torch.rand(1, 3, 32, 32) + torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1)
    blurred = ev.replacement(x, "blur")
    assert blurred.std((2, 3)).max() < 0.2 * x.std((2, 3)).min()
    torch.testing.assert_close(blurred.mean((2, 3)), x.mean((2, 3)), atol=0.03, rtol=0)


def test_what_cannot_be_flipped_is_refused():
    x = torch.rand(1, 1, 6, 6)
    with pytest.raises(UserError, match="region is 4; expected a divisor"):
        ev.pixel_flipping(linear_score(1.0), x, x, region=4)
    with pytest.raises(UserError, match="expected 'mean', 'blur'"):
        ev.pixel_flipping(linear_score(1.0), x, x, fill="median")
    with pytest.raises(UserError, match=r"fill has shape \(6, 2\)"):
        ev.pixel_flipping(linear_score(1.0), x, x, fill=torch.rand(6, 2))
    with pytest.raises(UserError, match=r"region is 2\.0"):
        ev.pixel_flipping(linear_score(1.0), x, x, region=2.0)
    with pytest.raises(UserError, match="at least one step"):
        ev.pixel_flipping(linear_score(1.0), x, x, steps=0)
    with pytest.raises(UserError, match=r"score gives shape \(1, 5\); expected one number a sample"):
        ev.pixel_flipping(lambda batch: torch.rand(len(batch), 5), x, x)
    with pytest.raises(UserError, match="draws is 0"):
        ev.max_sensitivity(lambda batch: batch, x, draws=0)
    with pytest.raises(UserError, match="expected the same"):
        ev.spearman(torch.rand(2, 4, 4), torch.rand(3, 4, 4))


def test_what_is_not_a_number_has_no_measure():
    x = torch.rand(2, 1, 6, 6)
    maps = x.clone()
    maps[0, 0, 2, 3] = torch.nan
    flipping = ev.pixel_flipping(linear_score(1.0), x, maps)
    for measure in (flipping.aopc, flipping.abpc, ev.histogram_entropy(maps), ev.gini(maps), ev.entropy(maps)):
        assert measure.isnan().tolist() == [True, False]


def test_maps_may_be_arrays_and_measures_have_all_digits():
    assert ev.rank_accuracy(np.ones((1, 1, 3)), np.array([[[1, 0, 0]]])).item() == 1 / 3


# --- robustness and dependence on the model


def test_max_sensitivity_of_a_linear_map_is_the_relative_size_of_the_noise():
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64) + 1
    seen = []
    measured = ev.max_sensitivity(lambda v: seen.append(v) or 7 * v, x, radius=0.1, draws=5)
    noise = torch.stack([(v - x).flatten(1).norm(dim=1) for v in seen[1:]])
    assert len(noise) == 5
    assert max((v - x).abs().max() for v in seen) <= 0.1
    torch.testing.assert_close(measured, noise.max(0).values / x.flatten(1).norm(dim=1))


def test_a_constant_explanation_is_insensitive_and_bounds_hold():
    x = torch.rand(2, 1, 4, 4)
    assert ev.max_sensitivity(torch.ones_like, x).tolist() == [0, 0]
    seen = []
    ev.max_sensitivity(lambda v: seen.append(v) or v, x, radius=0.5, bounds=(0.0, 1.0))
    assert torch.stack(seen).min() >= 0
    assert torch.stack(seen).max() <= 1


def test_max_sensitivity_is_that_of_captum():
    metrics = pytest.importorskip("captum.metrics")
    x, draws = torch.rand(1, 2, 6, 6), 4
    generator = torch.Generator().manual_seed(5)
    noises = torch.cat([torch.rand(x.shape, generator=generator, dtype=torch.float64) for _ in range(draws)])
    noises = noises.mul_(0.1).sub_(0.05)

    def explain(inputs):  # captum passes a tuple first, then tensors, and wants tuples
        return ((inputs[0] if isinstance(inputs, tuple) else inputs) ** 3,)

    def perturb(inputs, _):
        return inputs + noises.to(inputs)

    expected = metrics.sensitivity_max(explain, x, perturb, n_perturb_samples=draws)
    found = ev.max_sensitivity(lambda v: explain(v)[0], x, radius=0.05, draws=draws, seed=5)
    torch.testing.assert_close(found.float(), expected)


def test_mprt_goes_from_the_last_layer_to_the_first_and_leaves_the_model_alone():
    model, x = small_net(), torch.rand(4, 2, 6, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    result = ev.mprt(model, gradient_x_input, x)
    assert list(result) == ["5", "3", "0"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(value.mean() < 0.9 for value in result.values())


def test_mprt_unmasks_a_map_that_does_not_depend_on_the_model():
    model, x = small_net(), torch.rand(4, 2, 6, 6)
    result = ev.mprt(model, lambda model, x: x, x)
    assert all(value == pytest.approx(1) for values in result.values() for value in values.tolist())
    assert ev.efficient_mprt(model, lambda model, x: x, x).tolist() == [0, 0, 0, 0]


def test_randomization_is_cumulative():
    model = small_net()
    states = [{k: v.clone() for k, v in twin.state_dict().items()} for _, twin in ev.randomized(model, seed=3)]
    original = model.state_dict()
    changed = [{k.split(".")[0] for k in s if not torch.equal(s[k], original[k])} for s in states]
    assert changed == [{"5"}, {"5", "3"}, {"5", "3", "0"}]


def test_spearman_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    a, b = torch.randn(3, 5, 5).round(decimals=1), torch.randn(3, 5, 5).round(decimals=1)
    expected = [stats.spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ev.spearman(a, b), expected, rtol=1e-12)


# --- sparseness


@given(MAPS, st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_sparseness_does_not_depend_on_scale_and_stays_in_its_range(maps, factor):
    maps = torch.from_numpy(maps)
    for measure, low, high in ((ev.gini, 0, 1 - 1 / 16), (ev.entropy, 0, math.log(16))):
        once = measure(maps)
        torch.testing.assert_close(measure(-factor * maps), once, equal_nan=True)
        defined = once[~once.isnan()]
        assert ((defined >= low - 1e-9) & (defined <= high + 1e-9)).all()


def test_entropy_and_gini_of_extremes():
    one, even = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    one[0, 1, 2] = -3
    assert ev.entropy(one).tolist() == [0]
    assert ev.entropy(even).item() == pytest.approx(math.log(16))
    assert ev.gini(one).tolist() == [1 - 1 / 16]
    assert ev.gini(even).tolist() == [0]


def test_histogram_entropy_counts_kinds_of_values():
    assert ev.histogram_entropy(torch.ones(1, 4, 4)).item() == 0
    halves = torch.cat([torch.zeros(1, 4, 2), torch.ones(1, 4, 2)], 2)
    assert ev.histogram_entropy(halves).item() == pytest.approx(math.log(2))


def test_measures_are_those_of_quantus():
    quantus = pytest.importorskip("quantus")
    maps, mask = np.random.default_rng(0).normal(size=(3, 1, 8, 8)), np.zeros((3, 1, 8, 8), bool)
    mask[:, :, 2:5, 3:7] = True
    common = {"model": None, "x_batch": maps, "y_batch": np.zeros(3, int), "a_batch": maps}
    options = {"abs": True, "normalise": False, "disable_warnings": True}
    for measure, expected in (
        (ev.gini, quantus.Sparseness(**options)(**common)),
        (ev.entropy, quantus.Complexity(**options)(**common)),
        (
            lambda a: ev.mass_accuracy(a, torch.from_numpy(mask[:, 0]), part="absolute"),
            quantus.RelevanceMassAccuracy(**options)(**common, s_batch=mask),
        ),
        (
            lambda a: ev.rank_accuracy(a.abs(), torch.from_numpy(mask[:, 0])),
            quantus.RelevanceRankAccuracy(**options)(**common, s_batch=mask),
        ),
    ):
        np.testing.assert_allclose(measure(torch.from_numpy(maps)), expected, rtol=1e-5)
