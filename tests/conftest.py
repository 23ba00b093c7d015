"""Settings of all tests."""

import os

# A waiting thread that spins slows the tests down where other processes share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
