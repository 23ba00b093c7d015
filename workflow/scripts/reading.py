"""What a rule takes its inputs and parameters from, together with what it reads to find them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reader:
    """A function of the wildcards, for Snakemake; and, for dvc.yaml, what its answer depends on.

    Parameters
    ----------
    function : callable
        Returns files, or a value, for the wildcards of a job.
    keys : sequence of str
        Dotted keys of params.yaml that it reads, with wildcards in braces.
    folder : callable, optional
        Returns, for the wildcards, the folder in which all of the files lie, or None. DVC is then given the folder as a
        whole: what lies in it is the user's own and not of dvc.yaml.
    """

    function: Callable[[Any], Any]
    keys: Sequence[str] = ()
    folder: Callable[[Any], str | None] | None = None

    def __call__(self, wildcards: Any) -> Any:
        return self.function(wildcards)
