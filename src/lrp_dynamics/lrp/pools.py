"""Max-pools of two and three dimensions, adaptive or not; torch makes those of signals of the former."""

# ruff: noqa: D102 (every layer has the methods of Layer, documented there)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.kernels import blank, deterministic
from lrp_dynamics.lrp.layers import Layer, Parts, Step
from lrp_dynamics.lrp.propagate import Balance, divide
from lrp_dynamics.lrp.rules import Average, Rule, Winner
from lrp_dynamics.lrp.values import Values


@dataclass(frozen=True)
class MaxPool(Layer):
    """Max-pooling over windows: the first largest value of each takes all, or as average pooling."""

    dims: int = 2
    accepts: ClassVar[tuple[str, ...]] = ("maxpool", "windowed maxpool")

    @property
    def default(self) -> Rule:
        return Winner()

    def needs(self, step: Step) -> set[int]:
        return set(self.inputs) if isinstance(step.rule, Average) else set()

    def averages(self, x: Tensor) -> Tensor:
        """Return the average pool over the same windows."""
        if self.call.name.startswith("adaptive"):
            return (F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[self.dims - 2](x, self.call.args[1])
        kernel, stride, padding, _, ceil_mode = self.options()
        return (F.avg_pool2d, F.avg_pool3d)[self.dims - 2](x, kernel, stride or kernel, padding, ceil_mode)

    def options(self) -> tuple:
        """Return kernel, stride, padding, dilation and ceil mode."""
        rest, spread = self.call.args[2:], lambda v: [*v] * (1 if len(v) == self.dims else self.dims)
        kernel, defaults = spread(self.call.args[1]), ([], [0], [1], False)
        stride, padding, dilation, ceil_mode = (*rest, *defaults[len(rest) :])
        return kernel, spread(stride) if stride else kernel, spread(padding), spread(dilation), ceil_mode

    def forward(self, step: Step, values: Values) -> tuple[Tensor, Any]:
        x = values[self.inputs[0]]
        if step.reached and self.needs(step) and any(d != 1 for d in self.options()[3]):
            raise UserError(f"layer {self.name!r}: the rule 'average' is not for dilated max-pools; use 'winner'")
        z, index = self.call.op(x, *self.call.args[1:])
        return z, None if self.needs(step) else index

    def backward(self, step: Step, r: Tensor, z: Tensor, saved: Any, values: Values, balance: Balance) -> Parts:
        i, shape = self.inputs[0], values.shape(self.inputs[0])
        if saved is None:
            return self.as_average(step, r, values, balance)
        if self.call.name == "max_pool2d_with_indices":
            if r.is_cuda:  # channels first each input collects from its windows, in their order
                r, saved = r.contiguous(), saved.contiguous()
            like = blank(r, shape)  # only its shape is read
            with deterministic(r, False):
                return [(i, torch.ops.aten.max_pool2d_with_indices_backward(r, like, *self.options(), saved))]
        with deterministic(r):
            flat = r.new_zeros(shape).flatten(-self.dims)
            flat.scatter_add_(-1, saved.flatten(-self.dims), r.flatten(-self.dims))
        return [(i, flat.view(shape))]

    def as_average(self, step: Step, r: Tensor, values: Values, balance: Balance) -> Parts:
        """Return the relevance as of average pooling."""
        i = self.inputs[0]
        with torch.enable_grad():
            x = values[i].detach().requires_grad_()
            y = self.averages(x)
            before = balance.total(r, self.output)
            z = y.detach().clone()
            s, offset = divide(r, z, step.rule, int(step.nonnegative), values, self.output)
            found = [(i, values[i] * torch.autograd.grad(y, x, s)[0])]
        balance.absorb(self.name, before, found)
        balance.divided(z, s, offset, int(step.nonnegative), self.output)
        return found

    def vanishes(self, rule: Rule, output: bool) -> bool:
        return output or isinstance(rule, Average)

    def positive(self, inputs: bool) -> bool:
        return inputs
