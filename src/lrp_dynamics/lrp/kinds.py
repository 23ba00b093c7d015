"""What torch calls the layers: module types, functions and methods, by what becomes of them."""

import operator

import torch
import torch.nn.functional as F
from torch import nn

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
IDENTITIES = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity,
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
    "contiguous", "detach", "float", "double",
)  # fmt: skip
# Functions of single values, by whether their output is >= 0.
ACTIVATIONS = {
    **dict.fromkeys((nn.ReLU, F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), True),
    **dict.fromkeys((nn.ReLU6, nn.Sigmoid, nn.Softplus, nn.Hardsigmoid, F.relu6, F.softplus, F.hardsigmoid), True),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), True),
    **dict.fromkeys((nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh), False),
    **dict.fromkeys((nn.Hardswish, nn.Hardtanh, nn.Softsign, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu), False),
    **dict.fromkeys((F.silu, F.mish, F.hardswish, F.hardtanh, torch.tanh, F.tanh, "tanh"), False),
}
# Activations that give a score below 0 another sign, and so each contribution to it; those of SOFTMAX mix the classes.
SOFTMAX = {nn.Softmax, F.softmax, torch.softmax, "softmax", nn.LogSoftmax, F.log_softmax, torch.log_softmax}
SOFTMAX |= {"log_softmax"}
OUTPUT_ACTIVATIONS = SOFTMAX | {
    nn.Sigmoid, torch.sigmoid, F.sigmoid, "sigmoid", torch.sigmoid_, "sigmoid_", nn.Hardsigmoid, F.hardsigmoid,
    nn.Softplus, F.softplus, nn.LogSigmoid, F.logsigmoid,
}  # fmt: skip
RELUS = {nn.ReLU, F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"}
FIXED = {
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d,
    torch.mean, torch.sum, "mean", "sum",
}  # fmt: skip
FLATTEN = {nn.Flatten, nn.Unflatten, torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze}
FLATTEN |= {"flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten"}
REARRANGE = {
    torch.cat, torch.concat, torch.stack, torch.permute, torch.transpose, operator.getitem, torch.chunk, torch.split,
    F.pixel_shuffle, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ZeroPad2d, nn.ReflectionPad2d,
    nn.ReplicationPad2d, nn.CircularPad2d, "permute", "transpose", "chunk", "split", "expand", "narrow",
}  # fmt: skip
ADD = {operator.add, operator.iadd, torch.add, "add", "add_"}
SUBTRACT = {operator.sub, operator.isub, torch.sub, "sub", "sub_"}
SCALE = {operator.mul, operator.imul, torch.mul, "mul", "mul_", operator.truediv, operator.itruediv, torch.div, "div"}
SIZES = {"size", "dim", "numel"}
REMEDIES = {
    "softmax": "only at the very end, over the classes, can it be left out: explain the scores before it",
    "logsoftmax": "only at the very end, over the classes, can it be left out: explain the scores before it",
    "log_softmax": "only at the very end, over the classes, can it be left out: explain the scores before it",
    "mul": "products of two activations have no LRP rule here; only constants can be factors",
}
