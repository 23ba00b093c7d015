"""Make a dataset file: generate or download, verify, and write it in the one layout."""

import argparse
import sys
import warnings
from importlib import import_module
from pathlib import Path

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.parameters import as_mapping, json_object
from lrp_dynamics.data.parameters import KINDS, given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's arguments."""
    parser.add_argument("--params", required=True, type=json_object, help="the dataset's parameters, as JSON")
    parser.add_argument("--raw", required=True, type=Path, help="folder of downloaded archives")
    parser.add_argument("--name", required=True, help="name of the dataset")
    parser.add_argument("--out", required=True, type=Path, help="the file to write, data/<name>.h5")


def run(args: argparse.Namespace) -> None:
    """Prepare the dataset described by `args.params` and write it to `args.out`."""
    from lrp_dynamics.data import prepared

    kind = args.params.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"datasets.{args.name}.kind: found {kind!r}, expected one of {', '.join(KINDS)}")
    params = {"kind": kind, **as_mapping(given(kind, args.name, args.params))}
    # By its name, so that a dataset depends on the code of its own kind alone: see workflow/rules/prepare.smk.
    module = import_module(f"lrp_dynamics.data.{kind}")
    with warnings.catch_warnings():
        # A warning is about a file of the user's, not about the line of code that met it.
        warnings.showwarning = lambda message, *_: print(f"lrp-dynamics: {message}", file=sys.stderr)
        dataset = module.prepare(args.name, params, args.raw)
    prepared.write(args.out, dataset)
    train = int((dataset.split == prepared.TRAIN).sum())
    size = "×".join(map(str, dataset.images.shape[1:]))
    print(f"{args.out}: {dataset.title}, {train} training and {len(dataset.split) - train} test images of {size}")
