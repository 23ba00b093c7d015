"""Networks for the tests of the core."""

import itertools

import pytest
import torch
from torch import nn

from lrp_dynamics.models import blog_cnn


def small_cnn(dtype=torch.float64, seed=0, size=12):
    """Return a net with every common layer, cheap enough for float64."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(6 * ((size // 2 - 2) // 2) ** 2, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 10),
    ).to(dtype).eval()  # fmt: skip


class Block(nn.Module):
    """A residual block of two convolutions, with a convolution on the shortcut when the width changes."""

    def __init__(self, width, out, groups=1):
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, padding=1, groups=groups, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.short = nn.Conv2d(width, out, 1) if width != out else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.short(x)
        return self.relu(out)


def randomize(model, seed=0):
    """Give BatchNorms statistics and all biases values that matter."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda t: torch.rand(t.shape, generator=generator, dtype=torch.float64).to(t.dtype)  # noqa: E731
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.copy_(draw(module.running_mean) - 0.5)
                module.running_var.copy_(draw(module.running_var) + 0.5)
                module.weight.copy_(draw(module.weight) + 0.5)
            if getattr(module, "bias", None) is not None:
                module.bias.copy_(draw(module.bias) - 0.5)
    return model.eval()


class PreActivation(nn.Module):
    """A residual block whose BatchNorm has no convolution before it, and whose sums are of both signs."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv(torch.relu(self.norm(x)))


def preactivation():
    """Return a net of such blocks."""
    blocks = [PreActivation(8) for _ in range(3)]
    head = [nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), *blocks, *head)


class Dense(nn.Module):
    """A layer of a DenseNet: BatchNorm, ReLU and convolution, beside what it was made of."""

    def __init__(self, width, growth):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(width), nn.Conv2d(width, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(torch.relu(self.norm(x)))], 1)


def dense():
    """Return two such blocks with a transition between them."""
    transition = [nn.BatchNorm2d(14), nn.ReLU(), nn.Conv2d(14, 8, 1), nn.AvgPool2d(2)]
    head = [nn.BatchNorm2d(12), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 10)]
    stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
    return nn.Sequential(stem, Dense(6, 4), Dense(10, 4), *transition, Dense(8, 4), *head)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.blocks = nn.Sequential(Block(8, 8), Block(8, 12, groups=4))
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        x = self.blocks(torch.relu(self.stem(x)))
        return self.head(x.mean((2, 3)))


def bottleneck():
    """Return a net of convolutions by 1×1."""
    widths = [3, 256, 64]
    convolutions = [m for a, b in itertools.pairwise(widths) for m in (nn.Conv2d(a, b, 1), nn.ReLU())]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def build(name):
    """Return a net and an input."""
    torch.manual_seed(0)
    size = {"small_cnn": 12, "residual": 16}.get(name, 32)
    ours = {"blog_cnn": blog_cnn, "small_cnn": small_cnn, "residual": Residual, "bottleneck": bottleneck}
    ours |= {"preactivation": preactivation, "dense": dense}
    if name in ours:
        net = ours[name]()
    else:
        with torch.device("meta"):  # the large classifiers of the VGGs would take longest to fill
            net = getattr(pytest.importorskip("torchvision.models"), name)(weights=None, num_classes=10)
            if name.startswith("vgg"):
                net.classifier = nn.Sequential(nn.Linear(25088, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10))
        net = net.to_empty(device="cpu")
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
    return randomize(net), torch.rand(2, 3, size, size)
