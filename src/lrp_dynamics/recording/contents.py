"""Does a recording hold what a recording can hold? Its layout was looked at when it was opened; here, its values."""

from collections.abc import Iterator

import numpy as np

from lrp_dynamics.recording.store import ACCUMULATORS, BLOCK, SCALARS, RelevanceFile

# A value of a map is rounded by half of 2**-10 of itself, or by half of 2**-24 of the scale.
_ROUNDING, _SMALLEST = 2.0**-10, 2.0**-24


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
