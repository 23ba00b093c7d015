"""What a machine lacks for the set-up is told before anything is made, in any folder."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from .conftest import ROOT

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
import check_machine

make = pytest.mark.skipif(not shutil.which("make"), reason="no make here")


@pytest.fixture
def folder(tmp_path):
    """A folder with a space and a letter beyond ASCII in its path, and what the set-up needs of the project."""
    folder = tmp_path / "größter ordner"
    (folder / "workflow/scripts").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "workflow/scripts/check_machine.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def run(folder, *arguments, **environment):
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@make
def test_a_python_that_is_not_there_is_named(folder):
    status, said = run(folder, "setup", "PYTHON=python3.99")
    assert status != 0
    assert "make: there is no python3.99; install Python 3.11, 3.12 or 3.13, or say which" in said
    assert not (folder / ".venv").exists()


@make
def test_a_missing_git_is_told_before_anything_is_made(folder, tmp_path):
    """With nothing on the PATH but the shell's own needs."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh"):
        (tools / name).symlink_to(shutil.which(name))
    status, said = run(folder, "setup", f"PYTHON={sys.executable}", PATH=str(tools))
    assert status != 0
    assert "make: git is missing; install it" in said
    assert not (folder / ".venv").exists()


@make
def test_the_set_up_works_in_such_a_folder(folder):
    """The environment is made where it belongs; pip, which would load gigabytes, is asked for its version instead."""
    status, said = run(
        folder, ".venv/bin/.workflow", f"PYTHON={sys.executable}", "PIP=.venv/bin/python -m pip --version #"
    )
    assert status == 0, said
    assert str(folder / ".venv") in said


def test_what_is_too_old_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(check_machine, "OLDEST", (4, 0))
    [problem] = check_machine.python_problems()
    assert "is too old, 3.11 to 3.13 are tested: make PYTHON=python3.13 setup" in problem


def test_what_needs_a_compiler_is_told(monkeypatch):
    monkeypatch.setattr(check_machine, "NEWEST", (3, 10))
    assert list(check_machine.python_problems()) == [] or not check_machine.can_compile()
    monkeypatch.setenv("PATH", "")
    [problem] = check_machine.python_problems()
    assert "needs a C compiler and Python's headers" in problem


def test_a_disk_that_is_too_small_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(check_machine, "ENVIRONMENT_GB", 1e9)
    problem = next(check_machine.space_problems(tmp_path / "not" / "there"))
    assert problem.startswith(f"the disk of {tmp_path} has ")
    assert re.search(r"expected 100000000\d\.0 GB; delete something there$", problem)
