"""How does the cost of recording grow with samples, steps, resolution and network?

Each point is a process of its own: it records a network whose weights change between the steps, with maps of at most
100 samples stored, and tells its own time for a record, the disk included, beside that of three plain forwards of the
same samples, which no explanation by z+ goes below; and the memory that it needed at its peak beyond what it had before
the recorder was made.

    python benchmarks/scale.py [--quick] [--output benchmarks/results/scale.json]
    python benchmarks/scale.py --table benchmarks/results/scale.json [--into docs/recorder.md]
    python benchmarks/scale.py --figure docs/images/scale.png --table benchmarks/results/scale.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from math import ceil, floor, log10
from pathlib import Path
from typing import NamedTuple

import pages
import torch
from lrp import memory
from torch import nn
from ways import full_float32

from lrp_dynamics import Recorder
from lrp_dynamics.base.memory import keep_freed_memory
from lrp_dynamics.models import blog_cnn

MAPS = 100


class Point(NamedTuple):
    """What is recorded: a network, so many samples of so many pixels a side, and so many steps."""

    net: str
    samples: int
    side: int
    steps: int


AXES = {
    "samples": [Point("blog_cnn", n, 32, 4) for n in (10, 100, 1000, 10_000)],
    "steps": [Point("tiny", 4, 8, n) for n in (100, 1000, 10_000, 100_000)],
    "pixels a side": [Point("resnet18", 4, side, 4) for side in (32, 64, 128, 224)],
    "network": [Point(net, 2, 224, 4) for net in ("squeezenet1_1", "resnet18", "densenet121", "vgg16")],
}
QUICK = {"samples": AXES["samples"][:2], "steps": AXES["steps"][:2]}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "blog_cnn":
        return blog_cnn()
    if name == "tiny":
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    import torchvision

    return getattr(torchvision.models, name)(weights=None).eval()


def measure(point: Point) -> dict:
    """Record, in this process; return milliseconds and MiB."""
    net, samples = network(point.net), torch.rand(point.samples, 3, point.side, point.side)
    weight = next(net.parameters())
    clock = time.process_time

    def forwards() -> float:
        start = clock()
        with torch.no_grad():
            for part in samples.split(50):
                net(part)
        return clock() - start

    forwards()
    floor = 3 * min(forwards() for _ in range(3))
    before, taken = memory("VmRSS"), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "relevance.h5")
        start = clock()
        with Recorder(path, net, samples, [0] * point.samples, maps=MAPS) as recorder:
            begun = clock() - start
            for step in range(point.steps):
                start = clock()
                recorder.record(step)
                taken.append(clock() - start)
                with torch.no_grad():
                    weight.mul_(1.001 if step % 2 else 0.999)
            start = clock()
            recorder.flush()
            taken[-1] += clock() - start
        size = path.stat().st_size
    tenth = max(1, len(taken) // 10)
    return {
        "record_ms": 1e3 * sum(taken[1:]) / (len(taken) - 1),
        "floor_ms": 1e3 * floor,
        "begin_s": begun + taken[0],
        "last_to_first": statistics.mean(taken[-tenth:]) / statistics.mean(taken[1 : tenth + 1]),
        "peak_mib": memory("VmHWM") - before,
        "file_mb": size / 1e6,
    }


def table(results: dict) -> str:
    """Return the results as a markdown table."""
    heads = ["grows", "network", "samples", "pixels", "steps", "a record", "three forwards", "ratio", "memory", "file"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for axis, rows in results["axes"].items():
        for row in rows:
            (net, samples, side, steps), r = row["point"], row["found"]
            cells = [axis, f"`{net}`", f"{samples:,}", f"{side}²", f"{steps:,}", f"{r['record_ms']:.1f} ms"]
            cells += [f"{r['floor_ms']:.1f} ms", f"{r['record_ms'] / r['floor_ms']:.2f}"]
            cells += [f"{r['peak_mib']:.0f} MiB", f"{r['file_mb']:.1f} MB"]
            lines.append("| " + " | ".join(cells) + " |")
    text = (
        f"{results['device']}, torch {results['torch'].split('+')[0]}; one thread's own time, maps of at most {MAPS} "
    )
    text += "samples stored. Memory is what a process takes at its peak beyond what it had before its recorder."
    longest = max((row for row in results["axes"].get("steps", [])), key=lambda row: row["point"][3], default=None)
    if longest:
        ratio, steps = longest["found"]["last_to_first"], longest["point"][3]
        text += f" Of {steps:,} steps the last tenth took {ratio:.2f} times as long as the first."
    return "\n".join([*lines, "", text])


def figure(results: dict, path: Path) -> None:
    """Draw cost and memory along each axis."""
    import matplotlib.pyplot as plt

    axes = {axis: rows for axis, rows in results["axes"].items() if axis != "network"}
    size = (3.2 * len(axes), 5.2)
    drawn, panels = plt.subplots(2, len(axes), figsize=size, layout="constrained", squeeze=False, sharex="col")
    for (time_panel, memory_panel), (axis, rows) in zip(panels.T, axes.items(), strict=True):
        index = {"samples": 1, "steps": 3, "pixels a side": 2}[axis]
        x, found, point = [row["point"][index] for row in rows], [row["found"] for row in rows], rows[0]["point"]
        time_panel.loglog(x, [f["record_ms"] for f in found], "o-", color="#0072b2", label="a record")
        time_panel.loglog(x, [f["floor_ms"] for f in found], "s--", color="#555555", label="three forwards")
        memory_panel.loglog(x, [f["peak_mib"] for f in found], "o-", color="#d55e00")
        memory_panel.set_xticks(x, [f"{value:,}" for value in x])
        memory_panel.minorticks_off()
        memory_panel.set_xlabel(axis)
        for panel in (time_panel, memory_panel):
            low, high = panel.get_ylim()
            panel.set_ylim(10 ** floor(log10(low)), 10 ** ceil(log10(high)))
            panel.grid(alpha=0.3)
        fixed = f"{point[2]}² pixels" if axis == "samples" else f"{point[1]} samples"
        time_panel.set_title(f"{point[0]}, {fixed}", fontsize=10)
    panels[0, 0].set_ylabel("CPU time, ms")
    panels[1, 0].set_ylabel("memory of the recorder, MiB")
    panels[0, 0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two points of two axes")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scale.json"))
    parser.add_argument("--figure", type=Path, help="draw the results here")
    parser.add_argument("--point", nargs=4, help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if arguments.point:
        torch.set_num_threads(1)
        full_float32()
        keep_freed_memory()
        net, *numbers = arguments.point
        print(json.dumps(measure(Point(net, *map(int, numbers)))))
        return
    if arguments.figure and arguments.table:
        figure(json.loads(arguments.table.read_text()), arguments.figure)
        return
    if pages.shown(arguments, table):
        return
    results: dict = {"device": "CPU", "torch": torch.__version__, "axes": {}}
    for axis, points in (QUICK if arguments.quick else AXES).items():
        results["axes"][axis] = []
        for point in points:
            command = [sys.executable, __file__, "--point", *map(str, point)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            results["axes"][axis].append({"point": list(point), "found": found})
            print(f"  {axis} {tuple(point)}: {found['record_ms']:.1f} ms", file=sys.stderr)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.figure:
        figure(results, arguments.figure)
    print(table(results))


if __name__ == "__main__":
    main()
