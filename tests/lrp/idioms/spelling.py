"""One function in many spellings: shapes in arithmetic, functions for modules, rearranged and indexed values."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .registry import idiom, written

LINEAR = {"linear": True}


@idiom(linear=True)
class MadeInForward(nn.Module):
    """Modules made at each forward."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)

    def forward(self, x):
        x = nn.ReLU()(self.conv(x))
        x = nn.MaxPool2d(2)(nn.ZeroPad2d(1)(x))
        return self.fc(nn.Flatten()(nn.AdaptiveAvgPool2d(1)(x)))


class Normalised(nn.Module):
    """A convolution with a BatchNorm and dense layers with another."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn1 = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.fc1, self.bn2, self.fc2 = nn.Linear(6 * 36, 8), nn.BatchNorm1d(8), nn.Linear(8, 5)

    def forward(self, x):
        x = self.bn1(self.conv(x)).relu().flatten(1)
        return self.fc2(self.bn2(self.fc1(x)).relu())


@idiom(linear=True, same=Normalised)
class FunctionalBatchNorm(Normalised):
    """Every layer by its function."""

    def forward(self, x):
        x = F.conv2d(x, self.conv.weight, self.conv.bias)
        norm = lambda x, m: F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias, m.training)  # noqa: E731
        x = F.relu(norm(x, self.bn1)).view(x.size(0), -1)
        x = F.relu_(norm(F.linear(x, self.fc1.weight, self.fc1.bias), self.bn2))
        return F.linear(x, self.fc2.weight, self.fc2.bias)


written("BatchNormByArithmetic", lambda net, x: (
    (x - net.bn.running_mean[:, None, None]) / torch.sqrt(net.bn.running_var + net.bn.eps).view(1, -1, 1, 1)
    * net.bn.weight.view(1, -1, 1, 1) + net.bn.bias.view(1, -1, 1, 1)
), parts=lambda: {"bn": nn.BatchNorm2d(6)}, **LINEAR)  # fmt: skip


@idiom(linear=True)
class ShapesAllOver(nn.Module):
    """Loops, conditions, assertions and arithmetic over shapes."""

    def __init__(self, rate=0.5):
        super().__init__()
        self.rate = rate
        self.convs = nn.ModuleList(nn.Conv2d(3 if k == 0 else 6, 6, 3, padding=1) for k in range(4))
        self.fc = nn.Linear(3 * 4, 5)

    def forward(self, x):
        assert x.dim() == 4, f"images expected, found {x.shape}"
        assert x.shape[1] == 3
        n, *rest = x.shape
        if len(x) < 1 or any(size < 2 for size in rest[1:]):
            raise ValueError("empty")
        for conv in self.convs:
            x = conv(x).relu()
            if x.shape[-1] > 4 and x.size(2) % 2 == 0:
                x = F.max_pool2d(x, 2)
        while x.shape[2] * x.shape[3] > 4:
            x = F.avg_pool2d(x, kernel_size=(x.shape[2] // 2, x.shape[3] // 2), stride=1)
            x = x[..., : x.size(-2) // 2 * 2 : 2, : max(x.size(-1) // 2, 1) * 2 : 2]
        x = x[:, : int(x.size(1) * self.rate)]
        x = F.interpolate(x, size=(2, 2)) if x.shape[-1] != 2 else x
        return self.fc(x.reshape(n, math.prod(x.shape[1:])))


# The window as large as the image.
written(
    "MaxPoolOfSize",
    lambda net, x: F.max_pool2d(x, x.size()[2:]),
    same=lambda net, x: F.adaptive_max_pool2d(x, 1),
    **LINEAR,
)
written("MaxPoolOfInt", lambda net, x: F.max_pool2d(x, int(x.shape[-1])), **LINEAR)
written(
    "AvgPoolOfSize",
    lambda net, x: F.avg_pool2d(x, x.size()[2:]),
    same=lambda net, x: F.adaptive_avg_pool2d(x, 1),
    **LINEAR,
)
written("Amax", lambda net, x: x.amax((2, 3)), same=lambda net, x: torch.amax(x, dim=[-2, -1], keepdim=True), **LINEAR)
written("MaxValues", lambda net, x: x.flatten(2).max(-1)[0], **LINEAR)
written("MaxNamedValues", lambda net, x: torch.max(x, dim=1, keepdim=True).values, **LINEAR)
written("Mean", lambda net, x: x.mean([2, 3]), same=lambda net, x: F.adaptive_avg_pool2d(x, 1), **LINEAR)
written("MeanTwice", lambda net, x: x.mean(-1).mean(-1), **LINEAR)
written("SumBySize", lambda net, x: x.sum((2, 3)) / (x.size(2) * x.size(3)), **LINEAR)
written("GlobalByView", lambda net, x: x.view(*x.shape[:2], -1).mean(2), **LINEAR)
written(
    "AdaptivePools", lambda net, x: torch.cat([F.adaptive_avg_pool2d(x, s).flatten(1) for s in (1, 2, 3)], 1), **LINEAR
)
written(
    "AdaptiveMaxPools", lambda net, x: torch.cat([F.adaptive_max_pool2d(x, s).flatten(1) for s in (1, 3)], 1), **LINEAR
)

# Flattened.
written("ViewOfSize", lambda net, x: x.view(x.size(0), -1), same=lambda net, x: x, **LINEAR)
written("ReshapeOfLen", lambda net, x: x.reshape(len(x), -1), same=lambda net, x: x, **LINEAR)
written("FlattenMethod", lambda net, x: x.flatten(1), same=lambda net, x: x, **LINEAR)
written("ViewOfProduct", lambda net, x: x.view(-1, int(np.prod(x.size()[1:]))), same=lambda net, x: x, **LINEAR)
written(
    "ViewOfFeatures",
    lambda net, x: x.view(-1, net.features_of(x)),
    parts=lambda: {"features_of": num_flat},
    same=lambda net, x: x,
    **LINEAR,
)
written("StarredShape", lambda net, x: x.reshape(*x.shape[:-2], -1).transpose(1, 2), **LINEAR)
written("ViewAsOther", lambda net, x: x.flatten(1).view_as(x), same=lambda net, x: x, **LINEAR)


def num_flat(x):
    """Count as the oldest tutorial of torch does."""
    size = x.size()[1:]
    count = 1
    for s in size:
        count *= s
    return count


# Cut and put together.
written("StridedSlice", lambda net, x: x[:, :, ::2], **LINEAR)
written("NegativeSlices", lambda net, x: x[..., 1:-1, -3:], **LINEAR)
written(
    "SplitSizes", lambda net, x: torch.cat([a * k for k, a in enumerate(torch.split(x, [1, 2, 3], 1), 1)], 1), **LINEAR
)
written("ChunkAndTensorSplit", lambda net, x: x.chunk(2, 1)[0] + torch.tensor_split(x, 2, dim=1)[1], **LINEAR)
written("Unbind", lambda net, x: sum(x.unbind(1)) - x.unbind(1)[0] * 2, **LINEAR)
written("Stack", lambda net, x: torch.stack([x, x.flip(-1), x.transpose(-1, -2)], 2), **LINEAR)
written("Expand", lambda net, x: x.mean((2, 3), keepdim=True).expand(-1, -1, 3, 3) + x[..., :3, :3], **LINEAR)
written(
    "Repeat", lambda net, x: x.repeat(1, 2, 1, 1) * torch.linspace(1, 2, 12, dtype=x.dtype)[:, None, None], **LINEAR
)
written("RepeatInterleave", lambda net, x: x.repeat_interleave(2, dim=1).narrow(1, 1, 7), **LINEAR)
written("Tile", lambda net, x: torch.tile(x, (1, 1, 2)), **LINEAR)
written("PixelShuffle", lambda net, x: F.pixel_shuffle(x[:, :4], 2), **LINEAR)
written("PixelUnshuffle", lambda net, x: nn.PixelUnshuffle(2)(x), **LINEAR)
written("SpaceToDepth", lambda net, x: torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1), **LINEAR)


def reshape_chain(net, x):
    """Cut into tiles, as einops' rearrange does, and take their mean."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2).mean(1)


