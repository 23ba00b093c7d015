"""Measure how far the training loss fell from the first half of the training to the second."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--training", type=Path, required=True, help="table of the training steps (training.csv)")
    parser.add_argument("--out", type=Path, required=True, help="numbers to write (metrics.json)")


def run(args: argparse.Namespace) -> None:
    """Write the mean loss of both halves."""
    from lrp_dynamics.base.files import write_json
    from lrp_dynamics.base.tables import read_csv

    loss = read_csv(args.training, require=("loss",))["loss"]
    middle = len(loss) // 2
    write_json(args.out, {"first_half": float(loss[:middle].mean()), "second_half": float(loss[middle:].mean())})
