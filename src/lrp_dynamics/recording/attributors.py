"""Attributions of other packages, or a user's own, with the interface of LRP.

The functions at the end adapt what other packages have; none of these packages is needed otherwise:
``Recorder(path, model, samples, targets, composite=attributors.captum(DeepLift(model)))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.structure import eval_copy

Function = Callable[[Tensor, Tensor], Any]


class Attributor:
    """A function that attributes, with the interface of LRP; it runs beside a training without disturbing it.

    While the function runs, the network is in eval mode and gradients of parameters are set aside; afterwards modes,
    gradients and the states of random numbers are what they were. When it runs first, the network's weights are
    compared with those before.

    Parameters
    ----------
    model : nn.Module
        The network that the function attributes to the input of.
    function : callable
        Takes inputs (n, ...) and targets (n,), and returns a map, shaped as the inputs or (n, 1, ...) or without the
        axis of channels, as a tensor or an array; or an `lrp.Relevance`. Its attribute ``name``, if it has one, is
        written into the recording.
    """

    def __init__(self, model: nn.Module, function: Function):
        self.name = str(getattr(function, "name", "custom"))
        self._model, self._function = model, function
        self._trusted = False

    def __call__(self, inputs: Tensor, target: Tensor) -> lrp.Relevance:
        """Attribute the outputs that `target` names to `inputs`.

        Raises
        ------
        UserError
            If what the function returns is no map of the inputs, or if it changed the network's weights.
        """
        with undisturbed(self._model, compare=not self._trusted):
            found = self._function(inputs.detach().clone(), target.clone())
        self._trusted = True
        if isinstance(found, lrp.Relevance):
            return found
        with torch.no_grad():
            logits = eval_copy(self._model)(inputs)
        return unaccounted(as_map(found, inputs, self.name), logits, target)


@contextmanager
def undisturbed(model: nn.Module, compare: bool) -> Iterator[None]:
    """Put a network into eval mode, and leave it, its gradients and the random numbers as they were."""
    modes = [(module, module.training) for module in model.modules()]
    parameters = list(model.named_parameters())
    gradients = [(p, p.grad, p.requires_grad) for _, p in parameters]
    tensors = [*parameters, *model.named_buffers()] if compare else []
    before = [(name, tensor, tensor.detach().clone()) for name, tensor in tensors]
    devices = {p.device for _, p in parameters if p.is_cuda}
    with torch.random.fork_rng(devices=list(devices)), torch.inference_mode(False), torch.enable_grad():
        try:
            model.eval()
            for p, _, _ in gradients:
                p.grad = None
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for p, gradient, required in gradients:
                p.grad = gradient
                p.requires_grad_(required)
    for name, tensor, value in before:
        if not torch.equal(tensor.nan_to_num(), value.nan_to_num()):
            raise UserError(f"the attribution changed {name!r} of the network, so it cannot run beside a training")


def as_map(found: Any, inputs: Tensor, name: str) -> Tensor:
    """Return a map shaped as the inputs, detached, on their device; one value of a pixel goes to its first channel."""
    try:
        values = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(
            f"the attribution {name!r} returned an object of type {type(found).__name__}, expected a tensor "
            "or an array, one number for each value or each pixel of the inputs"
        ) from None
    values = values.detach().to(inputs.device)
    if values.ndim == inputs.ndim - 1 and inputs.ndim > 2:
        values = values.unsqueeze(1)
    alike = values.ndim == inputs.ndim and values.shape[2:] == inputs.shape[2:] and len(values) == len(inputs)
    if not alike or values.shape[1] not in {1, inputs.shape[1]} or not values.is_floating_point():
        shape = tuple(values.shape)
        raise UserError(
            f"the attribution {name!r} returned {values.dtype} of shape {shape} for inputs of shape "
            f"{tuple(inputs.shape)}; expected real numbers, one for each value or each pixel"
        )
    if values.shape == inputs.shape:
        return values
    whole = values.new_zeros(inputs.shape)
    whole[:, :1] = values  # recordings hold the sum over channels, which stays exact
    return whole


def unaccounted(values: Tensor, logits: Tensor, target: Tensor) -> lrp.Relevance:
    """Return a map as relevance of which nothing is counted as absorbed, beside what is explained.

    Parameters
    ----------
    values : Tensor
        A map, (n, ...).
    logits : Tensor
        The network's output, (n, K), (n,), (n, K, ...).
    target : Tensor
        Classes (n,), or weights or a mask shaped as the output.
    """
    if target.ndim > 1:
        explained = (logits * target).flatten(1).sum(1)
    else:
        explained = logits.reshape(len(logits), -1).gather(1, target[:, None])[:, 0]
    return lrp.Relevance(
        input=values,
        output=logits,
        initial=explained,
        residual=explained - values.flatten(1).sum(1),
        absorbed={},
        min_abs_z=torch.full_like(explained, torch.inf),
    )


def named(name: str, function: Function) -> Function:
    """Give a function the name that a recording tells."""
    function.name = name
    return function


def _check(adapter: str, found: Any, fits: bool, expected: str) -> None:
    if not fits:
        shown = repr(found) if isinstance(found, str) else f"an object of type {type(found).__name__}"
        raise UserError(f"attributors.{adapter}: found {shown}, expected {expected}")


def captum(attribution: Any, **options: Any) -> Function:
    """Adapt an attribution of Captum (Kokhlikyan et al. 2020, arXiv:2009.07896).

    Parameters
    ----------
    attribution
        Such as ``captum.attr.DeepLift(model)``.
    **options
        For its ``attribute``, such as ``sliding_window_shapes`` of ``Occlusion``.

    Returns
    -------
    callable
        Inputs (n, ...) and classes (n,) to a map shaped as the inputs, in the units of that attribution.

    Raises
    ------
    UserError
        If it is no attribution of Captum, or its ``attribute`` needs an option that is not given.
    """
    _check(
        "captum", attribution, hasattr(attribution, "attribute"), "an attribution such as captum.attr.DeepLift(model)"
    )
    _, *arguments = signature(attribution.attribute).parameters.values()
    needed = [a.name for a in arguments if a.default is a.empty and a.kind in (a.POSITIONAL_OR_KEYWORD, a.KEYWORD_ONLY)]
    if missing := [name for name in needed if name not in {"target", *options}]:
        kind = type(attribution).__name__
        raise UserError(
            f"attributors.captum: {kind} needs {', '.join(missing)}; give what its `attribute` takes as keyword "
            f"arguments: attributors.captum({kind}(model), {missing[0]}=...)"
        )
    return named(
        f"captum {type(attribution).__name__}",
        lambda inputs, target: attribution.attribute(inputs, target=target, **options),
    )


def zennit(model: nn.Module, composite: Any) -> Function:
    """Adapt a composite of zennit (Anders et al. 2021, arXiv:2106.13200).

    Parameters
    ----------
    model : nn.Module
        With outputs (n, K).
    composite
        Such as ``zennit.composites.EpsilonPlusFlat()``.

    Returns
    -------
    callable
        Inputs (n, ...) and classes (n,) to relevance shaped as the inputs, in units of the class's logit, from which
        it starts.
    """

    _check("zennit", model, isinstance(model, nn.Module), "a torch.nn.Module")
    _check(
        "zennit", composite, hasattr(composite, "register"), "a composite such as zennit.composites.EpsilonPlusFlat()"
    )

    def attribute(inputs: Tensor, target: Tensor) -> Tensor:
        from zennit.attribution import Gradient

        def start(output: Tensor) -> Tensor:
            return output * nn.functional.one_hot(target, output.shape[1])

        with Gradient(model=model, composite=composite, attr_output=start) as attributor:
            return attributor(inputs)[1]

    return named(f"zennit {type(composite).__name__}", attribute)


def grad_cam(cam: Any) -> Function:
    """Adapt a method of pytorch-grad-cam (Grad-CAM: Selvaraju et al. 2017, arXiv:1610.02391).

    Its constructor puts the network into eval mode: call ``model.train()`` after it.

    Parameters
    ----------
    cam
        Such as ``pytorch_grad_cam.GradCAM(model, [layer])``.

    Returns
    -------
    callable
        Images (n, C, H, W) and classes (n,) to a map (n, H, W) without unit, between 0 and 1.
    """

    usable = callable(cam) and not isinstance(cam, nn.Module)
    _check("grad_cam", cam, usable, "a method such as pytorch_grad_cam.GradCAM(model, [layer])")

    def attribute(inputs: Tensor, target: Tensor) -> Any:
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        return cam(input_tensor=inputs, targets=[ClassifierOutputTarget(k) for k in target.tolist()])

    return named(type(cam).__name__, attribute)


def gradient_times_input(model: nn.Module, name: str = "gradient x input") -> Function:
    """Attribute by gradient times input of the network as it stands.

    So networks are explained that LXT has patched (AttnLRP: Achtibat et al. 2024, arXiv:2402.05602).

    Parameters
    ----------
    model : nn.Module
        With outputs (n, K).
    name : str
        What the recording calls it.

    Returns
    -------
    callable
        Inputs (n, ...) and classes (n,) to a map shaped as the inputs, in units of the class's logit.
    """

    _check("gradient_times_input", model, isinstance(model, nn.Module), "a torch.nn.Module")

    def attribute(inputs: Tensor, target: Tensor) -> Tensor:
        inputs.requires_grad_()
        logits = model(inputs)
        (gradient,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), inputs)
        return gradient * inputs

    return named(name, attribute)
