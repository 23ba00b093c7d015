"""Make a page to scrub through recordings, step by step: one file that needs nothing else.

Several recordings, of seeds, rules or runs with the same samples, are shown side by side, in step.
Example: lrp-dynamics explorer z_plus=a/relevance.h5 epsilon=b/relevance.h5 --output explorer.html
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument(
        "recordings",
        nargs="+",
        metavar="[NAME=]RELEVANCE.h5",
        help="recordings; without a name they are called by the part of their path that tells them apart",
    )
    parser.add_argument("--output", type=Path, required=True, help="the page to write, .html")
    parser.add_argument("--title", help="default: data and network of the first recording")
    parser.add_argument("--samples", type=int, default=100, help="show at most so many (default: %(default)s)")
    parser.add_argument("--flags", type=Path, help="table of flagged samples, outliers.csv; default: z above 3.5")


def run(args: argparse.Namespace) -> None:
    """Write the page and tell what is in it."""
    from lrp_dynamics.reports.explorer import write_explorer
    from lrp_dynamics.reports.naming import of_words

    made = write_explorer(
        args.output, of_words(args.recordings), title=args.title, samples=args.samples, flags=args.flags
    )
    print(f"{args.output}: {made['bytes'] / 1e6:.1f} MB, {made['samples']} samples")
    for name, found in made["recordings"].items():
        if found:
            print(
                f"  {name}: 95 % of the frames of every sample within {found['error_95']:.1%} (L2), the worst frame "
                f"{found['error_worst']:.1%}; change between steps {found['change_error']:.0%} (median)"
            )
