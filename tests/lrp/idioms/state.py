"""Networks that hold, count, share, wrap and compute things: what a network is besides its forward."""

import logging
import threading
import types
import weakref
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from .registry import idiom


class Plain(nn.Module):
    """The network that most of these are, with something else besides."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 5)

    def trunk(self, x):
        return F.relu(self.bn1(self.conv1(x)))

    def block(self, x):
        return F.relu(x + self.bn2(self.conv2(x)))

    def forward(self, x):
        return self.fc(self.block(self.trunk(x)).mean((2, 3)))


PLAIN = {"linear": True, "same": Plain}


@idiom(**PLAIN)
class HoldsWhatCannotBeCopied(Plain):
    """A lock, a generator, lambdas, a tensor of a graph, a logger, a weak reference, a thread."""

    def __init__(self):
        super().__init__()
        self.lock, self.stream = threading.Lock(), (k for k in range(3))
        self.last = self.fc.weight * 2
        self.log, self.act = logging.getLogger(__name__), lambda x: F.relu(x)
        self.parent = [weakref.ref(self)]
        self.thread = threading.Thread(target=print)
        self.generator = torch.Generator()

    def forward(self, x):
        with self.lock:
            x = self.act(self.bn1(self.conv1(x)))
        return self.fc(self.block(x).mean((2, 3)))


class Trainer:
    """Knows the network that it trains."""

    def __init__(self, net):
        self.net, self.lock, self.logged = net, threading.Lock(), {}


@idiom(**PLAIN)
class LikeALightningModule(Plain):
    """A reference to its trainer, which refers back; logs within the forward."""

    def __init__(self):
        super().__init__()
        self.__dict__["trainer"] = Trainer(self)
        self.loss, self.steps, self.outputs = nn.CrossEntropyLoss(), 0, []

    @property
    def step(self):
        return self.steps

    def log(self, name, value):
        self.trainer.logged[name] = value

    def forward(self, x):
        self.log("step", self.step)
        return super().forward(x)

    def training_step(self, batch):
        return self.loss(self(batch[0]), batch[1])


@idiom(**PLAIN)
class CountsAndRemembers(Plain):
    """Writes attributes, lists and buffers in its forward."""

    def __init__(self):
        super().__init__()
        self.calls, self.features, self.shapes = 0, None, []
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        self.calls += 1
        self.seen += len(x)
        x = self.trunk(x)
        self.features = x
        self.shapes.append(x.shape)
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean((0, 2, 3)))
        self.last = x = self.block(x)
        return self.fc(x.mean((2, 3)))


@idiom(linear=True)
class TensorsAsAttributes(nn.Module):
    """Constants that are neither parameters nor buffers, made early or late."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)
        self.mean, self.scales = torch.tensor([0.4, 0.5, 0.6]), [0.2, torch.tensor(0.3)]
        self.mask = None

    def forward(self, x):
        x = (x - self.mean.to(x).view(1, 3, 1, 1)) / self.scales[0] * self.scales[1].to(x.dtype)
        if self.mask is None:
            self.mask = (torch.arange(6) % 3 != 0).to(x)
        return self.fc(self.conv(x).relu().amax((2, 3)) * self.mask.to(x))


@idiom(**PLAIN)
def SyncBatchNorm():
    return nn.SyncBatchNorm.convert_sync_batchnorm(Plain())


class Frozen(nn.Module):
    """The FrozenBatchNorm2d of detection networks, by hand."""

    def __init__(self, width):
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(width, generator=draw) + 0.2)

    def forward(self, x):
        scale = self.weight.reshape(1, -1, 1, 1) * (self.running_var.reshape(1, -1, 1, 1) + 1e-5).rsqrt()
        return x * scale + (self.bias.reshape(1, -1, 1, 1) - self.running_mean.reshape(1, -1, 1, 1) * scale)


