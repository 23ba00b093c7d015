"""Record what a network computes, as calls of functional ATen operations.

A copy of its structure is run, in eval mode, on a batch of two and on a batch of three zeros: real Python runs, so that
any code style works, and torch's functionalization leaves no in-place writes. What differs between the two runs is
what depends on the number of samples. Large products are not computed, since only their shapes matter here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.operations import ALONG, BATCH_NORMS, FILLED, FILLED_WITH, RESHAPES
from lrp_dynamics.lrp.structure import duplicate, paths, refuse_lazy, tensors

FEW, MORE = 2, 3  # samples of the two runs
DROPOUTS = {
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout,
    torch.alpha_dropout, torch.feature_dropout, torch.feature_alpha_dropout,
}  # fmt: skip
READS_VALUES = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


@dataclass(frozen=True)
class Ref:
    """Stands for a value within a call's arguments."""

    index: int


@dataclass(frozen=True)
class Count:
    """An integer that grows with the number of samples."""

    base: int
    step: int

    def at(self, n: int) -> int:
        """Return the integer for n samples."""
        return self.base + self.step * n


@dataclass(frozen=True)
class Call:
    """One operation: its arguments, in which values are `Ref` and sizes may be `Count`, and the value it makes.

    Of an operation with several results, ``item`` is the one meant. ``scope`` lists the modules that ran it, each with
    the number of its run; ``line`` is the user's code.
    """

    op: Any
    args: tuple
    kwargs: dict
    item: int | None
    output: int
    scope: tuple[tuple[str, int], ...]
    line: str

    @property
    def name(self) -> str:
        """Return the operation's name, without its overload."""
        return self.op.overloadpacket.__name__

    @cached_property
    def inputs(self) -> list[int]:
        """Return the values that the call reads, each once."""
        return list(dict.fromkeys(leaf.index for leaf in leaves((self.args, self.kwargs)) if isinstance(leaf, Ref)))


@dataclass
class Program:
    """A recorded network: its calls in order, and for every value its shape; value 0 is the input."""

    calls: list[Call]
    shapes: list[tuple[int | Count, ...]]
    floating: list[bool]
    sources: dict[int, Any]  # value -> (path, name) of a tensor of the model, or the tensor itself
    active: set[int]  # values that depend on the input
    output: int
    reads: dict[int, Any]  # values of the model that were looked at, and what was seen
    outputs: dict[str, int]  # path of a module -> what it returned when it ran last
    axes: list[int | None] = field(default_factory=list)  # the dimension of the samples of each value
    outer: list[int] = field(default_factory=list)  # how many rows of that dimension each sample has per other row

    def shape(self, value: int, n: int) -> tuple[int, ...]:
        """Return the shape of a value for n samples."""
        return tuple(size.at(n) if isinstance(size, Count) else size for size in self.shapes[value])


def dependencies(name: str, args: Any, kwargs: Any = ()) -> list[int]:
    """Return the values that an operation's result depends on, not only its shape."""
    if name in FILLED:
        return []
    found = args[FILLED_WITH[name]] if name in FILLED_WITH else (args, kwargs)
    return [leaf.index for leaf in leaves(found) if isinstance(leaf, Ref)]


def arguments(call: Call) -> dict[str, Any]:
    """Return a call's arguments by name, defaults included."""
    schema = call.op._schema.arguments
    names = [argument.name for argument in schema]
    defaults = {a.name: a.default_value for a in schema if a.has_default_value()}
    return {**defaults, **dict(zip(names, call.args, strict=False)), **call.kwargs}


def leaves(tree: Any) -> Iterator[Any]:
    """Yield what tuples, lists and dicts hold."""
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        yield from leaves(list(tree.values()))
    else:
        yield tree


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """Return tuples, lists and dicts with a function of what they hold."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(item, function) for item in tree)
    if isinstance(tree, dict):
        return {key: mapped(item, function) for key, item in tree.items()}
    return function(tree)


def is_users(frame: FrameType) -> bool:
    """Tell whether code is neither of torch nor of this package's core."""
    name = frame.f_globals.get("__name__", "")
    return name != "torch" and not name.startswith(("torch.", "lrp_dynamics.lrp", "contextlib"))


