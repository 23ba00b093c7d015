"""The command `lrp-dynamics prepare`, as the workflow calls it."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from lrp_dynamics.commands import cli
from lrp_dynamics.data import prepared

SHAPES = {"kind": "shapes10", "title": "shapes10 (synthetic)", "n_train": 30, "n_test": 10, "preset": "easy", "seed": 3}


def arguments(tmp_path, params, out="x.h5"):
    text = params if isinstance(params, str) else json.dumps(params)
    return ["prepare", "--params", text, "--raw", str(tmp_path / "raw"), "--name", "x", "--out", str(tmp_path / out)]


def test_the_same_parameters_give_the_same_bytes(tmp_path, capsys):
    for out in ("one.h5", "two.h5"):
        assert cli.main(arguments(tmp_path, SHAPES, out)) == 0
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert "30 training and 10 test images of 3×32×32" in capsys.readouterr().out
    dataset = prepared.read(tmp_path / "one.h5")
    assert dataset.title == "shapes10 (synthetic)"
    # With the defaults of what was left out.
    assert dataset.source["params"].items() > SHAPES.items()
    assert dataset.source["params"]["labels"] == "shape"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.h5", "two.h5"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"kind": "imagenet"}, "datasets.x.kind: found 'imagenet', expected one of shapes10, cifar10, mnist, folder"),
        ({}, "kind: found None"),
        ({"kind": "cifar10", "urls": ["x"]}, "datasets.x.sha256: is missing, expected 64 hexadecimal digits"),
        ({"kind": "cifar10", "urls": [], "sha256": "0" * 64}, "expected a list of addresses"),
        ({**SHAPES, "preset": "medium"}, "datasets.x.preset: found 'medium', expected easy, standard or hard"),
        ({**SHAPES, "n_train": "100"}, "n_train: found '100', expected a whole number from 1 to 1000000"),
        ({**SHAPES, "bg_corr": "x"}, "bg_corr: found 'x', expected a number from 0 to 1"),
        ({**SHAPES, "seed": 1.5}, "seed: found 1.5"),
        ({**SHAPES, "title": 3}, "title: found 3"),
        ({"kind": ["a"]}, "kind: found ['a'], expected one of"),
        ({"kind": "cifar10", "urls": [1], "sha256": "0" * 64}, "urls: found [1], expected a list of addresses"),
        ({"kind": "cifar10", "urls": "x", "sha256": "0" * 64}, "urls: found 'x', expected a list of addresses"),
        ({"kind": "cifar10", "urls": ["x"], "sha256": 5}, "sha256: found 5"),
        ({"kind": "mnist", "urls": ["x"], "sha256": "0" * 64}, "expected a mapping from files to their checksums"),
        ({"kind": "mnist", "urls": ["x"], "sha256": {}, "channels": 2}, "channels: found 2, expected 1 or 3"),
        ({"kind": "folder", "path": 7}, "path: found 7, expected a text"),
        ({"kind": "folder", "path": "x", "size": 0}, "size: found 0"),
        (
            {"kind": "folder", "path": "x", "sizes": 8},
            "datasets.x: unknown key sizes; the known keys are: title, path, size",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(tmp_path, capsys, params, said):
    assert cli.main(arguments(tmp_path, params)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_preparing_needs_no_torch(tmp_path):
    code = "import sys; from lrp_dynamics.commands import cli; cli.main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, *arguments(tmp_path, SHAPES)], check=True)


def test_a_terminal_that_lacks_letters_stops_nothing(tmp_path):
    """`×` is none of ASCII's."""
    command = [sys.executable, "-m", "lrp_dynamics.commands.cli", *arguments(tmp_path, SHAPES)]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert r"test images of 3\xd732\xd732" in done.stdout


def test_a_file_that_cannot_be_read_is_told_in_one_plain_line(tmp_path, capsys):
    (tmp_path / "pets/cat").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "pets/cat/good.png")
    (tmp_path / "pets/cat/broken.png").write_bytes(b"")
    assert cli.main(arguments(tmp_path, {"kind": "folder", "path": str(tmp_path / "pets"), "size": 8})) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"lrp-dynamics: left out: {tmp_path}/pets/cat/broken.png is not an image")
