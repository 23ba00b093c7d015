"""Turn a recorded program into layers: what each call is, which belong together, and how they are called."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import nn

from lrp_dynamics.lrp.kinds import layer_of, over_classes
from lrp_dynamics.lrp.layers import Detached, Layer, Linear, Move, OutputActivation, Pointwise
from lrp_dynamics.lrp.operations import (
    BATCH_NORMS,
    IDENTITIES,
    MOVES,
    OUTPUT_ACTIVATIONS,
    PERMUTES,
    RESHAPES,
    kind_of,
    name_of,
)
from lrp_dynamics.lrp.pools import MaxPool
from lrp_dynamics.lrp.program import Call, Count, Program, Ref, mapped
from lrp_dynamics.lrp.values import Values
from lrp_dynamics.lrp.weighted import Batched, BatchNorm, Conv, Dense, Diagonal, Weighted

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Plan:
    """A network as layers.

    Attributes
    ----------
    program
        As it was recorded.
    constants
        The calls that do not depend on the input: they run before each pass.
    layers
        In the order of execution.
    output
        The value that LRP starts from.
    names
        The value that each module, or layer that no module names, computes.
    merged
        BatchNorm -> the layer that it became a part of.
    output_activation
        The activation before which LRP starts.
    """

    program: Program
    constants: list[Call]
    layers: list[Layer]
    output: int
    names: dict[str, int]
    merged: dict[str, str]
    output_activation: str | None

    def output_shape(self, n: int) -> tuple[int, ...]:
        """Return the shape of the output of n samples."""
        return self.program.shape(self.output, n)


@dataclass
class Builder:
    """What is known while a plan is made."""

    program: Program
    modules: dict[str, nn.Module]
    calls: list[Call] = field(default_factory=list)  # that depend on the input, identities left out
    constants: list[Call] = field(default_factory=list)
    same: dict[int, int] = field(default_factory=dict)  # a value -> the one that it is, or became a part of
    layers: dict[int, Layer] = field(default_factory=dict)  # by output
    readers: dict[int, list[Call]] = field(default_factory=lambda: defaultdict(list))
    parts: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))  # a value -> those that became it
    detached: set[int] = field(default_factory=set)  # made of masks and indices alone: constants, for relevance
    norms: dict[int, Call] = field(default_factory=dict)  # output of a weighted layer -> the BatchNorm merged into it

    def resolve(self, value: int) -> int:
        """Return the value that a value is."""
        while value in self.same:
            value = self.same[value]
        return value


def make_plan(program: Program, modules: dict[str, nn.Module]) -> Plan:
    """Return the plan of a program; ``modules`` are the model's by path."""
    build = Builder(program, modules)
    for call in program.calls:
        add_call(build, call)
    for call in build.calls:
        for value in call.inputs:
            build.readers[value].append(call)
    ending = output_activation(build)
    for call in build.calls:
        add_layer(build, call, ending)
    names, layers, merged = named(build)
    left_out = next((layer.name for layer in layers if isinstance(layer, OutputActivation)), None)
    return Plan(program, build.constants, layers, build.resolve(program.output), names, merged, left_out)


def add_call(build: Builder, call: Call) -> None:
    """Sort a call: a constant, the same value as another, or one to make a layer of."""
    program = build.program
    if call.output not in program.active:
        build.constants.append(call)
        return

    def renamed(leaf: Any) -> Any:
        return Ref(build.resolve(leaf.index)) if isinstance(leaf, Ref) else leaf

    if not build.same.keys().isdisjoint(call.inputs):
        args, kwargs = mapped((call.args, call.kwargs), renamed)
        call = replace(call, args=args, kwargs=kwargs)
    source = call.args[0].index if call.args and isinstance(call.args[0], Ref) else None
    floating = source in program.active and program.floating[source] and program.floating[call.output]
    unchanged = (
        call.name in RESHAPES | {"expand"} and floating and program.shapes[source] == program.shapes[call.output]
    )
    if floating and (call.name in IDENTITIES or unchanged):
        build.same[call.output] = source
    else:
        build.calls.append(call)


def output_activation(build: Builder) -> Call | None:
    """Return the activation before which LRP starts, if the model ends with one (only reshaped after it)."""
    made = {call.output: call for call in build.calls}
    call = made.get(build.resolve(build.program.output))
    while call is not None and call.name in RESHAPES:
        call = made.get(call.args[0].index)
    if call is None or call.name not in OUTPUT_ACTIVATIONS or len(build.readers[call.output]) > 1:
        return None
    return call if over_classes(call, build.program) and call.args[0].index in build.program.active else None


