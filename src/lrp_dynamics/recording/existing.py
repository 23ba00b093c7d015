"""A file that is there already, where a recording is to be written: replaced, gone on with, or refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.locks import is_open
from lrp_dynamics.recording import checksums
from lrp_dynamics.recording.store import VERSION, open_relevance


def give_way(path: Path, overwrite: bool) -> None:
    """Delete the file that is to be replaced; refuse where that was not asked for, or where it is in use."""
    if path.is_dir():
        raise UserError(f"{path}: found a folder, expected the name of a file to be written")
    if not path.exists():
        return
    if not overwrite:
        raise UserError(f"{path}: exists already; choose another path, or replace it (overwrite=True or --overwrite)")
    if is_open(path):
        raise StorageError(f"{path}: is open in this or another process; close it there first, or choose another path")
    path.unlink()  # and not truncated, for those who read it live


def can_go_on(path: Path) -> bool:
    """Tell whether HDF5 opens a file for writing; one that was recorded live and not closed opens for reading only."""
    try:
        h5py.File(path, "r+").close()
    except OSError:
        return False
    return True


def is_old(path: Path) -> bool:
    """Tell whether a recording is of a schema version that has no checksums."""
    with open_relevance(path) as recording:
        return recording.attrs["schema_version"] != VERSION


def check_same(path: Path, accum: Mapping[str, Any], iteration: float, checksum: int | None) -> None:
    """Refuse a recording that does not begin with the steps of these accumulators."""
    steps = int(accum["n"])
    with open_relevance(path) as recording:
        shape = (recording.samples, *recording.shape)
        if recording.steps < steps or shape != accum["mean"].shape:
            raise UserError(
                f"{path}: found {recording.steps} whole steps of samples of shape {shape}, but the state to go on "
                f"from has {steps} of shape {accum['mean'].shape}; go on with the recording that it belongs to, or "
                "begin anew"
            )
        if steps and recording.step("iteration")[steps - 1] != iteration:
            raise UserError(
                f"{path}: step {steps} is iteration {recording.step('iteration')[steps - 1]}, but the state to go on "
                f"from was taken at {iteration}; go on with the recording that it belongs to, or begin anew"
            )
        found = recording.damage(steps)
        if not found and checksum not in (None, checksums.of_first(recording.file, steps)):
            found = ["its steps are not those that the state was taken after"]
        if found:
            raise UserError(
                f"{path}: {found[0]}; go on with the recording that the state belongs to, as it was, or begin anew"
            )
