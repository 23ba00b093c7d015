"""Classify the test images: accuracy, precision, recall and F1 of each class, and the confusion matrix."""

import argparse
import os
from pathlib import Path

from lrp_dynamics.stages import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--model", type=Path, required=True, help="model.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument("--params", type=json_object, default={}, help="JSON: threads, device")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.json, classes.csv, ...")


def run(arguments: argparse.Namespace) -> None:
    """Run the stage."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    from lrp_dynamics.classification import classify
    from lrp_dynamics.datasets import prepared
    from lrp_dynamics.experiment import prepare_device
    from lrp_dynamics.models import trained

    device = prepare_device(arguments.params)
    classify(trained.load(str(arguments.model)), prepared.read(arguments.data), device, arguments.out)
