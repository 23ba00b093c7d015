"""Networks, built by name with weights drawn from a seed.

To add a network, write a function `(n_classes, in_channels) -> nn.Module` in a module of its own and list it in
`MODELS`.
"""

from collections.abc import Callable

import torch
from torch import nn

from lrp_dynamics.base.errors import UserError
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
        A key of `MODELS`.
    n_classes : int
        Number of logits.
    in_channels : int
        Channels of the input image.
    seed : int
        Seed of the initial weights. The global random state is left as it was.

    Raises
    ------
    UserError
        If there is no network of that name.
    """
    if name not in MODELS:
        raise UserError(f"model: found {name!r}, expected one of {', '.join(MODELS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](n_classes, in_channels)
