r"""The propagation rules, each as data.

For a linear layer $z_j = \sum_i x_i w_{ij} + b_j$ and relevance $R_j$ arriving at its output, every rule is a sum of
*parts*, each with forms $u$ of the input, $v$ of the weights and $b'$ of the bias:

$$R_i = \sum_{part} c \sum_{(u, v)} u_i \sum_j v_{ij} \frac{R_j}{\mathrm{stab}(z'_j)}, \qquad
z'_j = \sum_{(u, v)} \sum_i u_i v_{ij} + b'_j$$

A rule names these forms; :mod:`~lrp_dynamics.lrp.propagate` evaluates them. A form of weights or bias is a pair: the
factor of the positive values and the factor of the negative values.

To add a rule, write one class here, list it in ``RULES``, and add its dense formula to ``tests/lrp/test_rules.py``; if
random networks shall draw it, to ``tests/lrp/fuzz/oracle.py`` too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import ClassVar, Literal, get_args, get_origin, get_type_hints

from lrp_dynamics.base.errors import UserError

Form = tuple[float, float]
Bias = Literal["drop", "positive", "full"]
ALL: Form = (1.0, 1.0)
POSITIVE: Form = (1.0, 0.0)
NEGATIVE: Form = (0.0, 1.0)
NONE: Form = (0.0, 0.0)
BIAS: dict[str, Form] = {"drop": NONE, "positive": POSITIVE, "full": ALL}


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


@dataclass(frozen=True)
class Part:
    """A fraction of a rule: terms (input form, weight form), bias form, factor, and the sign of z that it is for."""

    terms: tuple[tuple[Literal["x", "x+", "x-", "x-low", "x-high", "one"], Form | Literal["square", "one"]], ...]
    bias: Form = NONE
    factor: float = 1.0
    where: Literal["any", "z>0", "z<0"] = "any"


@dataclass(frozen=True)
class Rule:
    """Base of all rules; by itself one without options."""

    name: ClassVar[str] = ""
    layers: ClassVar[str] = "weighted"  # what it is for; a layer's `accepts` lists what it takes

    def __post_init__(self):
        for option, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, option) not in get_args(hint):
                raise UserError(
                    f"rule {self.name!r}: {option} is {getattr(self, option)!r}; expected {', '.join(get_args(hint))}"
                )
            if hint is bool and not isinstance(getattr(self, option), bool):
                raise UserError(
                    f"rule {self.name!r}: {option} is {getattr(self, option)!r}; expected true or false, without quotes"
                )
            if hint is float and not is_number(getattr(self, option)):
                raise UserError(
                    f"rule {self.name!r}: {option} is {getattr(self, option)!r}; expected a number (in YAML 1.0e-6, "
                    "not 1e-6, which is a word there)"
                )

    def parts(self) -> tuple[Part, ...]:
        """Return the fractions whose sum the rule is; none for rules that layers without weights carry out."""
        return ()

    def describe(self) -> dict:
        """Return the rule as plain data: its name and every option."""
        return {"rule": self.name, **asdict(self)}

    def __str__(self) -> str:
        default = type(self)()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = [f"{name}={value}" for name, value in values.items() if value != getattr(default, name)]
        return self.name + (f"({', '.join(shown)})" if shown else "")


@dataclass(frozen=True)
class Stabilized(Rule):
    r"""A rule that divides, by $\mathrm{stab}(z) = z + \epsilon + \rho\,\mathrm{rms}(z)$.

    Attributes
    ----------
    epsilon
        Absolute stabilizer, >= 0. With 0, denominators that are exactly 0 absorb their relevance.
    relative
        Stabilizer in units of the root mean square of the layer's denominators, >= 0.
    over
        What that mean is over: each "sample", or the whole "batch", which makes a map depend on its batch mates and is
        offered only because the LRP tutorial does so.
    signed
        Add both with the sign of z, sg(0) = +1; otherwise as they are.
    """

    epsilon: float = 1e-9
    relative: float = 0.0
    over: Literal["sample", "batch"] = "sample"
    signed: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.epsilon < 0 or self.relative < 0:
            raise UserError(f"rule {self.name!r}: epsilon and relative must be >= 0")


@dataclass(frozen=True)
class Epsilon(Stabilized):
    r"""$R_i = x_i \sum_j w_{ij} R_j / (z_j + \epsilon\,\mathrm{sg}(z_j))$, z the layer's own output, bias included.

    Bach et al. 2015 (doi:10.1371/journal.pone.0130140), eq. 58. ``epsilon: 0`` is LRP-0.

    >>> from lrp_dynamics.lrp import try_rule
    >>> try_rule({"rule": "epsilon", "epsilon": 0}, x=[2, -1], weights=[3, 1], bias=5)  # z = 6 - 1 + 5
    [0.6, -0.1]
    """

    name: ClassVar[str] = "epsilon"
    epsilon: float = 1e-6
    signed: bool = True
    bias: Bias = "full"

    def parts(self) -> tuple[Part, ...]:
        """Every contribution counts, by its share of z."""
        return (Part((("x", ALL),), BIAS[self.bias]),)


@dataclass(frozen=True)
class ZPlus(Stabilized):
    r"""$R_i = \sum_j (x_i w_{ij})^+ R_j / \sum_i (x_i w_{ij})^+$: only positive contributions count.

    Montavon et al. 2017 (doi:10.1016/j.patcog.2016.11.008). ``negative: split`` pairs negative inputs with the negative
    weights, ``unsplit`` sends them through the positive weights like all others, ``ones`` replaces the input by ones.

    >>> from lrp_dynamics.lrp import try_rule
    >>> try_rule("z_plus", x=[2, -1, 1], weights=[3, -2, -4], bias=9)  # products 6, 2, -4
    [0.75, 0.25, 0.0]
    """

    name: ClassVar[str] = "z_plus"
    bias: Bias = "drop"
    negative: Literal["split", "unsplit", "ones"] = "split"

    def parts(self) -> tuple[Part, ...]:
        """The products >= 0."""
        terms = {
            "split": (("x+", POSITIVE), ("x-", NEGATIVE)),
            "unsplit": (("x", POSITIVE),),
            "ones": (("one", POSITIVE),),
        }
        return (Part(terms[self.negative], BIAS[self.bias]),)


@dataclass(frozen=True)
class AlphaBeta(Stabilized):
    r"""$R_i = \sum_j (\alpha (x_i w_{ij})^+ / z_j^+ - \beta (x_i w_{ij})^- / z_j^-) R_j$ with $\alpha - \beta = 1$.

    Bach et al. 2015, eq. 60. A neuron whose contributions have one sign only breaks conservation; ``conserving`` gives
    the sign that is there the weight 1.

    >>> from lrp_dynamics.lrp import try_rule
    >>> try_rule("alpha_beta", x=[3, 1, 1], weights=[1, 1, -1])  # 2 of it as 3 : 1, minus 1 of it
    [1.5, 0.5, -1.0]
    >>> try_rule("alpha_beta", x=[3, 1], weights=[1, 1])  # nothing negative: not conserved
    [1.5, 0.5]
    >>> try_rule({"rule": "alpha_beta", "conserving": True}, x=[3, 1], weights=[1, 1])
    [0.75, 0.25]
    """

    name: ClassVar[str] = "alpha_beta"
    alpha: float = 2.0
    beta: float = 1.0
    signed: bool = True
    bias: Literal["drop", "full"] = "drop"
    conserving: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-12:
            raise UserError(f"rule 'alpha_beta': found alpha={self.alpha}, beta={self.beta}; expected alpha - beta = 1")

    def parts(self) -> tuple[Part, ...]:
        """The products >= 0, and those <= 0."""
        keep = self.bias == "full"
        return (
            Part((("x+", POSITIVE), ("x-", NEGATIVE)), POSITIVE if keep else NONE, self.alpha),
            Part((("x+", NEGATIVE), ("x-", POSITIVE)), NEGATIVE if keep else NONE, -self.beta),
        )


@dataclass(frozen=True)
class Gamma(Stabilized):
    r"""$R_i = x_i \sum_j \rho(w_{ij}) R_j / (\sum_i x_i \rho(w_{ij}) + \rho(b_j))$ with $\rho(w) = w + \gamma w^+$.

    Montavon et al. 2019 (doi:10.1007/978-3-030-28954-6_10). ``generalized`` (Andéol et al. 2021, arXiv:2103.13701)
    favours the negative contributions where z < 0, and pairs negative inputs with the weights of opposite sign.

    >>> from lrp_dynamics.lrp import try_rule
    >>> try_rule({"rule": "gamma", "gamma": 1}, x=[1, 1], weights=[3, -2])  # z > 0: 6 and -2
    [1.5, -0.5]
    >>> try_rule({"rule": "gamma", "gamma": 1}, x=[1, 1], weights=[2, -3])  # z < 0: 2 and -6
    [-0.5, 1.5]
    """

    name: ClassVar[str] = "gamma"
    gamma: float = 0.25
    epsilon: float = 1e-6
    signed: bool = True
    bias: Literal["full", "plain"] = "full"  # "plain" leaves the bias as it is
    generalized: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.gamma < 0:
            raise UserError(f"rule 'gamma': gamma is {self.gamma}; expected at least 0")

    def parts(self) -> tuple[Part, ...]:
        """One part where z > 0 and its mirror image where z < 0."""
        up, down = (1.0 + self.gamma, 1.0), (1.0, 1.0 + self.gamma)
        if not self.generalized:
            return (Part((("x", up),), up if self.bias == "full" else ALL),)
        return (
            Part((("x+", up), ("x-", down)), up if self.bias == "full" else ALL, where="z>0"),
            Part((("x+", down), ("x-", up)), down if self.bias == "full" else ALL, where="z<0"),
        )


@dataclass(frozen=True)
class ZBox(Stabilized):
    r"""$R_i = \sum_j (x_i w_{ij} - l_i w_{ij}^+ - h_i w_{ij}^-) R_j / \sum_i (\ldots)$ for inputs within [l, h].

    Montavon et al. 2017, for the first layer. It is written as $(x_i - l_i) w_{ij}^+ + (x_i - h_i) w_{ij}^-$, terms
    that are all >= 0; zero padding counts as a pixel with l = h = 0.

    >>> from lrp_dynamics.lrp import try_rule
    >>> try_rule("z_box", x=[0.5, 0.5], weights=[3, -1], bias=9, bounds=(0, 1))  # 0.5·3 and -0.5·-1
    [0.75, 0.25]
    """

    name: ClassVar[str] = "z_box"

    def parts(self) -> tuple[Part, ...]:
        """The distance of the input from its bounds, by sign of the weight."""
        return (Part((("x-low", POSITIVE), ("x-high", NEGATIVE))),)


@dataclass(frozen=True)
class WSquare(Stabilized):
    r"""$R_i = \sum_j w_{ij}^2 R_j / \sum_i w_{ij}^2$, whatever the input; only real pixels count.

    Montavon et al. 2017, for a first layer with unbounded inputs.

    >>> from lrp_dynamics.lrp import try_rule
    >>> try_rule("w_square", x=[7, -7], weights=[3, -1], bias=9)
    [0.9, 0.1]
    """

    name: ClassVar[str] = "w_square"

    def parts(self) -> tuple[Part, ...]:
        """The squared weights."""
        return (Part((("one", "square"),)),)


@dataclass(frozen=True)
class Flat(Stabilized):
    r"""$R_i = \sum_j R_j / \#\{i\}$: each output spreads evenly over its real pixels.

    Lapuschkin et al. 2019 (doi:10.1038/s41467-019-08987-4).

    >>> from lrp_dynamics.lrp import try_rule
    >>> try_rule("flat", x=[7, -7], weights=[3, -1], bias=9)
    [0.5, 0.5]
    """

    name: ClassVar[str] = "flat"

    def parts(self) -> tuple[Part, ...]:
        """Weights of one."""
        return (Part((("one", "one"),)),)


@dataclass(frozen=True)
class Norm(Stabilized):
    r"""$R_i = x_i v_{ij} R_j / z_j$, $z_j = \sum_i x_i v_{ij} + c_j$, for linear maps without weights.

    These are average pools, sums, residual additions, interpolation, and the addition of constants c. LayerNorm and its
    like are such maps once their statistic is taken as a constant (the LN-rule of Ali et al. 2022, arXiv:2202.07304).
    """

    name: ClassVar[str] = "norm"
    layers: ClassVar[str] = "fixed"
    signed: bool = True


@dataclass(frozen=True)
class Winner(Rule):
    """Max-pooling: the first largest input of each window takes all; overlapping windows add up."""

    name: ClassVar[str] = "winner"
    layers: ClassVar[str] = "maxpool"


@dataclass(frozen=True)
class Average(Stabilized):
    """Max-pooling treated as average pooling on the way back: the rule ``norm`` on the averages."""

    name: ClassVar[str] = "average"
    layers: ClassVar[str] = "windowed maxpool"
    signed: bool = True


@dataclass(frozen=True)
class Gate(Stabilized):
    """A product of two activations, of which one comes out of a sigmoid, a softmax or their like: that is a constant.

    The other, the signal, takes all (Arras et al. 2017, doi:10.18653/v1/W17-5221; in attention CP-LRP, Ali et al. 2022,
    arXiv:2202.07304).
    """

    name: ClassVar[str] = "gate"
    layers: ClassVar[str] = "product"
    signed: bool = True


@dataclass(frozen=True)
class Half(Stabilized):
    """A product of two activations: each takes its share of one half (Achtibat et al. 2024, arXiv:2402.05602)."""

    name: ClassVar[str] = "half"
    layers: ClassVar[str] = "product"
    signed: bool = True


@dataclass(frozen=True)
class Constant(Rule):
    """A softmax within the net, as of attention weights, is a constant: what arrives at it is absorbed."""

    name: ClassVar[str] = "constant"
    layers: ClassVar[str] = "softmax"


@dataclass(frozen=True)
class Taylor(Rule):
    r"""$R_i = x_i (R_i - s_i \sum_j R_j)$ for a softmax s within the net (Achtibat et al. 2024, arXiv:2402.05602)."""

    name: ClassVar[str] = "taylor"
    layers: ClassVar[str] = "softmax"


@dataclass(frozen=True)
class Pass(Rule):
    """$R_i = R_j$: functions of single values, reshaping, multiplication by constants; as an option LayerNorm."""

    name: ClassVar[str] = "pass"
    layers: ClassVar[str] = "pass"


@dataclass(frozen=True)
class LeftOut(Rule):
    """No rule to choose: what stands in the table for an activation at the very end, before which LRP starts."""

    name: ClassVar[str] = "left out"
    layers: ClassVar[str] = "output"


_RULES = (
    Epsilon,
    ZPlus,
    AlphaBeta,
    Gamma,
    ZBox,
    WSquare,
    Flat,
    Norm,
    Winner,
    Average,
    Gate,
    Half,
    Constant,
    Taylor,
    Pass,
)
RULES: dict[str, type[Rule]] = {rule.name: rule for rule in _RULES}


def make_rule(spec: str | dict | Rule) -> Rule:
    """Return the rule that a name, or a mapping of ``rule`` and its options, describes."""
    if isinstance(spec, Rule):
        return spec
    if not isinstance(spec, str | Mapping):
        raise UserError(f"rule {spec!r}: expected a name, or a mapping of 'rule' and its options")
    options = {"rule": spec} if isinstance(spec, str) else dict(spec)
    if "rule" not in options:
        raise UserError(f"rule {spec!r}: the key 'rule' is missing, which names one of {', '.join(RULES)}")
    name = options.pop("rule")
    if not isinstance(name, str) or name not in RULES:
        raise UserError(f"rule {name!r} is unknown; choose one of {', '.join(RULES)}")
    known = [field.name for field in fields(RULES[name])]
    for option in options:
        if option not in known:
            raise UserError(f"rule {name!r} has no option {option!r}; it has {', '.join(known)}")
    return RULES[name](**options)
