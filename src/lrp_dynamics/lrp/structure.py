"""Copies of a network's structure: what runs in its place, so that the network itself is never run or changed."""

from __future__ import annotations

import copy
import functools
import re
import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune, spectral_norm, weight_norm  # noqa: F401 (their modules hold the hooks below)

from lrp_dynamics.base.errors import UserError

MANY = 1000  # items of a container, or numbers of an array, at most, are looked at one by one
DEEPEST = 3  # plain objects within plain objects are copied so far; beyond, they are shared
HOOKS = [name for name in vars(nn.Module()) if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called"))]
ONE_INPUT = (
    "networks of several inputs are not explained; wrap the network in a module whose forward takes one tensor and "
    "holds the others as constants"
)
INTERNAL = set(vars(nn.Module()))
SIMPLE = (bool, int, float, str, type(None))
QUICK = set(SIMPLE)


def recomputes_weights(hook: Any) -> bool:
    """Tell whether a hook is one of torch that computes a weight before each forward."""
    return isinstance(hook, prune.BasePruningMethod) or type(hook).__name__ in ("WeightNorm", "SpectralNorm")


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the network that torch.compile or data parallelism wraps."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif "_orig_mod" in module._modules:
            module = module._modules["_orig_mod"]
        else:
            return module


def paths(model: nn.Module) -> dict[str, nn.Module]:
    """Return every module by its path, without the names that wrappers add."""
    found: dict[str, nn.Module] = {}
    seen = set()

    def walk(module: nn.Module, path: str) -> None:
        module = unwrapped(module)
        if id(module) in seen:
            return
        seen.add(id(module))
        found[path] = module
        children = {} if isinstance(module, torch.jit.ScriptModule) else module._modules
        for name, child in children.items():
            if child is not None:
                walk(child, f"{path}.{name}" if path else name)

    walk(model, "")
    return found


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's own parameters, buffers and plain tensor attributes by name."""
    if isinstance(module, torch.jit.ScriptModule):
        return {**dict(module.named_parameters()), **dict(module.named_buffers())}
    found = {**vars(module), **module._parameters, **module._buffers}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def setting(value: Any, depth: int = 0) -> Any:
    """Return what tells whether an attribute is still the same: what numbers, words, lists, dicts and objects hold.

    Tensors are left out, since their values may change; of what is large or of another kind it is the identity.
    """
    kind = type(value)
    if kind in QUICK:
        return value
    if kind in (tuple, list) and QUICK.issuperset(map(type, value)):
        return tuple(value)
    if isinstance(value, (tuple, list, dict)) and len(value) <= MANY and depth < DEEPEST:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return [
            (id(k) if callable(k) else str(k), setting(v, depth + 1)) for k, v in pairs if not isinstance(v, Tensor)
        ]
    if isinstance(value, np.ndarray) and value.size <= MANY:
        return value.tobytes()
    plain = isinstance(value, types.SimpleNamespace) or is_plain(value)
    if depth < DEEPEST and plain and not isinstance(value, nn.Module):
        return setting(vars(value), depth + 1)
    return id(value)


def is_plain(value: Any) -> bool:
    """Tell whether an object is of a class written in Python, all of whose state is in its ``__dict__``."""
    kind = type(value)
    return kind.__new__ is object.__new__ and hasattr(value, "__dict__") and kind.__module__ != "builtins"


def signature(modules: dict[str, nn.Module]) -> list[tuple]:
    """Return what a capture depends on: the modules themselves, their settings, and the shapes of their tensors.

    Values of tensors, the mode and the device are not part of it.
    """
    found = []
    for path, module in modules.items():
        if isinstance(module, torch.jit.ScriptModule):
            found.append((path, ref(module)))
            continue
        own = [(k, v) for k, v in vars(module).items() if k not in INTERNAL and not isinstance(v, Tensor)]
        settings = [(k, v if type(v) in QUICK else setting(v)) for k, v in own]
        shapes = [
            (k, None if v is None else v.shape) for k, v in (*module._parameters.items(), *module._buffers.items())
        ]
        hooks = [type(hook) for hook in module._forward_pre_hooks.values() if recomputes_weights(hook)]
        found.append((path, ref(module), type(module), settings, shapes, hooks))
    return found


def held(modules: dict[str, nn.Module]) -> set[int]:
    """Return the ids of the tensors in modules' lists and dicts, such as a cache of what weights give."""
    found = set()
    for module in modules.values():
        containers = [v for k, v in vars(module).items() if k not in INTERNAL and isinstance(v, (dict, list)) and v]
        for container in containers if not isinstance(module, torch.jit.ScriptModule) else ():
            items = container.values() if isinstance(container, dict) else container
            found.update(id(item) for item in items if isinstance(item, Tensor))
    return found


def duplicate(model: nn.Module, stand_in: Callable[[Tensor], Tensor]) -> tuple[nn.Module, dict[int, nn.Module]]:
    """Return a copy of a network's structure in eval mode, and the copy of each module by the id of its original.

    Modules and what they hold in containers, partials, closures and plain objects are copied; every tensor is replaced
    by ``stand_in(tensor)``; anything else is shared. User's hooks are left out, since they act on the user's state.
    """
    known: dict[int, Any] = {}
    copies: dict[int, nn.Module] = {}

    def of_module(module: nn.Module) -> nn.Module:
        inner = unwrapped(module)
        if inner is not module:
            return of(inner, 0)
        if isinstance(module, torch.jit.ScriptModule):
            found = copy.deepcopy(module).eval()
            known[id(module)] = copies[id(module)] = found
            return found
        found = known[id(module)] = copies[id(module)] = object.__new__(type(module))
        for slot in (name for kind in type(module).__mro__ for name in vars(kind).get("__slots__", ())):
            if hasattr(module, slot):
                object.__setattr__(found, slot, of(getattr(module, slot), 0))
        for name, value in vars(module).items():
            if name in HOOKS:
                kept = {k: h for k, h in value.items() if name == "_forward_pre_hooks" and recomputes_weights(h)}
                found.__dict__[name] = OrderedDict(kept)
            elif name == "_compiled_call_impl":
                found.__dict__[name] = None
            else:
                found.__dict__[name] = of(value, 0)
        found.__dict__["training"] = False
        return found

    def of_function(function: types.FunctionType) -> types.FunctionType:
        cells = function.__closure__ or ()
        inside = [cell.cell_contents if not empty(cell) else None for cell in cells]
        copied = [of(value, DEEPEST) for value in inside]
        if all(a is b for a, b in zip(inside, copied, strict=True)):
            return function
        closure = tuple(types.CellType(value) for value in copied)
        made = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, closure
        )
        made.__kwdefaults__ = function.__kwdefaults__
        return made

    def of(value: Any, depth: int) -> Any:
        if isinstance(value, SIMPLE):
            return value
        if id(value) in known:
            return known[id(value)]
        if isinstance(value, Tensor):
            found = known[id(value)] = stand_in(value)
            return found
        if isinstance(value, nn.Module):
            return of_module(value)
        if isinstance(value, dict):
            found = known[id(value)] = copy.copy(value)
            for key in list(found):
                found[key] = of(found[key], depth)
            return found
        if type(value) is list:
            found = known[id(value)] = []
            found.extend(of(item, depth) for item in value)
            return found
        if type(value) in (tuple, set):
            return type(value)(of(item, depth) for item in value)
        if isinstance(value, types.MethodType):
            return types.MethodType(value.__func__, of(value.__self__, depth))
        if isinstance(value, types.FunctionType):
            return of_function(value)
        if isinstance(value, functools.partial):
            return functools.partial(of(value.func, depth), *of(value.args, depth), **of(value.keywords, depth))
        if depth < DEEPEST and is_plain(value):
            found = known[id(value)] = object.__new__(type(value))
            found.__dict__.update({name: of(inner, depth + 1) for name, inner in vars(value).items()})
            return found
        return value

    return of(model, 0), copies


