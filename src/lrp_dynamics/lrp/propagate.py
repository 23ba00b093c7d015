"""Evaluate a rule on one layer, and keep the balance of what became of the relevance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lrp_dynamics.lrp.rules import ALL, NEGATIVE, POSITIVE, AlphaBeta, Form, Gamma, Part, Stabilized, ZBox

if TYPE_CHECKING:
    from lrp_dynamics.lrp.layers import Linear

# Terms whose products have one sign whatever the layer; bounds make it so for the rule z_box.
SIGNS = {
    ("x+", POSITIVE): 1, ("x-", NEGATIVE): 1, ("x+", NEGATIVE): -1, ("x-", POSITIVE): -1,
    ("x-low", POSITIVE): 1, ("x-high", NEGATIVE): 1,
    ("one", POSITIVE): 1, ("one", "square"): 1, ("one", "one"): 1,
}  # fmt: skip


CLOSE = 2.0**-6  # share of what is taken away; a difference below it would keep less than two thirds of its digits


class Balance:
    """What is written down on the way back: relevance absorbed per layer, and the smallest denominator met."""

    def __init__(self, initial: Tensor):
        self.absorbed: dict[str, Tensor] = {}
        self._none = initial.new_full(initial.shape[:1], torch.inf)
        self._smallest: list[Tensor] = []
        self._offsets: list[float] = []
        self._left: tuple[Tensor, int, Tensor] = (initial, -1, initial)  # what left a layer, its version and its sum

    def total(self, r: Tensor) -> Tensor:
        """Return the sum of relevance per sample."""
        left, version, total = self._left
        if r is left and r._version == version:  # through a ReLU it comes to the next layer as it left the last
            return total
        return per_sample(r).sum(1)

    def absorb(self, name: str, before: Tensor, parts: list[Tensor]) -> None:
        """Write down what came to a layer and did not leave it."""
        totals = [self.total(part) for part in parts]
        self.absorbed[name] = before - sum(totals)
        self._left = (parts[0], parts[0]._version, totals[0])

    def divided(self, d: Tensor, s: Tensor, offset: float, sign: int) -> None:
        """Write down the smallest |d| where s is not 0; arguments as `divide` took and returned them. Consumes d, s."""
        d = d if sign > 0 else d.abs_()
        smallest = torch.add(d, s.eq_(0), alpha=torch.finfo(s.dtype).max, out=s)
        self._smallest.append(per_sample(smallest).amin(1))
        self._offsets.append(offset)

    def min_abs_z(self) -> Tensor:
        """Return the smallest denominator (N,) of all that were written down, inf where there was none."""
        if not self._smallest:
            return self._none
        smallest, offsets = torch.stack(self._smallest), self._none.new_tensor(self._offsets).unsqueeze(1)
        smallest.masked_fill_(smallest >= torch.finfo(smallest.dtype).max, torch.inf)
        return smallest.sub_(offsets).clamp_(min=0).amin(0)


def per_sample(tensor: Tensor) -> Tensor:
    """Return the values (N, all others), in the order of memory where images have their channels last."""
    if tensor.dim() < 2:
        return tensor.reshape(-1, 1)
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.flatten(1)


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


def divide(r: Tensor, d: Tensor, rule: Stabilized, sign: int, reuse: bool = True) -> tuple[Tensor, float]:
    """Return r / stab(d), next to 0 where d is 0 and nothing stabilizes it, and what was added to |d|.

    ``sign`` is that of d wherever r is not 0, 0 if unknown. With ``reuse`` the result takes the place of r.
    """
    offset: Tensor | float = rule.epsilon
    if rule.relative:
        square = d.square()
        each = (-1, *[1] * (d.dim() - 1))
        mean = square.mean() if rule.over == "batch" else per_sample(square).mean(1).view(each)
        offset = offset + rule.relative * mean.sqrt()
    if rule.signed:
        offset = sign * offset if sign else torch.copysign(d.new_full((), 1.0) * offset, d)
    if rule.epsilon == 0:  # then nothing may stabilize a 0: a trace is left of its relevance, for the balance alone
        d = d + offset if rule.relative else d
        return torch.where(d == 0, r.sign() * torch.finfo(r.dtype).tiny, r / d), 0.0
    in_place = sign > 0 or rule.signed  # then |d| is |stab(d)| less the offset, precisely so if that is small
    if rule.relative or rule.epsilon > 1e-3 or not in_place:
        return torch.div(r, d + offset, out=r if reuse else None), 0.0
    return torch.div(r, d.add_(offset), out=r if reuse else None), rule.epsilon


def parts_of(layer: Linear) -> list[Part]:
    """Return the parts of a layer's rule that can matter, without the terms that cannot."""
    parts = []
    for part in layer.rule.parts():
        if layer.rectified and part.where == "z<0":
            continue
        terms = tuple(term for term in part.terms if not (layer.nonnegative and term[0] == "x-"))
        parts.append(Part(terms, part.bias, part.factor, "any" if layer.rectified else part.where))
    return parts


