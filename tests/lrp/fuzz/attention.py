"""Pieces that depend on the data: normalisation, attention, gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .pieces import ALL, SPATIAL, before_bias, only, piece, pointwise, run, times

# Normalisation by data --------------------------------------------------------------------------------------------


def norm_step(g, v, kind, function, dims, scale, centred=True, groups=0, eps=1e-5, **more):
    """Add a norm: ``scale(m, x)`` is its weight as it broadcasts, ``dims`` what its statistics are over."""

    spread = g.values[v].unflatten(1, (groups, -1)) if groups else g.values[v]
    only(spread.std(dims, unbiased=False).min() > 1e-3)

    def linear(m, x):
        u = x.unflatten(1, (groups, -1)) if groups else x
        y = u - u.mean(dims, keepdim=True) if centred else u
        sigma = (y.square().mean(dims, keepdim=True) + eps).sqrt().detach()
        return (y / sigma).reshape(x.shape) * scale(m)

    return g.step("norm", function, v, linear=linear, type=kind, **more)


@piece(ALL, 2)
def normalisation(g, v):
    shape = g.shape(v)
    spatial = g.layouts[v] in ("seq", "img", "vol")
    how = g.pick("LayerNorm", "LayerNorm", "RMSNorm", *["GroupNorm", "InstanceNorm"] * spatial)
    affine, functional = g.rng.random() < 0.7, g.rng.random() < 0.4
    if how in ("LayerNorm", "RMSNorm"):
        count = g.rng.randint(1, len(shape))
        last, dims = shape[-count:], tuple(range(-count, 0))
        only(torch.Size(last).numel() > 1)
        layer = how == "LayerNorm"
        module = (
            nn.LayerNorm(last, elementwise_affine=affine, bias=g.rng.random() < 0.7)
            if layer
            else nn.RMSNorm(last, eps=1e-5, elementwise_affine=affine)
        )
        name = g.add(module)

        def call(m, x):
            n = getattr(m, name)
            return F.layer_norm(x, last, n.weight, n.bias) if layer else F.rms_norm(x, last, n.weight, 1e-5)

        scale = lambda m: getattr(m, name).weight if affine else 1.0  # noqa: E731
        return norm_step(g, v, how, call if functional else run(name), dims, scale, centred=layer,
                         label=f"{'F. ' * functional}{module}", names=() if functional else (name,))  # fmt: skip
    width = shape[0]
    groups = g.pick(*[k for k in range(1, width + 1) if width % k == 0]) if how == "GroupNorm" else width
    only(torch.Size(shape).numel() // groups > 1)
    if how == "GroupNorm":
        module = nn.GroupNorm(groups, width, affine=affine)
        call = lambda m, x: F.group_norm(x, groups, getattr(m, name).weight, getattr(m, name).bias)  # noqa: E731
    else:
        only(torch.Size(shape[1:]).numel() > 1)
        module = getattr(nn, f"InstanceNorm{len(shape) - 1}d")(width, affine=affine)
        call = lambda m, x: F.instance_norm(x, weight=getattr(m, name).weight, bias=getattr(m, name).bias)  # noqa: E731
    name = g.add(module)
    view = (-1, *[1] * (len(shape) - 1))
    scale = lambda m: getattr(m, name).weight.view(view) if affine else 1.0  # noqa: E731
    dims = tuple(range(2, len(shape) + 2))
    return norm_step(g, v, how, call if functional else run(name), dims, scale, groups=groups,
                     label=f"{'F. ' * functional}{module}", names=() if functional else (name,))  # fmt: skip


@piece(ALL)
def hand_written_norm(g, v):
    known = list(g.live)
    out = norm_by_hand(g, v)
    g.live = [i for i in g.live if i in known or i == out]  # relevance that comes to a statistic has no rule
    return out


def norm_by_hand(g, v):
    """Written with single calls: a difference or the value itself, divided by, or times, what is made of it."""
    d = g.rng.randint(1, len(g.shape(v)))
    only(g.shape(v)[d - 1] > 1)
    u = v
    if g.rng.random() < 0.6:
        mean = g.step("fixed", lambda m, x: x.mean(d, keepdim=True), v, label="mean")
        u = g.step("fixed", lambda m, x, y: x - y, v, mean, label="x - mean", type="Add")
    only(g.values[v].std(d, unbiased=False).min() > 1e-3)
    how = g.pick("var", "square mean", "times rsqrt", "normalize", "norm")
    if how == "normalize":
        s = g.step(
            "stop", lambda m, x: x.norm(dim=d, keepdim=True).clamp_min(1e-12).expand_as(x), u, label="norm", user=False
        )
        out = g.step("div", lambda m, x, y: x / y, u, s, label="F.normalize", type="Div", user=False)
        g.call((out,), (u,), lambda m, x: F.normalize(x, dim=d))
        return out
    if how == "norm":
        s = g.step("stop", lambda m, x: x.norm(dim=d, keepdim=True) + 0.1, u, label="x.norm() + 0.1")
        return g.step("div", lambda m, x, y: x / y, u, s, label="x / y", type="Div")
    if how == "var":
        s = g.step(
            "stop", lambda m, x: (x.var(d, unbiased=False, keepdim=True) + 1e-3).sqrt(), u, label="sqrt(var + eps)"
        )
        return g.step("div", lambda m, x, y: x / y, u, s, label="x / y", type="Div")
    square = pointwise(g, u, "x.pow(2)", lambda x: x.pow(2))
    mean = g.step("fixed", lambda m, x: x.mean(d, keepdim=True), square, label="mean", piecewise=False)
    shift = g.step("fixed", lambda m, x: x + 1e-3, mean, label="+ eps", type="Shift", piecewise=False)
    if how == "square mean":
        s = pointwise(g, shift, "sqrt", torch.sqrt)
        return g.step("div", lambda m, x, y: x / y, u, s, label="x / y", type="Div")
    only(not (u and g.steps[u].gated))
    s = pointwise(g, shift, "rsqrt", torch.rsqrt)  # a statistic: a factor that is one is a constant
    return g.step("div", lambda m, x, y: x * y, u, s, label="x * rsqrt", type="Scale")


# Attention and gates ----------------------------------------------------------------------------------------------


def attend(g, q, k, v, bias=None, scale=1.0, user=True, banned=False, before=""):
    """Add softmax(q kᵀ · scale + bias) v, with (…, T, d) each; torch scales "q", or "both" by its root, before."""
    more = {"layout": "any", "user": user}
    if before:
        root = scale if before == "q" else scale**0.5
        q = g.step("pass", lambda m, x: x * root, q, label="scaled q", scale=True, **more)
    if before == "both":
        k = g.step("pass", lambda m, x: x * root, k, label="scaled k", scale=True, **more)
    k = g.step("move", lambda m, x: x.transpose(-1, -2), k, label="kT", **more)
    s = g.step("matmul", lambda m, x, y: x @ y, q, k, label="q @ kT", type="MatMul", **more)
    if scale != 1.0 and not before:
        s = g.step("pass", lambda m, x: x * scale, s, label="scaled", scale=True, **more)
    if bias is not None and banned:
        g.masked = True
        if user is False:
            s = g.step(
                "fixed",
                lambda m, x: torch.where(getattr(m, bias), -torch.inf, x),
                s,
                label="+ mask of -inf",
                type="Shift",
                **more,
            )
        else:
            s = g.step(
                "move",
                lambda m, x: x.masked_fill(getattr(m, bias), float("-inf")),
                s,
                label="masked_fill(-inf)",
                piecewise=False,
                **more,
            )
    elif bias is not None:
        s = g.step("fixed", lambda m, x: x + getattr(m, bias), s, label="+ bias", type="Shift", **more)
    s = g.step("softmax", lambda m, x: x.softmax(-1), s, label="softmax(-1)", type="Softmax", gate=True, **more)
    return g.step("matmul", lambda m, x, y: x @ y, s, v, label="attention @ v", type="MatMul", **more)


def mask_of(g, t):
    """Return the name of a bias or mask for attention, if there is one, and whether it is a mask."""
    how = g.pick("", "bias", "mask", "causal")
    if how in ("mask", "causal"):
        banned = torch.ones(t, t).triu(1).bool() if how == "causal" else (torch.rand(t, t) < 0.3) & ~torch.eye(t).bool()
        return g.add(banned, "k"), True
    return (g.constant(t, t), False) if how == "bias" else (None, False)


@piece("tok", 4)
def attention(g, v):
    t, width = g.shape(v)
    heads = g.pick(1, 2)
    only(width % heads == 0 and t > 1)
    d = width // heads
    how = g.pick("written", "written", "sdpa", "module")
    bias, banned = mask_of(g, t)
    packed = g.rng.random() < 0.5 or how == "module"
    user = how == "written"
    if how == "module":
        module = nn.MultiheadAttention(width, heads, batch_first=True, bias=g.rng.random() < 0.7)
        name = g.add(module)

        def project(m, x):
            return F.linear(x, getattr(m, name).in_proj_weight, getattr(m, name).in_proj_bias)

        lin = g.step("weighted", project, v, label="in_proj", type="Linear", user=False)
    elif packed:
        linear = g.add(nn.Linear(width, 3 * width))
        lin = g.step("weighted", run(linear), v, label="qkv", type="Linear", names=(linear,))
    if packed:
        parts = [g.step("move", lambda m, x, k=k: x.unflatten(-1, (3, heads, d))[:, :, k].transpose(1, 2), lin,
                        label="qkv"[k], user=False, layout="any") for k in range(3)]  # fmt: skip
        if how != "module":
            g.call(
                tuple(parts), (lin,), lambda m, x: x.reshape(len(x), t, 3, heads, d).permute(2, 0, 3, 1, 4).unbind(0)
            )
    else:
        parts = []
        for key in "qkv":
            linear = g.add(nn.Linear(width, width, bias=key != "k"))
            p = g.step("weighted", run(linear), v, label=f"nn.Linear {key}", type="Linear", names=(linear,))
            parts.append(
                g.step(
                    "move",
                    lambda m, x: x.view(len(x), t, heads, d).transpose(1, 2),
                    p,
                    label="heads",
                    view=True,
                    layout="any",
                )
            )
    weights = how == "module" and g.rng.random() < 0.5
    before = "" if user else "q" if weights else "both"
    out = attend(g, *parts, bias, d**-0.5, user, banned, before)
    if how == "sdpa":

        def sdpa(m, q, k, w):
            mask = None if bias is None else ~getattr(m, bias) if banned else getattr(m, bias)
            return F.scaled_dot_product_attention(q, k, w, attn_mask=mask)

        g.call((out,), tuple(parts), sdpa)
    join = lambda m, x: x.transpose(1, 2).reshape(len(x), t, width)  # noqa: E731
    x = g.step("move", join, out, label="joined heads", user=how != "module", layout="tok")
    if how == "module":
        out_proj = lambda m, x: getattr(m, name).out_proj(x)  # noqa: E731
        label = f"nn.MultiheadAttention({width}, {heads})"
        x = g.step("weighted", out_proj, x, label=label, type="Linear", user=False, names=(name,))
        mask = lambda m: None if bias is None else getattr(m, bias)  # noqa: E731
        g.call((x,), (v,), lambda m, y: getattr(m, name)(y, y, y, attn_mask=mask(m), need_weights=weights)[0])
        return x
    if g.rng.random() < 0.7:
        linear = g.add(nn.Linear(width, width))
        x = g.step("weighted", run(linear), x, label="nn.Linear proj", type="Linear", names=(linear,))
    return x


@piece("tok")
def windows(g, v):
    """Attention without weights within windows, as Swin has it: the windows count as samples."""
    t, width = g.shape(v)
    only(t % 2 == 0 and t > 2)
    rolled = g.step("move", lambda m, x: x.roll(-1, 1), v, label="roll")
    w = g.step("move", lambda m, x: x.view(len(x), 2, t // 2, width), rolled, label="windows", user=False, layout="any")
    g.call((w,), (rolled,), lambda m, x: x.view(len(x) * 2, t // 2, width))
    # From here to the end of the windows, users have (samples * 2, ...).
    linear = g.add(nn.Linear(width, width))
    q = g.step("weighted", run(linear), w, label="nn.Linear in windows", type="Linear", layout="any")
    out = attend(g, q, w, w, scale=width**-0.5)
    x = g.step("move", lambda m, x: x.reshape(len(x), t, width), out, label="windows back", user=False, layout="tok")
    g.call((x,), (out,), lambda m, x: x.reshape(len(x) // 2, t, width))
    g.live = [i for i in g.live if i <= rolled or i == x]
    return g.step("move", lambda m, x: x.roll(1, 1), x, label="roll back")


@piece("tok", 2)
def tokens(g, v):
    t, width = g.shape(v)
    how = g.pick("class token", "position", "mlp", "drop token", "register")
    if how in ("class token", "register"):
        c = g.constant(1, 1, width)
        last = how == "register"
        cat = lambda m, x: torch.cat([x, getattr(m, c).expand(len(x), -1, -1)][:: 1 if last else -1], 1)  # noqa: E731
        return g.step("move", cat, v, label=how, piecewise=False)
    if how == "position":
        only(not before_bias(g, v))
        c = g.constant(1, t, width)
        return g.step("fixed", lambda m, x: x + getattr(m, c), v, label="position", type="Shift")
    if how == "drop token":
        only(t > 2)
        return g.step("move", lambda m, x: x[:, 1:], v, label="x[:, 1:]", view=True)
    a, b = g.add(nn.Linear(width, 6)), g.add(nn.Linear(6, width))
    h = g.step("weighted", run(a), v, label="nn.Linear", type="Linear", names=(a,))
    h = pointwise(g, h, "F.gelu", F.gelu)
    return g.step("weighted", run(b), h, label="nn.Linear", type="Linear", names=(b,))


@piece(SPATIAL, 2)
def squeeze_excitation(g, v):
    shape = g.shape(v)
    n, width, dims = len(shape) - 1, shape[0], tuple(range(2, len(shape) + 1))
    keep = g.rng.random() < 0.6
    only(max(shape[1:]) > 1 and not (v and g.steps[v].gated))
    if keep and g.rng.random() < 0.5:
        s = g.step(
            "fixed",
            lambda m, x: getattr(F, f"adaptive_avg_pool{n}d")(x, 1),
            v,
            label="adaptive_avg_pool(1)",
            type=f"AdaptiveAvgPool{n}d",
        )
    else:
        s = g.step("fixed", lambda m, x: x.mean(dims, keepdim=keep), v, label="mean over places")
    make = getattr(nn, f"Conv{n}d") if keep else nn.Linear
    more = (1,) if keep else ()
    kind = make.__name__
    a, b = g.add(make(width, 2, *more)), g.add(make(2, width, *more))
    s = g.step("weighted", run(a), s, label=kind, type=kind, names=(a,))
    s = pointwise(g, s, "relu", torch.relu, True)
    s = g.step("weighted", run(b), s, label=kind, type=kind, names=(b,))
    f = g.pick(torch.sigmoid, F.hardsigmoid)
    s = pointwise(g, s, f.__name__, f, gate=True)
    if not keep:
        s = g.step("move", lambda m, x: x.view(*x.shape, *[1] * n), s, label="view", view=True)
    return times(g, *(v, s) if g.rng.random() < 0.5 else (s, v))
