"""Run a copy of a network's structure once, and write down every operation that it calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import zip_longest
from math import prod
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.operations import BATCH_NORMS
from lrp_dynamics.lrp.program import Call, Ref, dependencies, mapped
from lrp_dynamics.lrp.structure import duplicate, paths, tensors

DROPOUTS = {
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout,
    torch.alpha_dropout, torch.feature_dropout, torch.feature_alpha_dropout,
}  # fmt: skip
OWN = torch.library.Library("lrp_dynamics", "DEF")
OWN.define("rms_norm(Tensor x, int[] shape, Tensor? weight, float? eps) -> Tensor")
OWN.impl("rms_norm", F.rms_norm, "CompositeExplicitAutograd")
PLAINER = {  # products by the operations that have rules
    "addmm": lambda c, a, b, beta=1, alpha=1: plus(torch.mm(a, b), c, beta, alpha),
    "baddbmm": lambda c, a, b, beta=1, alpha=1: plus(torch.bmm(a, b), c, beta, alpha),
    "mv": lambda a, v: torch.mm(a, v.unsqueeze(1)).squeeze(1),
    "addmv": lambda c, a, v, beta=1, alpha=1: plus(torch.mm(a, v.unsqueeze(1)).squeeze(1), c, beta, alpha),
    "dot": lambda a, b: (a * b).sum(),
}
LEAVES_TORCH = {Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__}
SHAPED_AS_FIRST = {"slice_scatter", "select_scatter", "diagonal_scatter", "copy"}  # writes in place, made functional
READS_VALUES = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


def plus(product: Tensor, other: Tensor, beta: float, alpha: float) -> Tensor:
    """Return a product and what is added to it, each scaled."""
    return (product if alpha == 1 else product * alpha) + (other if beta == 1 else other * beta)


@cache
def is_whole(func: Any) -> bool:
    """Tell whether an operation is made of others, into which it should have been taken apart."""
    made = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
    return made and func.overloadpacket.__name__ not in BATCH_NORMS


def broadcast(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape that shapes broadcast to; torch's own function imports more than half a second's worth."""
    sizes = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return tuple(next((k for k in found if k != 1), 1) for found in sizes)[::-1]


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
    """Lets dropout be the identity, also where a function is told to train, and RMSNorm and GLU what they are.

    Refuses what takes values out of torch, where no operation shows it.
    """

    def __init__(self, recording: Recording):
        super().__init__()
        self.recording = recording

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run a function of torch."""
        if func in DROPOUTS:
            return args[0] if args else kwargs["input"]
        if func in LEAVES_TORCH:
            if self.recording.index.get(id(plain(args[0]))) in self.recording.active:
                raise UserError(f"the model's forward takes the values of its input out of torch at {users_line()}")
            args = (plain(args[0]), *args[1:])
        function = {F.rms_norm: rms_norm, torch.rms_norm: rms_norm, F.glu: glu}.get(func, func)
        return function(*args, **(kwargs or {}))


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Normalize by one operation, which torch has on GPUs alone."""
    return torch.ops.lrp_dynamics.rms_norm(input, list(normalized_shape), weight, eps)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Gate one half of the values by the other."""
    signal, gate = input.chunk(2, dim)
    return signal * gate.sigmoid()


class Recording(TorchDispatchMode):
    """Writes down every call."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self.sources: dict[int, Any] = {}  # id of a stand-in -> the tensor that it stands for
        self.modules: dict[int, str] = {}  # id of a module's copy -> its path
        self.calls: list[Call] = []
        self.index: dict[int, int] = {}  # id of a tensor -> its value
        self.kept: list[Tensor] = []  # ids stay unique while their tensors live
        self.values: dict[int, Any] = {}  # values that no call makes
        self.active: set[int] = set()
        self.reads: dict[int, Any] = {}
        self.outputs: dict[str, int | None] = {}  # what each module returned when it ran last
        self.zeros: dict[torch.dtype, Tensor] = {}
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
        if func is torch.ops.aten._convolution.default:  # of traced modules
            func, args = torch.ops.aten.convolution.default, args[:9]
        if is_whole(func):  # in inference mode operations come whole that are made of others
            with self:
                return func.decompose(*args, **kwargs)
        if func.overloadpacket.__name__ in PLAINER and not self.is_dense(func, args, kwargs):
            with self:
                return PLAINER[func.overloadpacket.__name__](*args, **kwargs)
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        if isinstance(kwargs.get("dtype"), torch.dtype) and kwargs["dtype"].is_floating_point:
            kwargs["dtype"] = self.dtype  # all is computed in one precision
        kept = mapped((args, kwargs), self.reference)
        active = not self.active.isdisjoint(dependencies(func.overloadpacket.__name__, *kept))
        if active and self.looks_at_values(func, kept[0]):
            raise UserError(
                f"the model's forward branches on the values of its input at {users_line()}; compute both branches and "
                "choose by torch.where, or explain what comes before or after as a module of its own"
            )
        if func._schema.is_mutable:  # functionalization leaves none, but for tensors that it does not know
            raise UserError(f"the model writes into a tensor that has no copy to write into, at {users_line()}")
        result = self.shaped(func, args) if active and not kwargs else None
        result = self.run(func, args, kwargs) if result is None else result
        if not active and func.overloadpacket is torch.ops.aten._local_scalar_dense:
            self.reads[kept[0][0].index] = result
        if active and not func.is_view:
            result = mapped(result, self.emptied)
        line = users_line()
        items = enumerate(result) if isinstance(result, (tuple, list)) else [(None, result)]
        for item, tensor in items:
            if isinstance(tensor, Tensor):
                value = self.add(tensor)
                self.calls.append(Call(func, *kept, item, value, tuple(self.scope), line))
                if active:
                    self.active.add(value)
        return result

    def is_dense(self, func: Any, args: tuple, kwargs: dict) -> bool:
        """Tell whether an operation is a product with a bias that does not depend on the input."""
        bias = self.index.get(id(args[0]))
        return func is torch.ops.aten.addmm.default and not kwargs and bias not in self.active

    @staticmethod
    def run(func: Any, args: tuple, kwargs: dict) -> Any:
        """Run an operation; where memory lies otherwise than torch expects after a write in place, a view is a copy."""
        try:
            return func(*args, **kwargs)
        except RuntimeError:
            if func is not torch.ops.aten.view.default:
                raise
            return args[0].reshape(args[1])

    def looks_at_values(self, func: Any, args: tuple) -> bool:
        """Tell whether what follows depends on the values of the input that an operation reads."""
        if func.overloadpacket is torch.ops.aten.index:
            masks = [i.index for i in args[1] if isinstance(i, Ref) and self.kept[i.index].dtype == torch.bool]
            return not self.active.isdisjoint(masks)
        return any(tag in func.tags for tag in READS_VALUES)

    def shaped(self, func: Any, args: tuple) -> Tensor | None:
        """Return zeros in the shape of a result that need not be computed, None for other operations."""
        aten, name = torch.ops.aten, func.overloadpacket
        if name.__name__ in SHAPED_AS_FIRST:
            return self.unread(args[0].shape, args[0].dtype, args[0].stride())
        if torch.Tag.pointwise in func.tags and torch.Tag.nondeterministic_seeded not in func.tags:
            tensors = [a for a in args if isinstance(a, Tensor)]
            one = [a[(slice(0, 1),) * a.dim()] if isinstance(a, Tensor) else a for a in args]
            shape = broadcast(a.shape for a in tensors)
            like = next((a for a in tensors if a.shape == shape), None)
            return self.unread(shape, func(*one).dtype, None if like is None else torch.empty_like(like).stride())
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
            channels_read = weight.shape[0] if transposed else weight.shape[1] * groups
            fits = x.dim() == weight.dim() and x.shape[1] == channels_read
            return self.unread((x.shape[0], channels, *sizes), x.dtype) if fits and min(sizes) > 0 else None
        if name in (aten.mm, aten.bmm, aten.addmm) and args[-1].dim() > 1:
            a, b = args[-2:]
            fits = a.shape[-1] == b.shape[-2] and a.shape[:-2] == b.shape[:-2] and a.dtype == b.dtype
            return self.unread((*a.shape[:-1], b.shape[-1]), a.dtype) if fits else None
        return None

    def emptied(self, leaf: Any) -> Any:
        """Return zeros instead of a tensor that depends on the input: nothing may read it, and its memory is freed."""
        return self.unread(leaf.shape, leaf.dtype, leaf.stride()) if isinstance(leaf, Tensor) else leaf

    def unread(self, shape: tuple[int, ...], dtype: torch.dtype, strides: tuple[int, ...] | None = None) -> Tensor:
        """Return zeros that nothing writes into: all lie in the same memory."""
        count = prod(shape)
        if strides is not None and count:
            count = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if dtype not in self.zeros or self.zeros[dtype].numel() < count:
            self.zeros[dtype] = torch.zeros(count, dtype=dtype, device="cpu")
        flat = self.zeros[dtype][:count]
        return flat.view(shape) if strides is None else flat.as_strided(shape, strides)

    def enter(self, path: str) -> Callable:
        """Return a hook that says that a module starts."""

        def hook(*_: Any) -> None:
            self.runs += 1
            self.scope.append((path, self.runs))

        return hook

    def leave(self, path: str) -> Callable:
        """Return a hook that says that a module ended, and with which value."""

        def hook(_: Any, __: Any, output: Any) -> None:
            if isinstance(output, tuple | list) and output:  # as of attention: the values, then its weights
                output = output[0]
            if isinstance(output, Tensor):
                self.outputs[path] = self.index.get(id(plain(output)))
            self.scope.pop()

        return hook


