"""VGG-11 for images of 32×32, with and without batch normalisation, in several widths."""

import torch
from torch import nn

from lrp_dynamics.models.vgg import DENSE, vgg

_DEPTHS = (1, 1, 2, 2, 2)


def vgg11_32(n_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return VGG-11 in its published widths: eight convolutions and three dense layers, (N, C, 32, 32) to logits."""
    return _vgg11(n_classes, in_channels, divisor=1, norm=False)


def vgg11_bn_32(n_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return VGG-11 with batch normalisation, without which it is slow to begin learning."""
    return _vgg11(n_classes, in_channels, divisor=1)


def vgg11_bn_half(n_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return VGG-11 with batch normalisation and half of all widths: a quarter of the work, for a CPU."""
    return _vgg11(n_classes, in_channels, divisor=2)


def vgg11_bn_quarter(n_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return VGG-11 with batch normalisation and a quarter of all widths, for a CPU with less time."""
    return _vgg11(n_classes, in_channels, divisor=4)


def vgg11_bn_narrow(n_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return VGG-11 with batch normalisation and an eighth of all widths, which trains in seconds."""
    return _vgg11(n_classes, in_channels, divisor=8)


def _vgg11(n_classes: int, in_channels: int, *, divisor: int, norm: bool = True) -> nn.Sequential:
    model = vgg(_DEPTHS, n_classes, in_channels, divisor=divisor, dense=DENSE // divisor, norm=norm)
    # Convolutions whose weights lie so take their inputs so, which is faster on a CPU and with half precision on a GPU.
    return model.to(memory_format=torch.channels_last)
