"""Checksums of a recording: of every step of every dataset as it is written, and of the whole file when it is complete.

A CRC-32 finds every single flipped bit and every damage within 32 bits, and all else but once in four thousand million
times; it is no protection against intent. `/checksums` holds, over the values as they are stored, uncompressed::

    steps       u4 (T, D), of each step of each dataset of `columns`
    samples     u4 (S,), of each dataset of /samples in order of their names
    attributes  u4, of all attributes but "complete"

and `/accum/A/crc32`, `/accum/B/crc32` u4 (6,) those of `ACCUMULATORS` and n. What a file of HDF5 consists of besides,
such as its index, has no checksum in the format that survives a killed writer. So a complete recording is sealed:
behind the end of what HDF5 reads stands the SHA-256 of all bytes before it.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lrp_dynamics.base.disk import FAILURES, reason

try:
    from isal.isal_zlib import crc32
except ImportError:  # the same numbers, a little later
    from zlib import crc32

GROUPS = ("steps", "scalars", "relevance")
SUMS = ("dynamics", "dynamics_normalized", "abs_sum", "mean", "m2", "n")
ROWS = 16  # read at a time
_SEAL = re.compile(rb"\nlrp-dynamics recording, sha256 of all before: ([0-9a-f]{64})\n")
_SIZE = len("\nlrp-dynamics recording, sha256 of all before: \n") + 64


def of(values: Any) -> int:
    """Return the checksum of an array's bytes."""
    return crc32(
        np.ascontiguousarray(values).view(np.uint8).ravel() if np.ndim(values) else np.asarray(values).tobytes()
    )


def columns(file: h5py.File) -> list[str]:
    """Return the names of the datasets whose steps have checksums, in the order of these."""
    return [f"{group}/{name}" for group in GROUPS for name in sorted(file[group])]


def of_steps(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the checksums (B, D) of B steps of D datasets, each (B, ...)."""
    return np.array([[of(row) for row in block] for block in blocks], np.uint32).reshape(len(blocks), -1).T


def of_first(file: h5py.File, steps: int) -> int | None:
    """Return a checksum of the checksums of the first steps, if there are any."""
    return of(file["checksums/steps"][:steps]) if "checksums" in file else None


def of_samples(file: h5py.File) -> np.ndarray:
    """Return the checksums (S,) of what is known about the samples."""
    return np.array([of(file["samples"][name][()]) for name in sample_names(file)], np.uint32)


def of_sums(sums: Mapping[str, Any]) -> np.ndarray:
    """Return the checksums (6,) of accumulators and "n"."""
    return np.array([of(np.asarray(sums[name], "i8" if name == "n" else "f8")) for name in SUMS], np.uint32)


def of_attributes(file: h5py.File) -> np.uint32:
    """Return the checksum of all attributes but "complete"."""
    text = "".join(f"{name}={file.attrs[name]}\n" for name in sorted(file.attrs.keys() - {"complete"}))
    return np.uint32(crc32(text.encode()))


def add(file: h5py.File) -> None:
    """Make a place for checksums, with those of all that is there but the accumulators."""
    names = columns(file)
    steps, width = len(file[names[0]]), len(names)
    known = file.create_dataset("checksums/steps", (steps, width), "u4", maxshape=(None, width), chunks=(256, width))
    for start in range(0, steps, ROWS):
        known[start : start + ROWS] = of_steps([file[name][start : start + ROWS] for name in names])
    file["checksums/samples"] = of_samples(file)
    file["checksums/attributes"] = of_attributes(file)


def sample_names(file: h5py.File) -> list[str]:
    """Return the names of all datasets of /samples, in order."""
    group = file["samples"]
    return sorted({*group, *(f"factors/{name}" for name in group.get("factors", ()))} - {"factors"})


def damage(file: h5py.File, steps: int, slot: str) -> Iterator[str]:
    """Yield what of a recording's content is not as it was written, a sentence each.

    Parameters
    ----------
    file : h5py.File
    steps : int
        How many are whole.
    slot : str
        The valid one of the accumulators.
    """
    try:
        known = file["checksums"]
        if known["attributes"][()] != of_attributes(file):
            yield "the attributes are not what was written"
        names = sample_names(file)
        if len(names) != len(known["samples"]):
            yield f"/samples holds {len(names)} datasets, expected {len(known['samples'])}"
            return
        for name, expected in zip(names, known["samples"][()], strict=True):
            yield from _unless(expected, f"/samples/{name}", lambda name=name: file["samples"][name][()])
        for name, expected in zip(SUMS, file[f"accum/{slot}/crc32"][()], strict=True):
            yield from _unless(expected, f"/accum/{slot}/{name}", lambda name=name: file[f"accum/{slot}"][name][()])
        expected = known["steps"][:steps]
        for name, column in zip(columns(file), expected.T, strict=True):
            for start in range(0, steps, ROWS):
                yield from _block(file[name], column[start : start + ROWS], start)
    except (*FAILURES, KeyError, ValueError, TypeError) as error:
        yield f"the checksums cannot be read ({reason(error)})"


def _unless(expected: int, name: str, read: Any) -> Iterator[str]:
    try:
        if of(read()) != expected:
            yield f"{name} is not what was written"
    except FAILURES as error:
        yield f"{name} cannot be read ({reason(error)})"


def _block(dataset: h5py.Dataset, expected: np.ndarray, start: int) -> Iterator[str]:
    stop = start + len(expected)
    try:
        rows = dataset[start:stop]
        wrong = np.flatnonzero(of_steps([rows])[:, 0] != expected) if len(rows) == len(expected) else [len(rows)]
        if len(wrong):
            yield f"{dataset.name} is not what was written, from step {start + wrong[0]} of the file on"
    except FAILURES as error:
        yield f"{dataset.name} cannot be read, steps {start} to {stop - 1} of the file ({reason(error)})"


def seal(path: Path) -> None:
    """Write the SHA-256 of a file behind its end, where HDF5 does not look."""
    with open(path, "rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(f"\nlrp-dynamics recording, sha256 of all before: {digest}\n".encode())


def is_intact(path: Path) -> bool | None:
    """Whether a file is what was sealed; None if there is no seal."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END) - _SIZE
        if size < 0:
            return None
        file.seek(size)
        found = _SEAL.fullmatch(file.read())
        if not found:
            return None
        file.seek(0)
        digest = hashlib.sha256()
        while size and (part := file.read(min(size, 2**20))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest().encode() == found[1]


def unseal(path: Path) -> None:
    """Take the seal off a file that is to be changed."""
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END) - _SIZE
        if size >= 0:
            file.seek(size)
            if _SEAL.fullmatch(file.read()):
                file.truncate(size)
