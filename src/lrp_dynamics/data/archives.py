"""Compressed files that may be meant to do harm: what they unpack to is bounded before any of it is unpacked."""

import gzip
import zipfile
import zlib
from pathlib import Path

from lrp_dynamics.base.errors import UserError

_RATIO = 1032  # a byte of deflate never becomes more


def gunzip(path: Path, most: int) -> bytes:
    """Return what a gzip file holds, read to its end, where its checksum stands.

    Parameters
    ----------
    path : Path
    most : int
        Bytes that it may unpack to.

    Raises
    ------
    UserError
        If it is no whole gzip file, or unpacks to more; not more than `most` bytes are unpacked to find out.
    """
    try:
        with gzip.open(path) as file:
            data = file.read(min(most + 1, _RATIO * path.stat().st_size + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a gzip file that can be read ({error})") from error
    if len(data) > most:
        raise UserError(f"{path} is not what it should be: it unpacks to more than {most:,} bytes")
    return data


def check_zip(path: Path) -> None:
    """Refuse a zip file, as torch.save writes them, that unpacks to more than its own size; other files pass.

    Raises
    ------
    UserError
        If it is larger unpacked, which torch.save never makes, or its directory cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":  # what torch.load goes by, too
            return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # of many kinds, for damaged directories
        raise UserError(f"{path} is not a zip file that can be read ({error})") from error
    unpacked, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if unpacked > size:
        raise UserError(f"{path} has {size:,} bytes and unpacks to {unpacked:,}, which no file of torch.save does")
    if len({entry.filename for entry in entries}) < len(entries):
        raise UserError(f"{path} holds two parts of the same name, which no file of torch.save does")
