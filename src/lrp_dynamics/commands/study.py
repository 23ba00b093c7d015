"""Measure and draw recordings of your own training, and tell what is found on a page.

Example: lrp-dynamics study relevance.h5 --out study
Several recordings, of other seeds, rules or runs, are compared:
         lrp-dynamics study z_plus=a/relevance.h5 epsilon=b/relevance.h5 --out study
OUT/index.html is the page; figures, tables and numbers lie beside it.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("recordings", nargs="+", metavar="[NAME=]RELEVANCE.h5", help="recordings, finished or not")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for the results; files of the same names are replaced, others stay",
    )
    parser.add_argument("--title", help="what the data are; default: what the recording says, or the name of its file")
    parser.add_argument(
        "--classes", metavar="NAME,NAME,...", help="names of the classes, in order; default: what the recording says"
    )
    parser.add_argument(
        "--training",
        nargs="+",
        type=Path,
        metavar="LOG.csv",
        help="training logs with columns iteration, loss and, if known, accuracy, one a recording; default: the loss "
        "that was recorded",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=4,
        help="samples in figures of single ones, 1 to 10; heatmaps choose their own (default: 4)",
    )
    parser.add_argument("--moments", type=int, default=8, help="moments in figures of heatmaps, 2 to 16 (default: 8)")


def run(args: argparse.Namespace) -> None:
    """Write the page and what belongs to it."""
    from lrp_dynamics.base.files import check_folder
    from lrp_dynamics.reports.naming import of_words
    from lrp_dynamics.reports.study import study

    check_folder(args.out)
    page = study(
        of_words(args.recordings),
        args.out,
        title=args.title,
        classes=None if args.classes is None else [name.strip() for name in args.classes.split(",")],
        training=args.training,
        samples=args.samples,
        moments=args.moments,
    )
    print(f"{page}: open it in a browser")
