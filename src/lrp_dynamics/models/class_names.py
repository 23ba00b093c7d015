"""Names of classes from a file, in the forms in which they are passed around."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown

_LARGEST = 10_000_000  # bytes


def read_classes(path: Path, count: int) -> list[str]:
    """Return the names of classes, in the order of the logits.

    Parameters
    ----------
    path : Path
        A text file with a name a line, or JSON: a list of names, a mapping from numbers to names, or from names to
        numbers. In place of a name there may be a list that ends in it, as in ImageNet's own `{"0": ["n01440764",
        "tench"], ...}`.
    count : int
        How many logits the network has.

    Raises
    ------
    UserError
        If the file cannot be read so, or holds another number of names.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError
        text = path.read_text(encoding="utf-8-sig")
        begin = text.lstrip()[:1]
        names = _of_json(json.loads(text)) if begin in ("[", "{") and begin else _of_lines(text)
    except FileNotFoundError:
        raise UserError(f"--classes: there is no file {shown(path)}") from None
    except (ValueError, TypeError, KeyError, RecursionError, OSError):
        raise UserError(
            f"--classes: {shown(path)} holds no names of classes; expected UTF-8 text with a name a line, or JSON: a "
            'list of names, or {"0": name, ...}'
        ) from None
    if len(names) != count:
        raise UserError(f"--classes: {shown(path)} has {len(names)} names, but the network has {count} classes")
    return names


def _of_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _of_json(values: Any) -> list[str]:
    if isinstance(values, Mapping):
        if values and all(isinstance(value, int) for value in values.values()):  # from names to numbers
            values = {str(number): name for name, number in values.items()}
        values = [values[str(number)] for number in range(len(values))]
    names = [value[-1] if isinstance(value, list) else value for value in values]
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    return names
