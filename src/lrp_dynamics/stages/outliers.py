"""Flag samples of extreme divergence in each seed, and sum up the experiment in numbers."""

import argparse
import json
from pathlib import Path

DEFAULTS = {"threshold": 3.5, "fwer": None, "numerical_share": 0.25, "min_abs_z": 1e-7}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage; files of several seeds are given in the same order."""
    parser.add_argument("--dynamics", nargs="+", required=True, help="dynamics.h5 of each seed")
    parser.add_argument("--samples", nargs="+", required=True, help="samples.csv of each seed")
    parser.add_argument("--training", nargs="*", default=[], help="training.json of each seed")
    parser.add_argument("--params", type=json.loads, default={}, help=f"parameters as JSON; defaults: {DEFAULTS}")
    parser.add_argument("--out", required=True, help="table of all samples to write, largest z first (outliers.csv)")
    parser.add_argument("--metrics", required=True, help="numbers of the experiment to write (metrics.json)")


def run(args: argparse.Namespace) -> None:
    """Flag outliers, count the seeds that agree, and write both results."""
    from lrp_dynamics.errors import UserError
    from lrp_dynamics.files import write_json
    from lrp_dynamics.summary import metrics
    from lrp_dynamics.tables import read_csv, write_csv

    if unknown := args.params.keys() - DEFAULTS.keys():
        raise UserError(f"outliers: unknown parameter {', '.join(sorted(unknown))}; known are {', '.join(DEFAULTS)}.")
    if len(args.dynamics) != len(args.samples):
        raise UserError(
            f"outliers: found {len(args.dynamics)} dynamics and {len(args.samples)} samples files, "
            "expected one of each per seed."
        )
    checks = [_attributes(path) for path in args.dynamics]
    tables = [read_csv(path, require=("index", "split", "divergence", "worst_step_share")) for path in args.samples]
    training = [json.loads(Path(path).read_text()) for path in args.training]
    outliers = outlier_table(tables, [int(check["seed"]) for check in checks], DEFAULTS | args.params)
    write_csv(args.out, outliers)
    write_json(args.metrics, metrics(tables, outliers, checks, training))


def outlier_table(tables: list[dict], seeds: list[int], params: dict) -> dict:
    """Return one row per seed and sample, each seed's rows by falling z.

    Parameters
    ----------
    tables : list of dict
        The sample table of each seed.
    params : dict
        See `DEFAULTS`: z above `threshold` is flagged, or above the cut that `fwer` asks for; for the other two see
        `lrp_dynamics.outliers.kind`.
    """
    import numpy as np

    from lrp_dynamics import outliers

    parts = []
    for table, seed in zip(tables, seeds, strict=True):
        count = len(table["divergence"])
        z = outliers.log_mad_z(table["divergence"])
        cut = outliers.cut_off(count, params["threshold"], params["fwer"])
        order = np.argsort(-z, kind="stable")
        kinds = outliers.kind(
            z > cut, table["worst_step_share"], table["min_abs_z"], params["numerical_share"], params["min_abs_z"]
        )
        columns = {
            "seed": np.full(count, seed),
            **{name: table[name] for name in ("index", "split", "label", "divergence")},
            "z": z,
            "threshold": np.full(count, cut),
            "false_positive_rate": np.full(count, outliers.false_positive_rate(cut, count)),
            "flagged": (z > cut).astype(int),
            "kind": kinds,
            **{name: table[name] for name in ("worst_step_share", "worst_step_iteration", "min_abs_z")},
        }
        parts.append({name: np.asarray(values)[order] for name, values in columns.items()})
    result = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    keys = list(zip(result["split"].tolist(), result["index"].tolist(), strict=True))
    recorded, flagged = outliers.votes(keys, result["flagged"])
    # One seed is no majority: what is seen once says nothing about the next training.
    majority = np.where(recorded > 1, (flagged * 2 > recorded).astype(float), np.nan)
    return result | {"seeds_recorded": recorded, "seeds_flagged": flagged, "majority": majority}


def _attributes(path: str) -> dict:
    import h5py

    with h5py.File(path, "r") as file:
        return dict(file.attrs)
