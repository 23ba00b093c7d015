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

    made = write_explorer(args.output, named(args.recordings), title=args.title, samples=args.samples, flags=args.flags)
    print(f"{args.output}: {made['bytes'] / 1e6:.1f} MB, {made['samples']} samples")
    for name, found in made["recordings"].items():
        if found:
            print(
                f"  {name}: 95 % of the frames of every sample within {found['error_95']:.1%} (L2), the worst frame "
                f"{found['error_worst']:.1%}; change between steps {found['change_error']:.0%} (median)"
            )


def named(words: list[str]) -> dict[str, Path]:
    """Return name to path of [NAME=]PATH.

    Examples
    --------
    >>> named(["a/seed-0/relevance.h5", "a/seed-1/relevance.h5"])
    {'seed-0': PosixPath('a/seed-0/relevance.h5'), 'seed-1': PosixPath('a/seed-1/relevance.h5')}
    >>> list(named(["first=x.h5", "runs/y.h5"]))
    ['first', 'y']
    """
    from lrp_dynamics.base.errors import UserError

    found: dict[str, Path] = {}
    # A path may have an equals sign, too.
    pairs = [("", word) if Path(word).exists() or "=" not in word else word.split("=", 1) for word in words]
    own = [Path(path) for name, path in pairs if not name]
    for name, word in pairs:
        path = Path(word)
        name = name or _short(path, own)
        if name in found:
            raise UserError(f"explorer: found two recordings called {name!r}; give each a name of its own, NAME=PATH")
        found[name] = path
    return found


def _short(path: Path, others: list[Path]) -> str:
    """Return the last part of a path that the others do not have; of relevance.h5 alone, its folder."""
    parts = (*path.parent.parts, path.stem)
    for part in reversed(parts):
        if part not in ("relevance", "/", ".", "..") and all(
            other == path or part not in (*other.parent.parts, other.stem) for other in others
        ):
            return part
    return next((part for part in reversed(parts) if part != "relevance"), path.stem)
