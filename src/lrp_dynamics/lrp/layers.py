"""The kinds of layers without weights: how each runs forward, and how relevance comes back through it.

``backward(step, r, z, saved, values, balance)`` takes the relevance at the output, the output and whatever ``forward``
saved, and returns the relevance of each value that gets some. It owns ``r`` and ``z`` and may overwrite them; never the
inputs.
"""

# ruff: noqa: D102 (every layer has the methods of Layer, documented there)

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from lrp_dynamics.lrp.kernels import channels_last, in_layout
from lrp_dynamics.lrp.operations import AVERAGES, FILLS, POSITIVE
from lrp_dynamics.lrp.program import Call, Ref, leaves
from lrp_dynamics.lrp.propagate import Balance, divide, parts_of
from lrp_dynamics.lrp.rules import LeftOut, Norm, Part, Pass, Rule, Winner
from lrp_dynamics.lrp.values import Values

Parts = list[tuple[int, Tensor]]


@dataclass(frozen=True)
class Layer:
    """A call that depends on the input; by itself one through which relevance passes.

    Attributes
    ----------
    call, output
        What it computes, and the value that it makes: not the call's where another was merged into it.
    inputs
        The floating values it reads that depend on the input: those that can get relevance.
    kind, name
        As in tables, and as asked for.
    accepts, default
        What rules it takes (`Rule.layers`), and the one it has where a composite says nothing.
    """

    call: Call
    inputs: tuple[int, ...]
    output: int
    kind: str
    name: str = ""
    accepts: ClassVar[tuple[str, ...]] = ("pass",)

    @property
    def default(self) -> Rule:
        return Pass()

    def signals(self, rule: Rule) -> tuple[int, ...]:
        """Return the inputs that get relevance; the others act as constants."""
        return self.inputs

    def needs(self, step: Step) -> set[int]:
        """Return the values that ``backward`` reads, beside constants."""
        return set()

    def forward(self, step: Step, values: Values) -> tuple[Tensor, Any]:
        """Return the output, and what the way back needs besides the values in ``needs``."""
        return values.run(self.call), None

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        """Return the relevance of each input that gets some."""
        return [(self.inputs[0], r.sum_to_size(values.shape(self.inputs[0])))]

    def vanishes(self, rule: Rule, output: bool) -> bool:
        """Tell whether an input of 0 gets no relevance; ``output``: whether an output of 0 has none."""
        return False

    def positive(self, inputs: bool) -> bool:
        """Tell whether the output is known to be >= 0; ``inputs``: whether all inputs are."""
        return False

    def reads_constants(self) -> bool:
        """Tell whether the call reads tensors that do not depend on the input."""
        return any(
            isinstance(k, Ref) and k.index not in self.inputs for k in leaves((self.call.args, self.call.kwargs))
        )


