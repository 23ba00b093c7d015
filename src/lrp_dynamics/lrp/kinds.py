"""Which layer a call is."""

from __future__ import annotations

import torch

from lrp_dynamics.lrp.attention import MatMul, Normalization, Product, Quotient, Softmax
from lrp_dynamics.lrp.layers import Detached, Layer, Linear, Move, Pointwise, Unknown, WinnerOf
from lrp_dynamics.lrp.operations import (
    ADAPTIVE_MAX_POOLS,
    AVERAGES,
    BATCH_NORMS,
    GATES,
    IDENTITIES,
    MAX_POOLS,
    MOVES,
    NORMALIZATIONS,
    OVER_CLASSES,
    POINTWISE,
    RESHAPES,
    SOFTMAX,
    STATISTICS,
    WINNERS,
    kind_of,
)
from lrp_dynamics.lrp.pools import MaxPool
from lrp_dynamics.lrp.program import Call, Count, Program, Ref, mapped
from lrp_dynamics.lrp.weighted import Batched, Conv, Dense


def layer_of(call: Call, inputs: tuple[int, ...], program: Program) -> Layer:
    """Return the layer that a call is, without a name; ``inputs`` are the floating values that depend on the input."""
    name, kind, output = call.name, kind_of(call.name), call.output
    if not inputs or not program.floating[output]:
        return Detached(call, inputs, output, kind)
    if name == "copy":
        inputs = tuple(i for i in inputs if is_ref(call.args[1], i))
    if name in RESHAPES:
        return Move(call, inputs, output, "Flatten")
    if name in MOVES:
        return Move(call, inputs, output, kind)
    if name in WINNERS:
        return WinnerOf(call, inputs, output, kind)
    if name in MAX_POOLS or name in ADAPTIVE_MAX_POOLS:
        dims = {**MAX_POOLS, **ADAPTIVE_MAX_POOLS}[name]
        flat = dims == 2 and of_signals(call, program)
        kind = f"{'Adaptive' if name in ADAPTIVE_MAX_POOLS else ''}MaxPool{1 if flat else dims}d"
        return MaxPool(call, inputs, output, kind, dims=dims)
    if name in AVERAGES:
        return Linear(call, inputs, output, average_kind(call, program))
    if name in NORMALIZATIONS or name in BATCH_NORMS:
        return Normalization(call, inputs, output, NORMALIZATIONS.get(name, "InstanceNorm"))
    if name in SOFTMAX:
        return Softmax(call, inputs, output, "Softmax")
    weighted = weighted_layer(call, inputs, program)
    if weighted is not None:
        return weighted
    if name in ("add", "sub", "rsub"):
        twice = sum(is_ref(leaf, inputs[0]) for leaf in call.args) > 1
        return Linear(call, inputs, output, "Add" if len(inputs) > 1 or twice else "Shift")
    if (name in ("mul", "div", "bmm", "mm", "addmm") and len(inputs) > 1) or squares(call, inputs):
        return product(call, inputs, program)
    if (name in ("mul", "div") and is_ref(call.args[0], inputs[0])) or (name == "mul"):
        return Pointwise(call, inputs, output, "Constant")
    if len(inputs) == 1 and (torch.Tag.pointwise in call.op.tags or name in POINTWISE):
        return Pointwise(call, inputs, output, kind)
    return tried(call, inputs, program)


def of_signals(call: Call, program: Program) -> bool:
    """Tell whether a pool of images is what torch makes of one of signals, which it gives a height of one."""
    before = next((c for c in program.calls if c.output == call.args[0].index), None)
    return before is not None and before.name == "unsqueeze" and program.shapes[before.output][-2] == 1


def is_ref(leaf: object, value: int) -> bool:
    """Tell whether an argument is a value."""
    return isinstance(leaf, Ref) and leaf.index == value


def squares(call: Call, inputs: tuple[int, ...]) -> bool:
    """Tell whether a call multiplies a value by itself."""
    return call.name == "mul" and sum(is_ref(leaf, inputs[0]) for leaf in call.args) > 1


def over_classes(call: Call, program: Program) -> bool:
    """Tell whether an activation at the end acts on single scores, or over the classes."""
    if call.name not in OVER_CLASSES:
        return True
    shape = program.shapes[call.output]
    return len(shape) > 1 and call.args[1] % len(shape) != program.axes[call.output]


def average_kind(call: Call, program: Program) -> str:
    """Return the kind of an average; that of all positions is what adaptive pooling to one becomes."""
    rank = len(program.shapes[call.args[0].index])
    keeps = call.name == "mean" and len(call.args) > 2 and call.args[2]
    everywhere = keeps and rank > 2 and sorted(k % rank for k in call.args[1]) == list(range(2, rank))
    if call.name == "avg_pool2d" and of_signals(call, program):
        return "AvgPool1d"
    return f"AdaptiveAvgPool{rank - 2}d" if everywhere else kind_of(call.name)


