"""One contract for all studies: whatever belongs to one is found by its name, and nothing of it is forgotten."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import jupytext
import nbformat
import numpy as np
import pytest
import yaml
from harmless import Read
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image
from workflow.conftest import Project, copy_of_project

from lrp_dynamics import studies
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.parameters import parse
from lrp_dynamics.commands import cli
from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import described

ROOT = Path(__file__).parents[1]
STUDIES = [module.name for module in iter_modules(studies.__path__)]
# What the Snakefile knows: of each kind of experiment its study, steps and figures, and the rules of all, and of demo.
KNOWN = """
import json, sys
sys.path.insert(0, "workflow/scripts")
from dag import planned, real_jobs
from snakemake_internals import config_of, names_of

found = {}
with planned(["demo"], forceall=True) as dag:
    kinds, config = names_of(dag)["KINDS"], config_of(dag)
    demo = {job.rule.name: job.wildcards.get("experiment") for job in real_jobs(dag)}
with planned(forceall=True) as dag:
    every = sorted({job.rule.name for job in real_jobs(dag)})
for kind, made in kinds.items():
    names = [name for name, experiment in config["experiments"].items() if experiment["kind"] == kind]
    found[kind] = {"study": made.study, "steps": made.steps, "shown": made.shown_by, "experiments": names}
    found[kind] |= {"figures": list(made.figures), "drawn": list(made.drawn_from)}
