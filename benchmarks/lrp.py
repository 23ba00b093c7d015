"""How fast is LRP here, beside zennit, Captum and a plain forward pass?

All run in one process, on the same model and the same input, one after the other in every round, so that whatever else
the machine does slows all of them; every other round goes the other way round, since each finds the caches as the last
one left them. A number is the median over the rounds of the ratio to the same round's forward pass. Maps are compared
before anything is timed. Peak memory is what a second explanation adds to a process whose first one has loaded the
libraries' code. All of it, peers and forward pass included, is in full float32.

zennit 1.0 and autolrp, which `make peers` gets, have processes of their own, and take their turn in every round, like
the others. autolrp's conventions cannot be expressed here where a net has biases or adds values of both signs
(docs/lrp/composites.md): it is timed all the same, and its number is marked.

    python benchmarks/lrp.py [--quick] [--device cuda] [--threads 2] --output benchmarks/results/lrp.json
    python benchmarks/lrp.py --only 'ViT-B/16, attnlrp, 1' --only 'VGG-16, z+, 1'
    python benchmarks/lrp.py --table benchmarks/results/lrp.json [--into docs/lrp/speed.md]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pages
import torch
from ways import WAYS, build, full_float32, our_way, plain_way

from lrp_dynamics.base.memory import keep_freed_memory

SAME = 1e-2  # two maps of one rule are nearer than this


class Case(NamedTuple):
    """A row: what is explained, and by which composite of each package; None where a package cannot."""

    net: str
    samples: int
    rounds: int
    ours: str
    zennit: str | None = None
    ours_for_captum: str | None = None
    captum: str | None = None
    autolrp: str | None = None


Z_PLUS = ("zennit_z_plus", "z_plus", "captum_alpha1_beta0", "alpha1_beta0", "z_plus")
Z_PLUS_8 = ("zennit_z_plus", "z_plus", None, None, "z_plus")
GAMMA_BOX = ("zennit_epsilon_gamma_box", "epsilon_gamma_box")
FLAT = ("zennit_epsilon_plus_flat", "epsilon_plus_flat")
PLUS = ("epsilon_plus", None, None, None, "epsilon_plus")
CASES = {
    "blog_cnn, z+, 1": Case("blog_cnn", 1, 60, *Z_PLUS),
    "blog_cnn, z+, 100": Case("blog_cnn", 100, 40, *Z_PLUS),
    "blog_cnn, z+, 1000": Case("blog_cnn", 1000, 8, *Z_PLUS),
    "VGG-16, ε-γ-box, 1": Case("vgg16", 1, 7, *GAMMA_BOX, "captum_gamma", "gamma", "epsilon_gamma_box"),
    "VGG-16, ε-γ-box, 8": Case("vgg16", 8, 3, *GAMMA_BOX, None, None, "epsilon_gamma_box"),
    "VGG-16, ε+flat, 1": Case("vgg16", 1, 7, *FLAT),
    "VGG-16, ε+flat, 8": Case("vgg16", 8, 3, *FLAT),
    "VGG-16, z+, 1": Case("vgg16", 1, 7, *Z_PLUS),
    "VGG-16, z+, 8": Case("vgg16", 8, 3, *Z_PLUS_8),
    "VGG-16, ε, 1": Case("vgg16", 1, 7, "zennit_epsilon", "epsilon", "captum_epsilon", "epsilon", "epsilon"),
    "VGG-16, ε, 8": Case("vgg16", 8, 3, "zennit_epsilon", "epsilon", None, None, "epsilon"),
    "ResNet-18, ε+, 8": Case("resnet18", 8, 5, "zennit_epsilon_plus", "epsilon_plus", None, None, "epsilon_plus"),
    "DenseNet-121, ε+, 8": Case("densenet121", 8, 3, *PLUS),
    "EfficientNet-B0, ε+, 8": Case("efficientnet_b0", 8, 5, *PLUS),
    "ConvNeXt-T, ε+, 8": Case("convnext_tiny", 8, 3, *PLUS),
    "ViT-B/16, attnlrp, 1": Case("vit_b_16", 1, 5, "attnlrp", None, None, None, "attnlrp"),
}
ON_GPUS = {  # beside the others
    "blog_cnn, z+, 10000": Case("blog_cnn", 10_000, 20, *Z_PLUS),
    "VGG-16, ε-γ-box, 64": Case("vgg16", 64, 5, *GAMMA_BOX, None, None, "epsilon_gamma_box"),
    "ResNet-18, ε+, 1": Case("resnet18", 1, 20, "zennit_epsilon_plus", "epsilon_plus", None, None, "epsilon_plus"),
}
CASES |= ON_GPUS
QUICK = ("blog_cnn, z+, 1", "blog_cnn, z+, 100")


ELSEWHERE = {"zennit 1.0": "zennit-1.0.0", "autolrp": "autolrp-0.2.0"}
PEERS = Path(os.environ.get("LRP_DYNAMICS_PEERS") or Path(__file__).parents[1] / ".peers")


class Elsewhere:
    """A way to explain that runs where its package is installed, in a process of its own."""

    def __init__(self, way: str, case: str, device: str):
        arguments = (str(PEERS / ELSEWHERE[way]), torch.get_num_threads())
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=prepare, initargs=arguments)
        self.map = torch.from_numpy(self.pool.submit(load, way, case, device).result()).to(device)

    def seconds(self, device: str) -> float:
        return self.pool.submit(timed, None, device).result()


def prepare(folder: str, threads: int) -> None:
    sys.path.insert(0, folder)  # before the version that is installed
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    full_float32()
    keep_freed_memory()


def load(way: str, case: str, device: str):
    """Make a way ready in its process, and return its map."""
    global _run
    net, x, target = build(CASES[case].net, CASES[case].samples, device)
    _run = WAYS[way](getattr(CASES[case], way.partition(" ")[0]), net, x, target)
    return _run().detach().cpu().numpy()


def ways(case: str, device: str) -> tuple[dict, dict]:
    """Return what to time, and how far maps are apart."""
    row = CASES[case]
    net, x, target = build(row.net, row.samples, device)
    # Our maps in the peers' conventions are compared and timed: they cost what our own conventions cost.
    todo = {"forward": plain_way(net, x), "ours": our_way(row.ours, net, x, target)}
    if device == "cuda":
        todo["ours, not replayed"] = our_way(row.ours, net, x, target, replay=False)
    if row.zennit:
        todo["zennit"] = WAYS["zennit"](row.zennit, net, x, target)
    if row.captum:
        todo["captum"] = WAYS["captum"](row.captum, net, x, target)
        todo["ours as captum"] = our_way(row.ours_for_captum, net, x, target)
    for way, peer in ELSEWHERE.items():
        if getattr(row, way.partition(" ")[0]) and (PEERS / peer).is_dir():
            todo[way] = Elsewhere(way, case, device)
    differences = {}
    for peer in set(todo) & set(WAYS):
        mine, theirs = todo["ours as captum" if peer == "captum" else "ours"](), todo[peer]
        expected = theirs.map if isinstance(theirs, Elsewhere) else theirs()
        difference = differences[f"difference to {peer}"] = ((mine - expected).norm() / expected.norm()).item()
        print(f"  {case}: relative difference to {peer} {difference:.1e}", file=sys.stderr)
        # Of the order of rounding, amplified; a different rule is further away by far.
        if not difference < SAME and peer != "autolrp":
            raise SystemExit(f"{case}: the maps of ours and {peer} differ by {difference:.1e}; nothing was timed")
    return todo, differences


def timed(run, device: str) -> float:
    """Return the seconds that a way takes, here or, by its own clock, in its process."""
    if isinstance(run, Elsewhere):
        return run.seconds(device)
    run = run or _run
    clock = time.process_time if single(device) else time.perf_counter
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def measure(case: str, device: str, rounds: int) -> dict:
    """Return seconds of a forward pass and ratios to it."""
    runs, differences = ways(case, device)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for k in range(rounds + 1):  # the first round warms up
        for name, run in list(runs.items())[:: -1 if k % 2 else 1]:
            took = timed(run, device)
            if k:
                seconds[name].append(took)
    for run in runs.values():
        if isinstance(run, Elsewhere):
            run.pool.shutdown()
    ratio = lambda a, b: statistics.median(p / q for p, q in zip(seconds[a], seconds[b], strict=True))  # noqa: E731
    result = {"forward_seconds": statistics.median(seconds["forward"]), "rounds": rounds, **differences}
    result["threads"] = torch.get_num_threads()
    result["forwards"] = {name: ratio(name, "forward") for name in runs if name != "forward"}
    for peer in set(runs) & set(WAYS):
        result[f"{peer} / ours"] = ratio(peer, "ours as captum" if peer == "captum" else "ours")
    return result


def single(device: str) -> bool:
    """Tell whether a thread's own time can be taken, which other processes on the machine disturb least."""
    return device == "cpu" and torch.get_num_threads() == 1


