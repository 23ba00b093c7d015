"""Random small networks in float64, each written twice: as users write it, and as a list of steps for the oracle.

A network is a chain of pieces. Each piece is a function of :class:`Builder` and a value's number that returns the
number of a new value; it adds *calls* (what the module's ``forward`` runs) and *steps* (what the oracle knows).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .pieces import PIECES, Skip

LARGEST = 160  # values per sample: the Jacobians are dense
LAYOUTS = {1: "flat", 2: "seq", 3: "img", 4: "vol"}


@dataclass
class Step:
    """One step as the oracle sees it: of which kind, the function of (net, *values), and what it reads.

    ``kind`` is one of weighted, fixed, norm, move, pass, winner, mul, matmul, div, softmax, stop and output; ``type``
    the name by which a composite finds the layer, ``linear`` the function whose Jacobian counts where that is not the
    step's own, ``average`` the pool that a max-pool may be taken for; ``gated`` says that the value comes out of a
    sigmoid or its like, and was moved, scaled or shifted at most; ``tanh`` that it would once a constant is added.
    """

    kind: str
    function: Callable
    reads: tuple[int, ...]
    label: str
    type: str = ""
    linear: Callable | None = None
    average: Callable | None = None
    piecewise: bool = False
    names: tuple[str, ...] = ()
    gated: bool = False
    tanh: bool = False


class Net(nn.Module):
    """The network as users have it: its calls, one after the other."""

    def __init__(self):
        super().__init__()
        self.calls: list[tuple[tuple[int, ...], tuple[int, ...], Callable]] = []

    def forward(self, x):
        values = {0: x}
        for outs, reads, function in self.calls:
            got = function(self, *(values[i] for i in reads))
            values.update(zip(outs, got if isinstance(got, (tuple, list)) else [got], strict=True))
        return values[max(values)]


@dataclass
class Builder:
    """A network while it is made, with all its values for a batch."""

    seed: int
    rng: random.Random
    net: Net = field(default_factory=Net)
    steps: dict[int, Step] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    layouts: dict[int, str] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)  # which values may share their memory
    expanded: set[int] = field(default_factory=set)  # memory that torch refuses to write into
    live: list[int] = field(default_factory=list)
    masked: bool = False
    plain: bool = False  # whether it is to be linear in pieces
    count: int = 0

    def pick(self, *options):
        """Return one of the options."""
        return self.rng.choice(options)

    def shape(self, v: int) -> tuple[int, ...]:
        """Return the shape of a value, without the samples."""
        return tuple(self.values[v].shape[1:])

    def add(self, module: nn.Module | Tensor, prefix: str = "m") -> str:
        """Register a module or parameter, with random values that matter, and return its name."""
        self.count += 1
        name = f"{prefix}{self.count}"
        if isinstance(module, nn.Module):
            self.net.add_module(name, randomized(module.double().eval()))
        elif module.is_floating_point() and self.rng.random() < 0.5:
            self.net.register_parameter(name, nn.Parameter(module))
        elif self.rng.random() < 0.5:
            self.net.register_buffer(name, module, persistent=self.rng.random() < 0.5)
        else:
            setattr(self.net, name, module)  # a plain tensor, as users have them
        return name

    def constant(self, *shape: int, scale: float = 1.0) -> str:
        """Register random numbers and return their name."""
        return self.add(torch.randn(*shape, dtype=torch.float64) * scale, "c")

    def step(self, kind: str, function: Callable, *reads: int, user: Callable | bool = True, layout: str = "",
             view: bool = False, inplace: bool = False, **info) -> int:  # fmt: skip
        """Add a step and, unless ``user`` is False, the call for it; return the number of its value."""
        try:
            with torch.no_grad():
                value = function(self.net, *(self.values[i].clone() for i in reads))
        except RuntimeError as error:  # torch refuses these sizes
            raise Skip from error
        if value[0].numel() > LARGEST or value[0].numel() == 0 or value.isnan().any():
            raise Skip
        if value[~value.isinf()].abs().max() > 1e4:
            raise Skip
        out = max(self.values) + 1
        gated, tanh = self.gates(kind, reads, info)
        piecewise = info.pop("piecewise", kind in ("weighted", "fixed", "move", "winner"))
        if kind == "weighted" and info["type"].startswith("Conv") and self.zero_padded(reads[0]):
            raise Skip  # it would be the convolution's own padding
        if self.plain and not piecewise and kind != "output":
            raise Skip
        self.steps[out] = Step(kind, function, reads, piecewise=piecewise, gated=gated, tanh=tanh, **info)
        self.values[out] = value
        self.layouts[out] = layout or self.layouts[reads[0]]
        if self.layouts[out] != "tok" and layout != "any":
            self.layouts[out] = LAYOUTS.get(value.dim() - 1, "any")
        self.memory[out] = self.memory[reads[0]] if view or inplace else out
        if inplace:
            self.live = [i for i in self.live if self.memory[i] != self.memory[out]]
        if user is not False:
            self.call((out,), reads, function if user is True else user)
        return out

    def zero_padded(self, v: int) -> bool:
        """Tell whether a value was padded with zeros last."""
        while v and self.steps[v].label.startswith(("Identity", "Dropout")):
            v = self.steps[v].reads[0]
        return (
            v > 0 and self.steps[v].label.startswith("F.pad") and self.steps[v].label.endswith(("constant)", "crop)"))
        )

    def gates(self, kind: str, reads: tuple[int, ...], info: dict) -> tuple[bool, bool]:
        """Tell whether a step's value is a gate, and whether it would be once a constant is added."""
        label, scale, gate = info["label"].lower(), info.pop("scale", False), info.pop("gate", False)
        tanh = kind == "pass" and "tanh" in label and not any(word in label for word in ("hard", "gelu"))
        power = kind == "pass" and label in (
            "x ** 2",
            "x.square()",
            "x.pow(3)",
            "x.pow(2)",
            "x.pow_(2)",
            "torch.clamp_min",
        )
        known = scale or power or (kind in ("move", "fixed", "mul") and "bicubic" not in label and "grid" not in label)
        source = self.steps.get(reads[0]) if kind == "div" or (known and len(set(reads)) == 1) else None
        if source:
            shifted = info.get("type") in ("Shift", "Add")
            gate, tanh = gate or source.gated or (source.tanh and shifted), tanh or source.tanh
        return gate, tanh

    def call(self, outs: tuple[int, ...], reads: tuple[int, ...], function: Callable) -> None:
        """Add a call whose steps are there."""
        self.net.calls.append((outs, reads, function))
        self.live += outs

    def writable(self, v: int) -> bool:
        """Tell whether a user may overwrite a value."""
        return self.memory[v] not in {0, *self.expanded} and 0 not in self.values[v].stride()

    def others(self, v: int, fits: Callable[[tuple[int, ...]], bool]) -> list[int]:
        """Return the values that can be read beside v."""
        return [i for i in self.live if i != v and self.layouts[i] == self.layouts[v] and fits(self.shape(i))]

    def description(self) -> str:
        """Return the steps as text, a line each."""
        lines = [f"  v0 = input {tuple(self.values[0].shape)}"]
        for out, s in self.steps.items():
            lines.append(f"  v{out} = {s.label} of {', '.join(f'v{i}' for i in s.reads)}  [{s.kind} {s.type}] "
                         f"{tuple(self.values[out].shape)} {' '.join(s.names)}")  # fmt: skip
        return "\n".join(lines)


