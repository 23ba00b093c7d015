"""Networks whose weights are computed, and networks of which a part, or all, is scripted, compiled or wrapped."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from .registry import idiom
from .state import PLAIN, Plain


class Folded(nn.Module):
    """Two convolutions and a dense layer, to be reparametrized."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=2), nn.Linear(6, 5)

    def forward(self, x):
        return self.fc(self.b(self.a(x).relu()).relu().amax((2, 3)))

    @torch.no_grad()
    def take(self, net):
        for name, layer in self.named_children():
            found = getattr(net, name)
            layer.weight, layer.bias = nn.Parameter(found.weight.clone()), nn.Parameter(found.bias.clone())


def reparametrized(change):
    """Return a builder of the network whose layers were changed one by one."""

    def make():
        net = Folded()
        for layer in (net.a, net.b, net.fc):
            change(layer)
        return net

    return make


class Centred(nn.Module):
    """A parametrization of a user's own."""

    def forward(self, weight):
        return weight - weight.mean(0, keepdim=True)


def pruned(layer):
    prune.l1_unstructured(layer, "weight", 0.3)


def pruned_twice(layer):
    prune.random_unstructured(layer, "bias", amount=1)
    prune.ln_structured(layer, "weight", 0.2, 2, 0)
    prune.l1_unstructured(layer, "weight", 0.3)


for key, change in {
    "WeightNorm": parametrizations.weight_norm,
    "SpectralNorm": parametrizations.spectral_norm,
    "Orthogonal": parametrizations.orthogonal,
    "OldWeightNorm": nn.utils.weight_norm,
    "OldSpectralNorm": nn.utils.spectral_norm,
    "Pruned": pruned,
    "PrunedTwice": pruned_twice,
    "OwnParametrization": lambda layer: parametrize.register_parametrization(layer, "weight", Centred()),
}.items():
    idiom(key, linear=True, same=Folded)(reparametrized(change))


@idiom(**PLAIN)
class Scripted(Plain):
    """Holds a part that was scripted."""

    def __init__(self):
        super().__init__()
        self.tail = torch.jit.script(nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))

    def forward(self, x):
        x = self.trunk(x)
        return self.fc(self.tail(x + self.bn2(self.conv2(x))))


class Stem(nn.Module):
    """A convolution and a BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 5)

    def stem(self, x):
        return F.max_pool2d(self.bn(self.conv(x)).relu(), x.size(2) - 2)

    def forward(self, x):
        return self.fc(self.stem(x).flatten(1))


def pool(x: torch.Tensor) -> torch.Tensor:
    if x.size(2) > 3:
        x = F.max_pool2d(x, 2)
    return x.flatten(1)


class ScriptedParts(nn.Module):
    """A scripted convolution with a BatchNorm, a traced one, and a scripted function."""

    def __init__(self, script=torch.jit.script, trace=torch.jit.trace):
        super().__init__()
        make = lambda width: nn.Sequential(nn.Conv2d(width, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())  # noqa: E731
        self.first, self.second = script(make(3)), trace(make(6).eval(), torch.rand(1, 6, 8, 8))
        self.pool, self.fc = script(pool), nn.Linear(6 * 16, 5)

    def forward(self, x):
        return self.fc(self.pool(self.second(self.first(x))))


idiom("ScriptedParts", linear=True, same=lambda: ScriptedParts(lambda part: part, lambda part, x: part))(ScriptedParts)


@idiom(linear=True, same=Stem)
def ScriptedAsAWhole():
    return torch.jit.script(Stem())


@idiom(**PLAIN)
def Parallel():
    return nn.DataParallel(Plain())


@idiom(**PLAIN, long=True)
def Compiled():
    return torch.compile(Plain(), backend="eager")


@idiom(**PLAIN, long=True)
class CompiledPart(Plain):
    """A part was compiled."""

    def __init__(self):
        super().__init__()
        self.conv2 = torch.compile(self.conv2, backend="eager")
