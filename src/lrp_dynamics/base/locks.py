"""Who is writing a file: a lock beside it, which the system drops in whatever way its holder ends.

The lock is `.<name>.lock`, held by `flock`; its text names the holder. One that nobody holds, as after `kill -9`, means
nothing. Where the system or the file system has no such locks (Windows, some network disks), only HDF5's own are left.
"""

import datetime
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from lrp_dynamics.base.errors import StorageError
from lrp_dynamics.base.files import check_folder

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

TRIES, PAUSE = 5, 0.02  # `holder` of another process holds the lock for an instant


class Lock:
    """The right to write a file, held from creation to `release` or to the end of the process.

    Parameters
    ----------
    path : Path
        The file to be written; it need not exist, its folder must.

    Raises
    ------
    StorageError
        If the file is being written already, by this or another process; the message says by whom.
    """

    def __init__(self, path: Path):
        self.path = _beside(path)
        self._file: TextIO | None = None
        for attempt in range(TRIES if fcntl else 0):
            if attempt:
                time.sleep(PAUSE)
            try:  # for appending: until the lock is ours, the text is another's
                file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115
            except PermissionError:
                if not self.path.exists():
                    check_folder(self.path.parent)
                    raise
                if holder(path) is None:
                    self.path.unlink()  # another user's, and held no more
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            except OSError:  # a file system without locks
                file.close()
                self.path.unlink(missing_ok=True)
                return
            if _same(file, self.path):
                self._file = file
                with suppress(OSError):  # on a full disk it holds all the same, and does not tell whom it belongs to
                    file.truncate(0)
                    os.write(file.fileno(), _this_process().encode())
                return
            file.close()  # its holder deleted it meanwhile
        if fcntl:
            raise StorageError(
                f"{path}: is being written by {holder(path) or 'another process'}; wait until that has ended, close it "
                "there, or choose another path"
            )

    def release(self) -> None:
        """Let others write; once released, a lock stays so."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            fcntl.flock(self._file, fcntl.LOCK_UN)  # closing is not enough where a forked child has the file, too
            self._file.close()
            self._file = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def holder(path: Path) -> str | None:
    """Return who is writing a file, such as "process 17 on atlas since 2026-01-31 12:00:00+00:00", or None."""
    if fcntl is None:
        return None
    try:
        file = open(_beside(path), encoding="utf-8")  # noqa: SIM115
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read() or "another process"
        except OSError:
            pass
    return None


def is_open(path: Path) -> bool:
    """Whether HDF5 holds a file open, in this or another process, as far as its own lock tells."""
    if fcntl is None:
        return False
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
    return False


def _beside(path: Path) -> Path:
    """The lock of a file; the same one by whatever links the file is reached."""
    path = Path(path).resolve()
    return path.with_name(f".{path.name}.lock")


def _same(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _this_process() -> str:
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return f"process {os.getpid()} on {platform.node() or 'this machine'} since {since}"
