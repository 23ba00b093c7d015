"""Make an interrupted recording readable: cut it to the steps that are whole."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")


def run(arguments: argparse.Namespace) -> None:
    """Recover the file in place."""
    from lrp_dynamics.recovery import recover

    print(f"{arguments.file}: {recover(arguments.file)} whole steps kept; the file stays marked as not complete")
