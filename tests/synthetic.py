"""A made-up recording for tests: random walks instead of relevance, written by the real writer.

No network and no LRP are involved; nothing drawn from it means anything.
"""

from pathlib import Path

import numpy as np

from lrp_dynamics.recording.store import BLOCK
from lrp_dynamics.recording.writer import RelevanceWriter

SIZE = 8


def maps_of_a_walk(
    steps: int,
    samples: int,
    seed: int = 0,
    jump: tuple[int, int, float] | None = None,
    shape: tuple[int, ...] = (SIZE, SIZE),
) -> np.ndarray:
    """Return float32 maps (T, N, *shape); `jump` = (step, sample, factor) makes that one map larger."""
    rng = np.random.default_rng(seed)
    ones = (1,) * len(shape)
    scale = rng.lognormal(0, 0.4, (1, samples, *ones))
    maps = rng.gamma(1.0, 1.0, (1, samples, *shape)) * scale
    maps = maps + np.cumsum(rng.normal(0, 0.02, (steps, samples, *shape)) * scale, axis=0)
    maps *= np.linspace(0.3, 1, steps).reshape(-1, 1, *ones)
    if jump:
        step, sample, factor = jump
        maps[step, sample] *= factor
    return maps.astype(np.float32)


def quantize(maps: np.ndarray, axes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """How maps (..., H, W) are stored, by definition: values f2 in [-1, 1], and scale f4 (...); 1 of a map of zeros."""
    own = tuple(range(-axes, 0))
    largest = np.abs(maps).max(axis=own)
    scale = np.where(largest > 0, largest, 1).astype(np.float32)
    return (maps / np.expand_dims(scale, own)).astype(np.float16), scale


def plain_accumulators(maps: np.ndarray) -> dict:
    """The definitions, one step and one sample at a time, in plain float64 loops."""
    maps = maps.astype(np.float64)
    shape = maps.shape[1:]
    result = {name: np.zeros(shape) for name in ("dynamics", "dynamics_normalized", "abs_sum", "mean", "m2")}
    for t, current in enumerate(maps):
        result["abs_sum"] += abs(current)
        for n in range(len(current)):
            if t:
                before, now = maps[t - 1, n], current[n]
                result["dynamics"][n] += abs(before - now)
                shares = [m / abs(m).sum() if abs(m).sum() else m * 0 for m in (before, now)]
                result["dynamics_normalized"][n] += abs(shares[0] - shares[1])
    result["mean"] = maps.mean(axis=0)
    result["m2"] = ((maps - result["mean"]) ** 2).sum(axis=0)
    return result | {"n": len(maps)}


def write_recording(
    path: Path,
    maps: np.ndarray,
    stored: int | None = None,
    seed: int = 0,
    accumulators: dict | None = None,
    every: int = 1,
    table: bool = False,
) -> Path:
    """Write `maps` as a complete recording in which sum R is the logit; `accumulators` override the true ones.

    The shape of a map makes it one of images, signals or volumes; `table`, of samples without channels.
    """
    steps, samples, *shape = maps.shape
    own = tuple(range(2, maps.ndim))
    stored = samples if stored is None else stored
    rng = np.random.default_rng(seed + 1)
    labels = np.arange(samples) % 10
    total = maps.astype(np.float64).sum(axis=own)
    logits = rng.normal(0, 1, (steps, samples, 10))
    logits[:, np.arange(samples), labels] = total
    others = logits.copy()
    others[:, np.arange(samples), labels] = -np.inf
    probability = np.exp(logits - logits.max(2, keepdims=True))
    probability /= probability.sum(2, keepdims=True)
    changes = np.abs(np.diff(maps.astype(np.float64), axis=0)).sum(axis=own)
    shares = np.abs(maps) / np.abs(maps).sum(axis=own, keepdims=True)
    scalars = {
        "logit": total,
        "margin": total - others.max(2),
        "probability": probability[:, np.arange(samples), labels],
        "initial": total,
        "absorbed": np.zeros_like(total),
        "r_sum": total,
        "r_abs_sum": np.abs(maps).sum(axis=own),
        "r_max": np.abs(maps).max(axis=own),
        "entropy": -(shares * np.log(np.maximum(shares, 1e-30))).sum(axis=own),
        "min_abs_z": np.full((steps, samples), 0.1),
        "step_divergence": np.concatenate([np.zeros((1, samples)), changes]),
        "predicted": logits.argmax(2),
    }
    time = np.arange(steps)
    series = {
        "iteration": time * every,
        "epoch": time / steps,
        "learning_rate": np.full(steps, 1e-3),
        "train_loss": 2.3 * np.exp(-3 * time / steps) + rng.uniform(0, 0.1, steps),
    }
    details = {
        "index": np.arange(100, 100 + samples),
        "split": np.zeros(samples),
        "label": labels,
        "label_clean": labels,
        "image": rng.integers(0, 256, (samples, *([] if table else [3]), *shape)),
    }
    attributes = {
        "dataset": "synthetic",
        "dataset_title": "random walks (synthetic)",
        "classes": '["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]',
        "model": "none",
        "composite": "z_plus",
        "target": "label",
        "seed": seed,
        "every": every,
    }
    writer = RelevanceWriter(path, attributes, details, tuple(shape), stored, overwrite=True)
    final = plain_accumulators(maps) | (accumulators or {})
    for start in range(0, steps, BLOCK):
        block = slice(start, start + BLOCK)
        writer.append(
            {name: values[block] for name, values in series.items()},
            {name: values[block] for name, values in scalars.items()},
            *quantize(maps[block, :stored], len(shape)),
            final | {"n": min(start + BLOCK, steps)},
        )
    writer.close(complete=True)
    return path
