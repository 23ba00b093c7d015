"""HDF5 files that are damaged, foreign or hostile: one sentence that names the file, from every reader and command."""

import json
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic import maps_of_a_walk, write_recording

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.recording.dynamics_file import LAYOUT as DYNAMICS
from lrp_dynamics.recording.dynamics_file import open_dynamics
from lrp_dynamics.recording.store import LAYOUT as RECORDING
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.studies.vgg16.results import LAYOUT as EXPLANATIONS
from lrp_dynamics.studies.vgg16.results import PhotoRun


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Good files of every schema, by what they hold."""
    folder = tmp_path_factory.mktemp("good")
    options = {"title": "shapes10", "n_train": 20, "n_test": 20, "preset": "easy"}
    prepared.write(folder / "dataset.h5", shapes10.prepare("shapes10", options, folder))
    write_recording(folder / "recording.h5", maps_of_a_walk(20, 4), stored=3)
    out = ["--out", folder / "dynamics.h5", "--samples", folder / "samples.csv"]
    assert run("dynamics", "--relevance", folder / "recording.h5", *out) == 0
    write_explanations(folder / "explanations.h5")
    (folder / "training.json").write_text("{}")
    return {path.stem: path for path in folder.glob("*.h5")}


def write_explanations(path):
    """Made up, of two images, two composites and one block."""
    names = {"classes": ["a", "b", "c"], "names": ["x", "y"], "composites": ["e", "g"], "methods": ["e", "g", "i"]}
    with h5py.File(path, "w") as file:
        file.attrs.update({"schema": EXPLANATIONS.schema, "schema_version": 1})
        file.attrs.update(dict.fromkeys(("model", "trained_on", "dataset_title"), "made up"))
        file.attrs.update({key: json.dumps(value) for key, value in (names | {"blocks": ["f.1"]}).items()})
        file["images"], file["logits"] = np.zeros((2, 3, 4, 4), np.uint8), np.eye(2, 3)
        file["order"] = np.array([[0, 1], [1, 0]])
        for method in names["methods"]:
            file[f"maps/{method}/predicted"] = np.zeros((2, 4, 4), np.float32)
            file[f"mprt/{method}"] = np.zeros((1, 2))
            file[f"mprt/{method}"].attrs["layers"] = '["f.0"]'
            for order in ("morf", "lerf"):
                file[f"flipping/{method}/{order}"] = np.zeros((2, 5))
        for method in names["composites"]:
            file[f"maps/{method}/runner_up"] = np.zeros((2, 4, 4), np.float32)
            file[f"books/{method}/predicted/initial"] = np.ones(2)
            file[f"absorbed/{method}"] = np.zeros((2, 1))
            file[f"absorbed/{method}"].attrs["layers"] = '["f.0"]'
        file["layers/f.1"] = file["activations/f.1"] = np.zeros((2, 2, 2), np.float32)
        file["flipping_fraction"] = np.linspace(0, 1, 5)


@pytest.fixture(scope="module")
def measures(tmp_path_factory):
    path = tmp_path_factory.mktemp("measures") / "measures.csv"
    path.write_text("image,method,abpc\nx,e,1\ny,e,2\n")
    return path


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def replace(file, name, **options):
    del file[name]
    return file.create_dataset(name, **options)


def link(file, name, made):
    del file[name]
    file[name] = made


def virtual(file, name):
    shape, kind = file[name].shape, file[name].dtype
    source = h5py.VirtualSource(file.filename, "elsewhere", shape=shape, dtype=kind)
    layout = h5py.VirtualLayout(shape=shape, dtype=kind)
    layout[...] = source
    del file[name]
    file.create_virtual_dataset(name, layout)


def raw(file, name):
    """The bytes of another file of the machine."""
    shape, kind = file[name].shape, file[name].dtype
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(b"secret" * 100_000)
    replace(file, name, shape=shape, dtype=kind, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def elsewhere(file, name):
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as target:
        file.copy(name, target, "data")
    link(file, name, h5py.ExternalLink(other.name, "data"))


# What can be wrong with any dataset.
OF_A_DATASET = {
    "missing": lambda file, name: file.__delitem__(name),
    "a group": lambda file, name: (file.__delitem__(name), file.create_group(name)),
    "text": lambda file, name: replace(file, name, data=np.full(file[name].shape, b"ten")),
    "compound": lambda file, name: replace(file, name, shape=file[name].shape, dtype=[("a", "i4"), ("b", "f8")]),
    "complex numbers": lambda file, name: replace(file, name, shape=file[name].shape, dtype="c8"),
    "an axis more": lambda file, name: replace(file, name, data=file[name][()][..., None]),
    "nothing": lambda file, name: replace(file, name, data=h5py.Empty("f4")),
    "terabytes": lambda file, name: replace(
        file, name, shape=(2**40, *file[name].shape[1:]), dtype=file[name].dtype, chunks=True
    ),
    "a link in a circle": lambda file, name: link(file, name, h5py.SoftLink(f"/{name}")),
    "a link to nothing": lambda file, name: link(file, name, h5py.SoftLink("/nothing")),
    "another file": elsewhere,
    "virtual": virtual,
    "raw storage": raw,
}
# What can be wrong with any attribute.
OF_AN_ATTRIBUTE = {
    "missing": lambda attrs, name: attrs.__delitem__(name),
    "an array": lambda attrs, name: attrs.__setitem__(name, [1, 2]),
    "empty": lambda attrs, name: attrs.__setitem__(name, h5py.Empty("f4")),
    "no UTF-8": lambda attrs, name: attrs.create(name, b"\xff\xfe", dtype=h5py.string_dtype()),
    "compound": lambda attrs, name: attrs.create(name, np.zeros((), [("a", "i4")])),
}
OPEN = {
    "recording": (open_relevance, RECORDING),
    "dynamics": (open_dynamics, DYNAMICS),
    "dataset": (prepared.read, prepared.LAYOUT),
    "explanations": (lambda path: PhotoRun(path, "measures.csv", 2), EXPLANATIONS),
}


def one_sentence(message, path):
    """Names the file, and is not the page that HDF5 would tell."""
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600, message
    return True


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("fault", OF_A_DATASET)
def test_every_dataset_can_be_wrong(good, tmp_path, kind, fault):
    opened, layout = OPEN[kind]
    path = tmp_path / f"{kind}.h5"
    with h5py.File(good[kind]) as file:
        wanted = layout.datasets(file.attrs) if callable(layout.datasets) else layout.datasets
    names = [name for name in wanted if not name.endswith(("?", "/*"))]
    assert len(names) >= 4
    for name in names:
        shutil.copy(good[kind], path)
        with h5py.File(path, "r+") as file:
            if fault in ("terabytes", "raw storage") and file[name].shape == ():
                continue  # a single number has no room for it
            OF_A_DATASET[fault](file, name)
        with pytest.raises(UserError) as error:
            opened(path)
        assert one_sentence(str(error.value), path)
        # Of two shapes that disagree it may be the other one that is told.
        assert fault == "an axis more" or re.search(rf"/{re.escape(name)}\b", str(error.value))


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("fault", OF_AN_ATTRIBUTE)
def test_every_attribute_can_be_wrong(good, tmp_path, kind, fault):
    opened, layout = OPEN[kind]
    path = tmp_path / f"{kind}.h5"
    for name in ("schema", "schema_version", *layout.attributes):
        shutil.copy(good[kind], path)
        with h5py.File(path, "r+") as file:
            OF_AN_ATTRIBUTE[fault](file.attrs, name)
        with pytest.raises(UserError) as error:
            opened(path)
        assert one_sentence(str(error.value), path)


# What is wrong although every dataset has its type.
CONTRADICTIONS = {
    "no samples": ("recording", lambda file: [replace(file, f"samples/{n}", data=[0][:0]) for n in RECORDING_FIELDS]),
    "a slot that does not exist": ("recording", lambda file: file["accum/valid_slot"].__setitem__(..., np.uint8(7))),
    "fewer steps than summed up": ("recording", lambda file: file["scalars/logit"].resize(3, axis=0)),
    "steps below zero": ("recording", lambda file: file["accum/A/n"].__setitem__(..., np.int64(-1))),
    "steps that cannot grow": ("recording", lambda file: replace(file, "steps/epoch", data=np.zeros(20, "f4"))),
    "a group among the steps": ("recording", lambda file: file.create_group("steps/more")),
    "maps of other images": (
        "recording",
        lambda file: replace(file, "samples/image", data=np.zeros((4, 3, 9, 9), np.uint8)),
    ),
    "one sample too many": ("recording", lambda file: replace(file, "samples/label", data=np.zeros(5, np.int16))),
    "classes that are no JSON": ("recording", lambda file: file.attrs.__setitem__("classes", "cat, dog")),
    "classes that are numbers": ("dataset", lambda file: file.attrs.__setitem__("classes", "[1, 2]")),
    "text that says complete": ("recording", lambda file: file.attrs.__setitem__("complete", "no")),
    "factors of others": ("dataset", lambda file: file.create_dataset("factors/mine", data=np.zeros(3))),
    "labels without classes": ("dataset", lambda file: file["labels"].__setitem__(..., np.full(40, 99, np.int16))),
    "maps of another shape": ("dynamics", lambda file: replace(file, "mean_relevance", data=np.zeros((4, 9, 9)))),
    "steps as text": ("dynamics", lambda file: file.attrs.__setitem__("steps", "twenty")),
    "classes beyond": ("explanations", lambda file: file["order"].__setitem__(..., np.full((2, 2), 9))),
    "names of others": ("explanations", lambda file: file.attrs.__setitem__("names", '["x"]')),
    "a method without curves": ("explanations", lambda file: file.attrs.__setitem__("methods", '["e", "g", "z"]')),
    "a group in a circle": ("recording", lambda file: file.__setitem__("samples/factors", file["/"])),
}
RECORDING_FIELDS = ("index", "split", "label", "label_clean")


@pytest.mark.parametrize("fault", CONTRADICTIONS)
def test_what_does_not_go_together(good, tmp_path, fault):
    kind, break_it = CONTRADICTIONS[fault]
    path = shutil.copy(good[kind], tmp_path / f"{kind}.h5")
    with h5py.File(path, "r+") as file:
        break_it(file)
    with pytest.raises(UserError) as error:
        OPEN[kind][0](path)
    if fault != "labels without classes":  # told of the dataset, whatever file it is in
        assert one_sentence(str(error.value), path)


def test_what_more_a_file_holds_does_no_harm(good, tmp_path):
    path = shutil.copy(good["recording"], tmp_path / "r.h5")
    with h5py.File(path, "r+") as file:
        file["mine/notes"] = b"read by nobody here"
        file.attrs["mine"] = [1, 2, 3]
    with open_relevance(path) as recording:  # `validate` finds that the file is not what was sealed
        assert recording.maps().shape[:2] == (recording.steps, recording.map_samples)


def test_layers_of_explanations_have_one_name_each(good, tmp_path, measures):
    path = shutil.copy(good["explanations"], tmp_path / "e.h5")
    with h5py.File(path, "r+") as file:
        file["mprt/e"].attrs["layers"], file["absorbed/e"].attrs["layers"] = '["a", "b"]', "a"
    with PhotoRun(path, measures, 2) as run:
        assert run.mprt("g")[0] == ["f.0"]
        for read in (run.mprt, run.absorbed):
            with pytest.raises(UserError, match=r"e\.h5: found layers .* expected 1 names"):
                read("e")


# What of a file is not a file of HDF5.
OF_BYTES = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("iteration,loss\n"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "only a head": lambda path: path.write_bytes(path.read_bytes()[:8]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "not there": lambda path: path.unlink(),
}


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("fault", OF_BYTES)
def test_what_is_no_hdf5(good, tmp_path, kind, fault):
    if fault == "a pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with names")
    path = Path(shutil.copy(good[kind], tmp_path / f"{kind}.h5"))
    OF_BYTES[fault](path)
    with pytest.raises(UserError) as error:
        OPEN[kind][0](path)
    assert one_sentence(str(error.value), path)


def test_a_damaged_block_is_told_with_its_file(good, tmp_path):
    """Compressed data that do not unpack: found when they are read."""
    path = shutil.copy(good["recording"], tmp_path / "r.h5")
    with h5py.File(path) as file:
        block = file["relevance/map"].id.get_chunk_info(0)
    with open(path, "r+b") as file:
        file.seek(block.byte_offset)
        file.write(b"\xff" * block.size)
    with pytest.raises(UserError, match=r"r\.h5: HDF5 cannot read it \(.*\): it is damaged"), open_relevance(path) as r:
        r.maps()


# Every command that opens such a file.
def commands(kind, path, good, folder, measures):
    table, out = good["recording"].with_name("samples.csv"), folder / "out"
    training = good["recording"].with_name("training.json")
    train = {"model": "blog_cnn", "inputs": {"low": 0, "high": 1}, "training": {"epochs": 1, "batch_size": 10}}
    plus = {"samples": 3, "composite": "z_plus"}
    of = {
        "recording": [
            ["info", path],
            ["validate", path],
            ["recover", path],
            ["recover", "--mark-complete", path],
            ["export", path, "--npz", out],
            ["dynamics", "--relevance", path, "--out", out, "--samples", out],
            ["gather", "--shards", path.parent, "--out", out],
            ["rules-compare", "--recordings", path, "--training", training, "--params", "{}", "--out", out],
            ["figures", "blog", "--out-dir", out, "--inputs", f"relevance={path}"]
            + [f"{name}={good['dynamics']}" for name in ("dynamics", "samples", "outliers", "training")],
            ["figures", "rules", "--out-dir", out, "--inputs", f"recordings={path}"],
        ],
        "dynamics": [
            ["blog-outliers", "--dynamics", path, "--samples", table, "--out", out, "--metrics", out],
            ["figures", "blog", "--out-dir", out, "--inputs", f"relevance={good['recording']}", f"dynamics={path}"]
            + [f"{name}={table}" for name in ("samples", "outliers", "training")],
        ],
        "dataset": [
            ["train", "--data", path, "--params", json.dumps(train | {"recording": plus})]
            + ["--out", out, "--cache", folder / "cache"],
        ],
        "explanations": [["figures", "vgg16", "--out-dir", out, "--inputs", f"maps={path}", f"measures={measures}"]],
    }
    return of[kind]


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("fault", ["missing", "terabytes", "a link in a circle", "another file", "raw storage"])
def test_every_command_tells_in_one_sentence(good, tmp_path, measures, capsys, kind, fault):
    path = Path(shutil.copy(good[kind], tmp_path / "relevance.h5"))
    name = {"recording": "scalars/logit", "dataset": "images", "explanations": "logits"}.get(kind, "dynamics")
    with h5py.File(path, "r+") as file:
        OF_A_DATASET[fault](file, name)
    content, before = path.read_bytes(), sorted(tmp_path.rglob("*"))
    for command in commands(kind, path, good, tmp_path, measures):
        assert run(*command) == 2, command
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("lrp-dynamics: error: ")
        assert said.err.count("\n") == 1
        assert one_sentence(said.err.rstrip(), path)
        assert path.read_bytes() == content
        assert [found for found in sorted(tmp_path.rglob("*")) if found.name != "cache"] == before