@dataclass(frozen=True)
class Step:
    """A layer with its rule, and what the graph says of it.

    Attributes
    ----------
    nonnegative, rectified
        Every input is >= 0; relevance reaches the output only where the output is > 0.
    in_place
        A ReLU may overwrite its input, which is nobody else's.
    reached
        Relevance may reach the output at all.
    """

    layer: Layer
    rule: Rule
    nonnegative: bool = False
    rectified: bool = False
    in_place: bool = False
    reached: bool = True

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of the rule that can matter here."""
        return parts_of(self)


@dataclass(frozen=True)
class Pointwise(Layer):
    """A function of single values, or a multiplication by constants, which gathers where a constant spread a value."""

    def forward(self, step: Step, values: Values) -> tuple[Tensor, Any]:
        if self.kind == "ReLU":
            x = values[self.inputs[0]]
            return (x.relu_() if step.in_place else x.relu()), None
        return super().forward(step, values)

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return output and self.kind == "ReLU"

    def positive(self, inputs: bool) -> bool:
        name, args = self.call.name, self.call.args
        if name in ("hardtanh", "clamp", "clamp_min"):
            return len(args) > 1 and isinstance(args[1], int | float) and args[1] >= 0
        if name in ("mul", "div"):
            return inputs and isinstance(args[1], int | float) and args[1] > 0
        return name in POSITIVE


@dataclass(frozen=True)
class Detached(Layer):
    """What takes no relevance on: masks, indices, and what is not floating."""

    accepts: ClassVar[tuple[str, ...]] = ("nothing",)

    def signals(self, rule: Rule) -> tuple[int, ...]:
        return ()

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        balance.absorb(self.name, balance.total(r, self.output), [])
        return []

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return True


@dataclass(frozen=True)
class Unknown(Detached):
    """An operation without a rule; relevance must not come to it."""


@dataclass(frozen=True)
class OutputActivation(Layer):
    """An activation at the very end that turns signs: left out, so that the scores before it are explained."""

    accepts: ClassVar[tuple[str, ...]] = ("output",)

    @property
    def default(self) -> Rule:
        return LeftOut()

    def forward(self, step: Step, values: Values) -> tuple[Tensor, Any]:
        return values[self.inputs[0]], None


@dataclass(frozen=True)
class Move(Layer):
    """Every output value is a copy of an input value or a constant: relevance goes where its value came from."""

    def needs(self, step: Step) -> set[int]:
        return {k.index for k in leaves((self.call.args, self.call.kwargs)) if isinstance(k, Ref)} - set(self.inputs)

    def forward(self, step: Step, values: Values) -> tuple[Tensor, Any]:
        return values.run(self.call), channels_last(values[self.inputs[0]])

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        parts = values.adjoint(self.call, r, self.inputs, blank=True)
        if saved and parts[0] is not None and parts[0].dim() == 4:
            parts[0] = in_layout(parts[0], last=True)
        found = [(i, part) for i, part in zip(self.inputs, parts, strict=True) if part is not None]
        if self.fills():
            balance.absorb(self.name, balance.total(r, self.output), found)
        return found

    def fills(self) -> bool:
        """Tell whether some of the output may be constant."""
        return self.call.name in FILLS or self.reads_constants()

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return output

    def positive(self, inputs: bool) -> bool:
        zeros = self.call.name == "constant_pad_nd" and (self.call.args[2:] or (0,))[0] == 0
        return inputs and (zeros or not self.fills() or self.call.name in ("index", "gather", "index_select"))


@dataclass(frozen=True)
class WinnerOf(Move):
    """Every output value is a copy of the largest of some input values, which gets its relevance; ties share it."""

    accepts: ClassVar[tuple[str, ...]] = ("maxpool",)

    @property
    def default(self) -> Rule:
        return Winner()

    def needs(self, step: Step) -> set[int]:
        return super().needs(step) | set(self.inputs)

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        found = list(zip(self.inputs, values.adjoint(self.call, r, self.inputs), strict=True))
        balance.absorb(self.name, balance.total(r, self.output), found)
        return found

    def positive(self, inputs: bool) -> bool:
        return inputs


@dataclass(frozen=True)
class Linear(Layer):
    """A linear map with fixed weights: sums, means, average pools, interpolation, and the addition of constants."""

    accepts: ClassVar[tuple[str, ...]] = ("fixed",)

    @property
    def default(self) -> Rule:
        return Norm()

    def needs(self, step: Step) -> set[int]:
        return {*self.call.inputs, self.output}

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        before, sign = balance.total(r, self.output), self.sign(step)
        s, offset = divide(r, z, step.rule, sign, values, self.output)
        cs = values.adjoint(self.call, s, self.inputs)
        found = [(i, values[i] * c) for i, c in zip(self.inputs, cs, strict=True)]
        balance.absorb(self.name, before, found)
        balance.divided(z, s, offset, sign, self.output)
        return found

    def sign(self, step: Step) -> int:
        """Return the sign of the output wherever relevance arrives, 0 if that is not known."""
        return int(step.rectified or self.positive(step.nonnegative))

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return True

    def positive(self, inputs: bool) -> bool:
        plain = self.call.name in AVERAGES or (self.call.name == "add" and not self.call.kwargs)
        return inputs and plain and not self.reads_constants() and len(self.inputs) == len(self.call.inputs)
