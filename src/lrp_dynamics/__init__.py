"""LRP Dynamics: what does a network's explanation do while the network learns?

The public names are loaded on first use, so that stages which need no torch do not pay for importing it.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["Recorder", "__version__", "open_relevance"]

_LAZY = {"Recorder": "lrp_dynamics.recording.recorder", "open_relevance": "lrp_dynamics.recording.store"}


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
