"""Sentences of the rule comparison, for either outcome."""

import numpy as np
import pytest

from lrp_dynamics.studies.rules import story

NAMES = ["a", "b", "c", "d"]


def table(**columns) -> dict:
    """Four explanations, of which two conserve, with other columns in place of the usual ones."""
    usual = {
        "explanation": NAMES,
        "mean_rank": [2.0, 1.0, 3.0, 4.0],
        "conservation_error_median": [1e-7, 1e-6, 0.2, 0.5],
        "conservation_error_max": [1e-6, 0.03, 0.9, 1.5],
        "unaccounted_relevance_max": [1e-7, 1e-7, 1e-7, 1.0],
        "successive_correlation_median": [0.99, 0.98, 0.9, 0.7],
        "worst_step_share_max": [0.1, 0.2, 0.3, 0.15],
        "min_abs_z": [1e-9, 1.0, 0.1, np.inf],
        "outliers_flagged": [0, 0, 0, 0],
        "outliers_numerical": [0, 0, 0, 0],
    }
    return {name: np.array(values) for name, values in (usual | columns).items()}


def told(sentences) -> str:
    return sentences if isinstance(sentences, str) else " ".join(sentences)


def test_how_often_was_recorded():
    assert story.recorded(300, 1, 1) == "1 training of 300 steps, recorded every step"
    assert story.recorded(1, 1, 2) == "2 trainings of 1 step, recorded every step"
    assert story.recorded(3000, 5, 2) == "2 trainings of 3,000 steps, recorded every 5 steps"


@pytest.mark.parametrize(
    ("write", "columns", "says", "says_not"),
    [
        (story.choice, {}, "b is the first choice here", "Close behind"),
        (story.choice, {"mean_rank": [1.1, 1.0, 3.0, 1.3]}, "Close behind are a and d.", "and c"),
        (story.choice, {"mean_rank": [1.1, 1.0, 3.0, 4.0]}, "Close behind is a.", "are"),
        (story.choice, {"mean_rank": [2, 3, 4, 1]}, "It is among the last in this: the sum of a map", "Close"),
        (story.conserving, {}, "2 of 4 explanations conserve**: a and b. In the worst sample and step, 3.0 %", "None"),
        (story.conserving, {}, "Of the others, the sum of a map differs from the output by 20.0 % to 50.0 %", "them,"),
        (story.conserving, {"conservation_error_median": [0.2] * 4}, "None of the 4", "conserve**: "),
        (story.conserving, {"conservation_error_median": [0] * 4}, "4 of 4 explanations conserve", "differs"),
        (story.conserving, {"conservation_error_median": [0, 0, 0, 0.2]}, "Of the other, the sum", "to 20.0 %"),
        (story.flags, {}, "No sample is flagged", "outliers are"),
        (story.flags, {"outliers_flagged": [1, 0, 0, 0]}, "1 outlier is flagged", "No sample"),
        (story.flags, {"outliers_flagged": [1, 2, 0, 0]}, "none of them for numerical", "No sample"),
        (story.flags, {"outliers_flagged": [1, 2, 0, 0], "outliers_numerical": [1, 0, 0, 0]}, "1 of them", "none"),
        (story.books, {}, "What c loses on the way is accounted for", "c keeps"),
        (story.books, {}, "d keeps no balance", "c and d"),
        (story.books, {"unaccounted_relevance_max": [0, 0, 1, 1]}, "c and d keep no balance", "accounted for"),
        (story.books, {"conservation_error_median": [0] * 4}, "All of them conserve", "balance"),
        (story.denominators, {}, "is 1.0 · 10<sup>−9</sup> (a)", "(d)"),
        (story.denominators, {}, "Small denominators alone do not make jumps", "Flagged for"),
        (story.denominators, {"min_abs_z": [0.1] * 4}, "No sample of any explanation is flagged", "Small"),
        (story.denominators, {"min_abs_z": [np.inf] * 4}, "No sample of any", "denominator"),
        (story.denominators, {"outliers_numerical": [0, 1, 2, 0]}, "are samples of b and c", "Small"),
    ],
)
def test_sentences_follow_the_table(write, columns, says, says_not):
    words = [table(**columns)] if write is story.flags else [table(**columns), NAMES]
    text = told(write(*words))
    assert says in text
    assert says_not not in text


def test_smoothness_differs_or_hardly_does():
    assert "depends on the explanation" in told(story.smoothness(table(), NAMES, 1))
    alike = table(successive_correlation_median=[0.99, 0.98, 0.97, 0.96])
    assert "hardly differ" in told(story.smoothness(alike, NAMES, 1))
    assert "From one step to the next, maps of a are most alike" in told(story.smoothness(alike, NAMES, 1))
    assert "From one record to the next" in told(story.smoothness(alike, NAMES, 5))
    unknown = table(successive_correlation_median=[np.nan] * 4)
    assert told(story.smoothness(unknown, NAMES, 1)) == "How alike successive maps are was not measured."


def test_ranks_say_what_they_are_of():
    text = told(story.ranking(table(), 1))
    assert "One criterion finds all explanations alike" in text  # no numerical outliers
    assert "needs two seeds" in text
    assert "There are no masks" in text
    known = table(mass_on_object=[0.1, 0.2, 0.3, 0.4], outliers_numerical=[0, 1, 2, 0])
    text = told(story.ranking(known, 2))
    assert not any(words in text for words in ("alike:", "finds all", "two seeds", "no masks"))
    assert "2 criteria find all" in told(story.ranking(table(worst_step_share_max=[0.1] * 4), 1))


def test_agreement_names_pairs():
    spoken = {name: name for name in NAMES}
    pairs = {"a": np.array(["a", "a", "b"]), "b": np.array(["b", "c", "c"])}
    values = {"divergence": [0.5, 0.9, 0.1], "dynamics_map": [0.2, 0.4, 0.3], "last_map": [0.1, 0.1, np.nan]}
    values = {name: np.array(column) for name, column in values.items()}
    text = told(story.agreement(pairs | values, spoken))
    assert "a and c agree most (Spearman 0.9) and b and c least (0.1); the median over all pairs is 0.5." in text
    assert "is 0.3 on Dynamics maps and 0.1 on last maps" in text
    one = {name: column[:1] for name, column in (pairs | values).items()}
    assert "least" not in told(story.agreement(one, spoken))
    unknown = pairs | {name: np.full(3, np.nan) for name in values}
    assert told(story.agreement(unknown, spoken)) == "There are too few samples to compare explanations."


def test_limits_follow_seeds_and_data():
    text = told(story.limits(1, "photographs"))
    assert "on one dataset, once" in text
    assert "synthetic" not in text
    assert "3 times" in told(story.limits(3, "shapes10 (synthetic)"))
    assert "The images are synthetic" in told(story.limits(3, "shapes10 (synthetic)"))