written("ReshapeChain", reshape_chain, **LINEAR)
written(
    "SwapAndMove",
    lambda net, x: x.movedim(1, -1).swapaxes(1, 2).unflatten(-1, (2, 3)).squeeze().mT.contiguous(),
    **LINEAR,
)
written("IndexList", lambda net, x: x[:, [2, 1, 0]], **LINEAR)
written("IndexTensors", lambda net, x: x[:, torch.arange(3), torch.tensor([1, 2, 5])], **LINEAR)
written(
    "IndexSelectGather",
    lambda net, x: x.index_select(1, net.order).gather(1, net.order.view(1, -1, 1, 1).expand_as(x)),
    parts=lambda: {"order": torch.tensor([3, 1, 0, 5, 4, 2])},
    shape=(3, 6, 1),
    **LINEAR,
)
written("Roll", lambda net, x: torch.roll(x, (1, -2), (2, 3)) + x, **LINEAR)
written("FlipAndRotate", lambda net, x: x.flip(1) + torch.rot90(x, 1, (2, 3)), **LINEAR)
written("TriangularMask", lambda net, x: x.tril() + x.masked_fill(torch.eye(8, dtype=torch.bool), 0.0), **LINEAR)
written("Diagonal", lambda net, x: x.diagonal(dim1=2, dim2=3), **LINEAR)
written("Cumsum", lambda net, x: x.cumsum(1), **LINEAR)


