"""A small training with two recordings: its parameters, its results, and the command that makes them."""

import contextlib
import subprocess
import sys
import time

from lrp_dynamics.base.files import canonical_json, sha256

PARAMS = {
    "model": "blog_cnn",
    "inputs": {"low": 0.0, "high": 1.0},
    "training": {"epochs": 4, "batch_size": 20, "optimizer": "adam", "learning_rate": 0.001, "threads": 1},
    "recording": {
        "samples": 12,
        "composites": {"plus": "z_plus", "box": "epsilon_gamma_box"},
        "every": 1,
        "maps": 8,
        "batch_size": 12,
    },
    "validation": {"share": 0.1, "seed": 0, "every": 0.5, "patience": None},
    "seed": 7,
}
RESULTS = (
    *("plus/relevance.h5", "box/relevance.h5", "model.safetensors", "training.csv", "training.json", "validation.csv"),
)


def command(data, out, cache, params=PARAMS):
    values = canonical_json({key: value for key, value in params.items() if key != "seed"})
    arguments = ["train", "--data", data, "--seed", params["seed"], "--params", values, "--out", out, "--cache", cache]
    return [sys.executable, "-m", "lrp_dynamics.commands.cli", *map(str, arguments)]


@contextlib.contextmanager
def started(arguments, happened):
    """A training in a process of its own, in which something has happened that is waited for."""
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        while not happened():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def run(arguments):
    return subprocess.run(arguments, capture_output=True, text=True)


def results(out):
    return {name: sha256(out / name) for name in RESULTS}
