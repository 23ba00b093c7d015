"""Draw the figures of a study from its result files."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("study", metavar="STUDY", help="name of the study, a package of lrp_dynamics.studies")
    parser.add_argument(
        "--inputs",
        nargs="+",
        required=True,
        metavar="NAME=PATH",
        help="result files, as open_results of the study names them; a name given several times is a list",
    )
    parser.add_argument("--params", type=json_object, default={}, help="experiments.<name>.figures, as JSON")
    parser.add_argument("--figures", nargs="+", metavar="NAME", help="which to draw; default: all of the study")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the PNG and SVG files")


def run(args: argparse.Namespace) -> None:
    """Draw the figures."""
    from importlib import import_module

    from lrp_dynamics import studies
    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.base.style import draw_each
    from lrp_dynamics.reports.inputs import read_inputs
    from lrp_dynamics.reports.material import material

    material(args.study, "figures.py")  # tells of a study that is not there
    study, results, figures = (
        import_module(f"{studies.__name__}.{args.study}.{name}") for name in ("study", "results", "figures")
    )
    names = args.figures or list(study.FIGURES)
    if unknown := [name for name in names if name not in study.FIGURES]:
        raise UserError(
            f"figures: the study {args.study} has no figure {', '.join(unknown)}; it has {', '.join(study.FIGURES)}"
        )
    with results.open_results(read_inputs("figures", args.inputs), args.params) as opened:
        draw_each({name: getattr(figures, name) for name in names}, opened, args.out_dir)
