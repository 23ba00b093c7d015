"""A twin of the model, of the same structure and the same tensors: traced, and where in doubt run, in its place."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from lrp_dynamics.lrp.kinds import BATCH_NORMS, IDENTITIES, WEIGHTED


def structure_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model in eval mode, without its hooks, that shares its parameters and buffers."""
    attributes = (value for module in model.modules() for value in vars(module).values())
    tensors = [*model.parameters(), *model.buffers(), *(v for v in attributes if isinstance(v, Tensor))]
    shared = {id(t): t for t in tensors}
    twin = copy.deepcopy(model, shared).eval()
    for module in twin.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            hooks.clear()
        module._backward_pre_hooks.clear()
    return twin


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Undo what a forward writes into buffers, such as a count of its calls."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers() if not nn.parameter.is_lazy(buffer)]
    try:
        yield
    finally:
        for buffer, values in before:
            if not torch.equal(buffer, values):
                buffer.copy_(values)


class Written(fx.Proxy):
    """Stands for a value while tracing; knows ``+=`` and its like, which torch.fx takes for ``+``."""


def _in_place(function: Callable) -> Callable:
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _name in ("iadd", "isub", "imul", "itruediv"):
    setattr(Written, f"__{_name}__", _in_place(getattr(operator, _name)))


class Symbolic(fx.Tracer):
    """Traces a twin, operations in place included."""

    def proxy(self, node: fx.Node) -> Written:
        """Return what stands for a node's value."""
        return Written(node, self)


def writes_in_place(node: fx.Node, module: nn.Module | None) -> bool:
    """Tell whether a call overwrites the tensor it reads."""
    if module is not None:
        return bool(getattr(module, "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    in_place = node.kwargs.get("inplace", False) or name in ("iadd", "isub", "imul", "itruediv")
    return bool(in_place or (name.endswith("_") and not name.startswith("_")))


class Rerun(fx.Interpreter):
    """Runs a traced twin as torch would, aliases and all, with dropout as the identity."""

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """Run a function."""
        return args[0] if target in IDENTITIES else super().call_function(target, args, kwargs)


def doubtful(twin: nn.Module, graph: fx.Graph) -> Rerun | None:
    """Return what runs a twin if it overwrites a tensor that something else may read, so that its plan may be wrong."""
    modules = dict(twin.named_modules(remove_duplicate=False))

    def module(node: fx.Node) -> nn.Module | None:
        return modules.get(node.target) if node.op == "call_module" else None

    def shared(node: fx.Node) -> bool:
        """Tell whether others may read the memory of a node's value; calls that are not known to make it hand it on."""
        made = isinstance(module(node), (*WEIGHTED, *BATCH_NORMS))
        return len(node.users) > 1 or (not made and any(shared(source) for source in node.all_input_nodes))

    written = [node.all_input_nodes[0] for node in graph.nodes if writes_in_place(node, module(node))]
    return Rerun(fx.GraphModule(twin, graph)) if any(shared(node) for node in written) else None


def differs(found: Tensor, expected: Tensor) -> bool:
    """Tell whether two outputs differ by more than rounding."""
    return bool((found - expected).norm() > 1e-3 * expected.norm())
