"""Explanations by the plain gradient, for comparison with relevance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.arguments import checked_target, initial_relevance, refuse_input, refuse_output
from lrp_dynamics.lrp.structure import eval_copy, refuse_quantized, takes_more, unwrapped


def gradient(model: nn.Module, inputs: Tensor, target) -> Tensor:
    """Return the gradient of the target's logit with respect to the inputs; the model is untouched.

    It is computed by an eval-mode copy that shares the parameters. Parameters are those of :func:`relevance`.
    """
    return with_logits(model, inputs, target)[0]


def with_logits(model: nn.Module, inputs: Tensor, target) -> tuple[Tensor, Tensor]:
    """Return the gradient of the target's logit, and the logits, both in at least float32."""
    refuse_input(inputs)
    if not torch.isfinite(inputs).all():
        raise UserError("the input holds NaN or infinite values; clean it first")
    refuse_quantized(model)
    model_copy = eval_copy(unwrapped(model))
    with torch.inference_mode(False), torch.enable_grad():
        dtype = next(model_copy.parameters(), inputs).dtype
        x = inputs.detach().clone().to(dtype).requires_grad_()
        try:
            logits = model_copy(x * 1)  # not the leaf, which a first layer could not overwrite
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError) as error:  # such as for images of a size not meant
            told, more = str(error).splitlines()[0], takes_more(model, error)
            if isinstance(error, TypeError) and not more:
                raise
            raise UserError(f"the model fails for an input of shape {tuple(x.shape)}: {told}{more}") from error
        refuse_output(logits)
        if isinstance(target, Tensor) and target.dtype == torch.bool:  # the gradient of the sum of what it marks
            target = target.to(logits.dtype)
        logits_now = logits.detach()
        weights = initial_relevance(logits_now, checked_target(target, logits_now.shape, logits_now), "one")
        (found,) = torch.autograd.grad(logits, x, weights)
    wide = torch.promote_types(dtype, torch.float32)
    return found.to(wide), logits.detach().to(wide)


def sensitivity(model: nn.Module, inputs: Tensor, target) -> Tensor:
    """Return the squared gradient, shaped as the inputs.

    Simonyan et al. 2013 (arXiv:1312.6034). It tells where a change would move the logit, not what made it.
    """
    return gradient(model, inputs, target).square()


def gradient_x_input(model: nn.Module, inputs: Tensor, target) -> Tensor:
    """Return gradient times input, shaped as the inputs.

    For ReLU nets with max-pooling it equals LRP-0, bias included (Ancona et al. 2018, arXiv:1711.06104).
    """
    return gradient(model, inputs, target) * inputs.detach()
