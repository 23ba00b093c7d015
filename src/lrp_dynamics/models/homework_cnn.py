"""The network of the CIFAR-10 homework on training and explaining a ConvNet, for 32×32 images."""

import math
from collections import OrderedDict

from torch import nn


def homework_cnn(n_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Three convolutions with sum-pooling and a 1×1 convolution: (N, C, 32, 32) to (N, n_classes) scores.

    Weights start as normal numbers of variance 1 / inputs of a unit, biases at 0; the last layer starts at 0, so that
    the untrained network gives no evidence for any class.
    """
    layers = OrderedDict(
        conv1=nn.Conv2d(in_channels, 10, kernel_size=5),
        relu1=nn.ReLU(),
        pool1=sum_pool(),
        conv2=nn.Conv2d(10, 50, kernel_size=5),
        relu2=nn.ReLU(),
        pool2=sum_pool(),
        conv3=nn.Conv2d(50, 250, kernel_size=4),
        relu3=nn.ReLU(),
        pool3=sum_pool(),
        conv4=nn.Conv2d(250, n_classes, kernel_size=1),
        flatten=nn.Flatten(),
    )
    for name in ("conv1", "conv2", "conv3"):
        nn.init.normal_(layers[name].weight, std=1 / math.sqrt(layers[name].weight[0].numel()))
        nn.init.zeros_(layers[name].bias)
    nn.init.zeros_(layers["conv4"].weight)
    nn.init.zeros_(layers["conv4"].bias)
    return nn.Sequential(layers)


def sum_pool() -> nn.AvgPool2d:
    """Return a pooling layer that adds up windows of 2×2 values."""
    return nn.AvgPool2d(2, divisor_override=1)
