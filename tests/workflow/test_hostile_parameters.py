"""A params.yaml that is damaged, hostile or impossible: one sentence that names the place, before anything is done."""

import json
import re
import sys
from dataclasses import fields

import pytest
from PIL import Image

from workflow.conftest import PARAMS, ROOT, changed, copy_of_project, make_tiny

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
from parameter_file import MOST_BYTES, problem_of_file
from parameters import normalised, problem

from lrp_dynamics.base import training_sections
from lrp_dynamics.commands.cli import main
from lrp_dynamics.lrp.rules import RULES

DEMO = "experiments.demo"
NAN, INFINITY = float("nan"), float("inf")
LOOP = [1]
LOOP.append(LOOP)


def assert_one_sentence(found, beginning):
    assert found is not None, "accepted"
    assert found.startswith(beginning), found
    assert found.isprintable(), found
    assert len(found) < 2000, found


@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY, 1e308, -1e308, 10**400, True, "1", [1.0], None, LOOP])
@pytest.mark.parametrize(
    "key",
    [
        f"{DEMO}.inputs.low",
        f"{DEMO}.inputs.high",
        f"{DEMO}.training.learning_rate",
        f"{DEMO}.training.momentum",
        f"{DEMO}.training.weight_decay",
        f"{DEMO}.outliers.threshold",
        f"{DEMO}.outliers.min_abs_z",
        f"{DEMO}.outliers.numerical_share",
        "datasets.shapes10.label_noise",
        "experiments.demo_vgg11.validation.every",
        "experiments.demo_vgg11.explanations.top_k",
    ],
)
def test_numbers_are_finite_and_within_single_precision(key, value):
    assert_one_sentence(problem(changed(key, value)), f"params.yaml: {key}: found ")


@pytest.mark.parametrize("value", [NAN, INFINITY, 2**31, 10**400, 1.5, -1, "1\n", LOOP])
@pytest.mark.parametrize(
    "key", [f"{DEMO}.training.epochs", f"{DEMO}.recording.samples", f"{DEMO}.training.threads", "datasets.mnist.size"]
)
def test_counts_are_whole_and_of_a_size_that_machines_count(key, value):
    assert_one_sentence(problem(changed(key, value)), f"params.yaml: {key}: found ")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (f"{DEMO}.training.batch_size", 8001, "found 8001, expected at most 8000, the training images of dataset"),
        (f"{DEMO}.recording.samples", 8001, "found 8001, expected at most 8000, the train images of dataset"),
        (f"{DEMO}.recording.every", 641, "found 641, expected at most 640, the steps of the training"),
        ("experiments.demo_rules.recording.every", 301, "found 301, expected at most 300, the steps of the training"),
        ("experiments.demo_homework.checkpoints.iterations", [10, 801], "found 801, expected at most 800"),
        ("experiments.demo_homework.checkpoints.test_images", 1001, "found 1001, expected at most 1000"),
        ("experiments.demo_vgg11.training.batch_size", 7201, "found 7201, expected at most 7200"),
        ("experiments.demo_vgg11.validation.share", 1e-9, "found 1e-09, which leaves none of 8000 images"),
        ("experiments.demo_vgg16.explanations.flipping.region", 3, "found 3, expected a divisor of 32"),
        ("experiments.demo_vgg16.dataset", "cifar10", "found 'cifar10', expected one of kind shapes10"),
        (f"{DEMO}.recording.composite", {"rules": []}, None),
        (f"{DEMO}.recording.composite", {"rules": {}}, None),
        (f"{DEMO}.recording.composite", [], "found [], expected the name of a composite"),
        ("experiments.demo_vgg16.explanations.composites", {"a": {"*": "epsilom"}}, None),
        ("experiments.demo_vgg16.explanations.composites", {"a": {"*": {"rule": "gamma", "gama": 1}}}, None),
        ("experiments.demo_vgg16.explanations.composites", {"a": {"*": {"rule": "flat", "epsilon": NAN}}}, None),
        (f"{DEMO}.training.device", "cpu\n", "found 'cpu\\n', expected cpu, cuda, cuda:N or auto"),
        (f"{DEMO}.training.device", "cuda:99999999999", "expected cpu, cuda, cuda:N or auto"),
        (f"{DEMO}.seeds", list(range(10_000)), "found 10000 entries, expected 1000 at most"),
        (f"{DEMO}.seeds", [1.0, 1], "each once"),
        (f"{DEMO}.dataset", "shapes10\n", "without control characters"),
        (f"{DEMO}.dataset", "photos", None),
        ("datasets.shapes10.title", "a\nb", "on one line and without control characters"),
        ("datasets.shapes10.title", "a\0b", "on one line and without control characters"),
        ("datasets.shapes10.title", "\ud800", "on one line and without control characters"),
        ("datasets.shapes10.title", "x" * 1001, "of 1001 characters, expected 1000 at most"),
        ("datasets.photos.path", "a\0b", "without control characters"),
        ("datasets.cifar10.urls", ["https://a\nb"], "without control characters"),
        ("datasets.cifar10.sha256", "0" * 64 + "\n", "64 hexadecimal digits"),
        ("datasets.shapes10.n_train", 10**7, "expected a whole number from 1 to 1000000"),
        ("datasets.photos.size", 10**6, "expected a whole number from 1 to 4096"),
        ("experiments.demo_rules.recording.composites", {"A": "z_plus", "a": "epsilon"}, "found A and a"),
        ("experiments.demo_rules.recording.composites", {"x" * 300: "z_plus", "a": "epsilon"}, "two or more names"),
        ("experiments.demo_rules.recording.composites", {"a\n": "z_plus", "b": "epsilon"}, "two or more names"),
        ("experiments.demo_vgg11.training.augmentation", {"RandomAffine": {"degrees": NAN}}, None),
        ("experiments.demo_vgg11.training.augmentation", {"RandomAffine": {"degrees": LOOP}}, None),
        ("experiments.demo_vgg11.search", {"sampler": "random", "trials": 10**9, "space": {"seed": [1]}}, None),
        ("experiments.demo_vgg11.search", {"sampler": "grid", "space": {"seed": LOOP}}, None),
    ],
)  # fmt: skip
def test_what_would_fail_later_is_told_at_once(key, value, sentence):
    found = problem(changed(key, value))
    where = key.rpartition(".")[0]
    assert_one_sentence(found, f"params.yaml: {where}")
    assert sentence is None or sentence in found


