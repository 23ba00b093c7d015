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
    from lrp_dynamics.measures.recorded import measure
    from lrp_dynamics.recording.dynamics_file import write_dynamics
    from lrp_dynamics.recording.store import open_relevance

    with open_relevance(args.relevance, verify=True) as recording:
        if not recording.complete:
            raise UserError(
                f"{args.relevance}: the recording is not complete ({recording.steps} steps): "
                "let the training finish first, or take what is there, by `lrp-dynamics recover --mark-complete`."
            )
        found = measure(recording, args.relevance)
        write_dynamics(args.out, recording, found.dynamics, found.dynamics_normalized, found.checks)
    write_csv(args.samples, found.samples)
