"""How fast is LRP here, beside zennit, Captum and a plain forward pass?

All run in one process, on the same model and the same input, one after the other in every round, so that whatever else
the machine does slows all of them; every other round goes the other way round, since each finds the caches as the last
one left them. A number is the median over the rounds of the ratio to the same round's forward pass. Maps are compared
before anything is timed. Peak memory is what a second explanation adds to a process whose first one has loaded the
libraries' code. All of it, peers and forward pass included, is in full float32.

    python benchmarks/lrp.py [--quick] [--device cuda] [--threads 2] --output benchmarks/results/lrp.json
    python benchmarks/lrp.py --table benchmarks/results/lrp.json [--into docs/lrp/speed.md]
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.base.memory import keep_freed_memory
from lrp_dynamics.models import blog_cnn

LOW, HIGH = -2.0, 2.0
# Case: network, samples, rounds, our composite for zennit's, zennit's, our composite for Captum's, Captum's rules.
CASES = {
    "blog_cnn, z+, 1": ("blog_cnn", 1, 60, "zennit_z_plus", "z_plus", "captum_alpha1_beta0", "alpha1_beta0"),
    "blog_cnn, z+, 100": ("blog_cnn", 100, 40, "zennit_z_plus", "z_plus", "captum_alpha1_beta0", "alpha1_beta0"),
    "blog_cnn, z+, 1000": ("blog_cnn", 1000, 8, "zennit_z_plus", "z_plus", "captum_alpha1_beta0", "alpha1_beta0"),
    "VGG-16, ε-γ-box, 1": ("vgg16", 1, 7, "zennit_epsilon_gamma_box", "epsilon_gamma_box", "captum_gamma", "gamma"),
    "VGG-16, ε-γ-box, 8": ("vgg16", 8, 3, "zennit_epsilon_gamma_box", "epsilon_gamma_box", None, None),
    "VGG-16, ε+flat, 1": ("vgg16", 1, 7, "zennit_epsilon_plus_flat", "epsilon_plus_flat", None, None),
    "VGG-16, ε+flat, 8": ("vgg16", 8, 3, "zennit_epsilon_plus_flat", "epsilon_plus_flat", None, None),
    "VGG-16, z+, 1": ("vgg16", 1, 7, "zennit_z_plus", "z_plus", "captum_alpha1_beta0", "alpha1_beta0"),
    "VGG-16, z+, 8": ("vgg16", 8, 3, "zennit_z_plus", "z_plus", None, None),
    "VGG-16, ε, 1": ("vgg16", 1, 7, "zennit_epsilon", "epsilon", "captum_epsilon", "epsilon"),
    "VGG-16, ε, 8": ("vgg16", 8, 3, "zennit_epsilon", "epsilon", None, None),
    "ResNet-18, ε+, 8": ("resnet18", 8, 5, "zennit_epsilon_plus", "epsilon_plus", None, None),
}
QUICK = ("blog_cnn, z+, 1", "blog_cnn, z+, 100")


def full_float32() -> None:
    """Let nothing be computed in TF32 or less, which torch does by default for convolutions on a GPU."""
    backends = torch.backends
    for part in (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv):
        part.fp32_precision = "ieee"


def build(name: str, samples: int, device: str):
    """Return a network with random weights of the usual scale, an input and a target."""
    torch.manual_seed(0)
    if name == "blog_cnn":
        net, size = blog_cnn(), 32
    else:
        import torchvision

        net, size = getattr(torchvision.models, name)(weights=None), 224
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    if name == "blog_cnn":  # pixels, as its experiment has them; the larger nets have inputs of both signs
        x = torch.rand(samples, 3, size, size)
    else:
        x = (torch.randn(samples, 3, size, size) / 2).clamp(LOW, HIGH)
    target = torch.arange(samples) % 10
    return net.eval().to(device), x.to(device), target.to(device)


def our_way(composite: str, net, x, target):
    if composite == "zennit_epsilon":
        rules = {"AdaptiveAvgPool2d": lrp.COMPOSITES["zennit_z_plus"].rules["AdaptiveAvgPool2d"], "*": "epsilon"}
        composite = lrp.Composite(composite, rules)
    explain = lrp.Explainer(net, composite, bounds=(LOW, HIGH))
    return lambda: explain(x, target).input


def zennit_way(composite: str, net, x, target):
    from zennit import composites, rules, types
    from zennit.attribution import Gradient
    from zennit.torchvision import ResNetCanonizer

    options = {"canonizers": [ResNetCanonizer()] if "ResNet" in type(net).__name__ else []}
    if composite in ("z_plus", "epsilon"):
        rule = rules.ZPlus() if composite == "z_plus" else rules.Epsilon()
        made = composites.LayerMapComposite([*composites.layer_map_base(), (types.Linear, rule)], **options)
    else:
        if composite == "epsilon_gamma_box":
            shape = (1, 3, 1, 1)
            options |= {
                "low": torch.full(shape, LOW, device=x.device),
                "high": torch.full(shape, HIGH, device=x.device),
            }
        made = composites.COMPOSITES[composite](**options)
    attributor = Gradient(copy.deepcopy(net), made)
    attributor.__enter__()  # registered once, as our explainer is traced once
    hot = None

    def run():
        nonlocal hot
        if hot is None:
            hot = nn.functional.one_hot(target, net(x[:1]).shape[1]).to(x)
        return attributor(x, lambda out: out * hot)[1]

    return run


def captum_way(rule: str, net, x, target):
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule

    net = copy.deepcopy(net)
    if isinstance(net, nn.Sequential):
        net = _Flattening(net)  # Captum has no rule for the module Flatten
    kinds = {"epsilon": EpsilonRule, "gamma": GammaRule, "alpha1_beta0": Alpha1_Beta0_Rule}
    x = x.clone().requires_grad_()

    def run():
        for module in net.modules():  # Captum deletes the rules after each call
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.rule = kinds[rule]()
        return LRP(net).attribute(x, target=target).detach()

    return run


class _Flattening(nn.Module):
    def __init__(self, net: nn.Sequential):
        super().__init__()
        at = next(k for k, module in enumerate(net) if isinstance(module, nn.Flatten))
        self.features, self.classifier = net[:at], net[at + 1 :]

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def plain_way(net, x):
    @torch.no_grad()
    def run():
        return net(x)

    return run


def ways(case: str, device: str) -> dict:
    """Return the functions to time, and check that maps agree."""
    name, samples, _, ours, zennit, ours_for_captum, captum = CASES[case]
    net, x, target = build(name, samples, device)
    # Our maps in the peers' conventions are compared and timed: they cost what our own conventions cost.
    todo = {"forward": plain_way(net, x), "ours": our_way(ours, net, x, target)}
    todo["zennit"] = zennit_way(zennit, net, x, target)
    pairs = [("zennit", todo["ours"])]
    if captum:
        todo["captum"] = captum_way(captum, net, x, target)
        todo["ours as captum"] = our_way(ours_for_captum, net, x, target)
        pairs.append(("captum", todo["ours as captum"]))
    for peer, mine in pairs:
        expected = todo[peer]()
        difference = ((mine() - expected).norm() / expected.norm()).item()
        print(f"  {case}: relative difference to {peer} {difference:.1e}", file=sys.stderr)
        if not difference < 1e-2:  # of the order of rounding, amplified; a different rule is further away by far
            raise SystemExit(f"{case}: the maps of ours and {peer} differ by {difference:.1e}; nothing was timed")
        todo[f"difference to {peer}"] = difference
    return todo


def measure(case: str, device: str, rounds: int) -> dict:
    """Return seconds of a forward pass and ratios to it."""
    todo = ways(case, device)
    differences = {k: v for k, v in todo.items() if isinstance(v, float)}
    runs = {k: v for k, v in todo.items() if not isinstance(v, float)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    clock = time.process_time if single(device) else time.perf_counter
    for k in range(rounds + 1):  # the first round warms up
        for name, run in list(runs.items())[:: -1 if k % 2 else 1]:
            if device == "cuda":
                torch.cuda.synchronize()
            start = clock()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            if k:
                seconds[name].append(clock() - start)
    ratio = lambda a, b: statistics.median(p / q for p, q in zip(seconds[a], seconds[b], strict=True))  # noqa: E731
    result = {"forward_seconds": statistics.median(seconds["forward"]), "rounds": rounds, **differences}
    result["threads"] = torch.get_num_threads()
    result["forwards"] = {name: ratio(name, "forward") for name in runs if name != "forward"}
    result["zennit / ours"] = ratio("zennit", "ours")
    if "captum" in runs:
        result["captum / ours"] = ratio("captum", "ours as captum")
    return result


def single(device: str) -> bool:
    """Tell whether a thread's own time can be taken, which other processes on the machine disturb least."""
    return device == "cpu" and torch.get_num_threads() == 1


