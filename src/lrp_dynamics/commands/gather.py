"""Join the shards of a training into what one training that records all samples would have written."""

import argparse
from pathlib import Path

from lrp_dynamics.recording.gather import gather


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="folders of all shards, in order")
    parser.add_argument("--out", type=Path, required=True, help="folder for relevance.h5, model.safetensors, ...")


def run(arguments: argparse.Namespace) -> None:
    """Run the stage."""
    gather(arguments.shards, arguments.out)
