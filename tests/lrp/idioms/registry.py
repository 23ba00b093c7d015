"""The list of idioms, and how one is written down."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..verdict import randomised

IDIOMS: dict[str, "Idiom"] = {}
IMAGE = (3, 8, 8)


@dataclass(frozen=True)
class Idiom:
    """A way to write a network.

    Attributes
    ----------
    make
        Builds the network.
    shape
        Of one sample.
    linear
        The network is piecewise linear: LRP-0 is gradient times input.
    same
        Builds the same function of the same parameters, by names, or in their order, or as its method ``take`` takes
        them from the network, written in another way: every map is the same.
    refused
        Pattern of the sentence by which it is refused; "" if it may be refused or explained, but not wrongly.
    near
        How near, relatively: where it is written in more steps, each has a stabilizer.
    output
        How far, relatively, the output may be from the network's own, which may compute with fewer digits.
    long
        It takes long.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = IMAGE
    linear: bool = False
    same: Callable[[], nn.Module] | None = None
    refused: str | None = None
    near: float = 1e-10
    output: float = 1e-12
    long: bool = False

    def build(self):
        """Return the network in float32, with values that matter everywhere, and an input in float64."""
        torch.manual_seed(0)
        net = self.make()
        draw = torch.Generator().manual_seed(3)
        x = torch.randn(4, *self.shape, generator=draw, dtype=torch.float64)
        return randomised(net, x.float()), x


def idiom(name=None, **options):
    """Put a class, or a function that returns a network, on the list."""

    def enlist(make):
        key = name or make.__name__
        assert key not in IDIOMS, key
        IDIOMS[key] = Idiom(make, **options)
        return make

    return enlist


class Written(nn.Module):
    """A convolution, what is written between, and a dense layer on whatever comes out of that."""

    def __init__(self, middle, shape=IMAGE, width=6, **parts):
        super().__init__()
        kinds = {1: nn.Linear, 2: nn.Conv1d, 3: nn.Conv2d, 4: nn.Conv3d}
        options = {} if len(shape) == 1 else {"kernel_size": 3, "padding": 1}
        self.stem, self.middle = kinds[len(shape)](shape[0], width, **options), middle
        for key, part in parts.items():
            setattr(self, key, part)
        training = self.training
        with torch.no_grad():
            found = self.eval().features(torch.randn(2, *shape))
        self.train(training)
        self.head = nn.Linear(found.flatten(1).shape[1], 5)

    def features(self, x):
        return self.middle(self, self.stem(x).relu())

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


def written(name, middle, same=None, parts=None, **options):
    """Put a network on the list whose middle is a function of itself and of values (N, 6, ...) that are >= 0."""
    build = lambda how: lambda: Written(how, options.get("shape", IMAGE), **(parts() if parts else {}))  # noqa: E731
    idiom(name, same=build(same) if same else None, **options)(build(middle))


def live_state(net):
    """Return all that explaining must leave alone: tensors, and every other attribute of every module."""
    state = {}
    for path, module in net.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                state[path, key] = value.clone()
            elif isinstance(value, dict):
                state[path, key] = [(k, v.clone() if isinstance(v, torch.Tensor) else id(v)) for k, v in value.items()]
            elif isinstance(value, list):
                state[path, key] = [id(v) for v in value]
            else:
                state[path, key] = value if isinstance(value, int | float | str | None) else id(value)
    return state


def unlike(before, after):
    """Return which attributes differ."""
    same = lambda a, b: torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b  # noqa: E731

    def equal(a, b):
        if isinstance(a, list) and isinstance(b, list):
            flat = lambda items: [v for i in items for v in (i if isinstance(i, tuple) else (i,))]  # noqa: E731
            return len(a) == len(b) and all(map(same, flat(a), flat(b)))
        return same(a, b)

    return sorted(str(k) for k in before.keys() | after.keys() if not equal(before.get(k), after.get(k)))
