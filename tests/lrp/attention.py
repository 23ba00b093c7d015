"""A small vision transformer whose operations are methods, so that those of another package can take their place."""

import torch
import torch.nn.functional as F
from torch import nn

from .nets import randomize


class Transformer(nn.Module):
    """Patches, a class token, positions, and one block of attention and MLP, for images of 3×16×16."""

    def __init__(self, bias=True, width=12, heads=3):
        super().__init__()
        self.heads = heads
        self.patch = nn.Conv2d(3, width, 4, stride=4, bias=bias)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width) / 4) if bias else None
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=bias) for _ in range(3))
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=bias) for _ in range(4))
        self.up, self.down = nn.Linear(width, 2 * width, bias=bias), nn.Linear(2 * width, width, bias=bias)
        self.head = nn.Linear(width, 10, bias=bias)

    def forward(self, x):
        t = self.convolve(self.patch, x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(len(x), -1, -1), t], 1)
        if self.position is not None:
            t = self.add(t, self.position.expand_as(t))
        t = self.add(t, self.attend(self.norm(self.norms[0], t)))
        hidden = self.gelu(self.linear(self.up, self.norm(self.norms[1], t)))
        t = self.add(t, self.linear(self.down, hidden))
        return self.linear(self.head, self.norm(self.norms[2], t)[:, 0])

    def attend(self, t):
        split = lambda layer: self.linear(layer, t).unflatten(2, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        q, k, v = split(self.q), split(self.k), split(self.v)
        scores = self.matmul(self.scale(q, q.shape[-1] ** -0.5), k.transpose(-2, -1))
        return self.linear(self.out, self.matmul(self.softmax(scores), v).transpose(1, 2).flatten(2))

    def convolve(self, layer, x):
        return layer(x)

    def linear(self, layer, x):
        return layer(x)

    def norm(self, layer, x):
        return layer(x)

    def add(self, a, b):
        return a + b

    def matmul(self, a, b):
        return a @ b

    def scale(self, a, factor):
        return a * factor

    def softmax(self, a):
        return a.softmax(-1)

    def gelu(self, a):
        return F.gelu(a)


def transformer(bias=True):
    """Return the net and images, with weights that let every part of it matter."""
    torch.manual_seed(0)
    net = randomize(Transformer(bias).double())
    with torch.no_grad():
        for norm in net.norms:
            norm.weight.copy_(torch.rand_like(norm.weight) + 0.5)
        for layer in (net.q, net.k):  # attention that is not the same for all
            layer.weight.mul_(3)
    return net, torch.rand(2, 3, 16, 16, dtype=torch.float64)


def vision_transformer():
    """Return one of torchvision, with a head that is not 0, and images."""
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    net = VisionTransformer(32, 8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=48, num_classes=10)
    nn.init.normal_(net.heads[-1].weight)
    return randomize(net.double()), torch.rand(2, 3, 32, 32, dtype=torch.float64)
