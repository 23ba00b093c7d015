"""Explain what a trained network sees in images.

For each image, OUT gets NAME-heatmap.png and NAME-overlay.png; predictions.csv holds the five best classes of each.
Example: lrp-dynamics explain cat.jpg --model vgg16 --composite epsilon_gamma_box --target predicted --out explained
"""

import argparse
from pathlib import Path

from lrp_dynamics.data.parameters import MAX_PIXELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, of any format Pillow reads")
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME|FILE",
        help="vgg11, vgg13, vgg16, vgg19 (also with _bn), resnet18, resnet50, blog_cnn; or a model.safetensors of the "
        "pipeline",
    )
    parser.add_argument("--weights", type=Path, help="state_dict of a named model; default: torchvision's weights")
    parser.add_argument("--composite", default="epsilon_gamma_box", help="relevance rules (default: %(default)s)")
    parser.add_argument(
        "--target", default="predicted", metavar="CLASS", help="name or number of a class, predicted, or runner-up"
    )
    parser.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, help="leave out larger images (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")


def run(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    from lrp_dynamics.reports.explaining import explain_files

    explain_files(args.images, args.model, args.weights, args.composite, args.target, args.out, args.max_pixels)
