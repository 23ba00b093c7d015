"""One row per recorded sample: what its relevance and its prediction did during training."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import spearmanr

from lrp_dynamics.measures.dynamics import Recomputed
from lrp_dynamics.recording.store import RelevanceFile, sum_of_maps


def sample_table(
    recording: RelevanceFile, dynamics: np.ndarray, normalized: np.ndarray, again: Recomputed | None
) -> dict[str, np.ndarray]:
    """Summarise a recording per sample.

    Parameters
    ----------
    recording : RelevanceFile
    dynamics, normalized : ndarray f8 (N, *shape)
        Dynamics and normalised Dynamics of all samples.
    again : Recomputed or None
        Results that need the stored maps, of the first N' samples; NaN for the other samples.

    Returns
    -------
    dict of str to ndarray (N,)
        See docs/reading-the-results.md for each column.
    """
    iteration = recording.step("iteration")
    predicted, label = recording.scalar("predicted"), recording.sample("label")
    steps = recording.scalar("step_divergence").astype(np.float64)
    margin, probability = (recording.scalar(name).astype(np.float64) for name in ("margin", "probability"))
    worst = steps.argmax(axis=0)
    # Right or wrong needs a label, and classes to choose from.
    scored = ~np.isnan(margin).all(axis=0)
    known = (label >= 0) & scored
    told = np.full(len(label), recording.tells_output)  # of maps alone, their own sum stands in place of the output
    return {
        **{name: recording.sample(name) for name in ("index", "split", "label", "label_clean")},
        "divergence": sum_of_maps(dynamics),
        "divergence_normalized": sum_of_maps(normalized),
        "mean_abs_relevance": sum_of_maps(recording.accumulated("abs_sum")) / recording.steps,
        "worst_step_share": worst_share(steps),
        "worst_step_iteration": iteration[worst],
        "min_abs_z": recording.scalar("min_abs_z").min(axis=0),
        **{name: _where(values, told) for name, values in conservation(recording).items()},
        "logit": _where(recording.scalar("logit")[-1], told),
        "probability": _where(probability[-1], scored),
        "predicted": _where(predicted[-1], scored),
        "correct": _where((predicted == label)[-1], known),
        "forgetting_events": _where(forgetting_events(predicted == label), known),
        "aum": margin.mean(axis=0),
        "confidence": _where(probability.mean(axis=0), scored),
        "variability": _where(probability.std(axis=0), scored),
        **placement(dynamics, recording.accumulated("abs_sum")),
        **_from_maps(again, len(label), dynamics),
    }


def _where(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return values (N,), NaN where they are not known."""
    return values if known.all() else np.where(known, values, np.nan)


def worst_share(steps: np.ndarray) -> np.ndarray:
    """Return the largest single step's share of each sample's divergence, (T, N) to (N,); 0 where nothing changed."""
    total = steps.sum(axis=0)
    return np.divide(steps.max(axis=0), total, out=np.zeros_like(total), where=total > 0)


def forgetting_events(correct: np.ndarray) -> np.ndarray:
    """Count, per sample, the steps from correct to wrong (Toneva et al., ICLR 2019), (T, N) to (N,).

    Examples
    --------
    >>> forgetting_events(np.array([[True, False], [False, False], [True, True], [False, True]])).tolist()
    [2, 0]
    """
    return (correct[:-1] & ~correct[1:]).sum(axis=0)


def conservation(recording: RelevanceFile) -> dict[str, np.ndarray]:
    """Compare the sum of each map with the relevance put in at the output; the largest deviation over steps, (N,) each.

    Both are relative to the larger of |initial relevance| and sum|R|.

    Returns
    -------
    dict
        "conservation_error": |initial - sum R|, whatever the reason;
        "unaccounted_relevance": |initial - sum R - absorbed|, what is left when biases, stabilizers and dead units
        are taken into account: numerical error only.
    """
    initial, total, absorbed, mass = (
        recording.scalar(name).astype(np.float64) for name in ("initial", "r_sum", "absorbed", "r_abs_sum")
    )
    size = np.maximum(np.abs(initial), mass)
    return {
        name: np.divide(np.abs(difference), size, out=np.zeros_like(size), where=size > 0).max(axis=0)
        for name, difference in (
            ("conservation_error", initial - total),
            ("unaccounted_relevance", initial - total - absorbed),
        )
    }


def placement(dynamics: np.ndarray, abs_sum: np.ndarray) -> dict[str, np.ndarray]:
    """Does most change happen where relevance is high? Per sample, from two (N, *shape) arrays.

    Returns
    -------
    dict
        "dynamics_relevance_spearman": rank correlation over pixels of Dynamics with mean |R|;
        "dynamics_relevance_slope": slope of log Dynamics against log mean |R|, where 1 is what a mere change of gain
        (the same map, louder or softer) would give; both NaN where a sample has no spread.
    """
    rho, slope = [], []
    for changes, relevance in zip(dynamics.reshape(len(dynamics), -1), abs_sum.reshape(len(abs_sum), -1), strict=True):
        used = (changes > 0) & (relevance > 0)
        x, y = np.log(relevance[used]), np.log(changes[used])
        spread = used.sum() > 2 and np.ptp(x) > 0 and np.ptp(y) > 0
        rho.append(spearmanr(x, y).statistic if spread else np.nan)
        slope.append(np.cov(x, y)[0, 1] / np.var(x, ddof=1) if spread else np.nan)
    return {"dynamics_relevance_spearman": np.array(rho), "dynamics_relevance_slope": np.array(slope)}


def _from_maps(again: Recomputed | None, count: int, dynamics: np.ndarray) -> Mapping[str, np.ndarray]:
    correlation, ratio = np.full(count, np.nan), np.full(count, np.nan)
    if again is not None:
        stored = len(again.correlation)
        correlation[:stored] = again.correlation
        path, net = sum_of_maps(dynamics[:stored]), again.net_change
        ratio[:stored] = np.divide(path, net, out=np.full(stored, np.nan), where=net > 0)
    return {"successive_correlation": correlation, "path_to_net_change": ratio}
