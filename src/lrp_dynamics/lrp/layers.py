"""What the engine can do with each kind of layer: run it forward, and send relevance back through it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp_dynamics.lrp.rules import Form


def take(tensor: Tensor, form: Form) -> Tensor:
    """Return a form of a tensor: its positive values times form[0], its negative values times form[1]."""
    up, down = form
    if up == down:
        return tensor if up == 1 else tensor * up
    if down == 0 or up == 0:
        part = tensor.clamp(min=0) if down == 0 else tensor.clamp(max=0)
        return part if up + down == 1 else part * (up + down)
    return torch.where(tensor > 0, tensor * up, tensor * down)


class Layer:
    """A traced layer: its name, its type's name, the indices of its inputs, and what the graph says about its values."""

    weighted = False  # has weights that rules distinguish by sign
    default_rule = "pass"

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], module: nn.Module | None = None):
        self.name, self.kind, self.inputs, self.module = name, kind, inputs, module
        self.nonnegative = False  # every input is known to be >= 0

    def forward(self, *xs: Tensor) -> Tensor:
        raise NotImplementedError


class Linear(Layer):
    """A fully connected layer, on the last dimension."""

    weighted = True
    batch_norm: nn.Module | None = None

    def parameters(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias as they are now, with a following BatchNorm merged in."""
        weight, bias = self.module.weight.detach().to(dtype), self.module.bias
        bias = None if bias is None else bias.detach().to(dtype)
        if self.batch_norm is not None:
            scale, shift = batch_norm_affine(self.batch_norm, dtype)
            weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
            bias = shift if bias is None else torch.addcmul(shift, bias, scale)
        return weight, bias

    def map(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return x W + b."""
        return F.linear(x, weight, bias)

    def adjoint(self, s: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        """Return s W^T, shaped as x."""
        return s @ weight

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x, *self.parameters(x.dtype))


class Conv(Linear):
    """A convolution of one, two or three dimensions."""

    def map(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        m = self.module
        return torch.convolution(x, weight, bias, m.stride, m.padding, m.dilation, False, (0,), m.groups)

    def adjoint(self, s: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        m = self.module
        return torch.ops.aten.convolution_backward(
            s, x, weight, None, m.stride, m.padding, m.dilation, False, (0,), m.groups, (True, False, False)
        )[0]


def batch_norm_affine(module: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return scale and shift per channel of a BatchNorm with its running statistics."""
    scale = (module.running_var.to(dtype) + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight.detach().to(dtype)
    shift = -module.running_mean.to(dtype) * scale
    if module.bias is not None:
        shift = shift + module.bias.detach().to(dtype)
    return scale, shift


class BatchNorm(Layer):
    """A BatchNorm that no convolution or linear layer precedes: an affine map of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = (t.view(-1, *[1] * (x.dim() - 2)) for t in batch_norm_affine(self.module, x.dtype))
        return torch.addcmul(shift, x, scale)


class Elementwise(Layer):
    """An activation or an identity: relevance passes."""

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], function: Callable[[Tensor], Tensor]):
        super().__init__(name, kind, inputs)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Reshape(Elementwise):
    """Flatten, view, reshape, squeeze: the order of the values stays."""


class Sum(Layer):
    """The sum of two inputs, as in a residual block."""

    default_rule = "norm"

    def forward(self, *xs: Tensor) -> Tensor:
        return xs[0] + xs[1]


class AveragePool(Layer):
    """Any fixed average or sum over positions: a linear map without weights."""

    default_rule = "norm"

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], function: Callable[[Tensor], Tensor]):
        super().__init__(name, kind, inputs)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def adjoint(self, s: Tensor, x: Tensor) -> Tensor:
        return adjoint(self.function, s, x)


class MaxPool(Layer):
    """Max-pooling over windows; overlapping windows add up on the way back."""

    default_rule = "winner"

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], options: tuple):
        super().__init__(name, kind, inputs)
        self.options = options  # kernel, stride, padding, dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return torch.max_pool2d(x, *self.options)

    def winner(self, r: Tensor, x: Tensor) -> Tensor:
        """Give each window's relevance to its first largest input."""
        return adjoint(lambda v: torch.max_pool2d(v, *self.options), r, x)

    def average(self, x: Tensor) -> Tensor:
        kernel, stride, padding, _, ceil_mode = self.options
        return F.avg_pool2d(x, kernel, stride, padding, ceil_mode)


def adjoint(function: Callable[[Tensor], Tensor], s: Tensor, x: Tensor) -> Tensor:
    """Return the transposed Jacobian of a function at x, applied to s."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(function(leaf), leaf, s)[0]
