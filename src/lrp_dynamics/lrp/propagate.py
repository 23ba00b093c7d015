r"""The rules on a layer with weights, and the balance of what became of the relevance.

For each part of a rule, with forms u of the input, V of the weights and b of the bias (see
:mod:`~lrp_dynamics.lrp.rules`): $z = u V + b$, $s = R / \mathrm{stab}(z)$, $c = s V^T$, $R' = u c$.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lrp_dynamics.lrp.rules import ALL, NEGATIVE, POSITIVE, AlphaBeta, Form, Gamma, Part, Stabilized, ZBox

if TYPE_CHECKING:
    from lrp_dynamics.lrp.layers import Step
    from lrp_dynamics.lrp.values import Values

# Terms whose products have one sign whatever the layer; bounds make it so for the rule z_box.
SIGNS = {
    ("x+", POSITIVE): 1, ("x-", NEGATIVE): 1, ("x+", NEGATIVE): -1, ("x-", POSITIVE): -1,
    ("x-low", POSITIVE): 1, ("x-high", NEGATIVE): 1,
    ("one", POSITIVE): 1, ("one", "square"): 1, ("one", "one"): 1,
}  # fmt: skip


class Balance:
    """What is written down on the way back: relevance absorbed per layer, and the smallest denominator met."""

    def __init__(self, values: Values, initial: Tensor, output: int):
        self.absorbed: dict[str, Tensor] = {}
        self._values = values
        self._none = initial.new_full((values.n,), torch.inf)
        self._smallest: list[Tensor] = []
        self._left: tuple[Tensor, int, Tensor] = (initial, -1, self._none)  # what left a layer, its version, its sum

    def total(self, r: Tensor, value: int) -> Tensor:
        """Return the sum of a value's relevance per sample."""
        left, version, total = self._left
        if r is left and r._version == version:  # through a ReLU it comes to the next layer as it left the last
            return total
        return self._values.total(r, value)

    def absorb(self, name: str, before: Tensor, parts: list[tuple[int, Tensor]]) -> None:
        """Write down what came to a layer and did not leave it, given what each value got."""
        totals = [self.total(part, value) for value, part in parts]
        self.absorbed[name] = before - sum(totals[1:], totals[0]) if totals else before
        if parts:
            self._left = (parts[0][1], parts[0][1]._version, totals[0])

    def divided(self, d: Tensor, s: Tensor, offset: float, sign: int, value: int) -> None:
        """Write down the smallest |d| where s is not 0; arguments as `divide` took and returned them. Consumes d, s."""
        d = d if sign > 0 else d.abs_()
        smallest = torch.add(d, s.eq_(0), alpha=torch.finfo(s.dtype).max, out=s)
        if smallest.numel():
            smallest = self._values.rows(smallest, value).amin(1)
            self._smallest.append(smallest.sub_(offset) if offset else smallest)

    def min_abs_z(self) -> Tensor:
        """Return the smallest denominator (N,) of all that were written down, inf where there was none."""
        if not self._smallest:
            return self._none
        smallest = torch.stack(self._smallest)
        return smallest.masked_fill_(smallest >= torch.finfo(smallest.dtype).max, torch.inf).clamp_(min=0).amin(0)


def take(tensor: Tensor, form: Form | str, out: Tensor | None = None) -> Tensor:
    """Return a form of weights or bias, in memory that is given or new.

    >>> take(torch.tensor([2.0, -3.0]), (1.5, 1.0))
    tensor([ 3., -3.])
    """
    if form == "square":
        return torch.mul(tensor, tensor, out=out)
    if form == "one":
        return torch.ones_like(tensor) if out is None else out.fill_(1)
    up, down = form
    if up == down:
        return tensor if up == 1 else torch.mul(tensor, up, out=out)
    if down == 0:
        found = torch.clamp(tensor, min=0, out=out)
        return found if up == 1 else found.mul_(up)
    if up == 0:
        found = torch.clamp(tensor, max=0, out=out)
        return found if down == 1 else found.mul_(down)
    return torch.clamp(tensor, min=0, out=out).mul_(up - down).add_(tensor, alpha=down)


class Forms:
    """The forms of a layer's weights, each computed once."""

    def __init__(self, weight: Tensor):
        self.weight = weight
        self._known: dict[Form | str, Tensor] = {}

    def __getitem__(self, form: Form | str) -> Tensor:
        if form not in self._known:
            self._known[form] = take(self.weight, form)
        return self._known[form]


def divide(
    r: Tensor, d: Tensor, rule: Stabilized, sign: int, values: Values, value: int, reuse: bool = True
) -> tuple[Tensor, float]:
    """Return r / stab(d), next to 0 where d is 0 and nothing stabilizes it, and what was added to |d|.

    ``sign`` is that of d wherever r is not 0, 0 if unknown; ``value`` is the one that d has the shape of. With
    ``reuse`` the result takes the place of r.
    """
    offset: Tensor | float = rule.epsilon
    if rule.relative:
        square = d.square()
        mean = square.mean() if rule.over == "batch" else per_sample_mean(square, values, value)
        offset = offset + rule.relative * mean.sqrt()
    if rule.signed:
        if not sign:
            offset = offset if isinstance(offset, Tensor) else d.new_full([1] * d.dim(), offset)
        offset = sign * offset if sign else torch.copysign(offset, d)
    if rule.epsilon == 0:  # then nothing may stabilize a 0: a trace is left of its relevance, for the balance alone
        d = d + offset if rule.relative else d
        return torch.where(d == 0, r.sign() * torch.finfo(r.dtype).tiny, r / d), 0.0
    in_place = sign > 0 or rule.signed  # then |d| is |stab(d)| less the offset, precisely so if that is small
    if rule.relative or rule.epsilon > 1e-3 or not in_place:
        return torch.div(r, d + offset, out=r if reuse else None), 0.0
    return torch.div(r, d.add_(offset), out=r if reuse else None), rule.epsilon


