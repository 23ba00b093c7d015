"""The engine: one loop forward, one loop back."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lrp_dynamics.errors import UserError
from lrp_dynamics.lrp.composites import COMPOSITES, Composite
from lrp_dynamics.lrp.graph import trace
from lrp_dynamics.lrp.layers import AveragePool, BatchNorm, Elementwise, Layer, MaxPool, Reshape, Sum, take
from lrp_dynamics.lrp.rules import ALL, Average, Part, Rule, ZBox


@dataclass
class Relevance:
    """Relevance and its books. N samples, K classes; for every sample initial = sum(input) + sum(absorbed).

    Attributes
    ----------
    input
        Relevance of every input value, shaped as the input.
    output
        The model's output (N, K).
    initial
        Sum of the relevance put in at the output (N,).
    residual
        ``initial`` minus the sum of ``input`` (N,).
    absorbed
        Per layer, relevance that its bias, its stabilizer and its dead units took (N,).
    min_abs_z
        Smallest absolute denominator, before stabilizing, that relevance was divided by (N,); inf where none was.
    layers
        Relevance that arrived at the output of each layer asked for.
    """

    input: Tensor
    output: Tensor
    initial: Tensor
    residual: Tensor
    absorbed: dict[str, Tensor]
    min_abs_z: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)


class Explainer:
    """A model's layers traced once, with a rule each; weights are read anew at every call.

    The model itself is never run, changed or hooked: its parameters are only read. Dropout counts as identity and
    BatchNorm uses its running statistics, as in eval mode; a BatchNorm in training mode is refused unless ``as_eval``.
    """

    def __init__(self, model: nn.Module, composite: str | Composite = "z_plus", *, bounds=None, as_eval: bool = False):
        if isinstance(composite, str):
            if composite not in COMPOSITES:
                raise UserError(f"composite {composite!r} is unknown; choose one of {', '.join(COMPOSITES)}")
            composite = COMPOSITES[composite]
        self.model, self.composite, self.bounds, self.as_eval = model, composite, bounds, as_eval
        self.plan, self.output = trace(model)
        self.rules = composite.assign(self.plan)
        if bounds is None and any(isinstance(rule, ZBox) for rule in self.rules):
            raise UserError(f"composite {composite.name!r} needs bounds=(low, high) of the input")

    @torch.no_grad()
    def __call__(self, inputs: Tensor, target, *, layers=None) -> Relevance:
        """Return the relevance of inputs (N, ...) for target: class indices (N,), "predicted" or relevance (N, K)."""
        self._refuse_training()
        dtype = torch.promote_types(inputs.dtype, next(iter(self.model.parameters())).dtype)
        x = inputs.detach().to(torch.promote_types(dtype, torch.float32))
        if not torch.isfinite(x).all():
            raise UserError("the input holds NaN or infinite values; clean it first")
        with torch.autocast(x.device.type, enabled=False):
            values = [x]
            for layer in self.plan:
                values.append(layer.forward(*(values[i] for i in layer.inputs)))
            logits = values[self.output]
            return self._backward(values, initial_relevance(logits, target, self.composite.initial), layers)

    def _backward(self, values: list[Tensor], initial: Tensor, wanted) -> Relevance:
        arriving: dict[int, Tensor] = {self.output: initial}
        books = Books(len(initial), initial)
        kept = {}
        for k in range(len(self.plan) - 1, -1, -1):
            layer, r = self.plan[k], arriving.pop(k + 1, None)
            if r is None:
                continue
            if wanted == "all" or (wanted and layer.name in wanted):
                kept[layer.name] = r
            parts = self._propagate(layer, self.rules[k], [values[i] for i in layer.inputs], values[k + 1], r, books)
            for i, part in zip(layer.inputs, parts, strict=True):
                arriving[i] = arriving[i] + part if i in arriving else part
            if self.rules[k].parts():
                books.absorbed[layer.name] = total(r) - sum(total(part) for part in parts)
        if missing := set(wanted if wanted not in (None, "all") else ()) - set(kept):
            raise UserError(
                f"the model has no layer {sorted(missing)[0]!r}; it has {', '.join(n.name for n in self.plan)}"
            )
        r = arriving[0]
        first = total(initial)
        return Relevance(r, values[self.output], first, first - total(r), books.absorbed, books.min_abs_z, kept)

    def _propagate(
        self, layer: Layer, rule: Rule, xs: list[Tensor], z: Tensor, r: Tensor, books: Books
    ) -> list[Tensor]:
        """Return the relevance of each input of a layer."""
        x = xs[0]
        if isinstance(layer, Reshape):
            return [r.reshape(x.shape)]
        if isinstance(layer, (Elementwise, BatchNorm)):
            return [r]
        if isinstance(layer, Sum):
            s = divide(r, z, z, rule, books)
            return [v * s for v in xs]
        if isinstance(layer, AveragePool):
            return [x * layer.adjoint(divide(r, z, z, rule, books), x)]
        if isinstance(layer, MaxPool):
            if not isinstance(rule, Average):
                return [layer.winner(r, x)]
            pooled = AveragePool(layer.name, layer.kind, layer.inputs, layer.average)
            z = pooled.forward(x)
            return [x * pooled.adjoint(divide(r, z, z, rule, books), x)]
        weight, bias = layer.parameters(x.dtype)
        return [sum(self._part(layer, part, rule, x, weight, bias, z, r, books) for part in rule.parts())]

    def _part(self, layer, part: Part, rule: Rule, x, weight, bias, z, r, books) -> Tensor:
        terms = [(self._input_form(u, x), take(weight, v)) for u, v in part.terms]
        if part.terms == (("x", ALL),) and part.bias == ALL:
            denominator = z
        else:
            denominator = sum(layer.map(u, v) for u, v in terms)
            if bias is not None and any(part.bias):
                denominator = denominator + take(bias, part.bias).view(-1, *[1] * (z.dim() - 2))
        if part.where != "any":
            r = torch.where(z > 0 if part.where == "z>0" else z < 0, r, 0)
        s = divide(r, denominator, z, rule, books) * part.factor
        return sum(u * layer.adjoint(s, v, x) for u, v in terms)

    def _input_form(self, form: str, x: Tensor) -> Tensor:
        if form == "x":
            return x
        if form in ("x+", "x-"):
            return x.clamp(min=0) if form == "x+" else x.clamp(max=0)
        low, high = (torch.as_tensor(b, dtype=x.dtype, device=x.device) for b in self.bounds)
        if (x < low).any() or (x > high).any():
            raise UserError("the input leaves the bounds (low, high); give bounds that contain it")
        return x - (low if form == "x-low" else high)

    def _refuse_training(self) -> None:
        for name, module in self.model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and not self.as_eval:
                raise UserError(f"layer {name!r} is a BatchNorm in training mode; call model.eval() first")


@dataclass
class Books:
    """What is written down on the way back."""

    samples: int
    like: Tensor
    absorbed: dict[str, Tensor] = field(default_factory=dict)
    min_abs_z: Tensor | None = None

    def __post_init__(self):
        self.min_abs_z = self.like.new_full((self.samples,), torch.inf)


def total(r: Tensor) -> Tensor:
    """Return the sum of relevance per sample."""
    return r.flatten(1).sum(1)


def divide(r: Tensor, denominator: Tensor, z: Tensor, rule: Rule, books: Books) -> Tensor:
    """Return r / stab(denominator), 0 where r is 0 or the denominator is."""
    denominator = denominator.masked_fill(r == 0, torch.inf)
    smallest = torch.linalg.vector_norm(denominator.flatten(1), -torch.inf, 1)
    books.min_abs_z = torch.minimum(books.min_abs_z, smallest)
    if rule.epsilon == 0:
        return r / denominator.masked_fill_(denominator == 0, torch.inf)
    epsilon = denominator.new_tensor(rule.epsilon)
    if rule.scale != "absolute":
        square = z.square()
        mean = square.mean() if rule.scale == "batch" else square.flatten(1).mean(1).view(-1, *[1] * (z.dim() - 1))
        epsilon = epsilon * mean.sqrt()
    if rule.signed:
        epsilon = torch.where(denominator >= 0, epsilon, -epsilon)
    return r / (denominator + epsilon)


def initial_relevance(logits: Tensor, target, form: str) -> Tensor:
    """Return the relevance (N, K) at the output."""
    if logits.dim() != 2:
        raise UserError(f"the model's output has shape {tuple(logits.shape)}; expected (N, K) class scores")
    if form == "softmax" and not (isinstance(target, Tensor) and target.is_floating_point()):
        return logits.softmax(1)
    if isinstance(target, str):
        if target != "predicted":
            raise UserError(f'target {target!r} is unknown; give class indices (N,), "predicted" or a tensor (N, K)')
        target = logits.argmax(1)
    target = torch.as_tensor(target, device=logits.device)
    if target.is_floating_point():
        if target.shape != logits.shape:
            raise UserError(f"the initial relevance has shape {tuple(target.shape)}; expected {tuple(logits.shape)}")
        return target.detach().to(logits.dtype)
    if target.shape != logits.shape[:1]:
        raise UserError(
            f"target has shape {tuple(target.shape)}; expected one class index per sample, ({len(logits)},)"
        )
    classes = logits.shape[1]
    if ((target < 0) | (target >= classes)).any():
        raise UserError(f"target holds a class outside 0 to {classes - 1}")
    index = target.long().unsqueeze(1)
    value = {"logit": lambda v: v, "relu": torch.relu, "one": torch.ones_like}[form](logits.gather(1, index))
    return torch.zeros_like(logits).scatter_(1, index, value)


def relevance(model: nn.Module, inputs: Tensor, target, composite="z_plus", *, bounds=None, layers=None) -> Relevance:
    """Explain a model's output for inputs by layer-wise relevance propagation.

    Parameters
    ----------
    model
        Any eval-mode module that torch.fx traces; it is only read.
    inputs
        Float tensor (N, C, H, W) or (N, F).
    target
        Class indices (N,), "predicted", or a float tensor (N, K) of initial relevance.
    composite
        A name of ``COMPOSITES`` or a :class:`Composite`.
    bounds
        (low, high) of the input, floats or tensors (C, 1, 1); needed by composites with the z_box rule.
    layers
        Names of layers whose arriving relevance is wanted, or "all".

    Raises
    ------
    UserError
        Where the result could not be right: unknown layer or composite, bad target, input out of bounds or not finite.
    """
    return Explainer(model, composite, bounds=bounds)(inputs, target, layers=layers)
