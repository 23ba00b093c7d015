"""The folder in which a training works, and handing its results over when it has ended, so that none is lost.

Results stay in the folder until all of them lie where they belong. A note, written last, says that they are complete:
if handing them over fails, the next run of the same training does it, and nothing is trained anew.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lrp_dynamics.base import files
from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.locks import Lock, holder

CHECKPOINT, _NOTE = "checkpoint.pt", "finished.json"


@contextmanager
def held(work: Path) -> Iterator[None]:
    """Make a training's folder and hold it, so that no second process works in it; what a crash left is cleared away.

    Raises
    ------
    StorageError
        If another process holds it.
    UserError
        If it cannot be made.
    """
    place = work / "training"
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = Lock(place)
    except StorageError:
        who = holder(place) or "another process"
        raise StorageError(f"{work}: the same training is run by {who}; wait until that has ended") from None
    except OSError as error:
        raise UserError(f"--cache: the folder {work} cannot be written ({error.strerror})") from error
    with lock:
        for left_over in work.rglob(".*.part*"):
            left_over.unlink()
        yield


def check_target(out: Path, work: Path, folders: set[Path], size: int) -> None:
    """Make the folder of the results, and refuse one that they could not be handed over to.

    Parameters
    ----------
    out, work : Path
        The folder of the results, and that of the training.
    folders : set of Path
        `out` and those in it that are needed.
    size : int
        Bytes that the results take at least.

    Raises
    ------
    UserError
        If one of them is not a folder, cannot be made or written, or lies on a disk without room.
    """
    for folder in sorted(folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"--out: {folder} is a file or lies below one, expected a folder for the results") from None
        except OSError as error:
            raise UserError(
                f"--out: the folder {folder} cannot be written ({error.strerror}); nothing was trained, since the "
                "results could not be handed over"
            ) from error
    # What an interrupted training has written takes its room already.
    for folder in (out, work) if not (work / CHECKPOINT).exists() else (out,):
        free = shutil.disk_usage(folder).free
        if free < size and (folder == work or os.stat(out).st_dev != os.stat(work).st_dev):
            raise UserError(
                f"{folder}: {free / 1e6:.0f} MB are free on this disk, but the results take at least "
                f"{size / 1e6:.0f} MB; make room, or choose another folder"
            )


def finish(work: Path) -> None:
    """Note that the results in a training's folder are complete; the checkpoint is of no use any more."""
    for path in _results(work):
        files.sync(path)
    files.write_json(work / _NOTE, {str(path.relative_to(work)): path.stat().st_size for path in _results(work)})
    (work / CHECKPOINT).unlink(missing_ok=True)


def finished(work: Path) -> bool:
    """Whether a training's folder holds complete results that could not be handed over."""
    try:
        sizes = json.loads((work / _NOTE).read_text(encoding="utf-8"))
        return {str(path.relative_to(work)): path.stat().st_size for path in _results(work)} == sizes
    except (FileNotFoundError, ValueError):
        return False


def hand_over(work: Path, out: Path) -> None:
    """Put the results where they belong, and delete the training's folder.

    Raises
    ------
    StorageError
        If they cannot be put there. They stay in the training's folder, and nothing half-written is left behind.
    """
    placed: dict[Path, Path] = {}
    try:
        for path in _results(work):
            target = out / path.relative_to(work)
            target.parent.mkdir(parents=True, exist_ok=True)
            files.check_output(target)
            placed[files.temporary_of(target)] = target
        for temporary, target in placed.items():
            _copy(work / target.relative_to(out), temporary)
        for temporary, target in placed.items():
            os.replace(temporary, target)
        for folder in {target.parent for target in placed.values()}:
            files.sync(folder)
    except OSError as error:
        raise StorageError(
            f"{out}: the results could not be put there ({error.strerror or error}); they are complete in {work}: mend "
            "that and run the same command again, which trains nothing anew"
        ) from error
    finally:
        for temporary in placed:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    shutil.rmtree(work)


def discard(work: Path, folders: set[Path], *, useless: bool) -> None:
    """Clear away after a training that failed: folders without results, and its own if what it holds is useless."""
    for folder in sorted(folders, reverse=True):
        with suppress(OSError):
            folder.rmdir()
    if useless or not any(path.is_file() for path in work.rglob("*") if not path.name.startswith(".")):
        shutil.rmtree(work)


def _results(work: Path) -> list[Path]:
    """What is handed over: everything but what the training needs for itself."""
    return sorted(
        path
        for path in work.rglob("*")
        if path.is_file()
        and path.name not in (CHECKPOINT, _NOTE)
        and path.suffix != ".damaged"
        and not path.name.startswith(".")  # locks
    )


def _copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be, as on another disk."""
    target.unlink(missing_ok=True)  # left by a process of the same number, as in a container; it may be the source
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        files.sync(target)
