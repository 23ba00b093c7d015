"""Functions of single values, linear maps in other words, and signals, volumes and tables."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from .registry import written

LINEAR = {"linear": True}

# Functions of single values.
written(
    "Partial",
    lambda net, x: net.activation(x - 1),
    parts=lambda: {"activation": functools.partial(F.leaky_relu, negative_slope=0.2)},
    **LINEAR,
)
written("WhereLeaky", lambda net, x: torch.where(x > 1, x, 1 + 0.1 * (x - 1)), **LINEAR)
written(
    "WhereOfSign",
    lambda net, x: (lambda y: torch.where(y > 0, y, 0.1 * y))(x - 1),
    same=lambda net, x: F.leaky_relu(x - 1, 0.1),
    **LINEAR,
)
written("MaximumLeaky", lambda net, x: (lambda y: torch.maximum(y, 0.1 * y))(x - 1), **LINEAR)
written("ReluByMask", lambda net, x: (lambda y: y * (y > 0))(x - 1), same=lambda net, x: (x - 1).relu(), **LINEAR)
written("ReluByHalves", lambda net, x: (lambda y: (y + y.abs()) / 2)(x - 1))
written(
    "ClampAndThreshold", lambda net, x: F.threshold((x - 0.5).clamp(min=0), 0.0, 0.0) + (x - 1).clamp_min(0), **LINEAR
)
written("InPlace", lambda net, x: x.sub_(1).relu_().mul_(2).add_(0.5), same=lambda net, x: (x - 1).relu() * 2 + 0.5)
written(
    "InPlacePart",
    lambda net, x: [x[:, 1:3].mul_(2), x[:, 0].add_(1), x][-1],
    same=lambda net, x: torch.cat([x[:, :1] + 1, x[:, 1:3] * 2, x[:, 3:]], 1),
)
written(
    "OutArgument", lambda net, x: torch.add(x, x.flip(1), out=torch.empty_like(x)), same=lambda net, x: x + x.flip(1)
)
written(
    "PReLU",
    lambda net, x: net.prelu(x - 1) + net.rrelu(1 - x),
    parts=lambda: {"prelu": nn.PReLU(6), "rrelu": nn.RReLU()},
    **LINEAR,
)
written("CReLU", lambda net, x: torch.cat([(x - 1).relu(), (1 - x).relu()], 1), **LINEAR)
written("Maxout", lambda net, x: (x - 1).unflatten(1, (3, 2)).amax(2), **LINEAR)
written("Abs", lambda net, x: (x - 1).abs(), **LINEAR)
written(
    "Smooth",
    lambda net, x: (
        F.elu(x - 1)
        + F.gelu(x)
        + F.selu(x - 1)
        + F.mish(x)
        + F.hardswish(x)
        + F.softplus(x)
        + torch.tanh(x)
        + F.celu(x)
    ),
)
written("SiluByHand", lambda net, x: x * torch.sigmoid(x), same=lambda net, x: F.silu(x))
written("GeluByHand", lambda net, x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), same=lambda net, x: F.gelu(x))
written(
    "GeluByTanh",
    lambda net, x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3)))),
    same=lambda net, x: F.gelu(x, approximate="tanh"),
)
written("HardSwishByHand", lambda net, x: x * F.relu6(x + 3) / 6, same=lambda net, x: F.hardswish(x))
written("MishByHand", lambda net, x: x * torch.tanh(F.softplus(x)), same=lambda net, x: F.mish(x))
written("Power", lambda net, x: x**2 + x.square() - x.pow(3) + (x + 1).sqrt() + torch.exp(-x) + torch.log1p(x))
written(
    "DropoutsInEval",
    lambda net, x: F.dropout2d(F.dropout(x, 0.5, net.training), training=net.training) + net.drop(x),
    parts=lambda: {"drop": nn.AlphaDropout()},
    **LINEAR,
)
written(
    "PrintsShapes", lambda net, x: (f"{x.shape} {x.dtype}", x.is_cuda, x.stride(), x.requires_grad, x)[-1], **LINEAR
)

# One linear map in other words.
CONV = {"parts": lambda: {"conv": nn.Conv2d(6, 4, 3, padding=1)}, "same": lambda net, x: net.conv(x), "linear": True}
written(
    "UnfoldConvolution",
    lambda net, x: (
        (net.conv.weight.flatten(1) @ F.unfold(x, 3, padding=1)).view(len(x), 4, *x.shape[2:])
        + net.conv.bias.view(-1, 1, 1)
    ),
    parts=CONV["parts"],
    linear=True,
)
written("ConvolutionByFunction", lambda net, x: torch.conv2d(x, net.conv.weight, net.conv.bias, padding="same"), **CONV)
written(
    "ConvolutionByPad",
    lambda net, x: F.conv2d(F.pad(x, [1] * 4), net.conv.weight) + net.conv.bias[None, :, None, None],
    **CONV,
)
DENSE = {"parts": lambda: {"fc": nn.Linear(6, 4)}, "same": lambda net, x: net.fc(x), "shape": (3,), "linear": True}
written("DenseAtTranspose", lambda net, x: x @ net.fc.weight.T + net.fc.bias, **DENSE)
written("DenseAddmm", lambda net, x: torch.addmm(net.fc.bias, x, net.fc.weight.t()), **DENSE)
written("DenseEinsum", lambda net, x: torch.einsum("ni,oi->no", x, net.fc.weight) + net.fc.bias, **DENSE)
written("DenseTensordot", lambda net, x: torch.tensordot(x, net.fc.weight, dims=([1], [1])) + net.fc.bias, **DENSE)
written(
    "DenseBySum",
    lambda net, x: (x[:, None] * net.fc.weight).sum(-1) + net.fc.bias,
    parts=DENSE["parts"],
    shape=(3,),
    linear=True,
)
written(
    "DenseByRows",
    lambda net, x: torch.stack([x @ w + b for w, b in zip(net.fc.weight, net.fc.bias, strict=True)], 1),
    **DENSE,
)
written(
    "DenseOnLast",
    lambda net, x: net.fc(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    parts=DENSE["parts"],
    linear=True,
    same=lambda net, x: net.fc(x.flatten(2).mT).mT.unflatten(2, x.shape[2:]),
)
written(
    "EinsumOverChannels",
    lambda net, x: torch.einsum("oc,nchw->nohw", net.fc.weight, x),
    parts=DENSE["parts"],
    linear=True,
)
written(
    "MatmulLeft",
    lambda net, x: (net.fc.weight @ x.flatten(2)).view(len(x), 4, *x.shape[2:]),
    parts=DENSE["parts"],
    linear=True,
    same=lambda net, x: F.linear(x.movedim(1, 3), net.fc.weight).movedim(3, 1),
)
written(
    "BilinearConstant",
    lambda net, x: net.w[0] @ x @ net.w[1],
    parts=lambda: {"w": nn.Parameter(torch.randn(2, 8, 8) / 3)},
    **LINEAR,
)
written(
    "Haar",
    lambda net, x: F.conv2d(x, net.kernel.repeat(6, 1, 1, 1), stride=2, groups=6),
    parts=lambda: {"kernel": nn.Buffer(torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1]]).view(2, 1, 2, 2) / 2)},
    **LINEAR,
)
written("Fourier", lambda net, x: torch.fft.rfft2(x).real, refused="")
written(
    "FourierFilter",
    lambda net, x: torch.fft.irfft2(torch.fft.rfft2(x) * net.mask),
    parts=lambda: {"mask": nn.Buffer(torch.rand(8, 5))},
    refused="",
)

# Signals, volumes, tables.
SIGNAL, VOLUME = {"shape": (2, 12), "linear": True}, {"shape": (2, 4, 6, 6), "linear": True}
written("MaxPool1d", lambda net, x: F.max_pool1d(x, 3, 2) + F.avg_pool1d(x, 3, 2), **SIGNAL)
written(
    "AdaptivePools1d", lambda net, x: torch.cat([F.adaptive_max_pool1d(x, 2), F.adaptive_avg_pool1d(x, 3)], 2), **SIGNAL
)
written("Transposed1d", lambda net, x: net.up(x), parts=lambda: {"up": nn.ConvTranspose1d(6, 4, 4, 2, 1)}, **SIGNAL)
written("Interpolate1d", lambda net, x: F.interpolate(x, scale_factor=2, mode="linear"), **SIGNAL)
written(
    "Causal",
    lambda net, x: F.conv1d(F.pad(x, (4, 0)), net.w, dilation=2),
    parts=lambda: {"w": nn.Parameter(torch.randn(4, 6, 3) / 4)},
    **SIGNAL,
)
written("Windows", lambda net, x: x.unfold(2, 4, 2).mean(-1), **SIGNAL)
written(
    "Pools3d", lambda net, x: F.max_pool3d(x, 2) + F.avg_pool3d(x, 2) + F.adaptive_max_pool3d(x, (2, 3, 3)), **VOLUME
)
written("Transposed3d", lambda net, x: net.up(x), parts=lambda: {"up": nn.ConvTranspose3d(6, 2, 2, 2)}, **VOLUME)
written("Interpolate3d", lambda net, x: F.interpolate(x, (3, 4, 5), mode="trilinear"), **VOLUME)
written(
    "FramesAsImages",
    lambda net, x: net.conv(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).mean(1),
    parts=lambda: {"conv": nn.Conv2d(6, 4, 3)},
    **VOLUME,
)
written(
    "TableBranches",
    lambda net, x: torch.cat([x[:, i : i + 2] * (i + 1.0) for i in range(0, x.size(1), 2)], dim=-1),
    shape=(4,),
    linear=True,
)
written("Unpool", lambda net, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), refused="")
written("LpPool", lambda net, x: F.lp_pool2d(x, 2, 2), refused="")
written("LogSumExp", lambda net, x: torch.logsumexp(x, (2, 3)), refused="")
written("TopK", lambda net, x: x.flatten(2).topk(3, -1).values, refused="", linear=True)
written("Sorted", lambda net, x: x.flatten(2).sort(-1)[0][..., ::9], refused="", linear=True)
written("Std", lambda net, x: x.std((2, 3)) + x.var((2, 3), unbiased=False), refused="")
written("Norm", lambda net, x: x.flatten(2).norm(dim=2), refused="")
written("Rounding", lambda net, x: torch.round(x * 16) / 16, refused="")
written("FakeQuantised", lambda net, x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255), refused="")
written("StraightThrough", lambda net, x: x + (torch.round(x * 16) / 16 - x).detach(), refused="")
