"""One case: a network, a composite and a target, explained by the engine and by the oracle."""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from lrp_dynamics import lrp

from . import attention, layers, masks, spatial, styles  # noqa: F401 (they fill in pieces)
from .nets import Builder, build
from .oracle import BATCH_NORM, NORM, oracle, rows


def random_rule(rng: random.Random) -> dict:
    """Return a rule for layers with weights, every option stated."""
    name = rng.choice(["epsilon", "epsilon", "z_plus", "z_plus", "alpha_beta", "gamma", "flat", "w_square"])
    rule = {"rule": name, "epsilon": rng.choice([1e-9, 1e-6, 1e-3, 0.1]), "signed": True, "relative": 0.0}
    if name in ("epsilon", "gamma", "z_plus") and rng.random() < 0.2:
        rule["relative"] = 0.25
    if name in ("epsilon", "z_plus"):
        rule["bias"] = rng.choice(["drop", "positive", "full"])
    if name == "z_plus":
        rule["negative"] = rng.choice(["split", "split", "unsplit", "ones"])
        rule["signed"] = rule["negative"] != "split" or rule["bias"] == "full" or rng.random() < 0.5
    if name == "alpha_beta":
        rule["beta"] = rng.choice([0.0, 1.0, 2.0])
        rule.update(alpha=rule["beta"] + 1, bias=rng.choice(["drop", "full"]), conserving=rng.random() < 0.5)
    if name == "gamma":
        rule.update(
            gamma=rng.choice([0.0, 0.25, 1.0]), bias=rng.choice(["full", "plain"]), generalized=rng.random() < 0.6
        )
    if name in ("flat", "w_square"):
        rule["signed"] = rng.random() < 0.5
    return rule


def random_composite(g: Builder, rng: random.Random) -> dict:
    """Return a composite for a network: rules by depth, name, type, and for everything else."""
    weighted = [s for s in g.steps.values() if s.kind == "weighted"]
    keys = {}
    plain_layer = ("nn.Linear(", "F.linear", "Conv", "F. Conv", "x @ W", "b + x @ W", "addmm", "matmul")
    reads_input = weighted and weighted[0].reads == (0,) and weighted[0].label.startswith(plain_layer)
    if reads_input and rng.random() < 0.4:
        box = {"rule": "z_box", "epsilon": 1e-9, "signed": False, "relative": 0.0}
        keys["first"] = box if rng.random() < 0.7 else random_rule(rng)
    modules = dict(g.net.named_modules())
    if named := [n for s in weighted for n in s.names[:1] if type(modules.get(n)).__name__ == s.type]:
        keys |= {rng.choice(named): random_rule(rng)} if rng.random() < 0.3 else {}
    if len(weighted) > 2 and rng.random() < 0.3:
        keys[rng.choice(["2", "2-3", "2-", "last"])] = random_rule(rng)
    for kind in sorted({s.type for s in weighted}):
        if rng.random() < 0.5:
            keys[kind] = random_rule(rng)
    if rng.random() < 0.3:
        keys["Add"] = NORM | {"epsilon": rng.choice([1e-6, 1e-2])}
    for kind in sorted({s.type for s in g.steps.values() if s.kind == "norm"}):
        if rng.random() < 0.4:
            keys[kind] = {"rule": "pass"}
    types = {s.type for s in g.steps.values()}
    if "Softmax" in types and rng.random() < 0.4:
        keys["Softmax"] = {"rule": "taylor"}
    for kind in ("Mul", "MatMul"):
        if kind in types and rng.random() < 0.3:
            keys[kind] = NORM | {"rule": "half", "epsilon": 1e-6}
    for kind in sorted({s.type for s in g.steps.values() if s.average}):
        if rng.random() < 0.4 and all(s.average for s in g.steps.values() if s.type == kind):
            keys[kind] = NORM | {"rule": "average", "epsilon": 1e-6}
    keys["*"] = random_rule(rng)
    if rng.random() < 0.3:
        keys["* *"] = NORM | {
            "epsilon": rng.choice([1e-6, 1e-3]),
            "relative": 0.0 if g.masked else rng.choice([0.0, 0.1]),
        }
    return keys


def preset(rng: random.Random) -> tuple[dict, dict]:
    """Return a composite for attention: as the oracle has it, and as the package does."""
    name = rng.choice(["attnlrp", "cp_lrp"])
    keys = {"RMSNorm": {"rule": "pass"}}
    keys |= {"Softmax": {"rule": "taylor"}}
    keys |= {kind: NORM | {"rule": "half", "epsilon": 1e-6} for kind in ("Mul", "MatMul")}
    keys = {"*": BATCH_NORM} | (keys if name == "attnlrp" else {})
    return keys, dict(lrp.COMPOSITES[name].rules)


def plain(rule: dict) -> dict:
    """Return a rule as users give it."""
    unknown = {"gate": ("signed", "relative"), "half": ("signed", "relative")}.get(rule["rule"], ())
    return {key: value for key, value in rule.items() if key not in unknown}


