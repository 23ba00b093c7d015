"""Layers with weights: the linear maps that the propagation rules are about."""

# ruff: noqa: D102 (every layer has the methods of Layer and Weighted, documented there)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp_dynamics.lrp.kernels import convolve_back, laid_out
from lrp_dynamics.lrp.layers import Layer, Parts, Step
from lrp_dynamics.lrp.program import Call
from lrp_dynamics.lrp.propagate import Balance, Forms, propagate, reads_output, take
from lrp_dynamics.lrp.rules import ALL, Epsilon, Form, Rule
from lrp_dynamics.lrp.values import Values

BLOCK = 2**20  # so many values of a form of large weights are computed at a time: they stay in the cache


@dataclass(frozen=True)
class BatchNorm:
    """The values of a BatchNorm with running statistics: weight, bias, mean and variance, and its epsilon."""

    weight: int | None
    bias: int | None
    mean: int
    variance: int
    epsilon: float

    def affine(self, values: Values) -> tuple[Tensor, Tensor]:
        """Return scale and shift per channel, in float64.

        Their rounding would move all values of a channel to the same side; so it happens once, where they are used.
        """
        scale = (values[self.variance].double() + self.epsilon).rsqrt()
        if self.weight is not None:
            scale = scale * values[self.weight].double()
        shift = -values[self.mean].double() * scale
        return scale, shift if self.bias is None else shift + values[self.bias].double()


