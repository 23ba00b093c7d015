"""Snakemake and DVC must agree on what every single parameter affects."""

import json
import sys
from pathlib import Path

import pytest

from workflow.conftest import CHECK, PARAMS, closure, copy_of_project

pytestmark = pytest.mark.long

EXPERIMENTS = ("demo", "demo_rules", "demo_homework", "vgg11_mnist", "demo_vgg16", "vgg16")
SEARCH = {
    "sampler": "random",
    "trials": 2,
    "seed": 0,
    "space": {
        "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "training.batch_size": [32, 64],
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """One experiment of each kind, and each dataset read by one."""
    project = copy_of_project(tmp_path_factory.mktemp("agreement") / "project")
    params = project.params
    params["experiments"] = {name: params["experiments"][name] for name in EXPERIMENTS}
    params["experiments"]["demo"]["dataset"] = "cifar10"
    params["experiments"]["vgg11_mnist"]["search"] = SEARCH  # which no experiment has by itself
    project.write_params(params)
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py", "--all")
    project.commit("start")
    return project


@pytest.fixture(scope="module")
def answers(project):
    output = project.run(sys.executable, str(Path(__file__).with_name("agreement.py")))
    return json.loads(output.splitlines()[-1])


def test_of_each_kind_there_is_an_experiment(project):
    kinds = [made["kind"] for made in project.params["experiments"].values()]
    assert set(kinds) == {made["kind"] for made in PARAMS["experiments"].values()}
    assert len(kinds) == len(set(kinds))


def test_nothing_is_to_do_before_any_change(answers):
    start = answers[""]
    assert start["snakemake"] == start["dvc"] == []
    assert not start["stages"]


def test_both_tools_agree_on_every_leaf(answers, project):
    stages = project.stages
    disagreements = {}
    for leaf, answer in answers.items():
        if answer is None:
            continue
        snakemake = set(answer["snakemake"])
        dvc = closure(answer["stages"] or stages, set(answer["dvc"]) - {CHECK})
        if snakemake != dvc:
            disagreements[leaf] = {"only snakemake": sorted(snakemake - dvc), "only dvc": sorted(dvc - snakemake)}
    assert disagreements == {}
    assert len(answers) > 50


def test_a_change_that_asks_for_other_stages_makes_dvc_check_its_own_file(answers):
    structural = {leaf: answer for leaf, answer in answers.items() if answer and answer["stages"]}
    search = "experiments.vgg11_mnist.search.trials"
    assert {"experiments.demo.seeds", "experiments.demo.dataset", search} <= structural.keys()
    assert all(answer["told"] for answer in structural.values())


def test_every_leaf_was_changed_and_affects_something(answers):
    # No other value is allowed for some of these: for no search only a whole one, for ranges no grid, and for a study
    # of masks only the dataset that has some.
    only_one = {leaf.rpartition(".")[2] for leaf, answer in answers.items() if answer is None}
    assert only_one <= {"kind", "model", "target", "search", "sampler", "dataset"}
    idle = [leaf for leaf, answer in answers.items() if answer and not answer["snakemake"]]
    assert set(idle) == {"", "storage.cache_recordings"}, "a parameter that no rule reads"