@idiom(linear=True)
class FrozenBatchNorm(Plain):
    """Written by hand, and torchvision's."""

    def __init__(self):
        super().__init__()
        from torchvision.ops import FrozenBatchNorm2d

        self.bn1, self.bn2 = Frozen(6), FrozenBatchNorm2d(6)
        self.bn2.running_var.mul_(2), self.bn2.bias.add_(0.3)


@idiom(same=Plain)
class Checkpointed(Plain):
    """Saves memory in training, in both ways."""

    def forward(self, x):
        x = checkpoint(self.trunk, x, use_reentrant=True)
        x = checkpoint(self.block, x, use_reentrant=False)
        return self.fc(x.mean((2, 3)))


class Normalising(Plain):
    """Normalises its input by buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.48, 0.45, 0.4]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.22, 0.23, 0.24]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x):
        return super().forward((x - self.mean) / self.std)


idiom(linear=True)(Normalising)


@idiom(linear=True)
class NormalisingByTransforms(Plain):
    """By torchvision's transforms of both generations, one of them a module in a Sequential."""

    def __init__(self):
        super().__init__()
        from torchvision import transforms
        from torchvision.transforms import v2

        self.old = nn.Sequential(transforms.Normalize([0.48, 0.45, 0.4], [0.22, 0.23, 0.24]))
        self.new = v2.Normalize([0.1] * 3, [0.9] * 3)

    def forward(self, x):
        return super().forward(self.new(self.old(x)))


