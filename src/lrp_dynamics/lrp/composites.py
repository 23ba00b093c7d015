"""Composites: which layer gets which rule, and what the relevance at the output is."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.layers import Layer, Move
from lrp_dynamics.lrp.rules import Rule, is_number, make_rule

DEPTH = re.compile(r"first|last|\d+(-\d*)?")
TYPES = {"Linear", "Add", "Shift", "Mean", "Sum", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "Upsample"}
TYPES |= {"Mul", "MatMul", "Softmax"}
TYPES |= {
    f"{kind}{dims}d"
    for kind in ("Conv", "ConvTranspose", "BatchNorm", "MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool")
    for dims in (1, 2, 3)
}
POOLS = [f"{kind}AvgPool{dims}d" for kind in ("", "Adaptive") for dims in (1, 2, 3)]
INITIAL = ("logit", "relu", "softmax", "one", "contrast")


@dataclass(frozen=True)
class Composite:
    """An ordered mapping from layers to rules: of the rules that are for a layer, the first whose key fits it is taken.

    Attributes
    ----------
    name
        For messages and records.
    rules
        A value is a rule's name, or a mapping of ``rule`` and its options. A key is a layer type (``Conv2d``,
        ``Linear``, ``MaxPool2d``, ``Add``), a pattern of names (``features.*``), or a depth counted from 1 among the
        layers with weights (``first``, ``last``, ``3``, ``1-5``, ``11-``; other layers share the depth of the layer
        with weights before them). Keys separated by a space must all fit. Layers that no key fits keep their default,
        which the printed table shows: winner for max-pools; norm for averages, sums and LayerNorm; gate for a product
        with what comes out of a sigmoid or a softmax, half for others; constant for a softmax; epsilon for a BatchNorm
        that stands alone; pass for the rest.
    initial
        The relevance at the output, for a target given as class: its "logit", the "relu" of its logit, the "softmax" of
        all classes, "one", or "contrast": the logit, and less each other logit times its softmax among the others.
    top_k
        Share of the values of a map, the largest, that goes on at each layer (0 to 1]; the rest counts as absorbed.
    """

    name: str
    rules: Mapping[str, str | Mapping[str, Any] | Rule] = field(default_factory=dict)
    initial: str = "logit"
    top_k: float = 1.0

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise UserError(f"composite: its name is {self.name!r}; expected a word, and the rules as rules=")
        if self.initial not in INITIAL:
            raise UserError(
                f"composite {self.name!r}: initial is {self.initial!r}; expected one of {', '.join(INITIAL)}"
            )
        if not isinstance(self.rules, Mapping):
            raise UserError(
                f"composite {self.name!r}: rules is {self.rules!r}; expected a mapping from layers to rules"
            )
        for key in (k for words in self.rules for k in str(words).split()):
            low, _, high = key.partition("-")
            if DEPTH.fullmatch(key) and low.isdigit() and not 1 <= int(low) <= int(high or low):
                raise UserError(
                    f"composite {self.name!r}: found depth {key!r}; depths count from 1, the smaller first; for a "
                    f"layer of that name write '[{key}]'"
                )
        if not is_number(self.top_k) or not 0 < self.top_k <= 1:
            raise UserError(f"composite {self.name!r}: top_k is {self.top_k}; expected a share in (0, 1]")
        object.__setattr__(self, "rules", {str(key): make_rule(rule) for key, rule in self.rules.items()})

    def assign(self, layers: list[Layer]) -> list[Rule]:
        """Give every layer its rule; return the rules."""
        depth, total = 0, sum("weighted" in layer.accepts for layer in layers)
        used, rules = set(), []
        for layer in layers:
            depth += "weighted" in layer.accepts
            fitting = [key for key in self.rules if all(fits(k, layer, depth, total) for k in key.split())]
            used.update(fitting)
            suited = [key for key in fitting if self.rules[key].layers in layer.accepts]
            named = [key for key in fitting if key in (layer.kind, layer.name) and not DEPTH.fullmatch(key)]
            mistaken = [key for key in named if key not in suited and "output" not in layer.accepts]
            if mistaken:
                raise UserError(
                    f"composite {self.name!r} gives layer {layer.name!r} ({layer.kind}) the rule "
                    f"{self.rules[mistaken[0]].name!r}, which is for {self.rules[mistaken[0]].layers} layers"
                )
            rules.append(self.rules[suited[0]] if suited else layer.default)
            if rules[-1] is None:
                raise UserError(
                    f"composite {self.name!r} has no rule for layer {layer.name!r} ({layer.kind}); "
                    f"add an entry such as '{layer.kind}: epsilon'"
                )
        names = [layer.name for layer in layers]
        for key in self.rules:
            for word in key.split():
                first = word.partition("-")[0]
                if DEPTH.fullmatch(word) and first.isdigit() and int(first) > total:
                    hint = f"; for the layer of that name write '[{word}]'" if word in names else ""
                    raise UserError(
                        f"composite {self.name!r}: no layer has the depth {word!r}; the network has {total} layers "
                        f"with weights{hint}"
                    )
            if key not in used and not all(DEPTH.fullmatch(k) or k in TYPES or k == "*" for k in key.split()):
                close = get_close_matches(key, names, 1) or names[:1]
                raise UserError(f"composite {self.name!r}: no layer fits the key {key!r}; names are like {close[0]!r}")
        return rules

    def describe(self) -> dict:
        """Return the composite as plain data, every option included, from which it can be made again."""
        rules = {key: rule.describe() for key, rule in self.rules.items()}
        return {"name": self.name, "rules": rules, "initial": self.initial, "top_k": self.top_k}


def fits(key: str, layer: Layer, depth: int, total: int) -> bool:
    """Tell whether one condition of a composite's key means a layer."""
    if key in TYPES or not DEPTH.fullmatch(key):
        return key == layer.kind or fnmatchcase(layer.name, key)
    if key in ("first", "last"):
        return depth == (1 if key == "first" else total)
    low, _, high = key.partition("-")
    return int(low) <= depth <= int(high or (total if "-" in key else low))


