"""Draw the figures of the VGG-16 study."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--maps", type=Path, required=True, help="explanations.h5")
    parser.add_argument("--measures", type=Path, required=True, help="measures.csv")
    parser.add_argument("--params", type=json_object, required=True, help='JSON: {"images": how many are shown}')
    parser.add_argument("--figures", nargs="+", required=True, help="names of the figures, see figures.vgg16_names")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the PNG and SVG files")


def run(args: argparse.Namespace) -> None:
    """Draw the figures."""
    import matplotlib

    from lrp_dynamics.reports.style import RC, save
    from lrp_dynamics.studies.vgg16 import figures as vgg16_measures
    from lrp_dynamics.studies.vgg16 import maps as vgg16_maps
    from lrp_dynamics.studies.vgg16.results import PhotoRun

    with PhotoRun(args.maps, args.measures, args.params["images"]) as run:
        for name in args.figures:
            short = name.removeprefix("vgg16_")
            draw = getattr(vgg16_maps, short, None) or getattr(vgg16_measures, short)
            # Settings of the user's own matplotlibrc must not change a figure.
            with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "Agg"}):
                matplotlib.rcParams.update(RC)
                save(draw(run), args.out_dir, name)
