"""The workflow where others use it: catalog, another folder, a module of another project, an image, a crate."""

import json
import re
import sys
import zipfile

import pytest
import yaml

from .conftest import ROOT, TINY_DATA, TINY_EXPERIMENT, Project, copy_of_project

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
import parameters
import reference

TINY = {
    "storage": {},
    "datasets": {"shapes": {"kind": "shapes10"} | TINY_DATA},
    "experiments": {"mine": {"kind": "dynamics", "dataset": "shapes"} | TINY_EXPERIMENT},
}
OWN_RULE = """
rule own:
    input: "results/mine/metrics.json"
    output: "own.txt"
    shell: "touch {output}"
"""


def of_page(language: str) -> list[str]:
    """Return the blocks of a language in docs/deployment.md."""
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Project:
    """A copy of the project, nothing run."""
    return copy_of_project(tmp_path_factory.mktemp("clone") / "a clone")


@pytest.fixture
def other(clone: Project, tmp_path) -> Project:
    """Another project, with parameters of its own; of the clone it has the environment alone."""
    project = Project(tmp_path / "änother")
    project.path("config").mkdir(parents=True)
    project.path("config/relevance.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    project.env["PYTHONPATH"] = clone.env["PYTHONPATH"]
    return project


def use(project: Project, clone: Project, more: str = "") -> None:
    """Write the Snakefile of the page, with the path of the clone, and a rule of the other project."""
    (text,) = of_page("python")
    assert '"/home/me/lrp-dynamics' in text
    text = text.replace("/home/me/lrp-dynamics", str(clone.root)).replace("    config:\n", f"{more}    config:\n", 1)
    project.path("Snakefile").write_text(text + OWN_RULE, encoding="utf-8")


def test_the_catalog_finds_what_it_shows():
    settings = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert settings.keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    assert settings["software-stack-deployment"] == {"conda": False, "apptainer": True, "apptainer+conda": False}
    assert (ROOT / "workflow/Snakefile").is_file()
    assert parameters.problem(reference.SHORTEST) is None
    assert yaml.safe_dump(reference.SHORTEST, sort_keys=False) in reference.README.read_text(encoding="utf-8")


def test_the_checks_on_a_server_run_commands_that_there_are():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
        runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
        assert runs
        # Those of the site come with it.
        assert {run.split()[1] for run in runs if run.startswith("make ")} - targets <= {"docs"}


def test_the_picture_of_the_rules_is_up_to_date(clone):
    clone.run(sys.executable, "workflow/scripts/rulegraph.py", "--check")


def test_a_missing_image_is_told_with_the_command_that_builds_it(clone):
    definition = clone.path("containers/lrp-dynamics.def").read_text(encoding="utf-8")
    assert "pip install --no-cache-dir -c constraints.txt '.[workflow]'" in definition
    copied = re.findall(r"^    (\S+) /opt/lrp-dynamics/", definition, re.M)
    assert copied
    assert all(clone.path(name).exists() for name in copied)
    log = clone.snakemake("-n", "--sdm", "apptainer", "--", "demo", ok=False)
    assert "lrp-dynamics.sif is not there" in log
    build = of_page("bash")[1].splitlines()[0]
    assert build in log


@pytest.mark.long
def test_the_workflow_is_a_module_of_another_project(clone, other):
    use(other, clone)
    log = other.snakemake("-n", "--cores", "1")
    assert re.search(r"^lrp_dynamics_train +1$", log, re.M)
    # For real: data, training, dynamics and outliers, in the other project and not in the clone.
    log = other.snakemake("--cores", "1", "all", "own.txt")
    assert "DVC" not in log
    assert other.path("results/mine/metrics.json").exists()
    assert not other.path("dvc.yaml").exists()
    assert other.path("logs/lrp_dynamics_train/mine-0.log").exists()
    assert not other.path("logs/own").exists()  # a rule of the other project is left as it is
    assert not clone.path("results").exists()
    assert "Nothing to be done" in other.snakemake("-n", "--cores", "1")


@pytest.mark.long
def test_a_prefix_of_a_module_is_refused(clone, other):
    use(other, clone, '    prefix:\n        "relevance"\n')
    log = other.snakemake("-n", "--cores", "1", ok=False)
    assert "found prefix or replace_prefix, expected none" in log


@pytest.mark.long
def test_the_workflow_runs_from_another_folder(clone, other):
    other.write_params(TINY)
    snakefile = str(clone.path("Snakefile"))
    assert "snakemake --snakefile ~/lrp-dynamics/Snakefile --cores all " in of_page("bash")[0]
    other.snakemake("--snakefile", snakefile, "--cores", "all", "data/shapes.h5")
    assert other.path("data/shapes.h5").exists()
    assert not clone.path("data/shapes.h5").exists()
    assert not other.path("dvc.yaml").exists()


# A finished experiment as a crate -------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_crate_has_what_its_profiles_require(project):
    """RO-Crate 1.1, Process Run Crate and Workflow Run Crate 0.5, Workflow RO-Crate 1.0: what MUST be there."""
    command = of_page("bash")[-1].split()
    assert command[:2] == ["python", "workflow/scripts/crate.py"]
    project.run(sys.executable, *command[1:])
    content = json.loads(project.path("ro-crate-metadata.json").read_text(encoding="utf-8"))
    with zipfile.ZipFile(project.path("demo.zip")) as packed:
        names = set(packed.namelist())
        assert json.loads(packed.read("ro-crate-metadata.json")) == content
    assert content["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    graph = {entity["@id"]: entity for entity in content["@graph"]}
    assert len(graph) == len(content["@graph"])
    # Nothing refers to what is not described, but for the specification, words of others, and addresses.
    referred = set(re.findall(r'\{"@id": "([^"]*)"\}', json.dumps(content)))
    assert referred - graph.keys() == {"https://w3id.org/ro/crate/1.1", "https://snakemake.github.io"}

    descriptor, root = graph["ro-crate-metadata.json"], graph["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert {"@id": "https://w3id.org/ro/crate/1.1"} in descriptor["conformsTo"]
    assert root["@type"] == "Dataset"
    assert re.match(r"\d{4}-\d\d-\d\dT", root["datePublished"])
    assert root["name"]
    assert root["description"]
    assert root["license"]["@id"] in graph
    for profile in ("ro/wfrun/process/0.5", "ro/wfrun/workflow/0.5", "workflowhub/workflow-ro-crate/1.0"):
        assert {"@id": f"https://w3id.org/{profile}"} in root["conformsTo"]
        assert graph[f"https://w3id.org/{profile}"]["@type"] == "CreativeWork"

    main = graph[root["mainEntity"]["@id"]]
    assert main["@type"] == ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    assert graph[main["programmingLanguage"]["@id"]]["@type"] == "ComputerLanguage"
    action = graph[root["mentions"]["@id"]]
    assert action["@type"] == "CreateAction"
    assert action["instrument"] == {"@id": main["@id"]}
    assert action["startTime"] < action["endTime"]
    made = {entity["@id"] for entity in action["result"]}
    assert {"results/demo/seed-0/relevance.h5", "reports/demo/report.html"} <= made
    assert made < {part["@id"] for part in root["hasPart"]}
    # Every part is a file of that size, and in the archive.
    for part in root["hasPart"]:
        entity = graph[part["@id"]]
        assert "File" in entity["@type"]
        assert int(entity["contentSize"]) == project.path(part["@id"]).stat().st_size
    assert {part["@id"] for part in root["hasPart"]} | {"ro-crate-metadata.json"} == names
    rate = graph["#experiments.demo.training.learning_rate"]
    assert rate["@type"] == "PropertyValue"
    assert rate["value"] == project.params["experiments"]["demo"]["training"].get("learning_rate", 0.001)

    project.path("results/demo/metrics.json").unlink()
    log = project.run(sys.executable, "workflow/scripts/crate.py", "demo", ok=False)
    assert "experiment demo is not finished, results/demo/metrics.json is not there" in log
    assert "Traceback" not in log
