"""What callers give: an input, its bounds, and a target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.structure import ONE_INPUT

EXPECTED = 'class indices (N,), "predicted", or a float or boolean tensor shaped as the output'


def refuse_input(inputs: Tensor) -> None:
    """Refuse what cannot be an input, as far as it shows without a look at values."""
    if isinstance(inputs, (tuple, list, dict)):
        raise UserError(f"the input is of type {type(inputs).__name__}; expected one torch.Tensor: {ONE_INPUT}")
    if not isinstance(inputs, Tensor):
        hint = ", such as torch.as_tensor(array)" if hasattr(inputs, "__array__") else ""
        raise UserError(f"the input is of type {type(inputs).__name__}; expected a torch.Tensor{hint}")
    if inputs.layout != torch.strided:
        raise UserError(f"the input is a tensor of layout {inputs.layout}; make it dense, by to_dense()")
    if inputs.dim() < 2:
        raise UserError(f"the input has shape {tuple(inputs.shape)}; expected (N, ...), samples first, also if one")
    if not inputs.is_floating_point():
        raise UserError(f"the input has dtype {inputs.dtype}; expected floats, scaled as in training")


def refuse_output(output: Any) -> None:
    """Refuse what a model returned if it is no tensor."""
    if not isinstance(output, Tensor):
        raise UserError(
            f"the model returns a {type(output).__name__}, no single tensor; wrap it in a module that returns the "
            "scores"
        )


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


def checked_target(target: Any, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
    """Return a target as `initial_relevance` takes it, or refuse it. This may read values back from the device.

    Parameters
    ----------
    target
        Class indices (N,) as tensor, list or array, or "predicted", for scores: a single one is class 0. A float tensor
        shaped as the output: the relevance itself. A boolean one: the output's own values where it is true.
    shape
        Of the output: (N, K) class scores; (N,) or (N, 1), one score; or any other (N, ...).
    like
        A tensor of the device and the precision in which is computed.

    Returns
    -------
    Class indices (N,), int64; floats or truth values in the output's shape; None for "predicted".
    """
    if isinstance(target, str) and target != "predicted":
        raise UserError(f"target is {target!r}; expected {EXPECTED}")
    if not isinstance(target, str):
        try:
            target = torch.as_tensor(target)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"target is a {type(target).__name__}; expected {EXPECTED}") from error
        if target.is_floating_point() or target.dtype == torch.bool:
            if target.shape != shape:
                found = "mask of what to explain" if target.dtype == torch.bool else "initial relevance"
                raise UserError(
                    f"the {found} has shape {tuple(target.shape)}; expected {tuple(shape)}, that of the output"
                )
            if not torch.isfinite(target).all():
                raise UserError("the initial relevance holds NaN or infinite values")
            target = target.detach().to(like.device)
            return target if target.dtype == torch.bool else target.to(like.dtype)
    if len(shape) > 2:
        found = "" if isinstance(target, str) else f", not {target.dtype} of shape {tuple(target.shape)}"
        raise UserError(
            f"the model's output has shape {tuple(shape)}, and classes are explained of (N, K) scores alone; give a "
            f"target of shape {tuple(shape)}, of floats (the relevance to start with) or of truth values (torch.bool), "
            f"true where the output is to be explained{found}"
        )
    if isinstance(target, str):
        return None
    classes = shape[1] if len(shape) == 2 else 1
    if target.shape != shape[:1]:
        hint = f"; of one class for all: [{int(target)}] * {shape[0]}" if target.ndim == 0 else ""
        hint = "; of one-hot labels: target.argmax(1)" if target.shape == shape else hint
        raise UserError(f"target has shape {tuple(target.shape)}; expected one class per sample, ({shape[0]},){hint}")
    if len(target) and ((target < 0) | (target >= classes)).any():
        wrong = int(((target < 0) | (target >= classes)).nonzero()[0])
        raise UserError(f"target {wrong} is class {int(target[wrong])}; expected classes from 0 to {classes - 1}")
    return target.to(like.device).long()


def initial_relevance(output: Tensor, target: Tensor | None, form: str) -> Tensor:
    """Return the relevance that is put in at the output, shaped as the output.

    Parameters
    ----------
    output
        Class scores, one score, or anything else: (N, ...).
    target
        As `checked_target` returns it.
    form
        What a class's relevance is: `Composite.initial`.
    """
    if target is not None and target.dtype == torch.bool:
        return torch.where(target, output, 0)
    if target is not None and target.is_floating_point():
        return target.clone()
    scores = output.unsqueeze(1) if output.dim() == 1 else output
    index = (scores.argmax(1) if target is None else target).unsqueeze(1)
    if form == "softmax":
        return scores.softmax(1).view(output.shape)
    if form == "contrast":  # of one score there is nothing to take away
        others = scores.scatter(1, index, -torch.inf)
        weights = others.softmax(1) if scores.shape[1] > 1 else torch.zeros_like(scores)
        return (-weights * scores).scatter_(1, index, scores.gather(1, index)).view(output.shape)
    value = {"logit": lambda v: v, "relu": torch.relu, "one": torch.ones_like}[form](scores.gather(1, index))
    return torch.zeros_like(scores).scatter_(1, index, value).view(output.shape)
