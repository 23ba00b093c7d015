"""The values of one pass, and the adjoints of the calls that make them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from lrp_dynamics.lrp.kernels import adaptive_average, deterministic
from lrp_dynamics.lrp.operations import FILLED, FILLED_WITH, IDENTITIES, RESHAPES
from lrp_dynamics.lrp.program import Call, Count, Program, Ref, mapped

# The first counts on memory as it was recorded; torch computes the others wrongly for images of width 1, channels last.
CONTIGUOUS = {"as_strided", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"}


class Values:
    """What a program's values are for one batch.

    Attributes
    ----------
    tensors
        By number; None where not yet, or no longer, known.
    n, dtype, device
        Number of samples, and where and in what precision the pass is computed.
    bounds
        (low, high) of the input, for the rule z_box.
    """

    def __init__(self, program: Program, x: Tensor, n: int, bounds: tuple[Tensor, Tensor] | None = None):
        self.program, self.n, self.bounds = program, n, bounds
        self.dtype, self.device = x.dtype, x.device
        self.tensors: list[Any] = [None] * len(program.shapes)
        self.tensors[0] = x

    def __getitem__(self, value: int) -> Tensor:
        return self.tensors[value]

    def shape(self, value: int) -> tuple[int, ...]:
        """Return the shape of a value."""
        return self.program.shape(value, self.n)

    def argument(self, leaf: Any) -> Any:
        """Return what a call's argument is in this pass."""
        if isinstance(leaf, Ref):
            return self.tensors[leaf.index]
        if isinstance(leaf, Count):
            return leaf.at(self.n)
        if isinstance(leaf, torch.dtype):
            return self.dtype if leaf.is_floating_point else leaf
        return self.device if isinstance(leaf, torch.device) else leaf

    def run(self, call: Call, instead: Mapping[int, Tensor] | None = None) -> Tensor:
        """Return what a call makes, with other tensors ``instead`` of some values."""

        if call.name == "t" and not instead:  # of each dense layer's weight, in each pass
            return self.tensors[call.args[0].index].t()

        def argument(leaf: Any) -> Any:
            if instead and isinstance(leaf, Ref) and leaf.index in instead:
                return instead[leaf.index]
            return self.argument(leaf)

        if call.name in FILLED or call.name in FILLED_WITH:
            fill = FILLED[call.name] if call.name in FILLED else argument(call.args[FILLED_WITH[call.name]])
            kind = self.dtype if self.program.floating[call.output] else torch.long
            made = torch.zeros(self.shape(call.output), dtype=kind, device=self.device)
            return made + fill if isinstance(fill, Tensor) else made.fill_(fill)
        args, kwargs = mapped((call.args, call.kwargs), argument)
        if call.name == "copy":
            return args[1].expand(args[0].shape).to(args[0].dtype)
        if call.name in RESHAPES:  # memory may be laid out otherwise than when it was recorded
            return args[0].reshape(self.shape(call.output))
        if call.name in IDENTITIES - {"_to_copy"}:
            return args[0]
        if call.name in CONTIGUOUS:
            args = (args[0].contiguous(), *args[1:])
        if call.name == "_adaptive_avg_pool2d" and args[0].is_cuda:
            return adaptive_average(args[0], args[1])
        result = call.op(*args, **kwargs)
        result = result if call.item is None else result[call.item]
        return result.to(self.dtype) if result.is_floating_point() else result

    def adjoint(self, call: Call, s: Tensor, inputs: tuple[int, ...], *, blank: bool = False) -> list[Tensor | None]:
        """Return the transposed Jacobian of a call for each of some inputs, applied to s.

        None stands for an input that does not matter. With ``blank`` it does not depend on the inputs' values, which
        need not be known any more.
        """
        if call.name in RESHAPES:
            return [s.reshape(self.shape(inputs[0]))]
        if call.name == "add" and not call.kwargs and call.args[0] != call.args[1]:
            return [s.sum_to_size(self.shape(i)) for i in inputs]
        if call.name == "permute":
            order = call.args[1]
            return [s.permute(sorted(range(len(order)), key=lambda k: order[k] % len(order)))]
        if call.name in ("transpose", "t"):
            return [s.transpose(*(call.args[1:] or (0, 1)))]
        if call.name == "mean" and len(call.args) > 1:
            shape = self.shape(inputs[0])
            dims = sorted(k % len(shape) for k in call.args[1])
            for k in () if s.dim() == len(shape) else dims:
                s = s.unsqueeze(k)
            return [s.expand(shape) / prod(shape[k] for k in dims)]
        with torch.enable_grad(), deterministic(s):
            made = [self.empty(i) if blank else self.tensors[i].detach() for i in inputs]
            leaves = [tensor.requires_grad_() for tensor in made]
            result = self.run(call, dict(zip(inputs, leaves, strict=True)))
            return list(torch.autograd.grad(result, leaves, s, allow_unused=True))

    def empty(self, value: int) -> Tensor:
        """Return zeros in the shape of a value, without memory of their own."""
        return torch.zeros((), dtype=self.dtype, device=self.device).expand(self.shape(value)).detach()

    def axis(self, value: int) -> int:
        """Return the dimension of the samples."""
        return self.program.axes[value]

    def rows(self, tensor: Tensor, value: int) -> Tensor:
        """Return what belongs to each sample (N, all others), in the order of memory for images with channels last."""
        axis, around = self.axis(value), self.program.outer[value]
        if around > 1:
            tensor = tensor.unflatten(axis, (around, self.n, -1)).movedim(axis + 1, 0)
        elif axis:
            tensor = tensor.movedim(axis, 0)
        elif tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
            tensor = tensor.permute(0, 2, 3, 1)
        return tensor.reshape(self.n, -1) if self.n else tensor.reshape(0, 1)

    def total(self, tensor: Tensor, value: int) -> Tensor:
        """Return the sum of each sample (N,)."""
        return self.rows(tensor, value).sum(1)
