"""Files of weights that are damaged, foreign or hostile: one sentence each, and no weights that nobody trained."""

import copy
import json
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save

from lrp_dynamics import models
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.models import trained
from lrp_dynamics.models.description import KEY, Description
from lrp_dynamics.models.weights import read_state
from lrp_dynamics.training import checkpoints

ABOUT = Description("blog_cnn", [f"class {k}" for k in range(10)], (3, 32, 32), 0.0, 1.0, "toys")


@pytest.fixture(scope="module")
def state():
    return models.build("blog_cnn", n_classes=10).state_dict()


def as_each(change):
    return lambda state: {name: change(value) for name, value in state.items()}


STATES = {
    "whole numbers": as_each(lambda value: value.to(torch.int8)),
    "long numbers": as_each(lambda value: value.long()),
    "truth values": as_each(lambda value: value > 0),
    "complex numbers": as_each(lambda value: value.to(torch.complex64)),
    "sparse": as_each(lambda value: value.to_sparse()),
    "without values": as_each(lambda value: value.to("meta")),
    "NaN": as_each(lambda value: value * torch.nan),
    "infinite as float32": as_each(lambda value: value.double() * 1e300),
    "empty": as_each(lambda value: value[:0]),
    "gigabytes of one value": as_each(lambda value: torch.zeros(1).expand(2**31, 1)),
    "numbers as names": lambda state: dict(enumerate(state.values())),
    "other names": lambda state: {f"x{name}": value for name, value in state.items()},
    "one too few": lambda state: dict(list(state.items())[1:]),
    "one too many": lambda state: state | {"more": torch.zeros(1)},
    "numbers only": as_each(lambda value: torch.tensor(1.0)),
    "a list": lambda state: list(state.values()),
    "a tensor": lambda state: torch.zeros(3),
    "no tensors": lambda state: {"state_dict": [1, 2]},
    "nothing in it": lambda state: {},
    "nothing": lambda state: None,
}


def refused(path, load):
    with pytest.raises(UserError) as error:
        load()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", STATES)
def test_state_dicts(fault, state, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(STATES[fault](state), path)
    refused(path, lambda: trained.load("blog_cnn", path))


class Code:
    """Runs code where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_file_in_the_cache_of_published_weights_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    place = tmp_path / "checkpoints" / "vgg11-8a719046.pth"
    place.parent.mkdir()
    torch.save({"a": Code(tmp_path / "ran")}, place)
    refused(place, lambda: trained.load("vgg11"))
    assert not (tmp_path / "ran").exists()


def test_floats_of_another_precision_are_taken(state, tmp_path):
    torch.save({f"module.{name}": value.half() for name, value in state.items()}, tmp_path / "weights.pt")
    found = trained.load("blog_cnn", tmp_path / "weights.pt").model.state_dict()
    assert all(torch.equal(found[name], value.half().float()) for name, value in state.items())


def pack(path, state):
    """A few bytes that unpack to gigabytes."""
    torch.save(state, path)
    with zipfile.ZipFile(path) as file:
        parts = {part: file.read(part) for part in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content if name.endswith("pkl") else bytes(10_000_000))


def share(path, state):
    """Parts that lie in one place, each of which is read for itself."""
    torch.save({f"{name}.{k}": torch.zeros(1_000_000) + k for k, name in enumerate(state)}, path)
    with zipfile.ZipFile(path) as file:
        parts = {part: file.read(part) for part in file.namelist()}
    numbers = [part for part in parts if "/data/" in part]
    with zipfile.ZipFile(path, "w") as file:
        for name in parts.keys() - set(numbers[1:]):
            file.writestr(name, parts[name])
        for name in numbers[1:]:
            part = copy.copy(file.getinfo(numbers[0]))
            part.filename = name
            file.filelist.append(part)


FILES = {
    "empty": lambda path, state: path.write_bytes(b""),
    "text": lambda path, state: path.write_text("weights"),
    "cut": lambda path, state: (torch.save(state, path), path.write_bytes(path.read_bytes()[:100_000])),
    "code": lambda path, state: path.write_bytes(pickle.dumps({"a": print})),
    "packed": pack,
    "shared": share,
    "a folder": lambda path, state: path.mkdir(),
    "not there": lambda path, state: None,
}


@pytest.mark.parametrize("fault", FILES)
def test_files_of_torch(fault, state, tmp_path):
    path = tmp_path / "weights.pt"
    FILES[fault](path, state)
    refused(path, lambda: read_state(path))
    refused(path, lambda: trained.load("blog_cnn", path))


CONTENTS = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "only a head": lambda content: content[:100],
    "a head of exabytes": lambda content: struct.pack("<Q", 2**62) + content[8:],
    "a head of 99 MB": lambda content: struct.pack("<Q", 99_000_000) + content[8:],
    "no head": lambda content: struct.pack("<Q", 0) + content[8:],
}


@pytest.mark.parametrize("fault", CONTENTS)
def test_safetensors(fault, state, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENTS[fault](save(state, ABOUT.as_metadata())))
    refused(path, lambda: trained.load(str(path)))
    for read in (checkpoints.iterations_of, lambda path: checkpoints.load(path, 1)):
        refused(path, lambda read=read: read(path))


DESCRIPTIONS = {
    "model": [3, None, ["a"], "no such"],
    "classes": [3, "abcdefghij", [], list(range(10)), ["a"] * 9, None],
    "shape": [[3, 32], [3, 32, 32, 32], "abc", [-3, 32, 32], [10**9, 32, 32], [3.5, 32, 32], [3, 0, 0], [4, 32, 32]],
    "low": ["a", [0, 0], float("nan"), None, 5, True],
    "high": ["b", [1, 1], float("inf")],
    "trained_on": [5, None],
    "resize": ["a", -1, 0, 10**7],
    "more": [1],
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions(name, state, tmp_path):
    path = tmp_path / "model.safetensors"
    about = json.loads(ABOUT.as_metadata()[KEY])
    for value in DESCRIPTIONS[name]:
        path.write_bytes(save(state, {KEY: json.dumps(about | {name: value})}))
        refused(path, lambda: trained.load(str(path)))


@pytest.mark.parametrize("text", ["", "hello", "[]", "{}", "null", "[" * 100_000])
def test_descriptions_that_are_none(text, state, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(state, {KEY: text}))
    refused(path, lambda: trained.load(str(path)))


def test_a_wrong_description_takes_no_memory(state, tmp_path):
    """Of 16,384 × 16,384 weights, which the file has not."""
    path = tmp_path / "model.safetensors"
    about = json.loads(ABOUT.as_metadata()[KEY]) | {"model": "vgg11", "classes": ["a"] * 2**16}
    path.write_bytes(save(state, {KEY: json.dumps(about)}))
    drawn = torch.random.get_rng_state()
    refused(path, lambda: trained.load(str(path)))
    assert torch.equal(drawn, torch.random.get_rng_state())  # no network was made


@pytest.mark.parametrize("name", ["5", "x/conv1.weight", "five"])
def test_checkpoints_of_others(name, tmp_path):
    path = tmp_path / "checkpoints.safetensors"
    path.write_bytes(save({name: torch.zeros(1)}))
    refused(path, lambda: checkpoints.iterations_of(path))


def test_the_command_tells_in_one_sentence(state, tmp_path, capsys):
    path = tmp_path / "weights.pt"
    torch.save(STATES["whole numbers"](state), path)
    command = ["explain", tmp_path / "i.png", "--model", "blog_cnn", "--weights", path, "--out", tmp_path / "out"]
    assert cli.main([*map(str, command)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"lrp-dynamics: error: {path}: ")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
