"""Functions of a rule that tell which parameters they read, for dvc.yaml to know."""

from collections.abc import Callable
from typing import Any


class Reading:
    """A function of a job's wildcards.

    Parameters
    ----------
    function : callable
        Returns the value of a parameter or an input.
    *keys_read : str
        Dotted keys of params.yaml that the value depends on, with wildcards in braces.
    folder_of : callable, optional
        Returns the folder that the files of an input lie in, where DVC is to be given that as a whole.
    """

    def __init__(self, function: Callable[[Any], Any], *keys_read: str, folder_of: Callable[[Any], Any] | None = None):
        self.function, self.keys_read = function, keys_read
        self.folder_of = folder_of or (lambda wildcards: None)

    def __call__(self, wildcards: Any) -> Any:
        return self.function(wildcards)
