"""Networks that packages are compared on: small ones of one idea each, and families of torchvision."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

# Networks for which LRP-0 is gradient × input.
PIECEWISE = (
    "vgg11", "alexnet", "squeezenet1_1", "resnet18", "densenet121", "googlenet", "inception_v3", "shufflenet_v2_x0_5",
    "regnet_x_400mf",
)  # fmt: skip
SMOOTH = ("mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "swin_t", "vit_b_16")
SIDES = {"inception_v3": 75}


class Functional(nn.Module):
    """A network that calls functions, with a sum and a concatenation."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(16 * 64, 10)

    def forward(self, x):
        x = nn.functional.relu(self.a(x))
        x = torch.cat([x + nn.functional.relu(self.b(x)), x], 1)
        return self.c(nn.functional.adaptive_avg_pool2d(x, 8).flatten(1))


class Shared(nn.Module):
    """A network that calls one module twice."""

    def __init__(self):
        super().__init__()
        self.start, self.again, self.end = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        x = self.again(self.again(self.start(x).relu()).relu()).relu()
        return self.end(x.mean((2, 3)))


class Normalized(nn.Module):
    """A network of the kinds of layers that an explanation may disturb."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.dropout, self.end = nn.Dropout(0.2), nn.Linear(8 * 36, 10)

    def forward(self, x):
        return self.end(self.dropout(self.relu(self.norm(self.conv(x)))).flatten(1))


class Chain(nn.Module):
    """A network of modules in a row and a dense layer, without a module for flattening, which some packages refuse."""

    def __init__(self, *modules: nn.Module, features: int):
        super().__init__()
        self.body, self.end = nn.Sequential(*modules), nn.Linear(features, 10)

    def forward(self, x):
        return self.end(torch.flatten(self.body(x), 1))


def small(kind: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a small network of one idea, and the shape of its samples."""
    pooled = [nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    if kind == "functions, sums, concatenation":
        return Functional(), (3, 32, 32)
    if kind == "a module called twice":
        return Shared(), (3, 32, 32)
    if kind == "BatchNorm first":
        return Chain(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3), *pooled, features=8), (3, 32, 32)
    if kind == "BatchNorm between ReLU and convolution":
        middle = [nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3)]
        return Chain(nn.Conv2d(3, 8, 3), *middle, *pooled, features=8), (3, 32, 32)
    if kind == "transposed convolution":
        body = [nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, 2)]
        return Chain(*body, *pooled, features=8), (3, 32, 32)
    if kind == "signals (N, C, L)":
        return Chain(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.MaxPool1d(2), features=8 * 31), (3, 64)
    return Chain(nn.Conv3d(1, 8, 3), nn.ReLU(), nn.MaxPool3d(2), features=8 * 27), (1, 8, 8, 8)


SMALL = (
    "functions, sums, concatenation", "a module called twice", "BatchNorm first",
    "BatchNorm between ReLU and convolution", "transposed convolution", "signals (N, C, L)", "volumes (N, C, D, H, W)",
)  # fmt: skip
NETWORKS = (*SMALL, *PIECEWISE, *SMOOTH)


def build(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return a network in float64 and eval mode, an input of four samples, and targets."""
    from lrp.verdict import randomised

    torch.manual_seed(0)
    if name in SMALL:
        net, shape = small(name)
    else:
        import torchvision

        options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        options |= {"image_size": 64} if name == "vit_b_16" else {}
        net, side = getattr(torchvision.models, name)(weights=None, **options), SIDES.get(name, 64)
        shape = (3, side, side)
    x = torch.randn(4, *shape, dtype=torch.float64)
    net = randomised(net, x.float()).double()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and module.bias is not None:
                module.bias.zero_()  # packages differ in what a bias takes
    return net, x, torch.arange(4)
