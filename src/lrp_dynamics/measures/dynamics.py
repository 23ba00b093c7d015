"""Dynamics of relevance: where, when and how much a heatmap changes while the network learns.

With R_i(p) the relevance of pixel p after recorded step i, for one sample,

    Dynamics(p)            = sum_i |R_i(p) - R_{i+1}(p)|
    normalised Dynamics(p) = sum_i |r_i(p) - r_{i+1}(p)|,    r_i(p) = R_i(p) / sum_q |R_i(q)|   (0 where the sum is 0)
    step divergence(i)     = sum_p |R_{i-1}(p) - R_i(p)|     (0 for the first recorded step)
    divergence             = sum_p Dynamics(p) = sum_i step divergence(i)

Relevance is in units of the explained output (logits, unless the target says otherwise); so are Dynamics and
divergence. The normalised variants have no unit: they ask how the shape of the map changes, not its amount.

Maps are of images, (H, W), unless a shape is said: those of signals are (L,), of volumes (D, H, W), of tables (F,).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.measures.similarity import correlation
from lrp_dynamics.recording.store import normalize, sum_of_maps

# Chunks of /relevance/map hold 16 steps of 10 samples: reading along them touches every chunk once.
STEPS_PER_BLOCK = 16
SAMPLES_PER_BLOCK = 10
VALUES_PER_STEP = 2**19  # of all maps read at a time: of large images and volumes, fewer samples

# The step divergences are stored as float32, so their float64 sum can be off by about 6e-8 of the total.
STEP_SUM_TOLERANCE = 1e-5

_HALF_ULP = 2.0**-11  # float16 rounds to nearest: |x - float16(x)| <= 2**-11 |float16(x)| for normal numbers,
_SUBNORMAL = 2.0**-25  # and <= 2**-25 below the smallest normal number.
_SLACK = 1.001  # for the float32 division that precedes the rounding, and terms of second order


def dynamics(maps: np.ndarray) -> np.ndarray:
    """Return Dynamics(p) = sum_i |R_i(p) - R_{i+1}(p)| of maps (T, ..., H, W), as float64 (..., H, W).

    Examples
    --------
    >>> dynamics(np.array([[[1.0, 0.0]], [[2.0, -1.0]], [[0.0, -1.0]]])).tolist()
    [[3.0, 1.0]]
    """
    return np.abs(np.diff(np.asarray(maps, dtype=np.float64), axis=0)).sum(axis=0)


def step_divergence(maps: np.ndarray, axes: int = 2) -> np.ndarray:
    """Return the change of each map (T, ..., H, W) from its predecessor, summed over pixels: (T, ...), first entry 0.

    Parameters
    ----------
    maps : ndarray
    axes : int
        How many of the last axes are those of a map.

    Examples
    --------
    >>> step_divergence(np.array([[[1.0, 0.0]], [[2.0, -1.0]], [[0.0, -1.0]]])).tolist()
    [0.0, 2.0, 2.0]
    """
    change = np.abs(np.diff(np.asarray(maps, dtype=np.float64), axis=0)).sum(axis=tuple(range(-axes, 0)))
    return np.concatenate([np.zeros_like(change[:1]), change])


@dataclass(frozen=True)
class Recomputed:
    """Dynamics recomputed from stored maps, and how far float16 storage may have moved them.

    Attributes
    ----------
    dynamics, dynamics_normalized : ndarray f8 (N', *shape)
    bound, bound_normalized : ndarray f8 (N', *shape)
        Largest difference that rounding the maps to float16 can cause, per pixel.
    correlation : ndarray f8 (N',)
        Median over steps of the Pearson correlation between a map and its successor; NaN where a map is constant.
    net_change : ndarray f8 (N',)
        sum_p |R_last(p) - R_first(p)|, the straight way from the first map to the last.
    """

    dynamics: np.ndarray
    dynamics_normalized: np.ndarray
    bound: np.ndarray
    bound_normalized: np.ndarray
    correlation: np.ndarray
    net_change: np.ndarray


def recompute(maps, scale) -> Recomputed:
    """Recompute Dynamics in float64 from stored maps R = map * scale, block by block.

    Parameters
    ----------
    maps : h5py.Dataset or ndarray f2 (T or more, N', *shape)
    scale : ndarray f4 (T, N')

    Raises
    ------
    UserError
        If there are fewer than two maps to compare.
    """
    scale = np.asarray(scale, dtype=np.float64)
    steps, samples = scale.shape
    if steps < 2:
        raise UserError(f"Dynamics need at least two recorded steps, found {steps}: train longer or record more often.")
    size = max(1, min(SAMPLES_PER_BLOCK, VALUES_PER_STEP // prod(maps.shape[2:])))
    parts = [
        _recompute_group(maps, scale, slice(first, min(first + size, samples))) for first in range(0, samples, size)
    ]
    return Recomputed(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _recompute_group(maps, scale: np.ndarray, group: slice) -> dict[str, np.ndarray]:
    shape = (group.stop - group.start, *maps.shape[2:])
    total, total_normalized, bound, bound_normalized = (np.zeros(shape) for _ in range(4))
    correlations = []
    first = last = None
    axes = tuple(range(2, maps.ndim))
    for relevance, error in _blocks(maps, scale, group):
        mass = np.abs(relevance).sum(axis=axes, keepdims=True)
        shares = normalize(relevance, len(axes))
        # |R/S - R'/S'| <= |R - R'|/S' + |R/S| |S - S'|/S' for the sums S, S' of absolute values
        uncertainty = error + np.abs(shares) * error.sum(axis=axes, keepdims=True)
        uncertainty = np.divide(uncertainty, mass, out=np.zeros_like(uncertainty), where=mass > 0)
        total += dynamics(relevance)
        total_normalized += dynamics(shares)
        bound += error[1:].sum(axis=0) + error[:-1].sum(axis=0)
        bound_normalized += uncertainty[1:].sum(axis=0) + uncertainty[:-1].sum(axis=0)
        correlations.append(correlation(relevance[:-1], relevance[1:], len(axes)))
        first = relevance[0] if first is None else first
        last = relevance[-1]
    return {
        "dynamics": total,
        "dynamics_normalized": total_normalized,
        "bound": bound,
        "bound_normalized": bound_normalized,
        "correlation": _median_over_steps(np.concatenate(correlations)),
        "net_change": sum_of_maps(np.abs(last - first)),
    }


def _blocks(maps, scale: np.ndarray, group: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (relevance, largest rounding error) of successive steps; each block starts with the previous one's last."""
    carried: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(scale), STEPS_PER_BLOCK):
        steps = slice(start, min(start + STEPS_PER_BLOCK, len(scale)))
        unit = np.expand_dims(scale[steps, group], tuple(range(2, maps.ndim)))
        stored = np.asarray(maps[steps, group], dtype=np.float64)
        relevance = stored * unit
        error = np.maximum(np.abs(stored) * _HALF_ULP, _SUBNORMAL) * np.abs(unit) * _SLACK
        if carried:
            relevance = np.concatenate([carried[0][0], relevance])
            error = np.concatenate([carried[0][1], error])
        carried = [(relevance[-1:], error[-1:])]
        if len(relevance) > 1:
            yield relevance, error


def _median_over_steps(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return np.array(
        [np.median(values[known[:, i], i]) if known[:, i].any() else np.nan for i in range(values.shape[1])]
    )


def check_step_sum(divergence: np.ndarray, steps: np.ndarray, name: str) -> float:
    """Check that divergence (N,) is the sum of the step divergences (T, N); return the largest relative difference.

    A step that was lost, or counted twice after a restart, shows up here.

    Raises
    ------
    UserError
        Naming the sample where they differ by more than float32 rounding explains.
    """
    total = np.asarray(steps, dtype=np.float64).sum(axis=0)
    relative = _relative(np.abs(divergence - total), np.maximum(divergence, total))
    worst = int(np.argmax(relative))
    if not relative[worst] <= STEP_SUM_TOLERANCE:  # also catches NaN
        raise UserError(
            f"{name}: sample {worst} has divergence {divergence[worst]:.6g} in /accum, but its "
            f"/scalars/step_divergence sum to {total[worst]:.6g}: steps were lost or counted twice. "
            "Record this run again."
        )
    return float(relative[worst])


def check_recomputed(online: np.ndarray, again: np.ndarray, bound: np.ndarray, name: str) -> float:
    """Compare Dynamics accumulated on line with Dynamics recomputed from float16 maps, all (N', *shape).

    Returns
    -------
    float
        The largest relative difference between the two divergences (sums over pixels) of a sample.

    Raises
    ------
    UserError
        Naming the sample and the place where they differ by more than rounding to float16 can explain.
    """
    # A float64 sum of at most millions of float32 terms is off by far less than 1e-9 of itself.
    excess = np.abs(online - again) - (bound + 1e-9 * np.abs(online))
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    if not excess[worst] <= 0:  # also catches NaN
        sample, *place = map(int, worst)
        raise UserError(
            f"{name}: the Dynamics of sample {sample} at position ({', '.join(map(str, place))}) is "
            f"{online[worst]:.6g} in /accum, but {again[worst]:.6g} recomputed from the "
            f"stored maps; float16 rounding explains at most {bound[worst]:.3g}. "
            "The file is damaged or was written wrongly: record this run again."
        )
    a, b = sum_of_maps(online), sum_of_maps(again)
    return float(_relative(np.abs(a - b), np.maximum(a, b)).max())


def _relative(difference: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.divide(difference, size, out=np.where(np.isfinite(difference), 0.0, np.nan), where=size != 0)
