"""What an interrupted training goes on from: a checkpoint and the recordings beside it, trusted only if all are whole.

The checkpoint is a file of torch.save, read without running code from it, with its SHA-256 behind it. It holds, besides
the training's state, digests of what the recordings held when it was written; what they got later does not matter.
"""

import hashlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import torch

from lrp_dynamics.base import files
from lrp_dynamics.base.errors import StorageError
from lrp_dynamics.recording.store import BLOCK, time_series

# Of opening a recording: it is damaged or another one, if the system gives no other reason.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)
_SEAL = hashlib.sha256().digest_size
Digests = dict[str, list[tuple[int, str]]]  # file to (number of steps, digest of these that the one before leaves out)


class Observer(Protocol):
    """Looks on at a training: a `Recorder`, or whatever has the same methods."""

    def record(self, iteration: int, *, loss: float = ..., lr: float = ..., epoch: float = ...) -> bool:
        """Look at the network after so many steps; return whether there was anything to do."""

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on from here."""

    def close(self, *, complete: bool = True) -> None:
        """End, with the results if the training was carried to its end."""


Opener = Callable[[dict[str, Any] | None], Observer]  # takes what `state` returned, or None to begin anew


class Untrusted(Exception):
    """What an interrupted training left is damaged, or belongs to another one."""


def go_on(
    checkpoint: Path | None, identity: str, observers: Sequence[Opener]
) -> tuple[dict[str, Any] | None, list[Observer]]:
    """Return the state at a checkpoint, None to begin anew, and the open observers.

    A checkpoint that cannot be trusted, or whose recordings cannot, is set aside.

    Parameters
    ----------
    checkpoint : Path or None
    identity : str
        What the state must hold as "identity".
    observers : sequence of callable
    """
    try:
        saved = None if checkpoint is None else load(checkpoint, identity)
        if saved is not None:
            try:
                return saved, _open(observers, saved["observers"])
            except _DAMAGE as error:
                if isinstance(error, StorageError) or getattr(error, "errno", None):  # such as a full disk
                    raise
                raise Untrusted(f"a recording cannot be gone on with ({error})") from None
    except Untrusted as reason:
        set_aside(checkpoint, str(reason))
    return None, _open(observers, ())


def _open(observers: Sequence[Opener], states: Sequence[dict[str, Any]]) -> list[Observer]:
    """Open all observers, or none; those without a state, such as a log that was not asked for before, begin anew."""
    opened: list[Observer] = []
    with ExitStack() as closing:
        for opener, state in zip(observers, chain(states, repeat(None)), strict=False):
            opened.append(opener(state))
            closing.callback(opened[-1].close, complete=False)
        closing.pop_all()
    return opened


def save(path: Path, state: Mapping[str, Any], recordings: Iterable[Path], before: Digests) -> Digests:
    """Write a checkpoint, on the disk when this returns.

    Parameters
    ----------
    path : Path
    state : mapping
        Tensors, numbers, texts, lists, tuples and dictionaries.
    recordings : iterable of Path
        In or below the checkpoint's folder; their steps are on the disk.
    before : dict
        What the last call returned, or `load`'s "digests"; empty for a new start.

    Returns
    -------
    dict
        Digests of the recordings, for the next call.

    Raises
    ------
    StorageError
        If the disk is full, or does not take the file for another reason; the checkpoint before it is still there.
    """
    try:
        digests = {}
        for file in recordings:
            name = str(file.relative_to(path.parent))
            known = before.get(name, [])
            digests[name] = [*known, _digest(file, known[-1][0] if known else 0)]
            files.sync(file.parent)  # its name, too, is on the disk before the checkpoint that needs it
        with files.atomic(path) as temporary:
            with open(temporary, "wb") as file:
                torch.save({**state, "digests": digests}, file)
            seal = files.sha256(temporary)
            with open(temporary, "ab") as file:
                file.write(bytes.fromhex(seal))
    except (OSError, RuntimeError) as error:
        # After an error of the file, torch.save may raise one of its own.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise StorageError(
            f"{path}: the checkpoint could not be written ({cause.strerror or cause}); make room or mend the disk, and "
            "run the same command again: it goes on from the checkpoint before"
        ) from error
    return digests


def load(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the state that `save` wrote, on the CPU, and "digests"; None if there is no checkpoint.

    Parameters
    ----------
    path : Path
    identity : str
        What the state must hold as "identity".

    Raises
    ------
    Untrusted
        If the checkpoint is damaged or of another training, or a recording does not hold what it held then.
    """
    if not path.exists():
        return None
    content = _read(path)
    if hashlib.sha256(content[:-_SEAL]).digest() != content[-_SEAL:]:
        raise Untrusted(f"{path} is damaged")
    try:
        state = torch.load(io.BytesIO(content[:-_SEAL]), weights_only=True, map_location="cpu")
        if state["identity"] != identity:
            raise Untrusted(f"{path} is of another training")
        recordings = state["digests"].items()
    except Exception as error:  # whatever reading such a file may raise, it was not written here
        raise error if isinstance(error, Untrusted) else Untrusted(f"{path} is no checkpoint") from None
    for name, digests in recordings:
        _check(path.parent / name, digests)
    return state


