"""The file of one recording's Dynamics, `dynamics.h5`: written, and opened."""

import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from lrp_dynamics.base.disk import SLACK, new_file
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic
from lrp_dynamics.base.hdf5 import Layout, open_hdf5
from lrp_dynamics.recording.store import RelevanceFile, sum_of_maps

SCHEMA, SCHEMA_VERSION = "lrp-dynamics/dynamics", 1
ORIGIN = ("dataset", "dataset_title", "model", "composite", "target", "seed")  # attributes copied from the recording
MAPS = ("dynamics", "dynamics_normalized", "mean_abs_relevance", "mean_relevance", "std_relevance")
LAYOUT = Layout(
    SCHEMA,
    (SCHEMA_VERSION,),
    "a dynamics.h5, which `lrp-dynamics dynamics` writes",
    dict.fromkeys(ORIGIN, "text, a number, true or false")
    | {"classes": "names in a JSON list", "steps": "a whole number", "largest_step_gap": "a whole number"},
    dict.fromkeys(MAPS, "f N *shape"),
)


def write_dynamics(
    path: str | Path,
    recording: RelevanceFile,
    dynamics: np.ndarray,
    normalized: np.ndarray,
    checks: Mapping[str, float],
) -> None:
    """Write a dynamics.h5; equal recordings give equal bytes.

    Parameters
    ----------
    path : str or Path
    recording : RelevanceFile
        Gives `ORIGIN`, classes, number of steps, and mean and spread of the maps.
    dynamics, normalized : ndarray f8 (N, *shape)
        Dynamics and normalised Dynamics.
    checks : mapping of str to float
        How far they differ from what they were compared with; kept as attributes.
    """
    absolute, mean, squares = (recording.accumulated(name) for name in ("abs_sum", "mean", "m2"))
    values = (dynamics, normalized, absolute / recording.steps, mean, (squares / recording.steps) ** 0.5)
    maps = dict(zip(MAPS, values, strict=True))
    size = sum(values.nbytes for values in maps.values()) + SLACK
    with atomic(path) as temporary, new_file(temporary, size) as file:
        file.attrs["schema"], file.attrs["schema_version"] = SCHEMA, SCHEMA_VERSION
        for name in ORIGIN:
            file.attrs[name] = recording.attrs[name]
        file.attrs["classes"] = json.dumps(recording.attrs["classes"])
        file.attrs.update({"steps": recording.steps, "checked_samples": recording.map_samples, **checks})
        file.attrs["largest_step_gap"] = np.diff(recording.step("iteration")).max()
        for name, values in maps.items():
            file.create_dataset(name, data=values, compression="gzip", compression_opts=1, shuffle=True)


def open_dynamics(path: str | Path) -> h5py.File:
    """Open a dynamics.h5 for reading.

    Raises
    ------
    UserError
        If the file is missing, is not HDF5, or holds something else.
    """
    return open_hdf5(path, LAYOUT)


def check_table(file: h5py.File, divergence: np.ndarray, table: str | Path) -> None:
    """Check that a column of divergences (N,) was made from these Dynamics (N, *shape).

    Raises
    ------
    UserError
        Naming both files.
    """
    sums = sum_of_maps(file["dynamics"][()])
    numeric = divergence.dtype.kind in "if"
    if sums.shape != divergence.shape or not (numeric and np.allclose(sums, divergence, rtol=1e-6, atol=0)):
        raise UserError(
            f"{table} and {file.filename} are not of the same run: found {len(divergence)} and {len(sums)} samples"
            + (" of other divergences" if sums.shape == divergence.shape else "")
            + "; give the files of one run"
        )
