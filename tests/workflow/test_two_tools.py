"""Snakemake and DVC side by side: whichever is used first, the other knows what is current and what is not."""

import re
import shutil

import pytest

from workflow.conftest import CHECK, Project

pytestmark = pytest.mark.long

RATE = "experiments.demo.training.learning_rate"
THRESHOLD = "experiments.demo.outliers.threshold"
RELEVANCE = "results/demo/seed-0/relevance.h5"
OUTLIERS = "results/demo/outliers.csv"


def test_clone_and_pull_leave_nothing_to_do(built, tmp_path):
    """A fresh clone that pulls the results has them current, for both tools, and an edit is still seen."""
    source = built.copy(tmp_path / "source")
    source.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    source.commit("remote")
    source.dvc("push", "-q")
    source.git("clone", "-q", str(source.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    assert clone.planned() == clone.everything
    clone.dvc("pull", "-q")
    clone.assert_clean()
    clone.edit(THRESHOLD, 3.0)
    assert clone.planned() == clone.after("outliers-demo")


def test_a_failed_job_is_not_forgotten(project):
    """After a failure the next run tries again, also for targets behind the failed job, and DVC knows as well."""
    project.edit(RATE, 1e30)
    log = project.snakemake(ok=False)
    assert "train demo-0: Recorder: " in log or "train demo-0: training: " in log, log
    missing = project.after("train-demo-0")
    assert project.planned() == missing
    assert project.planned(OUTLIERS) == missing - {"figures-demo", "report-demo", "explorer-demo", "posts-demo"}
    assert project.dirty() >= {"train-demo-0"}
    project.edit(RATE, 0.001)
    assert set(project.jobs(project.dvc("repro"))) == set()
    project.assert_clean()


def test_a_partial_run_records_only_what_it_made(project):
    """What Snakemake has not made anew since an edit is not current for DVC either, although it exists."""
    project.edit(RATE, 0.002)
    project.edit(THRESHOLD, 3.0)
    assert project.jobs(project.snakemake(RELEVANCE)) == ["train-demo-0"]
    rest = project.after("train-demo-0") - {"train-demo-0"}
    assert project.planned() == rest
    dirty = project.dirty()
    assert "train-demo-0" not in dirty
    assert project.after(*dirty - {CHECK}) == rest
    assert project.jobs(project.dvc("repro", "outliers-demo")) == ["dynamics-demo-0", "outliers-demo"]
    project.assert_made("outliers-demo")


def test_old_results_brought_back_are_not_taken_for_new_parameters(project):
    """`git checkout dvc.lock; dvc checkout` brings back old results: with the new parameters they are stale."""
    project.edit(THRESHOLD, 3.0)
    project.snakemake(OUTLIERS)
    project.git("checkout", "dvc.lock")
    project.dvc("checkout", "-q")
    assert project.planned() == project.after("outliers-demo")
    assert "outliers-demo" in project.dirty()
    # With the old parameters they are current again.
    project.edit(THRESHOLD, 3.5)
    project.assert_clean()


def test_what_is_not_current_is_judged_once(project):
    """An output of unknown origin is put before DVC again only after something has changed, then as if never seen."""
    table, judged = project.path(OUTLIERS), project.path(".snakemake/judged")
    content, stale = table.read_text(encoding="utf-8"), project.after("outliers-demo")
    for foreign in (content + "\n", content + "\n\n"):
        table.write_text(foreign, encoding="utf-8")
        assert project.planned() == stale
        looked = judged.stat().st_mtime_ns
        assert project.planned() == stale
        assert judged.stat().st_mtime_ns == looked
    table.write_text(content, encoding="utf-8")
    project.edit(THRESHOLD, 3.0)
    assert project.planned() == stale
    project.edit(THRESHOLD, 3.5)
    project.assert_clean()


def test_code_and_commands_count_for_both_tools(project):
    """An edit of a module, and of a rule's command, makes both tools run the stages that use it, and no others."""
    module = project.path("src/lrp_dynamics/measures/outliers.py")
    module.write_text(module.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    after = project.after("outliers-demo")
    assert project.planned() == after
    dirty = project.dirty()
    assert "outliers-demo" in dirty
    assert project.after(*dirty - {CHECK}) == after
    module.write_text(module.read_text(encoding="utf-8").removesuffix("\n# edited\n"), encoding="utf-8")
    project.assert_clean()

    rules = project.path("workflow/rules/blog.smk")
    rules.write_text(
        rules.read_text(encoding="utf-8").replace("lrp-dynamics blog-outliers", "env lrp-dynamics blog-outliers"),
        encoding="utf-8",
    )
    assert project.planned() == after
    log = project.dvc("repro", "outliers-demo", ok=False)
    assert "dvc.yaml has been brought up to date (outliers-demo)" in log
    assert "start the same `dvc` command again" in log
    assert project.jobs(project.dvc("repro", "outliers-demo")) == ["outliers-demo"]
    # The table is the same as before, so that nothing that reads it has to run.
    project.assert_clean()


def test_a_shared_package_counts_as_a_folder(project):
    """What editors and Python leave in it counts for neither tool, a new module for both."""
    lrp = project.path("src/lrp_dynamics/lrp")
    for noise in (".kinds.py.swp", "kinds.py~", "__pycache__/old.pyc", ".ipynb_checkpoints/kinds.py"):
        (lrp / noise).parent.mkdir(exist_ok=True)
        (lrp / noise).write_text("noise\n", encoding="utf-8")
    project.path("src/lrp_dynamics/data/another.py").write_text('"""A kind of dataset."""\n', encoding="utf-8")
    project.assert_clean()
    (lrp / "another.py").write_text('"""A rule."""\n', encoding="utf-8")
    assert project.planned() == project.after("train-demo-0")
    assert project.dirty() == {"train-demo-0", "report-demo"}  # a cell of the notebook explains
    (lrp / "another.py").unlink()
    project.assert_clean()


def test_adding_a_seed_trains_that_seed_only(project):
    """Snakemake runs what is new and tells DVC; DVC alone says first that its stages have changed."""
    other = project.copy(project.root.parent / "by-dvc")
    project.edit("experiments.demo.seeds", [0, 1])
    log = project.snakemake(OUTLIERS)
    assert set(project.jobs(log)) == {"train-demo-1", "dynamics-demo-1", "outliers-demo"}
    assert "dvc.yaml has been brought up to date" in log
    project.assert_made("outliers-demo")

    for seeds in ([0, 1], [0], [0, 1]):  # also where the edit is taken back in between
        other.edit("experiments.demo.seeds", seeds)
        log = other.dvc("repro", "outliers-demo", ok=False)
        assert "(dynamics-demo-1, explorer-demo, outliers-demo, train-demo-1)" in log
        assert "start the same `dvc` command again" in log
    ran = set(other.jobs(other.dvc("repro", "outliers-demo")))
    assert ran == {"train-demo-1", "dynamics-demo-1", "outliers-demo"}


def test_without_git_or_dvc_snakemake_works_alone(project):
    shutil.rmtree(project.path(".git"))
    project.edit(THRESHOLD, 3.0)
    log = project.snakemake(OUTLIERS)
    assert project.jobs(log) == ["outliers-demo"]
    assert "DVC was not told" in log
    shutil.rmtree(project.path(".dvc"))
    project.path("dvc.lock").unlink()
    project.edit(THRESHOLD, 4.0)
    assert project.jobs(project.snakemake(OUTLIERS)) == ["outliers-demo"]
    assert project.planned(OUTLIERS) == set()


def test_links_into_the_cache_are_refused(project):
    project.dvc("config", "--local", "cache.type", "hardlink,copy")
    log = project.snakemake("-n", ok=False)
    assert ".dvc/config.local: cache.type is 'hardlink,copy'" in log
    command = re.search(r"Run: (dvc config .*); (dvc checkout --relink)", log)
    for part in command.groups():
        project.run(*part.split())
    project.assert_clean()
