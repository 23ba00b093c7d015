"""Explain what a trained network sees in images.

For each image, --out gets NAME-heatmap.png and NAME-overlay.png; with several composites, one of each and all side by
side in NAME-grid.png; with --layers, NAME-layers.png. predictions.csv holds the five best classes of each image, and
contact.png shows all images.

Examples:
  lrp-dynamics explain cat.jpg --model vgg16 --out explained
  lrp-dynamics explain photos/ --model resnet50 --composite epsilon_plus z_plus lrp0 --out explained
  lrp-dynamics explain photos/ --model timm:convnext_tiny --layers all --device cuda --out explained
  lrp-dynamics explain photos/ --model resnet18 --weights checkpoint.pt --classes names.txt --out explained
  lrp-dynamics explain photos/ --model nets/small.py:net --weights results/mine/seed-0/model.safetensors --out explained
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data.parameters import MAX_PIXELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGE|FOLDER",
        help="image files, of any format Pillow reads, and folders of such, however deep",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME|FILE",
        help="any classification network of torchvision (vgg16, resnet50, vit_b_16, ...) or of this package (blog_cnn, "
        "...); timm:NAME; your own as path/net.py:my_net or my_package.my_net; or a model.safetensors of the pipeline",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="state_dict of a named model, .safetensors or of torch.save, alone or in a checkpoint, but no whole "
        "pickled network; default: the weights that torchvision or timm publishes",
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of the classes: text with a name a line, or JSON"
    )
    parser.add_argument(
        "--composite",
        nargs="+",
        default=["epsilon_gamma_box"],
        metavar="NAME",
        help="relevance rules, one or several side by side (default: epsilon_gamma_box); images stand before it",
    )
    parser.add_argument(
        "--target", default="predicted", metavar="CLASS", help="name or number of a class, predicted, or runner-up"
    )
    parser.add_argument(
        "--layers", nargs="+", default=[], metavar="LAYER", help="show what arrived at these layers, too; all: at each"
    )
    parser.add_argument("--size", type=int, metavar="PIXELS", help="height and width that the network sees")
    parser.add_argument(
        "--range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="what black and white become for the network"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N, mps or auto (default: %(default)s)")
    parser.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, help="leave out larger images (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the results")


def run(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    import torch

    from lrp_dynamics.base.files import check_folder
    from lrp_dynamics.models.class_names import read_classes
    from lrp_dynamics.models.description import LONGEST
    from lrp_dynamics.models.trained import load
    from lrp_dynamics.reports.explaining import Task, explain_files

    if args.size is not None and not 1 <= args.size <= LONGEST:
        raise UserError(f"--size: found {args.size}, expected 1 to {LONGEST} pixels")
    if args.range is not None and not args.range[0] < args.range[1]:
        raise UserError(f"--range: found {args.range[0]:g} {args.range[1]:g}, expected LOW to be less than HIGH")
    check_folder(args.out)
    device, network = device_of(args.device), load(args.model, args.weights)
    about = network.about
    assumed = {option: words for option, words in network.assumed.items() if getattr(args, option) is None}
    if assumed:
        options = " and ".join(f"--{option}" for option in assumed)
        print(
            f"lrp-dynamics: {args.weights} does not say what its network was shown; assumed: "
            f"{', '.join(assumed.values())}; give {options} if it was otherwise",
            file=sys.stderr,
        )
    if args.classes:
        about = replace(about, classes=tuple(read_classes(args.classes, len(about.classes))))
    if args.size:
        about = replace(about, shape=(about.shape[0], args.size, args.size), resize=None)
    if args.range:
        about = replace(about, low=args.range[0], high=args.range[1])
    network = replace(network, about=about)
    network.model.to(device)
    composites = list(dict.fromkeys(args.composite))
    try:
        explain_files(args.images, network, Task(composites, args.target, args.layers, args.max_pixels), args.out)
    except torch.OutOfMemoryError as error:
        raise UserError(f"--device: the memory of {device} does not suffice; use cpu ({error})") from None


def device_of(name: str):
    """Return the device of that name.

    Raises
    ------
    UserError
        If there is none here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # of many kinds, for a name that torch does not know or a device that is not there
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"--device: found {name!r}, which torch has not here; use cpu, cuda, cuda:N, mps or auto ({reason})"
        ) from None
    return device
