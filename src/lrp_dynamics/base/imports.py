"""Packages that only some need, and parts of packages that are costly to import and of no use here."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from lrp_dynamics.base.errors import UserError

# What explaining and recording need not: `pip install 'lrp-dynamics[training]'`, and `[workflow]`, bring them.
OF_TRAINING = ("requests", "safetensors", "torchvision", "urllib3")


def needed(name: str, purpose: str) -> Any:
    """Return a package that is not installed with this one.

    Raises
    ------
    UserError
        If it is not there.

    Examples
    --------
    >>> needed("nowhere", "to go there")
    Traceback (most recent call last):
    lrp_dynamics.base.errors.UserError: the package nowhere is needed to go there: pip install nowhere
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UserError(f"the package {name} is needed {purpose}: pip install {name}") from None


def missing(error: ModuleNotFoundError) -> str | None:
    """Return which package of an extra is not there, and what brings it, in one sentence; None for any other.

    Examples
    --------
    >>> missing(ModuleNotFoundError(name="safetensors.torch"))
    "the package safetensors is needed here, and not installed: pip install 'lrp-dynamics[training]'"
    """
    package = (error.name or "").partition(".")[0]
    if package not in OF_TRAINING:
        return None
    return f"the package {package} is needed here, and not installed: pip install 'lrp-dynamics[training]'"


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Let modules count as not installed while others that can do without them are imported.

    Examples
    --------
    >>> with without("json.tool"):
    ...     import json.tool
    Traceback (most recent call last):
    ModuleNotFoundError: import of json.tool halted; None in sys.modules
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
