"""Get a network's published weights, checked, as one file that says what it is."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lrp_dynamics.base.parameters import json_object, normal
from lrp_dynamics.studies.vgg16.parameters import Weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument(
        "--params", required=True, type=json_object, help="JSON: network, urls, sha256, bytes, trained_on"
    )
    parser.add_argument("--raw", required=True, type=Path, help="folder of downloaded files")
    parser.add_argument("--out", required=True, type=Path, help="model.safetensors to write")


def run(args: argparse.Namespace) -> None:
    """Get the weights that the parameters name."""
    get_weights(**normal(Weights, args.params, "weights"), raw=args.raw, out=args.out)


def get_weights(
    network: str, trained_on: str, urls: Sequence[str], sha256: str, bytes: int | None = None, *, raw: Path, out: Path
) -> None:
    """Download weights, or find them where they were put by hand, and write them with their description.

    Parameters
    ----------
    network, trained_on, urls, sha256, bytes
        As `Weights` declares them; `network` is any that `lrp_dynamics.models.trained.load` knows.
    raw : Path
        Folder of downloaded files.
    out : Path
        The model.safetensors to write.

    Raises
    ------
    UserError
        If the file cannot be had, or does not hold the weights of this network.
    """
    from safetensors.torch import save

    from lrp_dynamics.base.files import atomic
    from lrp_dynamics.data.archives import check_zip
    from lrp_dynamics.data.download import Remote, fetch, filename
    from lrp_dynamics.models.trained import load

    file = fetch(Remote(filename(urls[0]), urls, sha256, bytes), raw)
    check_zip(file)
    found = load(network, file, trained_on)
    weights = {name: value.contiguous() for name, value in found.model.state_dict().items()}
    with atomic(out) as temporary:
        temporary.write_bytes(save(weights, found.about.as_metadata()))  # tells of a full disk as the system does
    print(f"{out}: {found.about.model}, {sum(value.numel() for value in weights.values()):,} numbers")