@idiom(linear=True)
class UsedTwice(nn.Module):
    """Modules called more than once, under two names, and with tied weights."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.relu = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(inplace=True)
        self.again, self.fc, self.out = self.conv, nn.Linear(6, 6), nn.Linear(6, 6)
        self.out.weight = self.fc.weight

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(self.conv(x)) + self.relu(self.again(x.flip(2)))
        x = self.relu(self.fc(x.mean((2, 3))))
        return self.out(self.relu(self.fc(x)))


@idiom(linear=True)
class NestedContainers(nn.Module):
    """Lists within dictionaries within lists, a list of parameters, lambdas, strings that choose."""

    def __init__(self, layout=("conv", "pool", "conv")):
        super().__init__()
        self.layout, parts = layout, lambda k: {"conv": nn.Conv2d(3 if k == 0 else 6, 6, 3), "pool": nn.MaxPool2d(2)}
        self.blocks = nn.ModuleList(nn.ModuleDict({key: parts(k)[key]}) for k, key in enumerate(layout))
        self.heads = nn.ModuleDict({"a": nn.ModuleList([nn.Linear(6, 5), nn.Sequential(nn.ReLU(), nn.Linear(6, 5))])})
        self.scales = nn.ParameterList([torch.ones(6), torch.ones(6)])
        self.steps = [lambda x: x.relu(), lambda x: x]

    def forward(self, x):
        for k, block in enumerate(self.blocks):
            for key, module in block.items():
                x = self.steps[k % 2](module(x)) if key == self.layout[k] else x
        x = x.amax((-1, -2)).relu()
        return sum(head(x * scale) for head, scale in zip(self.heads["a"], self.scales, strict=True))


class Closure(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs, **options):
        return self.function(*inputs, **options)


@idiom(linear=True)
def ClosuresInAList():
    skip = {}
    keep = Closure(lambda x: skip.setdefault("x", x) if not skip else skip.__setitem__("x", x) or x)
    parts = [nn.Conv2d(3, 6, 3), nn.ReLU(), keep, nn.Conv2d(6, 6, 3, padding=1), Closure(lambda x: x + skip["x"])]
    return nn.Sequential(*parts, nn.ReLU(), Closure(lambda x, dim=(2, 3): x.mean(dim)), nn.Linear(6, 5))


@idiom(**PLAIN)
def ForwardOfTheInstance():
    net = Plain()

    def forward(self, x, scale=1.0, **options):
        x = self.trunk(x * scale)
        return self.fc(self.block(x).mean((2, 3)))

    net.forward = types.MethodType(forward, net)
    net.bn1.forward = lambda x, bn=net.bn1: F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias)
    return net


@idiom(same=Plain)
class WithoutGradient(Plain):
    """Frozen parts, in each of the ways to freeze."""

    def forward(self, x):
        with torch.no_grad():
            x = self.trunk(x)
        with torch.set_grad_enabled(False):
            x = self.block(x).detach()
        return self.fc(x.mean((2, 3)).data)


@idiom(same=Plain)
class WithinInference(Plain):
    """A part in inference mode."""

    def forward(self, x):
        with torch.inference_mode():
            x = self.trunk(x)
        return self.fc(self.block(x.clone()).mean((2, 3)))


@idiom(**PLAIN)
class MixedPrecision(Plain):
    """Autocast within, and switched off within that; of no effect on float64."""

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.trunk(x)
            with torch.autocast("cpu", enabled=False):
                x = self.block(x.to(self.conv2.weight.dtype))
        return self.fc(x.mean((2, 3)))


@idiom(output=1e-2)
class Halved(Plain):
    """Casts between precisions."""

    def forward(self, x):
        x = self.trunk(x).half().float().to(self.fc.weight)
        return self.fc(self.block(x.bfloat16().type_as(x)).mean((2, 3)))


@idiom(same=Plain, output=torch.inf)
def HooksThatAct():
    """Hooks that change inputs and outputs; they are no part of what is explained."""
    net = Plain()
    net.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0.5 + 0.1,))
    net.bn1.register_forward_hook(lambda module, inputs, output: output + inputs[0])
    return net


@idiom(**PLAIN)
def HooksThatWatch():
    """Hooks that keep activations, as feature extractors do."""
    net, kept = Plain(), {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda m, i, o, name=name: kept.__setitem__(name, o.detach()))
        module.register_full_backward_hook(lambda m, i, o: None)
    return net


@idiom(**PLAIN)
class CallsItself(Plain):
    """Calls forward by its name, the parent's, and modules within methods with options and dictionaries."""

    def forward(self, x, *, features=False, mask=None):
        if not features:
            return self.classify(**{"found": self.forward(x, features=True)})
        return OrderedDict(out=self.block(self.conv_norm(x, norm=self.bn1)))

    def conv_norm(self, x, norm):
        return norm.__call__(self.conv1.forward(x)).relu()

    def classify(self, found):
        assert isinstance(found, OrderedDict)
        return self.fc(found["out"].mean((2, 3)))


@idiom(**PLAIN)
class Branches(Plain):
    """Asks for its mode, for gradients, for scripting, for a device, and tries."""

    def forward(self, x):
        if self.training or torch.jit.is_scripting() or torch.jit.is_tracing() or x.is_cuda:
            raise RuntimeError("not here")
        if torch.is_grad_enabled() and x.requires_grad:
            x = x * 1
        try:
            x = self.trunk(x)
        except NotImplementedError:
            return None
        x = self.block(x)
        if isinstance(x, torch.Tensor) and x.dtype.is_floating_point and torch.is_tensor(x):
            x = x.mean((2, 3))
        return self.fc(x)


@idiom(linear=True)
def LazyModules():
    net = nn.Sequential(nn.LazyConv2d(6, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    net(torch.rand(2, 3, 8, 8))
    return net


@idiom(linear=True, shape=(7,))
class OneOutput(nn.Module):
    """One value per sample."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(7, 9), nn.Linear(9, 1)

    def forward(self, x):
        return self.b(self.a(x).relu()).squeeze(-1)


@idiom(linear=True, shape=(7,))
def OneColumn():
    return nn.Sequential(nn.Linear(7, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 1))


@idiom(linear=True)
def Dense():
    """An output per pixel, as for segmentation."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.Upsample(scale_factor=2)
    )