@pytest.mark.parametrize("part", ["datasets", "experiments"])
@pytest.mark.parametrize("name", ["a" * 65, "demo\n", "a/b", "..", "a b", "$(id)", "ä", "", 1, True, None, "DEMO"])
def test_names_become_folders(part, name):
    entry = PARAMS[part]["demo" if part == "experiments" else "shapes10"]
    params = PARAMS | {part: PARAMS[part] | {"demo": entry, name: entry}}
    assert_one_sentence(problem(params), f"params.yaml: {part}: found the name")


def test_seeds_become_folders_however_they_are_written():
    assert normalised(changed(f"{DEMO}.seeds", [1.0, 2e0]))["experiments"]["demo"]["seeds"] == [1, 2]
    assert all(
        type(seed) is int for seed in normalised(changed(f"{DEMO}.seeds", [1.0]))["experiments"]["demo"]["seeds"]
    )


LAUGHS = "storage: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the top level: found None, expected a mapping"),
        (b"- a\n", "the top level: found ['a'], expected a mapping"),
        (b"storage: \xff\n", "line 1 is not UTF-8 text"),
        ("datasets: {}\nstorage: ä\n".encode("utf-16"), "line 1 is not UTF-8 text"),
        (b"storage: {}\ndatasets: \x07\n", "not YAML"),
        (b"storage: {\n", "line 2 is not YAML"),
        (b"\tstorage: {}\n", "line 1 is not YAML"),
        (b"storage: {}\n---\nstorage: {}\n", "is not YAML"),
        (b"storage: !!python/object/apply:os.system ['touch ran']\n", "line 1 is not YAML"),
        (b"storage: {a: 1, a: 2}\n", "storage: the key 'a' stands twice in one place"),
        (b"storage: &a {b: *a}\n", "storage.b: holds itself by an alias"),
        (b"datasets: &a [1, [*a]]\n", "datasets: holds itself by an alias"),
        (LAUGHS.encode(), "holds more than 100000 values"),
        (b"storage: " + b"[" * 3000 + b"]" * 3000, "nested too deeply"),
        (b"storage: " + b"1" * 5000, "a value is not what its form says"),
        (b"storage: 2000-13-45\n", "a value is not what its form says"),
        (b"storage: {[1]: 2}\n", "is not YAML"),
        (b"storage: " + b"x" * MOST_BYTES, "expected 1000000 at most"),
        (b"__use_yte__: true\nstorage: {}\n", "unknown key __use_yte__"),
        (b"storage: &a {__use_yte__: true}\n<<: *a\n", "unknown key __use_yte__"),
        (b'{"storage": {}, "a b\\n": 1}', "unknown key 'a b\\n'"),
    ],
)
def test_a_file_is_looked_at_before_it_is_read(content, sentence):
    found = problem_of_file(content)
    assert found is not None
    assert sentence in found
    assert found.isprintable()
    assert len(found) < 500


