"""A recorded network, as data: calls of ATen operations on numbered values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lrp_dynamics.lrp.operations import FILLED, FILLED_WITH


@dataclass(frozen=True)
class Ref:
    """Stands for a value within a call's arguments."""

    index: int


@dataclass(frozen=True)
class Count:
    """An integer that grows with the number of samples."""

    base: int
    step: int

    def at(self, n: int) -> int:
        """Return the integer for n samples."""
        return self.base + self.step * n


@dataclass(frozen=True)
class Call:
    """One operation: its arguments, in which values are `Ref` and sizes may be `Count`, and the value it makes.

    Of an operation with several results, ``item`` is the one meant. ``scope`` lists the modules that ran it, each with
    the number of its run; ``line`` is the user's code.
    """

    op: Any
    args: tuple
    kwargs: dict
    item: int | None
    output: int
    scope: tuple[tuple[str, int], ...]
    line: str

    @property
    def name(self) -> str:
        """Return the operation's name, without its overload."""
        return self.op.overloadpacket.__name__

    @cached_property
    def inputs(self) -> list[int]:
        """Return the values that the call reads, each once."""
        return list(dict.fromkeys(leaf.index for leaf in leaves((self.args, self.kwargs)) if isinstance(leaf, Ref)))


@dataclass
class Program:
    """A recorded network: its calls in order, and for every value its shape; value 0 is the input."""

    calls: list[Call]
    shapes: list[tuple[int | Count, ...]]
    floating: list[bool]
    sources: dict[int, Any]  # value -> (path, name) of a tensor of the model, or the tensor itself
    active: set[int]  # values that depend on the input
    output: int
    reads: dict[int, Any]  # values of the model that were looked at, and what was seen
    outputs: dict[str, int]  # path of a module -> what it returned when it ran last
    axes: list[int | None] = field(default_factory=list)  # the dimension of the samples of each value
    outer: list[int] = field(default_factory=list)  # how many rows of that dimension each sample has per other row

    def shape(self, value: int, n: int) -> tuple[int, ...]:
        """Return the shape of a value for n samples."""
        return tuple(size.at(n) if isinstance(size, Count) else size for size in self.shapes[value])


def dependencies(name: str, args: Any, kwargs: Any = ()) -> list[int]:
    """Return the values that an operation's result depends on, not only its shape."""
    if name in FILLED:
        return []
    found = args[FILLED_WITH[name]] if name in FILLED_WITH else (args, kwargs)
    return [leaf.index for leaf in leaves(found) if isinstance(leaf, Ref)]


def arguments(call: Call) -> dict[str, Any]:
    """Return a call's arguments by name, defaults included."""
    schema = call.op._schema.arguments
    names = [argument.name for argument in schema]
    defaults = {a.name: a.default_value for a in schema if a.has_default_value()}
    return {**defaults, **dict(zip(names, call.args, strict=False)), **call.kwargs}


def leaves(tree: Any) -> list[Any]:
    """Return what tuples, lists and dicts hold, in order."""
    found, waiting = [], [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (tuple, list)):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            waiting.extend(reversed(item.values()))
        else:
            found.append(item)
    return found


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """Return tuples, lists and dicts with a function of what they hold."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(item, function) for item in tree)
    if isinstance(tree, dict):
        return {key: mapped(item, function) for key, item in tree.items()}
    return function(tree)
