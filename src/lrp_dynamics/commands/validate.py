"""Check that a recording is whole; exit status 2 if it is not."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")


def run(arguments: argparse.Namespace) -> None:
    """Print that the file is valid, or raise with every finding."""
    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.recording.recovery import validate
    from lrp_dynamics.recording.store import open_relevance

    problems = validate(arguments.file)
    if problems:
        raise UserError(f"{arguments.file}: " + "; ".join(problems))
    with open_relevance(arguments.file) as recording:
        print(f"{arguments.file}: valid and complete, {recording.steps} steps of {recording.samples} samples")