def test_aliases_may_be_used_as_yaml_means_them():
    assert problem_of_file(b"storage: &a {b: 1}\ndatasets: {c: *a, d: *a}\n") is None


def test_the_rules_are_those_of_the_code():
    assert training_sections.RULES.keys() == RULES.keys()
    for name, rule in RULES.items():
        assert set(training_sections.RULES[name]) == {field.name for field in fields(rule)}, name


# By the tools themselves ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_of_project(tmp_path_factory.mktemp("hostile") / "project")
    make_tiny(project)
    return project


RUNS = "__use_yte__: true\nstorage: ?open('ran', 'w').write('by params.yaml') and None\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (RUNS.encode(), "params.yaml: the top level: unknown key __use_yte__"),
        (b"storage: \xff\n", "params.yaml: line 1 is not UTF-8 text"),
        (b"storage: &a {b: *a}\n", "params.yaml: storage.b: holds itself by an alias"),
    ],
)
def test_snakemake_tells_it_and_runs_nothing(project, content, sentence):
    written = project.path("params.yaml").read_bytes()
    try:
        project.path("params.yaml").write_bytes(content)
        log = project.snakemake("-n", ok=False)
    finally:
        project.path("params.yaml").write_bytes(written)
    assert sentence in log
    assert "Traceback" not in log
    assert len(log.splitlines()) < 12
    assert not project.path("ran").exists()


def test_an_experiment_may_be_called_none(project, tmp_path):
    """Once the word stood for the experiments of a kind that has none: each kind's rules then wanted this one."""
    other = project.copy(tmp_path / "project")
    params = other.params
    params["experiments"] = {"none": params["experiments"]["demo"]}
    other.write_params(params)
    assert "Training none with seed 0" in other.snakemake("-n")


def test_a_training_is_told_all_it_needs(tmp_path, monkeypatch, capsys):
    """By the command itself, which anyone may call."""
    monkeypatch.chdir(tmp_path)

    def train(params):
        return main(["train", "--data", "d.h5", "--params", json.dumps(params), "--out", "out"])

    made = {"kind": "shapes10", "n_train": 20, "n_test": 5}
    assert main(["prepare", "--name", "d", "--params", json.dumps(made), "--raw", "raw", "--out", "d.h5"]) == 0
    capsys.readouterr()
    training = {"batch_size": 10, "epochs": 1, "threads": 1}
    some = {"model": "blog_cnn", "inputs": {}, "training": training}
    for params, key in [
        ({"model": "blog_cnn"}, "inputs"),
        ({"model": "blog_cnn", "inputs": {}}, "training"),
        (some, "recording"),
        (some | {"recording": {}}, "recording.samples"),
        (some | {"training": training | {"batch_size": 21}, "recording": {"samples": 3}}, "training.batch_size"),
        (some | {"recording": {"samples": 3}, "checkpoints": {"iterations": [1, 2]}}, "checkpoints.test_images"),
        (
            some | {"recording": {"samples": 3}, "checkpoints": {"iterations": [1, 3], "test_images": 5}},
            "checkpoints.iterations",
        ),
        (some | {"recording": {"samples": 3, "composite": {"nolayer": "epsilon"}}}, "composite"),
    ]:
        assert train(params) == 2, params
        said = capsys.readouterr().err
        assert re.fullmatch(rf"(.*\r)*lrp-dynamics: error: {key}\b.*\n", said), (params, said)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    assert train(some | {"recording": {"samples": 3}}) == 0  # what is left out is its default
    assert (tmp_path / "out" / "relevance.h5").exists()


def test_photos_of_any_name_go_through_both_tools(project, tmp_path):
    """Their names become inputs of a job, and lines of a log."""
    other = project.copy(tmp_path / "project")
    params = other.params
    params["datasets"]["photos"] = PARAMS["datasets"]["photos"] | {"packaged": [], "resize": 32, "size": 32}
    other.write_params(params)
    folder = other.path("data/photos")
    folder.mkdir(parents=True, exist_ok=True)
    names = ["$x$.png", "$(touch ran).png", "`touch ran`.png", "{wildcards}.png", "a b'\".png", "-o.png", "<b>.png"]
    names += ["two\nlines.png", "x" * 240 + ".png", *([] if sys.platform == "darwin" else ["caf\udce9.png"])]
    for name in names:
        Image.new("RGB", (40, 40), "red").save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    log = other.snakemake("--cores", "1", "data/photos.h5")
    assert "Traceback" not in log
    assert "left out: " in log
    assert f"{len(names)} test images" in log
    assert not other.path("ran").exists()
    assert "Nothing to be done" in other.snakemake("--cores", "1", "data/photos.h5")
