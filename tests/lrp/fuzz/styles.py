"""Pieces in other styles: samples not first, samples times time, stacked branches, constants made on the way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .pieces import ALL, SPATIAL, before_bias, copies, only, piece, pointwise, run, times


@piece("tok", 2)
def sequence_first(g, v):
    """Values of shape (T, N, C), as transformers had them."""
    t, width = g.shape(v)
    how = g.pick("linear", "norm", "softmax", "mean", "flip", "cumsum", "linear and token")
    turned = lambda f: lambda m, x: f(m, x.transpose(0, 1)).transpose(0, 1)  # noqa: E731
    if how.startswith("linear"):
        name = g.add(nn.Linear(width, 4))
        out = g.step("weighted", run(name), v, label="nn.Linear on (T, N, C)", type="Linear", user=False, names=())
        if how == "linear":
            g.call((out,), (v,), turned(run(name)))
            return out
        one = g.step("move", lambda m, x: x[:, :1], out, label="first token", user=False)
        result = g.step("fixed", lambda m, x, y: x + y, out, one, label="x + x[:1]", type="Add", user=False)

        def user(m, x):
            y = run(name)(m, x.transpose(0, 1))
            return (y + y[:1]).transpose(0, 1)

        g.call((result,), (v,), user)
        return result
    if how == "norm":
        only(g.values[v].std(-1, unbiased=False).min() > 1e-3)
        name = g.add(nn.LayerNorm(width))

        def linear(m, x):
            y = x - x.mean(-1, keepdim=True)
            return y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt().detach() * getattr(m, name).weight

        return g.step("norm", run(name), v, linear=linear, label="nn.LayerNorm on (T, N, C)", type="LayerNorm",
                      user=turned(run(name)))  # fmt: skip
    if how == "softmax":
        only(t > 1 and not (v and g.steps[v].gated))
        s = g.step(
            "softmax", lambda m, x: x.softmax(1), v, label="softmax over tokens", type="Softmax", gate=True, user=False
        )
        out = g.step("mul", lambda m, x, y: x * y, v, s, label="x * s", type="Mul", user=False)
        g.call((out,), (v,), turned(lambda m, x: x * x.softmax(0)))
        return out
    if how == "mean":
        only(t > 1)
        user = lambda m, x: x.permute(1, 0, 2).mean(0)  # noqa: E731
        return g.step("fixed", lambda m, x: x.mean(1), v, label="mean(0) of (T, N, C)", user=user, layout="flat")
    if how == "flip":
        return g.step(
            "move", lambda m, x: x.flip(1), v, label="flip(0) of (T, N, C)", user=turned(lambda m, x: x.flip(0))
        )
    only(t > 1)
    return g.step(
        "fixed", lambda m, x: x.cumsum(1), v, label="cumsum(0) of (T, N, C)", user=turned(lambda m, x: x.cumsum(0))
    )


@piece("tok", 2)
def time_distributed(g, v):
    """A layer for the tokens of all samples at once, (N * T, C), with a BatchNorm that merges there."""
    t, width = g.shape(v)
    name, bn = g.add(nn.Linear(width, 4)), g.add(nn.BatchNorm1d(4))
    norm, act = g.rng.random() < 0.6, g.rng.random() < 0.5

    def layer(m, x):
        y = getattr(m, name)(x.reshape(-1, width))
        return (getattr(m, bn)(y) if norm else y).view(len(x), t, 4)

    label = "nn.Linear" + " + BatchNorm1d" * norm + " on (N * T, C)"
    out = g.step("weighted", layer, v, label=label, type="Linear", user=False)
    if act:
        out = pointwise(g, out, "relu", torch.relu, True, user=False)
    g.call((out,), (v,), lambda m, x: torch.relu(layer(m, x)) if act else layer(m, x))
    return out


@piece("vol")
def frames(g, v):
    """A convolution of the slices of a volume, as of the frames of a video."""
    width = g.shape(v)[0]
    name = g.add(nn.Conv2d(width, 2, 3, padding=1))

    def layer(m, x):
        n, c, d, h, w = x.shape
        return getattr(m, name)(x.transpose(1, 2).reshape(n * d, c, h, w)).view(n, d, 2, h, w).transpose(1, 2)

    return g.step("weighted", layer, v, label="nn.Conv2d of each slice", type="Conv2d")


@piece(ALL)
def stacked(g, v):
    """Branches stacked along a new first dimension, or summed as a list."""
    mine = g.shape(v)
    others = g.others(v, lambda s: s == mine)[:2]
    only(others)
    values = [v, *others]
    how = g.pick("sum", "mean", "amax", "python sum", "stack(1)")
    if how == "python sum":
        out = g.step("fixed", lambda m, x: x + 0, v, label="0 + x", type="Shift", user=False)
        only(not before_bias(g, v))
        for i in others:
            out = g.step("fixed", lambda m, x, y: x + y, out, i, label="x + y", type="Add", user=False)
        g.call((out,), tuple(values), lambda m, *xs: sum(xs))
        return out
    if how == "amax":
        return g.step("winner", lambda m, *xs: torch.stack(xs).amax(0), *values, label="stack.amax(0)", type="-")
    first = 0 if how != "stack(1)" else 1
    s = g.step("move", lambda m, *xs: torch.stack(xs, 1), *values, label="stack", user=False, layout="any")
    f = (lambda m, x: x.mean(1)) if how == "mean" else (lambda m, x: x.sum(1))
    out = g.step("fixed", f, s, label=f"stack({first}).{how}", user=False, layout=g.layouts[v])
    end = torch.mean if how == "mean" else torch.sum
    g.call((out,), tuple(values), lambda m, *xs: end(torch.stack(xs, first), first))
    return out


@piece(SPATIAL)
def coordinates(g, v):
    """Constants made in the forward, by the input's size."""
    last = g.shape(v)[-1]
    how = g.pick("cat", "add", "multiply")
    row = lambda x: torch.linspace(-1, 1, last, dtype=x.dtype, device=x.device)  # noqa: E731
    if how == "cat":
        f = lambda m, x: torch.cat([x, row(x).expand(len(x), 1, *x.shape[2:])], 1)  # noqa: E731
        return g.step("move", f, v, label="cat of coordinates", piecewise=False)
    if how == "add":
        return g.step("fixed", lambda m, x: x + row(x), v, label="x + coordinates", type="Shift")
    window = lambda m, x: x * torch.ones_like(x[:1, :1]) * (row(x) + 1.5)  # noqa: E731
    return g.step("pass", window, v, label="x * window", scale=True, piecewise=True)


