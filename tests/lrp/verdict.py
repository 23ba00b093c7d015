"""Is LRP right on a network? What can be told of any network: its output, the balance, and LRP-0 where it is known."""

import time

import torch
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError

COMPOSITES = ("z_plus", "epsilon", "epsilon_plus")
# Every stabilizer 0, those of additions, means and pools included: of piecewise linear nets, gradient times input.
LRP0 = {"*": {"rule": "epsilon", "epsilon": 0}, "?*": {"rule": "norm", "epsilon": 0}}
OUTPUT, BALANCE64, BALANCE32, GRADIENT = 1e-12, 1e-12, 1e-6, 1e-9
BATCH_NORMS = nn.modules.batchnorm._BatchNorm
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


@torch.no_grad()
def randomised(net, x, seed=0):
    """Give BatchNorms statistics near those of the input, and scales and biases values that matter; return it in eval.

    Networks start with biases of 0, scales of 1, or of 0 at the end of a block: whatever is wrong there would not show.
    """
    draw = torch.Generator().manual_seed(seed)
    normal = lambda t: torch.randn(t.shape, generator=draw, dtype=torch.float64).to(t)  # noqa: E731
    uniform = lambda t: torch.rand(t.shape, generator=draw, dtype=torch.float64).to(t)  # noqa: E731
    net.eval()
    norms = [m for m in net.modules() if isinstance(m, BATCH_NORMS) and m.running_mean is not None]
    for module in net.modules():
        for name, parameter in module._parameters.items():
            if parameter is None or isinstance(parameter, nn.UninitializedParameter):
                continue
            if name.endswith(("bias", "beta")):
                parameter.copy_(0.1 * normal(parameter))
            elif isinstance(module, WEIGHTED):
                spread = parameter.std() * (parameter[0].numel() / 2) ** 0.5
                if parameter.numel() > 1 and spread > 0:
                    parameter.div_(spread)  # so that signals neither fade nor explode
                else:
                    parameter.copy_(normal(parameter))
            elif parameter.numel() == max(parameter.shape, default=1):  # a scale for each channel
                parameter.copy_(0.5 + uniform(parameter) / 2)
                if isinstance(module, BATCH_NORMS):
                    parameter.mul_(0.4)  # far from where a ReLU6 clips
            elif not parameter.any():
                parameter.copy_(0.1 * normal(parameter))
    hooks = {}

    def settle(norm, inputs, _):
        """Take random statistics of the size of the one batch's values, for what comes after as well.

        Of all channels' values: the statistics of each by itself are those of few values, and enlarge what is small, at
        every norm, and the rounding with it.
        """
        hooks.pop(norm).remove()
        norm.eval()
        size = (norm.running_var + norm.running_mean**2).mean() + 1e-3
        norm.running_var.copy_(size * (0.75 + uniform(norm.running_var)))
        norm.running_mean.copy_(0.2 * size.sqrt() * normal(norm.running_mean))
        return norm(*inputs)

    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train().momentum = None
        hooks[norm] = norm.register_forward_hook(settle)
    if norms:
        net(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        if norm in hooks:  # it was not called, but its tensors were read
            hooks.pop(norm).remove()
            norm.eval().running_mean += 0.2 * normal(norm.running_mean)
            norm.running_var.mul_(0.75 + uniform(norm.running_var))
    return net


def target_for(output, seed=1):
    """Return the target to explain: the largest class, or, of any other output, random shares of all values."""
    if output.dim() == 2:
        return "predicted"
    return torch.rand(output.shape, generator=torch.Generator().manual_seed(seed), dtype=output.dtype) * output


def balance(found):
    """Return the largest gap in a sample's books, relative to the sum of all entries' sizes."""
    absorbed = list(found.absorbed.values())
    gap = found.initial - found.input.flatten(1).sum(1) - sum(absorbed)
    size = found.initial.abs() + found.input.abs().flatten(1).sum(1) + sum(a.abs() for a in absorbed)
    return (gap.abs() / size.clamp_min(torch.finfo(size.dtype).tiny)).max().item()


def gradient_x_input(net, x, target):
    """Return it by autograd, for a target as :func:`target_for` returns it, and whether no value was clipped."""
    x = x.clone().requires_grad_()
    clipped = []
    watch = lambda m, i: clipped.append(bool((i[0] > m.max_val).any()))  # noqa: E731
    hooks = [m.register_forward_pre_hook(watch) for m in net.modules() if isinstance(m, nn.ReLU6)]
    output = net(x)
    for hook in hooks:
        hook.remove()
    if isinstance(target, str):
        target = output.detach() * nn.functional.one_hot(output.argmax(1), output.shape[1])
    # The target says how much relevance starts at a value; the value's gradient counts as often as that holds it.
    share = torch.where(output == 0, 0, target / output).detach()
    (gradient,) = torch.autograd.grad(output, x, share)
    return (gradient * x).detach(), not any(clipped)


def relative(found, expected):
    """Return the largest difference in terms of the largest value."""
    return ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300)).item()


