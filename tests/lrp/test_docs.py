"""The pages keep up with the code and with the benchmark's results."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lrp_dynamics import lrp

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "lrp"


@pytest.mark.parametrize(("page", "names"), [("rules.md", lrp.RULES), ("composites.md", lrp.COMPOSITES)])
def test_every_name_is_documented(page, names):
    found = set(re.findall(r"`([a-z0-9_]+)`", (DOCS / page).read_text()))
    assert set(names) <= found


def test_the_speed_table_is_that_of_the_result_file():
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "benchmarks" / "lrp.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    results = json.loads((DOCS / "speed.json").read_text())
    assert benchmark.table(results) in (DOCS / "speed.md").read_text()


def test_the_benchmark_runs_nothing_in_less_than_float32():
    """TF32, which torch takes for convolutions on a GPU unless told otherwise, gives peers another map."""
    code = (
        "import runpy, sys, torch; sys.path.append('benchmarks'); sys.argv = ['lrp.py', '--table', sys.argv[1]];"
        "torch.backends.cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = 'tf32';"
        "runpy.run_path('benchmarks/lrp.py', run_name='__main__');"
        "print(torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)"
    )
    done = subprocess.run([sys.executable, "-c", code, DOCS / "speed.json"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "ieee ieee", done.stderr
