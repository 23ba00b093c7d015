"""What the graph says of signs: which values are >= 0, where relevance can arrive, and what may be let go of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.layers import Layer, Linear, Pointwise, Step, Unknown
from lrp_dynamics.lrp.plan import Plan
from lrp_dynamics.lrp.rules import Rule
from lrp_dynamics.lrp.weighted import Weighted


def annotate(plan: Plan, rules: list[Rule], input_nonnegative: bool) -> list[Step]:
    """Return the layers with their rules and what the graph says of each; refuse one that relevance cannot pass."""
    layers = plan.layers
    reached = {plan.output}
    for layer, rule in zip(reversed(layers), reversed(rules), strict=True):
        if layer.output in reached:
            reached.update(layer.signals(rule))
            if isinstance(layer, Unknown):
                raise UserError(
                    f"layer {layer.name!r} ({layer.kind}) has no propagation rule, at {layer.call.line}; replace it by "
                    "layers that have one, or explain the model up to it"
                )

    nonnegative, readers = {0: input_nonnegative}, Counter({plan.output: 1})
    for layer in layers:
        nonnegative[layer.output] = layer.positive(all(nonnegative.get(i, False) for i in layer.inputs))
        readers.update(reads(layer))

    # vanishes[i]: wherever value i is 0, no relevance arrives at it.
    vanishes = {layer.output: layer.output != plan.output for layer in layers}
    for layer, rule in zip(reversed(layers), reversed(rules), strict=True):
        for i in layer.signals(rule) if layer.output in reached else ():
            vanishes[i] = vanishes.get(i, True) and layer.vanishes(rule, vanishes[layer.output])

    steps = [
        Step(layer, rule, all(nonnegative.get(i, False) for i in layer.inputs), reached=layer.output in reached)
        for layer, rule in zip(layers, rules, strict=True)
    ]
    position = {layer.output: k for k, layer in enumerate(layers)}
    for k, step in enumerate(steps):
        if isinstance(step.layer, Pointwise) and step.layer.kind == "ReLU":
            at = position.get(step.layer.inputs[0])
            source = steps[at] if at is not None else None
            own = source is not None and isinstance(source.layer, Weighted | Linear)
            if own and readers[source.layer.output] == 1:
                rectified = vanishes[step.layer.output] and not getattr(source.rule, "relative", 0)
                steps[at] = source = replace(source, rectified=rectified)
                unread = source.layer.output not in source.layer.needs(source)
                steps[k] = replace(step, in_place=rectified or unread)
    return steps


def reads(layer: Layer) -> set[int]:
    """Return the values that a layer reads, each once; a convolution that pads its input reads what it pads."""
    return {*layer.call.inputs, *layer.inputs}


def releases(plan: Plan, steps: list[Step]) -> list[list[int]]:
    """Return, per step, the values that are done with once it ran."""
    needed = {0, plan.output}.union(*(step.layer.needs(step) for step in steps if step.reached))
    last = {i: k for k, step in enumerate(steps) for i in reads(step.layer)}
    active = {layer.output for layer in plan.layers}
    released: list[list[int]] = [[] for _ in steps]
    for value, k in last.items():
        if value in active and value not in needed:
            released[k].append(value)
    for k, step in enumerate(steps):  # what nothing reads, such as a value that only relevance is asked of
        if step.layer.output not in last and step.layer.output not in needed:
            released[k].append(step.layer.output)
    return released