def start(z: Tensor, rng: random.Random) -> tuple[object, str, Tensor]:
    """Return a target as users give it, the form of the initial relevance, and that relevance."""
    one = z.dim() == 1 or (z.dim() == 2 and z.shape[1] == 1)
    if z.dim() > 2 or (not one and rng.random() < 0.2):
        r = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(1))
        return r, "logit", r
    form = rng.choice(["logit", "logit", "relu", "one"] + ["softmax", "contrast"] * (not one))
    scores = z.reshape(len(z), -1)
    chosen = scores.argmax(1) if rng.random() < 0.4 else torch.arange(len(z)) % scores.shape[1]
    target = rng.choice([chosen, chosen.tolist(), chosen.numpy()])
    if torch.equal(chosen, scores.argmax(1)):
        target = rng.choice([target, "predicted"])
    hot = torch.nn.functional.one_hot(chosen, scores.shape[1]).to(z)
    others = scores.masked_fill(hot > 0, -torch.inf).softmax(1) if not one else hot
    r = {"logit": hot * scores, "relu": hot * scores.relu(), "one": hot, "softmax": scores.softmax(1),
         "contrast": hot * scores - others * scores}[form]  # fmt: skip
    return target, form, r.reshape(z.shape)


def snapshot(net) -> list:
    """Return everything of a network that an explanation may not change."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    things = [(name, t.detach().clone(), t.grad is None, id(t), t._version) for name, t in tensors.items()]
    modules = [
        (name, m.training, sorted(m.__dict__), len(m._forward_hooks), len(m._forward_pre_hooks))
        for name, m in net.named_modules()
    ]
    return [things, modules, torch.get_rng_state(), torch.is_grad_enabled()]


def same(a: object, b: object) -> bool:
    """Tell whether two snapshots are equal."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def computed(g: Builder, noise: float = 0.0, seed: int = 0) -> dict[int, Tensor]:
    """Return all values, with a little noise in each to see what rounding may do to a map."""
    generator = torch.Generator().manual_seed(seed)
    values = {0: g.values[0]}
    with torch.no_grad():
        for out, step in g.steps.items():
            y = step.function(g.net, *(values[i].clone() for i in step.reads))
            values[out] = y * (1 + noise * torch.randn(y.shape, generator=generator, dtype=y.dtype)) if noise else y
    return values


def distance(a: Tensor, b: Tensor, least: float = 0.0) -> float:
    """Return the largest difference relative to a map's norm, over samples."""
    scale = rows(b).norm(dim=1).clamp(min=least + 1e-300)
    return (rows(a.reshape(b.shape) - b).norm(dim=1) / scale).nan_to_num(torch.inf).max().item()


def check(seed: int, without: frozenset[int] = frozenset(), tally: Counter | None = None) -> list[str]:
    """Return what is wrong for the network of a seed, less some of its pieces."""
    g = build(seed, without, samples=2 + seed % 2)
    rng, net, x = random.Random(f"{seed} rules"), g.net, g.values[0]
    tally = Counter() if tally is None else tally
    tally.update(nets=1, steps=len(g.steps))
    last = max(g.values)
    scores = g.steps[last].reads[0] if g.steps[last].kind == "output" else last
    composite, (target, form, r0) = random_composite(g, rng), start(g.values[scores], rng)
    given = {key: plain(rule) for key, rule in composite.items()}
    if rng.random() < 0.1:
        composite, given = preset(rng)
    bounds = (-5.0, 6.0) if x.abs().max() < 5 else (x.min().item() - 1, x.max().item() + 2)
    wide = tuple(torch.full_like(x, b) for b in bounds)
    if rng.random() < 0.3 and g.layouts[0] != "tok":
        bounds = tuple(b[0, :, *[slice(1)] * (x.dim() - 2)].clone() for b in wide)
    before, spec = snapshot(net), {"rules": given, "initial": form}
    try:
        with torch.no_grad():
            output = net(x.clone())
        explainer = lrp.Explainer(net, spec, bounds=bounds)
        names = [(n, out) for out, s in g.steps.items() for n in s.names]
        found = explainer(x, target, layers=[n for n, _ in names])
        wrong = [] if same(before, snapshot(net)) else ["the model was changed"]
        largest = 1e-3 * max(v[~v.isinf()].norm().item() for v in g.values.values())
        if distance(output, g.values[last], largest) > 1e-10:
            wrong.append("the generator's steps do not give the model's output")
        if distance(found.output, g.values[scores], largest) > 1e-10:
            wrong.append("the output is not the model's")
        expected = oracle(g, composite, r0, wide, g.values)
        least = 1e-5 * max(r0.norm().item(), largest * (form != "one"), *(r.norm().item() for r in expected.values()))
        again = cache(lambda k: oracle(g, composite, r0, wide, computed(g, 1e-12, k)))
        for what, got, out in [("input", found.input, 0)] + [(f"layer {n}", found.layers[n], out) for n, out in names]:
            zero = torch.zeros_like(g.values[out])
            wrong += off(
                what, got, expected.get(out, zero), lambda k, out=out, zero=zero: again(k).get(out, zero), least, tally
            )
        wrong += unbalanced(found, r0, expected, largest)
        first = target if isinstance(target, str) else target[:1]
        alone, together = lrp.relevance(net, x[:1], first, spec, bounds=bounds).input, found.input[:1]
        wrong += off("one sample alone", alone, together, lambda k: again(k).get(0, x)[:1], least, tally)
        wrong += gradient(g, r0, scores, tally) if not wrong else []
        wrong += renewed(g, explainer, composite, wide, scores, tally) if not wrong else []
    except Exception as error:
        return [f"{type(error).__name__}: {traceback.format_exc().strip().splitlines()[-1][:300]}"]
    return wrong


