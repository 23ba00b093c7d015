"""Turn a recording into Dynamics maps and a table of its samples."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--relevance", required=True, help="recording to read (relevance.h5)")
    parser.add_argument("--out", required=True, help="Dynamics maps to write (dynamics.h5)")
    parser.add_argument("--samples", required=True, help="table of the samples to write (samples.csv)")


def run(args: argparse.Namespace) -> None:
    """Take the Dynamics accumulated while training, check them against the stored maps, and write both results."""
    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.base.tables import write_csv
    from lrp_dynamics.measures import dynamics as dyn
    from lrp_dynamics.measures.samples import sample_table
    from lrp_dynamics.recording.dynamics_file import write_dynamics
    from lrp_dynamics.recording.store import open_relevance, sum_of_maps

    with open_relevance(args.relevance, verify=True) as recording:
        if not recording.complete:
            raise UserError(
                f"{args.relevance}: the recording is not complete ({recording.steps} steps): "
                "let the training finish first, or take what is there, by `lrp-dynamics recover --mark-complete`."
            )
        if recording.steps < 2:
            raise UserError(f"{args.relevance}: Dynamics need at least two recorded steps, found {recording.steps}.")
        changes, normalized = (recording.accumulated(name) for name in ("dynamics", "dynamics_normalized"))
        checks = {
            "step_sum_difference": dyn.check_step_sum(
                sum_of_maps(changes), recording.scalar("step_divergence"), args.relevance
            )
        }
        again = None
        if stored := recording.map_samples:
            again = dyn.recompute(*recording.quantized())
            checks["recomputation_difference"] = dyn.check_recomputed(
                changes[:stored], again.dynamics, again.bound, args.relevance
            )
            checks["recomputation_difference_normalized"] = dyn.check_recomputed(
                normalized[:stored], again.dynamics_normalized, again.bound_normalized, args.relevance
            )
        table = sample_table(recording, changes, normalized, again)
        write_dynamics(args.out, recording, changes, normalized, checks)
    write_csv(args.samples, table)
