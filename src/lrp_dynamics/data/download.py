"""Fetching a file from the first of several addresses that has it, whole and with the right checksum, or not at all."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.files import sha256 as sha256_of
from lrp_dynamics.base.files import sync
from lrp_dynamics.base.locks import Lock, holder
from lrp_dynamics.data.transfer import Limits, Transfer, unwritten

_MOST_NAME = 200  # bytes; systems take 255, and ".part" and the like come behind it


@dataclass(frozen=True)
class Remote:
    """A file to be had from any of several addresses.

    Attributes
    ----------
    filename : str
        Its name in the folder of raw files, where it may also be put by hand.
    addresses : sequence of str
        Each an http(s) URL, a `file:` URL, or the path of a local file, in order of preference.
    sha256 : str
        The checksum of the only content that is accepted, 64 hexadecimal digits.
    size : int, optional
        Its bytes. With it a server that has another file is told from one whose connection broke, and no more is read.
    """

    filename: str
    addresses: Sequence[str]
    sha256: str
    size: int | None = None

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256.lower()) - set("0123456789abcdef"):
            raise UserError(f"{self.filename}: sha256 is {self.sha256!r}; expected 64 hexadecimal digits")
        if not self.addresses or isinstance(self.addresses, str):
            raise UserError(f"{self.filename}: urls is {self.addresses!r}; expected a list of addresses")
        if self.filename in ("", ".", "..") or "/" in self.filename or not self.filename.isprintable():
            raise UserError(f"{self.addresses[0]!r}: the address does not end in a file's name")
        if len(self.filename.encode()) > _MOST_NAME:
            raise UserError(f"{self.addresses[0]}: the file's name is longer than {_MOST_NAME} bytes")


def filename(address: str) -> str:
    """Return the last part of an address: the name a downloaded file gets."""
    return Path(unquote(_split(address).path)).name


def fetch(remote: Remote, raw: str | Path, limits: Limits = Limits()) -> Path:
    """Return the path of the verified file, downloading it only where it is not there yet.

    A file already in `raw` is used, never replaced. A local file among the addresses is used where it lies.
    A download is written to `<filename>.part`, resumed if it was interrupted, and renamed once its checksum is right.
    While another process downloads the same file, this one waits for it.

    Parameters
    ----------
    remote : Remote
    raw : str or Path
        Folder of raw files.
    limits : Limits, optional

    Raises
    ------
    UserError
        If the file in `raw` has another checksum, or if no address gives the file: the message lists what was tried,
        why each address failed, and where to put the file by hand. Without a network that takes at most
        about 25 seconds.
    StorageError
        If the disk does not take it. What came is kept, and the next call goes on from there.
    """
    place = Path(raw) / remote.filename
    if place.exists():
        return _verified(place, remote)
    failures: dict[str, str] = {}
    for address in remote.addresses:
        local = _local(address)
        if local is None:
            continue
        try:
            return _verified(local, remote)
        except UserError as error:
            failures[address] = str(error)
    urls = [address for address in remote.addresses if address not in failures]
    if urls:
        with _alone(place) as part:
            if place.exists():  # from the process that this one waited for
                return _verified(place, remote)
            transfer = Transfer(part, remote.sha256.lower(), remote.size, limits)
            try:
                if transfer.from_any(urls):
                    _put(part, place)
                    return place
            except OSError as error:  # of the disk: each of the network's is noted as an address's failure
                raise unwritten(part, error) from error
            failures |= transfer.failures
    tried = "\n".join(f"  {address}: {failures[address]}" for address in remote.addresses)
    raise UserError(
        f"{remote.filename} could not be had from any of its addresses:\n{tried}\n"
        f"Put the file (SHA-256 {remote.sha256}) at {place} and run the same command again; "
        "`make demo` needs no download."
    )


def _local(address: str) -> Path | None:
    """Return the path that an address names, or None for a URL of the network."""
    parts = _split(address)
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if "://" in address:
        raise UserError(f"{address}: addresses can be http:, https: or file: URLs, or paths of local files")
    return Path(os.path.expanduser(address))


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise UserError(f"{address}: is neither an address nor the path of a local file ({error})") from None


def _verified(path: Path, remote: Remote) -> Path:
    try:
        if not path.is_file():
            raise UserError(f"{path} is no file" if path.exists() else "there is no such file")
        size = path.stat().st_size
        if remote.size not in (None, size):
            found, expected = f"{size:,} bytes", f"{remote.size:,} (parameter `bytes`)"
        else:
            found, expected = f"SHA-256 {sha256_of(path)}", remote.sha256
            if found == f"SHA-256 {remote.sha256.lower()}":
                return path
    except (OSError, ValueError) as error:
        raise error if isinstance(error, UserError) else UserError(f"{path} cannot be read ({error})") from error
    raise UserError(
        f"{path} has {found}, expected {expected}: it is damaged or another file; "
        "delete it, or put the right one in its place"
    )


@contextmanager
def _alone(place: Path) -> Iterator[Path]:
    """Wait until no other process downloads this file; yield the path to write to."""
    told = False
    while True:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(place)
            break
        except StorageError:
            if not told:
                who = holder(place) or "another process"
                print(f"{place}: is being downloaded by {who}; waiting for it", file=sys.stderr)
            told = True
            time.sleep(0.2)
        except OSError as error:
            raise UserError(f"cannot write to the folder of raw files, {place.parent} ({error})") from error
    with lock:
        if holder(place) is not None:
            yield place.with_name(f"{place.name}.part")
            return
        # A network disk without locks: two processes must not write to one file.
        part = place.with_name(f"{place.name}.{os.getpid()}.part")
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


def _put(part: Path, place: Path) -> None:
    """Give a verified file its name; after a power cut the name has the whole content or does not exist."""
    sync(part)
    part.replace(place)
    sync(place.parent)
