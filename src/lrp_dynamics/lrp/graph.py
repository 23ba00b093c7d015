"""Trace a model into a list of layers, without touching it."""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.kinds import (
    ACTIVATIONS,
    ADD,
    BATCH_NORMS,
    FIXED,
    FLATTEN,
    IDENTITIES,
    OUTPUT_ACTIVATIONS,
    REARRANGE,
    RELUS,
    REMEDIES,
    SCALE,
    SIZES,
    SOFTMAX,
    SUBTRACT,
    WEIGHTED,
)
from lrp_dynamics.lrp.layers import (
    Activation,
    BatchNorm,
    Constant,
    Conv,
    FixedMap,
    Layer,
    Linear,
    MaxPool,
    Number,
    OutputActivation,
    Rearrange,
    Shift,
    Sum,
    adaptive_average,
)
from lrp_dynamics.lrp.twin import Rerun, Symbolic, arguments, doubtful, structure_copy, writes_in_place
from lrp_dynamics.lrp.weights import parameter, prelu


@dataclass
class Plan:
    """A traced model: layers in the order of execution (layer k computes value k + 1; value 0 is the input)."""

    layers: list[Layer] = field(default_factory=list)
    output: int = 0
    names: dict[str, int] = field(default_factory=dict)  # module or function -> the value it computes
    merged: dict[str, str] = field(default_factory=dict)  # BatchNorm -> the layer that it became a part of
    output_activation: str | None = None  # before which LRP starts
    rerun: Rerun | None = None  # the model itself, where what overwrites what is not sure


def trace(model: nn.Module) -> Plan:
    """Return the plan of a model; raise a UserError that names what cannot be traced or explained."""
    for path, module in model.named_modules():
        if "forward" in vars(module):
            raise UserError(
                f"layer {path or type(module).__name__!r} has a forward that was put on it after it was made; write a "
                "class with that forward"
            )
    try:
        twin = structure_copy(model)
        if arguments(twin) > 1:
            raise UserError("the model takes more than one input; wrap it in a module that takes one")
        graph = Symbolic().trace(twin)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"torch.fx cannot trace the model ({error}); a forward that branches on values of tensors, or that was "
            "compiled or scripted, cannot be traced: explain a submodule that can be"
        ) from error
    tracer = Tracer(model, twin, graph)
    tracer.plan.rerun = doubtful(twin, graph, tracer.ending)
    return tracer.plan


