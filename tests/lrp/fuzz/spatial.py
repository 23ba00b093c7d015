"""Pieces that change sizes: pools, pads, interpolation, and from one layout to another; and the end."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .pieces import SPATIAL, copies, only, piece, run


@piece(SPATIAL, 3)
def pool(g, v):
    shape = g.shape(v)
    n, places = len(shape) - 1, shape[1:]
    dims = tuple(range(2, n + 2))
    how = g.pick("max", "max", "adaptive max", "amax", "avg", "avg", "adaptive avg", "lp")
    if how == "amax":
        d = g.pick(*dims)
        only(shape[d - 1] > 1)
        f = g.pick(lambda m, x: x.amax(d, keepdim=True), lambda m, x: x.max(d, keepdim=True)[0])
        return g.step("winner", f, v, label="amax/max(dim)", type="-")
    only(min(places) > 1 and how != "lp")
    if how.startswith("adaptive"):
        size = tuple(g.rng.randint(1, p) for p in places)
        kind = f"Adaptive{'Max' if 'max' in how else 'Avg'}Pool{n}d"
        average = (lambda m, x: getattr(F, f"adaptive_avg_pool{n}d")(x, size)) if "max" in how else None
        name = g.add(getattr(nn, kind)(size))
        function = run(name)
        if g.rng.random() < 0.3:
            function, name = (lambda m, x: getattr(F, f"adaptive_{how[9:]}_pool{n}d")(x, size)), ""
        sort, names = "winner" if "max" in how else "fixed", (name,) if name else ()
        return g.step(sort, function, v, label=f"{kind}{size}", type=kind, average=average, names=names)
    kernel = tuple(g.rng.randint(1, min(3, p)) for p in places)
    stride = g.pick(None, 1, 2)
    padding = tuple(g.rng.randint(0, k // 2) for k in kernel)
    ceil = g.rng.random() < 0.3
    only(max(kernel) > 1)
    if how == "max":
        dilation = 1 if g.rng.random() < 0.8 else 2
        only(all((k - 1) * dilation < p + 2 * q for k, p, q in zip(kernel, places, padding, strict=True)))
        average = (
            (lambda m, x: getattr(F, f"avg_pool{n}d")(x, kernel, stride, padding, ceil)) if dilation == 1 else None
        )
        kind, options = f"MaxPool{n}d", (kernel, stride, padding, dilation, False, ceil)
        if ceil and average:
            only(
                average(None, g.values[v]).shape
                == getattr(F, f"max_pool{n}d")(g.values[v], kernel, stride, padding, 1, ceil).shape
            )
        name = g.add(getattr(nn, kind)(*options))
        if g.rng.random() < 0.4:
            call = getattr(F, f"max_pool{n}d")
            f = lambda m, x: call(x, kernel, stride, padding, dilation, ceil)  # noqa: E731
            return g.step("winner", f, v, label=f"F. {getattr(g.net, name)}", type=kind, average=average)
        return g.step(
            "winner", run(name), v, label=str(getattr(g.net, name)), type=kind, average=average, names=(name,)
        )
    count = g.rng.random() < 0.5
    divisor = g.pick(None, 3) if n > 1 else None
    kind = f"AvgPool{n}d"
    name = g.add(
        getattr(nn, kind)(kernel, stride, padding, ceil, count, **({"divisor_override": divisor} if n > 1 else {}))
    )
    return g.step("fixed", run(name), v, label=str(getattr(g.net, name)), type=kind, names=(name,))


@piece(SPATIAL, 2)
def sized(g, v):
    """Pads and interpolation of every mode, shuffles."""
    shape = g.shape(v)
    n = len(shape) - 1
    how = g.pick("pad", "pad", "interpolate", "interpolate", "shuffle", "unfold")
    if how == "pad":
        mode = g.pick("constant", "reflect", "replicate", "circular", "constant 0.5", "crop")
        amounts = [g.rng.randint(0, 2) for _ in range(2 * n)]
        only(sum(amounts))
        if mode in ("reflect", "circular"):
            only(all(a < shape[-1 - k // 2] for k, a in enumerate(amounts)))
        if mode == "crop":
            amounts = [-1, 1, *[0] * (2 * n - 2)]
            only(shape[-1] > 2)
        value = 0.5 if mode == "constant 0.5" else 0.0
        word = "constant" if mode in ("crop", "constant 0.5") else mode
        call = lambda m, x: F.pad(x, amounts, word, value) if word == "constant" else F.pad(x, amounts, word)  # noqa: E731
        return g.step("move", call, v, label=f"F.pad({amounts}, {mode})", piecewise=not value)
    if how == "interpolate":
        smooth = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}[n]
        mode = g.pick("nearest", "nearest-exact", "area", *smooth * 2)
        size = tuple(g.rng.randint(2, min(6, 2 * s)) for s in shape[1:])
        options = {"size": size} if g.rng.random() < 0.7 else {"scale_factor": g.pick(2, 1.5)}
        if mode in smooth:
            options["align_corners"] = g.rng.random() < 0.5
            if mode in ("bilinear", "bicubic") and g.rng.random() < 0.3:
                options["antialias"] = True
        sort = "move" if mode.startswith("nearest") else "fixed"
        only(sort == "move" or not copies(F.interpolate(g.values[v].clone(), mode=mode, **options), g.values[v]))
        return g.step(
            sort, lambda m, x: F.interpolate(x, mode=mode, **options), v, label=f"interpolate {mode} {options}"
        )
    only(n == 2)
    if how == "unfold":
        f = lambda m, x: F.unfold(x, 2, stride=2)  # noqa: E731
        return g.step("move", f, v, label="F.unfold(2, stride=2)", layout="seq")
    name = g.add(g.pick(nn.PixelShuffle(2), nn.PixelUnshuffle(2), nn.ChannelShuffle(2)))
    up = isinstance(getattr(g.net, name), nn.PixelShuffle)
    down = isinstance(getattr(g.net, name), nn.PixelUnshuffle)
    only(shape[0] % 4 == 0 if up else (shape[1] % 2 == shape[2] % 2 == 0) if down else shape[0] % 2 == 0)
    return g.step("move", run(name), v, label=str(getattr(g.net, name)), names=(name,))


@piece(SPATIAL)
def block(g, v):
    """A residual block in a container, with in-place activations."""
    shape = g.shape(v)
    n, width = len(shape) - 1, shape[0]
    conv, norm = getattr(nn, f"Conv{n}d"), getattr(nn, f"BatchNorm{n}d")
    parts = [conv(width, width, 3, padding=1, bias=False), norm(width), nn.ReLU(inplace=True), conv(width, width, 1)]
    name = g.add(nn.Sequential(*parts))
    part = lambda k: lambda m, x: getattr(m, name)[k](x)  # noqa: E731
    merged = lambda m, x: part(1)(m, part(0)(m, x))  # noqa: E731
    a = g.step(
        "weighted",
        merged,
        v,
        label=f"{name}: Conv + BatchNorm",
        type=conv.__name__,
        names=(f"{name}.0", f"{name}.1"),
        user=False,
    )
    a = g.step(
        "pass", lambda m, x: torch.relu(x), a, label="ReLU in place", piecewise=True, names=(f"{name}.2",), user=False
    )
    a = g.step("weighted", part(3), a, label="Conv", type=conv.__name__, names=(f"{name}.3", name), user=False)
    g.call((a,), (v,), run(name))
    return g.step("fixed", lambda m, x, y: x + y, v, a, label="x + y", type="Add")


# From one layout to another, and the end --------------------------------------------------------------------------


@piece(SPATIAL)
def to_tokens(g, v):
    f = lambda m, x: x.flatten(2).transpose(1, 2)  # noqa: E731
    return g.step("move", f, v, label="flatten(2).transpose(1, 2)", layout="tok", view=True)


@piece("tok seq")
def turned(g, v):
    layout = "seq" if g.layouts[v] == "tok" else "tok"
    return g.step("move", lambda m, x: x.transpose(1, 2), v, label="transpose", layout=layout, view=True)


@piece("seq img vol tok")
def to_flat(g, v):
    shape = g.shape(v)
    how = g.pick("flatten", "view", "mean", "sum", "amax", "select")
    if how in ("flatten", "view"):
        f = {"flatten": lambda m, x: torch.flatten(x, 1), "view": lambda m, x: x.reshape(x.size(0), -1)}[how]
        return g.step("move", f, v, label=how, layout="flat", view=True)
    dims = (1,) if g.layouts[v] == "tok" else tuple(range(2, len(shape) + 1))
    only(any(shape[d - 1] > 1 for d in dims))
    if how == "select":
        only(g.layouts[v] == "tok")
        return g.step("move", lambda m, x: x[:, 0], v, label="x[:, 0]", layout="flat", view=True)
    f = {"mean": lambda m, x: x.mean(dims), "sum": lambda m, x: x.sum(dims), "amax": lambda m, x: x.amax(dims)}[how]
    return g.step(
        "winner" if how == "amax" else "fixed", f, v, label=f"{how}{dims}", type="-" * (how == "amax"), layout="flat"
    )


@piece("flat")
def to_rows(g, v):
    (width,) = g.shape(v)
    only(width >= 4 and width % 2 == 0)
    return g.step("move", lambda m, x: x.unflatten(1, (2, -1)), v, label="unflatten", layout=g.pick("seq", "tok"))


@piece("end")
def end(g, v):
    if g.layouts[v] in ("img", "vol") and g.rng.random() < 0.15:  # a map of classes
        n = len(g.shape(v)) - 1
        name = g.add(getattr(nn, f"Conv{n}d")(g.shape(v)[0], 2, 1))
        return g.step("weighted", run(name), v, label=f"Conv{n}d to classes", type=f"Conv{n}d", names=(name,))
    v = v if g.layouts[v] == "flat" else to_flat(g, v)
    classes = g.pick(1, 2, 3, 4)
    name = g.add(nn.Linear(g.shape(v)[0], classes, bias=g.rng.random() < 0.7))
    v = g.step("weighted", run(name), v, label=f"nn.Linear({g.shape(v)[0]}, {classes})", type="Linear", names=(name,))
    if classes == 1 and g.rng.random() < 0.5:
        v = g.step("move", lambda m, x: x.squeeze(1), v, label="squeeze(1)", layout="any")
    if g.rng.random() < 0.15:
        last = g.pick(torch.sigmoid, F.softplus, *[lambda x: x.softmax(1), lambda x: x.log_softmax(1)] * (classes > 1))
        v = g.step("output", lambda m, x: last(x), v, label="output activation", layout="any")
    return v
