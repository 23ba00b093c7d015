"""Run a report's notebook and write it as .ipynb and as one HTML page."""

import argparse
from pathlib import Path

from lrp_dynamics.base.parameters import json_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--notebook", type=Path, required=True, help="notebook as a Python file in percent format")
    parser.add_argument(
        "--inputs", nargs="+", required=True, metavar="NAME=PATH", help="files and folders that the notebook reads"
    )
    parser.add_argument("--params", type=json_object, default={}, help="the notebook's parameters, as JSON")
    parser.add_argument("--ipynb", type=Path, required=True, help="executed notebook to write")
    parser.add_argument("--html", type=Path, required=True, help="page to write")


def run(args: argparse.Namespace) -> None:
    """Run the notebook from the current folder and write both files."""
    import os

    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.reports.notebook import execute, write

    inputs = {}
    for text in args.inputs:
        name, found, path = text.partition("=")
        if not found or not Path(path).exists():
            raise UserError(f"report: found --inputs {text!r}, expected NAME=PATH of an existing file or folder.")
        inputs[name] = os.path.relpath(path)  # the executed notebook shows it, and must not show this machine's folders
    write(execute(args.notebook, {"inputs": inputs, "params": args.params}), args.ipynb, args.html)
