"""Train once with the values of one trial of a hyper-parameter search; its weights are not kept."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal, pick
from lrp_dynamics.studies.vgg11.parameters import Search

SPACE = pick(Search, "sampler", "space", sampler_seed="seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument(
        "--params", type=json_object, required=True, help="as for train, and sampler, sampler_seed, space"
    )
    parser.add_argument("--trial", type=int, required=True, help="number of the trial, from 0")
    parser.add_argument("--out", type=Path, required=True, help="folder for training.json, training.csv, ...")
    parser.add_argument("--cache", type=Path, default=Path(".cache/train"), help="where unfinished trainings are kept")
    parser.add_argument("--tensorboard", type=Path, help="folder for a log of events: tensorboard --logdir FOLDER")


def run(arguments: argparse.Namespace) -> None:
    """Run the stage."""
    from lrp_dynamics.training import search
    from lrp_dynamics.training.run import run_training

    params = dict(arguments.params)
    space = normal(SPACE, {name: params.pop(name) for name in ("sampler", "space", "sampler_seed") if name in params})
    space["seed"] = space.pop("sampler_seed")
    values = search.values_of(space, arguments.trial)
    print(f"trial {arguments.trial}: " + ", ".join(f"{key} = {value}" for key, value in values.items()))
    options = {"cache": arguments.cache, "record": False, "events": arguments.tensorboard}
    run_training(arguments.data, search.with_values(params, values), arguments.out, **options)
    (arguments.out / "model.safetensors").unlink()
