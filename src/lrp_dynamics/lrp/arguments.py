"""What callers give: an input, its bounds, and a target."""

from __future__ import annotations

import torch
from torch import Tensor

from lrp_dynamics.base.errors import UserError


def refuse_input(inputs: Tensor) -> None:
    """Refuse what cannot be an input, as far as it shows without a look at values."""
    if not isinstance(inputs, Tensor):
        raise UserError(f"the input is of type {type(inputs).__name__}; expected a torch.Tensor")
    if inputs.layout != torch.strided:
        raise UserError(f"the input is a tensor of layout {inputs.layout}; make it dense, by to_dense()")
    if inputs.dim() < 2:
        raise UserError(f"the input has shape {tuple(inputs.shape)}; expected (N, ...), samples first, also if one")
    if not inputs.is_floating_point():
        raise UserError(f"the input has dtype {inputs.dtype}; expected floats, scaled as in training")


def limits(bounds: tuple[float | Tensor, float | Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bounds of an input as tensors that broadcast to it."""
    try:
        low, high = (torch.as_tensor(bound, dtype=x.dtype, device=x.device) for bound in bounds)
        low.expand(1, x.shape[1], *[1] * (x.dim() - 2)), high.expand(1, x.shape[1], *[1] * (x.dim() - 2))
    except (TypeError, ValueError, RuntimeError) as error:
        shape = (x.shape[1], *[1] * (x.dim() - 2))
        raise UserError(f"bounds: expected (low, high), numbers or tensors that broadcast to {shape}") from error
    if not (torch.isfinite(low).all() and torch.isfinite(high).all() and (low < high).all()):
        raise UserError(f"bounds: found {low.tolist()} and {high.tolist()}; expected finite values, low below high")
    return low, high


def initial_relevance(logits: Tensor, target: Tensor | str, form: str) -> Tensor:
    """Return the relevance (N, K) that is put in at the output."""
    if logits.dim() != 2:
        raise UserError(f"the model's output has shape {tuple(logits.shape)}; expected (N, K) class scores")
    if isinstance(target, str):
        if target != "predicted":
            raise UserError(f'target is {target!r}; expected class indices (N,), "predicted" or a float tensor (N, K)')
        target = logits.argmax(1)
    try:
        target = torch.as_tensor(target, device=logits.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f'target is a {type(target).__name__}; expected class indices (N,), "predicted" or a float tensor (N, K)'
        ) from error
    if target.is_floating_point():
        if target.shape != logits.shape:
            raise UserError(f"the initial relevance has shape {tuple(target.shape)}; expected {tuple(logits.shape)}")
        if not torch.isfinite(target).all():
            raise UserError("the initial relevance holds NaN or infinite values")
        return target.detach().to(logits.dtype)
    if target.shape != logits.shape[:1]:
        raise UserError(f"target has shape {tuple(target.shape)}; expected one class per sample, ({len(logits)},)")
    if len(target) and (target.min() < 0 or target.max() >= logits.shape[1]):
        raise UserError(f"target holds a class outside 0 to {logits.shape[1] - 1}")
    if form == "softmax":
        return logits.softmax(1)
    index = target.long().unsqueeze(1)
    value = {"logit": lambda v: v, "relu": torch.relu, "one": torch.ones_like}[form](logits.gather(1, index))
    return torch.zeros_like(logits).scatter_(1, index, value)
