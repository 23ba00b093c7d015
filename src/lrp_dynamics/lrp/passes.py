"""One loop forward, one loop back; neither reads a value back from the device."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from lrp_dynamics.lrp.arguments import initial_relevance
from lrp_dynamics.lrp.composites import Composite
from lrp_dynamics.lrp.kernels import laid_out
from lrp_dynamics.lrp.layers import Step
from lrp_dynamics.lrp.plan import Plan
from lrp_dynamics.lrp.plans import read
from lrp_dynamics.lrp.propagate import Balance
from lrp_dynamics.lrp.values import Values


def explained(
    plan: Plan, steps: list[Step], releases: list[list[int]], modules: dict[str, nn.Module], x: Tensor,
    target: Tensor | None, bounds: tuple[Tensor, Tensor] | None, wanted: Collection[int], composite: Composite,
) -> tuple[list[Tensor], list[str]]:  # fmt: skip
    """Run a whole pass on what was looked at.

    Returns
    -------
    Relevance of the input; output; sums (3 + layers, N): the relevance put in, what of it the input did not get, the
    smallest denominator, and what each layer absorbed; relevance of each value that was wanted. And the layers' names.
    """
    values = Values(plan.program, x, len(x), bounds)
    read(modules, plan, values)
    saved = forward(plan, steps, releases, values)
    output = values[plan.output].clone()
    initial = initial_relevance(output, target, composite.initial)
    r, balance, kept = backward(plan, steps, values, saved, initial, set(wanted), composite)
    first, r = values.total(initial, plan.output), r.contiguous()
    sums = torch.stack([first, first - values.total(r, 0), balance.min_abs_z(), *balance.absorbed.values()])
    return [r, output, sums, *(kept[value] for value in wanted)], list(balance.absorbed)


def forward(plan: Plan, steps: list[Step], releases: list[list[int]], values: Values) -> list[Any]:
    """Compute the values; return what each layer saved for the way back."""
    saved = []
    for step, released in zip(steps, releases, strict=True):
        values.tensors[step.layer.output], extra = step.layer.forward(step, values)
        saved.append(extra)
        for i in released:
            values.tensors[i] = None
    return saved


def backward(
    plan: Plan, steps: list[Step], values: Values, saved: list[Any], initial: Tensor, wanted: set[int],
    composite: Composite,
) -> tuple[Tensor, Balance, dict[int, Tensor]]:  # fmt: skip
    """Send the initial relevance back.

    Returns
    -------
    The relevance of the input, the balance, and the relevance that arrived at each value that was wanted.
    """
    balance = Balance(values, initial, plan.output)
    kept = {value: torch.zeros(values.shape(value), dtype=values.dtype, device=values.device) for value in wanted}
    arriving: dict[int, Tensor] = {plan.output: initial.clone()}
    for step, extra in zip(reversed(steps), reversed(saved), strict=True):
        layer = step.layer
        r, z = arriving.pop(layer.output, None), values[layer.output]
        values.tensors[layer.output] = None
        saved.pop()
        if r is None:
            continue
        if layer.output in kept:
            kept[layer.output] = r.clone()
        if composite.top_k < 1 and layer.accepts != ("pass",):
            r = largest(r, composite.top_k, layer.output, f"{layer.name} (top_k)", values, balance)
        for value, part in layer.backward(step, r, z, extra, values, balance):
            arriving[value] = arriving[value] + part if value in arriving else part
    r = arriving.get(0)
    r = torch.zeros_like(values[0]) if r is None else r
    if 0 in kept:
        kept[0] = r
    return r, balance, kept


def largest(r: Tensor, share: float, value: int, name: str, values: Values, balance: Balance) -> Tensor:
    """Keep the largest share of each sample's relevance, and write down the rest."""
    axis, around = values.axis(value), values.program.outer[value]
    moved = r.unflatten(axis, (around, values.n, -1)).movedim(axis + 1, 0)
    flat = moved.reshape(values.n, -1)
    top = flat.topk(max(1, int(share * flat.shape[1])), 1)
    kept = (
        torch.zeros_like(flat)
        .scatter_(1, top.indices, top.values)
        .view(moved.shape)
        .movedim(0, axis + 1)
        .reshape(r.shape)
    )
    balance.absorb(name, balance.total(r, value), [(value, kept)])
    return laid_out(kept, r)
