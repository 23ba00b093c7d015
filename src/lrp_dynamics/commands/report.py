"""Run a report's notebook and write it as .ipynb and as one HTML page."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument(
        "notebook",
        metavar="STUDY",
        help="name of the study, a package of lrp_dynamics.studies; or NAME.py, a notebook in percent format",
    )
    parser.add_argument(
        "--inputs", nargs="+", required=True, metavar="NAME=PATH", help="files and folders that the notebook reads"
    )
    parser.add_argument("--params", type=json_object, default={}, help="the notebook's parameters, as JSON")
    parser.add_argument("--ipynb", type=Path, required=True, help="executed notebook to write")
    parser.add_argument("--html", type=Path, required=True, help="page to write")


def run(args: argparse.Namespace) -> None:
    """Run the notebook from the current folder and write both files."""
    import os

    from lrp_dynamics.reports.inputs import read_inputs
    from lrp_dynamics.reports.material import material
    from lrp_dynamics.reports.notebook import execute, write

    inputs = {}
    for name, given in read_inputs("report", args.inputs).items():
        # The executed notebook shows them, and must not show this machine's folders.
        paths = [os.path.relpath(path) for path in (given if isinstance(given, list) else [given])]
        inputs[name] = paths if isinstance(given, list) else paths[0]
    own = args.notebook.endswith(".py")
    source = Path(args.notebook) if own else material(args.notebook, "notebook.py")
    write(execute(source, {"inputs": inputs, "params": args.params}), args.ipynb, args.html)
