"""Recordings made of maps that others stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.recording.attributors import as_map
from lrp_dynamics.recording.recorder import Recorder
from lrp_dynamics.recording.store import MAPS_ALONE, UNKNOWN


def import_maps(
    path: str | Path,
    maps: np.ndarray,
    *,
    iterations: np.ndarray | None = None,
    logits: np.ndarray | None = None,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    loss: np.ndarray | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write maps of fixed samples along a training as a recording.

    All of it goes through the recorder, so that sums, statistics and checksums are those of any other recording.

    Parameters
    ----------
    path : str or Path
        The recording to be written.
    maps : ndarray, shape (T, N, H, W), or (T, N, L) of signals, (T, N, D, H, W) of volumes
        Real numbers.
    iterations : ndarray of whole numbers, shape (T,), optional
        Increasing; default: 0, 1, 2, ...
    logits : ndarray, shape (T, N, K), optional
        The network's outputs. Without them, or without labels, it is not known which output a map explains: the
        recording says "maps alone" as its attribute "target", the sum of a map stands in place of the logit, and what
        needs right and wrong stays empty.
    images : ndarray u1, shape (N, C, H, W), optional
        Default: grey.
    labels : ndarray of whole numbers, shape (N,), optional
        The classes that the maps explain; default: unknown, -1.
    loss : ndarray, shape (T,), optional
        Training loss.
    attributes : mapping, optional
        As `Recorder` takes them; "composite" is "imported" by default, and "model" is not known.
    overwrite : bool
        Replace an existing recording.

    Raises
    ------
    UserError
        If shapes or values do not fit together, or there is a file already.
    """
    maps = np.asarray(maps)
    if maps.ndim not in (3, 4, 5) or 0 in maps.shape or maps.dtype.kind not in "fiu":
        raise UserError(
            f"maps: found {maps.dtype} of shape {maps.shape}, expected real numbers (T, N, H, W), (T, N, L) or "
            "(T, N, D, H, W)"
        )
    steps, count, *shape = maps.shape
    given = {"iterations": (iterations, (steps,)), "loss": (loss, (steps,)), "labels": (labels, (count,))}
    given["logits"] = (logits, (steps, count, np.shape(logits)[-1] if np.ndim(logits) else 0))
    for name, (values, expected) in given.items():
        if values is not None and np.shape(values) != expected:
            raise UserError(f"{name}: found shape {np.shape(values)}, expected {expected}, as of maps {maps.shape}")
    # Looked at before there is a file.
    with np.errstate(over="ignore"):
        wrong = next((step for step in range(steps) if not np.isfinite(maps[step].astype(np.float32)).all()), None)
    if wrong is not None:
        raise UserError(
            f"maps: found values that are not finite in step {wrong}, counted from 0; expected numbers of float32"
        )
    iterations = np.arange(steps) if iterations is None else np.asarray(iterations)
    whole = iterations.dtype.kind in "iuf" and (np.isfinite(iterations) & (iterations == np.floor(iterations))).all()
    if not whole or (iterations[1:] <= iterations[:-1]).any():
        raise UserError("iterations: expected whole numbers, each greater than the one before")
    channels = np.shape(images)[1] if np.ndim(images) == len(shape) + 2 else 1
    samples = torch.zeros(count, channels, *shape)
    classes = logits is not None and labels is not None  # else it is not known which output a map explains
    told = {"model": UNKNOWN} | ({} if classes else {"target": MAPS_ALONE}) | dict(attributes or {})
    names = told.get("classes", ())
    if np.asarray(labels).dtype.kind in "iu" and isinstance(names, list | tuple) and 0 < len(names) <= np.max(labels):
        raise UserError(
            f"classes: found {len(names)} {'name' if len(names) == 1 else 'names'} and a sample of class "
            f"{np.max(labels)}; expected a name for each class from 0, in this order"
        )
    # Without logits the sum stands for an output of no classes, of which nothing is predicted.
    known = np.asarray(labels) if classes else np.ones((count, *([1, 1] if logits is None else np.shape(logits)[-1:])))
    details: dict[str, Any] = {"label": np.full(count, -1) if labels is None else np.asarray(labels)}
    details |= {} if images is None else {"image": np.asarray(images)}
    now = {"step": 0, "first": 0}

    def stored(inputs: torch.Tensor, target: torch.Tensor) -> lrp.Relevance:
        step, members = now["step"], slice(now["first"], now["first"] + len(inputs))
        values = as_map(np.array(maps[step, members], dtype=np.float32), inputs, "imported")
        total = values.flatten(1).sum(1)
        output = (
            total[:, None, None] if logits is None else torch.as_tensor(np.array(logits[step, members], np.float32))
        )
        explained = output.gather(1, target[:, None])[:, 0] if classes else total
        nothing = torch.full_like(total, torch.inf)
        return lrp.Relevance(values, output, explained, explained - total, {}, nothing)

    stored.name = "imported"
    options = {"details": details, "attributes": told, "overwrite": overwrite, "maps": count, "batch": count}
    with Recorder(path, torch.nn.Identity(), samples, known, composite=stored, **options) as recorder:
        for step in range(steps):
            now["step"] = step
            extra = {} if loss is None else {"loss": float(loss[step])}
            recorder.record(int(iterations[step]), **extra)
