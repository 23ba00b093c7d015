"""Fetching a file from the first of several addresses that has it, whole and with the right checksum, or not at all."""

import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from tqdm import tqdm

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256 as sha256_of

try:
    import fcntl
except ImportError:  # a system without these locks
    fcntl = None  # type: ignore[assignment]

ROUNDS = 3  # times that the list of addresses is gone through
PATIENCE = 20.0  # seconds spent, in all, on waiting for servers that do not answer
STALL = 15.0  # seconds without a byte after which a running transfer is given up
_PAUSE = 1.0  # seconds between rounds
_CHUNK = 1 << 18
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class _Hopeless(Exception):
    """This address will not give the file, however often it is asked."""


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
    """

    filename: str
    addresses: Sequence[str]
    sha256: str

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256.lower()) - set("0123456789abcdef"):
            raise UserError(f"{self.filename}: sha256 is {self.sha256!r}; expected 64 hexadecimal digits")
        if not self.addresses or isinstance(self.addresses, str):
            raise UserError(f"{self.filename}: urls is {self.addresses!r}; expected a list of addresses")
        if self.filename in ("", ".", "..") or "/" in self.filename:
            raise UserError(f"{self.addresses[0]}: the address does not end in a file's name")


def filename(address: str) -> str:
    """Return the last part of an address: the name a downloaded file gets."""
    return Path(unquote(urlsplit(address).path)).name


def fetch(remote: Remote, raw: str | Path) -> Path:
    """Return the path of the verified file, downloading it only where it is not there yet.

    A file already in `raw` is used, never replaced. A local file among the addresses is used where it lies.
    A download is written to `<filename>.part`, resumed if it was interrupted, and renamed once its checksum is right.

    Parameters
    ----------
    remote : Remote
    raw : str or Path
        Folder of raw files.

    Raises
    ------
    UserError
        If the file in `raw` has another checksum, or if no address gives the file: the message lists what was tried,
        why each address failed, and where to put the file by hand. Without a network that takes at most
        about 25 seconds.
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
            if not local.is_file():
                raise UserError("there is no such file")
            return _verified(local, remote)
        except UserError as error:
            failures[address] = str(error)
    urls = [address for address in remote.addresses if address not in failures]
    if urls:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = open(place.with_name(f".{place.name}.lock"), "wb")  # noqa: SIM115 - closed by the `with` below
        except OSError as error:
            raise UserError(f"cannot write to the folder of raw files, {place.parent} ({error})") from error
        with lock:
            # One process at a time; another may have finished the same download while this one waited.
            with suppress(AttributeError, OSError):  # a system or a network disk without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if place.exists() or _download_any(remote, urls, place, failures):
                return _verified(place, remote)
    tried = "\n".join(f"  {address}: {failures[address]}" for address in remote.addresses)
    raise UserError(
        f"{remote.filename} could not be had from any of its addresses:\n{tried}\n"
        f"Put the file (SHA-256 {remote.sha256}) at {place} and run the same command again; "
        "`make demo` needs no download."
    )


def _local(address: str) -> Path | None:
    """Return the path that an address names, or None for a URL of the network."""
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if "://" in address:
        raise UserError(f"{address}: addresses can be http:, https: or file: URLs, or paths of local files")
    return Path(address).expanduser()


def _verified(path: Path, remote: Remote) -> Path:
    found = sha256_of(path)
    if found != remote.sha256.lower():
        raise UserError(
            f"{path} has SHA-256 {found}, expected {remote.sha256}: it is damaged or another file; "
            "delete it, or put the right one in its place"
        )
    return path


