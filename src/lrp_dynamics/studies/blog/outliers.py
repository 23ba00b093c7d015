"""Flag samples of extreme divergence in each seed, and sum up the experiment in numbers."""

import argparse
import json
from pathlib import Path

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.parameters import json_object, normal
from lrp_dynamics.measures.parameters import Outliers

COLUMNS = ("index", "split", "label", "divergence", "worst_step_share", "worst_step_iteration", "min_abs_z")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage; files of several seeds are given in the same order."""
    parser.add_argument("--dynamics", nargs="+", required=True, help="dynamics.h5 of each seed")
    parser.add_argument("--samples", nargs="+", required=True, help="samples.csv of each seed")
    parser.add_argument("--training", nargs="*", default=[], help="training.json of each seed")
    parser.add_argument("--params", type=json_object, default={}, help="JSON: experiments.<name>.outliers")
    parser.add_argument("--out", required=True, help="table of all samples to write, largest z first (outliers.csv)")
    parser.add_argument("--metrics", required=True, help="numbers of the experiment to write (metrics.json)")


def run(args: argparse.Namespace) -> None:
    """Flag outliers, count the seeds that agree, and write both results."""
    from lrp_dynamics.base.files import write_json
    from lrp_dynamics.base.tables import read_csv, write_csv
    from lrp_dynamics.measures.outliers import outlier_table
    from lrp_dynamics.measures.summary import metrics

    params = normal(Outliers, args.params, "outliers")
    for name in ("samples", "training"):
        files = getattr(args, name)
        if len(files) != len(args.dynamics) and (files or name == "samples"):
            raise UserError(
                f"outliers: found {len(args.dynamics)} dynamics and {len(files)} {name} files, "
                "expected one of each per seed"
            )
    tables = [read_csv(path, require=COLUMNS) for path in args.samples]
    checks = [_attributes(*files) for files in zip(args.dynamics, tables, args.samples, strict=True)]
    _refuse_mixtures(checks, args.dynamics)
    training = [_summary(path) for path in args.training]
    outliers = outlier_table(tables, [int(attributes["seed"]) for attributes in checks], params)
    write_csv(args.out, outliers)
    write_json(args.metrics, metrics(tables, outliers, checks, training, params["numerical_share"]))


def _attributes(path: str, table: dict, table_path: str) -> dict:
    """Return the attributes of a dynamics.h5 after a look at whether the table was made with it."""
    from lrp_dynamics.recording.dynamics_file import check_table, open_dynamics

    with open_dynamics(path) as file:
        check_table(file, table["divergence"], table_path)
        return dict(file.attrs)


def _refuse_mixtures(checks: list[dict], paths: list[str]) -> None:
    """Check that the files are of one experiment, and each seed there once: twice, it would outvote the others."""
    of_seed: dict[int, str] = {}
    for attributes, path in zip(checks, paths, strict=True):
        if not str(attributes["seed"]).isdecimal():
            raise UserError(f"{path}: seed is {attributes['seed']!r}; record with a whole number as attribute `seed`")
        seed = int(attributes["seed"])
        if seed in of_seed:
            raise UserError(f"outliers: {of_seed[seed]} and {path} are both of seed {seed}; give each seed once")
        of_seed[seed] = path
        for name in ("dataset", "model", "composite", "target", "steps"):
            if attributes[name] != checks[0][name]:
                raise UserError(
                    f"outliers: {name} is {checks[0][name]!s} in {paths[0]}, but {attributes[name]!s} in {path}; "
                    "give files of one experiment"
                )


def _summary(path: str) -> dict:
    """Return what a training.json holds."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # broken JSON, or not even text
        raise UserError(f"{path}: not a JSON file ({error}); expected a training.json") from None
    numbers = ("train_accuracy", "test_accuracy", "final_loss")  # null where there is none, as without test images
    if not isinstance(found, dict) or any(name not in found or not _is_known(found[name]) for name in numbers):
        raise UserError(f"{path}: expected a training.json, with numbers for {', '.join(numbers)}")
    return found


def _is_known(value: object) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < float("inf"))
