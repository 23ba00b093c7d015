"""What attention is made of, beside weights: normalisation by data, products of two activations, softmax."""

# ruff: noqa: D102 (every layer has the methods of Layer, documented there)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lrp_dynamics.lrp.layers import Layer, Parts, Step
from lrp_dynamics.lrp.propagate import Balance, divide
from lrp_dynamics.lrp.rules import Constant, Gate, Half, Norm, Pass, Rule, Taylor
from lrp_dynamics.lrp.values import Values


@dataclass(frozen=True)
class Normalization(Layer):
    """LayerNorm, GroupNorm, InstanceNorm, RMSNorm: with its statistic as a constant it is linear."""

    accepts: ClassVar[tuple[str, ...]] = ("fixed", "pass")

    @property
    def default(self) -> Rule:
        return Norm()

    def needs(self, step: Step) -> set[int]:
        return set() if isinstance(step.rule, Pass) else {*self.inputs, self.output}

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        if isinstance(step.rule, Pass):
            return [(self.inputs[0], r)]
        i = self.inputs[0]
        x, before = values[i], balance.total(r, self.output)
        s, offset = divide(r, z, step.rule, 0, values, self.output)
        weight, shape, dims, epsilon, centred = self.form(values)
        t, grouped = s if weight is None else s * weight, x.reshape(shape)
        square = (
            grouped.var(dims, unbiased=False, keepdim=True) if centred else grouped.square().mean(dims, keepdim=True)
        )
        t = t.reshape(shape) * (square + epsilon).rsqrt()
        c = t - t.mean(dims, keepdim=True) if centred else t
        found = [(i, x * c.reshape(x.shape))]
        balance.absorb(self.name, before, found)
        balance.divided(z, s, offset, 0, self.output)
        return found

    def form(self, values: Values) -> tuple[Tensor | None, tuple[int, ...], tuple[int, ...], float, bool]:
        """Return the weight, the shape and dimensions that statistics are over, epsilon, and whether it centres."""
        args = [values.argument(a) for a in self.call.args]
        shape = values.shape(self.inputs[0])
        if self.call.name == "native_group_norm":
            weight, groups, epsilon = args[1], args[6], args[7]
            weight = None if weight is None else weight.view(-1, *[1] * (len(shape) - 2))
            return weight, (shape[0], groups, -1), (2,), epsilon, True
        if self.call.name in ("native_layer_norm", "rms_norm"):
            centred = self.call.name == "native_layer_norm"
            epsilon = args[-1] if args[-1] is not None else torch.finfo(values.dtype).eps
            return args[2], shape, tuple(range(-len(args[1]), 0)), epsilon, centred
        weight = None if args[1] is None else args[1].view(-1, *[1] * (len(shape) - 2))
        return weight, shape, tuple(k for k in range(len(shape)) if k != 1), args[7], True

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return not isinstance(rule, Pass)


@dataclass(frozen=True)
class Product(Layer):
    """An elementwise product of two activations; ``gate`` is the input that only says how much of the other goes on."""

    gate: int | None = None
    accepts: ClassVar[tuple[str, ...]] = ("product",)

    @property
    def default(self) -> Rule:
        return Half() if self.gate is None else Gate()

    def signals(self, rule: Rule) -> tuple[int, ...]:
        gated = isinstance(rule, Gate) and self.gate is not None
        return tuple(i for i in self.inputs if i != self.gate) if gated else self.inputs

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        signals = self.signals(step.rule)
        return [(i, (r / len(signals) if len(signals) > 1 else r).sum_to_size(values.shape(i))) for i in signals]

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return output

    def positive(self, inputs: bool) -> bool:
        return inputs


@dataclass(frozen=True)
class Quotient(Product):
    """A division by a statistic of the values, or a product with one, which is a constant: the other takes all."""

    accepts: ClassVar[tuple[str, ...]] = ("pass",)

    @property
    def default(self) -> Rule:
        return Pass()

    def signals(self, rule: Rule) -> tuple[int, ...]:
        return tuple(i for i in self.inputs if i != self.gate)


@dataclass(frozen=True)
class MatMul(Product):
    """A matrix product of two activations, as in attention: shares are those of the bilinear map."""

    def needs(self, step: Step) -> set[int]:
        return {*self.call.inputs, self.output}

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        signals, before = self.signals(step.rule), balance.total(r, self.output)
        s, offset = divide(r, z, step.rule, 0, values, self.output)
        cs = values.adjoint(self.call, s, signals)
        found = [(i, values[i] * c / len(signals)) for i, c in zip(signals, cs, strict=True)]
        balance.absorb(self.name, before, found)
        balance.divided(z, s, offset, 0, self.output)
        return found

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return True


@dataclass(frozen=True)
class Softmax(Layer):
    """A softmax within the net, as of attention weights."""

    accepts: ClassVar[tuple[str, ...]] = ("softmax",)

    @property
    def default(self) -> Rule:
        return Constant()

    def signals(self, rule: Rule) -> tuple[int, ...]:
        return self.inputs if isinstance(rule, Taylor) else ()

    def needs(self, step: Step) -> set[int]:
        return {*self.inputs, self.output} if isinstance(step.rule, Taylor) else set()

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        found, before = [], balance.total(r, self.output)
        if isinstance(step.rule, Taylor):
            i, dim = self.inputs[0], self.call.args[1]
            part = values[i] * (r - z * r.sum(dim, keepdim=True))
            found = [(i, torch.where(torch.isfinite(values[i]), part, 0))]  # a mask of -inf gets nothing
        balance.absorb(self.name, before, found)
        return found

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return True

    def positive(self, inputs: bool) -> bool:
        return True