def alone(net, x, found, composite):
    """Return how far the map of the first sample is off where it is explained without the others."""
    start = target_for(found.output)
    first = start if isinstance(start, str) else start[:1]
    return relative(lrp.relevance(net, x[:1], first, composite).input, found.input[:1])


def attempt(work):
    """Return the result of work, or else the sentence by which it was refused; any other error is one of the core."""
    try:
        return work(), None
    except UserError as error:
        return None, str(error)
    except Exception as error:
        return None, f"fault: {type(error).__name__}: {error}"


def capture(net, composite, x):
    """Return an explainer, what it was refused with, and the seconds that it took in forwards."""
    start = time.process_time()
    explain, refused = attempt(lambda: lrp.Explainer(net, composite, shape=tuple(x.shape[1:])))
    return explain, refused, time.process_time() - start


def verdict(net, x, piecewise_linear=False, composites=COMPOSITES):
    """Return how LRP does on a network in float32, which is then turned into float64.

    Parameters
    ----------
    net
        A network in eval mode, in float32.
    x
        An input (N, ...), in float64.
    piecewise_linear
        Whether LRP-0 must equal gradient times input.

    Returns
    -------
    dict
        ``refused``, a sentence per composite or None; ``balance32``, ``balance64`` per composite; ``output``, the
        relative difference to the network's own; ``alone``, the difference of a map to that of its sample alone;
        ``lrp0``, that of LRP-0 to gradient times input, "clipped" where a ReLU6 is; ``capture`` and ``forward`` in
        seconds; ``layers``, their number.
    """
    result = {"refused": {}, "balance32": {}, "balance64": {}, "lrp0": None}
    single = x.float()
    with torch.no_grad():
        output = net(single)
        start = time.process_time()
        net(single)
        result["forward"] = time.process_time() - start
    for k, composite in enumerate(composites):
        explain, result["refused"][composite], seconds = capture(net, composite, single)
        if k == 0:
            result["capture"] = seconds
        if explain:
            result["layers"] = len(explain.describe())
            found, result["refused"][composite] = attempt(lambda e=explain: e(single, target_for(output)))
            if found:
                result["balance32"][composite] = balance(found)
            del explain, found
    net.double()
    with torch.no_grad():
        output = net(x)
    for composite in composites:
        if result["refused"][composite] is None:
            found, result["refused"][composite] = attempt(
                lambda c=composite: lrp.relevance(net, x, target_for(output), c)
            )
            if found:
                result["balance64"][composite] = balance(found)
                result["output"] = max(relative(found.output, output), result.get("output", 0.0))
                if composite == composites[-1]:
                    result["alone"] = alone(net, x, found, composite)
            del found
    if piecewise_linear and not any(result["refused"].values()):
        expected, free = gradient_x_input(net, x, target_for(output))
        found, refused = attempt(lambda: lrp.relevance(net, x, target_for(output), LRP0))
        result["lrp0"] = refused or ("clipped" if not free else relative(found.input, expected))
    return result


def faults(result, output=OUTPUT):
    """Return what is wrong with a verdict, a sentence each; a refusal is none, nor an output that is off by no more."""
    wrong = [f"{c}: {s}" for c, s in result["refused"].items() if s and s.startswith("fault")]
    for key, bound in ("balance32", BALANCE32), ("balance64", BALANCE64):
        wrong += [f"{key} of {c} is {gap:.1e}" for c, gap in result[key].items() if not gap <= bound]
    if not result.get("output", 0.0) <= output:
        wrong.append(f"the output is off by {result['output']:.1e}")
    if not result.get("alone", 0.0) <= GRADIENT:
        wrong.append(f"the map of a sample alone is off by {result['alone']:.1e}")
    lrp0 = result["lrp0"]
    if lrp0 not in (None, "clipped") and (isinstance(lrp0, str) or not lrp0 <= GRADIENT):
        wrong.append(f"LRP-0 against gradient times input: {lrp0 if isinstance(lrp0, str) else f'{lrp0:.1e}'}")
    return wrong