print(json.dumps({"kinds": found, "demo": demo, "rules": every}))
"""


def face(name: str):
    return import_module(f"{studies.__name__}.{name}.study")


@pytest.fixture(scope="module")
def known() -> dict:
    """What the Snakefile says of the kinds of experiments."""
    done = subprocess.run([sys.executable, "-c", KNOWN], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_studies_are_those_that_have_rules():
    shared = {"common", "prepare", "train", "show"}
    assert {path.stem for path in (ROOT / "workflow/rules").glob("*.smk")} == shared | set(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_whatever_belongs_to_a_study_lies_under_its_name(name):
    for path in (f"workflow/rules/{name}.smk", f"docs/studies/{name}.md"):
        assert (ROOT / path).is_file(), path
    assert list((ROOT / "tests/studies" / name).glob("test_*.py"))
    for step in face(name).STEPS:
        assert (ROOT / f"src/lrp_dynamics/studies/{name}/{step}.py").is_file(), step


@pytest.mark.parametrize("name", STUDIES)
def test_the_face_of_a_study_imports_nothing_heavy(name):
    code = f"import sys, {studies.__name__}.{name}.study; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"numpy", "torch", "h5py", "matplotlib", "pandas", "scipy"}.intersection(loaded)


@pytest.mark.parametrize("name", STUDIES)
def test_every_figure_has_a_function_a_caption_and_a_place_in_the_report(name):
    figures = {**face(name).FIGURES, **getattr(face(name), "SEARCH_FIGURES", {})}
    captions = {path.stem: path for path in material(name, "captions").iterdir()}
    assert captions.keys() == figures.keys() | {"report"}
    for figure in figures:
        assert captions[figure].read_text(encoding="utf-8").startswith("**"), figure
    functions = import_module(f"{studies.__name__}.{name}.figures")
    for figure in face(name).FIGURES:
        assert callable(getattr(functions, figure, None)), f"{name}/figures.py has no function {figure}"
    notebook = material(name, "notebook.py").read_text(encoding="utf-8")
    assert sorted(re.findall(r'\.figure\("(\w+)"\)', notebook)) == sorted(face(name).FIGURES)


@pytest.mark.parametrize("command", [f"{name}-{step}" for name in STUDIES for step in face(name).STEPS])
def test_every_step_is_a_subcommand_with_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"lrp-dynamics {command}" in capsys.readouterr().out


@pytest.mark.parametrize("name", STUDIES)
def test_the_rules_of_a_study_are_in_the_plan_and_a_variant_in_demo(known, name):
    kinds = {kind: made for kind, made in known["kinds"].items() if made["study"] == name}
    assert kinds
    for kind, made in kinds.items():
        assert made["experiments"], f"params.yaml has no experiment of kind {kind}"
        # One job records all samples, or several do.
        assert {*made["steps"], *made["shown"]} - {"train_shard"} <= set(known["rules"])
    assert set().union(*(made["figures"] for made in kinds.values())) == set(face(name).FIGURES)
    reports = [experiment for made in kinds.values() for experiment in made["experiments"]]
    assert any(known["demo"].get(made["shown"][1]) in reports for made in kinds.values())


@pytest.mark.parametrize("name", STUDIES)
def test_the_parameters_of_a_study_parse_and_others_are_refused(known, name):
    kinds = face(name).EXPERIMENTS
    assert kinds.keys() == {kind for kind, made in known["kinds"].items() if made["study"] == name}
    written = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["experiments"]
    for kind, section in kinds.items():
        for experiment in known["kinds"][kind]["experiments"]:
            values = {key: value for key, value in written[experiment].items() if key != "kind"}
            parse(section, values)
            with pytest.raises(UserError, match="unknown key weather"):
                parse(section, values | {"weather": 1})
            with pytest.raises(UserError, match=r"figures: found 'all'"):
                parse(section, values | {"figures": "all"})


def test_a_study_that_is_not_there_and_a_figure_that_it_does_not_have_are_told(capsys, tmp_path):
    words = ["--inputs", f"maps={tmp_path}", "--out-dir", str(tmp_path)]
    assert cli.main(["figures", "weather", *words]) == 2
    assert f"found no study 'weather'; expected one of {', '.join(STUDIES)}" in capsys.readouterr().err
    pages = ["--ipynb", str(tmp_path / "r.ipynb"), "--html", str(tmp_path / "r.html")]
    assert cli.main(["report", "weather", "--inputs", f"maps={tmp_path}", *pages]) == 2
    assert f"found no study 'weather'; expected one of {', '.join(STUDIES)}" in capsys.readouterr().err
    assert cli.main(["figures", "vgg16", *words, "--figures", "clouds"]) == 2
    assert "the study vgg16 has no figure clouds; it has predictions, composites" in capsys.readouterr().err
    assert cli.main(["figures", "rules", *words, "--params", '{"samples": 1, "snapshots": 2}']) == 2
    assert "--inputs: 'recordings' is missing; found maps" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# All studies, built ---------------------------------------------------------------------------------------------------

TINY = {
    "demo": {
        "training": {"epochs": 1, "batch_size": 10, "max_steps": 6, "threads": 1},
        "recording": {"samples": 8, "maps": 5, "batch_size": 2},
        "figures": {"samples": 1, "snapshots": 2},
    },
    "demo_rules": {
        "training": {"epochs": 1, "batch_size": 10, "max_steps": 6, "threads": 1},
        "recording": {"samples": 6, "maps": 6, "every": 1},
        "figures": {"samples": 1, "snapshots": 2},
    },
    "demo_homework": {
        "training": {"iterations": 12, "batch_size": 10, "threads": 1},
        "checkpoints": {"iterations": [2, 6, 12], "test_images": 10},
        "explained": 6,
        "figures": {"samples": 2},
    },
    "demo_vgg11": {
        "training": {"epochs": 1, "batch_size": 10, "max_steps": 4, "threads": 1},
        "explanations": {"images": 3, "speed_images": 4, "batch_size": 2},
        "figures": {"images": 2},
    },
    "demo_vgg16": {
        "training": {"epochs": 1, "batch_size": 20, "max_steps": 3, "threads": 1},
        "explanations": {
            "images": 4,
            "composites": ["epsilon_plus_flat"],
            "flipping": {"region": 16, "steps": 2, "fill": "mean"},
            "mprt_images": 1,
            "threads": 1,
        },
        "figures": {"images": 2},
    },
}


# What data of others are called: it is shown letter by letter, and does nothing.
CLASSES = ["<img src=x onerror=alert(1)>", "$\\undefined{$ *b* `c`", "two\nlines", "1.0", "x" * 200]
TITLE = "<script>alert(1)</script> $\\frac{$ [a](javascript:x) {{ body }} \\$"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Project:
    """All demos, made tiny, on a folder of images with such names; but for what needs the masks of the shapes."""
    project = copy_of_project(tmp_path_factory.mktemp("studies") / "a $HOME & co")
    rng = np.random.default_rng(0)
    for name in [*CLASSES, *([] if sys.platform == "darwin" else [b"caf\xe9"])]:
        folder = Path(os.fsdecode(os.fsencode(project.root / "data" / "set") + b"/" + os.fsencode(name)))
        folder.mkdir(parents=True)
        for i in range(16):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"$x${i}<b>.png")
    params = project.params
    demos = {name: value for name, value in params["experiments"].items() if name.startswith("demo")}
    assert demos.keys() == TINY.keys()
    for name, changes in TINY.items():
        for key, value in changes.items():
            demos[name][key] = demos[name][key] | value if isinstance(value, dict) else value
        demos[name]["dataset"] = "shapes10" if demos[name]["kind"] == "vgg16_fitted" else "set"
    shapes = params["datasets"]["shapes10"] | {"title": TITLE, "n_train": 80, "n_test": 40}
    own = {"kind": "folder", "path": "data/set", "title": TITLE, "size": 32, "test_fraction": 0.25}
    project.write_params(params | {"datasets": {"shapes10": shapes, "set": own}, "experiments": demos})
    project.snakemake("--cores", "2", "demo")
    return project


@pytest.mark.long
@pytest.mark.parametrize("name", TINY)
def test_titles_and_names_of_others_are_shown_and_do_nothing(built, name):
    assert not built.path("ran").exists()
    found = Read(built.path(f"reports/{name}/report.html").read_text(encoding="utf-8"))
    found.assert_harmless()
    assert TITLE in found.text
    notebook = nbformat.read(built.path(f"reports/{name}/report.ipynb"), 4)
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    Read(body).assert_harmless()


@pytest.mark.long
@pytest.mark.parametrize("name", STUDIES)
def test_every_figure_is_drawn_and_shown(built, known, name):
    """From the study's own results, by its demo; in the report under its title, and in Snakemake's report."""
    kinds = [made for made in known["kinds"].values() if made["study"] == name]
    shown = set()
    for made in kinds:
        for experiment in set(made["experiments"]) & set(TINY):
            folder = built.path(f"reports/{experiment}")
            drawn = {path.name for path in (folder / "figures").iterdir()}
            assert drawn == {f"{figure}.{kind}" for figure in made["figures"] for kind in ("png", "svg")}
            page = (folder / "report.html").read_text(encoding="utf-8")
            texts = [unescape(text) for text in re.findall(r'alt="Figure \d+: ([^"]*)"', page)]
            assert sorted(texts) == sorted(face(name).FIGURES[figure][0] for figure in made["figures"])
            shown |= set(made["figures"])
    assert shown == set(face(name).FIGURES)


# Whose numbers the last table of a report shows.
NUMBERS = {"blog": ["metrics"], "rules": ["metrics"], "homework": ["seed-0/metrics"], "vgg11": ["metrics", "training"]}
NUMBERS["vgg16"] = ["metrics"]


@pytest.mark.long
def test_every_number_of_a_report_is_described(built, known):
    kinds = known["kinds"].values()
    for study, files in NUMBERS.items():
        about = import_module(f"{studies.__name__}.{study}.numbers").NUMBERS
        experiments = TINY.keys() & {name for made in kinds if made["study"] == study for name in made["experiments"]}
        tables = [built.path(f"results/{name}/{file}.json") for name in experiments for file in files]
        names = set().union(*(json.loads(table.read_text(encoding="utf-8")) for table in tables))
        assert names
        assert {name for name in names - {"weights_sha256"} if not described(name, about)} == set(), study


@pytest.fixture(scope="module")
def moved(built, tmp_path_factory) -> Path:
    """The results and reports alone, in another folder."""
    folder = tmp_path_factory.mktemp("moved") / "mein Projekt ü"
    for name in ("results", "reports", "data", "docs/tutorials", "src/lrp_dynamics/studies/homework"):
        shutil.copytree(built.path(name), folder / name)
    shutil.copy(built.path("params.yaml"), folder)
    return folder


async def run_again(notebook, folder: Path, env: dict[str, str]) -> None:
    """Run all cells, those left to the reader too, as JupyterLab does: by the installed kernel, in the folder."""
    assert notebook.metadata.kernelspec.name == "python3"
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, resources=place, skip_cells_with_tag="none", timeout=600, startup_timeout=600)
    await client.async_execute(env=env)


@pytest.mark.long
def test_notebooks_run_again_where_they_lie_and_the_teaching_notebook_after_the_demo(built, moved):
    """With every cell that the report has left to its reader; all at once, for the sake of time."""
    places = [*moved.glob("reports/*/report.ipynb")]
    notebooks = {path: nbformat.read(path, 4) for path in places}
    assert len(notebooks) == len(TINY)
    teaching = moved / "docs/tutorials/teaching.py"
    notebooks[teaching] = jupytext.read(teaching)
    before = sorted(path for path in moved.rglob("*") if "figures" not in path.parts)

    async def all_of_them() -> None:
        await asyncio.gather(*(run_again(notebook, path.parent, built.env) for path, notebook in notebooks.items()))

    asyncio.run(all_of_them())
    assert sorted(path for path in moved.rglob("*") if "figures" not in path.parts) == before
    for path, notebook in notebooks.items():
        own = [cell for cell in notebook.cells if "skip-execution" in cell.metadata.get("tags", [])]
        outputs = [output for cell in own or notebook.cells for output in cell.get("outputs", [])]
        assert any("image/png" in output.get("data", {}) for output in outputs), path
    said = "".join(output.get("text", "") for cell in notebooks[teaching].cells for output in cell.get("outputs", []))
    assert re.search(r"z⁺: a median of 0\.00% .* not in the map\nε: a median of [\d.]+%", said)
    difference, largest = map(float, re.search(r"difference: (\S+); largest relevance: (\S+)", said).groups())
    assert difference <= 2e-3 * largest
    assert re.findall(r"(z⁺|ε): a step moves [\d.]+% of the relevance", said) == ["z⁺", "ε"]


@pytest.mark.long
def test_the_teaching_notebook_says_what_to_run_first(tmp_path):
    path = shutil.copy(ROOT / "docs/tutorials/teaching.py", tmp_path)
    done = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True)
    assert re.search(r"UserError: .*relevance.h5 is missing: run `make demo` in the project's folder", done.stderr)


# A new study ----------------------------------------------------------------------------------------------------------

EXAMPLE = ROOT / "examples/study"


@pytest.mark.long
def test_a_study_is_added_under_its_name_alone_and_built_by_both_tools(tmp_path):
    """The example's files are new ones, in a project of which nothing else is edited but params.yaml."""
    project = copy_of_project(tmp_path / "project")
    project.commit("before")
    for path in filter(Path.is_file, EXAMPLE.rglob("*")):
        place = path.relative_to(EXAMPLE)
        if len(place.parts) > 1 and path.suffix != ".pyc":
            assert not project.path(str(place)).exists()
            project.path(str(place)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, project.path(str(place)))
    params, added = project.params, yaml.safe_load((EXAMPLE / "params.yaml").read_text(encoding="utf-8"))
    params["experiments"] |= added["experiments"]
    project.write_params(params)
    assert re.findall(r"^ M (.*)$", project.git("status", "--short"), re.M) == ["params.yaml"]
    # It keeps to the contract of all studies, as far as this is seen without a build.
    tests = ["tests/test_studies.py", "tests/studies/halves", "tests/test_architecture.py"]
    checked = project.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", *tests)
    assert "failed" not in checked

    shapes = params["datasets"]["shapes10"] | {"n_train": 80, "n_test": 40}
    params |= {"datasets": {"shapes10": shapes}, "experiments": added["experiments"]}
    params["experiments"]["demo_halves"]["training"] |= {"batch_size": 10, "max_steps": 6}
    project.write_params(params)
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py")
    project.commit("added")
    assert "Traceback" not in project.dvc("repro")
    assert "Loss of both halves" in project.path("reports/demo_halves/report.html").read_text(encoding="utf-8")
    project.assert_clean()
    project.edit("experiments.demo_halves.figures", {"bars": 5})
    assert set(project.jobs(project.snakemake("--cores", "2"))) == {
        "halves_figures-demo_halves",
        "halves_report-demo_halves",
    }
    project.assert_clean()
