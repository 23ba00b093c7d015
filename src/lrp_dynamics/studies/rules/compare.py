"""Compare several explanations that were recorded side by side during the same trainings."""

import argparse
import json
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
    import numpy as np

    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.base.files import write_json
    from lrp_dynamics.base.tables import write_csv
    from lrp_dynamics.measures.advice import mean_rank, ranks
    from lrp_dynamics.recording.store import open_relevance
    from lrp_dynamics.studies.rules.comparison import agreement_table, comparison_table, measure

    params = normal(Outliers, args.params, "outliers")
    measured, seen = [], None
    for path in args.recordings:
        with open_relevance(path) as recording:
            shared = (recording.attrs["dataset_sha256"], recording.steps, recording.sample("index").tolist())
            if not recording.complete or shared != (seen or shared):
                raise UserError(
                    f"{path}: is not complete, or not of the same samples and steps as {args.recordings[0]}"
                )
            seen = shared
            measured.append(measure(recording, params))
    comparison = comparison_table(measured)
    comparison |= {f"rank_{name}": values for name, values in ranks(comparison).items()}
    comparison["mean_rank"] = mean_rank(comparison)
    write_csv(args.out / "comparison.csv", comparison)
    write_csv(args.out / "agreement.csv", agreement_table(measured))
    for name in ("samples", "curves"):
        parts = [
            {"explanation": np.repeat(m.name, len(table)), "seed": np.repeat(m.seed, len(table))} | getattr(m, name)
            for m in measured
            for table in [next(iter(getattr(m, name).values()))]
        ]
        write_csv(args.out / f"{name}.csv", {key: np.concatenate([part[key] for part in parts]) for key in parts[0]})
    trainings = [json.loads(path.read_text(encoding="utf-8")) for path in args.training]
    metrics = {
        f"{name}_{key}": float(values[row])
        for row, name in enumerate(comparison["explanation"])
        for key, values in comparison.items()
        if key not in ("explanation", "seeds", "samples") and np.isfinite(float(values[row]))
    }
    metrics |= {"seeds": len(trainings), "samples": int(comparison["samples"][0]), "recorded_steps": seen[1]}
    for key in ("train_accuracy", "test_accuracy"):
        if all(entry.get(key) is not None for entry in trainings):
            metrics[key] = float(np.mean([entry[key] for entry in trainings]))
    write_json(args.out / "metrics.json", metrics)
