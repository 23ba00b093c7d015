"""Checking the parameters of a stage, so that a wrong one is told in one sentence before anything is computed."""

import argparse
import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from lrp_dynamics.base.errors import UserError


class Kind(NamedTuple):
    """What a parameter may be: a test of its value, and the same in words."""

    accepts: Callable[[Any], bool]
    expected: str


def check(where: str, params: Mapping[str, Any], kinds: Mapping[str, Kind], required: Collection[str] = ()) -> None:
    """Check names and values of parameters that came as JSON.

    Parameters
    ----------
    where : str
        Begins the message: the stage, or the dataset.
    kinds : mapping
        What each known parameter may be.
    required : collection of str
        Those that cannot be left out.

    Raises
    ------
    UserError
        Naming the first mistake.

    Examples
    --------
    >>> check("figures", {"samples": "4"}, {"samples": whole(1)})
    Traceback (most recent call last):
    lrp_dynamics.base.errors.UserError: figures: samples is '4'; expected a whole number of at least 1
    """
    if unknown := sorted(params.keys() - kinds.keys()):
        raise UserError(f"{where}: unknown parameter {', '.join(unknown)}; known are {', '.join(kinds)}")
    if missing := [name for name in required if name not in params]:
        raise UserError(f"{where}: the parameter {missing[0]!r} is missing")
    for name, value in params.items():
        if not kinds[name].accepts(value):
            raise UserError(f"{where}: {name} is {value!r}; expected {kinds[name].expected}")


def whole(low: int, high: int | None = None) -> Kind:
    """Return the kind of whole numbers from `low` to `high`."""
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"
    return Kind(
        lambda value: type(value) is int and value >= low and (high is None or value <= high),
        f"a whole number {limits}",
    )


def number(accepts: Callable[[float], bool], expected: str) -> Kind:
    """Return the kind of finite numbers that a condition holds for."""
    return Kind(lambda value: type(value) in (int, float) and math.isfinite(value) and accepts(value), expected)


def one_of(*values: str) -> Kind:
    """Return the kind of these texts."""
    return Kind(lambda value: isinstance(value, str) and value in values, f"one of {', '.join(values)}")


def list_of(kind: Kind, expected: str, least: int = 0) -> Kind:
    """Return the kind of lists whose items are of a kind."""
    return Kind(
        lambda value: isinstance(value, list) and len(value) >= least and all(map(kind.accepts, value)), expected
    )


def optional(kind: Kind) -> Kind:
    """Return the kind that may be null as well."""
    return Kind(lambda value: value is None or kind.accepts(value), f"{kind.expected}, or null")


TEXT = Kind(lambda value: isinstance(value, str) and value != "", "a text that is not empty")
SHARE = number(lambda value: 0 <= value <= 1, "a number from 0 to 1")
POSITIVE = number(lambda value: value > 0, "a number greater than 0")
NOT_NEGATIVE = number(lambda value: value >= 0, "a number of at least 0")


def json_object(text: str) -> dict[str, Any]:
    """Type of an argument that holds parameters: a JSON object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a JSON object ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a JSON object such as {{}}")
    return value
