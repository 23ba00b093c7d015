"""What does recording cost beside the training, here and with zennit and Captum in the same loop?

A training step of blog_cnn on 100 images, alone, by our own loop, with 100 other images explained after it, and with
them recorded: every map stored, compressed and on the disk. All run in one process on one thread, a block of 16 steps
each in every round, and are timed by the process's own time, the recorder's thread and its flush included; every other
round goes the other way round. A number is the median over the rounds. zennit and Captum explain the same images by the
same rules and sum the maps over channels; they store nothing. zennit 1.0, which `make peers` gets, has a process of its
own. All trainings begin with the same weights and see the same batches: those whose weights are the same at the end, to
the last bit, are said to leave the training alone.

    python benchmarks/recording.py [--rounds 12] [--output benchmarks/results/recording.json]
    python benchmarks/recording.py --table benchmarks/results/recording.json [--into docs/recorder.md]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pages
import torch
from lrp import ELSEWHERE, PEERS
from torch import nn
from ways import _Flattening, full_float32

from lrp_dynamics import Recorder, lrp
from lrp_dynamics.base.memory import keep_freed_memory
from lrp_dynamics.models import blog_cnn
from lrp_dynamics.training.loop import Images, Settings, batch_order, train

STEPS, BATCH, SAMPLES, POOL = 16, 100, 100, 1600
SETTINGS = {"epochs": 1, "batch_size": BATCH, "learning_rate": 1e-3, "optimizer": "adam"}


def data() -> tuple[Images, torch.Tensor, torch.Tensor]:
    """Return smooth random images to train on, as bytes; and others to explain, with their classes."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(POOL + SAMPLES, 3, 8, 8, generator=generator)
    pixels = (nn.functional.interpolate(small, 32, mode="bilinear") * 255).to(torch.uint8)
    labels = torch.arange(POOL + SAMPLES) % 10
    images = Images(pixels[:POOL], labels[:POOL])
    return images, Images(pixels[POOL:], labels[POOL:]).inputs(slice(None)), labels[POOL:]


class Loop:
    """A training written by hand, and what is called after each of its steps."""

    def __init__(self, way: str, folder: str | None = None):
        torch.manual_seed(0)
        self.way, self.model, (self.images, x, y) = way, blog_cnn(), data()
        self.optimizer, self.step = torch.optim.Adam(self.model.parameters(), lr=1e-3), 0
        self.after = {
            "explained": lambda: partial(lrp.Explainer(self.model, "z_plus", as_eval=True), x, y),
            "zennit": lambda: partial(zennit, self.model, x, y),
            "zennit 1.0": lambda: partial(zennit, self.model, x, y),
            "Captum": lambda: partial(captum, self.model, x, y),
        }.get(way, lambda: None)()
        self.recorder = None
        if way == "recorded":
            self.recorder = Recorder(Path(folder, "relevance.h5"), self.model, x, y, batch=SAMPLES)

    def run(self) -> float:
        """Train a block of steps; return its seconds of the process's own time."""
        start = time.process_time()
        if self.way == "ours":
            train(self.model, self.images, Settings(**SETTINGS), seed=self.step, progress=False)
            self.step += STEPS
            return time.process_time() - start
        for index in batch_order(POOL, self.step, 0).split(BATCH):
            self.optimizer.zero_grad(set_to_none=True)
            logits, labels = self.model(self.images.inputs(index)), self.images.labels[index]
            loss = nn.functional.cross_entropy(logits, labels)
            loss.backward()
            self.optimizer.step()
            loss, _ = loss.item(), (logits.argmax(1) == labels).float().mean().item()
            self.step += 1
            if self.recorder:
                self.recorder.record(self.step, loss=loss)
            elif self.after:
                self.after()
        if self.recorder:
            self.recorder.flush()
        return time.process_time() - start

    def weights(self) -> list:
        return [value.tolist() for value in self.model.state_dict().values()]


