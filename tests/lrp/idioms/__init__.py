"""Networks as users write them: every idiom of the forward is a small network, with what must become of it."""

from . import architectures, attention, functions, gates, refused, spelling, state, wrapped  # noqa: F401
from .registry import IDIOMS, Idiom, live_state, unlike

__all__ = ["IDIOMS", "Idiom", "live_state", "unlike"]
