"""Snakemake and DVC side by side: whichever is used first, the other knows what is current and what is not."""

import pytest

pytestmark = pytest.mark.pipeline

DEMO = ["prepare-shapes10", "train-demo-0", "dynamics-demo-0", "outliers-demo"]


def test_dvc_knows_what_snakemake_built(built):
    assert built.jobs(built.log)[: len(DEMO)] == DEMO
    built.assert_clean()


def test_clone_and_pull_leave_nothing_to_do(built, tmp_path):
    """A fresh clone that pulls the results has them current, for both tools."""
    source = built.copy("to-push")
    source.run("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    source.commit("remote")
    source.dvc("push", "-q")
    source.git("clone", "-q", str(source.root), str(tmp_path / "clone"))
    clone = type(built)(tmp_path / "clone")
    assert clone.planned() == set(DEMO)
    clone.dvc("pull", "-q")
    clone.assert_clean()
    # And only what depends on an edit is made anew.
    clone.edit("experiments.demo.outliers.threshold", 3.0)
    assert clone.planned() == {"outliers-demo"}


def test_results_restored_from_the_run_cache_are_current(project):
    """Learning rate .1 → .2 → .1, then another threshold: no training but the one that .2 needs."""
    project.edit("experiments.demo.training.learning_rate", 0.002)
    project.snakemake("--cores", "2")
    project.edit("experiments.demo.training.learning_rate", 0.001)
    log = project.dvc("repro")
    assert project.jobs(log) == []
    project.assert_clean()
    project.edit("experiments.demo.outliers.threshold", 3.0)
    log = project.dvc("repro")
    assert project.jobs(log) == ["outliers-demo"]
    project.assert_clean()
