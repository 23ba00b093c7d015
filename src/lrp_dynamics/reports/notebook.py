"""Run a notebook kept as a Python file, and write it so that the same inputs give the same bytes.

Tags of its cells say what becomes of them:

parameters
    The one cell whose variables are replaced by the values given.
notebook-only
    Run and written, but left out of the page: code and its results for whoever opens the notebook.
skip-execution
    Written, but not run here: for the reader to run, as it takes longer or needs more files. Jupyter runs it like any.
"""

import ast
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from html import unescape
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic
from lrp_dynamics.base.imports import without
from lrp_dynamics.reports.page import framed

# The grammars of formats that no notebook has, and Jupyter's web server.
with without("rfc3987_syntax", "jupytext.sync_contentsmanager", "jupytext.async_contentsmanager"):
    import jupytext
    import nbformat
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbconvert import HTMLExporter


_LONGEST = 80  # bytes of the folder for temporary files: the path of a socket in it must stay below 104 on macOS


class _ThisPython(AsyncKernelManager):
    """Starts the running Python as kernel, whatever kernels are or are not installed on the machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def execute(source: Traversable, parameters: Mapping[str, Any], folder: str | Path = ".") -> nbformat.NotebookNode:
    """Run a notebook in a folder, as Jupyter does with the one that lies there.

    Parameters
    ----------
    source : path or traversable
        A Python file in jupytext's percent format, with one cell tagged "parameters".
    parameters : mapping
        Values of the variables that this cell sets; it is replaced by their assignments. Paths among them are relative
        to the folder.
    folder : path
        Where the notebook runs.

    Returns
    -------
    NotebookNode
        With outputs, fixed cell ids, and neither times nor versions.

    Raises
    ------
    UserError
        If the file has no cell tagged "parameters", if a dictionary that this cell sets has other keys than the one
        given, or if the notebook finds a file missing or wrong.
    nbclient.exceptions.CellExecutionError
        If a cell fails for another reason.
    """
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    targets = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(targets) != 1:
        raise UserError(
            f"{source}: found {len(targets)} cells tagged 'parameters', expected one: # %% tags=[\"parameters\"]"
        )
    _check_names(source, targets[0].source, parameters)
    targets[0].source = "\n".join(f"{name} = {_written(value)}" for name, value in parameters.items())
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03}"
    root = "/tmp" if len(os.fsencode(tempfile.gettempdir())) > _LONGEST else None
    with tempfile.TemporaryDirectory(dir=root) as temporary:
        limits = {"timeout": 3600, "startup_timeout": 3600}  # seconds; for cells that hang, not for slow machines
        place = {"metadata": {"path": str(folder)}}
        client = NotebookClient(
            notebook, kernel_manager_class=_ThisPython, record_timing=False, resources=place, **limits
        )
        kernel = client.create_kernel_manager()
        kernel.transport, kernel.ip = "ipc", str(Path(temporary) / "ipc")  # no port that another job could take
        kernel.connection_file = str(Path(temporary) / "kernel.json")
        # The user's own IPython profile must not change a report.
        own = {"IPYTHONDIR": temporary, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        # Figures of matplotlib's own look appear in the notebook, whatever the user's settings are.
        own |= {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": f"{temporary}/matplotlibrc"}
        Path(own["MATPLOTLIBRC"]).touch()
        if "PYTHONPATH" in os.environ:  # its entries may be relative to the folder of this process
            own["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, os.environ["PYTHONPATH"].split(os.pathsep)))
        try:
            client.execute(env=os.environ | own)
        except CellExecutionError as error:
            if error.ename in ("UserError", "FileNotFoundError"):
                raise UserError(f"{source}: {error.evalue}") from None
            raise
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    return notebook


def _check_names(source: Traversable, cell: str, parameters: Mapping[str, Any]) -> None:
    """Compare the keys of dictionaries among the parameters with those of the dictionaries they take the place of."""
    for node in ast.parse(cell).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            name = node.targets[0].id
            known, given = list(ast.literal_eval(node.value)), parameters.get(name, {})
            for keys, problem in (
                ([key for key in known if key not in given], "is missing"),
                ([key for key in given if key not in known], "is not known to the notebook"),
            ):
                if keys:
                    raise UserError(f"{source}: {keys[0]!r} {problem}; its {name} are {', '.join(known) or 'none'}")


def _written(value: Any) -> str:
    """Return a value as Python, a dictionary with one line a key, for people to read and change."""
    if not isinstance(value, Mapping) or not value:
        return repr(value)
    return "{\n" + "".join(f"    {key!r}: {item!r},\n" for key, item in value.items()) + "}"


def page(notebook: nbformat.NotebookNode, *, footer: str = "", links: Mapping[str, str] | None = None) -> str:
    """Return text and outputs of an executed notebook, without its code, as one HTML page that loads nothing else.

    Parameters
    ----------
    notebook : NotebookNode
        What `execute` returned. Cells tagged "notebook-only" are left out.
    footer : str
        HTML for the end of the page.
    links : mapping of str to str, optional
        Addresses, relative to the page, and texts of related pages.
    """
    cells = [cell for cell in notebook.cells if "notebook-only" not in cell.metadata.get("tags", [])]
    shown = nbformat.from_dict(notebook | {"cells": cells})
    body, _ = HTMLExporter(template_name="basic", exclude_input=True, exclude_anchor_links=True).from_notebook_node(
        shown
    )
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.DOTALL)
    title = unescape(re.sub(r"<[^>]+>", "", heading.group(1))) if heading else "Report"
    return framed(title, body, footer=footer, links=links)


def write(
    notebook: nbformat.NotebookNode,
    ipynb: Path,
    html: Path,
    *,
    footer: str = "",
    links: Mapping[str, str] | None = None,
) -> None:
    """Write an executed notebook as .ipynb and as a page, which `page` describes."""
    with atomic(ipynb) as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    with atomic(html) as temporary:
        temporary.write_text(page(notebook, footer=footer, links=links), encoding="utf-8")
