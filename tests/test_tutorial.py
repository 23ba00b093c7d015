"""The tutorial is one source, a script and a notebook of the same cells, and leads to the page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "examples/tutorial/your_own_network.py"


def test_the_notebook_has_the_cells_of_the_script():
    jupytext = pytest.importorskip("jupytext")
    written = json.loads(SOURCE.with_suffix(".ipynb").read_text(encoding="utf-8"))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in written["cells"]]
    made = jupytext.read(SOURCE)
    assert cells == [(cell.cell_type, cell.source) for cell in made.cells], (
        f"run: jupytext --to ipynb {SOURCE.relative_to(Path.cwd())}"
    )
    assert all(not cell.get("outputs") for cell in written["cells"])


@pytest.mark.long
def test_the_script_leads_to_the_page(tmp_path):
    done = subprocess.run(
        [sys.executable, SOURCE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    assert "48 steps, loss" in done.stdout
    page = (tmp_path / "tutorial/page/index.html").read_text(encoding="utf-8")
    assert "All recordings are of the same 12 samples" in page
    assert (tmp_path / "tutorial/page/explorer.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["tutorial"]
