"""What the engine can do with each kind of layer: run it forward, and send relevance back through it.

``backward(r, xs, z, saved, balance)`` takes the relevance at the output, the inputs, the output and whatever
``forward`` saved, and returns the relevance of each input. It owns ``r`` and ``z`` and may overwrite them; never
``xs``.
"""

# ruff: noqa: D102 (every layer has the methods of Layer, documented there)

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.kernels import blank, convolve_back, geometry_of, laid_out
from lrp_dynamics.lrp.propagate import Balance, Forms, divide, is_output, parts_of, propagate, take
from lrp_dynamics.lrp.rules import ALL, AlphaBeta, Average, Epsilon, Form, LeftOut, Norm, Pass, Rule, Winner, ZBox
from lrp_dynamics.lrp.weights import batch_norm_affine, parameter


class Layer:
    """A traced layer; by itself one whose relevance passes.

    Attributes
    ----------
    name, kind
        The module's name, or the traced function's, and the type's name.
    inputs
        Indices of the values it reads.
    rule
        Set by the composite; a rule for the layers in ``accepts``.
    nonnegative, rectified
        What the graph says: every input is >= 0; relevance reaches the output only where the output is > 0.
    needs_input, needs_output
        Whether ``backward`` reads them.
    """

    accepts = "pass"
    default: Rule = Pass()
    needs_input = needs_output = False

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], function: Callable | None = None):
        self.name, self.kind, self.inputs, self.function = name, kind, inputs, function
        self.rule, self.nonnegative, self.rectified = self.default, False, False

    def forward(self, *xs: Any) -> tuple[Any, Any]:
        """Return the output, and what the way back needs besides inputs and output."""
        return self.function(*xs), None

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: Any, balance: Balance) -> list[Tensor | None]:
        """Return the relevance of each input."""
        return [r] + [None] * (len(xs) - 1)

    def vanishes(self, output: bool) -> bool:
        """Tell whether an input of 0 gets no relevance; ``output``: whether an output of 0 has none."""
        return False

    def nonnegative_output(self) -> bool:
        """Tell whether the output is known to be >= 0."""
        return False


class Number(Layer):
    """A size, or what is made of sizes alone: a number that shapes depend on, or a constant tensor."""

    is_size = True

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: Any, balance: Balance) -> list[Tensor | None]:
        balance.absorbed[self.name] = balance.total(r)
        return [None] * len(xs)

    def vanishes(self, output: bool) -> bool:
        return True

    def nonnegative_output(self) -> bool:
        return self.is_size


class Constant(Layer):
    """Multiplication by a constant: relevance passes, and gathers where the constant spread a value."""

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], function: Callable, activation: int):
        super().__init__(name, kind, inputs, function)
        self.activation = activation  # which of the inputs it is; others are numbers

    def forward(self, *xs: Any) -> tuple[Any, Any]:
        return self.function(*xs), xs[self.activation].shape

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: Any, balance: Balance) -> list[Tensor | None]:
        return [r.sum_to_size(saved) if k == self.activation else None for k in range(len(xs))]


class Shift(Constant):
    """A constant added to ``factor`` times an activation: the activation gets its share, as beside a bias."""

    accepts = "fixed"
    default = Norm()
    needs_input = needs_output = True

    def __init__(
        self, name: str, kind: str, inputs: tuple[int, ...], function: Callable, activation: int, factor: float
    ):
        super().__init__(name, kind, inputs, function, activation)
        self.factor = factor

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: Any, balance: Balance) -> list[Tensor | None]:
        before = balance.total(r)
        s, offset = divide(r, z, self.rule, 0)
        part = (self.factor * xs[self.activation] * s).sum_to_size(saved)
        balance.absorb(self.name, before, [part])
        balance.divided(z, s, offset, 0)
        return [part if k == self.activation else None for k in range(len(xs))]

    def vanishes(self, output: bool) -> bool:
        return True


class OutputActivation(Layer):
    """An activation at the very end that turns signs: left out, so that the scores before it are explained."""

    accepts = "output"
    default = LeftOut()

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x, None


class Activation(Layer):
    """A function of single values."""

    in_place = False  # set where the input is nobody else's

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], function: Callable, nonnegative: bool):
        super().__init__(name, kind, inputs, function)
        self.image = nonnegative

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return (x.relu_() if self.in_place else self.function(x)), None

    def vanishes(self, output: bool) -> bool:
        return output and self.kind == "ReLU"

    def nonnegative_output(self) -> bool:
        return self.image


class Rearrange(Layer):
    """Every output value is a copy of one input value, or constant: reshape, permute, concatenate, slice, pad."""

    has_constants = False

    def forward(self, *xs: Any) -> tuple[Any, Any]:
        return self.function(*xs), [torch.empty_like(x, device="meta") if isinstance(x, Tensor) else x for x in xs]

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: list, balance: Balance) -> list[Tensor | None]:
        if self.kind == "Flatten":
            return [laid_out(r.reshape(saved[0].shape), saved[0])] + [None] * (len(xs) - 1)
        before = balance.total(r)
        zeros = [r.new_zeros(x.shape) if isinstance(x, Tensor) else x for x in saved]
        parts = adjoint(self.function, r, *zeros)
        balance.absorb(self.name, before, [part for part in parts if part is not None])
        return parts

    def vanishes(self, output: bool) -> bool:
        return output

    def nonnegative_output(self) -> bool:
        return self.nonnegative and not self.has_constants