def weighted_layer(call: Call, inputs: tuple[int, ...], program: Program) -> Layer | None:
    """Return a convolution, or a product with a constant matrix; None if the call is neither."""
    name, output, shapes = call.name, call.output, program.shapes
    if name == "convolution" and is_ref(call.args[0], inputs[0]):
        weight, bias = call.args[1], call.args[2]
        rank, transposed = len(shapes[output]) - 2, call.args[6]
        kind = f"Conv{'Transpose' if transposed else ''}{rank}d"
        geometry = tuple(tuple(part) if isinstance(part, list) else part for part in call.args[3:])
        bias = None if bias is None else bias.index
        return Conv(call, inputs[:1], output, kind, weight=weight.index, bias=bias, geometry=geometry)
    if len(inputs) != 1 or call.kwargs:
        return None
    if name in ("mm", "addmm"):
        a, b = call.args[-2:]
        bias = call.args[0] if name == "addmm" else None
        plain = bias is None or (len(shapes[bias.index]) == 1 and not is_ref(bias, inputs[0]))
        if plain and is_ref(a, inputs[0]) and not is_ref(b, inputs[0]):
            bias = None if bias is None else bias.index
            return Dense(call, inputs, output, "Linear", weight=b.index, bias=bias)
        if name == "mm" and is_ref(b, inputs[0]) and not is_ref(a, inputs[0]):
            return Batched(call, inputs, output, "Linear", weight=a.index, left=True)
    if name == "bmm":
        a, b = call.args
        if is_ref(a, inputs[0]) != is_ref(b, inputs[0]):
            left = is_ref(b, inputs[0])
            return Batched(call, inputs, output, "Linear", weight=(a if left else b).index, left=left)
    return None


def product(call: Call, inputs: tuple[int, ...], program: Program) -> Layer:
    """Return a product or a quotient of two activations."""
    made = {c.output: c for c in program.calls}
    kind = "MatMul" if call.name not in ("mul", "div") else "Mul"
    if call.name == "div":
        return Quotient(call, inputs, call.output, "Div", gate=call.args[1].index)
    statistics = [i for i in inputs if comes_from(STATISTICS, i, made, program)]
    gates = [i for i in inputs if comes_from(GATES, i, made, program)]
    if kind == "Mul" and len(statistics) == 1 and not gates and len(inputs) == 2:
        return Quotient(call, inputs, call.output, "Scale", gate=statistics[0])
    gate = gates[0] if len(gates) == 1 and len(inputs) == 2 else None
    return (MatMul if kind == "MatMul" else Product)(call, inputs, call.output, kind, gate=gate)


def comes_from(
    names: set[str], value: int, made: dict[int, Call], program: Program, steps: int = 16, shifted: bool = False
) -> bool:
    """Tell whether a value comes out of one of some functions, and was only moved, scaled, shifted or masked since."""
    call = made.get(value)
    if call is None or not steps:
        return False
    if call.name in names:
        if call.name in ("hardtanh", "clamp"):  # a hard sigmoid, written out
            return sum(isinstance(a, int | float) for a in call.args) == 2 and call.args[1] >= 0
        return call.name != "tanh" or shifted  # 1 + tanh, as in an approximation of GELU
    active = [i for i in call.inputs if i in program.active and program.floating[i]]
    known = MOVES | RESHAPES | AVERAGES | IDENTITIES | {"add", "sub", "rsub", "mul", "div", "clamp", "clamp_min", "pow"}
    if call.name == "div" and isinstance(call.args[0], Ref):  # as a norm by the mean of norms
        active = [call.args[0].index]
    shifted = shifted or call.name in ("add", "sub", "rsub")
    return call.name in known and len(active) == 1 and comes_from(names, active[0], made, program, steps - 1, shifted)


def tried(call: Call, inputs: tuple[int, ...], program: Program) -> Layer:
    """Return the layer that an operation is which nothing above knows, by trying it on random values.

    It is a move if each value that comes out is one that went in, linear if it is affine in all its inputs at once, and
    a function of single values if each that comes out depends on one that went in, in its place.
    """
    generator = torch.Generator().manual_seed(0)

    def run(scale: float, *tensors: torch.Tensor) -> torch.Tensor:
        made = dict(zip(inputs, tensors, strict=True))

        def argument(leaf: object) -> object:
            if isinstance(leaf, Ref):
                known = made.get(leaf.index)
                shape = program.shape(leaf.index, 2)
                if known is not None:
                    return known * scale
                floating = program.floating[leaf.index]
                return torch.full(shape, 0.7, dtype=torch.float64) if floating else torch.zeros(shape, dtype=torch.long)
            if isinstance(leaf, Count):
                return leaf.at(2)
            return torch.float64 if isinstance(leaf, torch.dtype) and leaf.is_floating_point else leaf

        args, kwargs = mapped((call.args, call.kwargs), argument)
        result = call.op(*args, **kwargs)
        return result if call.item is None else result[call.item]

    shapes = [program.shape(i, 2) for i in inputs]
    a, b = ([torch.rand(s, generator=generator, dtype=torch.float64) - 0.5 for s in shapes] for _ in range(2))
    unknown = Unknown(call, inputs, call.output, kind_of(call.name))
    try:
        with torch.no_grad():
            zero, one, other = run(0.0, *a), run(1.0, *a), run(1.0, *b)
            both = run(1.0, *(x + 3 * y for x, y in zip(a, b, strict=True)))
            chosen = [x > 0 for x in a]
            mixed = run(1.0, *(torch.where(c, x, y) for c, x, y in zip(chosen, a, b, strict=True)))
    except (RuntimeError, TypeError, IndexError, ValueError):
        return unknown
    if not torch.isfinite(both).all() or zero.is_complex():
        return unknown
    affine = (both - (one + 3 * other - 3 * zero)).abs().max() <= 1e-9 * (1 + both.abs().max())
    if not affine:
        single = len(inputs) == 1 and mixed.shape == chosen[0].shape
        single = single and torch.equal(mixed, torch.where(chosen[0], one, other))
        return Pointwise(call, inputs, call.output, kind_of(call.name)) if single else unknown
    if torch.isin(one, torch.cat([x.flatten() for x in a])).logical_or(one == zero).all():
        return Move(call, inputs, call.output, kind_of(call.name))
    return Linear(call, inputs, call.output, kind_of(call.name))
