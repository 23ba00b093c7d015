"""How threads of this process wait for work."""

import os

SPINS = "10000"


def sleep_soon() -> None:
    """Let a thread of OpenMP that has no work soon sleep, where the user has not said how it is to wait.

    By default GNU's threads spin for a while first. Where other processes keep the cores busy, that takes the time of
    those that have work. Results are the same. To be called before torch is imported: its library reads this once.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
