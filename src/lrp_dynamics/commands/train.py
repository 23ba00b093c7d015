"""Train a network and record the relevance of fixed samples at every step.

An interrupted training goes on where it was: behind its last step if it was asked to end, by Ctrl-C or SIGTERM, behind
its last checkpoint if it was killed. What that needs is kept in --cache until the training ends, and so are the results
until all of them lie in --out.

Examples:
  lrp-dynamics train --data data/shapes10.h5 --params '{"model": "blog_cnn", "inputs": {"low": 0, "high": 1},
    "training": {"epochs": 1}, "recording": {"samples": 20, "composite": "epsilon"}}' --seed 1 --out run
  lrp-dynamics train --data data/pets.h5 --params '{"model": "nets/small.py:small", ...}' --out run
"""

import argparse
import os
from pathlib import Path

from lrp_dynamics.base.parameters import json_object

MINUTES = "LRP_DYNAMICS_CHECKPOINT_MINUTES"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument("--params", type=json_object, required=True, help="JSON: model, inputs, training, recording")
    parser.add_argument("--seed", type=int, help="of initial weights and order of images; default: that in --params")
    parser.add_argument("--out", type=Path, required=True, help="folder for relevance.h5, model.safetensors, ...")
    parser.add_argument("--cache", type=Path, default=Path(".cache/train"), help="where unfinished trainings are kept")
    parser.add_argument("--shard", type=_shard, default=(1, 1), help="K/N: record the K-th of N parts of the samples")
    parser.add_argument(
        "--checkpoint-minutes",
        type=_minutes,
        default=os.environ.get(MINUTES, "10"),  # a runner of jobs hands it on, and it changes no result
        help=f"between checkpoints within an epoch; default: that in the environment's {MINUTES}, else 10",
    )
    parser.add_argument("--tensorboard", type=Path, help="folder for a log of events: tensorboard --logdir FOLDER")
    parser.add_argument("--no-record", action="store_true", help="train only; the weights are the same")


def run(arguments: argparse.Namespace) -> None:
    """Run the stage."""
    from lrp_dynamics.training.run import run_training

    params = {"seed": 0} | arguments.params | ({} if arguments.seed is None else {"seed": arguments.seed})
    run_training(
        arguments.data,
        params,
        arguments.out,
        cache=arguments.cache,
        record=not arguments.no_record,
        shard=arguments.shard,
        events=arguments.tensorboard,
        minutes=arguments.checkpoint_minutes,
    )


def _minutes(text: str) -> float:
    """Type of an argument such as 0.5."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number of minutes, at least 0")
    return minutes


def _shard(text: str) -> tuple[int, int]:
    """Type of an argument such as 2/4."""
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal()):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected two whole numbers such as 2/4")
    return int(first), int(last)
