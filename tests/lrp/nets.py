"""Networks for the tests of the core."""

import torch
from torch import nn


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
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(draw(module.running_mean) - 0.5)
                module.running_var.copy_(draw(module.running_var) + 0.5)
                module.weight.copy_(draw(module.weight) + 0.5)
            if getattr(module, "bias", None) is not None:
                module.bias.copy_(draw(module.bias) - 0.5)
    return model.eval()
