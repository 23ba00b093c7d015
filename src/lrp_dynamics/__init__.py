"""LRP Dynamics: what does a network's explanation do while the network learns?

==================  ===================================================================================================
`lrp`               layer-wise relevance propagation: `lrp.relevance`, `lrp.Explainer`, `lrp.COMPOSITES`, `lrp.RULES`
`Recorder`          writes the relevance of fixed samples to HDF5 while a network trains, in any PyTorch loop
`open_relevance`    reads such a recording, also while it is being written
`study`             makes figures, tables and a page of one or several recordings, in one call
`UserError`         raised for every mistake that a user can mend, with one sentence that says how
==================  ===================================================================================================

The packages lie on six floors, and import from lower ones only (tests/test_architecture.py):

1. `base`: errors, files, tables, parameters;
2. `lrp`: rules, composites, the engine; `data`: datasets and their one layout;
3. `models`: the networks; `recording`: recordings, written, read, joined, recovered;
4. `measures`: arrays in, numbers out; `training`;
5. `reports`: notebooks, pages, the explorer;
6. `commands`: the command line; `studies`: one package each.

The public names are loaded on first use, so that stages which need no torch do not pay for importing it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for checkers of types, which do not see what is loaded on first use
    from lrp_dynamics import lrp
    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.recording.recorder import Recorder
    from lrp_dynamics.recording.store import open_relevance
    from lrp_dynamics.reports.study import study

__version__ = "0.2.0"
__all__ = ["Recorder", "UserError", "__version__", "lrp", "open_relevance", "study"]

_LAZY = {
    "Recorder": "lrp_dynamics.recording.recorder",
    "UserError": "lrp_dynamics.base.errors",
    "open_relevance": "lrp_dynamics.recording.store",
    "study": "lrp_dynamics.reports.study",
}


def __getattr__(name: str) -> Any:
    if name == "lrp":
        return import_module("lrp_dynamics.lrp")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