@piece(SPATIAL)
def response_norm(g, v):
    only(g.shape(v)[0] > 1)
    s = g.step("stop", lambda m, x: x / F.local_response_norm(x, 2, 0.5), v, label="its divisor", user=False)
    out = g.step("div", lambda m, x, y: x / y, v, s, label="F.local_response_norm", type="Div", user=False)
    g.call((out,), (v,), lambda m, x: F.local_response_norm(x, 2, 0.5))
    return out


@piece("tok")
def attention_pooling(g, v):
    t, width = g.shape(v)
    only(t > 1 and not (v and g.steps[v].gated))
    name = g.add(nn.Linear(width, 1))
    s = g.step("weighted", run(name), v, label="nn.Linear score", type="Linear", names=(name,))
    s = g.step("softmax", lambda m, x: x.softmax(1), s, label="softmax(1)", type="Softmax", gate=True)
    if g.rng.random() < 0.5:
        y = times(g, v, s)
        return g.step("fixed", lambda m, x: x.sum(1), y, label="sum(1)", layout="flat")
    s = g.step("move", lambda m, x: x.transpose(1, 2), s, label="transpose")
    y = g.step("matmul", lambda m, x, y: x @ y, s, v, label="s @ x", type="MatMul")
    return g.step("move", lambda m, x: x.squeeze(1), y, label="squeeze(1)", layout="flat")


@piece("tok")
def gram(g, v):
    turned = g.step("move", lambda m, x: x.transpose(1, 2), v, label="transpose")
    return g.step("matmul", lambda m, x, y: x @ y, v, turned, label="x @ xT", type="MatMul")


@piece("img")
def sampled(g, v):
    """A constant grid."""
    grid = g.add(torch.rand(1, 3, 4, 2, dtype=torch.float64) * 2 - 1, "c")
    corners = g.rng.random() < 0.5
    f = lambda m, x: F.grid_sample(x, getattr(m, grid).expand(len(x), -1, -1, -1), align_corners=corners)  # noqa: E731
    only(not copies(f(g.net, g.values[v]), g.values[v]))
    return g.step("fixed", f, v, label="F.grid_sample")


@piece(ALL)
def largest(g, v):
    d = g.rng.randint(1, len(g.shape(v)))
    only(g.shape(v)[d - 1] > 2)
    top = g.step("winner", lambda m, x: x.topk(2, d)[0], v, label=f"topk(2, {d})[0]", type="-")
    return g.step("fixed", lambda m, x: x.mean(d, keepdim=True), top, label="mean")


@piece(ALL)
def made_in_forward(g, v):
    kind, piecewise = g.pick((nn.ReLU, True), (nn.GELU, False), (nn.Flatten, True), (nn.Softplus, False))
    if kind is nn.Flatten:
        only(len(g.shape(v)) > 1)
        return g.step("move", lambda m, x: nn.Flatten()(x), v, label="nn.Flatten() in forward", layout="flat")
    return pointwise(g, v, f"nn.{kind.__name__}() in forward", lambda x: kind()(x), piecewise)


@piece(ALL)
def written_gelu(g, v):
    how = g.pick("gelu", "hardswish", "mish")
    only(not (v and g.steps[v].gated))
    if how == "gelu":
        half = g.step("pass", lambda m, x: 0.5 * x, v, label="0.5 * x", scale=True)
        e = pointwise(g, v, "erf", lambda x: torch.erf(x / 2**0.5), gate=True)
        e = g.step("fixed", lambda m, x: 1 + x, e, label="1 + x", type="Shift")
        return times(g, half, e)
    if how == "mish":
        return times(g, v, pointwise(g, v, "tanh(softplus)", lambda x: torch.tanh(F.softplus(x))))
    only(not before_bias(g, v))
    s = g.step("fixed", lambda m, x: x + 3, v, label="x + 3", type="Shift")
    s = pointwise(g, s, "F.relu6", F.relu6, gate=True)
    s = g.step("pass", lambda m, x: x / 6, s, label="x / 6", scale=True)
    return times(g, v, s)
