"""Classify the test images: accuracy, precision, recall and F1 of each class, and the confusion matrix."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal, pick
from lrp_dynamics.studies.vgg11.parameters import Vgg11

PARAMETERS = pick(Vgg11, threads="training.threads", device="training.device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--model", type=Path, required=True, help="model.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument("--params", type=json_object, default={}, help="JSON: threads, device")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.json, classes.csv, ...")


def run(arguments: argparse.Namespace) -> None:
    """Run the stage."""
    from lrp_dynamics.data import prepared
    from lrp_dynamics.measures.classification import classify
    from lrp_dynamics.models import trained
    from lrp_dynamics.training.device import prepare_device

    device = prepare_device(normal(PARAMETERS, arguments.params))
    classify(trained.load(str(arguments.model)), prepared.read(arguments.data), device, arguments.out)
