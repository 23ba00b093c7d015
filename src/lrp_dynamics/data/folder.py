"""Any folder of class sub-folders of images."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.base.names import shown
from lrp_dynamics.data.parameters import MAX_PIXELS, given
from lrp_dynamics.data.pictures import open_image
from lrp_dynamics.data.prepared import TEST, TRAIN, Prepared


def prepare(name: str, params: dict[str, Any], raw: Path | None = None) -> Prepared:
    """Read every image; one that cannot be read is named in a warning and left out.

    Parameters
    ----------
    name : str
    params : dict
        As `lrp_dynamics.data.parameters.Folder` declares them.
    raw : Path, optional
        Unused.
    """
    chosen = given("folder", name, params)
    folder, fraction = Path(chosen.path).expanduser(), chosen.test_fraction
    if not folder.is_dir():
        raise UserError(f"dataset {name!r}: {folder} is not a folder; set `path` to one with a sub-folder per class")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise UserError(f"dataset {name!r}: {folder} has no sub-folders; expected one per class, with images in it")
    if len(set(map(shown, classes))) < len(classes):
        raise UserError(f"dataset {name!r}: two sub-folders of {folder} have names that look the same; rename one")
    images, labels, split, provenance, skipped = [], [], [], {}, []
    for label, class_name in enumerate(classes):
        readable = []
        for path in _files(folder / class_name):
            key = shown(path.relative_to(folder).as_posix())
            try:
                images.append(read_image(path, chosen.size, chosen.max_pixels))
            except UserError as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
                skipped.append(key)
                continue
            readable.append(key)
            provenance[key] = sha256(path)
        if not readable:
            raise UserError(f"dataset {name!r}: {shown(folder / class_name)} holds no image that can be read")
        if round(fraction * len(readable)) == len(readable):
            raise UserError(
                f"dataset {name!r}: test_fraction is {fraction}, which leaves none of the {len(readable)} images in "
                f"{shown(folder / class_name)} for training; choose a smaller one"
            )
        tests = set(sorted(readable, key=lambda key: _rank(chosen.seed, key))[: round(fraction * len(readable))])
        labels += [label] * len(readable)
        split += [TEST if key in tests else TRAIN for key in readable]
    return Prepared(
        name=name,
        title=chosen.title or shown(folder.name),
        classes=tuple(map(shown, classes)),
        images=np.stack(images),
        labels=np.array(labels, dtype=np.int16),
        labels_clean=np.array(labels, dtype=np.int16),
        split=np.array(split, dtype=np.uint8),
        source={"params": params, "sha256": provenance, "left_out": skipped},
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _rank(seed: int, key: str) -> bytes:
    """Order files at random, yet so that adding one does not move the others."""
    return hashlib.sha256(f"{seed}/{key}".encode()).digest()


def read_image(path: str | Path, size: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as it is meant to be seen (`open_image`), scaled and cut at the longer sides to size×size.

    Parameters
    ----------
    path : str or Path
        Any format Pillow reads.
    size : int
        Height and width of the result, pixels.
    max_pixels : int
        As `open_image` takes it.

    Returns
    -------
    (3, size, size) uint8

    Raises
    ------
    UserError
        If the file is no image or is broken.
    """
    fitted = ImageOps.fit(open_image(path, max_pixels), (size, size), method=Image.Resampling.BICUBIC)
    return np.asarray(fitted).transpose(2, 0, 1)