def add_layer(build: Builder, call: Call, ending: Call | None) -> None:
    """Make a layer of a call, or a part of the one before it."""
    program = build.program

    def renamed(leaf: Any) -> Any:  # what was merged since
        return Ref(build.resolve(leaf.index)) if isinstance(leaf, Ref) else leaf

    if not build.same.keys().isdisjoint(call.inputs):
        args, kwargs = mapped((call.args, call.kwargs), renamed)
        call = replace(call, args=args, kwargs=kwargs)
    inputs = tuple(i for i in call.inputs if i in program.active and program.floating[i] and i not in build.detached)
    if call is ending or (ending is not None and call.output == ending.output):
        build.layers[call.output] = OutputActivation(call, inputs, call.output, kind_of(call.name))
    elif not (merge_batch_norm(build, call, inputs) or merge_bias(build, call, inputs)):
        layer = layer_of(call, inputs, program)
        build.layers[call.output] = with_padding(build, layer) if isinstance(layer, Conv) else layer
        if type(layer) is Detached:
            build.detached.add(call.output)


def merge_batch_norm(build: Builder, call: Call, inputs: tuple[int, ...]) -> bool:
    """Make a BatchNorm a part of the layer with weights that it alone reads, or a layer of its own; tell whether so."""
    training = call.args[5] if call.name in BATCH_NORMS and len(call.args) > 7 else False
    if call.name not in BATCH_NORMS or training is True or call.args[3] is None:
        return False
    weight, bias, mean, variance = (leaf.index if isinstance(leaf, Ref) else None for leaf in call.args[1:5])
    norm = BatchNorm(
        weight, bias, mean, variance, call.args[-1] if not isinstance(call.args[-1], bool) else call.args[7]
    )
    source = build.layers.get(inputs[0])
    alone = alone_reads(build, call, inputs[0])
    if isinstance(source, (Conv, Dense)) and source.norm is None and alone:
        become(build, source, call, norm=norm)
        build.norms[call.output] = call
    else:
        kind = f"BatchNorm{max(1, len(build.program.shapes[call.output]) - 2)}d"
        build.layers[call.output] = Diagonal(call, inputs, call.output, kind, norm=norm)
    return True


def merge_bias(build: Builder, call: Call, inputs: tuple[int, ...]) -> bool:
    """Make an added constant the bias of the layer with weights before it, if it is one; tell whether so.

    Moves may lie between, as in an einsum.
    """
    if call.name != "add" or call.kwargs or len(inputs) != 1 or not all(isinstance(a, Ref) for a in call.args):
        return False
    constant = next((a.index for a in call.args if a.index != inputs[0]), None)
    if constant is None or build.program.shapes[inputs[0]] != build.program.shapes[call.output]:
        return False
    moves, reader, value = [], call, inputs[0]
    while alone_reads(build, reader, value) and is_reordering(build.layers.get(value)):
        moves.append(build.layers[value])
        reader, value = moves[-1].call, moves[-1].inputs[0]
    source = build.layers.get(value)
    if not isinstance(source, Dense | Batched | Conv) or source.bias is not None or source.norm is not None:
        return False
    if not alone_reads(build, reader, value) or not is_bias(build.program, source, moves, constant):
        return False
    build.layers[value] = source = replace(source, bias=constant)
    become(build, moves[0] if moves else source, call)
    return True


def is_reordering(layer: Layer | None) -> bool:
    """Tell whether a layer only reshapes or reorders."""
    return type(layer) is Move and layer.call.name in RESHAPES | PERMUTES


def is_bias(program: Program, source: Weighted, moves: list[Move], constant: int) -> bool:
    """Tell whether a constant, added after some moves, adds one number to each output channel of a layer, in order."""
    shape, dim = program.shape(source.output, 2), 1 if isinstance(source, Conv) else -1
    dim = (-2 if getattr(source, "left", False) else dim) % len(shape)
    channels = [size if k == dim else 1 for k, size in enumerate(shape)]
    if any(isinstance(size, Count) for size in program.shapes[constant]):
        return False
    values = Values(program, torch.zeros(1, dtype=torch.float64), 2)
    found = torch.arange(shape[dim], dtype=torch.float64).view(channels).expand(shape)
    for move in reversed(moves):
        found = values.run(move.call, {move.inputs[0]: found})
    own = program.shape(constant, 2)
    if prod(own) != shape[dim]:
        return False
    return torch.equal(found, torch.arange(shape[dim], dtype=torch.float64).view(own).expand(found.shape))


def with_padding(build: Builder, layer: Conv) -> Conv:
    """Return a convolution together with what pads its input: zeros, or whatever its module does by itself."""
    made = {call.output: call for call in build.calls}
    scope, waiting, before = layer.call.scope[-1:], [layer.inputs[0]], {}
    own = leaf_of(build, layer.call) is not None
    while waiting:
        call = made.get(waiting.pop())
        if call is not None and call.output not in before:
            zeros = call.name == "constant_pad_nd" and (call.args[2:] or (0,))[0] == 0
            if zeros or (own and call.scope[-1:] == scope and call.name in MOVES):
                before[call.output] = call
                waiting += call.inputs
    read = {i for call in before.values() for i in call.inputs if i in build.program.active} - before.keys()
    readers = {reader.output for value in before for reader in build.readers[value]} - {layer.call.output}
    if len(read) != 1 or readers - before.keys():
        return layer
    for value in before:
        build.layers.pop(value, None)
    calls = tuple(before[value] for value in sorted(before))
    return replace(layer, inputs=tuple(read), before=calls)


