"""Export a recording as one NumPy .npz file."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")
    parser.add_argument("--npz", type=Path, required=True, help="the file to be made")
    parser.add_argument("--every", type=int, default=1, help="take each n-th step of the maps (default: all)")


def run(arguments: argparse.Namespace) -> None:
    """Write maps, scalars, steps, samples and accumulators under the names that they have in the file."""
    import numpy as np

    from lrp_dynamics.files import atomic
    from lrp_dynamics.store import ACCUMULATORS, SAMPLE_FIELDS, SCALARS, STEPS, open_relevance

    with open_relevance(arguments.file) as recording, atomic(arguments.npz) as temporary:
        arrays = {f"steps/{name}": recording.step(name) for name in STEPS}
        arrays |= {f"scalars/{name}": recording.scalar(name) for name in (*SCALARS, "predicted")}
        arrays |= {f"accum/{name}": recording.accumulated(name) for name in ACCUMULATORS}
        arrays |= {f"samples/{name}": recording.sample(name) for name in (*SAMPLE_FIELDS, "image")}
        arrays["relevance"] = recording.maps(slice(None, None, arguments.every))
        np.savez_compressed(temporary, **arrays)
    print(f"{arguments.npz}: {', '.join(arrays)}")
