"""The VGG-11 experiment, and a search as documented, in a copy of the project by real Snakemake."""

import re

import pytest
import yaml
from workflow.conftest import ROOT, Project, copy_of_project

from lrp_dynamics.base.tables import read_csv

pytestmark = pytest.mark.long
DOCS = (ROOT / "docs/studies/vgg11.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCS, re.S)
EXAMPLE = next(yaml.safe_load(block)["search"] for block in BLOCKS if block.startswith("search:"))
COMMAND = re.search(r"^snakemake .*search\.csv$", DOCS, re.M)[0].split()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = copy_of_project(tmp_path_factory.mktemp("vgg11") / "project")
    params = project.params
    demo = params["experiments"]["demo_vgg11"]
    demo["training"] |= {"epochs": 1, "batch_size": 10, "max_steps": 4, "threads": 1}
    demo["explanations"] |= {"images": 3, "speed_images": 4, "batch_size": 2}
    demo["figures"] = {"images": 2}
    shapes = params["datasets"]["shapes10"] | {"n_train": 80, "n_test": 20}
    params |= {"datasets": {"shapes10": shapes}, "experiments": {"demo_vgg11": demo}}
    project.write_params(params)
    project.snakemake("--cores", "2")
    return project


def test_the_experiment(project):
    page = project.path("reports/demo_vgg11/report.html").read_text(encoding="utf-8")
    assert "of the test images are classified as labelled" in page
    assert 'src="http' not in page
    assert not project.path("results/demo_vgg11/search").exists()
    assert list(project.path("logs/tensorboard/demo_vgg11").rglob("events.out.tfevents*"))
    assert "images explained in a second" in project.path("logs/vgg11_explain/demo_vgg11.log").read_text(
        encoding="utf-8"
    )
    assert "test accuracy" in project.path("logs/classify/demo_vgg11.log").read_text(encoding="utf-8")
    assert "Nothing to be done" in project.snakemake("--cores", "2")


def test_the_documented_search(project):
    project.edit("experiments.demo_vgg11.search", EXAMPLE)
    log = project.run(*COMMAND)
    assert "best of 3 trials" in log
    table = read_csv(project.path("results/demo_vgg11/search/search.csv"))
    assert sorted(table["trial"]) == [0, 1, 2]
    assert set(table["training.batch_size"]) <= {32, 64}
    assert len(set(table["training.learning_rate"])) == 3
    assert project.path("reports/demo_vgg11/figures/search.png").exists()
    assert not list(project.path("results/demo_vgg11/search").rglob("*.safetensors"))
    # One more trial makes one more, and gathers again; the experiment itself is not touched.
    project.edit("experiments.demo_vgg11.search", EXAMPLE | {"trials": 4})
    jobs = re.findall(r"^(\w+) +\d+$", project.snakemake("-n"), re.M)
    assert set(jobs) == {"all", "vgg11_search", "vgg11_trial", "total"}
    assert len(re.findall(r"Trial \d of the search", project.snakemake("-n"))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": None}, "search.trials: found null, expected the number of random trials"),
        ({"sampler": "grid"}, "is a range, of which a grid cannot take all values; list some"),
        ({"sampler": "bayes"}, "search.sampler: found 'bayes', expected grid or random"),
        (
            {"space": {"training.learning_rate": [0.1, "fast"]}},
            "learning_rate: found 'fast', expected a number greater",
        ),
        (
            {"space": {"learning_rate": [1]}},
            "expected a mapping from keys of the experiment (model, seed, or in inputs, training, validation)",
        ),
        (
            {"space": {"training.learnin_rate": [1]}},
            "search.space.training.learnin_rate: is no parameter of the experiment",
        ),
    ],
)
def test_a_wrong_search_is_told(project, tmp_path, change, message):
    project = project.copy(tmp_path / "wrong")
    project.edit("experiments.demo_vgg11.search", EXAMPLE | change)
    log = project.snakemake("--cores", "1", ok=False)
    assert message in log
    assert "Traceback" not in log
