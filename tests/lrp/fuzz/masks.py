"""Pieces in which one value is read twice: by its own mask, beside a convolution that pads it, as a bias."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .pieces import ALL, only, piece, pointwise


@piece(ALL)
def mask_of_values(g, v):
    """A comparison takes no relevance; what it makes is a constant."""
    how = g.pick("x * (x > 0)", "x - (y > 0)", "(y > 0) - x", "where(y > 0, x, 0)")
    if how == "x * (x > 0)":
        return g.step("pass", lambda m, x: x * (x > 0).to(x), v, label=how, scale=True, piecewise=True)
    found = g.others(v, lambda s: s == g.shape(v))
    only(found)
    other = g.pick(*found)
    if how == "where(y > 0, x, 0)":
        return g.step("move", lambda m, x, y: torch.where(y > 0, x, 0.0), v, other, label=how, piecewise=False)
    function = {"x - (y > 0)": lambda m, x, y: x - (y > 0).to(x), "(y > 0) - x": lambda m, x, y: (y > 0).to(x) - x}[how]
    return g.step("fixed", function, v, other, label=how, type="-", piecewise=False)


@piece("img", 2)
def branches(g, v):
    """A ReLU and a convolution that pads by itself read the same value, in either order."""
    channels = g.shape(v)[0]
    how = g.pick("circular", "reflect", "replicate")
    only(min(g.shape(v)[1:]) > 1)
    name = g.add(nn.Conv2d(channels, channels, 3, padding=1, padding_mode=how))
    first = pointwise(g, v, "torch.relu", torch.relu, True) if g.rng.random() < 0.5 else None
    padded = g.step("move", lambda m, x: F.pad(x, (1, 1, 1, 1), how), v, label=f"its {how} padding", user=False)
    bare = lambda m, x: F.conv2d(x, getattr(m, name).weight, getattr(m, name).bias)  # noqa: E731
    out = g.step("weighted", bare, padded, label=f"Conv2d {how}", type="Conv2d", names=(name,), user=False)
    g.call((out,), (v,), lambda m, x: getattr(m, name)(x))
    rectified = pointwise(g, v, "torch.relu", torch.relu, True) if first is None else first
    return g.step("fixed", lambda m, x, y: x + y, rectified, out, label="x + y", type="Add")


@piece("flat", 2)
def product_with_bias(g, v):
    """A product of matrices whose bias depends on the input as well."""
    features = g.shape(v)[0]
    size, beta, alpha = g.rng.randint(2, 4), g.pick(1, 1, 0.5), g.pick(1, 1, 2)
    bias = g.pick(*g.others(v, lambda s: s == (size,)), None)
    weight = g.add(torch.randn(features, size, dtype=torch.float64), "w")
    only(bias is not None)
    made = g.step(
        "weighted", lambda m, x: x @ getattr(m, weight), v, label="x @ w bias=False", type="Linear", user=False
    )
    scaled = (
        made if alpha == 1
        else g.step("pass", lambda m, x: x * alpha, made, label="x * alpha", scale=True, piecewise=True, user=False)
    )  # fmt: skip
    added = (
        bias if beta == 1
        else g.step("pass", lambda m, x: x * beta, bias, label="x * beta", scale=True, piecewise=True, user=False)
    )  # fmt: skip
    out = g.step("fixed", lambda m, x, y: x + y, scaled, added, label="torch.addmm", type="Add", user=False)
    g.call((out,), (bias, v), lambda m, y, x: torch.addmm(y, x, getattr(m, weight), beta=beta, alpha=alpha))
    return out
