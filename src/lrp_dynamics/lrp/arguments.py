"""What callers give: an input, its bounds, and a target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrp_dynamics.base.errors import UserError

EXPECTED = 'class indices (N,), "predicted", or a float or boolean tensor shaped as the output'


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


def initial_relevance(output: Tensor, target: Any, form: str) -> Tensor:
    """Return the relevance that is put in at the output, shaped as the output.

    Parameters
    ----------
    output
        (N, K) class scores; (N,) or (N, 1), one score; or any other (N, ...).
    target
        Class indices (N,) as tensor, list or array, or "predicted", for scores: a single one is class 0. A float tensor
        shaped as the output: the relevance itself. A boolean one: the output's own values where it is true.
    form
        What a class's relevance is: `Composite.initial`.
    """
    if isinstance(target, str) and target != "predicted":
        raise UserError(f"target is {target!r}; expected {EXPECTED}")
    if not isinstance(target, str):
        try:
            target = torch.as_tensor(target, device=output.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"target is a {type(target).__name__}; expected {EXPECTED}") from error
        if target.is_floating_point() or target.dtype == torch.bool:
            return given_relevance(output, target)
    scores = output.unsqueeze(1) if output.dim() == 1 else output
    if scores.dim() != 2:
        shape = tuple(output.shape)
        raise UserError(
            f"the model's output has shape {shape}, and classes are explained of (N, K) scores alone; give a target of "
            f"shape {shape}, of floats (the relevance to start with) or true where the output is to be explained"
        )
    if isinstance(target, str):
        target = scores.argmax(1)
    elif target.shape != scores.shape[:1]:
        raise UserError(f"target has shape {tuple(target.shape)}; expected one class per sample, ({len(scores)},)")
    elif len(target) and (target.min() < 0 or target.max() >= scores.shape[1]):
        raise UserError(f"target holds a class outside 0 to {scores.shape[1] - 1}")
    index = target.long().unsqueeze(1)
    if form == "softmax":
        return scores.softmax(1).view(output.shape)
    if form == "contrast":  # of one score there is nothing to take away
        others = scores.scatter(1, index, -torch.inf)
        weights = others.softmax(1) if scores.shape[1] > 1 else torch.zeros_like(scores)
        return (-weights * scores).scatter_(1, index, scores.gather(1, index)).view(output.shape)
    value = {"logit": lambda v: v, "relu": torch.relu, "one": torch.ones_like}[form](scores.gather(1, index))
    return torch.zeros_like(scores).scatter_(1, index, value).view(output.shape)


def given_relevance(output: Tensor, target: Tensor) -> Tensor:
    """Return the relevance that a target of floats or of true and false stands for."""
    if target.shape != output.shape:
        raise UserError(f"the initial relevance has shape {tuple(target.shape)}; expected {tuple(output.shape)}")
    if target.dtype == torch.bool:
        return torch.where(target, output, 0)
    if not torch.isfinite(target).all():
        raise UserError("the initial relevance holds NaN or infinite values")
    return target.detach().to(output.dtype)
