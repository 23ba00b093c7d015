"""Blocks of well-known convolutional architectures, written the way that users write them again."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .registry import idiom, written


class GhostModule(nn.Module):
    """Han et al. 2020."""

    def __init__(self, inputs, outputs, ratio=2):
        super().__init__()
        self.outputs, first = outputs, math.ceil(outputs / ratio)
        self.primary = nn.Sequential(
            nn.Conv2d(inputs, first, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        new = first * (ratio - 1)
        self.cheap = nn.Sequential(
            nn.Conv2d(first, new, 3, 1, 1, groups=first, bias=False), nn.BatchNorm2d(new), nn.Sequential()
        )

    def forward(self, x):
        x1 = self.primary(x)
        return torch.cat([x1, self.cheap(x1)], dim=1)[:, : self.outputs, :, :]


written("Ghost", lambda net, x: net.ghost(x), parts=lambda: {"ghost": GhostModule(6, 7)}, linear=True)


@idiom(linear=True)
class Shuffled(nn.Module):
    """ShuffleNetV2: halves, depthwise convolutions, channels shuffled."""

    def __init__(self, width=8):
        super().__init__()
        half = width // 2
        self.stem, self.fc = nn.Conv2d(3, width, 3), nn.Linear(width, 5)
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False),
            nn.BatchNorm2d(half),
        )

    def forward(self, x):
        x = self.stem(x)
        for _ in range(2):
            x1, x2 = x.chunk(2, dim=1)
            x = torch.cat((x1, self.branch(x2)), dim=1)
            n, c, h, w = x.data.size()
            x = x.view(n, 2, c // 2, h, w)
            x = torch.transpose(x, 1, 2).contiguous().view(n, -1, h, w)
        return self.fc(F.relu6(x / 4).mean([2, 3]))


@idiom(linear=True)
class DenselyConnected(nn.Module):
    """DenseNet: BatchNorm first, lists of features that grow, joined again and again."""

    def __init__(self, growth=4, layers=3):
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * growth, 3, padding=1)
        widths = [(2 + k) * growth for k in range(layers)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, growth, 3, padding=1, bias=False)) for w in widths
        )
        width = widths[-1] + growth
        self.transition = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1), nn.AvgPool2d(2)
        )
        self.norm, self.fc = nn.BatchNorm2d(width // 2), nn.Linear(width // 2, 5)

    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = self.transition(torch.cat(features, 1))
        x = F.relu(self.norm(x), inplace=True)
        return self.fc(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))


def double(inputs, outputs):
    return nn.Sequential(
        *(
            m
            for i in (inputs, outputs)
            for m in (nn.Conv2d(i, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
        )
    )


@idiom(linear=True, shape=(3, 11, 14))
class UNet(nn.Module):
    """Transposed convolutions, interpolation, skips that are padded or cropped."""

    def __init__(self, width=4):
        super().__init__()
        self.down = nn.ModuleList([double(3, width), double(width, 2 * width), double(2 * width, 4 * width)])
        self.up = nn.ModuleList(
            [
                nn.ConvTranspose2d(4 * width, 2 * width, 2, 2),
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            ]
        )
        self.join = nn.ModuleList([double(4 * width, 2 * width), double(3 * width, width)])
        self.out = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        skips = []
        for k, block in enumerate(self.down):
            x = block(x if k == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips[:-1]), strict=True):
            x = up(x)
            dy, dx = skip.size()[2] - x.size()[2], skip.size()[3] - x.size()[3]
            if up is self.up[0]:
                skip = skip[:, :, dy // 2 : dy // 2 + x.size(2), dx // 2 : dx // 2 + x.size(3)]
            else:
                x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            x = join(torch.cat([skip, x], dim=1))
        return self.out(x)


class Block1d(nn.Module):
    """A residual block of a signal."""

    def __init__(self, width, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(width, width, 7, stride, padding=3), nn.BatchNorm1d(width)
        self.conv2, self.bn2 = nn.Conv1d(width, width, 7, padding=3), nn.BatchNorm1d(width)
        self.pool = nn.MaxPool1d(stride, ceil_mode=True) if stride > 1 else None

    def forward(self, x):
        out = self.bn2(self.conv2(F.dropout(F.relu(self.bn1(self.conv1(x))), 0.2, self.training)))
        if self.pool is not None:
            x = self.pool(x)
        out += x
        return F.relu(out)


@idiom(linear=True, shape=(2, 33))
def ResNet1d():
    return nn.Sequential(
        nn.Conv1d(2, 6, 15, padding="same"),
        nn.BatchNorm1d(6),
        Block1d(6),
        Block1d(6, 2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


@idiom(linear=True, shape=(1, 8, 9, 10))
def Volumes():
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(4, 6, (1, 3, 3)),
        nn.BatchNorm3d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


@idiom(linear=True)
class StochasticDepth(nn.Module):
    """Drop path, by hand and torchvision's, identities in eval mode."""

    def __init__(self):
        super().__init__()
        from torchvision.ops import DropBlock2d, StochasticDepth

        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.drop, self.block, self.fc = StochasticDepth(0.3, "row"), DropBlock2d(0.2, 3), nn.Linear(3, 5)

    def drop_path(self, x, rate=0.2):
        if rate == 0.0 or not self.training:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - rate)
        return x * keep.div_(1 - rate)

    def forward(self, x):
        x = x + self.drop_path(self.convs[0](x).relu())
        x = x + self.drop(self.convs[1](x).relu())
        x = x + self.block(self.convs[2](x).relu())
        return self.fc(x.mean([2, 3]))


