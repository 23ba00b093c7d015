"""Peers in processes of their own, started when first asked and shared by a file's tests."""

import pytest

from .peers import processes


@pytest.fixture(scope="module")
def peer():
    """Let a function run where a peer is installed: ``peer(name, function, *arguments)``."""
    with processes() as ask:
        yield ask
