"""Photos without labels: those of a folder, and some that come with installed packages."""

import hashlib
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown
from lrp_dynamics.data.parameters import given
from lrp_dynamics.data.pictures import crop_image, open_image
from lrp_dynamics.data.prepared import TEST, Prepared

_NOTES = {".md", ".txt"}


def prepare(name: str, params: dict[str, Any], raw: Path | None = None) -> Prepared:
    """Read every photo; one that cannot be read is named in a warning and left out.

    Parameters
    ----------
    name : str
    params : dict
        As `lrp_dynamics.data.parameters.Photos` declares them.
    raw : Path, optional
        Unused.

    Returns
    -------
    Prepared
        All in the test split, of one class "unknown"; `source["files"]` names the photos.
    """
    chosen = given("photos", name, params)
    images, names, checksums, left_out = [], [], {}, []
    for path in [*(packaged_file(entry) for entry in chosen.packaged), *files_in(chosen.path)]:
        try:
            photo = open_image(path, chosen.max_pixels)
            images.append(np.asarray(crop_image(photo, chosen.resize, chosen.size)).transpose(2, 0, 1))
        except UserError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
            left_out.append(shown(path.name))
            continue
        names.append(shown(path.name))
        checksums[names[-1]] = hashlib.sha256(images[-1].tobytes()).hexdigest()
    if not images:
        raise UserError(f"dataset {name!r}: there is no photo that can be read; put some into {chosen.path}")
    nothing = np.zeros(len(images), np.int16)
    return Prepared(
        name=name,
        title=chosen.title,
        classes=("unknown",),
        images=np.stack(images),
        labels=nothing,
        labels_clean=nothing,
        split=np.full(len(images), TEST, np.uint8),
        source={"params": params, "files": names, "sha256": checksums, "left_out": left_out},
    )


def files_in(folder: str | Path) -> list[Path]:
    """Return the files of a folder that may be photos, sorted; none if there is no such folder."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() not in _NOTES)


def packaged_file(entry: str) -> Path:
    """Return the path of "package:path inside it"."""
    package, found, inside = entry.partition(":")
    spec = find_spec(package) if found and package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise UserError(
            f"packaged: found {entry!r}, expected the name of an installed package, a colon, and a path in it"
        )
    return Path(spec.origin).parent / inside
