"""The parts that all VGGs share: five blocks of 3×3 convolutions, each ended by a max-pool, and dense layers.

Simonyan and Zisserman 2014 (arXiv:1409.1556).
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

WIDTHS = (64, 128, 256, 512, 512)
DENSE = 4096


def vgg(
    depths: Sequence[int], n_classes: int, in_channels: int, *, divisor: int = 1, dense: int = DENSE, norm: bool = True
) -> nn.Sequential:
    """Return a VGG for small images: (N, C, 32, 32) to (N, n_classes) logits.

    Five pools leave one pixel of 32, which the dense layers read: the adaptive pool to 7×7 that torchvision has before
    them would only repeat it. There is no dropout, whose draws would not depend on the training's seed.

    Parameters
    ----------
    depths : sequence of 5 int
        Convolutions in each block.
    divisor : int
        Divides the widths of all convolutions.
    dense : int
        Width of the dense layers.
    norm : bool
        Whether each convolution is followed by batch normalisation; LRP merges it into the convolution.
    """
    features: list[nn.Module] = []
    channels = in_channels
    for width, depth in zip(WIDTHS, depths, strict=True):
        for _ in range(depth):
            out = width // divisor
            features.append(nn.Conv2d(channels, out, 3, padding=1))
            features += [nn.BatchNorm2d(out)] if norm else []
            features.append(nn.ReLU(inplace=True))
            channels = out
        features.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        nn.Linear(channels, dense),
        nn.ReLU(inplace=True),
        nn.Linear(dense, dense),
        nn.ReLU(inplace=True),
        nn.Linear(dense, n_classes),
    )
    return nn.Sequential(OrderedDict(features=nn.Sequential(*features), flatten=nn.Flatten(), classifier=classifier))
