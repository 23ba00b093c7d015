"""A recording as a labelled dataset of xarray."""

from typing import TYPE_CHECKING

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.recording.store import SAMPLE_FIELDS, SCALARS, STEPS, RelevanceFile

if TYPE_CHECKING:
    import xarray

_AXES = {1: ("feature",), 2: ("position",), 3: ("y", "x"), 4: ("z", "y", "x")}  # by the axes of a sample without N


def to_xarray(recording: RelevanceFile, steps: slice, samples: slice) -> "xarray.Dataset":
    """Return maps, scalars and sums of some samples; see `RelevanceFile.to_xarray`.

    Raises
    ------
    UserError
        If xarray is not installed, or a choice is not a slice.
    """
    try:
        import xarray
    except ImportError:
        raise UserError(
            "to_xarray: found no xarray; install it with `pip install xarray`, or use `maps` and `scalar`"
        ) from None
    for name, chosen in (("steps", steps), ("samples", samples)):
        if not isinstance(chosen, slice):
            raise UserError(f"to_xarray: {name} is {chosen!r}, expected a slice, such as slice(0, 10)")
    stored = recording.map_samples
    rows, columns = np.arange(recording.steps)[steps], np.arange(stored or recording.samples)[samples]
    image = recording.file["samples/image"]
    axes = _AXES[image.ndim - 1]
    time, each = ("iteration",), ("sample",)
    values = {name: (time + each, recording.scalar(name)[rows][:, columns]) for name in (*SCALARS, "predicted")}
    values |= {name: (time, recording.step(name)[rows]) for name in STEPS if name != "iteration"}
    for name in ("dynamics", "dynamics_normalized", "abs_sum", "mean"):
        values[name] = (each + axes, recording.accumulated(name)[columns])
    if stored:
        values["relevance"] = (time + each + axes, recording.maps(steps, samples))
    channels = ("channel",) if image.ndim > 2 else ()
    values["image"] = (each + channels + axes, recording.sample("image")[columns])
    labels = {name: (each, recording.sample(name)[columns]) for name in SAMPLE_FIELDS}
    names = (each, [recording.class_name(int(sample)) for sample in columns])
    coordinates = {"iteration": recording.step("iteration")[rows], "sample": columns, "name": names, **labels}
    attrs = {name: value for name, value in recording.attrs.items() if name != "complete"}
    return xarray.Dataset(values, coordinates, attrs | {"complete": int(recording.complete)})
