"""Follow a recording while it is written, until it is complete: steps, steps per second, and its curves.

A recording can be read while it is written if it was begun with `Recorder(..., live=True)`.

Examples:
  lrp-dynamics watch relevance.h5
  lrp-dynamics watch relevance.h5 --every 10
"""

import argparse

from lrp_dynamics.base.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between looks (default: 2)")


def run(arguments: argparse.Namespace) -> None:
    """Print the state of the recording, again and again."""
    from lrp_dynamics.reports.watching import watch

    if not 0.05 <= arguments.every < 1e6:
        raise UserError(f"--every: found {arguments.every:g}, expected at least 0.05 seconds")
    watch(arguments.file, arguments.every)