class Tracer:
    """Turns the nodes of an fx graph into the layers of a plan."""

    def __init__(self, model: nn.Module, twin: nn.Module, graph: fx.Graph):
        self.model, self.modules, self.plan = model, dict(model.named_modules(remove_duplicate=False)), Plan()
        self.twin = twin  # holds the tensors that the forward makes
        self.index: dict[fx.Node, int] = {}  # the value that a node stands for
        self.constants: dict[fx.Node, str] = {}  # parameters and buffers that functions read
        self.numbers: set[int] = set()  # values that are sizes, not activations
        self.tuples: dict[fx.Node, Any] = {}  # chunk, split: only their items become layers
        self.ending = self.output_activation(graph)
        for node in graph.nodes:
            self.add(node)

    def kind(self, node: fx.Node) -> Any:
        """Return the type of the module that a node calls, or the function or the name of the method."""
        return type(self.modules.get(node.target)) if node.op == "call_module" else node.target

    def output_activation(self, graph: fx.Graph) -> fx.Node | None:
        """Return the activation before which LRP starts, if the model ends with one (only reshaped after it)."""
        node = next(iter(next(n for n in graph.nodes if n.op == "output").all_input_nodes), None)
        while node is not None and self.kind(node) in FLATTEN | set(IDENTITIES):
            node = next(iter(node.all_input_nodes), None)
        if node is None or self.kind(node) not in OUTPUT_ACTIVATIONS or len(node.users) != 1:
            return None
        if self.kind(node) in SOFTMAX:
            module = self.modules.get(node.target) if node.op == "call_module" else None
            dim = module.dim if module is not None else dict(enumerate(node.args)).get(1, node.kwargs.get("dim"))
            if dim not in (1, -1, None):
                return None
        return node

    def add(self, node: fx.Node) -> None:
        """Translate one node."""
        if node.op == "placeholder":
            self.index[node] = 0
        elif node.op == "output":
            if not isinstance(node.args[0], fx.Node):
                raise UserError("the model returns no single tensor; wrap it in a module that returns the scores")
            self.plan.output = self.index[node.args[0]]
        elif node.op == "get_attr":
            self.constants[node] = str(node.target)
        else:
            self.add_layer(node)

    def add_layer(self, node: fx.Node) -> None:
        """Translate a call; identities and merged BatchNorms become the value they read."""
        module = self.modules.get(node.target) if node.op == "call_module" else None
        name = self.unique(str(node.target) if module is not None else node.name, module is not None)
        kind = self.kind(node)
        sources = [n for n in node.all_input_nodes if n not in self.constants]
        written = writes_in_place(node, module)
        if not sources and written and not node.users and len(node.all_input_nodes[0].users) == 1:
            return  # a count of calls, or the like
        if not sources and (module is not None or written):
            raise UserError(
                f"layer {name!r} reads no activation but only parameters or buffers, which is not supported"
            )
        is_norm = module is not None and isinstance(module, BATCH_NORMS)
        if sources and (kind in IDENTITIES or (is_norm and self.merges(node, name, module))):
            value = self.index[sources[0]]
        elif kind in (torch.chunk, torch.split, "chunk", "split"):
            if any(u.target is not operator.getitem or not isinstance(u.args[1], int) for u in node.users):
                raise UserError(f"layer {name!r}: only the single parts of a {node.target} have rules; name each part")
            self.tuples[node] = node
            return
        else:
            self.plan.layers.append(self.make(node, name, kind, module, sources))
            value = len(self.plan.layers)
        self.index[node] = value
        if value not in self.numbers and written:
            self.overwrite(node, sources[0], value)
        scopes = [scope.split("@")[0] for scope in (node.meta.get("nn_module_stack") or {})]
        for scope in [*scopes, name]:  # a container's value is that of the last layer within
            self.plan.names[scope] = value

    def make(self, node: fx.Node, name: str, kind: Any, module: nn.Module | None, sources: list[fx.Node]) -> Layer:
        """Return the layer that a node stands for."""
        if kind is operator.getitem and node.args[0] in self.tuples:
            tuple_node = self.tuples[node.args[0]]
            sources = list(tuple_node.all_input_nodes)
            inputs = tuple(self.index[n] for n in sources)
            return Rearrange(name, "Slice", inputs, lambda *xs: call(tuple_node, sources, xs)[node.args[1]])
        inputs = tuple(self.index[n] for n in sources)
        function = partial(self.run, node, sources) if module is None else partial(run_module, out_of_place(module))
        title = kind.__name__ if hasattr(kind, "__name__") else str(kind)
        of_shape = kind in SIZES or (kind is getattr and node.args[1] in ("shape", "ndim"))
        if of_shape or (module is None and all(i in self.numbers for i in inputs)):
            self.numbers.add(len(self.plan.layers) + 1)
            number = Number(name, "Number", inputs, function)
            number.is_size = of_shape or getattr(kind, "__module__", "") in ("_operator", "builtins", "math")
            return number
        if isinstance(module, WEIGHTED):  # its type's name, also where a parametrization made a subclass
            base = next(base for base in WEIGHTED if isinstance(module, base))
            if type(module).forward is not base.forward:
                raise UserError(
                    f"layer {name!r} is a {base.__name__} with a forward of its own, which has no rule here"
                )
            return self.weighted((Linear if base is nn.Linear else Conv)(name, base.__name__, inputs, module))
        if kind in (F.linear, torch.conv1d, torch.conv2d, torch.conv3d):
            return self.functional(node, name, kind, inputs)
        if node is self.ending:
            self.plan.output_activation = name
            return OutputActivation(name, title, inputs)
        if kind in ACTIVATIONS:
            if isinstance(module, nn.PReLU):
                function = partial(prelu, module)
            return Activation(name, "ReLU" if kind in RELUS else title, inputs, function, ACTIVATIONS[kind])
        if isinstance(module, BATCH_NORMS):
            return BatchNorm(name, title, inputs, module)
        if kind in (nn.MaxPool2d, F.max_pool2d, torch.max_pool2d):
            return self.max_pool(node, name, inputs, module)
        if kind in (nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d) and len(inputs) == 1:
            size = module.output_size if module is not None else (*node.args, *node.kwargs.values())[1]
            size = (size, size) if isinstance(size, int) or size is None else tuple(size)
            return FixedMap(name, "AdaptiveAvgPool2d", inputs, partial(adaptive_average, size=size))
        if kind in FIXED or kind in (nn.Upsample, F.interpolate):
            mode = getattr(module, "mode", node.kwargs.get("mode", "nearest"))
            if mode == "bicubic":
                raise UserError(f"layer {name!r}: bicubic interpolation has negative weights; use bilinear")
            return FixedMap(name, "AvgPool2d" if kind is F.avg_pool2d else title, inputs, function)
        if kind in FLATTEN:
            return Rearrange(name, "Flatten", inputs, function)
        if kind in REARRANGE or (kind is F.pad and not node.kwargs.get("value") and len(node.args) < 4):
            if kind is torch.stack and (*node.args[1:], *node.kwargs.values(), 0)[0] == 0:
                raise UserError(f"layer {name!r} stacks along the first dimension, which is that of the samples")
            layer = Rearrange(name, title, inputs, function)
            layer.has_constants = len(sources) < len(node.all_input_nodes)
            return layer
        if kind in ("clone", torch.clone):
            return Layer(name, "Clone", inputs, function)
        if kind in ADD | SUBTRACT | SCALE:
            return self.arithmetic(node, name, kind, inputs, function, sources)
        raise unsupported(name, title)

    def arithmetic(
        self, node: fx.Node, name: str, kind: Any, inputs: tuple[int, ...], function: Any, sources: list[fx.Node]
    ) -> Layer:
        """Return a sum or difference of two activations, or arithmetic with a constant."""
        given = dict(zip(("input", "other"), node.args, strict=False)) | dict(node.kwargs)
        operands = [given.get("input"), given.get("other")]
        activations = [n for n in operands if isinstance(n, fx.Node) and n in self.index]
        activations = [n for n in activations if self.index[n] not in self.numbers]
        if len(activations) == 1:
            if kind in SCALE and operands[0] is not activations[0] and "div" in str(kind):
                raise unsupported(name, "division by an activation")
            activation = sources.index(activations[0])
            if kind in SCALE:
                return Constant(name, "Constant", inputs, function, activation)
            factor = -1.0 if kind in SUBTRACT else 1.0
            factor = 1.0 if operands[0] is activations[0] else factor * node.kwargs.get("alpha", 1)
            return Shift(name, "Shift", inputs, function, activation, factor)
        if kind in SCALE or node.kwargs.get("alpha", 1) != 1:
            raise unsupported(name, "mul")
        return Sum(name, "Add", tuple(self.index[n] for n in activations), 1.0 if kind in ADD else -1.0)

    def functional(self, node: fx.Node, name: str, kind: Any, inputs: tuple[int, ...]) -> Layer:
        """Return a functional convolution or linear layer, whose weights are attributes of the model."""
        keys = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]
        given = dict(zip(keys, node.args, strict=False)) | dict(node.kwargs)
        tensors = {k: self.constants.get(v) for k, v in given.items() if k in ("weight", "bias") and v is not None}
        if None in tensors.values() or len(inputs) != 1:
            raise unsupported(name, "a layer with computed weights")
        if kind is F.linear:
            return self.weighted(Linear(name, "Linear", inputs, Parameters(self.model, tensors)))
        kernel = tuple(self.attribute(tensors["weight"]).shape[2:])
        size = len(kernel)
        spread = lambda v: (v,) * size if isinstance(v, int) else v  # noqa: E731
        if isinstance(given.get("padding"), str):
            raise UserError(f"layer {name!r}: functional convolutions with padding as a word are not supported")
        geometry = {k: spread(given.get(k, 0 if k == "padding" else 1)) for k in ("stride", "padding", "dilation")}
        options = {"padding_mode": "zeros", "kernel_size": kernel, "groups": given.get("groups", 1), **geometry}
        return self.weighted(Conv(name, f"Conv{size}d", inputs, Parameters(self.model, tensors, **options)))

    def weighted(self, layer: Linear) -> Linear:
        """Return a layer whose weight and bias can be read."""
        for key in ("weight", "bias"):
            parameter(layer.module, key, layer.name)
        return layer

    def max_pool(self, node: fx.Node, name: str, inputs: tuple[int, ...], module: nn.Module | None) -> Layer:
        """Return a max-pool with its window."""
        keys = ["input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"]
        given = vars(module) if module is not None else dict(zip(keys, node.args, strict=False)) | dict(node.kwargs)
        if given.get("return_indices"):
            raise UserError(f"layer {name!r}: max-pooling that returns indices is not supported; leave them out")
        pair = lambda v: (v, v) if isinstance(v, int) else tuple(v)  # noqa: E731
        kernel = pair(given["kernel_size"])
        window = (kernel, pair(given.get("stride") or kernel), pair(given.get("padding", 0)))
        return MaxPool(name, "MaxPool2d", inputs, window, pair(given.get("dilation", 1)), given.get("ceil_mode", False))

    def merges(self, node: fx.Node, name: str, module: nn.Module) -> bool:
        """Merge a BatchNorm into the weighted layer that it alone reads; tell whether it could be."""
        if module.running_mean is None:
            raise UserError(f"layer {name!r} is a BatchNorm without running statistics; it mixes samples: give it some")
        source = node.args[0]
        value = self.index[source]
        layer = self.plan.layers[value - 1] if value else None
        readers = {user for n, i in self.index.items() if i == value for user in n.users if self.index.get(user) != i}
        if not isinstance(layer, Linear) or layer.batch_norm is not None or readers != {node}:
            return False
        layer.batch_norm = module
        self.plan.merged[name] = layer.name
        return True

    def overwrite(self, node: fx.Node, target: fx.Node, value: int) -> None:
        """Let whoever reads a value from here on read what a node has made of it in place."""
        old = self.index[target]
        for other in [n for n, i in self.index.items() if i == old and n is not node]:
            self.index[other] = value
        seen = [n for n, i in self.index.items() if i != value and self.base(i) == self.base(old)]
        if any(user not in self.index and user is not node for n in seen for user in n.users):
            raise UserError(
                f"layer {node.name!r} writes in place into a tensor of which a view is read later; use it out of place"
            )

    def base(self, value: int) -> int:
        """Return the value of which another is a view, as far as can be told."""
        while value and isinstance(layer := self.plan.layers[value - 1], Rearrange):
            viewed = set(layer.inputs) - self.numbers
            if len(viewed) != 1:
                break
            value = viewed.pop()
        return value

    def unique(self, name: str, module: bool) -> str:
        """Return a name that no layer has yet: a module's second call is `name#2`."""
        taken = {layer.name for layer in self.plan.layers} | set(self.plan.merged)
        taken |= {path for path in self.modules if not module}
        return name if name not in taken else next(n for k in range(2, 10**6) if (n := f"{name}#{k}") not in taken)

    def attribute(self, path: str) -> Any:
        """Return the model's parameter, buffer or other attribute at a path, as it is now."""
        return operator.attrgetter(path)(self.twin if path.startswith("_tensor_constant") else self.model)

    def run(self, node: fx.Node, sources: list[fx.Node], *values: Any) -> Any:
        """Run a function or method on values, with the constants it reads as they are now."""
        constants = {n: self.attribute(self.constants[n]) for n in node.all_input_nodes if n in self.constants}
        like = next((v for v in values if isinstance(v, Tensor)), None)
        for n, v in constants.items():
            if isinstance(v, Tensor):
                constants[n] = v.detach().to(like.dtype if like is not None and v.is_floating_point() else v.dtype)
        return call(node, [*sources, *constants], [*values, *constants.values()])


