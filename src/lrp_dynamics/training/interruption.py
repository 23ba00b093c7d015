"""Being asked to end, by Ctrl-C or by a scheduler's SIGTERM, at a moment when nothing is lost."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENOUGH = 3  # signals after which nothing is waited for; two Ctrl-C come quickly, and a scheduler adds one of its own


class Interruption:
    """What has been asked for: `signal` is the first signal's number, None before one has come."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._count = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: only note it, unless it has been said often enough."""
        self.signal = self.signal or number
        self._count += 1
        if self._count >= _ENOUGH:
            self.end()

    def end(self) -> None:
        """End as the signal would have done, with status 130 or 143, but so that files are closed.

        Raises
        ------
        KeyboardInterrupt, SystemExit
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.signal)


@contextmanager
def noticed() -> Iterator[Interruption]:
    """Have Ctrl-C and SIGTERM noted for as long as this is open, so that a step can be carried to its end.

    Outside the main thread, where Python takes no signals, they do what they did.
    """
    asked, before = Interruption(), {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, asked.note)
    except ValueError:
        pass
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """Print to the standard error, which may have ended before: Ctrl-C ends every part of a pipe."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stderr.fileno())  # so that Python can end well
        os.close(nothing)
