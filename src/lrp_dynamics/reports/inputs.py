"""The files of a figure or report, as the command line gives them: NAME=PATH."""

from collections.abc import Sequence
from pathlib import Path

from lrp_dynamics.base.errors import UserError


class Inputs(dict):
    """Paths by name, a list of them where several are given; a name that is missing is told."""

    def __missing__(self, name: str):
        raise UserError(f"--inputs: {name!r} is missing; found {', '.join(self) or 'none'}; add {name}=PATH")


def read_inputs(command: str, words: Sequence[str]) -> Inputs:
    """Return the paths of words such as "samples=results/demo/seed-0/samples.csv".

    Raises
    ------
    UserError
        If a word is not of this form, or its path does not exist; `command` begins the message.
    """
    inputs = Inputs()
    for word in words:
        name, found, path = word.partition("=")
        if not found or not Path(path).exists():
            raise UserError(f"{command}: found --inputs {word!r}, expected NAME=PATH of an existing file or folder.")
        before = inputs.get(name)
        several = before if isinstance(before, list) else [before]
        inputs[name] = Path(path) if before is None else [*several, Path(path)]
    return inputs
