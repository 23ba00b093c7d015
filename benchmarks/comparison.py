"""Which networks do which packages explain by the epsilon rule, at what cost, and how exactly?

Each package explains each network, with random weights and BatchNorm statistics, in a process of its own, as
its documentation tells: with canonizers where it has them for the family, one rule for all layers with weights. Told is

- whether a map comes out;
- how far it is from gradient × input, which LRP-0 is for networks of convolutions, dense layers, BatchNorm, ReLU, pools
  and sums alone (Ancona et al. 2018), in float64 with an epsilon of 1e-9;
- what of the logit is neither in the map nor told as absorbed by biases and stabilizers, over the logit, the median;
- what it costs in forwards of the same network and batch in float32, own time of one thread, the best of five.

A second table looks at a training of a network with BatchNorm during which each package explains at every step.

    python benchmarks/comparison.py --output benchmarks/results/comparison.json
    python benchmarks/comparison.py --table benchmarks/results/comparison.json [--summary]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pages
import torch
from compared import NETWORKS, PIECEWISE, SMALL, Normalized, build
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
EPSILON = 1e-9
PACKAGES = {
    "lrp_dynamics": None,
    "zennit 0.5.1": None,
    "zennit 1.0.0": "zennit-1.0.0",
    "captum 0.9.0": None,
    "autolrp 0.2.0": "autolrp-0.2.0",
    "lxt 2.1": "lxt-2.1",
}
FAILED = "fails"
LONGEST = 180  # seconds
CLOSE = 0.1  # of its norm: the stabilizer's part stays below, another rule is above


Way = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]


def way(package: str, net: nn.Module, name: str) -> Way:
    """Return a function of inputs and targets that returns a map, and what is told as absorbed (N,), or None."""
    if package == "lrp_dynamics":
        from lrp_dynamics import lrp

        explainer = lrp.Explainer(net, {"rules": {"*": {"rule": "epsilon", "epsilon": EPSILON}}})

        def ours(x, target):
            found = explainer(x, target)
            return found.input, sum(found.absorbed.values(), torch.zeros_like(found.initial))

        return ours
    if package.startswith("zennit"):
        return zennit(net, name)
    if package.startswith("captum"):
        return captum(net)
    if package.startswith("autolrp"):
        return autolrp(net)
    if name != "vit_b_16":
        raise NotImplementedError("not for this network")
    from lrp.peers import lxt_vision_map

    return lambda x, target: (lxt_vision_map(net, x, target).detach(), None)


def zennit(net: nn.Module, name: str) -> Way:
    from zennit import canonizers, composites, rules, torchvision, types
    from zennit.attribution import Gradient

    families = {"vgg": "VGGCanonizer", "resnet": "ResNetCanonizer"}
    known = next((getattr(torchvision, kind) for family, kind in families.items() if name.startswith(family)), None)
    used = [known() if known else canonizers.SequentialMergeBatchNorm()]
    layers = [*composites.layer_map_base(), (types.Linear, rules.Epsilon(EPSILON))]
    composite = composites.LayerMapComposite(layers, canonizers=used)

    def run(x, target):
        with Gradient(net, composite) as attributor:
            hot = nn.functional.one_hot(target, net(x[:1]).shape[1])
            return attributor(x.clone().requires_grad_(), lambda out: out * hot)[1].detach(), None

    return run


def captum(net: nn.Module) -> Way:
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import EpsilonRule

    weighted = nn.Linear | nn.modules.conv._ConvNd | nn.modules.batchnorm._BatchNorm

    def run(x, target):
        for module in net.modules():  # Captum deletes the rules after each call
            if isinstance(module, weighted):
                module.rule = EpsilonRule(EPSILON)
        return LRP(net).attribute(x.clone().requires_grad_(), target=target).detach(), None

    return run


def autolrp(net: nn.Module) -> Way:
    import autolrp as package

    def shares(a, b, relevance, eps, *_, attribute="both"):  # as LRP-0 shares a sum; its own rule is by absolute values
        s = torch.where(a + b == 0, 0.0, relevance / (a + b))
        return a * s, b * s

    config = package.LRPConfig(rule={**package.BASE, "AddBackward": shares}, eps=EPSILON)

    def run(x, target):
        wrapped = package.tensor(x)
        scores = net(wrapped).gather(1, target[:, None])[:, 0]
        scores.sum().lrp(config=config)
        plain = scores.detach().as_subclass(torch.Tensor)
        factor = plain.abs().sum() * plain.sign()  # its sum over the batch gave each logit its share of 1
        found = wrapped.relevance.as_subclass(torch.Tensor).detach()
        return found * factor.view(-1, *[1] * (x.dim() - 1)), None

    return run


def own_time(run: Callable[[], object], times: int = 5) -> float:
    """Return the least own time of some runs, in seconds."""
    found = []
    for _ in range(times + 1):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found[1:])


def look(package: str, name: str) -> dict:
    """Return what a package does with a network."""
    net, x, target = build(name)
    with torch.enable_grad():
        wide = x.clone().requires_grad_()
        logits = net(wide).gather(1, target[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(logits.sum(), wide)
    expected, logits = gradient * x, logits.detach()
    try:
        found, absorbed = way(package, net, name)(x, target)
    except NotImplementedError as error:
        return {"left out": str(error)}
    except Exception as error:
        return {FAILED: f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"}
    size = expected.flatten(1).norm(dim=1)
    off = ((found - expected).flatten(1).norm(dim=1) / size).max().item()
    left = logits - found.flatten(1).sum(1) - (0 if absorbed is None else absorbed)
    result = {"off": off if name in (*SMALL, *PIECEWISE) else None}
    result["unaccounted"] = (left / logits).abs().median().item()
    net, x, target = build(name)
    net, x = net.float(), x.float()
    with torch.no_grad():
        forward = own_time(lambda: net(x))
    run = way(package, net, name)
    result["forwards"] = own_time(lambda: run(x, target)) / forward
    return result


def disturbs(package: str) -> dict:
    """Return what explaining at every step does to a training of a network with BatchNorm and dropout."""

    def train(explained: bool) -> tuple[list, list]:
        torch.manual_seed(0)
        net = Normalized()
        x, y = torch.rand(16, 3, 8, 8), torch.arange(16) % 10
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        run = None
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            if explained:
                run = run or training_way(package, net)
                run(x[:4], y[:4])
        return list(net.named_parameters()), list(net.named_buffers())

    try:
        left = left_changed(package)  # first: importing a package may draw random numbers, and is no part of a training
        (weights, buffers), (plain_weights, plain_buffers) = train(True), train(False)
    except Exception as error:
        return {FAILED: f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"}

    def difference(some, others):
        """Return the largest difference of tensors of the same names; 0 where every bit is the same."""
        pairs = zip(some, others, strict=True)
        return max((0.0 if torch.equal(a, b) else (a - b).abs().max().item()) for (_, a), (_, b) in pairs)

    changes = {"weights": difference(weights, plain_weights), "statistics": difference(buffers, plain_buffers)}
    return changes | {"left changed": left}


def left_changed(package: str) -> list[str]:
    """Return what one explanation leaves changed of a network that is in training."""
    torch.manual_seed(0)
    net, x, y = Normalized(), torch.rand(4, 3, 8, 8), torch.arange(4)
    nn.functional.cross_entropy(net(x), y).backward()

    def state() -> dict[str, list]:
        parameters = list(net.parameters())
        return {
            "weights": [value.clone() for value in parameters],
            "which tensors are the weights": parameters,
            "gradients": [value.grad if value.grad is None else value.grad.clone() for value in parameters],
            "statistics of BatchNorm": [value.clone() for value in net.buffers()],
            "torch's random generator": [torch.get_rng_state()],
        }

    def same(name: str, a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
        if name == "which tensors are the weights" or a is None or b is None:
            return a is b
        return torch.equal(a, b)

    training_way(package, Normalized())(x, y)
    before = state()
    training_way(package, net)(x, y)
    after = state()
    return [name for name, values in before.items() if not all(map(partial(same, name), values, after[name]))]


def training_way(package: str, net: nn.Module) -> Way:
    """Return a package's way to explain a network that is in training mode, as a user writes it in a loop."""
    if package == "lrp_dynamics":
        from lrp_dynamics import lrp

        explainer = lrp.Explainer(net, "epsilon", as_eval=True)
        return lambda x, y: explainer(x, y).input
    run = way(package, net, "small")

    def between(x, y):
        net.eval()
        try:
            return run(x, y)
        finally:
            net.train()

    return between