class Sum(Layer):
    """The sum, or with ``sign`` -1 the difference, of two inputs, as in a residual block."""

    accepts = "fixed"
    default = Norm()
    needs_input = needs_output = True

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], sign: float = 1.0):
        super().__init__(name, kind, inputs)
        self.sign = sign

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, None]:
        return torch.add(a, b, alpha=self.sign), None

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: Any, balance: Balance) -> list[Tensor | None]:
        before = balance.total(r)
        s, offset = divide(r, z, self.rule, int(self.rectified))
        parts = [(xs[0] * s).sum_to_size(xs[0].shape), (self.sign * xs[1] * s).sum_to_size(xs[1].shape)]
        balance.absorb(self.name, before, parts)
        balance.divided(z, s, offset, int(self.rectified))
        return parts

    def vanishes(self, output: bool) -> bool:
        return True

    def nonnegative_output(self) -> bool:
        return self.nonnegative and self.sign > 0


class FixedMap(Layer):
    """A linear map with fixed weights >= 0: average and sum pools, means, interpolation."""

    accepts = "fixed"
    default = Norm()
    needs_input = needs_output = True

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: Any, balance: Balance) -> list[Tensor | None]:
        before = balance.total(r)
        s, offset = divide(r, z, self.rule, int(self.nonnegative))
        part = xs[0] * adjoint(self.function, s, *xs)[0]
        balance.absorb(self.name, before, [part])
        balance.divided(z, s, offset, int(self.nonnegative))
        return [part] + [None] * (len(xs) - 1)

    def vanishes(self, output: bool) -> bool:
        return True

    def nonnegative_output(self) -> bool:
        return self.nonnegative


class MaxPool(FixedMap):
    """Max-pooling over windows of two dimensions."""

    accepts = "maxpool"
    default = Winner()
    needs_output = False

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], window: tuple, dilation: tuple, ceil_mode: bool):
        super().__init__(name, kind, inputs, lambda x: F.avg_pool2d(x, *window, ceil_mode))
        self.window, self.options = window, (*window, dilation, ceil_mode)

    @property
    def needs_input(self) -> bool:
        return isinstance(self.rule, Average)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if self.needs_input and self.options[3] != (1, 1):
            raise UserError(f"layer {self.name!r}: the rule 'average' is not for dilated max-pools; use 'winner'")
        z, index = torch.ops.aten.max_pool2d_with_indices(x, *self.options)
        return z, None if self.needs_input else (index, x.shape)

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: Any, balance: Balance) -> list[Tensor | None]:
        if self.needs_input:
            return super().backward(r, xs, self.function(xs[0]), saved, balance)
        index, shape = saved
        if r.is_cuda:  # the library's own way back has no deterministic form there
            with deterministic():
                flat = r.new_zeros(shape).flatten(2).scatter_add_(2, index.flatten(2), r.flatten(2))
            return [flat.view(shape)]
        like = blank(r, shape)  # only its shape is read
        return [torch.ops.aten.max_pool2d_with_indices_backward(r, like, *self.options, index)]

    def vanishes(self, output: bool) -> bool:
        return output or self.needs_input


