"""Compare explanations of one training: how each conserves, moves, scatters and agrees with the others.

Every function takes recordings of the same samples at the same steps, which differ in nothing but the rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.measures import dynamics as dyn
from lrp_dynamics.measures import outliers
from lrp_dynamics.measures.advice import mean_rank, ranks
from lrp_dynamics.measures.evaluation import mass_accuracy
from lrp_dynamics.measures.samples import sample_table
from lrp_dynamics.measures.similarity import correlation, rank_correlation
from lrp_dynamics.recording.store import RelevanceFile, open_relevance

Table = dict[str, np.ndarray]
_MOMENTS = 40  # at most so many moments in the curves along the training
_OF_A_SAMPLE = (
    "divergence",
    "divergence_normalized",
    "mean_abs_relevance",
    "conservation_error",
    "unaccounted_relevance",
    "successive_correlation",
    "path_to_net_change",
    "worst_step_share",
    "worst_step_iteration",
    "min_abs_z",
)


@dataclass(frozen=True)
class Measured:
    """One recording, measured.

    Attributes
    ----------
    name : str
        Of the composite, or of the gradient's form.
    seed : int
    samples : Table
        One row a sample.
    last, dynamics : ndarray (N', *shape)
        The last maps, and the Dynamics of the same samples.
    curves : Table
        Along the training.
    localisation : dict of str to float
        Empty where there are no masks.
    """

    name: str
    seed: int
    samples: Table
    last: np.ndarray
    dynamics: np.ndarray
    curves: Table
    localisation: dict[str, float]


def measure(recording: RelevanceFile, rules: Mapping[str, Any]) -> Measured:
    """Measure one recording; `rules` are those of `lrp_dynamics.measures.outliers.flag`."""
    changes, normalized = (recording.accumulated(name) for name in ("dynamics", "dynamics_normalized"))
    stored = recording.map_samples
    again = dyn.recompute(*recording.quantized())
    dyn.check_recomputed(changes[:stored], again.dynamics, again.bound, str(recording.path))
    table = sample_table(recording, changes, normalized, again)
    found = outliers.flag(table, rules)
    last = recording.maps(-1)
    masks = recording.sample("mask")[:stored] == 1 if recording.has_sample("mask") else None
    return Measured(
        str(recording.attrs["composite"]),
        int(recording.attrs["seed"]),
        {name: table[name] for name in ("index", "split", "label", *_OF_A_SAMPLE)}
        | {name: found[name] for name in ("z", "flagged", "kind")},
        last,
        changes[:stored],
        curves(recording, masks),
        localisation(last, changes[:stored], masks),
    )


def measure_all(paths: Sequence[str | Path], rules: Mapping[str, Any]) -> tuple[list[Measured], int]:
    """Measure recordings; return what was found, and the number of steps that each of them holds.

    Raises
    ------
    UserError
        If one of them is not complete, or not of the same samples and steps as the first.
    """
    measured, seen = [], None
    for path in paths:
        with open_relevance(path) as recording:
            shared = (recording.attrs["dataset_sha256"], recording.steps, recording.sample("index").tolist())
            if not recording.complete or shared != (seen or shared):
                raise UserError(f"{path}: is not complete, or not of the same samples and steps as {paths[0]}")
            seen = shared
            measured.append(measure(recording, rules))
    return measured, seen[1] if seen else 0


def curves(recording: RelevanceFile, masks: np.ndarray | None) -> Table:
    """Return medians over samples at up to 40 moments of the training.

    Returns
    -------
    Table
        "iteration"; "conservation_error", relative to the larger of |initial relevance| and sum|R|;
        "successive_correlation" of a map with the one before it; "min_abs_z", the smallest of all samples; "entropy" of
        a map, as a share of the largest possible; "negative_share" of sum|R|; "mass_on_object", NaN without masks.
    """
    moments = np.unique(np.linspace(0, recording.steps - 1, _MOMENTS).round().astype(int))
    initial, total, mass, entropy = (
        recording.scalar(name)[moments].astype(np.float64) for name in ("initial", "r_sum", "r_abs_sum", "entropy")
    )
    size = np.maximum(np.abs(initial), mass)
    error = np.divide(np.abs(initial - total), size, out=np.zeros_like(size), where=size > 0)
    negative = np.divide((mass - total) / 2, mass, out=np.zeros_like(mass), where=mass > 0)
    result = {
        "iteration": recording.step("iteration")[moments],
        "conservation_error": np.median(error, axis=1),
        "entropy": np.median(entropy, axis=1) / np.log(np.prod(recording.shape)),
        "negative_share": np.median(negative, axis=1),
        "min_abs_z": recording.scalar("min_abs_z")[moments].min(axis=1).astype(np.float64),
    }
    successive, on_object = np.full(len(moments), np.nan), np.full(len(moments), np.nan)
    for i, moment in enumerate(moments):
        maps = recording.maps(slice(max(moment - 1, 0), moment + 1))
        if moment:
            successive[i] = _median(correlation(maps[0], maps[1], maps.ndim - 2))
        if masks is not None:
            on_object[i] = _mass(maps[-1], masks)
    return result | {"successive_correlation": successive, "mass_on_object": on_object}


def localisation(last: np.ndarray, dynamics: np.ndarray, masks: np.ndarray | None) -> dict[str, float]:
    """Return the median share of positive relevance, and of Dynamics, that lies on the object; {} without masks."""
    if masks is None:
        return {}
    return {"mass_on_object": _mass(last, masks), "dynamics_on_object": _mass(dynamics, masks)}


def comparison_table(measured: Sequence[Measured]) -> Table:
    """Return the numbers of each explanation, averaged over seeds, a row an explanation.

    Extremes (conservation error, min|z|, worst step) are those of the worst sample of any seed.
    """
    rows = []
    for name, runs in _by_name(measured).items():
        column = {key: np.concatenate([run.samples[key] for run in runs]) for key in (*_OF_A_SAMPLE, "flagged", "kind")}
        divergences = [run.samples["divergence"] for run in runs]
        relevance = [run.samples["mean_abs_relevance"] for run in runs]
        row = {
            "explanation": name,
            "seeds": len(runs),
            "samples": len(divergences[0]),
            "conservation_error_median": _median(column["conservation_error"]),
            "conservation_error_max": column["conservation_error"].max(),
            "unaccounted_relevance_max": column["unaccounted_relevance"].max(),
            "min_abs_z": column["min_abs_z"].min(),
            "successive_correlation_median": _median(column["successive_correlation"]),
            "path_to_net_change_median": _median(column["path_to_net_change"]),
            "worst_step_share_max": column["worst_step_share"].max(),
            "divergence_max_over_median": np.mean([_ratio(d.max(), np.median(d)) for d in divergences]),
            "divergence_log_spread": np.mean([_log_spread(d) for d in divergences]),
            "outliers_flagged": int(column["flagged"].sum()),
            "outliers_numerical": int((column["kind"] == "numerical").sum()),
            "outliers_persistent": int((column["kind"] == "persistent").sum()),
            "divergence_spearman_relevance": np.mean(
                [spearman(d, r) for d, r in zip(divergences, relevance, strict=True)]
            ),
            "negative_share_last": np.mean([run.curves["negative_share"][-1] for run in runs]),
            "divergence_spearman_between_seeds": _between_seeds(divergences),
        }
        for key in ("mass_on_object", "dynamics_on_object"):
            row[key] = np.mean([run.localisation.get(key, np.nan) for run in runs])
        rows.append(row)
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def ranked(comparison: Table) -> Table:
    """Return the comparison with the rank of each explanation by every criterion, and the mean of its ranks."""
    result = comparison | {f"rank_{name}": values for name, values in ranks(comparison).items()}
    return result | {"mean_rank": mean_rank(result)}


def long_table(measured: Sequence[Measured], name: str) -> Table:
    """Return the tables of all recordings below each other; `name` is "samples" or "curves"."""
    parts = []
    for run in measured:
        table = getattr(run, name)
        rows = len(next(iter(table.values())))
        parts.append({"explanation": np.repeat(run.name, rows), "seed": np.repeat(run.seed, rows)} | table)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def metrics(comparison: Table, trainings: Sequence[Mapping[str, Any]], steps: int) -> dict[str, float]:
    """Return the numbers of the comparison on one page; what is unknown is left out.

    Parameters
    ----------
    comparison : Table
        What `ranked` returns.
    trainings : sequence of mapping
        training.json of each seed; accuracies are averaged.
    steps : int
        In each recording.
    """
    result = {
        f"{name}_{key}": float(values[row])
        for row, name in enumerate(comparison["explanation"])
        for key, values in comparison.items()
        if key not in ("explanation", "seeds", "samples") and np.isfinite(float(values[row]))
    }
    result |= {"seeds": len(trainings), "samples": int(comparison["samples"][0]), "recorded_steps": steps}
    for key in ("train_accuracy", "test_accuracy"):
        if all(entry.get(key) is not None for entry in trainings):
            result[key] = float(np.mean([entry[key] for entry in trainings]))
    return result


def agreement_table(measured: Sequence[Measured]) -> Table:
    """Return rank correlations of each pair of explanations, averaged over seeds.

    Returns
    -------
    Table
        "divergence": over samples; "last_map" and "dynamics_map": over pixels, the median of samples.
    """
    rows = []
    for a, b in combinations(_by_name(measured), 2):
        pairs = [
            (one, other) for one in measured for other in measured if (one.name, other.name) == (a, b)
            if one.seed == other.seed
        ]  # fmt: skip
        axes = measured[0].last.ndim - 1
        rows.append(
            {
                "a": a,
                "b": b,
                "divergence": np.mean([spearman(x.samples["divergence"], y.samples["divergence"]) for x, y in pairs]),
                "last_map": np.mean([_median(rank_correlation(x.last, y.last, axes)) for x, y in pairs]),
                "dynamics_map": np.mean([_median(rank_correlation(x.dynamics, y.dynamics, axes)) for x, y in pairs]),
            }
        )
    return {key: np.array([row[key] for row in rows]) for key in ("a", "b", "divergence", "last_map", "dynamics_map")}


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two columns; NaN where one of them is constant."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def _by_name(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    names = dict.fromkeys(run.name for run in measured)
    return {name: [run for run in measured if run.name == name] for name in names}


def _between_seeds(divergences: Sequence[np.ndarray]) -> float:
    values = [spearman(a, b) for a, b in combinations(divergences, 2)]
    return float(np.mean(values)) if values else float("nan")


def _log_spread(values: np.ndarray) -> float:
    """Half the distance between the 16th and 84th percentile of the logarithm: one sigma of a log-normal."""
    low, high = np.quantile(values, [0.16, 0.84])
    return float(np.log(high / low) / 2) if low > 0 else float("inf")


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b > 0 else float("nan")


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _mass(maps: np.ndarray, masks: np.ndarray) -> float:
    maps, masks = (torch.from_numpy(np.asarray(values)).flatten(1)[:, None] for values in (maps, masks))
    return float(mass_accuracy(maps, masks).nanmedian())
