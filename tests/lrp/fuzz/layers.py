"""Pieces with weights: convolutions, dense layers, BatchNorms that merge and that do not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .pieces import ALL, SPATIAL, activation, only, piece, pointwise, run


def norm_of(g, kind: str, features: int, affine: bool = True):
    """Return the name of a BatchNorm with statistics, and whether it is called as a function."""
    return g.add(getattr(nn, kind)(features, affine=affine))


def batch_norm(g, name: str, functional: bool):
    def call(m, x):
        n = getattr(m, name)
        return (
            F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, False, 0.1, n.eps) if functional else n(x)
        )

    return call


def weighted(g, v, function, kind: str, label: str, name: str = "", norm: int = 0, view_kind: str = "", **more):
    """Add a layer with weights and, with ``norm`` features, perhaps a BatchNorm that merges or does not."""
    names = (name,) if name else ()
    out_kind = view_kind or "BatchNorm" + {"seq": "1d", "flat": "1d", "img": "2d", "vol": "3d"}.get(g.layouts[v], "1d")
    if not norm or g.rng.random() < 0.5:
        return g.step("weighted", function, v, label=label, type=kind, names=names, **more)
    bn, functional = norm_of(g, out_kind, norm, g.rng.random() < 0.7), g.rng.random() < 0.4
    after = batch_norm(g, bn, functional)
    label += f" + {'F.batch_norm' if functional else out_kind}"
    if g.rng.random() < 0.25:  # something else reads what is before the BatchNorm
        first = g.step("weighted", function, v, label=label, type=kind, names=names, **more)
        second = g.step(
            "weighted", after, first, label="its BatchNorm", type=out_kind, names=() if functional else (bn,), **more
        )
        return g.step("fixed", lambda m, x, y: x + y, first, second, label="x + y", type="Add", **more)
    out = g.step("weighted", lambda m, x: after(m, function(m, x)), v, label=label, type=kind, user=False,
                 names=(*names, *(() if functional else (bn,))), **more)  # fmt: skip
    g.call((out,), (v,), lambda m, x: after(m, function(m, x)))
    return out


@piece(SPATIAL, 8)
def convolution(g, v):
    v = activation(g, v) if g.rng.random() < 0.4 else v
    shape = g.shape(v)
    n, width = len(shape) - 1, shape[0]
    transposed = g.rng.random() < 0.3
    kind = f"Conv{'Transpose' * transposed}{n}d"
    groups = g.pick(*[k for k in (1, 1, 2, 3, width) if width % k == 0])
    out = groups * g.rng.randint(1, 2 if groups > 2 else 3)
    kernel = tuple(g.rng.randint(1, 3) for _ in range(n))
    options = {
        "stride": g.rng.randint(1, 2),
        "dilation": g.pick(1, 1, 2),
        "groups": groups,
        "bias": g.rng.random() < 0.6,
    }
    options["padding"] = tuple(g.rng.randint(0, min(2, k - 1) if transposed else 1) for k in kernel)
    pad = ""
    if transposed:
        most = max(options["stride"], options["dilation"]) - 1
        options["output_padding"] = g.rng.randint(0, most)
    elif g.rng.random() < 0.15:
        options.update(padding="same", stride=1)
    elif g.rng.random() < 0.15:
        pad = g.pick("circular", "reflect", "replicate")
        only(all(p < s for p, s in zip(options["padding"], shape[1:], strict=True)) and sum(options["padding"]))
    if min(shape[1:]) < 2:
        kernel, options["dilation"] = (1,) * n, 1
        options["padding"] = 0
    kind_of = getattr(nn, kind)
    module = kind_of(width, out, kernel, **options, **({"padding_mode": pad} if pad else {}))
    label = str(module)
    name = g.add(nn.utils.parametrizations.weight_norm(module) if g.rng.random() < 0.1 else module)
    function, known = run(name), name  # as a function, it is not known by the module's name
    norm = out if g.rng.random() < 0.5 else 0
    if pad:
        amounts = tuple(module._reversed_padding_repeated_twice)
        call = getattr(F, kind.lower())
        x = g.step("move", lambda m, x: F.pad(x, amounts, pad), v, label=f"its {pad} padding", user=False)

        def inner(m, x):
            c = getattr(m, name)
            return call(x, c.weight, c.bias, c.stride, 0, c.dilation, c.groups)

        result = g.step("weighted", inner, x, label=label, type=kind, names=(name,), user=False)
        g.call((result,), (v,), function)
        return result
    if g.rng.random() < 0.3:  # called as a function, perhaps with weights that are computed
        call = getattr(F, f"conv_transpose{n}d" if transposed else kind.lower())
        standard = g.rng.random() < 0.5 and module.weight.numel() > 1
        rest = ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")

        def function(m, x):
            c = getattr(m, name)
            w = (c.weight - c.weight.mean()) * 0.9 if standard else c.weight
            return call(x, w, c.bias, c.stride, c.padding, *(getattr(c, r) for r in rest))

        label, known = f"F. {label}" + " standardized" * standard, ""
    whole = function
    if not options["bias"] and g.rng.random() < 0.2:
        c, before = g.constant(out, *[1] * n, scale=0.3), function
        whole, label = (lambda m, x: before(m, x) + getattr(m, c)), label + " + c"
    elif not transposed and g.rng.random() < 0.15:
        amounts, before = [g.rng.randint(0, 2) for _ in range(2 * n)], function
        whole, label = (lambda m, x: before(m, F.pad(x, amounts))), f"F.pad({amounts}) + {label}"
    result = weighted(g, v, whole, kind, label, known, norm)
    if whole is function and known:
        same = g.shape(result) == shape and len(g.steps[result].names) == 1
        if same and g.rng.random() < 0.4:  # a shared module
            a = pointwise(g, result, "relu", torch.relu, True)
            return g.step("weighted", function, a, label=label + " again", type=kind, names=(name + "#2",))
    return result


@piece("flat tok", 6)
def dense(g, v):
    v = activation(g, v) if g.rng.random() < 0.4 else v
    layout, width = g.layouts[v], g.shape(v)[-1]
    out = g.pick(2, 4, 6) if layout == "tok" else g.rng.randint(2, 8)
    how = g.pick("module", "module", "F.linear", "x @ W + b", "W + b", "einsum", "addmm", "x @ W", "matmul")
    bias = g.rng.random() < 0.7
    norm = out if layout == "flat" else 0
    if how in ("module", "F.linear", "matmul"):
        name = g.add(nn.Linear(width, out, bias=bias))
        if how == "module":
            shared = out == width and g.rng.random() < 0.3
            result = weighted(
                g, v, run(name), "Linear", f"nn.Linear({width}, {out}, {bias})", name, 0 if shared else norm
            )
            if shared:
                a = pointwise(g, result, "relu", torch.relu, True)
                return g.step("weighted", run(name), a, label=name + " again", type="Linear", names=(name + "#2",))
            return result
        call = lambda m, x: F.linear(x, getattr(m, name).weight, getattr(m, name).bias)  # noqa: E731
        return weighted(g, v, call, "Linear", f"F.linear({width}, {out}, {bias})", "", norm)
    w = g.constant(width, out, scale=1.5 / width**0.5)
    b = g.constant(out, scale=0.3)
    if how == "einsum" and width > 1:
        letters = "nc,cd->nd" if layout == "flat" else "ntc,cd->ntd"
        return weighted(g, v, lambda m, x: torch.einsum(letters, x, getattr(m, w)), "Linear", letters)
    if how == "addmm":
        only(layout == "flat")
        return weighted(g, v, lambda m, x: torch.addmm(getattr(m, b), x, getattr(m, w)), "Linear", "addmm", "", norm)
    if how == "x @ W":
        return weighted(g, v, lambda m, x: x @ getattr(m, w), "Linear", how, "", norm)
    if how == "W + b":
        return weighted(
            g, v, lambda m, x: getattr(m, b) + torch.matmul(x, getattr(m, w)), "Linear", "b + x @ W", "", norm
        )

    def in_place(m, x):
        y = x @ getattr(m, w)
        y += getattr(m, b)
        return y

    function = g.pick(in_place, lambda m, x: x @ getattr(m, w) + getattr(m, b))
    return weighted(g, v, function, "Linear", "x @ W + b" + " in place" * (function is in_place), "", norm)


@piece(ALL, 2)
def branches(g, v):
    """Two layers that read one rectified value, and are added or joined."""
    width, n = g.shape(v)[0], len(g.shape(v)) - 1
    spatial = g.layouts[v] in ("seq", "img", "vol")
    make, more = (getattr(nn, f"Conv{n}d"), (1,)) if spatial else (nn.Linear, ())
    width = width if spatial else g.shape(v)[-1]
    out = g.rng.randint(1, 3)

    def layer(x, wide):
        name = g.add(make(wide, out, *more))
        return g.step("weighted", run(name), x, label=str(getattr(g.net, name)), type=make.__name__, names=(name,))

    first = layer(v, width)
    x = pointwise(g, first, "relu", torch.relu, True)
    a, b = layer(x, out), layer(x, out) if g.rng.random() < 0.7 else x
    if g.rng.random() < 0.5:
        return g.step("fixed", lambda m, x, y: x + y, a, b, label="x + y", type="Add")
    return g.step("move", lambda m, x, y: torch.cat([x, y], 1), a, b, label="cat", layout=g.layouts[v])


def follows_layer(g, v) -> bool:
    """Tell whether a value comes from a layer that a BatchNorm would merge with."""
    while v and (g.steps[v].label.startswith(("nn.Dropout", "Dropout", "Identity"))):
        v = g.steps[v].reads[0]
    return bool(v) and g.steps[v].kind == "weighted"


@piece(ALL)
def lone_batch_norm(g, v):
    """A BatchNorm that has nothing to merge with; also over another dimension than that of features."""
    shape = g.shape(v)
    kind = {1: "BatchNorm1d", 2: "BatchNorm1d", 3: "BatchNorm2d", 4: "BatchNorm3d"}[len(shape)]
    tokens = g.layouts[v] == "tok"
    turned = tokens and g.rng.random() < 0.6
    only(not follows_layer(g, v) or (tokens and not turned))
    name, functional = norm_of(g, kind, shape[-1] if turned else shape[0], g.rng.random() < 0.7), g.rng.random() < 0.4
    call, names = batch_norm(g, name, functional), () if functional else (name,)
    label = f"{'F. ' * functional}{kind}"
    if not turned:
        return g.step("weighted", call, v, label=label, type=kind, names=names)
    v = g.step("move", lambda m, x: x.transpose(1, 2), v, label="transpose", view=True)
    v = g.step("weighted", call, v, label=label, type=kind, names=names)
    return g.step("move", lambda m, x: x.transpose(1, 2), v, label="transpose", view=True)


@piece("tok")
def token_mixing(g, v):
    t, width = g.shape(v)
    only(t > 1 and width > 1)  # einsum multiplies along a dimension of one
    out = g.rng.randint(2, 5)
    how = g.pick("W @ x", "per token", "transposed Linear")
    if how == "W @ x":
        w = g.constant(out, t)
        return g.step("weighted", lambda m, x: getattr(m, w) @ x, v, label=how, type="Linear")
    if how == "per token":
        w = g.constant(t, width, 4, scale=1 / width**0.5)
        return g.step(
            "weighted", lambda m, x: torch.einsum("ntc,tcd->ntd", x, getattr(m, w)), v, label=how, type="Linear"
        )
    name = g.add(nn.Linear(t, out))
    v = g.step("move", lambda m, x: x.transpose(1, 2), v, label="transpose", view=True)
    v = g.step("weighted", run(name), v, label="nn.Linear over tokens", type="Linear", names=(name,))
    return g.step("move", lambda m, x: x.transpose(1, 2), v, label="transpose", view=True)
