"""Writing files so that nothing half-written stays behind."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lrp_dynamics.base.errors import StorageError, UserError

# What the system says of a disk that does not take more, whatever is written.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on any error.

    The content is on the disk before the name is: after a power cut `path` holds the old file or the new one, whole.

    Parameters
    ----------
    path : str or Path
        The file to be made. Missing parent folders are created.

    Yields
    ------
    Path
        Where to write. It has the same suffix, since some writers choose the format by it.

    Raises
    ------
    StorageError
        If the disk is full, or is not to be written; it names the file.
    UserError
        As `check_output` does.
    """
    path = Path(path)
    check_output(path)
    temporary = temporary_of(path)
    try:
        make_folder(path.parent)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if told := no_room(path, error):
            raise told from error
        raise


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; rename it to `path` on success, delete it on any error.

    Raises
    ------
    UserError
        If there is something at `path`: a folder is not replaced, since it may hold what others made.
    StorageError
        If the disk is full, or is not to be written.
    """
    path = Path(path)
    check_new_folder(path)
    temporary = temporary_of(path)
    try:
        make_folder(path.parent)
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                sync(file)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if told := no_room(path, error):
            raise told from error
        raise


def no_room(path: Path, error: OSError) -> StorageError | None:
    """Return what to tell of a file that could not be written; None if its disk is not the reason."""
    if error.errno not in FULL:
        return None
    return StorageError(
        f"{path}: cannot be written, since the disk of {path.absolute().parent} does not take it "
        f"({os.strerror(error.errno)}); make room there, and run the same command again"
    )


def temporary_of(path: Path) -> Path:
    """Return the name beside a file under which it is written; refuse a link there, which would lead elsewhere."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    if temporary.is_symlink():
        raise UserError(f"{temporary}: found a symbolic link, expected a name to write {path.name} under; delete it")
    return temporary


def check_folder(folder: Path) -> None:
    """Refuse a folder, there or to be made, that nothing can be written into: told before hours of work, not after.

    Raises
    ------
    UserError
    """
    there = folder.absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise UserError(f"{folder}: cannot be a folder, since {there} is none; name another folder")
    full = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY  # told by `no_room`, when it is written
    if not (full or os.access(there, os.W_OK | os.X_OK)):
        raise UserError(
            f"{folder}: cannot be written into, since you have no permission to write in {there}; name another folder, "
            "or have the permission changed"
        )


def make_folder(folder: Path) -> None:
    """Make a folder to write into, and those above it; there may be one.

    Raises
    ------
    UserError
        As `check_folder` does, or if the system makes no folder there.
    OSError
        If the disk is full, or not to be written.
    """
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(f"{folder}: cannot be made ({os.strerror(error.errno)}); name another folder") from None


def check_new_folder(path: Path) -> None:
    """Raise `UserError` if there is something at `path`, where a folder shall be written, or it cannot be."""
    check_folder(path.parent)
    if path.is_symlink() or path.exists():
        raise UserError(f"{path} exists already; name another folder, or delete it first")


def check_output(path: Path) -> None:
    """Refuse to write where a link, a folder or a device is: only plain files are replaced.

    A link may lead to what others rely on, such as a file in a cache.

    Raises
    ------
    UserError
        Also if nothing can be written in its folder.
    """
    check_folder(path.parent)
    if path.is_symlink():
        raise UserError(
            f"{path}: found a symbolic link to {os.readlink(path)}, expected the name of a file to be written; delete "
            "the link, or give the name of the file itself"
        )
    if path.exists() and not path.is_file():
        found = "a folder" if path.is_dir() else "a device or pipe"
        raise UserError(f"{path}: found {found}, expected the name of a file to be written")


def sync(path: str | Path) -> None:
    """Have what was written to a file, or the names in a folder, put on the disk; return when it is there.

    Raises
    ------
    OSError
        If the file's content could not be stored, as on a full or broken disk. Folders that the system does not sync
        (Windows, some network file systems) are passed over.
    """
    if not os.path.isdir(path):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        return
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys and a final newline, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, what: str, numbers: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a file of a JSON object holds.

    Parameters
    ----------
    path : str or Path
    what : str
        What the file should be, for messages.
    numbers : sequence of str
        Names that must be there, of numbers.

    Raises
    ------
    UserError
        If it is no such file.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected {what}") from None
    except (ValueError, RecursionError) as error:  # broken JSON, or not even text
        raise UserError(f"{path}: not a JSON file ({error}); expected {what}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: found a {type(found).__name__}, expected {what}, a JSON object")
    for name in numbers:
        if not isinstance(found.get(name), int | float):
            shown = str(found.get(name))[:80]
            raise UserError(f"{path}: found {shown!r} as {name}, expected {what}, with a number there")
    return found


def canonical_json(value: Any) -> str:
    """Return `value` as compact JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