def per_sample_mean(tensor: Tensor, values: Values, value: int) -> Tensor:
    """Return the mean of each sample, in a shape that broadcasts to the tensor."""
    axis, around = values.axis(value), values.program.outer[value]
    if tensor.shape[axis] != values.shape(value)[axis]:  # one for all
        return tensor.mean()
    means = values.rows(tensor, value).mean(1).repeat(around)
    means = means.repeat_interleave(tensor.shape[axis] // (values.n * around))
    return means.view([-1 if k == axis else 1 for k in range(tensor.dim())])


def parts_of(step: Step) -> list[Part]:
    """Return the parts of a step's rule that can matter, without the terms that cannot."""
    parts = []
    for part in step.rule.parts():
        if step.rectified and part.where == "z<0":
            continue
        terms = tuple(term for term in part.terms if not (step.nonnegative and term[0] == "x-"))
        parts.append(Part(terms, part.bias, part.factor, "any" if step.rectified else part.where))
    return parts


def is_output(part: Part) -> bool:
    """Tell whether a part's denominator is the layer's own output."""
    return part.terms == (("x", ALL),) and part.bias == ALL


def reads_output(step: Step) -> bool:
    """Tell whether a step's rule reads the layer's own output."""
    return isinstance(step.rule, ZBox) or any(is_output(p) or p.where != "any" for p in step.parts)


def sign_of(part: Part, step: Step) -> int:
    """Return the sign that a part's denominators have wherever relevance arrives, 0 if that is not known."""
    if is_output(part):
        return int(step.rectified)
    if part.where != "any":  # gamma: |d| >= |z|, on the same side
        return 1 if part.where == "z>0" else -1
    if isinstance(step.rule, Gamma):
        return int(step.rectified and step.nonnegative)
    positive_x = ("x", POSITIVE) in part.terms and step.nonnegative
    signs = {1 if positive_x else SIGNS.get(term, 0) for term in part.terms}
    signs |= {1} if part.bias == POSITIVE else {-1} if part.bias == NEGATIVE else {0} if part.bias == ALL else set()
    return signs.pop() if len(signs) == 1 else 0


def input_form(form: str, x: Tensor, step: Step, values: Values) -> Tensor:
    """Return a form of the input."""
    if form == "x" or (form == "x+" and step.nonnegative):
        return x
    if form in ("x+", "x-"):
        return x.clamp(min=0) if form == "x+" else x.clamp(max=0)
    if form == "one":  # of one sample, where that goes for all
        return torch.ones_like(x[:1] if step.layer.uniform else x)
    low, high = values.bounds
    return x - (low if form == "x-low" else high)


def weighted_sum(step: Step, part: Part, x: Tensor, weight: Forms, bias: Tensor | None, values: Values) -> Tensor:
    """Return the denominator of a part: the sum of its terms and its bias."""
    b = None if bias is None or not any(part.bias) else take(bias, part.bias)
    d = None
    for form, v in part.terms:
        y = step.layer.map(values, input_form(form, x, step, values), weight, v, b if d is None else None)
        d = y if d is None else d.add_(y)
    return d


def denominators(
    step: Step, parts: list[Part], x: Tensor, z: Tensor, weight: Forms, bias: Tensor | None, values: Values
) -> list[Tensor]:
    """Return the unstabilized denominator of every part, right wherever relevance arrives; z may be overwritten."""
    if any(is_output(part) for part in parts):
        return [z]
    if isinstance(step.rule, ZBox):  # the bounds' share is the same for all samples
        layer, one = step.layer, x[:1] if step.layer.uniform else x
        low, high = (b.expand_as(one) for b in values.bounds)
        return [z.sub_(layer.map(values, low, weight, POSITIVE, bias).add_(layer.map(values, high, weight, NEGATIVE)))]
    return [weighted_sum(step, part, x, weight, bias, values) for part in parts]


def propagate(
    step: Step, r: Tensor, x: Tensor, z: Tensor, parameters: tuple[Tensor, Tensor | None], values: Values,
    balance: Balance,
) -> Tensor:  # fmt: skip
    """Return the relevance of a weighted layer's input; r and z are overwritten."""
    layer, rule, out = step.layer, step.rule, step.layer.output
    (weight, bias), before = parameters, balance.total(r, out)
    weight, parts, result = Forms(weight), step.parts, None
    # A part that is for one sign of z looks at z before anything overwrites it.
    gates = [None if p.where == "any" else (z > 0 if p.where == "z>0" else z < 0) for p in parts]
    ds = denominators(step, parts, x, z, weight, bias, values)
    factors: list[float | Tensor] = [part.factor for part in parts]
    if isinstance(rule, AlphaBeta) and rule.conserving:
        one = x.new_ones(())
        factors = [torch.where(ds[1] == 0, one, rule.alpha), torch.where(ds[0] == 0, one, -rule.beta)]
    for part, gate, d, factor in zip(parts, gates, ds, factors, strict=True):
        arriving = r if gate is None else torch.where(gate, r, 0)
        sign = sign_of(part, step)
        s, offset = divide(arriving, d, rule, sign, values, out, reuse=gate is not None or len(parts) == 1)
        if isinstance(factor, Tensor) or factor != 1:
            s.mul_(factor)
        for form, v in part.terms:
            c = layer.adjoint(values, s, weight, v, x)
            if form != "one":
                c.mul_(input_form(form, x, step, values))
            result = c if result is None else result.add_(c)
        balance.divided(d, s, offset, sign, out)
    balance.absorb(layer.name, before, [(layer.inputs[0], result)])
    return result
