"""Files as the command line gives them to figures and reports."""

import pytest

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.reports.inputs import read_inputs


def test_a_name_given_several_times_is_a_list_in_order(tmp_path):
    files = {name: tmp_path / name for name in ("a=1.csv", "b.csv", "c.csv")}
    for path in files.values():
        path.touch()
    words = [f"one={files['a=1.csv']}", f"many={files['c.csv']}", f"many={files['b.csv']}", f"many={files['c.csv']}"]
    assert read_inputs("figures", words) == {
        "one": files["a=1.csv"],
        "many": [files["c.csv"], files["b.csv"], files["c.csv"]],
    }


@pytest.mark.parametrize("word", ["samples", "samples=nowhere.csv"])
def test_a_word_that_names_no_file_is_told(word):
    with pytest.raises(UserError, match=f"figures: found --inputs '{word}', expected NAME=PATH of an existing file"):
        read_inputs("figures", [word])


def test_a_name_that_is_missing_is_told(tmp_path):
    inputs = read_inputs("figures", [f"maps={tmp_path}"])
    with pytest.raises(UserError, match="--inputs: 'measures' is missing; found maps; add measures=PATH"):
        inputs["measures"]
