"""Work that is done beside the training, by one thread, one job at a time."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Background:
    """Does one job at a time; what it raises is raised by the next call here, once.

    At most one job waits for its end while the next one is prepared, so that memory is bounded.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._job: Future | None = None

    def start(self, work: Callable, *arguments: Any) -> None:
        """Begin a job, after the one before it has ended."""
        self.wait()
        self._thread = self._thread or ThreadPoolExecutor(1, "lrp-dynamics-recorder")
        self._job = self._thread.submit(work, *arguments)

    def check(self) -> None:
        """Raise what a job that has ended has raised; do not wait for one that has not."""
        if self._job is not None and self._job.done():
            self.wait()

    def wait(self) -> None:
        """Return when nothing is to be done, or raise what has happened."""
        if self._job is not None:
            try:
                self._job.result()
            finally:
                if self._job.done():  # and not where the waiting was interrupted
                    self._job = None

    def end(self) -> None:
        """Give the thread back."""
        self.wait()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