class Linear(Layer):
    """A fully connected layer, on the last dimension."""

    accepts = "weighted"
    needs_input = True
    batch_norm: nn.Module | None = None
    bounds: tuple[Tensor, Tensor] | None = None  # of the input, for the rule z_box
    block = 2**20  # so many values of a form of large weights are computed at a time: they stay in the cache

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], module: Any):
        super().__init__(name, kind, inputs)
        self.module = module

    @property
    def needs_output(self) -> bool:
        return isinstance(self.rule, ZBox | AlphaBeta) or any(is_output(p) or p.where != "any" for p in parts_of(self))

    def vanishes(self, output: bool) -> bool:
        return all(form in ("x", "x+", "x-") for part in self.rule.parts() for form, _ in part.terms)

    def parameters(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias as they are now, with a following BatchNorm merged in, to go with an input x."""
        weight, bias = (parameter(self.module, key, self.name) for key in ("weight", "bias"))
        weight = weight.to(x.dtype)
        if self.batch_norm is not None:
            scale, shift = batch_norm_affine(self.batch_norm)
            weight = weight * scale.to(x.dtype).view(-1, *[1] * (weight.dim() - 1))
            bias = shift if bias is None else torch.addcmul(shift, bias.double(), scale)
        bias = None if bias is None else bias.to(x.dtype)
        return laid_out(weight, x), bias

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        weight, bias = self.parameters(x)
        if self.batch_norm is not None and self.kind == "Linear" and x.dim() > 2:
            raise UserError(
                f"layer {self.name!r}: a BatchNorm after a dense layer with inputs of {x.dim()} dimensions normalizes "
                "another dimension than its features, for which there is no rule"
            )
        return self.map(x, Forms(weight), ALL, bias), None

    def backward(self, r: Tensor, xs: tuple, z: Tensor, saved: Any, balance: Balance) -> list[Tensor | None]:
        return [propagate(self, r, xs[0], z, balance)]

    def per_channel(self, bias: Tensor) -> Tensor:
        """Return a bias in the shape in which it is added to the output."""
        return bias

    def map(self, x: Tensor, weight: Forms, form: Form | str, bias: Tensor | None = None) -> Tensor:
        """Return x V + b for a form V of the weights."""
        blocks = self.blocks(weight.weight, form)
        if len(blocks) == 1:
            return F.linear(x, weight[form], bias)
        y = torch.cat([F.linear(x, v) for v in self.forms(blocks, form)], -1)
        return y if bias is None else y.add_(bias)

    def adjoint(self, s: Tensor, weight: Forms, form: Form | str, x: Tensor) -> Tensor:
        """Return s V^T for a form V of the weights, shaped as x."""
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
        """Return the weights in blocks of rows; in one where their form costs nothing or is small."""
        if form == ALL or weight.numel() <= 4 * self.block:
            return (weight,)
        return weight.split(max(1, self.block // weight.shape[1]))


class BatchNorm(Linear):
    """A BatchNorm that cannot be merged, with running statistics: a scale and a shift for each channel.

    It is the depthwise convolution by 1×1 with this weight and bias, and gets what that would get.
    """

    default = Epsilon()

    def parameters(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        scale, shift = (t.to(x.dtype).view(-1, *[1] * (x.dim() - 2)) for t in batch_norm_affine(self.module))
        return scale, shift

    def map(self, x: Tensor, weight: Forms, form: Form | str, bias: Tensor | None = None) -> Tensor:
        return x * weight[form] if bias is None else torch.addcmul(bias, x, weight[form])

    def adjoint(self, s: Tensor, weight: Forms, form: Form | str, x: Tensor) -> Tensor:
        return s * weight[form]


class Conv(Linear):
    """A convolution of one, two or three dimensions."""

    def __init__(self, name: str, kind: str, inputs: tuple[int, ...], module: Any):
        super().__init__(name, kind, inputs, module)
        padding, self.pad = module.padding, None
        if isinstance(padding, str) or module.padding_mode != "zeros":
            self.pad = tuple(module._reversed_padding_repeated_twice)
            self.pad_mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
            padding = (0,) * len(module.kernel_size)
        self.geometry = geometry_of(module, padding)

    def per_channel(self, bias: Tensor) -> Tensor:
        return bias.view(-1, *[1] * len(self.module.kernel_size))

    def padded(self, x: Tensor) -> Tensor:
        """Return the input as the convolution sees it, where padding is not the convolution's own."""
        return F.pad(x, self.pad, self.pad_mode)

    def map(self, x: Tensor, weight: Forms, form: Form | str, bias: Tensor | None = None) -> Tensor:
        x = x if self.pad is None else self.padded(x)
        return torch.convolution(x, weight[form], bias, *self.geometry)

    def adjoint(self, s: Tensor, weight: Forms, form: Form | str, x: Tensor) -> Tensor:
        seen = x if self.pad is None else self.padded(x)
        c = convolve_back(s, seen, weight[form], self.geometry)
        return c if self.pad is None else adjoint(self.padded, c, x)[0]


def adaptive_average(x: Tensor, size: tuple[int | None, int | None]) -> Tensor:
    """Return the adaptive average pool of images; on a GPU as matrix products, whose way back is deterministic."""
    if not x.is_cuda:
        return F.adaptive_avg_pool2d(x, size)
    for dim, count in zip((-2, -1), size, strict=True):
        length = x.shape[dim]
        count = count or length
        cell, position = torch.arange(count, device=x.device).unsqueeze(1), torch.arange(length, device=x.device)
        inside = (position >= cell * length // count) & (position < -(-(cell + 1) * length // count))
        weights = inside.to(x.dtype) / inside.sum(1, keepdim=True)
        x = (x.movedim(dim, -1) @ weights.T).movedim(-1, dim)
    return x


@contextmanager
def deterministic() -> Iterator[None]:
    """Let operations with a deterministic form take it, whatever is set outside."""
    enabled, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn)


def adjoint(function: Callable, s: Tensor, *xs: Any) -> list[Tensor | None]:
    """Return the transposed Jacobian of a function at xs, applied to s, for every x that is a tensor."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() if isinstance(x, Tensor) else x for x in xs]
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        gradients = iter(torch.autograd.grad(function(*leaves), tensors, s))
        return [next(gradients) if isinstance(x, Tensor) else None for x in leaves]
