"""CIFAR-10 from the official binary archive (Krizhevsky, 2009), read without unpacking it to disk and without pickles.

A record is one label byte and 3,072 pixel bytes: the red, green and blue plane, row by row.
"""

import io
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data.archives import gunzip
from lrp_dynamics.data.download import Remote, fetch, filename
from lrp_dynamics.data.parameters import given
from lrp_dynamics.data.prepared import TEST, TRAIN, Prepared

_RECORDS = 10_000
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_FOLDER = "cifar-10-batches-bin/"
_BATCHES = {f"data_batch_{number}.bin": TRAIN for number in range(1, 6)} | {"test_batch.bin": TEST}
_CLASSES = "batches.meta.txt"
_LARGEST = len(_BATCHES) * _RECORDS * _RECORD + 2**20  # bytes of the archive, unpacked: the batches, and small texts
_MOST_TEXT = 1000


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
    archive = fetch(Remote(filename(chosen.urls[0]), chosen.urls, chosen.sha256, chosen.bytes), raw)
    members = read_members(archive)
    records = [np.frombuffer(members[batch], np.uint8).reshape(_RECORDS, _RECORD) for batch in _BATCHES]
    labels = np.concatenate([record[:, 0] for record in records]).astype(np.int16)
    return Prepared(
        name=name,
        title=chosen.title,
        classes=_class_names(members[_CLASSES], archive),
        images=np.concatenate([record[:, 1:].reshape(-1, *_SHAPE) for record in records]),
        labels=labels,
        labels_clean=labels,
        split=np.repeat(np.array(list(_BATCHES.values()), dtype=np.uint8), _RECORDS),
        # Not the addresses: the same archive from elsewhere is the same dataset.
        source={"params": {key: value for key, value in params.items() if key not in ("urls", "bytes")}},
    )


def read_members(archive: Path) -> dict[str, bytes]:
    """Return the content of the seven files that matter, each there once and in its size.

    Nothing is written, so no member's name can lead out of a folder. An archive that tries to is refused all the same,
    as one that holds links, devices or the like: it was made to do harm. Files of other names are passed over.

    Raises
    ------
    UserError
        If the archive cannot be read, unpacks to more than CIFAR-10 does, holds what it should not, or lacks one of the
        files.
    """
    data, found = gunzip(archive, _LARGEST), {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                key = _checked(member, archive, found)
                if key is not None:
                    found[key] = tar.extractfile(member).read()
    except UserError:
        raise
    except Exception as error:  # of many kinds, for damaged headers
        raise UserError(f"{archive} is not a readable .tar.gz archive ({error})") from error
    missing = [key for key in (*_BATCHES, _CLASSES) if key not in found]
    if missing:
        raise UserError(
            f"{archive} lacks {', '.join(_FOLDER + key for key in missing)} "
            f"(batches of {_RECORDS * _RECORD:,} bytes each): it is not the binary version of CIFAR-10"
        )
    return found


def _checked(member: tarfile.TarInfo, archive: Path, found: dict[str, bytes]) -> str | None:
    """Return the name of a file that matters, None for others; refuse what has no place in such an archive."""
    path, wrong = PurePosixPath(member.name), None
    key = str(path).removeprefix(_FOLDER)
    if path.is_absolute() or ".." in path.parts:
        wrong = "leads out of the archive"
    elif member.size < 0:
        wrong = f"has {member.size} bytes"
    elif not (member.isdir() or (member.isreg() and not member.issparse())):
        wrong = "is neither a file nor a folder, but a link, a device or the like"
    elif member.isdir() or key not in (*_BATCHES, _CLASSES):
        return None
    elif key in found:
        wrong = "is there twice"
    elif key in _BATCHES and member.size != _RECORDS * _RECORD:
        wrong = f"has {member.size:,} bytes, expected {_RECORDS * _RECORD:,}"
    elif key == _CLASSES and member.size > _MOST_TEXT:
        wrong = f"has {member.size:,} bytes, expected at most {_MOST_TEXT:,}"
    if wrong:
        raise UserError(f"{archive} is not the binary version of CIFAR-10: its member {member.name!r} {wrong}")
    return key


def _class_names(text: bytes, archive: Path) -> tuple[str, ...]:
    names = text.decode("ascii", errors="replace").split()
    if not all(name.isascii() and name.isprintable() for name in names):
        raise UserError(f"{archive}: {_FOLDER}{_CLASSES} holds {text[:100]!r}, expected names of classes in plain text")
    return tuple(names)
