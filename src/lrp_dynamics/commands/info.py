"""Show what a recording holds, with its curves, in a screenful; also of one that is not complete.

Examples:
  lrp-dynamics info relevance.h5
  lrp-dynamics info relevance.h5 --all
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")
    parser.add_argument("--all", action="store_true", help="and every attribute of the file, as it stands there")


def run(arguments: argparse.Namespace) -> None:
    """Print what the recording holds."""
    from shlex import quote

    from lrp_dynamics.base.names import shown
    from lrp_dynamics.recording.store import open_relevance
    from lrp_dynamics.reports.terminal import letters, overview

    with open_relevance(arguments.file) as recording:
        print(*overview(recording, letters()), sep="\n")
        if recording.steps and not (recording.complete or recording.writer):
            print(f"`lrp-dynamics recover {quote(arguments.file)}` cuts it to its whole steps")
        if arguments.all:
            print()
            for name, value in sorted(recording.attrs.items()):
                print(f"  {name:<18} {shown(str(value))}")
