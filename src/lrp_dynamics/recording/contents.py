"""Does a recording hold what a recording can hold? Layout, types, sizes, and values that make sense."""

from collections.abc import Iterator

import h5py
import numpy as np

from lrp_dynamics.recording.store import (
    ACCUMULATORS,
    BLOCK,
    CLASS_TYPES,
    SAMPLE_FIELDS,
    SCALARS,
    STEPS,
    RelevanceFile,
)

# A value of a map is rounded by half of 2**-10 of itself, or by half of 2**-24 of the scale.
_ROUNDING, _SMALLEST = 2.0**-10, 2.0**-24


def layout(file: h5py.File) -> list[str]:
    """Return what is missing, or has another type or shape than the schema says."""
    wanted = {f"steps/{name}": ((kind,), (None,)) for name, kind in STEPS.items()}
    try:
        count, (_, stored, *shape) = file["samples/index"].shape[0], file["relevance/map"].shape
    except (KeyError, IndexError, AttributeError, ValueError, TypeError):
        return ["it has no /samples/index (N,) or no /relevance/map (T, N', ...)"]
    wanted |= {f"scalars/{name}": (("f4",), (None, count)) for name in SCALARS}
    wanted |= {
        "scalars/predicted": (CLASS_TYPES, (None, count)),
        "relevance/map": (("f2",), (None, stored, *shape)),
        "relevance/scale": (("f4",), (None, stored)),
        "samples/image": (("u1",) if len(shape) == 2 else ("f4",), (count, *[None] * _axes(file, "samples/image"))),
    }
    for name, kind in SAMPLE_FIELDS.items():
        wanted[f"samples/{name}"] = (CLASS_TYPES if name.startswith("label") else (kind,), (count,))
    for slot in "AB":
        wanted |= {f"accum/{slot}/{name}": (("f8",), (count, *shape)) for name in ACCUMULATORS}
    if "samples/mask" in file:
        wanted["samples/mask"] = (("u1",), (count, *shape))
    if "samples/target" in file:
        kinds = CLASS_TYPES if _axes(file, "samples/target") == 0 else ("f4", "u1")
        wanted["samples/target"] = (kinds, (count, *[None] * _axes(file, "samples/target")))
    return [problem for name, (kinds, size) in wanted.items() for problem in _unlike(file, name, kinds, size)]


def _axes(file: h5py.File, name: str) -> int:
    return max(0, getattr(file.get(name), "ndim", 1) - 1)


def _unlike(file: h5py.File, name: str, kinds: tuple[str, ...], size: tuple[int | None, ...]) -> Iterator[str]:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        yield f"it has no dataset /{name}"
        return
    if dataset.dtype not in [np.dtype(kind) for kind in kinds]:
        yield f"/{name} is of type {dataset.dtype}, expected {' or '.join(kinds)}"
    if len(dataset.shape) != len(size) or any(n not in (m, None) for n, m in zip(size, dataset.shape, strict=True)):
        expected = ", ".join("any" if n is None else str(n) for n in size)
        yield f"/{name} has shape {dataset.shape}, expected ({expected})"


def values(recording: RelevanceFile) -> Iterator[str]:
    """Yield which values cannot be, a sentence a dataset; all of them are read."""
    if (np.diff(recording.step("iteration")) <= 0).any():
        yield "/steps/iteration does not increase"
    for name in SCALARS:
        if not _as_they_should(recording, name):
            yield f"/scalars/{name} has values that are not finite"
    told = recording.has_sample("target") and recording.explains_classes
    if recording.steps and told and (recording.explained < 0).any():
        yield "/samples/target does not tell which classes are explained"
    known = recording.attrs["classes"]
    for name in ("label", "label_clean"):
        labels = recording.sample(name)
        if labels.size and (labels.min() < -1 or (known and labels.max() >= len(known))):
            yield f"/samples/{name} has classes from {labels.min()} to {labels.max()}, but there are {len(known)}"
    for name in ACCUMULATORS:
        if not np.isfinite(recording.accumulated(name)).all():
            yield f"/accum/{name} has values that are not finite"
    yield from _maps(recording)


def _maps(recording: RelevanceFile) -> Iterator[str]:
    """Maps against their own scales and the sums that were taken of them before they were rounded."""
    maps, scale = recording.quantized()
    if not ((scale > 0) & np.isfinite(scale)).all():
        yield "/relevance/scale has values that are not finite, or not above 0"
        return
    total = recording.scalar("r_abs_sum")[:, : recording.map_samples].astype(np.float64)
    pixels = int(np.prod(recording.shape))
    for start in range(0, recording.steps, BLOCK):
        rows = slice(start, min(start + BLOCK, recording.steps))
        size = np.abs(maps[rows].astype(np.float32)).reshape(rows.stop - start, recording.map_samples, pixels)
        if not (size <= 1).all():  # nor is NaN
            yield f"/relevance/map has values that are not from -1 to 1, from step {start} of the file on"
            return
        found, told = size.sum(2, dtype=np.float64) * scale[rows], total[rows]
        if not (np.abs(found - told) <= _ROUNDING * told + _SMALLEST * pixels * scale[rows]).all():
            yield f"/relevance/map does not sum to /scalars/r_abs_sum, from step {start} of the file on"
            return


def _as_they_should(recording: RelevanceFile, name: str) -> bool:
    """Whether one of `SCALARS` is finite, or infinite or NaN where its meaning says so."""
    values = recording.scalar(name)
    if name in ("margin", "probability") and np.isnan(values).all() and not recording.explains_classes:
        return True
    if name == "margin" and np.isnan(values).all():
        # Only a network of one output has no other logit: its softmax is 1, whatever the logit.
        return bool((recording.scalar("probability") == 1).all() and (recording.scalar("predicted") == 0).all())
    return bool((np.isfinite(values) | (name == "min_abs_z") & (values == np.inf)).all())
