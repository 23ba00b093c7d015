"""The engine: what is given is looked at, one loop runs forward, one loop back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from math import isfinite
from threading import RLock
from typing import Any, Literal, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.arguments import checked_target, limits, refuse_input
from lrp_dynamics.lrp.composites import Composite, make_composite, table
from lrp_dynamics.lrp.kernels import in_layout
from lrp_dynamics.lrp.layers import Layer, Move, Step
from lrp_dynamics.lrp.passes import explained
from lrp_dynamics.lrp.plan import Plan
from lrp_dynamics.lrp.plans import addresses, plan_for, precision, some_plan, still_so
from lrp_dynamics.lrp.replay import Graphs
from lrp_dynamics.lrp.results import Relevance, none_of, one_for_none
from lrp_dynamics.lrp.rules import Rule, ZBox
from lrp_dynamics.lrp.signs import annotate, releases
from lrp_dynamics.lrp.structure import paths, refuse_lazy, refuse_quantized

FEW = 20  # names of layers that a message lists
TURNS = RLock()  # of threads: some settings of torch are those of the process


class Given(NamedTuple):
    """What a caller gave, after it was looked at.

    Attributes
    ----------
    x, bounds, nonnegative
        The input as it is computed with, (low, high), and whether every value is >= 0.
    target
        As `checked_target` returns it.
    plan
        For which the target was looked at.
    """

    x: Tensor
    bounds: tuple[Tensor, Tensor] | None
    nonnegative: bool
    target: Tensor | None
    plan: Plan


class Explainer:
    """A model with a rule for every layer; its weights are read anew at every call.

    The model is only read: never run, changed or hooked (so hooks of the model do not act). At the first input of a
    shape a copy of its structure is run once, to record what it computes (:mod:`~lrp_dynamics.lrp.capture`). Threads
    take turns. Relevance is that of the model in eval mode: dropout is the identity and BatchNorm uses running
    statistics.

    Parameters
    ----------
    model, composite, bounds
        As in :func:`relevance`.
    as_eval
        Explain a model whose BatchNorms are in training mode as if it were in eval mode, instead of refusing it.
    shape
        Of one sample, for which the model is recorded at once instead of at the first call; what is printed is for it.
        Without it, a shape that the model takes is looked for when that is asked for before the first call.
    replay
        On a GPU, repeat a pass as one CUDA graph where model, shapes and kinds of arguments are those of the call
        before: launching its operations one by one takes longer than small networks take to run. The graph keeps the
        memory of one pass, for the two kinds of calls used last.

    Attributes
    ----------
    ran : str
        How the last call ran: "operation by operation", "as one CUDA graph", or why a graph could not be made.

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
        shape: tuple[int, ...] | None = None,
        replay: bool = True,
    ):
        if not isinstance(model, nn.Module):
            raise UserError(f"the model is a {type(model).__name__}; expected a torch.nn.Module")
        self.model, self.composite, self.bounds, self.as_eval = model, make_composite(composite), bounds, as_eval
        refuse_lazy(model)
        refuse_quantized(model)
        self._modules = [ref(module) for module in paths(model).values()]
        self._plan: Plan | None = None
        self._rules: list[Rule] = []
        self._steps: dict[bool, tuple[list[Step], list[list[int]]]] = {}
        self._limits: dict[tuple, tuple[Tensor, Tensor]] = {}
        self._graphs, self.replay = Graphs(), replay
        if any(isinstance(rule, ZBox) for rule in self.composite.rules.values()) and bounds is None:
            raise UserError(f"composite {self.composite.name!r} needs bounds=(low, high) of the input")
        if shape is not None:
            if not isinstance(shape, tuple | list) or not all(isinstance(size, int) and size > 0 for size in shape):
                raise UserError(f"shape is {shape!r}; expected the sizes of one sample, such as (3, 32, 32)")
            with TURNS:
                self._use(plan_for(model, paths(model), tuple(shape), precision(model)))

    def __reduce__(self) -> tuple:
        return remade, (self.model, self.composite, self.bounds, self.as_eval, self.replay)

    @property
    def ran(self) -> str:
        """How the last call ran."""
        return self._graphs.ran

    @property
    def plan(self) -> Plan:
        """The layers for the last input's shape, or for one that the model takes."""
        with TURNS:
            if self._plan is None:
                self._use(some_plan(self.model))
            return self._plan

    def __str__(self) -> str:
        plan = self.plan
        return table(plan.layers, self._rules, plan.merged, plan.program.outputs)

    def describe(self) -> dict[str, dict]:
        """Return the rule of every layer, with all options, as plain data."""
        pairs = zip(self.plan.layers, self._rules, strict=True)
        return {layer.name: {"layer": layer.kind, **rule.describe()} for layer, rule in pairs}

    def __call__(
        self, inputs: Tensor, target: Tensor | Sequence[int] | str, *, layers: list[str] | Literal["all"] | None = None
    ) -> Relevance:
        """Return the relevance of inputs; parameters as in :func:`relevance`."""
        modules = paths(self.model)
        self._refuse(inputs, modules)
        with TURNS, exact(inputs.device):
            if len(inputs):
                return self._explain(modules, self._look(modules, inputs, target), layers)
            given = self._look(modules, *one_for_none(inputs, target, self.bounds))
            return none_of(self._explain(modules, given, layers))

    def fixed(
        self, inputs: Tensor, target: Tensor | Sequence[int] | str, *, layers: list[str] | Literal["all"] | None = None
    ) -> Callable[[], Relevance]:
        """Return a function that explains these inputs, with the model's weights as they are at each call.

        Inputs and target are copied and looked at once, so that on a GPU nothing waits for their values.
        Parameters as in :func:`relevance`.
        """
        refuse_input(inputs)
        inputs, target = inputs.detach().clone(), target.clone() if isinstance(target, Tensor) else target
        given: Given | None = None

        def explain() -> Relevance:
            nonlocal given
            if not len(inputs):
                return self(inputs, target, layers=layers)
            modules = paths(self.model)
            self._refuse(inputs, modules)
            with TURNS, exact(inputs.device):
                kind = precision(self.model, inputs)
                if given is None or given.plan is not plan_for(self.model, modules, tuple(inputs.shape[1:]), kind):
                    given = self._look(modules, inputs, target)
                return self._explain(modules, given, layers)

        return explain

    def _look(self, modules: dict[str, nn.Module], inputs: Tensor, target: Any) -> Given:
        """Check what is given, and make the plan for it. Here values are read back, and nowhere else."""
        x, bounds, nonnegative = self._prepare(inputs)
        plan = plan_for(self.model, modules, tuple(x.shape[1:]), x.dtype)
        return Given(x, bounds, nonnegative, checked_target(target, plan.output_shape(len(x)), x), plan)

    def _explain(self, modules: dict[str, nn.Module], given: Given, layers: Any) -> Relevance:
        """Run the two loops, and return what they find."""
        x, bounds, nonnegative, target, plan = given
        if not still_so(plan, modules, x):
            plan = plan_for(self.model, modules, tuple(x.shape[1:]), x.dtype, anew=True)
            target = checked_target("predicted" if target is None else target, plan.output_shape(len(x)), x)
        self._use(plan)
        wanted = self._wanted(layers)
        if nonnegative not in self._steps:
            steps = annotate(plan, self._rules, nonnegative)
            self._steps[nonnegative] = steps, releases(plan, steps)
        steps, released = self._steps[nonnegative]

        def run(x: Tensor, target: Tensor | None) -> tuple[list[Tensor], list[str]]:
            return explained(plan, steps, released, modules, x, target, bounds, wanted.values(), self.composite)

        key = None
        if self.replay and x.device.type == self._graphs.device and not plan.program.reads:
            key = id(plan), nonnegative, tuple(wanted), addresses(modules, plan), bounds and tuple(map(id, bounds))
        (r, output, sums, *kept), names = self._graphs(key, run, x, target)
        first, residual, smallest, *absorbed = sums
        found = dict(zip(wanted, kept, strict=True))
        absorbed = dict(zip(names, absorbed, strict=True))
        return Relevance(r, output, first, residual, absorbed, smallest, found, plan.output_activation)

    def _use(self, plan: Plan) -> None:
        """Give every layer of a plan its rule."""
        if plan is self._plan:
            return
        rules = self.composite.assign(plan.layers)
        for layer, rule in zip(plan.layers, rules, strict=True):
            if isinstance(rule, ZBox) and not reads_input(layer, plan, self.bounds):
                raise UserError(
                    f"layer {layer.name!r} does not read the input itself, so that z_box is not for it (if the input "
                    "is only reshaped, bounds that are numbers will do)"
                )
        self._plan, self._rules, self._steps = plan, rules, {}

    def _refuse(self, inputs: Tensor, modules: dict[str, nn.Module]) -> None:
        """Refuse what cannot be right, as far as it shows without a look at values."""
        refuse_input(inputs)
        parameter = next(self.model.parameters(), inputs)
        if inputs.device != parameter.device:
            raise UserError(f"the input is on {inputs.device}, the model on {parameter.device}; move one of them")
        if [old() for old in self._modules] != list(modules.values()):
            raise UserError("modules of the model were replaced since this Explainer was made; make a new one")
        if not self.as_eval:
            for name, module in modules.items():
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                    raise UserError(
                        f"layer {name!r} is a BatchNorm in training mode; call model.eval() first, or let an "
                        "Explainer take it as in eval mode, by as_eval=True"
                    )

    def _prepare(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None, bool]:
        """Return the input as the engine computes with it, its bounds, and whether it is >= 0; refuse what is wrong."""
        x = inputs.detach().clone() if inputs.is_inference() else inputs.detach()
        x = in_layout(x.to(precision(self.model, inputs)), last=x.device.type == "cpu")
        smallest, largest = torch.stack(x.aminmax()).tolist()  # NaN if there is one
        if not (isfinite(smallest) and isfinite(largest)):
            raise UserError("the input holds NaN or infinite values; clean it first")
        if self.bounds is None or not any(isinstance(rule, ZBox) for rule in self.composite.rules.values()):
            return x, None, smallest >= 0
        kind = (x.dtype, x.device, tuple(x.shape[1:]))
        if kind not in self._limits:
            self._limits[kind] = limits(self.bounds, x)
        low, high = bounds = self._limits[kind]
        slack = 1e-6 * (high - low)  # pixels that were scaled to the bounds may miss them by a rounding
        if ((x < low - slack) | (x > high + slack)).any():
            raise UserError(
                f"the input ({smallest:.4g} to {largest:.4g}) leaves its bounds ({low.min():.4g} to "
                f"{high.max():.4g}); give bounds that contain it"
            )
        x = x.clamp(low, high)
        return x, bounds, x.min().item() >= 0

    def _wanted(self, layers: list[str] | Literal["all"] | None) -> dict[str, int]:
        """Return the values that are wanted, by name."""
        names = self._plan.names
        if isinstance(layers, str):
            layers = [layer.name for layer in self._plan.layers] if layers == "all" else [layers]
        for name in layers or []:
            if name not in names:
                raise UserError(f"the model has no layer {name!r}; it has {choice(name, names)}")
        return {name: names[name] for name in layers or []}


