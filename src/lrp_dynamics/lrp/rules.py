r"""The propagation rules, each as data.

For a linear layer $z_j = \sum_i x_i w_{ij} + b_j$ and relevance $R_j$ arriving at its output, every rule of LRP is a
sum of *parts*

$$R_i = \sum_{parts} c \sum_{(u, v)} u_i \sum_j v_{ij} \frac{R_j}{\mathrm{stab}(\sum_{(u, v)} \sum_i u_i v_{ij} + b'_j)}$$

with a form $u$ of the input, a form $v$ of the weights and a form $b'$ of the bias. A part names these forms; the engine
evaluates them. Forms of a tensor are pairs (factor of its positive values, factor of its negative values).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import ClassVar, Literal

from lrp_dynamics.errors import UserError

Form = tuple[float, float]
ALL: Form = (1.0, 1.0)
POSITIVE: Form = (1.0, 0.0)
NEGATIVE: Form = (0.0, 1.0)
NONE: Form = (0.0, 0.0)
BIAS: dict[str, Form] = {"drop": NONE, "positive": POSITIVE, "full": ALL}

Input = Literal["x", "x+", "x-", "x-low", "x-high", "one"]


@dataclass(frozen=True)
class Part:
    """One fraction of a rule: its terms (input form, weight form), bias form, factor, and the sign of z it is for."""

    terms: tuple[tuple[Input, Form | Literal["square", "one"]], ...]
    bias: Form = NONE
    factor: float = 1.0
    where: Literal["any", "z>0", "z<0"] = "any"


@dataclass(frozen=True)
class Rule:
    """Base of all rules: the stabilizer of the denominator.

    Attributes
    ----------
    epsilon
        Value added to the denominator, >= 0. A denominator of exactly 0 absorbs its relevance.
    signed
        Add it with the sign of the denominator (0 counts as positive); else as it is.
    scale
        "absolute"; "sample": times the rms of z over the layer, per sample; "batch": over the whole batch, which makes
        a map depend on its batch mates and exists only to reproduce the LRP tutorial.
    """

    name: ClassVar[str] = ""
    epsilon: float = 1e-9
    signed: bool = False
    scale: Literal["absolute", "sample", "batch"] = "absolute"

    def parts(self) -> tuple[Part, ...]:
        """Return the fractions that the rule sums."""
        raise NotImplementedError

    def describe(self) -> dict:
        """Return the rule as plain data: its name and every option."""
        return {"rule": self.name, **asdict(self)}


@dataclass(frozen=True)
class Epsilon(Rule):
    r"""$R_i = x_i \sum_j w_{ij} R_j / (z_j + \epsilon\,\mathrm{sg}(z_j))$: z is the layer's own output, bias included.

    Bach et al. 2015 (doi:10.1371/journal.pone.0130140), eq. 58. ``epsilon=0`` is LRP-0.
    """

    name: ClassVar[str] = "epsilon"
    epsilon: float = 1e-6
    signed: bool = True
    bias: Literal["drop", "positive", "full"] = "full"

    def parts(self) -> tuple[Part, ...]:
        return (Part((("x", ALL),), BIAS[self.bias]),)


@dataclass(frozen=True)
class ZPlus(Rule):
    r"""$R_i = \sum_j (x_i w_{ij})^+ R_j / \sum_i (x_i w_{ij})^+$.

    Montavon et al. 2017 (doi:10.1016/j.patcog.2016.11.008). For x >= 0 only positive weights count. Negative inputs are
    split off and meet the negative weights, or, with ``negative="unsplit"``, the positive ones.
    """

    name: ClassVar[str] = "z_plus"
    bias: Literal["drop", "positive", "full"] = "drop"
    negative: Literal["split", "unsplit"] = "split"

    def parts(self) -> tuple[Part, ...]:
        split = (("x+", POSITIVE), ("x-", NEGATIVE))
        return (Part(split if self.negative == "split" else (("x", POSITIVE),), BIAS[self.bias]),)


@dataclass(frozen=True)
class Gamma(Rule):
    r"""$R_i = x_i \sum_j \rho(w_{ij}) R_j / (\sum_i x_i \rho(w_{ij}) + \rho(b_j))$, $\rho(w) = w + \gamma w^+$.

    Montavon et al. 2019 (doi:10.1007/978-3-030-28954-6_10). ``generalized`` favours, where z < 0, the negative
    contributions instead (Andeol et al. 2021), and pairs negative inputs with the opposite weights.
    """

    name: ClassVar[str] = "gamma"
    gamma: float = 0.25
    epsilon: float = 1e-6
    signed: bool = True
    generalized: bool = True

    def parts(self) -> tuple[Part, ...]:
        up, down = (1.0 + self.gamma, 1.0), (1.0, 1.0 + self.gamma)
        if not self.generalized:
            return (Part((("x", up),), up),)
        return (
            Part((("x+", up), ("x-", down)), up, where="z>0"),
            Part((("x+", down), ("x-", up)), down, where="z<0"),
        )


@dataclass(frozen=True)
class ZBox(Rule):
    r"""$R_i = \sum_j (x_i w_{ij} - l_i w_{ij}^+ - h_i w_{ij}^-) R_j / \sum_i (\ldots)$ for inputs within [l, h].

    Montavon et al. 2017. Written as $(x_i - l_i) w_{ij}^+ + (x_i - h_i) w_{ij}^-$, a sum of terms >= 0.
    """

    name: ClassVar[str] = "z_box"

    def parts(self) -> tuple[Part, ...]:
        return (Part((("x-low", POSITIVE), ("x-high", NEGATIVE))),)


@dataclass(frozen=True)
class Pass(Rule):
    """$R_i = R_j$: layers with one input per output."""

    name: ClassVar[str] = "pass"

    def parts(self) -> tuple[Part, ...]:
        return ()


@dataclass(frozen=True)
class Norm(Rule):
    r"""$R_i = x_i v_{ij} R_j / \sum_i x_i v_{ij}$ for layers without weights: pools and sums."""

    name: ClassVar[str] = "norm"
    epsilon: float = 1e-9
    signed: bool = True

    def parts(self) -> tuple[Part, ...]:
        return (Part((("x", ALL),), ALL),)


@dataclass(frozen=True)
class Winner(Rule):
    """Max-pooling: the first largest input of a window takes all."""

    name: ClassVar[str] = "winner"

    def parts(self) -> tuple[Part, ...]:
        return ()


@dataclass(frozen=True)
class Average(Norm):
    """Max-pooling treated as average pooling on the way back."""

    name: ClassVar[str] = "average"


RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (Epsilon, ZPlus, Gamma, ZBox, Pass, Norm, Winner, Average)}


def make_rule(spec: str | dict | Rule) -> Rule:
    """Return the rule that a name, or a mapping with the key ``rule`` and options, describes."""
    if isinstance(spec, Rule):
        return spec
    options = {"rule": spec} if isinstance(spec, str) else dict(spec)
    name = options.pop("rule", None)
    if name not in RULES:
        raise UserError(f"rule {name!r} is unknown; choose one of {', '.join(RULES)}")
    known = {field.name for field in fields(RULES[name])}
    if unknown := set(options) - known:
        raise UserError(f"rule {name!r} has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return RULES[name](**options)
