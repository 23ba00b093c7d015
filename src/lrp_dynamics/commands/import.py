"""Make a recording of maps that others stored, in one .npz file.

It holds `maps`, (T, N, H, W), and optionally `iterations` and `loss` (T,), `logits` (T, N, K), `images` u1
(N, C, H, W) and `labels` (N,). A .npy file is taken for the maps. Maps of three axes are signals, (T, N, L), and of
five volumes, (T, N, D, H, W); what was read is printed. Without `logits` and `labels` it is not known which output the
maps explain, and nothing is told of it. What the recording then says of its maps can be studied as any other's.
"""

import argparse
from pathlib import Path

OPTIONAL = ("iterations", "logits", "images", "labels", "loss")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", type=Path, help="the .npz file, or a .npy file of the maps alone")
    parser.add_argument("--out", type=Path, required=True, help="the recording to write, relevance.h5")
    parser.add_argument("--name", default="imported", help="what made the maps, such as its rule (default: imported)")
    parser.add_argument("--dataset", default="", help="name of the dataset")
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="names of the classes, in order")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing recording")


def run(arguments: argparse.Namespace) -> None:
    """Read the arrays and record them."""
    import zipfile

    import numpy as np

    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.recording.importing import import_maps

    what = f"a NumPy .npz file with `maps` and perhaps {', '.join(OPTIONAL)}"
    try:
        file = np.load(arguments.file, allow_pickle=False)
        if isinstance(file, np.ndarray):
            arrays = {"maps": file}
        else:
            with file:
                arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UserError(f"{arguments.file}: there is no such file; expected {what}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{arguments.file}: cannot be read ({error}); expected {what}") from None
    if "maps" not in arrays or (strange := sorted(arrays.keys() - {"maps", *OPTIONAL})):
        found = ", ".join(strange) if "maps" in arrays else f"no `maps`, but {', '.join(arrays) or 'nothing'}"
        raise UserError(f"{arguments.file}: found {found}; expected {what}")
    attributes = {"dataset": arguments.dataset, "classes": arguments.classes, "composite": arguments.name}
    maps = arrays.pop("maps")
    import_maps(arguments.out, maps, **arrays, attributes=attributes, overwrite=arguments.overwrite)
    steps, samples, *shape = maps.shape
    signals = "positions (signals, of three axes; maps of images have four, (T, N, H, W))"
    kind = {1: signals, 2: "pixels (images)", 3: "voxels (volumes)"}[len(shape)]
    print(f"{arguments.out}: {steps} steps, {samples} samples, maps of {'×'.join(map(str, shape))} {kind}")
