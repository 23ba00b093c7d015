"""Writing a recording anew, in the one order in which equal recordings are equal bytes."""

from pathlib import Path

import h5py
import numpy as np

from lrp_dynamics.base.disk import FAILURES, SLACK, new_file, reason
from lrp_dynamics.base.errors import StorageError
from lrp_dynamics.base.files import atomic
from lrp_dynamics.base.hdf5 import tell_damage
from lrp_dynamics.recording import checksums, chunks
from lrp_dynamics.recording.store import ACCUMULATORS, VERSION, RelevanceFile, open_relevance, time_series


def rewrite(path: str | Path, *, complete: bool, live: bool = False) -> int:
    """Write a recording anew: whole steps only, everything in one order, so that equal recordings are equal bytes.

    Parameters
    ----------
    path : str or Path
        The recording, which nobody is writing.
    complete : bool
        Whether to mark it so.
    live : bool
        In the format that a writer with `live=True` needs.

    Returns
    -------
    int
        The number of steps.

    Raises
    ------
    StorageError
        If the disk has no room for a second copy; the recording is as before.
    """
    path = Path(path)
    size = path.stat().st_size + SLACK
    with open_relevance(path) as recording, atomic(path) as temporary:
        size += sum(recording.accumulated(name).nbytes for name in ACCUMULATORS)  # one slot may be empty so far
        try:
            with new_file(temporary, size, libver="latest" if live else None) as file:
                _copy(recording, file, complete)
            if complete:
                checksums.seal(temporary)
        except FAILURES as error:
            tell_damage(path, error)
            kept = "is whole, but not marked as complete" if complete else "is left as it was"
            remedy = "run `lrp-dynamics recover --mark-complete`" if complete else "try again"
            raise StorageError(
                f"{path}: {kept}, since a second copy cannot be made on the disk of {path.absolute().parent} "
                f"({reason(error)}): with {size / 1e6:.0f} MB free there, {remedy}"
            ) from error
        return recording.steps


def _copy(recording: RelevanceFile, file: h5py.File, complete: bool) -> None:
    for name in sorted(recording.file.attrs):
        file.attrs[name] = recording.file.attrs[name]
    file.attrs["complete"], file.attrs["schema_version"] = complete, VERSION
    names: list[str] = []
    recording.file.visit(names.append)
    # One by one, and slots anew: a copied group would tell in what order its members were created and written.
    for name in sorted(names):
        if isinstance(recording.file[name], h5py.Dataset) and not name.startswith("accum/"):
            recording.file.copy(name, file, name)
    for dataset in time_series(file):
        chunks.cut(dataset, recording.steps)
    sums = {name: recording.accumulated(name) for name in (*ACCUMULATORS, "n")}
    # Those that were written with the values, which may have been damaged since.
    old = "checksums" not in file
    sums["crc32"] = checksums.of_sums(sums) if old else recording.accumulated("crc32")
    for name, values in sums.items():
        for slot in "AB":
            file[f"accum/{slot}/{name}"] = values
    file["accum/valid_slot"] = np.uint8(0)
    if old:
        checksums.add(file)
