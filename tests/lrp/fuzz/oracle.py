"""The oracle: dense float64 algebra that shares nothing with the engine.

Every step of a network has its Jacobian written out, and every rule is a few lines on the matrix of contributions
n (N, I, J), of input i to output j.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch
from torch import Tensor

from .nets import Builder, Step

NORM = {"rule": "norm", "epsilon": 1e-9, "relative": 0.0, "signed": True}
BATCH_NORM = {"rule": "epsilon", "epsilon": 1e-6, "relative": 0.0, "signed": True, "bias": "full"}
DEFAULTS = {
    "weighted": BATCH_NORM, "fixed": NORM, "norm": NORM, "winner": {"rule": "winner"}, "softmax": {"rule": "constant"},
    "mul": NORM | {"rule": "half"}, "matmul": NORM | {"rule": "half"},
}  # fmt: skip


def jacobian(function, net, xs: list[Tensor], k: int) -> Tensor:
    """Return the Jacobian (N, I, J) of a step with respect to its value k, by one pass back over N·J copies."""
    with torch.no_grad():
        y = function(net, *(x.clone() for x in xs))
    n, outs = len(y), y[0].numel()
    copies = [x.detach().repeat_interleave(outs, 0) for x in xs]
    copies[k].requires_grad_()
    with torch.enable_grad():
        picked = function(net, *copies).reshape(n, outs, outs).diagonal(dim1=1, dim2=2).sum()
        grads = torch.autograd.grad(picked, copies[k], allow_unused=True)[0] if picked.requires_grad else None
    grads = torch.zeros_like(copies[k]) if grads is None else grads
    return grads.reshape(n, outs, -1).transpose(1, 2)


def share(n: Tensor, b: Tensor | float, r: Tensor, rule: dict, z: Tensor | None = None) -> Tensor:
    """Return sum_j n_ij R_j / stab(z_j), where z_j = sum_i n_ij + b_j unless it is given."""
    z = n.sum(1) + b if z is None else z
    offset = rule["epsilon"]
    if rule["relative"]:
        offset = offset + rule["relative"] * z.square().mean(1, keepdim=True).sqrt()
    d = z + offset * (torch.where(z < 0, -torch.ones_like(z), 1.0) if rule["signed"] else 1.0)
    s = torch.where((d == 0) | d.isinf(), 0.0, r / d)
    return (n * s.unsqueeze(1)).sum(2)


def of_weights(rule: dict, x: Tensor, w: Tensor, b: Tensor, r: Tensor, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """Return the relevance of x (N, I) for weights w (N, I, J) and bias b (N, J)."""
    name = rule["rule"]
    p, m, x = w.clamp(min=0), w.clamp(max=0), x.unsqueeze(2)
    xp, xm, n, zero = x.clamp(min=0), x.clamp(max=0), x * w, torch.zeros_like(b)
    bias = {"drop": zero, "positive": b.clamp(min=0), "full": b}.get(rule.get("bias"), zero)
    if name == "epsilon":
        return share(n, bias, r, rule)
    if name == "z_plus":
        chosen = {"split": xp * p + xm * m, "unsplit": x * p, "ones": torch.ones_like(x) * p}
        return share(chosen[rule["negative"]], bias, r, rule)
    if name == "alpha_beta":
        up, down, alpha, beta = xp * p + xm * m, xp * m + xm * p, rule["alpha"], rule["beta"]
        both = (b.clamp(min=0), b.clamp(max=0)) if rule["bias"] == "full" else (zero, zero)
        if rule["conserving"]:
            no_up, no_down = up.sum(1) + both[0] == 0, down.sum(1) + both[1] == 0
            alpha, beta = torch.where(no_down, 1.0, alpha), torch.where(no_up, -1.0, beta)
        return share(up, both[0], alpha * r, rule) - share(down, both[1], beta * r, rule)
    if name == "gamma":
        z, g = n.sum(1) + b, rule["gamma"]
        bp, bm = (b + g * b.clamp(min=0), b + g * b.clamp(max=0)) if rule["bias"] == "full" else (b, b)
        if not rule["generalized"]:
            return share(x * (w + g * p), bp, r, rule)
        up = share(xp * (w + g * p) + xm * (w + g * m), bp, r * (z > 0), rule)
        return up + share(xp * (w + g * m) + xm * (w + g * p), bm, r * (z < 0), rule)
    if name == "z_box":
        low, high = (rows(v).unsqueeze(2) for v in bounds)
        return share((x - low) * p + (x - high) * m, zero, r, rule)
    if name in ("w_square", "flat"):
        return share(w**2 if name == "w_square" else (w != 0).to(w).expand_as(n), zero, r, rule)
    raise KeyError(name)


def rows(x: Tensor) -> Tensor:
    """Return the values (N, all others)."""
    return x.reshape(len(x), -1)


def summed(r: Tensor, x: Tensor) -> Tensor:
    """Return relevance summed to the shape of a value that was spread."""
    return r.sum_to_size(x.shape)


def back(
    step: Step, rule: dict, net, xs: list[Tensor], y: Tensor, r: Tensor, gates: list[bool], bounds
) -> list[Tensor | None]:
    """Return the relevance of each value that a step reads."""
    flat, dense = rows(r), lambda f, k: jacobian(f, net, xs, k)
    shaped = lambda part, k: part.reshape(xs[k].shape)  # noqa: E731
    if step.kind == "weighted":
        w = dense(step.function, 0)
        b = rows(step.function(net, torch.zeros_like(xs[0])).detach())
        return [shaped(of_weights(rule, rows(xs[0]), w, b, flat, bounds), 0)]
    if step.kind in ("pass", "output") or (step.kind == "norm" and rule["rule"] == "pass"):
        return [summed(r, xs[0])]
    if step.kind == "div":
        return [summed(r, xs[0]), None]
    if step.kind == "stop" or (step.kind == "softmax" and rule["rule"] == "constant"):
        return [None]
    if step.kind == "softmax":
        x, s = torch.where(xs[0].isinf(), 0.0, xs[0]), torch.where(rows(y) == 0, 0.0, flat / rows(y))
        return [x * shaped((dense(step.function, 0) @ s.unsqueeze(2)).squeeze(2), 0)]
    if step.kind == "mul" and rule["rule"] == "gate":
        return [None if gate else summed(r, x) for x, gate in zip(xs, gates, strict=True)]
    if step.kind == "mul":
        return [summed(r / 2, x) for x in xs]
    if step.kind == "winner" and rule["rule"] == "average":
        n = rows(xs[0]).unsqueeze(2) * dense(step.average, 0)
        return [shaped(share(n, 0.0, flat, rule), 0)]
    if step.kind in ("move", "winner"):
        return [shaped((dense(step.function, k) @ flat.unsqueeze(2)).squeeze(2), k) for k in range(len(xs))]
    # What is left divides by the output: sums, averages, norms with their statistics constant, products of matrices.
    n = [
        torch.where(rows(x).isinf(), 0.0, rows(x)).unsqueeze(2) * dense(step.linear or step.function, k)
        for k, x in enumerate(xs)
    ]
    parts = [1.0] * len(xs)
    if step.kind == "matmul":
        parts = [0.0 if gate else 1.0 for gate in gates] if rule["rule"] == "gate" else [0.5, 0.5]
    return [
        shaped(share(c, 0.0, flat, rule, rows(y)) * part, k) for k, (c, part) in enumerate(zip(n, parts, strict=True))
    ]


def oracle(g: Builder, composite: dict, r: Tensor, bounds, values: dict[int, Tensor]) -> dict[int, Tensor]:
    """Return the relevance of every value."""
    found = {max(values): r}
    rules = assigned(g, composite)
    for out in sorted(g.steps, reverse=True):
        if out not in found:
            continue
        step = g.steps[out]
        xs, gates = [values[i] for i in step.reads], [i > 0 and g.steps[i].gated for i in step.reads]
        for i, part in zip(
            step.reads, back(step, rules[out], g.net, xs, values[out], found[out], gates, bounds), strict=True
        ):
            if part is not None:
                found[i] = found[i] + part if i in found else part
    return found


def span(key: str, last: int) -> range:
    """Return the depths that a key of a composite means."""
    first, dash, end = {"first": "1", "last": str(last)}.get(key, key).partition("-")
    return range(int(first), int(end or (last if dash else first)) + 1) if first.isdigit() else range(0)


def one_gate(g: Builder, step: Step) -> bool:
    """Tell whether one factor of a product, and one alone, is a gate."""
    return step.reads[0] != step.reads[1] and sum(i > 0 and g.steps[i].gated for i in step.reads) == 1


def assigned(g: Builder, composite: dict) -> dict[int, dict]:
    """Return the rule of every step: the first of the composite whose key fits and that is for such a step."""
    suited = {
        "weighted": ("epsilon", "z_plus", "alpha_beta", "gamma", "z_box", "w_square", "flat"), "fixed": ("norm",),
        "norm": ("norm", "pass"), "winner": ("winner", "average"), "mul": ("gate", "half"), "matmul": ("gate", "half"),
        "softmax": ("constant", "taylor"),
    }  # fmt: skip
    depth, rules, last = 0, {}, sum(s.kind == "weighted" for s in g.steps.values())
    for out, step in g.steps.items():
        depth += step.kind == "weighted"
        default = DEFAULTS.get(step.kind, {})
        if step.kind in ("mul", "matmul") and one_gate(g, step):
            default = NORM | {"rule": "gate"}
        fits = lambda key: (key in (step.type, *step.names) or fnmatchcase(step.type, key)  # noqa: E731, B023
                            or depth in span(key, last))  # fmt: skip  # noqa: B023
        fitting = [rule for key, rule in composite.items() if all(map(fits, key.split()))]
        rules[out] = next((rule for rule in fitting if rule["rule"] in suited.get(step.kind, ())), default)
        if rules[out].get("rule") == "average" and not step.average:
            rules[out] = {"rule": "winner"}
        if rules[out].get("rule") == "gate" and not one_gate(g, step):
            rules[out] = rules[out] | {"rule": "half"}
    return rules