class Parameters(SimpleNamespace):
    """Stands for the module that a functional layer does not have."""

    def __init__(self, model: nn.Module, paths: dict[str, str], **options: Any):
        super().__init__(model=model, paths=paths, **options)

    def read(self, key: str, name: str) -> Tensor | None:
        """Return the weight or bias as it is now."""
        owner, _, attribute = self.paths.get(key, "").rpartition(".")
        return parameter(self.model.get_submodule(owner), attribute, name) if attribute else None


def call(node: fx.Node, sources: list[fx.Node], values: Any) -> Any:
    """Run a node's function or method out of place, with values in place of the nodes it reads."""
    known = dict(zip(sources, values, strict=True))
    args = fx.node.map_arg(node.args, known.__getitem__)
    kwargs = {k: v for k, v in fx.node.map_arg(node.kwargs, known.__getitem__).items() if k != "inplace"}
    if node.op == "call_method":
        name = "reshape" if node.target == "view" else str(node.target).rstrip("_")  # memory may be laid out otherwise
        return getattr(args[0], name)(*args[1:], **kwargs)
    function = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul}
    function |= {operator.itruediv: operator.truediv, F.relu_: F.relu, torch.relu_: torch.relu}
    return function.get(node.target, node.target)(*args, **kwargs)


