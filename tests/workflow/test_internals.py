"""What is taken from Snakemake beside its documented interface does what it is taken for, in the version installed."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import snakemake
from packaging.requirements import Requirement

from .conftest import BIN, ROOT

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
import dag as dags
import snakemake_internals as internals

SNAKEFILE = """
config["name"] = "known"
KNOWN = 1

rule second:
    default_target: True
    input:
        "first.txt",
    output:
        "a/" + "long" * 50 + "/" + "name" * 50 + ".txt",
    params:
        folder=subpath(output[0], parent=True),
        constant=7,
        json=lambda wildcards: "text",
    shell:
        "cp {input} {output}"


rule first:
    input:
        lambda wildcards: "source.txt",
    output:
        "first.txt",
    shell:
        "cp {input} {output}"
"""
LAST = "a/" + "long" * 50 + "/" + "name" * 50 + ".txt"

LOGGED = """
from pathlib import Path

from snakemake_internals import keep_logs

rule all:
    input:
        "a/b/1.txt",
        "c/b.txt",

rule first:
    output:
        "a/{name}/{number}.txt",
    wildcard_constraints:
        name="b|d",
    shell:
        "(echo making {output}; touch {output}) 2>&1 | tee {log}"

use rule first as second with:
    output:
        "c/{name}.txt",

keep_logs(workflow, Path.cwd())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a workflow of two jobs that has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), os.environ["PATH"]]))
    Path("Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    Path("source.txt").write_text("content\n", encoding="utf-8")
    run()
    return tmp_path


def run() -> None:
    assert os.spawnvp(os.P_WAIT, "snakemake", ["snakemake", "--cores", "1", "--quiet"]) == 0


def plan(**options: bool) -> tuple:
    """Return the DAG, and its jobs by the names of their rules."""
    with dags.planned(["second"], **options) as dag:
        return dag, {job.rule.name: job for job in dags.real_jobs(dag)}


def to_run() -> set[str]:
    dag, jobs = plan()
    return {name for name, job in jobs.items() if internals.must_run(dag, job)}


def test_the_installed_version_is_one_that_is_supported():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = map(Requirement, project["optional-dependencies"]["workflow"])
    assert [one.specifier.contains(snakemake.__version__) for one in found if one.name == "snakemake"] == [True]


def test_what_is_asked_about_jobs(folder):
    dag, jobs = plan(forceall=True)
    assert list(jobs) == internals.rules_of(dag) == ["second", "first"]
    assert internals.config_of(dag) == {"name": "known"}
    assert internals.names_of(dag)["KNOWN"] == 1
    assert set(internals.jobs_before(dag, jobs["second"])) == {jobs["first"]}
    assert internals.command_of(jobs["second"]) == "cp {input} {output}"
    assert internals.constants_of(jobs["second"]) == {"constant": 7, "json": "text"}
    assert [source(None) for source in internals.sources_of(jobs["first"])] == ["source.txt"]
    assert 7 in internals.sources_of(jobs["second"])


def test_which_jobs_must_run(folder):
    assert to_run() == set()
    Path("source.txt").write_text("other\n", encoding="utf-8")
    assert to_run() == {"first", "second"}


def test_outputs_of_other_origin_are_told_and_can_be_called_current(folder):
    for path in ("first.txt", LAST):
        assert not internals.is_foreign(path)
    shutil.rmtree(".snakemake")
    for path in ("first.txt", LAST, "missing.txt"):
        assert internals.is_foreign(path)
    dag, jobs = plan(forceall=True)
    for job in jobs.values():
        internals.note_current(dag, job)
    assert to_run() == set()
    for path in ("first.txt", LAST):
        assert not internals.is_foreign(path)
    os.utime(LAST, (1, 1))
    assert internals.is_foreign(LAST)


def test_outputs_can_be_called_unknown_and_are_made_again(folder):
    dag, jobs = plan(forceall=True)
    internals.note_unknown(dag, jobs["second"], "of no known origin")
    assert internals.is_foreign(LAST)
    assert to_run() == {"second"}
    run()
    assert to_run() == set()
    assert not internals.is_foreign(LAST)


def test_every_rule_has_a_log_and_a_benchmark_under_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "workflow" / "scripts"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), os.environ["PATH"]]))
    Path("Snakefile").write_text(LOGGED, encoding="utf-8")
    run()
    for name, output in {"first/b-1": "a/b/1.txt", "second/b": "c/b.txt"}.items():
        assert Path(f"logs/{name}.log").read_text(encoding="utf-8") == f"making {output}\n"
        assert Path(f"logs/benchmarks/{name}.tsv").read_text(encoding="utf-8").startswith("s\th:m:s")
