"""A recording in a terminal: what it holds in a screenful, with its curves as lines of blocks."""

import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lrp_dynamics.base.names import shown
from lrp_dynamics.base.style import short
from lrp_dynamics.recording.store import RelevanceFile

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = ".:-=+*#@"  # where a terminal has no blocks
STEPS = 256  # read at a time: as they are stored
WIDTH = 60  # letters of a curve, at most


def letters(stream: Any = None) -> str:
    """Return the letters of which curves are made on a stream, by default the output: those that it can show."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    try:
        BLOCKS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def sparkline(values: np.ndarray, width: int = WIDTH, blocks: str = BLOCKS) -> str:
    """Return values as a line of blocks from the least to the greatest; of more than fit, the mean of each part.

    Values that are not finite are left out; a part without others is a space.

    Examples
    --------
    >>> sparkline(np.array([0.0, 1.0, 2.0, np.nan, 7.0])), sparkline(np.ones(3)), sparkline(np.arange(8.0), 4)
    ('▁▂▃ █', '▁▁▁', '▁▃▅█')
    """
    parts = np.array_split(np.asarray(values, dtype=np.float64), max(1, min(width, len(values))))
    kept = [part[np.isfinite(part)] for part in parts]
    means = np.array([part.mean() if len(part) else np.nan for part in kept])
    if not np.isfinite(means).any():
        return " " * len(means)
    low, high = np.nanmin(means), np.nanmax(means)
    share = (means - low) / (high - low) if high > low else np.where(np.isfinite(means), 0.0, np.nan)
    return "".join(" " if np.isnan(s) else blocks[round(s * (len(blocks) - 1))] for s in share)


def curves(recording: RelevanceFile) -> dict[str, np.ndarray]:
    """Return what is drawn along the steps: loss, and over the samples accuracy, relevance sum and step divergence."""
    found = {"loss of the batch": recording.step("train_loss").astype(np.float64)}
    label = recording.sample("label")
    known = label >= 0
    if recording.scored and known.any():
        found["accuracy, samples"] = _along(
            recording, "predicted", lambda values: (values[:, known] == label[known]).mean(1)
        )
    for title, name in {"relevance sum, mean": "r_sum", "step divergence, mean": "step_divergence"}.items():
        found[title] = _along(recording, name, lambda values: values.mean(1, dtype=np.float64))
    return {title: values for title, values in found.items() if np.isfinite(values).any()}


def _along(recording: RelevanceFile, name: str, mean: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return a mean over the samples at each step, (T,), of a scalar that is read some steps at a time."""
    parts = (recording.scalar(name, slice(start, start + STEPS)) for start in range(0, recording.steps, STEPS))
    return np.concatenate([mean(part) for part in parts] or [np.empty(0)])


def curve_lines(recording: RelevanceFile, blocks: str) -> Iterator[str]:
    """Yield a line for each curve: its name, its first value, the curve, its last value."""
    if not recording.steps:
        return
    width = max(10, min(WIDTH, shutil.get_terminal_size().columns - 45))  # beside what else stands on the line
    for title, values in curves(recording).items():
        ends = values[np.isfinite(values)]
        yield f"  {title:<21} {short(ends[0]):>8} {sparkline(values, width, blocks)} {short(ends[-1])}"


def state_of(recording: RelevanceFile) -> str:
    """Return whether a recording is complete, or who is writing it."""
    if recording.complete:
        return "complete"
    return f"being written by {recording.writer}" if recording.writer else "NOT complete, and nobody is writing it"


def overview(recording: RelevanceFile, blocks: str) -> Iterator[str]:
    """Yield the lines that tell what a recording holds; `blocks` are the letters of its curves."""
    attrs = recording.attrs
    yield f"{shown(recording.path)}: {state_of(recording)}"
    iterations = recording.step("iteration")
    span = f", iterations {iterations[0]} to {iterations[-1]}" if recording.steps else ""
    sizes = ("×" if blocks == BLOCKS else "x").join(map(str, recording.shape))
    yield f"  steps      {recording.steps}{span}"
    yield f"  samples    {recording.samples}, maps of {recording.map_samples}, {sizes} {recording.unit}s"
    yield f"  size       {recording.path.stat().st_size / 1e6:.1f} MB, schema version {attrs['schema_version']}"
    named = {
        "data": recording.data_title,
        "model": attrs["model"],
        "composite": attrs["composite"],
        "target": attrs["target"],
    }
    for name, value in (named | {"seed": attrs["seed"], "every": attrs["every"]}).items():
        if str(value) not in ("", "unknown"):
            yield f"  {name:<10} {shown(str(value))}"
    if names := ", ".join(map(str, attrs["classes"])):
        yield f"  classes    {len(attrs['classes'])}: {shown(names if len(names) <= 80 else names[:79] + '…')}"
    if recording.steps:
        yield ""
        yield from curve_lines(recording, blocks)
