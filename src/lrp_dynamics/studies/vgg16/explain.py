"""Explain a trained VGG-16 on images, layer by layer, and measure the explanations."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal
from lrp_dynamics.studies.vgg16.parameters import Explanations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--model", type=Path, required=True, help="weights that say what they are, model.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset, data/NAME.h5")
    parser.add_argument(
        "--training", type=Path, nargs="*", default=[], help="training.json, where the network was fitted here"
    )
    parser.add_argument("--params", type=json_object, required=True, help="JSON, see explaining.study")
    parser.add_argument("--maps", type=Path, required=True, help="maps and curves to write, explanations.h5")
    parser.add_argument("--predictions", type=Path, required=True, help="table to write, predictions.csv")
    parser.add_argument("--measures", type=Path, required=True, help="table to write, measures.csv")
    parser.add_argument("--metrics", type=Path, required=True, help="numbers to write, metrics.json")


def run(args: argparse.Namespace) -> None:
    """Run the stage."""
    from lrp_dynamics.base.files import read_json, write_json
    from lrp_dynamics.base.tables import write_csv
    from lrp_dynamics.data import prepared
    from lrp_dynamics.models.trained import load
    from lrp_dynamics.studies.vgg16 import writing as results
    from lrp_dynamics.studies.vgg16.explaining import study
    from lrp_dynamics.training.device import prepare_device

    training = read_json(args.training[0], "a training.json") if args.training else None
    params = normal(Explanations, args.params, "explanations")
    prepare_device({"threads": params["threads"]})
    network, data = load(str(args.model)), prepared.read(args.data)
    found = study(network, data, params)
    table = results.measures(found)
    results.write_h5(args.maps, found, network.about, data, params)
    write_csv(args.predictions, results.predictions(found, network.about))
    write_csv(args.measures, table)
    write_json(args.metrics, results.metrics(found, table, training))
