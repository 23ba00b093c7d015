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
    """Run the notebook in its own folder and write both files."""
    from os.path import realpath, relpath

    from lrp_dynamics.reports.footer import find_provenance, made_by
    from lrp_dynamics.reports.inputs import read_inputs
    from lrp_dynamics.reports.material import material
    from lrp_dynamics.reports.notebook import execute, write

    found = read_inputs("report", args.inputs)
    own = args.notebook.endswith(".py")
    source = Path(args.notebook) if own else material(args.notebook, "notebook.py")
    folder = args.ipynb.parent
    folder.mkdir(parents=True, exist_ok=True)

    # From the notebook's folder: it runs again there, wherever the project is moved to, and shows no folder above it.
    def seen(path: Path) -> str:
        return relpath(realpath(path), realpath(folder))

    inputs = {name: list(map(seen, given)) if isinstance(given, list) else seen(given) for name, given in found.items()}
    notebook = execute(source, {"inputs": inputs, "params": args.params}, folder)
    files = [path for given in found.values() for path in (given if isinstance(given, list) else [given])]
    footer = made_by(_command(args.html), find_provenance(files))
    links = {} if own else _beside(args.notebook)
    write(
        notebook,
        args.ipynb,
        args.html,
        footer=footer,
        links=links | {relpath(args.ipynb, args.html.parent): "Notebook"},
    )


def _command(html: Path) -> str | None:
    """Return the command that makes a page of the workflow."""
    return f"snakemake --cores all {html.as_posix()}" if html.parts[0] == "reports" else None


def _beside(study: str) -> dict[str, str]:
    """Return the addresses and titles of the pages that a study makes beside its report."""
    from importlib import import_module

    from lrp_dynamics import studies

    return getattr(import_module(f"{studies.__name__}.{study}.study"), "BESIDE", {})
