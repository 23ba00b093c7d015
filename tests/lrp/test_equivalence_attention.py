"""The same function written in other ways gets the same map: attention, normalisation, activations, pools."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from .test_equivalence import Function, around, assert_same, composites, images

TOKENS, WIDTH = 5, 6


def affine(draw, shape=(WIDTH,)):
    """Return a weight and a bias, either of which may be missing."""
    return torch.rand(shape).double() + 0.5, torch.randn(shape).double() if draw(st.booleans()) else None


def parameters(**values):
    return {name: value for name, value in values.items() if value is not None}


# Attention


def scores(q, k, mask=None):
    found = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return found if mask is None else found + mask


def masks(draw):
    """Return a mask as scaled_dot_product_attention takes it, and what to add to the scores."""
    kind = draw(st.sampled_from(["none", "causal", "choice", "bias"]))
    if kind == "causal":
        return {"is_causal": True}, torch.full((TOKENS, TOKENS), -math.inf).triu(1).double()
    if kind == "choice":
        keep = torch.rand(TOKENS, TOKENS) > 0.4
        keep.fill_diagonal_(True)
        return {"attn_mask": keep}, torch.zeros(TOKENS, TOKENS).masked_fill(~keep, -math.inf).double()
    if kind == "bias":
        bias = torch.randn(TOKENS, TOKENS).double()
        return {"attn_mask": bias}, bias
    return {}, None


class Heads(nn.Module):
    """Attention of tokens to each other around any way to compute it from queries, keys and values."""

    def __init__(self, inner, heads, bias):
        super().__init__()
        self.inner, self.heads = inner, heads
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=bias), nn.Linear(WIDTH, WIDTH, bias=bias)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        return self.out(self.inner(split(q), split(k), split(v)).transpose(1, 2).flatten(2))


@st.composite
def attention(draw):
    x, heads, bias = images(draw, TOKENS, WIDTH), draw(st.sampled_from([1, 2, 3])), draw(st.booleans())
    options, mask = masks(draw)

    def fused(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, **options)

    def by_hand(q, k, v):
        return scores(q, k, mask).softmax(-1) @ v

    def by_bmm(q, k, v):
        q, k, v = (t.flatten(0, 1) for t in (q, k, v))
        s = torch.bmm(q, k.transpose(1, 2)) * q.shape[-1] ** -0.5
        s = s if mask is None else s + mask
        return torch.bmm(F.softmax(s, dim=2), v).unflatten(0, (-1, heads))

    def by_einsum(q, k, v):
        s = torch.einsum("nhqd,nhkd->nhqk", q, k) / math.sqrt(q.shape[-1])
        s = s if mask is None else s + mask
        return torch.einsum("nhqk,nhkd->nhqd", s.softmax(-1), v)

    def scaled_before(q, k, v):
        s = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
        s = s if mask is None else s + mask
        return torch.softmax(s, -1) @ v

    ways = [
        Heads(fused, heads, bias),
        Heads(draw(st.sampled_from([by_hand, by_bmm, by_einsum, scaled_before])), heads, bias),
    ]
    ways[1].load_state_dict(ways[0].state_dict())
    return *around(draw, nn.Linear(WIDTH, WIDTH), ways, TOKENS * WIDTH), x


@st.composite
def multihead(draw):
    """Return nn.MultiheadAttention and the same by scaled_dot_product_attention."""
    x, heads, bias = images(draw, TOKENS, WIDTH), draw(st.sampled_from([1, 2, 3])), draw(st.booleans())
    weights = draw(st.booleans())  # asking for them takes another way through torch
    module = nn.MultiheadAttention(WIDTH, heads, bias=bias, batch_first=True)
    if bias:
        nn.init.normal_(module.in_proj_bias)
        nn.init.normal_(module.out_proj.bias)
    other = Heads(F.scaled_dot_product_attention, heads, bias)
    other.qkv.weight.data, other.out.weight.data = module.in_proj_weight.data, module.out_proj.weight.data
    if bias:
        other.qkv.bias.data, other.out.bias.data = module.in_proj_bias.data, module.out_proj.bias.data

    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = module

        def forward(self, x):
            return self.attention(x, x, x, need_weights=weights)[0]

    return *around(draw, nn.Linear(WIDTH, WIDTH), (Self(), other), TOKENS * WIDTH), x


# Normalisation


@st.composite
def layer_norm(draw):
    x, (w, b) = images(draw, TOKENS, WIDTH), affine(draw)
    module = nn.LayerNorm(WIDTH, bias=b is not None).double()
    module.weight.data = w
    if b is not None:
        module.bias.data = b

    def by_hand(x, w, b=0.0):
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + module.eps) * w + b

    def by_powers(x, w, b=0.0):
        centred = x - x.mean(dim=-1, keepdim=True)
        return w * (centred * torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + module.eps)) + b

    other = Function(draw(st.sampled_from([by_hand, by_powers])), **parameters(w=w, b=b))
    return *around(draw, nn.Linear(WIDTH, WIDTH), (module, other), TOKENS * WIDTH), x


@st.composite
def rms_norm(draw):
    x, (w, _) = images(draw, TOKENS, WIDTH), affine(draw)
    module = nn.RMSNorm(WIDTH, eps=1e-6).double()
    module.weight.data = w

    def by_hand(x, w):
        return w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    return *around(draw, nn.Linear(WIDTH, WIDTH), (module, Function(by_hand, w=w)), TOKENS * WIDTH), x


@st.composite
def group_norm(draw):
    """Return GroupNorm of one group, of as many as channels, or of some, and another norm that is the same."""
    x, (w, b) = images(draw, WIDTH, TOKENS), affine(draw)
    kind = draw(st.sampled_from(["instance", "layer", "some"]))
    groups = {"instance": WIDTH, "layer": 1, "some": 3}[kind]
    b = torch.zeros_like(w) if b is None else b
    module = nn.GroupNorm(groups, WIDTH).double()
    module.weight.data, module.bias.data = w, b
    if kind == "instance":
        other = nn.InstanceNorm1d(WIDTH, affine=True).double()
        other.weight.data, other.bias.data = w, b
    else:

        def by_layer_norm(x, w, b):
            x = F.layer_norm(x.unflatten(1, (groups, -1)), (WIDTH // groups, TOKENS))
            return x.flatten(1, 2) * w[:, None] + b[:, None]

        other = Function(by_layer_norm, w=w, b=b)
    return *around(draw, nn.Conv1d(WIDTH, WIDTH, 1), (module, other), TOKENS * WIDTH), x


# Functions of single values, sums and pools

ACTIVATIONS = {
    "silu": (F.silu, lambda x: x * torch.sigmoid(x)),
    "hardswish": (F.hardswish, lambda x: x * F.hardsigmoid(x)),
    "swish of 1.7": (lambda x: F.silu(1.7 * x) / 1.7, lambda x: torch.sigmoid(1.7 * x) * x),
    "relu by clamp": (F.relu, lambda x: x.clamp(min=0)),
    "relu by where": (F.relu, lambda x: torch.where(x > 0, x, torch.zeros_like(x))),
    "relu by a mask": (F.relu, lambda x: x * (x > 0)),
    "relu by filling": (F.relu, lambda x: x.masked_fill(x < 0, 0.0)),
    "relu in place": (F.relu, lambda x: F.relu_(x.clone())),
    "relu6": (F.relu6, lambda x: x.clamp(0, 6)),
    "hardtanh": (F.hardtanh, lambda x: x.clamp(-1, 1)),
    "leaky relu": (lambda x: F.leaky_relu(x, 0.1), lambda x: F.prelu(x, torch.tensor(0.1, dtype=x.dtype))),
}

POOLS = {
    "mean": (lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: x.mean((2, 3), keepdim=True)),
    "mean by a sum": (lambda x: x.mean((2, 3)), lambda x: x.flatten(2).sum(-1) / 16),
    "mean by a pool": (lambda x: F.avg_pool2d(x, 2), lambda x: quarters(x).mean((3, 5))),
    "max": (lambda x: F.adaptive_max_pool2d(x, 1), lambda x: x.amax((2, 3), keepdim=True)),
    "max by two": (lambda x: x.flatten(2).max(-1).values, lambda x: x.amax((2, 3))),
    "max by a pool": (lambda x: F.max_pool2d(x, 2), lambda x: quarters(x).amax((3, 5))),
    "max of halves": (lambda x: x.unflatten(3, (2, 2)).amax(3), lambda x: torch.maximum(x[..., :2], x[..., 2:])),
    "nearest": (
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
        lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
    ),
    "roll": (lambda x: x.roll(1, 3), lambda x: torch.cat([x[..., -1:], x[..., :-1]], 3)),
    "stack": (lambda x: torch.stack([x, x], 2).flatten(1, 2), lambda x: x.repeat_interleave(2, 1)),
}


def quarters(x):
    """Return an image of 4×4 with the rows and the columns in windows of two."""
    return x.unflatten(2, (2, 2)).unflatten(4, (2, 2))


@st.composite
def activations(draw):
    x, pair = images(draw, WIDTH), ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    first = nn.Linear(WIDTH, WIDTH).double()
    first.weight.data *= draw(st.sampled_from([1, 10]))  # for those that end at a value
    return *around(draw, first, map(Function, pair), WIDTH), x


@st.composite
def pools(draw):
    x, name = images(draw, 3, 4, 4), draw(st.sampled_from(sorted(POOLS)))
    outputs = POOLS[name][0](torch.zeros(1, 3, 4, 4)).numel()
    rectified = False if name.startswith("max") else None  # zeros tie, which a pool and a maximum resolve differently
    return *around(draw, nn.Conv2d(3, 3, 1), map(Function, POOLS[name]), outputs, rectified), x


# `pass` on a norm and `average` on a pool are for these layers alone; a norm by hand divides, and need not multiply.
WITHOUT_NORM_RULES = composites(left_out=["pass", "half"], exact_sums=True)
PAIRS = {
    "attention": (attention(), composites(exact_sums=True)),
    "multihead": (multihead(), composites(exact_sums=True)),
    "layer norm": (layer_norm(), WITHOUT_NORM_RULES),
    "rms norm": (rms_norm(), WITHOUT_NORM_RULES),
    "group norm": (group_norm(), WITHOUT_NORM_RULES),
    "activations": (activations(), composites()),
    "pools": (pools(), composites(left_out=["average"], exact_sums=True)),
}


@pytest.mark.parametrize("pair", PAIRS)
@settings(max_examples=40)
@given(data=st.data())
def test_written_in_another_way(pair, data):
    nets, rules = PAIRS[pair]
    composite = data.draw(st.sampled_from(rules))
    assert_same(*data.draw(nets), composite)
