"""Settings of all tests: what the machine, its user and its load are must not matter."""

import os

import pytest
from hypothesis import HealthCheck, settings

# A waiting thread that spins slows the tests down where other processes share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Servers of the tests' own are asked directly, whatever proxy the user needs.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))

# The same examples on every machine, however slow it is; `--hypothesis-profile=default` draws others each time.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


@pytest.fixture(autouse=True)
def the_same_random_numbers() -> None:
    """Whichever tests ran before, here or in another process."""
    import torch

    torch.manual_seed(0)
