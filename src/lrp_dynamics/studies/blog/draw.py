"""Draw the figures of an experiment from the results of one seed."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import check, json_object, whole

DEFAULTS = {"samples": 4, "snapshots": 8}
KINDS = {"samples": whole(1, 10), "snapshots": whole(2, 16)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    for name, text in (
        ("relevance", "recording (relevance.h5)"),
        ("dynamics", "Dynamics maps (dynamics.h5)"),
        ("samples", "table of the samples (samples.csv)"),
        ("outliers", "table of outliers of all seeds (outliers.csv)"),
        ("training", "table of the training steps (training.csv)"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    parser.add_argument("--params", type=json_object, default={}, help=f"parameters as JSON; defaults: {DEFAULTS}")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the PNG and SVG files")


def run(args: argparse.Namespace) -> None:
    """Draw all figures."""
    from lrp_dynamics.studies.blog.figures import draw_all
    from lrp_dynamics.studies.blog.results import open_run

    check("figures", args.params, KINDS)
    params = DEFAULTS | args.params
    files = (args.relevance, args.dynamics, args.samples, args.outliers, args.training)
    with open_run(*files, show=params["samples"], snapshots=params["snapshots"]) as results:
        draw_all(results, args.out_dir)
