"""CIFAR-10 from the official binary archive (Krizhevsky, 2009), read without unpacking it to disk and without pickles.

A record is one label byte and 3,072 pixel bytes: the red, green and blue plane, row by row.
"""

import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data.download import Remote, fetch, filename
from lrp_dynamics.data.parameters import given
from lrp_dynamics.data.prepared import TEST, TRAIN, Prepared

_RECORDS = 10_000
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_FOLDER = "cifar-10-batches-bin/"
_BATCHES = {f"data_batch_{number}.bin": TRAIN for number in range(1, 6)} | {"test_batch.bin": TEST}
_CLASSES = "batches.meta.txt"


def prepare(name: str, params: dict[str, Any], raw: Path) -> Prepared:
    """Download or find the archive, verify it, and read it.

    Parameters
    ----------
    name : str
    params : dict
        As `lrp_dynamics.data.parameters.Cifar10` declares them.
    raw : Path
        Folder of downloaded archives, where the archive may be put by hand.
    """
    chosen = given("cifar10", name, params)
    archive = fetch(Remote(filename(chosen.urls[0]), chosen.urls, chosen.sha256), raw)
    members = read_members(archive)
    records = [np.frombuffer(members[batch], np.uint8).reshape(_RECORDS, _RECORD) for batch in _BATCHES]
    labels = np.concatenate([record[:, 0] for record in records]).astype(np.int16)
    return Prepared(
        name=name,
        title=chosen.title,
        classes=tuple(members[_CLASSES].decode("ascii").split()),
        images=np.concatenate([record[:, 1:].reshape(-1, *_SHAPE) for record in records]),
        labels=labels,
        labels_clean=labels,
        split=np.repeat(np.array(list(_BATCHES.values()), dtype=np.uint8), _RECORDS),
        # Not the addresses: the same archive from elsewhere is the same dataset.
        source={"params": {key: value for key, value in params.items() if key != "urls"}},
    )


def read_members(archive: Path) -> dict[str, bytes]:
    """Return the content of the seven files that matter, straight from the tar stream.

    Nothing is written, so no member's name can lead out of a folder; members of another name, type or size are passed
    over, and missed in the end.

    Raises
    ------
    UserError
        If the archive cannot be read, or lacks one of the files in its exact size.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                key = member.name.removeprefix("./").removeprefix(_FOLDER)
                batch = key in _BATCHES and member.size == _RECORDS * _RECORD
                if member.isreg() and (batch or (key == _CLASSES and member.size < 1000)):
                    found[key] = tar.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is not a readable .tar.gz archive ({error})") from error
    missing = [key for key in (*_BATCHES, _CLASSES) if key not in found]
    if missing:
        raise UserError(
            f"{archive} lacks {', '.join(_FOLDER + key for key in missing)} "
            f"(batches of {_RECORDS * _RECORD:,} bytes each): it is not the binary version of CIFAR-10"
        )
    return found
