"""Read all of a recording and check that it is whole, as it was written; exit status 2 if it is not."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")


def run(arguments: argparse.Namespace) -> None:
    """Print that the file is valid, or raise with every finding."""
    from shlex import quote

    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.recording.recovery import validate
    from lrp_dynamics.recording.store import open_relevance

    problems = validate(arguments.file)
    if problems:
        if any("interrupted" in problem for problem in problems):
            problems.append(f"`lrp-dynamics recover {quote(arguments.file)}` cuts it to its whole steps")
        raise UserError(f"{arguments.file}: " + "; ".join(problems))
    with open_relevance(arguments.file) as recording:
        size, maps = recording.path.stat().st_size / 1e6, recording.steps * recording.map_samples
        known = recording.attrs["schema_version"] > 1
        print(
            f"{arguments.file}: valid and complete, {recording.steps} steps of {recording.samples} samples; read all "
            f"of its {size:.1f} MB, {maps} maps among them, "
            + ("every checksum is right" if known else "which has no checksums (schema version 1)")
        )