class StandardisedConv2d(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019)."""

    def standardised(self):
        w = self.weight
        w = w - w.mean(dim=(1, 2, 3), keepdim=True)
        return w / (w.flatten(1).std(dim=1).view(-1, 1, 1, 1) + 1e-5)

    def forward(self, x):
        w = self.standardised()
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


class WithStandardised(nn.Sequential):
    """A network of such convolutions, or of plain ones with the same weights."""

    def __init__(self, conv=StandardisedConv2d):
        layers = [conv(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 6, 3, groups=2), nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(96, 5))

    @torch.no_grad()
    def take(self, net):
        weights = {f"{k}.weight": net[k].standardised() for k in (0, 3)}
        self.load_state_dict(net.state_dict() | weights)


idiom("StandardisedWeights", linear=True, same=lambda: WithStandardised(nn.Conv2d))(WithStandardised)


@idiom()
def StandardisedWithGroups():
    return nn.Sequential(
        StandardisedConv2d(3, 6, 3),
        nn.GroupNorm(3, 6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3),
        nn.InstanceNorm2d(6, affine=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 5),
    )


@idiom(linear=True)
class ComputedWeights(nn.Module):
    """Weights made of parameters: mixed, masked, symmetric, binary, low-rank."""

    def __init__(self):
        super().__init__()
        self.bank, self.mix = nn.Parameter(torch.randn(3, 6, 3, 3, 3) / 5), nn.Parameter(torch.randn(3))
        self.u, self.v, self.gain = (
            nn.Parameter(torch.randn(6, 2)),
            nn.Parameter(torch.randn(2, 6)),
            nn.Parameter(torch.ones(1)),
        )
        self.conv, self.fc = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 5)
        self.register_buffer("mask", torch.ones(1, 1, 3, 3).tril())

    def forward(self, x):
        weight = torch.einsum("k,koihw->oihw", self.mix.softmax(0), self.bank)
        x = F.relu(F.conv2d(x, weight + weight.flip(-1), padding=1))
        x = F.relu(F.conv2d(x, self.conv.weight * self.mask, self.conv.bias, padding=1))
        x = F.relu(F.conv2d(x, (self.u @ self.v)[..., None, None] * self.gain, groups=1))
        sign = self.conv.weight.sign() * self.conv.weight.abs().mean((1, 2, 3), keepdim=True)
        return self.fc(F.conv2d(x, sign, stride=2).relu().mean((2, 3)))


@idiom()
class CosineClassifier(nn.Module):
    """L2-normalised features against L2-normalised weights."""

    def __init__(self):
        super().__init__()
        self.conv, self.weight = nn.Conv2d(3, 6, 3), nn.Parameter(torch.randn(5, 6))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        x = F.normalize(self.conv(x).relu().mean((2, 3)), dim=1)
        return self.scale.exp() * F.linear(x, F.normalize(self.weight, dim=1))


@idiom()
class CosineByNorms(CosineClassifier):
    """The same by division, and a distance to prototypes."""

    def forward(self, x):
        x = self.conv(x).relu().amax((2, 3))
        cosine = x @ self.weight.t() / (x.norm(dim=1, keepdim=True) * self.weight.norm(dim=1) + 1e-8)
        return cosine - 0.1 * ((x[:, None] - self.weight) ** 2).sum(-1)


@idiom(linear=True)
class Pyramid(nn.Module):
    """Features of several scales, added top down, with dilated branches."""

    def __init__(self, width=6):
        super().__init__()
        self.bottom = nn.ModuleList(nn.Conv2d(3 if k == 0 else width, width, 3, stride=2, padding=1) for k in range(3))
        self.lateral = nn.ModuleDict({f"c{k}": nn.Conv2d(width, width, 1) for k in range(3)})
        self.dilated = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in (1, 2))
        self.fc = nn.Linear(5 * width, 5)

    def forward(self, x):
        found = {}
        for k, conv in enumerate(self.bottom):
            x = found[f"c{k}"] = conv(x).relu()
        top, outs = None, []
        for name, x in sorted(found.items(), reverse=True):
            top = self.lateral[name](x) + (0 if top is None else F.interpolate(top, size=x.shape[-2:], mode="nearest"))
            outs.insert(0, top)
        outs += [conv(outs[0]) for conv in self.dilated]
        return self.fc(torch.cat([F.relu(o).mean((2, 3)) for o in outs], dim=1))


@idiom(linear=True)
class Inception(nn.Module):
    """Parallel branches, and an auxiliary head that only training uses."""

    def __init__(self):
        super().__init__()
        self.one, self.five = (
            nn.Conv2d(3, 4, 1),
            nn.Sequential(nn.Conv2d(3, 2, (1, 5), padding=(0, 2)), nn.Conv2d(2, 4, (5, 1), padding=(2, 0))),
        )
        self.pool, self.fc, self.aux = nn.Conv2d(3, 4, 1), nn.Linear(12, 5), nn.Linear(4, 5)

    def _forward(self, x):
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)
        return [self.one(x), self.five(x), self.pool(pooled)]

    def forward(self, x):
        x = torch.cat((x[:, 0:1] * 0.9 + 0.1, x[:, 1].unsqueeze(1) * 0.8 - 0.2, torch.unsqueeze(x[:, 2], 1)), 1)
        outputs = self._forward(x)
        aux = self.aux(outputs[0].mean((2, 3))) if self.training else None
        x = self.fc(F.max_pool2d(torch.cat(outputs, 1).relu(), 3, 2, ceil_mode=True).mean((2, 3)))
        return (x, aux) if self.training else x


@idiom(linear=True, shape=(2, 3, 8, 8))
class Siamese(nn.Module):
    """Two images in one input, one trunk, their difference."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.fc = nn.Linear(54, 4)

    def forward(self, x):
        a, b = self.trunk(x[:, 0]), self.trunk(x[:, 1])
        return self.fc(torch.abs(a - b))
