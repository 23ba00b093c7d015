"""Products of activations: gates, attention over channels and positions, and weights that depend on the input."""

import torch
import torch.nn.functional as F
from torch import nn

from .registry import idiom, written


class SqueezeExcitation(nn.Module):
    """Hu et al. 2018."""

    def __init__(self, width, reduction=2):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(width, width // reduction), nn.ReLU(), nn.Linear(width // reduction, width), nn.Sigmoid()
        )

    def forward(self, x):
        n, c, _, _ = x.size()
        y = self.fc(x.mean((2, 3)).view(n, c)).view(n, c, 1, 1)
        return x * y.expand_as(x)


written("SqueezeAndExcite", lambda net, x: net.se(x), parts=lambda: {"se": SqueezeExcitation(6)})
written(
    "HardGate",
    lambda net, x: x * F.hardsigmoid(net.fc(x.mean((2, 3), keepdim=True))),
    parts=lambda: {"fc": nn.Conv2d(6, 6, 1)},
)
written(
    "HardGateByRelu6",
    lambda net, x: x * (F.relu6(net.fc(x.mean((2, 3), keepdim=True)) + 3) / 6),
    parts=lambda: {"fc": nn.Conv2d(6, 6, 1)},
    same=lambda net, x: x * F.hardsigmoid(net.fc(x.mean((2, 3), keepdim=True))),
)
written(
    "EfficientChannelAttention",
    lambda net, x: x * net.conv(x.mean((2, 3)).unsqueeze(1)).squeeze(1)[..., None, None].sigmoid(),
    parts=lambda: {"conv": nn.Conv1d(1, 1, 3, padding=1, bias=False)},
)
written(
    "GlobalResponseNorm",
    lambda net, x: (lambda g: x * (g / (g.mean(1, keepdim=True) + 1e-6)) + x)(x.norm(p=2, dim=(2, 3), keepdim=True)),
)
written("GatedLinear", lambda net, x: F.glu(net.conv(x), 1), parts=lambda: {"conv": nn.Conv2d(6, 8, 3)})
written(
    "Highway",
    lambda net, x: (lambda t: t * net.conv(x).relu() + (1 - t) * x)(torch.sigmoid(net.gate(x))),
    parts=lambda: {"conv": nn.Conv2d(6, 6, 1), "gate": nn.Conv2d(6, 6, 1)},
)
written(
    "SpatialSoftmax",
    lambda net, x: x.flatten(2).softmax(-1) @ net.positions,
    parts=lambda: {"positions": nn.Buffer(torch.rand(64, 2))},
)
written(
    "SelectiveKernel",
    lambda net, x: (lambda f: (torch.stack(f, 1) * net.fc(sum(f).mean((2, 3))).view(-1, 2, 6, 1, 1).softmax(1)).sum(1))(
        [net.a(x), net.b(x)]
    ),
    parts=lambda: {
        "a": nn.Conv2d(6, 6, 3, padding=1),
        "b": nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        "fc": nn.Linear(6, 12),
    },
)
written("BilinearPooling", lambda net, x: torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2)) / x[0, 0].numel())
written(
    "FactorizationMachine",
    lambda net, x: ((x @ net.v) ** 2 - (x**2) @ (net.v**2)) / 2,
    parts=lambda: {"v": nn.Parameter(torch.randn(6, 4))},
    shape=(3,),
)
written("GlobalDivision", lambda net, x: x / (x.sum(1, keepdim=True) + 1))
written(
    "BlurPool",
    lambda net, x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), net.kernel, stride=2, groups=x.shape[1]),
    parts=lambda: {
        "kernel": nn.Buffer(torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1])).expand(6, 1, 3, 3) / 16)
    },
    linear=True,
)
written(
    "DynamicConvolution",
    lambda net, x: torch.cat(
        [
            F.conv2d(one[None], kernel, groups=6, padding=1)
            for one, kernel in zip(x, net.fc(x.mean((2, 3))).view(-1, 6, 1, 3, 3), strict=True)
        ]
    ),
    parts=lambda: {"fc": nn.Linear(6, 54)},
    refused="",
)
written(
    "SpatialTransformer",
    lambda net, x: F.grid_sample(
        x, F.affine_grid(net.fc(x.mean((2, 3))).view(-1, 2, 3), x.shape, align_corners=False), align_corners=False
    ),
    parts=lambda: {"fc": nn.Linear(6, 6)},
    refused="",
)
written(
    "Recurrent",
    lambda net, x: net.rnn(x.flatten(2).transpose(1, 2))[0][:, -1],
    parts=lambda: {"rnn": nn.LSTM(6, 4, batch_first=True)},
    refused="",
)


def recurrent_by_hand(net, x):
    """One cell along the rows."""
    states = [None]
    for row in x.mean(3).unbind(2):
        states.append(net.cell(row, states[-1]))
    return states[-1]


written("RecurrentByHand", recurrent_by_hand, parts=lambda: {"cell": nn.GRUCell(6, 4)}, refused="")


@idiom()
class ConvolutionalBlockAttention(nn.Module):
    """CBAM (Woo et al. 2018): gates over channels and over positions."""

    def __init__(self, width=8):
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, width, 3), nn.Linear(width, 5)
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(width, 3), nn.ReLU(), nn.Linear(3, width))
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x):
        x = self.stem(x)
        pools = [F.avg_pool2d(x, (x.size(2), x.size(3))), F.max_pool2d(x, (x.size(2), x.size(3)))]
        x = x * torch.sigmoid(sum(self.mlp(p) for p in pools)).unsqueeze(2).unsqueeze(3).expand_as(x)
        y = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        return self.fc((x * torch.sigmoid(self.spatial(y))).mean((2, 3)))