def randomized(module: nn.Module) -> nn.Module:
    """Give weights the scale that keeps values, and biases and statistics values that matter."""
    with torch.no_grad():
        for m in module.modules():
            for name, p in m.named_parameters(recurse=False):
                if p.dim() > 1:
                    nn.init.normal_(p, std=1.5 / p[0].numel() ** 0.5)
                elif "bias" in name:
                    p.normal_(std=0.3)
                else:
                    p.uniform_(-1.5, 1.5)
            for name, b in m.named_buffers(recurse=False):
                if name == "running_mean":
                    b.normal_(std=0.5)
                elif name == "running_var":
                    b.uniform_(0.3, 2.0)
    return module


INPUTS = {
    "flat": lambda r: (r.randint(2, 8),),
    "seq": lambda r: (r.randint(1, 4), r.randint(5, 9)),
    "img": lambda r: (r.randint(1, 3), r.randint(4, 7), r.randint(4, 7)),
    "vol": lambda r: (r.randint(1, 2), r.randint(3, 4), r.randint(3, 4), 4),
    "tok": lambda r: (r.randint(2, 5), r.choice([4, 6, 8])),
}


def build(seed: int, without: frozenset[int] = frozenset(), samples: int = 2) -> Builder:
    """Return the network of a seed, less some of its pieces, and its values for random samples."""
    rng = random.Random(f"{seed}")
    torch.manual_seed(seed)
    g = Builder(seed, rng, plain=rng.random() < 0.35)
    layout = rng.choice(["flat", "seq", "img", "img", "vol", "tok", "tok"])
    x = torch.randn(samples, *INPUTS[layout](rng), dtype=torch.float64)
    g.values[0] = x.abs() if rng.random() < 0.3 else x
    g.layouts[0], g.memory[0], g.live = layout, 0, [0]
    v = 0
    pieces = rng.randint(2, 9)
    for k in range(pieces + 1):
        if k in without and k < pieces:
            continue
        g.rng = random.Random(f"{seed} {k}")
        for attempt in range(20):
            torch.manual_seed(hash((seed, k, attempt)) % 2**31)
            suited = sorted(PIECES["end" if k == pieces else g.layouts[v]], key=lambda f: f.__name__)
            before = (
                dict(g.steps),
                dict(g.values),
                dict(g.layouts),
                dict(g.memory),
                list(g.live),
                list(g.net.calls),
                g.masked,
            )
            try:
                v = g.rng.choice(suited)(g, v)
                break
            except Skip:
                g.steps, g.values, g.layouts, g.memory, g.live, g.net.calls, g.masked = before
        else:
            if k == pieces:
                raise Skip
    g.net.eval()
    return g
