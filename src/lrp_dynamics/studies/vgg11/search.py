"""Gather the trials of a hyper-parameter search in a table, best first, and draw them."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal, pick
from lrp_dynamics.studies.vgg11.parameters import Vgg11

PARAMETERS = pick(Vgg11, "search", "dataset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--name", required=True, help="of the experiment, written on the figure")
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help="training.json of each trial, in order")
    parser.add_argument("--params", type=json_object, required=True, help="JSON: search, dataset")
    parser.add_argument("--table", type=Path, required=True, help="table to write, CSV")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the figure")


def run(arguments: argparse.Namespace) -> None:
    """Run the stage."""
    from lrp_dynamics.base.style import draw_each
    from lrp_dynamics.base.tables import read_csv
    from lrp_dynamics.studies.vgg11.search_figure import draw_search
    from lrp_dynamics.training import search

    params = normal(PARAMETERS, arguments.params)
    best = search.gather(params["search"], arguments.trials, arguments.table)
    keys = list(params["search"]["space"])
    draw_each(
        {"search": lambda table: draw_search(table, keys, arguments.name, params["dataset"])},
        read_csv(arguments.table),
        arguments.out_dir,
    )
    print(
        f"best of {len(arguments.trials)} trials: trial {best['trial']}, validation accuracy "
        f"{best['validation_accuracy']:.2%}, with " + ", ".join(f"{key} = {best[key]}" for key in keys)
    )
