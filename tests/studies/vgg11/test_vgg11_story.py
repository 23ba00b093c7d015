"""Sentences of the VGG-11 report, for either outcome."""

import numpy as np
import pytest

from lrp_dynamics.studies.vgg11 import story

TRAINED = {"best_epoch": 2.5, "validation_accuracy": 0.9, "validation_images": 100, "steps": 300, "stopped_early": True}


def test_mistakes_are_counted():
    m = {"test_accuracy": 0.9912, "test_errors": 88, "test_images": 10000}
    assert story.tested(m) == "**99.12 % of the test images are classified as labelled**; 88 of 10,000 are not."
    assert "1 of 10,000 is not" in story.tested(m | {"test_errors": 1})
    assert story.tested(m | {"test_errors": 0}).startswith("**All of the 10,000")


def test_the_end_of_the_training_is_told():
    assert "after 2.5 epochs**, with 90.00 % of 100 held-out images" in story.trained(TRAINED)
    assert "stopped after 300 steps" in story.trained(TRAINED)
    assert "ran to its last epoch" in story.trained(TRAINED | {"stopped_early": False})
    assert "after 1 epoch**" in story.trained(TRAINED | {"best_epoch": 1.0})


@pytest.mark.parametrize(
    ("arrived", "held", "says", "says_not"),
    [
        (0.01, 0.9, "no longer an account of the whole output, but it points to fewer places", "nor"),
        (0.01, 0.2, "nor does it point to fewer places", "but"),
        (1.0, 0.9, "100 % with it", "no longer"),
    ],
)
def test_what_the_filter_leaves(arrived, held, says, says_not):
    text = " ".join(story.kept({"all": 1.0, "top_k": arrived}, {"all": 0.3, "top_k": held}, 30))
    assert says in text
    assert says_not not in text


def test_the_strongest_pixels_hold_their_share():
    maps = np.zeros((2, 10, 10))
    maps[:, 0, :5] = 18.0
    maps[:, 1, 0] = 10.0
    assert story.strongest(maps) == pytest.approx(0.9)
    assert story.strongest(0 * maps) == 0
    assert "leaves 1.0 % of the relevance" in story.filtered(0.01, {"all": 0.3, "top_k": 0.9})
    assert "hold 90.0 %; without the filter, they hold 30.0 %" in story.filtered(0.01, {"all": 0.3, "top_k": 0.9})
