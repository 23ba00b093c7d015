"""Write a recording in the formats of other software.

Files are replaced; folders must not exist before. A folder or file comes whole or not at all.
Several may be asked for at once:

  lrp-dynamics export relevance.h5 --npz maps.npz --table samples.parquet
  lrp-dynamics export relevance.h5 --tensorboard logs --every 10    # then: tensorboard --logdir logs
"""

import argparse
from pathlib import Path

from lrp_dynamics.base.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")
    parser.add_argument("--npz", type=Path, help="all of it, maps, curves and sums, as one NumPy file")
    parser.add_argument("--zarr", type=Path, help="all of it, as one Zarr group, a folder (needs zarr)")
    parser.add_argument("--tensorboard", type=Path, help="maps and curves, in a folder of logs (needs tensorboard)")
    parser.add_argument("--virelay", type=Path, help="maps of one step and their embedding, a ViRelAy project's folder")
    parser.add_argument(
        "--table", type=Path, help="a row a sample, .csv or .parquet (needs pyarrow), as for cleanlab or FiftyOne"
    )
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        help="take each n-th recorded step of the maps, from the first on; curves are of all steps, and the array "
        "relevance_iteration tells which iterations the maps are of (default: all)",
    )
    parser.add_argument("--step", type=int, default=-1, help="for --virelay: the recorded step (default: the last)")


def run(arguments: argparse.Namespace) -> None:
    """Write what is asked for."""
    from lrp_dynamics.base.files import check_new_folder, check_output
    from lrp_dynamics.recording import exports, virelay
    from lrp_dynamics.recording.store import open_relevance

    kinds = ("npz", "zarr", "tensorboard", "virelay", "table")
    asked = {kind: path for kind in kinds if (path := getattr(arguments, kind)) is not None}
    if not asked:
        raise UserError(f"export: say what to write: {', '.join('--' + kind for kind in kinds)}")
    if arguments.every < 1:
        raise UserError(f"export: --every is {arguments.every}; expected 1 or more")
    for kind, path in asked.items():
        (check_output if kind in ("npz", "table") else check_new_folder)(path)
    with open_relevance(arguments.file) as recording:
        if not -recording.steps <= arguments.step < recording.steps:
            raise UserError(f"export: --step is {arguments.step}; expected one of the {recording.steps} steps")
        for kind, path in asked.items():
            if kind == "virelay":
                virelay.to_virelay(recording, path, arguments.step)
            elif kind == "table":
                write_table(recording, path)
            else:
                getattr(exports, f"to_{kind}")(recording, path, arguments.every)
            print(path)


def write_table(recording, path: Path) -> None:
    """Write what is known of each sample, with its name in the recording's dataset, as CSV or Parquet."""
    from lrp_dynamics.base.files import atomic
    from lrp_dynamics.base.imports import needed
    from lrp_dynamics.base.tables import write_csv
    from lrp_dynamics.measures import dynamics
    from lrp_dynamics.measures.samples import sample_table

    if path.suffix not in (".csv", ".parquet"):
        raise UserError(f"{path}: found {path.suffix or 'no suffix'}, expected a table .csv or .parquet")
    if recording.steps < 2:
        raise UserError(f"{recording.path}: a table needs at least two recorded steps, found {recording.steps}")
    again = dynamics.recompute(*recording.quantized()) if recording.map_samples else None
    sums = (recording.accumulated(name) for name in ("dynamics", "dynamics_normalized"))
    table = sample_table(recording, *sums, again)
    if path.suffix == ".csv":
        write_csv(path, table)
        return
    pyarrow = needed("pyarrow", "to write Parquet files")
    parquet = needed("pyarrow.parquet", "to write Parquet files")
    with atomic(path) as temporary:
        parquet.write_table(pyarrow.table(dict(table)), temporary)
