"""Show what a recording holds."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("file", help="a recording, relevance.h5")


def run(arguments: argparse.Namespace) -> None:
    """Print the recording's attributes and sizes."""
    from lrp_dynamics.recording.store import open_relevance

    with open_relevance(arguments.file) as recording:
        values = f"{'×'.join(map(str, recording.shape))} {recording.unit}s"
        interrupted = f"being written by {recording.writer}" if recording.writer else "NOT complete"
        print(f"{recording.path}: {'complete' if recording.complete else interrupted}")
        print(f"  steps      {recording.steps}")
        if recording.steps:
            iteration = recording.step("iteration")
            print(f"  iterations {iteration[0]} to {iteration[-1]}")
        print(f"  samples    {recording.samples}, maps of {recording.map_samples}, {values}")
        print(f"  size       {recording.path.stat().st_size / 1e6:.1f} MB")
        for name, value in sorted(recording.attrs.items()):
            print(f"  {name:<18} {value}")
