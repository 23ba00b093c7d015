"""Compare several explanations that were recorded side by side during the same trainings."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal
from lrp_dynamics.measures.parameters import Outliers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--recordings", nargs="+", required=True, help="relevance.h5 of each explanation and seed")
    parser.add_argument("--training", nargs="+", type=Path, required=True, help="training.json of each seed")
    parser.add_argument("--params", type=json_object, required=True, help="JSON: parameters of outlier detection")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")


def run(args: argparse.Namespace) -> None:
    """Measure every recording, and write comparison, agreement, samples and curves (.csv) and metrics.json."""
    from lrp_dynamics.base.files import read_json, write_json
    from lrp_dynamics.base.tables import write_csv
    from lrp_dynamics.studies.rules import comparison as study

    params = normal(Outliers, args.params, "outliers")
    trainings = [read_json(path, "a training.json") for path in args.training]
    measured, steps = study.measure_all(args.recordings, params)
    comparison = study.ranked(study.comparison_table(measured))
    write_csv(args.out / "comparison.csv", comparison)
    write_csv(args.out / "agreement.csv", study.agreement_table(measured))
    for name in ("samples", "curves"):
        write_csv(args.out / f"{name}.csv", study.long_table(measured, name))
    write_json(args.out / "metrics.json", study.metrics(comparison, trainings, steps))