def make_composite(spec: str | Mapping[str, Any] | Composite) -> Composite:
    """Return a composite by its name, or made of a mapping: rules alone, or ``rules`` beside other fields."""
    if isinstance(spec, Composite):
        return spec
    if isinstance(spec, str):
        if spec not in COMPOSITES:
            close = get_close_matches(spec, COMPOSITES, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(COMPOSITES)}"
            raise UserError(f"composite {spec!r} is unknown; {hint}")
        return COMPOSITES[spec]
    if not isinstance(spec, Mapping):
        raise UserError(f"composite: found {spec!r}; expected a name or a mapping")
    options = dict(spec) if "rules" in spec else {"rules": spec}
    if unknown := set(options) - {"name", "rules", "initial", "top_k"}:
        raise UserError(f"composite: key {min(unknown)!r} is unknown; expected name, rules, initial, top_k")
    return Composite(**{"name": "custom", **options})


def table(layers: list[Layer], rules: list[Rule], merged: Mapping[str, str], modules: Container[str]) -> str:
    """Return a table of layers and their rules, but for what only moves values and is no module."""
    into = {}
    for norm, layer in merged.items():
        into.setdefault(layer, []).append(norm)
    rows = [("layer", "type", "rule")]
    for layer, rule in zip(layers, rules, strict=True):
        if type(layer) is Move and layer.name not in modules:
            continue
        rows.append((" + ".join([layer.name, *into.get(layer.name, ())]), layer.kind, str(rule)))
    widths = [max(len(row[c]) for row in rows) for c in range(2)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)


