"""Waiting for what other processes do. No test asks how fast a machine is: the limit guards against hanging alone."""

import subprocess
import time
from collections.abc import Callable

LIMIT = 1800.0  # seconds


def wait_until(happened: Callable[[], bool], running: subprocess.Popen | None = None, pause: float = 0.02) -> None:
    """Wait for something that must happen, and while a process runs where one is given."""
    deadline = time.monotonic() + LIMIT
    while not happened():
        assert running is None or running.poll() is None, "the process ended before it happened"
        assert time.monotonic() < deadline, f"it has not happened within {LIMIT:.0f} seconds"
        time.sleep(pause)
