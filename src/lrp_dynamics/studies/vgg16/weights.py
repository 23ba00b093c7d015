"""Get a network's published weights, checked, as one file that says what it is."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal
from lrp_dynamics.studies.vgg16.parameters import Weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--params", required=True, type=json_object, help="JSON: network, urls, sha256, trained_on")
    parser.add_argument("--raw", required=True, type=Path, help="folder of downloaded files")
    parser.add_argument("--out", required=True, type=Path, help="model.safetensors to write")


def run(args: argparse.Namespace) -> None:
    """Download the weights, or find them where they were put by hand, and write them with their description."""
    from safetensors.torch import save_file

    from lrp_dynamics.base.files import atomic
    from lrp_dynamics.data.download import Remote, fetch, filename
    from lrp_dynamics.models.trained import load

    params = normal(Weights, args.params, "weights")
    source = fetch(Remote(filename(params["urls"][0]), params["urls"], params["sha256"]), args.raw)
    network = load(params["network"], source, params["trained_on"])
    about = network.about
    weights = {name: value.contiguous() for name, value in network.model.state_dict().items()}
    with atomic(args.out) as temporary:
        save_file(weights, temporary, about.as_metadata())
        temporary.chmod(0o644)  # the library leaves it readable by its owner alone
    print(f"{args.out}: {about.model}, {sum(value.numel() for value in weights.values()):,} numbers")
