"""One file over HTTP, from any of several servers, none of which is trusted.

What they are asked for is bounded in time and size, and what they say in words is not repeated. Whatever goes wrong
with one address, the next one is asked.
"""

import http.client
import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

from lrp_dynamics.base.errors import StorageError
from lrp_dynamics.base.files import sha256

_CHUNK = 1 << 18


class _Failed(Exception):
    """This address did not give the file this time."""


class _Hopeless(_Failed):
    """This address will not give the file, however often it is asked."""


@dataclass(frozen=True)
class Limits:
    """How long a download may take, and how much it may bring.

    Attributes
    ----------
    rounds : int
        Times that the list of addresses is gone through.
    pause : float
        Seconds before the second round, twice as many before the third.
    patience : float
        Seconds spent, in all, on waiting for servers that do not answer.
    stall : float
        Seconds without a byte after which a running transfer is given up.
    rate, window : float
        Bytes a second that a transfer must bring over each so many seconds, or it is given up.
    size : int
        Bytes that a file may have whose size is not known.
    """

    rounds: int = 3
    pause: float = 1.0
    patience: float = 20.0
    stall: float = 15.0
    rate: float = 1024
    window: float = 30.0
    size: int = 2 * 2**30


class Transfer:
    """A file on its way to `part`; `failures` tells why each address did not give it.

    Parameters
    ----------
    part : Path
        What came before, which is gone on from, and what comes now.
    checksum : str
        SHA-256 of the file, in small letters.
    size : int or None
        Its bytes, if they are known.
    limits : Limits
    """

    def __init__(self, part: Path, checksum: str, size: int | None, limits: Limits):
        self.part, self.checksum, self.size, self.limits = part, checksum, size, limits
        self.failures: dict[str, str] = {}
        self.waited = 0.0  # seconds without an answer, in all

    def from_any(self, urls: Sequence[str]) -> bool:
        """Try the addresses in turn, several times; return whether the verified file lies at `part`."""
        if self.part.is_symlink() or (self.part.exists() and not self.part.is_file()):
            self.part.unlink()  # no download has put that there
        size = self._have()
        if size and (self.size is None or size >= self.size):
            if self._is_right():  # an earlier run ended before it could give the file its name
                return True
            if self.size is not None:
                self.part.unlink()
        hopeless: set[str] = set()
        for round_number in range(self.limits.rounds):
            if hopeless.issuperset(urls):
                break
            time.sleep(self.limits.pause * round_number)
            for url in urls:
                if url in hopeless:
                    continue
                if self.waited >= self.limits.patience:
                    self.failures.setdefault(url, "not tried, since the others took too long to answer")
                    continue
                try:
                    self._from(url, share=len(urls))
                    return True
                except StorageError:
                    raise
                except _Hopeless as error:
                    self.failures[url] = str(error)
                    hopeless.add(url)
                except Exception as error:  # of any kind, since servers make the libraries raise almost anything
                    self.failures[url] = self._reason(error)
        if not self._have():
            self.part.unlink(missing_ok=True)
        return False

    def _from(self, url: str, share: int, *, resume: bool = True) -> None:
        """Get the file, or what is missing of it, from one address."""
        have = self._have() if resume else 0
        with self._ask(url, have, share) as answer:
            begin, total = _span(answer, have)
            usable = begin in (0, have)
            if usable:
                self._receive(answer, begin, total)
        if usable and self._is_right():
            return
        if begin == 0:
            raise self._wrong(answer, total)
        if not have:
            raise _Hopeless("the server sent another part of the file than asked for")
        # What was there may have come from elsewhere: once more, all of it from this server.
        self._from(url, share, resume=False)

    def _ask(self, url: str, have: int, share: int) -> requests.Response:
        """Ask for the file, or the rest of it. Name resolution has no timeout of its own, hence the thread."""
        limits, started = self.limits, time.monotonic()
        timeout = max(min(limits.patience / share, limits.patience - self.waited, 8.0), 0.01)
        answers: queue.Queue[requests.Response | Exception] = queue.Queue()
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"

        def get() -> None:
            try:
                answers.put(requests.get(url, stream=True, headers=headers, timeout=(timeout, limits.stall)))
            except Exception as error:  # handed over to the waiting thread
                answers.put(error)

        threading.Thread(target=get, daemon=True).start()
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise _Failed(f"no answer within {timeout:.0f} s") from None
        finally:
            self.waited += time.monotonic() - started
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _receive(self, answer: requests.Response, begin: int, total: int | None) -> None:
        """Write the body to `part` from byte `begin` on."""
        expected = self.size
        if expected is not None and total not in (None, expected):
            raise _Hopeless(f"the server has a file of {total:,} bytes, expected {expected:,} (parameter `bytes`)")
        most = self.limits.size if expected is None else expected
        too_long = _Hopeless(
            f"the server sends more than {most:,} bytes, "
            + ("the size of the file" if expected is not None else "the most for a file whose size is not given")
        )
        if total is not None and total > most:
            raise too_long
        try:
            with (
                open(self.part, "r+b" if begin else "wb") as file,
                tqdm(
                    desc=self.part.stem,
                    total=total if expected is None else expected,
                    initial=begin,
                    unit="B",
                    unit_scale=True,
                    unit_divisor=1024,
                ) as bar,
            ):
                file.seek(begin)
                for chunk in self._chunks(answer):
                    if file.tell() + len(chunk) > most:
                        file.truncate(begin)
                        raise too_long
                    file.write(chunk)
                    file.flush()  # if this process is killed, too, nothing that came is lost
                    bar.update(len(chunk))
                    if file.tell() == expected:
                        break
        except OSError as error:  # of the disk: the network's are not of this kind here
            raise unwritten(self.part, error) from error
        whole = total if expected is None else expected
        if whole is not None and self._have() < whole:
            raise _Failed(f"the connection ended after {self._have():,} of {whole:,} bytes")

    def _chunks(self, answer: requests.Response) -> Iterator[bytes]:
        """Yield what comes as it comes, so that nothing of it is lost if the connection breaks, as long as it flows."""
        since, came = time.monotonic(), 0
        # Undecoded: some servers declare .gz files as an encoding, and unpacking them would spoil the checksum.
        while chunk := answer.raw.read1(_CHUNK, decode_content=False):
            yield chunk
            came += len(chunk)
            passed = time.monotonic() - since
            if passed >= self.limits.window:
                if came < self.limits.rate * passed:
                    raise _Failed(f"only {came:,} bytes came in {passed:.0f} s")
                since, came = time.monotonic(), 0

    def _wrong(self, answer: requests.Response, total: int | None) -> _Failed:
        """Return what to say of a body, sent from the first byte on, that has another checksum."""
        said = f"the server sent a file with SHA-256 {sha256(self.part)}, expected {self.checksum}"
        if self.size is None and total is None and not answer.raw.chunked:
            return _Failed(f"{said}, or the connection broke")  # nothing tells, so the next request may go on from it
        self.part.unlink()
        return _Hopeless(said)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _is_right(self) -> bool:
        return sha256(self.part) == self.checksum

    def _reason(self, error: Exception) -> str:
        """Say in a few words why a transfer failed; the libraries' own messages nest several objects."""
        text = str(error)
        if isinstance(error, _Failed):
            return text
        if isinstance(error, requests.exceptions.SSLError):
            return "no trusted secure connection (certificate)"
        if isinstance(error, requests.Timeout | TimeoutError):
            return "no answer in time"
        if "resolve" in text or "Name or service" in text:
            return "the server's name is not known here (no network?)"
        if "refused" in text:
            return "connection refused"
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return f"nothing came for {self.limits.stall:.0f} s"
        if isinstance(error, urllib3.exceptions.IncompleteRead | urllib3.exceptions.ProtocolError):
            return "the connection broke before the end of the file"
        if isinstance(error, requests.ConnectionError):
            return "could not connect"
        return f"{type(error).__name__}: {ascii(text)[:200]}"


def _span(answer: requests.Response, have: int) -> tuple[int | None, int | None]:
    """Return where in the file an answer begins, and the bytes of the whole file; None for what it does not say."""
    length = answer.raw.length_remaining
    if answer.status_code == 200:
        return 0, length
    if answer.status_code == 416 and have:  # it has no byte behind those
        return None, None
    if answer.status_code != 206:
        raise _refusal(answer)
    said = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", answer.headers.get("Content-Range", ""))
    if said is None:
        return None, None
    begin = int(said[1])
    if said[2] != "*":
        return begin, int(said[2])
    return begin, None if length is None else begin + length


def _refusal(answer: requests.Response) -> _Failed:
    code = answer.status_code
    said = f"the server answered {code} {http.client.responses.get(code, '')}".rstrip()
    return _Hopeless(said) if 400 <= code < 500 and code not in (408, 416, 425, 429) else _Failed(said)


def unwritten(path: Path, error: OSError) -> StorageError:
    """Return what to say of a disk that does not take a file."""
    return StorageError(
        f"{path} cannot be written ({error.strerror or error}); make room or mend the disk, and run the same command "
        "again: it goes on from what has come"
    )