def peak(case: str, device: str, way: str) -> float:
    """Return the memory in MiB that a way adds to a process that has run it once."""
    net, x, target = build(CASES[case].net, CASES[case].samples, device)
    run = (WAYS | {"ours": our_way})[way](getattr(CASES[case], way), net, x, target)
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
    ways = {
        "ours": "ours",
        "ours, not replayed": "not replayed",
        "zennit": "zennit",
        "zennit 1.0": "zennit 1.0",
        "captum": "Captum",
        "autolrp": "autolrp",
    }
    ratios = {"zennit": "zennit / ours", "captum": "Captum / ours", "autolrp": "autolrp / ours"}
    if not any("ours, not replayed" in r["forwards"] for r in results["cases"].values()):
        del ways["ours, not replayed"]
    heads = ["case", "threads", "forward", *ways.values(), *ratios.values(), "memory, ours / zennit"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for case, r in results["cases"].items():
        f, m = r["forwards"], r.get("peak_mib", {})
        mark = "*" if r.get("difference to autolrp", 0) > SAME else ""
        cells = [case, str(r["threads"]), f"{1e3 * r['forward_seconds']:.1f} ms"]
        cells += [f"{f[way]:.2f}{mark if way == 'autolrp' else ''}" if way in f else "–" for way in ways]
        cells += [f"{r[f'{way} / ours']:.2f}×" if way in f else "–" for way in ratios]
        cells += [" / ".join(f"{m[way]:.0f}" if way in m else "–" for way in ("ours", "zennit")) + " MiB" if m else "–"]
        lines.append("| " + " | ".join(cells) + " |")
    where = f"{results['device']}, torch {results['torch'].split('+')[0]}"
    clock = "One thread is timed by its own time, more by the wall clock."
    text = f"In forward passes of the same net and batch, median of rounds; {where}. {clock}"
    if any("*" in line for line in lines):
        text += " \\* Another map: that of autolrp's own conventions."
    return "\n".join([*lines, "", text])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small net alone, few rounds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/lrp.json"))
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--only", "--case", action="append", choices=CASES, metavar="ROW", help="this row, as in CASES")
    pages.add_options(parser)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    full_float32()
    keep_freed_memory()  # as in every stage of the pipeline; otherwise the system's work of clearing pages is timed too
    if pages.shown(arguments, table):
        return
    if arguments.peak:
        print(peak(arguments.peak[0], arguments.device, arguments.peak[1]))
        return
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    results = {"device": device, "torch": torch.__version__, "cases": {}}
    if arguments.only and arguments.output.exists():  # single cases are added to what is there
        results["cases"] = json.loads(arguments.output.read_text())["cases"]
    every = [case for case in CASES if case not in ON_GPUS or arguments.device == "cuda"]
    for case in arguments.only or (QUICK if arguments.quick else every):
        start = time.perf_counter()
        rounds = arguments.rounds or max(3, CASES[case].rounds // (4 if arguments.quick else 1))
        results["cases"][case] = measure(case, arguments.device, rounds)
        peaks = {}
        # On the CPU, the memory of a moment can be told on Linux alone.
        told = arguments.device == "cuda" or sys.platform == "linux"
        for way in [way for way in ("ours", "zennit") if told and getattr(CASES[case], way)]:
            command = [sys.executable, __file__, "--device", arguments.device, "--peak", case, way]
            peaks[way] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        results["cases"][case]["peak_mib"] = peaks
        print(f"  {case}: {time.perf_counter() - start:.0f} s in all", file=sys.stderr)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
