"""Opening HDF5 files for reading, and knowing that they hold what is expected."""

from pathlib import Path

import h5py

from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.locks import holder


def open_hdf5(path: str | Path, schema: str, version: int, what: str, older: tuple[int, ...] = ()) -> h5py.File:
    """Open a file of a schema for reading.

    Parameters
    ----------
    path : str or Path
    schema : str
        What its attribute "schema" must be.
    version : int
        What its attribute "schema_version" must be.
    what : str
        What the file should be and where such files come from, for error messages.
    older : tuple of int
        Other versions that are read, too.

    Raises
    ------
    StorageError
        If it is being written, and not live.
    UserError
        If the file is missing, is not HDF5, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise UserError(f"{path}: found {found}, expected {what}")
    try:
        file = h5py.File(path, "r")
    except OSError as plain:
        try:
            file = h5py.File(path, "r", libver="latest", swmr=True)  # one that is being written live
        except OSError:
            if (who := holder(path)) or isinstance(plain, BlockingIOError):
                raise StorageError(
                    f"{path}: is being written by {who or 'another process'}; wait until that has ended, or record "
                    "with live=True to read meanwhile"
                ) from None
            raise UserError(
                f"{path}: HDF5 cannot open it: it is no HDF5 file, or damaged ({plain}); expected {what}"
            ) from None
    found = (file.attrs.get("schema"), file.attrs.get("schema_version"))
    if found not in [(schema, known) for known in (version, *older)]:
        file.close()
        raise UserError(
            f"{path}: found schema {found[0]!r} version {found[1]}, expected {schema!r} version {version}: {what}"
        )
    return file
