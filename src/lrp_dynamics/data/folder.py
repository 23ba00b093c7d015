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

_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}  # no names of classes


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
    folder = Path(chosen.path).expanduser()
    tests = Path(chosen.test_path).expanduser() if chosen.test_path else None
    classes = _classes(name, "path", folder)
    if tests is not None and (found := _classes(name, "test_path", tests)) != classes:
        odd = sorted(set(found) ^ set(classes))[0]
        raise UserError(
            f"dataset {name!r}: {shown(tests)} and {shown(folder)} must have the same sub-folders; only one of them "
            f"has {odd!r}"
        )
    images, labels, split, provenance, skipped = [], [], [], {}, []
    for label, class_name in enumerate(classes):
        for part, base in ((TRAIN, folder), (TEST, tests)):
            readable = []
            for path in files_in(base / class_name) if base else ():
                key = shown(path.relative_to(base).as_posix())
                key = f"test/{key}" if part == TEST else key
                try:
                    images.append(read_image(path, chosen.size, chosen.max_pixels, chosen.channels))
                except UserError as error:
                    warnings.warn(f"left out: {error}", stacklevel=2)
                    skipped.append(key)
                    continue
                readable.append(key)
                provenance[key] = sha256(path)
            if base and not readable:
                raise UserError(f"dataset {name!r}: {shown(base / class_name)} holds no image that can be read")
            split += [part] * len(readable) if part == TEST or tests else _drawn(name, chosen, readable, class_name)
            labels += [label] * len(readable)
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


def _classes(name: str, key: str, folder: Path) -> list[str]:
    """Return the names of the sub-folders, sorted."""
    if not folder.is_dir():
        raise UserError(
            f"dataset {name!r}: {shown(folder)} is not a folder; set `{key}` to one with a sub-folder per class"
        )
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise UserError(
            f"dataset {name!r}: {shown(folder)} has no sub-folders; expected one per class, with images in it"
        )
    if set(map(str.lower, classes)) <= _SPLITS:
        raise UserError(
            f"dataset {name!r}: the sub-folders of {shown(folder)} are {', '.join(classes)}, expected one per class; "
            "set `path` to the one for training and `test_path` to the one for the test"
        )
    if len(set(map(shown, classes))) < len(classes):
        raise UserError(
            f"dataset {name!r}: two sub-folders of {shown(folder)} have names that look the same; rename one"
        )
    return classes


def _drawn(name: str, chosen: Any, readable: list[str], class_name: str) -> list[int]:
    """Return the split of each image of a class, of which a share is drawn for the test."""
    count = round(chosen.test_fraction * len(readable))
    if count == len(readable):
        raise UserError(
            f"dataset {name!r}: test_fraction is {chosen.test_fraction}, which leaves none of the {len(readable)} "
            f"images in {shown(Path(chosen.path).expanduser() / class_name)} for training; choose a smaller one"
        )
    tests = set(sorted(readable, key=lambda key: _rank(chosen.seed, key))[:count])
    return [TEST if key in tests else TRAIN for key in readable]


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder that may be images, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _rank(seed: int, key: str) -> bytes:
    """Order files at random, yet so that adding one does not move the others."""
    return hashlib.sha256(f"{seed}/{key}".encode()).digest()


def read_image(path: str | Path, size: int, max_pixels: int = MAX_PIXELS, channels: int = 3) -> np.ndarray:
    """Read an image as it is meant to be seen (`open_image`), scaled and cut at the longer sides to size×size.

    Parameters
    ----------
    path : str or Path
        Any format Pillow reads.
    size : int
        Height and width of the result, pixels.
    max_pixels : int
        As `open_image` takes it.
    channels : int
        3 of colour, or 1 of grey.

    Returns
    -------
    (channels, size, size) uint8

    Raises
    ------
    UserError
        If the file is no image or is broken.
    """
    fitted = ImageOps.fit(open_image(path, max_pixels), (size, size), method=Image.Resampling.BICUBIC)
    return np.asarray(fitted.convert("L"))[None] if channels == 1 else np.asarray(fitted).transpose(2, 0, 1)