@dataclass(frozen=True)
class Weighted(Layer):
    """A layer with weights and bias, by the numbers of their values, and the BatchNorm that was merged into it.

    Attributes
    ----------
    uniform
        What it does is the same for every index of the first dimension.
    """

    weight: int = 0
    bias: int | None = None
    norm: BatchNorm | None = None
    accepts: ClassVar[tuple[str, ...]] = ("weighted",)
    uniform: ClassVar[bool] = True

    @property
    def default(self) -> Rule | None:
        return None

    def needs(self, step: Step) -> set[int]:
        made_of = {self.weight, *([] if self.bias is None else [self.bias])}  # they may depend on the input as well
        return {*self.inputs, *made_of, *([self.output] if reads_output(step) else [])}

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return all(form in ("x", "x+", "x-") for part in rule.parts() for form, _ in part.terms)

    def parameters(self, values: Values, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias as they are now, with the BatchNorm merged in, to go with an input x."""
        weight, bias = self.laid(values[self.weight]), None if self.bias is None else values[self.bias].reshape(-1)
        if self.norm is not None:
            scale, shift = self.norm.affine(values)
            weight = self.scaled(weight, scale.to(weight.dtype))
            bias = (shift if bias is None else torch.addcmul(shift, bias.double(), scale)).to(weight.dtype)
        return laid_out(weight, x), bias

    def laid(self, weight: Tensor) -> Tensor:
        """Return the weight in the form in which ``map`` takes it."""
        return weight

    def scaled(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Return the weight with each output channel scaled."""
        return weight * scale.view(-1, *[1] * (weight.dim() - 1))

    def forward(self, step: Step, values: Values) -> tuple[Tensor, Any]:
        x = values[self.inputs[0]]
        weight, bias = parameters = self.parameters(values, x)
        return self.map(values, x, Forms(weight), ALL, bias), parameters

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        return [(self.inputs[0], propagate(step, r, values[self.inputs[0]], z, saved, values, balance))]

    def per_channel(self, bias: Tensor) -> Tensor:
        """Return a bias in the shape in which it is added to the output."""
        return bias

    def map(self, values: Values, x: Tensor, weight: Forms, form: Form | str, bias: Tensor | None = None) -> Tensor:
        """Return x V + b for a form V of the weights."""
        raise NotImplementedError

    def adjoint(self, values: Values, s: Tensor, weight: Forms, form: Form | str, x: Tensor) -> Tensor:
        """Return s V^T for a form V of the weights, shaped as x."""
        raise NotImplementedError


@dataclass(frozen=True)
class Dense(Weighted):
    """A product with a constant matrix, whose columns are the outputs."""

    def laid(self, weight: Tensor) -> Tensor:
        return weight.t()

    def map(self, values: Values, x: Tensor, weight: Forms, form: Form | str, bias: Tensor | None = None) -> Tensor:
        blocks = self.blocks(weight.weight, form)
        if len(blocks) == 1:
            return F.linear(x, weight[form], bias)
        y = torch.cat([F.linear(x, v) for v in self.forms(blocks, form)], -1)
        return y if bias is None else y.add_(bias)

    def adjoint(self, values: Values, s: Tensor, weight: Forms, form: Form | str, x: Tensor) -> Tensor:
        blocks = self.blocks(weight.weight, form)
        if len(blocks) == 1:
            return s @ weight[form]
        shares = s.split(len(blocks[0]), -1)
        return sum(part @ v for part, v in zip(shares, self.forms(blocks, form), strict=True))

    def forms(self, blocks: tuple[Tensor, ...], form: Form | str) -> Iterator[Tensor]:
        """Yield a form of each block, in the same memory: the allocator would not find the last one's again."""
        memory = torch.empty_like(blocks[0])
        for block in blocks:
            yield take(block, form, memory[: len(block)])

    def blocks(self, weight: Tensor, form: Form | str) -> tuple[Tensor, ...]:
        """Return the weights in blocks of rows; in one where their form costs nothing, is small, or is on a GPU."""
        if form == ALL or weight.numel() <= 4 * BLOCK or weight.is_cuda:
            return (weight,)
        return weight.split(max(1, BLOCK // weight.shape[1]))


@dataclass(frozen=True)
class Batched(Weighted):
    """A product with constant matrices, one for each index of the first dimension, on either side."""

    left: bool = False
    uniform: ClassVar[bool] = False

    def per_channel(self, bias: Tensor) -> Tensor:
        return bias.view(-1, 1) if self.left else bias

    def laid(self, weight: Tensor) -> Tensor:
        # One matrix for all, as a MultiheadAttention reads its input by: copies of it would be gigabytes.
        return weight[0] if weight.dim() == 3 and weight.stride(0) == 0 else weight

    def map(self, values: Values, x: Tensor, weight: Forms, form: Form | str, bias: Tensor | None = None) -> Tensor:
        y = weight[form] @ x if self.left else x @ weight[form]
        return y if bias is None else y.add_(self.per_channel(bias))

    def adjoint(self, values: Values, s: Tensor, weight: Forms, form: Form | str, x: Tensor) -> Tensor:
        return weight[form].mT @ s if self.left else s @ weight[form].mT


@dataclass(frozen=True)
class Diagonal(Weighted):
    """A BatchNorm that cannot be merged, with running statistics: a scale and a shift for each channel.

    It is the depthwise convolution by 1×1 with this weight and bias, and gets what that would get.
    """

    @property
    def default(self) -> Rule:
        return Epsilon()

    def parameters(self, values: Values, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return tuple(self.per_channel(t.to(x.dtype), x) for t in self.norm.affine(values))

    def per_channel(self, bias: Tensor, x: Tensor | None = None) -> Tensor:
        return bias if x is None else bias.view(-1, *[1] * (x.dim() - 2))

    def map(self, values: Values, x: Tensor, weight: Forms, form: Form | str, bias: Tensor | None = None) -> Tensor:
        return x * weight[form] if bias is None else torch.addcmul(bias, x, weight[form])

    def adjoint(self, values: Values, s: Tensor, weight: Forms, form: Form | str, x: Tensor) -> Tensor:
        return s * weight[form]


@dataclass(frozen=True)
class Conv(Weighted):
    """A convolution of one, two or three dimensions, or a transposed one.

    Attributes
    ----------
    geometry
        Stride, padding, dilation, whether transposed, output padding, groups.
    before
        The calls by which its module pads the input, where that is not the convolution's own.
    """

    geometry: tuple = ()
    before: tuple[Call, ...] = ()

    def per_channel(self, bias: Tensor) -> Tensor:
        return bias.view(-1, *[1] * len(self.geometry[0]))

    def scaled(self, weight: Tensor, scale: Tensor) -> Tensor:
        if not self.geometry[3]:
            return super().scaled(weight, scale)
        groups = self.geometry[5]  # a transposed convolution's kernels lie input first, group by group
        split = weight.view(groups, -1, *weight.shape[1:])
        return (split * scale.view(groups, 1, -1, *[1] * (weight.dim() - 2))).view(weight.shape)

    @property
    def uniform(self) -> bool:
        return not self.before

    def padded(self, values: Values, x: Tensor) -> Tensor:
        """Return the input as the convolution sees it."""
        made = {self.inputs[0]: x}
        for call in self.before:
            made[call.output] = values.run(call, made)
        return made[self.call.args[0].index]

    def map(self, values: Values, x: Tensor, weight: Forms, form: Form | str, bias: Tensor | None = None) -> Tensor:
        return torch.convolution(self.padded(values, x), weight[form], bias, *self.geometry)

    def adjoint(self, values: Values, s: Tensor, weight: Forms, form: Form | str, x: Tensor) -> Tensor:
        if not self.before:
            return convolve_back(s, x, weight[form], self.geometry)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            seen = self.padded(values, leaf)
            return torch.autograd.grad(seen, leaf, convolve_back(s, seen.detach(), weight[form], self.geometry))[0]