def put_into_zeros(net, x):
    out = torch.zeros(x.shape[0], 8, x.shape[2], x.shape[3], dtype=x.dtype, device=x.device)
    out[:, :6] = x
    out[:, 6] = 1.0
    out[:, 7].add_(x[:, 0]).mul_(2)
    return out


written("PutIntoZeros", put_into_zeros, **LINEAR)
written(
    "FullOfOnes",
    lambda net, x: torch.cat([x, x.new_ones(len(x), 1, *x.shape[2:]), torch.zeros_like(x[:, :1])], 1),
    **LINEAR,
)
written(
    "Coordinates",
    lambda net, x: torch.cat(
        [x, torch.linspace(-1, 1, x.shape[3], dtype=x.dtype).expand(len(x), 1, x.shape[2], -1)], 1
    ),
    **LINEAR,
)
written(
    "ShortcutOfZeros",
    lambda net, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)) + F.conv2d(x, net.w, stride=2, padding=1),
    parts=lambda: {"w": nn.Parameter(torch.randn(10, 6, 3, 3) / 7)},
    **LINEAR,
)


def padded_in_every_mode(net, x):
    modes = [F.pad(x, (1, 2, 0, 1), mode=mode) for mode in ("constant", "reflect", "replicate", "circular")]
    return torch.cat([*modes, F.pad(x, (1, 2, 0, 1), value=0.5)], 1)


written("Pads", padded_in_every_mode, **LINEAR)
for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
    written(f"Interpolate-{mode}", lambda net, x, mode=mode: F.interpolate(x, size=(5, 11), mode=mode), **LINEAR)
written(
    "InterpolateScale",
    lambda net, x: F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=True, recompute_scale_factor=True),
    **LINEAR,
)
written(
    "UpsampleLike",
    lambda net, x: F.interpolate(F.max_pool2d(x, 2), x.shape[2:], mode="bilinear", antialias=True) + x,
    **LINEAR,
)
written(
    "GridSample",
    lambda net, x: F.grid_sample(
        x, F.affine_grid(net.theta.expand(len(x), -1, -1), x.shape, align_corners=False), align_corners=False
    ),
    parts=lambda: {"theta": nn.Parameter(torch.tensor([[[0.8, 0.2, 0.1], [-0.1, 0.9, 0]]]))},
    **LINEAR,
)
written(
    "SizesInABuffer",
    lambda net, x: (lambda cut: x[:, cut[0] : cut[1], : int(net.cut[0])])(net.cut.tolist()),
    parts=lambda: {"cut": nn.Buffer(torch.tensor([1, 4]))},
    same=lambda net, x: x[:, 1:4, :1],
    linear=True,
)
