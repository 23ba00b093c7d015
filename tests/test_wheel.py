"""The installed package holds all that figures, reports and the explorer are made of, not its modules alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from workflow.conftest import copy_of_project

ROOT = Path(__file__).parents[1]
STUDIES = sorted(path.parent.name for path in (ROOT / "src/lrp_dynamics/studies").glob("*/study.py"))
# Run from another folder: what the installed package finds of each study.
FOUND = """
import sys
import lrp_dynamics
from lrp_dynamics.reports.material import material

print(lrp_dynamics.__file__)
for study in sys.argv[1:]:
    assert '# %% tags=["parameters"]' in material(study, "notebook.py").read_text(encoding="utf-8"), study
    assert material(study, "captions/report.rst").read_text(encoding="utf-8"), study
"""


def pip(*arguments: object, **options: object) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        *map(str, arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package, built from a copy of the project."""
    folder = tmp_path_factory.mktemp("wheel")
    project = copy_of_project(folder / "project")
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, project.root)
    return next(folder.glob("*.whl"))


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as opened:
        packed = {name.removeprefix("lrp_dynamics/") for name in opened.namelist()}
    folder = ROOT / "src/lrp_dynamics"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*[!~]") if path.is_file()}
    files = {name for name in files if not name.endswith(".pyc")}
    material = {f"studies/{study}/{name}" for study in STUDIES for name in ("notebook.py", "captions/report.rst")}
    assert material | {"reports/explorer/page/explorer.html"} <= files
    assert files - packed == set()


@pytest.mark.long
def test_an_installed_package_opens_captions_and_notebooks_from_any_folder(wheel, tmp_path):
    installed, elsewhere = tmp_path / "site packages", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip("install", "--no-deps", "--no-index", "--target", installed, wheel)
    run = {"cwd": elsewhere, "env": os.environ | {"PYTHONPATH": str(installed)}, "capture_output": True, "text": True}
    found = subprocess.run([sys.executable, "-c", FOUND, *STUDIES], **run)
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()).is_relative_to(installed)
    # The command has read the study's notebook, and knows what that needs.
    words = ["report", "blog", "--inputs", "figures=.", "--ipynb", "report.ipynb", "--html", "report.html"]
    asked = subprocess.run([sys.executable, "-m", "lrp_dynamics.commands.cli", *words], **run)
    assert asked.returncode == 2
    assert (
        "'metrics' is missing; its inputs are metrics, outliers, dynamics, samples, relevance, figures" in asked.stderr
    )
    assert list(elsewhere.iterdir()) == []
