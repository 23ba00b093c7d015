"""Outliers of a positive, heavy-tailed quantity such as divergence.

On a linear axis every log-normal sample seems to have outliers, and rules on the raw scale (MAD, Tukey's fences) flag
several per cent of perfectly ordinary data. The z-score here is therefore taken on the logarithm, around the median
and in units of the median absolute deviation (MAD), neither of which the outliers themselves can move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom, median_abs_deviation, norm


def log_mad_z(values: np.ndarray) -> np.ndarray:
    """Return z = (log v - median) / (1.4826 MAD) of positive values (N,).

    Values that are not positive have no logarithm: their z is -inf and they do not count for median and MAD. Where
    the MAD is 0 (more than half of the values equal), z is 0 at the median and infinite elsewhere.

    Examples
    --------
    >>> log_mad_z(np.exp([1.0, 2.0, 3.0, 4.0, 9.0])).round(2).tolist()
    [-1.35, -0.67, 0.0, 0.67, 4.05]
    """
    values = np.asarray(values, dtype=np.float64)
    positive = values > 0
    z = np.full(values.shape, -np.inf)
    if positive.any():
        logs = np.log(values[positive])
        away = logs - np.median(logs)
        spread = median_abs_deviation(logs, scale="normal")
        z[positive] = away / spread if spread > 0 else np.where(away == 0, 0.0, np.copysign(np.inf, away))
    return z


def cut_off(count: int, threshold: float = 3.5, fwer: float | None = None) -> float:
    """Return the z above which a sample is flagged: `threshold`, or the one that a family-wise error rate asks for.

    Parameters
    ----------
    count : int
        Number of samples looked at.
    fwer : float or None
        Wanted probability, at most, of any false flag among `count` log-normal samples. The cut is Bonferroni's
        Phi^-1(1 - fwer / count), raised for the uncertainty of median and MAD: the inverse of `false_positive_rate`.

    Examples
    --------
    >>> [round(cut_off(n, fwer=0.05), 2) for n in (100, 1000, 10000)]
    [3.59, 3.93, 4.42]
    """
    if fwer is None:
        return float(threshold)
    normal = norm.isf(fwer / count)
    # With a few samples nothing is certain; the last factor then stays finite.
    return float(normal * np.sqrt((1 + _MEDIAN_VARIANCE / count) / max(1 - _MAD_VARIANCE * normal**2 / count, 0.1)))


def false_positive_rate(cut: float, count: int) -> float:
    """Return the probability that a sample of log-normal data exceeds `cut`.

    Median and MAD are estimated from the same `count` samples. To first order in 1 / count their uncertainty widens the
    distribution of z - cut; the result is right within 15 % for 100 samples, 3 % for 300, and too large for fewer.

    Examples
    --------
    >>> [f"{false_positive_rate(3.5, n):.3%}" for n in (100, 1000, 1_000_000)]
    ['0.064%', '0.026%', '0.023%']
    """
    return float(norm.sf(cut / np.sqrt(1 + (_MEDIAN_VARIANCE + _MAD_VARIANCE * cut**2) / count)))


# Large-sample variances, times the sample size, of the median and of 1.4826 MAD of standard normal data
# (Rousseeuw and Croux, JASA 1993).
_MEDIAN_VARIANCE, _MAD_VARIANCE = np.pi / 2, 1.361


@dataclass(frozen=True)
class Tail:
    """How many samples lie far above the median, and how many would if divergence were log-normal.

    Attributes
    ----------
    z : float
        Above it lies the tail.
    found, expected : float
        Samples in the tail; of several runs, the mean.
    chance : float
        Probability of at least so many, if divergence were log-normal.
    """

    z: float
    found: float
    expected: float
    chance: float


def tail(runs: Sequence[np.ndarray], z: float = 2.0) -> Tail:
    """Compare the upper tail of the z of each run (N,) with that of log-normal data.

    Runs follow the same samples and are not independent: the chance is that of their mean in a single run.

    Examples
    --------
    >>> found = tail([np.array([3.0, 2.5, 2.1, 2.2, *np.linspace(-2, 1, 96)])])
    >>> found.found, round(found.expected, 1), round(found.chance, 2)
    (4.0, 2.7, 0.28)
    """
    count = [float((values > z).sum()) for values in runs]
    rates, sizes = [false_positive_rate(z, len(values)) for values in runs], [len(values) for values in runs]
    found, size = float(np.mean(count)), round(float(np.mean(sizes)))
    chance = float(binom.sf(np.ceil(found) - 1, size, np.mean(rates)))
    return Tail(z, found, float(np.mean(np.multiply(rates, sizes))), chance)


def kind(
    flagged: np.ndarray, worst_share: np.ndarray, min_abs_z: np.ndarray, numerical_share: float, tiny_z: float
) -> np.ndarray:
    """Name each flagged sample "numerical" or "persistent", others "none" (N,).

    Numerical: one step holds more than `numerical_share` of the divergence, or relevance met a denominator below
    `tiny_z`. Such a jump says something about the rule's denominators, not about the sample. Persistent: the rest. A
    denominator of exactly 0 is that of a unit without any contribution, in which nothing is shared out: it does not
    count. Where contributions cancel to exactly 0, their shares show as a jump.
    """
    numerical = (worst_share > numerical_share) | ((min_abs_z > 0) & (min_abs_z < tiny_z))
    return np.where(flagged, np.where(numerical, "numerical", "persistent"), "none")


def flag(table: Mapping[str, np.ndarray], rules: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Flag the samples of one run whose divergence is extreme.

    Parameters
    ----------
    table : mapping of str to ndarray (N,)
        "divergence", "worst_step_share", "min_abs_z" of each sample.
    rules : mapping
        z above "threshold" is flagged, or above the cut that "fwer" asks for (see `cut_off`); "numerical_share" and
        "min_abs_z" tell the kinds apart (see `kind`).

    Returns
    -------
    dict of str to ndarray (N,)
        "z"; "threshold", that of this run, and its "false_positive_rate", the same in every row; "flagged", 0 or 1;
        "kind".
    """
    z = log_mad_z(table["divergence"])
    cut = cut_off(len(z), rules["threshold"], rules["fwer"])
    kinds = kind(z > cut, table["worst_step_share"], table["min_abs_z"], rules["numerical_share"], rules["min_abs_z"])
    return {
        "z": z,
        "threshold": np.full(len(z), cut),
        "false_positive_rate": np.full(len(z), false_positive_rate(cut, len(z))),
        "flagged": (z > cut).astype(int),
        "kind": kinds,
    }


