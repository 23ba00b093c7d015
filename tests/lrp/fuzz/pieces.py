"""The pieces that random networks are made of; see nets.py.

``m`` is the network in every function: parameters are read from it by name, so that a copy of it uses its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIECES: dict[str, list] = {layout: [] for layout in ("flat", "seq", "img", "vol", "tok", "any", "end")}
ALL, SPATIAL = "flat seq img vol tok", "seq img vol"


class Skip(Exception):
    """A piece does not fit here."""


def piece(layouts: str, weight: int = 1):
    """Let a function be drawn where a value has one of some layouts."""

    def enter(function):
        for layout in layouts.split():
            PIECES[layout] += [function] * weight
        return function

    return enter


def only(condition: object) -> None:
    if not condition:
        raise Skip


def copies(result: Tensor, source: Tensor) -> bool:
    """Tell whether values were only moved: then no stabilizer stands between."""
    return bool(torch.isin(result, source).logical_or(result == 0).all())


def run(name: str):
    """Return the call of a module of the network."""
    return lambda m, *xs: getattr(m, name)(*xs)


# Functions of single values ---------------------------------------------------------------------------------------

POINTWISE = [  # label, function, whether it is piecewise linear through 0
    ("torch.relu", torch.relu, True), ("x.clamp(min=0)", lambda x: x.clamp(min=0), True),
    ("torch.clamp_min", lambda x: torch.clamp_min(x, 0.0), True), ("abs", torch.abs, True),
    ("F.leaky_relu", lambda x: F.leaky_relu(x, 0.2), True), ("F.gelu", F.gelu, False), ("F.silu", F.silu, False),
    ("F.gelu tanh", lambda x: F.gelu(x, approximate="tanh"), False), ("torch.tanh", torch.tanh, False),
    ("F.elu", F.elu, False), ("F.selu", F.selu, False), ("F.celu", F.celu, False), ("F.mish", F.mish, False),
    ("F.hardswish", F.hardswish, False), ("F.relu6", F.relu6, False), ("F.softplus", F.softplus, False),
    ("F.softsign", F.softsign, False), ("F.hardtanh", F.hardtanh, False), ("F.logsigmoid", F.logsigmoid, False),
    ("x.clamp(-1, 1)", lambda x: x.clamp(-1, 1), False), ("x ** 2", lambda x: x**2, False),
    ("x.square()", lambda x: x.square(), False), ("x.pow(3)", lambda x: x.pow(3), False), ("sin", torch.sin, False),
    ("torch.exp", torch.exp, False), ("torch.sigmoid", torch.sigmoid, False),
    ("F.softshrink", lambda x: F.softshrink(x, 0.2), False), ("F.hardsigmoid", F.hardsigmoid, False),
    ("-x", lambda x: -x, True),
]  # fmt: skip
MODULES = [
    (nn.ReLU, True), (nn.LeakyReLU, True), (nn.GELU, False), (nn.SiLU, False), (nn.ELU, False), (nn.Hardswish, False),
    (nn.ReLU6, False), (nn.Hardtanh, False), (nn.Tanh, False), (nn.Mish, False), (nn.PReLU, True), (nn.Softplus, False),
    (nn.RReLU, True), (nn.Sigmoid, False),
]  # fmt: skip
IN_PLACE = [
    ("F.relu_", F.relu_, torch.relu, True), ("x.relu_()", lambda x: x.relu_(), torch.relu, True),
    ("F.relu(inplace)", lambda x: F.relu(x, inplace=True), torch.relu, True),
    ("x.clamp_(-1, 1)", lambda x: x.clamp_(-1, 1), lambda x: x.clamp(-1, 1), False),
    ("x.tanh_()", lambda x: x.tanh_(), torch.tanh, False),
    ("F.leaky_relu_", lambda x: F.leaky_relu_(x, 0.1), lambda x: F.leaky_relu(x, 0.1), True),
    ("x.abs_()", lambda x: x.abs_(), torch.abs, True), ("x.pow_(2)", lambda x: x.pow_(2), lambda x: x**2, False),
]  # fmt: skip


def pointwise(g, v, label, function, piecewise=False, **more):
    return g.step("pass", lambda m, x: function(x), v, label=label, piecewise=piecewise, **more)


@piece(ALL, 3)
def activation(g, v):
    how = g.pick("function", "module", "in place")
    if how == "in place" and g.writable(v):
        label, user, function, piecewise = g.pick(*IN_PLACE)
        return pointwise(g, v, label, function, piecewise, user=lambda m, x: user(x), inplace=True)
    if how == "module":
        kind, piecewise = g.pick(*MODULES)
        inplace = kind in (nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.ReLU6) and g.writable(v) and g.rng.random() < 0.5
        name = g.add(kind(inplace=True) if inplace else kind())
        gate = kind in (nn.Sigmoid, nn.ReLU6)
        label, function = f"nn.{kind.__name__}{' in place' * inplace}", lambda m, x: getattr(m, name)(x.clone())
        return g.step("pass", function, v, label=label, piecewise=piecewise, user=run(name), inplace=inplace,
                      names=(name,), gate=gate)  # fmt: skip
    label, function, piecewise = g.pick(*POINTWISE)
    gate = label in ("torch.sigmoid", "F.hardsigmoid", "F.relu6")
    return pointwise(g, v, label, function, piecewise, gate=gate)


@piece(ALL)
def hand_written_activation(g, v):
    how = g.pick("leaky", "relu by mask", "silu", "swish times", "maximum", "dropout")
    if how == "leaky":
        scaled = g.step("pass", lambda m, x: x * 0.1, v, label="x * 0.1", scale=True, piecewise=True)
        return g.step("move", lambda m, x, s: torch.where(x > 0, x, s), v, scaled, label="where(x > 0, x, s)")
    if how == "relu by mask":
        return g.step("move", lambda m, x: torch.where(x > 0, x, torch.zeros_like(x)), v, label="where(x > 0, x, 0)")
    if how == "maximum":
        return g.step("winner", lambda m, x: torch.maximum(x, torch.zeros_like(x)), v, label="maximum(x, 0)", type="-")
    if how == "dropout":
        name = g.add(g.pick(nn.Dropout(0.5), nn.Identity(), nn.Dropout1d(0.5)))
        only(g.values[v].dim() == 3 or not isinstance(getattr(g.net, name), nn.Dropout1d))
        return g.step("move", run(name), v, label=str(getattr(g.net, name)), view=True)
    function = g.pick(torch.sigmoid, F.hardsigmoid)
    s = pointwise(g, v, function.__name__, function, gate=True)
    return times(g, *(v, s) if how == "silu" else (s, v))


def before_bias(g, v) -> bool:
    """Tell whether a value is that of a layer whose bias an added constant would be."""
    while v and g.steps[v].kind == "move":
        v = g.steps[v].reads[0]
    return bool(v) and (g.steps[v].type == "Linear" or "bias=False" in g.steps[v].label)


def times(g, a, b):
    return g.step("mul", lambda m, x, y: x * y, a, b, label="x * y", type="Mul")


# Constants, sums, products ----------------------------------------------------------------------------------------


@piece(ALL, 2)
def with_constant(g, v):
    shape = [s if g.rng.random() < 0.6 else 1 for s in g.shape(v)]
    shape = shape[g.rng.randrange(len(shape)) :] if g.rng.random() < 0.3 else [1] * (g.rng.random() < 0.5) + shape
    if g.rng.random() < 0.25:
        number = round(g.rng.uniform(0.3, 2), 2)
        get, label = (lambda m: number), str(number)
    else:
        c = g.constant(*shape)
        get, label = (lambda m: getattr(m, c)), f"{c}{tuple(shape)}"
    inplace = g.writable(v) and g.rng.random() < 0.3
    if g.rng.random() < 0.5:
        only(not before_bias(g, v))
        how = g.pick("x + c", "c + x", "x - c", "c - x", "torch.add alpha")
        function = {
            "x + c": lambda m, x: x + get(m),
            "c + x": lambda m, x: get(m) + x,
            "x - c": lambda m, x: x - get(m),
            "c - x": lambda m, x: get(m) - x,
            "torch.add alpha": lambda m, x: torch.add(x, get(m), alpha=0.5),
        }[how]
        user = True
        if how in ("x + c", "x - c") and inplace:
            user = (lambda m, x: x.add_(get(m))) if how == "x + c" else (lambda m, x: x.sub_(get(m)))
        return g.step("fixed", function, v, label=f"{how} {label}", type="Shift", user=user, inplace=user is not True)
    how = g.pick("x * c", "c * x", "x / c")
    function = {"x * c": lambda m, x: x * get(m), "c * x": lambda m, x: get(m) * x, "x / c": lambda m, x: x / get(m)}[
        how
    ]
    user = (lambda m, x: x.mul_(get(m))) if how == "x * c" and inplace else True
    return g.step("pass", function, v, label=f"{how} {label}", scale=True, piecewise=True, user=user,
                  inplace=user is not True)  # fmt: skip


@piece(ALL, 2)
def residual(g, v):
    mine = g.shape(v)
    found = g.others(v, lambda s: len(s) == len(mine) and all(b in (a, 1) for a, b in zip(mine, s, strict=True)))
    other = g.pick(*found) if found and g.rng.random() < 0.9 else v
    how = g.pick("x + y", "x + y", "y + x", "x - y", "y - x", "alpha")
    only(other != v or how in ("x + y", "y + x", "alpha"))
    function = {"x + y": lambda m, x, y: x + y, "y + x": lambda m, x, y: y + x, "x - y": lambda m, x, y: x - y,
                "y - x": lambda m, x, y: y - x, "alpha": lambda m, x, y: torch.add(x, y, alpha=1.5)}[how]  # fmt: skip
    inplace = (
        how == "x + y" and other != v and g.writable(v) and g.memory[v] != g.memory[other] and g.rng.random() < 0.4
    )
    return g.step("fixed", function, v, other, label=how + " in place" * inplace, type="Add", inplace=inplace,
                  user=(lambda m, x, y: x.add_(y)) if inplace else True)  # fmt: skip


@piece(ALL)
def product(g, v):
    found = g.others(v, lambda s: s == g.shape(v))
    other = g.pick(*found) if found else v
    how = g.pick("gate", "gate", "half", "divide", "softmax gate", "tanh gate")
    if how == "half":
        only(not (v and g.steps[v].gated) and not (other and g.steps[other].gated))
        return times(g, v, other)
    if how == "divide":
        a = pointwise(g, other, "abs", torch.abs)
        b = g.step("fixed", lambda m, x: x + 1, a, label="x + 1", type="Shift", piecewise=False)
        return g.step("div", lambda m, x, y: x / y, v, b, label="x / y", type="Div")
    if how == "softmax gate":
        s = g.step("softmax", lambda m, x: x.softmax(-1), other, label="softmax(-1)", type="Softmax", gate=True)
        return times(g, v, s)
    only(not (v and g.steps[v].gated))
    if how == "tanh gate":
        return times(g, v, pointwise(g, other, "tanh", torch.tanh))
    s = pointwise(g, other, "sigmoid", torch.sigmoid, gate=True)
    if g.rng.random() < 0.4:
        s = g.step("pass", lambda m, x: x * 2.0, s, label="x * 2", scale=True)
    if g.writable(v) and other != v and g.memory[v] != g.memory[other] and g.rng.random() < 0.3:
        return g.step("mul", lambda m, x, y: x * y, v, s, label="x.mul_(y)", type="Mul", inplace=True,
                      user=lambda m, x, y: x.mul_(y))  # fmt: skip
    return times(g, v, s)


@piece(ALL)
def glu(g, v):
    dim = g.pick(*range(1, len(g.shape(v)) + 1))
    size = g.values[v].shape[dim]
    only(size % 2 == 0)
    a = g.step("move", lambda m, x: x.narrow(dim, 0, size // 2), v, label="first half", user=False, view=True)
    b = g.step("move", lambda m, x: x.narrow(dim, size // 2, size // 2), v, label="second half", user=False, view=True)
    only(not g.steps[a].gated)
    if g.rng.random() < 0.5:
        s = pointwise(g, b, "sigmoid", torch.sigmoid, gate=True, user=False)
        out = g.step("mul", lambda m, x, y: x * y, a, s, label=f"F.glu({dim})", type="Mul", user=False)
        g.call((out,), (v,), lambda m, x: F.glu(x, dim))
        return out
    g.call((a, b), (v,), lambda m, x: x.chunk(2, dim))
    act = g.pick(torch.sigmoid, F.gelu, F.silu)
    s = pointwise(g, b, act.__name__, act, gate=act is torch.sigmoid)
    return times(g, a, s)


# Movements --------------------------------------------------------------------------------------------------------


@piece(ALL, 2)
def movement(g, v):
    shape, dims = g.shape(v), len(g.shape(v))
    d = g.rng.randint(1, dims)
    size = shape[d - 1]
    how = g.pick("roll", "flip", "index", "slice", "step", "mask", "masked_fill", "where", "zeros", "cat zeros",
                 "repeat", "interleave", "unfold", "gather", "tril", "narrow cat", "expand", "take along",
                 "bool index")  # fmt: skip
    move = lambda f, **o: g.step("move", f, v, label=f"{how} of dim {d}", **o)  # noqa: E731
    if how == "bool index":
        only(size > 2)
        keep = g.add(torch.arange(size) % 3 > 0, "k")
        return move(lambda m, x: x[(slice(None),) * d + (getattr(m, keep),)])
    if how == "roll":
        return move(lambda m, x: torch.roll(x, 1, d))
    if how == "flip":
        return move(lambda m, x: x.flip(d))
    if how == "index":
        index = torch.randint(size, (size,))
        return move(lambda m, x: x.index_select(d, index))
    if how in ("slice", "step"):
        only(size > 2)
        cut = (slice(None),) * d + ((slice(1, None) if how == "slice" else slice(None, None, 2)),)
        return move(lambda m, x: x[cut], view=True)
    if how == "mask":
        mask = g.add(torch.rand(*shape) < 0.7, "k")
        return g.step("pass", lambda m, x: x * getattr(m, mask), v, label="x * mask", scale=True, piecewise=True)
    if how in ("masked_fill", "where"):
        mask = g.add(torch.rand(*shape) < 0.3, "k")
        if how == "where":
            return move(lambda m, x: torch.where(getattr(m, mask), torch.full_like(x, 0.5), x), piecewise=False)
        user = (lambda m, x: x.masked_fill_(getattr(m, mask), 0.0)) if g.writable(v) and g.rng.random() < 0.5 else True
        return move(lambda m, x: x.masked_fill(getattr(m, mask), 0.0), user=user, inplace=user is not True)
    if how == "zeros":  # a part overwritten in place
        only(g.writable(v) and size > 1)
        keep = torch.ones(shape, dtype=torch.float64).index_fill_(d - 1, torch.tensor([0]), 0.0)

        def user(m, x):
            x.select(d, 0).zero_()
            return x

        return move(lambda m, x: torch.where(keep > 0, x, 0.0), user=user, inplace=True)
    if how == "cat zeros":
        return move(lambda m, x: torch.cat([x, torch.ones_like(x.narrow(d, 0, 1))], d), piecewise=False)
    if how == "repeat":
        return move(lambda m, x: x.repeat(1, *[2 if k == d else 1 for k in range(1, dims + 1)]))
    if how == "interleave":
        return move(lambda m, x: x.repeat_interleave(2, d))
    if how == "unfold":
        only(size > 3)
        w = move(lambda m, x: x.unfold(d, 2, 2), view=True, layout="any")
        return g.step("fixed", lambda m, x: x.sum(-1), w, label="sum(-1)", layout=g.layouts[v])
    if how in ("gather", "take along"):
        index = torch.randint(size, (1, *shape))
        return move(lambda m, x: x.gather(d, index.expand(len(x), *shape)))
    if how == "tril":
        only(dims > 1)
        return move(lambda m, x: x.tril())
    if how == "expand":
        only(1 in shape)
        one = shape.index(1)
        result = move(lambda m, x: x.expand(-1, *[3 if k == one else -1 for k in range(dims)]), view=True)
        g.expanded.add(g.memory[result])
        return result
    only(size > 1)
    return move(lambda m, x: torch.cat([x.narrow(d, 1, size - 1), x.narrow(d, 0, 1)], d))


@piece(ALL)
def overwritten_part(g, v):
    """A copy whose part is changed in place, through a view."""
    only(g.shape(v)[0] > 1)
    k = g.rng.randint(1, g.shape(v)[0] - 1)
    a = g.step("move", lambda m, x: x[:, :k], v, label=f"x[:, :{k}]", user=False)
    b = g.step("move", lambda m, x: x[:, k:], v, label=f"x[:, {k}:]", user=False)
    how = g.pick("relu_", "mul_", "add_ of the rest", "written")
    if how == "relu_":
        a = pointwise(g, a, "relu_", torch.relu, True, user=False)
    elif how == "mul_":
        a = g.step("pass", lambda m, x: x * 0.5, a, label="mul_", scale=True, piecewise=True, user=False)
    elif how == "add_ of the rest":
        a = g.step("fixed", lambda m, x, y: x + y[:, :1], a, b, label="x + y[:, :1]", type="Add", user=False)
    else:
        a = pointwise(g, a, "tanh", torch.tanh, user=False)
    out = g.step("move", lambda m, x, y: torch.cat([x, y], 1), a, b, label="cat", user=False, layout=g.layouts[v])

    def user(m, x):
        y = x.clone() if how != "written" else torch.empty_like(x).copy_(x)
        part = y[:, :k]
        if how == "relu_":
            part.relu_()
        elif how == "mul_":
            y[:, :k] *= 0.5
        elif how == "add_ of the rest":
            part += y[:, k : k + 1]
        else:
            y[:, :k] = torch.tanh(part)
        return y

    g.call((out,), (v,), user)
    return out


@piece(ALL)
def joined(g, v):
    mine = g.shape(v)
    d = g.rng.randrange(len(mine))
    found = g.others(
        v, lambda s: len(s) == len(mine) and all(a == b for k, (a, b) in enumerate(zip(mine, s, strict=True)) if k != d)
    )
    others = g.rng.sample(found, min(len(found), g.rng.randint(1, 2))) or [v]
    return g.step("move", lambda m, *xs: torch.cat(xs, d + 1), v, *others, label=f"cat {d + 1}", layout=g.layouts[v])


@piece(ALL)
def parted(g, v):
    mine = g.shape(v)
    d = g.rng.randint(1, len(mine))
    size = mine[d - 1]
    only(size > 1)
    how = g.pick("chunk", "split", "unbind", "split sizes", "getitem")
    if how == "unbind":
        only(len(mine) > 1 and size <= 4)
        parts = [
            g.step(
                "move", lambda m, x, k=k: x.select(d, k), v, label=f"unbind {k}", user=False, view=True, layout="any"
            )
            for k in range(size)
        ]
        g.call(tuple(parts), (v,), lambda m, x: x.unbind(d))
        keep = parts if g.rng.random() < 0.5 else parts[: max(1, size - 1)]
        if len(keep) > 1 and g.rng.random() < 0.5:
            one = g.step("fixed", lambda m, x, y: x + y, keep[0], keep[1], label="x + y", type="Add", layout="any")
            keep = [one, *keep[2:]]
        return g.step("move", lambda m, *xs: torch.stack(xs, d), *keep, label="stack", layout=g.layouts[v])
    cut = -(-size // 2)
    a = g.step("move", lambda m, x: x.narrow(d, 0, cut), v, label=f"{how} first", user=False, view=True)
    b = g.step("move", lambda m, x: x.narrow(d, cut, size - cut), v, label=f"{how} second", user=False, view=True)
    users = {"chunk": lambda m, x: x.chunk(2, d), "split": lambda m, x: x.split(cut, d),
             "split sizes": lambda m, x: torch.split(x, [cut, size - cut], d),
             "getitem": lambda m, x: (x.narrow(d, 0, cut), x[(slice(None),) * d + (slice(cut, None),)])}  # fmt: skip
    g.call((a, b), (v,), users[how])
    use = g.pick("cat", "add", "maximum", "drop", "cat with relu")
    if use in ("add", "maximum"):
        only(2 * cut == size)
        if use == "add":
            return g.step("fixed", lambda m, x, y: x + y, a, b, label="x + y", type="Add")
        return g.step("winner", lambda m, x, y: torch.maximum(x, y), a, b, label="maximum", type="-")
    if use == "drop":
        return b
    if use == "cat with relu":
        a = pointwise(g, a, "relu", torch.relu, True)
    return g.step("move", lambda m, x, y: torch.cat([y, x], d), a, b, label="cat reversed", layout=g.layouts[v])


@piece(ALL)
def mixing(g, v):
    """Linear maps without weights."""
    dims = len(g.shape(v))
    d = g.rng.randint(1, dims)
    how = g.pick("cumsum", "mean keepdim", "sum keepdim", "lerp", "addcmul", "diff", "centred")
    if how == "centred":
        mean = g.step("fixed", lambda m, x: x.mean(d, keepdim=True), v, label="mean")
        return g.step("fixed", lambda m, x, y: x - y, v, mean, label="x - mean", type="Add")
    if how in ("lerp", "addcmul"):
        found = [i for i in g.others(v, lambda s: s == g.shape(v)) if not torch.equal(g.values[i], g.values[v])]
        only(found)
        c = g.constant(*g.shape(v))
        function = {
            "lerp": lambda m, x, y: torch.lerp(x, y, 0.3),
            "addcmul": lambda m, x, y: torch.addcmul(x, y, getattr(m, c)),
        }[how]
        return g.step("fixed", function, v, g.pick(*found), label=how, type="-")
    function = {"cumsum": lambda m, x: x.cumsum(d), "mean keepdim": lambda m, x: x.mean(d, keepdim=True),
                "sum keepdim": lambda m, x: x.sum(d, keepdim=True)}.get(how)  # fmt: skip
    if how == "diff":
        only(g.shape(v)[d - 1] > 2)
        n = g.shape(v)[d - 1] - 1
        return g.step("fixed", lambda m, x: x.narrow(d, 1, n) - x.narrow(d, 0, n), v, label="diff", type="Add",
                      user=lambda m, x: torch.diff(x, dim=d))  # fmt: skip
    only(g.shape(v)[d - 1] > 1)
    return g.step("fixed", function, v, label=how)
