"""The commands and programs of README and documentation run as they stand there, in the state that their reader is in.

That state is the one after `make demo`: the demos are made, here one of them and small, and experiments on data that
would have to be downloaded are not.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
from docs.pages import ROOT, blocks, commands, programs

from lrp_dynamics import models
from lrp_dynamics.training.loop import Settings

from .conftest import BIN, PARAMS, Project

# What would take a network or hours is planned only; the tests and the site are what runs this very test.
INSTEAD = {
    "snakemake --cores all": "snakemake --cores all --dry-run",
    "make test": "PYTEST_ADDOPTS='--collect-only tests/recording' make test",
    "make test-long": "PYTEST_ADDOPTS='--collect-only tests/recording' make test-long",
    "make docs": "make --dry-run docs",
}


def give_environment(project: Project) -> None:
    """Make a `.venv` that counts as set up, whose commands are those of the environment that runs the tests."""
    folder = project.path(".venv/bin")
    folder.mkdir(parents=True)
    for name in ("python", "snakemake", "dvc", "lrp-dynamics"):
        source = sys.executable if name == "python" else BIN / name
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(source))} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "activate").write_text(f'export PATH={shlex.quote(str(folder))}:"$PATH"\n', encoding="utf-8")
    for mark in (".workflow", ".test", ".docs"):
        (folder / mark).touch()


@pytest.fixture
def after_demo(project: Project) -> Project:
    """The project after `make demo`: another experiment is in params.yaml, and nothing of it is made."""
    params = project.params
    params["experiments"]["blog"] = PARAMS["experiments"]["blog"]
    params["datasets"]["cifar10"] = PARAMS["datasets"]["cifar10"]
    project.write_params(params)
    give_environment(project)
    return project


def run(project: Project, lines: list[str]) -> str:
    """Run commands one after the other in one shell; the first that fails ends it."""
    script = ["set -eux", *(INSTEAD.get(re.sub(r"\s+#.*", "", line), line) for line in lines)]
    return project.run("bash", "-c", "\n".join(script))


@pytest.mark.long
def test_the_readme(after_demo: Project) -> None:
    lines = commands("README.md")
    assert {"make demo", "make test", "make test-long", "snakemake --cores all"} <= set(lines)
    shutil.copy(after_demo.path("results/demo/seed-0/relevance.h5"), after_demo.path("relevance.h5"))  # one's own
    log = run(after_demo, lines)
    assert "test_recorder.py" in log
    assert "valid and complete" in log
    page = after_demo.path("report.html").read_text(encoding="utf-8")
    assert "Conservation of relevance" in page


@pytest.mark.long
def test_programs_of_the_readme_and_the_start(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    own, reading = programs("README.md")
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
    names["train_step"] = train_step
    for program in [own, *programs("docs/start.md")]:
        exec(program, names)
        Path("relevance.h5").unlink(missing_ok=True)


@pytest.mark.long
def test_commands_after_the_demo(after_demo: Project) -> None:
    shutil.copy(after_demo.path("results/demo/seed-0/relevance.h5"), after_demo.path("relevance.h5"))
    for page in ("docs/start.md", "docs/index.md", "docs/how-to/figures.md", "docs/how-to/study.md"):
        run(after_demo, commands(page))
    planning, installing, *_, by_hand = commands("docs/cluster.md")
    assert "slurm" in installing  # of which tests/workflow/test_cluster.py is about
    assert "--device" in run(after_demo, [planning, by_hand]) or "--params" in run(after_demo, [by_hand])
    file = "results/demo/seed-0/relevance.h5"
    assert "valid and complete" in run(
        after_demo, [line.replace("FILE", file) for line in commands("docs/recorder.md")]
    )
    assert after_demo.path("maps.npz").exists()


@pytest.mark.long
def test_commands_of_the_workflow(after_demo: Project, tmp_path: Path) -> None:
    store, origin = tmp_path / "store", tmp_path / "origin"
    after_demo.git("init", "-q", "--bare", str(origin))
    after_demo.git("remote", "add", "origin", str(origin))
    after_demo.git("config", "push.autoSetupRemote", "true")
    after_demo.commit("parameters")
    lines = [line.replace("/path/to/store", str(store)) for line in commands("docs/workflow.md")]
    # There is nothing new to commit; the queue's worker would go on behind this test (see test_experiments.py).
    lines = [
        line.replace("git commit -m", "git commit --allow-empty -m") for line in lines if line != "dvc queue start"
    ]
    log = run(after_demo, lines)
    assert "epsilon" in log
    assert any(store.iterdir())
    assert after_demo.params["experiments"]["demo"]["recording"]["composite"] == "epsilon"


@pytest.mark.long
def test_programs_after_the_demo(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MPLBACKEND", "agg")
    pages = ["file-format", "reading-the-results", "data", "how-to/figures", "how-to/study"]
    for page in pages:
        names: dict = {}
        for program in programs(f"docs/{page}.md"):
            exec(program, names)
    assert Path("first-and-last.png").exists()


@pytest.mark.long
def test_what_pages_name_can_be_made(project: Project) -> None:
    """Of the real parameters: each target of the gallery and of the pages of studies is planned."""
    project.write_params(PARAMS)
    pages = [ROOT / "docs/gallery.md", ROOT / "docs/notebooks.md", *sorted((ROOT / "docs/studies").glob("*.md"))]
    text = "\n".join(block.text for page in pages for block in blocks(page))
    indented = "\n".join(re.findall(r"^    (snakemake .*)$", "\n".join(p.read_text("utf-8") for p in pages), re.M))
    targets = {word for line in re.findall(r"snakemake ([^#\n]*)", text + "\n" + indented) for word in line.split()}
    targets = {word for word in targets if word.startswith(("reports/", "results/"))}
    assert len(targets) > 15
    project.snakemake("-n", *sorted(targets))


def test_paths_exist() -> None:
    for target in re.findall(
        r"`((?:src|docs|tests|benchmarks|workflow|examples)/[\w./-]+)`", (ROOT / "README.md").read_text("utf-8")
    ):
        assert target.startswith("docs/_build") or (ROOT / target).exists(), target
