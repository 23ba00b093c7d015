"""A run that was killed: the next one says what to do, both tools know what is missing, and no process stays behind."""

import io
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from waiting import wait_until

pytestmark = pytest.mark.long

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
    wait_until(lambda: any(project.path(".snakemake/incomplete").glob("*")), process)
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


def started(project, wait_for):
    """Start `snakemake` in a session of its own, and return when something has happened."""
    process = subprocess.Popen(
        ["snakemake"],
        cwd=project.root,
        env=project.env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(wait_for, process, pause=0.001)
    return process


def test_after_a_kill_between_a_result_and_the_end_of_its_job_no_command_prints_a_traceback(project):
    """The results lie there, whole or not, and Snakemake's notes say that they are being made."""
    summary = project.path("results/demo/seed-0/training.json")
    before = summary.stat().st_ino
    project.edit("experiments.demo.training.learning_rate", 0.002)
    process = started(project, lambda: summary.exists() and summary.stat().st_ino != before)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    commands = {("-n",): True, (): False, ("--unlock",): True, ("-n", "-q"): True}
    said = {command: project.snakemake(*command, ok=ok) for command, ok in commands.items()}
    assert "--unlock" in said[()]
    assert "train-demo-0" in project.planned()
    said["again"] = project.snakemake()
    assert not [command for command, text in said.items() if "Traceback" in text]
    assert "train-demo-0" in project.jobs(said["again"])
    project.assert_clean()


def test_a_second_run_says_since_when_another_is_at_work_and_does_it_no_harm(project):
    project.edit("experiments.demo.training.learning_rate", 0.002)
    process = started(project, lambda: any(project.path(".snakemake/incomplete").glob("*")))
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        who = f"Another snakemake is at work here: process {process.pid} on "
        for said in (project.snakemake(ok=False), project.dvc("repro", "train-demo-0", ok=False)):
            assert who in said
            assert "Traceback" not in said
        assert who in project.snakemake("-n")
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    assert process.wait() == 0
    assert "Another snakemake" not in project.snakemake("-n")
    project.assert_clean()


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]],
    ids=["SIGTERM", "Ctrl-C twice"],
)
def test_a_run_that_is_asked_to_end_goes_on_behind_the_step_that_it_was_at(project, signals):
    """All of it is asked, as by a terminal or a scheduler: Snakemake, the training, and what writes the log."""
    steps = 150
    params = project.params
    params["experiments"]["demo"]["training"] |= {"epochs": 25, "max_steps": steps}
    project.write_params(params)
    log = project.path("logs/train/demo-0.log")
    log.unlink()
    shown = re.compile(rf" ([1-9]\d*)/{steps}")
    process = started(project, lambda: log.exists() and shown.search(log.read_text(encoding="utf-8")))
    for number in signals:
        os.killpg(process.pid, number)
    assert process.wait() != 0
    [checkpoint] = project.root.glob(".cache/train/*/checkpoint.pt")
    # It ends in a checksum.
    kept = torch.load(io.BytesIO(checkpoint.read_bytes()[:-32]), weights_only=True)["done"]
    assert 0 < kept < steps
    project.snakemake()
    assert f" {kept}/{steps}" in log.read_text(encoding="utf-8")
    project.assert_clean()


def in_session(leader: int) -> list[psutil.Process]:
    """Return the processes that one has started, directly or not, and that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def both_at_work(main: psutil.Process) -> bool:
    """Tell whether both halves run, with children of their own; other children come and go."""
    try:
        return [bool(half.children()) for half in main.children()] == [True, True]
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a process with its parent")
@pytest.mark.parametrize("killed", ["what started it", "itself"])
def test_asking_both_tools_about_every_parameter_leaves_no_process_behind(project, killed):
    """Neither when the tests are killed nor when it is asked to end; its own children go with it."""
    script = Path(__file__).with_name("agreement.py")
    starter = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
    parent = subprocess.Popen(
        [sys.executable, "-c", starter, script],
        cwd=project.root,
        env=project.env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(project.root.with_name("other-half").exists, parent)
        [main] = psutil.Process(parent.pid).children()
        wait_until(lambda: both_at_work(main), parent)
        for half in main.children():
            with suppress(psutil.NoSuchProcess):
                half.suspend()  # so that it does not end by itself
        if killed == "itself":
            main.terminate()
        else:
            parent.kill()
        wait_until(lambda: in_session(parent.pid) == [])
    finally:
        parent.kill()
        for process in in_session(parent.pid):
            process.kill()
        parent.wait()
