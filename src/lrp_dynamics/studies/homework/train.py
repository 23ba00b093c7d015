"""Train the homework's network, keeping its weights and accuracy at chosen iterations."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal, pick
from lrp_dynamics.studies.homework.parameters import Homework

PARAMETERS = pick(Homework, "model", "inputs", "training", "checkpoints")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument("--params", type=json_object, required=True, help="JSON: model, inputs, training, checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and order of images")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints.safetensors, accuracy.csv, ...")
    parser.add_argument("--cache", type=Path, default=Path(".cache/train"), help="where unfinished trainings are kept")


def run(args: argparse.Namespace) -> None:
    """Run the stage."""
    from lrp_dynamics.studies.homework.explaining import training_params
    from lrp_dynamics.training.run import run_training

    params = training_params(normal(PARAMETERS, args.params) | {"seed": args.seed})
    run_training(args.data, params, args.out, cache=args.cache, record=False)
