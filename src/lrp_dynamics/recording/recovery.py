"""Is a recording whole, and what can be saved of one that is not?"""

from pathlib import Path

from lrp_dynamics.base.disk import FAILURES, reason
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.locks import Lock
from lrp_dynamics.recording import checksums, contents
from lrp_dynamics.recording.rewriting import rewrite
from lrp_dynamics.recording.store import open_relevance, time_series


def validate(path: str | Path) -> list[str]:
    """Return what is wrong with a recording, one sentence a finding; an empty list if nothing is. All of it is read."""
    if Path(path).is_file() and checksums.is_intact(Path(path)) is False:  # told before HDF5 looks at it
        return ["the file is damaged: it is not what it was when the recording was complete"]
    problems = []
    with open_relevance(path) as recording:
        if recording.writer:
            problems.append(f"the recording is not complete: it is being written by {recording.writer}")
        elif not recording.complete:
            problems.append("the recording is not complete: it was interrupted")
        if not recording.steps:
            problems.append("the recording holds no steps")
        lengths = {dataset.name: dataset.shape[0] for dataset in time_series(recording.file)}
        wrong = [
            f"{name} holds {length} steps, the accumulators hold {recording.steps}"
            for name, length in lengths.items()
            # More of them belong to a block that was being written.
            if length < recording.steps or (length > recording.steps and recording.complete)
        ]
        if wrong:
            return problems + wrong
        problems += recording.damage()
        try:
            problems += contents.values(recording)
        except FAILURES as error:
            problems.append(f"it cannot be read to its end ({reason(error)})")
    return problems


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
