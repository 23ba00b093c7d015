"""Is a recording whole, and what can be saved of one that is not?"""

from pathlib import Path

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.locks import Lock
from lrp_dynamics.recording.store import SCALARS, RelevanceFile, open_relevance, rewrite, time_series


def validate(path: str | Path) -> list[str]:
    """Return what is wrong with a recording, one sentence a finding; an empty list if nothing is."""
    problems = []
    with open_relevance(path) as recording:
        if recording.writer:
            problems.append(f"the recording is not complete: it is being written by {recording.writer}")
        elif not recording.complete:
            problems.append("the recording is not complete: it was interrupted")
        if not recording.steps:
            problems.append("the recording holds no steps")
        lengths = {dataset.name: dataset.shape[0] for dataset in time_series(recording.file)}
        problems += [
            f"{name} holds {length} steps, the accumulators hold {recording.steps}"
            for name, length in lengths.items()
            # More of them belong to a block that was being written.
            if length < recording.steps or (length > recording.steps and recording.complete)
        ]
        iteration = recording.step("iteration")
        if (np.diff(iteration) <= 0).any():
            problems.append("/steps/iteration does not increase")
        problems += [
            f"/scalars/{name} has values that are not finite"
            for name in SCALARS
            if not _as_they_should(recording, name)
        ]
        told = recording.has_sample("target") and recording.explains_classes
        if recording.steps and told and (recording.explained < 0).any():
            problems.append("/samples/target does not tell which classes are explained")
        if not np.isfinite(recording.accumulated("dynamics")).all():
            problems.append("/accum/dynamics has values that are not finite")
    return problems


def _as_they_should(recording: RelevanceFile, name: str) -> bool:
    """Whether one of `SCALARS` is finite, or infinite or NaN where its meaning says so."""
    values = recording.scalar(name)
    if name in ("margin", "probability") and np.isnan(values).all() and not recording.explains_classes:
        return True
    if name == "margin" and np.isnan(values).all():
        # Only a network of one output has no other logit: its softmax is 1, whatever the logit.
        return bool((recording.scalar("probability") == 1).all() and (recording.scalar("predicted") == 0).all())
    return bool((np.isfinite(values) | (name == "min_abs_z") & (values == np.inf)).all())


def recover(path: str | Path, *, mark_complete: bool = False) -> int:
    """Make an interrupted recording readable by everything: cut each dataset to the steps that are whole.

    A complete recording is left alone.

    Parameters
    ----------
    path : str or Path
    mark_complete : bool
        Call the recording complete up to its last whole step, so that every stage takes it. Whether its training had
        gone far enough by then, only you can tell.

    Returns
    -------
    int
        The number of steps kept. Unless told otherwise, the file stays marked as not complete.

    Raises
    ------
    StorageError
        If it is being written or read, or the disk has no room for a second copy; it is left as it is.
    UserError
        If it is not a recording, or holds no step that could be complete.
    """
    with open_relevance(path) as recording:
        if recording.complete:
            return recording.steps
        if mark_complete and not recording.steps:
            raise UserError(f"{path}: holds no whole step, so that nothing is complete; record anew")
    with Lock(Path(path)):
        return rewrite(path, complete=mark_complete)
