"""Every command and every program of the README runs as it stands there, in a copy of the project made small."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from lrp_dynamics import models
from lrp_dynamics.training.loop import Settings

from .conftest import BIN, ROOT, Project

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines()]
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.S)


def give_environment(project: Project) -> None:
    """Make a `.venv` that counts as set up, whose commands are those of the environment that runs the tests."""
    folder = project.path(".venv/bin")
    folder.mkdir(parents=True)
    for name in ("python", "snakemake", "dvc", "lrp-dynamics"):
        source = sys.executable if name == "python" else BIN / name
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(source))} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "activate").write_text(f'export PATH={shlex.quote(str(folder))}:"$PATH"\n', encoding="utf-8")
    for mark in (".workflow", ".test"):
        (folder / mark).touch()


@pytest.mark.long
def test_commands(project: Project) -> None:
    assert {"make demo", "make test", "make test-long", "snakemake --cores all"} <= set(COMMANDS)
    give_environment(project)
    # `make test-long` is what runs this very test: here both only collect.
    environment = {"PYTEST_ADDOPTS": "--collect-only tests/recording"}
    script = "set -eux\n" + "\n".join(COMMANDS)
    log = project.run("bash", "-c", script, **environment)
    assert "test_recorder.py" in log
    assert "valid and complete" in log
    page = project.path("report.html").read_text(encoding="utf-8")
    assert "Conservation of relevance" in page


@pytest.mark.long
def test_programs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, recording = PROGRAMS
    monkeypatch.chdir(project.root)
    names: dict = {}
    exec(reading, names)
    assert names["maps"].shape == (7, 32, 32)
    assert names["logit"].shape == (7,)
    assert names["dynamics"].shape == (8, 32, 32)

    model = models.build("blog_cnn", n_classes=10)
    optimizer = Settings().make_optimizer(model)
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4)

    def train_step(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    names = {"model": model, "images": images, "labels": labels, "batches": [(images, labels)] * 3}
    exec(recording, names | {"train_step": train_step})
    assert Path("relevance.h5").exists()


def test_paths_and_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