def _presets() -> list[Composite]:
    """Return the composites that have a name."""
    box, gamma, ab = "z_box", "gamma", {"rule": "alpha_beta"}
    soft = {"epsilon": 1e-6, "signed": True}  # zennit stabilizes all rules alike
    z_plus, zennit_plus = "z_plus", {"rule": "z_plus", "bias": "positive", **soft}
    zennit_flat, zennit_ab = {"rule": "flat", **soft}, {"rule": "alpha_beta", "bias": "full", **soft}
    zennit = {layer: {"rule": "norm", **soft} for layer in (*POOLS, "Add")}
    loose = {"epsilon": 1e-5, "signed": False}
    unsplit = {"rule": "z_plus", "negative": "unsplit"}
    halves = {kind: {"rule": "half", "epsilon": 1e-6} for kind in ("Mul", "MatMul")}
    rms = {"epsilon": 1e-9, "relative": 0.25, "signed": False}
    tight = {"epsilon": 1e-9, "signed": False}
    own = [
        Composite("z_plus", {"*": z_plus}),
        Composite("deep_taylor", {"first": box, "*": z_plus}),
        Composite("lrp0", {"*": {"rule": "epsilon", "epsilon": 0.0}}),
        Composite("epsilon", {"*": "epsilon"}),
        Composite("epsilon_rms", {"*": {"rule": "epsilon", "epsilon": 1e-9, "relative": 0.25}}),
        Composite("gamma", {"*": gamma}),
        Composite("alpha2_beta1", {"*": ab}),
        Composite("alpha2_beta1_conserving", {"*": {**ab, "conserving": True}}),
        Composite("w_square_plus", {"first": "w_square", "*": z_plus}),
        Composite("epsilon_plus", {"Linear": "epsilon", "*": z_plus}),
        Composite("epsilon_plus_flat", {"first": "flat", "Linear": "epsilon", "*": z_plus}),
        Composite("epsilon_gamma_box", {"first": box, "Linear": "epsilon", "*": gamma}),
        Composite("epsilon_alpha2_beta1", {"Linear": "epsilon", "*": ab}),
        Composite("epsilon_alpha2_beta1_flat", {"first": "flat", "Linear": "epsilon", "*": ab}),
    ]
    own += [
        # Achtibat et al. 2024 (arXiv:2402.05602) and Ali et al. 2022 (arXiv:2202.07304), for attention.
        # LayerNorm stays with norm, as in the authors' own LXT: there, passing makes relevance grow without bound.
        Composite("attnlrp", {"RMSNorm": "pass", **halves, "Softmax": "taylor", "*": "epsilon"}),
        Composite("cp_lrp", {"Mul": "gate", "MatMul": "gate", "Softmax": "constant", "*": "epsilon"}),
    ]
    peers = [
        # The CIFAR-10 homework and deep Taylor decomposition: negative inputs are not split off.
        Composite("homework", {"first": box, "*": unsplit, "AvgPool2d": {"rule": "norm", **tight}}, initial="relu"),
        # The LRP tutorial for VGG-16: by depth, z_box, gamma, epsilon of 0.25 rms, and 0; max-pools as averages.
        Composite("tutorial_vgg16", {
            "MaxPool2d 1-7": {"rule": "average", **tight}, "MaxPool2d 8-13": {"rule": "average", **rms},
            "AdaptiveAvgPool2d": {"rule": "norm", **tight},
            "first": box, "2-7": {"rule": "gamma", "generalized": False, **tight},
            "8-13": {"rule": "epsilon", **rms}, "14-": {"rule": "epsilon", **tight},
        }),
        # The from-scratch repository: ones for pixels, all classes by softmax, max-pools as averages.
        *(Composite(name, {
            "first": {**unsplit, "negative": "ones", **loose}, "*": {**unsplit, **loose},
            "MaxPool2d": {"rule": "average", **loose}, "AdaptiveAvgPool2d": {"rule": "norm", **loose},
            "AvgPool2d": {"rule": "norm", **loose},
        }, initial="softmax", top_k=top_k) for name, top_k in (("from_scratch", 1.0), ("from_scratch_top_k", 0.02))),
        Composite("zennit_z_plus", {"*": zennit_plus, **zennit}),
        Composite("zennit_epsilon_plus", {"Linear": "epsilon", "*": zennit_plus, **zennit}),
        Composite("zennit_epsilon_plus_flat", {"first": zennit_flat, "Linear": "epsilon", "*": zennit_plus, **zennit}),
        Composite("zennit_epsilon_gamma_box", {
            "first": {"rule": box, **soft}, "Linear": "epsilon", "*": gamma, **zennit,
        }),
        Composite("zennit_epsilon_alpha2_beta1", {"Linear": "epsilon", "*": zennit_ab, **zennit}),
        Composite("zennit_epsilon_alpha2_beta1_flat", {
            "first": zennit_flat, "Linear": "epsilon", "*": zennit_ab, **zennit,
        }),
        Composite("captum_epsilon", {"*": {"rule": "epsilon", "epsilon": 1e-9}}),
        Composite("captum_alpha1_beta0", {"*": {**unsplit, "bias": "full", "signed": True}}),
        Composite("captum_gamma", {
            "*": {"rule": "gamma", "generalized": False, "bias": "plain", "epsilon": 1e-9},
        }),
        Composite("innvestigate_z_plus", {"*": {"rule": "z_plus", "epsilon": 0.0}}),
        Composite("innvestigate_alpha1_beta0", {"*": {"rule": "z_plus", "bias": "full", "epsilon": 0.0}}),
        Composite("innvestigate_epsilon", {"*": {"rule": "epsilon", "epsilon": 1e-7}}),
    ]  # fmt: skip
    return own + peers


COMPOSITES: dict[str, Composite] = {composite.name: composite for composite in _presets()}
