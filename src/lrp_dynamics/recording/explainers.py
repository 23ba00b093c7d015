"""What a recorder can record: the rules of a composite, or the plain gradient beside them."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.gradients import with_logits
from lrp_dynamics.recording.attributors import Attributor, unaccounted

Explainer = Callable[[Tensor, Tensor], lrp.Relevance]
GRADIENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradient_x_input": lambda gradient, inputs: gradient * inputs,
    "sensitivity": lambda gradient, inputs: gradient.square(),
}


class GradientExplainer:
    """Gradient times input, or the squared gradient (sensitivity), of what the target is, with the interface of LRP.

    Neither distributes the logit by rules: nothing is counted as absorbed, and no denominator is met. What the sum of a
    map lacks to the logit is therefore left unaccounted.

    Parameters
    ----------
    model : nn.Module
        Only read; weights are read anew at every call, and layers act as in eval mode.
    name : str
        A key of `GRADIENTS`.
    """

    def __init__(self, model: nn.Module, name: str):
        self.name = name
        self._model = model

    def __call__(self, inputs: Tensor, target: Tensor) -> lrp.Relevance:
        """Explain the logits of the classes `target` (N,) for `inputs` (N, ...), or the output weighted by `target`."""
        target = target.to(inputs.dtype) if target.dtype == torch.bool else target  # of each output in a mask alike
        gradient, logits = with_logits(self._model, inputs, target)
        return unaccounted(GRADIENTS[self.name](gradient, inputs.detach()), logits, target)


def fixed(explainer: Explainer, inputs: Tensor, target: Tensor) -> Callable[[], lrp.Relevance]:
    """Return a function that explains the same inputs again, with the network as it is then."""
    if isinstance(explainer, lrp.Explainer):  # which looks at them once
        return explainer.fixed(inputs, target)
    return lambda: explainer(inputs, target)


def _check_takes_two(function: Callable) -> None:
    """Refuse a function that cannot be called with inputs and targets."""
    try:
        taken = signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):  # of some that are not written in Python
        return
    try:
        taken.bind(None, None)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        raise UserError(
            f"composite: found {name}{taken}, expected a function of two arguments, inputs and targets"
        ) from None


def make_explainer(
    model: nn.Module, spec: "str | Mapping[str, Any] | lrp.Composite | Explainer", bounds: tuple | None = None
) -> tuple[str, Explainer]:
    """Return the name and the explainer that `spec` describes.

    Parameters
    ----------
    model : nn.Module
    spec : str, mapping, lrp.Composite or callable
        A name of `lrp.COMPOSITES` or `GRADIENTS`; the fields of a composite (rules, initial, and optionally name);
        a composite; an `lrp.Explainer`; or any callable that takes inputs and targets and returns a map or an
        `lrp.Relevance` (`lrp_dynamics.recording.attributors`).
    bounds : (low, high), optional
        Of the input, for composites that need them.

    Raises
    ------
    UserError
        If nothing has that name, or the network cannot be explained so.
    """
    if isinstance(spec, str) and spec in GRADIENTS:
        return spec, GradientExplainer(model, spec)
    if isinstance(spec, str) and spec not in lrp.COMPOSITES:
        names = [*lrp.COMPOSITES, *GRADIENTS]
        close = get_close_matches(spec, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(f"composite: found {spec!r}, expected one of {', '.join(names)}{hint}")
    if isinstance(spec, lrp.Explainer):
        return spec.composite.name, spec
    if callable(spec):
        _check_takes_two(spec)
        explainer = Attributor(model, spec)
        return explainer.name, explainer
    if not isinstance(spec, str | Mapping | lrp.Composite):
        raise UserError(
            f"composite: found an object of type {type(spec).__name__}; expected a name, a mapping, an lrp.Composite, "
            "or a function of inputs and targets; lrp_dynamics.recording.attributors makes such functions of the "
            "attributions of other packages, as attributors.captum(DeepLift(model))"
        )
    explainer = lrp.Explainer(model, spec, bounds=bounds, as_eval=True)
    return explainer.composite.name, explainer
