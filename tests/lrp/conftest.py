"""Peers in processes of their own, started when first asked and shared by a file's tests."""

import sys
from pathlib import Path

import pytest
import torch

from .peers import processes

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # where its scripts find each other


@pytest.fixture(scope="module")
def peer():
    """Let a function run where a peer is installed: ``peer(name, function, *arguments)``."""
    with processes() as ask:
        yield ask


@pytest.fixture(autouse=True)
def algorithms_as_by_default():
    """Trainings that ran in this process before may have left deterministic ones, which not every operation has."""
    enabled = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(enabled)
