"""A recording before its first step: every dataset that there will be."""

from collections.abc import Mapping
from math import prod
from typing import Any

import h5py
import numpy as np

from lrp_dynamics.recording import checksums
from lrp_dynamics.recording.store import (
    ACCUMULATORS,
    ATTRIBUTES,
    BLOCK,
    SAMPLE_FIELDS,
    SCALARS,
    SCHEMA,
    STEPS,
    UNKNOWN,
    VERSION,
    class_type,
)

CHUNK = 2**22


def create(
    file: h5py.File,
    attributes: Mapping[str, Any],
    samples: Mapping[str, Any],
    shape: tuple[int, ...],
    maps: int,
    predicted: str,
) -> None:
    """Write what is known before the first step, and make a place for what is to come.

    Parameters
    ----------
    file : h5py.File
        Empty.
    attributes, samples, shape, maps, predicted
        As of `lrp_dynamics.recording.writer.RelevanceWriter`.
    """
    count = len(samples["image"])
    file.attrs["schema"], file.attrs["schema_version"], file.attrs["complete"] = SCHEMA, VERSION, False
    for name in ATTRIBUTES:
        file.attrs[name] = attributes.get(name, "[]" if name == "classes" else UNKNOWN)
    group = file.create_group("samples")
    for name, dtype in SAMPLE_FIELDS.items():
        values = np.asarray(samples[name])
        if name in ("label", "label_clean"):
            dtype = class_type(values.min(), values.max())
        group.create_dataset(name, data=values.astype(dtype))
    image = "u1" if np.ndim(samples["image"]) == 4 else "f4"  # bytes of pixels, or the values of other samples
    for name, dtype in (("image", image), ("mask", "u1")):
        if samples.get(name) is not None:
            group.create_dataset(name, data=np.asarray(samples[name], dtype), compression="gzip", shuffle=True)
    if samples.get("target") is not None:
        values = np.asarray(samples["target"])
        dtype = predicted if values.ndim == 1 else "u1" if values.dtype.kind in "bu" else "f4"
        group.create_dataset("target", data=values.astype(dtype))
    for name, values in (samples.get("factors") or {}).items():
        group.create_dataset(f"factors/{name}", data=np.asarray(values))
    for name, dtype in STEPS.items():
        file.create_dataset(f"steps/{name}", (0,), dtype, maxshape=(None,), chunks=(1024,))
    for name, dtype in [*((name, "f4") for name in SCALARS), ("predicted", predicted)]:
        file.create_dataset(f"scalars/{name}", (0, count), dtype, maxshape=(None, count), chunks=(256, count))
    size = (0, maps, *shape)
    file.create_dataset(
        "relevance/map",
        size,
        "f2",
        maxshape=(None, maps or None, *shape),  # a fixed axis of length 0 cannot be chunked
        chunks=chunk_of(maps, shape),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    file.create_dataset("relevance/scale", size[:2], "f4", maxshape=(None, maps or None), chunks=(256, max(1, maps)))
    accum = file.create_group("accum")
    for slot in "AB":
        for name in ACCUMULATORS:
            accum.create_dataset(f"{slot}/{name}", (count, *shape), "f8")
        accum.create_dataset(f"{slot}/n", data=np.int64(0))
        none = dict.fromkeys(ACCUMULATORS, np.zeros((count, *shape))) | {"n": 0}
        accum.create_dataset(f"{slot}/crc32", data=checksums.of_sums(none))
    # A dataset, not an attribute: in SWMR mode attributes of a file cannot change.
    accum.create_dataset("valid_slot", data=np.uint8(0))
    checksums.add(file)


def chunk_of(maps: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a chunk of maps: of images `BLOCK` steps of ten, of others no more values than `CHUNK`.

    A volume is thus divided into slices, which are read by themselves, and no chunk is larger than HDF5 takes.
    """
    chunk = [BLOCK, max(1, min(10, maps)), *shape]
    if len(shape) != 2:
        for axis in range(1, len(chunk)):
            chunk[axis] = min(chunk[axis], max(1, CHUNK * chunk[axis] // prod(chunk)))
    return tuple(chunk)
