"""What is measured on a recording: its Dynamics, checked against the stored maps, and one row per sample."""

from dataclasses import dataclass

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.measures import dynamics as dyn
from lrp_dynamics.measures.samples import sample_table
from lrp_dynamics.recording.store import RelevanceFile, sum_of_maps


@dataclass(frozen=True)
class Measured:
    """Measurements of one recording.

    Attributes
    ----------
    dynamics, dynamics_normalized : ndarray f8 (N, *shape)
    checks : dict of str to float
        The largest relative differences that the checks found.
    samples : dict of str to ndarray (N,)
        See `lrp_dynamics.measures.samples.sample_table`.
    """

    dynamics: np.ndarray
    dynamics_normalized: np.ndarray
    checks: dict[str, float]
    samples: dict[str, np.ndarray]


def measure(recording: RelevanceFile, name: str) -> Measured:
    """Take the Dynamics accumulated while training, and check them; `name` is the recording's, for messages.

    Raises
    ------
    UserError
        If there are fewer than two steps, or the checks fail: see `lrp_dynamics.measures.dynamics`.
    """
    if recording.steps < 2:
        raise UserError(f"{name}: Dynamics need at least two recorded steps, found {recording.steps}.")
    changes, normalized = (recording.accumulated(name) for name in ("dynamics", "dynamics_normalized"))
    steps = recording.scalar("step_divergence")
    checks = {"step_sum_difference": dyn.check_step_sum(sum_of_maps(changes), steps, name)}
    again = None
    if stored := recording.map_samples:
        again = dyn.recompute(*recording.quantized())
        checks["recomputation_difference"] = dyn.check_recomputed(changes[:stored], again.dynamics, again.bound, name)
        checks["recomputation_difference_normalized"] = dyn.check_recomputed(
            normalized[:stored], again.dynamics_normalized, again.bound_normalized, name
        )
    return Measured(changes, normalized, checks, sample_table(recording, changes, normalized, again))