def zennit(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """As its documentation has it: hooks are there for as long as they are needed, so that the training sees none."""
    from zennit import composites, rules, types
    from zennit.attribution import Gradient

    composite = composites.LayerMapComposite([*composites.layer_map_base(), (types.Linear, rules.ZPlus())])
    hot = nn.functional.one_hot(y, 10).to(x)
    with Gradient(model, composite) as attributor:
        return attributor(x, lambda out: out * hot)[1].sum(1)


def captum(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule

    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.rule = Alpha1_Beta0_Rule()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LRP(_Flattening(model)).attribute(x.requires_grad_(), target=y).detach().sum(1)


def begin(folder: str | None, way: str) -> None:
    """Make a way ready in a process of its own, where its package is installed."""
    global _loop
    if folder:
        sys.path.insert(0, folder)
    set_up()
    _loop = Loop(way)


def call(name: str):
    return getattr(_loop, name)()


class Elsewhere:
    """A loop in a process of its own."""

    def __init__(self, way: str, folder: Path):
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=begin, initargs=(str(folder), way))

    def run(self) -> float:
        return self.pool.submit(call, "run").result()

    def weights(self) -> list:
        return self.pool.submit(call, "weights").result()


def set_up() -> None:
    torch.set_num_threads(1)
    full_float32()
    keep_freed_memory()


def measure(rounds: int) -> dict:
    """Return milliseconds a step of each way, and what was found besides."""
    with tempfile.TemporaryDirectory() as folder:
        loops = {way: Loop(way, folder) for way in ("plain", "ours", "explained", "recorded", "zennit", "Captum")}
        if (PEERS / ELSEWHERE["zennit 1.0"]).is_dir():
            loops["zennit 1.0"] = Elsewhere("zennit 1.0", PEERS / ELSEWHERE["zennit 1.0"])
        seconds: dict[str, list[float]] = {way: [] for way in loops}
        for k in range(rounds + 1):  # the first round warms up
            for way, loop in list(loops.items())[:: -1 if k % 2 else 1]:
                took = loop.run() / STEPS
                if k:
                    seconds[way].append(took)
            print(f"  round {k} of {rounds}", file=sys.stderr)
        start, recorder = time.process_time(), loops["recorded"].recorder
        recorder.close()
        closing = (time.process_time() - start) / loops["recorded"].step
        size = recorder.path.stat().st_size / loops["recorded"].step
    weights = {way: loop.weights() for way, loop in loops.items() if way != "ours"}
    median = lambda values: statistics.median(values)  # noqa: E731
    each = lambda a, b, do: median(do(p, q) for p, q in zip(seconds[a], seconds[b], strict=True))  # noqa: E731
    return {
        "rounds": rounds,
        "step_ms": {way: 1e3 * median(values) for way, values in seconds.items()},
        "ratio": {way: each(way, "plain", lambda p, q: p / q) for way in loops},
        "added_ms": {way: 1e3 * each(way, "plain", lambda p, q: p - q) for way in loops},
        "beside_explanation_ms": 1e3 * each("recorded", "explained", lambda p, q: p - q),
        "closing_ms": 1e3 * closing,
        "bytes": size,
        "same_weights": {way: held == weights["plain"] for way, held in weights.items()},
    }


def table(results: dict) -> str:
    """Return the results as a markdown table."""
    names = {
        "plain": "a plain loop",
        "ours": "`lrp_dynamics.training.loop`",
        "explained": "and explained",
        "recorded": "and recorded, all maps stored",
        "zennit": "zennit 0.5.1, nothing stored",
        "zennit 1.0": "zennit 1.0.0, nothing stored",
        "Captum": "Captum 0.9.0, nothing stored",
    }
    lines = ["| training step of `blog_cnn`, 100 images | ms | to plain | added, ms | same weights |", "|---" * 5 + "|"]
    for way, name in names.items():
        if way in results["ratio"]:
            same = {True: "yes", False: "no", None: "–"}[results["same_weights"].get(way)]
            numbers = f"{results['step_ms'][way]:.1f} | {results['ratio'][way]:.2f} | {results['added_ms'][way]:.1f}"
            lines.append(f"| {name} | {numbers} | {same} |")
    where = f"{results['device']}, torch {results['torch'].split('+')[0]}"
    text = (
        f"One thread's own time, median of {results['rounds']} rounds of {STEPS} steps; {where}. Recording costs "
        f"{results['beside_explanation_ms']:.1f} ms a step beside the explanation, compression, checksums and the disk "
        f"included; closing the file {results['closing_ms']:.1f} ms for each of its steps. A step takes "
        f"{results['bytes'] / 1e3:.0f} kB."
    )
    return "\n".join([*lines, "", text])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/recording.json"))
    pages.add_options(parser)
    arguments = parser.parse_args()
    if pages.shown(arguments, table):
        return
    set_up()
    results = {"device": "CPU", "torch": torch.__version__} | measure(arguments.rounds)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
