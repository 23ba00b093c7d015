"""What stages and notebooks do not need they do not import: most of a short stage's time is its start."""

import ast
import functools
import re
import subprocess
import sys

import pytest

from lrp_dynamics.reports.material import material

from .conftest import ROOT

PACKAGE = "lrp_dynamics"
STAGES = {
    # What runs in a stage, and what must stay out of it.
    "commands.dynamics measures.dynamics measures.samples": "torch matplotlib",
    "studies.blog.outliers measures.outliers measures.summary": "torch matplotlib",
    "commands.figures studies.blog.figures studies.blog.results": "torch",
    "commands.figures studies.homework.figures studies.homework.results": "torch",
    "commands.figures studies.rules.figures studies.rules.results": "torch",
    "commands.figures studies.vgg11.figures studies.vgg11.results": "torch",
    "commands.figures studies.vgg16.figures studies.vgg16.results": "torch",
    "commands.gather recording.gather": "torch scipy matplotlib",
    "commands.report reports.notebook": "torch scipy rfc3987_syntax jupyter_server",
    "commands.train training.run": "torchvision scipy matplotlib",
    "studies.homework.train studies.homework.explaining": "torchvision matplotlib",
}


def imported(code: str) -> set[str]:
    """Return the names of the modules that a program has imported, without those that come with Python's start."""
    return loaded(code) - loaded("")


@functools.cache
def loaded(code: str) -> set[str]:
    code += "\nimport sys; print(*(name for name, module in sys.modules.items() if module), sep=chr(10))"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split())


@pytest.mark.parametrize("modules", STAGES)
def test_stages(modules):
    code = "import " + ", ".join(f"{PACKAGE}.{name}" for name in modules.split())
    assert imported(code).isdisjoint(STAGES[modules].split())


@pytest.mark.parametrize("name", ["blog", "rules", "vgg16"])
def test_notebooks(name):
    cells = re.split(r"(?m)^# %%", material(name, "notebook.py").read_text(encoding="utf-8"))
    built = "\n".join(cell.partition("\n")[2] for cell in cells if "skip-execution" not in cell.partition("\n")[0])
    tree = ast.parse(built)
    code = "\n".join(ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    assert PACKAGE in code
    assert "torch" not in imported(code)
