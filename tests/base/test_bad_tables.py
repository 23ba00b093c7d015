"""Tables and JSON files that are damaged or others: one sentence that names the file."""

import json

import numpy as np
import pytest

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import read_json
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands import cli
from lrp_dynamics.studies.homework.results import read_published


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no column index, z, kind; found: an empty file"),
        ("index,kind\n1,a\n", "no column z"),
        ("index,z,kind\n1,ten,a\n", "column z has 'ten', expected numbers"),
        ("index,z,kind\n1,2\n", "line 2 has 2 cells, expected 3"),
        (f"index,z,kind\n{10**40},1,a\n", "column index has"),
        ("index,z,kind\n\xff,1,a\n".encode("latin-1"), "not a CSV file"),
        (bytes(100), "no column index"),
    ],
)
def test_tables(tmp_path, text, found):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=found) as error:
        read_csv(path, require=("index", "z"), texts=("kind",))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_table_of_numbers_and_gaps_is_read(tmp_path):
    (tmp_path / "t.csv").write_text("index,z,kind\n1,,a\n2,3.5,4\n")
    table = read_csv(tmp_path / "t.csv", require=("index", "z"), texts=("kind",))
    np.testing.assert_array_equal(table["z"], [np.nan, 3.5])


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"loss": "low"}', "{}", "[" * 100_000, b"\xff\xfe", bytes(50)])
def test_json(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        read_json(path, "a training.json", ("loss",))
    assert str(error.value).startswith(str(path))
    assert "a training.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("accuracy", [None, 3, [1], {"ten": 1}, {"10": "high"}])
def test_published_accuracies(tmp_path, accuracy):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"accuracy": accuracy}))
    with pytest.raises(UserError, match="expected published accuracies"):
        read_published(path)


def test_a_command_tells_in_one_sentence(tmp_path, capsys):
    path = tmp_path / "training.json"
    path.write_text("{")
    command = ["rules-compare", "--recordings", tmp_path, "--training", path, "--params", "{}", "--out", tmp_path / "o"]
    assert cli.main([*map(str, command)]) == 2
    assert capsys.readouterr().err.startswith(f"lrp-dynamics: error: {path}: not a JSON file")
    assert not (tmp_path / "o").exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.json: cannot be read \(No such file or directory\); expected a list"):
        read_json(tmp_path / "gone.json", "a list")
