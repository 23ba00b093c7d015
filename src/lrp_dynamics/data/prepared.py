"""The one layout of every dataset, `data/<name>.h5`: images, labels, split, and what is known beside them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.disk import SLACK, new_file
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic, canonical_json
from lrp_dynamics.base.hdf5 import Layout, open_hdf5

SCHEMA = "lrp-dynamics/dataset"
SCHEMA_VERSION = 1
TRAIN, TEST = 0, 1
_ARRAYS = {"images": np.uint8, "labels": np.int16, "labels_clean": np.int16, "split": np.uint8}
LAYOUT = Layout(
    SCHEMA,
    (SCHEMA_VERSION,),
    "a prepared dataset, which `lrp-dynamics prepare` writes",
    {"name": "text", "title": "text", "classes": "names in a JSON list", "source_json": "a JSON object"},
    {
        "images": "u N C H W",
        "labels": "i N",
        "labels_clean": "i N",
        "split": "u N",
        "mask?": "u N H W",
        "factors/*": "biuf N",
    },
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A whole dataset in memory.

    Attributes
    ----------
    name, title : str
        Short name (the file's) and the title written on every figure, such as "shapes10 (synthetic)".
    classes : tuple of str
        Class names; labels index them.
    images : (N, C, H, W) uint8
    labels, labels_clean : (N,) int16
        The labels to train on, and the true ones; they differ only where label noise was asked for.
    split : (N,) uint8
        0 train, 1 test.
    mask : (N, H, W) uint8, optional
        0 background, 1 visible object, 2 clutter or occluder, 3 patch cue.
    factors : dict of (N,) arrays
        What is known about each sample: contrast, scale, ...
    source : dict
        Provenance, JSON-compatible: parameters, addresses, checksums.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    labels_clean: np.ndarray
    split: np.ndarray
    mask: np.ndarray | None = None
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        for key, dtype in _ARRAYS.items():
            _expect(self.name, key, getattr(self, key), dtype, 4 if key == "images" else 1)
        n, _, height, width = self.images.shape
        for key in ("labels", "labels_clean", "split"):
            _expect_shape(self.name, key, getattr(self, key), (n,))
        for key in ("labels", "labels_clean"):
            values = getattr(self, key)
            if n and not (values.min() >= 0 and values.max() < len(self.classes)):
                raise UserError(
                    f"dataset {self.name!r}: {key} range from {values.min()} to {values.max()}, "
                    f"but there are {len(self.classes)} classes (expected 0 to {len(self.classes) - 1})"
                )
        if n and self.split.max() > TEST:
            raise UserError(f"dataset {self.name!r}: split holds {self.split.max()}; expected 0 (train) or 1 (test)")
        if self.mask is not None:
            _expect(self.name, "mask", self.mask, np.uint8, 3)
            _expect_shape(self.name, "mask", self.mask, (n, height, width))
        for key, values in self.factors.items():
            _expect_shape(self.name, f"factors/{key}", values, (n,))


def _expect(name: str, key: str, array: np.ndarray, dtype: type, ndim: int) -> None:
    if array.dtype != dtype or array.ndim != ndim:
        raise UserError(
            f"dataset {name!r}: {key} is {array.dtype} with {array.ndim} dimensions; "
            f"expected {np.dtype(dtype)} with {ndim}"
        )


def _expect_shape(name: str, key: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise UserError(f"dataset {name!r}: {key} has shape {array.shape}; expected {shape}, as the images have")


def write(path: str | Path, prepared: Prepared) -> None:
    """Write `prepared` to an HDF5 file, atomically; equal datasets give equal bytes.

    Parameters
    ----------
    path : str or Path
        The file, usually `data/<name>.h5`. Missing parent folders are created.
    prepared : Prepared
    """
    size = sum(array.nbytes for array in (prepared.images, prepared.mask) if array is not None) + SLACK
    size += sum(array.nbytes + 4096 for array in (*prepared.factors.values(), *[prepared.labels] * 3))
    with atomic(path) as temporary, new_file(temporary, size) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["name"] = prepared.name
        file.attrs["title"] = prepared.title
        file.attrs["classes"] = json.dumps(prepared.classes)
        file.attrs["source_json"] = canonical_json(prepared.source)
        for key in _ARRAYS:
            file.create_dataset(key, data=getattr(prepared, key), track_times=False)
        if prepared.mask is not None:
            # Masks are mostly zeros: 50 times smaller. Images of real scenes do not repay the time.
            file.create_dataset("mask", data=prepared.mask, compression="gzip", compression_opts=1, track_times=False)
        for key in sorted(prepared.factors):
            file.create_dataset(f"factors/{key}", data=prepared.factors[key], track_times=False)


def read(path: str | Path) -> Prepared:
    """Read a prepared dataset into memory.

    Raises
    ------
    UserError
        If the file is missing, is not HDF5, is not a prepared dataset, or has another schema version.
    """
    with open_hdf5(path, LAYOUT) as file:
        return Prepared(
            name=file.attrs["name"],
            title=file.attrs["title"],
            classes=tuple(json.loads(file.attrs["classes"])),
            **{key: file[key][()] for key in _ARRAYS},
            mask=file["mask"][()] if "mask" in file else None,
            factors={key: item[()] for key, item in file["factors"].items()} if "factors" in file else {},
            source=json.loads(file.attrs["source_json"]),
        )


def read_images(path: str | Path, index: Sequence[int] | np.ndarray) -> np.ndarray:
    """Read some images of a prepared dataset, u1 (M, C, H, W), in the order of their indices (M,).

    Raises
    ------
    UserError
        As `read` does, and if there is no such image.
    """
    with open_hdf5(path, LAYOUT) as file:
        count = len(file["images"])
        if not all(0 <= i < count for i in index):
            raise UserError(f"{path}: found {count} images, expected one of each index among {sorted(map(int, index))}")
        return np.array([file["images"][i] for i in index])


def test_images(data: Prepared, count: int | None) -> np.ndarray:
    """Return the indices of test images: the first of each class, then the second, ...; all if `count` is None."""
    test = np.flatnonzero(data.split == TEST)
    labels = data.labels[test].astype(np.int64)
    turn = np.array([np.count_nonzero(labels[:i] == label) for i, label in enumerate(labels)])
    return test[np.lexsort((labels, turn))][:count]
