"""Make an interrupted recording readable: cut it to the steps that are whole."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")
    parser.add_argument(
        "--mark-complete",
        action="store_true",
        help="call it complete up to its last whole step, on your word, so that all stages take it",
    )


def run(arguments: argparse.Namespace) -> None:
    """Recover the file in place."""
    from lrp_dynamics.recording.recovery import recover
    from lrp_dynamics.recording.store import open_relevance

    with open_relevance(arguments.file) as recording:
        if recording.complete:
            print(f"{arguments.file}: complete, {recording.steps} steps; left as it is")
            return
    steps = recover(arguments.file, mark_complete=arguments.mark_complete)
    marked = "is now marked as complete" if arguments.mark_complete else "stays marked as not complete"
    print(f"{arguments.file}: {steps} whole steps kept; the file {marked}")
