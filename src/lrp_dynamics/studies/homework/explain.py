"""Explain the test images with most evidence for their class, by the homework's network at every checkpoint."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal, pick
from lrp_dynamics.studies.homework.parameters import Homework

PARAMETERS = pick(Homework, "model", "inputs", "training", "checkpoints", "explained")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument("--checkpoints", type=Path, required=True, help="weights of the training")
    parser.add_argument("--accuracy", type=Path, required=True, help="accuracy.csv of the training")
    parser.add_argument("--params", type=json_object, required=True, help="JSON: as for training, and explained")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--out", type=Path, required=True, help="folder for <method>/relevance.h5, evidence.csv, ...")


def run(args: argparse.Namespace) -> None:
    """Run the stage."""
    from lrp_dynamics.studies.homework.explaining import run_explanations

    params = normal(PARAMETERS, args.params) | {"seed": args.seed}
    run_explanations(args.data, args.checkpoints, args.accuracy, params, args.out)
