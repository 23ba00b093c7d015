"""Sentences of the blog study about its samples and maps, for either outcome."""

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.base.tables import read_csv, write_csv
from lrp_dynamics.measures.outliers import log_mad_z, tail
from lrp_dynamics.studies.blog.story import ONE_SIGN, colours, followed, most_divergent, tail_numbers


def test_colours_are_told_by_whether_a_pixel_can_have_a_sign_of_its_own():
    assert "every pixel has the sign of the output" in colours("z_plus")[0]
    assert "spoke" not in colours("z_plus")[0]
    assert colours("gamma") == ["Red marks pixels that spoke for the class, blue those that spoke against it."]


def one_sign(composite: str) -> bool:
    """Whether all relevance of a small network's maps has the sign of the output."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)).eval()
    maps = lrp.relevance(
        model, torch.rand(20, 3, 8, 8), torch.zeros(20, dtype=torch.long), composite, bounds=(0.0, 1.0)
    ).input.flatten(1)
    low, high = maps.min(1).values, maps.max(1).values
    return bool(((low >= 0) | (high <= 0)).all())


@pytest.mark.parametrize("composite", [*ONE_SIGN, "gamma", "epsilon", "epsilon_plus", "alpha2_beta1"])
def test_the_composites_said_to_give_maps_of_one_sign_are_those_that_do(composite):
    assert one_sign(composite) == (composite in ONE_SIGN)


@pytest.mark.parametrize(
    ("split", "correct", "says"),
    [
        ([0, 0, 0, 0], [1, 0, 1, 1], "4 images of the training set are followed, the same at every step. At the end"),
        ([0, 1], [1, 1], "2 images of the training set and the test set are followed"),
        ([1], [0], "1 image of the test set is followed"),
    ],
)
def test_the_followed_samples_are_told(split, correct, says):
    text = " ".join(followed(np.array(split), np.array(correct, float)))
    assert says in text
    assert "classifies" in text


def test_nothing_is_said_of_right_and_wrong_where_labels_are_not_known():
    assert "classifies" not in " ".join(followed(np.zeros(3, int), np.full(3, np.nan)))


def test_a_class_prevails_only_if_it_has_the_majority():
    labels = np.array([7, 7, 7, 1, 2, 3, 4, 5, 7, 0])
    names = [f"c{i}" for i in range(8)]
    assert most_divergent(labels, names, 4) == (
        "The 4 samples of largest divergence; 3 of them are of class c7, as are 4 of all 10:"
    )
    assert most_divergent(labels, names, 8) == "The 8 samples of largest divergence:"
    assert most_divergent(labels, names, 1, " in seed 3") == "The 1 sample of largest divergence in seed 3:"


def test_the_tail_is_compared_with_a_log_normal_one(tmp_path):
    random = np.random.default_rng(0)
    normal = [log_mad_z(np.exp(random.normal(size=400))) for _ in range(2)]
    groups = np.exp(random.normal(size=400))
    groups[:60] = np.exp(random.uniform(2.6, 3.0, size=60))
    heavy = log_mad_z(groups)
    assert tail(normal).chance > 0.01
    assert tail([heavy]).chance < 1e-6
    assert tail([heavy]).found == (heavy > 2).sum()
    assert 400 * 0.0228 < tail([heavy]).expected < 400 * 0.025  # a little more than of known median and MAD
    write_csv(tmp_path / "outliers.csv", {"seed": np.repeat([0, 1], 400), "z": np.concatenate(normal)})
    told = tail_numbers(read_csv(tmp_path / "outliers.csv"))
    assert told["tail_found"] == sum((z > 2).sum() for z in normal) / 2