def outlier_table(
    tables: Sequence[Mapping[str, np.ndarray]], seeds: Sequence[int], rules: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return one row per seed and sample, each seed's rows by falling z, with the votes of all seeds.

    Parameters
    ----------
    tables : sequence of mapping
        The sample table of each seed.
    seeds : sequence of int
    rules : mapping
        See `flag`.
    """
    parts = []
    for table, seed in zip(tables, seeds, strict=True):
        found = flag(table, rules)
        order = np.argsort(-found["z"], kind="stable")
        columns = {
            "seed": np.full(len(order), seed),
            **{name: table[name] for name in ("index", "split", "label", "divergence")},
            **found,
            **{name: table[name] for name in ("worst_step_share", "worst_step_iteration", "min_abs_z")},
        }
        parts.append({name: np.asarray(values)[order] for name, values in columns.items()})
    result = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    keys = list(zip(result["split"].tolist(), result["index"].tolist(), strict=True))
    recorded, flagged = votes(keys, result["flagged"])
    # One seed is no majority: what is seen once says nothing about the next training.
    majority = np.where(recorded > 1, (flagged * 2 > recorded).astype(float), np.nan)
    return result | {"seeds_recorded": recorded, "seeds_flagged": flagged, "majority": majority}


def votes(keys: list[tuple], flagged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count over all rows, for each row's sample: in how many runs it was recorded, and in how many flagged.

    Parameters
    ----------
    keys : list of tuple
        What identifies the sample of each row; every run has each sample at most once.
    flagged : ndarray of bool (rows,)

    Returns
    -------
    recorded, flagged : ndarray i8 (rows,)

    Examples
    --------
    >>> recorded, flagged = votes([(7,), (8,), (7,)], np.array([True, False, True]))
    >>> recorded.tolist(), flagged.tolist()
    ([2, 1, 2], [2, 0, 2])
    """
    recorded_by, flagged_by = {}, {}
    for key, flag in zip(keys, flagged, strict=True):
        recorded_by[key] = recorded_by.get(key, 0) + 1
        flagged_by[key] = flagged_by.get(key, 0) + int(flag)
    return np.array([recorded_by[key] for key in keys]), np.array([flagged_by[key] for key in keys])
