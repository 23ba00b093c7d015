"""VGG-16 with its dense layers as convolutions, and a narrow one that is quick to fit.

Simonyan and Zisserman 2014 (arXiv:1409.1556): thirteen convolutions of 3×3 in five blocks, each ended by a max-pool,
and three dense layers.
"""

from collections import OrderedDict

import torch
from torch import nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.models.vgg import DENSE, vgg

_DEPTHS = (2, 2, 3, 3, 3)


def vgg16_narrow(n_classes: int = 10, in_channels: int = 3, divisor: int = 8) -> nn.Sequential:
    """Return VGG-16 with all widths divided, and batch normalisation: (N, C, 32, 32) to (N, n_classes) logits.

    The same depth, blocks and pools. Without batch normalisation thirteen narrow layers hardly learn in a minute.
    """
    return vgg(_DEPTHS, n_classes, in_channels, divisor=divisor, dense=DENSE // (8 * divisor))


def fully_convolutional(model: nn.Module) -> nn.Sequential:
    """Return a VGG in which each dense layer is a convolution, for inputs of the size it was made for.

    The first dense layer reads all that the last pool leaves and becomes a convolution of that size (7×7 in the
    original), the others become 1×1. The logits are those of the model up to rounding, which a test checks; what is
    gained is that every layer's relevance is a map of channels, height and width.

    Parameters
    ----------
    model
        A module with the children `features` (whose output is not resized further) and `classifier`, as torchvision's
        VGGs. It is not changed; parameters of the convolutional part are shared.
    """
    channels = [m.out_channels for m in model.features if isinstance(m, nn.Conv2d)][-1]
    layers: list[nn.Module] = []
    side: int | None = None
    for layer in model.classifier:
        if not isinstance(layer, nn.Linear):
            layers.append(layer)
            continue
        if side is None:
            side = round((layer.in_features / channels) ** 0.5)
            if side * side * channels != layer.in_features:
                raise UserError(
                    f"the first dense layer reads {layer.in_features} values; expected a square map of {channels} "
                    "channels"
                )
        convolution = nn.Conv2d(layer.in_features // side**2, layer.out_features, side, device="meta")
        with torch.no_grad():
            weight = layer.weight.view(layer.out_features, -1, side, side)
            convolution.weight = nn.Parameter(weight)
            convolution.bias = nn.Parameter(layer.bias)
        layers.append(convolution)
        side = 1
    parts = OrderedDict(features=model.features, classifier=nn.Sequential(*layers), flatten=nn.Flatten())
    return nn.Sequential(parts).eval()
