"""Explain test images by the rules of the from-scratch repository, and measure how many a second."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--model", type=Path, required=True, help="model.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument("--params", type=json_object, required=True, help="JSON: explanations, threads, device, seed")
    parser.add_argument("--out", type=Path, required=True, help="folder for <method>/relevance.h5, speed.json")


def run(arguments: argparse.Namespace) -> None:
    """Run the stage."""
    from lrp_dynamics.studies.vgg11.explaining import run_explanations

    run_explanations(arguments.model, arguments.data, arguments.params, arguments.out)
