"""Make a dataset file: generate or download, verify, and write it in the one layout."""

import argparse
import sys
import warnings
from importlib import import_module
from pathlib import Path

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.parameters import SHARE, TEXT, Kind, check, json_object, list_of, whole

_SEED, _SIDE = whole(0, 2**63 - 1), whole(1)
_CHANNELS = Kind(lambda value: type(value) is int and value in (1, 3), "1 or 3")
_URLS = list_of(TEXT, "a list of addresses", least=1)
_CHECKSUMS = Kind(
    lambda value: isinstance(value, dict) and all(map(TEXT.accepts, value.values())),
    "the checksum of each file by name",
)
# Each kind is a module of `lrp_dynamics.data` with a function `prepare`, and has these parameters and a title.
PARAMETERS = {
    "shapes10": {
        "n_train": whole(1),
        "n_test": whole(0),
        "preset": TEXT,
        "seed": _SEED,
        "labels": TEXT,
        "label_noise": SHARE,
        "noise": TEXT,
        "bg_corr": SHARE,
        "patch": SHARE,
    },
    "cifar10": {"urls": _URLS, "sha256": TEXT},
    "mnist": {"urls": _URLS, "sha256": _CHECKSUMS, "size": _SIDE, "channels": _CHANNELS},
    "folder": {"path": TEXT, "size": _SIDE, "test_fraction": SHARE, "seed": _SEED},
    "photos": {
        "path": TEXT,
        "packaged": list_of(TEXT, "a list of photos, each as package:path inside it"),
        "resize": _SIDE,
        "size": _SIDE,
    },
}
REQUIRED = {
    "shapes10": ("n_train", "n_test"),
    "cifar10": ("urls", "sha256"),
    "mnist": ("urls", "sha256"),
    "folder": ("path",),
    "photos": ("path", "packaged", "resize", "size", "title"),
}


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
    if not isinstance(kind, str) or kind not in PARAMETERS:
        raise UserError(f"dataset {args.name!r}: kind is {kind!r}; expected one of {', '.join(PARAMETERS)}")
    given = {name: value for name, value in args.params.items() if name != "kind"}
    kinds = {"title": TEXT} | PARAMETERS[kind]
    check(f"dataset {args.name!r} of kind {kind}", given, kinds, REQUIRED[kind])
    # By its name, so that a dataset depends on the code of its own kind alone: see workflow/rules/prepare.smk.
    module = import_module(f"lrp_dynamics.data.{kind}")
    with warnings.catch_warnings():
        # A warning is about a file of the user's, not about the line of code that met it.
        warnings.showwarning = lambda message, *_: print(f"lrp-dynamics: {message}", file=sys.stderr)
        dataset = module.prepare(args.name, args.params, args.raw)
    prepared.write(args.out, dataset)
    train = int((dataset.split == prepared.TRAIN).sum())
    size = "×".join(map(str, dataset.images.shape[1:]))
    print(f"{args.out}: {dataset.title}, {train} training and {len(dataset.split) - train} test images of {size}")
