"""Export a recording as one NumPy .npz file."""

import argparse
from pathlib import Path

from lrp_dynamics.base.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")
    parser.add_argument("--npz", type=Path, required=True, help="the file to be made")
    parser.add_argument("--every", type=int, default=1, help="take each n-th step of the maps (default: all)")


def run(arguments: argparse.Namespace) -> None:
    """Write maps, scalars, steps, samples (masks and factors, too) and accumulators under their names in the file."""
    import numpy as np

    from lrp_dynamics.base.files import atomic, check_output
    from lrp_dynamics.recording.store import ACCUMULATORS, SAMPLE_FIELDS, SCALARS, STEPS, open_relevance

    if arguments.every < 1:
        raise UserError(f"export: --every is {arguments.every}; expected 1 or more")
    check_output(arguments.npz)
    with open_relevance(arguments.file) as recording:
        arrays = {f"steps/{name}": recording.step(name) for name in STEPS}
        arrays |= {f"scalars/{name}": recording.scalar(name) for name in (*SCALARS, "predicted")}
        arrays |= {f"accum/{name}": recording.accumulated(name) for name in ACCUMULATORS}
        fixed = [*SAMPLE_FIELDS, "image", *(name for name in ("mask", "target") if recording.has_sample(name))]
        names = fixed + [name for name in recording.sample_names() if name.startswith("factors/")]
        arrays |= {f"samples/{name}": recording.sample(name) for name in names}
        arrays["relevance"] = recording.maps(slice(None, None, arguments.every))
    # To a path without the suffix .npz, NumPy would add it.
    with atomic(arguments.npz) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    print(f"{arguments.npz}: {', '.join(arrays)}")
