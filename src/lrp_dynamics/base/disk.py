"""HDF5 files on disks that may be full.

HDF5 does not survive a write that fails: datasets report it from their destructors, where nobody hears it, and the next
call may end the process. So the room is taken before HDF5 needs it, and where a write fails all the same, HDF5 ends its
work on a file that is thrown away.
"""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

from lrp_dynamics.base.files import no_room

FAILURES = (OSError, RuntimeError)  # what h5py raises when the system could not read or write
SLACK = 2**20  # bytes, for what HDF5 keeps beside the data
_UNABLE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def reserve(file: h5py.File, size: int) -> None:
    """Have the disk set aside `size` bytes behind what an HDF5 file holds.

    Raises
    ------
    OSError
        If there is not so much room. The file is as before, and HDF5 knows nothing of it.
    """
    descriptor, end = file.id.get_vfd_handle(), file.id.get_filesize()
    before = os.fstat(descriptor).st_size
    try:
        _allocate(descriptor, end, size)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def _allocate(descriptor: int, start: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, start, size)
            return
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
    if hasattr(os, "pwrite"):  # macOS, and file systems that cannot allocate: room is what has been written to
        stop, start = start + size, max(start, os.fstat(descriptor).st_size)
        while start < stop:
            start += os.pwrite(descriptor, bytes(min(2**20, stop - start)), start)


def reason(error: Exception) -> str:
    """Return what the system said of a failure, without HDF5's addresses and times."""
    if isinstance(error, OSError) and error.strerror and "\n" not in error.strerror:
        return error.strerror
    said = re.search(r"error message = '([^']*)'", str(error))
    return said[1] if said else str(error).splitlines()[0]


def trim(file: h5py.File) -> None:
    """Give back what was reserved and is not needed, of a file that is flushed."""
    with suppress(OSError):
        os.ftruncate(file.id.get_vfd_handle(), file.id.get_filesize())


def detach(file: h5py.File) -> None:
    """Let an HDF5 file on which a write has failed go on into nothing, so that it can be closed.

    What is on the disk stays as it is: as after `kill -9` at this moment.
    """
    descriptor = file.id.get_vfd_handle()
    with suppress(OSError):  # so that it is not shorter than it says
        os.ftruncate(descriptor, max(os.fstat(descriptor).st_size, file.id.get_filesize()))
    if hasattr(os, "memfd_create"):
        nothing = os.memfd_create("lrp-dynamics")
        os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
    else:
        with tempfile.TemporaryFile() as scratch:
            os.dup2(scratch.fileno(), descriptor, inheritable=False)


def create(path: Path, size: int, libver: str | None = None) -> h5py.File:
    """Create an HDF5 file where there is none.

    Raises
    ------
    StorageError
        If the disk has no room for `size` bytes; nothing is left behind.
    """
    try:
        _try_room(path, size, "xb")
        path.unlink()
        return h5py.File(path, "x", libver=libver)
    except OSError as error:
        if isinstance(error, FileExistsError) or not (told := no_room(path, error)):
            raise
        path.unlink(missing_ok=True)
        raise told from None


def _try_room(path: str | Path, size: int, mode: str) -> None:
    """Take the room of a file that HDF5 is to make: without any, as under a limit on files, it could not even close."""
    with open(path, mode) as file:
        _allocate(file.fileno(), 0, size)


@contextmanager
def new_file(path: str | Path, size: int, libver: str | None = None) -> Iterator[h5py.File]:
    """Create an HDF5 file with room for `size` bytes; closed at the end, and then no longer than it needs to be.

    Raises
    ------
    OSError
        If there is not so much room, or the disk fails.
    """
    _try_room(path, size, "wb")
    file = h5py.File(path, "w", libver=libver)
    try:
        reserve(file, size)
        yield file
        file.flush()
        trim(file)
    except FAILURES:
        detach(file)
        raise
    finally:
        file.close()