def alone_reads(build: Builder, call: Call | None, value: int) -> bool:
    """Tell whether a value has one reader, ``call`` if given, and is not the output."""
    found = [r for v in [value, *build.parts[value]] for r in build.readers.get(v, ())]
    readers = [r for r in found if build.resolve(r.output) != value]  # but for those that became a part of it
    return (
        len(readers) == 1
        and (call is None or readers[0].output == call.output)
        and (build.resolve(build.program.output) != value)
    )


def become(build: Builder, layer: Layer, call: Call, **parts: Any) -> None:
    """Let a layer make the value that a call makes, of which it is a part from now on."""
    del build.layers[layer.output]
    build.same[layer.output] = call.output
    build.parts[call.output] += [layer.output, *build.parts[layer.output]]
    build.layers[call.output] = replace(layer, output=call.output, **parts)


def leaf_of(build: Builder, call: Call) -> tuple[str, int] | None:
    """Return path and run of the module of torch that a call belongs to, if it has no modules within."""
    if not call.scope:
        return None
    path, run = call.scope[-1]
    module = build.modules.get(path)
    whole = path and module is not None and set(module._modules) <= {"parametrizations"}
    return (path, run) if whole and torch_type(module) else None


def torch_type(module: nn.Module) -> str | None:
    """Return the name of the type of a module of torch, also where a parametrization or a user made a subclass."""
    if type(module).__module__.startswith(("torch.nn.modules", "torchvision.ops")):
        return type(module).__name__
    return next((k.__name__ for k in type(module).__mro__ if k.__module__.startswith("torch.nn.modules")
                 and k is not nn.Module), None)  # fmt: skip


def named(build: Builder) -> tuple[dict[str, int], list[Layer], dict[str, str]]:
    """Return the values by name, the layers with their names, and what was merged into which."""
    order = {call.output: k for k, call in enumerate(build.calls)}
    layers = sorted(build.layers.values(), key=lambda layer: order[layer.output])
    runs = defaultdict(list)
    for layer in layers:
        if leaf := leaf_of(build, layer.call):
            runs[leaf].append(layer)
    paths = set(build.modules)
    taken: Counter[str] = Counter()
    found, names = [], {}
    for layer in layers:
        leaf = leaf_of(build, layer.call)
        if leaf is not None:
            working = [one for one in runs[leaf] if not isinstance(one, Move)] or runs[leaf]
            weighted = [one for one in working if "weighted" in one.accepts] or working
            if layer is weighted[-1]:
                kind = torch_type(build.modules[leaf[0]])
                kind = kind if isinstance(layer, Pointwise | Move | Linear | MaxPool | OutputActivation) else layer.kind
                found.append(replace(layer, kind=kind, name=unique(leaf[0], taken)))
                continue
            base = f"{leaf[0]}.{name_of(layer.call.name)}"
        else:
            base = weights_name(build, layer)
            if base is not None:
                found.append(replace(layer, name=unique(base, taken)))
                continue
            base = scoped(build, layer)
        found.append(replace(layer, name=unique(base, taken, paths, "_" if leaf is None else "#")))
    for path, value in build.program.outputs.items():
        names[path] = build.resolve(value)
    names = {path: value for path, value in names.items() if value in build.program.active and path}
    names |= {layer.name: layer.output for layer in found}
    merged = {}
    by_output = {layer.output: layer.name for layer in found}
    for value, call in build.norms.items():
        leaf = leaf_of(build, call)
        merged[unique(leaf[0] if leaf else name_of(call.name), taken, paths if leaf is None else ())] = by_output[value]
    return names, found, merged


def weights_name(build: Builder, layer: Layer) -> str | None:
    """Return the module whose weight a layer reads that no module ran, as torch's attention does with `out_proj`."""
    made = {call.output: call for call in build.constants}
    value = layer.weight if isinstance(layer, Weighted) and not isinstance(layer, Diagonal) else None
    while value in made and len(made[value].inputs) == 1:
        value = made[value].inputs[0]
    path, name = source if isinstance(source := build.program.sources.get(value), tuple) else ("", "")
    return ".".join(part for part in (path, name.removesuffix("weight").rstrip("_")) if part) if path else None


def scoped(build: Builder, layer: Layer) -> str:
    """Return how a layer that no module names is called: within a module of torch after that as well."""
    path = layer.call.scope[-1][0] if layer.call.scope else ""
    module, name = build.modules.get(path), name_of(layer.call.name)
    own = path and type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, CONTAINERS)
    return f"{path}.{name}" if own else name


def unique(name: str, taken: Counter[str], paths: Any = (), mark: str = "#") -> str:
    """Return a name that no layer has yet: a module's second call is `name#2`, a function's `name_1`."""
    count = taken[name]
    taken[name] += 1
    found = name if not count else f"{name}#{count + 1}" if mark == "#" else f"{name}_{count}"
    return found if found not in paths else unique(f"{name}#2" if not count else found, taken, paths, mark)
