"""How long does the training stage of `blog` take as the pipeline runs it, and a record of many samples?

The stage with its recording and without, each in a process of its own on a fresh folder, by the clock on the wall: the
whole process, from the start of Python to the results in their place, and within it the training, from the moment that
the data are read. And `record` of 10,000 samples, of 100 of which maps are stored, the disk included, beside three
plain forwards of the same samples, which no explanation by z+ goes below. Every part takes its turn in each round; a
number is the median over the rounds.

    python benchmarks/stage.py [--device cuda] [--steps 2500] [--rounds 3] [--output benchmarks/results/stage.json]
    python benchmarks/stage.py --table benchmarks/results/stage.json [--into docs/recorder.md]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pages
import torch
import yaml
from ways import full_float32

from lrp_dynamics import Recorder
from lrp_dynamics.base.memory import keep_freed_memory
from lrp_dynamics.base.threads import sleep_soon
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.models import blog_cnn
from lrp_dynamics.training.run import run_training

ROOT = Path(__file__).parents[1]
IMAGES, RECORDS, PART = 8000, 17, 1000


def blog() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["experiments"]["blog"]


def stage(device: str, steps: int, record: bool) -> dict:
    """Train in this process, as `lrp-dynamics train` does; return the seconds that the training took."""
    keep_freed_memory()
    params = {key: blog()[key] for key in ("model", "inputs", "training", "recording")} | {"seed": 0}
    params["training"] |= {"device": device, "max_steps": steps, "epochs": steps}
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder, "shapes10.h5"), Path(folder, "out")
        prepared.write(data, shapes10.prepare("shapes10", {"n_train": IMAGES, "n_test": 1000}, Path(folder)))
        run_training(data, params, out, cache=Path(folder, "cache"), record=record)
        return {"training_s": json.loads((out / "provenance.json").read_text(encoding="utf-8"))["seconds"]}


def many(device: str, samples: int) -> dict:
    """Record so many samples a few times in this process; return the milliseconds of a record, and of its floor."""
    keep_freed_memory()
    full_float32()
    torch.set_num_threads(blog()["training"]["threads"])
    torch.manual_seed(0)
    net, x = blog_cnn().to(device), torch.rand(samples, 3, 32, 32, device=device)

    def clock() -> float:
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def forwards() -> float:
        start = clock()
        with torch.no_grad():
            for part in x.split(PART):
                net(part)
        return clock() - start

    floor = 3 * min(forwards() for _ in range(4))
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder, "relevance.h5"), net, x, [0] * samples, batch=PART)
        for step in range(RECORDS):
            if step == 3:  # what is made once is there
                recorder.flush()
                start = clock()
            recorder.record(step)
        recorder.flush()
        took = clock() - start
        recorder.close()
    return {"record_ms": 1e3 * took / (RECORDS - 3), "floor_ms": 1e3 * floor}


def table(results: dict) -> str:
    """Return the results as a markdown table."""
    recorded, plain, many = (results[name] for name in ("recorded", "plain", "many"))
    lines = ["| on the wall | with its recording | without | ratio |", "|---" * 4 + "|"]
    for name, what in {"training_s": "training", "process_s": "whole process"}.items():
        ratio = recorded[name] / plain[name]
        lines.append(f"| {what} | {recorded[name]:.1f} s | {plain[name]:.1f} s | {ratio:.2f} |")
    text = (
        f"The training stage of `blog`, {results['steps']:,} steps, 100 samples recorded at each, and on {IMAGES:,} "
        f"images of shapes10 instead of photographs; {results['device']}, {results['threads']} threads, torch "
        f"{results['torch'].split('+')[0]}; medians of {results['rounds']} rounds. A record of "
        f"{results['samples']:,} samples took {many['record_ms']:.0f} ms, three plain forwards of them "
        f"{many['floor_ms']:.0f} ms."
    )
    return "\n".join([*lines, "", text])


def run(*arguments: str) -> dict:
    """Run a part in a process of its own; return what it found and how long the process took."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return json.loads(done.stdout.splitlines()[-1]) | {"process_s": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/stage.json"))
    parser.add_argument("--part", choices=("recorded", "plain", "many"), help=argparse.SUPPRESS)
    pages.add_options(parser)
    arguments = parser.parse_args()
    if pages.shown(arguments, table):
        return
    device, steps, samples = arguments.device, arguments.steps, arguments.samples
    if arguments.part:
        part = many(device, samples) if arguments.part == "many" else stage(device, steps, arguments.part == "recorded")
        print(json.dumps(part))
        return
    sleep_soon()  # the processes of the parts find it when they begin
    name = torch.cuda.get_device_name() if device != "cpu" else "CPU"
    results = {"device": name, "torch": torch.__version__, "threads": blog()["training"]["threads"]}
    results |= {"steps": steps, "samples": samples, "rounds": arguments.rounds}
    found = {"recorded": [], "plain": [], "many": []}
    for _ in range(arguments.rounds):
        for part, numbers in found.items():
            numbers.append(run("--device", device, "--steps", str(steps), "--samples", str(samples), "--part", part))
            print(f"  {part}: {numbers[-1]}", file=sys.stderr)
    for part, numbers in found.items():
        results[part] = {name: statistics.median(one[name] for one in numbers) for name in numbers[0]}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