def empty(cell: types.CellType) -> bool:
    """Tell whether a closure's variable has no value yet."""
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def hooked(model: nn.Module) -> list[str]:
    """Return the modules with hooks of the user's on their forward."""
    found = []
    for path, module in paths(model).items():
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        if any(not recomputes_weights(hook) for hook in hooks):
            found.append(path or type(module).__name__)
    return found


def refuse_lazy(model: nn.Module) -> None:
    """Refuse a network of which a layer has not made its weights yet."""
    for path, module in paths(model).items():
        for key, value in tensors(module).items():
            if nn.parameter.is_lazy(value):
                raise UserError(f"layer {path!r} has no {key} yet; run the model once, which makes it")


def refuse_quantized(model: nn.Module) -> None:
    """Refuse a network that computes with quantized weights, which neither relevance nor a gradient passes through."""
    for path, module in paths(model).items():
        own = () if isinstance(module, torch.jit.ScriptModule) else (*vars(module).values(), *tensors(module).values())
        if any(isinstance(v, torch.ScriptObject) or (isinstance(v, Tensor) and v.is_quantized) for v in own):
            raise UserError(
                f"layer {path!r} ({type(module).__name__}) holds quantized weights, which nothing is passed back "
                "through; explain the network as it was before it was quantized"
            )


def takes_more(model: nn.Module, error: Exception) -> str:
    """Return what to say of a forward that failed because it takes more inputs than one; "" of another failure."""
    if not isinstance(error, TypeError):
        return ""
    forward = getattr(getattr(type(unwrapped(model)), "forward", None), "__qualname__", "forward")
    return f"; {ONE_INPUT}" if re.match(rf"{re.escape(forward)}\(\) missing \d+ required", str(error)) else ""


def eval_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a network's structure in eval mode that shares its parameters and has buffers of its own."""
    refuse_lazy(model)
    parameters = {id(p) for p in model.parameters()}
    return duplicate(model, lambda t: t if id(t) in parameters else t.detach().clone())[0]
