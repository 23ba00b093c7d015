"""Which explanation to use for studying dynamics, decided by measurements alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Table = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Criterion:
    """Something wanted of an explanation.

    Attributes
    ----------
    key : str
        Column of the comparison table.
    wanted : str
        What good values mean, in words.
    larger : bool
        Whether larger is better.
    enough : float or None
        All values at least as good count as equal, since differences beyond are rounding or chance.
    """

    key: str
    wanted: str
    larger: bool = False
    enough: float | None = None


CRITERIA = (
    Criterion("conservation_error_median", "the sum of a map is the output explained", enough=1e-3),
    Criterion("worst_step_share_max", "no single step makes a sample's divergence"),
    Criterion("outliers_numerical", "no outlier made by a denominator near zero"),
    Criterion("successive_correlation_median", "maps change smoothly from step to step", larger=True),
    Criterion("divergence_max_over_median", "no sample towers over the others"),
    Criterion("divergence_spearman_between_seeds", "another training finds the same samples", larger=True),
    Criterion("mass_on_object", "relevance lies on the object", larger=True),
    Criterion("dynamics_on_object", "change lies on the object", larger=True),
)


def ranks(table: Table) -> dict[str, np.ndarray]:
    """Rank the explanations by each criterion that was measured: 1 is best, equals share the best of their ranks.

    Examples
    --------
    >>> ranks({"outliers_numerical": np.array([0, 3, 0, 1])})["outliers_numerical"].tolist()
    [1, 4, 1, 3]
    """
    result = {}
    for criterion in CRITERIA:
        values = np.asarray(table.get(criterion.key, [np.nan]), np.float64)
        if np.isnan(values).all():
            continue
        cost = -values if criterion.larger else values.copy()
        if criterion.enough is not None:
            cost = np.maximum(cost, criterion.enough)
        cost = np.where(np.isnan(cost), np.inf, cost)
        result[criterion.key] = np.array([1 + int((cost < own).sum()) for own in cost])
    return result


def mean_rank(table: Table) -> np.ndarray:
    """Return the mean over criteria of each explanation's rank; the smaller the better."""
    return np.mean(list(ranks(table).values()), axis=0)


def reasons(table: Table, row: int) -> tuple[list[str], list[str]]:
    """Return in words what speaks for an explanation (where it is first) and against it (in the last quarter)."""
    ranked = ranks(table)
    count = len(table["explanation"])
    words = {criterion.key: criterion.wanted for criterion in CRITERIA}
    first = [words[key] for key, values in ranked.items() if values[row] == 1 and (values > 1).any()]
    last = [words[key] for key, values in ranked.items() if values[row] > 0.75 * count]
    return first, last
