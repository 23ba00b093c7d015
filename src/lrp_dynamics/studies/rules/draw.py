"""Draw the figures of a rule comparison."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--results", type=Path, required=True, help="folder of the tables, results/NAME")
    parser.add_argument("--recordings", nargs="+", required=True, help="relevance.h5 of each explanation, one seed")
    parser.add_argument("--params", type=json_object, required=True, help="JSON: samples, snapshots")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the PNG and SVG files")


def run(args: argparse.Namespace) -> None:
    """Draw all figures."""
    from lrp_dynamics.reports.style import draw_each
    from lrp_dynamics.studies.rules import figures as rules
    from lrp_dynamics.studies.rules import maps as rules_maps
    from lrp_dynamics.studies.rules.results import open_rules
    from lrp_dynamics.studies.rules.study import RULES_FIGURES

    functions = vars(rules) | vars(rules_maps)
    shown = {"show": args.params["samples"], "snapshots": args.params["snapshots"]}
    with open_rules(args.results, args.recordings, **shown) as results:
        draw_each({name: functions[name] for name in RULES_FIGURES}, results, args.out_dir)
