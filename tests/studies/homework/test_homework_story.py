"""Sentences of the homework's report, for either outcome."""

import numpy as np
import pytest

from lrp_dynamics.studies.homework import story

METRICS = {"iterations": 1000, "final_accuracy": 0.5, "test_images": 500}


def test_accuracy_is_told_beside_the_published_one_of_as_many_steps():
    assert story.classified(METRICS, None) == (
        "**The network classifies 50.0 %** of 500 test images as labelled after 1,000 steps."
    )
    assert story.classified(METRICS, {"1000": 0.462}).endswith("; published: 46.2 %.")
    assert "published" not in story.classified(METRICS, {"400": 0.4})


def test_deep_taylor_conserves_or_does_not():
    assert "conserves" in story.conserved(1e-6)
    assert "does not conserve" in story.conserved(0.01)
    assert "which is rounding" in " ".join(story.conservation(1e-6))
    assert "more than rounding explains" in " ".join(story.conservation(0.01))


@pytest.mark.parametrize(
    ("deep", "other", "says"),
    [
        (0.9, 0.4, "Deep Taylor maps keep their shape** from the first checkpoint to the last (cosine 0.900); "
                   "sensitivity maps change their shape (0.400)."),
        (0.9, 0.95, "sensitivity maps also keep their shape (0.950)."),
        (0.4, 0.5, "sensitivity maps also change their shape (0.500)."),
        (0.4, 0.9, "Deep Taylor maps change their shape** from the first checkpoint to the last (cosine 0.400); "
                   "sensitivity maps keep their shape (0.900)."),
    ],
)  # fmt: skip
def test_shapes_are_kept_or_not(deep, other, says):
    assert says in story.shapes(deep, other)


def test_published_accuracies_are_compared_in_percentage_points():
    accuracy = {"iteration": np.array([10, 100]), "accuracy": np.array([0.1, 0.45])}
    text = story.compared(accuracy, {"10": 0.1, "100": 0.25}, "a book", 500)
    assert "At 1 of 2 checkpoints" in text
    assert "the largest difference is 20 percentage points." in text
    assert "At 2 of 2" in story.compared(accuracy, {"10": 0.11, "100": 0.44}, "a book", 500)
    assert "of other checkpoints" in story.compared(accuracy, {"7": 0.1}, "a book", 500)


def test_settling_follows_the_similarity():
    names = ("deep_taylor", "sensitivity")
    m = {f"{name}_similarity_{what}_median": 0.5 for name in names for what in ("first_to_last", "of_two_images")}
    assert "is learned" in story.settling(m, 10)[1]
    kept = story.settling(m | {"deep_taylor_similarity_first_to_last_median": 0.95}, 10)
    assert "look much the same after 10 steps as at the end" in kept[1]
