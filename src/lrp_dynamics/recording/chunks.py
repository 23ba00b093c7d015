"""Compressed chunks of HDF5, made here and not by HDF5, which is slow at it and holds every other thread up.

They are what HDF5's own filters make, shuffle and deflate, so that every HDF5 reads them. isal compresses as well as
zlib at level 1 in a sixth of its time; where there is none for a platform, zlib does it.
"""

from itertools import product

import h5py
import numpy as np

try:
    from isal.isal_zlib import compress

    LEVEL = 2
except ImportError:
    from zlib import compress

    LEVEL = 1

Chunks = dict[tuple[int, ...], bytes]


def compressed(dataset: h5py.Dataset, start: int, rows: np.ndarray) -> Chunks:
    """Return the chunks, by the place of their first value, that hold rows of a dataset from `start` on.

    Rows before them in the same chunk are read from the dataset, which is not changed.
    """
    first = start - start % dataset.chunks[0]
    if first < start:
        rows = np.concatenate([dataset[first:start], rows])
    made = {}
    for corner in product(*map(range, [0] * rows.ndim, rows.shape, dataset.chunks)):
        part = rows[tuple(slice(at, at + size) for at, size in zip(corner, dataset.chunks, strict=True))]
        if part.shape != dataset.chunks:
            part = np.pad(part, [(0, size - n) for n, size in zip(part.shape, dataset.chunks, strict=True)])
        made[(first + corner[0], *corner[1:])] = compress(_shuffled(part), LEVEL)
    return made


def write(dataset: h5py.Dataset, chunks: Chunks) -> None:
    """Put chunks in their places, within the dataset's size."""
    for place, content in chunks.items():
        dataset.id.write_direct_chunk(place, content)


def is_written(dataset: h5py.Dataset, chunks: Chunks) -> bool:
    """Whether the file holds the chunks as they were made."""
    return all(dataset.id.read_direct_chunk(place) == (0, content) for place, content in chunks.items())


def cut(dataset: h5py.Dataset, rows: int) -> None:
    """Leave the first rows of a dataset; what is left is as if no others had been there."""
    if len(dataset) > rows:
        dataset.resize(rows, axis=0)
        first = rows - rows % dataset.chunks[0]
        if dataset.compression and first < rows and dataset.size:  # HDF5 has made the last chunk anew, in its own way
            write(dataset, compressed(dataset, first, dataset[first:]))


def _shuffled(values: np.ndarray) -> np.ndarray:
    """All first bytes, then all second ones; of two-byte values, the only ones that are compressed here."""
    bits = np.ascontiguousarray(values).view("<u2").ravel()
    planes = np.empty((2, bits.size), np.uint8)
    planes[0] = bits & 0xFF
    planes[1] = bits >> 8
    return planes
