"""Animate samples and their maps along the training, as .gif, .webp, or, by ffmpeg, .mp4.

A row for each sample: its image, its map at the step shown, on one signed scale for all frames, and its logit.

Examples:
  lrp-dynamics animate relevance.h5 --samples 0 3 17 --output maps.gif
  lrp-dynamics animate relevance.h5 --samples 0 --frames 200 --fps 20 --output map.webp
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")
    parser.add_argument(
        "--samples", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="rows of the file (default: 0 1 2)"
    )
    parser.add_argument("--frames", type=int, default=100, help="at most so many steps, evenly chosen (default: 100)")
    parser.add_argument("--fps", type=float, default=10.0, help="frames a second (default: 10)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="NAME.gif, NAME.webp or NAME.mp4")


def run(arguments: argparse.Namespace) -> None:
    """Draw and write the animation."""
    from lrp_dynamics.reports.animation import animate

    animate(arguments.file, arguments.samples, arguments.output, frames=arguments.frames, fps=arguments.fps)
