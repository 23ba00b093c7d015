import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from synthetic import maps_of_a_walk, write_recording

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.commands import dynamics, figures, report
from lrp_dynamics.reports import sentences
from lrp_dynamics.reports.notebook import execute, page
from lrp_dynamics.studies.blog import outliers, posts


def stage(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    module.run(parser.parse_args([str(word) for word in words]))


def results(folder: Path) -> list[str]:
    """Make the results of an experiment of two seeds from made-up recordings; return the report's --inputs."""
    for seed in (0, 1):
        part = folder / f"seed-{seed}"
        part.mkdir(parents=True)
        recording = write_recording(part / "relevance.h5", maps_of_a_walk(30, 12, seed=seed), seed=seed)
        stage(dynamics, "--relevance", recording, "--out", part / "dynamics.h5", "--samples", part / "samples.csv")
        summary = {"test_accuracy": 0.51, "train_accuracy": 0.78, "final_loss": 0.7}
        (part / "training.json").write_text(json.dumps(summary), encoding="utf-8")
        step = np.arange(1, 30)
        write_csv(part / "training.csv", {"iteration": step, "loss": 2.0 / step, "accuracy": 1 - 1 / step})
    parts = [folder / "seed-0", folder / "seed-1"]
    stage(
        outliers,
        *("--dynamics", *(part / "dynamics.h5" for part in parts)),
        *("--samples", *(part / "samples.csv" for part in parts)),
        *("--training", *(part / "training.json" for part in parts)),
        *("--out", folder / "outliers.csv", "--metrics", folder / "metrics.json"),
    )
    names = ("relevance.h5", "dynamics.h5", "samples.csv", "training.csv")
    files = {name.split(".")[0]: folder / "seed-0" / name for name in names} | {"outliers": folder / "outliers.csv"}
    stage(figures, "blog", "--inputs", *(f"{name}={path}" for name, path in files.items()), "--out-dir", folder / "png")
    inputs = {name: files[name] for name in ("dynamics", "samples", "outliers", "relevance")}
    inputs |= {"metrics": folder / "metrics.json", "figures": folder / "png"}
    return [f"{name}={path}" for name, path in inputs.items()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The blog report, made twice, in two folders, from two working folders."""
    folder = tmp_path_factory.mktemp("experiment")
    inputs = results(folder)
    notebook = ["blog", "--inputs", *inputs]
    before = os.getcwd()
    try:
        for name in ("one", "two"):
            out = folder / name
            stage(report, *notebook, "--ipynb", out / "report.ipynb", "--html", out / "report.html")
            os.chdir(folder)
    finally:
        os.chdir(before)
    return folder


def test_a_report_is_the_same_bytes_each_time(made):
    for name in ("report.html", "report.ipynb"):
        assert (made / "one" / name).read_bytes() == (made / "two" / name).read_bytes()


def test_a_report_is_a_valid_notebook_without_failures_warnings_or_paths_of_this_machine(made):
    notebook = nbformat.read(made / "one/report.ipynb", as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {output.get("name", output.output_type) for output in outputs} == {"display_data", "stdout"}  # no error
    text = json.dumps([dict(cell, outputs=[]) for cell in notebook.cells]) + json.dumps(
        [str({kind: text for kind, text in output.items() if kind != "data"}) for output in outputs]
        + [text for output in outputs for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    )
    assert str(made) not in text
    home = os.path.expanduser("~")
    assert home in ("~", "/") or home not in text
    assert sys.prefix not in text


def test_the_page_loads_nothing_from_elsewhere(made):
    html = (made / "one/report.html").read_text(encoding="utf-8")
    without_data = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=\s]+", "data:", html)
    assert re.findall(r"(?:https?:)?//[\w.]+", without_data) == []
    assert set(re.findall(r"src=[\"']([^\"']*)", without_data)) == {"data:"}
    links = {link for link in re.findall(r"href=[\"']([^\"']*)", without_data) if not link.startswith("#")}
    assert links == {"explorer.html", "report.ipynb"}  # beside the page
    assert "<script" not in html
    assert html.count("<img") == 11


def test_the_page_shows_the_measured_numbers_and_the_datasets_title(made):
    html = (made / "one/report.html").read_text(encoding="utf-8")
    metrics = json.loads((made / "metrics.json").read_text(encoding="utf-8"))
    assert "random walks (synthetic)" in html
    assert "78.0 % on training images" in html
    for name, value in metrics.items():
        assert re.search(rf'<code>{name}</code></td><td class="number">{value:.6g}</td><td>\w', html), name
    assert "IPython" not in html  # text and results, no code
    assert "highlight" not in html


def test_captions_become_html(made):
    html = (made / "one/report.html").read_text(encoding="utf-8")
    assert html.count('<div class="caption">') == 11
    assert "system-message" not in html  # docutils reports mistakes in the markup this way
    assert "<strong>Conservation of relevance.</strong>" in html


def test_every_image_has_a_text_alternative(made):
    html = (made / "one/report.html").read_text(encoding="utf-8")
    images = re.findall(r"<img[^>]*?>", re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", html), re.DOTALL)
    assert len(images) == 11
    assert all(re.search(r'alt="Figure \d+: \w', image) for image in images)


def test_the_notebook_has_code_to_change_that_the_page_leaves_out(made):
    notebook = nbformat.read(made / "one/report.ipynb", as_version=4)
    html = (made / "one/report.html").read_text(encoding="utf-8")
    assert notebook.metadata.kernelspec.name == "python3"
    inputs: dict = {}
    exec(next(cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), inputs)
    assert inputs["inputs"]["metrics"] == "../metrics.json"
    own = [cell for cell in notebook.cells if "notebook-only" in cell.metadata.get("tags", [])]
    text = "".join(output.get("text", "") for cell in own for output in cell.get("outputs", []))
    here, there = re.search(r"sample 0, a: ([\d.]+) here, ([\d.]+) in samples.csv", text).groups()
    assert here == there
    assert "Try it yourself" in "".join(cell.source for cell in own)
    assert "Try it yourself" not in html
    assert "samples.csv" not in html
    assert any("image/png" in output.get("data", {}) for cell in own for output in cell.get("outputs", []))


def test_posts_for_a_jekyll_site(made, tmp_path):
    words = ["--notebook", made / "one/report.ipynb", "--figures", made / "png", "--name", "walks"]
    stage(posts, *words, "--out", tmp_path)
    found = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "_drafts").iterdir()}
    assert found.keys() == {"walks-training-and-relevance.md", "walks-dynamics.md"}
    shown = []
    for text in found.values():
        _, head, body = text.split("---\n", 2)
        about = yaml.safe_load(head)
        assert (about["layout"], about["mathjax"]) == ("post", True)
        assert about["title"]
        assert about["description"]
        images = re.findall(r'^!\[Figure (\d+): [^\]]+\]\(\{\{ "/([^"]+)" \| relative_url \}\}\)$', body, re.M)
        assert [int(number) for number, _ in images] == list(range(1, len(images) + 1))
        assert re.findall(r"<p>Figure (\d+)\. ", body) == [number for number, _ in images]
        assert all(
            (tmp_path / path).read_bytes() == (made / "png" / Path(path).name).read_bytes() for _, path in images
        )
        shown += [path for _, path in images]
        # Nothing else that Jekyll or kramdown would take for its own, and nothing of the notebook's code.
        rest = re.sub(r"^(!\[.*|\$\$\n.*\n\$\$)$", "", body, flags=re.M)
        assert not re.search(r"[{|]|\$", rest)
        assert "random walks (synthetic)" in body
        assert "import" not in body
        assert "\n# " not in body
    assert len(shown) == len(set(shown)) == 11
    assert "78.0 % on training images" in found["walks-training-and-relevance.md"]
    assert "$$\n\\text{Dynamics}(p) = \\sum_i" in found["walks-dynamics.md"]


def test_posts_of_what_is_no_report_are_refused(made, tmp_path):
    for cells, says in (([], "found no executed notebook"), (OTHER, "found no headings")):
        path = tmp_path / "other.ipynb"
        path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
        with pytest.raises(UserError, match=says):
            stage(posts, "--notebook", path, "--figures", made, "--name", "x", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


OTHER = [{"cell_type": "code", "metadata": {}, "source": "", "outputs": [{"data": {"text/plain": "1"}}]}]


def percent_notebook(folder: Path, *cells: str) -> Path:
    path = folder / "small.py"
    path.write_text("\n\n".join(cells), encoding="utf-8")
    return path


def test_kernel_is_the_running_python(tmp_path):
    # A kernel called "python3" that belongs to someone else must not be picked up.
    other = tmp_path / "jupyter/kernels/python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(
        '{"argv": ["/bin/false"], "display_name": "other", "language": "python"}', encoding="utf-8"
    )
    path = percent_notebook(tmp_path, '# %% tags=["parameters"]\nx = 1', "# %%\nimport sys\nprint(sys.executable, x)")
    code = (
        "from pathlib import Path; from lrp_dynamics.reports.notebook import execute; "
        f"print(execute(Path({str(path)!r}), {{'x': 7}}).cells[1].outputs)"
    )
    environment = os.environ | {"JUPYTER_PATH": str(tmp_path / "jupyter"), "JUPYTER_PREFER_ENV_PATH": "0"}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert f"{sys.executable} 7" in shown.stdout


@pytest.mark.parametrize("setting", ["a long folder for temporary files", "a locale of ASCII"])
def test_reports_do_not_depend_on_the_environment(tmp_path, setting):
    """The names of sockets are short on every system; a page is UTF-8 whatever the locale is."""
    parameters = '# %% tags=["parameters"]\ninputs = {"here": "."}\nparams = {}'
    source = percent_notebook(tmp_path, parameters, "# %% [markdown]\n# # Σ – ü", "# %%\nprint('done')")
    place = tmp_path / "temporary files ü" / ("x" * 90)
    place.mkdir(parents=True)
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    settings = {"TMPDIR": str(place)} if setting.startswith("a long") else ascii_only
    if subprocess.run([sys.executable, "-c", ""], env=os.environ | settings, capture_output=True).returncode:
        pytest.skip("Python itself does not start: the project's folder has letters that are not of ASCII")
    command = ["report", source, "--inputs", "here=README.md", "--ipynb", tmp_path / "r.ipynb"]
    command += ["--html", tmp_path / "r.html"]
    done = subprocess.run(
        [sys.executable, "-m", "lrp_dynamics.commands.cli", *map(str, command)],
        capture_output=True,
        text=True,
        env=os.environ | settings,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Σ – ü" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_failing_cell_leaves_no_report(tmp_path):
    path = percent_notebook(tmp_path, '# %% tags=["parameters"]\nx = 1', "# %%\n1 / 0")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        stage(
            report,
            *(path, "--inputs", f"a={path}"),
            *("--ipynb", tmp_path / "r.ipynb", "--html", tmp_path / "r.html"),
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.py"]


def test_missing_inputs_and_parameter_cells_are_refused(tmp_path):
    path = percent_notebook(tmp_path, "# %%\nx = 1")
    out = ("--ipynb", tmp_path / "r.ipynb", "--html", tmp_path / "r.html")
    with pytest.raises(UserError, match=r"found --inputs 'metrics=missing.json', expected NAME=PATH"):
        stage(report, path, "--inputs", "metrics=missing.json", *out)
    with pytest.raises(UserError, match=r"small.py: found 0 cells tagged 'parameters'"):
        execute(path, {})


def test_title_of_the_page_is_the_first_heading(tmp_path):
    path = percent_notebook(tmp_path, "# %% [markdown]\n# # Of *maps* & steps", '# %% tags=["parameters"]\nx = 1')
    assert "<title>Of maps &amp; steps</title>" in page(execute(path, {}))


METRICS = {
    "seeds": 1,
    "samples": 100,
    "recorded_steps": 601,
    "largest_step_gap": 1,
    "numerical_share": 0.25,
    "conservation_error_max": 1e-6,
    "unaccounted_relevance_max": 1e-7,
    "successive_correlation_median": 0.9998,
    "path_to_net_change_median": 21.0,
    "dynamics_relevance_spearman_median": 0.95,
    "dynamics_relevance_slope_median": 0.9,
    "worst_step_share_max": 0.01,
    "outliers_flagged": 0,
    "outliers_numerical": 0,
    "outliers_persistent": 0,
    "outliers_in_majority_of_seeds": 0,
    "outlier_threshold": 3.5,
    "false_flags_expected": 0.0233,
    "false_positive_rate": 0.000233,
    "divergence_max_over_median": 2.2,
    "divergence_spearman_mean_abs_relevance": 0.65,
    "step_sum_difference_max": 1e-9,
    "recomputation_difference_max": 1e-4,
    "train_accuracy": 0.80,
    "test_accuracy": 0.75,
    "final_loss": 0.7,
    "tail_z": 2.0,
    "tail_found": 3.0,
    "tail_expected": 2.66,
    "tail_chance": 0.5,
}
HEAVY = {"tail_found": 13.0, "tail_chance": 1e-5}
ONE_FLAG = {"outliers_flagged": 1, "outliers_persistent": 1}


@pytest.mark.parametrize(
    ("topic", "change", "says", "says_not"),
    [
        ("conservation", {}, "the two are the same quantity", "remains: rounding"),
        ("conservation", {"conservation_error_max": 0.04}, "conserved up to 4.0 %", "not conserved"),
        ("conservation", {"conservation_error_max": 0.04}, "units without any input absorb", "not to be trusted"),
        (
            "conservation",
            {"conservation_error_max": 0.04, "unaccounted_relevance_max": 0.02},
            "not to be trusted",
            "units without any input absorb",
        ),
        ("conservation", {"conservation_error_max": 0.6}, "not conserved", "same quantity"),
        ("conservation", {"unaccounted_relevance_max": 0.02}, "not to be trusted", "remains: rounding"),
        ("likeness", {}, "These rules *conserve*", "keep part"),
        ("likeness", {"conservation_error_max": 0.6}, "keep part of the relevance", "conserve"),
        ("whereabouts", {}, "Conservation fixes", "does not say"),
        ("whereabouts", {"conservation_error_max": 0.6}, "does not say *where*", "conserv"),
        ("accuracy", {}, "80.0 % on training images and 75.0 % on test images, and a training loss of 0.7", "gap"),
        ("accuracy", {"test_accuracy": 0.6}, "the gap of 20 percentage points", "20 %"),
        ("accuracy", {"test_accuracy": 0.85}, "85.0 % on test images", "gap"),
        ("accuracy", {"seeds": 3}, "means of 3 seeds", "gap"),
        ("smoothness", {}, "change smoothly", "jump"),
        ("smoothness", {"successive_correlation_median": 0.4}, "maps jump", "smooth"),
        ("smoothness", {"path_to_net_change_median": 1.2}, "direct path", "undone again"),
        ("placement", {}, "no more change than its scale predicts", "steeper, so pixels"),
        ("placement", {"dynamics_relevance_slope_median": 1.3}, "steeper, so pixels", "no more change"),
        ("placement", {"dynamics_relevance_spearman_median": 0.1}, "not concentrated", "sits where"),
        ("smoothness", {}, "undone again by later steps", "direct path"),
        ("smoothness", {"successive_correlation_median": 0.95}, "though not abruptly", "jump"),
        ("smoothness", {"path_to_net_change_median": 1.5}, "part of the change is undone", "direct path"),
        ("smoothness", {"recorded_steps": 2}, "change smoothly", "first to its last state"),
        ("spacing", {"largest_step_gap": 5}, "up to 5 training steps apart", "every single"),
        ("timing", {"worst_step_share_max": 0}, "Was the network trained between them?", "single step"),
        ("timing", {"worst_step_share_max": 1, "recorded_steps": 2}, "all change is one step", "No single step"),
        ("outliers", {"worst_step_share_max": 0}, "Nothing changed", "No outlier"),
        ("outliers", {"divergence_max_over_median": 1.01}, "divergence is hardly more than the median", "times"),
        ("timing", {}, "No single step makes", "towers"),
        ("timing", {"worst_step_share_max": 0.4}, "one step towers", "No single step"),
        ("timing", {"worst_step_share_max": 0.4, "numerical_share": 0.5}, "No single step makes", "towers"),
        ("timing", {"worst_step_share_max": 0.6, "recorded_steps": 3}, "No single step makes", "towers"),
        ("pace", {}, "after every single training step", "apart"),
        ("pace", {"largest_step_gap": 10}, "601 such moments, at most 10 training steps apart", "every single"),
        ("outliers", {}, "No outlier", "one seed cannot tell"),
        ("outliers", {}, "log-normal distribution has 2.66, no more than chance explains", "large values are many"),
        ("outliers", HEAVY, "No outlier, but more large divergences than chance explains", ", no more than chance"),
        ("outliers", HEAVY, "Yet 13 lie more than 2 standard deviations above", "and 13"),
        ("outliers", HEAVY, "large values are many rather than extreme", "its distribution leads one to expect"),
        ("outliers", {"tail_found": 1.0}, "1 lies more than 2", "1 lie more"),
        ("outliers", {"seeds": 3, "tail_found": 3.5}, "3.50 lie on average more than", "one seed"),
        ("outliers", {"outliers_flagged": 2, "outliers_persistent": 2}, "2 flags", "may well be false"),
        ("outliers", ONE_FLAG | {"false_flags_expected": 0.9}, "may well be false ones", "No outlier"),
        ("outliers", ONE_FLAG | {"seeds": 3}, "in a majority of the seeds, 0 samples are", "one seed"),
        ("meaning", {"divergence_spearman_mean_abs_relevance": 0.9}, "mostly follows", "partly"),
        ("meaning", {}, "partly follows", "mostly"),
        ("meaning", {"divergence_spearman_mean_abs_relevance": 0.0}, "hardly follows", "partly"),
        ("meaning", {"divergence_spearman_mean_abs_relevance": -0.5}, "smaller where a sample has much", "follows"),
        ("meaning", {}, "conserved relevance adds up", "median over seeds"),
        ("meaning", {"conservation_error_max": 0.6, "seeds": 2}, "median over seeds", "conserved relevance"),
    ],
)  # fmt: skip
def test_sentences_follow_the_numbers(topic, change, says, says_not):
    text = " ".join(getattr(sentences, topic)(METRICS | change)).lower()
    assert says.lower() in text
    assert says_not.lower() not in text


def test_what_is_left_open_is_said_of_the_data_that_were_shown():
    assert "images are synthetic" in " ".join(sentences.limits(METRICS, "shapes10 (synthetic)"))
    assert "samples are synthetic" in " ".join(sentences.limits(METRICS, "synthetic signals", "position"))
    assert "1 sample shows the tail" in " ".join(sentences.limits(METRICS | {"samples": 1}, "photographs"))
    assert sentences.spacing(METRICS) == []
    foreign = " ".join(sentences.conservation(METRICS | {"conservation_error_max": 1.8}, accounted=False))
    assert "The maps do not add up to the output" in foreign


def test_every_name_that_the_notebook_reads_must_be_given(made, tmp_path):
    out = ("--ipynb", tmp_path / "r.ipynb", "--html", tmp_path / "r.html")
    given = [f"{name}={made}" for name in ("outliers", "dynamics", "samples", "relevance", "figures")]
    with pytest.raises(
        UserError, match=r"notebook.py: 'metrics' is missing; its inputs are metrics, outliers, dynamics"
    ):
        stage(report, "blog", "--inputs", *given, *out)
    with pytest.raises(UserError, match=r"notebook.py: 'weather' is not known to the notebook; its inputs are"):
        stage(report, "blog", "--inputs", *given, f"metrics={made}", f"weather={made}", *out)
    with pytest.raises(UserError, match=r"notebook.py: 'images' is not known to the notebook; its params are none"):
        stage(report, "blog", "--inputs", *given, f"metrics={made}", "--params", '{"images": 3}', *out)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metrics", "{", "not a JSON file"),
        ("metrics", "{}", "expected a metrics.json"),
        ("samples", "a,b\n1,2\n", "no column split, correct; found: a, b"),
        ("dynamics", "text", "HDF5 cannot open it"),
    ],
)
def test_wrong_inputs_are_told_in_one_sentence_without_the_notebooks_traceback(made, tmp_path, name, content, says):
    wrong = tmp_path / f"wrong-{name}"
    wrong.write_text(content, encoding="utf-8")
    files = {"metrics": made / "metrics.json", "outliers": made / "outliers.csv", "figures": made / "png"}
    files |= {"dynamics": made / "seed-0/dynamics.h5", "samples": made / "seed-0/samples.csv"}
    files |= {"relevance": made / "seed-0/relevance.h5"}
    files[name] = wrong
    with pytest.raises(UserError) as caught:
        stage(
            report,
            *("blog", "--inputs", *(f"{key}={path}" for key, path in files.items())),
            *("--ipynb", tmp_path / "r.ipynb", "--html", tmp_path / "r.html"),
        )
    assert f"wrong-{name}: {says}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [wrong]
