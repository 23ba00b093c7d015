"""Draw the figures of a VGG-11 experiment."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--results", type=Path, required=True, help="folder of the experiment, results/NAME")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument("--params", type=json_object, required=True, help='JSON: {"images": how many are shown}')
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the PNG and SVG files")


def run(arguments: argparse.Namespace) -> None:
    """Draw all figures."""
    from lrp_dynamics.reports.style import draw_each
    from lrp_dynamics.studies.vgg11 import figures as vgg11
    from lrp_dynamics.studies.vgg11.results import open_results
    from lrp_dynamics.studies.vgg11.study import VGG11_FIGURES

    with open_results(arguments.results, arguments.data, arguments.params["images"]) as results:
        draw_each({name: getattr(vgg11, name) for name in VGG11_FIGURES}, results, arguments.out_dir)
