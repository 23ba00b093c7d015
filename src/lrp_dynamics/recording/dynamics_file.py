"""The file of one recording's Dynamics, `dynamics.h5`: opened, and known to be one."""

from pathlib import Path

import h5py
import numpy as np

from lrp_dynamics.base.errors import UserError

SCHEMA, SCHEMA_VERSION = "lrp-dynamics/dynamics", 1
ORIGIN = ("dataset", "dataset_title", "model", "composite", "target", "seed")  # attributes copied from the recording


def open_dynamics(path: str | Path) -> h5py.File:
    """Open a dynamics.h5 for reading.

    Raises
    ------
    UserError
        If the file is missing, is not HDF5, or holds something else.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; expected a dynamics.h5, which `lrp-dynamics dynamics` writes")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path}: HDF5 cannot open it: it is no HDF5 file, or damaged ({error})") from None
    found = (file.attrs.get("schema"), file.attrs.get("schema_version"))
    if found != (SCHEMA, SCHEMA_VERSION):
        file.close()
        raise UserError(
            f"{path}: found schema {found[0]!r} version {found[1]}, expected {SCHEMA!r} version {SCHEMA_VERSION}"
        )
    return file


def check_table(file: h5py.File, divergence: np.ndarray, table: str | Path) -> None:
    """Check that a column of divergences (N,) was made from these Dynamics (N, H, W).

    Raises
    ------
    UserError
        Naming both files.
    """
    sums = file["dynamics"][()].sum(axis=(1, 2))
    numeric = divergence.dtype.kind in "if"
    if sums.shape != divergence.shape or not (numeric and np.allclose(sums, divergence, rtol=1e-6, atol=0)):
        raise UserError(
            f"{table} and {file.filename} are not of the same run: found {len(divergence)} and {len(sums)} samples"
            + (" of other divergences" if sums.shape == divergence.shape else "")
            + "; give the files of one run"
        )