def choice(name: str, names: Collection[str]) -> str:
    """Return names to choose from: of many, those that are closest to what was asked for, and how many there are."""
    if len(names) <= FEW:
        return ", ".join(names)
    close = get_close_matches(name, names, 5, 0) or list(names)[:5]
    return f"{len(names)}, such as {', '.join(close)}"


def remade(model: nn.Module, composite: Composite, bounds: Any, as_eval: bool, replay: bool) -> Explainer:
    """Return an Explainer made anew, as of a copy."""
    return Explainer(model, composite, bounds=bounds, as_eval=as_eval, replay=replay)


def reads_input(layer: Layer, plan: Plan, bounds: Any) -> bool:
    """Tell whether a layer reads the input, or if its bounds are numbers what is only the input reshaped."""
    made = {other.output: other for other in plan.layers}
    value, same = layer.inputs[0], all(not isinstance(b, Tensor) or b.numel() == 1 for b in bounds)
    while same and isinstance(made.get(value), Move) and made[value].kind == "Flatten":
        value = made[value].inputs[0]
    return value == 0


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Compute in full float32, deterministically, whatever autocast, TF32 and their like are set to outside."""
    backends = torch.backends
    products = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    settings = [(product, "fp32_precision", "ieee") for product in products]
    settings += [(backends.cudnn, "enabled", True), (backends.cudnn, "benchmark", False)]
    settings += [(backends.cudnn, "deterministic", True)]
    outside = [(owner, name, getattr(owner, name), value) for owner, name, value in settings]
    changed = [setting for setting in outside if setting[2] != setting[3]]
    try:
        for owner, name, _, value in changed:
            setattr(owner, name, value)
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for owner, name, before, _ in changed:
            setattr(owner, name, before)


def relevance(
    model: nn.Module,
    inputs: Tensor,
    target: Tensor | Sequence[int] | str,
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
        Any module in eval mode whose forward does not branch on values; it is only read.
    inputs
        Float tensor (N, ...), such as (N, C, H, W), (N, C, L) or (N, F), in the units that the model was trained with.
    target
        Class indices (N,), "predicted", a float tensor of the output's shape (the initial relevance), or a boolean one
        (the output's own values where it is true).
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
        Where the result could not be right: a forward that branches on values or mixes samples, a layer without a rule,
        a BatchNorm in training mode, an unknown composite or layer, a target that does not fit, an input that is not
        finite or leaves its bounds.

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
