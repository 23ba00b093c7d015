"""The workflow on a real Slurm, started on this machine for the test and stopped after it."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import LIMIT, wait_until

from lrp_dynamics.base.files import canonical_json, sha256
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.training import run as experiment

from .conftest import ROOT, Project, copy_of_project

CONF = Path("/etc/slurm/slurm.conf")  # the one place where all of Slurm and Snakemake's plugin look
GRES = CONF.with_name("gres.conf")
OUTLIERS = "results/demo/outliers.csv"


# Installed apart from the environment: pandas, which the plugin needs, would make each start of Snakemake slower.
PLUGIN = ["snakemake-executor-plugin-slurm==2.8.0", "snakemake-executor-plugin-slurm-jobstep==0.6.1", "pandas>=2.2"]


def why_not() -> str:
    """Return why Slurm cannot be started here, or nothing."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    if missing:
        return f"no {', '.join(missing)} here (Debian: apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "only root can start Slurm"
    if CONF.exists():
        return f"{CONF} exists: a Slurm of somebody else's"
    if " " in sys.executable:
        return "Snakemake's plugin for Slurm does not quote the path of Python, and that of this one has a space"
    return ""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of Snakemake's Slurm plugin."""
    if reason := why_not():
        pytest.skip(reason)
    folder = str(tmp_path_factory.mktemp("plugin"))
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *PLUGIN]
    if subprocess.run(install, capture_output=True, timeout=LIMIT).returncode:
        pytest.skip(f"cannot install {PLUGIN[0]} here")
    return folder


