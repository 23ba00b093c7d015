"""MNIST from IDX files: small ones made here, and the real ones where they are at hand."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data import mnist
from lrp_dynamics.data.mnist import FILES, read_idx

NAMES = [name for files in FILES.values() for name in files]
# The official training files, uncompressed.
OFFICIAL = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
}


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def small():
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (30, 20)]
    labels = [np.arange(n, dtype=np.uint8) % 10 for n in (30, 20)]
    return dict(zip(NAMES, (arrays[0], labels[0], arrays[1], labels[1]), strict=True))


def checksums(files):
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_four_files_become_one_dataset(server, tmp_path):
    arrays = small()
    server.files |= {f"mnist/{name}": idx(array) for name, array in arrays.items()}
    params = {
        "kind": "mnist",
        "title": "MNIST",
        "urls": [f"{server.url}/gone/", f"{server.url}/mnist/"],
        "sha256": checksums({name: server.files[f"mnist/{name}"] for name in NAMES}),
    }
    dataset = mnist.prepare("mnist", params, tmp_path / "raw")
    np.testing.assert_array_equal(dataset.images, np.concatenate([arrays[NAMES[0]], arrays[NAMES[2]]])[:, None])
    np.testing.assert_array_equal(dataset.labels, np.concatenate([arrays[NAMES[1]], arrays[NAMES[3]]]))
    assert dataset.split.tolist() == [0] * 30 + [1] * 20
    assert dataset.classes == tuple("0123456789")
    assert sorted(path.name for path in (tmp_path / "raw").glob("*.gz")) == sorted(NAMES)


def test_size_and_channels(tmp_path):
    files = {name: idx(array) for name, array in small().items()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    params = {"urls": [str(tmp_path)], "sha256": checksums(files), "size": 32, "channels": 3}
    dataset = mnist.prepare("mnist", params, tmp_path / "raw")
    assert dataset.images.shape == (50, 3, 32, 32)
    assert (dataset.images[:, 0] == dataset.images[:, 2]).all()
    original = small()[NAMES[0]].mean(axis=(1, 2))
    np.testing.assert_allclose(dataset.images[:30, 0].mean(axis=(1, 2)), original, atol=2.5)


def test_a_missing_checksum_or_file_names_all_that_is_needed(tmp_path):
    files = {name: idx(array) for name, array in small().items()}
    with pytest.raises(UserError, match=f"no entry for {NAMES[0]}"):
        mnist.prepare("mnist", {"urls": [str(tmp_path)], "sha256": {}}, tmp_path)
    with pytest.raises(UserError, match=f"MNIST needs all four files: {', '.join(NAMES)}"):
        mnist.prepare("mnist", {"urls": [str(tmp_path)], "sha256": checksums(files)}, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"plain text",
        gzip.compress(b""),
        gzip.compress(struct.pack(">HBBI", 0, 8, 1, 5) + bytes(4)),
        gzip.compress(struct.pack(">HBBI", 0, 13, 1, 4) + bytes(16)),
        idx(np.zeros(100, np.uint8))[:-12],
    ],
    ids=["not gzip", "empty", "too short", "floats", "cut"],
)
def test_files_that_are_no_idx_are_named(tmp_path, content):
    (tmp_path / "bad.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.gz is not"):
        read_idx(tmp_path / "bad.gz")


def test_images_and_labels_must_fit(tmp_path):
    arrays = small() | {NAMES[1]: np.zeros(29, np.uint8)}
    files = {name: idx(array) for name, array in arrays.items()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=r"shape \(30, 28, 28\) and .* one of shape \(29,\)"):
        mnist.prepare("mnist", {"urls": [str(tmp_path)], "sha256": checksums(files)}, tmp_path)


def test_the_real_digits(shared_data, tmp_path):
    folder = shared_data / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no real digits: {folder} does not exist")
    files = {name: (folder / name).read_bytes() for name in NAMES}
    for name, digest in OFFICIAL.items():
        assert hashlib.sha256(gzip.decompress(files[f"{name}.gz"])).hexdigest() == digest
    dataset = mnist.prepare("mnist", {"urls": [folder.as_uri()], "sha256": checksums(files)}, tmp_path)
    assert dataset.images.shape == (70_000, 1, 28, 28)
    train = dataset.split == 0
    # Counts and pixel statistics that the literature gives for the training set.
    assert np.bincount(dataset.labels[train]).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert dataset.images[train].mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert dataset.images[train].std() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert np.bincount(dataset.labels[~train]).sum() == 10_000
