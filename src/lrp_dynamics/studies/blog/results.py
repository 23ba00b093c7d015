"""What the figures are drawn from: the result files of one seed, read once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.parameters import parse
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.recording.dynamics_file import ORIGIN, check_table, open_dynamics
from lrp_dynamics.recording.figures.run import Run
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.reports.parameters import AlongTraining


@contextmanager
def open_results(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Iterator[Run]:
    """Open the result files of one seed.

    Parameters
    ----------
    inputs : mapping of str to Path
        Of one seed "relevance" (relevance.h5), "dynamics" (dynamics.h5), "samples" and "training" (tables); of all
        seeds "outliers" (table).
    params : mapping
        "samples" and "snapshots": how many samples and moments the figures show.

    Raises
    ------
    UserError
        If a file is not what its name says, or is of another run than the recording.
    """
    chosen = parse(AlongTraining, params, "figures")
    relevance, dynamics, samples, outliers, training = (
        inputs[name] for name in ("relevance", "dynamics", "samples", "outliers", "training")
    )
    with open_relevance(relevance) as recording, open_dynamics(dynamics) as file:
        if not recording.map_samples:
            raise UserError(f"{relevance}: no maps are stored, but figures show some; set recording.maps to 1 or more.")
        for name in ("steps", *ORIGIN):
            found = recording.steps if name == "steps" else recording.attrs[name]
            if file.attrs[name] != found:
                raise UserError(
                    f"{relevance} and {dynamics} are not of the same run: {name} is {found} and {file.attrs[name]}; "
                    "give the files of one run"
                )
        maps = [file[name][()] for name in ("dynamics", "dynamics_normalized", "mean_abs_relevance")]
        if not np.array_equal(maps[0], recording.accumulated("dynamics")):
            raise UserError(
                f"{relevance} and {dynamics} are not of the same run: found {recording.samples} and {len(maps[0])} "
                "samples, or others; give the files of one run"
            )
        table = read_csv(samples, require=("index", "split", "label", "divergence", "correct"))
        check_table(file, table["divergence"], samples)
        columns = ("seed", "index", "split", "divergence", "flagged", "threshold")
        every_seed = read_csv(outliers, require=columns, texts=("kind",))
        seed = int(recording.attrs["seed"])
        mine = {name: column[every_seed["seed"] == seed] for name, column in every_seed.items()}
        if sorted(mine["index"]) != sorted(table["index"]) or sorted(mine["divergence"]) != sorted(table["divergence"]):
            raise UserError(
                f"{outliers} and {samples} are not of the same run: of seed {seed}, found {len(mine['index'])} samples "
                f"in the former and {len(table['index'])} in the latter, or others; give the files of one run"
            )
        log = read_csv(training, require=("iteration", "loss", "accuracy"))
        last, every = int(recording.step("iteration")[-1]), int(recording.attrs["every"])
        trained = len(log["iteration"]) and log["iteration"][-1]
        if not last <= trained < last + every:
            raise UserError(
                f"{training} and {relevance} are not of the same run: the training ends at step {trained}, "
                f"the recording of each {every}. step at {last}; give the files of one run"
            )
        yield Run(
            recording,
            *maps,
            samples=table,
            outliers=mine,
            training=log,
            show=chosen.samples,
            snapshots=chosen.snapshots,
        )
