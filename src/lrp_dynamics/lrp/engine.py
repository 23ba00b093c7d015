"""The engine: one loop forward, one loop back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from threading import RLock
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.arguments import initial_relevance, limits, refuse_input
from lrp_dynamics.lrp.composites import Composite, make_composite, table
from lrp_dynamics.lrp.graph import annotate, trace
from lrp_dynamics.lrp.kernels import in_layout, laid_out
from lrp_dynamics.lrp.kinds import BATCH_NORMS
from lrp_dynamics.lrp.layers import Number
from lrp_dynamics.lrp.propagate import Balance, per_sample
from lrp_dynamics.lrp.rules import ZBox
from lrp_dynamics.lrp.twin import differs

TURNS = RLock()  # of threads: some settings of torch are those of the process


@dataclass
class Relevance:
    """Relevance and its balance, for N samples and K classes: initial = sum of input + sum of absorbed, per sample.

    Attributes
    ----------
    input
        Relevance of every input value, shaped as the input.
    output
        The model's output (N, K); of a model with an output activation, the scores before it.
    initial
        Sum of the relevance put in at the output (N,).
    residual
        ``initial`` minus the sum of ``input`` (N,).
    absorbed
        Per layer, the relevance (N,) that its bias, its stabilizer and its dead units took; negative where they gave.
    min_abs_z
        Smallest absolute denominator, before stabilizing, that relevance other than 0 was divided by (N,); inf where
        there was none.
    layers
        Relevance that arrived at the output of each layer asked for, shaped as that output.
    output_activation
        Name of the activation at the model's end that was left out, such as a sigmoid or a softmax, None if there is
        none. Those turn the sign of a score below 0, and with it of each contribution: what is explained is the score.
    """

    input: Tensor
    output: Tensor
    initial: Tensor
    residual: Tensor
    absorbed: dict[str, Tensor]
    min_abs_z: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)
    output_activation: str | None = None

    def __repr__(self) -> str:
        kept, put = self.residual.abs().sum().item(), self.initial.abs().sum().item()
        lines = [
            f"Relevance of {len(self.input)} inputs, {tuple(self.input.shape)}, {self.input.dtype}:",
            f"  output {tuple(self.output.shape)}, initial {shown(self.initial)}",
            f"  absorbed by {len(self.absorbed)} layers, {kept / put if put else 0:.1%} in all",
            f"  smallest denominator {shown(self.min_abs_z)}",
        ]
        lines += [f"  layers {', '.join(self.layers)}"] if self.layers else []
        lines += [f"  LRP starts before {self.output_activation!r}"] if self.output_activation else []
        return "\n".join(lines)


def shown(values: Tensor, most: int = 4) -> str:
    """Return the first values (N,) as text."""
    return ", ".join(f"{v:.3g}" for v in values[:most].tolist()) + (", ..." if len(values) > most else "")


class Explainer:
    """A model traced once, with a rule for every layer; its weights are read anew at every call.

    The model is only read: never run, changed or hooked (so hooks of the model do not act). Where it overwrites tensors
    that something else may read, a copy of its structure is run as well and must give the same output. Threads take
    turns. Relevance is that of the model in eval mode: dropout is the identity and BatchNorm uses running statistics.

    Parameters
    ----------
    model, composite, bounds
        As in :func:`relevance`.
    as_eval
        Explain a model whose BatchNorms are in training mode as if it were in eval mode, instead of refusing it.

    Examples
    --------
    >>> print(Explainer(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), "epsilon"))
    layer  type    rule
    0      Linear  epsilon
    1      ReLU    pass
    2      Linear  epsilon
    """

    def __init__(
        self,
        model: nn.Module,
        composite: str | Mapping[str, Any] | Composite = "z_plus",
        *,
        bounds: tuple[float | Tensor, float | Tensor] | None = None,
        as_eval: bool = False,
    ):
        model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        self.model, self.composite, self.bounds, self.as_eval = model, make_composite(composite), bounds, as_eval
        self._trace = trace(model)
        self.plan = self._trace.layers
        self.rules = self.composite.assign(self.plan)
        self._boxes = [layer for layer in self.plan if isinstance(layer.rule, ZBox)]
        if self._boxes and bounds is None:
            raise UserError(f"composite {self.composite.name!r} needs bounds=(low, high) of the input")
        for layer in self._boxes:
            if layer.inputs != (0,):
                raise UserError(f"layer {layer.name!r} does not read the input itself, so that z_box is not for it")
        self._batch_norms = [(n, m) for n, m in model.named_modules() if isinstance(m, BATCH_NORMS)]
        self._structure = [(module, dict(module._modules)) for module in model.modules()]
        self._annotated: tuple[bool, list[list[int]]] | None = None

    def __str__(self) -> str:
        return table(self.plan, self._trace.merged)

    def describe(self) -> dict[str, dict]:
        """Return the rule of every layer, with all options, as plain data."""
        return {layer.name: {"layer": layer.kind, **layer.rule.describe()} for layer in self.plan}

    def __call__(
        self, inputs: Tensor, target: Tensor | str, *, layers: list[str] | Literal["all"] | None = None
    ) -> Relevance:
        """Return the relevance of inputs; parameters as in :func:`relevance`."""
        self._refuse(inputs)
        wanted = self._wanted(layers)
        with TURNS, exact(inputs.device):
            return self._explain(*self._prepare(inputs), target, wanted)

    def _explain(self, x: Tensor, nonnegative: bool, target: Tensor | str, wanted: dict[int, list[str]]) -> Relevance:
        """Run the two loops."""
        if self._annotated is None or self._annotated[0] != nonnegative:
            self._annotated = (nonnegative, annotate(self._trace, nonnegative))
        release = self._annotated[1]
        values: list[Any] = [x]
        saved: list[Any] = []
        shapes = [x.shape]
        for k, layer in enumerate(self.plan):
            try:
                value, extra = layer.forward(*(values[i] for i in layer.inputs))
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, IndexError) as error:  # of torch, such as for images of a size not meant
                shapes = [tuple(values[i].shape) for i in layer.inputs if isinstance(values[i], Tensor)]
                raise UserError(
                    f"layer {layer.name!r} ({layer.kind}) fails for values of shape {', '.join(map(str, shapes))}, "
                    f"of an input of shape {tuple(x.shape)}: {str(error).splitlines()[0]}"
                ) from error
            if isinstance(value, Tensor) and value.shape[:1] != x.shape[:1] and not isinstance(layer, Number):
                raise UserError(f"layer {layer.name!r}: the first dimension of its output is not that of the samples")
            values.append(value)
            saved.append(extra)
            shapes.append(value.shape if isinstance(value, Tensor) else None)
            for i in release[k]:
                values[i] = None

        output = values[self._trace.output].clone()
        initial = initial_relevance(output, target, self.composite.initial)
        self._check(x, output)
        balance = Balance(initial)
        reached = [(k, name) for k, names in wanted.items() for name in names if shapes[k] is not None]
        kept = {name: x.new_zeros(shapes[k]) for k, name in reached}  # it stays so where no relevance arrives
        arriving: dict[int, Tensor] = {self._trace.output: initial.clone()}
        for k in range(len(self.plan), -1, -1):
            r = arriving.pop(k, None)
            if r is None:
                continue
            kept.update({name: r.clone() for name in wanted.get(k, ())})
            if k == 0:
                break
            layer, z, extra = self.plan[k - 1], values[k], saved[k - 1]
            values[k] = saved[k - 1] = None
            if self.composite.top_k < 1 and layer.accepts != "pass":
                r = self._filter(r, layer.name, balance)
            parts = layer.backward(r, tuple(values[i] for i in layer.inputs), z, extra, balance)
            for i, part in zip(layer.inputs, parts, strict=True):
                if part is not None:
                    arriving[i] = arriving[i] + part if i in arriving else part
        first = balance.total(initial)
        r = torch.zeros_like(x) if r is None else r
        residual = first - balance.total(r)
        ending = self._trace.output_activation
        return Relevance(r.contiguous(), output, first, residual, balance.absorbed, balance.min_abs_z(), kept, ending)

    def _check(self, x: Tensor, output: Tensor) -> None:
        """Compare the plan's output with the model's own, where what overwrites what is not sure."""
        rerun = self._trace.rerun
        if rerun is not None and len(x) and differs(output, rerun.output_of(in_layout(x, last=False).clone())):
            raise UserError(
                f"the model overwrites in {', '.join(map(repr, rerun.suspects))} what something else still reads, and "
                "the layers found for it give another output than the model: write that call out of place"
            )

    def _refuse(self, inputs: Tensor) -> None:
        """Refuse what cannot be right, as far as it shows without a look at values."""
        refuse_input(inputs)
        parameter = next(self.model.parameters(), inputs)
        if inputs.device != parameter.device:
            raise UserError(f"the input is on {inputs.device}, the model on {parameter.device}; move one of them")
        if any(module._modules != children for module, children in self._structure):
            raise UserError("modules of the model were replaced since this Explainer was made; make a new one")
        if not self.as_eval:
            for name, module in self._batch_norms:
                if module.training:
                    raise UserError(f"layer {name!r} is a BatchNorm in training mode; call model.eval() first")

    def _prepare(self, inputs: Tensor) -> tuple[Tensor, bool]:
        """Return the input as the engine computes with it, and whether it is >= 0; refuse what cannot be right."""
        parameter = next(self.model.parameters(), inputs)
        dtype = torch.promote_types(torch.promote_types(inputs.dtype, parameter.dtype), torch.float32)
        x = (inputs.detach().clone() if inputs.is_inference() else inputs.detach()).to(dtype)
        x = in_layout(x, last=x.device.type == "cpu")
        if self._boxes:
            bounds = limits(self.bounds, x)
            for layer in self._boxes:
                layer.bounds = bounds
        if not x.numel():
            return x, False
        smallest, largest = (value.item() for value in per_sample(x).aminmax())  # NaN if there is one
        if not (isfinite(smallest) and isfinite(largest)):
            raise UserError("the input holds NaN or infinite values; clean it first")
        if self._boxes:
            low, high = bounds
            slack = 1e-6 * (high - low)  # pixels that were scaled to the bounds may miss them by a rounding
            if ((x < low - slack) | (x > high + slack)).any():
                raise UserError(
                    f"the input ({smallest:.4g} to {largest:.4g}) leaves its bounds ({low.min():.4g} to "
                    f"{high.max():.4g}); give bounds that contain it"
                )
            x = x.clamp(low, high)
            smallest = x.min().item()
        return x, smallest >= 0

    def _wanted(self, layers: list[str] | Literal["all"] | None) -> dict[int, list[str]]:
        """Return which names are wanted of which value."""
        names = self._trace.names
        if isinstance(layers, str):
            layers = [layer.name for layer in self.plan] if layers == "all" else [layers]
        wanted: dict[int, list[str]] = {}
        for name in layers or []:
            if name not in names:
                raise UserError(f"the model has no layer {name!r}; it has {', '.join(names)}")
            wanted.setdefault(names[name], []).append(name)
        return wanted

    def _filter(self, r: Tensor, name: str, balance: Balance) -> Tensor:
        """Keep the largest share ``top_k`` of each sample's relevance, and write down the rest."""
        flat = r.flatten(1)
        top = flat.topk(max(1, int(self.composite.top_k * flat.shape[1])), 1)
        kept = torch.zeros_like(flat).scatter_(1, top.indices, top.values).view(r.shape)
        balance.absorb(f"{name} (top_k)", balance.total(r), [kept])
        return laid_out(kept, r)


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Compute in full float32, deterministically, whatever autocast, TF32 and their like are set to outside."""
    backends = torch.backends
    products = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    settings = [(product, "fp32_precision", "ieee") for product in products]
    settings += [(backends.cudnn, "enabled", True), (backends.cudnn, "benchmark", False)]
    settings += [(backends.cudnn, "deterministic", True)]
    outside = [getattr(owner, name) for owner, name, _ in settings]
    try:
        for owner, name, value in settings:
            setattr(owner, name, value)
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for (owner, name, _), value in zip(settings, outside, strict=True):
            setattr(owner, name, value)


def relevance(
    model: nn.Module,
    inputs: Tensor,
    target: Tensor | str,
    composite: str | Mapping[str, Any] | Composite = "z_plus",
    *,
    bounds: tuple[float | Tensor, float | Tensor] | None = None,
    layers: list[str] | Literal["all"] | None = None,
) -> Relevance:
    """Explain a model's output for inputs by layer-wise relevance propagation.

    Of a model that ends with a sigmoid, a softmax or their like the scores before it are explained. To explain one
    model many times, also while it trains, keep an :class:`Explainer`.

    Parameters
    ----------
    model
        Any module in eval mode that torch.fx traces; it is only read.
    inputs
        Float tensor (N, C, H, W) or (N, F), in the units that the model was trained with.
    target
        Class indices (N,), "predicted", or a float tensor (N, K) of initial relevance.
    composite
        A name of ``COMPOSITES``, a :class:`Composite`, or a mapping as in ``params.yaml``.
    bounds
        (low, high) of the input, each a float or a tensor that broadcasts to (C, 1, 1), in the units of ``inputs``;
        needed by composites with the rule z_box.
    layers
        Names of modules whose arriving relevance is wanted, or "all".

    Returns
    -------
    Relevance
        In the dtype of the model, at least float32.

    Raises
    ------
    UserError
        Where the result could not be right: a layer without a rule, a BatchNorm in training mode, an unknown composite
        or layer, a target that does not fit, an input that is not finite or leaves its bounds.

    References
    ----------
    Bach et al. 2015, doi:10.1371/journal.pone.0130140; Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10.

    Examples
    --------
    >>> model = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 2.0)
    >>> result = relevance(model, torch.tensor([[1.0, 3.0]]), torch.tensor([0]))
    >>> result.input, result.initial, result.min_abs_z
    (tensor([[2., 6.]]), tensor([8.]), tensor([8.]))
    """
    return Explainer(model, composite, bounds=bounds)(inputs, target, layers=layers)


def try_rule(
    rule: str | Mapping[str, Any],
    x: list[float],
    weights: list[float],
    *,
    bias: float = 0.0,
    bounds: tuple[float, float] | None = None,
) -> list[float]:
    """Return what each input of a single neuron gets of a relevance of 1, to six decimals: to try a rule by hand.

    >>> try_rule("epsilon", x=[1, 3], weights=[2, 2])
    [0.25, 0.75]
    """
    neuron = nn.Linear(len(x), 1, dtype=torch.float64)
    neuron.weight.data, neuron.bias.data = torch.tensor([weights]).double(), torch.tensor([bias]).double()
    found = relevance(neuron, torch.tensor([x]).double(), torch.ones(1, 1), {"*": rule}, bounds=bounds)
    return [round(value, 6) + 0.0 for value in found.input[0].tolist()]
