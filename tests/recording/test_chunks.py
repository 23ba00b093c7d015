"""Chunks that are compressed here are what HDF5's own filters make of the same values."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from lrp_dynamics.recording import chunks

SHAPE = (40, 13, 5, 7)


def values(rows: int = SHAPE[0]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, *SHAPE[1:])).astype(np.float16)


def create(path, rows=SHAPE[0]):
    return h5py.File(path, "w").create_dataset(
        "map", (rows, *SHAPE[1:]), "f2", maxshape=(None, *SHAPE[1:]), chunks=(16, 10, 5, 7),
        compression="gzip", compression_opts=1, shuffle=True,
    )  # fmt: skip


@pytest.mark.parametrize("blocks", [[40], [16, 16, 8], [1, 15, 20, 4], [7, 7, 7, 7, 7, 5]])
def test_hdf5_reads_them_and_they_depend_on_nothing_but_the_values(tmp_path, blocks):
    whole = create(tmp_path / "whole.h5")
    chunks.write(whole, chunks.compressed(whole, 0, values()))
    dataset, done = create(tmp_path / "r.h5", 0), 0
    for rows in blocks:
        made = chunks.compressed(dataset, done, values()[done : done + rows])
        dataset.resize(done + rows, axis=0)
        chunks.write(dataset, made)
        assert chunks.is_written(dataset, made)
        done += rows
    dataset.file.close()
    with h5py.File(tmp_path / "r.h5") as file:
        np.testing.assert_array_equal(file["map"][()], values())
        for k in range(file["map"].id.get_num_chunks()):
            place = file["map"].id.get_chunk_info(k).chunk_offset
            assert file["map"].id.read_direct_chunk(place) == whole.id.read_direct_chunk(place)
    plain = create(tmp_path / "plain.h5")
    plain[...] = values()
    assert whole.id.get_storage_size() < 1.1 * plain.id.get_storage_size()


def test_a_chunk_that_is_another_is_not_written(tmp_path):
    dataset = create(tmp_path / "r.h5")
    made = chunks.compressed(dataset, 0, values())
    chunks.write(dataset, made)
    dataset[3, 4, 2, 1] += 1
    dataset.flush()
    assert not chunks.is_written(dataset, made)


WITHOUT = """
import sys
sys.modules["isal"] = None
import h5py, numpy as np
from lrp_dynamics.recording import chunks
with h5py.File(sys.argv[1], "r+") as file:
    chunks.write(file["map"], chunks.compressed(file["map"], 0, np.full(file["map"].shape, 0.5, np.float16)))
"""


def test_without_isal_zlib_compresses(tmp_path):
    """As on a platform that it has no wheel for."""
    create(tmp_path / "r.h5").file.close()
    subprocess.run([sys.executable, "-c", WITHOUT, tmp_path / "r.h5"], check=True)
    with h5py.File(tmp_path / "r.h5") as file:
        assert (file["map"][()] == 0.5).all()
