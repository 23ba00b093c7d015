"""The definition of the workflow: dvc.yaml, formatting, parameters, closures of code, and plans of large studies."""

import ast
import copy
import re
import sys

import pytest

from .conftest import CHECK, PARAMS, ROOT, Project, changed, copy_of_project, outs_of

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
import closure
import parameters


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project as it is, nothing run."""
    project = copy_of_project(tmp_path_factory.mktemp("full") / "project")
    project.commit("start")
    return project


def test_dvc_yaml_is_up_to_date(full):
    full.run(sys.executable, "workflow/scripts/dvc_yaml.py", "--check")


@pytest.fixture(scope="module")
def whole(full: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in which dvc.yaml has every experiment."""
    project = full.copy(tmp_path_factory.mktemp("whole") / "project")
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py", "--all")
    return project


def test_dvc_yaml_begins_with_the_demos_and_is_short(full, tmp_path):
    """Before anything is made, the stages of the demos and no others, in a file that can be read."""
    project = full.copy(tmp_path / "bare")
    for name in ("dvc.yaml", "dvc.lock"):
        project.path(name).unlink(missing_ok=True)
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py")
    text = project.path("dvc.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 1300
    made = set(re.findall(r"(?:results|reports)/(\w+)/", text))
    assert made == {name for name in PARAMS["experiments"] if name.startswith("demo")}


def test_dvc_yaml_covers_every_output_once(whole):
    stages = whole.stages
    outs = [next(iter(out)) if isinstance(out, dict) else out for stage in stages.values() for out in outs_of(stage)]
    assert len(outs) == len(set(outs))
    assert all(stage["desc"] for stage in stages.values())
    assert len({stage["desc"] for stage in stages.values()}) == len(stages)
    graph = whole.dvc("dag", "--outs", "--dot")
    assert "results/demo/metrics.json" in graph
    assert "results/blog/metrics.json" in graph
    # Every chain begins with the check of dvc.yaml, so that no target runs on an old one.
    first = [name for name, stage in stages.items() if not set(stage["deps"]) & set(outs)]
    assert first == [CHECK]


def test_format_and_lint(full):
    full.run("snakefmt", "--check", "Snakefile", "workflow")
    assert "Congratulations" in full.snakemake("--lint")


def test_recordings_can_be_kept_out_of_the_cache(full, tmp_path):
    project = full.copy(tmp_path / "uncached")
    project.edit("storage.cache_recordings", False)
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py")
    kept = [out for stage in project.stages.values() for out in outs_of(stage) if isinstance(out, dict)]
    assert {"results/demo/seed-0/relevance.h5": {"cache": False}} in kept
    assert all(next(iter(out)).endswith("relevance.h5") for out in kept)


def test_a_study_of_fifty_runs_is_planned_at_once(full, tmp_path):
    """Ten seeds of five composites; planned in seconds by one dry run, which runs nothing."""
    project = full.copy(tmp_path / "study")
    params = project.params
    demo = params["experiments"]["demo"]
    composites = ["z_plus", "epsilon", "gamma", "alpha2_beta1", "epsilon_plus_flat"]
    params["experiments"] = {
        f"study_{name}": copy.deepcopy(demo)
        | {"seeds": list(range(10)), "recording": demo["recording"] | {"composite": name}}
        for name in composites
    }
    project.write_params(params)
    log = project.snakemake("-n")
    trained = re.findall(r"^Job \d+: Training (\w+) with seed (\d+)", log, re.M)
    assert len(trained) == len(set(trained)) == 50
    assert "prepare             1" in log or re.search(r"^prepare +1$", log, re.M)


# Parameters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("experiments.demo.training.learnin_rate", 0.1, ["experiments.demo.training", "learnin_rate", "learning_rate"]),
        ("experiments.demo.training.learning_rate", "fast", ["training.learning_rate", "'fast'", "number"]),
        ("experiments.demo.training.learning_rate", -1, ["training.learning_rate", "-1", "greater than 0"]),
        ("experiments.demo.training.optimizer", "adm", ["training.optimizer", "'adm'", "adam or sgd"]),
        ("experiments.demo.seeds", [0, 0], ["experiments.demo.seeds", "[0, 0]", "each once"]),
        ("experiments.demo.dataset", "cifar", ["experiments.demo.dataset", "'cifar'", "cifar10"]),
        ("datasets.shapes10.bg_corr", 2, ["datasets.shapes10.bg_corr", "2", "from 0 to 1"]),
        ("experiments.a b", {}, ["'a b'", "letters, digits and _"]),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(key, value, parts):
    message = parameters.problem(changed(key, value))
    assert message.startswith("params.yaml: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_the_message_reaches_the_user_of_either_tool(full, tmp_path):
    project = full.copy(tmp_path / "wrong")
    project.edit("experiments.demo.training.optimizer", "adm")
    for log in (project.snakemake("-n", ok=False), project.dvc("repro", "train-demo-0", ok=False)):
        assert "params.yaml: experiments.demo.training.optimizer: found 'adm', expected adam or sgd" in log
        assert "Traceback" not in log


def test_what_is_left_out_of_params_yaml_is_not_asked_of_dvc(full, tmp_path):
    """DVC refuses stages whose parameters are missing; a default is in the code, which the stages depend on."""
    project = full.copy(tmp_path / "short")
    params = project.params
    demo = params["experiments"]["demo"]
    params["experiments"] = {"demo": {"kind": "dynamics", "dataset": "shapes10", "training": {"max_steps": 3}}}
    params["datasets"] = {"shapes10": {"kind": "shapes10", "n_train": 200, "n_test": 0}}
    params["storage"] = {}
    project.write_params(params)
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py")
    assert "experiments.demo.training" in project.stages["train-demo-0"]["params"]
    assert "experiments.demo.recording" not in project.stages["train-demo-0"]["params"]
    assert "params" not in project.stages["outliers-demo"]
    project.dvc("repro", "prepare-shapes10")
    assert project.path("data/shapes10.h5").exists()
    # Given its default, a section is one that DVC looks at.
    params["experiments"]["demo"]["outliers"] = demo["outliers"]
    project.write_params(params)
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py")
    assert project.stages["outliers-demo"]["params"] == ["experiments.demo.outliers"]


def test_numbers_as_dvc_writes_them_are_numbers():
    """`dvc exp run -S key=1e-5` writes 1e-05, which YAML 1.1 takes for text, and YAML 1.2, DVC's, for a number."""
    params = changed("experiments.demo.training.learning_rate", "1e-05")
    assert parameters.problem(params) is not None
    parameters.read_numbers(params)
    assert params["experiments"]["demo"]["training"]["learning_rate"] == 1e-5
    assert parameters.problem(params) is None


# Code that a stage depends on -----------------------------------------------------------------------------------------


IMPORTS = r'''
"""Not
import this, nor from "that" import it
"""
import a.b as c, d  # and not import x
from e import (  # (f)
    g,
    h as i,
)
TEXT = """
from j import k
""" + "\\"  # '
class L:
    def m(self):
        if "'":
            from n import o, \
                p
        return f"""{self}
import q"""
'''


def imports_of(tree) -> list[str]:
    return sorted(ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def test_statements_of_import_are_found_as_the_parser_finds_them():
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]
    for text in [IMPORTS, *(path.read_text(encoding="utf-8") for path in sources)]:
        found = ast.Module(closure.imports_in(text), type_ignores=[])
        assert imports_of(found) == imports_of(ast.parse(text))
    assert len(sources) > 200


def test_every_module_that_a_stage_may_import_is_an_input(whole):
    """No stage imports a module of the package by a name that the closure cannot see in its code."""
    stages = whole.stages
    used = {dep for stage in stages.values() for dep in stage.get("deps", ()) if dep.startswith("src/")}
    assert "src/lrp_dynamics/data/shapes10.py" in used
    assert "src/lrp_dynamics/recording/explainers.py" in used
    assert "src/lrp_dynamics/models" in used
    for stage, source in {"prepare-shapes10": "data/shapes10.py", "prepare-cifar10": "data/cifar10.py"}.items():
        assert f"src/lrp_dynamics/{source}" in stages[stage]["deps"]
    assert "src/lrp_dynamics/data/shapes10.py" not in stages["prepare-cifar10"]["deps"]


def test_a_stage_reads_whole_packages_only_where_it_reads_something_of_them(full):
    stages = full.stages
    assert not {"src/lrp_dynamics/lrp", "src/lrp_dynamics/training"} & set(stages["prepare-shapes10"]["deps"])
    training = set(stages["train-demo-0"]["deps"])
    page = {"src/lrp_dynamics/reports/explorer"}
    assert set(closure.FOLDERS) - training == page
    assert set(closure.FOLDERS) & set(stages["explorer-demo"]["deps"]) == page | {"src/lrp_dynamics/base"}
    assert not [path for path in training if path.startswith(tuple(f"{folder}/" for folder in closure.FOLDERS))]
    assert not {"src/lrp_dynamics/data/cifar10.py", "src/lrp_dynamics/reports"} & training