def run_module(module: nn.Module, x: Tensor) -> Tensor:
    """Run a module without parameters, and without its hooks."""
    return module.forward(x)


def out_of_place(module: nn.Module) -> nn.Module:
    """Return a module, or a copy of it that does not overwrite its input."""
    if getattr(module, "inplace", False):
        module = copy.copy(module)
        module.inplace = False
    return module


def unsupported(name: str, title: str) -> UserError:
    """Return the error for a layer without rules."""
    remedy = REMEDIES.get(title.lower(), "replace it by layers that are supported, or explain the model up to it")
    return UserError(f"layer {name!r} ({title}) has no propagation rule; {remedy}")


def annotate(plan: Plan, input_nonnegative: bool) -> list[list[int]]:
    """Set what the graph says of each layer's signs; return, per layer, the values that are done with once it ran."""
    layers, readers = plan.layers, {plan.output: 1}
    nonnegative = [input_nonnegative]
    for layer in layers:
        layer.nonnegative = all(nonnegative[i] for i in layer.inputs)
        nonnegative.append(layer.nonnegative_output())
        for i in layer.inputs:
            readers[i] = readers.get(i, 0) + 1

    # vanishes[i]: wherever value i is 0, no relevance arrives at it.
    vanishes = [i != plan.output for i in range(len(layers) + 1)]
    for k in range(len(layers), 0, -1):
        for i in layers[k - 1].inputs:
            vanishes[i] = vanishes[i] and layers[k - 1].vanishes(vanishes[k])
    for k, layer in enumerate(layers, 1):
        if isinstance(layer, Activation) and layer.kind == "ReLU":
            source = layers[layer.inputs[0] - 1] if layer.inputs[0] else None
            alone = isinstance(source, (Linear, Sum)) and readers[layer.inputs[0]] == 1
            if alone:
                source.rectified = vanishes[k] and not getattr(source.rule, "relative", 0)
            layer.in_place = alone and (source.rectified or not source.needs_output)

    last = {i: k for k, layer in enumerate(layers) for i in layer.inputs}
    needed = {0, plan.output} | {k for k, layer in enumerate(layers, 1) if layer.needs_output}
    needed |= {i for layer in layers if layer.needs_input for i in layer.inputs}
    return [[i for i in set(layer.inputs) - needed if last[i] == k] for k, layer in enumerate(layers)]
