"""What DVC's own commands say: they speak of what has been made, and of nothing else."""

import sys

import pytest

from workflow.conftest import CHECK, Project

pytestmark = pytest.mark.long

# All that a user asks DVC about, with nothing to be made; each of them ends well.
QUESTIONS = [
    ("status",),
    ("metrics", "show"),
    ("metrics", "diff"),
    ("plots", "show"),
    ("plots", "diff"),
    ("params", "diff"),
    ("checkout",),
    ("dag",),
    ("exp", "show"),
    ("repro", "report-demo"),
]
COMPLAINTS = ("ERROR", "WARNING", "failed", "No file hash", "deleted:")


def assert_at_ease(project: Project) -> None:
    """DVC answers every question, without a complaint, and knows of no experiment but `demo`."""
    for question in QUESTIONS:
        answer = project.dvc(*question)
        assert not [word for word in COMPLAINTS if word in answer], f"dvc {' '.join(question)}:\n{answer}"
        assert "never" not in answer
    assert project.dirty() == set()


@pytest.fixture
def large(project: Project) -> Project:
    """The built project with two experiments more, of which nothing has been made."""
    params = project.params
    demo = params["experiments"]["demo"]
    params["datasets"]["never_data"] = params["datasets"]["shapes10"] | {"seed": 1}
    params["experiments"] |= {"never_a": demo, "never_b": demo | {"dataset": "never_data"}}
    project.write_params(params)
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py")
    project.commit("large")
    return project


def test_dvc_speaks_of_what_was_made(large):
    """After `demo`, nothing is said of experiments that nobody has made, by any command."""
    assert_at_ease(large)
    large.dvc("exp", "run", "-S", "experiments.demo.outliers.threshold=3.0", "report-demo")
    changed = large.dvc("metrics", "diff")
    assert "failed" not in changed
    assert "never" not in large.dvc("exp", "show")
    assert large.dirty() == set()


def test_a_clone_makes_with_dvc_what_it_is_asked_for(large, tmp_path):
    """In a clone without results DVC's commands end well, and after the first `dvc repro` they have no complaint."""
    large.git("rm", "-q", "--cached", "dvc.lock")
    large.git("commit", "-q", "-m", "without results")
    large.git("clone", "-q", str(large.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    for question in QUESTIONS[:6]:
        assert "never" not in clone.dvc(*question)
    assert clone.dirty() == clone.stages.keys()
    other = clone.copy(tmp_path / "other")
    whole = ("report-demo", "explorer-demo", "posts-demo")
    clone.dvc("repro", *whole)
    clone.commit("made")
    assert_at_ease(clone)
    other.dvc("exp", "run", "-S", "experiments.demo.outliers.threshold=3.0", "report-demo")
    assert other.dirty() <= {"explorer-demo", "posts-demo"}  # which were not asked for


def test_an_experiment_comes_in_when_it_is_named_or_made(large):
    """`make dvc EXPERIMENTS=…` adds stages before anything is made, a run of Snakemake those of what it made."""
    by_name = large.copy(large.root.parent / "by-name")
    log = by_name.run(sys.executable, "workflow/scripts/dvc_yaml.py", "never_b")
    assert "train-never_b-0" in log
    assert "prepare-never_data" in by_name.stages
    assert not [name for name in by_name.stages if "never_a" in name]
    by_name.run(sys.executable, "workflow/scripts/dvc_yaml.py", "--check")
    assert {name for name in by_name.dirty() if "never" not in name} <= {CHECK}
    log = by_name.run(sys.executable, "workflow/scripts/dvc_yaml.py", "nothing", ok=False)
    assert "params.yaml: found no experiment nothing, only demo, never_a, never_b" in log

    large.snakemake("results/never_a/seed-0/relevance.h5")
    assert {"train-never_a-0", "report-never_a"} <= large.stages.keys()
    assert "train-never_a-0" not in large.dirty()
    assert not [name for name in large.stages if "never_b" in name or "never_data" in name]
