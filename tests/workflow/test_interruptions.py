"""A run that was killed: the next one says what to do, and both tools know what is missing."""

import os
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.pipeline

RELEVANCE = "results/demo/seed-0/relevance.h5"


def test_after_kill_the_lock_is_explained_and_nothing_stale_is_current(project):
    project.edit("experiments.demo.training.learning_rate", 0.002)
    process = subprocess.Popen(
        ["snakemake", RELEVANCE],
        cwd=project.root,
        env=project.env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not any(project.path(".snakemake/incomplete").glob("*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    assert "train-demo-0" in project.planned()
    assert "train-demo-0" in project.dirty()
    message = project.snakemake(RELEVANCE, ok=False)
    assert "--unlock" in message
    # DVC runs Snakemake, which says the same.
    assert "--unlock" in project.dvc("repro", "train-demo-0", ok=False)
    project.snakemake("--unlock")
    assert project.jobs(project.dvc("repro", "train-demo-0")) == ["train-demo-0"]
    assert "train-demo-0" not in project.planned()