def off(what: str, got: Tensor, expected: Tensor, shaken: Callable[[int], Tensor], least: float, tally: Counter):
    """Compare a map with the oracle's, and with the oracle's for values with a little noise where they differ."""
    gap = distance(got, expected, least)
    if gap <= 1e-8:
        return []
    noise = max(distance(shaken(k), expected, least) for k in range(3))
    if gap < 100 * noise:  # a denominator near 0
        tally.update(excused=1)
        return []
    return [f"{what}: off by {gap:.1e} of its norm, where noise of 1e-12 moves it by {noise:.1e}"]


def unbalanced(found: lrp.Relevance, r0: Tensor, expected: dict[int, Tensor], least: float) -> list[str]:
    """Compare what was put in with what came out and what was absorbed."""
    put, taken = found.initial, rows(found.input).sum(1)
    absorbed = sum(found.absorbed.values(), torch.zeros_like(put))
    scale = sum(rows(r.abs()).sum(1) for r in (r0, *expected.values()))
    wrong = [] if torch.isfinite(found.input).all() else ["the map is not finite"]
    if not ((put - taken - absorbed).abs() <= 1e-12 * scale).all():
        wrong.append(f"balance: initial {put.tolist()}, input {taken.tolist()}, absorbed {absorbed.tolist()}")
    if not ((found.residual - absorbed).abs() <= 1e-12 * scale).all():
        wrong.append(f"residual {found.residual.tolist()}, absorbed {absorbed.tolist()}")
    if distance(put, rows(r0).sum(1), least) > 1e-9:
        wrong.append(f"initial is {put.tolist()}, not {rows(r0).sum(1).tolist()}")
    return wrong


def renewed(g: Builder, explainer: lrp.Explainer, composite: dict, wide, scores: int, tally: Counter) -> list[str]:
    """Explain once more after a step of training."""
    with torch.no_grad():
        for parameter in g.net.parameters():
            parameter.mul_(1.1)
    values = computed(g)
    r0 = torch.linspace(0.5, 1.5, values[scores].numel(), dtype=torch.float64).reshape(values[scores].shape)
    if not all(value[~value.isinf()].isfinite().all() for value in values.values()):
        return []
    mine = lambda values: oracle(g, composite, r0, wide, values).get(0, torch.zeros_like(values[0]))  # noqa: E731
    found, least = explainer(g.values[0], r0).input, 1e-5 * r0.norm().item()
    what = "input after a step of training"
    return off(what, found, mine(values), lambda k: mine(computed(g, 1e-12, k)), least, tally)


def gradient(g: Builder, r0: Tensor, scores: int, tally: Counter) -> list[str]:
    """Compare LRP-0 with gradient times input, for networks that are linear in pieces."""
    used = {max(g.values)}
    for out in sorted(g.steps, reverse=True):
        used |= set(g.steps[out].reads) if out in used else set()
    if not all(g.steps[out].piecewise or g.steps[out].kind == "output" for out in used if out):
        return []
    values = {0: g.values[0].clone().requires_grad_()}
    for out, step in g.steps.items():
        if out <= scores:
            values[out] = step.function(g.net, *(values[i].clone() for i in step.reads))
    z = values[scores]
    weights = torch.where(z == 0, 0.0, r0 / z).detach()
    expected = (torch.autograd.grad((z * weights).sum(), values[0])[0] * values[0]).detach()
    zero = {"*": {"rule": "epsilon", "epsilon": 0.0}, "* *": {"rule": "norm", "epsilon": 0.0}}
    found = lrp.relevance(g.net, g.values[0], (z * weights).detach(), zero).input
    free = {"*": BATCH_NORM | {"epsilon": 0.0}, "* *": NORM | {"epsilon": 0.0}}
    mine = oracle(g, free, (z * weights).detach(), None, g.values)[0]
    if (
        distance(oracle(g, free, (z * weights).detach(), None, computed(g, 1e-12))[0], mine, 1e-6 * r0.norm().item())
        > 1e-7
    ):
        return []  # a denominator that is 0 but for rounding
    tally.update(gradients=1)
    gaps = {who: distance(r, expected, 1e-6 * r0.norm().item()) for who, r in (("the oracle's", mine), ("the", found))}
    return [f"{who} LRP-0 is off by {gap:.1e} from gradient x input" for who, gap in gaps.items() if gap > 1e-6]
