"""Norms of a sample's values, attention, and the vision transformers made of them, written by hand."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .registry import idiom, written

TOKENS = (5, 6)


class LayerNormByHand(nn.Module):
    """Mean and variance of the last dimension."""

    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width)), eps

    def forward(self, x):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias


class LayerNorm2d(LayerNormByHand):
    """ConvNeXt's, over the channels of images."""

    def forward(self, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class RMSNormByHand(nn.Module):
    """As in LLaMA."""

    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class Tokens(nn.Module):
    """Values (N, T, C), a part, their mean, a dense layer."""

    def __init__(self, part, shape=TOKENS, **parts):
        super().__init__()
        self.stem, self.part, self.fc = nn.Linear(shape[1], 8), part, nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.part(self.stem(x)).mean(1))


def tokens(name, make, same=None, **options):
    """Put a network of tokens on the list."""
    build = lambda make: lambda: Tokens(make())  # noqa: E731
    idiom(name, shape=TOKENS, same=build(same) if same else None, **options)(build(make))


tokens("LayerNorm", lambda: nn.LayerNorm(8))
tokens("LayerNormByHand", lambda: LayerNormByHand(8), same=lambda: nn.LayerNorm(8, eps=1e-6), near=1e-6)
tokens("RMSNorm", lambda: nn.RMSNorm(8, eps=1e-6))
tokens("RMSNormByHand", lambda: RMSNormByHand(8), same=lambda: nn.RMSNorm(8, eps=1e-6), near=1e-6)
tokens("EncoderLayer", lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True))
tokens("EncoderLayerPost", lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"))
tokens("Encoder", lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2))
written("LayerNorm2d", lambda net, x: net.norm(x), parts=lambda: {"norm": LayerNorm2d(6)})
written("LayerNormOfImages", lambda net, x: net.norm(x), parts=lambda: {"norm": nn.LayerNorm([6, 8, 8])})
written(
    "LayerNormPermuted",
    lambda net, x: net.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    parts=lambda: {"norm": nn.LayerNorm(6, eps=1e-6)},
    same=lambda net, x: net.norm(x.movedim(1, -1)).movedim(-1, 1),
)
written("GroupNorm", lambda net, x: net.norm(x), parts=lambda: {"norm": nn.GroupNorm(2, 6)})
written("InstanceNorm", lambda net, x: net.norm(x), parts=lambda: {"norm": nn.InstanceNorm2d(6)})
written("LocalResponseNorm", lambda net, x: net.norm(x), parts=lambda: {"norm": nn.LocalResponseNorm(3)}, refused="")
written(
    "AdaptiveInstanceNorm",
    lambda net, x: (lambda p: net.norm(x) * p[:, :6, None, None] + p[:, 6:, None, None])(net.fc(x.mean((2, 3)))),
    parts=lambda: {"norm": nn.InstanceNorm2d(6), "fc": nn.Linear(6, 12)},
)


class Attention(nn.Module):
    """Of timm's kind: one dense layer for queries, keys and values."""

    def __init__(self, width=8, heads=2, how="softmax"):
        super().__init__()
        self.heads, self.how, self.scale = heads, how, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        n, t, c = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.how == "fused":
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=0.1 if self.training else 0.0)
        elif self.how == "einsum":
            weights = torch.einsum("nhid,nhjd->nhij", q, k).mul(self.scale).softmax(dim=-1)
            x = torch.einsum("nhij,nhjd->nhid", self.drop(weights), v)
        elif self.how == "causal":
            scores = q @ k.transpose(-2, -1) * self.scale
            scores = scores.masked_fill(torch.ones(t, t).triu(1).bool(), float("-inf"))
            x = F.softmax(scores, dim=-1) @ v
        elif self.how == "linear":
            q, k = F.elu(q) + 1, F.elu(k) + 1
            x = q @ (k.transpose(-2, -1) @ v) / (q @ k.sum(-2, keepdim=True).transpose(-2, -1))
        else:
            scores = (q * self.scale) @ k.transpose(-2, -1)
            x = self.drop((scores - scores.amax(-1, keepdim=True)).softmax(-1)) @ v
        return self.proj(x.transpose(1, 2).reshape(n, t, c))


