"""Composites: which layer gets which rule, and what the relevance at the output is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from lrp_dynamics.errors import UserError
from lrp_dynamics.lrp.layers import Layer
from lrp_dynamics.lrp.rules import Rule, make_rule

DEPTH = re.compile(r"first|last|\d+(-\d*)?")


@dataclass(frozen=True)
class Composite:
    """An ordered mapping from layers to rules; the first key that fits a layer decides.

    Attributes
    ----------
    rules
        Keys are a layer type (``Conv2d``, ``Linear``, ``MaxPool2d``, ``Add``), a depth among the layers with weights
        (``first``, ``last``, ``3``, ``1-5``, ``11-``; counted from 1), or a pattern of names (``features.*``).
    initial
        The relevance at the output: "logit" of the target, "relu" of it, "softmax" of all classes, or "one".
    """

    name: str
    rules: Mapping[str, str | dict | Rule] = field(default_factory=dict)
    initial: str = "logit"

    def assign(self, layers: list[Layer]) -> list[Rule]:
        """Return the rule of every layer."""
        depth, total = 0, sum(layer.weighted for layer in layers)
        assigned = []
        for layer in layers:
            depth += layer.weighted
            key = next((k for k in self.rules if fits(k, layer, depth, total)), None)
            if key is None and layer.weighted:
                raise UserError(f"composite {self.name!r} has no rule for layer {layer.name!r} ({layer.kind})")
            assigned.append(make_rule(layer.default_rule if key is None else self.rules[key]))
        return assigned


def fits(key: str, layer: Layer, depth: int, total: int) -> bool:
    """Tell whether a composite's key means this layer."""
    if key == layer.kind:
        return True
    if not DEPTH.fullmatch(key):
        return fnmatchcase(layer.name, key)
    if key in ("first", "last"):
        return layer.weighted and depth == (1 if key == "first" else total)
    low, _, high = key.partition("-")
    return layer.weighted and int(low) <= depth <= int(high or (total if "-" in key else low))


COMPOSITES: dict[str, Composite] = {
    c.name: c
    for c in (
        Composite("z_plus", {"*": "z_plus"}),
        Composite("deep_taylor", {"first": "z_box", "*": "z_plus"}),
        Composite("epsilon", {"*": "epsilon"}),
        Composite("gamma", {"*": "gamma"}),
        Composite("epsilon_plus", {"Linear": "epsilon", "*": "z_plus"}),
        Composite("epsilon_gamma_box", {"first": "z_box", "Linear": "epsilon", "*": "gamma"}),
    )
}
