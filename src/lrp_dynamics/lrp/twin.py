"""A twin of the model, of the same structure and the same tensors: traced, and where in doubt run, in its place."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, fx, nn

from lrp_dynamics.lrp.kinds import ADD, BATCH_NORMS, IDENTITIES, SCALE, SUBTRACT, WEIGHTED


def structure_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model in eval mode, without its hooks, that shares all its tensors."""
    attributes = (value for module in model.modules() for value in vars(module).values())
    tensors = [*model.parameters(), *model.buffers(), *(v for v in attributes if isinstance(v, Tensor))]
    shared = {id(t): t for t in tensors}
    twin = copy.deepcopy(model, shared).eval()
    for module in twin.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            hooks.clear()
        module._backward_pre_hooks.clear()
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):  # a plain attribute, of which tracing would keep what is computed from it
                delattr(module, name)
                module.register_buffer(name, value)
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
    """Traces a twin, with what it does in place, and with what it computes from parameters and buffers alone."""

    proxy_buffer_attributes = True

    def proxy(self, node: fx.Node) -> Written:
        """Return what stands for a node's value."""
        return Written(node, self)

    def create_args_for_root(self, root_fn: Callable, is_module: bool, concrete_args: dict | None = None) -> tuple:
        """Let a forward's first argument be the input; others keep their defaults."""
        return super().create_args_for_root(lambda root, x: root_fn(root, x), is_module, concrete_args)


def arguments(twin: nn.Module) -> int:
    """Return how many arguments a forward cannot do without."""
    given = list(signature(type(twin).forward).parameters.values())[1:]
    return sum(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in given)


def writes_in_place(node: fx.Node, module: nn.Module | None) -> bool:
    """Tell whether a call overwrites the tensor it reads."""
    if module is not None:
        return bool(getattr(module, "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    in_place = node.kwargs.get("inplace", False) or name in ("iadd", "isub", "imul", "itruediv")
    return bool(in_place or (name.endswith("_") and not name.startswith("_")))


class Rerun(fx.Interpreter):
    """Runs a traced twin as torch would, aliases and all, with dropout as the identity.

    Attributes
    ----------
    suspects
        Names of the calls that overwrite what something else may read.
    ending
        The activation at the end that is left out, if any.
    """

    suspects: list[str]
    ending: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        """Run a node, or leave it out."""
        return self.env[n.all_input_nodes[0]] if n is self.ending else super().run_node(n)

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        """Run a function."""
        return args[0] if target in IDENTITIES else super().call_function(target, args, kwargs)

    def output_of(self, x: Tensor) -> Tensor:
        """Return the model's output for an input, computed in the input's precision."""
        same = all(p.dtype == x.dtype for p in self.module.parameters())
        rerun = self if same else Rerun(copy.deepcopy(self.module).to(x.dtype), graph=self.graph)
        rerun.ending = self.ending
        with buffers_kept(self.module):
            return rerun.run(x)


def doubtful(twin: nn.Module, graph: fx.Graph, ending: fx.Node | None) -> Rerun | None:
    """Return what runs a twin if it overwrites a tensor that something else may read, so that its plan may be wrong."""
    modules = dict(twin.named_modules(remove_duplicate=False))

    def module(node: fx.Node) -> nn.Module | None:
        return modules.get(node.target) if node.op == "call_module" else None

    def shared(node: fx.Node) -> bool:
        """Tell whether others may read the memory of a node's value; calls that are not known to make it hand it on."""
        handed = node.all_input_nodes
        if writes_in_place(node, module(node)):
            handed = handed[:1]
        elif isinstance(module(node), (*WEIGHTED, *BATCH_NORMS)) or node.target in ADD | SUBTRACT | SCALE:
            handed = []
        return len(node.users) > 1 or any(shared(source) for source in handed)

    written = [node for node in graph.nodes if writes_in_place(node, module(node))]
    suspects = [node.name for node in written if shared(node.all_input_nodes[0])]
    if not suspects:
        return None
    rerun = Rerun(fx.GraphModule(twin, graph), graph=graph)
    rerun.suspects, rerun.ending = suspects, ending
    return rerun


def differs(found: Tensor, expected: Tensor) -> bool:
    """Tell whether the outputs (N, K) of any sample differ by more than rounding."""
    gap = (found - expected).abs() > 1e-3 * expected.abs().amax(1, keepdim=True)
    return bool((gap | (found.isnan() != expected.isnan())).any())
