"""The weights of a layer as they are now, read without touching the model."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError


def parameter(module: Any, key: str, name: str) -> Tensor | None:
    """Return a module's weight or bias as it is now, without a step of a parametrization that trains."""
    if not isinstance(module, nn.Module):
        return module.read(key, name)
    if nn.utils.parametrize.is_parametrized(module, key):
        training = [m for m in module.parametrizations[key].modules() if m.training]
        for m in training:
            m.training = False
        try:
            return getattr(module, key).detach()
        finally:
            for m in training:
                m.training = True
    if key not in module._parameters and key not in module._buffers:
        raise UserError(
            f"layer {name!r} computes its {key} in a hook, as pruning and the old weight_norm do; make it permanent "
            "(torch.nn.utils.prune.remove, remove_weight_norm) or use torch.nn.utils.parametrizations"
        )
    found = getattr(module, key)
    if nn.parameter.is_lazy(found):
        raise UserError(f"layer {name!r} has no {key} yet; run the model once, which makes it")
    return None if found is None else found.detach()


def batch_norm_affine(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Return scale and shift per channel of a BatchNorm with its running statistics, in float64.

    Their rounding would move all values of a channel to the same side; so it happens once, where they are used.
    """
    scale = (module.running_var.double() + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight.detach().double()
    shift = -module.running_mean.double() * scale
    if module.bias is not None:
        shift = shift + module.bias.detach().double()
    return scale, shift


def prelu(module: nn.Module, x: Tensor) -> Tensor:
    """Return what a PReLU makes of x with its weights as they are now."""
    return F.prelu(x, module.weight.detach().to(x.dtype))
