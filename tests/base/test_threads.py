"""Threads of a command that wait for work sleep soon, unless the user has said how they are to wait."""

import os
import subprocess
import sys

import pytest

ASK = """
import os, sys
from lrp_dynamics.commands.cli import main
assert "torch" not in sys.modules  # its library reads the variable once
main(["info", "none.h5"])
print(os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("said", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
    ids=["nothing", "spins", "policy"],
)
def test_waiting_is_as_the_user_wants_it(tmp_path, said, expected):
    foreign = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in foreign} | said
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == [expected], done.stderr
