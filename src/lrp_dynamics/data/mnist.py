"""MNIST from the four official IDX files (LeCun, Cortes, Burges, 1998)."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data.archives import gunzip
from lrp_dynamics.data.download import Remote, fetch
from lrp_dynamics.data.parameters import Mnist, given
from lrp_dynamics.data.prepared import TEST, TRAIN, Prepared

FILES = {
    TRAIN: ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    TEST: ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
_UNSIGNED_BYTE = 0x08
_LARGEST = 2**30  # bytes of an array


def prepare(name: str, params: dict[str, Any], raw: Path) -> Prepared:
    """Download or find the four files, verify them, and read them.

    Parameters
    ----------
    name : str
    params : dict
        As `lrp_dynamics.data.parameters.Mnist` declares them.
    raw : Path
        Folder of downloaded files, where the four files may be put by hand.
    """
    chosen = given("mnist", name, params)
    images, labels, split = [], [], []
    for number, files in FILES.items():
        pictures, digits = (read_idx(_fetch(file, chosen, raw)) for file in files)
        if pictures.ndim != 3 or digits.shape != pictures.shape[:1]:
            raise UserError(
                f"MNIST: {files[0]} holds an array of shape {pictures.shape} and {files[1]} one of shape "
                f"{digits.shape}; expected (N, height, width) and (N,)"
            )
        images.append(_resize(pictures, chosen.size))
        labels.append(digits.astype(np.int16))
        split.append(np.full(len(digits), number, dtype=np.uint8))
    stacked = np.concatenate(images)[:, None]
    return Prepared(
        name=name,
        title=chosen.title,
        classes=tuple("0123456789"),
        images=np.repeat(stacked, chosen.channels, axis=1),
        labels=np.concatenate(labels),
        labels_clean=np.concatenate(labels),
        split=np.concatenate(split),
        # Not the addresses: the same archive from elsewhere is the same dataset.
        source={"params": {key: value for key, value in params.items() if key not in ("urls", "bytes")}},
    )


def _fetch(file: str, chosen: Mnist, raw: Path) -> Path:
    if file not in chosen.sha256:
        raise UserError(f"MNIST: sha256 has no entry for {file}; expected one for each of the four files")
    addresses = [f"{url.rstrip('/')}/{file}" for url in chosen.urls]
    try:
        return fetch(Remote(file, addresses, chosen.sha256[file], chosen.bytes.get(file)), raw)
    except UserError as error:
        raise UserError(f"{error}\nMNIST needs all four files: {', '.join(sum(FILES.values(), ()))}.") from error


def read_idx(path: Path) -> np.ndarray:
    """Read a gzip-compressed IDX file of unsigned bytes.

    The header is two zero bytes, the element type, the number of dimensions, and each dimension as a big-endian
    32-bit integer.

    Returns
    -------
    (dimensions...) uint8

    Raises
    ------
    UserError
        If it is no such file, or unpacks to more or less than its header says.
    """
    try:
        with gzip.open(path) as file:
            head = file.read(16)
        zero, kind, ndim = struct.unpack_from(">HBB", head)
        shape = struct.unpack_from(f">{ndim}I", head, 4)  # at most three of them lie in the head
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise UserError(f"{path} is not a gzip-compressed IDX file ({error})") from error
    start, size = 4 + 4 * ndim, math.prod(shape)
    if size > _LARGEST:
        raise UserError(f"{path} is not a file of MNIST: its header declares {size:,} bytes, the most is {_LARGEST:,}")
    if zero or kind != _UNSIGNED_BYTE or not ndim or not size:
        raise UserError(f"{path} is not an IDX file of unsigned bytes")
    data = gunzip(path, start + size)
    if len(data) != start + size:
        raise UserError(
            f"{path} is not a whole IDX file: found {len(data):,} bytes, its header declares {start + size:,}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    if images.shape[1:] == (size, size):
        return images
    resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in resized])
