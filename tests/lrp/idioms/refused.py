"""What no capture can be right about: a forward that looks at values, several outputs, randomness in eval mode."""

import inspect

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .registry import Written, idiom, written


def here(function):
    """Return a pattern of the place in this file that a function marks by a comment `# here`."""
    lines, first = inspect.getsourcelines(function)
    line = first + next(k for k, text in enumerate(lines) if "# here" in text)
    return rf"refused\.py\D+{line}\b"


def looks(name):
    """Put a network on the list whose middle looks at values in the line marked."""

    def enlist(middle):
        # In the first forward nothing is seen: the dense layer's width must be known.
        idiom(name, refused=here(middle))(lambda: Written(middle))
        return middle

    return enlist


@looks("IfOfASum")
def if_of_a_sum(net, x):
    if x.sum() > 0:  # here
        return x * 2
    return x


@looks("WhileOfAMaximum")
def while_of_a_maximum(net, x):
    while bool((x.amax() > 1e6).any()):  # here
        x = x / 2
    return x


@looks("ItemOfAMean")
def item_of_a_mean(net, x):
    scale = x.mean().item()  # here
    return x * scale


@looks("FloatOfAValue")
def float_of_a_value(net, x):
    return x / max(1.0, float(x.abs().max()))  # here


@looks("ThroughNumpy")
def through_numpy(net, x):
    values = x.detach().numpy()  # here
    return x + torch.from_numpy(values.copy())


@looks("MaximumOfNumpy")
def maximum_of_numpy(net, x):
    largest = np.asarray(x.data).max()  # here
    return x / float(largest)


@looks("AsAList")
def as_a_list(net, x):
    k = x.flatten(1).argmax(1).tolist()  # here
    return x[:, :1] + sum(k)


@looks("Selected")
def selected(net, x):
    positive = x[x > 0.1]  # here
    return x + positive.mean()


@looks("Assertion")
def assertion(net, x):
    assert torch.isfinite(x).all(), "not finite"  # here
    return x


@looks("AssertionByTorch")
def assertion_by_torch(net, x):
    torch._assert(x.min() >= -1, "negative")  # here
    return x


# Dropout is the identity, also where a function is told to train.
written("RandomInEval", lambda net, x: F.dropout(x, 0.5, True), output=torch.inf)
written("NoiseInEval", lambda net, x: x + 0.1 * torch.randn_like(x), refused="")
written("OverSamples", lambda net, x: x - x.mean(0), refused="")
written("SoftmaxOverSamples", lambda net, x: x * x.softmax(0), refused="")


class Two(nn.Module):
    """Several outputs."""

    def __init__(self, kind):
        super().__init__()
        self.conv, self.fc, self.kind = nn.Conv2d(3, 6, 3), nn.Linear(6, 5), kind

    def forward(self, x):
        features = self.conv(x).relu().mean((2, 3))
        scores = self.fc(features)
        return {"dict": {"out": scores, "features": features}, "tuple": (scores, features), "none": None}[self.kind]


for kind in ("dict", "tuple", "none"):
    idiom(f"Returns-{kind}", refused="output|return")(lambda kind=kind: Two(kind))


class WithMask(nn.Module):
    """Needs another input."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 5)

    def forward(self, x, mask):
        return self.fc(x * mask)


idiom("NeedsAnotherInput", shape=(6,), refused="input|argument|mask")(WithMask)
idiom("FailsForTheShape", shape=(6,), refused="shape")(
    lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(5, 3))
)
idiom("Uninitialised", shape=(6,), refused="no weight yet|initiali")(lambda: nn.Sequential(nn.LazyLinear(4), nn.ReLU()))
idiom("Empty", shape=(6,), refused="")(nn.Sequential)