for how in ("softmax", "fused", "einsum"):
    tokens(f"Attention-{how}", lambda how=how: Attention(how=how), same=Attention)
tokens("Attention-causal", lambda: Attention(how="causal"))
tokens("Attention-linear", lambda: Attention(how="linear"))


class Multihead(nn.MultiheadAttention):
    """torch's own, attending to itself, with a class token's query."""

    def __init__(self, need_weights=False, query=slice(None)):
        super().__init__(8, 2, batch_first=True)
        self.need, self.query = need_weights, query

    def forward(self, x):
        return super().forward(x[:, self.query], x, x, need_weights=self.need)[0]


tokens("Multihead", Multihead)
tokens("MultiheadWeights", lambda: Multihead(True), same=Multihead)
tokens("MultiheadOfOne", lambda: Multihead(query=slice(0, 1)))


class Rotary(Attention):
    """Rotary positions."""

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        angle = torch.outer(torch.arange(t, dtype=x.dtype), 10.0 ** -torch.arange(q.shape[-1] // 2, dtype=x.dtype))
        cos, sin = (f(torch.cat([angle, angle], -1)) for f in (torch.cos, torch.sin))
        half = lambda y: torch.cat([-y[..., y.shape[-1] // 2 :], y[..., : y.shape[-1] // 2]], -1)  # noqa: E731
        q, k = (y * cos + half(y) * sin for y in (q, k))
        return self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


tokens("RotaryAttention", Rotary)
tokens("GatedMlp", lambda: Gated())


class Gated(nn.Module):
    """SwiGLU."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x):
        return self.c(F.silu(self.a(x)) * self.b(x))


class Mlp(nn.Module):
    """Two dense layers and a GELU."""

    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Patches(nn.Module):
    """Images to tokens."""

    def __init__(self, width, size=4):
        super().__init__()
        self.proj = nn.Conv2d(3, width, size, size)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


@idiom()
class MlpMixer(nn.Module):
    """Tolstikhin et al. 2021."""

    def __init__(self, width=8, count=4):
        super().__init__()
        self.patches, self.norms = Patches(width), nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.over_tokens, self.over_channels = Mlp(count, 6), Mlp(width, 12)
        self.fc = nn.Linear(width, 5)

    def forward(self, x):
        x = self.patches(x)
        x = x + self.over_tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.over_channels(self.norms[1](x))
        return self.fc(self.norms[2](x).mean(dim=1))


class TransformerBlock(nn.Module):
    """Norm first, with layer scale."""

    def __init__(self, width, mixer):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = nn.LayerNorm(width), mixer, nn.LayerNorm(width), Mlp(width, 12)
        self.gamma1, self.gamma2 = nn.Parameter(1e-5 * torch.ones(width)), nn.Parameter(1e-5 * torch.ones(width))

    def forward(self, x):
        x = x + self.gamma1 * self.attn(self.norm1(x))
        return x + self.gamma2 * self.mlp(self.norm2(x))


@idiom()
class VisionTransformer(nn.Module):
    """Class token, position embedding interpolated if the size differs."""

    def __init__(self, width=8, size=8):
        super().__init__()
        self.patches, count = Patches(width), (size // 4) ** 2
        self.cls, self.position = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.randn(1, count + 1, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, Attention(width)) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def positions(self, count):
        if count == self.position.shape[1] - 1:
            return self.position
        grid = self.position[:, 1:].reshape(1, 2, 2, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(int(math.sqrt(count)),) * 2, mode="bicubic")
        return torch.cat((self.position[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)

    def forward(self, x):
        x = self.patches(x)
        n, count, _ = x.shape
        x = torch.cat((self.cls.expand(n, -1, -1), x), dim=1) + self.positions(count)
        return self.head(self.norm(self.blocks(x))[:, 0])


idiom("VisionTransformerResized", shape=(3, 12, 12))(VisionTransformer)


def cut(x, size):
    n, h, w, c = x.shape
    x = x.view(n, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size * size, c)


def put_together(windows, size, h, w):
    n = int(windows.shape[0] / (h * w / size / size))
    x = windows.view(n, h // size, w // size, size, size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(n, h, w, -1)


class WindowAttention(nn.Module):
    """Swin's: windows rolled and masked, relative position bias; version 2 compares by cosine."""

    def __init__(self, width=8, heads=2, size=2, shift=1, cosine=False):
        super().__init__()
        self.heads, self.size, self.shift, self.cosine = heads, size, shift, cosine
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn((2 * size - 1) ** 2, heads))
        self.logit_scale = nn.Parameter(torch.zeros(heads, 1, 1))
        grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).flatten(1)
        offset = (grid[:, :, None] - grid[:, None, :]).permute(1, 2, 0) + size - 1
        self.register_buffer("index", offset[..., 0] * (2 * size - 1) + offset[..., 1])

    def mask(self, h, w):
        image, count = torch.zeros((1, h, w, 1)), 0
        parts = (slice(0, -self.size), slice(-self.size, -self.shift), slice(-self.shift, None))
        for rows in parts:
            for columns in parts:
                image[:, rows, columns, :] = count
                count += 1
        windows = cut(image, self.size).squeeze(-1)
        mask = windows.unsqueeze(1) - windows.unsqueeze(2)
        return mask.masked_fill(mask != 0, -100.0).masked_fill(mask == 0, 0.0)

    def forward(self, x):
        n, h, w, c = x.shape
        x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))
        x = cut(x, self.size)
        b, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.cosine:
            scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
            scores = scores * torch.clamp(self.logit_scale, max=math.log(100.0)).exp()
        else:
            scores = q * (c // self.heads) ** -0.5 @ k.transpose(-2, -1)
        scores = scores + self.table[self.index.view(-1)].view(t, t, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
        mask = self.mask(h, w).to(scores)
        scores = scores.view(n, b // n, self.heads, t, t) + mask.unsqueeze(1).unsqueeze(0)
        x = (scores.view(-1, self.heads, t, t).softmax(-1) @ v).transpose(1, 2).reshape(b, t, c)
        x = put_together(self.proj(x), self.size, h, w)
        return torch.roll(x, shifts=(self.shift, self.shift), dims=(1, 2))


class Swin(nn.Module):
    """A block, and patches merged."""

    def __init__(self, **options):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 8, 2, 2), TransformerBlock(8, WindowAttention(**options))
        self.merge, self.fc = nn.Linear(32, 8, bias=False), nn.Linear(8, 5)

    def forward(self, x):
        x = self.block(self.stem(x).permute(0, 2, 3, 1))
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = torch.cat([x[:, i::2, j::2, :] for j in (0, 1) for i in (0, 1)], -1)
        return self.fc(self.merge(x).flatten(1, 2).mean(1))


idiom("SwinBlock")(Swin)
idiom("SwinBlockOfCosines")(lambda: Swin(cosine=True))
written(
    "NonLocal",
    lambda net, x: (
        x
        + (
            torch.softmax(net.q(x).flatten(2).transpose(1, 2) @ net.k(x).flatten(2), -1)
            @ net.v(x).flatten(2).transpose(1, 2)
        )
        .transpose(1, 2)
        .reshape(x.shape)
    ),
    parts=lambda: {k: nn.Conv2d(6, 6, 1) for k in "qkv"},
)
written(
    "AttentionPooling",
    lambda net, x: (x.flatten(2) * net.score(x).flatten(2).softmax(-1)).sum(-1),
    parts=lambda: {"score": nn.Conv2d(6, 1, 1)},
)
written(
    "SoftMixture",
    lambda net, x: torch.einsum("ne,enc->nc", net.gate(x).softmax(1), torch.stack([net.a(x), net.b(x)])),
    parts=lambda: {"gate": nn.Linear(6, 2), "a": nn.Linear(6, 4), "b": nn.Linear(6, 4)},
    shape=(3,),
)
