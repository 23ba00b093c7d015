"""Make a dataset file: generate or download, verify, and write it in the one layout."""

import argparse
import json
from importlib import import_module
from pathlib import Path

from lrp_dynamics.errors import UserError

# Each kind is a module of `lrp_dynamics.datasets` with a function `prepare`; these parameters it cannot do without.
REQUIRED = {
    "shapes10": ("n_train", "n_test"),
    "cifar10": ("urls", "sha256"),
    "mnist": ("urls", "sha256"),
    "folder": ("path",),
    "photos": ("path", "packaged", "resize", "size"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's arguments."""
    parser.add_argument("--params", required=True, type=json.loads, help="the dataset's parameters, as JSON")
    parser.add_argument("--raw", required=True, type=Path, help="folder of downloaded archives")
    parser.add_argument("--name", required=True, help="name of the dataset")
    parser.add_argument("--out", required=True, type=Path, help="the file to write, data/<name>.h5")


def run(args: argparse.Namespace) -> None:
    """Prepare the dataset described by `args.params` and write it to `args.out`."""
    from lrp_dynamics.datasets import prepared

    kind = args.params.get("kind")
    if kind not in REQUIRED:
        raise UserError(f"dataset {args.name!r}: kind is {kind!r}; expected one of {', '.join(REQUIRED)}")
    missing = [key for key in REQUIRED[kind] if key not in args.params]
    if missing:
        raise UserError(f"dataset {args.name!r} of kind {kind}: the parameter {missing[0]!r} is missing")
    # By its name, so that a dataset depends on the code of its own kind alone: see workflow/rules/prepare.smk.
    dataset = import_module(f"lrp_dynamics.datasets.{kind}").prepare(args.name, args.params, args.raw)
    prepared.write(args.out, dataset)
    train = int((dataset.split == prepared.TRAIN).sum())
    size = "×".join(map(str, dataset.images.shape[1:]))
    print(f"{args.out}: {dataset.title}, {train} training and {len(dataset.split) - train} test images of {size}")
