"""Plans that were made, kept as long as their models live, and the values of a model's tensors as they are now."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.capture import capture
from lrp_dynamics.lrp.plan import Plan, make_plan
from lrp_dynamics.lrp.structure import held, paths, signature, tensors
from lrp_dynamics.lrp.values import Values

SIDES = (32, 64, 28, 224, 16, 96, 128, 299, *range(4, 65))  # of images, to find one that a model takes
_kept: WeakKeyDictionary[nn.Module, tuple[list, dict]] = WeakKeyDictionary()


def precision(model: nn.Module, inputs: Tensor | None = None) -> torch.dtype:
    """Return the precision in which a model is explained: its own and the input's, at least float32."""
    found = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    found = found if inputs is None else torch.promote_types(found, inputs.dtype)
    return torch.promote_types(found, torch.float32)


def plan_for(
    model: nn.Module, modules: dict[str, nn.Module], shape: tuple[int, ...], dtype: torch.dtype, *, anew: bool = False
) -> Plan:
    """Return the plan of a model for samples of a shape; it is made once for each structure, shape and precision."""
    found = signature(modules)
    known = _kept.get(model)
    if known is None or known[0] != found or anew:
        known = _kept[model] = (found, {})
    plans, now = known[1], held(modules)
    if (shape, dtype) not in plans or not plans[shape, dtype][1] <= now:  # tensors that it read may have been replaced
        plan = make_plan(capture(model, shape, dtype), modules)
        plans[shape, dtype] = plan, now & {id(source) for source in plan.program.sources.values()}
    return plans[shape, dtype][0]


def some_plan(model: nn.Module) -> Plan:
    """Return the plan for the last shape that was explained, or else for one that the model takes."""
    known, modules = _kept.get(model), paths(model)
    if known is not None and known[1] and known[0] == signature(modules):
        return list(known[1].values())[-1][0]
    error = None
    for shape in likely_shapes(modules):
        try:
            return plan_for(model, modules, shape, precision(model))
        except UserError as refusal:
            error = error or refusal
    found = f"none that was tried fits: {error}" if error else "no layer tells it"
    raise UserError(
        f"the shape of the model's input is not known, and {found}; give Explainer(..., shape=) that of one sample"
    )


def likely_shapes(modules: dict[str, nn.Module]) -> list[tuple[int, ...]]:
    """Return shapes of samples that the first layer with weights might take."""
    for module in modules.values():
        if isinstance(module, nn.Linear):
            return [(module.in_features,)]
        if isinstance(module, nn.modules.conv._ConvNd):
            return [(module.in_channels, *[side] * (module.weight.dim() - 2)) for side in SIDES]
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return [(module.num_features, *[side] * dims) for dims in (2, 0, 1) for side in SIDES]
    return []


def read(modules: dict[str, nn.Module], plan: Plan, values: Values) -> None:
    """Put in the values of the model's tensors, and of what is computed from them alone, as they are now."""
    for value, source in plan.program.sources.items():
        tensor = source_of(modules, source).detach()
        values.tensors[value] = tensor.to(values.device, values.dtype if tensor.is_floating_point() else tensor.dtype)
    for call in plan.constants:
        values.tensors[call.output] = values.run(call)


def source_of(modules: dict[str, nn.Module], source: tuple[str, str] | Tensor) -> Tensor:
    """Return the tensor that a program reads: of a module, by its path and name, or a constant."""
    return source if isinstance(source, Tensor) else tensor_of(modules[source[0]], source[1])


def tensor_of(module: nn.Module, name: str) -> Tensor:
    """Return a module's parameter, buffer or other tensor; getattr would run a parametrization."""
    if isinstance(module, torch.jit.ScriptModule):
        return tensors(module)[name]
    return next(holder[name] for holder in (module._parameters, module._buffers, vars(module)) if name in holder)


def addresses(modules: dict[str, nn.Module], plan: Plan) -> tuple[int, ...]:
    """Return where the tensors that a plan reads lie in memory."""
    return tuple(source_of(modules, source).data_ptr() for source in plan.program.sources.values())


def still_so(plan: Plan, modules: dict[str, nn.Module], x: Tensor) -> bool:
    """Tell whether the values of the model that its forward looked at are those that it was recorded with."""
    if not plan.program.reads:
        return True
    values = Values(plan.program, x, len(x))
    read(modules, plan, values)
    return all(values[value].item() == seen for value, seen in plan.program.reads.items())