def _read(path: Path) -> memoryview:
    try:
        return memoryview(path.read_bytes())
    except PermissionError:
        raise
    except OSError as error:
        raise Untrusted(f"{path} cannot be read ({error.strerror})") from None


def _check(recording: Path, digests: Iterable[tuple[int, str]]) -> None:
    """Compare the steps of a recording with their digests."""
    if not recording.is_file():
        raise Untrusted(f"{recording} is missing")
    start = 0
    for steps, digest in digests:
        try:
            found = _digest(recording, start, steps)
        except PermissionError:
            raise
        except Exception:  # HDF5 raises errors of many kinds about files that it cannot make sense of
            found = None
        if found != (steps, digest):
            raise Untrusted(f"{recording} is damaged, or another file than the checkpoint belongs to")
        start = steps


def _digest(recording: Path, start: int, stop: int | None = None) -> tuple[int, str]:
    """Return a number of steps, by default that in the file, and the SHA-256 of those from `start` up to it.

    With `start` 0 what is known about run and samples is in the digest too.
    """
    result = hashlib.sha256()
    with h5py.File(recording, "r") as file:
        if start == 0:
            for name in sorted(file.attrs.keys() - {"complete"}):
                result.update(f"{name}={file.attrs[name]}\n".encode())
            names: list[str] = []
            file["samples"].visit(names.append)
            fixed = [file["samples"][name] for name in sorted(names)]
            for dataset in fixed:
                if isinstance(dataset, h5py.Dataset):
                    result.update(np.ascontiguousarray(dataset[()]))
        stop = file["steps/iteration"].shape[0] if stop is None else stop
        for dataset in time_series(file):
            if len(dataset) < stop:
                raise ValueError(f"{dataset.name} holds {len(dataset)} steps, expected {stop}")
            for first in range(start, stop, BLOCK):
                result.update(np.ascontiguousarray(dataset[first : min(first + BLOCK, stop)]))
    return stop, result.hexdigest()


def set_aside(path: Path, reason: str) -> None:
    """Rename checkpoint and recordings, so that the training can start anew, and say so in one sentence."""
    for file in [path, *path.parent.rglob("*.h5")]:
        if os.path.lexists(file):
            damaged = file.with_name(f"{file.name}.damaged")
            if damaged.is_dir() and not damaged.is_symlink():
                shutil.rmtree(damaged)
            else:
                damaged.unlink(missing_ok=True)
            file.rename(damaged)
    print(
        f"{reason}: what the interrupted training left is set aside as *.damaged, and the training starts anew",
        file=sys.stderr,
    )
