"""Trace a model once into a list of layers, without touching it."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import fx, nn

from lrp_dynamics.errors import UserError
from lrp_dynamics.lrp.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Elementwise,
    Layer,
    Linear,
    MaxPool,
    Reshape,
    Sum,
)

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardswish)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
AVERAGE_POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.Identity)
ADDITIONS = (operator.add, operator.iadd, torch.add)


def functional(module: nn.Module) -> nn.Module:
    """Return a copy of a module without parameters that computes out of place."""
    module = copy.deepcopy(module)
    if hasattr(module, "inplace"):
        module.inplace = False
    return module


def trace(model: nn.Module) -> tuple[list[Layer], int]:
    """Return the layers of a model in the order of execution, and the index of the output.

    Index 0 is the input; layer k computes value k + 1.
    """
    shared = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    try:
        graph = fx.Tracer().trace(copy.deepcopy(model, shared).eval())
    except Exception as error:
        raise UserError(
            f"the model cannot be traced by torch.fx ({error}); its forward must not branch on values of tensors"
        ) from error
    modules = dict(model.named_modules())
    layers: list[Layer] = []
    index: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            if index:
                raise UserError("the model takes more than one input; wrap it in a module with one input")
            index[node] = 0
        elif node.op == "output":
            return merge_batch_norm(layers, index[node.args[0]])
        else:
            layers.append(make_layer(node, modules, tuple(index[n] for n in node.all_input_nodes)))
            index[node] = len(layers)
    raise UserError("the model has no output")


def make_layer(node: fx.Node, modules: dict[str, nn.Module], inputs: tuple[int, ...]) -> Layer:
    """Return the layer that an fx node stands for."""
    name = str(node.target) if node.op == "call_module" else node.name
    if node.op == "call_module":
        m = modules[name]
        kind = type(m).__name__
        if isinstance(m, nn.Linear):
            return Linear(name, kind, inputs, m)
        if isinstance(m, CONVOLUTIONS):
            return Conv(name, kind, inputs, m)
        if isinstance(m, BATCH_NORMS):
            return BatchNorm(name, kind, inputs, m)
        if isinstance(m, ACTIVATIONS):
            return Elementwise(name, kind, inputs, functional(m))
        if isinstance(m, DROPOUTS):
            return Elementwise(name, kind, inputs, lambda x: x)
        if isinstance(m, nn.MaxPool2d):
            options = (m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode)
            return MaxPool(name, kind, inputs, options)
        if isinstance(m, AVERAGE_POOLS):
            return AveragePool(name, kind, inputs, functional(m))
        if isinstance(m, nn.Flatten):
            return Reshape(name, kind, inputs, functional(m))
    elif node.target in (F.relu, torch.relu, "relu"):
        return Elementwise(name, "ReLU", inputs, torch.relu)
    elif node.target in (torch.flatten, "flatten", "view", "reshape"):
        return Reshape(name, "Flatten", inputs, partial(call, node))
    elif node.target in ADDITIONS and len(inputs) == 2:
        return Sum(name, "Add", inputs)
    kind = type(modules[name]).__name__ if node.op == "call_module" else getattr(node.target, "__name__", node.target)
    raise UserError(f"layer {name!r} ({kind}) has no propagation rule; replace it, or explain the part below it")


def call(node: fx.Node, x: torch.Tensor) -> torch.Tensor:
    """Run a node with one tensor input."""
    args = fx.node.map_arg(node.args, lambda _: x)
    if node.op == "call_method":
        return getattr(args[0], node.target)(*args[1:], **node.kwargs)
    function: Callable = node.target
    return function(*args, **node.kwargs)


def merge_batch_norm(layers: list[Layer], output: int) -> tuple[list[Layer], int]:
    """Let a convolution or linear layer that only a BatchNorm reads compute both; the BatchNorm becomes an identity."""
    readers: dict[int, int] = {output: 1}
    for layer in layers:
        for i in layer.inputs:
            readers[i] = readers.get(i, 0) + 1
    for k, layer in enumerate(layers):
        i = layer.inputs[0]
        if isinstance(layer, BatchNorm) and i > 0 and readers[i] == 1 and isinstance(layers[i - 1], Linear):
            layers[i - 1].batch_norm = layer.module
            layers[k] = Elementwise(layer.name, layer.kind, layer.inputs, lambda x: x)
    return layers, output
