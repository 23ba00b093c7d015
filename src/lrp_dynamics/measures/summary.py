"""The numbers of an experiment on one page: a flat dictionary, readable in `dvc metrics diff`."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.stats import binom, spearmanr

Table = dict[str, np.ndarray]

_LARGEST = {
    "conservation_error_max": "conservation_error",
    "unaccounted_relevance_max": "unaccounted_relevance",
    "worst_step_share_max": "worst_step_share",
}
_MEDIAN = {
    "successive_correlation_median": "successive_correlation",
    "path_to_net_change_median": "path_to_net_change",
    "dynamics_relevance_spearman_median": "dynamics_relevance_spearman",
    "dynamics_relevance_slope_median": "dynamics_relevance_slope",
}


def metrics(
    tables: Sequence[Table],
    outliers: Table,
    checks: Sequence[dict],
    training: Sequence[dict],
    numerical_share: float,
) -> dict:
    """Summarise an experiment over its seeds; what is unknown is left out.

    Parameters
    ----------
    tables : sequence of dict
        The sample table of each seed.
    outliers : dict
        The outlier table of all seeds.
    checks : sequence of dict
        Attributes of each seed's dynamics.h5.
    training : sequence of dict
        The training.json of each seed; accuracies and final loss are averaged over seeds.
    numerical_share : float
        One step with more of a divergence than this made a flag "numerical".
    """
    flagged = outliers["flagged"].astype(bool)
    kinds, keys = outliers["kind"], zip(outliers["split"], outliers["index"], strict=True)
    majority = {key for key, vote in zip(keys, outliers["majority"], strict=True) if vote == 1}
    divergences = [table["divergence"] for table in tables]
    result = {
        "seeds": len(tables),
        "samples": len(divergences[0]),
        "recorded_steps": int(checks[0]["steps"]),
        "largest_step_gap": max(int(check["largest_step_gap"]) for check in checks),
        "outliers_flagged": int(flagged.sum()),
        "outliers_numerical": int((kinds == "numerical").sum()),
        "outliers_persistent": int((kinds == "persistent").sum()),
        "outliers_in_majority_of_seeds": len(majority),
        "outlier_threshold": float(outliers["threshold"][0]),
        "numerical_share": float(numerical_share),
        "false_flags_expected": float(outliers["false_positive_rate"].sum()),
        "false_positive_rate": float(outliers["false_positive_rate"][0]),
        "divergence_median": float(np.mean([np.median(d) for d in divergences])),
        "divergence_max_over_median": _ratio(max(divergences, key=lambda d: _ratio(d.max(), np.median(d)))),
    }
    for name, column in _LARGEST.items():
        result[name] = float(max(table[column].max() for table in tables))
    for name, column in _MEDIAN.items():
        result[name] = _median(np.concatenate([table[column] for table in tables]))
    for name in ("recomputation_difference", "step_sum_difference"):
        result[f"{name}_max"] = max((float(check[name]) for check in checks if name in check), default=None)
    for other in ("mean_abs_relevance", "confidence", "aum", "forgetting_events", "divergence_normalized"):
        pairs = [_spearman(table["divergence"], table[other]) for table in tables]
        result[f"divergence_spearman_{other}"] = _median(np.array(pairs, dtype=float))
    result["divergence_spearman_between_seeds"] = between_seeds(tables)
    for name in ("train_accuracy", "test_accuracy", "final_loss"):
        result[name] = _mean([entry[name] for entry in training if entry.get(name) is not None])
    return {name: value for name, value in result.items() if value is not None and np.isfinite(value)}


def between_seeds(tables: Sequence[Table]) -> float | None:
    """Return the mean Spearman correlation of divergence over pairs of seeds, on the samples that both recorded."""
    values = []
    for a, b in combinations(tables, 2):
        rows = [dict(zip(zip(t["split"], t["index"], strict=True), t["divergence"], strict=True)) for t in (a, b)]
        shared = sorted(rows[0].keys() & rows[1].keys())
        values.append(_spearman(*([row[key] for key in shared] for row in rows)))
    return _mean([value for value in values if value is not None])


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return an interval that holds the median of what values (N,) are drawn from, whatever its distribution.

    Its ends are values: those of equal rank from below and from above that enclose the median with a probability of
    `level` or more (of 6 values, all of them). NaN do not count; fewer values enclose nothing, (-inf, inf).

    Examples
    --------
    >>> median_interval(np.arange(20)), median_interval(np.arange(5))
    ((5.0, 14.0), (-inf, inf))
    """
    known = np.sort(values[~np.isnan(values)].astype(np.float64))
    rank = int(binom.ppf((1 - level) / 2, len(known), 0.5)) if len(known) else 0
    return (float(known[rank - 1]), float(known[-rank])) if rank > 0 else (-np.inf, np.inf)


def _spearman(a, b) -> float | None:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def _ratio(values, by=None) -> float:
    by = np.median(values) if by is None else by
    return float(np.max(values) / by) if by > 0 else float("nan")


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _median(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None