def peak(case: str, device: str, way: str) -> float:
    """Return the memory in MiB that a way adds to a process that has run it once."""
    name, samples, _, ours, zennit, _, captum = CASES[case]
    net, x, target = build(name, samples, device)
    make = {"ours": our_way, "zennit": zennit_way, "captum": captum_way}[way]
    run = make({"ours": ours, "zennit": zennit, "captum": captum}[way], net, x, target)
    run()
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = memory("VmRSS")
    run()
    return memory("VmHWM") - before


def memory(key: str) -> float:
    """Return a figure of this process's memory in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def table(results: dict) -> str:
    """Return the results as a markdown table."""
    lines = [
        "| case | threads | forward | ours | zennit | Captum | zennit / ours | Captum / ours | memory, ours / zennit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case, r in results["cases"].items():
        f, m = r["forwards"], r.get("peak_mib", {})
        cells = [
            case,
            str(r["threads"]),
            f"{1e3 * r['forward_seconds']:.1f} ms",
            f"{f['ours']:.2f}",
            f"{f['zennit']:.2f}",
        ]
        cells += [f"{f['captum']:.2f}" if "captum" in f else "–", f"{r['zennit / ours']:.2f}×"]
        cells += [f"{r['captum / ours']:.2f}×" if "captum" in f else "–"]
        cells += [f"{m['ours']:.0f} / {m['zennit']:.0f} MiB" if m else "–"]
        lines.append("| " + " | ".join(cells) + " |")
    where = f"{results['device']}, torch {results['torch'].split('+')[0]}"
    clock = "One thread is timed by its own time, more by the wall clock."
    return "\n".join([*lines, "", f"In forward passes of the same net and batch, median of rounds; {where}. {clock}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small net alone, few rounds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/lrp.json"))
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--case", action="append", choices=CASES, help="only this case")
    parser.add_argument("--table", type=Path, help="print the table of a result file, and run nothing")
    parser.add_argument("--into", type=Path, help="put the table between the markers of this page instead")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    full_float32()
    keep_freed_memory()  # as in every stage of the pipeline; otherwise the system's work of clearing pages is timed too
    if arguments.table:
        text = table(json.loads(arguments.table.read_text()))
        if arguments.into:
            page = arguments.into.read_text()
            start, end = page.index("-->\n") + 4, page.index("<!-- end -->")
            arguments.into.write_text(f"{page[:start]}\n{text}\n\n{page[end:]}")
        else:
            print(text)
        return
    if arguments.peak:
        print(peak(arguments.peak[0], arguments.device, arguments.peak[1]))
        return
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    results = {"device": device, "torch": torch.__version__, "cases": {}}
    if arguments.case and arguments.output.exists():  # single cases are added to what is there
        results["cases"] = json.loads(arguments.output.read_text())["cases"]
    for case in arguments.case or (QUICK if arguments.quick else CASES):
        rounds = arguments.rounds or max(3, CASES[case][2] // (4 if arguments.quick else 1))
        results["cases"][case] = measure(case, arguments.device, rounds)
        peaks = {}
        # On the CPU, the memory of a moment can be told on Linux alone.
        for way in ("ours", "zennit") if arguments.device == "cuda" or sys.platform == "linux" else ():
            command = [sys.executable, __file__, "--device", arguments.device, "--peak", case, way]
            peaks[way] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        results["cases"][case]["peak_mib"] = peaks
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