def _download_any(remote: Remote, urls: list[str], place: Path, failures: dict[str, str]) -> bool:
    """Try the addresses in turn, several times; on success the file lies at `place`, else `failures` says why."""
    part = place.with_name(place.name + ".part")
    hopeless: set[str] = set()
    waited = 0.0
    for round_number in range(ROUNDS):
        if round_number:
            time.sleep(_PAUSE * round_number)
        for url in urls:
            if url in hopeless:
                continue
            if waited >= PATIENCE:
                failures.setdefault(url, "not tried, since the others took too long to answer")
                continue
            started = time.monotonic()
            try:
                answer = _ask(url, part, timeout=min(PATIENCE / len(urls), PATIENCE - waited, 8.0))
                waited += time.monotonic() - started
            except _BROKEN as error:
                waited += time.monotonic() - started
                failures[url] = _reason(error)
                continue
            try:
                with answer:
                    _receive(answer, part, place.name)
                found = sha256_of(part)
                if found != remote.sha256.lower():
                    part.unlink()
                    # Part of it may have come from elsewhere; a whole one of this server's own is final.
                    resumed = answer.status_code == requests.codes.partial
                    failures[url] = f"sent a file with SHA-256 {found}, expected {remote.sha256}"
                    if not resumed:
                        raise _Hopeless(failures[url])
                    continue
                part.replace(place)
                return True
            except _Hopeless as error:
                failures[url] = str(error)
                hopeless.add(url)
            except _BROKEN as error:
                failures[url] = _reason(error)
        if hopeless.issuperset(urls):
            break
    return False


def _ask(url: str, part: Path, timeout: float) -> requests.Response:
    """Ask for the file, or the rest of it. Name resolution has no timeout of its own, hence the thread."""
    answers: queue.Queue[requests.Response | Exception] = queue.Queue()
    headers = {"Accept-Encoding": "identity"}
    if part.exists() and part.stat().st_size:
        headers["Range"] = f"bytes={part.stat().st_size}-"

    def get() -> None:
        try:
            answers.put(requests.get(url, stream=True, headers=headers, timeout=(timeout, STALL)))
        except Exception as error:  # handed over to the waiting thread
            answers.put(error)

    threading.Thread(target=get, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise requests.Timeout(f"no answer within {timeout:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _receive(answer: requests.Response, part: Path, name: str) -> None:
    """Write the body to `part`, behind what is there if the server sends only the rest."""
    if answer.status_code == requests.codes.requested_range_not_satisfiable:
        part.unlink(missing_ok=True)  # longer than the file: start afresh
    if 400 <= answer.status_code < 500 and answer.status_code not in (408, 416, 429):
        raise _Hopeless(f"the server answered {answer.status_code} {answer.reason}")
    answer.raise_for_status()
    resumed = answer.status_code == requests.codes.partial
    have = part.stat().st_size if resumed else 0
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else None
    with (
        open(part, "ab" if resumed else "wb") as file,
        tqdm(desc=name, total=total, initial=have, unit="B", unit_scale=True, unit_divisor=1024) as bar,
    ):
        # Undecoded: some servers declare .gz files as an encoding, and unpacking them would spoil the checksum.
        for chunk in answer.raw.stream(_CHUNK, decode_content=False):
            file.write(chunk)
            bar.update(len(chunk))


def _reason(error: BaseException) -> str:
    """Say in a few words why a transfer failed; the libraries' own messages nest several objects."""
    text = str(error)
    if isinstance(error, requests.HTTPError):
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.SSLError):
        return "no trusted secure connection (certificate)"
    if isinstance(error, requests.ConnectTimeout | requests.Timeout | TimeoutError):
        return text if text.startswith("no answer") else "no answer in time"
    if "resolve" in text or "Name or service" in text:
        return "the server's name is not known here (no network?)"
    if "refused" in text:
        return "connection refused"
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return f"nothing came for {STALL:.0f} s"
    if isinstance(error, urllib3.exceptions.IncompleteRead | urllib3.exceptions.ProtocolError):
        return "the connection broke before the end of the file"
    if isinstance(error, requests.ConnectionError):
        return "could not connect"
    return f"{type(error).__name__}: {text}"
