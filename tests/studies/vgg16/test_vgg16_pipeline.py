"""The VGG-16 experiments in a copy of the project, by real Snakemake."""

import sys

import pytest
from PIL import Image
from workflow.conftest import Project, copy_of_project

pytestmark = pytest.mark.long
EXPLANATIONS = {
    "images": 4,
    "composites": ["epsilon_plus_flat"],
    "flipping": {"region": 16, "steps": 2, "fill": "mean"},
    "mprt_images": 1,
    "seed": 0,
    "threads": 1,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """Both experiments made tiny; the weights of the real one lie at a place that does not exist."""
    project = copy_of_project(tmp_path_factory.mktemp("vgg16") / "project")
    params = project.params
    fitted, published = params["experiments"]["demo_vgg16"], params["experiments"]["vgg16"]
    fitted["training"] |= {"epochs": 1, "max_steps": 3, "batch_size": 20, "threads": 1}
    for experiment in (fitted, published):
        experiment["explanations"], experiment["figures"] = EXPLANATIONS, {"images": 2}
    published["weights"]["urls"] = ["nowhere/vgg16.pth"]
    shapes = params["datasets"]["shapes10"] | {"n_train": 60, "n_test": 20}
    params["datasets"] = {"shapes10": shapes, "photos": params["datasets"]["photos"]}
    params["experiments"] = {"demo_vgg16": fitted, "vgg16": published}
    project.write_params(params)
    return project


def test_where_weights_cannot_be_had_all_else_is_built_and_the_reason_told(project):
    log = project.snakemake("--cores", "2", ok=False)
    assert "vgg16.pth could not be had from any of its addresses" in log
    assert "nowhere/vgg16.pth: there is no such file" in log
    assert "Put the file (SHA-256 397923af" in log
    page = project.path("reports/demo_vgg16/report.html").read_text(encoding="utf-8")
    assert "<h1" in page
    assert 'src="http' not in page
    assert project.path("data/photos.h5").exists()
    assert not project.path("results/vgg16").exists() or not list(project.path("results/vgg16").glob("*.safetensors"))
    assert "Nothing to be done" in project.snakemake("--cores", "2", "reports/demo_vgg16/report.html")


def test_a_new_photo_is_noticed_by_either_tool(project, tmp_path):
    """Without any change of dvc.yaml, which is not to name what users have."""
    project = project.copy(tmp_path / "project")
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py", "--all")
    project.commit()
    stages, stage = project.path("dvc.yaml").read_text(encoding="utf-8"), "prepare-photos"
    project.snakemake("--cores", "1", "data/photos.h5")
    assert project.planned("data/photos.h5") == set()
    assert stage not in project.dirty()
    Image.new("RGB", (300, 260), "red").save(project.path("data/photos/red.png"))
    assert project.planned("data/photos.h5") == {stage}
    assert stage in project.dirty()
    assert project.jobs(project.dvc("repro", stage)) == [stage]
    assert project.planned("data/photos.h5") == set()
    # Another picture of the same name; a note is no picture.
    Image.new("RGB", (300, 260), "blue").save(project.path("data/photos/red.png"))
    assert stage in project.dirty()
    assert project.jobs(project.snakemake("--cores", "1", "data/photos.h5")) == [stage]
    project.path("data/photos/notes.txt").write_text("red is blue\n", encoding="utf-8")
    assert project.planned("data/photos.h5") == set()
    assert stage not in project.dirty()
    assert project.path("dvc.yaml").read_text(encoding="utf-8") == stages
    assert project.git("status", "--short", "data") == ""
