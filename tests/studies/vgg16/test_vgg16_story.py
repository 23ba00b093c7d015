"""Sentences of the VGG-16 study, for either outcome."""

import numpy as np
import pytest
from scipy.stats import binom

from lrp_dynamics.measures.summary import median_interval
from lrp_dynamics.studies.vgg16.story import checks, evaluation, inside, likeness, limits, opposition

SCORES = np.random.default_rng(0).normal(10, 1, size=40)


def told(sentences) -> str:
    return " ".join(sentences)


@pytest.mark.parametrize("count", [1, 5, 6, 10, 33])
def test_the_interval_of_a_median_is_the_narrowest_of_its_kind_that_holds(count):
    low, high = median_interval(np.arange(1.0, count + 1))
    rank = int(low) if np.isfinite(low) else 0
    assert not rank or high == count + 1 - rank
    assert 2 * binom.cdf(rank - 1, count, 0.5) <= 0.05 < 2 * binom.cdf(rank, count, 0.5)


def test_a_method_agrees_most_only_where_intervals_say_so():
    clear = told(evaluation({"a": SCORES, "b": SCORES - 1, "c": SCORES - 2}))
    assert "The network agrees most with a" in clear
    assert "do not tell" not in clear
    noise = np.random.default_rng(1).normal(size=40)
    unclear = told(evaluation({"a": SCORES, "b": SCORES + noise, "c": SCORES - 2}))
    assert "agrees most" not in unclear
    assert "do not tell it from" in unclear
    assert "c:" not in unclear


def test_few_images_rank_nothing():
    assert "agrees most" not in told(evaluation({"a": SCORES[:3], "b": SCORES[:3] - 5}))
    alone = told(evaluation({"a": SCORES}))
    assert "agrees most" not in alone
    assert "do not tell" not in alone
    assert evaluation({"a": np.array([np.nan])}) == ["No image has an ABPC that could be compared."]


def test_orders_that_lose_to_their_reverse_are_told():
    assert "none of these maps" in told(evaluation({"a": -SCORES, "b": -SCORES - 1}))
    assert "none of these maps" not in told(evaluation({"a": SCORES, "b": -SCORES - 1}))


def test_random_weights_are_a_check_and_rank_nothing():
    metrics = {"a_mprt_last_layer": 0.95, "a_mprt_all_layers": 0.1, "b_mprt_last_layer": 0.5, "b_mprt_all_layers": 0.4}
    text = told(checks(metrics, ["a", "b"]))
    assert "a: 0.95 after the last layer, 0.1 after all" in text
    assert "They do not rank the methods" in text
    assert "a still gives nearly the same maps" in text
    assert "nearly the same maps" not in told(checks(metrics | {"a_mprt_last_layer": 0.8}, ["a", "b"]))
    assert "a and b still give nearly" in told(checks(metrics | {"b_mprt_last_layer": 0.99}, ["a", "b"]))
    assert checks({}, ["a"]) == ["No map varies enough to be compared with those of random weights."]


@pytest.mark.parametrize(
    ("r", "says"),
    [
        (0.9, "much the same"),
        (0.5, "partly on the same"),
        (0.0, "on other pixels"),
        (-0.5, "speak against the runner-up"),
    ],
)
def test_the_runner_up_is_compared_by_the_correlation(r, says):
    assert says in likeness(r)


def test_relevance_against_the_class_is_told_where_there_is_some():
    assert opposition(0.01) == []
    assert opposition(0.2) == ["Relevance against the class is 20.0 % of that for it."]
    assert "More relevance speaks against the class than for it, 2 times as much" in opposition(2.0)[0]


def test_the_object_holds_more_or_no_more_than_its_area():
    assert inside(0.5, 0.1).endswith("holds 50.0 % of it: more than its share of the area.")
    assert inside(0.1, 0.1).endswith("no more than its share of the area.")
    assert "not known" in inside(np.nan, 0.1)


def test_limits_follow_the_images():
    assert "synthetic" in told(limits(100, "shapes10 (synthetic)"))
    assert "too few" not in told(limits(100, "shapes10 (synthetic)"))
    assert "synthetic" not in told(limits(3, "photos"))
    assert "3 images are too few to rank methods" in told(limits(3, "photos"))
    assert "1 image is too few" in told(limits(1, "photos"))