def ask(package: str, name: str) -> dict:
    """Run this script for a package and a network in a process of its own."""
    folder = PACKAGES[package]
    if folder and not (ROOT / ".peers" / folder).is_dir():
        return {"left out": "not installed; `make peers` does it"}
    path = [str(ROOT / ".peers" / folder)] if folder else []
    path += [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", __file__, "--cell", package, name]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return {FAILED: f"no map within {LONGEST // 60} minutes"}
    if done.returncode:
        return {FAILED: f"ended with {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def cell(found: dict) -> str:
    """Return what stands in the table for a package and a network."""
    if "left out" in found:
        return ""
    if FAILED in found:
        return "fails"
    exact = [] if found["off"] is None else ["LRP-0"] if found["off"] < CLOSE else ["**not LRP-0**"]
    left = f"{found['unaccounted']:.0%}".replace("%", " %") if found["unaccounted"] < 1 else "> 100 %"
    return "<br>".join([f"{found['forwards']:.1f} F", *exact, f"{left} left"])


def table(results: dict) -> str:
    """Return both tables and the errors as Markdown."""
    packages = list(results["packages"])
    lines = [f"| network | {' | '.join(packages)} |", f"|{'---|' * (len(packages) + 1)}"]
    for name in results["networks"]:
        cells = [cell(results["cells"][f"{package}: {name}"]) for package in packages]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"CPU, one thread; torch {results['torch']}.", "", "| network | package | error |", "|---|---|---|"]
    for key, found in results["cells"].items():
        if FAILED in found:
            package, _, name = key.partition(": ")
            lines.append(f"| {name} | {package} | {found[FAILED].replace('|', '&#124;')[:160]} |")
    heading = "weights of a training that it explains at every step | statistics of its BatchNorm"
    lines += ["", f"| package | {heading} | left changed by one explanation |", "|---|---|---|---|"]
    for package, found in results["training"].items():
        if FAILED in found:
            said = [found[FAILED][:100]] * 3
        else:
            values = found["weights"], found["statistics"]
            said = [f"changed, by {value:.0e}" if value else "the same bits" for value in values]
            said.append(", ".join(found["left changed"]) or "nothing")
        lines.append(f"| {package} | {' | '.join(said)} |")
    return "\n".join(lines)


def summary(results: dict) -> str:
    """Return a line for each package as Markdown."""
    lines = [
        "| | networks explained | LRP-0 where it should be | forwards, median | bits of a training beside it |",
        "|---|---|---|---|---|",
    ]
    for package in results["packages"]:
        cells = [results["cells"][f"{package}: {name}"] for name in results["networks"]]
        found = [c for c in cells if "forwards" in c]
        tried = [c for c in cells if "left out" not in c]
        judged = [c for c in found if c["off"] is not None]
        exact = sum(c["off"] < CLOSE for c in judged)
        cost = f"{statistics.median(c['forwards'] for c in found):.1f}" if found else ""
        effect = results["training"].get(package, {})
        same = FAILED not in effect and not any(effect.get(name) for name in ("weights", "statistics"))
        told = "fails" if FAILED in effect else "the same bits" if same else "changed"
        told = told if effect else ""
        right = f"{exact} of {len(judged)}" if judged else ""
        lines.append(f"| {package} | {len(found)} of {len(tried)} | {right} | {cost} | {told} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/comparison.json"))
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS, help="only these")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--summary", action="store_true", help="a line for each package, with --table")
    pages.add_options(parser)
    arguments = parser.parse_args()
    if pages.shown(arguments, summary if arguments.summary else table):
        return
    if arguments.cell:
        torch.set_num_threads(1)
        package, name = arguments.cell
        print(json.dumps(disturbs(package) if name == "training" else look(package, name)))
        return
    results = {
        "torch": torch.__version__.split("+")[0],
        "packages": list(PACKAGES),
        "networks": list(arguments.network),
    }
    results |= {"cells": {}, "training": {}}
    for package in PACKAGES:
        if not package.startswith(
            "lxt"
        ):  # which changes classes of torchvision for good, and has rules for these alone
            results["training"][package] = ask(package, "training")
        for name in arguments.network:
            found = results["cells"][f"{package}: {name}"] = ask(package, name)
            print(f"{package}: {name}: {cell(found) or found}", flush=True)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
