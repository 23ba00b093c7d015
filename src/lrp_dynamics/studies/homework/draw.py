"""Draw the figures of a homework experiment from the results of one seed."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--results", type=Path, required=True, help="folder of one seed, results/NAME/seed-K")
    parser.add_argument("--published", type=Path, help="published accuracies to compare with, as JSON")
    parser.add_argument("--params", type=json_object, required=True, help="JSON: samples, published")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the PNG and SVG files")


def run(args: argparse.Namespace) -> None:
    """Draw all figures."""
    from lrp_dynamics.reports.style import draw_each
    from lrp_dynamics.studies.homework import figures as homework
    from lrp_dynamics.studies.homework import maps as homework_maps
    from lrp_dynamics.studies.homework.results import open_homework
    from lrp_dynamics.studies.homework.study import HOMEWORK_FIGURES

    published = args.published if args.params["published"] else None
    functions = vars(homework) | vars(homework_maps)
    with open_homework(args.results, published, args.params["samples"]) as results:
        draw_each({name: functions[name] for name in HOMEWORK_FIGURES}, results, args.out_dir)