@contextmanager
def plain_operations() -> Iterator[None]:
    """Let attention and transformer layers be run by the operations they are made of."""
    cuda, mha = torch.backends.cuda, torch.backends.mha
    before = (cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled())
    fast, graph = mha.get_fastpath_enabled(), torch._C._jit_set_profiling_mode(False)
    try:
        cuda.enable_flash_sdp(False), cuda.enable_mem_efficient_sdp(False), cuda.enable_math_sdp(True)
        mha.set_fastpath_enabled(False)
        compiled = "torch._dynamo" in sys.modules  # then parts of the forward may be compiled functions
        eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
        with eager, torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch._C._jit_set_profiling_mode(graph)
        mha.set_fastpath_enabled(fast)
        cuda.enable_flash_sdp(before[0]), cuda.enable_mem_efficient_sdp(before[1]), cuda.enable_math_sdp(before[2])


def record(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, recording: Recording) -> Any:
    """Run a copy of a model on zeros (N, ...) and return its output."""
    addresses = {id(t): (path, name) for path, module in paths(model).items() for name, t in tensors(module).items()}
    held = []  # the stand-ins, whose ids are in `sources`

    def stand_in(tensor: Tensor) -> Tensor:
        inner = tensor.detach()
        inner = inner.clone() if inner.is_inference() else inner
        kind = dtype if inner.is_floating_point() else inner.dtype
        inner = (
            torch.zeros((), dtype=kind, device="cpu").expand(inner.shape) if inner.is_meta else inner.to("cpu", kind)
        )
        held.append(inner)
        recording.sources[id(inner)] = addresses.get(id(tensor), tensor)
        return torch._to_functional_tensor(inner)

    with plain_operations():
        run_instead, copies = duplicate(model, stand_in)
        for path, module in paths(model).items():
            found = copies.get(id(module))
            if isinstance(module, torch.jit.ScriptModule):
                for name, tensor in tensors(found).items():
                    recording.sources[id(tensor)] = (path, name)
                    held.append(tensor)
            elif found is not None:
                recording.modules[id(found)] = path
                found.register_forward_pre_hook(recording.enter(path), prepend=True)
                found.register_forward_hook(recording.leave(path), always_call=True)
        x = torch.zeros(shape, dtype=dtype, device="cpu")
        recording.active.add(recording.add(x))
        with recording, Functions(recording):
            torch._enable_functionalization(reapply_views=True)
            try:
                output = run_instead(torch._to_functional_tensor(x))
                output = plain(output) if isinstance(output, Tensor) else output
            finally:
                torch._disable_functionalization()
    recording.held = held, run_instead  # so that no id is used again
    return output


def plain(tensor: Tensor) -> Tensor:
    """Return what a tensor in functionalization holds at this moment."""
    if not torch._is_functional_tensor(tensor):
        return tensor
    torch._sync(tensor)
    return torch._from_functional_tensor(tensor)