@pytest.fixture(scope="module")
def slurm(plugin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Slurm of one node, this machine, with a GPU that is none; yields the folder of Snakemake's plugin."""
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname()
    CONF.parent.mkdir(exist_ok=True)
    CONF.write_text(
        f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory=16000 Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
""",
        encoding="utf-8",
    )
    GRES.write_text(f"NodeName={host} Name=gpu File=/dev/null\n", encoding="utf-8")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    commands = [["runuser", "-u", "munge", "--", "munged", "-F"], ["slurmctld", "-D"], ["slurmd", "-D"]]
    log = (folder / "daemons.log").open("w", encoding="utf-8")
    daemons = []
    try:
        for command in commands:
            daemons.append(subprocess.Popen(command, stdout=log, stderr=log))
            time.sleep(1)
        wait_until(lambda: state_of_the_node() == "idle", daemons[-1], pause=0.5)
        yield plugin
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(LIMIT)
        CONF.unlink()
        GRES.unlink()


def state_of_the_node() -> str:
    return subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout.strip()


def jobs() -> list[str]:
    """Return one line on each job that Slurm has had."""
    return subprocess.run(["scontrol", "show", "job", "-o"], capture_output=True, text=True).stdout.splitlines()


@pytest.mark.long
def test_jobs_go_through_slurm_with_either_tool(slurm: str, project: Project) -> None:
    """Jobs of either tool go through Slurm, the training asks for a GPU, and DVC finds current what Slurm has made."""
    project.env["PYTHONPATH"] += os.pathsep + slurm
    # This Slurm keeps no accounts, and its jobs are short.
    with project.path("profiles/slurm/config.yaml").open("a", encoding="utf-8") as profile:
        profile.write(
            "slurm-status-command: squeue\n"
            "slurm-init-seconds-before-status-checks: 2\n"
            "seconds-between-status-checks: 2\n"
        )
    project.edit("experiments.demo.training.device", "auto")
    log = project.snakemake("--profile", "profiles/slurm", OUTLIERS)
    assert project.jobs(log) == ["train-demo-0", "dynamics-demo-0", "outliers-demo"]
    assert ["JobState=COMPLETED" in job for job in jobs()] == [True] * 3
    assert ["gpu" in job.partition("TresPerJob=")[2] for job in jobs()] == [True, False, False]
    project.assert_made("outliers-demo")

    project.edit("experiments.demo.outliers.threshold", 3.0)
    log = project.dvc("repro", "outliers-demo", SNAKEMAKE_PROFILE="profiles/slurm")
    assert project.jobs(log) == ["outliers-demo"]
    assert ["JobState=COMPLETED" in job for job in jobs()] == [True] * 4
    project.assert_made("outliers-demo")


@pytest.mark.long
def test_a_training_that_slurm_asks_to_end_goes_on_when_it_is_requeued(slurm: str, tmp_path: Path) -> None:
    """Slurm asks by SIGTERM, and kills later; the same job ends with what an undisturbed training ends with."""
    data, out, said = tmp_path / "data.h5", tmp_path / "run", tmp_path / "said"
    options = {"title": "shapes10 (synthetic)", "n_train": 200, "n_test": 50, "preset": "easy"}
    prepared.write(data, shapes10.prepare("shapes10", options, tmp_path))
    params = {
        "model": "blog_cnn",
        "inputs": {"low": 0.0, "high": 1.0},
        "training": {"epochs": 8, "batch_size": 4, "optimizer": "adam", "learning_rate": 0.001, "threads": 1},
        "validation": {"share": 0.1, "seed": 0, "every": 0.5, "patience": None},
    }
    steps = 8 * 45
    train = ["-m", "lrp_dynamics.commands.cli", "train", "--no-record", "--seed", "7", "--params"]
    train += [canonical_json(params), "--data", data, "--out", out, "--cache", tmp_path / "cache"]
    script = tmp_path / "job"
    script.write_text(f"#!/bin/sh\nexec {shlex.join(map(str, [sys.executable, *train]))}\n", encoding="utf-8")
    submit = ["sbatch", "--parsable", "--requeue", "--open-mode=append", "-o", said, script]
    job = subprocess.run(submit, capture_output=True, text=True, check=True).stdout.strip()

    def state() -> str:
        shown = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True).stdout
        return re.search(r"JobState=(\w+)", shown).group(1)

    def text() -> str:
        return said.read_text(encoding="utf-8") if said.exists() else ""

    wait_until(lambda: "validation after 45 steps" in text(), pause=0.1)
    subprocess.run(["scontrol", "requeue", job], check=True)
    wait_until(lambda: state() == "PENDING", pause=0.5)
    kept = int(re.search(r"asked to end; the same command goes on behind iteration (\d+)", text()).group(1))
    assert 45 <= kept < steps
    assert not any(out.iterdir())
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)  # Slurm would wait two minutes
    wait_until(lambda: state() not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"), pause=0.5)
    assert state() == "COMPLETED", text()
    assert f" {kept}/{steps}" in text()
    experiment.run_training(data, params | {"seed": 7}, tmp_path / "other", cache=tmp_path / "cache", record=False)
    names = ("model.safetensors", "training.csv", "training.json", "validation.csv")
    assert [sha256(out / name) for name in names] == [sha256(tmp_path / "other" / name) for name in names]


def test_rules_ask_for_more_than_was_measured(tmp_path: Path) -> None:
    """The table in the documentation says what the rules ask for, and each asks for enough."""
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", (ROOT / "docs/cluster.md").read_text(encoding="utf-8"), re.M)
    assert {"prepare", "train", "dynamics", "vgg16", "rules_train", "homework_train"} <= {rule for rule, _ in rows}
    code = "import json, sys; sys.path.insert(0, 'benchmarks'); import resources; print(json.dumps(resources.asked()))"
    asked = json.loads(copy_of_project(tmp_path / "project").run(sys.executable, "-c", code).splitlines()[-1])
    for rule, cells in rows:
        _, peak, memory, minutes, runtime = (cell.strip() for cell in cells.split("|"))
        assert asked[rule] == [int(memory), int(runtime)], rule
        assert int(peak) < int(memory), rule
        assert float(minutes) < int(runtime), rule
