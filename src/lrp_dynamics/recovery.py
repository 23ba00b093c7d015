"""Is a recording whole, and what can be saved of one that is not?"""

from pathlib import Path

import numpy as np

from lrp_dynamics.store import SCALARS, open_relevance, rewrite, time_series


def validate(path: str | Path) -> list[str]:
    """Return what is wrong with a recording, one sentence a finding; an empty list if nothing is."""
    problems = []
    with open_relevance(path) as recording:
        if not recording.complete:
            problems.append("the recording is not complete: it was interrupted or is still going on")
        lengths = {dataset.name: dataset.shape[0] for dataset in time_series(recording.file)}
        problems += [
            f"{name} holds {length} steps, the accumulators hold {recording.steps}"
            for name, length in lengths.items()
            if length != recording.steps
        ]
        iteration = recording.step("iteration")
        if (np.diff(iteration) <= 0).any():
            problems.append("/steps/iteration does not increase")
        problems += [
            f"/scalars/{name} has values that are not finite"
            for name in SCALARS
            if not (np.isfinite(values := recording.scalar(name)) | (name == "min_abs_z") & (values == np.inf)).all()
        ]
        if not np.isfinite(recording.accumulated("dynamics")).all():
            problems.append("/accum/dynamics has values that are not finite")
    return problems


def recover(path: str | Path) -> int:
    """Make an interrupted recording readable by everything: cut each dataset to the steps that are whole.

    Returns
    -------
    int
        The number of steps kept. The file stays marked as not complete.
    """
    return rewrite(path, complete=False)
