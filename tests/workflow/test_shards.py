"""The samples of a recording divided among several jobs: the same results, and both tools know what is current."""

import pytest

from .conftest import Project

pytestmark = pytest.mark.long

SHARDS = "experiments.demo.recording.shards"
RUN = "results/demo/seed-0"
# Everything but provenance.json, which tells how and when.
RESULTS = ["relevance.h5", "model.safetensors", "training.csv", "training.json", "dynamics.h5", "samples.csv"]
RESULTS = [*(f"{RUN}/{name}" for name in RESULTS), "results/demo/outliers.csv", "results/demo/metrics.json"]


def assert_same_bytes(project: Project, built: Project) -> None:
    for name in RESULTS:
        assert project.path(name).read_bytes() == built.path(name).read_bytes(), name


def stages_of(shards: int) -> set[str]:
    return {*(f"train_shard-demo-0-{k}" for k in range(1, shards + 1)), "gather-demo-0"}


def test_by_snakemake(project: Project, built: Project) -> None:
    project.edit(SHARDS, 2)
    log = project.snakemake()
    assert stages_of(2) <= set(project.jobs(log))
    assert "train-demo-0" not in project.stages
    assert_same_bytes(project, built)
    project.assert_clean()
    shown = (project.root / "dvc.yaml").read_text(encoding="utf-8").partition("plots:")[2]
    assert f"{RUN}/training.csv" in shown
    assert "shards" not in shown
    # Another seed is two more jobs.
    project.edit("experiments.demo.seeds", [0, 1])
    assert len({job for job in project.planned() if "with seed 1, recording shard" in job}) == 2


def test_by_dvc(project: Project, built: Project) -> None:
    project.edit(SHARDS, 4)
    target = "outliers-demo"
    assert "start the same `dvc` command again" in project.dvc("repro", target, ok=False)
    # What is gathered is what it was before, so that nothing after it has to run.
    assert set(project.jobs(project.dvc("repro", target))) == stages_of(4)
    assert_same_bytes(project, built)
    project.assert_clean()


def test_fewer_shards_and_more_again(project: Project) -> None:
    """What is left of shards that are no more is named, is not gathered, and is current only if it still is."""
    project.edit(SHARDS, 3)
    project.snakemake(f"{RUN}/relevance.h5")
    project.edit("experiments.demo.training.learning_rate", 0.002)
    project.edit(SHARDS, 2)
    log = project.snakemake(f"{RUN}/relevance.h5")
    assert f"used by nothing now: {RUN}/shards/3; delete" in log
    assert project.path(f"{RUN}/shards/3/relevance.h5").exists()
    project.edit(SHARDS, 3)
    assert project.planned() >= {
        "train_shard-demo-0-1",
        "train_shard-demo-0-2",
        "Training demo with seed 0, recording shard 3",  # of which dvc.yaml has no name now
    }
    # None at all: DVC says it as well.
    project.edit(SHARDS, 1)
    log = project.dvc("repro", "outliers-demo", ok=False)
    assert f"used by nothing now: {RUN}/shards/1 {RUN}/shards/2; delete" in log


def test_machines_that_are_not_alike(project: Project) -> None:
    """A shard of other weights stops the run with one sentence, and its recordings are not joined."""
    project.edit(SHARDS, 2)
    project.snakemake(f"{RUN}/relevance.h5")
    weights = project.path(f"{RUN}/shards/2/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    log = project.snakemake("--allowed-rules", "gather", "--forcerun", "gather", "--", f"{RUN}/relevance.h5", ok=False)
    assert f"gather demo-0: {RUN}/shards/2/model.safetensors differs from {RUN}/shards/1" in log
    assert not project.path(f"{RUN}/relevance.h5").exists()
