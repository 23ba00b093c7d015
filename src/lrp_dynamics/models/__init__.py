"""Networks, built by name with weights drawn from a seed.

To add a network, write a function `(n_classes, in_channels) -> nn.Module` in a module of its own and list it in
`MODELS`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lrp_dynamics.base import own_code
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown
from lrp_dynamics.models.blog_cnn import blog_cnn
from lrp_dynamics.models.homework_cnn import homework_cnn
from lrp_dynamics.models.vgg11 import vgg11_32, vgg11_bn_32, vgg11_bn_half, vgg11_bn_narrow, vgg11_bn_quarter
from lrp_dynamics.models.vgg16 import vgg16_narrow

__all__ = [
    "MODELS",
    "blog_cnn",
    "build",
    "homework_cnn",
    "vgg11_32",
    "vgg11_bn_32",
    "vgg11_bn_half",
    "vgg11_bn_narrow",
    "vgg11_bn_quarter",
    "vgg16_narrow",
]

MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "blog_cnn": blog_cnn,
    "homework_cnn": homework_cnn,
    "vgg11_32": vgg11_32,
    "vgg11_bn_32": vgg11_bn_32,
    "vgg11_bn_half": vgg11_bn_half,
    "vgg11_bn_quarter": vgg11_bn_quarter,
    "vgg11_bn_narrow": vgg11_bn_narrow,
    "vgg16_narrow": vgg16_narrow,
}


def build(name: str, *, n_classes: int, in_channels: int = 3, seed: int = 0) -> nn.Module:
    """Build a network on the CPU with initial weights that depend on `seed` alone.

    Parameters
    ----------
    name : str
        A key of `MODELS`, or code of one's own, `path/net.py:my_net` or `my_package.my_net`: a function or class that,
        called as `my_net(n_classes, in_channels)`, returns an `nn.Module` from (N, C, H, W) to (N, n_classes) logits.
    n_classes : int
        Number of logits.
    in_channels : int
        Channels of the input image.
    seed : int
        Seed of the initial weights. The global random state is left as it was.

    Raises
    ------
    UserError
        If there is no network of that name, or code of one's own does not return one.
    """
    own = name not in MODELS and own_code.is_own(name)
    if not own and name not in MODELS:
        raise UserError(f"model: found {name!r}, expected one of {', '.join(MODELS)}, or your own as {own_code.FORMS}")
    make = own_code.load(name) if own else MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _made(name, make, n_classes, in_channels) if own else make(n_classes, in_channels)


def _made(name: str, make: Any, n_classes: int, in_channels: int) -> nn.Module:
    """Return the network that code of the user's own makes."""
    try:
        model = make(n_classes, in_channels)
    except Exception as error:
        call = f"{name.rpartition(':' if ':' in name else '.')[2]}({n_classes}, {in_channels})"
        raise UserError(
            f"model: {call} of {name!r} failed ({own_code.told(error)}); it is called with the numbers of classes and "
            "of channels"
        ) from error
    if not isinstance(model, nn.Module):
        found = shown(type(model).__name__)
        raise UserError(f"model: {name!r} returned an object of type {found}, expected a torch.nn.Module")
    if any(isinstance(value, nn.parameter.UninitializedTensorMixin) for value in model.state_dict().values()):
        raise UserError(f"model: {name!r} has lazy layers, whose weights have no size yet; give each layer its sizes")
    return model