def is_output(part: Part) -> bool:
    """Tell whether a part's denominator is the layer's own output."""
    return part.terms == (("x", ALL),) and part.bias == ALL


def sign_of(part: Part, layer: Linear) -> int:
    """Return the sign that a part's denominators have wherever relevance arrives, 0 if that is not known."""
    if is_output(part):
        return int(layer.rectified)
    if part.where != "any":  # gamma: |d| >= |z|, on the same side
        return 1 if part.where == "z>0" else -1
    if isinstance(layer.rule, Gamma):
        return int(layer.rectified and layer.nonnegative)
    positive_x = ("x", POSITIVE) in part.terms and layer.nonnegative
    signs = {1 if positive_x else SIGNS.get(term, 0) for term in part.terms}
    signs |= {1} if part.bias == POSITIVE else {-1} if part.bias == NEGATIVE else {0} if part.bias == ALL else set()
    return signs.pop() if len(signs) == 1 else 0


def input_form(form: str, x: Tensor, layer: Linear) -> Tensor:
    """Return a form of the input; that of "one" for a single sample."""
    if form == "x" or (form == "x+" and layer.nonnegative):
        return x
    if form in ("x+", "x-"):
        return x.clamp(min=0) if form == "x+" else x.clamp(max=0)
    if form == "one":
        return torch.ones_like(x[:1])
    low, high = layer.bounds
    return x - (low if form == "x-low" else high)


def weighted_sum(layer: Linear, part: Part, x: Tensor, weight: Forms, bias: Tensor | None) -> Tensor:
    """Return the denominator of a part: the sum of its terms and its bias."""
    b = None if bias is None or not any(part.bias) else take(bias, part.bias)
    d = None
    for form, v in part.terms:
        y = layer.map(input_form(form, x, layer), weight, v, b if d is None else None)
        d = y if d is None else d.add_(y)
    return d


def denominators(
    layer: Linear, parts: list[Part], x: Tensor, z: Tensor, r: Tensor, weight: Forms, bias: Tensor | None
) -> list[Tensor]:
    """Return the unstabilized denominator of every part, right wherever r is not 0; z may be overwritten."""
    if any(is_output(part) for part in parts):
        return [z]
    if isinstance(layer.rule, ZBox):  # the bounds' share is the same for all samples
        low, high = (b.expand_as(x[:1]) for b in layer.bounds)
        return [z.sub_(layer.map(low, weight, POSITIVE, bias).add_(layer.map(high, weight, NEGATIVE)))]
    if not isinstance(layer.rule, AlphaBeta):
        return [weighted_sum(layer, part, x, weight, bias) for part in parts]
    # The negative products are what the positive ones and the bias leave of the output, if more than its rounding.
    positive = large = weighted_sum(layer, parts[0], x, weight, bias)
    if bias is not None and layer.rule.bias == "drop":
        b = layer.per_channel(bias)
        z, large = z - b, positive + b.abs()
    negative = torch.sub(z, positive)
    close = (negative > large * -CLOSE).logical_and_(r != 0)
    if close.any():
        negative = torch.where(close, weighted_sum(layer, parts[1], x, weight, bias), negative)
    return [positive, negative]


def propagate(layer: Linear, r: Tensor, x: Tensor, z: Tensor, balance: Balance) -> Tensor:
    """Return the relevance of a weighted layer's input; r and z are overwritten."""
    rule, (weight, bias), before = layer.rule, layer.parameters(x), balance.total(r)
    weight = Forms(weight)
    parts, result = parts_of(layer), None
    # A part that is for one sign of z looks at z before anything overwrites it.
    gates = [None if p.where == "any" else (z > 0 if p.where == "z>0" else z < 0) for p in parts]
    ds = denominators(layer, parts, x, z, r, weight, bias)
    factors: list[float | Tensor] = [part.factor for part in parts]
    if isinstance(rule, AlphaBeta) and rule.conserving:
        one = x.new_ones(())
        factors = [torch.where(ds[1] == 0, one, rule.alpha), torch.where(ds[0] == 0, one, -rule.beta)]
    for part, gate, d, factor in zip(parts, gates, ds, factors, strict=True):
        arriving = r if gate is None else torch.where(gate, r, 0)
        sign = sign_of(part, layer)
        s, offset = divide(arriving, d, rule, sign, reuse=gate is not None or len(parts) == 1)
        if isinstance(factor, Tensor) or factor != 1:
            s.mul_(factor)
        for form, v in part.terms:
            c = layer.adjoint(s, weight, v, x)
            if form != "one":
                c.mul_(input_form(form, x, layer))
            result = c if result is None else result.add_(c)
        balance.divided(d, s, offset, sign)
    balance.absorb(layer.name, before, [result])
    return result
