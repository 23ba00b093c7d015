"""Memory that a training frees at every step stays with the process."""

import subprocess
import sys

import pytest

from lrp_dynamics.base import memory

STEPS = """
import resource, sys
import numpy as np
from lrp_dynamics.base.memory import keep_freed_memory

known = "keep" not in sys.argv or keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(30):
    if step == 10:
        start = faults()
    tensors = [np.ones(1 << 21, np.float32) for _ in range(4)]  # 8 MiB each, as the activations of a small CNN
    del tensors
print((faults() - start) // 20 if known else "unknown")
"""


def pages_a_step(*arguments):
    done = subprocess.run([sys.executable, "-c", STEPS, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_freed_memory_is_not_cleared_anew():
    kept = pages_a_step("keep")
    if kept == "unknown":
        pytest.skip("the C library is not glibc")
    # Of 32 MiB written at every step: 8192 pages of 4 KiB, or fewer larger ones.
    assert 10 * int(kept) < int(pages_a_step())


@pytest.mark.parametrize("library", ["without mallopt", "that cannot be had"])
def test_another_c_library_is_left_alone(monkeypatch, library):
    """As on macOS, or with musl."""

    def other(name):
        if library == "that cannot be had":
            raise OSError("no such library")
        return object()

    monkeypatch.setattr(memory.ctypes, "CDLL", other)
    assert memory.keep_freed_memory() is False