def users_line() -> str:
    """Return file and line of the user's code that runs."""
    frame = sys._getframe(1)
    while frame is not None and not is_users(frame):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else "an unknown line"


class Functions(TorchFunctionMode):
    """Lets dropout be the identity, also where a function is told to train, and RMSNorm and GLU what they are."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run a function of torch."""
        if func in DROPOUTS:
            return args[0] if args else kwargs["input"]
        function = {F.rms_norm: rms_norm, torch.rms_norm: rms_norm, F.glu: glu}.get(func, func)
        return function(*args, **(kwargs or {}))


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Normalize by one operation, on any device."""
    return torch.ops.aten._fused_rms_norm(input, list(normalized_shape), weight, eps)[0]


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Gate one half of the values by the other."""
    signal, gate = input.chunk(2, dim)
    return signal * gate.sigmoid()


class Recording(TorchDispatchMode):
    """Writes down every call."""

    def __init__(self):
        super().__init__()
        self.sources: dict[int, Any] = {}  # id of a stand-in -> the tensor that it stands for
        self.modules: dict[int, str] = {}  # id of a module's copy -> its path
        self.calls: list[Call] = []
        self.index: dict[int, int] = {}  # id of a tensor -> its value
        self.kept: list[Tensor] = []  # ids stay unique while their tensors live
        self.values: dict[int, Any] = {}  # values that no call makes
        self.active: set[int] = set()
        self.reads: dict[int, Any] = {}
        self.outputs: dict[str, int | None] = {}  # what each module returned when it ran last
        self.scope: list[tuple[str, int]] = []
        self.runs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports dynamo for it, which takes more than a second

    def add(self, tensor: Tensor, source: Any = None) -> int:
        """Give a tensor the next number."""
        value = self.index[id(tensor)] = len(self.kept)
        self.kept.append(tensor)
        if source is not None:
            self.values[value] = source
        return value

    def reference(self, leaf: Any) -> Any:
        """Return what stands for an argument."""
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) not in self.index:  # of the model, or made where nothing is recorded: a constant
            self.add(leaf, self.sources.get(id(leaf), leaf))
        return Ref(self.index[id(leaf)])

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation, or make a result of its shape, and write it down."""
        kwargs = dict(kwargs or {})
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        kept = mapped((args, kwargs), self.reference)
        reads = [leaf.index for leaf in leaves(kept) if isinstance(leaf, Ref)]
        active = not self.active.isdisjoint(dependencies(func.overloadpacket.__name__, *kept))
        if active and self.looks_at_values(func, kept[0]):
            raise UserError(f"the model's forward branches on the values of its input at {users_line()}")
        if func._schema.is_mutable:  # functionalization leaves none, but for tensors that it does not know
            raise UserError(f"the model writes into a tensor that has no copy to write into, at {users_line()}")
        result = shaped(func, args) if active and not kwargs else None
        result = func(*args, **kwargs) if result is None else result
        if not active and func.overloadpacket is torch.ops.aten._local_scalar_dense:
            self.reads[reads[0]] = result
        line = users_line()
        items = enumerate(result) if isinstance(result, (tuple, list)) else [(None, result)]
        for item, tensor in items:
            if isinstance(tensor, Tensor):
                value = self.add(tensor)
                self.calls.append(Call(func, *kept, item, value, tuple(self.scope), line))
                if active:
                    self.active.add(value)
        return result

    def looks_at_values(self, func: Any, args: tuple) -> bool:
        """Tell whether what follows depends on the values of the input that an operation reads."""
        if func.overloadpacket is torch.ops.aten.index:
            masks = [i.index for i in args[1] if isinstance(i, Ref) and self.kept[i.index].dtype == torch.bool]
            return not self.active.isdisjoint(masks)
        return any(tag in func.tags for tag in READS_VALUES)

    def enter(self, path: str) -> Callable:
        """Return a hook that says that a module starts."""

        def hook(*_: Any) -> None:
            self.runs += 1
            self.scope.append((path, self.runs))

        return hook

    def leave(self, path: str) -> Callable:
        """Return a hook that says that a module ended, and with which value."""

        def hook(_: Any, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                self.outputs[path] = self.index.get(id(plain(output)))
            self.scope.pop()

        return hook


def shaped(func: Any, args: tuple) -> Tensor | None:
    """Return something in the shape of a result that need not be computed, None for other operations.

    A function of single values is computed for one of them; products give zeros. Neither takes memory.
    """
    aten, name = torch.ops.aten, func.overloadpacket
    if torch.Tag.pointwise in func.tags and torch.Tag.nondeterministic_seeded not in func.tags:
        tensors = [a for a in args if isinstance(a, Tensor)]
        one = [a[(slice(0, 1),) * a.dim()] if isinstance(a, Tensor) else a for a in args]
        return func(*one).expand(torch.broadcast_shapes(*(a.shape for a in tensors)))
    if name is aten.convolution:
        x, weight, _, stride, padding, dilation, transposed, output_padding, groups = args
        channels = weight.shape[1] * groups if transposed else weight.shape[0]
        sizes = []
        for k, size in enumerate(x.shape[2:]):
            reach = dilation[k] * (weight.shape[2 + k] - 1)
            if transposed:
                sizes.append((size - 1) * stride[k] - 2 * padding[k] + reach + output_padding[k] + 1)
            else:
                sizes.append((size + 2 * padding[k] - reach - 1) // stride[k] + 1)
        fits = x.dim() == weight.dim() and x.shape[1] == (weight.shape[0] if transposed else weight.shape[1] * groups)
        return x.new_zeros(()).expand(x.shape[0], channels, *sizes) if fits and min(sizes) > 0 else None
    if name in (aten.mm, aten.bmm, aten.addmm) and args[-1].dim() > 1:
        a, b = args[-2:]
        fits = a.shape[-1] == b.shape[-2] and a.shape[:-2] == b.shape[:-2] and a.dtype == b.dtype
        return a.new_zeros(()).expand(*a.shape[:-1], b.shape[-1]) if fits else None
    return None


@contextmanager
def plain_operations() -> Iterator[None]:
    """Let attention and transformer layers be run by the operations they are made of."""
    cuda, mha = torch.backends.cuda, torch.backends.mha
    before = (cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled())
    fast, graph = mha.get_fastpath_enabled(), torch._C._jit_set_profiling_mode(False)
    try:
        cuda.enable_flash_sdp(False), cuda.enable_mem_efficient_sdp(False), cuda.enable_math_sdp(True)
        mha.set_fastpath_enabled(False)
        with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False), torch.device("cpu"):
            yield
    finally:
        torch._C._jit_set_profiling_mode(graph)
        mha.set_fastpath_enabled(fast)
        cuda.enable_flash_sdp(before[0]), cuda.enable_mem_efficient_sdp(before[1]), cuda.enable_math_sdp(before[2])


def record(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, recording: Recording) -> Any:
    """Run a copy of a model on zeros (N, ...) and return its output."""
    addresses = {id(t): (path, name) for path, module in paths(model) for name, t in tensors(module).items()}
    held = []  # the stand-ins, whose ids are in `sources`

    def stand_in(tensor: Tensor) -> Tensor:
        inner = tensor.detach()
        inner = inner.clone() if inner.is_inference() else inner
        kind = dtype if inner.is_floating_point() else inner.dtype
        inner = torch.zeros((), dtype=kind).expand(inner.shape) if inner.is_meta else inner.to("cpu", kind)
        held.append(inner)
        recording.sources[id(inner)] = addresses.get(id(tensor), tensor)
        return torch._to_functional_tensor(inner)

    with plain_operations():
        twin, copies = duplicate(model, stand_in)
        for path, module in paths(model):
            found = copies.get(id(module))
            if isinstance(module, torch.jit.ScriptModule):
                for name, tensor in tensors(found).items():
                    recording.sources[id(tensor)] = (path, name)
                    held.append(tensor)
            elif found is not None:
                recording.modules[id(found)] = path
                found.register_forward_pre_hook(recording.enter(path), prepend=True)
                found.register_forward_hook(recording.leave(path), always_call=True)
        x = torch.zeros(shape, dtype=dtype)
        recording.active.add(recording.add(x))
        with recording, Functions():
            torch._enable_functionalization(reapply_views=True)
            try:
                output = twin(torch._to_functional_tensor(x))
                output = plain(output) if isinstance(output, Tensor) else output
            finally:
                torch._disable_functionalization()
    recording.held = held, twin  # so that no id is used again
    return output


def plain(tensor: Tensor) -> Tensor:
    """Return what a tensor in functionalization holds at this moment."""
    if not torch._is_functional_tensor(tensor):
        return tensor
    torch._sync(tensor)
    return torch._from_functional_tensor(tensor)


def both(few: Any, more: Any, where: str) -> Any:
    """Return what both runs have in common; integers that differ as `Count`."""
    if isinstance(few, (tuple, list)) and isinstance(more, (tuple, list)) and len(few) == len(more):
        return type(few)(both(a, b, where) for a, b in zip(few, more, strict=True))
    if isinstance(few, dict) and few.keys() == more.keys():
        return {key: both(few[key], more[key], where) for key in few}
    if type(few) is int and type(more) is int and few != more:
        step = more - few
        return Count(few - FEW * step, step)
    if few == more or (few != few and more != more):  # NaN differs from itself
        return few
    raise UserError(f"the model computes with the number of samples in its batch ({few} and {more}), at {where}")


def capture(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Program:
    """Return the program of a model.

    Parameters
    ----------
    model
        Any module; it is not run and not changed.
    shape
        Of one sample.
    dtype
        In which the model's floating tensors are taken.

    Raises
    ------
    UserError
        If the model fails for such inputs, branches on values, draws random numbers or returns no single tensor; with
        the line of its code.
    """
    refuse_lazy(model)
    few, outputs = None, []
    for n in (FEW, MORE):
        recording = Recording()
        try:
            output = record(model, (n, *shape), dtype, recording)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise failure(error, recording, shape) from error
        if not isinstance(output, Tensor):
            raise UserError(
                f"the model returns a {type(output).__name__}, no single tensor; wrap it in a module that returns the "
                "scores"
            )
        outputs.append(recording.index.get(id(output)))
        few, more = (recording, None) if few is None else (few, recording)
    if [call.op for call in few.calls] != [call.op for call in more.calls] or outputs[0] != outputs[1]:
        raise UserError(
            "the model computes differently for two and for three samples; explain what they have in common"
        )
    calls = []
    for a, b in zip(few.calls, more.calls, strict=True):
        args, kwargs = both((a.args, a.kwargs), (b.args, b.kwargs), a.line)
        calls.append(replace(a, args=args, kwargs=kwargs))
    shapes = [both(tuple(a.shape), tuple(b.shape), "") for a, b in zip(few.kept, more.kept, strict=True)]
    for value, source in few.values.items():
        if isinstance(source, Tensor) and not torch.equal(source, more.values[value]):
            raise UserError("the model makes constants that depend on the number of samples, which cannot be followed")
    program = Program(
        calls, shapes, [t.is_floating_point() or t.is_complex() for t in few.kept], few.values, few.active, outputs[0],
        few.reads, {path: value for path, value in few.outputs.items() if value is not None},
    )  # fmt: skip
    return needed(program)


def needed(program: Program) -> Program:
    """Leave out the calls that the output does not need; refuse random ones among the others."""
    wanted, calls = {program.output, *program.reads}, []
    for call in reversed(program.calls):
        if call.output in wanted:
            wanted.update(dependencies(call.name, call.args, call.kwargs))
            calls.append(call)
            if torch.Tag.nondeterministic_seeded in call.op.tags and arguments(call).get("training") is not False:
                raise UserError(f"the model draws random numbers in eval mode, at {call.line}; make them constants")
    if program.shapes[program.output][:1] != (Count(0, 1),):
        raise UserError("the first dimension of the model's output is not that of the samples")
    if 0 not in wanted:
        raise UserError("the model's output does not depend on its input")
    sources = {value: source for value, source in program.sources.items() if value in wanted | program.reads.keys()}
    axes, outer = [axis_of(shape) for shape in program.shapes], [1] * len(program.shapes)
    for call in reversed(calls):
        if call.output in program.active:
            around = outer_of(call, program, axes, outer)
            if around is None:
                raise UserError(
                    f"the model mixes its samples by {call.name!r} at {call.line}: a map would depend on its batch "
                    "mates; each value must keep one dimension for the samples"
                )
            outer[call.output] = around
    return replace(program, calls=calls[::-1], sources=sources, axes=axes, outer=outer)


def axis_of(shape: tuple[int | Count, ...]) -> int | None:
    """Return the dimension of the samples, None if there is not one alone."""
    found = [k for k, size in enumerate(shape) if isinstance(size, Count)]
    return found[0] if len(found) == 1 and shape[found[0]].base == 0 else None


def outer_of(call: Call, program: Program, axes: list[int | None], outer: list[int]) -> int | None:
    """Return how often the samples repeat within their dimension of a call's output; None if the call mixes them.

    It is 1 where each sample's rows lie together, as in windows of images, and the length of a sequence where (L, N) is
    viewed as one dimension. Mixing is found as far as shapes and dimensions show it.
    """
    axis, inputs = axes[call.output], [i for i in call.inputs if i in program.active and axes[i] is not None]
    if axis is None or not inputs:
        return None
    shapes, first = program.shapes, inputs[0]
    if call.name in RESHAPES:  # samples may be split off or joined with other dimensions, in their order
        before = prod(shapes[first][: axes[first]]) * outer[first]
        around, rest = divmod(before, prod(shapes[call.output][:axis]))
        fits = not rest and shapes[call.output][axis].step % around == 0
        return around if fits else None
    if call.name in BATCH_NORMS and (call.args[3] is None or call.args[5] is True):  # statistics of the batch
        return 1 if axis == 1 and outer[first] == 1 else None
    if call.name in ALONG:
        given = arguments(call)
        along = given.get("dim", given.get("dims", ()))
        along = along if isinstance(along, (tuple, list)) else [along]
        if axes[first] in [k % len(shapes[first]) for k in along if isinstance(k, int)]:
            return None
    around = {outer[i] for i in inputs}
    same = all(shapes[i][axes[i]] == shapes[call.output][axis] for i in inputs)
    return 1 if around == {1} else around.pop() if len(around) == 1 and same else None


def failure(error: Exception, recording: Recording, shape: tuple[int, ...]) -> UserError:
    """Return the error for a forward that fails, with the layer and the line where it does."""
    layer, line, trace = "", "", error.__traceback__
    while trace is not None:
        own = id(trace.tb_frame.f_locals.get("self"))
        if recording.modules.get(own):
            layer = f"layer {recording.modules[own]!r} ({type(trace.tb_frame.f_locals['self']).__name__}) of "
        if is_users(trace.tb_frame):
            line = f", at {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    told = (str(error).strip() or type(error).__name__).splitlines()[0]
    sizes = ", ".join(map(str, (FEW, *shape)))
    return UserError(f"{layer}the model fails for an input of shape ({sizes}){line}: {told}")
